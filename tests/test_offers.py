"""Joint relays and fused siblings, from the question to the configuration that runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pytest

import mapper
from hwspec.catalog import load
from mapper.boards.monitored import monitored_layers
from mapper.emit.read.compare import compare
from mapper.emit.write.build import build_config
from mapper.errors import OptionsError
from mapper.events import events_from_raster
from mapper.network import DvsSettings, Edge, Input, Layer, Network, Origin, Output
from mapper.normal_form import NormalLayer, NormalNetwork
from mapper.operations import Convolution, Integers, Neuron, Pool, Shape
from mapper.options import SolveOptions
from mapper.passes import prepare
from mapper.question import Question, fits
from mapper.record import core_use, placement_record
from mapper.result import Result
from mapper.rules import Rule
from mapper.sim.config_frame import simulate_config
from mapper.sim.network import simulate
from mapper.sim.recording import run_recording
from mapper.verify import verify
from tests.builders import UNDIVIDED
from tests.offer_networks import UNIT, dense, inception, residual, roomy

Family = Callable[..., Network]


def placed(network: Network, chip: Any = "speck2f", **wishes: Any) -> Result:
    return mapper.solve(network, chip, repairs=0, **wishes)


def may_fit(network: Network, **wishes: Any) -> bool:
    """Whether it is not refused; why it is takes longer to find than that it is."""
    options = SolveOptions(repairs=0, **wishes)
    return fits(Question((prepare(network),), load("speck2f"), options)) is not False


def joints(result: Result) -> list[str]:
    held = {origin.layer for origin in result.networks[0].origins}
    return [layer.name for layer in result.networks[0].layers if held and layer.name not in held]


def fused(result: Result) -> list[str]:
    held = [origin.layer for origin in result.networks[0].origins]
    return sorted({name for name in held if held.count(name) > 1})


def runs_as_given(result: Result, steps: int = 6) -> None:
    """The configuration spikes like the given network, in every layer, step and output, and is read back."""
    (given,), config = result.given, build_config(result)
    shape = given.inputs[0].shape
    x = {given.inputs[0].name: (np.random.default_rng(1).random((steps, *shape)) < 0.15).astype(int)}
    expected, found = simulate(given, x), simulate_config(config, x)
    for layer in given.layers:
        assert np.array_equal(expected.spikes[layer.name], found.layers[layer.name]), layer.name
    for name, spikes in expected.outputs.items():
        assert np.array_equal(spikes, found.outputs[name])
    assert sum(int(spikes.sum()) for spikes in expected.outputs.values()) > 0
    assert mapper.diff(config, result.networks[0]) == ()


@pytest.mark.no_cover
@pytest.mark.parametrize("floats", [False, True], ids=["integers", "floats"])
@pytest.mark.parametrize(
    ("family", "sizes", "fit", "before"),
    [(residual, range(2, 8), 9, 6), (dense, range(2, 6), 6, 4), (inception, range(1, 3), 6, 3)],
)
def test_families_fit_speck_2f(family: Family, sizes: range, fit: int, before: int, floats: bool) -> None:
    draws = range(18 // len(sizes)) if family is residual else range(8 // len(sizes))
    draws = range(3) if family is inception else draws
    networks = [family(seed, size, floats=floats) for size in sizes for seed in draws]
    fitting = [(network, placed(network)) for network in networks if may_fit(network)]
    assert all(result.solution is not None for _, result in fitting)
    assert len(fitting) >= fit
    assert sum(may_fit(network, joint=False, fusion=False) for network in networks) <= before
    assert any(joints(result) or fused(result) for _, result in fitting)
    for network, result in fitting:
        runs_as_given(result)
        assert compare(build_config(result), prepare(network)) == ()


def test_a_residual_stage_does_not_grow_with_the_square_of_its_blocks() -> None:
    network, chip = residual(0, 10, features=8), roomy(60)
    result = placed(network, chip)
    assert len(result.require().placements) <= 22
    assert result.status == "optimal"
    assert len(placed(network, chip, joint=False).require().placements) > 50
    assert "joint relays" in result.moves
    runs_as_given(result, 3)


def test_joint_relays_on_cores_of_few_bits() -> None:
    network = residual(0, 4)
    chip = roomy(12, "core[0..11].limits.weight_bits=6")
    result = placed(network, chip)
    assert joints(result)
    weights = [
        np.abs(np.asarray(e.operation.weight)).max()
        for e in result.networks[0].layers
        if e.name in joints(result)
    ]
    assert set(weights) == {31}
    runs_as_given(result)


def test_that_not_every_sum_is_on_offer_is_said() -> None:
    # Eleven layers make 55 pairs, each of which another layer adds up: more than are on offer.
    names = [f"n{n:02}" for n in range(11)]
    layers = [Layer(name, Shape(1, 4, 4), Convolution(1, (1, 1))) for name in names]
    edges = [Edge("in" if n == 0 else names[n - 1], name) for n, name in enumerate(names)]
    for one, other in combinations(names, 2):
        layers.append(Layer(f"{one} {other}", Shape(1, 4, 4), Convolution(1, (3, 3), padding=(1, 1))))
        edges += [Edge(one, f"{one} {other}"), Edge(other, f"{one} {other}")]
    outputs = tuple(Output(layer.name, layer.name) for layer in layers[11:])
    network = Network("pairs", (Input("in", Shape(1, 4, 4)),), tuple(layers), tuple(edges), outputs)
    result = mapper.check(network, roomy(12), repairs=0)
    assert "joint relays (not of every sum)" in result.moves
    assert "joint relays" in mapper.check(residual(0, 3), repairs=0).moves


def test_why_not_says_that_moves_were_left_out() -> None:
    network = residual(0, 4)
    for wishes, words in (
        ({"joint": False}, "leave out joint=False."),
        (UNDIVIDED, "leave out max_pieces=1, max_copies=1, relays=False"),
    ):
        report = mapper.check(network, repairs=0, **wishes).report
        assert report is not None
        assert f"With all moves it fits: {words}" in report.sentence()
    forbidden = mapper.check(residual(0, 7), repairs=0, joint=False).report
    assert forbidden is not None
    assert "With all moves it fits" not in forbidden.sentence()


def test_joint_relays_are_told_as_relays() -> None:
    result = placed(residual(0, 4))
    (name,) = joints(result)[:1]
    use = next(use for use in core_use(result) if use.label == name)
    assert (use.role, use.layer) == ("relay", name)
    told = str(result)
    assert f"core {use.core} passes {name} on: more cores read all of it" in " ".join(told.split())
    rows = [line.split()[0] for line in told.splitlines() if "/" in line and "x" in line]
    assert rows[0] == "stem"
    (shared,) = (use for use in core_use(placed(inception(3, 1))) if use.layer == "m0k1&m0k3&m0k5")
    assert (shared.role, shared.label) == ("layer", "m0k1&m0k3&m0k5")


def test_why_not_says_how_many_cores_the_moves_would_take() -> None:
    for blocks, needed in ((5, 11), (7, 15)):
        network = residual(0, blocks)
        report = mapper.check(network, repairs=0).report
        assert report is not None
        assert report.divided is not None
        told = (
            f"With joint relays all layers together take {needed} cores at least, and speck2f has 9, proven."
        )
        assert told in report.divided.sentence
        assert len(placed(network, roomy(needed)).require().placements) == needed


def test_siblings_keep_name_index_and_core() -> None:
    network = inception(3, 1)
    result = placed(network)
    (name,) = fused(result)
    assert name == "m0k1&m0k3&m0k5"
    (core,) = result.find_chip_layers("m0k3")
    assert [result.find_chip_layer(layer) for layer in (1, 2, 3, "m0k5")] == [core] * 4
    assert result.find_chip_layer(-1) == result.find_chip_layer("head")
    record = placement_record(result)
    assert [(e.name, e.index, e.cores) for e in record.layers if e.name.startswith("m0")] == [
        (f"m0k{kernel}", n, (core,)) for n, kernel in enumerate((1, 3, 5), start=1)
    ]
    apart = placed(network, pins={"m0k3": 4})
    assert apart.find_chip_layer("m0k3") == 4
    assert fused(apart) == []
    with pytest.raises(OptionsError, match=r"counts the spikes of a whole core.*fusion=False"):
        build_config(result, mapper.EmitOptions(balancers=("m0k3",)))


def several_heads(*, read: bool, path: tuple[Pool, ...] = ()) -> Network:
    """An inception module whose branches are outputs, with the layer behind them or without."""
    network = inception(3, 1)
    outputs = tuple(Output(f"out {name}", name, path) for name in ("m0k5", "m0k1", "m0k3"))
    if read:
        return network.replacing(outputs=(*outputs, *network.outputs))
    layers = tuple(layer for layer in network.layers if layer.name != "head")
    edges = tuple(edge for edge in network.edges if edge.target != "head")
    return network.replacing(layers=layers, edges=edges, outputs=outputs)


@pytest.mark.no_cover
@pytest.mark.parametrize("read", [False, True], ids=["unread", "read"])
@pytest.mark.parametrize("size", [1, 2])
def test_siblings_that_are_outputs(read: bool, size: int) -> None:
    path = (Pool("sum", (size, size), (size, size)),) if size > 1 else ()
    network = several_heads(read=read, path=path)
    result = placed(network)
    assert fused(result) == ["m0k1&m0k3&m0k5"]
    assert len(result.require().monitors) == 1 + read
    runs_as_given(result)
    config = build_config(result)
    assert config.interface is not None
    assert [(entry.name, entry.layer) for entry in config.interface.outputs][:2] == [
        ("out m0k5", "m0k5"),
        ("out m0k1", "m0k1"),
    ]
    assert {"m0k1", "m0k3", "m0k5"} <= set(config.interface.monitored)
    steps = (np.random.default_rng(0).random((10, *network.inputs[0].shape)) < 0.1).astype(int)
    shared, apart = (
        run_recording(build_config(each), {"in": events_from_raster(steps, 1000)})
        for each in (result, placed(network, fusion=False))
    )
    assert shared.outputs == apart.outputs
    names = ("in", *network.index)
    assert {name: shared.signals[name] for name in names} == {name: apart.signals[name] for name in names}
    assert mapper.verify_equivalence(network, rate=0.5, steps=20).is_equivalent
    kept = placed(network, pooled_outputs="relay")
    assert bool(fused(kept)) == (size == 1)
    several = mapper.solve([network, network.replacing(name="again")], roomy(9), repairs=0)
    assert build_config(several).interface is not None


def test_siblings_that_are_watched() -> None:
    result = placed(inception(3, 1), monitors=("m0k3", "stem"))
    assert fused(result) == ["m0k1&m0k3&m0k5"]
    config = build_config(result)
    assert config.interface is not None
    assert {"stem", "m0k3"} <= set(config.interface.monitored)
    assert monitored_layers(config)["m0k3"].origin == result.networks[0].origin_of("m0k3")


def test_siblings_stay_where_they_were() -> None:
    network = inception(3, 1)
    cores = [("head", 6), ("m0k1", 1), ("m0k3", 1), ("stem", 8)]
    result = placed(network, keep=(*cores, ("m0k5", 2)))
    assert fused(result) == ["m0k1&m0k3&m0k5"]
    assert {name: result.find_chip_layer(name) for name, _ in cores} == dict(cores)
    stages = {stage.name: (stage.value, stage.bound) for stage in result.require().objectives}
    assert stages["layers_kept"] == (4, 4)


def test_siblings_of_other_neurons_stay_apart() -> None:
    network = inception(3, 1)
    for change in ({"threshold": 41}, {"minimum": -41}, {"reset": "zero"}, {"spike_mode": "single"}):
        layer = network.by_name["m0k3"]
        other = replace(layer, neuron=replace(layer.neuron or Neuron(), **change))
        layers = tuple(other if entry is layer else entry for entry in network.layers)
        assert fused(placed(network.replacing(layers=layers))) == []


def test_a_common_scale_is_told_and_is_what_the_given_network_is_compared_with() -> None:
    network = inception(5, 1, floats=True)
    layers = tuple(
        replace(
            e,
            operation=replace(
                e.operation, weight=np.asarray(e.operation.weight) / (4 if e.name == "m0k1" else 1)
            ),
        )
        for e in network.layers
    )
    result = placed(network.replacing(layers=layers))
    thresholds = {layer.name: layer.neuron.threshold for layer in result.given[0].layers}
    assert thresholds["m0k1"] == thresholds["m0k3"] == thresholds["m0k5"]
    own = {layer.name: layer.neuron.threshold for layer in prepare(network.replacing(layers=layers)).layers}
    assert float(own["m0k1"]) > 3 * float(own["m0k5"])
    assert any("bits lost of the weights: m0k1 2.0" in note for note in result.networks[0].notes)
    runs_as_given(result)


@pytest.mark.parametrize(
    ("change", "together"),
    [
        (lambda weight, step: (weight, Integers(step)), ["m0k1", "m0k3", "m0k5"]),
        (lambda weight, step: (weight / 4, Integers(step / 4)), ["m0k3", "m0k5"]),
        (lambda weight, step: (weight, None), ["m0k3", "m0k5"]),
    ],
)
def test_declared_integers_share_a_core_with_those_of_their_step(change: Any, together: list[str]) -> None:
    network = inception(5, 1, floats=True)
    step = UNIT
    layers = []
    for layer in network.layers:
        weight: Any = layer.operation.weight
        weight, declared = change(weight, step) if layer.name == "m0k1" else (weight, Integers(step))
        layers.append(replace(layer, operation=replace(layer.operation, weight=weight, declared=declared)))
    result = placed(network.replacing(layers=tuple(layers)))
    assert fused(result) == ["&".join(together)]
    for layer in result.given[0].layers:
        if layer.name in together:
            expected = np.rint(np.asarray(network.by_name[layer.name].operation.weight) / step)
            assert np.array_equal(np.asarray(layer.operation.weight), expected)
            assert layer.neuron.threshold == 40
    runs_as_given(result)


def test_addends_may_be_pooled_and_sums_read_at_other_pools() -> None:
    base = residual(1, 3, features=4)
    pool = (Pool("sum", (2, 2), (2, 2)),)
    head = base.by_name["head"]
    small = Layer(
        "small", head.input_shape, replace(head.operation, out_features=4, weight=None), neuron=head.neuron
    )
    shapes = [replace(e, operation=replace(e.operation, weight=None)) for e in base.layers]
    more = tuple(replace(e, target="small") for e in base.incoming["head"])
    network = base.replacing(
        layers=(*shapes[:-1], small, shapes[-1]),
        edges=(*base.edges, *more),
        outputs=(*base.outputs, Output("more", "small")),
    )
    assert {e.path for e in network.incoming["small"]} == {pool}
    whole = placed(network, roomy(16), fusion=False)
    without = placed(network, roomy(24), joint=False, fusion=False)
    assert len(whole.require().placements) < len(without.require().placements)
    (given,) = whole.given
    assert given.signal_shapes["small"] == Shape(4, *head.input_shape[1:])


def test_one_reader_in_pieces_reads_a_sum_in_one() -> None:
    names = ("a", "b", "c")
    layers = [Layer(name, Shape(2, 8, 8), Convolution(8, (1, 1))) for name in names]
    layers.append(Layer("wide", Shape(8, 8, 8), Convolution(64, (1, 1))))
    edges = [Edge("in", name) for name in names] + [Edge(name, "wide") for name in names]
    inputs, outputs = (Input("in", Shape(2, 8, 8)),), (Output("out", "wide"),)
    network = Network("pieces", inputs, tuple(layers), tuple(edges), outputs)
    chip = roomy(12, "limits.output_features_max=16")
    result = placed(network, chip, fusion=False)
    # Three addends, two joint relays that four pieces read; or each addend twice.
    assert (result.status, len(result.require().placements)) == ("optimal", 9)
    assert joints(result) == ["a+b+c"]
    assert len(placed(network, chip, fusion=False, joint=False).require().placements) == 10


def test_three_networks_share_one_sensor() -> None:
    def network(name: str) -> Network:
        pool = (Pool("sum", (4, 4), (4, 4)),)
        layers = (
            Layer("c", Shape(2, 32, 32), Convolution(4, (3, 3), padding=(1, 1))),
            Layer("d", Shape(4, 8, 8), Convolution(10, (8, 8))),
        )
        edges = (Edge("in", "c", pool), Edge("c", "d", pool))
        return Network(
            name, (Input("in", Shape(2, 128, 128), DvsSettings()),), layers, edges, (Output("o", "d"),)
        )

    result = mapper.solve([network(f"n{n}") for n in range(3)], "speck2f", repairs=0)
    assert result.status == "optimal"


def with_layer(network: NormalNetwork, name: str, **changes: Any) -> NormalNetwork:
    def changed(layer: NormalLayer) -> NormalLayer:
        own = {k: v for k, v in changes.items() if k == "neuron"}
        inner = {k: v for k, v in changes.items() if k != "neuron"}
        return replace(layer, operation=replace(layer.operation, **inner), **own)

    return network.replacing(layers=tuple(changed(e) if e.name == name else e for e in network.layers))


def broken(result: Result, network: NormalNetwork) -> list[Rule]:
    found = verify((network,), result.chip, result.options, result.require(), result.given)
    return [violation.rule for violation in found]


def test_the_checker_traces_every_channel_through_a_joint_relay() -> None:
    result = placed(residual(2, 4), roomy(12))
    (network,), name = result.networks, joints(result)[0]
    assert broken(result, network) == []
    layer = network.by_name[name]
    weight = np.array(layer.operation.weight)
    assert Rule.REWRITTEN in broken(result, with_layer(network, name, weight=weight * np.roll(weight, 1, 0)))
    neuron = replace(layer.neuron, threshold=128)
    assert Rule.REWRITTEN in broken(result, with_layer(network, name, neuron=neuron))
    for edge in network.edges:
        if name in (edge.source, edge.target):
            edges = tuple(e for e in network.edges if e is not edge)
            if len([e for e in edges if e.target == edge.target]) > 0:
                assert Rule.REWRITTEN in broken(result, network.replacing(edges=edges)), edge
    assert Rule.REWRITTEN in broken(replace(result, options=replace(result.options, joint=False)), network)


def test_the_checker_traces_every_channel_through_fused_siblings() -> None:
    result = placed(inception(3, 1))
    (network,), (name,) = result.networks, fused(result)
    assert broken(result, network) == []
    layer = network.by_name[name]
    weight = np.array(layer.operation.weight)
    for place in [(0, 0, 2, 2), (weight.shape[0] - 1, 0, 0, 0), (1, 0, 0, 0)]:
        other = weight.copy()
        other[place] += 1
        assert Rule.REWRITTEN in broken(result, with_layer(network, name, weight=other)), place
    assert Rule.REWRITTEN in broken(
        result,
        with_layer(
            network, "head", weight=np.roll(np.asarray(network.by_name["head"].operation.weight), 1, 1)
        ),
    )
    origins = list(network.origins)
    first, second = (n for n, origin in enumerate(origins) if origin.name in ("m0k1", "m0k3"))
    swapped = [*origins]
    swapped[first], swapped[second] = (
        replace(origins[first], start=origins[second].start),
        replace(origins[second], start=origins[first].start),
    )
    assert Rule.REWRITTEN in broken(result, network.replacing(origins=tuple(swapped)))
    assert Rule.REWRITTEN in broken(replace(result, options=replace(result.options, fusion=False)), network)
    assert isinstance(origins[0], Origin)


def heads(names: list[str], readers: dict[str, list[str]], features: int = 2) -> Network:
    """A stem, layers of these names that read it, and others that read some of them side by side."""
    layers = [Layer("stem", Shape(2, 8, 8), Convolution(4, (1, 1)))]
    edges = [Edge("in", "stem")]
    for name in names:
        layers.append(Layer(name, Shape(4, 8, 8), Convolution(features, (1, 1))))
        edges.append(Edge("stem", name))
    for name, sources in readers.items():
        layers.append(Layer(name, Shape(features * len(sources), 8, 8), Convolution(3, (1, 1))))
        edges += [Edge(source, name, (), features * n) for n, source in enumerate(sources)]
    outputs = tuple(Output(f"o{n}", name) for n, name in enumerate(readers))
    return Network("heads", (Input("in", Shape(2, 8, 8)),), tuple(layers), tuple(edges), outputs)


@pytest.mark.no_cover
@pytest.mark.parametrize(
    ("names", "readers", "cores"),
    [
        (["a", "b", "c"], {"head": ["a", "b", "c"]}, 3),
        (["a", "c", "b", "d"], {"one": ["a", "b"], "two": ["c", "d"]}, 5),
        ([f"n{n:02}" for n in range(18)], {"head": [f"n{n:02}" for n in range(18)]}, 6),
        (["a", "b", "a&b"], {"one": ["a", "b"], "two": ["a&b"]}, 5),
        ([f"n{n:02}" for n in range(12)], {"head": [f"n{n:02}" for n in (*range(11, -1, -1),)]}, 4),
    ],
    ids=["three", "interleaved", "many", "clash", "reversed"],
)
def test_siblings_of_every_kind(names: list[str], readers: dict[str, list[str]], cores: int) -> None:
    result = placed(heads(names, readers))
    assert (result.status, len(result.require().placements)) == ("optimal", cores)
    for options in ({"pins": {names[1]: 3}}, {"readout": None, "objective": "headroom"}, {"max_pieces": 1}):
        assert placed(heads(names, readers), **options).status == "optimal"


def test_every_objective_has_siblings_and_joint_relays() -> None:
    for network in (inception(3, 1), residual(2, 4)):
        rates = {name: 100 + 10 * n for n, name in enumerate(network.index)} | {"in": 1000}
        chip = "speck2f" if network.name == "inception" else roomy(12)
        for objective in ("index", "balance", "headroom"):
            traffic = tuple(rates.items()) if objective == "balance" else ()
            result = placed(network, chip, objective=objective, traffic=traffic)
            assert result.status == "optimal"
            assert fused(result) or joints(result)
            simulate(result.networks[0], {"in": np.zeros((1, *network.inputs[0].shape), int)})


def test_traffic_is_counted_layer_by_layer() -> None:
    network, found = inception(3, 1), []
    shape = network.inputs[0].shape
    events = events_from_raster((np.random.default_rng(0).random((10, *shape)) < 0.1).astype(int), 1000)
    for fusion in (True, False):
        config = build_config(placed(network, fusion=fusion))
        found.append(run_recording(config, {"in": events}).signals)
    assert found[0]["m0k3"] > 0
    assert {name: found[0][name] for name in network.index} == {n: found[1][n] for n in network.index}


def test_sums_of_which_halved_pools_leave_maps_of_other_sizes_are_left_out() -> None:
    # Pooled by 8 and 2 both have 4x4, by 4 and 1 they would have 8x8 and 9x9.
    shape = Shape(1, 32, 32)
    layers = (
        Layer("a", shape, Convolution(2, (3, 3), padding=(1, 1)), neuron=Neuron(2.0, -1.0)),
        Layer("b", shape, Convolution(2, (8, 8), (4, 4), (4, 4)), neuron=Neuron(3.0, -1.0)),
        Layer("c", Shape(2, 4, 4), Convolution(2, (1, 1)), neuron=Neuron(4.0, -1.0)),
        Layer("d", Shape(2, 4, 4), Convolution(2, (1, 1)), neuron=Neuron(5.0, -1.0)),
    )
    pools = {"a": (Pool("sum", (8, 8), (8, 8)),), "b": (Pool("sum", (2, 2), (2, 2)),)}
    edges = [Edge("in", "a"), Edge("in", "b"), *(Edge(s, t, pools[s]) for t in "cd" for s in "ab")]
    ends = (Output("c", "c"), Output("d", "d"))
    assert placed(Network("net", (Input("in", shape),), layers, tuple(edges), ends)).solution


def test_a_stride_beyond_the_kernel_is_no_relay_with_phases() -> None:
    shape = Shape(1, 16, 16)
    conv = Convolution(1, (3, 3), padding=(1, 1), weight=np.ones((1, 1, 3, 3), np.float32))
    skips = Convolution(4, (1, 1), (2, 2), weight=np.ones((4, 1, 1, 1), np.float32))
    layers = (
        Layer("a", shape, conv),
        Layer("b", shape, conv),
        Layer("c", shape, skips, neuron=Neuron(2.0, -1.0)),
    )
    ends = tuple(Output(layer.name, layer.name) for layer in layers)
    edges = tuple(Edge("in", layer.name) for layer in layers)
    assert fused(placed(Network("net", (Input("in", shape),), layers, edges, ends))) == ["a&b"]
