"""Cores in a pipeline: each works off a block of arrivals as soon as those that send to it have done so.

On one processor, too: a core's weights and potentials stay near while it works off a block.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mapper.sim.core_kernel import CAUSES_MAX, ticks_between
from mapper.sim.event_blocks import Block, TooManyError
from mapper.sim.event_cores import Cores, HeldCores, Totals
from mapper.sim.event_groups import run_groups
from mapper.sim.event_tables import Chip, Rules
from mapper.sim.side_by_side import Pause, side_by_side, threads_for

__all__ = ["run_arrivals"]

# Arrivals from which on blocks repay that the loop over them is compiled beside the one spike by spike, and
# threads that they wait for each other's blocks.
_WORTH, _WORTH_THREADS = 1024, 32_768
# Of a block. With few a core's call costs more than its work; many do not stay in the cache.
_ARRIVALS_MIN, _ARRIVALS_FIRST, _ARRIVALS_MAX = 256, 2048, min(16_384, CAUSES_MAX)
# Spikes that a block should not hold many more of, and those that it has room for at first.
_SPIKES, _ROOM = 1 << 20, 1 << 18
# A core waits for a source's block no longer before it looks whether the run is over.
_WAIT_S = 0.05


def run_arrivals(
    arrivals: NDArray[np.int64],
    chip: Chip,
    rules: Rules,
    pause: Pause | None,
    groups: Sequence[Sequence[int]],
    held: HeldCores | None,
) -> tuple[NDArray[np.int64], int]:
    """`run_groups`, in blocks where the semantics allow.

    Parameters
    ----------
    held
        None where order or feedback do not allow it.
    """
    outcome = None
    if held is not None and (held.has_gone_on or len(arrivals) >= _WORTH):
        outcome = _run_blocks(arrivals, chip, rules, pause, held)
    if outcome is None:
        if held is not None:
            held.give_back(chip)
        return run_groups(arrivals, chip, rules, pause, groups)
    return outcome, -1


def _run_blocks(
    arrivals: NDArray[np.int64], chip: Chip, rules: Rules, pause: Pause | None, held: HeldCores
) -> NDArray[np.int64] | None:
    """Spikes as `run_groups` gives them, or None, and nothing has changed."""
    cores = held.begin(chip)
    if cores is None:
        return None
    totals = Totals(np.zeros_like(chip.counts), chip.border.copy(), chip.phase.copy())
    clock, threads = chip.clock.copy(), 1
    if len(arrivals) >= _WORTH_THREADS:
        threads = max(1, threads_for(len(cores.order)))
    pipeline = _Pipeline(held, arrivals, cores, chip._replace(clock=clock), totals, rules, threads)
    try:
        side_by_side([pipeline.work] * threads, pause)
    except TooManyError:
        # Which of all arrivals it was, and what was done until then, a run spike by spike says.
        return None
    held.end()
    chip.counts[:] += totals.counts
    chip.border[:], chip.phase[:], chip.clock[:] = totals.border, totals.phase, clock
    return np.concatenate(pipeline.records)


class _Pipeline:
    """Blocks under way, and which core is at which."""

    def __init__(
        self,
        held: HeldCores,
        arrivals: NDArray[np.int64],
        cores: Cores,
        chip: Chip,
        totals: Totals,
        rules: Rules,
        threads: int,
    ) -> None:
        self.held, self.plan, self.arrivals, self.cores, self.rules = held, held.plan, arrivals, cores, rules
        self.totals, self.clock = totals, chip.clock
        self.records = [np.empty((0, 3), np.int64)]
        self.changed = threading.Condition()
        self.size, self.next_arrival = _ARRIVALS_FIRST, 0
        # Under way, oldest first; and where those that have ended kept their spikes.
        self.blocks: list[Block] = []
        self.rooms: list[NDArray[np.int64]] = []
        self.under_way_max = 2 * threads + 1 if threads > 1 else 1
        # One thread stays with a block: a call takes as long as some cores' work on a few arrivals.
        self.at_once = len(cores.order) if threads == 1 else 1
        self.is_begun = False

    def work(self, pause: Pause | None) -> None:
        """Compute what can be, until all is done: any number of threads may."""
        scratch = self.held.scratch()
        while True:
            if pause is not None:
                pause()
            with self.changed:
                block, stop = self._chosen()
                if block is None:
                    if self.is_begun and self.next_arrival == len(self.arrivals) and not self.blocks:
                        return
                    self.changed.wait(_WAIT_S)
                    continue
                block.is_busy = True
            done = block.compute(stop, self.cores, self.totals, scratch, self.rules)
            with self.changed:
                block.done, block.is_busy = done, False
                self._end_blocks()
                self.changed.notify_all()

    def _chosen(self) -> tuple[Block | None, int]:
        """The oldest block that can go on, and up to which core: no further than those before it."""
        ahead = len(self.plan.order)
        for block in self.blocks:
            if block.done < ahead and not block.is_busy:
                return block, min(ahead, block.done + self.at_once)
            ahead = block.done
        is_over = self.is_begun and self.next_arrival == len(self.arrivals)
        if is_over or len(self.blocks) >= self.under_way_max:
            return None, 0
        self.blocks.append(self._next_block())
        return self._chosen()

    def _next_block(self) -> Block:
        start = self.next_arrival
        stop = self.next_arrival = min(start + self.size, len(self.arrivals))
        self.is_begun = True
        part, ticks = self.arrivals[start:stop], np.zeros(stop - start + 1, np.int64)
        if math.isfinite(self.rules.period):
            # Ticks behind a block's last arrival wait for the next block, or for the end.
            end = self.rules.end if stop == len(self.arrivals) else -math.inf
            ticks_between(part, self.clock, self.rules.period, end, ticks)
        packed = self.rooms.pop() if self.rooms else np.empty(_ROOM, np.int64)
        return Block(self.plan, part, ticks, packed, is_lossy=self.held.is_lossy)

    def _end_blocks(self) -> None:
        while self.blocks and self.blocks[0].done == len(self.plan.order):
            block = self.blocks.pop(0)
            spikes = block.spikes
            if spikes > self.rules.limit and block.exceeds(self.rules.limit):
                raise TooManyError
            self.records += block.record(self.held.recorded)
            self.rooms.append(block.arrays.packed)
            if 2 * spikes < _SPIKES:
                self.size = min(2 * self.size, _ARRIVALS_MAX)
            elif spikes > _SPIKES:
                self.size = max(self.size // 2, _ARRIVALS_MIN)
