"""The question the checker answers, with the look-ups every check needs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np

from hwspec.schema import ChipSpec, CoreSpec
from mapper.network import Edge, Network, Output
from mapper.normal_form import NormalLayer, NormalNetwork
from mapper.operations import Pair, Shape
from mapper.options import SolveOptions
from mapper.references import layer_key
from mapper.rules import Rule
from mapper.solution import DVS, DvsStage, LayerPart, Placement, Relay, Route, Solution

__all__ = [
    "SENSOR",
    "Body",
    "Case",
    "Signal",
    "Span",
    "Violation",
    "covers",
    "edge_pool",
    "sensor_inputs",
    "signal_of",
    "signal_shape",
]

# Index of the network and name of a layer or host input; the sensor's events belong to no one network.
Signal: TypeAlias = tuple[int | None, str]
Span: TypeAlias = tuple[int, int]
SENSOR: Signal = (None, DVS)


@dataclass(frozen=True, slots=True)
class Violation:
    """One rule a solution breaks, and where.

    Attributes
    ----------
    where
        Core, layer, edge, or field of the solution.
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
    incoming
        (features, height, width) of what it reads.
    rows, columns
        Of its neuron map: ``floor((size + 2 * padding - kernel) / stride) + 1``.
    features
        How many of them it makes.
    kernel, stride, padding
        (height, width).
    spikes_per_second
        Arriving, at the traffic given.
    weights, biases, potentials
        (least, largest) of the layer's integers; None where it has none.
    """

    placement: Placement
    core: CoreSpec
    name: str
    incoming: tuple[int, int, int]
    rows: int
    columns: int
    features: int
    spikes_per_second: int
    kernel: Pair = (1, 1)
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    has_bias: bool = False
    weights: Span | None = None
    biases: Span | None = None
    potentials: Span | None = None

    @property
    def where(self) -> str:
        """The core, for messages."""
        return f"core {self.placement.core}"


@dataclass(frozen=True, slots=True)
class Case:
    """The question, with the look-ups that every check needs; what the solution names exists.

    Attributes
    ----------
    parts
        (body, its part, what options call the layer) of all that are layers, not relays.
    by_core
        The body of each core, the last one where there are several.
    given
        The networks before anything was rewritten for the chip.
    """

    networks: tuple[NormalNetwork, ...]
    chip: ChipSpec
    options: SolveOptions
    solution: Solution
    bodies: Sequence[Body]
    parts: Sequence[tuple[Body, LayerPart, str]]
    by_core: Mapping[int | str, Body]
    routes_of: Mapping[int | str, Sequence[Route]]
    given: tuple[NormalNetwork, ...]

    @classmethod
    def of(
        cls,
        networks: tuple[NormalNetwork, ...],
        chip: ChipSpec,
        options: SolveOptions,
        solution: Solution,
        given: tuple[NormalNetwork, ...] | None = None,
    ) -> Case:
        """The question with its look-ups."""
        rates = {str(signal): rate for signal, rate in options.traffic}
        for number, network in enumerate(networks if rates else ()):
            rates |= dict(_rewritten_rates(networks, number, network, rates))
        bodies, parts = [], []
        for placement in solution.placements:
            part, core = placement.body, chip.cores[placement.core]
            if isinstance(part, Relay):
                bodies.append(_relay(placement, part, core, networks, solution.dvs_stage, rates))
            else:
                bodies.append(_layer(placement, part, core, networks, rates))
                parts.append((bodies[-1], part, layer_key(networks, part.network, part.layer)))
        routes_of: dict[int | str, list[Route]] = defaultdict(list)
        for route in solution.routes:
            routes_of[route.source].append(route)
        by_core: dict[int | str, Body] = {body.placement.core: body for body in bodies}
        looks = (bodies, parts, by_core, routes_of)
        return cls(networks, chip, options, solution, *looks, networks if given is None else given)

    def layer(self, part: LayerPart) -> NormalLayer:
        """The layer that a part is of."""
        return self.networks[part.network].by_name[part.layer]

    def features(self, signal: Signal) -> int:
        """Features of a signal; none of one that does not exist."""
        shape = signal_shape(self.networks, self.solution.dvs_stage, signal)
        return 0 if shape is None else shape.features


def _rewritten_rates(
    networks: tuple[NormalNetwork, ...], number: int, network: NormalNetwork, rates: Mapping[str, int]
) -> Iterator[tuple[str, int]]:
    """Spikes per second of cores that hold several given layers, or pass on what several send."""
    held: dict[str, int] = {}
    for origin in network.origins:
        held.setdefault(origin.layer, 0)
        held[origin.layer] += rates.get(layer_key(networks, number, origin.name), 0)
    for layer in network.layers if network.origins else ():
        if layer.name not in held:
            sent = (e.source for e in network.incoming[layer.name])
            given = (held.get(s, rates.get(layer_key(networks, number, s), 0)) for s in sent)
            held[layer.name] = sum(given)
    yield from ((layer_key(networks, number, name), rate) for name, rate in held.items())


def _relay(
    placement: Placement,
    relay: Relay,
    core: CoreSpec,
    networks: tuple[Network, ...],
    stage: DvsStage | None,
    rates: Mapping[str, int],
) -> Body:
    signal = signal_of(relay)
    shape = signal_shape(networks, stage, signal)
    if shape is None:
        raise ValueError(f"there is no signal {signal}: `malformations` reports it")
    rows, columns = shape.height // relay.pooling, shape.width // relay.pooling
    features = placement.features[1] - placement.features[0]
    # All sensor inputs are the same events: of different rates the highest is on the safe side.
    names = sensor_inputs(networks) if relay.network is None else [(relay.network, relay.signal)]
    spikes = max(rates.get(layer_key(networks, number, name), 0) for number, name in names)
    incoming = (shape.features if relay.reads_all else features, rows, columns)
    return Body(
        placement, core, f"relay of {relay.signal}", incoming, rows, columns, features, spikes,
        weights=(0, 1), potentials=(-1, 1),
    )  # fmt: skip


def _layer(
    placement: Placement,
    part: LayerPart,
    core: CoreSpec,
    networks: tuple[NormalNetwork, ...],
    rates: Mapping[str, int],
) -> Body:
    network = networks[part.network]
    layer = network.by_name[part.layer]
    conv, size = layer.operation, layer.input_shape
    rows, columns = (
        (size[1 + axis] + 2 * conv.padding[axis] - conv.kernel[axis]) // conv.stride[axis] + 1
        for axis in (0, 1)
    )
    keys = [layer_key(networks, part.network, edge.source) for edge in network.incoming[layer.name]]
    return Body(
        placement, core, layer.name, (size[0], size[1], size[2]), rows, columns,
        placement.features[1] - placement.features[0], sum(rates.get(key, 0) for key in keys),
        conv.kernel, conv.stride, conv.padding, conv.has_bias, *_ranges(layer),
    )  # fmt: skip


def _ranges(layer: NormalLayer) -> tuple[Span | None, Span | None, Span | None]:
    """Least and largest of weights, biases and potentials, where they are integers."""
    conv, neuron = layer.operation, layer.neuron
    if conv.weight is None or not np.issubdtype(conv.weight.dtype, np.signedinteger):
        return None, None, None
    bound = -32768 if neuron.minimum is None else neuron.minimum
    start = [] if neuron.initial_potential is None else [*_span(neuron.initial_potential)]
    potentials = [*_span(neuron.threshold), *_span(bound), *start]
    biases = None if conv.bias is None else _span(conv.bias)
    return _span(conv.weight), biases, (min(potentials), max(potentials))


def _span(numbers: Any) -> Span:
    values = np.ravel(numbers)
    return int(values.min()), int(values.max())


def sensor_inputs(networks: tuple[Network, ...]) -> list[tuple[int, str]]:
    """(network, name) of every input that the sensor stage feeds."""
    return [(n, entry.name) for n, net in enumerate(networks) for entry in net.inputs if entry.dvs]


def signal_of(body: LayerPart | Relay) -> Signal:
    """What a core sends."""
    return (body.network, body.signal if isinstance(body, Relay) else body.layer)


def signal_shape(networks: tuple[Network, ...], stage: DvsStage | None, signal: Signal) -> Shape | None:
    """Shape of a layer, a host input, or the sensor behind its stage; None where there is no such signal."""
    number, name = signal
    if number is not None:
        network = networks[number] if number in range(len(networks)) else None
        if network is None or any(entry.dvs and entry.name == name for entry in network.inputs):
            return None
        return network.signal_shapes.get(name)
    sensors = sensor_inputs(networks)
    if name != DVS or stage is None or not sensors:
        return None
    height, width = (stage.cut[axis] - stage.origin[axis] + 1 for axis in (0, 1))
    features = max(networks[n].signal_shapes[sensor].features for n, sensor in sensors)
    return Shape(features, width, height) if stage.swap else Shape(features, height, width)


def edge_pool(edge: Edge | Output) -> tuple[Pair, Pair]:
    """Size and stride of the pool of an edge or output, ones without."""
    return (edge.pool.size, edge.pool.stride) if edge.pool else ((1, 1), (1, 1))


def covers(spans: Sequence[Span], start: int, stop: int, times: int = 1) -> bool:
    """Whether half-open spans cover every number of start..stop exactly `times` times, and nothing else."""
    if len(spans) == times == 1:
        return spans[0] == (start, stop) and start < stop
    if any(low >= high for low, high in spans):
        return False
    places = sorted({start, stop, *(place for span in spans for place in span)})
    for low, high in pairwise(places):
        depth = sum(span[0] <= low and high <= span[1] for span in spans)
        if depth != (times if start <= low and high <= stop else 0):
            return False
    return True
