"""Layers that a placement may add or put together: relays and fused siblings, and who may read them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import TypeAlias

from hwspec.schema import ChipSpec
from mapper.network import Edge, Origin
from mapper.normal_form import NormalLayer, NormalNetwork
from mapper.passes.legalize.fusion import Fusion, fusions, sibling_edges
from mapper.passes.legalize.input_phases import InputRelay, input_relays, phased_forms
from mapper.passes.legalize.joints import Joint, joint_relays, jointly
from mapper.passes.legalize.layer_form import LayerForm

__all__ = ["Extended", "extended", "origins_without"]

# More ways to read what reaches one layer than this are left out.
_WAYS_MAX = 256


_Offer: TypeAlias = Fusion | Joint | InputRelay


@dataclass(frozen=True, slots=True)
class Extended:
    """A network with all that may be of use beside its layers, and the ways in which layers may read it.

    Attributes
    ----------
    network
        The given network, and every joint relay and fused layer; layers still read the given ones.
    joints
        Names of the joint relays, and of relays of inputs.
    relays
        Names of the latter.
    fused
        By name of a fused layer, its members.
    ways
        By layer, sets of incoming edges, what reaches it directly first. Edges of fused layers stand beside
        those of their members: of a member and the layers that it may be fused to one is there.
    phased
        By layer, further forms: they read relays of inputs, in each of the ways.
    notes
        By what is on offer, what is worth telling where it is taken.
    has_all, has_siblings
        Whether nothing was left out for its number: sums and ways to read them, siblings.
    """

    network: NormalNetwork
    joints: frozenset[str]
    relays: frozenset[str]
    fused: Mapping[str, tuple[str, ...]]
    ways: Mapping[str, tuple[tuple[Edge, ...], ...]]
    phased: Mapping[str, tuple[LayerForm, ...]]
    notes: Mapping[str, str]
    has_all: bool = True
    has_siblings: bool = True

    @property
    def optional(self) -> frozenset[str]:
        """Layers that need not be there."""
        return self.joints.union(self.fused, *self.fused.values())


def extended(
    network: NormalNetwork,
    apart: Collection[str],
    chip: ChipSpec,
    *,
    joint: bool = True,
    fusion: bool = True,
    phases: bool = True,
) -> Extended | None:
    """The network with what it offers; None where that is nothing.

    Parameters
    ----------
    apart
        Layers that no other may join on a core.
    chip
        Whose cores must hold what joint relays count with.
    joint, fusion, phases
        Whether joint relays, fused siblings and relays with phases are wanted.
    """
    weight = _largest_weight(chip)
    siblings, has_siblings = fusions(network, apart) if fusion else ((), True)
    names, poolings = [entry.layer.name for entry in siblings], chip.routing.poolings
    joints, has_all = joint_relays(network, names, weight, poolings) if joint else ((), True)
    names += [entry.layer.name for entry in joints]
    relays = tuple(input_relays(network, chip, names, weight)) if phases else ()
    every: tuple[_Offer, ...] = (*siblings, *joints, *relays)
    if not every:
        return None
    offers = {entry.layer.name: entry for entry in every}
    direct = {name: network.incoming[name] for name in network.by_name}
    direct |= {name: entry.edges for name, entry in offers.items()}
    ways = {name: (edges, *islice(jointly(edges, joints), _WAYS_MAX + 1)) for name, edges in direct.items()}
    has_all = has_all and all(len(entry) < _WAYS_MAX + 2 for entry in ways.values())
    plain = tuple(Origin(layer.name, layer.output_shape, layer.name) for layer in network.layers)
    whole = network.replacing(
        layers=tuple(_in_order(network, offers)),
        edges=(*network.edges, *(edge for entry in offers.values() for edge in entry.edges)),
        origins=network.origins or plain,
    )
    fused = {entry.layer.name: entry.members for entry in siblings}
    by_phases = frozenset(entry.layer.name for entry in relays)
    reads = {
        name: tuple(_with_fused(way, siblings) for way in entry[: _WAYS_MAX + 1])
        for name, entry in ways.items()
    }
    return Extended(
        whole,
        frozenset(names[len(siblings) :]) | by_phases,
        by_phases,
        fused,
        reads,
        {
            layer.name: tuple(phased_forms(whole, layer, reads[layer.name], relays, chip))
            for layer in whole.layers
        },
        {name: entry.note for name, entry in offers.items()},
        has_all,
        has_siblings,
    )


def _largest_weight(chip: ChipSpec) -> int:
    """Of an identity, whose threshold is as large: what every core can hold."""
    limits = [entry.core.limits for entry in chip.core_classes]
    bits = min(min(each.weight_bits, each.state_bits) for each in limits)
    return (1 << bits - 1) - 1


def _with_fused(edges: tuple[Edge, ...], siblings: Sequence[Fusion]) -> tuple[Edge, ...]:
    """The edges, and those of every fused layer that may stand in the place of some of their sources."""
    return (*edges, *(edge for fusion in siblings for edge in sibling_edges(edges, fusion)))


def _in_order(network: NormalNetwork, offers: Mapping[str, _Offer]) -> Iterator[NormalLayer]:
    """What is on offer behind the last of the layers that it reads or stands for, smaller first."""
    last: dict[str, int] = {}
    position = dict.fromkeys((entry.name for entry in network.inputs), 0)
    position |= {layer.name: n for n, layer in enumerate(network.layers)}
    for name, entry in offers.items():
        sources = entry.members if isinstance(entry, Fusion) else [edge.source for edge in entry.edges]
        last[name] = max(position[source] for source in sources)
    ordered = sorted(offers, key=lambda name: len(offers[name].edges))
    for n, layer in enumerate(network.layers):
        yield layer
        yield from (offers[name].layer for name in ordered if last[name] == n)


def origins_without(offers: Extended, absent: Collection[str]) -> tuple[Origin, ...]:
    """Where the given layers are found without those that are not there; empty where they are themselves.

    Parameters
    ----------
    absent
        Joint relays and fused layers that are not taken, and members of those that are.
    """
    network = offers.network
    origins = {origin.name: origin for origin in network.origins}
    for name, members in offers.fused.items():
        start = 0
        for member in members if name not in absent else ():
            (carried,) = (origin for origin in origins.values() if origin.layer == member)
            origins[carried.name] = replace(carried, layer=name, start=start)
            start += network.by_name[member].output_shape.features
    is_given = offers.joints <= set(absent) and all(map(_is_itself, origins.values()))
    return () if is_given else tuple(origins.values())


def _is_itself(origin: Origin) -> bool:
    return origin.layer == origin.name and not origin.start and origin.phases == (1, 1)
