"""Lower bounds the chip can hold."""

from __future__ import annotations

from dataclasses import replace

from mapper.errors import Finding, UnsupportedLayerError
from mapper.normal_form import NormalLayer, NormalNetwork

__all__ = ["mend_minimum", "mended"]


def mended(layer: NormalLayer) -> NormalLayer:
    """The layer with a lower bound of -1 where it has one of 0."""
    return replace(layer, neuron=replace(layer.neuron, minimum=-1)) if layer.neuron.minimum == 0 else layer


def mend_minimum(network: NormalNetwork) -> NormalNetwork:
    """After quantization: a lower bound of 0 becomes -1, as an erratum of the chips demands.

    Raises
    ------
    UnsupportedLayerError
        A lower bound above 0.
    """
    findings, layers, notes = [], [], []
    for layer in network.layers:
        neuron = layer.neuron
        if neuron.minimum is not None and neuron.minimum > 0:
            findings.append(Finding(f"layer {layer.title}", "lower bound above 0", neuron.minimum, "<= 0"))
        if neuron.minimum == 0:
            notes.append(f"{layer.title}: the lower bound 0 became -1 (erratum threshold-low-zero)")
        layers.append(mended(layer))
    if findings:
        raise UnsupportedLayerError(*findings)
    return network.replacing(layers=tuple(layers), notes=(*network.notes, *notes))
