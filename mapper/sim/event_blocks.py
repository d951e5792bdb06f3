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
from mapper.sim.core_kernel import run_cores, sent
from mapper.sim.core_neurons import CELL, STEP
from mapper.sim.event_cores import BlockArrays, Cores, Scratch, Totals, way_of
from mapper.sim.event_tables import Rules
from mapper.sim.vector_add import SORTED_MAX

__all__ = ["EMITTED_MAX", "Block", "CorePlan", "TooManyError", "plan_of"]

EMITTED_MAX = 1 << 23
"""Spikes of a block, some 100 MiB: whatever holds more is run spike by spike."""
_PLACE = (1 << 48) - 1


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
    gathered
        Rows at which spikes arrive in several ways, from other cores and from outside.
    parts
        Whether any core sends to more than one.
    """

    order: tuple[int, ...]
    links: Mapping[int, tuple[Link, ...]]
    joined: tuple[tuple[int, ...], ...]
    gathered: frozenset[int]
    parts: bool

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
    entered = {index[entry.core] for entries, _ in graph.entries.values() for entry in entries}
    gathered = frozenset(row for row in links if len(links[row]) + (row in entered) > 1)
    sources = [link.source for each in links.values() for link in each]
    parts = len(set(sources)) < len(sources)
    shown = tuple(tuple(sorted(each)) for each in sets if len(each) > 1)
    plan = CorePlan(order, links, shown, gathered, parts)
    if any(plan.before[one] & {*each} != {one} for each in plan.joined for one in each):
        return None
    return plan


class _Arrivals(NamedTuple):
    """By arrival at a core where they are gathered, its link (−1: from outside) and the spike there."""

    link: NDArray[np.int16]
    spike: NDArray[np.int32]


class Block:
    """Some arrivals from outside, and all that they cause, core by core.

    Parameters
    ----------
    inputs, ticks, packed
        As in `BlockArrays`; `CAUSES_MAX` arrivals at most, and some room for spikes.
    is_lossy
        Whether any core drops spikes.
    """

    def __init__(self, plan: CorePlan, inputs: Any, ticks: Any, packed: Any, *, is_lossy: bool) -> None:
        self.plan, self.is_lossy = plan, is_lossy
        came_by = np.empty(len(packed) if plan.parts else 0, np.int32)
        is_kept = np.empty(len(packed) if is_lossy else 0, np.bool_)
        ends, progress = np.zeros((len(plan.order), 4), np.int64), np.array([0, -1, 0, 0, 0])
        self.arrays = BlockArrays(inputs, ticks, packed, came_by, is_kept, ends, progress)
        self.arrived: dict[int, _Arrivals] = {}
        # Cores that are done, in order, and whether a thread is at the next ones.
        self.done, self.is_busy = 0, False

    def compute(self, stop: int, cores: Cores, totals: Totals, scratch: Scratch, rules: Rules) -> int:
        """Work off some of the next cores, up to `stop` of all; how many are done then."""
        order, progress, gathered = self.plan.order, self.arrays.progress, self.plan.gathered
        if order[self.done] in gathered:
            self._gather(order[self.done], totals, rules, cores)
        stop = next((n for n in range(self.done + 1, stop) if order[n] in gathered), stop)
        while not run_cores(cores, self.arrays, totals, scratch, stop, rules.wraps, rules.delivered):
            row = cores.table[order[int(progress[STEP["at"]])]]
            self._grow(len(self.arrays.inputs) + int(row[CELL["at_once"]] * row[CELL["most"]]))
        return int(progress[STEP["at"]])

    def of(self, row: int) -> slice:
        """Where a core's spikes are."""
        return slice(*self.arrays.ends[row, 2:].tolist())

    @property
    def spikes(self) -> int:
        """How many there are."""
        return int(self.arrays.progress[STEP["spikes"]])

    def _grow(self, more: int) -> None:
        """Make room for so many more spikes, and twice as many as there are."""
        arrays, used = self.arrays, int(self.arrays.progress[STEP["used"]])
        if used > EMITTED_MAX:
            raise TooManyError
        room = 2 * used + more + SORTED_MAX + 1
        self.arrays = arrays._replace(
            packed=_grown(arrays.packed, used, room),
            came_by=_grown(arrays.came_by, used, room if self.plan.parts else 0),
            is_kept=_grown(arrays.is_kept, used, room if self.is_lossy else 0),
        )

    def _gather(self, row: int, totals: Totals, rules: Rules, cores: Cores) -> None:
        """Put together what arrives at a core in several ways."""
        packed, is_kept, delivered = self.arrays.packed, self.arrays.is_kept, rules.delivered
        inputs = self.arrays.inputs[:, 1]
        own = np.flatnonzero(inputs >> 48 == row)
        parts = [(-1, own << 48 | inputs[own] & _PLACE, np.zeros(len(own), np.int32))]
        for number, link in enumerate(self.plan.links[row]):
            source = self.of(link.source)
            count = source.stop - source.start
            arrived, spike = np.empty(count, np.int64), np.empty(count, np.int32)
            way = np.array(way_of(link, dict(zip(CELL, cores.table[row].tolist(), strict=True))))
            count, outside = sent(packed[source], is_kept[source], way, delivered, arrived, spike)
            totals.border[link.source, link.slot] += outside
            parts.append((number, arrived[:count], spike[:count]))
        parts = [part for part in parts if len(part[1])] or parts[:1]
        together = np.concatenate([part[1] for part in parts])
        spike = np.concatenate([part[2] for part in parts])
        number_of = np.repeat([part[0] for part in parts], [len(part[1]) for part in parts]).astype(np.int16)
        if len(parts) > 1:
            order = self._order(row, together, spike, number_of)
            together, number_of, spike = together[order], number_of[order], spike[order]
        self.arrived[row] = _Arrivals(number_of, spike)
        first = int(self.arrays.progress[STEP["used"]])
        end = first + len(together)
        if end > len(packed):
            self._grow(len(together))
        self.arrays.packed[first:end], self.arrays.is_kept[first:end] = together, True
        self.arrays.ends[row, :2], self.arrays.progress[STEP["used"]] = (first, end), end

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
        came_by, arrived = self.arrays.came_by[self.of(row)][spike], self.arrived.get(row)
        for number, link in enumerate(self.plan.links[row]):
            if arrived is None:
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
            packed = [self.arrays.packed[self.of(row)] for row in each]
            whole = np.empty((sum(map(len, packed)), 3), np.int64)
            if not len(whole):
                continue
            spikes = np.concatenate(packed) if len(packed) > 1 else packed[0]
            rows_of = np.repeat(each, [len(one) for one in packed])
            if len(each) > 1:
                order = self._order_together(each, spikes)
                spikes, rows_of = spikes[order], rows_of[order]
            whole[:, 0], whole[:, 1] = self.arrays.inputs[spikes >> 48, 0], rows_of
            whole[:, 2] = spikes & _PLACE
            made.append(whole)
        return made

    def _order_together(self, rows: Sequence[int], spikes: Any) -> Any:
        parting, first = self.plan.parting(rows), 0
        keys = {one: np.full(len(spikes), -1, np.int64) for one in parting}
        for row in rows:
            count = len(self.arrays.packed[self.of(row)])
            self._trace(row, np.arange(count, dtype=np.int32), 0, np.arange(first, first + count), keys)
            first += count
        return _sorted(spikes, [keys[one] for one in parting])

    def exceeds(self, limit: int) -> bool:
        """Whether an arrival caused more spikes than the limit."""
        caused = np.zeros(len(self.arrays.inputs), np.int64)
        for row in self.plan.order:
            caused += np.bincount(self.arrays.packed[self.of(row)] >> 48, minlength=len(caused))
        return bool((caused > limit).any())


def _sorted(packed: Any, keys: Sequence[Any]) -> Any:
    """The order by cause, then by keys."""
    # Runs that are in order: a stable sort merges them.
    if len(keys) <= 1:
        whole = packed >> 48 << 48
        return np.argsort(whole + keys[0] + 1 if keys else whole, kind="stable")
    return np.lexsort((*reversed(keys), packed >> 48))


def _grown(array: Any, used: int, room: int) -> Any:
    larger = np.empty(room, array.dtype)
    larger[:used] = array[:used]
    return larger
