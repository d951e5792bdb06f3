"""What rounding to integers takes away, found per feature: weights, biases, and what took the layer's scale.

A layer has one scale (`mapper.passes.quantize`): whatever is below half a unit of it becomes zero. What a
single number takes from all others is told with the value at which nothing would be lost, and that value is
tried before it is told.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from mapper.integers import widened
from mapper.normal_form import NormalLayer, NormalNetwork
from mapper.passes.quantize import declared_scale, layer_scale, scale_takers
from mapper.references import layer_key, signal_title
from mapper.wording import counted

__all__ = ["RoundingLoss", "rounding_losses"]

# Up to this share of a layer's weights, and always one, may be outliers.
_OUTLIER_SHARE = 0.01
# Two of eight bits: what outliers must cost all others before it is told.
_OUTLIER_FACTOR = 4.0
# And the share of the weights that become zero by it: bits that nobody misses are no loss.
_ZERO_SHARE = 0.05
# Half a unit becomes zero (half to even).
_HALF_UNIT = 0.5


@dataclass(frozen=True, slots=True)
class RoundingLoss:
    """Something of one layer that rounding loses.

    Attributes
    ----------
    kind
        "features": all weights of a feature become zero. "biases": a bias becomes zero. "outlier": a few
        weights take the scale from all others.
    features
        Indexes of the features concerned; of an outlier, those that have one.
    of
        Number of features of the layer.
    value
        The largest that is lost, in the layer's own unit; of an outlier, the largest weight.
    limit
        Up to which all numbers of the layer become zero.
    sentence
        All of it with the way out.
    """

    layer: str
    kind: Literal["features", "biases", "outlier"]
    features: tuple[int, ...]
    of: int
    value: float
    limit: float
    sentence: str

    def __str__(self) -> str:
        return self.sentence


def rounding_losses(networks: Sequence[NormalNetwork]) -> tuple[RoundingLoss, ...]:
    """What rounding took from integer networks, layer by layer; of several, by the names of `layer_key`."""
    return tuple(
        loss
        for number, network in enumerate(networks)
        for layer in network.layers
        if layer.unrounded is not None
        for loss in _losses(networks, number, layer.unrounded, layer)
    )


def _losses(
    networks: Sequence[NormalNetwork], number: int, before: NormalLayer, after: NormalLayer
) -> Iterator[RoundingLoss]:
    name, title = (of(networks, number, after.name) for of in (layer_key, signal_title))
    weights, whole = _by_feature(before.operation.weight), _by_feature(after.operation.weight)
    limit = float(np.float32(_HALF_UNIT) / layer_scale(before))
    of = len(weights)
    outliers = _outliers(before)
    dead = np.flatnonzero(np.any(weights, axis=1) & ~np.any(whole, axis=1))
    if len(dead):
        largest = np.abs(weights[dead]).max(axis=1)
        what = f"all weights of {counted(len(dead), 'feature')} of {of} round to zero: {_listed(dead)}"
        way_out = _way_out(before, float(largest.min()), outliers)
        value = float(largest.max())
        told = f"layer {title}: {what} (largest {value:.3g}; up to {limit:.3g} is zero). {way_out}"
        yield RoundingLoss(name, "features", tuple(dead.tolist()), of, value, limit, told)
    if before.operation.bias is not None and after.operation.bias is not None:
        biases, rounded = np.asarray(before.operation.bias), np.asarray(after.operation.bias)
        lost = np.flatnonzero((biases != 0) & (rounded == 0))
        if len(lost):
            sizes = np.abs(biases[lost])
            value = float(sizes.max())
            steps = math.ceil(float(np.max(before.neuron.threshold)) / value)
            what = f"the bias of {counted(len(lost), 'feature')} of {of} rounds to zero: {_listed(lost)}"
            alone = f"largest {value:.3g}, alone a spike in {steps} steps; up to {limit:.3g} is zero"
            told = f"layer {title}: {what} ({alone}). {_way_out(before, float(sizes.min()), outliers)}"
            yield RoundingLoss(name, "biases", tuple(lost.tolist()), of, value, limit, told)
    if outliers is not None and _zero_share(before, limit) >= _ZERO_SHARE:
        yield _outlier_loss(name, title, before, outliers, limit)


def _by_feature(weight: Any) -> Any:
    array = widened(weight)
    return array.reshape(len(array), -1)


def _listed(features: Any, most: int = 8) -> str:
    """Indexes, the first few of them."""
    shown = ", ".join(map(str, features[:most]))
    return shown if len(features) <= most else f"{shown} and {len(features) - most} more"


@dataclass(frozen=True, slots=True)
class _Outliers:
    """A few weights without which the layer's scale would be `gain` times as large."""

    count: int
    largest: float
    clip: float
    gain: float


def _outliers(layer: NormalLayer) -> _Outliers | None:
    # What is kept as it is declared was rounded elsewhere.
    if declared_scale(layer)[0] is not None:
        return None
    weights = _by_feature(layer.operation.weight)
    sizes = np.abs(weights[weights != 0])
    most = min(max(1, int(_OUTLIER_SHARE * len(sizes))), len(sizes) - 1)
    if most < 1:
        return None
    largest = np.sort(np.partition(sizes, len(sizes) - most - 1)[-most - 1 :])[::-1]
    scale = float(layer_scale(layer))

    def gain(count: int) -> float:
        """What all others gain without so many of the largest: the more, the more."""
        return _scale_with(layer, float(largest[count])) / scale

    count = 1 + bisect_left(range(1, most + 1), _OUTLIER_FACTOR, key=gain)
    if count > most:
        return None
    return _Outliers(count, float(largest[0]), float(largest[count]), gain(count))


def _zero_share(layer: NormalLayer, limit: float) -> float:
    """The share of the weights that are not zero, and become it."""
    sizes = np.abs(_by_feature(layer.operation.weight))
    return float(((sizes > 0) & (sizes <= limit)).sum() / max(1, (sizes > 0).sum()))


def _outlier_loss(name: str, title: str, layer: NormalLayer, found: _Outliers, limit: float) -> RoundingLoss:
    sizes = np.abs(_by_feature(layer.operation.weight))
    where = np.flatnonzero((sizes > found.clip).any(axis=1))
    zero, total = int(((sizes > 0) & (sizes <= limit)).sum()), int((sizes > 0).sum())
    told = (
        f"layer {title}: {counted(found.count, 'weight')} of up to {found.largest:.3g}, in feature "
        f"{_listed(where)}, so large that {zero} of {total} weights round to zero (up to {limit:.3g}). Clip "
        f"the layer's weights to +-{found.clip:.3g}: the others gain {math.log2(found.gain):.1f} bits"
    )
    return RoundingLoss(name, "outlier", tuple(where.tolist()), len(sizes), found.largest, limit, told)


def _scale_with(layer: NormalLayer, clip: float) -> float:
    """The layer's scale if no weight were larger."""
    weight = np.clip(np.asarray(layer.operation.weight), -clip, clip)
    return float(layer_scale(replace(layer, operation=replace(layer.operation, weight=weight))))


def _way_out(layer: NormalLayer, smallest: float, outliers: _Outliers | None) -> str:
    """What would have to be smaller, and how small, for a value to survive."""
    if outliers is not None and smallest * _scale_with(layer, outliers.clip) > _HALF_UNIT:
        return f"Clip the layer's weights to +-{outliers.clip:.3g}, and it is kept"
    return scale_takers(layer, smallest)
