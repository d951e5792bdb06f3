"""Text files as they are read: regular, of bounded size, and JSON in which no key stands twice."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from hwspec.errors import unreadable
from hwspec.inert import quoted
from hwspec.toml_text import DEPTH_MAX, check_depth, parser_limits

__all__ = ["DEPTH_MAX", "irregular", "json_of", "plain_text", "unique_keys", "unreachable"]


def unreachable(path: Path) -> str | None:
    """Why nothing can be read at a path, as a clause; None where something is there."""
    try:
        path.stat()
    except (OSError, ValueError) as error:
        return unreadable(error)
    return None


def irregular(path: Path) -> str | None:
    """What a path is if it is no regular file, as a clause: a device or pipe may never end.

    Raises
    ------
    OSError
        There is no such thing, or it may not be looked at.
    """
    mode = path.stat().st_mode
    if stat.S_ISREG(mode):
        return None
    kinds = {stat.S_ISDIR: "a folder", stat.S_ISFIFO: "a pipe", stat.S_ISCHR: "a device"}
    kind = next((name for is_kind, name in kinds.items() if is_kind(mode)), "no regular file")
    step = "name a file in it" if kind == "a folder" else "copy its content into a file first"
    return f"is {kind}; {step}"


def plain_text(path: Path, bytes_max: int) -> str:
    """The UTF-8 text of a regular file.

    Raises
    ------
    OSError
        It cannot be read.
    ValueError
        It is no regular file, larger than `bytes_max`, or no UTF-8.
    """
    if (problem := irregular(path)) is not None:
        raise ValueError(problem)
    if (size := path.stat().st_size) > bytes_max:
        raise ValueError(f"is too large (got {size} bytes; allowed: {bytes_max} bytes)")
    try:
        return path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"is not UTF-8 text (byte {error.start})") from None


def json_of(text: str) -> Any:
    """What a JSON text says; a key that stands twice in one table is an error, not the last one's.

    Raises
    ------
    ValueError
        It is no JSON, nested beyond `DEPTH_MAX`, or has a key twice.
    """
    with parser_limits():
        content = json.loads(text, object_pairs_hook=unique_keys)
    check_depth(content)
    return content


def unique_keys(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """A table of pairs, as `json.loads` takes such a function.

    Raises
    ------
    ValueError
        A key stands twice.
    """
    table: dict[str, Any] = {}
    for key, value in pairs:
        if key in table:
            raise ValueError(f"the key {quoted(key)} stands twice in one table: leave one of them out")
        table[key] = value
    return table
