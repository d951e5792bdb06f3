"""Events that stay in their file: a recording larger than memory, read a piece at a time."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, TypeAlias

import numpy as np

from mapper.errors import EventError, Finding
from mapper.events.arrays import Events, Shape3, events_from
from mapper.events.numpy_files import array_header
from mapper.texts import irregular, unreachable

__all__ = ["Recording", "StoredEvents", "stored_events"]

# Events that are looked at together: 4 MB.
_AT_ONCE = 1 << 18


class StoredEvents:
    """Events of a .npy file; a slice reads what it is of, and checks it.

    Raises
    ------
    EventError
        In a slice: the file is not what it was, or holds no events.
    OSError, ValueError
        It cannot be read, or is no array of one dimension; a slice has steps.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with path.open("rb") as file:
            shape, _, self._kind = array_header(file)
            self._first, self._state = file.tell(), _state(file)
        if len(shape) != 1 or self._kind.names is None or self._kind.hasobject:
            raise ValueError("it is no array of events")
        (self._count,) = shape

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, part: slice) -> Events:
        start, stop, step = part.indices(self._count)
        if step != 1:
            raise ValueError(f"events are read one after the other (got step {step})")
        size, is_same, data = self._kind.itemsize, False, b""
        # Where the file was, there may be none, or a folder.
        with suppress(OSError), self._path.open("rb") as file:
            is_same = _state(file) == self._state
            file.seek(self._first + start * size)
            data = file.read(max(stop - start, 0) * size)
        if not is_same or len(data) < (stop - start) * size:
            raise EventError(
                Finding(str(self._path), "was changed while it was read", next_step="Run it again")
            )
        return events_from(np.frombuffer(data, self._kind), source=self._path.name, copy=False)


Recording: TypeAlias = Events | StoredEvents


def stored_events(path: Path, shape: Shape3 | None = None) -> StoredEvents | None:
    """Events of a file in ascending time, all inside a shape; None for others, which `read_events` judges.

    Parameters
    ----------
    shape
        (features, height, width); None for what the dtype allows.
    """
    try:
        if path.suffix != ".npy" or unreachable(path) or irregular(path):
            return None
        events, last = StoredEvents(path), 0
        for start in range(0, len(events), _AT_ONCE):
            piece = events_from(events[start : start + _AT_ONCE], shape=shape, copy=False)
            if int(piece["t"][0]) < last:
                return None
            last = int(piece["t"][-1])
    except (EventError, OSError, ValueError):
        return None
    return events


def _state(file: BinaryIO) -> tuple[int, ...]:
    found = os.fstat(file.fileno())
    return found.st_ino, found.st_size, found.st_mtime_ns
