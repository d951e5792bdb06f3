"""Event files: NumPy arrays (.npy, .npz), tables (.csv), recordings (.aedat4), and rasters."""

from __future__ import annotations

import csv
import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mapper.errors import EventError, Finding
from mapper.events.aedat4 import recording
from mapper.events.arrays import FIELDS, Events, Order, Shape3, events_from, fields_by_name
from mapper.events.rasters import Raster, checked_raster
from mapper.files import write_bytes

__all__ = ["is_raster", "read_events", "read_raster", "write_events", "write_raster"]

_KINDS = (".npy", ".npz", ".csv", ".aedat4")


def read_events(
    path: Path | str,
    *,
    shape: Shape3 | None = None,
    order: Order = "ascending",
    ignore: tuple[str, ...] = (),
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

    Raises
    ------
    EventError
        The file cannot be read, or holds something else; with everything that is wrong.
    BackendMissingError
        The reader of .aedat4 is not installed.
    """
    path = Path(path)
    if not path.is_file():
        raise EventError(Finding(str(path), "there is no such file"))
    if path.suffix in (".npy", ".npz"):
        return events_from(_numpy(path), shape=shape, order=order, ignore=ignore, source=path.name)
    if path.suffix == ".csv":
        return events_from(_table(path, ignore), shape=shape, order=order, source=path.name)
    if path.suffix == ".aedat4":
        return events_from(recording(path), shape=shape, order=order, source=path.name)
    raise EventError(
        Finding(str(path), "is no file of events", path.suffix or "no suffix", ", ".join(_KINDS))
    )


def read_raster(path: Path | str) -> Raster:
    """Spike counts of a .npy or .npz file, (time, features, height, width).

    Raises
    ------
    EventError
        The file cannot be read, or holds something else.
    """
    path = Path(path)
    if not path.is_file():
        raise EventError(Finding(str(path), "there is no such file"))
    array = _numpy(path)
    if isinstance(array, dict):
        text = "holds several arrays; a raster is one"
        raise EventError(Finding(str(path), text, ", ".join(array)))
    return checked_raster(array, path.name)


def is_raster(path: Path | str) -> bool:
    """Whether a file holds one array without named fields: a raster, not events."""
    path = Path(path)
    if path.suffix not in (".npy", ".npz") or not path.is_file():
        return False
    array = _numpy(path)
    return not isinstance(array, dict) and array.dtype.names is None


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
    """The array of a file, or its arrays by name; pickles are never loaded."""
    try:
        with path.open("rb") as stream:
            loaded = np.load(stream, allow_pickle=False)
            if not isinstance(loaded, np.lib.npyio.NpzFile):
                return loaded
            with loaded:
                arrays = {name: loaded[name] for name in loaded.files}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise EventError(Finding(str(path), f"cannot be read: {error}")) from None
    return next(iter(arrays.values())) if len(arrays) == 1 else arrays


def _table(path: Path, ignore: tuple[str, ...]) -> dict[str, NDArray[np.int64]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            names = [name.strip() for name in next(csv.reader([stream.readline()]), [])]
            name_of, findings = fields_by_name(names, ignore, path.name)
            if findings:
                raise EventError(*findings)
            columns = [names.index(name_of[name]) for name in FIELDS]
            text = stream.read()
        if not text.strip():
            return {name: np.empty(0, np.int64) for name in FIELDS}
        rows = np.loadtxt(io.StringIO(text), np.int64, delimiter=",", usecols=columns, ndmin=2)
    except (OSError, ValueError, OverflowError) as error:
        step = "Every line wants whole numbers, one per named field"
        raise EventError(Finding(str(path), f"cannot be read: {error}", next_step=step)) from None
    return dict(zip(FIELDS, rows.T, strict=True))
