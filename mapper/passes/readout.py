"""Spread the classes of a readout layer over the features that the readout stage looks at."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mapper.errors import Finding, NetworkError
from mapper.normal_form import NormalLayer, NormalNetwork

__all__ = ["ReadoutSpacing", "space_readout"]


@dataclass(frozen=True, slots=True)
class ReadoutSpacing:
    """Which layer feeds the readout stage, and how many features apart its classes must lie (>= 1)."""

    layer: str
    spacing: int


def space_readout(network: NormalNetwork, readout: ReadoutSpacing | None) -> NormalNetwork:
    """The readout layer with class n at feature ``n * spacing``; the features between never spike.

    Source: on the chips with a readout stage, feature n of the core reaches class ``n / 4 + 1`` (erratum of
    2e and 2f), so that n classes take ``4 * (n - 1) + 1`` features.

    Raises
    ------
    NetworkError
        Other layers read the readout layer: their inputs would have to be spread as well.
    """
    if readout is None or readout.spacing == 1:
        return network
    layer = network.by_name[readout.layer]
    if network.outgoing[layer.name]:
        targets = ", ".join(edge.target for edge in network.outgoing[layer.name])
        problem = "feeds the readout stage, and its features cannot be spread because layers read it"
        raise NetworkError(
            Finding(
                f"layer {layer.title}", problem, targets, next_step="Choose an output layer for the readout"
            )
        )
    spread = _spread(layer, readout.spacing)
    layers = tuple(spread if entry is layer else entry for entry in network.layers)
    note = f"{layer.title}: class n is feature {readout.spacing} n, as the readout stage wants it"
    return network.replacing(layers=layers, notes=(*network.notes, note))


def _spread(layer: NormalLayer, spacing: int) -> NormalLayer:
    conv, neuron = layer.operation, layer.neuron
    count = spacing * (conv.out_features - 1) + 1

    def spaced(array: Any) -> Any:
        if array is None:
            return None
        wide = np.zeros((count, *array.shape[1:]), array.dtype)
        wide[::spacing] = array
        return wide

    return replace(
        layer,
        operation=replace(conv, out_features=count, weight=spaced(conv.weight), bias=spaced(conv.bias)),
        neuron=replace(neuron, initial_potential=spaced(neuron.initial_potential)),
    )
