"""With which weights given spikes reach the neurons of a layer: listed twice, and compared.

A neuron at (y, x) reads what the taps of a kernel meet, through pools and phases: rows of the source by y
alone, columns by x alone. The weight of a given spike is the sum over all taps that read it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from mapper.network import Edge, Origin
from mapper.normal_form import NormalLayer
from mapper.operations import Pair
from mapper.verify.case import edge_pool

__all__ = ["Path", "first_difference"]

# A given signal and its delay: spikes of several edges from one add up.
_Source: TypeAlias = tuple[str, int]
# (tap, given row or column of the source) of everything that one neuron reads along one axis.
_Reads: TypeAlias = tuple[tuple[int, int], ...]


class _Line(NamedTuple):
    """What a layer's neurons read of a source along one axis.

    Attributes
    ----------
    kernel, stride, padding, size
        Of the layer, and of the map that it reads.
    pools
        (size, stride) on the way, the last one before the layer first; without those that change nothing.
    phases, phase
        Row y that is sent is given row ``y * phases + phase``.
    """

    kernel: int
    stride: int
    padding: int
    size: int
    pools: tuple[Pair, ...]
    phases: int
    phase: int

    @property
    def step(self) -> int:
        """How many given rows the taps move from one neuron to the next."""
        return prod((self.stride, *(stride for _, stride in self.pools), self.phases))

    @property
    def inside(self) -> tuple[int, int]:
        """The first and the last neuron of which every tap meets the map."""
        last = (self.size - self.kernel + self.padding) // self.stride
        return -(-self.padding // self.stride), last

    def reads(self, place: int, *, beyond: bool = False) -> _Reads:
        """What the neuron reads; with what its taps would read beyond the map, were there anything."""
        found = []
        for tap in range(self.kernel):
            at = place * self.stride - self.padding + tap
            if beyond or 0 <= at < self.size:
                rows = [at]
                for size, stride in self.pools:
                    rows = [row * stride + n for row in rows for n in range(size)]
                found += [(tap, row * self.phases + self.phase) for row in rows]
        return tuple(found)


@dataclass(frozen=True)
class Path:
    """Features of a given source on their way into a layer, with the weights that they meet.

    Attributes
    ----------
    source
        (signal, delay).
    edges
        From the source to the layer, through what passes it on.
    first, features
        Of the layer's input, those that come this way.
    phases, phase
        Of the core's layer that sends them, and which one: its row y is given row ``y * phases + phase``.
    given
        Rows and columns of a source beyond which nothing is ever sent; None where there may be something.
    """

    source: _Source
    layer: NormalLayer
    edges: tuple[Edge, ...]
    first: int
    features: int
    phases: tuple[int, int] = (1, 1)
    phase: tuple[int, int] = (0, 0)
    given: tuple[int, int] | None = None

    @cached_property
    def lines(self) -> tuple[_Line, _Line]:
        """Down the rows and across the columns."""
        conv, pools = self.layer.operation, [edge_pool(edge) for edge in reversed(self.edges)]
        along = [
            tuple(pool for size, stride in pools if (pool := (size[axis], stride[axis])) != (1, 1))
            for axis in (0, 1)
        ]
        down, across = (
            _Line(
                conv.kernel[axis], conv.stride[axis], conv.padding[axis], self._size(axis, along[axis]),
                along[axis], self.phases[axis], self.phase[axis],
            )
            for axis in (0, 1)
        )  # fmt: skip
        return down, across

    def _size(self, axis: int, pools: tuple[Pair, ...]) -> int:
        """Rows that the layer reads, as far as they exist."""
        size = self.layer.input_shape[1 + axis]
        if self.given is None or pools:
            return size
        return min(size, -(-(self.given[axis] - self.phase[axis]) // self.phases[axis]))


def first_difference(
    own: Sequence[Path], through: Sequence[Path], origin: Origin, sizes: tuple[int, int]
) -> str | None:
    """Where the neurons of a given layer read otherwise than those that stand for them; None if nowhere.

    Parameters
    ----------
    own
        Into the given layer.
    through
        Into the core's layer in which `origin` finds it.
    sizes
        Rows and columns of the given layer.
    """
    rows, columns = (
        [
            (place, *_lists(own, through, origin.phases[axis], axis, place))
            for place in _telling(own, through, origin.phases[axis], axis, sizes[axis])
        ]
        for axis in (0, 1)
    )
    for y, *down in rows:
        for x, *across in columns:
            problem = _difference(own, through, origin, (y, x), down, across)
            if problem:
                return f"row {y}, column {x}: {problem}"
    return None


def _telling(own: Sequence[Path], through: Sequence[Path], phases: int, axis: int, size: int) -> list[int]:
    """Rows or columns that tell of all: where nothing differs in them, nothing differs elsewhere.

    Where all paths of a source move alike, whatever lies inside reads as what lies before it. At a border
    taps meet nothing. Where of all taps that would read the same row of a source either each meets it or
    none does, both lists are those from inside without these rows, and cannot differ if those do not.
    """
    by_source: dict[_Source, set[tuple[_Line, int]]] = {}
    for paths, unit in ((own, 1), (through, phases)):
        for path in paths:
            by_source.setdefault(path.source, set()).add((path.lines[axis], unit))
    sources = list(by_source.values())
    if any(len({line.step * (phases // unit) for line, unit in lines}) > 1 for lines in sources):
        return list(range(size))
    first, last = 0, size - 1
    for line, unit in set().union(*sources):
        start, stop = line.inside
        first, last = max(first, start * unit), min(last, stop * unit + unit - 1)
    inside = range(first, last + 1)
    told = inside[:phases]
    residues = {place % phases for place in told}
    return [
        place
        for place in range(size)
        if place in told
        or (place not in inside and not (place % phases in residues and _is_cut_alike(sources, place)))
    ]


def _is_cut_alike(sources: Sequence[set[tuple[_Line, int]]], place: int) -> bool:
    """Whether each row of a source is met by all taps that would read it, or by none of them."""
    for lines in sources:
        if len(lines) == 1:
            # One geometry: a row that two taps read may still be met by one of them alone.
            ((line, _),) = lines
            if all(size <= stride for size, stride in line.pools):
                continue
        ends = [(line.reads(place // unit), line.reads(place // unit, beyond=True)) for line, unit in lines]
        met = {row for reads, _ in ends for _, row in reads}
        if any(reads != tuple(entry for entry in every if entry[1] in met) for reads, every in ends):
            return False
    return True


def _lists(
    own: Sequence[Path], through: Sequence[Path], phases: int, axis: int, place: int
) -> tuple[list[_Reads], list[_Reads], Mapping[_Source, int]]:
    """What every path reads, and how many rows of its source: counted from the first that any path reads."""
    sides = []
    known: dict[tuple[_Line, int], _Reads] = {}
    for paths, unit in ((own, 1), (through, phases)):
        lines = [(path.lines[axis], unit) for path in paths]
        known |= {(line, unit): line.reads(place // unit) for line, _ in set(lines)}
        sides.append([known[line] for line in lines])
    rows: dict[_Source, list[int]] = {}
    for path, reads in zip((*own, *through), (*sides[0], *sides[1]), strict=True):
        rows.setdefault(path.source, []).extend(row for _, row in reads)
    lowest = {source: min(found, default=0) for source, found in rows.items()}
    counts = {source: max(found, default=-1) + 1 - lowest[source] for source, found in rows.items()}
    one, other = (
        [
            tuple((tap, row - lowest[path.source]) for tap, row in reads)
            for path, reads in zip(paths, side, strict=True)
        ]
        for paths, side in zip((own, through), sides, strict=True)
    )
    return one, other, counts


def _difference(
    own: Sequence[Path],
    through: Sequence[Path],
    origin: Origin,
    place: tuple[int, int],
    down: Sequence[Any],
    across: Sequence[Any],
) -> str | None:
    """What differs in the weights with which given spikes reach the neurons of all features at one place."""
    (rows, through_rows, heights), (columns, through_columns, widths) = down, across
    phase = place[0] % origin.phases[0] * origin.phases[1] + place[1] % origin.phases[1]
    shapes_only = own[0].layer.operation.weight is None
    count = origin.shape.features
    # Without weights all features of a layer read alike: one tells of all.
    told = 1 if shapes_only else count
    features: dict[_Source, int] = {}
    for path in (*own, *through):
        features[path.source] = max(path.features, features.get(path.source, 0))
    sides: list[dict[_Source, Any]] = []
    for paths, first, tall, wide in (
        (own, 0, rows, columns),
        (through, origin.start + phase * count, through_rows, through_columns),
    ):
        total: dict[_Source, Any] = {}
        for path, taps, other_taps in zip(paths, tall, wide, strict=True):
            source = path.source
            if taps and other_taps:
                shape = (told, features[source], heights[source], widths[source])
                weights = _reaching(path, first, shape, taps, other_taps)
                total[source] = total[source] + weights if source in total else weights
        sides.append(total)
    for source in dict.fromkeys((*sides[0], *sides[1])):
        one, other = (side.get(source, np.int64(0)) for side in sides)
        wrong = (one != 0) & (other == 0) if shapes_only else _differs(one, other)
        if wrong.any():
            one, other = np.broadcast_arrays(one, other)
            feature, read, row, column = (int(n) for n in np.argwhere(wrong)[0])
            values = f"{one[feature, read, row, column]} became {other[feature, read, row, column]}"
            return f"feature {feature} reads {source[0]}, feature {read}, otherwise: {values}"
    return None


def _reaching(path: Path, first: int, shape: tuple[int, ...], down: _Reads, across: _Reads) -> Any:
    """(features, features of the source, rows, columns): the sum of weights with which each counts."""
    weight, count = path.layer.operation.weight, shape[0]
    if weight is None:
        ones = (first + count, path.first + path.features, *path.layer.operation.kernel)
        weight = np.broadcast_to(np.int64(1), ones)
    part = np.asarray(weight)[first : first + count, path.first : path.first + path.features]
    kind = np.int64 if part.dtype.kind in "iu" else part.dtype
    along = np.zeros((*part.shape[:2], shape[2], part.shape[3]), kind)
    for tap, row in down:
        along[:, :, row] += part[:, :, tap]
    total = np.zeros(shape, kind)
    there = total[: len(part), : part.shape[1]]
    for tap, column in across:
        there[:, :, :, column] += along[:, :, :, tap]
    return total


def _differs(one: Any, other: Any) -> Any:
    """Integers exactly; sums of floats may differ in their last bits."""
    if one.dtype.kind == "i" and other.dtype.kind == "i":
        return one != other
    return ~np.isclose(one, other, rtol=1e-9, atol=1e-12)
