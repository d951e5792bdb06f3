"""How fast a million events are converted, in turn with the least that is needed for it.

    python scripts/bench_events.py [--quick]

Beside conversions of arrays stands a copy of the events, beside those of objects the making of as many.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import numpy as np
from benchmark import Row, in_turn, options_of, tell, timed

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from mapper.events import (
    EVENT_DTYPE,
    MonitoredLayer,
    events_from,
    events_from_raster,
    events_from_spikes,
    raster_from_events,
    read_events,
    spikes_of,
    write_events,
)

COUNT = 1_000_000
SHAPE = (2, 128, 128)


class Spike(SimpleNamespace):
    """An object as cheap as Python has them, where samna's would be."""


def events_drawn() -> Any:
    """A million random events within a second."""
    draw = np.random.default_rng(0)
    events = np.empty(COUNT, EVENT_DTYPE)
    events["t"] = np.sort(draw.integers(0, 1_000_000, COUNT))
    for name, side in zip(("p", "y", "x"), SHAPE, strict=True):
        events[name] = draw.integers(0, side, COUNT)
    return events


def rows(*, is_quick: bool) -> list[Row]:
    """The figures."""
    events = events_drawn()
    other = np.empty(COUNT, [("x", "<i2"), ("y", "<i2"), ("ts", "<u4"), ("pol", "?")])
    for theirs, ours in (("x", "x"), ("y", "y"), ("ts", "t"), ("pol", "p")):
        other[theirs] = events[ours]
    raster = raster_from_events(events, SHAPE, 10_000).counts
    spikes = spikes_of(events, [(0, 0)], Spike)
    layers = {"conv": MonitoredLayer([(0, 0, 2)], SHAPE, (2, 2))}
    fields = dict.fromkeys(vars(spikes[0]), 0)
    copying, making = "a copy of the events", "making a million objects"
    with TemporaryDirectory() as folder:
        path = Path(folder) / "events.npy"
        write_events(path, events)
        works: dict[str, Callable[[], Any]] = {
            copying: events.copy,
            making: lambda: [Spike(**fields) for _ in range(COUNT)],
            "another layout of fields": lambda: events_from(other),
            "events to raster": lambda: raster_from_events(events, SHAPE, 10_000),
            "raster to events": lambda: events_from_raster(raster, 10_000),
            "monitored spikes to events": lambda: events_from_spikes(spikes, layers),
            "events to spikes": lambda: spikes_of(events, [(0, 0)], Spike),
            "read .npy": lambda: read_events(path),
        }
        taken = in_turn(works, 2 if is_quick else 5)
    found = []
    for name in list(works)[2:]:
        is_of_objects = "spikes" in name
        beside = making if is_of_objects else copying
        # A copy waits for memory, a conversion for the processor: another machine, another ratio.
        row = timed(
            f"events, {name}", taken[name], beside=beside, reference=taken[beside], is_checked=is_of_objects
        )
        found.append(row)
    return found


def main() -> None:
    """Print one line per conversion."""
    options = options_of(__doc__).parse_args()
    tell(rows(is_quick=options.quick), options)


if __name__ == "__main__":
    main()
