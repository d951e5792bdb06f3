"""Layers of a NIR graph: neurons, and all weights whose currents add up before them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from mapper.asking import SOURCE
from mapper.errors import Finding
from mapper.folding import feature_scale, folded
from mapper.frontends import NirOptions
from mapper.frontends.currents import Branch, JointDraft
from mapper.frontends.from_nir.nodes import (
    NEURONS,
    declared_of,
    features_first,
    neuron_of,
    operation_of,
    path_step_of,
    require_numbers,
    scale_before_neurons,
    times,
)
from mapper.frontends.from_nir.origins import ORIGINS, behaviour_of, origin_of
from mapper.frontends.from_nir.raw import RawGraph
from mapper.frontends.from_nir.walk import ON_THE_WAY, WEIGHTS, Walk
from mapper.frontends.inference import LayerDraft
from mapper.network import Edge
from mapper.operations import Integers, Neuron, Pool
from mapper.reading import Reading
from mapper.wording import join_names

__all__ = ["Draft", "Layers"]

# What every Conv2d node states, with what is taken where it does not.
_EXPECTED = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1}

Draft: TypeAlias = LayerDraft | JointDraft


@dataclass(frozen=True, slots=True)
class _Addend:
    """What reaches neurons: weights, or a signal's spikes by themselves.

    Attributes
    ----------
    name
        The weight node; None for spikes.
    spikes
        The node whose spikes come by themselves.
    steps
        Scales and pools between here and the neurons.
    """

    name: str | None
    spikes: str = ""
    steps: tuple[Any, ...] = ()


class Layers(Walk):
    """The layers of one graph while it is read."""

    def __init__(self, graph: RawGraph, options: NirOptions) -> None:
        super().__init__(graph)
        self.options, self.source = options, origin_of(options, graph.metadata)
        # Of neurons, and of everything else.
        self.readings: list[Reading] = []
        self.remarks: list[Reading] = []
        self.notes: list[str] = []

    def drafts(self) -> tuple[list[Draft], list[Edge]]:
        """Layers, each behind all that feed it but over cycles, and the edges into those that are no sums."""
        order = self.order()
        place = {name: n for n, name in enumerate(order)}
        addends = {name: self._addends(name) for name in order if self.kind(name) in NEURONS}
        for name, found in addends.items():
            weights = [addend.name for addend in found if addend.name is not None]
            if weights:
                self.layer_of[name] = min(weights, key=place.__getitem__)
            elif not self.before[name]:
                self.findings.append(Finding(f"node {name}", "nothing feeds it"))
            else:
                kind, problem = self.kind(self.before[name][0]), "neurons fed by spikes, not by weights"
                step = "Put a Conv2d, Affine or Linear node before it"
                self.unsupported.append(Finding(f"node {name}", problem, kind, next_step=step))
        taken = {addend.name for found in addends.values() for addend in found}
        drafts = {
            max(place[addend.name] for addend in found if addend.name is not None): self._layer(name, found)
            for name, found in addends.items()
            if name in self.layer_of
        }
        drafts |= {
            place[name]: self._bare(name)
            for name in order
            if self.kind(name) in WEIGHTS and name not in taken
        }
        ready = [drafts[key] for key in sorted(drafts)]
        layers = [draft for draft in ready if draft is not None]
        edges = [edge for draft in layers if isinstance(draft, LayerDraft) for edge in self._into(draft.name)]
        return layers, edges

    def _into(self, weights: str) -> tuple[Edge, ...]:
        return tuple(Edge(source, weights, path) for source, path in self.signals(weights))

    def _addends(self, node: str, steps: tuple[Any, ...] = (), seen: tuple[str, ...] = ()) -> list[_Addend]:
        """What adds up at a node, from the weights or signals that begin it; its signals come later."""
        found: list[_Addend] = []
        for source in self.before[node]:
            kind = self.kind(source)
            if source in seen:
                self.findings.append(Finding(f"node {source}", "is part of a cycle without neurons"))
            elif kind in WEIGHTS:
                found.append(_Addend(source, "", steps))
                self._refuse_second_use(source)
            elif kind in ON_THE_WAY and self.carries_currents(source):
                self._refuse_second_use(source)
                step = self._step(source)
                if step is not None:
                    found += self._addends(source, (step, *steps), (*seen, source))
            else:
                found.append(_Addend(None, source, steps))
        return found

    def _refuse_second_use(self, source: str) -> None:
        if len(self.after[source]) > 1:
            problem = "its currents are used twice before any neurons, and a core has one group of them"
            step = "Give each use weights of its own, or put neurons before both"
            self.unsupported.append(
                Finding(f"node {source}", problem, ", ".join(self.after[source]), next_step=step)
            )

    def _step(self, name: str) -> Any:
        """A scale or pool of currents; None if it is refused."""
        node = self.graph.nodes[name]
        try:
            if node.kind == "Scale":
                return scale_before_neurons(node.fields)
            step = path_step_of(node.kind, node.fields)
            if isinstance(step, Pool):
                return step
            raise ValueError("flattens currents before their neurons: put the neurons before it")
        except ValueError as error:
            self.unsupported.append(Finding(f"node {name} ({node.kind})", str(error)))
            return None

    def _declared(self, name: str) -> Integers | None:
        """What neurons are told of the integers in the weights before them."""
        node = self.graph.nodes[name]
        try:
            return declared_of(node.metadata)
        except ValueError as error:
            self.findings.append(Finding(f"node {name} ({node.kind})", str(error)))
            return None

    def _operation(self, name: str, declared: Integers | None = None) -> Any:
        """(operation, input features) of a weight node; None if it is refused."""
        node = self.graph.nodes[name]
        try:
            operation, in_features = operation_of(node.kind, node.fields)
            operation = replace(operation, declared=declared)
            lacks = [field for field in _EXPECTED if node.fields.get(field) is None]
            if node.kind == "Conv2d" and lacks:
                taken = ", ".join(f"{field} {_EXPECTED[field]}" for field in lacks)
                why = f"it states no {join_names(lacks)}"
                self.remarks.append(Reading(f"node {name}", taken, why))
            return self._features_first(name, operation), in_features
        except ValueError as error:
            self.findings.append(Finding(f"node {name} ({node.kind})", str(error)))
            return None

    def _features_first(self, name: str, operation: Any) -> Any:
        """Columns in the order of our flattening, where the framework flattens (height, width, features)."""
        if self.source is None or not ORIGINS[self.source].maps_last:
            return operation
        flatten = next((n for n in self.way_back(name) if self.kind(n) == "Flatten"), None)
        if flatten is None:
            return operation
        self.remarks.append(
            Reading(
                flatten, "features run fastest in what it flattens", f"as {self.source} has it", str(SOURCE)
            )
        )
        return features_first(operation, self.graph.nodes[flatten].fields)

    def _bare(self, name: str) -> LayerDraft | None:
        """Weights without neurons, with the scales behind them."""
        read = self._operation(name)
        between, followers = [], self.after[name]
        while len(followers) == 1 and self.kind(followers[0]) == "Scale":
            between.append(self._step(followers[0]))
            followers = self.after[followers[0]]
        if read is None or None in between:
            return None
        operation, in_features = read
        return LayerDraft(name, operation, tuple(between), None, in_features)

    def _layer(self, neuron_node: str, addends: list[_Addend]) -> Draft | None:
        neuron = self._neuron(neuron_node)
        made, names = self._declared(neuron_node), [addend.name for addend in addends]
        read = {name: self._operation(name, made) for name in names if name is not None}
        if neuron is None or None in read.values():
            return None
        try:
            if len(addends) == 1:
                return self._single(addends[0], read, *neuron)
            return self._sum(self.layer_of[neuron_node], addends, read, *neuron)
        except ValueError as error:
            self.unsupported.append(Finding(f"node {neuron_node} ({self.kind(neuron_node)})", str(error)))
            return None

    def _single(self, addend: _Addend, read: dict[Any, Any], neuron: Neuron, gain: Any) -> LayerDraft:
        operation, in_features = read[addend.name]
        between = addend.steps
        if any(isinstance(step, Pool) for step in between):
            operation, between = folded(operation, between), ()
            self.notes.append(f"{addend.name}: the pool before its neurons went into its kernel")
        return LayerDraft(str(addend.name), times(operation, gain), between, neuron, in_features)

    def _sum(
        self, name: str, addends: list[_Addend], read: dict[Any, Any], neuron: Neuron, gain: Any
    ) -> JointDraft:
        last = () if isinstance(gain, float) and gain == 1.0 else (feature_scale(gain),)
        branches = []
        for addend in addends:
            steps = (*addend.steps, *last)
            if addend.name is None:
                branches.append(Branch(addend.spikes, None, self._of(addend.spikes), steps))
            else:
                operation, _ = read[addend.name]
                branches.append(Branch(addend.name, operation, self._into(addend.name), steps))
        return JointDraft(name, tuple(branches), neuron)

    def _of(self, source: str) -> tuple[Edge, ...]:
        """Edges that carry the spikes at the end of a node."""
        kind = self.kind(source)
        if kind == "Input":
            return (Edge(source, ""),)
        if kind in NEURONS:
            return (Edge(self.layer_of[source], ""),) if source in self.layer_of else ()
        step = path_step_of(kind, self.graph.nodes[source].fields)
        return tuple(Edge(signal, "", (*path, step)) for signal, path in self.signals(source, (source,)))

    def _neuron(self, name: str) -> tuple[Neuron, Any] | None:
        """Neurons of a node and the gain of their current; None if they are refused."""
        node = self.graph.nodes[name]
        try:
            require_numbers(node.fields)
            behaviour = behaviour_of(name, self.source, node.fields, node.metadata, self.options)
            neuron = neuron_of(node.kind, node.fields, behaviour)
        except ValueError as error:
            self.unsupported.append(Finding(f"node {name} ({node.kind})", str(error)))
            return None
        self.readings += behaviour.readings
        if node.kind == "IF" and node.fields.get("r") is None:
            self.remarks.append(Reading(f"node {name}", "its current as it comes (r = 1)", "it states no r"))
        return neuron

    def late_steps(self, layer: str) -> int:
        """Neuron layers on the longest way to a signal, where the framework takes a step for each."""
        if self.source is None or not ORIGINS[self.source].is_late:
            return 0
        depth = dict.fromkeys(self.before, 0)
        for name in self.order():
            own = self.kind(name) in NEURONS
            depth[name] = max((depth[source] for source in self.before[name]), default=0) + own
        return max((depth[name] for name, made in self.layer_of.items() if made == layer), default=0)
