"""Every form of every layer: exact, legal, complete, and chosen layer by layer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwspec.catalog import load
from mapper.network import Edge, Input, Output
from mapper.normal_form import NormalLayer, NormalNetwork
from mapper.operations import Convolution, Neuron, Pair, Shape
from mapper.passes.legalize import Forms, legal_forms, legalize
from mapper.rules import Rule
from mapper.sim.network import simulate
from tests.builders import chain, conv, gesture, weighted
from tests.passes.legal_networks import (
    CHIP,
    assert_same_spikes,
    behind,
    broken,
    fields,
    flat,
    hops,
    pooled,
    sensor_pair,
    spelled_out,
    spikes_in,
)
from tests.passes.random_forms import POOLS, random_forms_network

# What a rewrite of kernel, stride and input map can break or mend.
KERNEL_RULES = {
    Rule.KERNEL_SIZE,
    Rule.KERNEL_SQUARE,
    Rule.STRIDE,
    Rule.PADDING,
    Rule.INPUT_SIZE,
    Rule.KERNEL_MEMORY,
}


def kernels_broken(network: NormalNetwork, name: str) -> set[Rule]:
    return {rule for rule, layer in broken(network) if layer == name} & KERNEL_RULES


def kept(forms: Forms, layer: str = "t") -> list[list[Pair]]:
    """Per form, the pools that stay on the edges."""
    return [[edge.pool.size if edge.pool else (1, 1) for edge in f.edges] for f in forms.layers[layer]]


def check_forms(network: NormalNetwork, seed: int) -> Counter[str]:
    """Every form keeps every spike, with its relays too; where there are several, all are legal."""
    seen = Counter[str]()
    every = legal_forms(network, CHIP)
    for forms in every:
        assert list(forms.layers) == [layer.name for layer in network.layers]
        for name, choices in forms.layers.items():
            for index, form in enumerate(choices):
                ready = forms.network({name: index})
                assert_same_spikes(network, ready, seed)
                ways = [hops(ready, edge, CHIP, forms.stage) for edge in ready.incoming[name]]
                legal = None not in ways and not kernels_broken(ready, name)
                assert legal or len(choices) == 1, (seed, name, index)
                relayed = spelled_out(ready, CHIP, forms.stage)
                if relayed is not None:
                    assert_same_spikes(network, relayed, seed)
                    seen["relayed"] += len(relayed.layers) > len(ready.layers)
                seen["folded"] += form.layer.operation is not network.by_name[name].operation
                seen["chosen"] += len(choices) > 1
                seen["moved"] += any("moved" in note for note in form.notes)
    seen["stages"] += len(every) > 1
    return seen


@pytest.mark.no_cover
def test_every_form_of_random_networks_keeps_every_spike() -> None:
    seen = Counter[str]()
    for seed in range(240):
        seen += check_forms(random_forms_network(seed), seed)
    assert min(seen[kind] for kind in ("relayed", "folded", "chosen", "moved")) > 50, seen
    assert seen["stages"] > 5


@settings(max_examples=40, deadline=None)
@given(st.integers(10_000, 10_000_000))
def test_every_form_of_any_network_keeps_every_spike(seed: int) -> None:
    check_forms(random_forms_network(seed), seed)


@pytest.mark.parametrize("seed", range(40))
def test_forms_combine_as_they_are_chosen(seed: int) -> None:
    network, draw = random_forms_network(2 * seed + 1), np.random.default_rng(seed)
    for forms in legal_forms(network, CHIP):
        chosen = {name: int(draw.integers(len(choices))) for name, choices in forms.layers.items()}
        ready = forms.network(chosen)
        assert_same_spikes(network, ready, seed)
        for name, index in chosen.items():
            assert ready.by_name[name] is forms.layers[name][index].layer
            assert ready.incoming[name] == forms.layers[name][index].edges


def folded_by(network: NormalNetwork, factor: int) -> Iterator[NormalNetwork]:
    """The fold of one square factor into layer "t" by the definition, with every stride that fits."""
    target = network.by_name["t"]
    operation: Any = target.operation
    sizes = {edge.pool.size[0] if edge.pool else 1 for edge in network.incoming["t"]}
    if any(size % factor for size in sizes):
        return
    (left,) = {size // factor for size in sizes}
    path = pooled(left) if left > 1 else ()
    edges = [replace(edge, path=path) if edge.target == "t" else edge for edge in network.edges]
    wide = np.kron(operation.weight, np.ones((1, 1, factor, factor), np.int8))
    source = network.signal_shapes[network.incoming["t"][0].source]
    shape = Shape(target.input_shape.features, source.height // left, source.width // left)
    for stride in sorted({factor, 1, 2, 4, 8}, key=lambda stride: stride != factor):
        conv_ = Convolution(
            operation.out_features,
            (operation.kernel[0] * factor,) * 2,
            (stride, stride),
            (operation.padding[0] * factor,) * 2,
            weight=wide,
        )
        layer = replace(target, input_shape=shape, operation=conv_)
        if layer.output_shape == target.output_shape:
            layers = tuple(layer if x is target else x for x in network.layers)
            yield network.replacing(layers=layers, edges=tuple(edges))


def computes_the_same(before: NormalNetwork, after: NormalNetwork) -> bool:
    """Whether "t" has the same spikes and potentials: without a lower bound nothing hides a difference."""
    x = spikes_in(before, 1)
    runs = [simulate(network, x) for network in (before, after)]
    return all(
        np.array_equal(one["t"], other["t"])
        for one, other in zip(
            (runs[0].spikes, runs[0].state.potentials),
            (runs[1].spikes, runs[1].state.potentials),
            strict=True,
        )
    )


def forms_by_definition(network: NormalNetwork, stage: Pair | None) -> tuple[set[int], set[int]]:
    """(factors of legal forms, those that need no relay), by trying all."""
    legal, direct = set(), set()
    for factor in range(1, 17):
        for ready in folded_by(network, factor):
            ways = [hops(ready, edge, CHIP, stage) for edge in ready.incoming["t"]]
            if None in ways or kernels_broken(ready, "t") or not computes_the_same(network, ready):
                continue
            legal.add(factor)
            if all(len(way) == 1 for way in ways if way is not None):
                direct.add(factor)
    return legal, direct


def square_network(seed: int) -> NormalNetwork:
    """One layer behind square pools of any kind of source; the kernel is square and its stride 1."""
    draw = np.random.default_rng(seed)
    kind = ("host", "sensor", "core", "residual", "concatenated")[seed % 5]
    pool = int(draw.choice(POOLS[1:]))
    size = int(draw.integers(max(pool, 6), 50))
    seen = size // pool
    operation = conv(3, int(draw.integers(1, min(seen, 3) + 1)), padding=(0, 0))
    if draw.random() < 0.3:
        operation = replace(operation, padding=(1, 1))
    network = weighted(behind(pooled(pool), operation, (size, size), kind), draw, integer=True)
    layers = tuple(replace(layer, neuron=Neuron(7)) for layer in network.layers)
    return network.replacing(layers=layers)


@pytest.mark.no_cover
def test_no_form_is_missing_and_none_is_dominated() -> None:
    """Against the definition: all legal factors up to the least one that destinations can leave."""
    counts = Counter[int]()
    for seed in range(150):
        network = square_network(seed)
        sensed = network.inputs[0].dvs is not None
        by_stage = {f.stage: f for f in legal_forms(network, CHIP, shared_stage=True)}
        for stage in [(4, 4), (2, 2), (1, 1)] if sensed else [None]:
            legal, direct = forms_by_definition(network, stage)
            expected = {factor for factor in legal if factor <= min(direct, default=16)}
            if not expected:
                if sensed and stage in by_stage:
                    assert None not in [hops(network, e, CHIP, stage) for e in network.incoming["t"]]
                continue
            pool = network.incoming["t"][0].pool
            assert pool is not None
            factors = {pool.size[0] // form[0][0] for form in kept(by_stage[stage])}
            assert factors == expected, (seed, stage)
            counts[len(factors)] += 1
            alone = legal_forms(network, CHIP, relays=False)[0]
            if direct and alone.stage == stage:
                assert kept(alone)[0] == kept(by_stage[stage])[0]
                assert pool.size[0] // kept(alone)[0][0][0] == min(direct)
    assert min(counts[n] for n in (1, 2, 3)) > 5, counts


def test_a_pool_of_8_or_16_has_a_form_for_every_step() -> None:
    for pool, expected in (
        (1, [1]),
        (2, [2]),
        (4, [4]),
        (8, [4, 8]),
        (16, [4, 8, 16]),
    ):
        network = behind(pooled(pool), conv(3, 2, padding=(0, 0)), (32, 32))
        (forms,) = legal_forms(network, CHIP)
        assert kept(forms) == [[(n, n)] for n in expected]
        assert [fields(form.layer)[0][0] for form in forms.layers["t"]] == [2 * pool // n for n in expected]
        assert forms.stage is None
        (alone,) = legal_forms(network, CHIP, relays=False)
        assert kept(alone) == [[(expected[0], expected[0])]]


def test_the_host_pools_nothing_and_a_relay_pools_for_it() -> None:
    (forms,) = legal_forms(behind(pooled(8), conv(3, 1), (32, 32), "host"), CHIP)
    assert kept(forms) == [[(1, 1)], [(2, 2)], [(4, 4)], [(8, 8)]]
    (forms,) = legal_forms(behind(pooled(2), conv(3, 9), (32, 32), "host"), CHIP)
    # Eighteen taps are too many.
    assert kept(forms) == [[(2, 2)]]
    assert forms.network() is forms.source


def test_a_pool_that_no_row_of_relays_makes_stays() -> None:
    network = behind(pooled(5), conv(3, 2, padding=(0, 0)), (30, 30))
    (forms,) = legal_forms(network, CHIP)
    assert kept(forms) == [[(5, 5)]]
    assert forms.network() is network
    # Of 24, relays do 8 and the kernel 3, where there is one output and the stride does not matter.
    (forms,) = legal_forms(behind(pooled(24), conv(3, 3, padding=(0, 0)), (72, 72)), CHIP)
    assert kept(forms) == [[(8, 8)]]
    assert fields(forms.layers["t"][0].layer) == ((9, 9), (1, 1), (0, 0))


def test_a_layer_that_only_a_fold_makes_legal_is_folded() -> None:
    # One column more for a 3x4 kernel is impossible; folded it is 6x8, and two rows more are possible.
    network = behind(pooled(2), Convolution(3, (3, 4), (1, 1), (0, 0)), (16, 16))
    (forms,) = legal_forms(network, CHIP)
    assert kept(forms) == [[(1, 1)]]
    assert broken(network)
    assert broken(forms.network()) == set()


def test_bandwidth_counts_taps_per_event() -> None:
    """A sensor pool of 1x2 before a 3x1 kernel: squared, 9 taps per event, or 9 for every second one."""
    network = behind(pooled((1, 2)), Convolution(3, (3, 1), (1, 1), (1, 0)), (16, 16), "sensor")
    assert [forms.stage for forms in legal_forms(network, CHIP)] == [(1, 2)]
    busy = load("speck2f", ["core[0..8].synops_per_second=1000000"])
    stages = {forms.stage: forms.layers["t"] for forms in legal_forms(network, busy)}
    assert list(stages) == [(1, 2), (1, 1)]
    assert [fields(form.layer)[:2] for form in stages[1, 1]] == [((3, 3), (1, 2))]


def two_pools() -> NormalNetwork:
    """Layers "b" and "d", each behind a pool of 8 of its own source."""
    shape = Shape(2, 32, 32)
    layers = (
        NormalLayer("a", shape, conv(2, 1)),
        NormalLayer("b", Shape(2, 4, 4), conv(3, 2, padding=(0, 0))),
        NormalLayer("c", shape, conv(2, 1)),
        NormalLayer("d", Shape(2, 4, 4), conv(3, 2, padding=(0, 0))),
    )
    edges = (Edge("in", "a"), Edge("c", "d", pooled(8)), Edge("in", "c"), Edge("a", "b", pooled(8)))
    outputs = (Output("one", "b"), Output("two", "d"))
    return NormalNetwork("two", (Input("in", shape),), layers, edges, outputs, ("as read",))


def test_one_layer_may_be_folded_and_the_next_relayed() -> None:
    network = weighted(two_pools(), np.random.default_rng(0), integer=True)
    (forms,) = legal_forms(network, CHIP)
    for b, d in product((0, 1), repeat=2):
        ready = forms.network({"b": b, "d": d})
        sizes = {edge.target: edge.pool.size[0] for edge in ready.edges if edge.pool}
        assert sizes == {"b": (4, 8)[b], "d": (4, 8)[d]}
        assert [(edge.source, edge.target) for edge in ready.edges] == [
            (edge.source, edge.target) for edge in network.edges
        ]
        noted = [note[0] for note in ready.notes]
        assert noted == ["a", *(["b"] if b == 0 else []), *(["d"] if d == 0 else [])]
        assert_same_spikes(network, ready)
    assert forms.network({"b": 1, "d": 1}) is network
    assert forms.network({"b": 1}).by_name["b"] is network.by_name["b"]
    assert legalize(network, CHIP).edges == forms.network().edges


def test_an_unknown_choice_is_an_error_that_names_it() -> None:
    (forms,) = legal_forms(two_pools(), CHIP)
    with pytest.raises(ValueError, match="layer b has 2 forms, and none of index 2"):
        forms.network({"b": 2})
    with pytest.raises(ValueError, match="layer b has 2 forms, and none of index -1"):
        forms.network({"b": -1})
    with pytest.raises(ValueError, match="layer x has 0 forms"):
        forms.network({"x": 0})


def test_notes_of_a_form_say_what_was_rewritten() -> None:
    network = behind(pooled((2, 4)), conv(3, 2, padding=(0, 0)), (16, 16))
    (forms,) = legal_forms(network, CHIP)
    (form,) = forms.layers["t"]
    assert form.notes == (
        "t: the pool 2x4 behind a became 2x2, the rest went into the kernel, 2x2 became 2x4; "
        "its map stays the same",
        "t: kernel 2x4 became 4x4 with zeros, padding 0x0 became 1x0; its map stays the same",
    )
    assert [forms.layers[name][0].notes for name in ("a", "z")] == [(), ()]
    (forms,) = legal_forms(flat((3, 4)), CHIP)
    assert len(forms.layers["t"][0].notes) == 1


def test_nothing_to_rewrite_is_the_same_object() -> None:
    for network in (gesture(), chain([conv(3)]), sensor_pair(pooled(2)[0], pooled(2)[0])):
        (forms,) = legal_forms(network, CHIP)
        assert {len(choices) for choices in forms.layers.values()} == {1}
        assert forms.network() is network
        for layer in network.layers:
            assert forms.layers[layer.name][0].layer is layer
            assert forms.layers[layer.name][0].notes == ()
