"""Kernels that are not square, where cores hold squares only: rows or columns of zeros."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from mapper.normal_form import NormalLayer
from mapper.operations import Convolution, Pair
from mapper.passes.legalize.stride import Bounds, expressible, legal_stride, times

__all__ = ["event_remark", "square_note", "squared"]


def squared(layer: NormalLayer, bounds: Bounds) -> NormalLayer:
    """The layer with the smallest square kernel that computes the same and is expressible, or itself.

    With a zeros before and b after the k taps of an axis, output o is
    ``sum_i w[i] x[o * stride - (padding + a) + a + i]``: the same, if the padding grows by a. What
    can change is the number of outputs, as the room ``input + 2 * padding - kernel`` grows by a - b.
    It stays the same for a = b; else by the floor of a stride >= 2, or, for a single output, with
    a larger stride. So an axis of stride 1 and several outputs must grow by an even number, and one
    with a single output until its room is below a legal stride: the longer axis may have to grow too.
    """
    conv = layer.operation
    if conv.kernel[0] == conv.kernel[1] or not bounds.limits.kernel_square:
        return layer
    for size in range(max(conv.kernel), bounds.limits.kernel_size_max + 1):
        rows, columns = (_growth(layer, axis, size, bounds) for axis in (0, 1))
        if rows is None or columns is None:
            continue
        grown = replace(layer, operation=_grown(conv, size, (rows[0], columns[0]), (rows[1], columns[1])))
        if grown.output_shape == layer.output_shape and expressible(grown, bounds):
            return grown
    return layer


def _growth(layer: NormalLayer, axis: int, size: int, bounds: Bounds) -> Pair | None:
    """(zeros before, stride) of one axis with the least padding."""
    conv, outputs = layer.operation, layer.output_shape[1 + axis]
    for before in range(size - conv.kernel[axis] + 1):
        room = layer.input_shape[1 + axis] + 2 * (conv.padding[axis] + before) - size
        stride = legal_stride(room, conv.stride[axis], outputs, bounds.limits.strides)
        if stride is not None:
            return before, stride
    return None


def _grown(conv: Convolution, size: int, before: Pair, stride: Pair) -> Convolution:
    after = (size - conv.kernel[0] - before[0], size - conv.kernel[1] - before[1])
    padding = (conv.padding[0] + before[0], conv.padding[1] + before[1])
    weight: Any = conv.weight
    if weight is not None:
        weight = np.pad(weight, ((0, 0), (0, 0), (before[0], after[0]), (before[1], after[1])))
    return replace(conv, kernel=(size, size), stride=stride, padding=padding, weight=weight)


def event_remark(layer: NormalLayer) -> str:
    """What to add to a note on a layer whose taps changed: whether single events still act the same.

    A tap touches a neuron even if it adds nothing. A neuron that a weight has lifted beyond twice its
    threshold emits one spike at each touch, so that zero taps can make it emit earlier.
    """
    weight: Any = layer.operation.weight
    if weight is None:
        return ""
    threshold = np.reshape(layer.neuron.threshold, (-1, 1, 1, 1))
    if not np.any(weight > threshold):
        return ""
    return "; a weight exceeds the threshold: exact per time step, but single events may act differently"


def square_note(layer: NormalLayer, grown: NormalLayer) -> str:
    """What `squared` changed."""
    old, new = layer.operation, grown.operation
    changes = [f"kernel {times(old.kernel)} became {times(new.kernel)} with zeros"]
    if old.padding != new.padding:
        changes.append(f"padding {times(old.padding)} became {times(new.padding)}")
    if old.stride != new.stride:
        changes.append(f"stride {times(old.stride)} became {times(new.stride)}")
    return f"{layer.title}: {', '.join(changes)}; its map stays the same{event_remark(grown)}"
