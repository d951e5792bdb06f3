"""Lower bounds the chip can hold."""

from __future__ import annotations

from dataclasses import replace

from mapper.errors import Finding, UnsupportedLayerError
from mapper.normal_form import NormalLayer, NormalNetwork

__all__ = ["mend_minimum", "mended", "require_minimum"]


def mended(layer: NormalLayer) -> NormalLayer:
    """The layer with a lower bound of -1 where it has one of 0."""
    return replace(layer, neuron=replace(layer.neuron, minimum=-1)) if layer.neuron.minimum == 0 else layer


def require_minimum(network: NormalNetwork) -> None:
    """Before quantization, which scales them: see to it that lower bounds are none above 0.

    Raises
    ------
    UnsupportedLayerError
        Those that are, as they were given.
    """
    bounds = [(layer.title, layer.neuron.minimum) for layer in network.layers]
    problem = "lower bound above 0"
    if odd := [(title, bound) for title, bound in bounds if bound is not None and bound > 0]:
        raise UnsupportedLayerError(*(Finding(f"layer {title}", problem, b, "<= 0") for title, b in odd))


def mend_minimum(network: NormalNetwork) -> NormalNetwork:
    """After quantization: a lower bound of 0 becomes -1, as an erratum of the chips demands.

    Raises
    ------
    UnsupportedLayerError
        A lower bound above 0.
    """
    require_minimum(network)
    zeros = [layer.title for layer in network.layers if layer.neuron.minimum == 0]
    notes = [f"{title}: the lower bound 0 became -1 (erratum threshold-low-zero)" for title in zeros]
    return network.replacing(layers=tuple(map(mended, network.layers)), notes=(*network.notes, *notes))
