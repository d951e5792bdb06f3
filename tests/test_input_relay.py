"""Inputs passed on with rows and columns as features: the sensor's whole map, and what a linear layer reads."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pytest

import mapper
from hwspec.catalog import load
from hwspec.schema import ChipSpec
from mapper.emit.read.compare import compare
from mapper.emit.write.build import build_config
from mapper.network import DvsSettings, Edge, Input, Layer, Network, Output
from mapper.normal_form import NormalLayer, NormalNetwork
from mapper.operations import Convolution, Neuron, Pool, Shape
from mapper.passes import prepare
from mapper.passes.legalize import extended
from mapper.result import Result
from mapper.rules import Rule
from mapper.verify import verify
from tests.phase_networks import SMALL_MAPS
from tests.test_offers import joints, runs_as_given

INSTANCES = int(os.environ.get("MAPPER_INSTANCES", "12"))
# (kernel, padding) of a reader at stride 2, and of the same reader of 2x2 phases at stride 1.
BY_PHASES = {(1, 0): (1, 0), (2, 0): (1, 0), (3, 1): (3, 1)}


def placed(network: Network, chip: Any = "speck2f", **wishes: Any) -> Result:
    return mapper.solve(network, chip, repairs=0, fusion=False, **wishes)


def reader(
    name: str, shape: Shape, features: int, kernel: int, *, stride: int = 2, weight: Any = None
) -> Layer:
    half = kernel // 2 if kernel % 2 else 0
    conv = Convolution(features, (kernel,) * 2, (stride,) * 2, (half, half), weight=weight)
    return Layer(name, shape, conv, neuron=Neuron(1.0, -1.0))


def seeing(layers: list[Layer], edges: list[Edge], shape: Shape, dvs: DvsSettings | None = None) -> Network:
    ends = tuple(Output(layer.name, layer.name) for layer in layers)
    return Network("net", (Input("in", shape, dvs or DvsSettings()),), tuple(layers), tuple(edges), ends)


def readers(count: int, size: int = 128, **more: Any) -> Network:
    shape = Shape(2, size, size)
    layers = [reader(f"r{n}", shape, 2 + n, 3, **more) for n in range(count)]
    return seeing(layers, [Edge("in", layer.name) for layer in layers], shape)


def weighted(seed: int) -> Network:
    """Three or four readers, pooled or at stride 2, of a map that may be odd, and a layer that joins them."""
    draw = np.random.default_rng(seed)
    layers, edges, read = [], [], 0
    sizes = [int(n) for n in draw.choice([15, 16, 16], 2)]
    shape = Shape(int(draw.integers(1, 3)), *sizes)
    for n in range(int(draw.integers(3, 5))):
        pool = 2 if n and sizes == [16, 16] and draw.random() < 0.25 else 1
        seen = Shape(shape.features, sizes[0] // pool, sizes[1] // pool)
        kernel, features = int(draw.choice([1, 3, 5])), int(draw.integers(1, 4))
        weight = draw.normal(0.3, 1, (features, shape.features, kernel, kernel)).astype(np.float32)
        layers.append(reader(f"r{n}", seen, features, kernel, stride=2 // pool, weight=weight))
        edges.append(Edge("in", f"r{n}", (Pool("sum", (2, 2), (2, 2)),) if pool == 2 else ()))
        edges.append(Edge(f"r{n}", "end", (), read))
        read += features
    weight = draw.normal(0.1, 1, (3, read, 3, 3)).astype(np.float32)
    layers.append(reader("end", Shape(read, 8, 8), 3, 3, stride=1, weight=weight))
    return seeing(layers, edges, shape)


def test_three_readers_of_the_whole_sensor_are_placed() -> None:
    result = placed(readers(3))
    assert joints(result) == ["in in phases"]
    assert len(result.require().placements) == 4
    assert "space to depth" in result.moves
    relay = result.networks[0].by_name["in in phases"]
    assert relay.output_shape == (8, 64, 64)
    assert any("passes on what in sends, its 2x2 phases" in note for note in result.networks[0].notes)


def test_a_configuration_is_compared_with_the_network_as_it_was_given() -> None:
    draw = np.random.default_rng(0)
    plain = readers(3)
    layers = [
        replace(
            e, operation=replace(e.operation, weight=draw.normal(0.2, 1, (e.operation.out_features, 2, 3, 3)))
        )
        for e in plain.layers
    ]
    result = placed(replace(plain, layers=tuple(layers)))
    assert joints(result)
    assert compare(result.given[0], build_config(result)) == ()
    runs_as_given(result, steps=2)


def test_a_reader_that_gets_phases_itself_reads_the_relay() -> None:
    network = readers(3)
    shape = Shape(2, 128, 128)
    first = reader("whole", shape, 2, 3, stride=1)
    second = reader("behind", Shape(2, 64, 64), 2, 3)
    edges = [Edge("in", "whole"), Edge("whole", "behind", (Pool("sum", (2, 2), (2, 2)),))]
    network = seeing([*network.layers, first, second], [*network.edges, *edges], shape)
    result = placed(network)
    assert joints(result)
    assert result.status is mapper.Status.OPTIMAL


@pytest.mark.parametrize("seed", range(INSTANCES))
def test_they_spike_like_the_given_network(seed: int) -> None:
    result = placed(weighted(seed), SMALL_MAPS)
    assert joints(result)
    runs_as_given(result)


def variants(network: Network) -> Iterator[Network]:
    """The network, and with the relay as a layer of its own that any of the readers read."""
    yield network
    (entry,) = network.inputs
    features = 4 * entry.shape.features
    relay = Layer("relay", entry.shape, Convolution(features, (2, 2), (2, 2)), neuron=Neuron(1.0, -1.0))
    for count in range(1, len(network.layers) + 1):
        for chosen in combinations([layer.name for layer in network.layers], count):
            layers = [phased(e, features) if e.name in chosen else e for e in network.layers]
            edges = [replace(e, source="relay") if e.target in chosen else e for e in network.edges]
            yield replace(network, layers=(relay, *layers), edges=(Edge("in", "relay"), *edges), origins=())


def phased(layer: Layer, features: int) -> Layer:
    conv: Any = layer.operation
    kernel, padding = BY_PHASES[conv.kernel[0], conv.padding[0]]
    moved = replace(conv, kernel=(kernel,) * 2, stride=(1, 1), padding=(padding,) * 2)
    return replace(layer, input_shape=Shape(features, 8, 8), operation=moved)


def few_cores(draw: np.random.Generator) -> ChipSpec:
    count = int(draw.integers(4, 8))
    changes = [f"core[0..8].limits.output_{axis}_max=8" for axis in ("height", "width")]
    changes += [f"core[{n}].neuron_words={int(draw.choice([256, 512, 1024]))}" for n in range(9)]
    changes += [f"core[{n}].kernel_words={int(draw.choice([128, 512, 4096]))}" for n in range(9)]
    return load("speck2f", [*changes, *(f"-core[{n}]" for n in range(8, count - 1, -1))])


def cost(network: Network, chip: ChipSpec, **wishes: Any) -> tuple[int, ...]:
    result = placed(network, chip, **wishes)
    assert result.status is not mapper.Status.UNDECIDED
    return tuple(int(stage.value) for stage in result.solution.objectives) if result.solution else ()


@pytest.mark.no_cover
def test_no_relay_written_out_by_hand_is_better() -> None:
    helped = 0
    for seed in range(INSTANCES):
        draw = np.random.default_rng(seed)
        shape = Shape(int(draw.integers(1, 3)), 16, 16)
        layers = [
            reader(f"r{n}", shape, int(draw.integers(1, 9)), int(draw.choice([1, 2, 3])))
            for n in range(int(draw.integers(2, 5)))
        ]
        network = seeing(layers, [Edge("in", layer.name) for layer in layers], shape)
        chip = few_cores(draw)
        costs = [cost(entry, chip, rewrites=False, joint=False) for entry in variants(network)]
        best = min((entry for entry in costs if entry), default=())
        assert cost(network, chip) == best, seed
        helped += best != costs[0]
    assert helped > 0


@pytest.mark.parametrize("taken_away", ["rewrites", "relays"])
def test_it_is_taken_away_with_either_move(taken_away: str) -> None:
    change: dict[str, Any] = {taken_away: False}
    result = mapper.solve(readers(3), "speck2f", fusion=False, **change)
    assert result.status is mapper.Status.INFEASIBLE
    assert result.report is not None
    assert any(entry.code == Rule.MOVES.code for entry in result.report.unmet)
    assert joints(placed(readers(3), joint=False))
    found = placed(readers(3))
    asked = replace(found.options, **change)
    rules = {entry.rule for entry in verify(found.networks, found.chip, asked, found.require(), found.given)}
    assert Rule.REWRITTEN in rules


@pytest.mark.parametrize("damage", ["relay", "reader", "pool", "threshold", "bias"])
def test_the_checker_traces_every_tap_through_it(damage: str) -> None:
    found = placed(weighted(0), SMALL_MAPS)
    (network,) = found.networks
    (name,) = joints(found)
    target = next(edge.target for edge in network.outgoing[name])
    changed = {layer.name: layer for layer in network.layers}
    edges = network.edges
    relay, one = changed[name], changed[target]
    weight: Any = np.array(relay.operation.weight)
    if damage == "relay":
        moved = replace(relay.operation, weight=np.roll(weight, 1, axis=0))
        changed[name] = replace(relay, operation=moved)
    elif damage == "reader":
        taps: Any = np.array(one.operation.weight)
        changed[target] = replace(one, operation=replace(one.operation, weight=np.roll(taps, 1, axis=1)))
    elif damage == "threshold":
        more = replace(relay.neuron, threshold=relay.neuron.threshold + 1)
        changed[name] = replace(relay, neuron=more)
    elif damage == "bias":
        biased = replace(relay.operation, bias=np.ones(len(weight), int), has_bias=True)
        changed[name] = replace(relay, operation=biased)
    else:
        edges = tuple(replace(e, delay_steps=1) if e.target == name else e for e in edges)
    broken = network.replacing(layers=tuple(changed.values()), edges=edges)
    told = verify((broken,), found.chip, found.options, found.require(), found.given)
    assert any(entry.rule is Rule.REWRITTEN for entry in told)
    assert not verify((network,), found.chip, found.options, found.require(), found.given)


def test_the_checker_knows_a_relay_that_skips_phases() -> None:
    found = placed(weighted(0), SMALL_MAPS)
    (network,), (name,) = found.networks, joints(found)
    relay = network.by_name[name]
    weight: Any = relay.operation.weight
    narrow = replace(relay.operation, kernel=(1, 1), padding=(0, 0), weight=np.array(weight)[..., -1:, -1:])
    broken = replace_layer(network, replace(relay, operation=narrow))
    told = verify((broken,), found.chip, found.options, found.require(), found.given)
    assert any(entry.rule is Rule.REWRITTEN for entry in told)


def replace_layer(network: NormalNetwork, layer: NormalLayer) -> NormalNetwork:
    return network.replacing(layers=tuple(layer if e.name == layer.name else e for e in network.layers))


def large(kernel: tuple[int, int], stride: int, count: int) -> Network:
    """Readers of which the first has a kernel that no core expresses, but over phases."""
    plain = readers(count)
    shape = plain.inputs[0].shape
    first = Layer("r0", shape, Convolution(2, kernel, (stride,) * 2, (kernel[0] // 2 % 8, 0)))
    return replace(plain, layers=(first, *plain.layers[1:]))


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize(("kernel", "stride"), [((16, 16), 16), ((17, 17), 2)])
def test_readers_that_no_core_has_otherwise_read_it(kernel: tuple[int, int], stride: int, count: int) -> None:
    result = placed(large(kernel, stride, count))
    assert joints(result)
    assert len(result.require().placements) == count + 1


@pytest.mark.parametrize("dvs", [DvsSettings(origin=(3, 3)), DvsSettings(swap_axes=True)])
def test_what_readers_of_a_cut_out_pool_differently_is_no_relays_to_pass_on(dvs: DvsSettings) -> None:
    plain = readers(4, 12)
    pooled = Layer("p", Shape(2, 3, 3), Convolution(2, (1, 1)), neuron=Neuron(1.0, -1.0))
    edges = (*plain.edges, Edge("in", "p", (Pool("sum", (4, 4), (4, 4)),)))
    network = replace(plain, layers=(*plain.layers, pooled), edges=edges)
    fits = placed(network, SMALL_MAPS)
    cut = replace(network, inputs=(replace(network.inputs[0], dvs=dvs),))
    assert placed(cut, SMALL_MAPS).status is mapper.Status.INFEASIBLE
    solution, given = fits.require(), fits.given[0].replacing(inputs=cut.inputs)
    stage: Any = solution.dvs_stage
    cut_at = replace(stage, origin=dvs.origin, swap=dvs.swap_axes, cut=tuple(n + 11 for n in dvs.origin))
    moved = replace(solution, dvs_stage=cut_at)
    told = verify((fits.networks[0].replacing(inputs=cut.inputs),), fits.chip, fits.options, moved, (given,))
    assert {entry.rule for entry in told} == {Rule.DVS_STAGE}


@pytest.mark.parametrize("objective", ["capacity", "balance", "headroom"])
def test_traffic_of_readers_counts_as_of_layers_that_the_sensor_feeds(objective: str) -> None:
    result = placed(readers(3), traffic={"in": 100_000}, objective=objective)
    stages = {stage.name: stage.value for stage in result.require().objectives}
    assert int(stages["spikes_on_parallel_cores"]) > 0


def test_of_two_sensor_inputs_a_layer_reads_both_relays() -> None:
    shape = Shape(1, 128, 128)
    inputs = (Input("a", shape, DvsSettings()), Input("b", shape, DvsSettings()))
    layers = [reader(f"r{n}", Shape(2, 128, 128), 2 + n, 3) for n in range(3)]
    edges = [Edge(source, e.name, (), n) for e in layers for n, source in enumerate("ab")]
    ends = tuple(Output(e.name, e.name) for e in layers)
    network = Network("net", inputs, tuple(layers), tuple(edges), ends)
    offers = extended(prepare(network), (), load("speck2f"))
    assert offers is not None
    sources = [{edge.source for edge in form.edges} for form in offers.phased["r0"]]
    assert {"a in phases", "b in phases"} in sources


def test_no_relay_has_more_phases_than_pay() -> None:
    chip = load("speck2f", [f"core[0..8].limits.output_{axis}_max=2" for axis in ("height", "width")])
    assert extended(prepare(readers(3)), (), chip, fusion=False) is None


def test_siblings_of_one_scale_are_compared_beside_a_relay() -> None:
    draw = np.random.default_rng(1)
    plain = readers(4)
    layers = []
    for n, layer in enumerate(plain.layers):
        weight = (1 + n) * draw.normal(0.2, 1, (layer.operation.out_features, 2, 3, 3)).astype(np.float32)
        neuron = Neuron(float(max(n, 1)), -1.0)
        layers.append(replace(layer, operation=replace(layer.operation, weight=weight), neuron=neuron))
    network = replace(plain, layers=tuple(layers))
    result = mapper.solve(network, "speck2f", repairs=0)
    assert joints(result)
    assert any("&" in layer.name for layer in result.networks[0].layers)
    assert compare(result.given[0], build_config(result)) == ()
    assert compare(prepare(network), build_config(result)) == ()


def test_several_networks_have_none_in_common_and_the_proof_says_so() -> None:
    networks = [replace(readers(1), name=name) for name in "abc"]
    result = mapper.solve(networks, "speck2f", repairs=0)
    assert result.status is mapper.Status.INFEASIBLE
    assert result.report is not None
    assert result.report.divided is not None
    assert "no relay has a map of 128x128 as it is" in result.report.divided.sentence


def test_a_map_that_relays_have_gets_no_phases() -> None:
    result = placed(readers(3, 64))
    assert joints(result) == []
    assert len(result.require().placements) == 4


@pytest.mark.parametrize("size", [17, 28, 40])
@pytest.mark.parametrize("dvs", [DvsSettings(), None])
def test_a_linear_layer_over_a_whole_input_reads_its_phases(size: int, dvs: DvsSettings | None) -> None:
    draw = np.random.default_rng(size)
    shape = Shape(1, size, size)
    weight = draw.normal(0.1, 1, (3, 1, size, size)).astype(np.float32)
    layer = Layer("fc", shape, Convolution(3, (size, size), weight=weight), neuron=Neuron(2.0, -2.0))
    network = Network("net", (Input("in", shape, dvs),), (layer,), (Edge("in", "fc"),), (Output("fc", "fc"),))
    result = placed(network)
    assert joints(result) == ["in in phases"]
    assert len(result.require().placements) == 2
    runs_as_given(result)
    assert compare(result.given[0], build_config(result)) == ()
    assert placed(network, rewrites=False).status is mapper.Status.INFEASIBLE
