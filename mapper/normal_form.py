"""What the chip-free passes guarantee, as a type: code that takes it need not look again.

Every layer is a dense convolution with neurons, and an edge carries nothing or one sum pool. Whether a chip
has room for that is no matter of this form.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from functools import cache, cached_property
from typing import Any

from mapper.asking import ADD_OUTPUT_NEURON
from mapper.errors import Finding, NetworkError
from mapper.network import Edge, Layer, Network
from mapper.operations import Convolution, Neuron, Pool

__all__ = ["NormalLayer", "NormalNetwork", "normal_form"]

_PASSES = "Run the passes: mapper.passes.prepare brings a network into normal form"


@dataclass(frozen=True, slots=True)
class NormalLayer(Layer):
    """A convolution of one group and dilation 1, with spiking neurons and nothing between.

    Values are checked by the network that has the layer.

    Attributes
    ----------
    unrounded
        The layer that quantization made this one of; None where none did.
    """

    operation: Convolution
    between: tuple[()] = ()
    neuron: Neuron = field(default_factory=Neuron)
    unrounded: NormalLayer | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class NormalNetwork(Network):
    """A network in normal form. Layers that are of this form by value become `NormalLayer`.

    Raises
    ------
    NetworkError, ShapeError
        On construction: every layer and edge that is not in normal form; then as `Network`.
    """

    layers: tuple[NormalLayer, ...]

    def __post_init__(self) -> None:
        findings = [
            Finding(f"layer {layer.title}", problem, next_step=step)
            for layer in self.layers
            for problem, step in _layer_problems(layer)
        ]
        findings += [
            Finding(f"edge {edge.title}", problem, next_step=_PASSES)
            for edge in self.edges
            for problem in _edge_problems(edge)
        ]
        if findings:
            raise NetworkError(*findings)
        object.__setattr__(self, "layers", tuple(map(_normal_layer, self.layers)))
        super().__post_init__()

    @cached_property
    def by_name(self) -> Mapping[str, NormalLayer]:
        """Layers by name."""
        return {layer.name: layer for layer in self.layers}


def normal_form(network: Network) -> NormalNetwork:
    """The network by its type, which is the same object where it has this type already.

    Raises
    ------
    NetworkError
        Every layer and edge that is not in normal form.
    """
    if isinstance(network, NormalNetwork):
        return network
    return NormalNetwork(**_fields(network))


def _normal_layer(layer: Layer) -> NormalLayer:
    return layer if isinstance(layer, NormalLayer) else NormalLayer(**_fields(layer))


def _fields(value: Layer | Network) -> dict[str, Any]:
    return {name: getattr(value, name) for name in _names(isinstance(value, Layer))}


@cache
def _names(of_layers: bool) -> tuple[str, ...]:
    return tuple(entry.name for entry in fields(Layer if of_layers else Network))


def _layer_problems(layer: Layer) -> Iterator[tuple[str, str]]:
    """(what is not in normal form, what helps)."""
    operation = layer.operation
    if not isinstance(operation, Convolution):
        yield "a linear layer must become a convolution first", _PASSES
    elif operation.groups != 1 or operation.dilation != (1, 1):
        yield "groups and dilation must be made dense first", _PASSES
    if layer.between:
        kinds = ", ".join(type(step).__name__ for step in layer.between)
        yield f"{kinds} must be folded into the weights first", _PASSES
    if layer.neuron is None:
        step = f"{ADD_OUTPUT_NEURON.to('1.0', '1.0')} appends them to an output layer"
        yield "a weight layer without spiking neurons, which no core can run", step


def _edge_problems(edge: Edge) -> Iterator[str]:
    if len(edge.path) > 1 or not all(isinstance(step, Pool) and step.kind == "sum" for step in edge.path):
        yield f"more than one sum pool: {', '.join(type(step).__name__ for step in edge.path)}"
