"""Arrivals in blocks, core by core: what a core does follows from the sequence of its arrivals alone.

Where no spike comes back to its core, a block of arrivals from outside can be worked off by one core after
the other, and cores of different blocks at the same time. Depth first, arrivals at a core are in the order of
the paths that led to them: by cause, and where two paths part, by spike and by destination.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mapper.emit.shared.graph import ConfigGraph, Link
from mapper.sim.core_kernel import run_core, sent
from mapper.sim.event_kernel import CORE, COUNT
from mapper.sim.event_tables import Chip, Rules
from mapper.sim.vector_add import LANES

__all__ = ["EMITTED_MAX", "Block", "CoreArrays", "CorePlan", "TooManyError", "core_arrays_of", "plan_of"]

EMITTED_MAX = 1 << 23
"""Spikes of one core in one block, 96 MiB: whatever emits more is run spike by spike."""
_WEIGHT_MIN, _WEIGHT_MAX = -128, 127
_STATE_MIN, _STATE_MAX = -(1 << 15), (1 << 15) - 1
# The lower bound stands one weight above the least number of 16 bits: sums below it are still told apart.
_BOUND = _STATE_MIN - _WEIGHT_MIN
_WIDEST = _STATE_MAX - _WEIGHT_MAX - _BOUND


class TooManyError(Exception):
    """A block holds more spikes than memory is meant for, or an arrival causes more than the limit."""


class CoreArrays(NamedTuple):
    """One core as `run_core` takes it: potentials in 16 bits, less `offset`.

    Attributes
    ----------
    row
        The columns of `CORE`.
    neurons, most
        How many there are, and how many of them one arrival reaches at most.
    bound, ceiling
        Lower bound and threshold, less `offset`.
    held_as
        The column of `COUNT` for what the lower bound holds.
    """

    row: Any
    spans: Any
    weights: Any
    kills: Any
    biases: Any
    potentials: Any
    counts: Any
    neurons: int
    most: int
    offset: int
    bound: Any
    ceiling: Any
    held_as: int
    leaks: bool


@dataclass(frozen=True)
class CorePlan:
    """The graph, by rows of the tables.

    Attributes
    ----------
    order
        Sources before targets.
    links
        By row, the links that end there, by rows.
    joined
        Rows whose spikes are shown together, in the order of emission.
    """

    order: tuple[int, ...]
    links: Mapping[int, tuple[Link, ...]]
    joined: tuple[tuple[int, ...], ...]

    @cached_property
    def before(self) -> dict[int, set[int]]:
        """By row, all rows that spikes may have come from, itself included."""
        found: dict[int, set[int]] = {}
        for row in self.order:
            found[row] = {row}.union(*(found[link.source] for link in self.links[row]))
        return found

    def parting(self, ends: Iterable[int]) -> list[int]:
        """Rows at which paths to these rows part, in order."""
        within = set().union(*(self.before[end] for end in ends))
        leaving = [link.source for row in within for link in self.links[row]]
        return [row for row in self.order if leaving.count(row) > 1]


def plan_of(
    graph: ConfigGraph, index: Mapping[int, int], together: Iterable[Iterable[int]]
) -> CorePlan | None:
    """The plan of a graph, or None where spikes come back, or are shown with those they caused.

    Parameters
    ----------
    index
        Rows by core.
    together
        Cores whose spikes are shown together.
    """
    links = {
        row: tuple(
            Link(index[link.source], row, link.pooling, link.feature_shift, 0, link.slot)
            for link in graph.links
            if link.target == core
        )
        for core, row in index.items()
    }
    try:
        order = tuple(
            TopologicalSorter({row: [link.source for link in links[row]] for row in links}).static_order()
        )
    except CycleError:
        return None
    sets: list[set[int]] = []
    for cores in together:
        joined = {index[core] for core in cores}
        meeting = [each for each in sets if each & joined]
        sets = [each for each in sets if not each & joined] + [joined.union(*meeting)]
    plan = CorePlan(order, links, tuple(tuple(sorted(each)) for each in sets if len(each) > 1))
    if any(plan.before[one] & {*each} != {one} for each in plan.joined for one in each):
        return None
    return plan


def core_arrays_of(chip: Chip, row: int, rules: Rules) -> CoreArrays | None:
    """A core's arrays, potentials and counts of its own; None where 16 bits do not hold what they become."""
    core = chip.cores[row]
    low, high, leaks = (int(core[CORE[name]]) for name in ("low", "high", "leak"))
    features, kernel = int(core[CORE["features"]]), int(core[CORE["kernel"]])
    neurons = features * int(core[CORE["height"]]) * int(core[CORE["width"]])
    count = features * kernel**2 * int(core[CORE["in_features"]])
    first, begin = int(core[CORE["potentials"]]), int(core[CORE["weights"]])
    given, weights = chip.potentials[first : first + neurons], chip.weights[begin : begin + count]
    most, kills = max(int(given.max()), high - 1), int(core[CORE["kills"]])
    # A neuron spikes once per arrival: a weight above what it subtracts lifts it, arrival by arrival.
    lifts = not core[CORE["to_zero"]] and int(weights.max()) > high
    most = max(most, _STATE_MAX) if leaks or lifts else most
    # Whatever is held is either clamped or beyond 16 bits, not the one or the other.
    is_apart = low >= _BOUND or (low == _STATE_MIN and not rules.wraps)
    is_within = int(given.min()) >= low and int(given.max()) <= _STATE_MAX and most - low <= _WIDEST
    is_small = weights.min() >= _WEIGHT_MIN and weights.max() <= _WEIGHT_MAX
    if not (is_apart and is_within and is_small):
        return None
    offset = low - _BOUND
    potentials, own = np.zeros(neurons + LANES, np.int16), np.zeros(count + LANES, np.int8)
    potentials[:neurons], own[:count] = given - offset, weights
    killed = chip.kills[kills : kills + count] if kills >= 0 else chip.kills[:0]
    biases = int(core[CORE["biases"]])
    return CoreArrays(
        core.copy(), chip.spans[row], own, killed, chip.biases[biases : biases + features], potentials,
        np.zeros(len(COUNT), np.int64), neurons, min(neurons, features * kernel**2), offset,
        np.int16(_BOUND), np.int16(min(high, _STATE_MAX + 1) - offset),
        COUNT["saturated"] if low == _STATE_MIN else COUNT["clamped"], bool(leaks),
    )  # fmt: skip


