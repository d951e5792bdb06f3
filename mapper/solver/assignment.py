"""Whether each of many layers gets a core of its own, as a flow: what needs no search is not searched."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
from ortools.graph.python import max_flow

__all__ = ["assignment"]


def assignment(
    groups: Sequence[tuple[int, Collection[int]]], rooms: Sequence[int]
) -> dict[tuple[int, int], int] | None:
    """How many layers of each group go to each class, as {(group, class): layers}; None where not all can.

    A maximum flow from a source through groups and classes to a sink. With whole capacities it is whole, and
    no placement has more layers than it (Ford and Fulkerson, "Maximal flow through a network", 1956).

    Parameters
    ----------
    groups
        Layers that are alike: how many there are, and the classes that may hold them.
    rooms
        Per class, how many layers it takes, >= 0.
    """
    wanted = sum(count for count, _ in groups)
    if not wanted:
        return {}
    source, sink = 0, len(groups) + len(rooms) + 1
    pairs = [(g, k) for g, (_, classes) in enumerate(groups) for k in classes]
    first_class = len(groups) + 1
    arcs = [(source, 1 + g, count) for g, (count, _) in enumerate(groups)]
    arcs += [(1 + g, first_class + k, min(groups[g][0], rooms[k])) for g, k in pairs]
    arcs += [(first_class + k, sink, room) for k, room in enumerate(rooms)]
    tails, heads, capacities = np.array(arcs, np.int64).T
    flow = max_flow.SimpleMaxFlow()
    numbers = flow.add_arcs_with_capacity(tails.astype(np.int32), heads.astype(np.int32), capacities)
    status = flow.solve(source, sink)
    if status != flow.OPTIMAL:
        raise RuntimeError(f"the flow of an assignment ended with {status}")
    if flow.optimal_flow() < wanted:
        return None
    taken = flow.flows(numbers[len(groups) : len(groups) + len(pairs)]).tolist()
    return dict(zip(pairs, taken, strict=True))
