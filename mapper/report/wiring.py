"""Where the cores of a floorplan stand and on which tracks its arrows run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

__all__ = ["ARROW", "BUS_HEIGHT", "EDGE", "LETTER_WIDTH", "TILE_HEIGHT", "TILE_WIDTH", "Plan", "Wire"]

TILE_WIDTH, TILE_HEIGHT = 176, 106
BUS_HEIGHT, EDGE = 26, 12
TRACK_HEIGHT, TRACK_WIDTH, ARROW = 14, 8, 8
LETTER_WIDTH = 6


@dataclass(frozen=True, slots=True)
class Wire:
    """One arrow; no source is the bar on top, no target the bar at the bottom.

    Attributes
    ----------
    label
        Pool and shift, with the input's name where it starts at the bar; may be empty.
    """

    source: int | None
    target: int | None
    label: str


@dataclass(frozen=True, slots=True)
class _Run:
    """A level stretch of a wire, from `start` to `stop`, in horizontal channel `channel`."""

    wire: int
    channel: int
    start: int
    stop: int
    label: str

    @property
    def span(self) -> tuple[int, int]:
        """What it takes of its channel, label included."""
        width = len(self.label) * LETTER_WIDTH + 8 if self.label else 0
        reach = self.start + width if self.stop >= self.start else self.start - width
        ends = (self.start, self.stop, reach)
        return min(ends) - 5, max(ends) + 5


class Plan:
    """Where everything stands: tiles, channels between them, and the tracks of the wires in the channels."""

    def __init__(self, cores: int, wires: Sequence[Wire]) -> None:
        self.columns = next(
            (c for limit, c in ((1, 1), (4, 2), (9, 3), (16, 4), (25, 5)) if cores <= limit), 6
        )
        self.rows = -(-cores // self.columns)
        self.wires = tuple(wires)
        self.ways = [self._way(wire) for wire in self.wires]
        self._place_columns()
        sources, targets = [wire.source for wire in self.wires], [wire.target for wire in self.wires]
        # The bar on top comes before all cores, the one at the bottom after them: fewer crossings.
        self.leave = self._ports(sources, [cores if end is None else end for end in targets], TILE_WIDTH // 2)
        self.enter = self._ports(targets, [-1 if end is None else end for end in sources], 0)
        self.runs = [run for n in range(len(self.wires)) for run in self._runs(n)]
        self._place_rows()

    def _way(self, wire: Wire) -> tuple[int, int, int | None]:
        """(channel it leaves into, channel it arrives from, vertical channel between the two)."""
        out = 0 if wire.source is None else wire.source // self.columns + 1
        into = self.rows if wire.target is None else wire.target // self.columns
        if out == into:
            return out, into, None
        if wire.target is None:
            return out, into, (wire.source or 0) % self.columns + 1
        column = wire.target % self.columns
        # From the left, or from the bar: the channel on the side where arrows enter.
        left = wire.source is None or wire.source % self.columns < column
        return out, into, column if left else column + 1

    def _place_columns(self) -> None:
        spans = {
            n: (min(out, into), max(out, into))
            for n, (out, into, between) in enumerate(self.ways)
            if between is not None
        }
        self.lane: dict[int, int] = {}
        self.column_x: list[int] = []
        lanes: list[tuple[int, dict[int, int]]] = []
        x = EDGE
        for channel in range(self.columns + 1):
            here = {n: spans[n] for n, (_, _, between) in enumerate(self.ways) if between == channel}
            tracks = _tracks(here)
            lanes.append((x + TRACK_WIDTH, tracks))
            x += (1 + max(tracks.values(), default=-1)) * TRACK_WIDTH + 2 * TRACK_WIDTH
            if channel < self.columns:
                self.column_x.append(x)
                x += TILE_WIDTH
        for left, tracks in lanes:
            self.lane.update({n: left + track * TRACK_WIDTH for n, track in tracks.items()})
        self.width = x + EDGE

    def _ports(self, mine: Sequence[int | None], others: Sequence[int], offset: int) -> dict[int, int]:
        """X of every wire at a core's edge: leaving in the right half, entering in the left."""
        wires: dict[int, list[int]] = {}
        for n, core in enumerate(mine):
            if core is not None:
                wires.setdefault(core, []).append(n)
        ports = {}
        for core, numbers in wires.items():
            left = self.column_x[core % self.columns] + offset + 12
            ordered = sorted(numbers, key=lambda n: (others[n], n))
            step = min(20, (TILE_WIDTH // 2 - 24) // max(len(ordered) - 1, 1))
            ports.update({n: left + k * step for k, n in enumerate(ordered)})
        return ports

    def _runs(self, n: int) -> Iterator[_Run]:
        """The level stretches of a wire; one without length holds the label of a wire straight down."""
        wire, (out, into, between) = self.wires[n], self.ways[n]
        if between is None:
            start = self.leave.get(n, self.enter.get(n, 0))
            yield _Run(n, out, start, self.enter.get(n, start), wire.label)
            return
        if wire.source is not None:
            yield _Run(n, out, self.leave[n], self.lane[n], wire.label)
        if wire.target is not None:
            label = wire.label if wire.source is None else ""
            yield _Run(n, into, self.lane[n], self.enter[n], label)

    def _place_rows(self) -> None:
        self.level: dict[tuple[int, int], int] = {}
        self.row_y: list[int] = []
        y = EDGE + BUS_HEIGHT
        for channel in range(self.rows + 1):
            here = {n: run.span for n, run in enumerate(self.runs) if run.channel == channel}
            tracks = _tracks(here)
            for n, track in tracks.items():
                self.level[self.runs[n].wire, channel] = y + (track + 1) * TRACK_HEIGHT
            y += (1 + max(tracks.values(), default=-1)) * TRACK_HEIGHT + 18
            if channel < self.rows:
                self.row_y.append(y)
                y += TILE_HEIGHT
        self.bottom = y
        self.has_readout = any(wire.target is None for wire in self.wires)
        self.height = y + (BUS_HEIGHT if self.has_readout else 0) + 2 * EDGE + 10

    def corner(self, core: int) -> tuple[int, int]:
        """Upper left corner of a tile."""
        return self.column_x[core % self.columns], self.row_y[core // self.columns]


def _tracks(spans: dict[int, tuple[int, int]]) -> dict[int, int]:
    """The least number of tracks on which no two spans touch: by first end, into the first that is free."""
    ends: list[int] = []
    tracks = {}
    for n, (start, stop) in sorted(spans.items(), key=lambda item: (item[1], item[0])):
        track = next((k for k, end in enumerate(ends) if end < start), len(ends))
        ends[track : track + 1] = [stop]
        tracks[n] = track
    return tracks
