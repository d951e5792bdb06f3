"""The stages around the cores, for events: the sensor's preprocessing and the readout."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from mapper.emit.shared.config import DvsLayer, Readout
from mapper.emit.shared.graph import ConfigGraph
from mapper.errors import ConfigError, Finding
from mapper.events import Events
from mapper.events.arrays import copied

__all__ = [
    "fanned_out",
    "one_sensor",
    "readout_classes",
    "same_events",
    "sensor_events",
    "through_stage",
    "window_ticks",
]

_Recording = TypeVar("_Recording")

# An arrival as `run_events` takes it: the time, and a number of the rest. numba has no other order of bytes.
_PACKED = np.dtype(
    {
        "names": ["t", "x", "y", "p", "core"],
        "formats": ["<i8", *["<u2"] * 4],
        "offsets": [0, 8, 10, 12, 14],
    }
)

# HARDWARE.md, errata 2: in mode 3 feature n of the last core is class n // 4 + 1, of 15.
_SPACING, _CLASSES = 4, 15


def one_sensor(
    inputs: Mapping[str, _Recording],
    graph: ConfigGraph,
    is_same: Callable[[_Recording, _Recording], bool],
) -> dict[str, _Recording]:
    """Recordings by the names of `graph.entries`: inputs that share the sensor stage are given once.

    Raises
    ------
    ConfigError
        They are given different recordings: the stage sends the same events to all.
    """
    entering: dict[str, tuple[str, _Recording]] = {}
    for name, recording in inputs.items():
        first, known = entering.setdefault(graph.entry_name(name), (name, recording))
        if not is_same(known, recording):
            step = "Give one recording for all of them, or run the networks one by one"
            problem = "shares the sensor stage, which sends the same events to all, and is given others"
            raise ConfigError(Finding(f"input {name}", problem, None, f"those of {first}", next_step=step))
    return {name: recording for name, (_, recording) in entering.items()}


def same_events(left: Events, right: Events, stage: DvsLayer | None, raw: bool) -> bool:
    """Whether two recordings of the sensor leave its stage alike; `raw` as in `through_stage`."""
    if left is right or np.array_equal(left, right):
        return True
    if stage is None:
        return False
    one, other = (_inside(through_stage(events, stage, raw)[0], stage) for events in (left, right))
    return np.array_equal(one, other)


def _inside(events: Events, stage: DvsLayer) -> Events:
    """Events on the map that leaves the stage: rows and columns that fill no pool are not."""
    height, width = stage.output_size
    return events[(events["y"] < height) & (events["x"] < width)]


def through_stage(events: Events, stage: DvsLayer, raw: bool) -> tuple[Events, int]:
    """Events behind the sensor stage, and how many its gates and its crop kept out.

    In order: polarity gates, merge, pool, crop, mirror, swap of the axes.

    Parameters
    ----------
    raw
        The events are the sensor's own; else they are counted behind crop, mirror and swap, and only
        pooled here.
    """
    kept = copied(events)
    if not (stage.on_channel and stage.off_channel):
        kept = kept[np.where(kept["p"] > 0, stage.on_channel, stage.off_channel)]
    if stage.merge:
        kept["p"] = 0
    py, px = (stage.pooling.y, stage.pooling.x) if raw else stage.output_pooling
    for name, pool in (("y", py), ("x", px)):
        if pool > 1:
            kept[name] //= pool
    if raw:
        y, x = kept["y"].astype(np.int64) - stage.origin.y, kept["x"].astype(np.int64) - stage.origin.x
        height, width = stage.cut.y - stage.origin.y + 1, stage.cut.x - stage.origin.x + 1
        inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
        kept, y, x = kept[inside], y[inside], x[inside]
        y = height - 1 - y if stage.mirror.y else y
        x = width - 1 - x if stage.mirror.x else x
        kept["y"], kept["x"] = (x, y) if stage.mirror_diagonal else (y, x)
    return kept, len(events) - len(kept)


def sensor_events(events: Events, stage: DvsLayer) -> Events:
    """The sensor's own events for events that are counted behind crop, mirror and swap: the way back."""
    sensed = events.copy()
    y, x = sensed["y"].astype(np.int64), sensed["x"].astype(np.int64)
    if stage.mirror_diagonal:
        y, x = x, y
    height = (stage.cut.y - stage.origin.y + 1) * stage.pooling.y
    width = (stage.cut.x - stage.origin.x + 1) * stage.pooling.x
    y = height - 1 - y if stage.mirror.y else y
    x = width - 1 - x if stage.mirror.x else x
    sensed["y"], sensed["x"] = y + stage.origin.y * stage.pooling.y, x + stage.origin.x * stage.pooling.x
    return sensed


