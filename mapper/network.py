"""The network as a graph of layers: what every frontend makes and every pass rewrites.

A layer is a convolution (or, before the passes, a linear map) followed by spiking neurons. An edge
carries the spikes of a *signal* (a layer's or an input's output) to a layer; on the way they may be
pooled, flattened or scaled. Several edges into one layer add up where their feature ranges overlap
and concatenate where `feature_offset` sets them apart.

Weights are optional: shapes alone are a network that can be placed and reported on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import combinations
from typing import Self, TypeVar

from hwspec.display import Shown
from mapper.arguments import checked
from mapper.errors import NetworkError, ShapeError
from mapper.operations import (
    BatchNorm,
    Convolution,
    Dropout,
    Linear,
    Neuron,
    Pair,
    PathOperation,
    Pool,
    Scale,
    Shape,
    shape_after,
)
from mapper.reading import Reading
from mapper.wellformed import name_findings, shape_findings
from mapper.wording import titled

__all__ = [
    "DvsSettings", "Edge", "Input", "Layer", "Network", "Origin", "Output", "added_signals", "features_of",
    "origins_of", "revised",
]  # fmt: skip


@checked
@dataclass(frozen=True, slots=True)
class Layer:
    """One core's worth: a weight operation, what stands behind it, and spiking neurons.

    Attributes
    ----------
    name
        Unique in the network.
    input_shape
        What all incoming edges together deliver: the map one spike of input addresses.
    operation
        `Convolution`, or `Linear` before the passes.
    between
        Batch normalisation, dropout and scaling between operation and neurons, in order.
    neuron
        None for a weight layer without neurons, which no chip can run.
    was_linear
        Whether the operation was given as a linear map, which only messages tell.
    """

    name: str
    input_shape: Shape
    operation: Convolution | Linear
    between: tuple[BatchNorm | Dropout | Scale, ...] = ()
    neuron: Neuron | None = field(default_factory=Neuron)
    was_linear: bool = field(default=False, compare=False)

    @property
    def kind(self) -> str:
        """What its operation was given as, in words of torch."""
        return "Linear" if self.was_linear or isinstance(self.operation, Linear) else "Conv2d"

    @property
    def title(self) -> str:
        """What messages call the layer: its name, and of one that is a number its kind, "3 (Conv2d)"."""
        return titled(self.name, self.kind)

    @property
    def output_shape(self) -> Shape:
        """The neuron map, before any pooling.

        Source: ``floor((size - extent + 2 * padding) / stride) + 1`` per axis, Speck Dev Kit
        Datasheet V1.0, 3.2.4.1.
        """
        operation = self.operation
        if isinstance(operation, Linear):
            return Shape(operation.out_features, 1, 1)
        (sy, sx), (py, px), (ey, ex) = operation.stride, operation.padding, operation.extent
        height = (self.input_shape.height - ey + 2 * py) // sy + 1
        width = (self.input_shape.width - ex + 2 * px) // sx + 1
        return Shape(operation.out_features, height, width)


@checked
@dataclass(frozen=True, slots=True)
class DvsSettings:
    """How the sensor stage prepares its events; sizes follow from the input's shape.

    Attributes
    ----------
    origin
        (row, column) of the cut-out, in pooled coordinates.
    mirror
        (vertical, horizontal).
    swap_axes
        Rows become columns.
    on_channel, off_channel
        Polarity gates.
    """

    origin: Pair = (0, 0)
    mirror: tuple[bool, bool] = (False, False)
    swap_axes: bool = False
    on_channel: bool = True
    off_channel: bool = True


@checked
@dataclass(frozen=True, slots=True)
class Input:
    """Where spikes enter. With `dvs` they come from the sensor stage, else from the host.

    The shape is the one before any pooling on the outgoing edges; one feature from the sensor
    means merged polarities.
    """

    name: str
    shape: Shape
    dvs: DvsSettings | None = None


@checked
@dataclass(frozen=True, slots=True)
class Edge:
    """Spikes of a signal on their way to a layer.

    Attributes
    ----------
    source, target
        Name of a layer or input; name of a layer.
    path
        What happens on the way, in order. After the passes: nothing, or one sum pool.
    feature_offset
        Added to the feature index on arrival.
    delay_steps
        1 for edges that go to the same or an earlier layer of the network's order, else 0.
    """

    source: str
    target: str
    path: tuple[PathOperation, ...] = ()
    feature_offset: int = 0
    delay_steps: int = 0

    @property
    def pool(self) -> Pool | None:
        """The pool of the path, if there is one; meaningful after the passes."""
        return _pool(self.path)

    @property
    def title(self) -> str:
        """What messages call the edge, by its ends."""
        return f"{titled(self.source)} -> {titled(self.target)}"


@checked
@dataclass(frozen=True, slots=True)
class Output:
    """A signal the user wants to see, as the layer was given, and what happens to it on the host.

    Attributes
    ----------
    source
        Name of an input or of a layer; in a rewritten network of the layer as it was given.
    late_steps
        Steps by which the network's own framework shows this output later.
    """

    name: str
    source: str
    path: tuple[PathOperation, ...] = ()
    late_steps: int = 0

    @property
    def pool(self) -> Pool | None:
        """The pool of the path, if there is one."""
        return _pool(self.path)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a layer of the network as it was given is found in one that was rewritten for a chip.

    Its feature g of f at row y and column x is feature ``start + ((y % sy) * sx + x % sx) * f + g`` of
    `layer`, at row ``y // sy`` and column ``x // sx``, with ``(sy, sx) = phases``. Where a map is no
    multiple of its phases, `layer` lacks the last rows or columns, as far as nothing reads them, or has more.

    Attributes
    ----------
    name, shape
        Of the layer as it was given, before any pool.
    layer
        Name of the layer here that computes its spikes.
    start
        First feature there.
    phases
        (height, width), each >= 1: how many rows and columns became features.
    """

    name: str
    shape: Shape
    layer: str
    start: int = 0
    phases: Pair = (1, 1)

    @property
    def stop(self) -> int:
        """The feature behind its last one."""
        return self.start + self.shape.features * self.phases[0] * self.phases[1]


