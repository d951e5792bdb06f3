"""Every legal form of a network on a chip: per setting of the sensor stage, and per layer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from hwspec.schema import ChipSpec
from mapper.network import Edge
from mapper.normal_form import NormalLayer, NormalNetwork
from mapper.operations import Pair
from mapper.passes.legalize.layer_form import Candidate, LayerForm, Setting, candidates, unfolded
from mapper.passes.legalize.offers import Extended, origins_without
from mapper.passes.legalize.pools import size_and_stride
from mapper.passes.legalize.sensor import sensor_first, stage_settings
from mapper.passes.legalize.stride import bounds_apart, common_bounds

__all__ = ["Forms", "legal_forms", "legalize"]

Row = Mapping[str, tuple[Candidate, ...]]


@dataclass(frozen=True, slots=True)
class Forms:
    """Every legal form of a network on a chip, under one setting of the sensor stage.

    Attributes
    ----------
    source
        The network as it was.
    stage
        (height, width) of the sensor stage's pooling; None without a layer that the sensor feeds. Edges
        keep their whole pool, of which the stage does this part. Where no setting serves all edges, the
        pool of the first: a violation then says what is wrong.
    layers
        By layer, in the network's order, at least one form. The first is what destinations can do alone,
        with the fewest changes; where there is none, the one that folds least.
    have_rivals
        Whether a layer has several forms that need no relay: no one of them is the best of all.
    offers
        What of the source need not be there: joint relays, fused siblings or their members.
    """

    source: NormalNetwork
    stage: Pair | None
    layers: Mapping[str, tuple[LayerForm, ...]]
    have_rivals: bool = False
    offers: Extended | None = None

    def network(
        self, chosen: Mapping[str, int] = MappingProxyType({}), absent: frozenset[str] = frozenset()
    ) -> NormalNetwork:
        """The network in the forms that are chosen: `source` itself where these change nothing.

        Parameters
        ----------
        chosen
            By layer, index of its form; 0 where a layer is not named.
        absent
            Layers that are not there; no form that is chosen reads them.

        Raises
        ------
        ValueError
            A layer is unknown, or has no form of this index.
        """
        for name, index in chosen.items():
            count = len(self.layers.get(name, ()))
            if not 0 <= index < count:
                raise ValueError(f"layer {name} has {count} forms, and none of index {index}")
        forms = {
            name: choices[chosen.get(name, 0)] for name, choices in self.layers.items() if name not in absent
        }
        notes = [note for form in forms.values() for note in form.notes]
        if not notes and (self.offers is None or not (chosen or absent)):
            return self.source
        origins = self.source.origins
        if self.offers is not None and (absent or not self.offers.fused):
            notes += (note for name, note in self.offers.notes.items() if name in forms)
            origins = origins_without(self.offers, absent)
        # Of siblings and what they may be fused to, some are always absent, but where nothing is chosen.
        lost = absent or (self.offers.fused if self.offers else ())
        edges = {name: [e for e in form.edges if e.source not in lost] for name, form in forms.items()}
        ordered = tuple(_ordered(self.source.edges, edges))
        return self.source.replacing(
            layers=tuple(_behind_sources([form.layer for form in forms.values()], ordered)),
            edges=ordered,
            notes=(*self.source.notes, *notes),
            origins=origins,
        )


def _ordered(before: Iterable[Edge], after: Mapping[str, Sequence[Edge]]) -> Iterator[Edge]:
    """Edges, each where the network had one of its target's; more or fewer where the first of them stood."""
    counts = Counter(edge.target for edge in before)
    left = {name: list(edges) for name, edges in after.items()}
    for edge in before:
        waiting = left.get(edge.target, [])
        if waiting and len(after[edge.target]) == counts[edge.target]:
            yield waiting.pop(0)
        else:
            yield from waiting
            waiting.clear()


def _behind_sources(layers: Sequence[NormalLayer], edges: Iterable[Edge]) -> Iterator[NormalLayer]:
    """The layers in their order, but none before what it reads in the same step."""
    waits: dict[str, set[str]] = {layer.name: set() for layer in layers}
    for edge in edges:
        if edge.source in waits and not edge.delay_steps:
            waits[edge.target].add(edge.source)
    left = list(layers)
    while left:
        names = {layer.name for layer in left}
        ready = next((layer for layer in left if not waits[layer.name] & names), left[0])
        left.remove(ready)
        yield ready


def legal_forms(
    network: NormalNetwork,
    chip: ChipSpec,
    *,
    relays: bool = True,
    shared_stage: bool = False,
    by_load: bool = False,
    extended: Extended | None = None,
) -> tuple[Forms, ...]:
    """Every form of a network that is exact in time steps and legal on this chip, without dominated ones.

    Per layer: pools as they are or folded into the kernel as far as destinations, host events, the
    sensor stage and relays need it; kernels made square; strides that do not matter made legal; the
    sensor's features in front. What cannot be rewritten stays, and becomes a violation.

    Parameters
    ----------
    network
        With integer weights, others, or none.
    chip
        Where its cores differ in limits: the forms that all of them allow first, then those of some.
    relays
        Also the forms whose pools need relays: 8 as 4 and 2, a pool behind the host or the stage.
    shared_stage
        Every setting of the sensor stage that serves the network, not only those that are best for it
        alone: the stage has one setting for all networks on a chip.
    by_load
        Also the forms that are better only in what a core does with an event: where this is the objective,
        as where a core bounds it.
    extended
        The network with joint relays, of which every layer's ways to read them become forms too.

    Returns
    -------
    tuple of Forms
        One per setting of the sensor stage, at least one. The first is the largest that serves all
        layers without relays, if there is one; the others follow, the largest first.
    """
    counts_events = by_load or any(entry.core.states_bounds for entry in chip.core_classes)
    network = extended.network if extended else network
    inputs = {entry.name: entry for entry in network.inputs}
    variants = [
        _under(
            network,
            Setting(inputs, network.signal_shapes, chip, bounds, relays, counts_events),
            shared_stage=shared_stage,
            extended=extended,
        )
        for bounds in (common_bounds(chip), *bounds_apart(chip))
    ]
    return variants[0] if len(variants) == 1 else tuple(_together(variants))


