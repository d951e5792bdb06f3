"""Cores in a pipeline: each works off a block of arrivals as soon as those that send to it have done so.

On one processor, too: a core's weights and potentials stay near while it works off a block.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mapper.sim.core_kernel import CAUSES_MAX, ticks_between
from mapper.sim.event_blocks import Block, CorePlan, TooManyError
from mapper.sim.event_cores import CoreArrays, core_arrays_of
from mapper.sim.event_groups import run_groups
from mapper.sim.event_kernel import CORE, ORDERS
from mapper.sim.event_tables import Chip, Rules
from mapper.sim.side_by_side import Pause, side_by_side, threads_for

__all__ = ["run_arrivals"]

# Arrivals from which on blocks take less than they save, and threads: these wait for each other's blocks.
_WORTH, _WORTH_THREADS = 4000, 32_768
# Of a block. With few a core's call costs more than its work; many do not stay in the cache.
_ARRIVALS_MIN, _ARRIVALS_FIRST, _ARRIVALS_MAX = 256, 1024, min(16_384, CAUSES_MAX)
# Spikes that a block should not hold many more of.
_SPIKES = 1 << 20
# A core waits for a source's block no longer before it looks whether the run is over.
_WAIT_S = 0.05


def run_arrivals(
    arrivals: NDArray[np.int64],
    chip: Chip,
    rules: Rules,
    pause: Pause | None,
    groups: Sequence[Sequence[int]],
    plan: CorePlan | None,
) -> tuple[NDArray[np.int64], int]:
    """`run_groups`, in blocks where the semantics allow and there is enough to do.

    Parameters
    ----------
    plan
        None where spikes come back to their core.
    """
    is_meant = plan is not None and rules.order == ORDERS["depth"] and not rules.fires_on_tick
    if plan is None or not is_meant or len(arrivals) < _WORTH:
        return run_groups(arrivals, chip, rules, pause, groups)
    made = [core_arrays_of(chip, row, rules, plan.prepared) for row in range(len(chip.cores))]
    cores = [core for core in made if core is not None]
    if len(cores) < len(made):
        return run_groups(arrivals, chip, rules, pause, groups)
    own = chip._replace(border=chip.border.copy(), phase=chip.phase.copy(), clock=chip.clock.copy())
    threads = max(1, threads_for(len(cores))) if len(arrivals) >= _WORTH_THREADS else 1
    pipeline = _Pipeline(plan, arrivals, cores, own, rules, threads)
    try:
        side_by_side([pipeline.work] * threads, pause)
    except TooManyError:
        # Which of all arrivals it was, and what was done until then, a run spike by spike says.
        return run_groups(arrivals, chip, rules, pause, groups)
    for row, core in enumerate(cores):
        first, features = chip.cores[row, CORE["potentials"]], chip.cores[row, CORE["features"]]
        held = core.potentials.reshape(-1, core.wide)[:, :features].astype(np.int32)
        chip.potentials[first : first + held.size] = (held + np.int32(core.offset)).reshape(-1)
        chip.counts[row] += core.counts
    chip.border[:], chip.phase[:], chip.clock[:] = own.border, own.phase, own.clock
    return np.concatenate(pipeline.records), -1


class _Pipeline:
    """Blocks under way, and which core is at which."""

    def __init__(
        self,
        plan: CorePlan,
        arrivals: NDArray[np.int64],
        cores: Sequence[CoreArrays],
        chip: Chip,
        rules: Rules,
        threads: int,
    ) -> None:
        self.plan, self.arrivals, self.cores, self.chip, self.rules = plan, arrivals, cores, chip, rules
        self.recorded = [row for row in plan.order if chip.cores[row, CORE["record"]]]
        self.records = [np.empty((0, 3), np.int64)]
        self.sources = [{link.source for link in plan.links[row]} for row in range(len(cores))]
        self.changed = threading.Condition()
        self.size, self.next_arrival = _ARRIVALS_FIRST, 0
        # By block under way, oldest first, its cores that are not begun, and those that are done.
        self.blocks: list[tuple[Block, list[int], set[int]]] = []
        self.under_way_max = 2 * threads + 1 if threads > 1 else 1

    def work(self, pause: Pause | None) -> None:
        """Compute what can be, until all is done: any number of threads may."""
        while True:
            if pause is not None:
                pause()
            with self.changed:
                task = self._chosen()
                if task is None:
                    if self.next_arrival == len(self.arrivals) and not any(
                        left for _, left, _ in self.blocks
                    ):
                        return
                    self.changed.wait(_WAIT_S)
                    continue
            (block, _, done), row = task
            block.compute(row, self.cores[row], self.chip, self.rules)
            with self.changed:
                done.add(row)
                self._end_blocks()
                self.changed.notify_all()

    def _chosen(self) -> tuple[tuple[Block, list[int], set[int]], int] | None:
        """The first core of the oldest block that can go on, taken from those that are not begun."""
        before = None
        for entry in self.blocks:
            _, left, done = entry
            for row in left:
                if self.sources[row] <= done and (before is None or row in before):
                    left.remove(row)
                    return entry, row
            before = done
        if self.next_arrival == len(self.arrivals) or len(self.blocks) >= self.under_way_max:
            return None
        start = self.next_arrival
        stop = self.next_arrival = min(start + self.size, len(self.arrivals))
        part, end = self.arrivals[start:stop], self.rules.end
        # Ticks behind a block's last arrival wait for the next block, or for the end.
        end = end if stop == len(self.arrivals) else -np.inf
        ticks = ticks_between(part[:, 0], self.chip.clock, self.rules.period, end)
        self.blocks.append((Block(self.plan, part, ticks), [*self.plan.order], set()))
        return self._chosen()

    def _end_blocks(self) -> None:
        while self.blocks and len(self.blocks[0][2]) == len(self.cores):
            block = self.blocks.pop(0)[0]
            if block.exceeds(self.rules.limit):
                raise TooManyError
            self.records += block.record(self.recorded)
            spikes = sum(len(each.packed) for each in block.emitted.values())
            if 2 * spikes < _SPIKES:
                self.size = min(2 * self.size, _ARRIVALS_MAX)
            elif spikes > _SPIKES:
                self.size = max(self.size // 2, _ARRIVALS_MIN)
