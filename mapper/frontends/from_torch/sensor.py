"""The sensor stage: what a sinabs `DVSLayer` is to a network, and what it does to frames."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mapper.asking import INPUT_SHAPE
from mapper.frontends.from_torch.leaves import pair_of, plain_pool
from mapper.frontends.from_torch.values import MisfitError, Part, RefusalError, Signal, Value, followed
from mapper.network import DvsSettings, Input
from mapper.operations import Pool, Shape

__all__ = ["sensed", "sensor_stage", "stage_of"]


def sensor_stage(
    module: Any, value: Value, inputs: Mapping[str, Input], *, is_only_reader: bool
) -> tuple[Input, Signal]:
    """The input that a `DVSLayer` makes of what it reads, and the signal it gives.

    Raises
    ------
    RefusalError
        It is not the first and only reader of an input, or states another shape.
    """
    part = value.parts[0] if isinstance(value, Signal) else Part("")
    alone = isinstance(value, Signal) and value.parts == (Part(part.source),) and part.source in inputs
    if not alone or not is_only_reader:
        problem = "the sensor stage comes first, and all that reads the sensor reads it behind the stage"
        raise RefusalError(problem, "Make the DVSLayer the only reader of the input")
    shape, settings, pool = stage_of(module)
    given = inputs[part.source].shape
    if given[1:] != tuple(module.input_shape)[-2:]:
        stated = "x".join(map(str, module.input_shape))
        raise MisfitError("states another input shape", f"Leave {INPUT_SHAPE} out", given, stated)
    signal = Signal((part,), shape, tuple(shape), value.leads)
    return Input(part.source, shape, settings), followed(signal, pool) if pool else signal


def stage_of(module: Any) -> tuple[Shape, DvsSettings, Pool | None]:
    """The input that a sinabs `DVSLayer` stands for, and the pool on the way out of it.

    The shape is that of the cut-out times the pool, so that what lies outside the cut-out does not exist.

    Raises
    ------
    RefusalError
        Sizes that do not follow, or that this program cannot write down.
    """
    size = tuple(module.input_shape)[-2:]
    height, width = pair_of(size, "input_shape")
    features = 1 if module.merge_polarities else 2
    pool = plain_pool("sum", Shape(features, height, width), module.pool_layer.kernel_size) or Pool(
        "sum", (1, 1), (1, 1)
    )
    ky, kx = pool.size
    top, left, bottom, right = 0, 0, height // ky, width // kx
    crop = module.crop_layer
    if crop is not None:
        (top, bottom) = pair_of((crop.top_crop, crop.bottom_crop), "crop")
        (left, right) = pair_of((crop.left_crop, crop.right_crop), "crop")
    if not (top < bottom <= height // ky and left < right <= width // kx):
        problem = "the crop does not lie in the pooled map"
        raise MisfitError(problem, "", ((top, bottom), (left, right)), f"{height // ky}x{width // kx}")
    flip = module.flip_layer
    swap = bool(getattr(flip, "swap_xy", False))
    # The stage pools, cuts, mirrors, and swaps last: behind it, its rows of pools are the network's columns.
    rows, columns = (right - left, bottom - top) if swap else (bottom - top, right - left)
    ky, kx = (kx, ky) if swap else (ky, kx)
    pool = Pool("sum", (ky, kx), (ky, kx))
    mirror = (bool(getattr(flip, "flip_y", False)), bool(getattr(flip, "flip_x", False)))
    settings = DvsSettings(origin=(top, left), mirror=mirror, swap_axes=swap)
    shape = Shape(features, rows * ky, columns * kx)
    return shape, settings, None if pool.size == (1, 1) else pool


def sensed(sensor: Any, entry: Input, frame: Any) -> Any:
    """A frame of the whole sensor as the stage prepares it, before its pool; a host's frame as it is.

    Parameters
    ----------
    sensor
        The `DVSLayer`, or None.
    frame
        (features, height, width).
    """
    if entry.dvs is None or sensor is None:
        return frame
    _, settings, pool = stage_of(sensor)
    frame = frame.sum(0, keepdims=True) if entry.shape.features < frame.shape[0] else frame
    (top, left), (ky, kx) = settings.origin, pool.size if pool else (1, 1)
    ky, kx = (kx, ky) if settings.swap_axes else (ky, kx)
    size = entry.shape[:0:-1] if settings.swap_axes else entry.shape[1:]
    frame = frame[:, top * ky : top * ky + size[0], left * kx : left * kx + size[1]]
    frame = np.flip(frame, tuple(n + 1 for n, mirrored in enumerate(settings.mirror) if mirrored))
    return frame.transpose(0, 2, 1) if settings.swap_axes else frame
