"""Generated instances of every rule about what a core holds: exactly at its bound, and one unit beyond.

Network, chip and placement are written down by hand, without solver or checker. What an occupant takes
comes from `hwspec.memory` and the network's own shapes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from hwspec.catalog import load
from hwspec.memory import bias_words, kernel_words, neuron_words
from hwspec.schema import ChipSpec
from mapper.network import DvsSettings, Edge, Input, Output
from mapper.normal_form import NormalLayer, NormalNetwork
from mapper.operations import Convolution, Neuron, Pair, Shape, shape_after
from mapper.options import SolveOptions, resolve
from mapper.rules import Rule
from mapper.solution import (
    DVS,
    DvsStage,
    HostEntry,
    LayerPart,
    Monitor,
    Placement,
    Relay,
    Route,
    Solution,
)
from tests.builders import conv, pool

__all__ = ["SITUATIONS", "Bound", "Occupant", "Situation", "bounds"]

# Spikes per second that leave every signal.
RATE = 1000
LAYER_BITS = (6, 4, 11)  # of -17..8, -3..4 and -300..512
READERS = 3


@dataclass(frozen=True)
class Occupant:
    """What stands on a core, from the raw numbers; of a relay what it reads is pooled, and numbers are -1..1."""

    core: int
    read: Shape
    made: Shape
    spikes_per_second: int
    kernel: Pair = (1, 1)
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    has_bias: bool = False
    bits: tuple[int, int, int] = (2, 0, 2)


@dataclass(frozen=True)
class Situation:
    """Networks and a placement of them on a chip with room for everything.

    Attributes
    ----------
    occupants
        The bodies whose bounds are tried.
    overrides
        Facts of the chip, a variant of Speck 2f; `chip` adds further ones.
    """

    networks: tuple[NormalNetwork, ...]
    solution: Solution
    occupants: tuple[Occupant, ...]
    overrides: tuple[str, ...] = ()
    wishes: SolveOptions = SolveOptions()

    def chip(self, *overrides: str) -> ChipSpec:
        """As many cores as there are bodies, all of them alike and large."""
        count = len(self.solution.placements)
        cores = f"core[0..{count - 1}]"
        sizes = [f"{cores}.{memory}={2**30}" for memory in ("kernel_words", "neuron_words", "bias_words")]
        fewer = [f"-core[{count}..8]"] if count < 9 else []
        more = [f"+core[9..{count - 1}]=core[8]"] if count > 9 else []
        plain = [f"{cores}.parallel=false", "limits.kernel_square=false"]
        return load("speck2f", [*fewer, *more, *sizes, *plain, *self.overrides, *overrides])

    @cached_property
    def options(self) -> SolveOptions:
        """Resolved; traffic on every signal."""
        several = len(self.networks) > 1
        traffic = tuple(
            (f"{network.name}:{signal}" if several else signal, RATE)
            for network in self.networks
            for signal in network.signal_shapes
        )
        return resolve(replace(self.wishes, traffic=traffic), self.networks, self.chip())


@dataclass(frozen=True)
class Bound:
    """One rule at its bound: overrides that an occupant just keeps to, and that it exceeds by one unit."""

    rule: Rule
    core: int
    inside: tuple[str, ...]
    outside: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.rule.name} on core {self.core}: {', '.join(self.outside)}"


def bounds(occupant: Occupant) -> Iterator[Bound]:
    """Every rule that this occupant can exceed, with each of its numbers."""
    core, (read, height, width), made = occupant.core, occupant.read, occupant.made
    kernel, stride = occupant.kernel, occupant.stride
    most = {
        "limits.input_height_max": (Rule.INPUT_SIZE, height),
        "limits.input_width_max": (Rule.INPUT_SIZE, width),
        "limits.output_height_max": (Rule.OUTPUT_SIZE, made.height),
        "limits.output_width_max": (Rule.OUTPUT_SIZE, made.width),
        "limits.input_features_max": (Rule.FEATURES, read),
        "limits.output_features_max": (Rule.FEATURES, made.features),
        "limits.padding_max": (Rule.PADDING, max(occupant.padding)),
        "kernel_words": (Rule.KERNEL_MEMORY, kernel_words(read, made.features, *kernel)),
        "neuron_words": (Rule.NEURON_MEMORY, neuron_words(*made)),
        "bias_words": (Rule.BIAS_MEMORY, bias_words(made.features, occupant.has_bias)),
    }
    rate = occupant.spikes_per_second * made.features * kernel[0] * kernel[1]
    most["synops_per_second"] = (Rule.BANDWIDTH, -(-rate // (stride[0] * stride[1])))
    for field, bits in zip(("weight", "bias", "state"), occupant.bits, strict=True):
        most[f"limits.{field}_bits"] = (Rule.NUMBER_WIDTH, bits)
    for field, (rule, value) in most.items():
        least = 0 if field in ("limits.padding_max", "bias_words") else 1
        if value > least:
            yield _bound(rule, core, (field, value), (field, value - 1))
    if max(kernel) > 1:
        grown, shrunk = (("limits.kernel_size_max", max(kernel) - n) for n in (0, 1))
        room = ("limits.padding_max", max(kernel) - 2)
        yield _bound(Rule.KERNEL_SIZE, core, grown, shrunk, room)
    low = "limits.kernel_size_min"
    yield _bound(Rule.KERNEL_SIZE, core, (low, min(kernel)), (low, min(kernel) + 1))
    if kernel[0] != kernel[1]:
        square = "limits.kernel_square"
        yield _bound(Rule.KERNEL_SQUARE, core, (square, "false"), (square, "true"))
    for step in {*stride} - {1}:
        have = sorted({1, *stride})
        field = "limits.strides"
        yield _bound(Rule.STRIDE, core, (field, have), (field, [n for n in have if n != step]))


def _bound(
    rule: Rule, core: int, inside: tuple[str, object], outside: tuple[str, object], *both: tuple[str, object]
) -> Bound:
    def written(field: tuple[str, object]) -> tuple[str, ...]:
        return tuple(f"core[{core}].{name}={value}" for name, value in (field, *both))

    return Bound(rule, core, written(inside), written(outside))


def _draw_convolution(draw: np.random.Generator, features: int, inputs: int) -> Convolution:
    """Kernels that are not square, strides and paddings of their own per axis, integers of `LAYER_BITS`."""
    kernel = (int(draw.integers(3, 6)), int(draw.integers(2, 6)))
    most = max(kernel) - 2
    return Convolution(
        features,
        kernel,
        stride=(int(draw.choice([1, 2, 4])), int(draw.choice([2, 4, 8]))),
        padding=(int(draw.integers(1, most + 1)), int(draw.integers(0, most + 1))),
        has_bias=True,
        weight=np.resize([-17, 8, 0], (features, inputs, *kernel)),
        bias=np.resize([4, -3], features),
    )


def _layer_occupant(core: int, layer: NormalLayer, features: int, inputs: int = 1) -> Occupant:
    convolution = layer.operation
    assert isinstance(convolution, Convolution)
    return Occupant(
        core, layer.input_shape, layer.output_shape._replace(features=features), RATE * inputs,
        convolution.kernel, convolution.stride, convolution.padding, convolution.has_bias, LAYER_BITS,
    )  # fmt: skip


def _draw_layer(draw: np.random.Generator) -> NormalNetwork:
    """One layer that reads one host input twice: shapes, taps and features drawn."""
    shape = Shape(*(int(n) for n in draw.integers((2, 6, 6), (6, 20, 20))))
    convolution = _draw_convolution(draw, int(draw.integers(3, 12)), shape.features)
    layer = NormalLayer("conv0", shape, convolution, neuron=Neuron(512, -300))
    return NormalNetwork(
        "one", (Input("input", shape),), (layer,), (Edge("input", "conv0"),), (Output("o", "conv0"),)
    )


def whole_layer(draw: np.random.Generator) -> Situation:
    """A layer on the one core of its chip."""
    network = _draw_layer(draw)
    layer = network.layers[0]
    span = (0, layer.output_shape.features)
    solution = Solution(
        (Placement(0, LayerPart(0, "conv0"), span),),
        (),
        (HostEntry(0, "input", 0),),
        (Monitor(0, 0, "conv0", span),),
    )
    wishes = SolveOptions(max_pieces=1, max_copies=1, relays=False)
    occupant = _layer_occupant(0, layer, span[1])
    return Situation((network,), solution, (occupant,), (), wishes)


def pieces(draw: np.random.Generator) -> Situation:
    """A layer cut into two pieces of different size."""
    network = _draw_layer(draw)
    layer = network.layers[0]
    spans = _cut(draw, layer.output_shape.features)
    solution = Solution(
        tuple(Placement(core, LayerPart(0, "conv0"), span) for core, span in enumerate(spans)),
        (),
        tuple(HostEntry(0, "input", core) for core in range(2)),
        tuple(Monitor(core, 0, "conv0", span) for core, span in enumerate(spans)),
    )
    occupants = tuple(_layer_occupant(core, layer, stop - start) for core, (start, stop) in enumerate(spans))
    return Situation(
        (network,), solution, occupants, (), SolveOptions(max_pieces=2, max_copies=1, relays=False)
    )


def _cut(draw: np.random.Generator, features: int) -> tuple[Pair, Pair]:
    cut = int(draw.integers(1, features))
    return (0, cut), (cut, features)


def _star(
    shape: Shape, source: NormalLayer | None, pooling: int, dvs: bool = False, name: str = "star"
) -> NormalNetwork:
    """`READERS` layers of one tap that read a layer, or an input, pooled."""
    signal = "input" if source is None else source.name
    seen = shape_after(shape if source is None else source.output_shape, pool(pooling))
    readers = tuple(NormalLayer(f"reader{n}", seen, conv(n + 1, 1)) for n in range(READERS))
    edges = tuple(Edge(signal, reader.name, pool(pooling)) for reader in readers)
    return NormalNetwork(
        name,
        (Input("input", shape, DvsSettings() if dvs else None),),
        readers if source is None else (source, *readers),
        edges if source is None else (Edge("input", source.name), *edges),
        tuple(Output(reader.name, reader.name) for reader in readers),
    )


@dataclass(frozen=True)
class _Passed:
    """A relay's body and the features that it passes on."""

    body: Relay
    span: Pair


