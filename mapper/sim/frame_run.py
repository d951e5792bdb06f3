"""What a frame simulation computes: windows of time steps, core by core.

Convolutions are torch's, rounded to whole numbers, in single precision only where every sum is exact in it;
all else is compiled. Features lie innermost in everything computed here, as (batch, time, height, width,
features): convolutions need no reordering then, and pools add whole vectors.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
import torch

from mapper.emit.shared.config import CnnLayer
from mapper.emit.shared.graph import ConfigGraph, Link
from mapper.errors import ConfigError, Finding
from mapper.integers import widened
from mapper.sim.core_arrays import (
    SHORT_COUNT_MAX,
    biases_of,
    initial_of,
    input_shape,
    taps,
    weights_of,
)
from mapper.sim.event_tables import runs_of
from mapper.sim.kernels import (
    add_input,
    add_pooled,
    fire_steps,
    fire_steps_in_single,
    reached,
    spread_input,
    spread_spikes,
    sum_frames,
)
from mapper.sim.vector_add import LANES

__all__ = ["FrameState", "Run"]

# Spikes, (batch, time, height, width, features), the pool on their way, and the first feature they arrive at.
_Came: TypeAlias = tuple[Any, int, int]

# Steps are computed in windows whose largest map has about so many entries: they stay in the cache, and
# the allocator hands the same memory out again instead of fetching fresh pages.
_WINDOW_ENTRIES = 1 << 20
# So many counts below 2^24 add up to less than 2^31.
_WINDOW_STEPS = 127
# Sums of integers are exact below these in single and double precision.
_SINGLE_MAX, _DOUBLE_MAX = 1 << 24, 1 << 53
# To add the runs of one spike costs as much as so many more additions, and convolutions do so many of them in
# the time of one: measured, the crossover lies between 3 and 6 % of density.
_RUN_COST, _DENSE_SPEED = 30, 10
# Potentials of 16 bits end before this; twice as much is what they add to a bound of sums.
_STATE_END = 1 << 15


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


@dataclass(slots=True)
class _Core:
    """A core, and where its neurons stand.

    Attributes
    ----------
    entries
        (input name, (height, width) of its pool, feature shift) of what enters from outside.
    bias
        (features,), or None if it adds nothing.
    reach
        Times the count at each place of the input: synaptic operations.
    most
        What |current| does not exceed by count, and what it does not exceed without any.
    potential
        (batch, height, width, features): in single precision only while it is within 16 bits, else in
        integers.
    spikes
        Of the window; where something is delayed, of all steps and those before the first.
    totals
        (batch, height, width, features): spikes of each neuron in the window.
    largest
        No count of one step exceeded it so far.
    entering
        Synaptic operations of what enters from outside, of all steps.
    runs
        Weights and spans as `spread_spikes` takes them, once they are needed.
    """

    layer: CnnLayer
    links: tuple[Link, ...]
    entries: tuple[tuple[str, tuple[int, int], int], ...]
    single_spike: bool
    shape: tuple[int, int, int]
    weights: Any
    bias: Any
    reach: Any
    most: tuple[int, int]
    potential: Any
    spikes: Any = None
    totals: Any = None
    largest: int = 0
    synops: int = 0
    entering: int = 0
    beyond: int = 0
    runs: Any = None
    kernels: dict[torch.dtype, tuple[torch.Tensor, torch.Tensor | None]] = field(default_factory=dict)


def _core(graph: ConfigGraph, number: int, potential: Any) -> _Core:
    layer, weights = graph.cores[number], weights_of(graph.cores[number])
    bias = biases_of(layer) if layer.leak_enable else None
    bias = bias if bias is not None and bias.any() else None
    features, height, width = input_shape(layer)
    return _Core(
        layer,
        graph.arriving(number),
        tuple(
            (name, pooling, entry.feature_shift)
            for name, (entries, pooling) in graph.entries.items()
            for entry in entries
            if entry.core == number
        ),
        number in graph.single_spike,
        (height, width, features),
        weights,
        bias,
        taps(layer) * weights.shape[0],
        (
            int(np.abs(widened(weights)).sum(axis=(1, 2, 3)).max(initial=0)),
            0 if bias is None else int(np.abs(bias).max(initial=0)),
        ),
        potential,
    )


class Run:
    """One run: spikes of all cores over time, with room for delayed ones before the first step.

    Parameters
    ----------
    inputs
        By input name, (batch, time, features, height, width).
    recorded
        Cores whose spikes are kept, in `counts`.
    """

    def __init__(
        self,
        graph: ConfigGraph,
        inputs: Mapping[str, Any],
        state: FrameState,
        device: torch.device,
        recorded: Collection[int],
    ) -> None:
        self.inputs, self.device = inputs, device
        self.batch: int = next(iter(inputs.values())).shape[0] if inputs else 1
        self.steps: int = next(iter(inputs.values())).shape[1] if inputs else 0
        self.depth = max((link.delay_steps for link in graph.links), default=0)
        self.input_largest = {name: int(array.max(initial=0)) for name, array in inputs.items()}
        self.history_largest = max((int(a.max(initial=0)) for a in state.history.values()), default=0)
        self.cores: dict[int, _Core] = {}
        # Only what is asked for becomes integers: for large maps that takes longer than the neurons.
        self.counts: dict[int, Any] = {}
        for number in graph.order:
            core = self.cores[number] = _core(graph, number, self._start(graph, number, state))
            _, *place = core.potential.shape
            if number in recorded:
                self.counts[number] = np.empty((self.batch, self.steps, place[2], *place[:2]), np.int64)
            if self.depth:
                # Feedback is computed step by step, into traces that are there from the start.
                core.spikes = np.zeros((self.batch, self.depth + self.steps, *place), np.float64)
                if number in state.history:
                    core.spikes[:, : self.depth] = np.moveaxis(state.history[number], 2, -1)

    def _start(self, graph: ConfigGraph, number: int, state: FrameState) -> Any:
        given, initial = state.potentials.get(number), initial_of(graph.cores[number])
        if given is not None and given.shape[0] != self.batch:
            step = "Start without a state, or keep the batch size"
            raise ConfigError(
                Finding("state", "has another batch size", given.shape[0], self.batch, next_step=step)
            )
        if given is not None:
            start = np.moveaxis(given, 1, -1)
        elif initial is not None:
            start = np.moveaxis(initial, 0, -1)
        else:
            raise ConfigError(Finding(f"core {number}", "has no initial potentials"))
        most = int(np.abs(start).max(initial=0))
        potential = np.zeros((self.batch, *start.shape[-3:]), np.float32 if most < _STATE_END else np.int64)
        if most:
            potential[:] = start
        return potential

    def all_steps(self, pause: Callable[[], object] | None = None) -> None:
        """A window of steps at a time, core by core; where something is fed back a step at a time.

        Parameters
        ----------
        pause
            Called before every core's part of a window.
        """
        self._count_inputs()
        largest = max((core.potential.size for core in self.cores.values()), default=1)
        length = 1 if self.depth else min(_WINDOW_STEPS, max(1, _WINDOW_ENTRIES // max(1, largest)))
        windows = -(-self.steps // length)
        bounds = [n * self.steps // max(1, windows) for n in range(windows + 1)]
        with torch.no_grad():
            for start, stop in pairwise(bounds):
                for number, core in self.cores.items():
                    if pause is not None:
                        pause()
                    self._compute(number, core, slice(start, stop))
                for number, counts in self.counts.items():
                    spikes = self.cores[number].spikes
                    seen = spikes[:, self.depth + start : self.depth + stop] if self.depth else spikes
                    counts[:, start:stop] = np.moveaxis(seen, -1, 2)

    def state(self) -> FrameState:
        """To go on from."""
        potentials, history = {}, {}
        for number, core in self.cores.items():
            potentials[number] = np.moveaxis(core.potential, -1, 1).astype(np.int64, order="C")
            if self.depth:
                # The last `depth` steps of a trace of `depth + steps`.
                history[number] = np.moveaxis(core.spikes[:, self.steps :], -1, 2).copy()
        return FrameState(potentials, history)

    def _count_inputs(self) -> None:
        """Synaptic operations of what enters from outside."""
        for name, array in self.inputs.items():
            height, width = array.shape[3:]
            sums = np.zeros(height * width, np.int64)
            sum_frames(array.reshape(-1, height * width), sums)
            for core in self.cores.values():
                for entry, (py, px), _ in core.entries:
                    if entry == name:
                        core.entering += reached(sums.reshape(1, height, width, 1), core.reach, py, px)
        for core in self.cores.values():
            core.synops += core.entering

    def _compute(self, number: int, core: _Core, window: slice) -> None:
        before = core.synops
        came, most = self._came(core, window)
        bound = core.most[0] * most + core.most[1]
        operations = core.synops - before + core.entering * (window.stop - window.start) // max(1, self.steps)
        if bound + 2 * _STATE_END < _SINGLE_MAX and self._is_sparse(core, came, operations, window):
            current = self._spread(core, came, window)
        else:
            current, bound = self._convolved(number, core, self._arriving(core, came, most, window), most)
        state, high, low = core.potential, core.layer.threshold_high or 1, core.layer.threshold_low or 0
        fits = high < _STATE_END and low >= -_STATE_END
        if state.dtype != np.float32:
            fits = fits and int(np.abs(state).max(initial=0)) < _STATE_END
        if fits and not core.single_spike and bound + 2 * _STATE_END < _SINGLE_MAX:
            spikes = self._fired_fast(core, current, high, low)
            core.largest = max(core.largest, int(core.totals.max(initial=0)))
        else:
            spikes = self._fired(number, core, current, high, low)
        if self.depth:
            core.spikes[:, self.depth + window.start : self.depth + window.stop] = spikes
        else:
            core.spikes = spikes

    def _fired_fast(self, core: _Core, current: Any, high: int, low: int) -> Any:
        """Spikes, written over the currents: no count leaves single precision here."""
        core.potential = core.potential.astype(np.float32, copy=False)
        core.totals = np.zeros(core.potential.shape, np.int32)
        for sample in range(self.batch):
            fire_steps_in_single(
                current[sample].reshape(current.shape[1], -1), core.potential[sample].reshape(-1),
                np.float32(high), np.float32(low), core.layer.return_to_zero,
                core.totals[sample].reshape(-1),
            )  # fmt: skip
        return current

    def _fired(self, number: int, core: _Core, current: Any, high: int, low: int) -> Any:
        """Spikes of neurons in integers; in double precision if the counts need it."""
        before = core.potential.astype(np.int64, copy=False)
        for kind in (np.float32, np.float64):
            core.potential, core.totals = before.copy(), np.zeros(before.shape, np.int64)
            spikes, beyond, largest = np.empty(current.shape, kind), 0, 0
            for sample in range(self.batch):
                tally = fire_steps(
                    current[sample].reshape(current.shape[1], -1), core.potential[sample].reshape(-1), high,
                    low, core.layer.return_to_zero, core.single_spike,
                    spikes[sample].reshape(current.shape[1], -1), core.totals[sample].reshape(-1),
                )  # fmt: skip
                beyond, largest = beyond + int(tally[0]), max(largest, int(tally[1]))
            if largest < (_SINGLE_MAX if kind is np.float32 else _DOUBLE_MAX):
                core.beyond, core.largest = core.beyond + beyond, max(core.largest, largest)
                return spikes
        raise ConfigError(
            Finding(f"core {number}", "its counts exceed exact arithmetic", largest, _DOUBLE_MAX)
        )

    def _came(self, core: _Core, window: slice) -> tuple[list[_Came], int]:
        """What other cores send, and what no count at one place of the input exceeds."""
        came, most = [], sum(self.input_largest[name] * py * px for name, (py, px), _ in core.entries)
        for link in core.links:
            source = self.cores[link.source]
            frames, summed = source.spikes, source.totals
            if self.depth:
                start = self.depth + window.start - link.delay_steps
                frames = frames[:, start : start + window.stop - window.start]
                summed = frames[:, 0]
            core.synops += reached(summed, core.reach, link.pooling, link.pooling)
            came.append((frames, link.pooling, link.feature_shift))
            most += max(source.largest, self.history_largest) * link.pooling**2
        return came, most

    def _arriving(self, core: _Core, came: list[_Came], most: int, window: slice) -> Any:
        """Counts that arrive at a core, (batch, time, height, width, features)."""
        kind = np.float32 if most < _SINGLE_MAX else np.float64
        if not core.entries and len(came) == 1:
            frames, pooling, shift = came[0]
            if pooling == 1 and shift == 0 and frames.shape[2:] == core.shape:
                return np.ascontiguousarray(frames, kind)
        total = np.zeros((self.batch, window.stop - window.start, *core.shape), kind)
        for sample in range(self.batch):
            for name, (py, px), shift in core.entries:
                add_input(total[sample], self.inputs[name][sample, window], py, px, shift)
            for frames, pooling, shift in came:
                add_pooled(total[sample], frames[sample], pooling, shift)
        return total

    def _is_sparse(self, core: _Core, came: list[_Came], operations: int, window: slice) -> bool:
        """Whether to add spike by spike takes less time than to convolve. The currents are the same."""
        if self.depth or self.device.type != "cpu" or any(each.dtype != np.float32 for each, *_ in came):
            return False
        features, inputs, kernel, _ = core.weights.shape
        places = self.batch * (window.stop - window.start) * core.potential[0, ..., 0].size
        run = features * kernel
        whole: int = places * features * inputs * kernel**2
        return bool(int(operations) * (_RUN_COST + run) * _DENSE_SPEED < whole * run)

    def _spread(self, core: _Core, came: list[_Came], window: slice) -> Any:
        """Currents and biases, spike by spike: exact in single precision, in whatever order, by the bound."""
        if core.runs is None:
            core.runs = runs_of(core.layer, core.weights)
        weights, spans = core.runs
        size, kernel, neurons = core.shape[:2], core.weights.shape[-1], core.potential.shape[1:]
        steps = window.stop - window.start
        count = steps * core.potential[0].size
        whole = np.zeros(self.batch * count + LANES, np.float32)
        current = whole[: self.batch * count].reshape(self.batch, steps, *neurons)
        if core.bias is not None:
            current += core.bias
        for sample in range(self.batch):
            flat = whole[sample * count :]
            for name, pools, shift in core.entries:
                frames = self.inputs[name][sample, window]
                spread_input(flat, neurons, frames, pools, shift, size, weights, spans, kernel)
            for frames, pooling, shift in came:
                spread_spikes(flat, neurons, frames[sample], pooling, shift, size, weights, spans, kernel)
        return current

    def _convolved(self, number: int, core: _Core, arriving: Any, most: int) -> tuple[Any, int]:
        """Currents and biases of a core, not rounded yet, and what none of them exceeds."""
        shape = core.layer.dimensions
        if shape is None:
            raise ConfigError(Finding(f"core {number}", "is not configured"))
        by_count, constant = core.most
        bound = by_count * most + constant
        if bound + 2 * _STATE_END >= _SINGLE_MAX:
            # Too coarse: measure.
            bound = by_count * int(arriving.max(initial=0)) + constant
        if bound >= _DOUBLE_MAX:
            raise ConfigError(
                Finding(f"core {number}", "its sums exceed exact arithmetic", bound, _DOUBLE_MAX)
            )
        single = bound < _SINGLE_MAX and (self.device.type == "cpu" or most <= SHORT_COUNT_MAX)
        kind = torch.float32 if single else torch.float64
        if kind not in core.kernels:
            kernel = torch.tensor(core.weights, dtype=kind, device=self.device)
            bias = None if core.bias is None else torch.tensor(core.bias, dtype=kind, device=self.device)
            core.kernels[kind] = kernel.to(memory_format=torch.channels_last), bias
        stride, padding = (shape.stride.y, shape.stride.x), (shape.padding.y, shape.padding.x)
        flat = torch.from_numpy(arriving.reshape(-1, *core.shape)).to(self.device, kind)
        convolved = torch.nn.functional.conv2d(flat.permute(0, 3, 1, 2), *core.kernels[kind], stride, padding)
        current = convolved.permute(0, 2, 3, 1).contiguous().cpu().numpy()
        return current.reshape(*arriving.shape[:2], *current.shape[1:]), bound
