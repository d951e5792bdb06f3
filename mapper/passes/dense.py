"""Groups and dilation as dense kernels, which is what a core holds."""

from __future__ import annotations

from mapper.folding import dense
from mapper.network import Layer, Network, revised
from mapper.operations import Convolution

__all__ = ["make_dense"]


def make_dense(network: Network) -> Network:
    """Zeros where a grouped or dilated kernel has nothing; the kernel grows to its extent."""
    return network.replacing(layers=tuple(_dense(layer) for layer in network.layers))


def _dense(layer: Layer) -> Layer:
    if not isinstance(layer.operation, Convolution):
        return layer
    return revised(layer, operation=dense(layer.operation, layer.input_shape.features))
