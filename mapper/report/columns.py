"""A tall graph in columns, each read from top to bottom, and the ways of its links from one to the next.

Between columns a link leaves downwards, runs up beside its column and enters from above; what leads back runs
over the columns. Each has tracks of its own, so no two lie on each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from mapper.report.layered import Layout

__all__ = ["Back", "Columns", "Hop", "columns"]

# Left and right of a column: room for loops and names.
_MARGIN, _TRACK = 12, 9
# From a row's upper or lower edge to the nearest track.
_ABOVE, _BELOW = 14, 10


@dataclass(frozen=True, slots=True)
class Hop:
    """The way from one column to the next: down to `low`, along to `beside`, up to `high`, along and down."""

    low: int
    beside: int
    high: int


@dataclass(frozen=True, slots=True)
class Back:
    """The way back to an earlier column: along to `start`, up to `high`, back to `stop`, down, and along."""

    start: int
    high: int
    stop: int


@dataclass(frozen=True, slots=True)
class Columns:
    """Where the levels of a graph stand, from its upper left corner.

    Attributes
    ----------
    lefts
        Of every column, where a layout's places count from.
    per_column
        Levels in a column; the last may have fewer.
    first_row, step
        Upper edge of a column's first level, and from one level to the next.
    hops
        By (link, level it leaves).
    backs
        By link.
    """

    lefts: tuple[int, ...]
    per_column: int
    first_row: int
    step: int
    hops: Mapping[tuple[int, int], Hop]
    backs: Mapping[int, Back]
    width: int
    height: int

    def at(self, level: int, place: int) -> tuple[int, int]:
        """Of a place in a level: x, and the upper edge of the level."""
        column, row = divmod(level, self.per_column)
        return self.lefts[column] + place, self.first_row + row * self.step

    def moved(self, x: int, y: int) -> Columns:
        """The same elsewhere."""
        return replace(
            self,
            lefts=tuple(left + x for left in self.lefts),
            first_row=self.first_row + y,
            hops={n: Hop(hop.low + y, hop.beside + x, hop.high + y) for n, hop in self.hops.items()},
            backs={n: Back(b.start + x, b.high + y, b.stop + x) for n, b in self.backs.items()},
        )


def columns(
    layout: Layout, links: Sequence[tuple[int, int]], per_column: int, step: int, head: int, tall: int
) -> Columns:
    """Wrap a layout after so many levels.

    Parameters
    ----------
    links
        The pairs that the layout has placed.
    head, tall
        Height of what stands above the first level, and of a node.
    """
    count = -(-(max(layout.levels, default=0) + 1) // per_column)
    leaving = [_leaving(layout, links, (column + 1) * per_column - 1) for column in range(count - 1)]
    backs = [
        n
        for n, (source, target) in enumerate(links)
        if layout.levels[target] // per_column < layout.levels[source] // per_column
    ]
    most = max(map(len, leaving), default=0)
    first_row = max(head, _ABOVE + (most + len(backs)) * _TRACK)
    bottom = first_row + (per_column - 1) * step + tall
    tracks = [len(each) + len(backs) for each in (*leaving, [])]
    lefts, x = [], 0
    for number in tracks:
        lefts.append(x + _MARGIN)
        x += layout.width + 3 * _MARGIN + number * _TRACK
    besides = [left + layout.width + _MARGIN + _MARGIN // 2 for left in lefts]
    hops = {
        (n, (column + 1) * per_column - 1): Hop(
            bottom + _BELOW + k * _TRACK,
            besides[column] + k * _TRACK,
            first_row - _ABOVE - (len(each) - 1 - k) * _TRACK,
        )
        for column, each in enumerate(leaving)
        for k, n in enumerate(each)
    }

    def beside(node: int, k: int) -> int:
        column = layout.levels[node] // per_column
        return besides[column] + (tracks[column] - len(backs) + k) * _TRACK

    return Columns(
        tuple(lefts),
        per_column,
        first_row,
        step,
        hops,
        {
            n: Back(beside(links[n][0], k), first_row - _ABOVE - (most + k) * _TRACK, beside(links[n][1], k))
            for k, n in enumerate(backs)
        },
        x - _MARGIN,
        bottom + (_BELOW + (most - 1) * _TRACK + _MARGIN if most else 0),
    )


def _leaving(layout: Layout, links: Sequence[tuple[int, int]], level: int) -> list[int]:
    """The links from this level or above to a lower one, from right to left: so they cross least."""
    found: list[tuple[int, int, int]] = []
    for n, (source, target) in enumerate(links):
        if layout.levels[source] <= level < layout.levels[target]:
            bends = dict(layout.bends.get(n, ()))
            after = bends.get(level + 1, layout.centres[target])
            found.append((bends.get(level, layout.centres[source]), after, n))
    return [n for _, _, n in sorted(found, reverse=True)]
