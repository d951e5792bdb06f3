"""What a traced module passes from step to step: signals on their way, currents that wait for neurons.

A value knows its whole shape: `leads` (batch, or batch and time) and `dims` behind them. Reshaping
keeps the order of values, so it changes `dims` alone; the map the values came from stays in `shape`,
and a flattening enters a path only where a reader needs it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import Any, TypeAlias

from mapper.folding import Between
from mapper.operations import Flatten, Pair, PathOperation, Scale, Shape, shape_after

__all__ = [
    "BATCH",
    "NO_MARGINS",
    "TIME",
    "Current",
    "MisfitError",
    "Opaque",
    "Part",
    "RefusalError",
    "Signal",
    "Value",
    "entries",
    "flattened",
    "followed",
    "full_shape",
    "guess",
    "merged",
    "one_axis",
    "reshaped",
    "timed",
    "unpadded",
    "values_in",
]

# Primes that no layer has for a size: a view that keeps the batch can be told from one that does not.
BATCH = 1_000_003
TIME = 10_007
NO_MARGINS: tuple[Pair, Pair] = ((0, 0), (0, 0))


class RefusalError(ValueError):
    """Something no chip can do or this program does not know; the fields become a `Finding`.

    Attributes
    ----------
    instead
        The value to go on with, so that whatever else is wrong can be told too; None for a guess.
    """

    def __init__(
        self,
        problem: str,
        next_step: str = "",
        value: object = None,
        limit: object = None,
        instead: Value | None = None,
    ) -> None:
        self.problem, self.next_step, self.value, self.limit = problem, next_step, value, limit
        self.instead = instead
        super().__init__(problem)


class MisfitError(RefusalError):
    """Shapes that do not follow from one another."""


@dataclass(frozen=True, slots=True)
class Part:
    """Spikes of one layer or input, what happens to them on the way, and their place among the features."""

    source: str
    path: tuple[PathOperation, ...] = ()
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Signal:
    """Spike counts: parts that add up, or stand side by side.

    Attributes
    ----------
    shape
        The map: features, height, width.
    dims
        The shape the module sees behind the leading dimensions; of the same size.
    leads
        Leading dimensions: batch, or batch and time.
    sure
        False behind something refused: its shape is a guess then.
    margins
        Zeros around the map that the module sees and `shape` does not count: rows (above, below) and columns
        (left, right).
    """

    parts: tuple[Part, ...]
    shape: Shape
    dims: tuple[int, ...]
    leads: tuple[int, ...] = (BATCH,)
    sure: bool = True
    margins: tuple[Pair, Pair] = NO_MARGINS


@dataclass(frozen=True, slots=True)
class Current:
    """What weight layers give before their neurons; fields as in `Signal`.

    Attributes
    ----------
    layer
        Whose weights; of a sum, the first of them.
    between
        Batch normalisation, scales and pools since the weights, or since the sum.
    addends
        What the sum is of, where the current is one.
    """

    layer: str
    shape: Shape
    dims: tuple[int, ...]
    leads: tuple[int, ...] = (BATCH,)
    sure: bool = True
    between: tuple[Between, ...] = ()
    addends: tuple[Signal | Current, ...] = ()


@dataclass(frozen=True, slots=True)
class Opaque:
    """A tensor this program does not follow: a parameter, a constant, or what came of something refused."""

    name: str
    reported: bool = False


Value: TypeAlias = Signal | Current


def full_shape(value: Value) -> tuple[int, ...]:
    """The shape as the module sees it, leading dimensions included."""
    return (*value.leads, *value.dims)


def reshaped(value: Value, sizes: tuple[int, ...]) -> Value:
    """The value in another shape, leading dimensions included; one -1 stands for what is left.

    Raises
    ------
    MisfitError
        Numbers that do not fit, or values of different samples that would mix.
    """
    total, known = prod(full_shape(value)), prod(n for n in sizes if n != -1)
    if sizes.count(-1) == 1 and known and total % known == 0:
        sizes = tuple(total // known if n == -1 else n for n in sizes)
    batch = prod(value.leads)
    for count in range(1, len(sizes) + 1):
        dims = sizes[count:]
        if prod(sizes[:count]) == batch and prod(dims) == value.shape.size:
            return replace(value, leads=sizes[:count], dims=dims)
    raise MisfitError(
        "reshapes across samples, or to another number of values",
        "Keep the batch: x.flatten(1) or x.view(x.size(0), -1)",
        "x".join("batch" if n in (batch, BATCH) else str(n) for n in sizes),
        f"batch, then {value.shape.size} values",
    )


def merged(value: Value, start: int, end: int) -> Value:
    """`torch.flatten`: the dimensions from start to end become one.

    Raises
    ------
    RefusalError
        The batch would be merged with features.
    """
    shape, count = full_shape(value), len(value.leads)
    start, end = (n + len(shape) if n < 0 else n for n in (start, end))
    if start == 0 and end == 1:
        # Batch and time: they are one axis already where the module is traced with one leading dimension.
        return replace(value, leads=(prod(value.leads),))
    if not 0 <= start <= end < len(shape):
        raise MisfitError("flattens dimensions that are not there", value=(start, end), limit=len(shape) - 1)
    if start < count <= end:
        problem = "flattens the batch together with the features"
        raise RefusalError(problem, "Start at dimension 1: torch.flatten(x, 1)", start, f">= {count}")
    sizes = (*shape[:start], prod(shape[start : end + 1]), *shape[end + 1 :])
    leads = len(sizes) - len(value.dims) if end < count else count
    return replace(value, leads=sizes[:leads], dims=sizes[leads:])


def one_axis(value: Value) -> None:
    """Check that batch and time are one axis, as layers on maps want them.

    Raises
    ------
    MisfitError
        They are two.
    """
    if len(value.leads) != 1:
        raise MisfitError(
            "reads batch and time as two dimensions", "Put FlattenTime or flatten(0, 1) before it"
        )


def timed(value: Value) -> Value:
    """Batch and time out of one axis: how long each is has no say in what the layers compute."""
    total = prod(value.leads)
    return replace(value, leads=(BATCH, TIME) if total == BATCH * TIME else (1, total))


def unpadded(arguments: Any, reader: str) -> None:
    """Check that no signal among the arguments has zeros around its map.

    Raises
    ------
    RefusalError
        One has: destinations and pools know no padding.
    """
    for value in values_in(arguments):
        if isinstance(value, Signal) and value.margins != NO_MARGINS:
            step = "Let a Conv2d read the padded map: its padding and kernel take the zeros"
            raise RefusalError(f"{reader} of a map padded with zeros", step, value.margins)


def flattened(signal: Signal) -> Signal:
    """The signal with a flattening on its paths, so that offsets count single values."""
    if signal.shape[1:] == (1, 1):
        return replace(signal, dims=(signal.shape.size,))
    area = signal.shape.height * signal.shape.width
    parts = tuple(Part(p.source, (*p.path, Flatten()), p.offset * area) for p in signal.parts)
    return replace(signal, parts=parts, shape=Shape(signal.shape.size, 1, 1), dims=(signal.shape.size,))


def followed(signal: Signal, step: PathOperation) -> Signal:
    """The signal after a pool or a scale.

    Raises
    ------
    MisfitError
        A pool larger than its map, or of something flattened.
    """
    parts = tuple(Part(p.source, (*p.path, step), p.offset) for p in signal.parts)
    if isinstance(step, Scale):
        return replace(signal, parts=parts)
    if signal.dims != tuple(signal.shape):
        raise MisfitError("pools a flattened signal", "Pool first, flatten then", signal.dims)
    one_axis(signal)
    try:
        shape = shape_after(signal.shape, (step,))
    except ValueError as error:
        raise MisfitError(str(error), "Check the input shape and the pools before it") from None
    return replace(signal, parts=parts, shape=shape, dims=tuple(shape))


def values_in(arguments: Any) -> Iterator[Signal | Current | Opaque]:
    """Signals, currents and opaque tensors among arguments, nested ones included."""
    if isinstance(arguments, Signal | Current | Opaque):
        yield arguments
    elif isinstance(arguments, tuple | list):
        for entry in arguments:
            yield from values_in(entry)
    elif isinstance(arguments, Mapping):
        for entry in arguments.values():
            yield from values_in(entry)
    elif isinstance(arguments, slice):
        yield from values_in((arguments.start, arguments.stop, arguments.step))


def guess(arguments: Any) -> Any:
    """The first signal or current among the arguments, to go on with behind a refusal."""
    for value in values_in(arguments):
        if isinstance(value, Signal | Current):
            return replace(value, sure=False)
    return Opaque("", reported=True)


def entries(result: Any, key: str) -> Iterator[tuple[str, Any]]:
    """What forward returns, one by one; keys of dictionaries are names."""
    if isinstance(result, Mapping):
        for name, entry in result.items():
            yield from entries(entry, f"{key}.{name}" if key else str(name))
    elif isinstance(result, tuple | list):
        for entry in result:
            yield from entries(entry, key)
    else:
        yield key, result