def _relayed(
    network: NormalNetwork,
    sources: Sequence[Placement],
    relays: Sequence[_Passed],
    hop: int,
    pooling: int,
) -> tuple[list[Placement], list[Route], list[Monitor]]:
    """The sources, relays behind them, and all readers of the network behind these.

    Parameters
    ----------
    hop, pooling
        Of the destinations that end at relays, and at readers.
    """
    placements, routes = list(sources), []
    for passed in relays:
        placements.append(Placement(len(placements), passed.body, passed.span))
    standing = placements[len(sources) :]
    for source in sources:
        for slot, relay in enumerate(r for r in standing if _reads(r, source)):
            shift = source.features[0] - (0 if _all(relay) else relay.features[0])
            routes.append(Route(source.core, slot, relay.core, hop, shift))
    monitors = []
    for n in range(READERS):
        core = len(placements)
        part, span = LayerPart(0, f"reader{n}"), (0, n + 1)
        placements.append(Placement(core, part, span))
        monitors.append(Monitor(core, 0, part.layer, span))
        routes += [Route(relay.core, n, core, pooling, relay.features[0]) for relay in standing]
    return placements, routes, monitors


def _all(relay: Placement) -> bool:
    return isinstance(relay.body, Relay) and relay.body.reads_all


def _reads(relay: Placement, source: Placement) -> bool:
    return _all(relay) or (relay.features[0] < source.features[1] and source.features[0] < relay.features[1])


