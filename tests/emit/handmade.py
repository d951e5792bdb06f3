"""Solutions written by hand, one for each way in which a signal can be passed on; the solver takes no part."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from hwspec.catalog import load
from mapper.network import DvsSettings, Edge, Input, Output
from mapper.normal_form import NormalLayer, NormalNetwork
from mapper.operations import Convolution, Neuron, Pool, Shape, shape_after
from mapper.options import SolveOptions, resolve
from mapper.reasons import Status
from mapper.result import Result, Statistics
from mapper.solution import (
    DVS,
    READOUT,
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

__all__ = ["CASES", "placed"]


def placed(
    networks: Sequence[NormalNetwork],
    solution: Solution,
    overrides: Sequence[str] = (),
    chip: str = "speck2f",
    **options: Any,
) -> Result:
    """A result with this solution, unchecked."""
    spec = load(chip, overrides)
    resolved = resolve(SolveOptions(**options), networks, spec)
    statistics = Statistics(0.0, 0.0, 0, 0, 0)
    return Result(Status.FEASIBLE, tuple(networks), spec, resolved, solution, None, statistics)


def network(
    entry: Input,
    convolutions: Sequence[Convolution],
    edges: Sequence[Edge],
    outputs: Sequence[Output],
    name: str = "net",
) -> NormalNetwork:
    """Layers l0, l1, ... with weights under which spikes one by one give the counts of time steps.

    No weight is negative or exceeds the threshold, which is subtracted: then every order of spikes gives
    each neuron floor(sum / threshold) of them.
    """
    draw, layers = np.random.default_rng(len(edges)), []
    shapes: dict[str, Shape] = {entry.name: entry.shape}
    for n, convolution in enumerate(convolutions):
        features, height, width = 0, 0, 0
        for edge in edges:
            if edge.target == f"l{n}":
                arriving = shape_after(shapes[edge.source], edge.path)
                features = max(features, edge.feature_offset + arriving.features)
                height, width = arriving[1:]
        weight = draw.integers(0, 7, (convolution.out_features, features, *convolution.kernel))
        fields = {
            name: getattr(convolution, name) for name in ("out_features", "kernel", "stride", "padding")
        }
        layer = NormalLayer(
            f"l{n}", Shape(features, height, width), Convolution(**fields, weight=weight), (), Neuron(11, -20)
        )
        shapes[layer.name] = layer.output_shape
        layers.append(layer)
    return NormalNetwork(name, (entry,), tuple(layers), tuple(edges), tuple(outputs))


def sensor(*shape: int) -> Input:
    return Input("in", Shape(*shape), DvsSettings())


def body(core: int, layer: str, features: int, start: int = 0, number: int = 0) -> Placement:
    return Placement(core, LayerPart(number, layer), (start, features))


def sensor_relay(core: int, start: int, stop: int, *, reads_all: bool = False) -> Placement:
    return Placement(core, Relay(None, DVS, 1, reads_all), (start, stop))


def stage(size: int, pooling: int = 1) -> DvsStage:
    return DvsStage(False, (pooling, pooling), (0, 0), (size // pooling - 1,) * 2)


def one_relay_for_three_networks() -> Result:
    """The stage's two destinations: one network, and a relay that serves two more."""
    networks = [
        network(
            sensor(2, 128, 128),
            [conv(4), Convolution(10, (8, 8))],
            [Edge("in", "l0", pool(4)), Edge("l0", "l1", pool(4))],
            [Output("o", "l1")],
            name,
        )
        for name in ("a", "b", "c")
    ]
    placements = [body(2 * n, "l0", 4, number=n) for n in range(3)]
    placements += [body(2 * n + 1, "l1", 10, number=n) for n in range(3)]
    routes = [Route(2 * n, 0, 2 * n + 1, 4) for n in range(3)]
    routes += [Route(DVS, 0, 0), Route(DVS, 1, 6), Route(6, 0, 2), Route(6, 1, 4)]
    monitors = tuple(Monitor(2 * n + 1, n, "l1", (0, 10)) for n in range(3))
    solution = Solution((*placements, sensor_relay(6, 0, 2)), tuple(routes), (), monitors, stage(128, 4))
    return placed(networks, solution)


