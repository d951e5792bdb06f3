"""Cores that no spike connects, side by side: each group's spikes are those of one run of them all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mapper.emit.shared.graph import Link
from mapper.sim.event_kernel import CORE, ORDERS
from mapper.sim.event_pauses import run_with_pauses
from mapper.sim.event_tables import Chip, Rules
from mapper.sim.side_by_side import Pause, side_by_side, threads_for

__all__ = ["groups_of", "run_groups"]

# Arrivals from which on threads take less than they save.
_WORTH = 10_000
_BY_CORE = ("counts", "border", "phase")
_Outcome: TypeAlias = tuple[NDArray[np.int64], int, Chip]


def groups_of(
    index: Mapping[int, int],
    links: Iterable[Link],
    together: Iterable[Sequence[int]],
) -> tuple[tuple[int, ...], ...]:
    """Rows of the tables (`index`) in as many groups as there can be, in order of their first one.

    Parameters
    ----------
    together
        Cores whose spikes are shown together, in the order of emission: these stay together.
    """
    pairs = [(link.source, link.target) for link in links]
    pairs += [(cores[0], core) for cores in together for core in cores]
    group_of = {core: {core} for core in index}
    for one, other in pairs:
        joined = group_of[one] | group_of[other]
        group_of.update(dict.fromkeys(joined, joined))
    return tuple(dict.fromkeys(tuple(sorted(index[core] for core in group)) for group in group_of.values()))


def run_groups(
    arrivals: NDArray[np.int64],
    chip: Chip,
    rules: Rules,
    pause: Pause | None,
    groups: Sequence[Sequence[int]],
) -> tuple[NDArray[np.int64], int]:
    """`run_with_pauses`, with groups of cores (rows of the tables) at the same time where that helps.

    The spikes of a group are in the order of emission, and groups follow each other.
    """
    of_core = np.empty(len(chip.cores), np.int64)
    for n, rows in enumerate(groups):
        of_core[list(rows)] = n
    of_arrival = of_core[arrivals[:, 1] >> 48]
    is_worth = len(arrivals) >= _WORTH and (of_arrival != of_arrival[0]).any()
    # Random numbers are drawn for one spike after the other, of whatever group.
    if not is_worth or rules.order == ORDERS["random"] or threads_for(len(groups)) < 2:
        return run_with_pauses(arrivals, chip, rules, pause)
    # The clock ticks for a group up to the last arrival of all.
    end = max(rules.end, float(np.nextafter(float(arrivals[-1, 0]), np.inf)))
    outcomes = side_by_side(
        [
            partial(_run_group, arrivals[of_arrival == n], chip, rules._replace(end=end), rows)
            for n, rows in enumerate(groups)
        ],
        pause,
    )
    if any(broken >= 0 for _, broken, _ in outcomes):
        # Which of all events it was, and what was done until then, one run says.
        return run_with_pauses(arrivals, chip, rules, pause)
    first = CORE["potentials"]
    for rows, (_, _, part) in zip(groups, outcomes, strict=True):
        for row in rows:
            stop = chip.cores[row + 1, first] if row + 1 < len(chip.cores) else len(chip.potentials)
            chip.potentials[chip.cores[row, first] : stop] = part.potentials[chip.cores[row, first] : stop]
            for name in _BY_CORE:
                getattr(chip, name)[row] = getattr(part, name)[row]
    chip.clock[:] = outcomes[0][2].clock
    return np.concatenate([record for record, _, _ in outcomes]), -1


def _run_group(
    arrivals: NDArray[np.int64], chip: Chip, rules: Rules, rows: Sequence[int], pause: Pause | None
) -> _Outcome:
    """Run one group on arrays of its own: threads that write side by side wait for each other."""
    cores: NDArray[Any] = chip.cores.copy()
    cores[np.isin(np.arange(len(cores)), rows, invert=True), CORE["leak"]] = 0
    own = {name: getattr(chip, name).copy() for name in ("potentials", *_BY_CORE, "clock")}
    part = chip._replace(cores=cores, **own)
    return *run_with_pauses(arrivals, part, rules, pause), part
