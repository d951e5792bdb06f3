"""Where the cores of a floorplan stand and on which tracks its arrows run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mapper.report.drawing import text_width

__all__ = [
    "ARROW", "BUS_HEIGHT", "EDGE", "HEAD_HEIGHT", "LABEL_SIZE", "LANE_SIZE", "TILE_HEIGHT", "TILE_WIDTH",
    "Label", "Names", "Plan", "Wire",
]  # fmt: skip

TILE_WIDTH, TILE_HEIGHT = 196, 88
BUS_HEIGHT, EDGE, HEAD_HEIGHT = 26, 12, 24
TRACK_HEIGHT, TRACK_WIDTH, ARROW = 14, 12, 8
LABEL_SIZE, LANE_SIZE = 10, 9
_LABEL_GAP = 4
# After so much of a level stretch its name stands there once more.
_NAMED_EVERY = 320


@dataclass(frozen=True, slots=True)
class Wire:
    """One arrow; no source is the bar on top, no target the bar at the bottom.

    Attributes
    ----------
    source, target
        Places of cores.
    pooling, shift
        Pool size and feature shift of the destination.
    input
        Name of the input where it starts at the bar.
    """

    source: int | None
    target: int | None
    pooling: int = 1
    shift: int = 0
    input: str = ""
    is_sensor: bool = False


@dataclass(frozen=True, slots=True)
class Names:
    """What stands at a wire: where it goes at its start, whence it comes at its end, both between."""

    head: str
    tail: str
    lane: str


@dataclass(frozen=True, slots=True)
class Label:
    """A name at a wire.

    Attributes
    ----------
    anchor
        "start", "middle" or "end": where in the text its place is.
    is_upright
        It stands along an upright stretch and is read from below.
    """

    x: int
    y: int
    words: str
    anchor: str
    is_upright: bool = False


@dataclass(frozen=True, slots=True)
class _Run:
    """A level stretch of a wire, from `start` to `stop`, in horizontal channel `channel`.

    Its head stands over it from its start on, its tail behind its stop; on a short one behind its head.
    """

    wire: int
    channel: int
    start: int
    stop: int
    head: str
    tail: str

    @property
    def _way(self) -> int:
        return 1 if self.stop >= self.start else -1

    @property
    def _head_end(self) -> int:
        return self.start + self._way * _room(self.head)

    @property
    def _tail_start(self) -> int:
        return max(self.stop, self._head_end) if self._way > 0 else min(self.stop, self._head_end)

    @property
    def span(self) -> tuple[int, int]:
        """What it takes of its channel, labels included."""
        ends = (self.start, self.stop, self._head_end, self._tail_start + self._way * _room(self.tail))
        return min(ends) - 5, max(ends) + 5

    @property
    def names_at(self) -> list[tuple[int, int]]:
        """From where to where its names reach."""
        ends = ((self.start, self.head), (self._tail_start, self.tail))
        return [_sorted_pair(x, x + self._way * _room(words)) for x, words in ends if words]

    def labels(self, level: int, between: str, below: Sequence[tuple[int, int]] = ()) -> Iterator[Label]:
        """Its names; `level` is its own, and `below` it names stand from here to there."""
        anchor = "start" if self._way > 0 else "end"
        if self.head:
            yield Label(self.start + self._way * _LABEL_GAP, level - 3, self.head, anchor)
        if self.tail:
            yield Label(self._tail_start + self._way * _LABEL_GAP, level - 3, self.tail, anchor)
        count = abs(self.stop - self._head_end) // _NAMED_EVERY
        for k in range(1, count + 1):
            x = self._head_end + (self.stop - self._head_end) * k // (count + 1)
            x = _clear(
                x, text_width(between, LABEL_SIZE) // 2 + 2, below, _sorted_pair(self._head_end, self.stop)
            )
            yield Label(x, level + 3, between, "middle")


def _room(words: str) -> int:
    return text_width(words, LABEL_SIZE) + _LABEL_GAP if words else 0


class Plan:
    """Where everything stands: tiles, channels between them, and the tracks of the wires in the channels."""

    def __init__(self, cores: int, wires: Sequence[Wire], names: Sequence[Names]) -> None:
        self.columns = next((c for limit, c in ((1, 1), (4, 2), (9, 3), (16, 4)) if cores <= limit), 5)
        self.rows = -(-cores // self.columns)
        self.wires, self.names = tuple(wires), tuple(names)
        self.ways = [self._way(wire) for wire in self.wires]
        width = self._place_columns(EDGE)
        # Names that stand left of the first column push all of it to the right.
        lack = EDGE - min((run.span[0] for run in self._level_stretches(cores)), default=EDGE)
        if lack > 0:
            width = self._place_columns(EDGE + lack)
            self._level_stretches(cores)
        self.width = max([width, *(run.span[1] + EDGE for run in self.runs)])
        self._place_rows()

    def _level_stretches(self, cores: int) -> list[_Run]:
        """Where wires leave and enter cores, and their level stretches between, once columns stand."""
        sources, targets = [wire.source for wire in self.wires], [wire.target for wire in self.wires]
        # The bar on top comes before all cores, the one at the bottom after them: fewer crossings.
        # What runs to the left has its name there, and stands left of what runs to the right.
        outward = [
            (self._runs_right(n, wire.source), cores if wire.target is None else wire.target)
            for n, wire in enumerate(self.wires)
        ]
        inward = [
            (not self._runs_right(n, wire.target), -1 if wire.source is None else wire.source)
            for n, wire in enumerate(self.wires)
        ]
        self.leave = self._ports(sources, outward, TILE_WIDTH // 2)
        self.enter = self._ports(targets, inward, 0)
        self.runs_of = [tuple(self._runs(n)) for n in range(len(self.wires))]
        self.runs = [run for each in self.runs_of for run in each]
        return self.runs

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

    def _runs_right(self, n: int, core: int | None) -> bool:
        """Whether the stretch at this end of a wire lies right of its port there."""
        wire, between = self.wires[n], self.ways[n][2]
        column = (core or 0) % self.columns
        if between is not None:
            return between > column
        if wire.source is None or wire.target is None:
            return core == wire.source  # without length: its name stands right of it
        # Straight from row to row: it leaves in the right half of a core and enters in the left one.
        is_left = wire.target % self.columns <= wire.source % self.columns
        return is_left if core == wire.target else not is_left

    def _place_columns(self, left: int) -> int:
        """Columns of cores and lanes between them, from the left end on; where the last one ends."""
        spans = {
            n: (min(out, into), max(out, into))
            for n, (out, into, between) in enumerate(self.ways)
            if between is not None
        }
        self.lane: dict[int, int] = {}
        self.column_x: list[int] = []
        lanes: list[tuple[int, dict[int, int]]] = []
        x = left
        for channel in range(self.columns + 1):
            here = {n: spans[n] for n, (_, _, between) in enumerate(self.ways) if between == channel}
            tracks = _tracks(here)
            lanes.append((x + TRACK_WIDTH, tracks))
            x += (1 + max(tracks.values(), default=-1)) * TRACK_WIDTH + 2 * TRACK_WIDTH
            if channel < self.columns:
                self.column_x.append(x)
                x += TILE_WIDTH
        for first, tracks in lanes:
            self.lane.update({n: first + track * TRACK_WIDTH for n, track in tracks.items()})
        return x + EDGE

    def _ports(
        self, mine: Sequence[int | None], others: Sequence[tuple[bool, int]], offset: int
    ) -> dict[int, int]:
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
        """The level stretches of a wire; one without length holds the name of a wire straight down."""
        wire, names, (out, into, between) = self.wires[n], self.names[n], self.ways[n]
        if between is None:
            start = self.leave.get(n, self.enter.get(n, 0))
            stop = self.enter.get(n, start)
            head = names.head if wire.source is not None else names.tail
            yield _Run(
                n, out, start, stop, head, names.tail if wire.source is not None and n in self.enter else ""
            )
            return
        if wire.source is not None:
            yield _Run(n, out, self.leave[n], self.lane[n], names.head, "")
        if wire.target is not None:
            yield _Run(n, into, self.lane[n], self.enter[n], "", names.tail)

    def labels(self, n: int) -> Iterator[Label]:
        """The names along a wire: at its ends, along level stretches, and in every row of cores it passes."""
        out, into, between = self.ways[n]
        for run in self.runs_of[n]:
            level = self.level[n, run.channel]
            # A name on the line reaches to those of the next track.
            below = [
                span
                for other in self.runs
                if other.channel == run.channel
                and self.level[other.wire, run.channel] == level + TRACK_HEIGHT
                for span in other.names_at
            ]
            yield from run.labels(level, self.names[n].lane, below)
        if between is not None:
            for row in range(min(out, into), max(out, into)):
                middle = self.row_y[row] + TILE_HEIGHT // 2
                yield Label(self.lane[n], middle, self.names[n].lane, "middle", is_upright=True)

    def _place_rows(self) -> None:
        self.level: dict[tuple[int, int], int] = {}
        self.row_y: list[int] = []
        y = HEAD_HEIGHT + BUS_HEIGHT
        for channel in range(self.rows + 1):
            here = {n: run.span for n, run in enumerate(self.runs) if run.channel == channel}
            tracks = self._legible(_tracks(here))
            for n, track in tracks.items():
                self.level[self.runs[n].wire, channel] = y + (track + 1) * TRACK_HEIGHT
            y += (1 + max(tracks.values(), default=-1)) * TRACK_HEIGHT + 20
            if channel < self.rows:
                self.row_y.append(y)
                y += TILE_HEIGHT
        self.bottom = y
        self.has_readout = any(wire.target is None for wire in self.wires)
        self.height = y + (BUS_HEIGHT if self.has_readout else 0) + EDGE

    def _legible(self, tracks: dict[int, int]) -> dict[int, int]:
        """The same stretches on each track, and the tracks in an order in which fewer wires cross names.

        A wire that crosses a name beside its own end looks as if the name were its own.
        """
        members: list[list[_Run]] = [[] for _ in {*tracks.values()}]
        for n, track in tracks.items():
            members[track].append(self.runs[n])
        uprights = [[pair for run in track for pair in self._uprights(run)] for track in members]
        spans = [[span for run in track for span in run.names_at] for track in members]
        # crossed[a][b]: names crossed while track a lies above track b.
        crossed = [
            [
                _crossed(spans[b], uprights[a], 1) + _crossed(spans[a], uprights[b], -1)
                for b in range(len(members))
            ]
            for a in range(len(members))
        ]
        place = {track: n for n, track in enumerate(_ordered(crossed))}
        return {n: place[track] for n, track in tracks.items()}

    def _uprights(self, run: _Run) -> tuple[tuple[int, int], tuple[int, int]]:
        """(x, 1 down or -1 up): whither the wire goes at the start and at the stop of a level stretch."""
        out, into, between = self.ways[run.wire]
        lane = 1 if into > out else -1
        if between is None:
            return (run.start, -1), (run.stop, 1)
        if run.channel == out and self.wires[run.wire].source is not None:
            return (run.start, -1), (run.stop, lane)
        return (run.start, -lane), (run.stop, 1)

    def corner(self, core: int) -> tuple[int, int]:
        """Upper left corner of a tile."""
        return self.column_x[core % self.columns], self.row_y[core // self.columns]


def _sorted_pair(one: int, other: int) -> tuple[int, int]:
    return min(one, other), max(one, other)


def _clear(x: int, half: int, names: Sequence[tuple[int, int]], within: tuple[int, int]) -> int:
    """The place nearest to x for the middle of a name that covers none of these; x where there is none."""
    places = [x, *(side for start, stop in names for side in (start - half, stop + half))]
    free = [
        place
        for place in places
        if within[0] + half <= place <= within[1] - half
        and all(place + half <= start or stop <= place - half for start, stop in names)
    ]
    return min(free, key=lambda place: (abs(place - x), place), default=x)


def _crossed(names: Sequence[tuple[int, int]], uprights: Sequence[tuple[int, int]], way: int) -> int:
    """How many names uprights that go this way run through."""
    return sum(start < x < stop for start, stop in names for x, to in uprights if to == way)


def _ordered(cost: Sequence[Sequence[int]]) -> list[int]:
    """An order of low cost, where cost[a][b] is that of a before b: each moves while that saves something."""
    order = list(range(len(cost)))
    is_better = True
    while is_better:
        is_better = False
        for item in range(len(cost)):
            rest = [other for other in order if other != item]
            prices = [
                sum(cost[other][item] for other in rest[:n]) + sum(cost[item][other] for other in rest[n:])
                for n in range(len(order))
            ]
            here = order.index(item)
            best = min(range(len(order)), key=lambda n: (prices[n], abs(n - here)))
            if prices[best] < prices[here]:
                order = [*rest[:best], item, *rest[best:]]
                is_better = True
    return order


def _tracks(spans: dict[int, tuple[int, int]]) -> dict[int, int]:
    """The least number of tracks on which no two spans touch: by first end, into the first that is free."""
    ends: list[int] = []
    tracks = {}
    for n, (start, stop) in sorted(spans.items(), key=lambda item: (item[1], item[0])):
        track = next((k for k, end in enumerate(ends) if end < start), len(ends))
        ends[track : track + 1] = [stop]
        tracks[n] = track
    return tracks