def _pool(path: Iterable[PathOperation]) -> Pool | None:
    for step in path:
        if isinstance(step, Pool):
            return step
    return None


@checked
@dataclass(frozen=True)
class Network(Shown):
    """Layers in the source's order, the edges between them, inputs and outputs.

    Attributes
    ----------
    layers
        The order is the index users see; placement does not depend on it.
    edges
        In the source's order; of one source, this is the order of its destinations.
    notes
        What passes changed that is worth telling; reports repeat it.
    readings
        What was taken for granted while reading the network; whatever goes on from it shows them.
    compared_with
        What of its source the network as read was found equal to; empty where nothing was run.
    origins
        Where the layers of the network as it was given are found, in their order; empty where these are the
        layers here. A layer here that no origin names passes on what others send.

    Raises
    ------
    NetworkError, ShapeError
        On construction: unknown names, shapes that do not follow, everything at once.
    """

    name: str
    inputs: tuple[Input, ...]
    layers: tuple[Layer, ...]
    edges: tuple[Edge, ...]
    outputs: tuple[Output, ...]
    notes: tuple[str, ...] = ()
    readings: tuple[Reading, ...] = ()
    compared_with: str = ""
    origins: tuple[Origin, ...] = ()

    def __post_init__(self) -> None:
        if names := tuple(name_findings(self)):
            raise NetworkError(*names)
        if shapes := tuple(shape_findings(self)):
            raise ShapeError(*shapes)

    @cached_property
    def by_name(self) -> Mapping[str, Layer]:
        """Layers by name."""
        return {layer.name: layer for layer in self.layers}

    @cached_property
    def index(self) -> Mapping[str, int]:
        """The index users see, by name of the layers as given; the sensor stage does not count."""
        names = [origin.name for origin in self.origins] or [layer.name for layer in self.layers]
        return {name: n for n, name in enumerate(names)}

    @cached_property
    def incoming(self) -> Mapping[str, tuple[Edge, ...]]:
        """Edges by target layer, in the network's order."""
        return _grouped(self.edges, (layer.name for layer in self.layers), "target")

    @cached_property
    def outgoing(self) -> Mapping[str, tuple[Edge, ...]]:
        """Edges by source signal (layer or input), in the network's order."""
        return _grouped(self.edges, self.signal_shapes, "source")

    @cached_property
    def signal_shapes(self) -> Mapping[str, Shape]:
        """Shape of every input's and layer's output."""
        shapes = {entry.name: entry.shape for entry in self.inputs}
        return shapes | {layer.name: layer.output_shape for layer in self.layers}

    def origin_of(self, layer: str) -> Origin:
        """Where a layer of the network as it was given is found."""
        named = (origin for origin in self.origins if origin.name == layer)
        return next(named, None) or Origin(layer, self.by_name[layer].output_shape, layer)

    def holder_of(self, signal: str) -> str:
        """The layer here that computes what a layer as it was given sent; an input is itself."""
        return next((origin.layer for origin in self.origins if origin.name == signal), signal)

    def title(self, signal: str) -> str:
        """What messages call a layer as it was given, or an input: the name, of a number its kind too."""
        holder = self.by_name.get(self.holder_of(signal))
        return titled(signal, "input" if holder is None else holder.kind)

    @property
    def has_weights(self) -> bool:
        """Whether every layer carries weights (a network of shapes alone carries none)."""
        return all(layer.operation.weight is not None for layer in self.layers)

    @property
    def is_integer(self) -> bool:
        """Whether the network went through quantization."""
        weights = [layer.operation.weight for layer in self.layers]
        return all(w is not None and w.dtype.kind == "i" for w in weights)

    def replacing(self, **changes: object) -> Self:
        """The network with some fields changed, of the same type and checked anew; itself where none is."""
        return revised(self, **changes)


