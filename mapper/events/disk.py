"""Event files: NumPy arrays (.npy, .npz), tables (.csv), recordings (.aedat4), and rasters."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mapper.arguments import checked
from mapper.errors import EventError, Finding, unreadable
from mapper.events.aedat4 import recording
from mapper.events.arrays import FIELDS, Events, Order, Shape3, events_from, fields_by_name
from mapper.events.monitors import unwrap_timestamps
from mapper.events.numpy_files import arrays_of
from mapper.events.rasters import Raster, checked_raster
from mapper.events.tables import read_table
from mapper.files import write_bytes
from mapper.texts import irregular, unreachable

__all__ = ["TimeUnit", "is_raster", "read_events", "read_raster", "write_events", "write_raster"]

_KINDS = (".npy", ".npz", ".csv", ".aedat4")
TimeUnit = Literal["s", "ms", "us"]
_MICROSECONDS = {"s": 1e6, "ms": 1e3, "us": 1.0}
_TIME_MAX = 2.0**62


@checked
def read_events(
    path: Path | str,
    *,
    shape: Shape3 | None = None,
    order: Order = "ascending",
    ignore: tuple[str, ...] = (),
    time_unit: TimeUnit | None = None,
    unwrap: bool = False,
    rebase: bool = False,
) -> Events:
    """Events of a file.

    Parameters
    ----------
    path
        .npy: a structured array; .npz: one structured array, or one array per field; .csv: a header line
        with the fields' names, then whole numbers; .aedat4: the first stream of events (needs the extra
        `aedat4`).
    shape, order, ignore
        As in `events_from`.
    time_unit
        What the file's times are in, where that is not microseconds; they may be floats then.
    unwrap
        The clock starts again at 2^32 µs: `unwrap_timestamps`, before times must ascend.
    rebase
        Count time from the earliest event.

    Raises
    ------
    EventError
        The file cannot be read, or holds something else; with everything that is wrong.
    BackendMissingError
        The reader of .aedat4 is not installed.
    """
    path = Path(path)
    given = _given(path, ignore)
    # Columns of a table are known by now; names of an array are still the file's own.
    left_out = ignore if path.suffix in (".npy", ".npz") else ()
    if time_unit is not None:
        given, left_out = _in_microseconds(given, time_unit, left_out, path.name), ()
    first: Order = "any" if unwrap or rebase else order
    events = events_from(given, shape=shape, order=first, ignore=left_out, source=path.name, copy=False)
    if unwrap:
        events["t"] = unwrap_timestamps(events["t"])
    if rebase and len(events):
        events["t"] -= events["t"].min()
    return events if first == order else events_from(events, order=order, source=path.name, copy=False)


def _given(path: Path, ignore: tuple[str, ...]) -> Any:
    """What a file holds: an array, or columns by name."""
    if (problem := unreachable(path)) is not None:
        raise EventError(Finding(str(path), problem))
    if (problem := irregular(path)) is not None:
        raise EventError(Finding(str(path), problem))
    if path.suffix in (".npy", ".npz"):
        return _numpy(path)
    if path.suffix == ".csv":
        return read_table(path, ignore)
    if path.suffix in (".aedat4", ".aedat"):
        try:
            with path.open("rb") as stream:
                kind = stream.read(12).partition(b"\r")[0].decode("ascii", "replace").strip()
        except OSError as error:
            raise EventError(Finding(str(path), unreadable(error))) from None
        if path.suffix == ".aedat4" or kind.startswith("#!AER-DAT4"):
            return recording(path)
        problem = "is no AEDAT 4: what an address means depends on the camera, which the file does not name"
        step = "Save its events as .csv, with the line t,x,y,p above them, or as .npy with these fields"
        raise EventError(Finding(str(path), problem, kind[:12], "#!AER-DAT4", next_step=step))
    raise EventError(
        Finding(str(path), "is no file of events", path.suffix or "no suffix", ", ".join(_KINDS))
    )


@checked
def read_raster(path: Path | str) -> Raster:
    """Spike counts of a .npy or .npz file, (time, features, height, width).

    Raises
    ------
    EventError
        The file cannot be read, or holds something else.
    """
    path = Path(path)
    if (problem := unreachable(path)) is not None:
        raise EventError(Finding(str(path), problem))
    array = _numpy(path)
    if isinstance(array, dict):
        text = "holds several arrays; a raster is one"
        raise EventError(Finding(str(path), text, ", ".join(array)))
    return checked_raster(array, path.name)


@checked
def is_raster(path: Path | str) -> bool:
    """Whether a file holds one array without named fields: a raster, not events."""
    path = Path(path)
    if path.suffix not in (".npy", ".npz") or not os.path.isfile(path):
        return False
    array = _numpy(path)
    return not isinstance(array, dict) and array.dtype.names is None


@checked
def write_events(path: Path | str, events: Events) -> None:
    """Write events as .npy, .npz or .csv; the file is there whole or not at all.

    Raises
    ------
    EventError
        These are no events, or the name ends otherwise.
    OptionsError
        The file cannot be written.
    """
    path = Path(path)
    events = events_from(events, order="any")
    if path.suffix == ".csv":
        text = io.StringIO()
        text.write(",".join(FIELDS) + "\n")
        if len(events):
            np.savetxt(text, np.stack([events[name].astype(np.int64) for name in FIELDS], 1), "%d", ",")
        write_bytes(path, text.getvalue().encode())
        return
    write_bytes(path, _packed(path, events, "events"))


@checked
def write_raster(path: Path | str, raster: Raster) -> None:
    """Write a raster as .npy or .npz; the file is there whole or not at all.

    Raises
    ------
    EventError
        This is no raster, or the name ends otherwise.
    OptionsError
        The file cannot be written.
    """
    write_bytes(Path(path), _packed(Path(path), checked_raster(raster), "raster"))


def _packed(path: Path, array: NDArray[Any], name: str) -> bytes:
    stream = io.BytesIO()
    if path.suffix == ".npy":
        np.save(stream, array, allow_pickle=False)
    elif path.suffix == ".npz":
        arrays: dict[str, Any] = {name: array}
        np.savez_compressed(stream, **arrays)
    else:
        known = ".npy, .npz" if name == "raster" else ".npy, .npz, .csv"
        raise EventError(
            Finding(str(path), f"{name} cannot be written so", path.suffix or "no suffix", known)
        )
    return stream.getvalue()


def _numpy(path: Path) -> Any:
    """The array of a file, or its arrays by name."""
    arrays = arrays_of(path)
    return next(iter(arrays.values())) if len(arrays) == 1 else arrays


def _in_microseconds(given: Any, unit: TimeUnit, ignore: tuple[str, ...], source: str) -> Any:
    """Columns by name, the times of another unit rounded to whole microseconds."""
    if unit not in _MICROSECONDS:
        raise EventError(Finding("time_unit", "is unknown", unit, ", ".join(_MICROSECONDS)))
    names = list(given) if isinstance(given, dict) else list(given.dtype.names or ())
    name_of, findings = fields_by_name(names, ignore, source)
    if findings:
        raise EventError(*findings)
    columns = {name: np.asarray(given[name_of[name]]) for name in FIELDS}
    times = columns["t"]
    if times.dtype.kind in "iuf":
        scaled = times.astype(np.float64) * _MICROSECONDS[unit]
        # Times that no integer holds stay as they are, and are named for that.
        if times.dtype.kind == "f" or unit != "us":
            held = bool(np.isfinite(scaled).all()) and bool((np.abs(scaled) < _TIME_MAX).all())
            columns["t"] = np.rint(scaled).astype(np.int64) if held else scaled
    return columns
