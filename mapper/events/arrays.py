"""Event arrays: the one dtype of this package, and the way into it for arrays of other layouts.

An event is (t, p, y, x): microseconds, feature, row, column. For a sensor's events the feature is the
polarity. Fields are taken by name, so their order is free; `SYNONYMS` lists the names that are understood.
"""

from __future__ import annotations

import operator
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, TypeAlias, TypeGuard

import numpy as np
from numpy.typing import NDArray

from hwspec.inert import quoted
from mapper.arguments import checked
from mapper.arrays import plain_array
from mapper.asking import ORDER, TIME_UNIT, UNWRAP, spoken
from mapper.errors import EventError, Finding

__all__ = [
    "EVENT_DTYPE",
    "FIELDS",
    "SYNONYMS",
    "Column",
    "Events",
    "Order",
    "Shape3",
    "are_events",
    "build_events",
    "column_findings",
    "copied",
    "events_from",
    "fields_by_name",
    "input_events",
    "order_findings",
    "shape_findings",
    "whole",
]

Events: TypeAlias = NDArray[np.void]
Column: TypeAlias = NDArray[Any]
Order: TypeAlias = Literal["ascending", "sort", "any"]
Shape3: TypeAlias = tuple[int, int, int]

EVENT_DTYPE = np.dtype([("t", np.int64), ("p", np.uint16), ("y", np.uint16), ("x", np.uint16)])
"""t in microseconds, 0..2^63−1; p (the feature), y and x 0..65535."""

FIELDS = ("t", "p", "y", "x")

SYNONYMS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "t": ("t", "ts", "time", "times", "timestamp", "timestamps", "t_us", "timestamp_us"),
        "p": ("p", "feature", "features", "f", "polarity", "polarities", "pol", "channel", "c", "on"),
        "y": ("y", "ys", "row"),
        "x": ("x", "xs", "col", "column"),
    }
)
"""Names of a field that are understood, in any case of letters."""

_FRAMES = "Images and rasters are no events: mapper verify NETWORK --data FILE runs such"

_FIELD_OF = {name: field for field, names in SYNONYMS.items() for name in names}
_LARGEST = {"t": 2**63 - 1, "p": 65535, "y": 65535, "x": 65535}
_WRAP = 1 << 32
_SIDES = ("features", "height", "width")


@checked
def events_from(
    array: NDArray[Any] | Mapping[str, Any],
    *,
    shape: Shape3 | None = None,
    order: Order = "ascending",
    ignore: Collection[str] = (),
    source: str | Path = "events",
    copy: bool = True,
) -> Events:
    """Events of any layout as an array of `EVENT_DTYPE`.

    Parameters
    ----------
    array
        A one-dimensional structured array, or one column per name. Fields are integers of any width and
        byte order; p may be boolean. Floats are refused even where they are whole: whoever made them
        knows their unit.
    shape
        (features, height, width): coordinates must lie inside; None for the dtype's limits.
    order
        "ascending": time that goes back is an error; "sort": sorted by time, events of equal time keep
        their order; "any": taken as it is.
    ignore
        Names of fields that are left out. Any other field that is not understood is an error.
    source
        What the events are called in messages.
    copy
        Whether an array of `EVENT_DTYPE` is copied; what nobody else changes need not be.

    Returns
    -------
    Events
        One-dimensional; with `copy` it never shares memory with `array`.

    Raises
    ------
    EventError
        With everything that is wrong. Nothing is clipped, rounded or wrapped.
    """
    source = str(source)
    columns, findings = _columns(array, ignore, source)
    is_made = not copy and type(array) is np.ndarray and array.dtype == EVENT_DTYPE
    made = array if is_made else None
    return build_events(columns, findings, shape=shape, order=order, source=source, made=made)


def are_events(array: object) -> TypeGuard[Events]:
    """Whether these are events in ascending time, as `events_from` makes them: it need not look."""
    if type(array) is not np.ndarray or array.dtype != EVENT_DTYPE or array.ndim != 1:
        return False
    times = array["t"]
    # Coordinates of the dtype cannot be wrong.
    return not len(times) or (bool(times[0] >= 0) and not (times[1:] < times[:-1]).any())


def input_events(given: object, source: str) -> Events:
    """Events that an input is given, as `events_from` makes them; those that are such are not copied.

    Raises
    ------
    EventError
        They are none, or cannot be taken.
    """
    if are_events(given):
        return given
    if not isinstance(given, Mapping) and not hasattr(given, "dtype"):
        step = "Give an array with the fields t, p, y, x, or a mapping of names to columns"
        if isinstance(given, str | Path):
            step = f"mapper.events.read_events({quoted(given)}) reads the events of a file"
        raise EventError(Finding(source, "is no array of events", quoted(given), next_step=step))
    return events_from(given, source=source, copy=False)  # type: ignore[arg-type]  # it looks itself


def copied(events: Events) -> Events:
    """A copy: as bytes, which numpy copies at once, and not field by field."""
    return np.ascontiguousarray(events).view(np.uint16).copy().view(EVENT_DTYPE)


