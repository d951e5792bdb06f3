"""The reference simulation of a network: frame semantics, in numpy, for clarity and exactness.

Per time step and layer, in the network's order: current = operation applied to the incoming spike
counts, plus bias; potential += current; spikes = trunc(potential / threshold) where the potential is
positive (at most 1 in single-spike mode); potential -= spikes * threshold, or = 0 where it spiked;
potential = max(potential, minimum). Integer networks are computed in 64-bit integers, others in
double precision.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mapper.by_value import ByValue
from mapper.errors import Finding, NetworkError
from mapper.integers import widened
from mapper.network import Edge, Layer, Network
from mapper.operations import (
    Array,
    BatchNorm,
    Convolution,
    Flatten,
    Linear,
    Pair,
    PathOperation,
    Pool,
    Scale,
    Shape,
)
from mapper.own_shape import origin_of, own_map
from mapper.wording import other_shape

__all__ = [
    "NO_COUNTS",
    "Simulation",
    "State",
    "along",
    "are_spike_counts",
    "current_of",
    "deliver",
    "fire",
    "simulate",
]

# Whole numbers below it are exact in double precision.
_COUNT_MAX = 2**53
NO_COUNTS = "must hold spike counts: whole numbers from 0 to 2^53"


@dataclass(frozen=True, eq=False)
class State(ByValue):
    """What persists between calls.

    Attributes
    ----------
    potentials
        By layer, (features, height, width).
    history
        By signal, its spikes of the last steps, newest last: as many as the longest delay needs.
    """

    potentials: Mapping[str, Array] = field(default_factory=dict)
    history: Mapping[str, Array] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Simulation(ByValue):
    """What a run gives.

    Attributes
    ----------
    spikes
        Counts by layer, (time, features, height, width).
    outputs
        By output, after its host-side path, (time, features, height, width); of a layer as it was given.
    state
        To go on from.
    """

    spikes: Mapping[str, Array]
    outputs: Mapping[str, Array]
    state: State


def simulate(
    network: Network,
    inputs: Mapping[str, Array],
    state: State | None = None,
    *,
    pause: Callable[[], object] | None = None,
) -> Simulation:
    """Run a network on spike counts.

    Parameters
    ----------
    inputs
        By input name, (time, features, height, width), counts >= 0, as whole numbers.
    state
        Of an earlier call; None starts from the initial potentials.
    pause
        Called before every step; what it raises ends the run.

    Raises
    ------
    NetworkError
        Missing weights, an undelayed cycle, or inputs that do not fit: everything at once.
    """
    findings = [*_network_findings(network), *_input_findings(network, inputs)]
    if findings:
        raise NetworkError(*findings)
    dtype = np.int64 if network.is_integer else np.float64
    before = state or State()
    steps = next(iter(inputs.values())).shape[0] if inputs else 0
    depth = max((edge.delay_steps for edge in network.edges), default=0)
    signals = _traces(network, inputs, before, steps, depth, dtype)
    potentials = {layer.name: _initial(layer, before, dtype) for layer in network.layers}
    for step in range(steps):
        if pause is not None:
            pause()
        for layer in network.layers:
            arriving = np.zeros(layer.input_shape, dtype)
            for edge in network.incoming[layer.name]:
                deliver(edge, signals[edge.source][depth + step - edge.delay_steps], arriving)
            spikes, potentials[layer.name] = fire(layer, potentials[layer.name], current_of(layer, arriving))
            signals[layer.name][depth + step] = spikes
    spikes_by_layer = {layer.name: signals[layer.name][depth:] for layer in network.layers}
    shown = {
        o.name: own_map(signals[network.holder_of(o.source)][depth:], origin_of(network, o.source))
        for o in network.outputs
    }
    outputs = {
        output.name: np.stack([along(output.path, frame) for frame in shown[output.name]])
        if steps
        else np.zeros((0, 1, 1, 1), dtype)
        for output in network.outputs
    }
    history = {name: trace[trace.shape[0] - depth :] for name, trace in signals.items()}
    return Simulation(spikes_by_layer, outputs, State(potentials, history))


def _network_findings(network: Network) -> Iterable[Finding]:
    for layer in network.layers:
        if layer.operation.weight is None:
            yield Finding(f"layer {layer.title}", "has no weights: shapes alone cannot be simulated")
        if layer.neuron is None:
            yield Finding(f"layer {layer.title}", "has no spiking neurons")
    position = {entry.name: -1 for entry in network.inputs} | {
        layer.name: n for n, layer in enumerate(network.layers)
    }
    for edge in network.edges:
        if edge.delay_steps == 0 and position[edge.source] >= position[edge.target]:
            where = f"edge {edge.title}"
            yield Finding(where, "goes back in the network's order and needs a delay of at least one step")


def are_spike_counts(array: Array) -> bool:
    """Whether all are whole numbers from 0 to 2^53."""
    if array.dtype.kind not in "biuf":
        return False
    is_whole = array.dtype.kind != "f" or bool(np.all(array == np.floor(array)))
    return is_whole and (not array.size or (array.min() >= 0 and float(array.max()) <= _COUNT_MAX))


def _input_findings(network: Network, inputs: Mapping[str, Array]) -> Iterable[Finding]:
    names = {entry.name for entry in network.inputs}
    yield from (
        Finding(f"input {name}", "the network has no such input") for name in inputs if name not in names
    )
    lengths = {array.shape[0] for array in inputs.values() if array.ndim == 4}
    if len(lengths) > 1:
        yield Finding("inputs", "differ in their number of time steps", sorted(lengths))
    for entry in network.inputs:
        where = f"input {entry.name}"
        array: Any = inputs.get(entry.name)
        if array is None:
            yield Finding(where, "is missing")
        elif array.ndim != 4 or array.shape[1:] != tuple(entry.shape):
            yield other_shape(where, "raster", array.shape, entry.shape, ("time",))
        elif not are_spike_counts(array):
            yield Finding(where, NO_COUNTS)


def _traces(
    network: Network, inputs: Mapping[str, Array], before: State, steps: int, depth: int, dtype: Any
) -> dict[str, Any]:
    traces = {}
    for name, shape in network.signal_shapes.items():
        trace = np.zeros((depth + steps, *shape), dtype)
        if depth and name in before.history:
            trace[:depth] = before.history[name]
        if name in inputs:
            trace[depth:] = inputs[name]
        traces[name] = trace
    return traces


def _initial(layer: Layer, before: State, dtype: Any) -> Any:
    if layer.name in before.potentials:
        return np.array(before.potentials[layer.name], dtype)
    if layer.neuron is not None and layer.neuron.initial_potential is not None:
        return np.array(layer.neuron.initial_potential, dtype)
    return np.zeros(layer.output_shape, dtype)


def deliver(edge: Edge, frame: Any, arriving: Any) -> None:
    """Add a frame (features, height, width) to what arrives at the edge's target, in place."""
    pooled = along(edge.path, frame)
    arriving[edge.feature_offset : edge.feature_offset + pooled.shape[0]] += pooled


