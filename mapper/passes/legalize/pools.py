"""Pools that no destination can do, folded into the kernel of the layer behind them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product
from math import gcd, prod
from typing import Any

import numpy as np

from hwspec.schema import ChipSpec
from mapper.network import Edge, Input, Layer, Network
from mapper.operations import Convolution, Pair, PathOperation, Pool, Shape, shape_after
from mapper.passes.legalize.kernel import event_remark, squared
from mapper.passes.legalize.stride import Bounds, expressible, strided, times

__all__ = ["fold_pools"]

UNPOOLED: Pair = (1, 1)


@dataclass(frozen=True, slots=True, order=True)
class _Factor:
    """The part of a pool that goes into the kernel, by what it costs: small ones sort first."""

    size: Pair
    stride: Pair


@dataclass(frozen=True, slots=True)
class _Fold:
    """A layer and its incoming edges after the rewrite, in the network's order."""

    layer: Layer
    edges: tuple[Edge, ...]


def fold_pools(network: Network, chip: ChipSpec, bounds: Bounds, *, relays: bool = False) -> Network:
    """Fold what destinations, host events and the sensor stage cannot pool into convolutions.

    A pool of size P and stride S is a pool of q (size and stride) and one of P/q and S/q after it, for
    every q that divides both: rows m * S + t, t < P, are the q-blocks m * S/q + u, u < P/q, and
    ``floor((floor(n / q) - P/q) / (S/q)) = floor((n - P) / S)``. The largest legal q stays on the edge.
    The stage has one setting for all it feeds, so one q is sought for all its edges.

    Parameters
    ----------
    relays
        Leave what relays can pool in several steps, 8 as 4 and 2, and what they can pool for the host.
    """
    sensors = {entry.name: entry for entry in network.inputs if entry.dvs is not None}
    for stage in _stage_poolings(network, sensors, chip):
        folds = {
            layer.name: fold
            for layer in network.layers
            if (fold := _fold_of(_Place(network, layer, chip, bounds, stage, relays))) is not None
        }
        if stage is None or all(edge.target in folds for name in sensors for edge in network.outgoing[name]):
            return _applied(network, folds)
    return network


def _stage_poolings(network: Network, sensors: Mapping[str, Input], chip: ChipSpec) -> Iterator[Pair | None]:
    """Settings of the sensor stage to try, the largest first; None leaves its edges as they are."""
    pools = {_size_and_stride(edge) for name in sensors for edge in network.outgoing[name]}
    legal = chip.input is None or all(
        size == stride and set(size) <= set(chip.input.poolings) for size, stride in pools
    )
    if chip.input is not None and (not legal or len(pools) > 1):
        pairs = list(product(chip.input.poolings, repeat=2))
        yield from ((a, b) for a, b in sorted(pairs, key=lambda pair: (-prod(pair), pair)))
    yield None


def _size_and_stride(edge: Edge) -> tuple[Pair, Pair]:
    return (edge.pool.size, edge.pool.stride) if edge.pool else (UNPOOLED, UNPOOLED)


