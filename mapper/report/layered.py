"""A graph in levels, from top to bottom: every link goes down, but those that lead back in its order.

Levels are longest ways. Links over several levels get a place of their own in each level between. The order
within a level is that of neighbours' means; places are the nearest to them that keep order and gaps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

__all__ = ["Layout", "layered", "levels_of"]

_SWEEPS = 6
_BEND_WIDTH = 16


@dataclass(frozen=True, slots=True)
class Layout:
    """Where nodes stand.

    Attributes
    ----------
    levels
        Of every node, from 0.
    centres
        Of every node, its middle along a level; from half a node's width on.
    bends
        Of a link over several levels: (level, middle) of each level between, from source to target.
    width
        From the left end to the right one.
    """

    levels: tuple[int, ...]
    centres: tuple[int, ...]
    bends: Mapping[int, tuple[tuple[int, int], ...]]
    width: int


def layered(count: int, links: Sequence[tuple[int, int]], width: int, gap: int) -> Layout:
    """Place nodes of one width.

    Parameters
    ----------
    count
        Number of nodes, in an order in which links go forward, but those that lead back.
    links
        Pairs of nodes; a node may lead back to itself.
    width, gap
        Of a node, and between two.
    """
    levels = levels_of(count, links)
    # What stands in a level: nodes, then bends as (link, level).
    rows: list[list[int]] = [[] for _ in range(max(levels, default=-1) + 1)]
    widths = [width] * count
    for node, level in enumerate(levels):
        rows[level].append(node)
    steps: list[tuple[int, int]] = []
    bends: dict[int, list[tuple[int, int]]] = {}
    for n, (source, target) in enumerate(links):
        low, high = levels[source], levels[target]
        step = 1 if high > low else -1
        before = source
        for level in range(low + step, high, step):
            bend = len(widths)
            widths.append(_BEND_WIDTH)
            rows[level].append(bend)
            bends.setdefault(n, []).append((level, bend))
            steps.append((before, bend))
            before = bend
        if source != target:
            steps.append((before, target))
    places = _places(rows, steps, widths, gap)
    return Layout(
        tuple(levels),
        tuple(places[:count]),
        {n: tuple((level, places[bend]) for level, bend in each) for n, each in bends.items()},
        max((place + widths[n] // 2 for n, place in enumerate(places)), default=0),
    )


def levels_of(count: int, links: Sequence[tuple[int, int]]) -> list[int]:
    """The level of every node: the longest way to it, without what leads back."""
    levels = [0] * count
    for source, target in sorted(links):
        if target > source:
            levels[target] = max(levels[target], levels[source] + 1)
    return levels


def _places(
    rows: list[list[int]], steps: Sequence[tuple[int, int]], widths: Sequence[int], gap: int
) -> list[int]:
    """The middle of everything, from the left end on."""
    row_of = {node: r for r, row in enumerate(rows) for node in row}
    near: dict[int, dict[int, list[int]]] = {n: {-1: [], 1: []} for n in row_of}
    for one, other in steps:
        side = row_of[other] - row_of[one]
        if side:
            near[one][side].append(other)
            near[other][-side].append(one)
    at = [0.0] * len(widths)
    for row in rows:
        _spread(row, [0.0] * len(row), at, widths, gap)
    for sweep in range(_SWEEPS):
        side = -1 if sweep % 2 == 0 else 1
        for row in rows if side < 0 else reversed(rows):
            wanted = {node: _mean([at[other] for other in near[node][side]], at[node]) for node in row}
            row.sort(key=lambda node: wanted[node])  # what is equal keeps its order
            _spread(row, [wanted[node] for node in row], at, widths, gap)
    left = min((at[n] - widths[n] / 2 for n in row_of), default=0.0)
    return [round(place - left) for place in at]


def _mean(values: Sequence[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise


def _spread(
    row: Sequence[int], wanted: Sequence[float], at: list[float], widths: Sequence[int], gap: int
) -> None:
    """The places nearest to those wanted, by squares, in this order and with a gap: pooled neighbours."""
    offsets, reach = [], 0.0
    for n, node in enumerate(row):
        reach += (widths[row[n - 1]] + widths[node]) / 2 + gap if n else 0.0
        offsets.append(reach)
    pools: list[tuple[float, int]] = []
    for place, offset in zip(wanted, offsets, strict=True):
        mean, size = place - offset, 1
        while pools and pools[-1][0] > mean:
            earlier, more = pools.pop()
            mean, size = (earlier * more + mean * size) / (more + size), more + size
        pools.append((mean, size))
    means = [mean for mean, size in pools for _ in range(size)]
    for node, mean, offset in zip(row, means, offsets, strict=True):
        at[node] = mean + offset
