"""In which direction weights are rounded: each to the nearest integer, or so that sums stay what they were.

Nearest integers lose least of each weight, but what is lost adds up over the hundreds of weights of a
feature, and moves its drive like a bias. Rounded in sum, all weights of a feature add up to within half a
unit of what they did, those of each of its kernels to within a unit, and none moves by a whole one. Which go
up is decided as seats are apportioned, by largest remainder (Hamilton's method).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mapper.normal_form import NormalLayer
from mapper.passes.quantize import layer_scale

__all__ = ["rounded_in_sum"]

# What single precision makes of an integer times a scale and back is nearer to it than this.
_NOISE = 1e-3


def rounded_in_sum(layer: NormalLayer) -> NormalLayer:
    """The layer with weights on the grid of its own scale, which `quantize` rounds to just these.

    Parameters
    ----------
    layer
        In floats.
    """
    weight: Any = layer.operation.weight
    scale = layer_scale(layer)
    units = np.asarray(weight, np.float64) * float(scale)
    units = np.where(np.abs(units - np.rint(units)) < _NOISE, np.rint(units), units)
    kernels = units.reshape(*units.shape[:2], -1)
    sums = kernels.sum(-1)
    whole = _apportioned(kernels, _apportioned(sums, np.rint(sums.sum(-1))))
    weight = (whole.reshape(units.shape) / float(scale)).astype(np.float32)
    return replace(layer, operation=replace(layer.operation, weight=weight))


def _apportioned(values: NDArray[np.float64], totals: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values rounded up or down so that they add up to the totals along the last axis."""
    floors = np.floor(values)
    remainders = values - floors
    order = np.argsort(-remainders, axis=-1, kind="stable")
    rank = np.argsort(order, axis=-1)
    goes_up: NDArray[np.bool_] = rank < (totals - floors.sum(-1))[..., None]
    return np.where(goes_up, floors + 1, floors)
