"""Frame simulation of a configuration: time steps on the configured cores, exact in integers.

It knows nothing of the network: what was emitted is what runs. Convolutions are torch's, rounded to
whole numbers, in single precision only where every sum is exact in it; neurons are a compiled kernel.
The input of the sensor stage is taken behind cropping, mirroring and swapping, as the network sees it,
and pooled by the stage.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from mapper.emit.config import ChipConfig, CnnLayer, InterfaceOutput
from mapper.emit.graph import ConfigGraph, graph_of
from mapper.errors import ConfigError, Finding
from mapper.sim.kernels import fire_steps

__all__ = ["FrameResult", "FrameState", "simulate_config"]

# Sums of integers are exact below these in single and double precision.
_SINGLE_MAX, _DOUBLE_MAX = 1 << 24, 1 << 53


@dataclass(frozen=True)
class FrameState:
    """What persists between calls.

    Attributes
    ----------
    potentials
        By core, (batch, features, height, width).
    history
        By core, its spikes of the last steps, (batch, steps, features, height, width): as many steps as
        the longest delay.
    """

    potentials: Mapping[int, Any] = field(default_factory=dict)
    history: Mapping[int, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class FrameResult:
    """What a run gives; shapes without the batch axis if the inputs had none.

    Attributes
    ----------
    spikes
        By core, (batch, time, features, height, width).
    layers
        By layer of the interface, its pieces joined; by "core3" and so on without interface.
    outputs
        By output, pooled on the host as the interface says.
    synops
        By core, synaptic operations: neurons reached by arriving spikes.
    beyond_16_bits
        By core, how often a potential lay outside what the chip can hold.
    state
        To go on from.
    """

    spikes: Mapping[int, Any]
    layers: Mapping[str, Any]
    outputs: Mapping[str, Any]
    synops: Mapping[int, int]
    beyond_16_bits: Mapping[int, int]
    state: FrameState


def simulate_config(
    config: ChipConfig,
    inputs: Mapping[str, Any],
    state: FrameState | None = None,
    *,
    input_cores: Mapping[str, int] | None = None,
    ignore_lossy: bool = False,
    device: str = "cpu",
) -> FrameResult:
    """Run a configuration on spike counts.

    Parameters
    ----------
    inputs
        By input name, (time, features, height, width) or (batch, time, features, height, width), whole
        numbers from 0.
    state
        Of an earlier call with the same batch size; None starts from the initial potentials.
    input_cores
        By input name the core it enters, for a configuration without interface.
    ignore_lossy
        Run although a decimator or congestion balancer would drop spikes on the chip.
    device
        Where torch convolves: "cpu", "cuda:0".

    Raises
    ------
    ConfigError
        The configuration is inconsistent, the inputs do not fit it, or it drops spikes: everything at once.
    """
    graph = graph_of(config, input_cores)
    arrays = {name: np.asarray(array) for name, array in inputs.items()}
    findings = [*_input_findings(graph, arrays), *(() if ignore_lossy else _lossy(graph))]
    if findings:
        raise ConfigError(*findings)
    batched = all(array.ndim == 5 for array in arrays.values())
    ready = {name: array if array.ndim == 5 else array[None] for name, array in arrays.items()}
    run = _Run(graph, ready, state or FrameState(), torch.device(device))
    run.all_steps()
    spikes = {core: trace[:, run.depth :] for core, trace in run.traces.items()}
    if not batched:
        spikes = {core: trace[0] for core, trace in spikes.items()}
    layers = _layers(config, spikes)
    first = run.steps  # the last `depth` steps of a trace of `depth + steps`
    history = {core: trace[:, first:] for core, trace in run.traces.items()}
    kept = FrameState(run.potentials, history)
    wanted = config.interface.outputs if config.interface else ()
    outputs = {output.name: _output(output, layers[output.layer]) for output in wanted}
    return FrameResult(spikes, layers, outputs, run.synops, run.beyond, kept)


def _input_findings(graph: ConfigGraph, arrays: Mapping[str, Any]) -> Iterator[Finding]:
    known = ", ".join(graph.entries) or "none: name them by input_cores"
    for name in arrays:
        if name not in graph.entries:
            yield Finding(f"input {name}", "the configuration has no such input", limit=known)
    for name in graph.entries:
        if name not in arrays:
            yield Finding(f"input {name}", "is missing")
    if len({(array.ndim, array.shape[: array.ndim - 3]) for array in arrays.values()}) > 1:
        yield Finding("inputs", "differ in batch size or number of time steps")
    for name, (entries, (py, px)) in graph.entries.items():
        array = arrays.get(name)
        if array is None:
            continue
        if array.ndim not in (4, 5) or array.dtype.kind not in "biuf":
            yield Finding(
                f"input {name}", "must be (time, features, height, width), batch before it", array.shape
            )
            continue
        if bool(np.any(array < 0) or np.any(array != np.floor(array))):
            yield Finding(f"input {name}", "must hold spike counts: whole numbers from 0")
        features, height, width = array.shape[-3:]
        for entry in entries:
            shape = graph.cores[entry.core].dimensions if entry.core in graph.cores else None
            if shape is None:
                yield Finding(f"input {name}", "enters a core that is not configured", entry.core)
                continue
            size = shape.input_shape.size
            if (height // py, width // px) != (size.y, size.x):
                got, wanted = (height, width), (size.y * py, size.x * px)
                yield Finding(f"input {name}", f"has not the map that core {entry.core} reads", got, wanted)
            if entry.feature_shift + features > shape.input_shape.feature_count:
                most = shape.input_shape.feature_count - entry.feature_shift
                yield Finding(
                    f"input {name}", f"has more features than core {entry.core} reads", features, most
                )


def _lossy(graph: ConfigGraph) -> Iterator[Finding]:
    for number, core in graph.cores.items():
        for name, on in (
            ("decimator", core.output_decimator_enable),
            ("congestion balancer", core.input_congestion_balancer_enable),
        ):
            if on:
                step = "Run it with ignore_lossy to leave that out"
                yield Finding(
                    f"core {number}", f"its {name} drops spikes, which time steps cannot show", next_step=step
                )


class _Run:
    """One run: traces of all cores over time, with room for delayed spikes before the first step."""

    def __init__(
        self, graph: ConfigGraph, inputs: Mapping[str, Any], state: FrameState, device: torch.device
    ) -> None:
        self.graph, self.inputs, self.device = graph, inputs, device
        self.batch: int = next(iter(inputs.values())).shape[0] if inputs else 1
        self.steps: int = next(iter(inputs.values())).shape[1] if inputs else 0
        self.depth = max((link.delay_steps for link in graph.links), default=0)
        self.synops = dict.fromkeys(graph.order, 0)
        self.beyond = dict.fromkeys(graph.order, 0)
        self.weights = {core: _weights(graph.cores[core]) for core in graph.order}
        self.traces: dict[int, Any] = {}
        self.potentials: dict[int, Any] = {}
        for core in graph.order:
            initial = _initial(graph.cores[core])
            given = state.potentials.get(core)
            if given is not None and given.shape[0] != self.batch:
                step = "Start without a state, or keep the batch size"
                raise ConfigError(
                    Finding("state", "has another batch size", given.shape[0], self.batch, next_step=step)
                )
            start = np.repeat(initial[None], self.batch, axis=0) if given is None else np.array(given)
            self.potentials[core] = start
            self.traces[core] = np.zeros((self.batch, self.depth + self.steps, *initial.shape), np.int64)
            if self.depth and core in state.history:
                self.traces[core][:, : self.depth] = state.history[core]

    def all_steps(self) -> None:
        """All steps of a core at once where nothing is fed back, else step by step."""
        if not self.depth:
            for core in self.graph.order:
                self._compute(core, slice(0, self.steps))
            return
        for step in range(self.steps):
            for core in self.graph.order:
                self._compute(core, slice(step, step + 1))

    def _compute(self, number: int, window: slice) -> None:
        core = self.graph.cores[number]
        arriving = self._arriving(number, window)
        current = self._convolved(number, arriving)
        if core.leak_enable and core.biases is not None:
            current += core.biases.array[:, None, None]
        steps = current.shape[1]
        high, low = core.threshold_high or 1, core.threshold_low or 0
        single = number in self.graph.single_spike
        for sample in range(self.batch):
            potential = self.potentials[number][sample]
            flat, state = current[sample].reshape(steps, -1), potential.reshape(-1)
            spikes, beyond = fire_steps(flat, state, high, low, core.return_to_zero, single)
            potential[...] = state.reshape(potential.shape)
            now = slice(self.depth + window.start, self.depth + window.stop)
            self.traces[number][sample, now] = spikes.reshape(current[sample].shape)
            self.beyond[number] += int(beyond)

    def _arriving(self, number: int, window: slice) -> Any:
        shape = _input_shape(self.graph.cores[number])
        total = np.zeros((self.batch, window.stop - window.start, *shape), np.int64)
        for name, (entries, pooling) in self.graph.entries.items():
            for entry in entries:
                if entry.core == number:
                    _add(total, self.inputs[name][:, window].astype(np.int64), pooling, entry.feature_shift)
        for link in self.graph.arriving(number):
            start = self.depth + window.start - link.delay_steps
            frames = self.traces[link.source][:, start : start + window.stop - window.start]
            _add(total, frames, (link.pooling, link.pooling), link.feature_shift)
        return total

    def _convolved(self, number: int, arriving: Any) -> Any:
        core, weights = self.graph.cores[number], self.weights[number]
        shape = core.dimensions
        if shape is None:
            raise ConfigError(Finding(f"core {number}", "is not configured"))
        bound = int(np.abs(weights).sum(axis=(1, 2, 3)).max(initial=0)) * int(arriving.max(initial=0))
        if bound >= _DOUBLE_MAX:
            raise ConfigError(
                Finding(f"core {number}", "its sums exceed exact arithmetic", bound, _DOUBLE_MAX)
            )
        kind = torch.float32 if bound < _SINGLE_MAX else torch.float64
        stride, padding = (shape.stride.y, shape.stride.x), (shape.padding.y, shape.padding.x)
        frames = torch.from_numpy(arriving.reshape(-1, *arriving.shape[2:])).to(self.device, kind)
        kernel = torch.from_numpy(weights).to(self.device, kind)
        with torch.no_grad(), torch.backends.cudnn.flags(allow_tf32=False):
            made = torch.nn.functional.conv2d(frames, kernel, None, stride, padding).round()
            counts, ones = frames.sum(1, keepdim=True).double(), torch.ones_like(kernel[:1, :1]).double()
            reached = torch.nn.functional.conv2d(counts, ones, None, stride, padding)
        self.synops[number] += round(float(reached.sum())) * weights.shape[0]
        current = made.to("cpu", torch.int64).numpy()
        return current.reshape(*arriving.shape[:2], *current.shape[1:])


def _weights(core: CnnLayer) -> Any:
    """(out, in, y, x) again: the configuration's last two axes are x, y."""
    return core.weights.array.transpose(0, 1, 3, 2).copy() if core.weights else None


