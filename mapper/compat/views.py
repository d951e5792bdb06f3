"""What scripts and tools of sinabs look up in a `DynapcnnNetwork`, as views of the one network."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NoReturn, Self, TypeVar

import torch
from torch import nn

from hwspec.inert import quoted
from mapper.compat.forward import ForwardNetwork, along
from mapper.compat.layer import DynapcnnLayer
from mapper.demand import layer_demands

__all__ = ["LayerViews", "MemoryWords"]

Key = TypeVar("Key", bound=int | str)
Value = TypeVar("Value", bound=Any)

_INSTEAD = {
    "sequence": "dynapcnn_layers holds the layers by index",
    "compatible_layers": "dynapcnn_layers holds the layers by index",
    "dvs_node_info": "dvs_layer is the sensor stage, has_dvs_layer() says whether there is one",
    "samna_input_graph": "samna_input_buffer.write(events) sends events to the board",
    "samna_output_graph": "samna_output_buffer.get_events() takes what came from the board",
    "device_input_graph": "samna_input_buffer.write(events) sends events to the board",
    "device_output_graph": "samna_output_buffer.get_events() takes what came from the board",
    "find_dvs_layer": "dvs_layer is the sensor stage",
    "add_output_neuron": "give add_output_neuron=THRESHOLD to the constructor",
    "network_spec": "network is the network as it is placed and emitted",
}


class LayersByIndex(dict[Key, Value]):
    """Layers by index: a dict that says which there are where one is asked for that is not."""

    def __missing__(self, key: object) -> NoReturn:
        titles = [f"{n}: {entry.structure.title}" for n, entry in self.items() if isinstance(n, int)]
        text = f"there is no layer {quoted(key)} by index; there are {', '.join(titles) or 'none'}"
        raise KeyError(text)


class MemoryWords(list[int]):
    """Words of memory by layer: a list, that can also be read as a dict from layer index to words."""

    def keys(self) -> range:
        """Layer indices."""
        return range(len(self))

    def values(self) -> list[int]:
        """Words, in the order of the layers."""
        return list(self)

    def items(self) -> enumerate[int]:
        """Pairs of layer index and words."""
        return enumerate(self)


@dataclass(frozen=True)
class LayerGraph:
    """Which layer feeds which, by index; a name may begin with an underscore, as in sinabs 3.1.

    Attributes
    ----------
    destination_map
        As `LayerViews.layer_destination_map`.
    entry_points
        Layers that the input feeds, or "dvs".
    dynapcnnlayer_edges
        Pairs (source, target); "input" is a source.
    node_source_map
        Sources by target.
    sorted_nodes
        Layers, and "dvs", each behind all that feed it but over cycles.
    """

    destination_map: dict[int | str, list[int]]
    entry_points: set[int | str]
    dynapcnnlayer_edges: set[tuple[int | str, int | str]]
    node_source_map: dict[int | str, list[int | str]]
    sorted_nodes: list[int | str]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") and name[1:] in self.__dataclass_fields__:
            return getattr(self, name[1:])
        raise AttributeError(name)


class LayerViews(ForwardNetwork):
    """Layers, destinations and demands by index; the sensor stage does not count."""

    _sensor_stage: Any = None

    @property
    def dynapcnn_layers(self) -> dict[int, DynapcnnLayer]:
        """Layers by index: modules, whose weights, thresholds and hooks are the network's own."""
        return LayersByIndex(enumerate(self.core_layers()))

    @property
    def all_layers(self) -> dict[int | str, Any]:
        """`dynapcnn_layers`, and the sensor stage as "dvs" if there is one."""
        layers: dict[int | str, Any] = LayersByIndex(enumerate(self.core_layers()))
        if self.has_dvs_layer():
            layers["dvs"] = self.dvs_layer
        return layers

    @property
    def forward_network(self) -> Self:
        """The network itself: the simulation is no second one."""
        return self

    @property
    def exit_layer_ids(self) -> list[int]:
        """Indices of the layers whose spikes leave the network."""
        shown = {output.source for output in self.structure.outputs}
        return [n for name, n in self.structure.index.items() if name in shown]

    @property
    def exit_layers(self) -> list[DynapcnnLayer]:
        """Layers whose spikes leave the network."""
        layers = self.core_layers()
        return [layers[n] for n in self.exit_layer_ids]

    @property
    def layer_destination_map(self) -> dict[int | str, list[int]]:
        """By layer index, or "dvs", the layers it feeds; -1, -2, ... for what leaves the network."""
        index = self.structure.index
        found: dict[int | str, list[int]] = {
            n: [*self._targets(name), *range(-1, -1 - self._exits(name), -1)] for name, n in index.items()
        }
        if self.has_dvs_layer():
            fed = [n for entry in self.structure.inputs for n in self._targets(entry.name)]
            found["dvs"] = fed or [-1]
        return found

    @property
    def dynapcnn_module(self) -> LayerGraph:
        """The graph of the layers."""
        targets = self.layer_destination_map
        fed: list[int] = [n for entry in self.structure.inputs for n in self._targets(entry.name)]
        entries: set[int | str] = {"dvs"} if self.has_dvs_layer() else set(fed)
        edges: set[tuple[int | str, int | str]] = {("input", entry) for entry in entries}
        edges |= {
            (source, target) for source, several in targets.items() for target in several if target >= 0
        }
        sources: dict[int | str, list[int | str]] = {}
        for source, target in sorted(edges, key=str):
            sources.setdefault(target, []).append(source)
        nodes: list[int | str] = [*(["dvs"] if self.has_dvs_layer() else []), *self.structure.index.values()]
        return LayerGraph(targets, entries, edges, sources, nodes)

    def _targets(self, signal: str) -> list[int]:
        return [self.structure.index[edge.target] for edge in self.structure.outgoing[signal]]

    def _exits(self, signal: str) -> int:
        return sum(output.source == signal for output in self.structure.outputs)

    @property
    def name_2_indx_map(self) -> dict[str, int]:
        """Layer index by the name of the layer's weights in the module it was read from."""
        return dict(self.structure.index)

    @property
    def is_chain(self) -> bool:
        """Whether every layer feeds the next one alone."""
        pairs = Counter((edge.source, edge.target) for edge in self.structure.edges)
        names = (
            [self.structure.inputs[0].name, *self.structure.index] if len(self.structure.inputs) == 1 else []
        )
        return pairs == Counter(pairwise(names))

    @property
    def dvs_layer(self) -> Any:
        """The sensor stage: the module's own `DVSLayer`, else the stage's settings; None without a sensor."""
        entry = next((entry for entry in self.structure.inputs if entry.dvs), None)
        if self._sensor_stage is not None or entry is None:
            return self._sensor_stage
        theirs = sys.modules.get("sinabs.backend.dynapcnn.dvs_layer")
        return theirs.DVSLayer(tuple(entry.shape[1:]), disable_pixel_array=False) if theirs else entry.dvs

    def has_dvs_layer(self) -> bool:
        """Whether events come through the sensor stage."""
        return self.dvs_layer is not None

    def memory_summary(self) -> dict[str, MemoryWords]:
        """Words of kernel, neuron and bias memory, by layer in order."""
        works = [entry.work for entry in layer_demands(self.network)]
        return {
            "kernel": MemoryWords(work.kernel_words for work in works),
            "neuron": MemoryWords(work.neuron_words for work in works),
            "bias": MemoryWords(work.bias_words for work in works),
        }

    def complete(
        self, x: torch.Tensor, seen: torch.Tensor, spikes: dict[str, torch.Tensor]
    ) -> dict[int | str, dict[int | str, Any]]:
        """All signals by source index ("input" and "dvs" for the input and the stage) and destination index.

        Parameters
        ----------
        x, seen
            What `forward` was called with, and what the stage makes of it, (batch * time, ...).
        spikes
            By layer, (batch, time, features, height, width).

        Returns
        -------
        dict
            Tensors (batch * time, features, height, width), pooled on the way; a tuple of them where a layer
            feeds another in several ways.
        """
        index = self.structure.index
        found = self._entries(x, seen)
        for name, n in index.items():
            ways: dict[int | str, list[torch.Tensor]] = {}
            for edge in self.structure.outgoing[name]:
                ways.setdefault(index[edge.target], []).append(_flat(edge.path, spikes[name]))
            for number, output in enumerate(o for o in self.structure.outputs if o.source == name):
                ways[-1 - number] = [_flat(output.path, spikes[name])]
            found[n] = {
                target: parts[0] if len(parts) == 1 else tuple(parts) for target, parts in ways.items()
            }
        return found

    def _entries(self, x: torch.Tensor, seen: torch.Tensor) -> dict[int | str, dict[int | str, Any]]:
        edges = [edge for entry in self.structure.inputs for edge in self.structure.outgoing[entry.name]]
        index = self.structure.index
        arriving: dict[int | str, Any] = {index[e.target]: _flat(e.path, seen[:, None]) for e in edges}
        return {"input": {"dvs": x}, "dvs": arriving} if self.has_dvs_layer() else {"input": arriving}

    def init_weights(self, init_fn: Any = nn.init.xavier_normal_) -> None:
        """Draw all weights anew; with `discretize`, in the chip's units, and rounded where they are used."""
        for layer in self.core_layers():
            init_fn(layer.conv.weight.data)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError as error:
            if name in _INSTEAD:
                raise AttributeError(f"DynapcnnNetwork has no {name} here: {_INSTEAD[name]}") from None
            raise error from None


def _flat(path: Any, value: torch.Tensor) -> torch.Tensor:
    return along(path, value).flatten(0, 1)