def build_events(
    columns: Mapping[str, Column],
    findings: list[Finding],
    *,
    shape: Shape3 | None = None,
    order: Order = "ascending",
    source: str = "events",
    labels: Mapping[str, str] | None = None,
    made: Any = None,
) -> Events:
    """Events of columns named as in `FIELDS`; `findings` is what is known to be wrong already.

    `made` are the events if the columns are those of such an array.
    """
    if order not in ("ascending", "sort", "any"):
        findings.append(Finding("order", "is unknown", order, "ascending, sort, any"))
    limits = dict(_LARGEST)
    shape_problems = shape_findings(shape) if shape is not None else []
    findings.extend(shape_problems)
    if shape is not None and not shape_problems:
        limits |= {field: side - 1 for field, side in zip(("p", "y", "x"), shape, strict=True)}
    for field, column in columns.items():
        label = (labels or {}).get(field, f"{source}, field {field}")
        problems = column_findings(label, column, limits[field], boolean=field == "p")
        if field == "t" and column.dtype.kind == "f":
            problems = [replace(problem, next_step=_unit_step()) for problem in problems]
        if field == "t" and not problems and order == "ascending":
            problems = order_findings(label, column)
        findings.extend(problems)
    lengths = {field: len(column) for field, column in columns.items() if column.ndim == 1}
    if len(set(lengths.values())) > 1:
        findings.append(Finding(source, "fields differ in length", lengths))
    if findings:
        raise EventError(*findings)
    events: Events = made
    if made is None:
        events = np.empty(len(columns["t"]), dtype=EVENT_DTYPE)
        for field in FIELDS:
            events[field] = columns[field]
    if order == "sort" and order_findings(source, events["t"]):
        events = events[np.argsort(events["t"], kind="stable")]
    return events


def fields_by_name(
    names: Collection[str], ignore: Collection[str], source: str
) -> tuple[dict[str, str], list[Finding]]:
    """Which name holds which field, and what is wrong with the names."""
    name_of: dict[str, str] = {}
    findings = []
    for name in names:
        field = _FIELD_OF.get(name.strip().lower())
        if name in ignore:
            continue
        if field is None:
            step = spoken(
                command="Write the events without it", python=f"Leave it out with ignore=({quoted(name)},)"
            )
            where = f"{source}, field {quoted(name)}"
            findings.append(Finding(where, "is not part of an event", next_step=step))
        elif field in name_of:
            both = f"{quoted(name_of[field])} and {quoted(name)} both mean {field}"
            step = spoken(
                command="Write the events without one", python="Name the one to leave out in ignore"
            )
            findings.append(Finding(source, both, next_step=step))
        else:
            name_of[field] = name
    given = f"fields {', '.join(map(quoted, names))}" if names else "none"
    if not name_of:
        # One cause: this holds no events, or calls nothing as events do.
        known = "; ".join(f"{field}: {', '.join(SYNONYMS[field])}" for field in FIELDS)
        step = _FRAMES if {"images", "rasters"} & {*names} else ""
        return {}, [Finding(source, "no field of an event has a name here", given, known, "", step)]
    findings.extend(
        Finding(f"{source}, field {field}", "is missing", given, f"{', '.join(SYNONYMS[field])}")
        for field in FIELDS
        if field not in name_of
    )
    return name_of, findings


def _columns(
    array: NDArray[Any] | Mapping[str, Any], ignore: Collection[str], source: str
) -> tuple[dict[str, Column], list[Finding]]:
    if isinstance(array, np.ma.MaskedArray) and _hides_some(array):
        step = 'Give array.data, or leave masked events out: array.data[~array.mask["t"]]'
        return {}, [Finding(source, "a masked array, whose mask would be lost", next_step=step)]
    if isinstance(array, Mapping):
        names = [str(name) for name in array]
    else:
        try:
            array = plain_array(array)
        except ValueError as error:
            return {}, [Finding(source, str(error))]
        if array.dtype.names is None:
            return {}, [_unnamed(array, source)]
        names = list(array.dtype.names)
        if array.ndim != 1:
            return {}, [
                Finding(source, "must be one-dimensional", f"shape {array.shape}", next_step="Use .ravel()")
            ]
    name_of, findings = fields_by_name(names, ignore, source)
    columns = {}
    for field in FIELDS:
        if field not in name_of:
            continue
        given = array[name_of[field]]
        try:
            columns[field] = plain_array(given)
        except ValueError as error:
            findings.append(Finding(f"{source}, field {field}", str(error)))
    return columns, findings


def _unnamed(array: NDArray[Any], source: str) -> Finding:
    """An array without fields; where its columns may be those of events, the line that names them."""
    given, known = f"dtype {array.dtype}, shape {array.shape}", "fields t, p, y, x"
    step = "Give a structured array" + spoken(command="", python=", or a mapping of names to columns")
    if array.ndim > 2:
        step = _FRAMES
    if array.ndim == 2 and array.shape[1] == len(FIELDS) and array.dtype.kind in "iuf":
        line = 'numpy.rec.fromarrays(ARRAY.T, names="t,p,y,x")'
        saved = 'numpy.save("NAMED.npy", numpy.rec.fromarrays(numpy.load(FILE).T, names="t,p,y,x"))'
        step = f"Name its columns, in the order that they have: {spoken(command=saved, python=line)}"
    return Finding(source, "no named fields", given, known, "", step)


