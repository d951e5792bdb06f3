"""Sums and concatenations that several cores read: what one identity core may pass on for all of them.

A joint relay reads the addends, each through its own pool and at its own feature offset, and sends what they
add up to: one destination a reader, instead of one a reader and addend. Within a time step its neurons spike
as often as spikes arrive, so that nothing changes (SEMANTICS: counts of up to 258 a step).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import gcd
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from mapper.network import Edge
from mapper.normal_form import NormalLayer, NormalNetwork
from mapper.operations import Convolution, Neuron, Pool, Shape, shape_after
from mapper.references import natural_key
from mapper.wording import join_names

__all__ = ["Joint", "joint_relays", "jointly", "passing_on"]

# Of more sums than this those with most addends are on offer.
_JOINTS_MAX = 48


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
class Joint:
    """A sum that several cores read, and the identity core that may pass it on.

    Attributes
    ----------
    edges
        What reaches it: the addends.
    """

    addends: _Sum
    layer: NormalLayer
    edges: tuple[Edge, ...]

    @property
    def note(self) -> str:
        """What is worth telling of it."""
        names = join_names(list(dict.fromkeys(edge.source for edge in self.edges)))
        return f"{self.layer.title} passes on what {names} send, in one, to layers that read all of it"


def joint_relays(
    network: NormalNetwork,
    taken: Collection[str] = (),
    weight: int = 127,
    poolings: Collection[int] = (1, 2, 4),
) -> tuple[tuple[Joint, ...], bool]:
    """Every sum of two addends or more that two layers read, those with most first; then what one reads.

    A layer that stands on several cores reads a sum several times. Addends are spikes of layers that arrive
    in the same step; those of inputs, and what runs backwards, are left to the destinations of their own.

    Parameters
    ----------
    taken
        Names that other layers on offer have.
    weight
        Of the identity, where networks are of integers; the larger, the more spikes of a step it counts.
    poolings
        That destinations can do.

    Returns
    -------
    tuple
        The joint relays, and whether these are all.
    """
    incoming = (network.incoming[layer.name] for layer in network.layers)
    reads = [_addends(edges) for edges in incoming if len(edges) > 1]
    inputs = {entry.name for entry in network.inputs}
    reads = [frozenset(a for a in entry if a.source not in inputs) for entry in reads]
    shared = _common([entry for entry in reads if len(entry) > 1])
    shared |= {nearer for joint in shared if (nearer := _nearer(network, joint, poolings)) is not None}
    sums = sorted(shared, key=lambda joint: (-len(joint), sorted(joint)))
    whole = {_from_0(entry) for entry in reads if len(entry) > 1}
    alone = {_nearer(network, joint, poolings) or joint for joint in whole}.difference(shared)
    every = [*sums, *sorted(alone, key=sorted)]
    sums = every[:_JOINTS_MAX]
    found = []
    for joint, name in zip(sums, _names(network, sums, taken), strict=True):
        edges = (Edge(a.source, name, _path(a.pool), a.offset) for a in sorted(joint))
        found.append(Joint(joint, _joint_layer(network, joint, name, weight), tuple(edges)))
    return tuple(found), sums == every


def _addends(edges: Sequence[Edge]) -> _Sum:
    """What edges bring that may come by a joint relay; what comes twice stays as it is."""
    found = [a for edge in edges if (a := _addend(edge)) is not None]
    return frozenset(addend for addend in found if found.count(addend) == 1)


def _addend(edge: Edge) -> _Addend | None:
    if edge.delay_steps:
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
    by_source: dict[str, list[_Addend]] = {}
    for addend in other:
        by_source.setdefault(addend.source, []).append(addend)
    pairs = ((a, b) for a in one for b in by_source.get(a.source, ()))
    for match in {m for a, b in pairs if (m := _aligned(a, b)) is not None}:
        common = [a for a in one if _moved(a, match) in other]
        if len(common) > 1:
            yield _from_0(common)


def _nearer(network: NormalNetwork, joint: _Sum, poolings: Collection[int]) -> _Sum | None:
    """The sum with pools that destinations have, where they lack some: its readers pool the rest of them.

    None where they have all, where no factor in common helps, or where maps would then differ in size: of
    rows that fill no pool more are left.
    """
    pools = [addend.pool for addend in joint]
    if all(pool in poolings for pool in pools):
        return None
    common = gcd(*pools)
    factors = (n for n in range(2, common + 1) if common % n == 0)
    for factor in factors:
        nearer = frozenset(a._replace(pool=a.pool // factor) for a in joint)
        maps = {shape_after(network.signal_shapes[a.source], _path(a.pool))[1:] for a in nearer}
        if len(maps) == 1 and all(addend.pool in poolings for addend in nearer):
            return nearer
    return None


def _from_0(addends: Iterable[_Addend]) -> _Sum:
    """The same with the first of its features at 0."""
    first = min(addend.offset for addend in addends)
    return frozenset(addend._replace(offset=addend.offset - first) for addend in addends)


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


def jointly(edges: Sequence[Edge], joints: Sequence[Joint]) -> Iterator[tuple[Edge, ...]]:
    """Further ways to read the same: some addends by joint relays, which share none, the rest directly."""
    target, read = edges[0].target, _addends(edges)
    is_joint = any(joint.layer.name == target for joint in joints)
    parts = [
        (
            frozenset(_moved(a, match) for a in joint.addends),
            Edge(joint.layer.name, target, _path(match.pool), match.offset),
        )
        for joint in joints
        if joint.layer.name != target and (len(joint.addends) < len(read) or not is_joint)
        for match in _matches(joint.addends, read)
    ]
    for chosen in _disjoint(parts):
        taken = frozenset[_Addend]().union(*(addends for addends, _ in chosen))
        yield (*(edge for edge in edges if _addend(edge) not in taken), *(edge for _, edge in chosen))


_Part: TypeAlias = tuple[_Sum, Edge]


def _disjoint(parts: Sequence[_Part]) -> Iterator[tuple[_Part, ...]]:
    """Every choice of parts that share no addend: one, then two of them, then more."""
    choices: list[tuple[int, tuple[_Part, ...]]] = [(n + 1, (part,)) for n, part in enumerate(parts)]
    while choices:
        yield from (chosen for _, chosen in choices)
        choices = [
            (n + 1, (*chosen, parts[n]))
            for start, chosen in choices
            for n in range(start, len(parts))
            if not any(parts[n][0] & taken for taken, _ in chosen)
        ]


def _path(pool: int) -> tuple[Pool, ...]:
    return (Pool("sum", (pool, pool), (pool, pool)),) if pool > 1 else ()


def _names(network: NormalNetwork, sums: Iterable[_Sum], others: Collection[str]) -> Iterator[str]:
    taken = {*network.signal_shapes, *others}
    for joint in sums:
        sources = sorted({addend.source for addend in joint}, key=natural_key)
        named = sources if len(sources) < 4 else [sources[0], f"{len(sources) - 2} more", sources[-1]]
        name = base = "+".join(named)
        number = 2
        while name in taken:
            name, number = f"{base} ({number})", number + 1
        taken.add(name)
        yield name


def _joint_layer(network: NormalNetwork, joint: _Sum, name: str, most: int) -> NormalLayer:
    """An identity over all features of the sum, of the kind of numbers that the network has."""
    shapes = {a: shape_after(network.signal_shapes[a.source], _path(a.pool)) for a in joint}
    features = max(addend.offset + shape.features for addend, shape in shapes.items())
    shape = next(iter(shapes.values()))._replace(features=features)
    unit, kind, neuron = passing_on(network, most)
    weight = None if kind is None else (unit * np.eye(features)).astype(kind)[:, :, None, None]
    return NormalLayer(name, Shape(*shape), Convolution(features, (1, 1), weight=weight), neuron=neuron)


def passing_on(network: NormalNetwork, most: int) -> tuple[float, Any, Neuron]:
    """Of an identity core: weight, kind of number (None where a network has none), neurons.

    Parameters
    ----------
    most
        The weight where networks are of integers.
    """
    if not network.has_weights:
        return 1, None, Neuron(1, -1)
    if network.is_integer:
        return most, np.min_scalar_type(-most), Neuron(most, -1)
    kind = getattr(network.layers[0].operation.weight, "dtype", float)
    return 1.0, kind, Neuron(1.0, -1.0)
