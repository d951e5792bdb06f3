"""Strides that do not matter, because the map they make has one row or column.

Also the home of what all rewrites of this package share: the limits that every core of a chip keeps,
whether a layer keeps them, and which stride makes a given number of outputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from hwspec.memory import kernel_words
from hwspec.schema import ChipSpec, CoreSpec, LayerLimits
from mapper.normal_form import NormalLayer
from mapper.operations import Pair

__all__ = [
    "Bounds",
    "bounds_apart",
    "common_bounds",
    "expressible",
    "legal_stride",
    "stride_note",
    "strided",
    "times",
]


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a rewritten layer must keep on a chip.

    Attributes
    ----------
    limits
        What all cores allow in common; strides ascending, and possibly none.
    kernel_words
        Words of the largest kernel memory.
    """

    limits: LayerLimits
    kernel_words: int


def common_bounds(chip: ChipSpec) -> Bounds:
    """The tightest of the cores' limits: what keeps them is expressible on every core."""
    cores = [entry.core for entry in chip.core_classes]
    every = [core.limits for core in cores]
    tightest: dict[str, object] = {
        name: min(getattr(limits, name) for limits in every)
        for name in LayerLimits.model_fields
        if name.endswith(("_max", "_bits"))
    }
    strides = set.intersection(*(set(limits.strides) for limits in every))
    tightest |= {
        "kernel_size_min": max(limits.kernel_size_min for limits in every),
        "kernel_square": any(limits.kernel_square for limits in every),
        "strides": tuple(sorted(strides)),
    }
    return Bounds(every[0].model_copy(update=tightest), max(core.kernel_words for core in cores))


def bounds_apart(chip: ChipSpec) -> tuple[Bounds, ...]:
    """The bounds of cores with the same limits, where not all cores have the same."""
    apart: dict[LayerLimits, list[CoreSpec]] = {}
    for entry in chip.core_classes:
        apart.setdefault(entry.core.limits, []).append(entry.core)
    if len(apart) == 1:
        return ()
    return tuple(Bounds(limits, max(core.kernel_words for core in cores)) for limits, cores in apart.items())


def expressible(layer: NormalLayer, bounds: Bounds) -> bool:
    """Whether a convolution keeps every limit that a rewrite of kernel, stride or input map can break.

    Of the kernel memory, one output feature must fit: more of them may be spread over cores.
    """
    conv, limits = layer.operation, bounds.limits
    features, height, width = layer.input_shape
    sizes_fit = limits.kernel_size_min <= min(conv.kernel) and max(conv.kernel) <= limits.kernel_size_max
    square = conv.kernel[0] == conv.kernel[1] or not limits.kernel_square
    strides_fit = conv.stride[0] in limits.strides and conv.stride[1] in limits.strides
    map_fits = height <= limits.input_height_max and width <= limits.input_width_max
    memory_fits = kernel_words(features, 1, *conv.kernel) <= bounds.kernel_words
    padding_fits = max(conv.padding) <= limits.padding_max
    return sizes_fit and square and strides_fit and padding_fits and map_fits and memory_fits


def legal_stride(room: int, stride: int, outputs: int, allowed: Sequence[int]) -> int | None:
    """The stride to use for a given number of outputs, or None if no legal one makes it.

    From ``outputs = floor(room / stride) + 1`` (Speck Dev Kit Datasheet V1.0, 3.2.4.1): several
    outputs fix the stride, as their distance; a single one is made by every stride above the room.

    Parameters
    ----------
    room
        Input size + 2 * padding - kernel size: how far the kernel can move.
    stride
        The present one, kept where it is legal and makes these outputs.
    outputs
        What the layer makes along this axis.
    allowed
        Legal strides, ascending.
    """
    if room < 0:
        return None
    if stride in allowed and room // stride + 1 == outputs:
        return stride
    if outputs == 1:
        return next((entry for entry in allowed if entry > room), None)
    return None


def strided(layer: NormalLayer, bounds: Bounds) -> NormalLayer:
    """The layer with the smallest legal stride wherever its own is not legal and does not matter."""
    conv = layer.operation
    allowed = bounds.limits.strides
    if conv.stride[0] in allowed and conv.stride[1] in allowed:
        return layer
    strides: list[int] = []
    for axis, stride in enumerate(conv.stride):
        room = layer.input_shape[1 + axis] + 2 * conv.padding[axis] - conv.kernel[axis]
        outputs = layer.output_shape[1 + axis]
        strides.append(legal_stride(room, stride, outputs, allowed) or stride)
    pair: Pair = (strides[0], strides[1])
    return layer if pair == conv.stride else replace(layer, operation=replace(conv, stride=pair))


def stride_note(layer: NormalLayer) -> str:
    """What `strided` changed of this layer."""
    before = times(layer.operation.stride)
    return f"{layer.title}: stride {before} became legal; its map of one value stays the same"


def times(pair: Pair) -> str:
    """Height and width as notes write them: "3x4"."""
    return f"{pair[0]}x{pair[1]}"
