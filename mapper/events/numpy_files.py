"""Arrays of .npy and .npz files, as numbers and nothing else; sizes are known before anything is made.

A header claims a shape, an archive claims sizes: both are held against the file and a limit first. Pickles
are never loaded.
"""

from __future__ import annotations

import struct
import tokenize
import zipfile
import zlib
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from mapper.errors import EventError, Finding
from mapper.texts import irregular

__all__ = ["BYTES_MAX", "array_header", "arrays_of"]

BYTES_MAX = 512 << 20
"""Of all arrays of a file together, unpacked: 38 million events."""
_ARRAYS_MAX = 1000
_DIRECTORY_MAX = 1 << 20
# What ends an archive: its end record, and before it, of zip64, the locator and the record of 64 bits.
_END_BYTES, _LOCATOR_BYTES, _RECORD_BYTES = 22, 20, 56
# What numpy's reader of headers lets through of its parser's errors.
_HEADER_ERRORS = (
    ValueError, TypeError, KeyError, OverflowError, SyntaxError, tokenize.TokenError, RecursionError,
    MemoryError,
)  # fmt: skip
_ARCHIVE_ERRORS = (
    OSError, EOFError, KeyError, NotImplementedError, RuntimeError, ValueError, struct.error,
    zipfile.BadZipFile, zlib.error,
)  # fmt: skip


def arrays_of(path: Path, tensors: str = "NAME=x.numpy()") -> dict[str, NDArray[Any]]:
    """By name, the arrays of an .npz file; of an .npy file the one without a name.

    Parameters
    ----------
    tensors
        Who gives a file of `torch.save` is told to write its tensors so, as arguments of `numpy.savez`.

    Raises
    ------
    EventError
        It cannot be read, is damaged, claims more than it holds or than `BYTES_MAX`, or holds objects.
    """
    try:
        if (problem := irregular(path)) is not None:
            raise ValueError(problem)
        with path.open("rb") as stream:
            magic = stream.read(2)
            stream.seek(0)
            if magic != b"PK":
                return {"": _array(stream, path.stat().st_size)}
        return _archive(path, tensors)
    except _ARCHIVE_ERRORS as error:
        text = " ".join(str(error).split())[:200] or type(error).__name__
        raise EventError(Finding(str(path), f"cannot be read: {text}")) from None


def _archive(path: Path, tensors: str) -> dict[str, NDArray[Any]]:
    _check_directory(path)
    arrays: dict[str, NDArray[Any]] = {}
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        if any(entry.filename.endswith("/data.pkl") for entry in entries):
            step = f"Load it by torch.load, and write its tensors by numpy.savez(FILE, {tensors})"
            raise ValueError(f"this is a file of torch.save, a pickle, which may run code. {step}")
        if len(entries) > _ARRAYS_MAX:
            raise ValueError(f"it holds {len(entries)} arrays (allowed: {_ARRAYS_MAX})")
        if (total := sum(entry.file_size for entry in entries)) > BYTES_MAX:
            raise ValueError(f"unpacked it would take {total} bytes (allowed: {BYTES_MAX})")
        for entry in entries:
            name = entry.filename.removesuffix(".npy")
            if entry.flag_bits & 1:
                raise ValueError(f"{name} is encrypted; save it without a password")
            if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise ValueError(f"{name} is compressed in a way that numpy.savez does not know")
            if name in arrays:
                raise ValueError(f"{name} stands in it twice")
            with archive.open(entry) as stream:
                arrays[name] = _array(stream, entry.file_size)
    return arrays


def _check_directory(path: Path) -> None:
    """Refuse a list of contents that alone would take minutes: a file of 1000 arrays needs 0.1 MB for it."""
    with path.open("rb") as stream:
        start = max(0, path.stat().st_size - (1 << 16) - 128)
        stream.seek(start)
        tail = stream.read()
    # As zipfile seeks it: the last bytes where no remark follows, else the last that look like it.
    is_last = tail[-_END_BYTES : -_END_BYTES + 4] == b"PK\x05\x06" and tail[-2:] == b"\0\0"
    place = len(tail) - _END_BYTES if is_last else tail.rfind(b"PK\x05\x06")
    if place < 0 or len(tail) < place + _END_BYTES:
        return
    size = int.from_bytes(tail[place + 12 : place + 16], "little")
    locator = place - _LOCATOR_BYTES
    if locator >= 0 and tail.startswith(b"PK\x06\x07", locator):
        # Where this stands, its size is the one that zipfile reads.
        record = locator - _RECORD_BYTES
        stated = int.from_bytes(tail[locator + 8 : locator + 16], "little")
        if record < 0 or not tail.startswith(b"PK\x06\x06", record) or stated != start + record:
            raise ValueError("its end record of 64 bits is not where it says")
        size = int.from_bytes(tail[record + 40 : record + 48], "little")
    if size > _DIRECTORY_MAX:
        raise ValueError(f"its list of contents is too long (got {size} bytes; allowed: {_DIRECTORY_MAX})")


def _array(stream: Any, size: int) -> NDArray[Any]:
    """The array of a stream of so many bytes."""
    shape, is_fortran, kind = array_header(stream)
    if kind.hasobject:
        raise ValueError("it holds Python objects (a pickle), which are never loaded: they may run code")
    count = prod(shape)
    claimed, there = count * kind.itemsize, size - stream.tell()
    if claimed > BYTES_MAX or count > BYTES_MAX:
        raise ValueError(f"its header claims {count} entries, {claimed} bytes (allowed: {BYTES_MAX})")
    if claimed > there:
        raise ValueError(f"its header claims {claimed} bytes, and {there} are there")
    data = bytearray(claimed)
    view, done = memoryview(data), 0
    while done < claimed:
        part = stream.readinto(view[done : done + (1 << 20)])
        if not part:
            raise ValueError(f"it ends after {done} of {claimed} bytes")
        done += part
    # Of an archive, so that the check sum behind the last byte is looked at.
    stream.read(1)
    flat = np.frombuffer(data, kind) if kind.itemsize else np.empty(count, kind)
    return flat.reshape(shape[::-1]).T if is_fortran else flat.reshape(shape)


def array_header(stream: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether columns come first, and dtype that an .npy file claims; the stream is behind them.

    Raises
    ------
    ValueError
        This is no header.
    """
    try:
        version = npy.read_magic(stream)
        if version == (1, 0):
            shape, is_fortran, kind = npy.read_array_header_1_0(stream)
        elif version == (2, 0):
            shape, is_fortran, kind = npy.read_array_header_2_0(stream)
        else:
            raise ValueError(f"version {version} of the format")
    except _HEADER_ERRORS as error:
        raise ValueError(f"its header is none of an array: {' '.join(str(error).split())[:100]}") from None
    if any(type(side) is not int or side < 0 for side in shape):
        raise ValueError(f"its header claims the shape {shape}"[:100])
    return shape, is_fortran, kind
