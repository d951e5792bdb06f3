"""A prepared network in torch: frame semantics, differentiable through a surrogate gradient."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from mapper.errors import Finding, NetworkError
from mapper.network import Edge
from mapper.normal_form import NormalLayer, NormalNetwork
from mapper.operations import Neuron, PathOperation, Pool, Scale

__all__ = ["ForwardNetwork", "Surrogate", "default_surrogate"]

# (potential before the spike, threshold) -> gradient of the spike count by the potential.
Surrogate = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def default_surrogate(potential: torch.Tensor, threshold: torch.Tensor) -> torch.Tensor:
    """``exp(-|potential - threshold| / threshold) / threshold``: largest where a spike is decided."""
    return torch.exp(-(potential - threshold).abs() / threshold) / threshold


class _Spikes(torch.autograd.Function):
    """Spikes of one step forwards, the surrogate's gradient backwards."""

    @staticmethod
    def forward(
        context: Any, potential: torch.Tensor, threshold: torch.Tensor, neuron: Neuron, surrogate: Surrogate
    ) -> torch.Tensor:
        """``max(0, trunc(potential / threshold))`` spikes of one step; above, ``max(0, ceil(...) - 1)``.

        Parameters
        ----------
        potential
            Before the spikes, in the unit of the weights, (batch, features, height, width).
        threshold
            In the same unit, > 0, a scalar.
        neuron
            Says whether one spike is the most, and whether the threshold is to be exceeded.

        Returns
        -------
        torch.Tensor
            Whole numbers as floats, in the potential's shape.
        """
        context.save_for_backward(potential, threshold)
        context.surrogate = surrogate
        shares = potential / threshold
        whole = torch.trunc(shares) if neuron.fires_at == "reached" else torch.ceil(shares) - 1
        return whole.clamp(min=0, max=1 if neuron.spike_mode == "single" else None)

    @staticmethod
    def backward(context: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None, None, None]:
        """The gradient by the potential, in its shape; nothing else gets one."""
        potential, threshold = context.saved_tensors
        return gradients[0] * context.surrogate(potential, threshold), None, None, None


class ForwardLayer(nn.Module):
    """A convolution with integrate-and-fire neurons; its potentials persist until they are reset."""

    def __init__(self, layer: NormalLayer, surrogate: Surrogate) -> None:
        super().__init__()
        conv, neuron = layer.operation, layer.neuron
        if conv.weight is None:
            raise NetworkError(Finding(f"layer {layer.name}", "has no weights to run"))
        self.weight = nn.Parameter(_float(conv.weight))
        self.bias = None if conv.bias is None or not conv.has_bias else nn.Parameter(_float(conv.bias))
        self.register_buffer("threshold", torch.tensor(float(_number(neuron.threshold))))
        self.stride, self.padding = conv.stride, conv.padding
        self.minimum = None if neuron.minimum is None else float(neuron.minimum)
        self.neuron = neuron
        initial = neuron.initial_potential
        self.initial = torch.zeros(tuple(layer.output_shape)) if initial is None else _float(initial)
        self.surrogate = surrogate
        self.potential: torch.Tensor | None = None

    def current(self, x: torch.Tensor) -> torch.Tensor:
        """Convolution of spike counts, (frames, features, height, width)."""
        return nn.functional.conv2d(x, self.weight, self.bias, self.stride, self.padding)

    def fire(self, current: torch.Tensor) -> torch.Tensor:
        """Spikes of (batch, time, features, height, width)."""
        batch = current.shape[0]
        if self.potential is not None and self.potential.shape[0] != batch:
            step = "Call reset_states() first"
            raise NetworkError(
                Finding("batch size", "has changed", batch, self.potential.shape[0], next_step=step)
            )
        state = self.initial.expand(batch, *self.initial.shape) if self.potential is None else self.potential
        state = state.to(current)
        threshold = torch.as_tensor(self.threshold).to(current)
        step_spikes = []
        for now in range(current.shape[1]):
            state = state + current[:, now]
            spikes: torch.Tensor = _Spikes.apply(  # type: ignore[no-untyped-call]
                state, threshold, self.neuron, self.surrogate
            )
            step_spikes.append(spikes)
            state = (
                state.masked_fill(spikes > 0, 0.0)
                if self.neuron.reset == "zero"
                else state - spikes * threshold
            )
            if self.minimum is not None:
                state = state.clamp(min=self.minimum)
        self.potential = state.detach()
        return torch.stack(step_spikes, 1)


def _float(array: object) -> torch.Tensor:
    return torch.tensor(array, dtype=torch.float32)


