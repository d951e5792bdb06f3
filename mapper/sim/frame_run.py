"""What a frame simulation computes: windows of time steps, core by core.

Where little arrives it is added spike by spike, by compiled kernels; elsewhere torch convolves, in single
precision only where every sum is exact in it. Either way the potentials are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
import torch

from mapper.by_value import ByValue
from mapper.emit.shared.graph import ConfigGraph
from mapper.errors import ConfigError, Finding
from mapper.sim.core_arrays import SHORT_COUNT_MAX, initial_of
from mapper.sim.frame_core import COUNT_MAX, SINGLE_MAX, STATE_END, Core, Frames, core_of, room
from mapper.sim.kernels import (
    FOUND_MORE,
    Grid,
    add_input,
    add_pooled,
    fire_currents,
    fire_steps,
    reached,
    spread_steps,
    sum_frames,
)

__all__ = ["FrameState", "Run"]

# Spikes, the pool on their way, and the first feature they arrive at.
_Came: TypeAlias = tuple[Frames, int, int]

# Steps are computed in windows whose largest map has about so many entries: they stay in the cache, and
# the allocator hands the same memory out again instead of fetching fresh pages.
_WINDOW_ENTRIES = 1 << 21
# So many counts of 16 bits add up to less than 2^31.
_WINDOW_STEPS = 127
# Below it sums of integers are exact in double precision, and below it rows are divided into places.
_DOUBLE_MAX, _ROW_MAX = 1 << 53, 1 << 32
# Times, measured, in those of a product of a convolution, 0.02 ns: of a spike, of 16 neurons it reaches, and,
# where torch convolves, of a count made ready, of a neuron's current and of a call. It uses all threads.
_SPIKE, _VECTOR, _READY, _CURRENT, _CALL = 350, 9, 30, 20, 4 << 20
_LANES = 16


@dataclass(frozen=True, eq=False)
class FrameState(ByValue):
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
        self.cores: dict[int, Core] = {}
        # Only what is asked for becomes integers: for large maps that takes longer than the neurons.
        self.counts: dict[int, Any] = {}
        for number in graph.order:
            core = core_of(graph, number, self._start(graph, number, state), self.batch)
            self.cores[number], (height, width, features) = core, core.neurons
            if number in recorded:
                self.counts[number] = np.empty((self.batch, self.steps, features, height, width), np.int64)
            if self.depth:
                # Feedback is computed step by step, into traces that are there from the start.
                core.trace = np.zeros((self.batch, self.depth + self.steps, *core.neurons), np.int64)
                if number in state.history:
                    core.trace[:, : self.depth] = np.moveaxis(state.history[number], 2, -1)

    def _start(self, graph: ConfigGraph, number: int, state: FrameState) -> Any:
        """(batch or 1, height, width, features)."""
        given, initial = state.potentials.get(number), initial_of(graph.cores[number])
        if given is not None and given.shape[0] != self.batch:
            step = "Start without a state, or keep the batch size"
            raise ConfigError(
                Finding("state", "has another batch size", given.shape[0], self.batch, next_step=step)
            )
        if given is not None:
            return np.moveaxis(given, 1, -1)
        if initial is not None:
            return np.moveaxis(initial, 0, -1)[None]
        raise ConfigError(Finding(f"core {number}", "has no initial potentials"))

    def all_steps(self, pause: Callable[[], object] | None = None) -> None:
        """A window of steps at a time, core by core; where something is fed back a step at a time.

        Parameters
        ----------
        pause
            Called before every core's part of a window.
        """
        largest = max((self.batch * core.number for core in self.cores.values()), default=1)
        length = 1 if self.depth else min(_WINDOW_STEPS, max(1, _WINDOW_ENTRIES // max(1, largest)))
        windows = -(-self.steps // length)
        bounds = [n * self.steps // max(1, windows) for n in range(windows + 1)]
        with torch.no_grad():
            for start, stop in pairwise(bounds):
                for number, core in self.cores.items():
                    if pause is not None:
                        pause()
                    self._compute(number, core, slice(start, stop))
                    if number in self.counts:
                        self.counts[number][:, start:stop] = np.moveaxis(core.sent.counts, -1, 2)

    def state(self) -> FrameState:
        """To go on from."""
        potentials, history = {}, {}
        for number, core in self.cores.items():
            standing = core.potential[:, : core.number].reshape(self.batch, *core.neurons)
            potentials[number] = np.moveaxis(standing, -1, 1).astype(np.int64, order="C")
            if self.depth:
                # The last `depth` steps of a trace of `depth + steps`.
                history[number] = np.moveaxis(core.trace[:, self.steps :], -1, 2).copy()
        return FrameState(potentials, history)

    def _compute(self, number: int, core: Core, window: slice) -> None:
        came, most = self._came(core, window)
        is_single = not core.entries and len(came) == 1
        source = came[0] if is_single else (self._arriving(core, came, most, window), 1, 0)
        kind = core.kind(most)
        if kind is not None and self._is_sparse(core, source, kind):
            core.fit(kind)
            core.sent = self._spread(core, source, kind)
        else:
            core.sent = self._dense(number, core, self._ready(core, source, most, window), most)
        if self.depth:
            core.trace[:, self.depth + window.start : self.depth + window.stop] = core.sent.counts

    def _came(self, core: Core, window: slice) -> tuple[list[_Came], int]:
        """What other cores send, and what no count at one place of the input exceeds."""
        came, most = [], sum(self.input_largest[name] * py * px for name, (py, px), _ in core.entries)
        for link in core.links:
            source = self.cores[link.source]
            frames = source.sent
            if self.depth:
                start = self.depth + window.start - link.delay_steps
                counts = source.trace[:, start : start + window.stop - window.start]
                frames = Frames(counts, counts.size)
            came.append((frames, link.pooling, link.feature_shift))
            most += max(source.largest, self.history_largest) * link.pooling**2
        return came, most

    def _arriving(self, core: Core, came: list[_Came], most: int, window: slice) -> Frames:
        """Counts that arrive at a core, pooled and added."""
        shape = (self.batch, window.stop - window.start, *core.shape)
        flat, total = room(shape, np.int16 if most <= COUNT_MAX else np.int64, is_zero=True)
        for sample in range(self.batch):
            for name, (py, px), shift in core.entries:
                add_input(total[sample], self.inputs[name][sample, window], py, px, shift)
            for frames, pooling, shift in came:
                add_pooled(total[sample], frames.counts[sample], pooling, shift)
        return Frames(total, int(np.count_nonzero(total)), flat)

    def _ready(self, core: Core, source: _Came, most: int, window: slice) -> Any:
        """What a convolution takes, (batch, time, height, width, features)."""
        frames, pooling, shift = source
        if pooling == 1 and shift == 0 and frames.counts.shape[2:] == core.shape:
            return frames.counts
        return self._arriving(core, [source], most, window).counts

    def _is_sparse(self, core: Core, source: _Came, kind: type[Any]) -> bool:
        """Whether to add spike by spike takes less time than to convolve. The potentials are the same."""
        frames, pooling, _ = source
        _, steps, _, width, features = frames.counts.shape
        if frames.flat is None or frames.counts.dtype != np.int16 or self.device.type != "cpu":
            return False
        if width * features * pooling * features >= _ROW_MAX:
            return False
        neurons = self.batch * steps * core.number
        products = neurons * core.weights[0].size / torch.get_num_threads()
        vectors = core.reach_mean / (_LANES if kind is np.int16 else _LANES // 2)
        added = frames.active * (_SPIKE + _VECTOR * vectors)
        return bool(added < products + _CURRENT * neurons + _READY * frames.counts.size + _CALL)

    def _spread(self, core: Core, source: _Came, kind: type[Any]) -> Frames:
        """Spikes of a core, what arrives added spike by spike: exact in whatever order, by the bound."""
        frames, pooling, shift = source
        _, steps, height, width, features = frames.counts.shape
        taps, neurons = core.table(kind)
        flat, spikes = room((self.batch, steps, *core.neurons), np.int16)
        grid = Grid(height, width, features, pooling, shift)
        found = np.empty(width * features + FOUND_MORE, np.int32)
        active = 0
        for sample in range(self.batch):
            first, place = sample * frames.counts[0].size, sample * steps * core.number
            synops, fired, largest = spread_steps(
                core.potential[sample], frames.flat, first, grid, taps, neurons, flat, place, steps, found
            )
            core.synops += synops
            active, core.largest = active + fired, max(core.largest, largest)
        core.settled()
        return Frames(spikes, active, flat)

    def _dense(self, number: int, core: Core, arriving: Any, most: int) -> Frames:
        """Spikes of a core, what arrives convolved."""
        for frames in arriving:
            # Windows have fewer steps than counts of 16 bits need to leave 32.
            sums = np.zeros(frames[0].size, np.int32 if frames.dtype == np.int16 else np.int64)
            sum_frames(frames.reshape(len(frames), -1), sums)
            core.synops += reached(sums.reshape(-1, core.shape[2]), core.reach.reshape(-1))
        if core.bound(most) + 2 * STATE_END >= SINGLE_MAX:
            # Too coarse: measure.
            most = int(arriving.max(initial=0))
        kind = core.kind(most)
        current = self._convolved(number, core, arriving, most)
        if kind is None:
            return self._fired(number, core, current)
        core.fit(kind)
        _, neurons = core.table(kind)
        flat, spikes = room(current.shape, np.int16)
        active, steps = 0, current.shape[1]
        for sample in range(self.batch):
            fired, largest = fire_currents(
                core.potential[sample], current[sample].reshape(steps, -1), neurons, flat,
                sample * steps * core.number,
            )  # fmt: skip
            active, core.largest = active + fired, max(core.largest, largest)
        core.settled()
        return Frames(spikes, active, flat)

    def _fired(self, number: int, core: Core, current: Any) -> Frames:
        """Spikes of neurons in integers of 64 bits."""
        core.fit(np.int64)
        spikes, steps = np.empty(current.shape, np.int64), current.shape[1]
        for sample in range(self.batch):
            beyond, largest = fire_steps(
                current[sample].reshape(steps, -1), core.potential[sample, : core.number], core.high,
                core.low, core.layer.return_to_zero, core.single_spike, spikes[sample].reshape(steps, -1),
            )  # fmt: skip
            core.beyond, core.largest = core.beyond + beyond, max(core.largest, largest)
        if core.largest >= _DOUBLE_MAX:
            raise ConfigError(
                Finding(f"core {number}", "its counts exceed exact arithmetic", core.largest, _DOUBLE_MAX)
            )
        standing = core.potential[:, : core.number]
        core.ends = int(standing.min(initial=0)), int(standing.max(initial=0))
        return Frames(spikes, spikes.size)

    def _convolved(self, number: int, core: Core, arriving: Any, most: int) -> Any:
        """Currents and biases of a core, not rounded yet."""
        bound = core.bound(most)
        if bound >= _DOUBLE_MAX:
            raise ConfigError(
                Finding(f"core {number}", "its sums exceed exact arithmetic", bound, _DOUBLE_MAX)
            )
        single = bound < SINGLE_MAX and (self.device.type == "cpu" or most <= SHORT_COUNT_MAX)
        kind = torch.float32 if single else torch.float64
        # Of one feature both layouts have the same strides but one: oneDNN, told the last are features, reads
        # beside the map where the steps of a kernel differ (torch 2.13).
        layout = torch.contiguous_format if core.shape[2] == 1 else torch.channels_last
        if kind not in core.kernels:
            kernel = torch.tensor(core.weights, dtype=kind, device=self.device)
            bias = None if core.bias is None else torch.tensor(core.bias, dtype=kind, device=self.device)
            core.kernels[kind] = kernel.contiguous(memory_format=layout), bias
        shape = core.dimensions
        stride, padding = (shape.stride.y, shape.stride.x), (shape.padding.y, shape.padding.x)
        flat = torch.from_numpy(arriving.reshape(-1, *core.shape)).to(self.device).to(kind)
        is_single = core.shape[2] == 1
        features_first = flat.reshape(-1, 1, *core.shape[:2]) if is_single else flat.permute(0, 3, 1, 2)
        convolved = torch.nn.functional.conv2d(features_first, *core.kernels[kind], stride, padding)
        current = convolved.permute(0, 2, 3, 1).contiguous().cpu().numpy()
        return current.reshape(*arriving.shape[:2], *current.shape[1:])
