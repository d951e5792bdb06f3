"""Frame simulation of a configuration: time steps on the configured cores, exact in integers.

It knows nothing of the network: what was emitted is what runs. Convolutions are torch's, rounded to
whole numbers, in single precision only where every sum is exact in it; all else is compiled.
The input of the sensor stage is taken behind cropping, mirroring and swapping, as the network sees it,
and pooled by the stage.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from mapper.emit.config import ChipConfig, CnnLayer, InterfaceOutput
from mapper.emit.graph import ConfigGraph, graph_of
from mapper.errors import ConfigError, Finding
from mapper.sim.core_arrays import initial, input_shape, taps, weights_of
from mapper.sim.kernels import add_pooled, fire_steps, fire_steps_in_single, measure_arrivals

__all__ = ["FrameResult", "FrameState", "simulate_config"]

# Steps are computed in windows whose largest map has about so many entries: they stay in the cache.
_WINDOW_ENTRIES = 1 << 21
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
    record: Collection[str] | None = None,
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
    record
        Layers whose spikes are given back ("core3" without interface); None for all. Outputs always are.
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
    wanted = config.interface.outputs if config.interface else ()
    seen = None if record is None else {*record, *(output.layer for output in wanted)}
    cores = dict.fromkeys(core for core, layer in _owners(config, graph) if seen is None or layer in seen)
    run = _Run(graph, ready, state or FrameState(), torch.device(device), tuple(cores))
    run.all_steps()
    spikes = {core: run.counts(core, batched) for core in cores}
    layers = _layers(config, spikes)
    first = run.steps  # the last `depth` steps of a trace of `depth + steps`
    history = {core: trace[:, first:] for core, trace in run.traces.items()} if run.depth else {}
    outputs = {output.name: _output(output, layers[output.layer]) for output in wanted}
    return FrameResult(spikes, layers, outputs, run.synops, run.beyond, FrameState(run.potentials, history))


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
        self,
        graph: ConfigGraph,
        inputs: Mapping[str, Any],
        state: FrameState,
        device: torch.device,
        recorded: Collection[int],
    ) -> None:
        # Only what is asked for becomes integers: for large maps that takes longer than the neurons.
        self.kept: dict[int, list[Any]] = {core: [] for core in recorded}
        self.graph, self.inputs, self.device = graph, inputs, device
        self.batch: int = next(iter(inputs.values())).shape[0] if inputs else 1
        self.steps: int = next(iter(inputs.values())).shape[1] if inputs else 0
        self.depth = max((link.delay_steps for link in graph.links), default=0)
        self.synops = dict.fromkeys(graph.order, 0)
        self.beyond = dict.fromkeys(graph.order, 0)
        self.largest = dict.fromkeys(graph.order, 0)
        self.input_largest = {name: int(array.max(initial=0)) for name, array in inputs.items()}
        self.history_largest = max((int(a.max(initial=0)) for a in state.history.values()), default=0)
        self.weights = {core: weights_of(graph.cores[core]) for core in graph.order}
        self.taps = {core: taps(graph.cores[core]).ravel() for core in graph.order}
        self.weight_sums = {
            core: int(np.abs(weights).sum(axis=(1, 2, 3)).max(initial=0))
            for core, weights in self.weights.items()
        }
        self.kernels: dict[tuple[int, torch.dtype], torch.Tensor] = {}
        self.traces: dict[int, Any] = {}
        self.potentials: dict[int, Any] = {}
        for core in graph.order:
            start_of = initial(graph.cores[core])
            given = state.potentials.get(core)
            if given is not None and given.shape[0] != self.batch:
                step = "Start without a state, or keep the batch size"
                raise ConfigError(
                    Finding("state", "has another batch size", given.shape[0], self.batch, next_step=step)
                )
            start = np.repeat(start_of[None], self.batch, axis=0) if given is None else np.array(given)
            self.potentials[core] = start
            if self.depth:
                # Feedback is computed step by step, into traces that are there from the start.
                trace = np.zeros((self.batch, self.depth + self.steps, *start_of.shape), np.float64)
                if core in state.history:
                    trace[:, : self.depth] = state.history[core]
                self.traces[core] = trace

    def counts(self, core: int, batched: bool) -> Any:
        """Spikes of a core as integers, without what came before the first step."""
        if self.depth:
            counts = self.traces[core][:, self.depth :].astype(np.int64)
        else:
            shape = (self.batch, 0, *self.potentials[core].shape[1:])
            counts = np.concatenate([np.zeros(shape, np.int64), *self.kept[core]], axis=1)
        return counts if batched else counts[0]

    def all_steps(self) -> None:
        """A window of steps at a time, core by core; where something is fed back a step at a time."""
        if not self.depth:
            largest = max((array[0].size for array in self.potentials.values()), default=1)
            length = max(1, _WINDOW_ENTRIES // max(1, largest * self.batch))
            for start in range(0, self.steps, length):
                window = slice(start, min(start + length, self.steps))
                for core in self.graph.order:
                    self._compute(core, window)
                for core, windows in self.kept.items():
                    windows.append(self.traces[core].astype(np.int64))
            return
        for step in range(self.steps):
            for core in self.graph.order:
                self._compute(core, slice(step, step + 1))

    def _compute(self, number: int, window: slice) -> None:
        current, bound = self._convolved(number, self._arriving(number, window))
        before = self.potentials[number]
        for kind in (np.float32, np.float64):
            potential = before.copy()
            spikes = np.empty(current.shape, kind)
            beyond, largest = self._fired(number, current, bound, potential, spikes)
            if largest < (_SINGLE_MAX if kind is np.float32 else _DOUBLE_MAX):
                break
        else:
            raise ConfigError(
                Finding(f"core {number}", "its counts exceed exact arithmetic", largest, _DOUBLE_MAX)
            )
        self.potentials[number] = potential
        self.beyond[number] += beyond
        self.largest[number] = max(self.largest[number], largest)
        if self.depth:
            self.traces[number][:, self.depth + window.start : self.depth + window.stop] = spikes
        else:
            self.traces[number] = spikes

    def _fired(self, number: int, current: Any, bound: int, potential: Any, spikes: Any) -> tuple[int, int]:
        """Run the neurons of every sample; potentials beyond 16 bits, and the largest count."""
        core = self.graph.cores[number]
        steps, features = current.shape[1:3]
        bias = np.zeros(features, np.int64)
        if core.leak_enable and core.biases is not None:
            bias = core.biases.array
        beyond, largest = 0, 0
        single_spike = number in self.graph.single_spike
        bound += int(np.abs(bias).max(initial=0)) + (1 << 16)
        fits = max(int(np.abs(potential).max(initial=0)), core.threshold_high or 1) < 1 << 15
        if fits and bound < _SINGLE_MAX and current.dtype == spikes.dtype == np.float32 and not single_spike:
            return 0, self._fired_fast(core, current, bias, potential, spikes)
        for sample in range(self.batch):
            flat, state = current[sample].reshape(steps, -1), potential[sample].reshape(-1)
            found = fire_steps(
                flat, bias, state.size // features, state, core.threshold_high or 1, core.threshold_low or 0,
                core.return_to_zero, single_spike, spikes[sample].reshape(steps, -1),
            )  # fmt: skip
            beyond, largest = beyond + int(found[0]), max(largest, int(found[1]))
        return beyond, largest

    def _fired_fast(self, core: CnnLayer, current: Any, bias: Any, potential: Any, spikes: Any) -> int:
        steps, features = current.shape[1:3]
        high, low = np.float32(core.threshold_high or 1), np.float32(core.threshold_low or 0)
        offset, largest = np.repeat(bias.astype(np.float32), potential[0].size // features), 0
        for sample in range(self.batch):
            state = potential[sample].reshape(-1).astype(np.float32)
            found = fire_steps_in_single(
                current[sample].reshape(steps, -1), offset, state, high, low, core.return_to_zero,
                spikes[sample].reshape(steps, -1),
            )  # fmt: skip
            potential[sample] = state.reshape(potential.shape[1:])
            largest = max(largest, int(found))
        return largest

    def _arriving(self, number: int, window: slice) -> Any:
        """Counts that arrive at a core, (batch, time, features, height, width)."""
        parts, bound = [], 0
        for name, (entries, pooling) in self.graph.entries.items():
            for entry in entries:
                if entry.core == number:
                    parts.append((self.inputs[name][:, window], pooling, entry.feature_shift))
                    bound += self.input_largest[name] * pooling[0] * pooling[1]
        for link in self.graph.arriving(number):
            frames = self.traces[link.source]
            if self.depth:
                start = self.depth + window.start - link.delay_steps
                frames = frames[:, start : start + window.stop - window.start]
            parts.append((frames, (link.pooling, link.pooling), link.feature_shift))
            bound += max(self.largest[link.source], self.history_largest) * link.pooling**2
        kind = np.float32 if bound < _SINGLE_MAX else np.float64
        shape = input_shape(self.graph.cores[number])
        if len(parts) == 1 and parts[0][1:] == ((1, 1), 0) and parts[0][0].shape[2:] == shape:
            return np.ascontiguousarray(parts[0][0], kind)
        total = np.zeros((self.batch, window.stop - window.start, *shape), kind)
        for frames, (py, px), shift in parts:
            for sample in range(self.batch):
                add_pooled(total[sample], frames[sample], py, px, shift)
        return total

    def _convolved(self, number: int, arriving: Any) -> tuple[Any, int]:
        """Currents of a core, not rounded yet, and what none of them exceeds."""
        core, weights = self.graph.cores[number], self.weights[number]
        shape = core.dimensions
        if shape is None:
            raise ConfigError(Finding(f"core {number}", "is not configured"))
        flat = arriving.reshape(-1, *arriving.shape[2:])
        positions = shape.input_shape.size.x * shape.input_shape.size.y
        largest, reached = measure_arrivals(flat.reshape(-1, positions), self.taps[number])
        self.synops[number] += round(reached) * weights.shape[0]
        bound = self.weight_sums[number] * int(largest)
        if bound >= _DOUBLE_MAX:
            raise ConfigError(
                Finding(f"core {number}", "its sums exceed exact arithmetic", bound, _DOUBLE_MAX)
            )
        kind = torch.float32 if bound < _SINGLE_MAX else torch.float64
        stride, padding = (shape.stride.y, shape.stride.x), (shape.padding.y, shape.padding.x)
        frames = torch.from_numpy(flat).to(self.device, kind)
        kernel = self.kernels.get((number, kind))
        if kernel is None:
            kernel = self.kernels[number, kind] = torch.from_numpy(weights).to(self.device, kind)
        with torch.no_grad(), torch.backends.cudnn.flags(allow_tf32=False):
            made = torch.nn.functional.conv2d(frames, kernel, None, stride, padding)
        current = made.cpu().numpy()
        return current.reshape(*arriving.shape[:2], *current.shape[1:]), bound


def _owners(config: ChipConfig, graph: ConfigGraph) -> Iterator[tuple[int, str]]:
    """(core, layer) of everything that is shown as a layer."""
    if config.interface is None:
        yield from ((core, f"core{core}") for core in graph.order)
        return
    for layer in config.interface.layers:
        yield from ((place.core, layer.name) for place in layer.places if place.role != "relay")


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
            if place.role != "relay" and place.core in spikes:
                parts.setdefault((place.start, place.stop), spikes[place.core])
        if parts:
            found[layer.name] = np.concatenate([parts[key] for key in sorted(parts)], axis=-3)
    return found


def _output(output: InterfaceOutput, layer: Any) -> Any:
    pooled = _pooled(layer, output.host_pool)
    return pooled if output.divisor == 1.0 else pooled / output.divisor