def along(path: Iterable[PathOperation], frame: Any) -> Any:
    """A frame (features, height, width) after the operations of a path."""
    for step in path:
        if isinstance(step, Pool):
            frame = _pool(step, frame)
        elif isinstance(step, Flatten):
            frame = frame.reshape(-1, 1, 1)
        elif isinstance(step, Scale):
            frame = frame * step.factor
    return frame


def _pool(pool: Pool, frame: Any) -> Any:
    summed = _windows(frame, pool.size, pool.stride).sum(axis=(3, 4))
    if pool.kind == "sum":
        return summed
    return summed / (pool.divisor or pool.size[0] * pool.size[1])


def _windows(frame: Any, size: Pair, stride: Pair, dilation: Pair = (1, 1)) -> Any:
    """A view of a frame by window, (features, rows, columns, height, width).

    NumPy's own `sliding_window_view` takes longer to make than a small layer takes to compute.
    """
    features, height, width = frame.shape
    rows = (height - (size[0] - 1) * dilation[0] - 1) // stride[0] + 1
    columns = (width - (size[1] - 1) * dilation[1] - 1) // stride[1] + 1
    f, y, x = frame.strides
    strides = f, y * stride[0], x * stride[1], y * dilation[0], x * dilation[1]
    return np.lib.stride_tricks.as_strided(frame, (features, rows, columns, *size), strides)


def current_of(layer: Layer, arriving: Any) -> Any:
    """What a layer's neurons integrate in one step, of its output shape.

    Parameters
    ----------
    arriving
        What all incoming edges together deliver, of the layer's input shape.
    """
    return _between(layer, _operate(layer, arriving))


def _operate(layer: Layer, arriving: Any) -> Any:
    operation = layer.operation
    if isinstance(operation, Linear):
        weight = widened(operation.weight)
        current = (weight @ arriving.reshape(-1)).reshape(layer.output_shape)
    else:
        current = _convolve(operation, arriving, layer.output_shape)
    if operation.bias is not None:
        current = current + widened(operation.bias)[:, None, None]
    return current


def _convolve(conv: Convolution, arriving: Any, shape: Shape) -> Any:
    features, height, width = arriving.shape
    py, px = conv.padding
    padded = np.zeros((features, height + 2 * py, width + 2 * px), arriving.dtype)
    padded[:, py : py + height, px : px + width] = arriving
    windows = _windows(padded, conv.kernel, conv.stride, conv.dilation)
    # By weight of an output and place of the map: one product of two matrices for each group.
    columns = windows.transpose(0, 3, 4, 1, 2).reshape(conv.groups, -1, shape[1] * shape[2])
    kernels = widened(conv.weight).reshape(conv.groups, -1, columns.shape[1])
    return np.concatenate([np.dot(*pair) for pair in zip(kernels, columns, strict=True)]).reshape(shape)


def _between(layer: Layer, current: Any) -> Any:
    for step in layer.between:
        if isinstance(step, Scale):
            current = current * step.factor
        elif isinstance(step, BatchNorm):
            mean, variance, scale, shift = (
                np.asarray(a, np.float64)[:, None, None]
                for a in (step.mean, step.variance, step.scale, step.shift)
            )
            current = (current - mean) / np.sqrt(variance + step.epsilon) * scale + shift
    return current


def fire(layer: Layer, potential: Any, current: Any) -> tuple[Any, Any]:
    """One step of a layer's neurons: the spikes, and the potentials after them; all of its output shape."""
    neuron: Any = layer.neuron
    threshold = neuron.threshold
    if isinstance(threshold, np.ndarray):
        threshold = threshold[:, None, None]
    potential = potential + current
    # Integers divide exactly; floats divide and round first, as the layers that were trained do.
    whole = potential // threshold if potential.dtype.kind == "i" else np.trunc(potential / threshold)
    if neuron.fires_at == "above":
        whole = np.ceil(potential / threshold) - 1
    spikes = np.where(potential > 0, whole, 0).astype(potential.dtype)
    if neuron.spike_mode == "single":
        spikes = np.minimum(spikes, 1)
    if neuron.reset == "subtract":
        potential = potential - spikes * threshold
    else:
        potential = np.where(spikes > 0, 0, potential)
    if neuron.minimum is not None:
        potential = np.maximum(potential, neuron.minimum)
    return spikes, potential