def _relay_occupants(relays: Sequence[Placement], shape: Shape, spikes: int) -> tuple[Occupant, ...]:
    """Relays of a signal of this shape, which is pooled already."""
    found = []
    for relay in relays:
        features = relay.features[1] - relay.features[0]
        read = shape if _all(relay) else shape._replace(features=features)
        found.append(Occupant(relay.core, read, shape._replace(features=features), spikes))
    return tuple(found)


def _layer_relays(draw: np.random.Generator, cut_source: bool, cut_relay: bool, reads_all: bool) -> Situation:
    shape = Shape(2, *(int(n) for n in draw.integers(6, 20, 2)))
    source = NormalLayer("source", shape, conv(int(draw.integers(3, 12)), 3))
    hop, pooling = int(draw.choice([1, 2])), int(draw.choice([1, 2]))
    network = _star(shape, source, hop * pooling)
    features = source.output_shape.features
    spans = _cut(draw, features)
    parts = [
        Placement(core, LayerPart(0, "source"), span)
        for core, span in enumerate(spans if cut_source else ((0, features),))
    ]
    body = Relay(0, "source", hop, reads_all)
    passed = [_Passed(body, span) for span in (spans if cut_relay else ((0, features),))]
    placements, routes, monitors = _relayed(network, parts, passed, hop, pooling)
    relays = placements[len(parts) : len(parts) + len(passed)]
    entries = tuple(HostEntry(0, "input", part.core) for part in parts)
    solution = Solution(tuple(placements), tuple(routes), entries, tuple(monitors))
    seen = shape_after(source.output_shape, pool(hop))
    occupants = _relay_occupants(relays, seen, RATE)
    slots = tuple(f"core[{relay.core}].fan_out={READERS}" for relay in relays)
    return Situation((network,), solution, occupants, slots, SolveOptions(max_copies=1))


