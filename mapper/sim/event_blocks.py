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
from mapper.sim.event_cores import ALL, ARRIVED, CoreArrays, Prepared, way_to
from mapper.sim.event_kernel import CORE, COUNT
from mapper.sim.event_tables import Chip, Rules

__all__ = ["EMITTED_MAX", "Block", "CorePlan", "TooManyError", "plan_of"]

EMITTED_MAX = 1 << 23
"""Spikes of one core in one block, 96 MiB: whatever emits more is run spike by spike."""


class TooManyError(Exception):
    """A block holds more spikes than memory is meant for, or an arrival causes more than the limit."""


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
    def prepared(self) -> dict[int, Prepared | None]:
        """By row, what of a core stays from run to run; whoever needs it adds it."""
        return {}

    @cached_property
    def before(self) -> dict[int, set[int]]:
        """By row, all rows that spikes may have come from, itself included."""
        found: dict[int, set[int]] = {}
        for row in self.order:
            found[row] = {row}.union(*(found[link.source] for link in self.links[row]))
        return found

    @cached_property
    def parts(self) -> bool:
        """Whether any core sends to more than one."""
        sources = [link.source for links in self.links.values() for link in links]
        return len(set(sources)) < len(sources)

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


class _Arrivals(NamedTuple):
    """What arrives at a core: packed, and by arrival its link (−1: from outside) and the spike there.

    Without these, arrivals are the spikes of the one link, as they left.
    """

    packed: NDArray[np.int64]
    link: NDArray[np.int16] | None
    spike: NDArray[np.int32] | None


class _Emitted(NamedTuple):
    """A core's spikes, packed; by spike the arrival, if paths part; which of them are sent, empty for all."""

    packed: NDArray[np.int64]
    came_by: NDArray[np.int32]
    is_kept: NDArray[np.bool_]


class Block:
    """Some arrivals from outside, and all that they cause, core by core.

    Parameters
    ----------
    arrivals
        (arrivals, 2), `CAUSES_MAX` at most, as `run_events` takes them.
    ticks
        As `run_core` takes them.
    """

    def __init__(self, plan: CorePlan, arrivals: NDArray[np.int64], ticks: NDArray[np.int64]) -> None:
        self.plan, self.times, self.ticks = plan, arrivals[:, 0], ticks
        numbers = np.arange(len(arrivals))
        packed = numbers << 48 | arrivals[:, 1] & 0xFFFFFFFFFFFF
        rows = arrivals[:, 1] >> 48
        entered = [row for row in plan.order if not plan.links[row] or (rows == row).any()]
        self.entering = {row: packed if len(entered) == 1 else packed[rows == row] for row in entered}
        self.emitted: dict[int, _Emitted] = {}
        self.arrived: dict[int, _Arrivals] = {}

    def compute(self, row: int, core: CoreArrays, chip: Chip, rules: Rules) -> None:
        """Work off a core; those that send to it are done. `chip` has what else of it changes."""
        links, is_kept, way = self.plan.links[row], ALL, ARRIVED
        if len(links) == 1 and row not in self.entering:
            source, way = self.emitted[links[0].source], way_to(links[0], core, rules)
            arrived, is_kept = _Arrivals(source.packed, None, None), source.is_kept
        else:
            arrived = self._gathered(row, core, chip, rules)
        self.arrived[row] = arrived
        room, progress = core.most * len(core.places) + 2 * len(arrived.packed), np.zeros(4, np.int64)
        packed, came_by = np.empty(room, np.int64), np.empty(room if self.plan.parts else 0, np.int32)
        while not run_core(
            core, arrived.packed, is_kept, way, self.ticks, rules.wraps, progress, packed, came_by
        ):
            room = 2 * room + core.most
            if room > EMITTED_MAX + core.most:
                raise TooManyError
            packed, came_by = _grown(packed, room), _grown(came_by, room if self.plan.parts else 0)
        used = int(progress[2])
        if way is not ARRIVED:
            chip.border[links[0].source, links[0].slot] += progress[3]
        is_kept, every = ALL, int(core.row[CORE["decimate"]])
        if every:
            # The last of every so many passes.
            is_kept = (chip.phase[row] + np.arange(1, used + 1)) % every == 0
            chip.phase[row] = (chip.phase[row] + used) % every
            core.counts[COUNT["decimated"]] += used - np.count_nonzero(is_kept)
        self.emitted[row] = _Emitted(packed[:used], came_by[:used], is_kept)

    def _gathered(self, row: int, core: CoreArrays, chip: Chip, rules: Rules) -> _Arrivals:
        """What arrives over several links, and from outside."""
        entering = self.entering.get(row, np.empty(0, np.int64))
        parts = [] if not len(entering) else [(-1, entering, np.zeros(len(entering), np.int32))]
        for number, link in enumerate(self.plan.links[row]):
            source = self.emitted[link.source]
            packed, spike = np.empty(len(source.packed), np.int64), np.empty(len(source.packed), np.int32)
            count, outside = sent(source.packed, source.is_kept, way_to(link, core, rules), packed, spike)
            chip.border[link.source, link.slot] += outside
            if count:
                parts.append((number, packed[:count], spike[:count]))
        if not parts or not self.plan.links[row]:
            return _Arrivals(entering, None, None)
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
        for number, link in enumerate(self.plan.links[row]):
            if arrived.link is None or arrived.spike is None:
                self._trace(link.source, came_by, link.slot, at, keys)
                continue
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