def _hides_some(array: np.ma.MaskedArray[Any, Any]) -> bool:
    mask: Any = np.ma.getmaskarray(array)
    return any(bool(mask[name].any()) for name in mask.dtype.names) if mask.dtype.names else bool(mask.any())


def column_findings(label: str, column: Column, largest: int, *, boolean: bool = False) -> list[Finding]:
    """What keeps a column from being whole numbers 0..`largest`; `boolean` allows truth values."""
    allowed = f"0..{largest}"
    if column.ndim != 1:
        return [Finding(label, "needs one number per event", f"shape {column.shape}")]
    if column.size == 0 or (boolean and column.dtype.kind == "b"):
        return []
    if column.dtype.kind == "f":
        return [_float_finding(label, column)]
    if column.dtype.kind not in "iu":
        return [Finding(label, "does not hold integers", f"dtype {column.dtype}", allowed)]
    findings = []
    holds = np.iinfo(column.dtype)
    for problem, is_wrong in (("negative", operator.lt), ("too large", operator.gt)):
        limit = 0 if problem == "negative" else largest
        if not is_wrong(holds.min if problem == "negative" else holds.max, limit):
            continue
        extreme = column.min() if problem == "negative" else column.max()
        if not is_wrong(int(extreme), limit):
            continue
        where = np.flatnonzero(is_wrong(column, limit))
        count = f"{len(where)} values are" if len(where) > 1 else "1 value is"
        text = f"{count} {problem}, the first at event {where[0]}"
        step = ""
        if boolean and int(extreme) == -1:
            step = "A polarity is 0 or 1 here, not −1 or 1"
        findings.append(Finding(label, text, int(column[where[0]]), allowed, next_step=step))
    return findings


def _float_finding(label: str, column: Column) -> Finding:
    bad = ~np.isfinite(column)
    kinds = {
        "NaN": int(np.isnan(column).sum()),
        "infinite": int(np.isinf(column).sum()),
        "not whole": int((column[~bad] != np.floor(column[~bad])).sum()),
    }
    counted = ", ".join(f"{count} {kind}" for kind, count in kinds.items() if count) or "all of them whole"
    worst = np.flatnonzero(bad) if bad.any() else np.flatnonzero(column != np.floor(column))
    first = int(worst[0]) if len(worst) else 0
    return Finding(
        label,
        f"holds floats ({column.dtype}; {counted}), for example at event {first}",
        float(column[first]),
        "integers",
        next_step="Convert them where their unit is known: numpy.rint(seconds * 1e6).astype(numpy.int64)",
    )


def _unit_step() -> str:
    """How to say what unit times are in."""
    return (
        f"Say what their unit is: {TIME_UNIT.to(('s', 'ms', 'us'))} for a file"
        f"{spoken(command='', python=', or numpy.rint(seconds * 1e6).astype(numpy.int64)')}"
    )


def order_findings(label: str, times: Column) -> list[Finding]:
    """Whether time goes back anywhere."""
    back = np.flatnonzero(times[1:] < times[:-1])
    if not len(back):
        return []
    first = int(back[0]) + 1
    places = f"{len(back)} places" if len(back) > 1 else "1 place"
    text = f"time goes back in {places}, the first at event {first}"
    least = f"{int(times[first - 1])} or more"
    step = spoken(
        command=f"Sort them by time: {ORDER.to('sort')}",
        python='Sort them by time: mapper.events.events_from(events, order="sort")',
    )
    # Sorting would scramble what a clock of 32 bits tore apart.
    if int(times.max()) < _WRAP and any(int(times[n]) - int(times[n + 1]) > _WRAP // 2 for n in back[:100]):
        step = (
            "The clock started again at 2^32 µs, as it does every 71 minutes: let it go on with "
            f"{UNWRAP.to(True)}{spoken(command='', python=', or mapper.events.unwrap_timestamps')}"
        )
    return [Finding(label, text, int(times[first]), least, "µs", step)]


def shape_findings(shape: object) -> list[Finding]:
    """What is wrong with (features, height, width), each 1..65536."""
    if not isinstance(shape, tuple | list) or len(shape) != len(_SIDES):
        return [Finding("shape", "must be (features, height, width)", shape)]
    findings = []
    for side, value in zip(_SIDES, shape, strict=True):
        findings.extend(whole(f"shape, {side}", value, 1, 65536)[1])
    return findings


def whole(label: str, value: object, least: int, largest: int, unit: str = "") -> tuple[int, list[Finding]]:
    """`value` as an integer `least`..`largest`, or what is wrong with it; 1000.0 is 1000."""
    number = None
    if isinstance(value, float | np.floating) and float(value).is_integer():
        number = int(value)
    elif not isinstance(value, bool | np.bool_):
        try:
            number = operator.index(value)  # type: ignore[arg-type]
        except TypeError:
            number = None
    if number is None or not least <= number <= largest:
        return least, [Finding(label, "must be a whole number", value, f"{least}..{largest}", unit)]
    return number, []
