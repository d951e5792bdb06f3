"""Sums and concatenations that several layers read: what one identity core may pass on for all of them.

A joint relay reads the addends, each through its own pool and at its own feature offset, and sends what they
add up to: one destination a reader, instead of one a reader and addend. Within a time step its neurons spike
as often as spikes arrive, so that nothing changes (SEMANTICS: counts of up to 258 a step).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from mapper.network import Edge, Origin
from mapper.normal_form import NormalLayer, NormalNetwork
from mapper.operations import Convolution, Neuron, Pool, Shape, shape_after

__all__ = ["Extended", "with_joints", "without_joints"]

# More sums than this are left out, and more ways to read one layer's addends: those with most addends stay.
_JOINTS_MAX, _WAYS_MAX = 48, 64


class _Addend(NamedTuple):
    """What a layer reads of another: the pool on the way, square with stride = size, and the offset."""

    source: str
    pool: int
    offset: int


_Sum: TypeAlias = frozenset[_Addend]


class _Match(NamedTuple):
    """That a sum is part of what a layer reads, pooled `pool` times more and `offset` further on."""

    pool: int
    offset: int


@dataclass(frozen=True, slots=True)
class Extended:
    """A network with every joint relay that may be of use, and the ways in which layers may read these.

    Attributes
    ----------
    network
        The given network and all joint relays; layers still read the addends.
    joints
        Names of the joint relays.
    ways
        By layer, further sets of its incoming edges; what arrives is the same.
    """

    network: NormalNetwork
    joints: frozenset[str]
    ways: Mapping[str, tuple[tuple[Edge, ...], ...]]


def with_joints(network: NormalNetwork) -> Extended | None:
    """The network with its joint relays; None where no two layers read the same two addends.

    Addends are spikes of layers that arrive in the same step; those of inputs, and what runs backwards, are
    left to the destinations of their own.
    """
    reads = {layer.name: _addends(network, layer.name) for layer in network.layers}
    common = _common([entry for entry in reads.values() if len(entry) > 1])
    read_by = {joint: sum(any(_matches(joint, entry)) for entry in reads.values()) for joint in common}
    sums = sorted(
        (joint for joint, readers in read_by.items() if readers > 1),
        key=lambda joint: (-len(joint), sorted(joint)),
    )[:_JOINTS_MAX]
    if not sums:
        return None
    names = dict(zip(sums, _names(network, sums), strict=True))
    layers = {name: _joint_layer(network, joint, name) for joint, name in names.items()}
    edges = [
        Edge(addend.source, names[joint], _path(addend.pool), addend.offset)
        for joint in sums
        for addend in sorted(joint)
    ]
    ways = {name: tuple(_ways(network.incoming[name], entry, names, name)) for name, entry in reads.items()}
    direct = {name: tuple(edge for edge in edges if edge.target == name) for name in layers}
    ways |= {name: tuple(_ways(direct[name], joint, names, name)) for joint, name in names.items()}
    return Extended(
        network.replacing(
            layers=tuple(_in_order(network, names, layers)),
            edges=(*network.edges, *edges),
            origins=network.origins or tuple(Origin(e.name, e.output_shape, e.name) for e in network.layers),
        ),
        frozenset(layers),
        {name: entry for name, entry in ways.items() if entry},
    )


def _addends(network: NormalNetwork, layer: str) -> _Sum:
    """What a layer reads of others that may come by a joint relay; what comes twice stays as it is."""
    found = [a for edge in network.incoming[layer] if (a := _addend(network, edge)) is not None]
    return frozenset(addend for addend in found if found.count(addend) == 1)


def _addend(network: NormalNetwork, edge: Edge) -> _Addend | None:
    if edge.source not in network.by_name or edge.delay_steps:
        return None
    sizes = {*edge.pool.size, *edge.pool.stride} if edge.pool else {1}
    return _Addend(edge.source, sizes.pop(), edge.feature_offset) if len(sizes) == 1 else None


def _common(read: Sequence[_Sum]) -> set[_Sum]:
    """Every sum of two addends or more that two of these have in common, and those that such sums have."""
    found: set[_Sum] = set()
    fresh = list(read)
    while fresh and len(found) < 4 * _JOINTS_MAX:
        more = {part for one in fresh for other in (*read, *found) for part in _shared(one, other)}
        fresh = sorted(more - found, key=sorted)
        found |= more
    return found


def _shared(one: _Sum, other: _Sum) -> Iterator[_Sum]:
    """Sums within `one` that `other` has as well, pooled more by some factor; offsets from 0."""
    if one is other:
        return
    for match in {m for a in one for b in other if (m := _aligned(a, b)) is not None}:
        common = [a for a in one if _moved(a, match) in other]
        if len(common) > 1:
            first = min(addend.offset for addend in common)
            yield frozenset(a._replace(offset=a.offset - first) for a in common)


def _aligned(one: _Addend, other: _Addend) -> _Match | None:
    if one.source != other.source or other.pool % one.pool:
        return None
    return _Match(other.pool // one.pool, other.offset - one.offset)


def _moved(addend: _Addend, match: _Match) -> _Addend:
    return _Addend(addend.source, addend.pool * match.pool, addend.offset + match.offset)


def _matches(joint: _Sum, read: _Sum) -> Iterator[_Match]:
    """Where a sum is a part of what is read."""
    anchor = min(joint)
    for addend in sorted(read):
        match = _aligned(anchor, addend)
        if match is not None and match.offset >= 0 and all(_moved(a, match) in read for a in joint):
            yield match


def _ways(
    edges: Sequence[Edge], read: _Sum, names: Mapping[_Sum, str], target: str
) -> Iterator[tuple[Edge, ...]]:
    """Further ways to read the same: some addends by joint relays, which share none, the rest directly."""
    parts = [
        (frozenset(_moved(a, match) for a in joint), Edge(name, target, _path(match.pool), match.offset))
        for joint, name in names.items()
        if name != target
        for match in _matches(joint, read)
        if len(joint) < len(read) or target not in names.values()
    ]
    by_addend = {_Addend(e.source, e.pool.size[0] if e.pool else 1, e.feature_offset): e for e in edges}
    for chosen in list(_disjoint(parts))[:_WAYS_MAX]:
        taken = frozenset().union(*(addends for addends, _ in chosen))
        left = [edge for edge in edges if not any(by_addend.get(a) is edge for a in taken)]
        yield (*left, *(edge for _, edge in chosen))


_Part: TypeAlias = tuple[_Sum, Edge]


def _disjoint(parts: Sequence[_Part]) -> Iterator[tuple[_Part, ...]]:
    """Every choice of one or more of the parts that share no addend."""
    for n, part in enumerate(parts):
        yield (part,)
        others = [other for other in parts[n + 1 :] if not other[0] & part[0]]
        for more in _disjoint(others):
            yield (part, *more)


def _path(pool: int) -> tuple[Pool, ...]:
    return (Pool("sum", (pool, pool), (pool, pool)),) if pool > 1 else ()


def _names(network: NormalNetwork, sums: Iterable[_Sum]) -> Iterator[str]:
    taken = set(network.signal_shapes)
    for joint in sums:
        sources = sorted({addend.source for addend in joint}, key=network.index.__getitem__)
        named = sources if len(sources) < 4 else [sources[0], f"{len(sources) - 2} more", sources[-1]]
        name = base = "+".join(named)
        number = 2
        while name in taken:
            name, number = f"{base} ({number})", number + 1
        taken.add(name)
        yield name


def _joint_layer(network: NormalNetwork, joint: _Sum, name: str) -> NormalLayer:
    """An identity over all features of the sum, of the kind of numbers that the network has."""
    shapes = {a: shape_after(network.signal_shapes[a.source], _path(a.pool)) for a in joint}
    features = max(addend.offset + shape.features for addend, shape in shapes.items())
    shape = next(iter(shapes.values()))._replace(features=features)
    weight: Any = None
    unit: float = 1
    if network.has_weights:
        kind = network.layers[0].operation.weight
        unit = 127 if network.is_integer else 1.0
        weight = (
            (unit * np.eye(features)).astype(getattr(kind, "dtype", float)).reshape(features, features, 1, 1)
        )
    operation = Convolution(features, (1, 1), weight=weight)
    return NormalLayer(name, Shape(*shape), operation, neuron=Neuron(unit, -1 if unit != 1.0 else -1.0))


def _in_order(
    network: NormalNetwork, names: Mapping[_Sum, str], layers: Mapping[str, NormalLayer]
) -> Iterator[NormalLayer]:
    """Each joint relay behind the last of its addends, smaller sums first."""
    last = {name: max(network.index[a.source] for a in joint) for joint, name in names.items()}
    ordered = sorted(names.items(), key=lambda entry: len(entry[0]))
    for n, layer in enumerate(network.layers):
        yield layer
        yield from (layers[name] for _, name in ordered if last[name] == n)


def without_joints(network: NormalNetwork, absent: frozenset[str]) -> NormalNetwork:
    """The network without some joint relays, which nothing reads."""
    kept = tuple(layer for layer in network.layers if layer.name not in absent)
    given = {origin.layer for origin in network.origins}
    is_given = all(layer.name in given for layer in kept)
    return network.replacing(
        layers=kept,
        edges=tuple(edge for edge in network.edges if edge.target not in absent),
        origins=() if is_given and _is_plain(network.origins) else network.origins,
    )


def _is_plain(origins: Sequence[Origin]) -> bool:
    return all(o.layer == o.name and not o.start and o.phases == (1, 1) for o in origins)
