"""The event kernel with pauses, in which a run can be ended."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from mapper.sim.event_kernel import run_events
from mapper.sim.event_tables import Chip, Rules

__all__ = ["run_with_pauses"]

# Arrivals between two pauses: milliseconds, or a tenth of a second where each causes many spikes.
_UNPAUSED = 1000


def run_with_pauses(
    arrivals: NDArray[np.int64], chip: Chip, rules: Rules, pause: Callable[[], object] | None
) -> tuple[NDArray[np.int64], int]:
    """`run_events`, some arrivals at a time, with a call of `pause` before them.

    Ticks of the slow clock behind the last arrival of a part wait for the next part, or for the end.
    """
    if pause is None:
        return run_events(arrivals, chip, rules)
    records, before_the_end = [], rules._replace(end=-math.inf)
    for start in range(0, max(len(arrivals), 1), _UNPAUSED):
        stop = start + _UNPAUSED
        pause()
        part = arrivals[start:stop]
        record, broken = run_events(part, chip, rules if stop >= len(arrivals) else before_the_end)
        records.append(record)
        if broken >= 0:
            return record, start + broken
    return np.concatenate(records), -1