def _beside_a_layer() -> NormalNetwork:
    """l1 reads l0 and, behind it, the sensor."""
    edges = [Edge("in", "l0"), Edge("l0", "l1"), Edge("in", "l1", (), 2)]
    return network(sensor(2, 16, 16), [conv(2, 1), conv(3)], edges, [Output("o", "l1")])


def sensor_relay_that_shifts() -> Result:
    """No destination of the stage shifts features: a relay does."""
    routes = (Route(DVS, 0, 0), Route(DVS, 1, 5), Route(0, 0, 1), Route(5, 0, 1, 1, 2))
    placements = (body(0, "l0", 2), body(1, "l1", 3), sensor_relay(5, 0, 2))
    monitors = (Monitor(1, 0, "l1", (0, 3)),)
    return placed([_beside_a_layer()], Solution(placements, routes, (), monitors, stage(16)))


def sensor_relay_in_pieces() -> Result:
    """Two relays that read both polarities and pass on one each."""
    routes = (
        *(Route(DVS, n, 5 + n) for n in range(2)),
        *(Route(5 + n, 0, 0, 1, n) for n in range(2)),
        *(Route(5 + n, 1, 1, 1, 2 + n) for n in range(2)),
        Route(0, 0, 1),
    )
    placements = (
        body(0, "l0", 2),
        body(1, "l1", 3),
        *(sensor_relay(5 + n, n, n + 1, reads_all=True) for n in range(2)),
    )
    monitors = (Monitor(1, 0, "l1", (0, 3)),)
    return placed([_beside_a_layer()], Solution(placements, routes, (), monitors, stage(16)))


def layer_relay_in_pieces() -> Result:
    """A layer on two cores, relays cut elsewhere than it: both read all of it."""
    edges = [Edge("in", "l0"), *(Edge("l0", f"l{n}", pool(2)) for n in (1, 2)), Edge("l1", "l2", (), 5)]
    net = network(Input("in", Shape(2, 12, 12)), [conv(5), conv(3), conv(4)], edges, [Output("o", "l2")])
    relays = tuple(Placement(3 + n, Relay(0, "l0", 2, True), span) for n, span in enumerate(((0, 2), (2, 5))))
    routes = (
        *(Route(core, slot, 3 + slot, 2, shift) for core, shift in ((0, 0), (7, 3)) for slot in range(2)),
        *(Route(3 + n, slot, 1 + slot, 1, shift) for n, shift in enumerate((0, 2)) for slot in range(2)),
        Route(1, 0, 2, 1, 5),
    )
    pieces = (body(0, "l0", 3), body(7, "l0", 5, 3))
    placements = (*pieces, body(1, "l1", 3), body(2, "l2", 4), *relays)
    entries = (HostEntry(0, "in", 0), HostEntry(0, "in", 7))
    return placed([net], Solution(placements, routes, entries, (Monitor(2, 0, "l2", (0, 4)),)))


def _pooled_output() -> NormalNetwork:
    edges = [Edge("in", "l0"), Edge("l0", "l1")]
    outputs = [Output("o", "l1", pool(2))]
    return network(Input("in", Shape(2, 12, 12)), [conv(3), conv(6)], edges, outputs)


def pooled_output_by_aligned_relays() -> Result:
    """Every piece of a layer has a relay of its own; together they show its output pooled."""
    spans = ((0, 2), (2, 6))
    pieces = tuple(Placement(1 + n, LayerPart(0, "l1"), span) for n, span in enumerate(spans))
    relays = tuple(Placement(5 + n, Relay(0, "l1", 2), span) for n, span in enumerate(spans))
    routes = (Route(0, 0, 1), Route(0, 1, 2), Route(1, 0, 5, 2), Route(2, 0, 6, 2))
    monitors = tuple(Monitor(5 + n, 0, "l1", span, 2) for n, span in enumerate(spans))
    solution = Solution((body(0, "l0", 3), *pieces, *relays), routes, (HostEntry(0, "in", 0),), monitors)
    return placed([_pooled_output()], solution, pooled_outputs="relay")


