"""Fold batch normalisation into the weights and biases before it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from mapper.network import Layer, Network
from mapper.operations import BatchNorm, Convolution, Linear, Scale

__all__ = ["fold_batch_norm"]


def fold_batch_norm(network: Network) -> Network:
    """Weights times ``scale / sqrt(variance + epsilon)``, biases shifted accordingly; epsilon included.

    A scale between weights and neurons is folded alike. Shapes alone get a bias.
    """
    return network.replacing(layers=tuple(_folded(layer) for layer in network.layers))


def _folded(layer: Layer) -> Layer:
    for step in layer.between:
        if isinstance(step, BatchNorm):
            layer = replace(layer, operation=_normalised(layer.operation, step))
        elif isinstance(step, Scale):
            layer = replace(layer, operation=_scaled(layer.operation, step.factor))
    return replace(layer, between=())


def _normalised(operation: Convolution | Linear, norm: BatchNorm) -> Convolution | Linear:
    if operation.weight is None:
        return replace(operation, has_bias=True)
    weight: Any = operation.weight
    mean, variance, scale, shift = (
        np.asarray(a, np.float64) for a in (norm.mean, norm.variance, norm.scale, norm.shift)
    )
    factor = scale / np.sqrt(variance + norm.epsilon)
    bias: Any = 0.0 if operation.bias is None else operation.bias
    folded = (weight * factor.reshape(-1, *[1] * (weight.ndim - 1))).astype(weight.dtype)
    return replace(
        operation, weight=folded, bias=((bias - mean) * factor + shift).astype(weight.dtype), has_bias=True
    )


def _scaled(operation: Convolution | Linear, factor: float) -> Convolution | Linear:
    if operation.weight is None:
        return operation
    weight: Any = operation.weight
    bias: Any = operation.bias
    scaled = None if bias is None else (bias * factor).astype(bias.dtype)
    return replace(operation, weight=(weight * factor).astype(weight.dtype), bias=scaled)
