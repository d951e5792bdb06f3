"""What the chip-free passes guarantee: convolutions with neurons, and at most one sum pool on an edge."""

from __future__ import annotations

from collections.abc import Iterator

from mapper.errors import Finding, NetworkError
from mapper.network import Layer, Network
from mapper.operations import Convolution, Pool

__all__ = ["convolution_of", "require_normal_form"]


def convolution_of(layer: Layer) -> Convolution:
    """The convolution of a layer in normal form.

    Raises
    ------
    NetworkError
        The layer is still linear.
    """
    if not isinstance(layer.operation, Convolution):
        raise NetworkError(Finding(f"layer {layer.name}", "a linear layer must become a convolution first"))
    return layer.operation


def require_normal_form(network: Network) -> None:
    """Check that the passes have run.

    Raises
    ------
    NetworkError
        Every layer and edge that is not in this form.
    """
    findings = [*_layer_form(network), *_edge_form(network)]
    if findings:
        raise NetworkError(*findings)


def _layer_form(network: Network) -> Iterator[Finding]:
    for layer in network.layers:
        where, operation = f"layer {layer.name}", layer.operation
        if not isinstance(operation, Convolution):
            yield Finding(where, "a linear layer must become a convolution first", next_step="Run the passes")
        elif operation.groups != 1 or operation.dilation != (1, 1):
            yield Finding(where, "groups and dilation must be made dense first", next_step="Run the passes")
        if layer.between:
            kinds = ", ".join(type(step).__name__ for step in layer.between)
            yield Finding(where, f"{kinds} must be folded into the weights first", next_step="Run the passes")
        if layer.neuron is None:
            yield Finding(
                where,
                "a weight layer without spiking neurons, which no core can run",
                next_step="--add-output-neuron THRESHOLD appends them to an output layer",
            )


def _edge_form(network: Network) -> Iterator[Finding]:
    for edge in network.edges:
        plain = all(isinstance(step, Pool) and step.kind == "sum" for step in edge.path)
        if not plain or len(edge.path) > 1:
            steps = ", ".join(type(step).__name__ for step in edge.path)
            where = f"edge {edge.source} -> {edge.target}"
            yield Finding(where, f"more than one sum pool: {steps}", next_step="Run the passes")