def _initial(core: CnnLayer) -> Any:
    tensor = core.neurons_initial_value
    return tensor.array.transpose(0, 2, 1).copy() if tensor else None


def _input_shape(core: CnnLayer) -> tuple[int, int, int]:
    if core.dimensions is None:
        raise ConfigError(Finding("core", "is not configured"))
    shape = core.dimensions.input_shape
    return shape.feature_count, shape.size.y, shape.size.x


def _add(total: Any, frames: Any, pooling: tuple[int, int], shift: int) -> None:
    pooled = _pooled(frames, pooling)
    total[:, :, shift : shift + pooled.shape[2]] += pooled


def _pooled(frames: Any, pooling: tuple[int, int]) -> Any:
    """Sum pools over the last two axes; rows and columns that do not fill a pool do not exist."""
    py, px = pooling
    if (py, px) == (1, 1):
        return frames
    *head, height, width = frames.shape
    rows, columns = height // py, width // px
    cut = frames[..., : rows * py, : columns * px]
    return cut.reshape(*head, rows, py, columns, px).sum(axis=(-3, -1))


def _layers(config: ChipConfig, spikes: Mapping[int, Any]) -> dict[str, Any]:
    if config.interface is None:
        return {f"core{core}": trace for core, trace in spikes.items()}
    found = {}
    for layer in config.interface.layers:
        parts: dict[tuple[int, int], Any] = {}
        for place in layer.places:
            if place.role in ("layer", "piece", "copy"):
                parts.setdefault((place.start, place.stop), spikes[place.core])
        found[layer.name] = np.concatenate([parts[key] for key in sorted(parts)], axis=-3)
    return found


def _output(output: InterfaceOutput, layer: Any) -> Any:
    pooled = _pooled(layer, output.host_pool)
    return pooled if output.divisor == 1.0 else pooled / output.divisor
