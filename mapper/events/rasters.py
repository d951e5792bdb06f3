"""Rasters, (time, features, height, width) spike counts per time step, and events."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mapper.arguments import checked
from mapper.arrays import plain_array
from mapper.asking import DROP_OUTSIDE
from mapper.by_value import ByValue
from mapper.errors import EventError, Finding
from mapper.events.arrays import (
    EVENT_DTYPE,
    Column,
    Events,
    Shape3,
    column_findings,
    events_from,
    shape_findings,
    whole,
)
from mapper.wording import counted

__all__ = ["EventRaster", "Raster", "checked_raster", "events_from_raster", "raster_from_events"]

Raster: TypeAlias = NDArray[np.integer[Any] | np.bool_]

# 8 GiB of counts; more is a wrong unit of time or a missing start, not a wish.
MOST_CELLS = 2**31
# 4 GiB of events.
MOST_EVENTS = 2**28
# Over an hour; keeps the arithmetic inside a step within 64 bits.
LONGEST_STEP_US = 2**32


@dataclass(frozen=True, slots=True, eq=False)
class EventRaster(ByValue):
    """A raster and what did not fit into it.

    Attributes
    ----------
    counts
        (time, features, height, width), int32.
    dropped_shape
        Events outside features, height and width, whatever their time.
    dropped_time
        Events inside these, but before the first step or after the last.
    """

    counts: NDArray[np.int32]
    dropped_shape: int = 0
    dropped_time: int = 0

    @property
    def dropped(self) -> int:
        """All events that are not in the raster."""
        return self.dropped_shape + self.dropped_time


@checked
def raster_from_events(
    events: Events,
    shape: Shape3,
    dt_us: float,
    steps: int | None = None,
    *,
    start_us: int = 0,
    drop_outside: bool = False,
) -> EventRaster:
    """Count events per time step: step n holds start + n·dt <= t < start + (n + 1)·dt.

    Parameters
    ----------
    events
        In any order of time; any layout that `events_from` takes.
    shape
        (features, height, width).
    dt_us
        Microseconds per step, a whole number 1..2^32.
    steps
        Number of steps; None for just as many as the last event needs.
    start_us
        Where the first step begins.
    drop_outside
        Leave out what lies outside the shape or the steps, and count it, instead of refusing it.

    Raises
    ------
    EventError
        With everything that is wrong; a raster of more than 2^31 cells too.
    """
    dt, findings = whole("dt_us", dt_us, 1, LONGEST_STEP_US, "µs")
    start, problems = whole("start_us", start_us, 0, 2**62, "µs")
    findings += problems + shape_findings(shape)
    step_count = 0
    if steps is not None:
        step_count, problems = whole("steps", steps, 0, MOST_CELLS)
        findings += problems
    try:
        events = events_from(events, order="any")
    except EventError as error:
        findings.extend(error.findings)
    if findings:
        raise EventError(*findings)
    features, height, width = (int(side) for side in shape)
    return _counted(
        events, (features, height, width), dt, start, step_count if steps is not None else None, drop_outside
    )


def _counted(
    events: Events, shape: Shape3, dt: int, start: int, steps: int | None, drop_outside: bool
) -> EventRaster:
    features, height, width = shape
    inside = (events["p"] < features) & (events["y"] < height) & (events["x"] < width)
    # Floor division: events before the start get negative steps.
    step = (events["t"] - start) // dt
    known = step[inside] if drop_outside else step
    step_count = max(int(known.max(initial=-1)) + 1, 0) if steps is None else steps
    timely = (step >= 0) & (step < step_count)
    taken = inside & timely
    findings = []
    if not drop_outside:
        findings = _outside_findings(events, shape, timely, start, start + step_count * dt)
    cells = step_count * features * height * width
    if cells > MOST_CELLS:
        step_text = "Check the unit of time, give start_us or steps, or make dt_us longer"
        text = f"{counted(step_count, 'step')} of {features}×{height}×{width} are too large a raster"
        findings.append(Finding("raster", text, cells, MOST_CELLS, "cells", step_text))
    if findings:
        raise EventError(*findings)
    counts = np.zeros((step_count, features, height, width), dtype=np.int32)
    if not taken.all():
        events, step = events[taken], step[taken]
    place = ((step * features + events["p"]) * height + events["y"]) * width + events["x"]
    np.add.at(counts.reshape(-1), place, np.int32(1))
    outside = int(len(inside) - np.count_nonzero(inside))
    return EventRaster(counts, outside, int(len(taken) - np.count_nonzero(taken)) - outside)


def _outside_findings(events: Events, shape: Shape3, timely: Column, start: int, end: int) -> list[Finding]:
    step = f"Leave such events out, and count them, with {DROP_OUTSIDE.to(True)}"
    findings = []
    for field, side in zip(("p", "y", "x"), shape, strict=True):
        findings += column_findings(f"events, field {field}", events[field], int(side) - 1)
    late = np.flatnonzero(~timely)
    if len(late):
        first = int(late[0])
        count = f"{len(late)} events lie" if len(late) > 1 else "1 event lies"
        text = f"{count} outside the raster's steps, the first is event {first}"
        findings.append(
            Finding("events, field t", text, int(events["t"][first]), f"{start}..{end - 1}", "µs")
        )
    return [*findings[:-1], replace(findings[-1], next_step=step)] if findings else []


def checked_raster(raster: object, label: str = "raster") -> Raster:
    """`raster` as it is, if it is one.

    Raises
    ------
    EventError
        Not four-dimensional, not of integers, negative, or a side over 65536.
    """
    try:
        array = plain_array(raster)
    except ValueError as error:
        raise EventError(Finding(label, str(error))) from None
    findings = []
    if array.ndim != 4:
        text = "must be (time, features, height, width)"
        findings.append(Finding(label, text, f"shape {array.shape}"))
    else:
        findings = [
            Finding(f"{label}, {side}", "is out of range", size, "1..65536")
            for side, size in zip(("features", "height", "width"), array.shape[1:], strict=True)
            if not 1 <= size <= 65536
        ]
    if array.dtype.kind == "f" and array.size:
        nan = int(np.isnan(array).sum())
        text = f"holds floats ({nan} NaN); spike counts are integers"
        made = ".to(torch.int64)" if hasattr(raster, "detach") else ".astype(numpy.int64)"
        step = f"Convert it with {made} if its values are whole"
        findings.append(Finding(label, text, f"dtype {array.dtype}", next_step=step))
    elif array.dtype.kind not in "biuf":
        findings.append(Finding(label, "does not hold integers", f"dtype {array.dtype}"))
    elif array.dtype.kind == "i" and array.size and int(array.min()) < 0:
        place = np.unravel_index(int(np.argmax(array < 0)), array.shape)
        where = tuple(int(index) for index in place)
        text = f"{counted(int((array < 0).sum()), 'count is', 'counts are')} negative, the first at {where}"
        findings.append(Finding(label, text, int(array[place]), "0 or more"))
    if findings:
        raise EventError(*findings)
    return array


@checked
def events_from_raster(raster: Raster, dt_us: float, start_us: int = 0) -> Events:
    """Events of a raster: a count of c at step n becomes c events.

    Event i of c is at start + n·dt + floor(i·dt / c): the first at the beginning of its step, the others
    evenly behind it, all of them before the step's end. Events of equal time are ordered by feature, row,
    column. With more than dt spikes in a step several share a microsecond.

    Parameters
    ----------
    raster
        (time, features, height, width), integers >= 0 or truth values.
    dt_us
        Microseconds per step, a whole number 1..2^32.
    start_us
        Where the first step begins.

    Raises
    ------
    EventError
        With everything that is wrong; more than 2^28 events or a time over 2^63 − 1 too.
    """
    dt, findings = whole("dt_us", dt_us, 1, LONGEST_STEP_US, "µs")
    start, problems = whole("start_us", start_us, 0, 2**62, "µs")
    findings += problems
    try:
        raster = checked_raster(raster)
    except EventError as error:
        findings.extend(error.findings)
    if findings:
        raise EventError(*findings)
    steps, features, height, width = raster.shape
    flat = np.ascontiguousarray(raster).reshape(-1)
    places = np.flatnonzero(flat)
    # Each count is limited before they are added up: the sum cannot wrap.
    most = int(flat.max(initial=0))
    counts = flat[places].astype(np.int64) if most <= MOST_EVENTS else np.array([most], dtype=object)
    total = int(counts.sum())
    if total > MOST_EVENTS:
        findings.append(Finding("raster", "holds too many spikes", total, MOST_EVENTS, "events"))
    if start + steps * dt > 2**63:
        findings.append(Finding("raster", "its last step is too late", start + steps * dt, 2**63 - 1, "µs"))
    if findings:
        raise EventError(*findings)
    rest, x = np.divmod(places, width)
    rest, y = np.divmod(rest, height)
    step, p = np.divmod(rest, features)
    columns = {"t": start + step * dt, "p": p, "y": y, "x": x}
    if most > 1:
        columns = {field: np.repeat(column, counts) for field, column in columns.items()}
        index = np.arange(total) - np.repeat(np.cumsum(counts) - counts, counts)
        columns["t"] += index * dt // np.repeat(counts, counts)
    events: Events = np.empty(total, dtype=EVENT_DTYPE)
    for field, column in columns.items():
        events[field] = column
    # Stable: the raster's own order stays where times are equal.
    return events[np.argsort(events["t"], kind="stable")] if most > 1 else events
