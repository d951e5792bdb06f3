"""The question the checker answers, with the look-ups every check needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

from hwspec.schema import ChipSpec, CoreSpec
from mapper.network import Edge, Layer, Network
from mapper.operations import Convolution, Pool
from mapper.options import SolveOptions
from mapper.references import layer_key
from mapper.rules import Rule
from mapper.solution import DvsStage, Placement, Relay, Route, Solution

__all__ = ["Body", "Case", "Violation", "body_of", "convolution", "covers", "edge_pooling"]

Span: TypeAlias = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Violation:
    """One rule a solution breaks, and where.

    Attributes
    ----------
    where
        Core, layer or edge.
    problem
        What is wrong there.
    """

    rule: Rule
    where: str
    problem: str

    def __str__(self) -> str:
        return f"{self.rule.code} {self.where}: {self.problem}"


@dataclass(frozen=True, slots=True)
class Body:
    """What one core computes, a layer's part or a relay, from the raw numbers.

    Attributes
    ----------
    name
        In messages.
    key
        What the layer is called in options; of a relay the signal it passes on.
    layer
        None for a relay.
    incoming
        (features, height, width) of what it reads.
    rows, columns
        Of its neuron map: ``floor((size + 2 * padding - kernel) / stride) + 1``.
    features
        How many of them it makes.
    kernel, stride, padding
        (height, width).
    """

    placement: Placement
    core: CoreSpec
    name: str
    key: str
    network: int
    layer: Layer | None
    incoming: tuple[int, int, int]
    rows: int
    columns: int
    features: int
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    has_bias: bool

    @property
    def where(self) -> str:
        """The core, for messages."""
        return f"core {self.placement.core}"


@dataclass(frozen=True)
class Case:
    """The question, with the look-ups that every check needs."""

    networks: tuple[Network, ...]
    chip: ChipSpec
    options: SolveOptions
    solution: Solution
    bodies: Sequence[Body]
    routes_of: Mapping[int | str, Sequence[Route]]

    @property
    def layers(self) -> Sequence[tuple[Body, Layer]]:
        """Bodies that are layers or parts of one."""
        return [(body, body.layer) for body in self.bodies if body.layer is not None]

    def edges_out(self, body: Body) -> tuple[Edge, ...]:
        """Edges that leave the layer of a body; none for a relay."""
        return () if body.layer is None else self.networks[body.network].outgoing[body.layer.name]


def body_of(
    placement: Placement, networks: tuple[Network, ...], chip: ChipSpec, stage: DvsStage | None
) -> Body:
    """A placement with its numbers; names and core ids are known to exist."""
    body, core = placement.body, chip.cores[placement.core]
    network = networks[body.network]
    features = placement.features[1] - placement.features[0]
    if isinstance(body, Relay):
        key = layer_key(networks, body.network, body.signal)
        rows, columns = _relayed_map(network, body, stage)
        return Body(
            placement, core, f"relay of {body.signal}", key, body.network, None, (features, rows, columns),
            rows, columns, features, (1, 1), (1, 1), (0, 0), False,
        )  # fmt: skip
    layer = network.by_name[body.layer]
    conv, size = convolution(layer), layer.input_shape
    rows, columns = (
        (size[1 + axis] + 2 * conv.padding[axis] - conv.kernel[axis]) // conv.stride[axis] + 1
        for axis in (0, 1)
    )
    return Body(
        placement, core, layer.name, layer_key(networks, body.network, layer.name), body.network, layer,
        (size[0], size[1], size[2]), rows, columns, features, conv.kernel, conv.stride, conv.padding,
        conv.has_bias,
    )  # fmt: skip


def _relayed_map(network: Network, relay: Relay, stage: DvsStage | None) -> tuple[int, int]:
    shape = network.signal_shapes[relay.signal]
    rows, columns = shape[1], shape[2]
    sensors = {entry.name for entry in network.inputs if entry.dvs is not None}
    if stage is not None and relay.signal in sensors:
        rows, columns = (stage.cut[axis] - stage.origin[axis] + 1 for axis in (0, 1))
        if stage.swap:
            rows, columns = columns, rows
    return rows // relay.pooling, columns // relay.pooling


def convolution(layer: Layer) -> Convolution:
    """The convolution of a layer in normal form."""
    if not isinstance(layer.operation, Convolution):
        raise TypeError(f"layer {layer.name} is not in normal form")
    return layer.operation


def edge_pooling(edge: Edge) -> int:
    """Rows of an edge's pool, 1 without."""
    return next((step.size[0] for step in edge.path if isinstance(step, Pool)), 1)


def covers(spans: Sequence[Span], start: int, stop: int, times: int = 1) -> bool:
    """Whether half-open spans cover every number of start..stop exactly `times` times, and nothing else."""
    if any(low >= high for low, high in spans):
        return False
    places = sorted({start, stop, *(place for span in spans for place in span)})
    for low, high in pairwise(places):
        depth = sum(span[0] <= low and high <= span[1] for span in spans)
        if depth != (times if start <= low and high <= stop else 0):
            return False
    return True