class _Arrivals(NamedTuple):
    """What arrives at a core: packed, and by arrival its link (−1: from outside) and the spike there."""

    packed: NDArray[np.int64]
    link: NDArray[np.int16] | None
    spike: NDArray[np.int32]


class _Emitted(NamedTuple):
    """A core's spikes: packed, by spike the arrival, and which of them are sent (None: all)."""

    packed: NDArray[np.int64]
    came_by: NDArray[np.int32]
    is_kept: NDArray[np.bool_] | None


class Block:
    """Some arrivals from outside, and all that they cause, core by core.

    Parameters
    ----------
    arrivals
        (arrivals, 5), `CAUSES_MAX` at most: time, row, feature, row and column of the map.
    ticks
        As `run_core` takes them.
    """

    def __init__(self, plan: CorePlan, arrivals: NDArray[np.int64], ticks: NDArray[np.int64]) -> None:
        self.plan, self.times, self.ticks = plan, arrivals[:, 0], ticks
        numbers = np.arange(len(arrivals))
        packed = numbers << 48 | arrivals[:, 2] << 32 | arrivals[:, 3] << 16 | arrivals[:, 4]
        self.entering = {int(row): packed[arrivals[:, 1] == row] for row in np.unique(arrivals[:, 1])}
        self.emitted: dict[int, _Emitted] = {}
        self.arrived: dict[int, _Arrivals] = {}

    def compute(self, row: int, core: CoreArrays, chip: Chip, rules: Rules) -> None:
        """Work off a core; those that send to it are done. `chip` has what else of it changes."""
        arrived = self.arrived[row] = self._arriving(row, core, chip, rules)
        room, progress = core.most + 2 * len(arrived.packed), np.zeros(3, np.int64)
        packed, came_by = np.empty(room, np.int64), np.empty(room, np.int32)
        while not run_core(core, arrived.packed, self.ticks, rules.wraps, progress, packed, came_by):
            room = 2 * room + core.most
            if room > EMITTED_MAX + core.most:
                raise TooManyError
            packed, came_by = _grown(packed, room), _grown(came_by, room)
        used = int(progress[2])
        is_kept, every = None, int(core.row[CORE["decimate"]])
        if every:
            # The last of every so many passes.
            is_kept = (chip.phase[row] + np.arange(1, used + 1)) % every == 0
            chip.phase[row] = (chip.phase[row] + used) % every
            core.counts[COUNT["decimated"]] += used - np.count_nonzero(is_kept)
        self.emitted[row] = _Emitted(packed[:used], came_by[:used], is_kept)

    def _arriving(self, row: int, core: CoreArrays, chip: Chip, rules: Rules) -> _Arrivals:
        entering = self.entering.get(row, np.empty(0, np.int64))
        parts = [] if not len(entering) else [(-1, entering, np.zeros(len(entering), np.int32))]
        for number, link in enumerate(self.plan.links[row]):
            source = self.emitted[link.source]
            is_kept = np.empty(0, np.bool_) if source.is_kept is None else source.is_kept
            packed, spike = np.empty(len(source.packed), np.int64), np.empty(len(source.packed), np.int32)
            count, outside = sent(
                source.packed, is_kept, link.pooling, link.feature_shift, int(core.row[CORE["in_height"]]),
                int(core.row[CORE["in_width"]]), rules.delivered, packed, spike,
            )  # fmt: skip
            chip.border[link.source, link.slot] += outside
            if count:
                parts.append((number, packed[:count], spike[:count]))
        if not parts:
            return _Arrivals(entering, None, np.empty(0, np.int32))
        packed = np.concatenate([part[1] for part in parts]) if len(parts) > 1 else parts[0][1]
        spike = np.concatenate([part[2] for part in parts]) if len(parts) > 1 else parts[0][2]
        number_of = np.repeat([part[0] for part in parts], [len(part[1]) for part in parts]).astype(np.int16)
        if len(parts) == 1:
            return _Arrivals(packed, number_of, spike)
        order = self._order(row, packed, spike, number_of)
        return _Arrivals(packed[order], number_of[order], spike[order])

    def _order(self, row: int, packed: Any, spike: Any, number_of: Any) -> Any:
        parting = self.plan.parting([row])
        keys = {one: np.full(len(packed), -1, np.int64) for one in parting}
        for number, link in enumerate(self.plan.links[row]):
            at = np.flatnonzero(number_of == number)
            self._trace(link.source, spike[at], link.slot, at, keys)
        return _sorted(packed, [keys[one] for one in parting])

    def _trace(self, row: int, spike: Any, slot: int, at: Any, keys: Mapping[int, Any]) -> None:
        """Write where paths parted into keys, from spikes of a row that left by a slot."""
        if row in keys:
            keys[row][at] = spike.astype(np.int64) << 16 | slot
        if not len(at) or not self.plan.before[row] - {row} & keys.keys():
            return
        came_by, arrived = self.emitted[row].came_by[spike], self.arrived[row]
        if arrived.link is None:
            return
        for number, link in enumerate(self.plan.links[row]):
            chosen = np.flatnonzero(arrived.link[came_by] == number)
            self._trace(link.source, arrived.spike[came_by[chosen]], link.slot, at[chosen], keys)

    def record(self, rows: Iterable[int]) -> Sequence[NDArray[np.int64]]:
        """Spikes of some rows as `run_events` gives them, those that are shown together in order."""
        wanted, made = [*rows], []
        joined = [[row for row in each if row in wanted] for each in self.plan.joined]
        inside = {row for each in joined for row in each}
        for each in [*joined, *([row] for row in wanted if row not in inside)]:
            packed = [self.emitted[row].packed for row in each]
            whole = np.empty((sum(map(len, packed)), 3), np.int64)
            if not len(whole):
                continue
            spikes = np.concatenate(packed) if len(packed) > 1 else packed[0]
            rows_of = np.repeat(each, [len(one) for one in packed])
            if len(each) > 1:
                order = self._order_together(each, spikes)
                spikes, rows_of = spikes[order], rows_of[order]
            whole[:, 0], whole[:, 1] = self.times[spikes >> 48], rows_of
            whole[:, 2] = spikes & 0xFFFFFFFFFFFF
            made.append(whole)
        return made

    def _order_together(self, rows: Sequence[int], spikes: Any) -> Any:
        parting, first = self.plan.parting(rows), 0
        keys = {one: np.full(len(spikes), -1, np.int64) for one in parting}
        for row in rows:
            count = len(self.emitted[row].packed)
            self._trace(row, np.arange(count, dtype=np.int32), 0, np.arange(first, first + count), keys)
            first += count
        return _sorted(spikes, [keys[one] for one in parting])

    def exceeds(self, limit: int) -> bool:
        """Whether an arrival caused more spikes than the limit."""
        if sum(len(each.packed) for each in self.emitted.values()) <= limit:
            return False
        caused = np.zeros(len(self.times), np.int64)
        for each in self.emitted.values():
            caused += np.bincount(each.packed >> 48, minlength=len(self.times))
        return bool((caused > limit).any())


def _sorted(packed: Any, keys: Sequence[Any]) -> Any:
    """The order by cause, then by keys."""
    # Runs that are in order: a stable sort merges them.
    if len(keys) <= 1:
        whole = packed >> 48 << 48
        return np.argsort(whole + keys[0] + 1 if keys else whole, kind="stable")
    return np.lexsort((*reversed(keys), packed >> 48))


def _grown(array: Any, room: int) -> Any:
    larger = np.empty(room, array.dtype)
    larger[: len(array)] = array
    return larger
