"""Rewrites for a chip's cores: the same spikes in every step, and never a new limit broken."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mapper
from hwspec.catalog import load
from hwspec.schema import ChipSpec
from mapper.demand import layer_demands, shortfalls
from mapper.network import DvsSettings, Edge, Input, Layer, Network, Output
from mapper.operations import Convolution, Flatten, Linear, Neuron, Pair, Pool, Shape, shape_after
from mapper.options import SolveOptions
from mapper.passes import prepare
from mapper.passes.legalize import legalize
from mapper.passes.legalize.stride import common_bounds, legal_stride
from mapper.problem import Problem
from mapper.rules import Rule
from mapper.sim.network import simulate
from tests.builders import chain, conv, gesture, tiny_chip, weighted

CHIP = load("speck2f")
WIDE_SENSOR = load("speck2f", ["input.height=256", "input.width=256"])
KINDS = ("host", "sensor", "core", "residual", "concatenated", "mixed")


def broken(network: Network, chip: ChipSpec = CHIP) -> set[tuple[Rule, str]]:
    """(rule, layer) of everything that keeps a layer off the core with the largest kernel memory."""
    problem = Problem((network,), chip, SolveOptions())
    core = max(chip.cores, key=lambda entry: entry.kernel_words)
    found = {
        (entry.rule, demand.layer)
        for demand in layer_demands(network, 0, None)
        for entry in shortfalls(demand.work, core, chip)
    }
    # A pool of size 1 and a larger stride leaves rows out, which no destination does.
    found |= {
        (Rule.POOLING, edge.target)
        for edge in network.edges
        if edge.pool and edge.pool.size == (1, 1) != edge.pool.stride
    }
    return found | {(fault.rule, layer) for fault in problem.faults for layer in fault.layers}


def spikes_in(network: Network, seed: int, steps: int = 4) -> dict[str, Any]:
    generator = np.random.default_rng(seed)
    return {entry.name: generator.integers(0, 3, (steps, *entry.shape)) for entry in network.inputs}


def assert_same_spikes(before: Network, after: Network, seed: int = 0) -> bool:
    """Compare every layer and output; whether the rewritten layer spiked at all."""
    x = spikes_in(before, seed)
    expected, got = simulate(before, x), simulate(after, x)
    assert set(expected.spikes) == set(got.spikes)
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
) -> Network:
    """A layer "t" behind a pool: of a layer, of two (added or side by side), of the host or the sensor."""
    entry = Input("in", Shape(2, *shape), DvsSettings() if kind == "sensor" else None)
    neuron = Neuron(7, -20)
    first = [Layer(name, entry.shape, conv(2), neuron=neuron) for name in ("a", "b")]
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
    layers = (*first, Layer("t", Shape(features, *seen[1:]), operation, neuron=neuron))
    last = Layer("z", layers[-1].output_shape, conv(3, 1), neuron=neuron)
    edges.append(Edge("t", "z"))
    return Network("behind", (entry,), (*layers, last), tuple(edges), (Output("out", "z"),))


def random_network(seed: int) -> Network | None:
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


def test_random_networks_keep_every_spike_and_break_no_new_limit() -> None:
    tried, rewritten, mended = Counter[str](), Counter[str](), 0
    spiking = 0
    for seed in range(1800):
        network = random_network(seed)
        if network is None:
            continue
        ready, before = legalize(network, CHIP), broken(network)
        if ready is network:
            if before:
                tried[KINDS[seed % len(KINDS)]] += 1
            continue
        assert before, "a legal network is not touched"
        tried[KINDS[seed % len(KINDS)]] += 1
        rewritten[KINDS[seed % len(KINDS)]] += 1
        after = broken(ready)
        assert after <= before, seed
        mended += not after
        assert not after or not any("the pool" in note for note in ready.notes), "a fold mends everything"
        spiking += assert_same_spikes(network, ready, seed)
        assert len(ready.notes) > len(network.notes)
        assert after or legalize(ready, CHIP) is ready
    assert sum(tried.values()) > 1000
    assert {kind for kind in KINDS if rewritten[kind] < 0.6 * tried[kind]} == set(), (tried, rewritten)
    # The others have a kernel or stride mended and keep a pool or another stride that cannot be.
    assert mended > 0.7 * sum(rewritten.values())
    assert spiking > 0.9 * sum(rewritten.values())


@settings(max_examples=150, deadline=None)
@given(st.integers(10_000, 10_000_000))
def test_any_network_keeps_every_spike(seed: int) -> None:
    network = random_network(seed)
    if network is not None:
        ready = legalize(network, CHIP)
        assert broken(ready) <= broken(network)
        assert_same_spikes(network, ready, seed)


@pytest.mark.parametrize("seed", range(6))
def test_shapes_alone_take_the_same_way(seed: int) -> None:
    """Shapes of the rewritten network do not depend on the weights (no pools overlap here)."""
    network = behind(pooled(8), conv(3, 2, padding=(0, 0)), (16, 16), KINDS[seed])
    full = legalize(weighted(network, np.random.default_rng(seed), integer=True), CHIP)
    bare = legalize(network, CHIP)
    assert bare is not network
    assert bare.edges == full.edges
    for with_weights, without in zip(full.layers, bare.layers, strict=True):
        assert without.operation.weight is None
        assert without.input_shape == with_weights.input_shape
        assert fields(without) == fields(with_weights)


def fields(layer: Layer) -> tuple[Pair, Pair, Pair]:
    assert isinstance(layer.operation, Convolution)
    return layer.operation.kernel, layer.operation.stride, layer.operation.padding


def legal(network: Network, chip: ChipSpec = CHIP, seed: int = 0) -> Network:
    """The rewritten network, proven equal and legal."""
    full = weighted(network, np.random.default_rng(seed), integer=True)
    ready = legalize(full, chip)
    assert broken(full, chip)
    assert broken(ready, chip) == set()
    assert_same_spikes(full, ready, seed)
    return ready


def untouched(network: Network, chip: ChipSpec = CHIP) -> bool:
    full = weighted(network, np.random.default_rng(0), integer=True)
    return legalize(full, chip) is full and legalize(network, chip) is network


def paths(network: Network, target: str = "t") -> list[Pair | None]:
    return [edge.pool.size if edge.pool else None for edge in network.incoming[target]]


# Pool 8 of a layer: 4 stays on the destination, 2 goes into the kernel: (3 - 1) * 2 + 2 = 6.
def test_a_pool_of_8_is_4_on_the_destination_and_2_in_the_kernel() -> None:
    ready = legal(behind(pooled(8), conv(3, 3, padding=(1, 1)), (32, 32)))
    assert paths(ready) == [(4, 4)]
    assert ready.by_name["t"].input_shape == Shape(2, 8, 8)
    assert fields(ready.by_name["t"]) == ((6, 6), (2, 2), (2, 2))
    (note,) = ready.notes
    assert note == (
        "t: the pool 8x8 behind a became 4x4, the rest went into the kernel, 3x3 became 6x6; "
        "its map stays the same; a weight exceeds the threshold: exact per time step, "
        "but single events may act differently"
    )


def test_a_pool_the_host_cannot_do_goes_into_the_kernel() -> None:
    ready = legal(behind(pooled(2), conv(3, 3, padding=(1, 1)), (16, 12), "host"))
    assert paths(ready) == [None]
    assert ready.by_name["t"].input_shape == Shape(2, 16, 12)
    assert fields(ready.by_name["t"]) == ((6, 6), (2, 2), (2, 2))


# 2x4 of a layer: the largest square that divides it is 2; of the rest, 1x2, a 2x2 kernel becomes 2x4.
def test_a_pool_that_is_not_square_keeps_its_square_part_and_the_kernel_is_squared() -> None:
    ready = legal(behind(pooled((2, 4)), conv(3, 2, padding=(0, 0)), (16, 16)))
    assert paths(ready) == [(2, 2)]
    assert fields(ready.by_name["t"]) == ((4, 4), (1, 2), (1, 0))
    assert len(ready.notes) == 2


def test_the_sensor_pools_per_axis() -> None:
    assert untouched(behind(pooled((2, 4)), conv(3), (16, 16), "sensor"))
    ready = legal(behind(pooled(8), conv(3, 3, padding=(1, 1)), (64, 64), "sensor"))
    assert paths(ready) == [(4, 4)]
    assert fields(ready.by_name["t"]) == ((6, 6), (2, 2), (2, 2))
    ready = legal(behind(pooled((8, 4)), conv(3, 3, padding=(1, 1)), (32, 24), "sensor"))
    assert paths(ready) == [(4, 4)]
    # Three rows of taps are six now; the columns are as they were until the kernel is squared.
    assert ready.by_name["t"].operation.weight is not None
    assert fields(ready.by_name["t"])[0] in ((6, 6), (7, 7))


def test_pools_whose_stride_is_not_their_size() -> None:
    # Size 4 and stride 2 have 2 in common: 2 stays, size 2 and stride 1 go into the kernel.
    ready = legal(behind(pooled(4, 2), conv(3, 2, padding=(0, 0)), (16, 16)))
    assert paths(ready) == [(2, 2)]
    assert fields(ready.by_name["t"]) == ((3, 3), (1, 1), (0, 0))
    # Overlapping pools before the map would see its first rows, where the padding has zeros.
    assert untouched(behind(pooled(3, 2), conv(3, 3, padding=(1, 1)), (17, 17)))
    # Pools further apart than they are large.
    ready = legal(behind(pooled(1, 2), conv(3, 2, padding=(0, 0)), (17, 17), "host"))
    assert fields(ready.by_name["t"]) == ((3, 3), (2, 2), (0, 0))


def test_padding_over_a_row_that_the_pool_dropped_is_not_folded() -> None:
    # 17 rows: the last is in no pool; as padding it would be read. Without padding it is not.
    assert untouched(behind(pooled(2), conv(3, 3, padding=(1, 1)), (17, 17), "host"))
    legal(behind(pooled(2), conv(3, 3, padding=(0, 0)), (17, 17), "host"))
    # The stride ends before the padding behind the map is read: 8 rows, outputs read -1..1, ..., 5..7.
    legal(behind(pooled(2), conv(3, 3, padding=(1, 1), stride=(2, 2)), (17, 17), "host"))


def overlapping(value: int) -> Network:
    """Pools of 2, one apart, before two taps of one value: the inner tap is twice the value."""
    network = weighted(
        behind(pooled(2, 1), conv(3, 2, padding=(0, 0)), (8, 8), "host"),
        np.random.default_rng(0),
        integer=True,
    )
    target = network.by_name["t"]
    operation = replace(target.operation, weight=np.full((3, 2, 2, 2), value, np.int8))
    layers = tuple(replace(x, operation=operation) if x is target else x for x in network.layers)
    return network.replacing(layers=layers)


# In the middle of the 3x3 kernel four taps meet: 4 * 31 = 124 fits, 4 * 32 = 128 and 4 * -33 do not.
def test_weights_that_leave_8_bits_are_not_folded() -> None:
    ready = legalize(overlapping(31), CHIP)
    assert_same_spikes(overlapping(31), ready)
    weight: Any = ready.by_name["t"].operation.weight
    assert weight[0, 0].tolist() == [[31, 62, 31], [62, 124, 62], [31, 62, 31]]
    assert_same_spikes(overlapping(-32), legalize(overlapping(-32), CHIP))
    for value in (32, -33):
        network = overlapping(value)
        assert legalize(network, CHIP) is network


@pytest.mark.parametrize(
    "network",
    [
        # Stride 3 of several outputs: a pool of 2 makes it 6.
        behind(pooled(2), conv(3, 2, padding=(0, 0), stride=(3, 3)), (20, 20), "host"),
        # A pool of 3 makes stride 1 a stride of 3.
        behind(pooled(3), conv(3, 2, padding=(0, 0)), (18, 18)),
        # (5 - 1) * 4 + 4 = 20 taps.
        behind(pooled(4), conv(3, 5, padding=(0, 0)), (40, 40), "host"),
        # Padding 2 * 4 = 8.
        behind(pooled(4), conv(3, 3, padding=(2, 2)), (40, 40), "host"),
        # The map before the pool is more than a core reads.
        behind(pooled(2), conv(3, 2, padding=(0, 0), stride=(2, 2)), (130, 130), "host"),
    ],
    ids=["stride", "stride of the pool", "kernel", "padding", "map"],
)
def test_no_fold_that_breaks_another_limit(network: Network) -> None:
    assert broken(network)
    assert untouched(network)


def test_no_fold_into_more_than_the_largest_kernel_memory() -> None:
    # One feature of 1024 inputs: 4 taps are 4096 words, 16 are 16384 and do not fit here.
    network = chain([conv(1, 2, padding=(0, 0))], (1024, 8, 8), input_path=pooled(2))
    small = tiny_chip((8192, 64, 64))
    assert legalize(network, small) is network
    assert broken(legalize(network, CHIP)) == set()


def test_a_pool_of_3_folds_where_the_stride_does_not_matter() -> None:
    ready = legal(behind(pooled(3), conv(3, 4, padding=(0, 0)), (12, 12)))
    assert paths(ready) == [None]
    assert fields(ready.by_name["t"]) == ((12, 12), (1, 1), (0, 0))
    assert "stride 3x3 became legal" in ready.notes[-1]


def test_all_edges_of_a_layer_fold_the_same_or_none() -> None:
    # 8 = 4 * 2 and 4 = 2 * 2: both keep what they can with a factor of 2.
    ready = legal(behind(pooled(8), conv(3, 2, padding=(0, 0)), (32, 32), "mixed"))
    assert paths(ready) == [(4, 4), (2, 2)]
    # An edge without a pool has no factor to give.
    network = behind(pooled(8), conv(3, 1), (32, 32), "residual")
    entry, full = Input("small", Shape(2, 4, 4)), network.incoming["t"]
    rest = tuple(edge for edge in network.edges if edge not in full)
    mixed = network.replacing(inputs=(*network.inputs, entry), edges=(*rest, full[0], Edge("small", "t")))
    assert untouched(mixed)
    # 16 and 17 rows are two pools of 8 each; only what is left of both after a pool of 4 agrees.
    base = behind(pooled(8), conv(3, 2, padding=(0, 0)), (16, 16), "residual")
    larger = replace(base.layers[1], operation=conv(2, 4, padding=(2, 2)))
    ready = legal(base.replacing(layers=(base.layers[0], larger, *base.layers[2:])))
    assert paths(ready) == [(4, 4), (4, 4)]
    assert untouched(base.replacing(layers=(base.layers[0], larger, *base.layers[2:])), NO_POOLS)


NO_POOLS = load("speck2f", ["routing.poolings=[1]"])


def sensor_pair(first: Pool | None, second: Pool | None, dvs: DvsSettings | None = None) -> Network:
    entry = Input("in", Shape(2, 32, 32), dvs or DvsSettings())
    layers, edges = [], []
    for name, pool in (("a", first), ("b", second)):
        path = (pool,) if pool else ()
        layers.append(Layer(name, shape_after(entry.shape, path), conv(2, 2, padding=(0, 0))))
        edges.append(Edge("in", name, path))
    outputs = tuple(Output(name, name) for name in "ab")
    return Network("pair", (entry,), tuple(layers), tuple(edges), outputs)


def test_one_setting_of_the_sensor_stage_for_all_it_feeds() -> None:
    (eight,), (four,), (two,), (three,) = pooled(8), pooled(4), pooled(2), pooled(3)
    for first, second, kept in ((eight, four, (4, 4)), (two, eight, (2, 2)), (two, None, None)):
        ready = legal(sensor_pair(first, second))
        assert [paths(ready, name) for name in "ab"] == [[kept], [kept]]
    # 3 cannot be folded, so the pool of 8 stays too: the settings would differ.
    assert untouched(sensor_pair(eight, three))


def test_cut_out_and_mirror_of_the_sensor_keep_their_meaning() -> None:
    network = behind(pooled(8), conv(3, 2, padding=(0, 0)), (40, 40), "sensor")
    odd = behind(pooled(8), conv(3, 2, padding=(0, 0)), (44, 44), "sensor")

    def with_settings(base: Network, dvs: DvsSettings) -> Network:
        return base.replacing(inputs=(replace(base.inputs[0], dvs=dvs),))

    legal(with_settings(network, DvsSettings(mirror=(True, False))))
    legal(odd)
    assert untouched(with_settings(odd, DvsSettings(mirror=(True, False))))
    assert untouched(with_settings(network, DvsSettings(origin=(1, 0))))
    assert untouched(with_settings(network, DvsSettings(swap_axes=True)))
    # 132 rows: pools of 8 fit 128 rows of sensor, pools of 4 do not.
    large = behind(pooled(8), conv(3, 2, padding=(0, 0)), (132, 132), "sensor")
    assert untouched(large)
    legal(large, WIDE_SENSOR)


def test_a_chip_without_a_sensor_stage_changes_nothing_behind_a_sensor() -> None:
    network = behind(pooled(8), conv(3, 2, padding=(0, 0)), (40, 40), "sensor")
    assert legalize(network, CHIP.model_copy(update={"input": None})) is network


def flat(shape: Pair, features: int = 3) -> Network:
    """A linear layer on a map, after the passes."""
    entry, size = Input("in", Shape(2, *shape)), 2 * shape[0] * shape[1]
    layer = Layer("t", Shape(size, 1, 1), Linear(features))
    edge = Edge("in", "t", (Flatten(),))
    return prepare(Network("flat", (entry,), (layer,), (edge,), (Output("out", "t"),)))


def test_a_linear_layer_on_a_map_that_is_not_square() -> None:
    ready = legal(flat((3, 4)))
    # One row of zeros before the three needs a padding of 1, and stride 2 keeps the single output.
    assert fields(ready.by_name["t"]) == ((4, 4), (2, 1), (1, 0))
    weight: Any = ready.by_name["t"].operation.weight
    assert not weight[:, :, 0].any()
    assert weight[:, :, 1:].any(axis=(0, 1)).all()
    assert ready.notes[0].startswith(
        "t: kernel 3x4 became 4x4 with zeros, padding 0x0 became 1x0, stride 1x1 became 2x1"
    )
    # 2 of 5 columns: two before, one after; room for one more, and stride 2 keeps the single output.
    assert fields(legal(flat((5, 2))).by_name["t"]) == ((5, 5), (1, 2), (0, 2))
    # Fifteen rows of zeros before the one would need a padding of at least 8.
    assert fields(legal(flat((15, 1))).by_name["t"]) == ((15, 15), (1, 1), (0, 7))
    assert untouched(flat((17, 16)))
    assert untouched(flat((16, 17)))


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "shape", "expected"),
    [
        ((3, 1), (1, 1), (1, 0), (9, 9), ((3, 3), (1, 1), (1, 1))),
        ((1, 5), (1, 1), (0, 0), (9, 9), ((5, 5), (1, 1), (2, 0))),
        # An even kernel: the floor of stride 2 takes the odd row, on 9 rows without more padding.
        ((1, 2), (2, 2), (0, 0), (9, 8), ((2, 2), (2, 2), (1, 0))),
        ((1, 2), (2, 2), (0, 0), (8, 8), ((2, 2), (2, 2), (0, 0))),
        # Odd growth with stride 1 is not possible; one column more makes it even.
        ((3, 4), (1, 2), (0, 0), (8, 8), ((5, 5), (1, 2), (1, 1))),
        # One output, 12 apart: only from 6 columns on is there less room than a stride of 8.
        ((4, 3), (2, 12), (1, 0), (13, 13), ((6, 6), (2, 8), (2, 0))),
        ((3, 4), (1, 1), (0, 0), (8, 8), None),
        ((3, 1), (1, 3), (1, 0), (9, 9), None),
        ((3, 1), (1, 1), (1, 7), (9, 9), None),
        ((1, 17), (1, 1), (0, 0), (9, 20), None),
    ],
)
def test_kernels_by_hand(
    kernel: Pair, stride: Pair, padding: Pair, shape: Pair, expected: tuple[Pair, Pair, Pair] | None
) -> None:
    network = chain([Convolution(3, kernel, stride, padding)], (2, *shape))
    if expected is None:
        assert untouched(network)
    else:
        assert fields(legal(network).layers[0]) == expected


def test_a_weight_above_the_threshold_is_named() -> None:
    network = weighted(flat((3, 4)), np.random.default_rng(0), integer=True)
    quiet = network.replacing(layers=(replace(network.layers[0], neuron=Neuron(8)),))
    loud = network.replacing(layers=(replace(network.layers[0], neuron=Neuron(np.array([7, 8, 8]))),))
    assert not any("exceeds" in note for note in legalize(quiet, CHIP).notes)
    assert any("exceeds" in note for note in legalize(loud, CHIP).notes)


def test_a_stride_that_does_not_matter_becomes_legal() -> None:
    ready = legal(chain([conv(3, 6, padding=(0, 0), stride=(6, 6))], (2, 6, 6)))
    assert fields(ready.layers[0])[1] == (1, 1)
    assert untouched(chain([conv(3, stride=(3, 3))]))


@given(st.integers(0, 30), st.integers(1, 12), st.integers(1, 5))
def test_legal_strides_make_the_outputs(room: int, stride: int, outputs: int) -> None:
    found = legal_stride(room, stride, outputs, (1, 2, 4, 8))
    if found is not None:
        assert room // found + 1 == outputs
        assert found in (1, 2, 4, 8)
    elif outputs == 1:
        assert room >= 8


def test_legal_networks_come_back_as_the_same_object() -> None:
    for network in (gesture(), weighted(gesture(), np.random.default_rng(0), integer=True)):
        assert legalize(network, CHIP) is network
    free = load("speck2f", ["limits.kernel_square=false"])
    oblong = flat((3, 4))
    assert legalize(oblong, free) is oblong


def test_what_counts_is_what_all_cores_allow() -> None:
    limits = CHIP.cores[8].limits.model_copy(
        update={"strides": (4, 2), "padding_max": 3, "kernel_size_max": 5}
    )
    core = CHIP.cores[8].model_copy(update={"limits": limits})
    last = CHIP.core_groups[-1].model_copy(update={"core": core})
    changed = CHIP.model_copy(update={"core_groups": (*CHIP.core_groups[:-1], last)})
    # Anew from its fields: a copy keeps what was computed from the old ones.
    chip = ChipSpec.model_validate(changed.model_dump())
    bounds = common_bounds(chip)
    assert bounds.limits.strides == (2, 4)
    assert (bounds.limits.padding_max, bounds.limits.kernel_size_max) == (3, 5)
    assert bounds.kernel_words == 65536


def test_solve_places_a_linear_layer_on_3x4_and_a_host_pool() -> None:
    entry = Input("in", Shape(2, 12, 16))
    first = Layer("a", Shape(2, 6, 8), Convolution(4, (3, 3), padding=(1, 1)))
    last = Layer("t", Shape(4 * 3 * 4, 1, 1), Linear(5))
    edges = (Edge("in", "a", pooled(2)), Edge("a", "t", (*pooled(2), Flatten())))
    network = Network("both", (entry,), (first, last), edges, (Output("out", "t"),))
    result = mapper.solve(network, chip="speck2f")
    assert result.solution is not None
    assert len(result.networks[0].notes) == 2
    only = mapper.solve(chain([conv(4)], (2, 16, 16), input_path=pooled(2)), chip="speck2f")
    assert only.solution is not None
    odd = chain([conv(4)], (2, 17, 17), input_path=pooled(2))
    assert mapper.solve(odd, chip="speck2f").solution is not None
    refused = mapper.check(odd, chip="speck2f", relays=False)
    assert refused.report is not None
    assert "host" in refused.report.sentence()
