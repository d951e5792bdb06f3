"""Layers in the shape in which they were given, whatever became of them for a chip."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mapper.network import Network, Origin
from mapper.operations import Pair

__all__ = ["origin_of", "own_events", "own_map", "own_shape"]


def origin_of(network: Network, name: str) -> Origin | None:
    """Where a layer as it was given is found; None of a network that was not rewritten."""
    return next((origin for origin in network.origins if origin.name == name), None)


def own_shape(origin: Origin, size: Pair) -> tuple[int, int, int]:
    """(features, height, width) of what there is of a layer in a map of (height, width)."""
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


def own_events(events: NDArray[Any], origin: Origin | None) -> NDArray[Any]:
    """Spikes of a layer here, with fields p (feature), y and x, as those of the given layer."""
    if origin is None:
        return events
    (features, height, width), (a, b) = origin.shape, origin.phases
    phase, feature = np.divmod(events["p"].astype(np.int64) - origin.start, features)
    row, column = np.divmod(phase, b)
    y, x = events["y"].astype(np.int64) * a + row, events["x"].astype(np.int64) * b + column
    is_own = (phase >= 0) & (phase < a * b) & (y < height) & (x < width)
    own = events[is_own]
    own["p"], own["y"], own["x"] = feature[is_own], y[is_own], x[is_own]
    return own
