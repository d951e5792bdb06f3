"""Integer tensors as short text, so that a configuration stays one file that a person can read."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator, Sequence
from itertools import starmap
from math import prod
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel
from pydantic_core import core_schema

from hwspec.inert import quoted
from mapper.integers import is_constant, narrowed

__all__ = ["Tensor", "alive", "json_pieces", "tensor_fields"]

# Shorter runs take more letters as "value*count" than written out.
_RUN_MIN = 3
# Nobody reads more numbers than these letters hold: longer text is packed, or nine full cores with
# initial potentials would take 3 MB.
_TEXT_MAX = 1 << 16
_PACKED = "base64 "
# A file may claim any shape; nothing larger than all memories of a large chip is allocated: 128 MiB.
_ENTRIES_MAX = 1 << 24


class Tensor:
    """Integers of a shape; in a file row by row, runs of equal values as ``value*count``.

    Text of more than 64 Ki letters is packed: ``base64 i1 ...``, or i2, i4, i8: little-endian integers.

    Parameters
    ----------
    shape
        Sizes, outermost first.
    values
        The entries in order, separated by blanks, or packed.

    Attributes
    ----------
    array
        The entries, read-only, in narrow integers (`mapper.integers.narrowed`): `mapper.integers.widened`
        before computing with them.

    Raises
    ------
    ValueError
        The text holds something else than whole numbers, or not as many as the shape says.
    """

    def __init__(self, shape: Sequence[int], values: str) -> None:
        entry_count = prod(shape)
        if any(size < 0 for size in shape) or entry_count > _ENTRIES_MAX:
            raise ValueError(f"impossible shape {tuple(shape)}: at most {_ENTRIES_MAX} entries")
        flat = (
            _unpacked(values, entry_count)
            if values.startswith(_PACKED)
            else _written_out(values, entry_count)
        )
        self.array = _read_only(narrowed(flat).reshape(tuple(shape)))

    @classmethod
    def of(cls, array: npt.ArrayLike) -> Self:
        """A tensor of an array of integers, which is copied unless nobody can change it.

        Raises
        ------
        ValueError
            It holds something else.
        """
        data = np.asarray(array)
        if data.dtype.kind not in "iub":
            raise ValueError(f"only integers can be written, not {data.dtype}")
        tensor = cls.__new__(cls)
        try:
            narrow = narrowed(data)
        except OverflowError as error:
            raise ValueError(f"only integers of 64 bits can be written: {error}") from None
        tensor.array = _read_only(
            narrow.copy(order="C") if narrow is data and not is_constant(data) else narrow
        )
        return tensor

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes, outermost first."""
        return self.array.shape

    @property
    def values(self) -> str:
        """The text of the entries, made anew: the same for equal tensors."""
        flat = self.array.ravel()
        if not flat.size:
            return ""
        # A run takes two letters at least, its blank included: most texts are too long before they exist, and
        # most long tensors show it in their first entries.
        for entries in (flat[:_TEXT_MAX], flat):
            starts = np.flatnonzero(np.concatenate([[True], entries[1:] != entries[:-1]]))
            if 2 * starts.size - 1 > _TEXT_MAX:
                return _packed(flat)
        counts = np.diff(np.append(starts, flat.size))
        text = " ".join(starmap(_token, zip(flat[starts].tolist(), counts.tolist(), strict=True)))
        return text if len(text) <= _TEXT_MAX else _packed(flat)

    def written(self) -> dict[str, Any]:
        """What stands in a file for it."""
        return {"shape": list(self.shape), "values": self.values}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tensor) and np.array_equal(self.array, other.array)

    def __hash__(self) -> int:
        return hash((self.shape, int(self.array.sum())))

    def __repr__(self) -> str:
        return f"Tensor(shape={self.shape}, values={self.values!r})"

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: object) -> core_schema.CoreSchema:
        """In files a tensor is {"shape": [...], "values": "..."}; dumped as Python's objects it is itself."""
        written = core_schema.plain_serializer_function_ser_schema(cls.written, when_used="json")
        return core_schema.no_info_plain_validator_function(cls._validated, serialization=written)

    @classmethod
    def _validated(cls, given: object) -> Self:
        if isinstance(given, cls):
            return given
        if not isinstance(given, dict) or set(given) != {"shape", "values"}:
            raise ValueError("a tensor has shape and values")
        shape, values = given["shape"], given["values"]
        if not isinstance(shape, list | tuple) or any(type(size) is not int for size in shape):
            raise ValueError("the shape of a tensor is a list of whole numbers")
        if not isinstance(values, str):
            raise ValueError("the values of a tensor are text")
        return cls(shape, values)


