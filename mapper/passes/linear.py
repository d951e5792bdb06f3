"""Linear layers into convolutions whose kernel is the whole map."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from mapper.errors import Finding, UnsupportedLayerError
from mapper.network import Edge, Layer, Network, revised
from mapper.operations import Convolution, Flatten, Linear, Shape, shape_after

__all__ = ["linear_to_convolution"]


def linear_to_convolution(network: Network) -> Network:
    """Undo the flattening: a linear layer reads the map itself, features outermost, width innermost.

    Raises
    ------
    UnsupportedLayerError
        Signals of different map sizes are flattened into one linear layer, or a flattened map
        is fed to a convolution.
    """
    paths = [edge.path for edge in network.edges] + [output.path for output in network.outputs]
    is_flattened = any(isinstance(step, Flatten) for path in paths for step in path)
    if not is_flattened and not any(isinstance(layer.operation, Linear) for layer in network.layers):
        return network
    findings: list[Finding] = []
    layers: dict[str, Layer] = {}
    edges: dict[int, Edge] = {}
    for layer in network.layers:
        incoming = network.incoming[layer.name]
        layers[layer.name], unflattened = _unflattened(network, layer, incoming, findings)
        edges |= {id(old): new for old, new in zip(incoming, unflattened, strict=True)}
    if findings:
        raise UnsupportedLayerError(*findings)
    outputs = tuple(
        revised(output, path=tuple(s for s in output.path if not isinstance(s, Flatten)))
        for output in network.outputs
    )
    return network.replacing(
        layers=tuple(layers.values()), edges=tuple(edges[id(e)] for e in network.edges), outputs=outputs
    )


def _unflattened(
    network: Network, layer: Layer, incoming: tuple[Edge, ...], findings: list[Finding]
) -> tuple[Layer, tuple[Edge, ...]]:
    where, operation = f"layer {layer.title}", layer.operation
    shapes, edges = [], []
    for edge in incoming:
        path = tuple(step for step in edge.path if not isinstance(step, Flatten))
        cut = next((n for n, step in enumerate(edge.path) if isinstance(step, Flatten)), len(edge.path))
        shape = shape_after(network.signal_shapes[edge.source], path)
        if any(type(step).__name__ == "Pool" for step in edge.path[cut:]):
            findings.append(
                Finding(where, f"a flattened signal of {edge.source} is pooled", next_step="Pool first")
            )
        if cut < len(edge.path) and isinstance(operation, Convolution) and shape[1:] != (1, 1):
            findings.append(Finding(where, f"a convolution reads the flattened map of {edge.source}", shape))
        shapes.append(shape)
        edges.append(revised(edge, path=path))
    if isinstance(operation, Convolution):
        return layer, tuple(edges)
    sizes = {shape[1:] for shape in shapes}
    area = shapes[0].height * shapes[0].width
    if len(sizes) > 1 or any(edge.feature_offset % area for edge in edges):
        signals = ", ".join(f"{e.source} {s}" for e, s in zip(edges, shapes, strict=True))
        findings.append(
            Finding(where, "signals of different maps are flattened into one linear layer", signals)
        )
        return layer, incoming
    edges = [replace(edge, feature_offset=edge.feature_offset // area) for edge in edges]
    return _as_convolution(layer, operation, area, shapes[0]), tuple(edges)


def _as_convolution(layer: Layer, operation: Linear, area: int, shape: Shape) -> Layer:
    features, (_, height, width) = layer.input_shape.features // area, shape
    weight: Any = operation.weight
    if weight is not None:
        weight = weight.reshape(operation.out_features, features, height, width)
    convolution = Convolution(
        out_features=operation.out_features,
        kernel=(height, width),
        has_bias=operation.has_bias,
        weight=weight,
        bias=operation.bias,
        declared=operation.declared,
    )
    shape = Shape(features, height, width)
    return replace(layer, input_shape=shape, operation=convolution, was_linear=True)
