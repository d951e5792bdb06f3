"""What is rewritten of several networks before their legal forms are sought, and what is in the way of it."""

from __future__ import annotations

from collections.abc import Sequence

from hwspec.schema import ChipSpec
from mapper.normal_form import NormalNetwork
from mapper.options import SolveOptions
from mapper.passes.legalize.phases import phased, planned
from mapper.references import locate_layer

__all__ = ["obstacles", "rewritten"]


def rewritten(
    networks: Sequence[NormalNetwork], chip: ChipSpec, options: SolveOptions
) -> tuple[NormalNetwork, ...]:
    """The networks with phases where maps are too large, as far as options (resolved) allow it."""
    if not options.rewrites:
        return tuple(networks)
    kept = _kept(networks, options)
    return tuple(phased(network, chip, *own) for network, own in zip(networks, kept, strict=True))


def obstacles(
    networks: Sequence[NormalNetwork], chip: ChipSpec, options: SolveOptions
) -> dict[tuple[int, str], str]:
    """By (network, layer) that stays too large, what is in the way of phases, as a sentence."""
    if not options.rewrites:
        return {}
    found = {}
    for number, (network, own) in enumerate(zip(networks, _kept(networks, options), strict=True)):
        _, reasons = planned(network, chip, *own)
        for name, reason in reasons.items():
            found[number, name] = f"No rows and columns can become features here: {reason}."
    return found


def _kept(networks: Sequence[NormalNetwork], options: SolveOptions) -> list[tuple[set[str], set[str]]]:
    """Per network, layers that keep their maps, and layers that are seen."""
    fixed = {locate_layer(networks, options.readout)} if options.readout is not None else set()
    seen = {locate_layer(networks, monitor) for monitor in options.monitors or ()}
    if options.pooled_outputs == "relay":
        # No relay shows a sum over phases.
        fixed |= {(n, o.source) for n, net in enumerate(networks) for o in net.outputs if o.path}
    return [
        ({name for m, name in fixed if m == n}, {name for m, name in seen if m == n})
        for n in range(len(networks))
    ]