@dataclass(frozen=True, slots=True)
class _Place:
    """A layer in its network on a chip, and the sensor stage's setting that is tried."""

    network: Network
    layer: Layer
    chip: ChipSpec
    bounds: Bounds
    stage: Pair | None
    relays: bool = False

    def options(self, edge: Edge) -> dict[_Factor, Pair]:
        """What may stay on the edge, by what then goes into the kernel."""
        size, stride = _size_and_stride(edge)
        if any(not isinstance(step, Pool) or step.kind != "sum" for step in edge.path) or len(edge.path) > 1:
            return {}
        entry = next((e for e in self.network.inputs if e.name == edge.source), None)
        if entry is None:
            kept = [(one, one) for one in self._poolings()]
        elif entry.dvs is None:
            kept = [(one, one) for one in self._poolings()] if self.relays else [UNPOOLED]
        elif self.stage is None:
            # Legal or not, the edge stays: a factor of one and all of the pool on the edge.
            return {_Factor(UNPOOLED, UNPOOLED): size}
        else:
            kept = [self.stage] if self._stage_may_change(entry, edge) else []
        return {
            _Factor((size[0] // a, size[1] // b), (stride[0] // a, stride[1] // b)): (a, b)
            for a, b in kept
            if gcd(size[0], stride[0]) % a == 0 and gcd(size[1], stride[1]) % b == 0
        }

    def _poolings(self) -> set[int]:
        """Pools of a destination, or of a chain of them."""
        sizes = {1, *self.chip.routing.poolings}
        longest = max(self.layer.input_shape.height, self.layer.input_shape.width, 1) * max(sizes) ** 2
        while self.relays:
            more = {a * b for a in sizes for b in self.chip.routing.poolings if a * b <= longest} - sizes
            if not more:
                break
            sizes |= more
        return sizes

    def _stage_may_change(self, entry: Input, edge: Edge) -> bool:
        """Whether cut-out and mirror mean the same with the stage's setting that is tried.

        Both act on the pooled map: an origin counts pools, and a mirrored map ends where the other
        one begins, which are the same rows only if pools fill it.
        """
        (size, stride), dvs, sensor, stage = _size_and_stride(edge), entry.dvs, self.chip.input, self.stage
        if dvs is None or sensor is None or stage is None:
            return False
        if size == stride == stage:
            return True
        rows, columns = entry.shape.height, entry.shape.width
        filled = size == stride and rows % size[0] == 0 and columns % size[1] == 0
        plain = dvs.origin == (0, 0) and not dvs.swap_axes and (filled or not any(dvs.mirror))
        room = (sensor.height // stage[0], sensor.width // stage[1])
        return plain and rows // stage[0] <= room[0] and columns // stage[1] <= room[1]


def _fold_of(place: _Place) -> _Fold | None:
    """The cheapest rewrite after which edges and layer are legal; None if there is none."""
    edges = place.network.incoming[place.layer.name]
    options = [place.options(edge) for edge in edges]
    common = set.intersection(*(set(entry) for entry in options))
    for factor in sorted(common, key=lambda entry: (prod(entry.size), prod(entry.stride), entry)):
        if factor == _Factor(UNPOOLED, UNPOOLED):
            return _Fold(place.layer, edges)
        kept = [_path(entry[factor]) for entry in options]
        layer = _folded(place, factor, edges, kept)
        if layer is not None:
            moved = (replace(edge, path=path) for edge, path in zip(edges, kept, strict=True))
            return _Fold(layer, tuple(moved))
    return None


def _path(size: Pair) -> tuple[PathOperation, ...]:
    return () if size == UNPOOLED else (Pool("sum", size, size),)


def _folded(
    place: _Place, factor: _Factor, edges: tuple[Edge, ...], kept: list[tuple[PathOperation, ...]]
) -> Layer | None:
    """The layer with the factor in its kernel, if that is exact and leaves nothing illegal.

    Output o of a kernel w behind the pool is
    ``sum_i w[i] sum_t x[(o * stride - padding + i) * S + t]``, t < P: a convolution of x with stride
    ``stride * S``, padding ``padding * S`` and tap i on the rows i * S .. i * S + P - 1.
    """
    layer, conv = place.layer, place.layer.operation
    signals = place.network.signal_shapes
    maps = {shape_after(signals[edge.source], path)[1:] for edge, path in zip(edges, kept, strict=True)}
    if not isinstance(conv, Convolution) or conv.groups != 1 or conv.dilation != (1, 1) or len(maps) > 1:
        return None
    (p0, p1), (s0, s1) = factor.size, factor.stride
    wide = replace(
        conv,
        kernel=((conv.kernel[0] - 1) * s0 + p0, (conv.kernel[1] - 1) * s1 + p1),
        stride=(conv.stride[0] * s0, conv.stride[1] * s1),
        padding=(conv.padding[0] * s0, conv.padding[1] * s1),
        weight=None,
    )
    shape = Shape(layer.input_shape.features, *maps.pop())
    bare = replace(layer, input_shape=shape, operation=wide)
    if bare.output_shape != layer.output_shape:
        return None
    # The later rewrites may still mend kernel and stride; what they leave illegal is not worth a fold.
    if not expressible(strided(squared(bare, place.bounds), place.bounds), place.bounds):
        return None
    if not all(_reads_the_same(layer, conv, shape, factor, axis) for axis in (0, 1)):
        return None
    if conv.weight is None:
        return bare
    weight = _spread(conv.weight, wide.kernel, factor, place.bounds.limits.weight_bits)
    return None if weight is None else replace(bare, operation=replace(wide, weight=weight))


def _reads_the_same(layer: Layer, conv: Convolution, shape: Shape, factor: _Factor, axis: int) -> bool:
    """Whether pools that do not exist, and count as zeros of the padding, cover no row that exists.

    Those before the map cover the rows of its beginning if pools overlap; those behind it cover the
    rows that the pool dropped because they do not fill one.
    """
    size, stride = factor.size[axis], factor.stride[axis]
    pooled, rows = layer.input_shape[1 + axis], shape[1 + axis]
    read = {
        output * conv.stride[axis] - conv.padding[axis] + tap
        for output in range(layer.output_shape[1 + axis])
        for tap in range(conv.kernel[axis])
    }
    return all(0 <= n < pooled or n * stride + size <= 0 or n * stride >= rows for n in read)


def _spread(weight: Any, kernel: Pair, factor: _Factor, bits: int) -> Any:
    """Each tap on the rows and columns of its pool, sums where pools overlap; None beyond the bits."""
    integer = weight.dtype.kind == "i"
    total = np.zeros((*weight.shape[:2], *kernel), np.int64 if integer else weight.dtype)
    (p0, p1), (s0, s1) = factor.size, factor.stride
    for row, column in np.ndindex(weight.shape[2:]):
        top, left = row * s0, column * s1
        total[:, :, top : top + p0, left : left + p1] += weight[:, :, row : row + 1, column : column + 1]
    if not integer:
        return total
    half = 1 << (bits - 1)
    if total.min() < -half or total.max() >= half:
        return None
    return total.astype(np.promote_types(weight.dtype, np.min_scalar_type(-half)))


def _applied(network: Network, folds: Mapping[str, _Fold]) -> Network:
    changed = {name: fold for name, fold in folds.items() if fold.layer is not network.by_name[name]}
    if not changed:
        return network
    edges: dict[int, Edge] = {}
    notes = []
    for name, fold in changed.items():
        before = network.incoming[name]
        edges |= {id(old): new for old, new in zip(before, fold.edges, strict=True)}
        notes.append(_note(network.by_name[name], before, fold))
    return network.replacing(
        layers=tuple(changed[x.name].layer if x.name in changed else x for x in network.layers),
        edges=tuple(edges.get(id(edge), edge) for edge in network.edges),
        notes=(*network.notes, *notes),
    )


def _note(layer: Layer, before: tuple[Edge, ...], fold: _Fold) -> str:
    old, new = layer.operation, fold.layer.operation
    if not isinstance(old, Convolution) or not isinstance(new, Convolution):
        return ""
    parts = []
    for edge, rest in zip(before, fold.edges, strict=True):
        size, left = _size_and_stride(edge)[0], _size_and_stride(rest)[0]
        parts.append(f"the pool {times(size)} behind {edge.source} became {times(left)}")
    kernel = f"the rest went into the kernel, {times(old.kernel)} became {times(new.kernel)}"
    return f"{layer.name}: {', '.join(parts)}, {kernel}; its map stays the same{event_remark(fold.layer)}"
