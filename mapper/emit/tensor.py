"""Integer tensors as short text, so that a configuration stays one file that a person can read."""

from __future__ import annotations

import base64
import binascii
from functools import cached_property
from itertools import starmap
from math import prod
from typing import Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, model_validator

__all__ = ["Tensor"]

# Shorter runs take more letters as "value*count" than written out.
_RUN_MIN = 3
# Nobody reads more numbers than these letters hold: longer text is packed, or nine full cores with
# initial potentials would take 3 MB.
_TEXT_MAX = 1 << 16
_PACKED = "base64 "
# A file may claim any shape; nothing larger than all memories of a large chip is allocated.
_ENTRIES_MAX = 1 << 27


class Tensor(BaseModel):
    """Integers of a shape, row by row; runs of equal values are written as ``value*count``.

    Text of more than 64 Ki letters is packed: ``base64 i1 ...``, or i2, i4, i8: little-endian integers.

    Attributes
    ----------
    shape
        Sizes, outermost first.
    values
        The entries in order, separated by blanks. The text that `of` makes of equal tensors is equal.

    Raises
    ------
    ValueError
        The text holds something else than whole numbers, or not as many as the shape says.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    shape: tuple[int, ...]
    values: str

    @classmethod
    def of(cls, array: npt.ArrayLike) -> Self:
        """The text form of an array of integers."""
        data = np.asarray(array)
        if data.dtype.kind not in "iub":
            raise ValueError(f"only integers can be written, not {data.dtype}")
        flat = data.astype(np.int64).ravel()
        if not flat.size:
            return cls(shape=data.shape, values="")
        starts = np.flatnonzero(np.concatenate([[True], flat[1:] != flat[:-1]]))
        counts = np.diff(np.append(starts, flat.size))
        tokens = starmap(_token, zip(flat[starts].tolist(), counts.tolist(), strict=True))
        made = cls.model_construct(shape=tuple(data.shape), values=_text(flat, " ".join(tokens)))
        made.__dict__["array"] = _read_only(flat.reshape(data.shape))
        return made

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if any(size < 0 for size in self.shape) or prod(self.shape) > _ENTRIES_MAX:
            raise ValueError(f"impossible shape {self.shape}: at most {_ENTRIES_MAX} entries")
        _ = self.array
        return self

    @cached_property
    def array(self) -> npt.NDArray[np.int64]:
        """The entries, read-only."""
        wanted, found = prod(self.shape), 0
        if self.values.startswith(_PACKED):
            packed = _unpacked(self.values, wanted)
            return _read_only(packed.reshape(self.shape))
        values, counts = [], []
        for token in self.values.split():
            value, _, count = token.partition("*")
            try:
                values.append(int(value))
                counts.append(int(count) if count else 1)
            except ValueError:
                raise ValueError(f"{token[:40]!r} is not a whole number or a run value*count") from None
            found += counts[-1]
            if counts[-1] < 1 or found > wanted:
                break
        if found != wanted or min(counts, default=1) < 1:
            raise ValueError(f"the values are {found}, the shape {self.shape} wants {wanted}")
        flat = np.repeat(np.asarray(values, np.int64), counts)
        return _read_only(flat.reshape(self.shape))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Tensor) or self.shape != other.shape:
            return False
        return self.values == other.values or bool(np.array_equal(self.array, other.array))

    def __hash__(self) -> int:
        return hash((self.shape, int(self.array.sum())))


def _text(flat: npt.NDArray[np.int64], text: str) -> str:
    """`text`, or the packed form of the same numbers where that is too long."""
    if len(text) <= _TEXT_MAX:
        return text
    kinds = (np.dtype(f"<i{size}") for size in (1, 2, 4, 8))
    kind = next(k for k in kinds if flat.min() >= np.iinfo(k).min and flat.max() <= np.iinfo(k).max)
    return f"{_PACKED}i{kind.itemsize} {base64.b64encode(flat.astype(kind).tobytes()).decode()}"


def _unpacked(text: str, wanted: int) -> npt.NDArray[np.int64]:
    kind, _, letters = text.removeprefix(_PACKED).partition(" ")
    if kind not in ("i1", "i2", "i4", "i8"):
        raise ValueError(f"{kind[:40]!r} is none of i1, i2, i4, i8")
    try:
        data = base64.b64decode(letters, validate=True)
    except binascii.Error as error:
        raise ValueError(f"is not base64: {error}") from None
    if len(data) != wanted * int(kind[1]):
        raise ValueError(f"holds {len(data)} bytes, the shape wants {wanted} values of {kind[1]}")
    return np.frombuffer(data, f"<{kind}").astype(np.int64)


def _token(value: int, count: int) -> str:
    if count >= _RUN_MIN:
        return f"{value}*{count}"
    return " ".join([str(value)] * count)


def _read_only(array: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    array.flags.writeable = False
    return array
