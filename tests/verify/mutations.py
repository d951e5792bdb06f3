"""Single changes of a solution: every place in it, and values that do not belong there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np

from mapper.operations import Shape
from mapper.solution import DVS, LayerPart, Relay, Route

__all__ = ["GARBAGE", "NEIGHBOURS", "Hostile", "get", "places", "put"]

Path = tuple[str | int, ...]


class Hostile:
    """Refuses everything that one may do to a value."""

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("compared")

    def __hash__(self) -> int:
        raise RuntimeError("hashed")

    def __repr__(self) -> str:
        raise RuntimeError("printed")

    def __iter__(self) -> Iterator[object]:
        raise RuntimeError("iterated")


class Word(str):
    """A string of another type."""


GARBAGE: tuple[object, ...] = (
    None, 1.0, float("nan"), 10**5000, -(10**5000), 2**101, b"dvs", [], {}, set(), (), (1,), (1, 2, 3), ((),), (True, 1),
    ("0", "1"), (None, None), object(), Hostile(), Hostile, Word("dvs"), Fraction(1, 2), Shape(1, 1, 1), np.int64(1),
    np.zeros(2), Route(0, 0, 0), range(2), Ellipsis,
)  # fmt: skip
# Of the right kind, somewhere.
NEIGHBOURS: tuple[object, ...] = (
    True, False, -1, 0, 1, 2, 3, 5, 8, 99, 2**40, -(2**40), "", DVS, "readout", "input", "nobody", "\ud800" * 50, "unknown",
    "1/2", "-1", (0, 0), (0, 1), (1, 0), (-1, 2), (0, 2**60), (2, 4), (True, False), (False, True), LayerPart(0, "conv0"),
    LayerPart(-1, "reader0"), LayerPart(9, "reader0"), LayerPart(0, "reader1", 7), Relay(None, DVS), Relay(0, "input"), Relay(0, "source", 0),
    Relay(7, "source"), Relay(None, "source"), Relay(0, "source", 999), Relay(0, DVS, -1),
)  # fmt: skip


def places(value: object, path: Path = ()) -> Iterator[Path]:
    """Paths of everything inside a solution, itself included."""
    yield path
    if is_dataclass(value):
        for field in fields(value):
            yield from places(getattr(value, field.name), (*path, field.name))
    elif isinstance(value, tuple):
        for n, entry in enumerate(value):
            yield from places(entry, (*path, n))


def get(value: Any, path: Path) -> Any:
    """What stands at a path."""
    for step in path:
        value = getattr(value, step) if isinstance(step, str) else value[step]
    return value


def put(value: Any, path: Path, new: object) -> Any:
    """The same with another value at a path."""
    if not path:
        return new
    step, rest = path[0], path[1:]
    if isinstance(step, str):
        return replace(value, **{step: put(getattr(value, step), rest, new)})
    return (*value[:step], put(value[step], rest, new), *value[step + 1 :])
