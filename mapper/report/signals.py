"""Who sends to whom in a placement: layers as they stand on the chip, whatever relays lie between them.

A layer's pieces and copies are one node. Its links are found from the destinations of its cores, those of
relays on the way included, so what is shown is what is placed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from mapper.record import CoreUse, PlacementRecord
from mapper.report.wiring import Wire
from mapper.solution import DVS, READOUT

__all__ = ["Link", "Node", "Signals", "signals", "wires_of"]

# A core, or an input's name and whether it is the sensor's.
_Origin: TypeAlias = int | tuple[str, bool]


@dataclass(frozen=True, slots=True)
class Node:
    """What sends or is sent to.

    Attributes
    ----------
    network
        Index of the network.
    name
        Of the input or layer as placed; "sensor", "readout".
    index
        Place in the network's order: inputs come first, the readout stage last.
    shape
        Features, height and width of a layer's whole map; None of an input or the readout stage.
    places
        Where it stands: places in the record's list of cores.
    """

    kind: Literal["input", "layer", "readout"]
    network: int
    name: str
    index: int
    shape: tuple[int, int, int] | None = None
    places: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Link:
    """A signal on its way from one node to another.

    Attributes
    ----------
    source, target
        Places in the list of nodes.
    pooling
        Pool sizes on the way, relays' included; more than one only where ways differ.
    wires
        Places of the wires that carry it.
    """

    source: int
    target: int
    pooling: tuple[int, ...]
    wires: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Signals:
    """Nodes by network and order, and the links between them."""

    nodes: tuple[Node, ...]
    links: tuple[Link, ...]

    def node_at(self, place: int) -> int | None:
        """The node of the layer that stands there; None of a relay or an empty core."""
        return next((n for n, node in enumerate(self.nodes) if place in node.places), None)


def wires_of(record: PlacementRecord) -> tuple[Wire, ...]:
    """One wire for every core that an input enters, then one for every destination."""
    place = {use.core: n for n, use in enumerate(record.cores)}
    entries = record.solution.host_entries
    return (
        *(Wire(None, place[entry.core], 1, entry.feature_shift, entry.input) for entry in entries),
        *(
            Wire(
                None if route.source == DVS else place[route.source],
                None if route.target == READOUT else place[route.target],
                route.pooling,
                route.feature_shift,
                "sensor" if route.source == DVS else "",
                is_sensor=route.source == DVS,
            )
            for route in record.solution.routes
        ),
    )


def signals(record: PlacementRecord, wires: Sequence[Wire]) -> Signals:
    """Nodes and links of a placement with these wires."""
    layers = _layers(record)
    node_of = {place: node for node in layers for place in node.places}
    relays = {n for n, use in enumerate(record.cores) if use.role == "relay"}
    leaving: dict[_Origin, list[int]] = {}
    for n, wire in enumerate(wires):
        leaving.setdefault(_origin(wire), []).append(n)
    found: dict[tuple[Node, Node], tuple[set[int], set[int]]] = {}
    for origin in leaving:
        if origin in relays:
            continue
        for target, pooling, taken in _ways(wires, leaving, relays, origin):
            reader = None if target is None else node_of.get(target)
            sender = _sender(origin, node_of, reader)
            if sender is None or (reader is None and target is not None):
                continue
            reader = reader or Node("readout", sender.network, "readout", len(record.layers))
            sizes, used = found.setdefault((sender, reader), (set(), set()))
            sizes.add(pooling)
            used.update(taken)
    ends = {*layers, *(node for pair in found for node in pair)}
    nodes = tuple(sorted(ends, key=lambda node: (node.network, node.index, node.name, node.places)))
    at = {node: n for n, node in enumerate(nodes)}
    links = [
        Link(at[sender], at[reader], tuple(sorted(sizes)), tuple(sorted(used)))
        for (sender, reader), (sizes, used) in found.items()
    ]
    return Signals(nodes, tuple(sorted(links, key=lambda link: (link.source, link.target))))


def _origin(wire: Wire) -> _Origin:
    return (wire.input, wire.is_sensor) if wire.source is None else wire.source


def _sender(origin: _Origin, node_of: Mapping[int, Node], reader: Node | None) -> Node | None:
    """What a wire starts from: a layer, or an input of the network that reads it."""
    if isinstance(origin, int):
        return node_of.get(origin)
    return None if reader is None else Node("input", reader.network, origin[0], -1)


def _ways(
    wires: Sequence[Wire], leaving: Mapping[_Origin, list[int]], relays: set[int], origin: _Origin
) -> Iterator[tuple[int | None, int, set[int]]]:
    """(place or None for readout, pool size, wires taken) of whatever an origin reaches by way of relays."""
    pooled: dict[_Origin, int] = {origin: 1}
    entering: dict[_Origin, set[int]] = {origin: set()}
    arriving = []
    waiting = [origin]
    for place in waiting:
        for n in leaving.get(place, ()):
            target, pooling = wires[n].target, pooled[place] * wires[n].pooling
            if target is None or target not in relays:
                arriving.append((target, pooling, place, n))
                continue
            entering.setdefault(target, set()).add(n)
            if target not in pooled:
                pooled[target] = pooling
                waiting.append(target)
    for target, pooling, last, n in arriving:
        yield target, pooling, {n} | _before(wires, entering, last)


def _before(wires: Sequence[Wire], entering: Mapping[_Origin, set[int]], place: _Origin) -> set[int]:
    """All wires on ways to a relay."""
    taken: set[int] = set()
    waiting = [place]
    for each in waiting:
        fresh = entering.get(each, set()) - taken
        taken |= fresh
        waiting += [_origin(wires[n]) for n in fresh]
    return taken


def _layers(record: PlacementRecord) -> list[Node]:
    index = {(layer.network, core): layer.index for layer in reversed(record.layers) for core in layer.cores}
    stands: dict[tuple[int, str], list[tuple[int, CoreUse]]] = {}
    for n, use in enumerate(record.cores):
        if use.role not in ("relay", "empty"):
            stands.setdefault((use.network or 0, use.layer or ""), []).append((n, use))
    return [
        Node(
            "layer",
            network,
            name,
            min(index.get((network, use.core), len(record.layers)) for _, use in uses),
            (max(use.features[1] for _, use in uses), *uses[0][1].shape[1:]),
            tuple(n for n, _ in uses),
        )
        for (network, name), uses in stands.items()
    ]
