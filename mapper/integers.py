"""Whole numbers in as few bytes as hold them, two at least, and in 64 bits again before anything is computed.

A network's weights take most of its memory. numpy computes in the type that it is given: of 8 bits, the
absolute value of -128 is -128, and 100 + 100 is -56. With 16 bits whoever does so with a network's weights
gets what they expect of single weights and of products of two.
"""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["is_constant", "narrowed", "widened"]

_TYPES = tuple(np.dtype(f"i{size}") for size in (2, 4, 8))


def narrowed(array: Any) -> Any:
    """Integers in the narrowest signed integers of 16 bits or more that hold them, truth values in 8 bits.

    Raises
    ------
    OverflowError
        A number needs more than 64 bits, sign included.
    """
    if array.dtype.kind == "b":
        return array.astype(np.int8)
    least, most = (int(array.min()), int(array.max())) if array.size else (0, 0)
    for kind in _TYPES:
        held = np.iinfo(kind)
        if held.min <= least and most <= held.max:
            return array.astype(kind, copy=False)
    raise OverflowError(f"{most} has more than 64 bits with its sign")


def widened(array: Any) -> Any:
    """Integers in 64 bits, so that sums, products and absolute values hold; other numbers as they are."""
    given = np.asarray(array)
    return given.astype(np.int64, copy=False) if given.dtype.kind in "ib" else given


def is_constant(array: Any) -> bool:
    """Whether nobody can write into an array, nor into one that it is a view of."""
    while isinstance(array, np.ndarray):
        if array.flags.writeable:
            return False
        array = array.base
    return array is None or isinstance(array, bytes)