def whole_relay(draw: np.random.Generator) -> Situation:
    """A layer whose readers are too many: one relay of all its features."""
    return _layer_relays(draw, cut_source=False, cut_relay=False, reads_all=False)


def joining_relay(draw: np.random.Generator) -> Situation:
    """A layer in two pieces, and one relay that joins them."""
    return _layer_relays(draw, cut_source=True, cut_relay=False, reads_all=False)


def relays_of_pieces(draw: np.random.Generator) -> Situation:
    """A layer in two pieces, and a relay of each."""
    return _layer_relays(draw, cut_source=True, cut_relay=True, reads_all=False)


def relays_that_read_all(draw: np.random.Generator) -> Situation:
    """A whole layer, and two relays that each read all of it and pass on a part."""
    return _layer_relays(draw, cut_source=False, cut_relay=True, reads_all=True)


def relay_of_host_events(draw: np.random.Generator) -> Situation:
    """A host input that all readers read pooled, which the host's entries cannot do."""
    shape = Shape(*(int(n) for n in draw.integers((2, 6, 6), (9, 20, 20))))
    pooling = int(draw.choice([2, 4]))
    network = _star(shape, None, pooling)
    relay = _Passed(Relay(0, "input"), (0, shape.features))
    placements, routes, monitors = _relayed(network, [], [relay], 1, pooling)
    solution = Solution(tuple(placements), tuple(routes), (HostEntry(0, "input", 0),), tuple(monitors))
    occupants = _relay_occupants(placements[:1], shape, RATE)
    return Situation((network,), solution, occupants, (f"core[0].fan_out={READERS}",))


def relays_of_the_sensor(draw: np.random.Generator) -> Situation:
    """Two networks behind one stage of pool 2; readers pool by 4 or 8: one relay of each polarity for all."""
    size = tuple(8 * int(n) for n in draw.integers(1, 5, 2))
    is_cut = bool(draw.random() < 0.5)
    rest = int(draw.choice([2, 4]))
    shape = Shape(2, *size)
    networks = tuple(_star(shape, None, 2 * rest, dvs=True, name=name) for name in ("first", "second"))
    spans = ((0, 1), (1, 2)) if is_cut else ((0, 2),)
    body = Relay(None, DVS, 1, reads_all=is_cut)
    placements = [Placement(core, body, span) for core, span in enumerate(spans)]
    relays = tuple(placements)
    routes = [Route(DVS, slot, relay.core) for slot, relay in enumerate(relays)]
    monitors = []
    for number in range(2):
        for n in range(READERS):
            part, span = LayerPart(number, f"reader{n}"), (0, n + 1)
            core = len(placements)
            placements.append(Placement(core, part, span))
            monitors.append(Monitor(core, number, part.layer, span))
            for relay in relays:
                slot = number * READERS + n
                routes.append(Route(relay.core, slot, core, rest, relay.features[0]))
    stage = DvsStage(False, (2, 2), (0, 0), (size[0] // 2 - 1, size[1] // 2 - 1))
    solution = Solution(tuple(placements), tuple(routes), (), tuple(monitors), stage)
    occupants = _relay_occupants(relays, Shape(2, size[0] // 2, size[1] // 2), RATE)
    slots = tuple(f"core[{relay.core}].fan_out={2 * READERS}" for relay in relays)
    return Situation(networks, solution, occupants, slots, SolveOptions(max_copies=1))


SITUATIONS: Mapping[str, Callable[[np.random.Generator], Situation]] = {
    "layer": whole_layer,
    "piece": pieces,
    "relay": whole_relay,
    "relay of pieces": joining_relay,
    "relay of a piece": relays_of_pieces,
    "relay that reads all": relays_that_read_all,
    "relay of host events": relay_of_host_events,
    "relay of the sensor": relays_of_the_sensor,
}
