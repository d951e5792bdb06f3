"""NIR graphs, from a file or in memory, into a network."""

from __future__ import annotations

from typing import Any

import numpy as np

from mapper.asking import INPUT_FORM, INPUT_SHAPE
from mapper.errors import Finding, MissingShapeError, NetworkError, UnsupportedLayerError
from mapper.frontends import NirOptions
from mapper.frontends.currents import settle
from mapper.frontends.from_nir.late import with_head_start
from mapper.frontends.from_nir.layers import Layers
from mapper.frontends.from_nir.nodes import NEURONS
from mapper.frontends.from_nir.raw import RawGraph, RawNode, flattened
from mapper.frontends.from_nir.stated import contradictions
from mapper.frontends.from_nir.walk import ON_THE_WAY, WEIGHTS
from mapper.frontends.inference import LayerDraft, build_network, left_to_host
from mapper.frontends.target import weights_alone
from mapper.network import Input, Layer, Network, Output
from mapper.operations import Shape
from mapper.reading import Reading, gathered
from mapper.references import natural_key
from mapper.wording import join_names

__all__ = ["from_nir_graph", "network_of"]

_KNOWN = (*WEIGHTS, *ON_THE_WAY, *NEURONS, "Input", "Output")
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
        kind, step = type(graph).__name__, 'Give a torch module, or what mapper.load_network("digits") reads'
        step = "Call it, and give what it returns" if callable(graph) else weights_alone(graph) or step
        problem = "neither a network, nor a path, nor a NIR graph"
        raise NetworkError(Finding("network", problem, kind, next_step=step))
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
    drafts, edges = reader.drafts()
    outputs = reader.outputs()
    if reader.unsupported:
        raise UnsupportedLayerError(*dict.fromkeys((*reader.unsupported, *reader.findings)))
    if reader.findings:
        raise NetworkError(*dict.fromkeys(reader.findings))
    settled = settle(inputs, drafts, edges)
    notes = tuple(dict.fromkeys((*reader.notes, *settled.notes)))
    network = build_network(name, inputs, settled.layers, settled.edges, outputs, notes)
    if against := contradictions(reader, network, {d.name for d in drafts if isinstance(d, LayerDraft)}):
        raise NetworkError(*against)
    if silent := [layer for layer in network.layers if _never_fires(layer)]:
        problem, step = "all its weights are 0 and no bias is positive: it never fires", "Give it its weights"
        raise NetworkError(*(Finding(f"layer {layer.title}", problem, next_step=step) for layer in silent))
    neurons = sum(node.kind in NEURONS for node in reader.graph.nodes.values())
    readings = gathered(reader.readings, of_all=neurons, everything="all neurons")
    network = network.replacing(readings=(*readings, *gathered((*reader.remarks, *left_to_host(outputs)))))
    return with_head_start(network, {draft.name: reader.late_steps(draft.name) - 1 for draft in drafts})


def _never_fires(layer: Layer) -> bool:
    weight: Any = layer.operation.weight
    bias: Any = layer.operation.bias
    return not np.any(weight) and (bias is None or not np.any(bias > 0)) and layer.neuron is not None


class _Reader(Layers):
    """One graph while it is read; collects findings so that all can be told at once."""

    def __init__(
        self, graph: RawGraph, options: NirOptions, input_shape: tuple[int, int, int] | None
    ) -> None:
        super().__init__(graph, options)
        self.input_shape = input_shape

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
            lacks_shape = self.input_shape is None and len(inputs) < len(names)
            raise (MissingShapeError if lacks_shape else NetworkError)(*self.findings)
        return inputs

    def _shape(self, name: str) -> Shape | None:
        stated = self.graph.nodes[name].fields.get("shape")
        sizes = self._sizes(name, stated)
        if len(sizes) in (2, 4) and sizes[0] == 1:
            taken = "the first of its sizes is a batch of one"
            if self.input_shape is None:
                why = f"{'x'.join(map(str, sizes))}; a map has three sizes, and a list of values one"
                self.remarks.append(Reading(f"node {name}", taken, why, str(INPUT_SHAPE)))
            sizes = sizes[1:]
        if len(sizes) == 1:
            sizes = [sizes[0], 1, 1]
        given = self.input_shape
        step = f"Give {INPUT_SHAPE.to(*INPUT_FORM)}"
        if given is None and len(sizes) != 3:
            self.findings.append(Finding(f"node {name}", "states no shape", sizes or None, next_step=step))
            return None
        if given is not None and len(sizes) == 3 and sizes != list(given):
            problem = f"states another input shape than {INPUT_SHAPE}"
            step = f"Leave {INPUT_SHAPE} out"
            self.findings.append(Finding(f"node {name}", problem, list(given), sizes, "", step))
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
            shown = str(array.tolist())[:60]
            self.findings.append(Finding(f"node {name}", "its shape must be whole numbers", shown))
        return []

    def outputs(self) -> list[Output]:
        """What reaches Output nodes, in natural order of names; one node's are named by source."""
        names = sorted((n for n, v in self.graph.nodes.items() if v.kind == "Output"), key=natural_key)
        if not names:
            self.findings.append(Finding("graph", "has no Output node"))
        outputs = []
        for name in names:
            signals = self.signals(name)
            if len(signals) > 1:
                fed = join_names([source for source, _ in signals])
                taken = f"{fed} are shown apart, and adding them is left to the host"
                self.remarks.append(Reading(f"output {name}", taken, "a core shows what one layer gives"))
            for source, path in signals:
                outputs.append(
                    Output(name if len(names) > 1 else source, source, path, self.late_steps(source))
                )
        return outputs
