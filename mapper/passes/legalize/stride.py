"""Strides that do not matter, because the map they make has one row or column."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hwspec.schema import LayerLimits
from mapper.network import Layer, Network
from mapper.operations import Convolution, Pair

__all__ = ["legal_strides"]


def legal_strides(network: Network, limits: Sequence[LayerLimits]) -> Network:
    """The smallest legal stride that makes the same single row or column, where a stride is not legal."""
    allowed = sorted(set.intersection(*(set(entry.strides) for entry in limits)))
    layers, notes = [], []
    for layer in network.layers:
        mended = _mended(layer, allowed)
        if mended is not layer and isinstance(layer.operation, Convolution):
            before = "x".join(map(str, layer.operation.stride))
            notes.append(f"{layer.name}: stride {before} became legal; its map of one value stays the same")
        layers.append(mended)
    if not notes:
        return network
    return network.replacing(layers=tuple(layers), notes=(*network.notes, *notes))


def _mended(layer: Layer, allowed: Sequence[int]) -> Layer:
    conv = layer.operation
    if not isinstance(conv, Convolution) or all(stride in allowed for stride in conv.stride):
        return layer
    strides: list[int] = []
    for axis, stride in enumerate(conv.stride):
        room = layer.input_shape[1 + axis] + 2 * conv.padding[axis] - conv.extent[axis]
        fitting = [entry for entry in allowed if entry > room]
        single = layer.output_shape[1 + axis] == 1
        strides.append(fitting[0] if stride not in allowed and single and fitting else stride)
    pair: Pair = (strides[0], strides[1])
    return layer if pair == conv.stride else replace(layer, operation=replace(conv, stride=pair))
