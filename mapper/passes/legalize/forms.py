"""TRANSITIONAL: replaced by the branch h-legal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hwspec.schema import ChipSpec
from mapper.network import Edge, Layer, Network
from mapper.operations import Pair
from mapper.passes.legalize import legalize

__all__ = ["Forms", "LayerForm", "legal_forms", "with_forms"]


@dataclass(frozen=True, slots=True)
class LayerForm:
    layer: Layer
    edges: tuple[Edge, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Forms:
    source: Network
    stage: Pair | None
    layers: Mapping[str, tuple[LayerForm, ...]]

    def network(self, chosen: Mapping[str, int]) -> Network:
        return with_forms(self.source, {name: self.layers[name][n] for name, n in chosen.items()})


def with_forms(network: Network, chosen: Mapping[str, LayerForm]) -> Network:
    edges = {}
    for name, form in chosen.items():
        edges |= {id(old): new for old, new in zip(network.incoming[name], form.edges, strict=True)}
    return network.replacing(
        layers=tuple(chosen[x.name].layer if x.name in chosen else x for x in network.layers),
        edges=tuple(edges.get(id(edge), edge) for edge in network.edges),
        notes=(*network.notes, *(note for form in chosen.values() for note in form.notes)),
    )


def legal_forms(network: Network, chip: ChipSpec, *, relays: bool = True) -> tuple[Forms, ...]:
    first = legalize(network, chip)
    other = legalize(network, chip, relays=True) if relays else first
    layers = {}
    for a, b in zip(first.layers, other.layers, strict=True):
        forms = [LayerForm(a, first.incoming[a.name], ())]
        if b is not a:
            forms.append(LayerForm(b, other.incoming[a.name], (f"{a.name}: left to relays",)))
        layers[a.name] = tuple(forms)
    return (Forms(first, None, layers),)
