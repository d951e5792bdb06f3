"""Networks whose pools, kernels or sensors need a rewrite, and what a rewrite must show."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from math import prod
from typing import Any

import numpy as np

from hwspec.catalog import load
from hwspec.schema import ChipSpec
from mapper.demand import layer_demands, shortfalls
from mapper.network import DvsSettings, Edge, Input, Layer, Network, Output
from mapper.normal_form import NormalLayer, NormalNetwork
from mapper.operations import Convolution, Flatten, Linear, Neuron, Pair, Pool, Shape, shape_after
from mapper.options import SolveOptions
from mapper.passes import prepare
from mapper.passes.legalize import legalize
from mapper.problem import Problem
from mapper.rules import Rule
from mapper.sim.network import simulate
from tests.builders import conv, weighted

CHIP = load("speck2f")
WIDE_SENSOR = load("speck2f", ["input.height=256", "input.width=256"])
KINDS = ("host", "sensor", "core", "residual", "concatenated", "mixed")


def broken(network: NormalNetwork, chip: ChipSpec = CHIP) -> set[tuple[Rule, str]]:
    """(rule, layer) of everything that keeps a layer off the core with the largest kernel memory."""
    problem = Problem((network,), chip, SolveOptions(relays=False))
    core = max(chip.cores, key=lambda entry: entry.kernel_words)
    found = {
        (entry.rule, demand.layer)
        for demand in layer_demands(network, 0, None)
        for entry in shortfalls(demand, core, chip)
    }
    # A pool of size 1 and a larger stride leaves rows out, which no destination does.
    found |= {
        (Rule.POOLING, edge.target)
        for edge in network.edges
        if edge.pool and edge.pool.size == (1, 1) != edge.pool.stride
    }
    return found | {(fault.rule, layer) for fault in problem.faults for layer in fault.layers}


def spikes_in(network: NormalNetwork, seed: int, steps: int = 4) -> dict[str, Any]:
    generator = np.random.default_rng(seed)
    return {entry.name: generator.integers(0, 3, (steps, *entry.shape)) for entry in network.inputs}


def assert_same_spikes(before: NormalNetwork, after: NormalNetwork, seed: int = 0) -> bool:
    """Compare every layer and output; whether the rewritten layer spiked at all."""
    x = spikes_in(before, seed)
    expected, got = simulate(before, x), simulate(after, x)
    assert set(expected.spikes) <= set(got.spikes)
    for name, spikes in expected.spikes.items():
        assert np.array_equal(spikes, got.spikes[name]), name
    for name, values in expected.outputs.items():
        assert np.array_equal(values, got.outputs[name]), name
    return any(bool(spikes.any()) for name, spikes in expected.spikes.items() if name == "t")


def pooled(size: int | Pair, stride: int | Pair | None = None) -> tuple[Pool, ...]:
    pair = (size, size) if isinstance(size, int) else size
    jump = pair if stride is None else (stride, stride) if isinstance(stride, int) else stride
    return (Pool("sum", pair, jump),)


def behind(
    path: tuple[Pool, ...], operation: Convolution, shape: Pair = (16, 16), kind: str = "core"
) -> NormalNetwork:
    """A layer "t" behind a pool: of a layer, of two (added or side by side), of the host or the sensor."""
    entry = Input("in", Shape(2, *shape), DvsSettings() if kind == "sensor" else None)
    neuron = Neuron(7, -20)
    first = [NormalLayer(name, entry.shape, conv(2), neuron=neuron) for name in ("a", "b")]
    edges = [Edge("in", "a"), Edge("in", "b")]
    features, taken = 2, ["a"]
    if kind in ("host", "sensor"):
        first, edges, taken = [], [], ["in"]
    elif kind == "core":
        first, edges = first[:1], edges[:1]
    else:
        taken = ["a", "b"]
        features = 4 if kind == "concatenated" else 2
    for n, name in enumerate(taken):
        edges.append(Edge(name, "t", path, 2 * n if kind == "concatenated" else 0))
    if kind == "mixed":
        # The second map is half as large, and so is its pool.
        (pool,) = path
        half = Pool("sum", (pool.size[0] // 2, pool.size[1] // 2), (pool.stride[0] // 2, pool.stride[1] // 2))
        first[1] = replace(first[1], operation=conv(2, 2, stride=(2, 2), padding=(0, 0)))
        edges[-1] = Edge("b", "t", (half,))
    seen = shape_after(entry.shape, path)
    layers = (*first, NormalLayer("t", Shape(features, *seen[1:]), operation, neuron=neuron))
    last = NormalLayer("z", layers[-1].output_shape, conv(3, 1), neuron=neuron)
    edges.append(Edge("t", "z"))
    return NormalNetwork("behind", (entry,), (*layers, last), tuple(edges), (Output("out", "z"),))


def random_network(seed: int) -> NormalNetwork | None:
    """One of every kind; None where pool or kernel leaves nothing."""
    generator = np.random.default_rng(seed)
    kind = KINDS[seed % len(KINDS)]

    def pair(low: int, high: int, *, alike: float) -> Pair:
        one, other = (int(n) for n in generator.integers(low, high + 1, 2))
        return (one, one) if generator.random() < alike else (one, other)

    shape, size = pair(4, 20, alike=0.3), pair(1, 8, alike=0.6)
    stride = size if generator.random() < 0.7 else pair(1, 8, alike=0.5)
    if kind == "mixed":
        shape = (2 * (shape[0] // 2), 2 * (shape[1] // 2))
        size = stride = (2 * max(1, size[0] // 2), 2 * max(1, size[1] // 2))
    kernel, step, padding = pair(1, 5, alike=0.5), pair(1, 4, alike=0.5), pair(0, 3, alike=0.5)
    if generator.random() < 0.4:
        padding = (0, 0)
    height, width = ((n - p) // s + 1 for n, p, s in zip(shape, size, stride, strict=True))
    if height < 1 or width < 1:
        return None
    if generator.random() < 0.3:
        # A linear layer: its kernel is the whole map.
        kernel, step, padding = (height, width), (1, 1), (0, 0)
    if height + 2 * padding[0] < kernel[0] or width + 2 * padding[1] < kernel[1]:
        return None
    operation = Convolution(3, kernel, step, padding, has_bias=True)
    return weighted(behind(pooled(size, stride), operation, shape, kind), generator, integer=True)


def fields(layer: NormalLayer) -> tuple[Pair, Pair, Pair]:
    return layer.operation.kernel, layer.operation.stride, layer.operation.padding


def legal(network: NormalNetwork, chip: ChipSpec = CHIP, seed: int = 0) -> NormalNetwork:
    """The rewritten network, proven equal and legal."""
    full = weighted(network, np.random.default_rng(seed), integer=True)
    ready = legalize(full, chip)
    assert broken(full, chip)
    assert broken(ready, chip) == set()
    assert_same_spikes(full, ready, seed)
    return ready


def untouched(network: NormalNetwork, chip: ChipSpec = CHIP) -> bool:
    full = weighted(network, np.random.default_rng(0), integer=True)
    return legalize(full, chip) is full and legalize(network, chip) is network


def paths(network: NormalNetwork, target: str = "t") -> list[Pair | None]:
    return [edge.pool.size if edge.pool else None for edge in network.incoming[target]]


def sensor_pair(first: Pool | None, second: Pool | None, dvs: DvsSettings | None = None) -> NormalNetwork:
    entry = Input("in", Shape(2, 32, 32), dvs or DvsSettings())
    layers, edges = [], []
    for name, pool in (("a", first), ("b", second)):
        path = (pool,) if pool else ()
        layers.append(NormalLayer(name, shape_after(entry.shape, path), conv(2, 2, padding=(0, 0))))
        edges.append(Edge("in", name, path))
    outputs = tuple(Output(name, name) for name in "ab")
    return NormalNetwork("pair", (entry,), tuple(layers), tuple(edges), outputs)


def flat(shape: Pair, features: int = 3) -> NormalNetwork:
    """A linear layer on a map, after the passes."""
    entry, size = Input("in", Shape(2, *shape)), 2 * shape[0] * shape[1]
    layer = Layer("t", Shape(size, 1, 1), Linear(features))
    edge = Edge("in", "t", (Flatten(),))
    return prepare(Network("flat", (entry,), (layer,), (edge,), (Output("out", "t"),)))


def steps(total: int, poolings: tuple[int, ...]) -> tuple[int, ...] | None:
    """The shortest row of poolings that make a pool; None if no row does."""
    for length in range(total.bit_length() + 1):
        for row in product([p for p in poolings if p > 1], repeat=length):
            if prod(row) == total:
                return row
    return None


def hops(network: NormalNetwork, edge: Edge, chip: ChipSpec, stage: Pair | None) -> tuple[Pair, ...] | None:
    """Pools between the cores on an edge's way, relays at each comma: (4, 4), (2, 2) for 8 of a layer.

    The first is what the source does: nothing if it is the host, the stage's part if it is the sensor.
    """
    entry = next((entry for entry in network.inputs if entry.name == edge.source), None)
    first = stage or (1, 1) if entry is not None and entry.dvs is not None else (1, 1)
    pool = edge.pool or Pool("sum", (1, 1), (1, 1))
    rest = {(size // one, size % one) for size, one in zip(pool.size, first, strict=True)}
    if pool.size != pool.stride or len(rest) != 1 or any(left for _, left in rest):
        return None
    row = steps(min(rest)[0], chip.routing.poolings)
    pairs = None if row is None else tuple((p, p) for p in row)
    if pairs is None or entry is not None:
        return None if pairs is None else (first, *pairs)
    return pairs or ((1, 1),)


def spelled_out(network: NormalNetwork, chip: ChipSpec, stage: Pair | None) -> NormalNetwork | None:
    """The network with a layer for every relay that its pools need; None where no row of relays does it."""
    layers, edges = {layer.name: [layer] for layer in network.layers}, []
    for edge in network.edges:
        way = hops(network, edge, chip, stage)
        if way is None:
            return None
        source, shape = edge.source, network.signal_shapes[edge.source]
        for n, pair in enumerate(way[:-1]):
            name, path = f"{edge.source} to {edge.target} at {edge.feature_offset}, {n}", pooled(pair)
            shape = shape_after(shape, path)
            weight = 127 * np.eye(shape.features, dtype=np.int8)[:, :, None, None]
            relay = NormalLayer(
                name, shape, Convolution(shape.features, (1, 1), weight=weight), (), Neuron(127, -1)
            )
            layers[edge.target].insert(-1, relay)
            edges.append(Edge(source, name, path))
            source = name
        edges.append(Edge(source, edge.target, pooled(way[-1]), edge.feature_offset))
    return network.replacing(layers=tuple(x for group in layers.values() for x in group), edges=tuple(edges))
