"""The checker's reading of rewritten networks: every single number that is changed is found."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import mapper
from mapper.network import DvsSettings, Edge, Input, Origin, Output
from mapper.normal_form import NormalLayer, NormalNetwork
from mapper.operations import Convolution, Pool, Shape
from mapper.options import SolveOptions
from mapper.passes.legalize import legalize, phased
from mapper.result import Result
from mapper.rules import Rule
from mapper.verify import verify
from mapper.verify.rewriting import differences
from tests.phase_networks import SMALL_MAPS, random_phase_network


def pairs() -> list[tuple[NormalNetwork, NormalNetwork]]:
    """Given networks and what cores hold of them, pools folded into kernels too."""
    given = [random_phase_network(seed) for seed in range(40)]
    return [(one, legalize(phased(one, SMALL_MAPS), SMALL_MAPS)) for one in given]


# All of them take a quarter of a minute.
EVERY = "MAPPER_FUZZ_EXAMPLES" in os.environ
PAIRS = [(given, placed) for given, placed in pairs() if placed.origins]


def with_layer(network: NormalNetwork, layer: NormalLayer) -> NormalNetwork:
    layers = tuple(layer if entry.name == layer.name else entry for entry in network.layers)
    return network.replacing(layers=layers)


def changed(array: Any, place: Any) -> Any:
    copy = np.array(array)
    copy[place] += 1
    return copy


def read_at_all(layer: NormalLayer, place: tuple[int, ...]) -> bool:
    """Whether a tap ever meets something else than zeros around the map, and a feature that arrives."""
    conv, (_, row, column) = layer.operation, (0, place[2], place[3])
    meets = []
    for axis, tap in ((0, row), (1, column)):
        size, outputs = layer.input_shape[1 + axis], layer.output_shape[1 + axis]
        at = (n * conv.stride[axis] - conv.padding[axis] + tap for n in range(outputs))
        meets.append(any(0 <= n < size for n in at))
    return all(meets)


def test_there_are_networks_of_every_kind() -> None:
    assert len(PAIRS) > 15
    assert all(list(differences(given, placed)) == [] for given, placed in PAIRS)
    layers = [layer for _, placed in PAIRS for layer in placed.layers]
    assert any(layer.operation.bias is not None for layer in layers)
    assert any(layer.neuron.initial_potential is not None for layer in layers)
    assert any(edge.delay_steps for _, placed in PAIRS for edge in placed.edges)
    assert any(edge.feature_offset for _, placed in PAIRS for edge in placed.edges)
    assert any(edge.path for _, placed in PAIRS for edge in placed.edges)


def numbers(layer: NormalLayer, draw: np.random.Generator) -> Iterator[NormalLayer]:
    """The layer with one number more or less: weights, biases, potentials, threshold, bound."""
    conv, neuron = layer.operation, layer.neuron
    weight = np.asarray(conv.weight)
    for _ in range(6):
        place = tuple(int(draw.integers(size)) for size in weight.shape)
        if read_at_all(layer, place):
            yield replace(layer, operation=replace(conv, weight=changed(weight, place)))
    if conv.bias is not None:
        place = (int(draw.integers(len(conv.bias))),)
        yield replace(layer, operation=replace(conv, bias=changed(conv.bias, place)))
    yield replace(layer, neuron=replace(neuron, threshold=int(np.asarray(neuron.threshold)) + 1))
    yield replace(layer, neuron=replace(neuron, minimum=int(neuron.minimum or 0) - 1))
    yield replace(layer, neuron=replace(neuron, reset="zero" if neuron.reset == "subtract" else "subtract"))
    yield replace(
        layer, neuron=replace(neuron, spike_mode="single" if neuron.spike_mode == "multi" else "multi")
    )


def test_every_changed_number_is_found() -> None:
    """But in rows and columns beyond the given map, which nothing reads, and features that do not arrive."""
    draw, seen = np.random.default_rng(0), 0
    for given, placed in PAIRS if EVERY else PAIRS[::4]:
        lacks = any(
            o.phases != (1, 1) and any(s % p for s, p in zip(o.shape[1:], o.phases, strict=True))
            for o in placed.origins
        )
        for layer in placed.layers:
            if lacks or not all_arrive(placed, layer):
                continue
            for wrong in numbers(layer, draw):
                found = {where for where, _ in differences(given, with_layer(placed, wrong))}
                assert found == {layer.name}, (given.name, layer.name)
                seen += 1
    assert seen > 60


def all_arrive(network: NormalNetwork, layer: NormalLayer) -> bool:
    there = set()
    for edge in network.incoming[layer.name]:
        features = network.signal_shapes[edge.source].features
        there |= set(range(edge.feature_offset, edge.feature_offset + features))
    return len(there) == layer.input_shape.features


def test_every_changed_potential_is_found() -> None:
    seen = 0
    for given, placed in PAIRS:
        for origin in placed.origins:
            layer = placed.by_name[origin.layer]
            state = layer.neuron.initial_potential
            if state is None:
                continue
            neuron = replace(layer.neuron, initial_potential=changed(state, (-1, 0, 0)))
            wrong = with_layer(placed, replace(layer, neuron=neuron))
            assert [where for where, _ in differences(given, wrong)] == [origin.name]
            seen += 1
    assert seen > 5


def test_edges_and_outputs_that_are_others_are_found() -> None:
    seen = 0
    for given, placed in PAIRS[:8]:
        for n, edge in enumerate(placed.edges):
            later = replace(edge, delay_steps=edge.delay_steps + 1)
            for edges in ((*placed.edges[:n], later, *placed.edges[n + 1 :]), (*placed.edges, edge)):
                wrong = placed.replacing(edges=edges)
                assert [where for where, _ in differences(given, wrong)] == [edge.target]
                seen += 1
        outputs = tuple(replace(output, late_steps=1) for output in placed.outputs)
        assert list(differences(given, placed.replacing(outputs=outputs)))
        inputs = tuple(replace(entry, dvs=None if entry.dvs else DvsSettings()) for entry in given.inputs)
        assert list(differences(given, placed.replacing(inputs=inputs)))
    assert seen > 40


def one_layer(size: int, conv: Convolution, pool: int = 1) -> NormalNetwork:
    """A layer, in origins its own, behind a pool of the input."""
    path = (Pool("sum", (pool, pool), (pool, pool)),) if pool > 1 else ()
    layer = NormalLayer("only", Shape(1, size // pool, size // pool), conv)
    origins = (Origin("only", layer.output_shape, "only"),)
    inputs = (Input("in", Shape(1, size, size)),)
    edges = (Edge("in", "only", path),)
    return NormalNetwork("one", inputs, (layer,), edges, (Output("out", "only"),), origins=origins)


@pytest.mark.parametrize(("size", "is_same"), [(16, True), (17, False)])
def test_what_differs_in_the_last_row_alone_is_found(size: int, is_same: bool) -> None:
    """The last of 17 rows is in no pool of two, and the kernel that took up the pool reads it."""
    small = np.arange(1, 10).reshape(1, 1, 3, 3)
    large = small.repeat(2, 2).repeat(2, 3)
    given = one_layer(size, Convolution(1, (3, 3), padding=(1, 1), weight=small), 2)
    placed = one_layer(size, Convolution(1, (6, 6), (2, 2), (2, 2), weight=large))
    assert [where for where, _ in differences(given, placed)] == ([] if is_same else ["only"])


def test_strides_that_are_others_are_found() -> None:
    """The first neurons read the same."""
    weight = np.ones((1, 1, 1, 1), int)
    given, placed = (one_layer(4, Convolution(1, (1, 1), (n, n), weight=weight)) for n in (2, 3))
    assert [where for where, _ in differences(given, placed)] == ["only"]


def test_phases_that_are_others_are_found() -> None:
    """Origins in another order or missing; the phases of rows taken for those of columns."""
    given = plain_pair()
    placed = phased(given, SMALL_MAPS)
    for origins in (placed.origins[::-1], placed.origins[1:]):
        assert list(differences(given, placed.replacing(origins=origins)))
    layer = placed.layers[0]
    weight = np.asarray(layer.operation.weight)
    turned = weight.reshape(2, 2, 2, 1, 4, 4).swapaxes(0, 1).reshape(weight.shape)
    wrong = with_layer(placed, replace(layer, operation=replace(layer.operation, weight=turned)))
    assert [where for where, _ in differences(given, wrong)] == ["first"]


def test_features_without_an_origin_are_found() -> None:
    given = plain_pair()
    placed = phased(given, SMALL_MAPS)
    short = Origin("first", Shape(1, 16, 16), "first", 0, (2, 2))
    names = [where for where, _ in differences(given, placed.replacing(origins=(short, *placed.origins[1:])))]
    assert names == ["first", "second"]


def plain_pair() -> NormalNetwork:
    draw = np.random.default_rng(0)
    one = NormalLayer("first", Shape(1, 16, 16), weights(draw, 2, 1))
    two = NormalLayer("second", Shape(2, 8, 8), weights(draw, 3, 2))
    edges = (Edge("in", "first"), Edge("first", "second", (Pool("sum", (2, 2), (2, 2)),)))
    return NormalNetwork(
        "plain", (Input("in", Shape(1, 16, 16)),), (one, two), edges, (Output("out", "second"),)
    )


def weights(draw: np.random.Generator, features: int, read: int) -> Convolution:
    return Convolution(features, (3, 3), (1, 1), (1, 1), weight=draw.integers(-9, 9, (features, read, 3, 3)))


@pytest.fixture(scope="module")
def result() -> Result:
    return mapper.solve(plain_pair(), SMALL_MAPS)


def broken(result: Result, networks: tuple[NormalNetwork, ...], **changes: Any) -> set[Rule]:
    options = replace(result.options, **changes)
    return {v.rule for v in verify(networks, result.chip, options, result.require(), result.given)}


def test_a_placement_is_held_against_the_given_network(result: Result) -> None:
    (placed,) = result.networks
    assert result.given[0] is not placed
    assert broken(result, result.networks) == set()
    layer = placed.layers[0]
    weight = changed(layer.operation.weight, (3, 0, 1, 1))
    wrong = with_layer(placed, replace(layer, operation=replace(layer.operation, weight=weight)))
    assert broken(result, (wrong,)) == {Rule.REWRITTEN}


def test_a_rewritten_network_needs_leave(result: Result) -> None:
    assert broken(result, result.networks, rewrites=False) == {Rule.REWRITTEN}
    refused = mapper.solve(plain_pair(), SMALL_MAPS, options=SolveOptions(rewrites=False, repairs=0))
    assert refused.solution is None
    assert refused.given == refused.networks


def test_the_checker_needs_no_given_networks_where_nothing_was_rewritten(result: Result) -> None:
    assert verify(result.networks, result.chip, result.options, result.require()) == ()


def test_a_joint_relay_may_pool_in_its_kernel() -> None:
    """A pool by 8, of which destinations do 4 and the relay's own kernel the rest."""
    pool = (Pool("sum", (8, 8), (8, 8)),)
    layers = [NormalLayer(name, Shape(2, 16, 16), Convolution(4, (1, 1))) for name in ("a", "b")]
    layers.append(NormalLayer("wide", Shape(4, 2, 2), Convolution(40, (3, 3), padding=(1, 1))))
    edges = [Edge("in", "a"), Edge("in", "b"), Edge("a", "wide", pool), Edge("b", "wide", pool)]
    given = NormalNetwork(
        "given", (Input("in", Shape(2, 16, 16)),), tuple(layers), tuple(edges), (Output("out", "wide"),)
    )
    four, origins = (Pool("sum", (4, 4), (4, 4)),), [Origin(e.name, e.output_shape, e.name) for e in layers]

    def placed(stride: int, size: int) -> NormalNetwork:
        relay = NormalLayer("a+b", Shape(4, 4, 4), Convolution(4, (size, size), (stride, stride)))
        read = (Edge("a", "a+b", four), Edge("b", "a+b", four), Edge("a+b", "wide"))
        return given.replacing(
            layers=(*layers[:2], relay, layers[2]), edges=(*edges[:2], *read), origins=tuple(origins)
        )

    assert list(differences(given, placed(2, 2))) == []
    assert list(differences(given, placed(2, 1))) != []
    assert list(differences(given, placed(1, 3))) != []
