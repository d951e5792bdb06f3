"""A pool, or a part of it, as taps of the convolution behind it.

A pool of size P and stride S is a pool of q (size and stride) and one of P/q and S/q after it, for
every q that divides both: rows m * S + t, t < P, are the q-blocks m * S/q + u, u < P/q, and
``floor((floor(n / q) - P/q) / (S/q)) = floor((n - P) / S)``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mapper.network import Edge
from mapper.normal_form import NormalLayer
from mapper.operations import Pair, Pool, Shape
from mapper.passes.legalize.kernel import event_remark
from mapper.passes.legalize.stride import Bounds, times

__all__ = ["NOTHING", "UNPOOLED", "Factor", "fold_note", "folded", "folded_shape", "size_and_stride"]

UNPOOLED: Pair = (1, 1)


@dataclass(frozen=True, slots=True, order=True)
class Factor:
    """The part of a pool that goes into the kernel; pairs are (height, width)."""

    size: Pair
    stride: Pair


NOTHING = Factor(UNPOOLED, UNPOOLED)


def size_and_stride(pool: Pool | None) -> tuple[Pair, Pair]:
    """Size and stride of an edge's pool; ones where there is none."""
    return (pool.size, pool.stride) if pool else (UNPOOLED, UNPOOLED)


def folded_shape(layer: NormalLayer, factor: Factor, seen: Pair) -> NormalLayer | None:
    """The layer with the factor in its kernel and without weights; None if it would not read the same.

    Output o of a kernel w behind the pool is
    ``sum_i w[i] sum_t x[(o * stride - padding + i) * S + t]``, t < P: a convolution of x with stride
    ``stride * S``, padding ``padding * S`` and tap i on the rows i * S .. i * S + P - 1.

    Parameters
    ----------
    seen
        (height, width) of the map that it would read.
    """
    conv = layer.operation
    (p0, p1), (s0, s1) = factor.size, factor.stride
    wide = replace(
        conv,
        kernel=((conv.kernel[0] - 1) * s0 + p0, (conv.kernel[1] - 1) * s1 + p1),
        stride=(conv.stride[0] * s0, conv.stride[1] * s1),
        padding=(conv.padding[0] * s0, conv.padding[1] * s1),
        weight=None,
    )
    bare = replace(layer, input_shape=Shape(layer.input_shape.features, *seen), operation=wide)
    same_map = bare.output_shape == layer.output_shape
    exact = same_map and all(_reads_the_same(layer, seen, factor, axis) for axis in (0, 1))
    return bare if exact else None


def _reads_the_same(layer: NormalLayer, seen: Pair, factor: Factor, axis: int) -> bool:
    """Whether pools that do not exist, and count as zeros of the padding, cover no row that exists.

    Those before the map cover the rows of its beginning if pools overlap; those behind it cover the
    rows that the pool dropped because they do not fill one.
    """
    conv, size, stride = layer.operation, factor.size[axis], factor.stride[axis]
    pooled, rows = layer.input_shape[1 + axis], seen[axis]
    kernel, step, padding = conv.kernel[axis], conv.stride[axis], conv.padding[axis]
    last_output = layer.output_shape[1 + axis] - 1
    # Of the reads before the map and behind it, those next to it: the others cover less of it.
    before = min(last_output, (padding - 1) // step) * step - padding
    is_apart = not padding or min(-1, before + kernel - 1) * stride + size <= 0
    first = max(0, -(-(pooled + padding - kernel + 1) // step))
    return is_apart and (first > last_output or max(pooled, first * step - padding) * stride >= rows)


def folded(layer: NormalLayer, bare: NormalLayer, factor: Factor, bounds: Bounds) -> NormalLayer | None:
    """The layer of `folded_shape` with its weights; None where these leave the bits."""
    weight: Any = layer.operation.weight
    if weight is None:
        return bare
    spread = _spread(weight, bare.operation.kernel, factor, bounds.limits.weight_bits)
    return None if spread is None else replace(bare, operation=replace(bare.operation, weight=spread))


def _spread(weight: Any, kernel: Pair, factor: Factor, bits: int) -> Any:
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


def fold_note(
    before: NormalLayer, after: NormalLayer, edges: tuple[Edge, ...], moved: tuple[Edge, ...]
) -> str:
    """What became of the pools and the kernel."""
    old, new = before.operation, after.operation
    parts = []
    for edge, rest in zip(edges, moved, strict=True):
        size, left = size_and_stride(edge.pool)[0], size_and_stride(rest.pool)[0]
        parts.append(f"the pool {times(size)} behind {edge.source} became {times(left)}")
    kernel = f"the rest went into the kernel, {times(old.kernel)} became {times(new.kernel)}"
    return f"{before.title}: {', '.join(parts)}, {kernel}; its map stays the same{event_remark(after)}"
