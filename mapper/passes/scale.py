"""Scales on edges into the weights of the layer they reach."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mapper.errors import Finding, OptionsError
from mapper.integers import widened
from mapper.network import Edge, Layer, Network, revised
from mapper.operations import Scale, shape_after
from mapper.values import value_text

__all__ = ["Rescale", "fold_scale"]

# From the factors that meet in one sum, the one that is taken for all.
Rescale = Callable[[Sequence[float]], float]


def fold_scale(network: Network, rescale: Rescale | None = None) -> Network:
    """Every input feature's weights times the factor of the edges that feed it, rounded to float32 once.

    Biases stay: the factor stands before the weights. Edges side by side (concatenation) may differ. Where
    edges of different factors add up, each factor gets input features of its own, side by side, with its own
    weights: ``w * (a x + b y) = (a w) * x + (b w) * y`` (distributivity).

    Parameters
    ----------
    rescale
        Chooses one factor where different ones add up, which needs no more features. That is an
        approximation, and the network's notes say so.
    """
    if not any(isinstance(step, Scale) for edge in network.edges for step in edge.path):
        return network
    made = [_scaled(network, layer, rescale) for layer in network.layers]
    edges = {id(edge): new for fold in made for edge, new in fold.edges}
    return network.replacing(
        layers=tuple(fold.layer for fold in made),
        edges=tuple(edges[id(edge)] for edge in network.edges),
        notes=(*network.notes, *(note for fold in made for note in fold.notes)),
    )


class _Fold(NamedTuple):
    """A layer without scales before it, its incoming edges before and after, and what is worth telling."""

    layer: Layer
    edges: tuple[tuple[Edge, Edge], ...]
    notes: tuple[str, ...] = ()


def _factor(edge: Edge) -> float:
    return prod(step.factor for step in edge.path if isinstance(step, Scale))


def _scaled(network: Network, layer: Layer, rescale: Rescale | None) -> _Fold:
    incoming = network.incoming[layer.name]
    factors = [_factor(edge) for edge in incoming]
    bare = tuple(
        (edge, revised(edge, path=tuple(step for step in edge.path if not isinstance(step, Scale))))
        for edge in incoming
    )
    if all(factor == 1.0 for factor in factors):
        return _Fold(layer, bare)
    per_feature = np.ones(layer.input_shape.features)
    known = np.zeros(layer.input_shape.features, bool)
    for edge, factor in zip(incoming, factors, strict=True):
        width = shape_after(network.signal_shapes[edge.source], edge.path).features
        span = slice(edge.feature_offset, edge.feature_offset + width)
        if np.any(known[span] & (per_feature[span] != factor)):
            return _of_several(layer, bare, factors, rescale)
        per_feature[span], known[span] = factor, True
    return _Fold(_times(layer, [per_feature]), bare)


def _of_several(
    layer: Layer, edges: tuple[tuple[Edge, Edge], ...], factors: Sequence[float], rescale: Rescale | None
) -> _Fold:
    """Where signals of different factors add up."""
    features = layer.input_shape.features
    if rescale is not None:
        chosen = _chosen(rescale, factors)
        listed = ", ".join(f"{factor:g}" for factor in factors)
        note = f"{layer.title}: an approximation: factors {listed} became {chosen:g}"
        return _Fold(_times(layer, [np.full(features, chosen)]), edges, (note,))
    kinds = list(dict.fromkeys(factors))
    pairs = zip(edges, factors, strict=True)
    named = ", ".join(f"{edge.source} by {factor:g}" for (edge, _), factor in pairs)
    if layer.operation.weight is None:
        # One kernel is what such a description states, and what an approximation would take.
        wide_features = features * len(kinds)
        note = f"{layer.title}: {named} add up; exact weights take a kernel over {wide_features} features"
        return _Fold(layer, edges, (note,))
    moved = tuple(
        (edge, replace(new, feature_offset=new.feature_offset + kinds.index(factor) * features))
        for (edge, new), factor in zip(edges, factors, strict=True)
    )
    wide = _times(layer, [np.full(features, factor) for factor in kinds])
    note = f"{layer.title}: {named} add up exactly, as one kernel over {wide.input_shape.features} features"
    return _Fold(wide, moved, (note,))


def _chosen(rescale: Rescale, factors: Sequence[float]) -> float:
    """The one factor for all."""
    given: object = rescale(list(factors))
    try:
        chosen = float(given)  # type: ignore[arg-type]  # found out here
    except (TypeError, ValueError):
        chosen = 0.0
    if not 0 < chosen < np.inf:
        step = "Give one that chooses a factor, as max"
        raise OptionsError(
            Finding("weight_rescaling_fn", "must give a number", value_text(given), "> 0", "", step)
        )
    return chosen


def _times(layer: Layer, blocks: Sequence[NDArray[np.float64]]) -> Layer:
    """The layer over blocks of input features, the weights of each times its factors."""
    weight: Any = layer.operation.weight
    if weight is not None:
        weight = widened(weight)
        scales = [block.astype(np.float32).reshape(1, -1, *[1] * (weight.ndim - 2)) for block in blocks]
        weight = np.concatenate([(weight * s.astype(weight.dtype)).astype(weight.dtype) for s in scales], 1)
    made = layer.operation.declared
    if made is not None:
        made = made.times(np.concatenate(blocks), "what it reads is scaled by different factors")
    shape = layer.input_shape._replace(features=layer.input_shape.features * len(blocks))
    return replace(layer, input_shape=shape, operation=replace(layer.operation, weight=weight, declared=made))
