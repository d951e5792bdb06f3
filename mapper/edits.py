"""Changes of a network's sizes: what a repair proposes and a search for the widest network tries.

An edited network has shapes alone, since its weights are still to be trained. Whatever follows from a
changed size follows here too: the maps behind it, the inputs of its consumers, the features of signals
it is added to, the kernels of layers that read a whole map.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from mapper.errors import Finding, NetworkError, ShapeError
from mapper.network import Edge, Input
from mapper.normal_form import NormalLayer, NormalNetwork
from mapper.operations import Pair, Pool, Shape, shape_after
from mapper.wording import titled

__all__ = [
    "Edit",
    "EditField",
    "apply_edits",
    "following_edits",
    "linked_layers",
    "reads_whole_map",
    "shapes_only",
]

EditField: TypeAlias = Literal["features", "kernel", "stride", "padding", "pooling", "input_size"]


@dataclass(frozen=True, slots=True)
class Edit:
    """One size of a network set to another value.

    Attributes
    ----------
    name
        Layer, or input for "input_size".
    field
        "features": output features, an int. "kernel", "stride", "padding": (height, width).
        "pooling": (height, width) of the pools behind a layer, stride = size, (1, 1) for none.
        "input_size": (height, width) of an input.
    target
        For "pooling": the one layer behind whose edge is meant; None for all of them.
    """

    name: str
    field: EditField
    value: int | Pair
    target: str | None = None


def reads_whole_map(layer: NormalLayer) -> bool:
    """Whether the kernel covers the map, as that of a former linear layer does: it follows the map."""
    conv = layer.operation
    return conv.kernel == layer.input_shape[1:] and conv.padding == (0, 0)


def shapes_only(network: NormalNetwork) -> NormalNetwork:
    """The network without its numbers: itself where it has none."""
    if all(_is_bare(layer) for layer in network.layers):
        return network
    layers = [
        replace(
            layer,
            operation=replace(layer.operation, weight=None, bias=None),
            neuron=replace(layer.neuron, initial_potential=None),
        )
        for layer in network.layers
    ]
    return network.replacing(layers=tuple(layers))


def _is_bare(layer: NormalLayer) -> bool:
    numbers = (layer.operation.weight, layer.operation.bias, layer.neuron.initial_potential)
    return all(entry is None for entry in numbers)


def linked_layers(network: NormalNetwork, name: str) -> tuple[str, ...]:
    """Layers whose features must change together because their signals are added, `name` first.

    Raises
    ------
    NetworkError
        The signal is added to an input, or to a part of another signal.
    """
    inputs = {entry.name for entry in network.inputs}
    linked, waiting = [name], [name]
    while waiting:
        for edge in network.outgoing[waiting.pop()]:
            for other in network.incoming[edge.target]:
                if not _overlap(network, edge, other) or other.source in linked:
                    continue
                same = network.signal_shapes[other.source].features == network.signal_shapes[name].features
                if other.source in inputs or not same or other.feature_offset != edge.feature_offset:
                    problem = f"its features are added to those of {other.source}, which cannot follow"
                    raise NetworkError(Finding(f"layer {titled(name)}", problem))
                linked.append(other.source)
                waiting.append(other.source)
    return tuple(linked)


def _overlap(network: NormalNetwork, one: Edge, two: Edge) -> bool:
    spans = [
        (e.feature_offset, e.feature_offset + network.signal_shapes[e.source].features) for e in (one, two)
    ]
    return one is not two and max(spans[0][0], spans[1][0]) < min(spans[0][1], spans[1][1])


def apply_edits(network: NormalNetwork, edits: Sequence[Edit]) -> NormalNetwork:
    """A network of shapes alone with some sizes changed, and all that follows from them.

    Raises
    ------
    NetworkError, ShapeError
        The edit names nothing, or the shapes behind it no longer follow.
    """
    plain = shapes_only(network)
    whole = frozenset(layer.name for layer in plain.layers if reads_whole_map(layer))
    known = {*plain.by_name, *(entry.name for entry in plain.inputs)}
    if unknown := [edit for edit in edits if edit.name not in known]:
        raise NetworkError(
            *(Finding(f"edit of {e.name}", "no layer or input has this name") for e in unknown)
        )
    features = {
        name: edit.value
        for edit in edits
        if edit.field == "features" and isinstance(edit.value, int)
        for name in linked_layers(plain, edit.name)
    }
    layers = {layer.name: _edited(layer, edits, features.get(layer.name)) for layer in plain.layers}
    inputs = tuple(_resized(entry, edits) for entry in plain.inputs)
    pools = {
        (e.name, e.target): e.value for e in edits if e.field == "pooling" and isinstance(e.value, tuple)
    }
    edges = [_pooled(edge, pools) for edge in _shifted(plain, features)]
    ready = _propagated(inputs, layers, edges, whole)
    return plain.replacing(inputs=inputs, layers=ready, edges=tuple(edges))


def following_edits(network: NormalNetwork, edits: Sequence[Edit]) -> tuple[Edit, ...]:
    """Sizes of layers that change with some others: features that are added, kernels that cover a map.

    Raises
    ------
    NetworkError, ShapeError
        As `apply_edits`.
    """
    stated = {(edit.name, edit.field) for edit in edits}
    following: list[Edit] = []
    for layer in apply_edits(network, edits).layers:
        old, new = network.by_name[layer.name].operation, layer.operation
        if new.out_features != old.out_features and (layer.name, "features") not in stated:
            following.append(Edit(layer.name, "features", new.out_features))
        if new.kernel != old.kernel and (layer.name, "kernel") not in stated:
            following.append(Edit(layer.name, "kernel", new.kernel))
    return tuple(following)


def _edited(layer: NormalLayer, edits: Iterable[Edit], features: int | None) -> NormalLayer:
    conv = layer.operation
    changes: dict[str, object] = {} if features is None else {"out_features": features}
    for edit in edits:
        if edit.name == layer.name and edit.field in ("kernel", "stride", "padding"):
            changes[edit.field] = edit.value
    if not changes:
        return layer
    return replace(layer, operation=replace(conv, **changes))  # type: ignore[arg-type]  # fields of Convolution


def _resized(entry: Input, edits: Iterable[Edit]) -> Input:
    for edit in edits:
        if edit.name == entry.name and edit.field == "input_size" and isinstance(edit.value, tuple):
            entry = replace(entry, shape=Shape(entry.shape.features, *edit.value))
    return entry


def _pooled(edge: Edge, pools: Mapping[tuple[str, str | None], Pair]) -> Edge:
    size = pools.get((edge.source, edge.target), pools.get((edge.source, None)))
    if size is None:
        return edge
    return replace(edge, path=() if size == (1, 1) else (Pool("sum", size, size),))


def _shifted(network: NormalNetwork, features: Mapping[str, int]) -> Iterator[Edge]:
    """Edges whose offsets close the gaps that lost features leave in a concatenation."""
    for edge in network.edges:
        lost = {}
        for other in network.incoming[edge.target]:
            width = network.signal_shapes[other.source].features
            if other.source in features and other.feature_offset + width <= edge.feature_offset:
                lost[other.feature_offset] = width - features[other.source]
        yield replace(edge, feature_offset=edge.feature_offset - sum(lost.values())) if lost else edge


def _propagated(
    inputs: Sequence[Input], layers: Mapping[str, NormalLayer], edges: Sequence[Edge], whole: frozenset[str]
) -> tuple[NormalLayer, ...]:
    """Layers with the input shapes that follow; sweeps settle because sizes follow from the inputs."""
    ready = dict(layers)
    incoming: dict[str, list[Edge]] = {name: [] for name in ready}
    for edge in edges:
        incoming[edge.target].append(edge)
    for _ in range(len(ready) + 1):
        settled = True
        signals = {entry.name: entry.shape for entry in inputs}
        signals |= {name: layer.output_shape for name, layer in ready.items()}
        for name, layer in ready.items():
            shape = _arriving(name, incoming[name], signals)
            if shape != layer.input_shape:
                settled = False
                fresh = replace(layer, input_shape=shape)
                if name in whole:
                    fresh = replace(fresh, operation=replace(fresh.operation, kernel=shape[1:]))
                ready[name] = fresh
                signals[name] = fresh.output_shape
        if settled:
            return tuple(ready.values())
    raise ShapeError(Finding("network", "its shapes do not settle, since a cycle feeds back its own size"))


def _arriving(name: str, edges: Sequence[Edge], signals: Mapping[str, Shape]) -> Shape:
    try:
        shapes = [shape_after(signals[edge.source], edge.path) for edge in edges]
    except ValueError as error:
        raise ShapeError(Finding(f"layer {titled(name)}", str(error))) from None
    if any(min(shape) < 1 for shape in shapes):
        raise ShapeError(Finding(f"layer {titled(name)}", "nothing is left of the map that reaches it"))
    features = max(e.feature_offset + s.features for e, s in zip(edges, shapes, strict=True))
    return Shape(features, shapes[0].height, shapes[0].width)
