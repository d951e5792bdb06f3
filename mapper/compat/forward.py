"""A network in normal form as a torch module: one network, simulated, trained, placed and emitted."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import nn

from mapper.compat.arrivals import PARTS, Semantics, checked_parts, checked_semantics, in_parts, in_steps
from mapper.compat.layer import DynapcnnLayer, bare
from mapper.compat.neurons import Surrogate, default_surrogate
from mapper.errors import Finding, NetworkError, warn_caller
from mapper.network import Edge
from mapper.normal_form import NormalNetwork
from mapper.operations import PathOperation, Pool, Scale
from mapper.passes.minimum import mend_minimum, require_minimum
from mapper.passes.quantize import quantize, without_declared_notes
from mapper.passes.rounding import rounding_losses
from mapper.reading import Reading

__all__ = ["ForwardNetwork", "along"]

_CHANGED = Reading(
    "weights", "changed since the network was read", "what was compared then is compared no more"
)


class ForwardNetwork(nn.Module):
    """All layers of a prepared network in time steps, or in parts of them; differentiable by surrogates.

    Parameters
    ----------
    network
        After the passes.
    surrogates
        By layer, in order; None takes the default for all.
    discretize
        Whether the layers compute with integers; None: as the network does.

    Attributes
    ----------
    structure
        The network without its numbers, which are the layers' tensors.
    """

    # What reads networks takes `network` of such a module.
    holds_network = True
    _semantics: Semantics = "steps"
    _parts = PARTS

    def __init__(
        self,
        network: NormalNetwork,
        surrogates: Sequence[Surrogate] | None = None,
        discretize: bool | None = None,
    ) -> None:
        super().__init__()
        chosen = surrogates or [default_surrogate] * len(network.layers)
        self._discretize = network.is_integer if discretize is None else discretize
        pools = [
            [_sizes(edge.path) for edge in network.outgoing[layer.name]]
            + [_sizes(output.path) for output in network.outputs if output.source == layer.name]
            for layer in network.layers
        ]
        self.layers = nn.ModuleList(
            DynapcnnLayer(layer, surrogate, pool, self.discretize)
            for layer, surrogate, pool in zip(network.layers, chosen, pools, strict=True)
        )
        self.structure = network.replacing(layers=tuple(map(bare, network.layers)))
        self.depth = max((edge.delay_steps for edge in network.edges), default=0)
        self.history: dict[str, torch.Tensor] = {}
        self._fingerprint = _fingerprint(self._as_held())
        for loss in rounding_losses((network,)):
            # Behind this class and the one that is made of it.
            warn_caller(f"rounding: {loss}")

    @property
    def discretize(self) -> bool:
        """Whether the layers compute with integers; decided when the network is made."""
        return self._discretize

    @property
    def semantics(self) -> Semantics:
        """What `forward` computes: "steps", or "events", the stand-in of `mapper.compat.arrivals`."""
        return self._semantics

    @semantics.setter
    def semantics(self, word: Semantics) -> None:
        self._semantics = checked_semantics(word)

    @property
    def parts(self) -> int:
        """Of a time step, with "events"; more of them are nearer to the chip, and take as much longer."""
        return self._parts

    @parts.setter
    def parts(self, count: int) -> None:
        self._parts = checked_parts(count)

    @property
    def network(self) -> NormalNetwork:
        """The network as its tensors are now, of integers where `discretize` says so.

        Raises
        ------
        NetworkError, ShapeError
            Tensors that make no network: not finite, of shapes that do not fit, ruined by rounding.
        """
        held = self._as_held()
        if _fingerprint(held) != self._fingerprint:
            readings = (*held.readings, *([_CHANGED] if held.compared_with else ()))
            notes = without_declared_notes(held.notes)
            held = held.replacing(compared_with="", readings=readings, notes=notes)
        return self.integer(held) if self.discretize else held

    @staticmethod
    def integer(network: NormalNetwork) -> NormalNetwork:
        """The network of integers; layers that are integers already stay as they are.

        Raises
        ------
        NetworkError
            Numbers that are not finite, or that rounding would ruin.
        """
        require_minimum(network)
        if not network.is_integer:
            whole = quantize(network)
            layers = tuple(
                before
                if before.operation.weight is not None and before.operation.weight.dtype.kind == "i"
                else after
                for before, after in zip(network.layers, whole.layers, strict=True)
            )
            network = whole.replacing(layers=layers)
        return mend_minimum(network)

    def _as_held(self) -> NormalNetwork:
        return self.structure.replacing(layers=tuple(layer.as_normal() for layer in self.core_layers()))

    def core_layers(self) -> list[DynapcnnLayer]:
        """The layers, in order."""
        return [layer for layer in self.layers if isinstance(layer, DynapcnnLayer)]

    def reset(self, randomize: bool = False) -> None:
        """Forget potentials and delayed spikes; with `randomize` start between minimum and threshold."""
        self.history.clear()
        for layer in self.core_layers():
            layer.reset_states(randomize)

    def potentials(self) -> list[torch.Tensor]:
        """By layer, (batch, features, height, width): what the next step starts from."""
        return [layer.potentials() for layer in self.core_layers()]

    def detach(self) -> None:
        """Cut potentials and delayed spikes from the graph of gradients."""
        for layer in self.core_layers():
            layer.spk.v_mem = layer.spk.v_mem.detach()
        self.history = {name: trace.detach() for name, trace in self.history.items()}

    def spikes(self, inputs: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Spikes of all layers.

        Parameters
        ----------
        inputs
            By input name, (batch, time, features, height, width).

        Returns
        -------
        dict
            By layer name, (batch, time, features, height, width).
        """
        if self.semantics == "steps":
            return self._frame_by_frame(inputs)
        shared = {name: in_parts(array, self.parts) for name, array in inputs.items()}
        return {name: in_steps(array, self.parts) for name, array in self._frame_by_frame(shared).items()}

    def _frame_by_frame(self, inputs: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Spikes of all layers for frames that are steps, or parts of them."""
        if self.depth:
            return self._step_by_step(inputs)
        signals = dict(inputs)
        for name, layer in self._named():
            signals[name] = self._run(name, layer, lambda edge: signals[edge.source])
        return {name: signals[name] for name, _ in self._named()}

    def _named(self) -> list[tuple[str, DynapcnnLayer]]:
        return list(zip(self.structure.index, self.core_layers(), strict=True))

    def _run(
        self, name: str, layer: DynapcnnLayer, signal: Callable[[Edge], torch.Tensor], first: int = 0
    ) -> torch.Tensor:
        arriving = self._arriving(name, layer, signal)
        layer.spk.batch_size = arriving.shape[0]
        if self.semantics == "steps":
            spikes: torch.Tensor = layer(arriving.flatten(0, 1))
        else:
            begins = [(first + n) % self.parts == 0 for n in range(arriving.shape[1])]
            spikes = layer(arriving.flatten(0, 1), begins)
        return _parted(spikes, arriving)

    def _step_by_step(self, inputs: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        first = next(iter(inputs.values()))
        batch, steps = first.shape[:2]
        past: dict[str, list[torch.Tensor]] = {}
        kept_batch = next((len(trace) for trace in self.history.values()), batch)
        if kept_batch != batch:
            problem, way_out = "has changed", "Call reset_states() first"
            raise NetworkError(Finding("batch size", problem, batch, kept_batch, next_step=way_out))
        for name, shape in self.structure.signal_shapes.items():
            kept = self.history.get(name)
            start = torch.zeros(batch, self.depth, *shape).to(first) if kept is None else kept
            past[name] = [start[:, n : n + 1] for n in range(self.depth)]
        for step in range(steps):
            for name, array in inputs.items():
                past[name].append(array[:, step : step + 1])
            for name, layer in self._named():
                now = self.depth + step
                past[name].append(
                    self._run(
                        name,
                        layer,
                        lambda edge, now=now: past[edge.source][now - edge.delay_steps],  # type: ignore[misc]  # bound now
                        step,
                    )
                )
        self.history = {name: torch.cat(trace[-self.depth :], 1).detach() for name, trace in past.items()}
        return {name: torch.cat(past[name][self.depth :], 1) for name, _ in self._named()}

    def _arriving(
        self, name: str, layer: DynapcnnLayer, signal: Callable[[Edge], torch.Tensor]
    ) -> torch.Tensor:
        edges, features = self.structure.incoming[name], layer.conv.weight.shape[1]
        parts = []
        for edge in edges:
            value = along(edge.path, signal(edge))
            behind = features - edge.feature_offset - value.shape[2]
            if len(edges) == 1 and not edge.feature_offset and not behind:
                return value
            parts.append(nn.functional.pad(value, (0, 0, 0, 0, edge.feature_offset, behind)))
        return torch.stack(parts).sum(0)


def _fingerprint(network: NormalNetwork) -> bytes:
    """A digest of all numbers of a network."""
    digest = hashlib.sha256()
    for layer in network.layers:
        neuron = layer.neuron
        for part in (
            layer.operation.weight, layer.operation.bias, neuron.initial_potential,
            [neuron.threshold, -np.inf if neuron.minimum is None else neuron.minimum],
        ):  # fmt: skip
            digest.update(b"-" if part is None else np.asarray(part, np.float32).tobytes())
    return digest.digest()


def _sizes(path: Sequence[PathOperation]) -> tuple[int, int]:
    """(height, width) of the pools of a path, one behind the other."""
    height = width = 1
    for step in path:
        if isinstance(step, Pool):
            height, width = height * step.size[0], width * step.size[1]
    return height, width


def _parted(frames: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Frames with the (batch, time) axes of another tensor."""
    return frames.reshape(*like.shape[:2], *frames.shape[1:])


def along(path: Sequence[PathOperation], value: torch.Tensor) -> torch.Tensor:
    """Pools and scales of a path applied to (batch, time, features, height, width)."""
    for step in path:
        if isinstance(step, Pool):
            frames = value.flatten(0, 1)
            pooled = nn.functional.avg_pool2d(frames, step.size, step.stride, divisor_override=1)
            if step.kind == "average":
                pooled = pooled / (step.divisor or step.size[0] * step.size[1])
            value = _parted(pooled, value)
        elif isinstance(step, Scale):
            value = value * step.factor
    return value
