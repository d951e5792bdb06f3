"""How fast a million events are converted; the medians of five runs."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import numpy as np

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


def seconds(work: Callable[[], object]) -> float:
    """Median of five runs."""
    taken = []
    for _ in range(5):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def main() -> None:
    """Print one line per conversion."""
    draw = np.random.default_rng(0)
    events = np.empty(COUNT, EVENT_DTYPE)
    events["t"] = np.sort(draw.integers(0, 1_000_000, COUNT))
    for name, side in zip(("p", "y", "x"), SHAPE, strict=True):
        events[name] = draw.integers(0, side, COUNT)
    other = np.empty(COUNT, [("x", "<i2"), ("y", "<i2"), ("ts", "<u4"), ("pol", "?")])
    for theirs, ours in (("x", "x"), ("y", "y"), ("ts", "t"), ("pol", "p")):
        other[theirs] = events[ours]
    raster = raster_from_events(events, SHAPE, 10_000).counts
    spikes = spikes_of(events, [(0, 0)], Spike)
    layers = {"conv": MonitoredLayer([(0, 0, 2)], SHAPE, (2, 2))}
    with TemporaryDirectory() as folder:
        path = Path(folder) / "events.npy"
        write_events(path, events)
        works: dict[str, Callable[[], Any]] = {
            "another layout of fields": lambda: events_from(other),
            "events to raster": lambda: raster_from_events(events, SHAPE, 10_000),
            "raster to events": lambda: events_from_raster(raster, 10_000),
            "monitored spikes to events": lambda: events_from_spikes(spikes, layers),
            "events to spikes": lambda: spikes_of(events, [(0, 0)], Spike),
            "read .npy": lambda: read_events(path),
        }
        for name, work in works.items():
            print(f"{name:28} {seconds(work):6.3f} s for {COUNT} events")


if __name__ == "__main__":
    main()
