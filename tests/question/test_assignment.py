"""The flow that shares out cores, against Hall's condition counted by hand."""

from __future__ import annotations

from itertools import chain, combinations

import numpy as np
import pytest

from mapper.solver.assignment import assignment


def hall(groups: list[tuple[int, tuple[int, ...]]], rooms: list[int]) -> bool:
    """Whether every set of groups has as much room as it has layers."""
    sets = chain.from_iterable(combinations(groups, size) for size in range(1, len(groups) + 1))
    return all(
        sum(count for count, _ in chosen) <= sum(rooms[k] for k in set().union(*(c for _, c in chosen)))
        for chosen in sets
    )


@pytest.mark.parametrize("seed", range(200))
def test_layers_are_shared_out_where_no_set_of_them_lacks_cores(seed: int) -> None:
    draw = np.random.default_rng(seed)
    rooms = draw.integers(0, 5, draw.integers(0, 5)).tolist()
    groups = [
        (int(draw.integers(1, 5)), tuple(k for k in range(len(rooms)) if draw.random() < 0.5))
        for _ in range(draw.integers(0, 5))
    ]
    shares = assignment(groups, rooms)
    assert (shares is not None) == hall(groups, rooms)
    if shares is not None:
        for g, (count, classes) in enumerate(groups):
            assert sum(shares[g, k] for k in classes) == count
        for k, room in enumerate(rooms):
            assert sum(taken for (_, other), taken in shares.items() if other == k) <= room
        assert min(shares.values(), default=0) >= 0