def window_ticks(stage: Readout) -> int:
    """Ticks over which the readout averages."""
    return 1 if stage.low_pass_filter_disable else (32 if stage.low_pass_filter32_not16 else 16)


def readout_classes(spikes: Events, ticks: NDArray[np.float64], stage: Readout) -> NDArray[np.int64]:
    """(time, class) at every tick: the class whose moving average is highest and above the threshold.

    A tick sees the spikes since the tick before. The average over the window must be strictly above the
    threshold (datasheet, 3.2.5); of equal averages the lowest class wins, which is assumed. 0 is no class.
    """
    window = window_ticks(stage)
    classes = spikes["p"] // _SPACING
    known = (classes < _CLASSES) & (spikes["p"] % _SPACING == 0)
    slot = np.searchsorted(ticks, spikes["t"], side="left")
    known &= slot < len(ticks)
    counts = np.zeros((len(ticks), _CLASSES), np.int64)
    np.add.at(counts, (slot[known], classes[known]), 1)
    total = np.cumsum(counts, axis=0)
    moving = total.copy()
    moving[window:] -= total[:-window]
    best = moving.argmax(axis=1)
    above = moving[np.arange(len(ticks)), best] > stage.threshold * window
    return np.stack([ticks.astype(np.int64), np.where(above, best + 1, 0)], axis=1)


def fanned_out(
    events: Events, entries: Iterable[Any], graph: ConfigGraph, index: Mapping[int, int]
) -> tuple[NDArray[np.int64], int]:
    """Every event once per entry, as `run_events` takes it; those outside the map left out and counted."""
    most = {name: int(events[name].max(initial=0)) for name in ("p", "y", "x")}
    entry_rows, insides, lost = [], [], 0
    for entry in entries:
        shape = graph.cores[entry.core].dimensions
        if shape is None:
            continue
        size, features = shape.input_shape.size, shape.input_shape.feature_count
        limits = {"p": features - entry.feature_shift, "y": size.y, "x": size.x}
        rows = np.empty((len(events), 2), "<i8")
        packed = rows.view(_PACKED)[:, 0]
        packed["t"], packed["core"] = events["t"], index[entry.core]
        packed["y"], packed["x"], packed["p"] = events["y"], events["x"], events["p"]
        # What this carries over lies outside.
        packed["p"] += np.uint16(entry.feature_shift)
        crossed = [name for name, limit in limits.items() if most[name] >= limit]
        inside = None
        if crossed:
            inside = np.logical_and.reduce([events[name] < limits[name] for name in crossed])
            rows = rows[inside]
            lost += len(events) - len(rows)
        entry_rows.append(rows)
        insides.append(inside)
    if not entry_rows:
        return np.empty((0, 2), np.int64), lost
    if len(entry_rows) == 1:
        return entry_rows[0], lost
    # The order of events, then of entries.
    numbers = np.arange(len(events))
    places = [numbers if inside is None else numbers[inside] for inside in insides]
    return np.concatenate(entry_rows)[np.argsort(np.concatenate(places), kind="stable")], lost
