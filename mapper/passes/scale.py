"""Scales on edges into the weights of the layer they reach."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np

from mapper.errors import Finding, UnsupportedLayerError
from mapper.network import Edge, Layer, Network
from mapper.operations import Scale, shape_after

__all__ = ["Rescale", "fold_scale"]

# From the factors that meet in one sum, the one that is taken for all.
Rescale = Callable[[Sequence[float]], float]


def fold_scale(network: Network, rescale: Rescale | None = None) -> Network:
    """Every input feature's weights times the factor of the edges that feed it, rounded to float32 once.

    Biases stay: the factor stands before the weights. Edges side by side (concatenation) may differ.

    Parameters
    ----------
    rescale
        Chooses one factor where different ones add up. That is an approximation, and the network's notes
        say so; None refuses such sums.

    Raises
    ------
    UnsupportedLayerError
        Edges of different factors add up in the same input features.
    """
    findings: list[Finding] = []
    approximations: list[str] = []

    def choose(layer: Layer, factors: Sequence[float]) -> float | None:
        """One factor for all of a layer's edges, and a note on it; None where `rescale` is."""
        if rescale is None:
            return None
        chosen = float(rescale(list(factors)))
        factor_text = ", ".join(f"{factor:g}" for factor in factors)
        approximations.append(f"{layer.name}: an approximation: factors {factor_text} became {chosen:g}")
        return chosen

    layers = tuple(_scaled(network, layer, findings, choose) for layer in network.layers)
    if findings and network.has_weights:
        raise UnsupportedLayerError(*findings)
    edges = tuple(
        replace(edge, path=tuple(step for step in edge.path if not isinstance(step, Scale)))
        for edge in network.edges
    )
    # Without weights there is nothing to rescale: the network is placed, and the note says what awaits it.
    notes = tuple(f"{finding.where}: {finding.problem}; with weights this is refused" for finding in findings)
    return network.replacing(layers=layers, edges=edges, notes=(*network.notes, *notes, *approximations))


def _factor(edge: Edge) -> float:
    return prod(step.factor for step in edge.path if isinstance(step, Scale))


def _scaled(
    network: Network,
    layer: Layer,
    findings: list[Finding],
    choose: Callable[[Layer, Sequence[float]], float | None],
) -> Layer:
    incoming = network.incoming[layer.name]
    factors = [_factor(edge) for edge in incoming]
    if all(factor == 1.0 for factor in factors):
        return layer
    per_feature = np.ones(layer.input_shape.features)
    known = np.zeros(layer.input_shape.features, bool)
    for edge, factor in zip(incoming, factors, strict=True):
        width = shape_after(network.signal_shapes[edge.source], edge.path).features
        span = slice(edge.feature_offset, edge.feature_offset + width)
        if np.any(known[span] & (per_feature[span] != factor)):
            chosen = choose(layer, factors)
            if chosen is not None:
                per_feature[:] = chosen
                break
            factor_text = ", ".join(f"{e.source} by {f:g}" for e, f in zip(incoming, factors, strict=True))
            problem = f"signals that add up here are scaled differently: {factor_text}"
            step = "Use pools of one size, or sum pools"
            findings.append(Finding(f"layer {layer.name}", problem, next_step=step))
            return layer
        per_feature[span], known[span] = factor, True
    weight: Any = layer.operation.weight
    if weight is None:
        return layer
    scale = per_feature.astype(np.float32).reshape(1, -1, *[1] * (weight.ndim - 2))
    scaled = (weight * scale.astype(weight.dtype)).astype(weight.dtype)
    return replace(layer, operation=replace(layer.operation, weight=scaled))
