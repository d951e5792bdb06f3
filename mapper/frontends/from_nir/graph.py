"""NIR graphs, from a file or in memory, into a network."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from mapper.errors import Finding, NetworkError, UnsupportedLayerError
from mapper.frontends import NirOptions
from mapper.frontends.from_nir.late import with_head_start
from mapper.frontends.from_nir.nodes import (
    NEURONS,
    features_first,
    neuron_of,
    operation_of,
    path_step_of,
    scale_before_neurons,
)
from mapper.frontends.from_nir.origins import ORIGINS, behaviour_of, origin_of
from mapper.frontends.from_nir.raw import RawGraph, RawNode, flattened
from mapper.frontends.inference import LayerDraft, build_network
from mapper.network import Edge, Input, Network, Output
from mapper.operations import PathOperation, Shape
from mapper.reading import Reading, gathered
from mapper.references import natural_key

__all__ = ["from_nir_graph", "network_of"]

_WEIGHTS = ("Conv2d", "Affine", "Linear")
_ON_THE_WAY = ("SumPool2d", "AvgPool2d", "Flatten", "Scale")
_KNOWN = (*_WEIGHTS, *_ON_THE_WAY, *NEURONS, "Input", "Output")
_REFUSED = {
    "LI": "it leaks, and no chip of the family can",
    "CubaLI": "it leaks and filters its current, and no chip of the family can",
    "I": "it integrates without spiking, and every core spikes",
    "Conv1d": "cores convolve in two dimensions",
    "Delay": "destinations have no delays",
    "Threshold": "a core's neurons integrate; a bare threshold does not",
}


def from_nir_graph(
    graph: Any, options: NirOptions, input_shape: tuple[int, int, int] | None = None
) -> Network:
    """The network of a `nir.NIRGraph` in memory.

    Raises
    ------
    NetworkError
        The object is no NIR graph, or holds what no chip of the family can run.
    """
    nodes, edges = getattr(graph, "nodes", None), getattr(graph, "edges", None)
    if not isinstance(nodes, dict) or not isinstance(edges, list | set | tuple):
        kind = type(graph).__name__
        raise NetworkError(Finding("network", "neither a network, nor a path, nor a NIR graph", kind))
    return network_of(_raw_graph(graph), "nir", options, input_shape)


def _raw_graph(graph: Any) -> RawGraph:
    nodes = {str(name): _raw_node(node) for name, node in graph.nodes.items()}
    edges = tuple((str(a), str(b)) for a, b in graph.edges)
    return RawGraph(nodes, edges, getattr(graph, "metadata", None) or {})


def _raw_node(node: Any) -> RawNode:
    fields, kind = dict(vars(node)), type(node).__name__
    metadata = fields.pop("metadata", None) or {}
    if kind in ("Input", "Output"):
        key = "input_type" if kind == "Input" else "output_type"
        fields = {"shape": next(iter(fields.get(key, {}).values()), None)}
    elif isinstance(fields.get("input_type"), dict):
        fields["input_type"] = next(iter(fields["input_type"].values()), None)
    return RawNode(kind, fields, metadata, _raw_graph(node) if kind == "NIRGraph" else None)


def network_of(
    graph: RawGraph, name: str, options: NirOptions, input_shape: tuple[int, int, int] | None
) -> Network:
    """Weight nodes with the neurons behind them become layers, what lies between becomes edges.

    Raises
    ------
    NetworkError
        Everything that is wrong, at once.
    """
    reader = _Reader(flattened(graph), options, input_shape)
    reader.check_names()
    inputs = reader.inputs()
    order = reader.order()
    drafts = [draft for node in order if (draft := reader.draft(node)) is not None]
    edges = reader.edges(drafts)
    outputs = reader.outputs()
    if reader.unsupported:
        raise UnsupportedLayerError(*dict.fromkeys((*reader.unsupported, *reader.findings)))
    if reader.findings:
        raise NetworkError(*dict.fromkeys(reader.findings))
    network = build_network(name, inputs, drafts, edges, outputs)
    neurons = sum(node.kind in NEURONS for node in reader.graph.nodes.values())
    readings = gathered(reader.readings, of_all=neurons, everything="all neurons")
    network = network.replacing(readings=(*readings, *gathered(reader.remarks)))
    return with_head_start(network, {draft.name: reader.late_steps(draft.name) - 1 for draft in drafts})


class _Reader:
    """One graph while it is read; collects findings so that all can be told at once."""

    def __init__(
        self, graph: RawGraph, options: NirOptions, input_shape: tuple[int, int, int] | None
    ) -> None:
        self.graph, self.options, self.input_shape = graph, options, input_shape
        self.findings: list[Finding] = []
        self.unsupported: list[Finding] = []
        # Of neurons, and of everything else.
        self.readings: list[Reading] = []
        self.remarks: list[Reading] = []
        self.source = origin_of(options, graph.metadata)
        self.after: dict[str, list[str]] = {name: [] for name in graph.nodes}
        self.before: dict[str, list[str]] = {name: [] for name in graph.nodes}
        for source, target in sorted(
            set(graph.edges), key=lambda edge: (natural_key(edge[0]), natural_key(edge[1]))
        ):
            if source in self.after and target in self.before:
                self.after[source].append(target)
                self.before[target].append(source)

    def check_names(self) -> None:
        """Unknown kinds and edges to nowhere; nothing else is read if there are any."""
        for name, node in self.graph.nodes.items():
            if node.kind not in _KNOWN:
                reason = _REFUSED.get(node.kind, "this program does not know it")
                step = "Read are Conv2d, Affine and Linear, neurons that do not leak, sum and average pools"
                self.unsupported.append(Finding(f"node {name}", f"{node.kind}: {reason}", next_step=step))
        for source, target in self.graph.edges:
            for end in (source, target):
                if end not in self.graph.nodes:
                    self.findings.append(Finding(f"edge {source} -> {target}", f"there is no node {end}"))
        if self.unsupported:
            raise UnsupportedLayerError(*self.unsupported, *self.findings)
        if self.findings:
            raise NetworkError(*self.findings)

    def inputs(self) -> list[Input]:
        """Input nodes in natural order of names, with shapes (features, height, width).

        Raises
        ------
        NetworkError
            There is none, or one states no shape that can be used: all that is wrong so far.
        """
        inputs = []
        names = sorted((n for n, node in self.graph.nodes.items() if node.kind == "Input"), key=natural_key)
        for name in names:
            shape = self._shape(name)
            if shape is not None:
                inputs.append(Input(name, shape))
        if not names:
            self.findings.append(Finding("graph", "has no Input node"))
        if self.findings:
            raise NetworkError(*self.findings)
        return inputs

    def _shape(self, name: str) -> Shape | None:
        stated = self.graph.nodes[name].fields.get("shape")
        sizes = self._sizes(name, stated)
        if len(sizes) in (2, 4) and sizes[0] == 1:
            taken = "the first of its sizes is a batch of one"
            if self.input_shape is None:
                why = f"{'x'.join(map(str, sizes))}; a map has three sizes, and a list of values one"
                self.remarks.append(Reading(f"node {name}", taken, why, "--input-shape"))
            sizes = sizes[1:]
        if len(sizes) == 1:
            sizes = [sizes[0], 1, 1]
        given = self.input_shape
        step = "Give --input-shape C,H,W"
        if given is None and len(sizes) != 3:
            self.findings.append(Finding(f"node {name}", "states no shape", sizes or None, next_step=step))
            return None
        if given is not None and len(sizes) == 3 and sizes != list(given):
            self.findings.append(Finding(f"node {name}", "states another input shape", sizes, list(given)))
            return None
        shape = Shape(*(given or sizes))
        if min(shape) < 1 or max(shape) > 1 << 24:
            self.findings.append(Finding(f"node {name}", "has an impossible shape", shape))
            return None
        return shape

    def _sizes(self, name: str, stated: Any) -> list[int]:
        """The sizes a shape states; none if they are no whole numbers."""
        known = [] if stated is None else [n for n in np.atleast_1d(stated).ravel() if n is not None]
        array = np.asarray(known)
        if array.dtype.kind in "iuf" and np.all(np.isfinite(array)) and np.all(array == np.floor(array)):
            return [int(n) for n in array]
        if known:
            self.findings.append(Finding(f"node {name}", "its shape must be whole numbers", str(known)[:60]))
        return []

    def order(self) -> list[str]:
        """Weight nodes in a depth-first walk from the inputs, names in natural order."""
        inputs = sorted((n for n, v in self.graph.nodes.items() if v.kind == "Input"), key=natural_key)
        seen: dict[str, None] = {}
        stack = list(reversed(inputs))
        while stack:
            name = stack.pop()
            if name not in seen:
                seen[name] = None
                stack += reversed(self.after[name])
        for name, node in self.graph.nodes.items():
            if name not in seen and node.kind != "Output":
                self.findings.append(Finding(f"node {name}", "cannot be reached from an input"))
        return [name for name in seen if self.graph.nodes[name].kind in _WEIGHTS]

    def draft(self, name: str) -> LayerDraft | None:
        """The layer of a weight node, with what stands between it and its neurons; None if it is refused."""
        node = self.graph.nodes[name]
        try:
            operation, in_features = operation_of(node.kind, node.fields)
            operation = self._features_first(name, operation)
        except ValueError as error:
            self.findings.append(Finding(f"node {name} ({node.kind})", str(error)))
            return None
        between: list[Any] = []
        here, followers = name, self.after[name]
        while len(followers) == 1 and self.graph.nodes[followers[0]].kind == "Scale":
            here = followers[0]
            try:
                between.append(scale_before_neurons(self.graph.nodes[here].fields))
            except ValueError as error:
                self.unsupported.append(Finding(f"node {here} (Scale)", str(error)))
                return None
            followers = self.after[here]
        neurons = [n for n in followers if self.graph.nodes[n].kind in NEURONS]
        if not neurons:
            return LayerDraft(name, operation, tuple(between), None, in_features)
        if len(followers) > 1 or len(self.before[neurons[0]]) > 1:
            step = "Chips add spikes, not currents: put neurons before the sum"
            problem = "its currents are added to others, or used twice, before the neurons"
            self.unsupported.append(Finding(f"node {name}", problem, next_step=step))
            return None
        found = self._neuron(neurons[0])
        if found is None:
            return None
        neuron, scaled = found
        try:
            return LayerDraft(name, scaled(operation), tuple(between), neuron, in_features)
        except ValueError as error:
            kind = self.graph.nodes[neurons[0]].kind
            self.unsupported.append(Finding(f"node {neurons[0]} ({kind})", str(error)))
            return None

    def _neuron(self, name: str) -> Any:
        """Neurons of a node, and what folds their gain into weights; None if they are refused."""
        node = self.graph.nodes[name]
        try:
            behaviour = behaviour_of(name, self.source, node.fields, node.metadata, self.options)
            neuron = neuron_of(node.kind, node.fields, behaviour)
        except ValueError as error:
            self.unsupported.append(Finding(f"node {name} ({node.kind})", str(error)))
            return None
        self.readings += behaviour.readings
        return neuron

    def _features_first(self, name: str, operation: Any) -> Any:
        """Columns in the order of our flattening, where the framework flattens (height, width, features)."""
        if self.source is None or not ORIGINS[self.source].maps_last:
            return operation
        flatten = next((n for n in self._way_back(name) if self.graph.nodes[n].kind == "Flatten"), None)
        if flatten is None:
            return operation
        self.remarks.append(
            Reading(flatten, "features run fastest in what it flattens", f"as {self.source} has it", "--from")
        )
        return features_first(operation, self.graph.nodes[flatten].fields)

    def _way_back(self, name: str) -> Iterator[str]:
        """Nodes on the way to a node's input, the last one first."""
        seen: set[str] = set()
        while len(self.before[name]) == 1 and name not in seen:
            seen.add(name)
            (name,) = self.before[name]
            if self.graph.nodes[name].kind not in _ON_THE_WAY:
                return
            yield name

    def _signal(self, node: str, seen: tuple[str, ...] = ()) -> list[tuple[str, tuple[PathOperation, ...]]]:
        """The signals that reach a node's input, each with its path: a walk back to neurons or inputs."""
        signals: list[tuple[str, tuple[PathOperation, ...]]] = []
        for source in self.before[node]:
            kind = self.graph.nodes[source].kind
            if source in seen:
                self.findings.append(Finding(f"node {source}", "is part of a cycle without neurons"))
            elif kind == "Input":
                signals.append((source, ()))
            elif kind in NEURONS:
                signals += [(layer, ()) for layer in self._layer_of(source)]
            elif kind in _WEIGHTS:
                signals.append((source, ()))
            else:
                try:
                    step = path_step_of(kind, self.graph.nodes[source].fields)
                except ValueError as error:
                    self.unsupported.append(Finding(f"node {source} ({kind})", str(error)))
                    continue
                if kind == "Scale" and self._behind_weights(source):
                    signals += [(layer, ()) for layer in self._layer_of(source)]
                    continue
                signals += [(s, (*path, step)) for s, path in self._signal(source, (*seen, source))]
        return signals

    def _behind_weights(self, name: str) -> bool:
        return any(self.graph.nodes[n].kind in _WEIGHTS for n in self.before[name])

    def _layer_of(self, neuron: str) -> list[str]:
        names = []
        for source in self.before[neuron]:
            kind = self.graph.nodes[source].kind
            if kind in _WEIGHTS:
                names.append(source)
            elif kind == "Scale" and self._behind_weights(source):
                names += self._layer_of(source)
            else:
                step = "Put a Conv2d, Affine or Linear node before it"
                self.unsupported.append(
                    Finding(
                        f"node {neuron}", f"neurons fed by {kind} {source}, not by weights", next_step=step
                    )
                )
        if not self.before[neuron]:
            self.findings.append(Finding(f"node {neuron}", "nothing feeds it"))
        return names

    def edges(self, drafts: list[LayerDraft]) -> list[Edge]:
        """What reaches the layers, in their order, with the pools, scales and flattens on the way."""
        edges = []
        for draft in drafts:
            for source, path in self._signal(draft.name):
                edges.append(Edge(source, draft.name, path))
        return edges

    def outputs(self) -> list[Output]:
        """What reaches Output nodes, in natural order of names; one node's are named by source."""
        names = sorted((n for n, v in self.graph.nodes.items() if v.kind == "Output"), key=natural_key)
        if not names:
            self.findings.append(Finding("graph", "has no Output node"))
        outputs = []
        for name in names:
            for source, path in self._signal(name):
                outputs.append(Output(name if len(names) > 1 else source, source, path, self.late_steps(source)))
        return outputs

    def late_steps(self, layer: str) -> int:
        """Neuron layers on the longest way to a signal, where the framework takes a step for each."""
        if self.source is None or not ORIGINS[self.source].is_late:
            return 0
        depth = dict.fromkeys(self.before, 0)
        for _ in range(sum(node.kind in NEURONS for node in self.graph.nodes.values())):
            # A walk along cycles is as long as there are layers, and no longer.
            for name, sources in self.before.items():
                own = self.graph.nodes[name].kind in NEURONS
                depth[name] = max((depth[source] for source in sources), default=0) + own
        neurons = [name for name in self.after[layer] if self.graph.nodes[name].kind in NEURONS]
        return max((depth[name] for name in neurons), default=0)
