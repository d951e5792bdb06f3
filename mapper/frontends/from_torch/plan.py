"""How often, on how many samples and steps, a copy of a module runs in the reading check."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

__all__ = ["DRIVEN", "NATURAL", "Plan", "plan_of"]

# Share of pixels with spikes, and their largest number, step by step; DRIVEN: of neurons, for silent layers.
NATURAL = ((0.3, 1), (0.6, 1), (0.6, 4), (0.9, 16))
DRIVEN = ((0.1, 16), (0.5, 16), (0.1, 256), (0.5, 256))


@dataclass(frozen=True, slots=True)
class Plan:
    """How many samples and steps one call of the module takes.

    Attributes
    ----------
    samples, steps
        Along the leading axis or axes of its input: samples first.
    calls
        How often it is called.
    """

    samples: int
    steps: int
    calls: int


def plan_of(root: nn.Module, neurons: Sequence[str], axes: int) -> Plan:
    """Samples and steps of a call as the module's own layers want them; `neurons` are paths."""
    kinds = [module for module in root.modules() if is_of_sinabs(module)]
    samples = max((int(getattr(m, "batch_size", 1) or 1) for m in kinds), default=1)
    steps = max((int(getattr(m, "num_timesteps", 1) or 1) for m in kinds), default=1)
    # Those of other frameworks take the first axis for samples, and a call for a step.
    in_time = any(
        is_of_sinabs(entry) or getattr(entry, "step_mode", "s") == "m"
        for entry in map(root.get_submodule, neurons)
    )
    # What keeps no states may do something else with a batch.
    entries_of = map(root.get_submodule, neurons)
    keeps_states = bool(kinds) or any(not str(type(m).__module__).startswith("torch.") for m in entries_of)
    samples, steps = max(samples, 1 if keeps_states else 2), max(steps, 2 if in_time or axes == 2 else 1)
    return Plan(samples, steps, max(1, -(-len(NATURAL) // steps)))


def is_of_sinabs(module: nn.Module) -> bool:
    return any(str(entry.__module__).startswith("sinabs.") for entry in type(module).__mro__)
