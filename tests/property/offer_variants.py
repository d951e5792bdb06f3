"""Networks with joint relays and fused siblings written out by hand, layer by layer: every way that there is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain, combinations, product
from typing import TypeVar

from mapper.by_value import same
from mapper.network import Edge, Layer, Network
from mapper.operations import Convolution, Neuron, Pool, Shape, shape_after

__all__ = ["fused_variants", "joint_variants", "variants"]

Item = TypeVar("Item")
Read = tuple[str, int, int]
"""Source, pool and offset."""


def variants(network: Network) -> Iterator[Network]:
    """The network with some siblings fused, and then with some sums passed on by identity layers."""
    for fused in fused_variants(network):
        yield from joint_variants(fused, network)


def subsets(items: Sequence[Item], least: int = 0) -> Iterator[tuple[Item, ...]]:
    return chain.from_iterable(combinations(items, n) for n in range(least, len(items) + 1))


def reads(edges: Sequence[Edge]) -> list[Read]:
    return [(e.source, e.pool.size[0] if e.pool else 1, e.feature_offset) for e in edges]


def moved(part: Sequence[Read], pool: int, offset: int) -> set[Read]:
    return {(source, own * pool, start + offset) for source, own, start in part}


def places(part: Sequence[Read], of: set[Read]) -> list[tuple[int, int]]:
    """(pool, offset) by which all of a part is among what is read."""
    return [(p, o) for p in (1, 2, 4) for o in range(64) if moved(part, p, o) <= of]


def joint_variants(network: Network, given: Network) -> Iterator[Network]:
    """Of sums of given layers that two layers of the given network read, or that are all one reads of layers."""
    layers = {layer.name for layer in network.layers} & {layer.name for layer in given.layers}
    inputs = {entry.name for entry in network.inputs}

    def eligible(edges: Sequence[Edge]) -> set[Read]:
        return {read for read in reads(edges) if read[0] not in inputs and read[0] in layers}

    of_given = [{r for r in reads(given.incoming[e.name]) if r[0] not in inputs} for e in given.layers]
    found: set[tuple[Read, ...]] = set()
    for read in of_given:
        for part in subsets(sorted(read), 2):
            least = min(start for _, _, start in part)
            shifted = [(s, p, o - least) for s, p, o in part]
            for divisor in (1, 2, 4):
                if all(p % divisor == 0 for _, p, _ in shifted):
                    plain = tuple(sorted((s, p // divisor, o) for s, p, o in shifted))
                    is_all = divisor == 1 and len(part) == len(read)
                    if is_all or sum(bool(places(plain, other)) for other in of_given) > 1:
                        found.add(plain)
    sums = [part for part in sorted(found) if all(source in layers for source, _, _ in part)]
    for chosen in subsets(sums):
        names = {part: f"joint{n}" for n, part in enumerate(chosen)}
        ways = []
        for layer in network.layers:
            edges = network.incoming[layer.name]
            ways.append(list(readings(layer.name, edges, eligible(edges), names)))
        for part, name in names.items():
            own = [edge_of(read, name) for read in part]
            proper = {p: n for p, n in names.items() if len(p) < len(part)}
            ways.append(list(readings(name, own, set(part), proper)))
        for picked in product(*ways):
            written = [edge for edges in picked for edge in edges]
            if all(any(edge.source == name for edge in written) for name in names.values()):
                yield written_out(network, names, written)


def readings(
    target: str, edges: Sequence[Edge], read: set[Read], names: dict[tuple[Read, ...], str]
) -> Iterator[list[Edge]]:
    """Every way to read by identity layers that share nothing, and the rest directly."""
    parts = [(moved(p, *at), names[p], at) for p in names for at in places(p, read)]
    for chosen in subsets(parts):
        taken = [r for part, _, _ in chosen for r in part]
        if len(taken) == len(set(taken)):
            left = [edge for edge in edges if reads([edge])[0] not in taken]
            yield [*left, *(edge_of((name, pool, offset), target) for _, name, (pool, offset) in chosen)]


def edge_of(read: Read, target: str) -> Edge:
    source, pool, offset = read
    return Edge(source, target, (Pool("sum", (pool, pool), (pool, pool)),) if pool > 1 else (), offset)


def written_out(network: Network, names: dict[tuple[Read, ...], str], edges: Sequence[Edge]) -> Network:
    order, more = [layer.name for layer in network.layers], dict[str, Layer]()
    for part, name in names.items():
        shapes = [
            (o, shape_after(network.signal_shapes[s], edge_of((s, p, o), name).path)) for s, p, o in part
        ]
        features = max(offset + shape.features for offset, shape in shapes)
        shape = Shape(features, *shapes[0][1][1:])
        more[name] = Layer(name, shape, Convolution(features, (1, 1)), neuron=Neuron(1, -1))
    for part, name in sorted(names.items(), key=lambda entry: len(entry[0])):
        order.insert(1 + max(order.index(source) for source, _, _ in part), name)
        while order[order.index(name) + 1 :][:1] and order[order.index(name) + 1].startswith("joint"):
            at = order.index(name)
            order[at], order[at + 1] = order[at + 1], order[at]
    layers = {**network.by_name, **more}
    return network.replacing(layers=tuple(layers[name] for name in order), edges=tuple(edges))


def fused_variants(network: Network) -> Iterator[Network]:
    """Every way to put siblings that lie side by side together, none included."""
    yield network
    for first, second in combinations(network.layers, 2):
        if are_siblings(network, first, second):
            orders = ((first, second), (second, first))
            for left, right in orders if network.outgoing[first.name] else orders[:1]:
                merged = together(network, left, right)
                if merged is not None:
                    yield from fused_variants(merged)


def are_siblings(network: Network, first: Layer, second: Layer) -> bool:
    alike = (first.input_shape, convolution(first).stride, first.output_shape[1:])
    other = (second.input_shape, convolution(second).stride, second.output_shape[1:])
    read = [sorted(reads(network.incoming[layer.name])) for layer in (first, second)]
    return alike == other and read[0] == read[1] and same(first.neuron, second.neuron)


def convolution(layer: Layer) -> Convolution:
    assert isinstance(layer.operation, Convolution)
    return layer.operation


def together(network: Network, left: Layer, right: Layer) -> Network | None:
    """The second layer's features behind the first one's, where every reader has them so."""
    own = {(e.target, e.path, e.feature_offset) for e in network.outgoing[left.name]}
    other = {(e.target, e.path, e.feature_offset) for e in network.outgoing[right.name]}
    step = left.output_shape.features
    if {(target, path, offset + step) for target, path, offset in own} != other:
        return None
    a, b = convolution(left), convolution(right)
    pads = (max(a.padding[0], b.padding[0]), max(a.padding[1], b.padding[1]))
    height, width = (max(pads[n] - o.padding[n] + o.kernel[n] for o in (a, b)) for n in (0, 1))
    features = a.out_features + b.out_features
    wide = replace(
        a, out_features=features, kernel=(height, width), padding=pads, has_bias=a.has_bias or b.has_bias
    )
    name = f"{left.name}+{right.name}"
    merged = replace(left, name=name, operation=wide)
    layers = [layer for layer in network.layers if layer.name not in (left.name, right.name)]
    at = max(n for n, layer in enumerate(network.layers) if layer.name in (left.name, right.name)) - 1
    layers.insert(at, merged)
    edges = [
        replace(
            edge,
            source=name if edge.source == left.name else edge.source,
            target=name if edge.target == left.name else edge.target,
        )
        for edge in network.edges
        if right.name not in (edge.source, edge.target)
    ]
    outputs = tuple(
        replace(output, source=name if output.source in (left.name, right.name) else output.source)
        for output in network.outputs
    )
    return network.replacing(layers=tuple(layers), edges=tuple(edges), outputs=outputs)
