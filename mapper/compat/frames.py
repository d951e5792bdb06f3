"""Frames that a `DynapcnnNetwork` is given: of which tensors it can run, and how others become such."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from mapper.errors import Finding, NetworkError
from mapper.wording import turned

__all__ = ["checked_frames", "way_out"]

_AXES = "(batch * time, features, height, width)"
# Floats of single precision hold every whole number up to here.
_SINGLE_MAX = 1 << 24


def checked_frames(
    x: Any, shape: tuple[int, int, int], view: Callable[[torch.Tensor], torch.Tensor] | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Frames in floats, as they are given and as the network reads them: (batch * time, ...).

    Parameters
    ----------
    shape
        (features, height, width) that the network reads.
    view
        What the sensor stage makes of the sensor's map; None where there is none.

    Raises
    ------
    NetworkError
        It is no tensor, or one without values, of no spike counts, or of another shape.
    """
    if isinstance(x, torch.Tensor) and x.ndim and not len(x):
        raise NetworkError(Finding("input", "holds no frames", tuple(x.shape), _AXES))
    if not isinstance(x, torch.Tensor) or x.ndim == 0:
        made = 'torch.tensor(numpy.array(x, "float32")) is one of this array'
        step = f"{made}: {_AXES}" if _is_array(x) else f"Give a tensor {_AXES}"
        raise NetworkError(Finding("input", "is no tensor of frames", type(x).__name__, next_step=step))
    if x.is_complex():
        raise NetworkError(Finding("input", "must be spike counts", f"a tensor of {x.dtype}"))
    if x.device.type == "meta":
        raise NetworkError(Finding("input", "has no values", "a tensor on the device meta"))
    frames = _floats(x)
    seen = frames if view is None else view(frames)
    given = tuple(seen.shape)
    if len(given) != 4 or given[1:] != shape:
        limit = f"(batch * time, {', '.join(map(str, shape))})"
        raise NetworkError(Finding("input", f"must be {_AXES}", given, limit, "", way_out(given, shape)))
    return frames, seen


def _is_array(x: Any) -> bool:
    return hasattr(x, "__array__") and getattr(x, "size", 0) != 0 and getattr(x, "ndim", 0) > 0


def _floats(x: torch.Tensor) -> torch.Tensor:
    """The same values in floats that a convolution takes."""
    x = x.dequantize() if x.is_quantized else x
    x = x if x.layout == torch.strided else x.to_dense()
    if not x.is_floating_point():
        wide = x.double() if x.dtype.itemsize > 2 else x
        is_large = wide.is_floating_point() and float(wide.detach().abs().max()) > _SINGLE_MAX
        return wide if is_large else x.to(torch.get_default_dtype())
    # torch computes nothing with floats of one byte.
    return x if x.dtype.itemsize > 1 else x.float()


def way_out(given: Sequence[int], shape: Sequence[int]) -> str:
    """What to give instead of frames `x`; "" where nothing makes frames of them.

    Parameters
    ----------
    given
        The shape of `x`, of any number of axes.
    shape
        (features, height, width) of a frame.
    """
    if line := turned("x", given, shape, 1, "permute"):
        return f"Give {line}"
    if line := turned("x", given, shape, 0, "permute"):
        return f"Give {line}[None]".replace("[None][None]", "[None, None]")
    line = turned("x", given, shape, 2, "permute")
    return f"Set batch_size to {given[0]} and give {line}.flatten(0, 1)" if line else ""
