"""Groups and dilation as dense kernels, which is what a core holds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from mapper.network import Layer, Network
from mapper.operations import Convolution

__all__ = ["make_dense"]


def make_dense(network: Network) -> Network:
    """Zeros where a grouped or dilated kernel has nothing; the kernel grows to its extent."""
    return network.replacing(layers=tuple(_dense(layer) for layer in network.layers))


def _dense(layer: Layer) -> Layer:
    conv = layer.operation
    if not isinstance(conv, Convolution) or (conv.groups == 1 and conv.dilation == (1, 1)):
        return layer
    weight: Any = conv.weight
    if weight is not None:
        weight = _filled(conv, weight, layer.input_shape.features)
    return replace(
        layer, operation=replace(conv, kernel=conv.extent, dilation=(1, 1), groups=1, weight=weight)
    )


def _filled(conv: Convolution, weight: Any, in_features: int) -> Any:
    dense = np.zeros((conv.out_features, in_features, *conv.extent), weight.dtype)
    reads, makes = in_features // conv.groups, conv.out_features // conv.groups
    (dy, dx) = conv.dilation
    for group in range(conv.groups):
        rows = slice(group * makes, (group + 1) * makes)
        dense[rows, group * reads : (group + 1) * reads, ::dy, ::dx] = weight[rows]
    return dense
