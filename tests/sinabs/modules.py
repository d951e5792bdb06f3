"""Networks of shapes as torch modules with sinabs layers and random weights."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import sinabs.layers as sl
import torch
from sinabs.activation import MembraneReset, MembraneSubtract, MultiSpike
from torch import nn

from mapper.network import Edge, Input, Layer, Network
from mapper.operations import Convolution, Flatten, Linear, Pool, shape_after

__all__ = ["as_module", "without_sensor"]


def without_sensor(network: Network) -> Network:
    """The network fed by the host, at the size the sensor stage would deliver."""
    inputs, edges = [], list(network.edges)
    for entry in network.inputs:
        if entry.dvs is None:
            inputs.append(entry)
            continue
        paths = {edge.path for edge in network.outgoing[entry.name]}
        pools = tuple(step for step in paths.pop() if isinstance(step, Pool))
        inputs.append(Input(entry.name, shape_after(entry.shape, pools)))
        edges = [
            replace(e, path=tuple(s for s in e.path if s not in pools)) if e.source == entry.name else e
            for e in edges
        ]
    return network.replacing(inputs=tuple(inputs), edges=tuple(edges))


class GraphModule(nn.Module):
    """Runs layers in the network's order, adding what arrives at each."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network
        for layer in network.layers:
            self.add_module(f"{layer.name}_op", _operation(layer))
            self.add_module(f"{layer.name}_spk", _neurons(layer))
            for n, edge in enumerate(network.incoming[layer.name]):
                for m, step in enumerate(_path(network, edge)):
                    self.add_module(f"{layer.name}_path{n}_{m}", _step(step))
            for n in range(len(network.incoming[layer.name]) - 1):
                self.add_module(f"{layer.name}_merge{n}", sl.Merge())

    def forward(self, x: torch.Tensor) -> Any:
        """One tensor for one output, else a tuple."""
        signals = {self.network.inputs[0].name: x}
        for layer in self.network.layers:
            edges = self.network.incoming[layer.name]
            values = [self._along(layer, n, edge, signals[edge.source]) for n, edge in enumerate(edges)]
            total = values[0]
            for n, value in enumerate(values[1:]):
                total = getattr(self, f"{layer.name}_merge{n}")(total, value)
            current = getattr(self, f"{layer.name}_op")(total)
            signals[layer.name] = getattr(self, f"{layer.name}_spk")(current)
        outputs = tuple(signals[output.source] for output in self.network.outputs)
        return outputs[0] if len(outputs) == 1 else outputs

    def _along(self, layer: Layer, n: int, edge: Edge, value: torch.Tensor) -> torch.Tensor:
        for m in range(len(_path(self.network, edge))):
            value = getattr(self, f"{layer.name}_path{n}_{m}")(value)
        return value


def as_module(network: Network) -> nn.Module:
    """The network as a module: a plain `nn.Sequential` for a chain, else a graph.

    Raises
    ------
    ValueError
        Concatenations, several inputs or cycles, which are not built here.
    """
    if len(network.inputs) != 1 or any(edge.feature_offset or edge.delay_steps for edge in network.edges):
        raise ValueError("several inputs, concatenation or a cycle")
    chain = all(len(edges) == 1 for edges in network.incoming.values()) and all(
        len(edges) <= 1 for edges in network.outgoing.values()
    )
    if not chain:
        return GraphModule(network)
    steps: list[nn.Module] = []
    for layer in network.layers:
        (edge,) = network.incoming[layer.name]
        steps += [*(_step(step) for step in _path(network, edge)), _operation(layer), _neurons(layer)]
    return nn.Sequential(*steps)


def _path(network: Network, edge: Edge) -> list[Any]:
    """Steps that make a new tensor: sinabs finds the graph by the identity of tensors.

    A module that returns its input, such as a flattening of what is flat, makes a false cycle there.
    """
    source = network.by_name.get(edge.source)
    flat = source is not None and isinstance(source.operation, Linear)
    return [s for s in edge.path if isinstance(s, Pool) or (isinstance(s, Flatten) and not flat)]


def _operation(layer: Layer) -> nn.Module:
    conv, reads = layer.operation, layer.input_shape.features
    if not isinstance(conv, Convolution):
        return nn.Linear(layer.input_shape.size, conv.out_features, bias=conv.has_bias)
    return nn.Conv2d(
        reads,
        conv.out_features,
        conv.kernel,
        stride=conv.stride,
        padding=conv.padding,
        bias=conv.has_bias,
    )


def _neurons(layer: Layer) -> nn.Module:
    reset = MembraneReset() if layer.neuron and layer.neuron.reset == "zero" else MembraneSubtract()
    module: nn.Module = sl.IAFSqueeze(
        batch_size=1, spike_threshold=1.0, min_v_mem=-1.0, spike_fn=MultiSpike, reset_fn=reset
    )
    return module


def _step(step: Any) -> nn.Module:
    if isinstance(step, Flatten):
        return nn.Flatten()
    kind = nn.AvgPool2d if step.kind == "average" else sl.SumPool2d
    module: nn.Module = kind(step.size, step.stride)
    return module
