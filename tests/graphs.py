"""Builder of small graphs for tests: layers that keep the map, edges with pools, sums, concatenations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mapper.network import DvsSettings, Edge, Input, Output
from mapper.normal_form import NormalLayer, NormalNetwork
from mapper.operations import Convolution, Shape, shape_after
from tests.builders import pool

__all__ = ["Link", "graph"]


@dataclass(frozen=True)
class Link:
    """An edge by index: of a layer, or -1 for the input."""

    source: int
    target: int
    pooling: int = 1
    offset: int = 0


def graph(
    convolutions: Sequence[Convolution],
    links: Sequence[Link],
    shape: tuple[int, int, int] = (2, 16, 16),
    outputs: Sequence[tuple[int, int]] = (),
    *,
    dvs: bool = False,
) -> NormalNetwork:
    """Layers conv0, conv1, ..., connected as the links say.

    Parameters
    ----------
    links
        The first of each layer that comes from before it gives the size of its map; its features are as
        many as its links reach.
    outputs
        (layer, pooling); the last layer if empty.
    """
    names = [f"conv{n}" for n in range(len(convolutions))]
    features = [Shape(*shape).features, *(operation.out_features for operation in convolutions)]
    shapes, layers = [Shape(*shape)], []
    for n, operation in enumerate(convolutions):
        coming = [link for link in links if link.target == n]
        first = next(link for link in coming if link.source < n)
        _, height, width = shape_after(shapes[first.source + 1], pool(first.pooling))
        taken = max(link.offset + features[link.source + 1] for link in coming)
        layers.append(NormalLayer(names[n], Shape(taken, height, width), operation))
        shapes.append(layers[-1].output_shape)
    edges = [
        Edge(
            names[link.source] if link.source >= 0 else "input",
            names[link.target],
            pool(link.pooling),
            link.offset,
            int(link.source >= link.target),
        )
        for link in links
    ]
    ends = outputs or [(len(names) - 1, 1)]
    shown = tuple(Output(f"out{n}", names[layer], pool(size)) for n, (layer, size) in enumerate(ends))
    entry = Input("input", Shape(*shape), DvsSettings() if dvs else None)
    return NormalNetwork("graph", (entry,), tuple(layers), tuple(edges), shown)
