"""NIR graphs, from a file or in memory, into a network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mapper.errors import Finding, NetworkError, UnsupportedLayerError
from mapper.frontends import NirOptions
from mapper.frontends.from_nir.nodes import neuron_of, operation_of, path_step_of, scale_factor
from mapper.frontends.inference import LayerDraft, build_network
from mapper.network import Edge, Input, Network, Output
from mapper.operations import PathOperation, Scale, Shape
from mapper.references import natural_key

__all__ = ["RawGraph", "RawNode", "from_nir_graph", "network_of"]

_WEIGHTS = ("Conv2d", "Affine", "Linear")
_ON_THE_WAY = ("SumPool2d", "AvgPool2d", "Flatten", "Scale")
_KNOWN = (*_WEIGHTS, *_ON_THE_WAY, "IF", "Input", "Output")
_REFUSED = {
    "LIF": "its neurons leak, and no chip of the family can",
    "LI": "it leaks, and no chip of the family can",
    "CubaLIF": "its neurons leak and filter their current, and no chip of the family can",
    "CubaLI": "it leaks and filters its current, and no chip of the family can",
    "I": "it integrates without spiking, and every core spikes",
    "Conv1d": "cores convolve in two dimensions",
    "Delay": "destinations have no delays",
    "Threshold": "a core's neurons integrate; a bare threshold does not",
    "NIRGraph": "nested graphs are not read",
}


@dataclass(frozen=True)
class RawNode:
    """A node as it stands in the file: nothing filled in.

    Attributes
    ----------
    fields
        Arrays and texts by name; absent where the file has none.
    """

    kind: str
    fields: Mapping[str, Any]
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class RawGraph:
    """Nodes by name, and edges as (source, target)."""

    nodes: Mapping[str, RawNode]
    edges: tuple[tuple[str, str], ...]


def from_nir_graph(
    graph: Any, options: NirOptions, input_shape: tuple[int, int, int] | None = None
) -> Network:
    """The network of a `nir.NIRGraph` in memory.

    In memory nobody can tell a reset of 0 that was wished for from the library's default; the network's
    notes say what was taken.

    Raises
    ------
    NetworkError
        The object is no NIR graph, or holds what no chip of the family can run.
    """
    nodes, edges = getattr(graph, "nodes", None), getattr(graph, "edges", None)
    if not isinstance(nodes, dict) or not isinstance(edges, list | set | tuple):
        kind = type(graph).__name__
        raise NetworkError(Finding("network", "neither a network, nor a path, nor a NIR graph", kind))
    raw = {}
    for name, node in nodes.items():
        fields = dict(vars(node))
        metadata = fields.pop("metadata", None) or {}
        kind = type(node).__name__
        if kind in ("Input", "Output"):
            key = "input_type" if kind == "Input" else "output_type"
            fields = {"shape": next(iter(fields.get(key, {}).values()), None)}
        raw[str(name)] = RawNode(kind, fields, metadata)
    return network_of(RawGraph(raw, tuple((str(a), str(b)) for a, b in edges)), "nir", options, input_shape)


def network_of(
    graph: RawGraph, name: str, options: NirOptions, input_shape: tuple[int, int, int] | None
) -> Network:
    """Weight nodes with the neurons behind them become layers, what lies between becomes edges.

    Raises
    ------
    NetworkError
        Everything that is wrong, at once.
    """
    reader = _Reader(graph, options, input_shape)
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
    return build_network(name, inputs, drafts, edges, outputs, tuple(dict.fromkeys(reader.notes)))


class _Reader:
    """One graph while it is read; collects findings so that all can be told at once."""

    def __init__(
        self, graph: RawGraph, options: NirOptions, input_shape: tuple[int, int, int] | None
    ) -> None:
        self.graph, self.options, self.input_shape = graph, options, input_shape
        self.findings: list[Finding] = []
        self.unsupported: list[Finding] = []
        self.notes: list[str] = []
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
                step = "Use Conv2d, Affine or Linear with IF neurons, and sum or average pools"
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
        if len(sizes) == 4 and sizes[0] == 1:
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
        """The layer of a weight node, with the scales and neurons behind it.

        Returns
        -------
        LayerDraft or None
            Without a neuron where none follows; None where the findings say what is wrong with it.
        """
        node = self.graph.nodes[name]
        try:
            operation, in_features = operation_of(node.kind, node.fields)
        except ValueError as error:
            self.findings.append(Finding(f"node {name} ({node.kind})", str(error)))
            return None
        between: list[Any] = []
        here, followers = name, self.after[name]
        while len(followers) == 1 and self.graph.nodes[followers[0]].kind == "Scale":
            here = followers[0]
            factor = self._factor(here)
            if factor is None:
                return None
            between.append(Scale(factor))
            followers = self.after[here]
        neurons = [n for n in followers if self.graph.nodes[n].kind == "IF"]
        if not neurons:
            return LayerDraft(name, operation, tuple(between), None, in_features)
        if len(followers) > 1 or len(self.before[neurons[0]]) > 1:
            step = "Chips add spikes, not currents: put neurons before the sum"
            problem = "its currents are added to others, or used twice, before the neurons"
            self.unsupported.append(Finding(f"node {name}", problem, next_step=step))
            return None
        neuron_node = self.graph.nodes[neurons[0]]
        try:
            neuron, scale, notes = neuron_of(neuron_node.fields, neuron_node.metadata, self.options)
            operation = scale(operation)
        except ValueError as error:
            self.unsupported.append(Finding(f"node {neurons[0]} (IF)", str(error)))
            return None
        self.notes += [f"{neurons[0]}: {note}" for note in notes]
        return LayerDraft(name, operation, tuple(between), neuron, in_features)

    def _factor(self, name: str) -> float | None:
        try:
            return scale_factor(self.graph.nodes[name].fields)
        except ValueError as error:
            self.unsupported.append(Finding(f"node {name} (Scale)", str(error)))
            return None

    def _signal(self, node: str, seen: tuple[str, ...] = ()) -> list[tuple[str, tuple[PathOperation, ...]]]:
        """The signals that reach a node's input, each with its path: a walk back to neurons or inputs."""
        signals: list[tuple[str, tuple[PathOperation, ...]]] = []
        for source in self.before[node]:
            kind = self.graph.nodes[source].kind
            if source in seen:
                self.findings.append(Finding(f"node {source}", "is part of a cycle without neurons"))
            elif kind == "Input":
                signals.append((source, ()))
            elif kind == "IF":
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
                outputs.append(Output(name if len(names) > 1 else source, source, path))
        return outputs
