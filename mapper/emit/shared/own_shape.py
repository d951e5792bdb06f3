"""Layers in the shape in which they were given, whatever became of them on the chip."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mapper.emit.shared.interface import Interface
from mapper.network import Origin
from mapper.operations import Pair

__all__ = ["own_map", "own_places", "own_shape", "shown_layers"]


def shown_layers(interface: Interface) -> dict[str, tuple[str, Origin | None]]:
    """By what results call a layer, the interface's layer that holds it, and where in it; None for all of it.

    First the layers as they were given, in their order, then those that only pass on what others send.
    """
    origins = [entry.origin for entry in interface.origins or ()]
    held = {origin.layer for origin in origins}
    shown: dict[str, tuple[str, Origin | None]] = {origin.name: (origin.layer, origin) for origin in origins}
    return shown | {layer.name: (layer.name, None) for layer in interface.layers if layer.name not in held}


def own_shape(origin: Origin, size: Pair) -> tuple[int, int, int]:
    """(features, height, width) of what is there of a layer, of a map here of (height, width)."""
    (features, height, width), (a, b) = origin.shape, origin.phases
    return features, min(height, size[0] * a), min(width, size[1] * b)


def own_map(spikes: NDArray[Any], origin: Origin | None) -> NDArray[Any]:
    """What a layer here did, (..., features, height, width), as what the given layer did."""
    if origin is None:
        return spikes
    *head, _, rows, columns = spikes.shape
    (features, height, width), (a, b) = own_shape(origin, (rows, columns)), origin.phases
    part = spikes[..., origin.start : origin.start + a * b * features, :, :]
    apart = np.moveaxis(part.reshape(*head, a, b, features, rows, columns), (-5, -4), (-3, -1))
    return apart.reshape(*head, features, rows * a, columns * b)[..., :height, :width]


def own_places(
    features: NDArray[Any], rows: NDArray[Any], columns: NDArray[Any], origin: Origin
) -> tuple[NDArray[np.bool_], NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Which spikes are the given layer's, and their features, rows and columns there."""
    (a, b), count = origin.phases, origin.shape.features
    there = features.astype(np.int64) - origin.start
    phase, feature = np.divmod(there, count)
    y, x = rows.astype(np.int64) * a + phase // b, columns.astype(np.int64) * b + phase % b
    is_own = (there >= 0) & (there < a * b * count) & (y < origin.shape.height) & (x < origin.shape.width)
    return is_own, feature, y, x
