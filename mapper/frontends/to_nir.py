"""A network in normal form as a NIR graph, which `load_network` reads as the same network."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from inspect import signature
from pathlib import Path
from typing import Any

import nir
import numpy as np

from mapper.errors import Finding, NetworkError
from mapper.frontends import NirOptions
from mapper.frontends.from_nir.file import load_nir
from mapper.network import Edge, Network
from mapper.normal_form import NormalLayer, NormalNetwork
from mapper.operations import Pool

__all__ = ["nir_bytes", "to_nir"]

# Newer versions of the library check types, and know no shape of a sum behind a pool; older ones check none.
_UNCHECKED = {"type_check": False} if "type_check" in signature(nir.NIRGraph).parameters else {}


def nir_bytes(network: NormalNetwork) -> tuple[bytes, Network]:
    """What a NIR file of the network holds, and what is read from it; raises as `to_nir`."""
    graph = to_nir(network)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.nir"
        nir.write(path, graph)
        return path.read_bytes(), load_nir(path, NirOptions())


def to_nir(network: NormalNetwork) -> nir.NIRGraph:
    """The graph; what its neurons do and what a weight of 1 is worth stands in the nodes' metadata.

    Parameters
    ----------
    network
        With weights.

    Raises
    ------
    NetworkError
        What NIR has no words for: spikes that arrive beside others, features after features, or a step
        later; potentials at the start; outputs that are pooled or are not a layer's own.
    """
    if findings := list(_unsayable(network)):
        raise NetworkError(*findings)
    nodes: dict[str, Any] = {}
    edges: list[tuple[str, str]] = []
    inputs = {entry.name: _free(entry.name, network) for entry in network.inputs}
    for entry in network.inputs:
        nodes[inputs[entry.name]] = nir.Input({"input": np.array(entry.shape)})
    for layer in network.layers:
        for number, edge in enumerate(network.incoming[layer.name]):
            source = inputs.get(edge.source) or _spikes(edge.source)
            if edge.pool is not None:
                pool = f"{layer.name}_pool" + f"_{number}" * bool(number)
                nodes[pool] = _pool(edge.pool)
                edges.append((source, pool))
                source = pool
            edges.append((source, layer.name))
        nodes[layer.name] = _convolution(layer)
        nodes[_spikes(layer.name)] = _neurons(layer)
        edges.append((layer.name, _spikes(layer.name)))
    for output in network.outputs:
        name = "output" if len(network.outputs) == 1 else f"output_{output.name}"
        nodes[name] = nir.Output({"output": np.array(network.signal_shapes[output.source])})
        edges.append((_spikes(output.source), name))
    return nir.NIRGraph(nodes, edges, **_UNCHECKED)


def _unsayable(network: NormalNetwork) -> Iterator[Finding]:
    for edge in network.edges:
        where = f"edge {edge.title}"
        if edge.feature_offset or not _covers(network, edge):
            yield Finding(where, "spikes arrive beside others (a concatenation), which NIR has not")
        if edge.delay_steps:
            yield Finding(where, "spikes arrive a step later (a cycle), which NIR leaves open")
    for layer in network.layers:
        if layer.neuron.initial_potential is not None:
            yield Finding(f"layer {layer.title}", "potentials at the start, which NIR has not")
    for output in network.outputs:
        if output.path:
            yield Finding(f"output {output.name}", "is pooled on the host, which NIR has not")


def _covers(network: NormalNetwork, edge: Edge) -> bool:
    return network.signal_shapes[edge.source].features == network.by_name[edge.target].input_shape.features


def _free(name: str, network: NormalNetwork) -> str:
    """The input's name, unless a layer has it."""
    return name if name not in network.by_name else f"{name}_input"


def _spikes(layer: str) -> str:
    return f"{layer}_spikes"


def _pool(pool: Pool) -> nir.SumPool2d:
    return nir.SumPool2d(np.array(pool.size), np.array(pool.stride), np.array([0, 0]))


def _convolution(layer: NormalLayer) -> nir.Conv2d:
    conv = layer.operation
    weight = np.asarray(conv.weight, np.float32)
    bias = np.zeros(len(weight), np.float32) if conv.bias is None else np.asarray(conv.bias, np.float32)
    size = (layer.input_shape.height, layer.input_shape.width)
    return nir.Conv2d(size, weight, conv.stride, conv.padding, conv.dilation, conv.groups, bias)


def _neurons(layer: NormalLayer) -> nir.IF:
    neuron, ones = layer.neuron, np.ones(layer.output_shape, np.float32)
    threshold = ones * np.asarray(neuron.threshold, np.float32).reshape(-1, 1, 1)
    # Where the library knows a v_reset it is 0; how a neuron resets stands below.
    node = nir.IF(r=ones, v_threshold=threshold)
    node.metadata = {
        "reset": neuron.reset,
        "minimum": "none" if neuron.minimum is None else float(neuron.minimum),
        "spike_mode": neuron.spike_mode,
        "fires_at": neuron.fires_at,
    }
    # Here, since older versions of the library write no metadata of convolutions. What is integers already
    # stays as it is, whatever the largest of them.
    conv = layer.operation
    is_whole = np.asarray(conv.weight).dtype.kind in "iu"
    step = 1.0 if is_whole else conv.declared.step if conv.declared is not None else None
    if step is not None:
        node.metadata["weight_step"] = step
    return node
