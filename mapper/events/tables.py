"""Tables of events as text: a line of names, then numbers; what a file does not say is asked for."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mapper.errors import EventError, Finding
from mapper.events.arrays import FIELDS, SYNONYMS, fields_by_name
from mapper.texts import irregular

__all__ = ["read_table"]

BYTES_MAX = 256 << 20
"""Of a table: 15 million events."""
_LINE_MAX = 1 << 12
_WHOLE_MAX = 2.0**53


def read_table(path: Path, ignore: tuple[str, ...]) -> dict[str, NDArray[Any]]:
    """Columns t, p, y and x of a table; whole numbers as integers, times otherwise as they stand.

    The names stand in the first line, or as `numpy.savetxt` writes them, behind a #. Columns are parted by
    commas, semicolons or blanks.

    Raises
    ------
    EventError
        It cannot be read, names no columns, or holds something else than numbers.
    """
    try:
        if (problem := irregular(path)) is None and path.stat().st_size > BYTES_MAX:
            problem = f"is too large ({path.stat().st_size} bytes; allowed: {BYTES_MAX}): save it as .npy"
        if problem is not None:
            raise EventError(Finding(str(path), problem))
        with path.open(encoding="utf-8-sig", newline="") as stream:
            names, delimiter, skipped = _names(stream, path)
        name_of, findings = fields_by_name(names, ignore, path.name)
        if findings:
            raise EventError(*findings)
        columns = [names.index(name_of[name]) for name in FIELDS]
        return _columns(path, columns, delimiter, skipped)
    except (OSError, ValueError, OverflowError, csv.Error) as error:
        step = "Every line wants whole numbers, one per named field"
        text = " ".join(str(error).split())[:200]
        raise EventError(Finding(str(path), f"cannot be read: {text}", next_step=step)) from None


def _names(stream: Any, path: Path) -> tuple[list[str], str | None, int]:
    """Names of the columns, what parts them, and how many lines stand before the numbers."""
    remarks: list[str] = []
    line = stream.readline(_LINE_MAX)
    while line.startswith("#"):
        remarks.append(line.lstrip("#").strip())
        line = stream.readline(_LINE_MAX)
    before = len(remarks)
    if not line.strip() and not remarks:
        step = "Write events below a line of names, as in: x,y,p,t"
        raise EventError(
            Finding(str(path), "is empty" if not line else "begins with an empty line", next_step=step)
        )
    if not _is_numbers(line):
        return *_split(line.strip()), before + 1
    known = {name for synonyms in SYNONYMS.values() for name in synonyms}
    for text in reversed(remarks):
        names, _ = _split(text)
        if known.issuperset(name.lower() for name in names):
            # Numbers may be parted otherwise than the names in the remark above them.
            return names, _split(line)[1], before
    if line:
        step = "Write one above them, the columns in their order, as in: x,y,p,t"
        raise EventError(Finding(str(path), "has no line of names above its numbers", next_step=step))
    return [], None, before


def _split(line: str) -> tuple[list[str], str | None]:
    delimiter = next((sign for sign in (",", ";", "\t") if sign in line), None)
    words = next(csv.reader([line], delimiter=delimiter), []) if delimiter else line.split()
    # What is longer is no name, and would fill the screen.
    return [word.strip()[:80] for word in words], delimiter


def _is_numbers(line: str) -> bool:
    words = _split(line.strip())[0]
    with suppress(ValueError):
        return bool(words) and all(np.isfinite(float(word)) for word in words)
    return False


def _columns(
    path: Path, columns: Sequence[int], delimiter: str | None, skipped: int
) -> dict[str, NDArray[Any]]:
    with path.open(encoding="utf-8-sig") as stream:
        for _ in range(skipped):
            stream.readline()
        start = stream.tell()
        if not stream.read(_LINE_MAX).strip():
            return {name: np.empty(0, np.int64) for name in FIELDS}
        for kind in (np.int64, np.float64):
            stream.seek(start)
            try:
                rows = np.loadtxt(stream, kind, delimiter=delimiter, usecols=columns, ndmin=2)
            except ValueError:
                if kind is np.float64:
                    raise
                continue
            made = dict(zip(FIELDS, rows.T, strict=True))
            # A coordinate has no unit: 7.0 is 7. A time might be seconds.
            return {name: column if name == "t" else _whole(column) for name, column in made.items()}
    raise ValueError("no numbers")


def _whole(column: NDArray[Any]) -> NDArray[Any]:
    if column.dtype.kind != "f" or not (np.abs(column) < _WHOLE_MAX).all() or (column % 1).any():
        return column
    return column.astype(np.int64)
