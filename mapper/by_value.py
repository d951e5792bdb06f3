"""Equality of what holds arrays and mappings: by their values, with hashes that agree."""

from __future__ import annotations

import sys
from collections.abc import Hashable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, TypeGuard

__all__ = ["ByValue", "same"]


class ByValue:
    """Dataclasses that are equal where all fields that they compare are, arrays and mappings by their values.

    Such a dataclass is made with ``eq=False``: else its own comparison would ask arrays for one truth value.
    What is not a number equals what is not a number. Hashes look at no entry of an array.
    """

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return same(self, other) if type(self) is type(other) else NotImplemented

    def __hash__(self) -> int:
        return hash(_key(self))


def same(left: object, right: object) -> bool:
    """Whether two values are equal in every field, entry and array value."""
    if left is right:
        return True
    # A half 0.1 is no 0.1: numpy rounds numbers of Python to the type beside them before it compares.
    left, right = _number(left), _number(right)
    if _is_array(left) or _is_array(right):
        return _same_arrays(left, right)
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        return left.keys() == right.keys() and all(same(value, right[key]) for key, value in left.items())
    if type(left) is not type(right):
        # 1 is 1.0; neither of two that are not numbers is left to its type.
        return bool(left == right)
    if is_dataclass(left) and not isinstance(left, type):
        return all(same(getattr(left, f.name), getattr(right, f.name)) for f in fields(left) if f.compare)
    if isinstance(left, tuple | list) and isinstance(right, tuple | list):
        return len(left) == len(right) and all(map(same, left, right))
    return bool(left == right) or (left != left and right != right)  # not a number


def _is_array(value: Any) -> TypeGuard[Any]:
    # Options hold none, and are made where nobody has loaded numpy.
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(value, numpy.ndarray)


def _number(value: Any) -> Any:
    """A scalar of numpy as the number of Python that it is."""
    numpy = sys.modules.get("numpy")
    return value.item() if numpy is not None and isinstance(value, numpy.generic) else value


def _same_arrays(left: Any, right: Any) -> bool:
    import numpy as np  # noqa: PLC0415  # one of them is of it

    arrays = [np.asarray(side) for side in (left, right) if _is_array(side) or np.isscalar(side)]
    if len(arrays) < 2 or arrays[0].shape != arrays[1].shape:
        return False
    can_be_nan = all(array.dtype.kind in "fc" for array in arrays)
    return bool(np.array_equal(arrays[0], arrays[1], equal_nan=can_be_nan))


def _key(value: object) -> Hashable:
    """What is hashed of a value: equal values have equal ones."""
    value = _number(value)
    if _is_array(value):
        return value.shape if value.ndim else _key(value.item())
    if isinstance(value, Mapping):
        return frozenset(value)
    if is_dataclass(value) and not isinstance(value, type):
        return tuple(_key(getattr(value, f.name)) for f in fields(value) if f.compare)
    if isinstance(value, tuple | list):
        return tuple(map(_key, value))
    if value != value:  # not a number
        return None
    return value if isinstance(value, Hashable) and not hasattr(type(value), "model_fields") else None
