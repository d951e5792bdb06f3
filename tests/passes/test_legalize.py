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
from mapper.network import Edge, Input, Layer, Network, Output
from mapper.normal_form import NormalNetwork
from mapper.operations import Convolution, Flatten, Linear, Shape
from mapper.passes.legalize import legalize
from tests.builders import chain, conv, gesture, tiny_chip, weighted
from tests.passes.legal_networks import (
    CHIP,
    KINDS,
    assert_same_spikes,
    behind,
    broken,
    fields,
    flat,
    legal,
    paths,
    pooled,
    random_network,
    untouched,
)


@pytest.mark.no_cover
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


def overlapping(value: int) -> NormalNetwork:
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
def test_no_fold_that_breaks_another_limit(network: NormalNetwork) -> None:
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


def test_legal_networks_come_back_as_the_same_object() -> None:
    for network in (gesture(), weighted(gesture(), np.random.default_rng(0), integer=True)):
        assert legalize(network, CHIP) is network
    free = load("speck2f", ["limits.kernel_square=false"])
    oblong = flat((3, 4))
    assert legalize(oblong, free) is oblong


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
