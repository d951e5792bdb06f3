"""Layers in the shape in which they were given, whatever became of them on the chip."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mapper.emit.shared.interface import Interface
from mapper.network import Origin

__all__ = ["own_map", "own_places", "own_shape", "shown_layers"]


def shown_layers(interface: Interface) -> dict[str, tuple[str, Origin | None]]:
    """By what results call a layer, the interface's layer that holds it, and where in it; None for all of it.

    First the layers as they were given, in their order, then those that only pass on what others send.
    """
    origins = [entry.origin for entry in interface.origins or ()]
    held = {origin.layer for origin in origins}
    shown: dict[str, tuple[str, Origin | None]] = {origin.name: (origin.layer, origin) for origin in origins}
    return shown | {layer.name: (layer.name, None) for layer in interface.layers if layer.name not in held}


def own_shape(origin: Origin) -> tuple[int, int, int]:
    """(features, height, width) of what is there of a layer: whole phases only."""
    (features, height, width), (a, b) = origin.shape, origin.phases
    return features, height // a * a, width // b * b


def own_map(spikes: NDArray[Any], origin: Origin | None) -> NDArray[Any]:
    """What a layer here did, (..., features, height, width), as what the given layer did."""
    if origin is None:
        return spikes
    (features, height, width), (a, b) = own_shape(origin), origin.phases
    part = spikes[..., origin.start : origin.start + a * b * features, :, :]
    head = part.shape[:-3]
    whole = part.reshape(*head, a, b, features, height // a, width // b)
    return np.moveaxis(whole, (-5, -4), (-3, -1)).reshape(*head, features, height, width)


def own_places(
    features: NDArray[Any], rows: NDArray[Any], columns: NDArray[Any], origin: Origin
) -> tuple[NDArray[np.bool_], NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Which spikes are the given layer's, and their features, rows and columns there."""
    (a, b), count = origin.phases, origin.shape.features
    there = features.astype(np.int64) - origin.start
    is_own = (there >= 0) & (there < a * b * count)
    phase, feature = np.divmod(there, count)
    return is_own, feature, rows * a + phase // b, columns * b + phase % b