_Entry = TypeVar("_Entry")


def revised(entry: _Entry, **changes: object) -> _Entry:
    """A part of a network, or one, with some fields changed; itself where every field stays what it was."""
    for name, value in changes.items():
        if not _is_same(getattr(entry, name), value):
            return replace(entry, **changes)  # type: ignore[type-var]  # dataclasses.replace is not typed
    return entry


def _is_same(before: object, after: object) -> bool:
    """Whether two values are one, or tuples of the same objects; nothing is compared by value."""
    if before is after:
        return True
    if not (isinstance(before, tuple) and isinstance(after, tuple)) or len(before) != len(after):
        return False
    return all(one is other for one, other in zip(before, after, strict=True))


def origins_of(network: Network) -> tuple[Origin, ...]:
    """Where the layers that were given are found, of a network that was not rewritten too."""
    own = (Origin(layer.name, layer.output_shape, layer.name) for layer in network.layers)
    return network.origins or tuple(own)


def _grouped(edges: Iterable[Edge], keys: Iterable[str], end: str) -> dict[str, tuple[Edge, ...]]:
    groups: dict[str, list[Edge]] = {key: [] for key in keys}
    for edge in edges:
        groups[getattr(edge, end)].append(edge)
    return {key: tuple(group) for key, group in groups.items()}


def features_of(network: Network, edge: Edge) -> range:
    """The input features of its target that an edge reaches."""
    width = shape_after(network.signal_shapes[edge.source], edge.path).features
    return range(edge.feature_offset, edge.feature_offset + width)


def added_signals(network: Network) -> list[set[str]]:
    """Groups of layers and inputs whose spikes add up in a reader, in one or by way of several."""
    groups: list[set[str]] = []
    for layer in network.layers:
        reached = [(edge.source, features_of(network, edge)) for edge in network.incoming[layer.name]]
        for (one, here), (other, there) in combinations(reached, 2):
            if max(here.start, there.start) < min(here.stop, there.stop):
                met = [group for group in groups if group & {one, other}]
                groups = [group for group in groups if group not in met]
                groups.append({one, other}.union(*met))
    return groups
