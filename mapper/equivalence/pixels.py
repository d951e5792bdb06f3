"""Images as shares of full light, and how others become such."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mapper.errors import EventError, Finding

__all__ = ["check_image"]


def check_image(where: str, image: NDArray[Any]) -> None:
    """Refuse values outside 0..1; of many images at once, the first axis counts samples.

    Raises
    ------
    EventError
        Some are no shares of full light.
    """
    if image.dtype.kind == "f" and not (finite := np.isfinite(image)).all():
        sample = int(np.argmin(finite.reshape(len(image), -1).all(axis=1)))
        first = f", the first in sample {sample}" if image.ndim > 3 else ""
        value = str(image[~finite][0])
        step = "Leave such samples out, or give what is not finite a value of 0..1"
        raise EventError(Finding(where, f"holds values that are not finite{first}", value, "0..1", "", step))
    if image.dtype.kind not in "biuf" or not np.all((image >= 0) & (image <= 1)):
        value = f"{image.min():g} to {image.max():g}" if image.dtype.kind in "biuf" else str(image.dtype)
        step = f"Divide them by {_full(image)}, or by what else is full light in them"
        if image.dtype.kind in "if" and image.min() < 0:
            step = "It looks normalised: undo Normalize(mean, std) by x * std + mean, or scale it to 0..1"
        raise EventError(Finding(where, "holds pixels that are no share of full", value, "0..1", "", step))


def _full(image: NDArray[Any]) -> str:
    """What a pixel of most light is in images that are no shares: the largest number of so many bits."""
    if image.dtype.kind in "iu":
        bits = image.dtype.itemsize * 8 - (image.dtype.kind == "i")
        # Bytes and words are often kept in a wider type.
        bits = next((fewer for fewer in (8, 16) if fewer < bits and image.max() < 1 << fewer), bits)
    else:
        bits = next((bits for bits in (8, 16) if image.max() < 1 << bits), 0)
    return f"{(1 << bits) - 1} (of {bits} bits)" if bits else "their largest value"