def pooled_output_by_relays_that_read_all() -> Result:
    """A whole layer whose output is shown by two relays that read all of it."""
    relays = tuple(Placement(5 + n, Relay(0, "l1", 2, True), span) for n, span in enumerate(((0, 1), (1, 6))))
    routes = (Route(0, 0, 1), Route(1, 0, 5, 2), Route(1, 1, 6, 2))
    monitors = tuple(Monitor(entry.core, 0, "l1", entry.features, 2) for entry in relays)
    placements = (body(0, "l0", 3), body(1, "l1", 6), *relays)
    solution = Solution(placements, routes, (HostEntry(0, "in", 0),), monitors)
    return placed([_pooled_output()], solution, pooled_outputs="relay")


def sensor_relay_with_a_pooled_destination() -> Result:
    """Two edges of the sensor with different pools: 4 by the stage, 8 by the stage and the relay's 2."""
    edges = [Edge("in", "l0", pool(4)), Edge("l0", "l1", pool(2)), Edge("in", "l1", pool(8), 4)]
    net = network(sensor(2, 128, 128), [conv(4), conv(3)], edges, [Output("o", "l1", pool(4))])
    routes = (Route(DVS, 0, 0), Route(DVS, 1, 5), Route(0, 0, 1, 2), Route(5, 0, 1, 2, 4))
    placements = (body(0, "l0", 4), body(1, "l1", 3), sensor_relay(5, 0, 2))
    monitors = (Monitor(1, 0, "l1", (0, 3)),)
    return placed([net], Solution(placements, routes, (), monitors, stage(128, 4)))


def sensor_that_swaps_its_axes() -> Result:
    """The stage pools before it swaps: 4 rows and 2 columns of the sensor are 2 rows and 4 columns behind."""
    edges = [Edge("in", "l0", pool_of(2, 4)), Edge("in", "l1", pool_of(4, 8)), Edge("l0", "l1", pool(2), 2)]
    entry = Input("in", Shape(2, 16, 32), DvsSettings(origin=(1, 2), mirror=(True, False), swap_axes=True))
    net = network(entry, [conv(4), conv(3)], edges, [Output("o", "l1")])
    routes = (Route(DVS, 0, 0), Route(DVS, 1, 5), Route(5, 0, 1, 2), Route(0, 0, 1, 2, 2))
    placements = (body(0, "l0", 4), body(1, "l1", 3), sensor_relay(5, 0, 2))
    setting = DvsStage(False, (4, 2), (1, 2), (8, 9), (True, False), True)
    return placed([net], Solution(placements, routes, (), (Monitor(1, 0, "l1", (0, 3)),), setting))


def pool_of(height: int, width: int) -> tuple[Pool, ...]:
    return (Pool("sum", (height, width), (height, width)),)


def layer_with_a_copy_and_a_readout() -> Result:
    """Everything else that a solution can hold: a copy, a readout, a monitored sensor, a relay of host events."""
    edges = [Edge("in", "l0"), *(Edge("l0", f"l{n}") for n in (1, 2)), *(Edge(f"l{n}", "l3") for n in (1, 2))]
    kinds = [conv(3), conv(3), conv(3), Convolution(5, (6, 6))]
    net = network(Input("in", Shape(2, 6, 6)), kinds, edges, [Output("o", "l3")])
    placements = (
        body(0, "l0", 3),
        Placement(1, LayerPart(0, "l0", 1), (0, 3)),
        *(body(1 + n, f"l{n}", 3 if n < 3 else 5) for n in (1, 2, 3)),
        Placement(7, Relay(0, "in"), (0, 2)),
    )
    routes = (
        *(Route(7, n, n) for n in range(2)),
        *(Route(n, 0, 2 + n) for n in range(2)),
        *(Route(2 + n, 0, 4) for n in range(2)),
        Route(4, 0, READOUT),
    )
    entries, monitors = (HostEntry(0, "in", 7),), (Monitor(4, 0, "l3", (0, 5)), Monitor(1, 0, "l0", (0, 3)))
    return placed([net], Solution(placements, routes, entries, monitors), readout="l3")


CASES: dict[str, Callable[[], Result]] = {
    made.__name__: made
    for made in (
        one_relay_for_three_networks,
        sensor_relay_that_shifts,
        sensor_relay_in_pieces,
        layer_relay_in_pieces,
        pooled_output_by_aligned_relays,
        pooled_output_by_relays_that_read_all,
        sensor_relay_with_a_pooled_destination,
        sensor_that_swaps_its_axes,
        layer_with_a_copy_and_a_readout,
    )
}