def alive(tensor: Tensor | None, killed: Tensor | None) -> npt.NDArray[np.signedinteger[Any]] | None:
    """Values of a tensor in its own narrow type, 0 where a kill bit switches an entry off."""
    if tensor is None or killed is None:
        return None if tensor is None else tensor.array
    is_killed = killed.array != 0
    # What is 0 already is what chips switch off.
    if not np.any(tensor.array[is_killed]):
        return tensor.array
    values = tensor.array.copy()
    values[is_killed] = 0
    return values


def json_pieces(record: BaseModel, indent: int | None = None) -> Iterator[str]:
    """A record as JSON without the fields that are None; of its tensors only one is text at a time.

    Parameters
    ----------
    indent
        As `json.dumps` has it. Without, it is what pydantic writes: no blanks, letters as they are.
    """
    encoder = json.JSONEncoder(
        indent=indent,
        separators=None if indent is not None else (",", ":"),
        ensure_ascii=indent is not None,
        default=Tensor.written,
    )
    return encoder.iterencode(record.model_dump(exclude_none=True))


def tensor_fields(
    weights: npt.NDArray[Any], biases: npt.NDArray[Any], initial: npt.NDArray[Any], kill_bits: bool
) -> dict[str, Tensor]:
    """Fields of a core for its tensors; where the chip has kill bits, they switch off what is 0."""
    fields = {
        "weights": Tensor.of(weights),
        "biases": Tensor.of(biases),
        "neurons_initial_value": Tensor.of(initial),
    }
    if kill_bits:
        fields |= {
            "weights_kill_bit": Tensor.of(weights == 0),
            "biases_kill_bit": Tensor.of(biases == 0),
            "neurons_value_kill_bit": Tensor.of(initial == 0),
        }
    return fields


def _written_out(text: str, entry_count: int) -> npt.NDArray[np.signedinteger[Any]]:
    """The numbers of a text that is not packed."""
    value_count, values, counts = 0, [], []
    for token in text.split():
        value, _, count = token.partition("*")
        try:
            values.append(int(value))
            counts.append(int(count) if count else 1)
        except ValueError:
            raise ValueError(f"{quoted(token[:40])} is not a whole number or a run value*count") from None
        value_count += counts[-1]
        if counts[-1] < 1 or value_count > entry_count:
            break
    if value_count != entry_count or min(counts, default=1) < 1:
        raise ValueError(f"the values are {value_count}, the shape wants {entry_count}")
    try:
        return np.repeat(narrowed(np.asarray(values, np.int64)), counts)
    except OverflowError:
        raise ValueError("a value has more than 64 bits") from None


def _packed(flat: npt.NDArray[np.signedinteger[Any]]) -> str:
    """The numbers in the narrowest little-endian integers that hold them."""
    least, most = flat.min(), flat.max()
    kinds = (np.dtype(f"<i{size}") for size in (1, 2, 4, 8))
    kind = next(k for k in kinds if least >= np.iinfo(k).min and most <= np.iinfo(k).max)
    return f"{_PACKED}i{kind.itemsize} {base64.b64encode(flat.astype(kind, copy=False).data).decode()}"


def _unpacked(text: str, entry_count: int) -> npt.NDArray[np.signedinteger[Any]]:
    kind, _, letters = text.removeprefix(_PACKED).partition(" ")
    if kind not in ("i1", "i2", "i4", "i8"):
        raise ValueError(f"{quoted(kind[:40])} is none of i1, i2, i4, i8")
    try:
        data = base64.b64decode(letters, validate=True)
    except binascii.Error as error:
        raise ValueError(f"is not base64: {error}") from None
    if len(data) != entry_count * int(kind[1]):
        raise ValueError(f"holds {len(data)} bytes, the shape wants {entry_count} values of {kind[1]}")
    return np.frombuffer(data, f"<{kind}").astype(kind, copy=False)


def _token(value: int, count: int) -> str:
    if count >= _RUN_MIN:
        return f"{value}*{count}"
    return " ".join([str(value)] * count)


def _read_only(array: npt.NDArray[np.signedinteger[Any]]) -> npt.NDArray[np.signedinteger[Any]]:
    array.flags.writeable = False
    return array
