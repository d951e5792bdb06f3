"""What may stand in an HDF5 file, found out before anything of it is read.

A NIR file is a tree of groups, numbers and texts. HDF5 can hold much else: names that lead elsewhere or round
in circles, data in other files, and shapes that claim terabytes. `nir.write` makes none of that.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Any

import h5py

from mapper.errors import Finding, NetworkError

__all__ = ["BYTES_MAX", "DEPTH_MAX", "OBJECTS_MAX", "TEXT_MAX", "check_contents", "texts_of"]

BYTES_MAX = 512 << 20
"""Of all data together, as they are in memory: a hundred times what the cores of a large chip hold."""
OBJECTS_MAX = 200_000
"""Groups and datasets."""
DEPTH_MAX = 100
"""Groups inside groups: a graph inside a graph takes two."""
TEXT_MAX = 65_536
"""Letters of one text: the name of a node or a kind."""

# What a slice of texts may take in memory: each may be as long as the file, and all of them the same one.
_SLICE_BYTES = 256 << 20
_STEP = "Write it with nir.write"


def check_contents(file: Any, where: str) -> None:
    """Refuse links, shared and virtual data, types that are neither numbers nor texts, and what is too much.

    Raises
    ------
    NetworkError
        The first such thing, by its place.
    """
    seen: set[Any] = set()
    total = 0
    for place, item in _objects(file, where):
        mark = h5py.h5o.get_info(item.id).addr
        if mark in seen:
            twice = "is a second name of something that has one (a hard link)"
            raise NetworkError(Finding(f"{where}: {place}", twice, next_step=_STEP))
        seen.add(mark)
        if len(seen) > OBJECTS_MAX:
            raise NetworkError(
                Finding(where, "has too many groups and datasets", f"> {OBJECTS_MAX}", OBJECTS_MAX)
            )
        if place.count("/") > DEPTH_MAX:
            raise NetworkError(Finding(f"{where}: {place[:80]}", "is nested too deeply", None, DEPTH_MAX))
        if isinstance(item, h5py.Dataset):
            if (problem := _foreign(item)) is not None:
                raise NetworkError(Finding(f"{where}: {place}", problem, next_step=_STEP))
            # A chunk is read whole, however little of it belongs to the dataset.
            total += item.dtype.itemsize * max(prod(item.shape or (0,)), prod(item.chunks or (0,)))
            if total > BYTES_MAX:
                much = "holds too much data, with what stands before it"
                raise NetworkError(Finding(f"{where}: {place}", much, total, BYTES_MAX, "bytes"))


def texts_of(item: Any) -> list[str]:
    """The texts of a dataset, flat.

    Raises
    ------
    ValueError
        One is longer than `TEXT_MAX`.
    """
    count = prod(item.shape)
    if not item.shape:
        return [_text(item[()])]
    rows = item.shape[0]
    step = max(1, _SLICE_BYTES // max(1, item.file.id.get_filesize() * (count // max(1, rows))))
    return [_text(word) for start in range(0, rows, step) for word in item[start : start + step].ravel()]


def _text(word: Any) -> str:
    if len(word) > TEXT_MAX:
        raise ValueError(f"a text of {len(word)} letters (allowed: {TEXT_MAX})")
    return word.decode("utf-8", "replace") if isinstance(word, bytes) else str(word)


def _objects(file: Any, where: str) -> Iterator[tuple[str, Any]]:
    """(place, object) of everything in a file, without recursion; other links are refused."""
    waiting = [("", file)]
    while waiting:
        place, item = waiting.pop()
        yield place, item
        if not isinstance(item, h5py.Group):
            continue
        for name in item:
            inner = f"{place}/{name}" if place else str(name)
            link = item.get(name, getlink=True)
            if not isinstance(link, h5py.HardLink):
                kind = "another file" if isinstance(link, h5py.ExternalLink) else "another place"
                raise NetworkError(Finding(f"{where}: {inner}", f"is a link to {kind}", next_step=_STEP))
            waiting.append((inner, item[name]))


def _foreign(item: Any) -> str | None:
    """What a dataset holds that no NIR file needs."""
    if item.is_virtual or item.external:
        return "has its data in another file or dataset"
    kind, text = item.dtype, h5py.check_string_dtype(item.dtype)
    if text is None and (kind.kind not in "biuf" or kind.subdtype is not None):
        return f"holds neither numbers nor texts ({kind})"
    return None
