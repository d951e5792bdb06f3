"""What a sinabs `DVSLayer` does to frames before its pool: merge, crop, mirror, swap."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from mapper.compat.constructor import LeftOut
from mapper.compat.frames import way_out
from mapper.errors import Finding, NetworkError, warn_caller

__all__ = ["SensorView", "sensor_is_wanted", "sensor_view", "stage_as_set"]


@dataclass(frozen=True, slots=True)
class SensorView:
    """Frames of the whole sensor as the network reads them.

    Attributes
    ----------
    size
        (height, width) of the sensor.
    rows, columns
        The cut-out [start, stop), in pixels.
    mirror
        (vertical, horizontal).
    swap_axes
        Rows become columns.
    is_merged
        Both polarities count as one.
    """

    size: tuple[int, int]
    rows: tuple[int, int]
    columns: tuple[int, int]
    mirror: tuple[bool, bool]
    swap_axes: bool
    is_merged: bool

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """(time, features, height, width) of the sensor -> the same of the network's input.

        Raises
        ------
        NetworkError
            The frames are not the sensor's.
        """
        if x.ndim != 4 or tuple(x.shape[2:]) != self.size or x.shape[1] not in (1, 2):
            given, limit = tuple(x.shape), f"(time, 2, {self.size[0]}, {self.size[1]})"
            step = way_out(given, (2, *self.size)) or way_out(given, (1, *self.size))
            raise NetworkError(
                Finding("input", "has another shape than the sensor", given, limit, next_step=step)
            )
        x = x.sum(1, keepdim=True) if self.is_merged else x
        # Cut and mirrored before the pool instead of behind it: the same, since the cut is a multiple of it.
        x = x[:, :, slice(*self.rows), slice(*self.columns)]
        x = x.flip([axis for axis, flipped in zip((2, 3), self.mirror, strict=True) if flipped])
        return x.transpose(2, 3) if self.swap_axes else x


def sensor_view(snn: nn.Module) -> SensorView | None:
    """The view of a module's `DVSLayer`, or None if it has none."""
    dvs_layers = [module for module in snn.modules() if type(module).__name__ == "DVSLayer"]
    if not dvs_layers:
        return None
    layer: Any = dvs_layers[0]
    height, width = tuple(layer.input_shape)[-2:]
    size = layer.pool_layer.kernel_size
    ky, kx = size if isinstance(size, tuple) else (size, size)
    crop, flip = layer.crop_layer, layer.flip_layer
    rows, columns = (0, height // ky), (0, width // kx)
    if crop is not None:
        rows, columns = (crop.top_crop, crop.bottom_crop), (crop.left_crop, crop.right_crop)
    return SensorView(
        (height, width),
        (rows[0] * ky, rows[1] * ky),
        (columns[0] * kx, columns[1] * kx),
        (bool(getattr(flip, "flip_y", False)), bool(getattr(flip, "flip_x", False))),
        bool(getattr(flip, "swap_xy", False)),
        bool(layer.merge_polarities),
    )


def stage_as_set(stage: Any, is_on: bool) -> Any:
    """A copy of the module's `DVSLayer` with its pixels as the network has them; None without one."""
    own = copy.deepcopy(stage)
    if own is not None:
        own.disable_pixel_array = not is_on
    return own


def sensor_is_wanted(dvs_input: bool | LeftOut | None, stage: Any) -> bool:
    """Whether the sensor's own events feed the network."""
    if stage is None:
        return dvs_input is True
    if dvs_input is None:
        return not stage.disable_pixel_array
    if isinstance(dvs_input, LeftOut):
        text = "dvs_input was left out: the DVS layer's stage is configured, and the sensor stays off"
        warn_caller(f"{text}. Write dvs_input=True, False, or None for what the layer says", UserWarning)
        return False
    return dvs_input
