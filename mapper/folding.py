"""Arithmetic on weight operations: what stands behind or around a kernel, written into it.

All of it is exact up to one rounding of each weight. Operations without weights keep having none.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np

from mapper.integers import widened
from mapper.operations import BatchNorm, Convolution, Dropout, Linear, Pair, Pool, Scale

__all__ = ["Between", "dense", "feature_scale", "fitted", "folded", "linear_part", "placed", "zero_padded"]

_NO_FACTOR = "it is scaled by no number"
# What may stand between weights and neurons.
Between: TypeAlias = BatchNorm | Dropout | Pool | Scale


def folded(operation: Convolution | Linear, between: Iterable[Between]) -> Convolution | Linear:
    """The operation that computes what it and the steps behind it compute together.

    Weights are rounded to their own type after each step. Output o of a pool of size k and stride t behind a
    kernel of extent e and stride s is ``sum_u sum_i w[i] x[(o * t + u) * s - padding + i]``, u < k: a
    convolution of extent ``e + (k - 1) * s`` and stride ``s * t`` whose tap j is the sum of all w[i] with
    ``i + u * s = j``. It reads no other zeros than before, and its map is the pooled one, as
    ``floor((floor(room / s) + 1 - k) / t) = floor((room - (k - 1) * s) / (s * t))``.

    Raises
    ------
    ValueError
        A pool behind a linear layer, whose outputs are no map.
    """
    for step in between:
        if isinstance(step, BatchNorm):
            operation = _normalised(operation, step)
        elif isinstance(step, Scale):
            operation = _scaled(operation, step.factor)
        elif isinstance(step, Pool):
            if isinstance(operation, Linear):
                raise ValueError("pools the outputs of a linear layer, which are no map")
            operation = _pooled(operation, step)
    return operation


def linear_part(step: Between) -> Between:
    """The step without what it adds, as one addend of a sum sees it where another one carries that."""
    if not isinstance(step, BatchNorm) or step.mean is None or step.shift is None:
        return step
    return replace(step, mean=np.zeros_like(step.mean), shift=np.zeros_like(step.shift))


def feature_scale(factors: Any) -> Scale | BatchNorm:
    """Factors between weights and neurons as a step: one for all, or one a feature.

    Parameters
    ----------
    factors
        One number, or (features,) or (features, height, width), the same all over a feature.

    Raises
    ------
    ValueError
        Factors that are not finite, all zero, or differ within a feature.
    """
    array = np.asarray(factors, np.float32)
    if array.size == 0 or not np.all(np.isfinite(array)):
        raise ValueError("scales by numbers that are not finite")
    if not np.any(array):
        raise ValueError("scales by 0, which makes all weights zero")
    if np.all(array == array.ravel()[0]):
        return Scale(float(array.ravel()[0]))
    flat = array.reshape(array.shape[0], -1)
    if np.any(flat != flat[:, :1]):
        raise ValueError("scales neurons of one feature differently; a core has one kernel for all")
    zeros = np.zeros_like(flat[:, 0])
    return BatchNorm(zeros, np.ones_like(zeros), flat[:, 0].copy(), zeros, 0.0)


def dense(conv: Convolution, in_features: int) -> Convolution:
    """The convolution with one group and dilation 1: zeros where a kernel had nothing.

    Parameters
    ----------
    in_features
        Features that it reads, of all groups together.
    """
    if conv.groups == 1 and conv.dilation == (1, 1):
        return conv
    weight: Any = conv.weight
    if weight is not None:
        reads, makes = in_features // conv.groups, conv.out_features // conv.groups
        (dy, dx), values = conv.dilation, weight
        weight = np.zeros((conv.out_features, in_features, *conv.extent), values.dtype)
        for group in range(conv.groups):
            rows = slice(group * makes, (group + 1) * makes)
            weight[rows, group * reads : (group + 1) * reads, ::dy, ::dx] = values[rows]
    return replace(conv, kernel=conv.extent, dilation=(1, 1), groups=1, weight=weight)


def fitted(taps: Sequence[Pair], size: int, stride: int, outputs: int) -> Pair:
    """The least (padding, kernel) of one axis whose outputs read what each of several kernels reads.

    Output o of a kernel with f zero rows before the map reads ``x[o * stride - f + i]``. With a padding
    p >= f it does so p - f taps later. What must be found is the number of outputs,
    ``floor((size + 2 * p - kernel) / stride) + 1``: zeros behind the taps lower it, and a larger padding,
    whose taps in front are zeros, raises it by half as much as the padding alone would.

    Parameters
    ----------
    taps
        (extent, rows of zeros before the map) of every kernel.
    """
    padding = max(0, *(front for _, front in taps))
    reach = max(extent - front for extent, front in taps)
    least = (outputs - 1) * stride
    padding += max(0, least - (size + padding - reach))
    surplus = max(0, size + padding - reach - (least + stride - 1))
    return padding, padding + reach + surplus


def placed(weight: Any, kernel: Pair, offset: Pair) -> Any:
    """A kernel among zeros, from a tap (row, column) on; shape (out, in, *kernel)."""
    (ky, kx), (y, x) = weight.shape[2:], offset
    if weight.shape[2:] == kernel:
        return weight
    wide = np.zeros((*weight.shape[:2], *kernel), weight.dtype)
    wide[:, :, y : y + ky, x : x + kx] = weight
    return wide


def zero_padded(conv: Convolution, size: Pair, margins: tuple[Pair, Pair]) -> Convolution:
    """The convolution with rows and columns of zeros around its map taken into padding and kernel.

    The padding takes what is the same on both sides; the rest makes the kernel larger.

    Parameters
    ----------
    size
        (height, width) of the map without the zeros.
    margins
        Rows of zeros (above, below) and columns (left, right), each >= 0.
    """
    fits: list[Pair] = []
    for axis, (before, after) in enumerate(margins):
        extent, stride, front = conv.extent[axis], conv.stride[axis], conv.padding[axis]
        room = size[axis] + before + after + 2 * front - extent
        if room < 0:
            return conv
        fits.append(fitted([(extent, front + before)], size[axis], stride, room // stride + 1))
    (top, height), (left, width) = fits
    padding, kernel = (top, left), (height, width)
    if kernel == conv.extent:
        return replace(conv, padding=padding)
    conv = _undilated(conv)
    weight: Any = conv.weight
    if weight is not None:
        row, column = top - conv.padding[0] - margins[0][0], left - conv.padding[1] - margins[1][0]
        weight = placed(weight, kernel, (row, column))
    return replace(conv, kernel=kernel, padding=padding, weight=weight)


def _normalised(operation: Convolution | Linear, norm: BatchNorm) -> Convolution | Linear:
    if operation.weight is None:
        return replace(operation, has_bias=True)
    weight: Any = widened(operation.weight)
    mean, variance, scale, shift = (
        np.asarray(a, np.float64) for a in (norm.mean, norm.variance, norm.scale, norm.shift)
    )
    factor = scale / np.sqrt(variance + norm.epsilon)
    bias: Any = 0.0 if operation.bias is None else operation.bias
    wide = (weight * factor.reshape(-1, *[1] * (weight.ndim - 1))).astype(weight.dtype)
    shifted = ((bias - mean) * factor + shift).astype(weight.dtype)
    made = operation.declared
    made = None if made is None else made.times(factor, "its batch norm scales features differently")
    return replace(operation, weight=wide, bias=shifted, has_bias=True, declared=made)


def _scaled(operation: Convolution | Linear, factor: float) -> Convolution | Linear:
    if operation.weight is None:
        return operation
    weight: Any = widened(operation.weight)
    bias: Any = operation.bias
    scaled = None if bias is None else (bias * factor).astype(bias.dtype)
    made = operation.declared
    made = None if made is None else made.times(factor, _NO_FACTOR)
    return replace(operation, weight=(weight * factor).astype(weight.dtype), bias=scaled, declared=made)


def _undilated(conv: Convolution) -> Convolution:
    weight: Any = conv.weight
    if weight is not None and conv.dilation != (1, 1):
        values, (dy, dx) = weight, conv.dilation
        weight = np.zeros((*values.shape[:2], *conv.extent), values.dtype)
        weight[:, :, ::dy, ::dx] = values
    return replace(conv, kernel=conv.extent, dilation=(1, 1), weight=weight)


def _pooled(conv: Convolution, pool: Pool) -> Convolution:
    conv = _undilated(conv)
    (ky, kx), (sy, sx), (rows, columns) = conv.kernel, conv.stride, pool.size
    kernel = (ky + (rows - 1) * sy, kx + (columns - 1) * sx)
    stride = (sy * pool.stride[0], sx * pool.stride[1])
    divisor = 1 if pool.kind == "sum" else pool.divisor or rows * columns
    weight: Any = None if conv.weight is None else widened(conv.weight)
    bias: Any = conv.bias
    if weight is not None:
        total = np.zeros((*weight.shape[:2], *kernel))
        for row, column in np.ndindex(pool.size):
            total[:, :, row * sy : row * sy + ky, column * sx : column * sx + kx] += weight
        weight = (total / divisor).astype(weight.dtype)
    if bias is not None:
        bias = (bias * (rows * columns / divisor)).astype(bias.dtype)
    made = conv.declared
    made = None if made is None else made.times(1 / divisor, _NO_FACTOR)
    return replace(conv, kernel=kernel, stride=stride, weight=weight, bias=bias, declared=made)