def _number(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value


class ForwardNetwork(nn.Module):
    """All layers of a prepared network.

    Parameters
    ----------
    network
        After the passes.
    surrogates
        By layer, in order; None takes the default for all.
    """

    def __init__(self, network: NormalNetwork, surrogates: Sequence[Surrogate] | None = None) -> None:
        super().__init__()
        chosen = surrogates or [default_surrogate] * len(network.layers)
        self.network = network
        self.layers = nn.ModuleList(
            ForwardLayer(layer, surrogate) for layer, surrogate in zip(network.layers, chosen, strict=True)
        )
        self.depth = max((edge.delay_steps for edge in network.edges), default=0)
        self.history: dict[str, torch.Tensor] = {}

    def reset(self, randomize: bool = False) -> None:
        """Forget potentials and delayed spikes; with `randomize` start between minimum and threshold."""
        self.history.clear()
        for layer in self.layers:
            if not isinstance(layer, ForwardLayer):
                continue
            layer.potential = None
            if randomize:
                low = -float(torch.as_tensor(layer.threshold)) if layer.minimum is None else layer.minimum
                high = float(torch.as_tensor(layer.threshold))
                layer.potential = torch.rand(1, *layer.initial.shape) * (high - low) + low

    def potentials(self) -> list[torch.Tensor]:
        """By layer, (batch, features, height, width): what the next step starts from."""
        layers = (layer for layer in self.layers if isinstance(layer, ForwardLayer))
        return [layer.initial[None] if layer.potential is None else layer.potential for layer in layers]

    def detach(self) -> None:
        """Cut potentials and delayed spikes from the graph of gradients."""
        for layer in self.layers:
            if isinstance(layer, ForwardLayer) and layer.potential is not None:
                layer.potential = layer.potential.detach()
        self.history = {name: trace.detach() for name, trace in self.history.items()}

    def draw_weights(self, draw: Callable[[torch.Tensor], object]) -> None:
        """Fill every layer's weights by an initialiser of torch."""
        for layer in self.layers:
            if isinstance(layer, ForwardLayer):
                draw(layer.weight.data)

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
        if not self.depth:
            signals = dict(inputs)
            for layer, module in zip(self.network.layers, self.layers, strict=True):
                signals[layer.name] = self._run(layer, module, signals)
            return {layer.name: signals[layer.name] for layer in self.network.layers}
        return self._step_by_step(inputs)

    def _run(
        self, layer: NormalLayer, module: nn.Module, signals: Mapping[str, torch.Tensor]
    ) -> torch.Tensor:
        arriving = self._arriving(layer, lambda edge: signals[edge.source])
        if not isinstance(module, ForwardLayer):
            raise TypeError(type(module).__name__)
        frames = module.current(arriving.flatten(0, 1))
        return module.fire(_parted(frames, arriving))

    def _step_by_step(self, inputs: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        first = next(iter(inputs.values()))
        batch, steps = first.shape[:2]
        past: dict[str, list[torch.Tensor]] = {}
        for name, shape in self.network.signal_shapes.items():
            kept = self.history.get(name)
            start = torch.zeros(batch, self.depth, *shape).to(first) if kept is None else kept
            past[name] = [start[:, n : n + 1] for n in range(self.depth)]
        for step in range(steps):
            for name, array in inputs.items():
                past[name].append(array[:, step : step + 1])
            for layer, module in zip(self.network.layers, self.layers, strict=True):
                now = {
                    id(edge): past[edge.source][self.depth + step - edge.delay_steps]
                    for edge in self.network.incoming[layer.name]
                }
                arriving = self._arriving(layer, lambda edge, now=now: now[id(edge)])  # type: ignore[misc]  # bound now
                if isinstance(module, ForwardLayer):
                    current = _parted(module.current(arriving.flatten(0, 1)), arriving)
                    past[layer.name].append(module.fire(current))
        self.history = {name: torch.cat(trace[-self.depth :], 1).detach() for name, trace in past.items()}
        return {layer.name: torch.cat(past[layer.name][self.depth :], 1) for layer in self.network.layers}

    def _arriving(self, layer: NormalLayer, signal: Callable[[Edge], torch.Tensor]) -> torch.Tensor:
        parts = []
        for edge in self.network.incoming[layer.name]:
            value = along(edge.path, signal(edge))
            behind = layer.input_shape.features - edge.feature_offset - value.shape[2]
            parts.append(nn.functional.pad(value, (0, 0, 0, 0, edge.feature_offset, behind)))
        return torch.stack(parts).sum(0)


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