def _under(
    network: NormalNetwork, setting: Setting, *, shared_stage: bool, extended: Extended | None = None
) -> tuple[Forms, ...]:
    """`legal_forms` where all cores have the same limits."""
    chip = setting.chip
    sensed = [
        edge for entry in network.inputs if entry.dvs is not None for edge in network.outgoing[entry.name]
    ]
    shifts_elsewhere = chip.input is not None and chip.routing.feature_shift
    shiftless = {edge.source for edge in sensed} if shifts_elsewhere else set()
    starts = {
        layer.name: (
            *(
                LayerForm(*sensor_first(network, layer, way, shiftless))
                for way in (extended.ways[layer.name] if extended else (network.incoming[layer.name],))
            ),
            *(extended.phased[layer.name] if extended else ()),
        )
        for layer in network.layers
    }
    fed = {edge.target: starts[edge.target] for edge in sensed}
    others = {name: _candidates(setting, ways) for name, ways in starts.items() if name not in fed}
    if not sensed:
        return (_forms(network, None, others, extended),)
    stages = _by_stage(setting, fed, stage_settings(sensed, chip), every=shared_stage)
    if not stages:
        stay = {name: _candidates(setting, ways) for name, ways in fed.items()}
        # What is wrong is a violation under each of them; the smallest pool asks the least of the others.
        given = [edge for edge in sensed if extended is None or edge.target not in extended.relays]
        stages = {min(size_and_stride(edge.pool)[0] for edge in given): stay}
    return tuple(_forms(network, stage, {**others, **row}, extended) for stage, row in stages.items())


def _together(variants: Sequence[tuple[Forms, ...]]) -> Iterator[Forms]:
    """Forms under several limits, stage by stage, each once."""
    for stage in dict.fromkeys(forms.stage for several in variants for forms in several):
        rows = [forms for several in variants for forms in several if forms.stage == stage]
        layers = {
            name: tuple({form.shape: form for forms in rows for form in forms.layers[name]}.values())
            for name in rows[0].layers
        }
        yield replace(rows[0], layers=layers)


def legalize(network: NormalNetwork, chip: ChipSpec) -> NormalNetwork:
    """The network with every rewrite that is exact in time steps and needed on this chip, relays apart.

    Every rewrite leaves a note. A network that is legal as it is comes back as the same object.
    """
    return legal_forms(network, chip, relays=False)[0].network()


def _candidates(setting: Setting, ways: Sequence[LayerForm]) -> tuple[Candidate, ...]:
    """The legal forms of a layer in each way to read the same; at least the direct one, legal or not."""
    direct, *others = ways
    first = candidates(setting, direct) or (unfolded(setting, direct),)
    return (*first, *(entry for way in others for entry in candidates(setting, way)))


def _forms(network: NormalNetwork, stage: Pair | None, row: Row, extended: Extended | None = None) -> Forms:
    layers = {layer.name: tuple(entry.form for entry in row[layer.name]) for layer in network.layers}
    have_rivals = any(sum(entry.is_direct for entry in forms) > 1 for forms in row.values())
    return Forms(network, stage, layers, have_rivals, extended)


def _by_stage(
    setting: Setting, fed: Mapping[str, Sequence[LayerForm]], stages: Iterable[Pair], *, every: bool
) -> dict[Pair, Row]:
    """By setting of the stage, the layers that the sensor feeds; settings that do not serve all left out."""
    rows: dict[Pair, Row] = {}
    for stage in stages:
        at_stage = replace(setting, stage=stage)
        row = {
            name: tuple(entry for way in ways for entry in candidates(at_stage, way))
            for name, ways in fed.items()
        }
        if not all(row.values()):
            continue
        rows[stage] = row
        as_they_were = _is_direct(row) and all(row[name][0].form is ways[0] for name, ways in fed.items())
        if as_they_were and not (every or setting.counts_events):
            # Nothing is rewritten and nothing relayed: a smaller setting has nothing to offer.
            break
    first = next((stage for stage, row in rows.items() if _is_direct(row)), next(iter(rows), None))
    return {
        stage: rows[stage]
        for stage in sorted(rows, key=lambda stage: stage != first)
        if every or not any(_dominates(rows, other, stage) for other in rows)
    }


def _is_direct(row: Row) -> bool:
    """Whether every layer has a legal form without relays."""
    return all(forms[0].is_direct and forms[0].is_legal for forms in row.values())


def _dominates(rows: Mapping[Pair, Row], better: Pair, stage: Pair) -> bool:
    """Whether a larger setting has, for every form of every layer, one that dominates it."""
    if better == stage or better[0] < stage[0] or better[1] < stage[1]:
        return False
    return all(
        any(entry.dominates(form) for entry in rows[better][name])
        for name, forms in rows[stage].items()
        for form in forms
    )
