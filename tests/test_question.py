"""One question, one answer: what was refused although it fits, and what was promised although it does not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

import mapper
from hwspec.catalog import load
from hwspec.schema import ChipSpec, CoreSpec
from mapper.edits import shapes_only
from mapper.errors import NetworkError, OptionsError
from mapper.network import DvsSettings, Edge, Input, Output
from mapper.normal_form import NormalLayer, NormalNetwork, normal_form
from mapper.operations import Convolution, Neuron, Pool, Shape
from mapper.options import SolveOptions
from mapper.problem import Problem
from mapper.question import Question, decide, fits
from mapper.reasons import Status
from mapper.result import Result
from mapper.rules import Rule
from mapper.sim.config_frame import simulate_config
from mapper.sim.network import simulate
from mapper.solution import DVS, LayerPart, Relay
from mapper.verify import CHECKS, verify
from mapper.verify.case import Case, Violation
from mapper.work import HOLDING, CoreWork, Shortfall
from tests.builders import chain, conv, pool, tiny_chip


def one(features: int) -> Convolution:
    return Convolution(features, (1, 1))


def relays(result: Result) -> list[Relay]:
    return [p.body for p in result.require().placements if isinstance(p.body, Relay)]


def star(readers: int) -> NormalNetwork:
    shape = Shape(2, 8, 8)
    layers = [
        NormalLayer("hub", shape, one(2)),
        *(NormalLayer(f"b{n}", shape, one(2)) for n in range(readers)),
    ]
    edges = [Edge("in", "hub"), *(Edge("hub", f"b{n}") for n in range(readers))]
    outputs = tuple(Output(f"o{n}", f"b{n}") for n in range(readers))
    return NormalNetwork(f"star{readers}", (Input("in", shape),), tuple(layers), tuple(edges), outputs)


@pytest.mark.parametrize("readers", [12, 13, 20])
def test_a_signal_has_as_many_relays_as_its_readers_need(readers: int) -> None:
    """With two destinations a chain of N - 2 relays serves N readers, or N / 2 copies of what the host feeds."""
    chip = tiny_chip(*[(32768, 32768, 1024)] * 48)
    result = mapper.solve(star(readers), chip, repairs=0, max_copies=1, fusion=False)
    assert result.status is Status.OPTIMAL
    assert len(relays(result)) == readers - 2
    copied = mapper.solve(star(readers), chip, repairs=0, fusion=False)
    assert len(copied.require().placements) == readers + -(-readers // 2)


def test_each_pool_is_folded_or_relayed_on_its_own() -> None:
    """Two pools of 8: one must be folded, for no core is left for a relay; the other fits relayed alone."""
    shape = Shape(1, 16, 16)
    layers = (
        NormalLayer("a", shape, one(2)),
        NormalLayer("b", Shape(2, 2, 2), one(1)),
        NormalLayer("d", shape, one(16)),
        NormalLayer("e", Shape(16, 2, 2), Convolution(16, (2, 2))),
    )
    edges = (Edge("in", "a"), Edge("a", "b", pool(8)), Edge("in", "d"), Edge("d", "e", pool(8)))
    network = NormalNetwork(
        "mixed", (Input("in", shape),), layers, edges, (Output("o1", "b"), Output("o2", "e"))
    )
    chip = tiny_chip((16, 4096, 0), (2, 512, 0), (8, 4, 0), (1024, 16, 0), (256, 256, 0))
    result = mapper.solve(network, chip, repairs=0)
    assert result.status is Status.OPTIMAL
    assert [relay.signal for relay in relays(result)] == ["d"]
    kernels = {layer.name: layer.operation.kernel for layer in result.networks[0].layers}
    assert kernels["b"] == (2, 2)
    assert kernels["e"] == (2, 2)


def test_a_pooled_output_may_be_shown_in_pieces() -> None:
    shape = Shape(1, 8, 8)
    output = Output("o", "a", (Pool("sum", (2, 2), (2, 2)),))
    network = NormalNetwork(
        "shown", (Input("in", shape),), (NormalLayer("a", shape, one(32)),), (Edge("in", "a"),), (output,)
    )
    chip = tiny_chip((256, 1024, 0), (256, 1024, 0), (256, 256, 0), (256, 256, 0))
    result = mapper.solve(network, chip, pooled_outputs="relay", repairs=0)
    assert result.status is Status.OPTIMAL
    assert sorted(m.features for m in result.require().monitors) == [(0, 16), (16, 32)]
    assert {m.pooling_seen for m in result.require().monitors} == {2}


def sensing(name: str, pools: Sequence[int] = (4,), shape: Shape = Shape(2, 128, 128)) -> NormalNetwork:
    layers, edges, outputs = [], [], []
    for n, size in enumerate(pools):
        seen = Shape(2, shape.height // size, shape.width // size)
        layers.append(NormalLayer(f"c{n}", seen, conv(4)))
        edges.append(Edge("in", f"c{n}", pool(size)))
        outputs.append(Output(f"o{n}", f"c{n}"))
    return NormalNetwork(
        name, (Input("in", shape, DvsSettings()),), tuple(layers), tuple(edges), tuple(outputs)
    )


def test_one_relay_of_the_sensor_serves_several_networks() -> None:
    result = mapper.solve([sensing(f"n{n}") for n in range(3)], "speck2f", repairs=0)
    assert result.status is Status.OPTIMAL
    assert relays(result) == [Relay(None, DVS, 1)]
    assert len(result.require().placements) == 4


def test_a_relay_of_the_sensor_may_be_cut() -> None:
    """No core holds 2x32x32 neurons: two relays pass on one polarity each, for the three destinations they take."""
    networks = [sensing(f"n{n}", shape=Shape(2, 32, 32), pools=(1,)) for n in range(4)]
    cores = [(2048, 4096, 0)] * 4 + [(2048, 1024, 0)] * 2
    # The layers fit the large cores alone, and the small ones hold half a relay.
    chip = tiny_chip(*cores, overrides=["input.fan_out=4"])
    assert mapper.solve(networks, chip, repairs=0).status is Status.OPTIMAL
    fewer = tiny_chip(*cores, overrides=["input.fan_out=3", "core[0..5].fan_out=3"])
    result = mapper.solve(networks, fewer, repairs=0)
    assert result.status is Status.OPTIMAL
    halves = [p for p in result.require().placements if isinstance(p.body, Relay)]
    assert [(p.core, p.features, p.body.reads_all) for p in halves if isinstance(p.body, Relay)] == [
        (4, (0, 1), True),
        (5, (1, 2), True),
    ]


def test_two_pools_behind_one_sensor_stage() -> None:
    """The stage pools by 2, and a relay once more for the layer that wants 4."""
    result = mapper.solve(sensing("two", (2, 4)), "speck2f", repairs=0)
    assert result.status is Status.OPTIMAL
    assert result.require().dvs_stage is not None


def test_the_sensor_behind_another_signal_is_not_placed_at_an_offset() -> None:
    draw = np.random.default_rng(0)
    shape = Shape(2, 16, 16)

    def weights(*size: int) -> Any:
        return draw.integers(-8, 9, size)

    neuron = Neuron(6, -20)
    layers = (
        NormalLayer("l0", shape, Convolution(2, (1, 1), weight=weights(2, 2, 1, 1)), neuron=neuron),
        NormalLayer(
            "l1",
            Shape(4, 16, 16),
            Convolution(3, (3, 3), padding=(1, 1), weight=weights(3, 4, 3, 3)),
            neuron=neuron,
        ),
    )
    edges = (Edge("in", "l0"), Edge("l0", "l1"), Edge("in", "l1", (), 2))
    network = NormalNetwork("skip", (Input("in", shape, DvsSettings()),), layers, edges, (Output("o", "l1"),))
    result = mapper.solve(network, "speck2f")
    assert all(route.feature_shift == 0 for route in result.require().routes if route.source == DVS)
    events = {"in": draw.integers(0, 2, (10, 2, 16, 16))}
    expected = simulate(network, events).outputs["o"]
    assert expected.any()
    assert np.array_equal(simulate_config(mapper.build_config(result), events).outputs["o"], expected)


def test_the_sensor_twice_at_two_offsets_takes_a_relay() -> None:
    shape = Shape(2, 16, 16)
    edges = (Edge("in", "l"), Edge("in", "l", (), 2))
    layer = NormalLayer("l", Shape(4, 16, 16), conv(3))
    network = NormalNetwork(
        "twice", (Input("in", shape, DvsSettings()),), (layer,), edges, (Output("o", "l"),)
    )
    result = mapper.solve(network, "speck2f", repairs=0)
    assert [relay.signal for relay in relays(result)] == [DVS]
    refused = mapper.solve(network, "speck2f", repairs=0, relays=False)
    assert refused.status is Status.INFEASIBLE


def test_names_of_networks_never_collide() -> None:
    digits = mapper.load_network("digits")
    chip = load("speck2f", ["+core[9..13]=core[0]"])
    networks = [digits.replacing(name=name) for name in ("a", "a", "a-2")]
    result = mapper.solve(networks, chip, repairs=0)
    names = [network.name for network in result.networks]
    assert len(set(names)) == 3
    assert names[2] == "a-2"
    config = mapper.build_config(result)
    assert config.interface is not None
    assert len({layer.name for layer in config.interface.layers}) == 12
    with pytest.raises(NetworkError, match="a"):
        Problem((normal_form(digits).replacing(name="a"),) * 2, chip, SolveOptions())


def overlapping(first: int = 8, second: int = 16, size: int = 32) -> Result:
    """Overlapping pools (3x3, stride 2): folded, the weights of a kernel add up beyond 8 bits."""
    draw = np.random.default_rng(0)
    maps = (size, size // 2, size // 4, (size // 4 - 3) // 2 + 1)
    features = (2, first, second, second)
    layers, edges = [], []
    for n in range(3):
        values = draw.integers(-127, 128, (features[n + 1], features[n], 3, 3))
        layers.append(
            NormalLayer(
                f"l{n}", Shape(features[n], maps[n], maps[n]),
                Convolution(features[n + 1], (3, 3), padding=(1, 1), weight=values), neuron=Neuron(100, -100),
            )
        )  # fmt: skip
        edges.append(Edge(f"l{n - 1}" if n else "in", f"l{n}", pool(2) if n else ()))
    values = draw.integers(-127, 128, (11, second, maps[3], maps[3]))
    dense = Convolution(11, (maps[3], maps[3]), weight=values)
    layers.append(NormalLayer("out", Shape(second, maps[3], maps[3]), dense, neuron=Neuron(100, -100)))
    edges.append(Edge("l2", "out", (Pool("sum", (3, 3), (2, 2)),)))
    network = NormalNetwork(
        "overlap", (Input("in", Shape(2, size, size)),), tuple(layers), tuple(edges), (Output("o", "out"),)
    )
    return mapper.solve(network, "speck2f")


def test_repairs_keep_the_weights_or_say_that_they_do_not() -> None:
    result = overlapping()
    assert result.status is Status.INFEASIBLE
    assert result.report is not None
    by_shapes = mapper.solve(shapes_only(result.networks[0]), "speck2f", repairs=0)
    assert by_shapes.status is Status.OPTIMAL
    assert "weights" in result.report.sentence()
    for repair in result.report.repairs:
        assert not repair.overrides, "no chip mends weights"
        assert "needs retraining" in repair.sentence


def test_a_limit_bounds_explanation_and_repairs_and_says_so() -> None:
    network = chain([conv(24), conv(24), conv(24)], (2, 64, 64), name="large")
    chip = tiny_chip(*[(512, 4096, 0)] * 4)
    result = mapper.solve([network.replacing(name=f"n{n}") for n in range(3)], chip, work_limit=1e-6)
    assert result.report is not None
    assert result.status is Status.UNDECIDED or result.report.cut_short


@pytest.mark.parametrize("seed", [0, 1, 7])
def test_a_work_limit_gives_the_same_bytes_whatever_the_workers(seed: int) -> None:
    options: dict[str, Any] = {"work_limit": 0.002, "repairs": 0}
    results = [
        mapper.solve(
            star(9), tiny_chip(*[(32768, 32768, 1024)] * 24), workers=workers, seed=seed * workers, **options
        )
        for workers in (1, 2)
    ]
    assert results[0].solution == results[1].solution
    assert results[0].status is results[1].status


def test_a_changed_formula_changes_every_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernel words without rounding the taps up, in their one home and in the checker's copy."""

    def words(taken: int, given: int, height: int, width: int) -> int:
        return taken * height * width << (given - 1).bit_length()

    def check(case: Case) -> Any:
        for body in case.bodies:
            need = words(body.incoming[0], body.features, *body.kernel)
            if need > body.core.kernel_words:
                yield Violation(Rule.KERNEL_MEMORY, body.where, f"takes {need}")

    network = chain([conv(256, 3)], (16, 8, 8))
    # 16 x 9 x 32 words hold a piece of 32 features: eight pieces on nine cores.
    chip = load("speck2f", ["core[0..8].kernel_words=4608"])
    assert mapper.solve(network, chip, repairs=0).status is Status.INFEASIBLE
    monkeypatch.setattr("mapper.work.kernel_words", words)
    monkeypatch.setitem(CHECKS, Rule.KERNEL_MEMORY, check)
    result = mapper.solve(network, chip, repairs=0)
    assert result.status is Status.OPTIMAL
    assert [p.features[1] - p.features[0] for p in result.require().placements] == [32] * 8


def test_a_rule_about_one_core_holds_for_relays_and_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rule is one function of a work and a core: at most so many synaptic operations a spike."""
    bound = 64

    def operations(work: CoreWork) -> int:
        (ky, kx), (sy, sx) = work.kernel, work.stride
        return -(-work.output_shape.features * ky * kx // (sy * sx))

    def limit(work: CoreWork, core: CoreSpec) -> Shortfall | None:
        need = operations(work)
        return Shortfall(Rule.PADDING, need, bound, need - bound, "SynOps a spike") if need > bound else None

    monkeypatch.setitem(HOLDING, Rule.PADDING, limit)
    shape = Shape(1, 16, 16)
    layers = [NormalLayer("hub", shape, conv(64, 2, stride=(2, 2), padding=(0, 0)))]
    layers += [NormalLayer(f"b{n}", Shape(64, 8, 8), conv(4, 1, stride=(2, 2))) for n in range(3)]
    edges = (Edge("in", "hub"), *(Edge("hub", f"b{n}") for n in range(3)))
    outputs = tuple(Output(f"o{n}", f"b{n}") for n in range(3))
    network = NormalNetwork("hub", (Input("in", shape),), tuple(layers), edges, outputs)
    relayed = mapper.solve(network, "speck2f", repairs=0, max_copies=1, fusion=False)
    assert len(relays(relayed)) == 1
    bound = 63
    cut = mapper.solve(network, "speck2f", repairs=0, max_copies=1, fusion=False)
    assert cut.status is Status.OPTIMAL
    sizes = [p.features[1] - p.features[0] for p in cut.require().placements if p.features[1] > 4]
    assert max(sizes) <= 63


@pytest.mark.parametrize("seed", range(40))
def test_fits_is_decide_without_the_best(seed: int) -> None:
    question = random_question(seed)
    assert fits(question) is (decide(question, "reasons").solution is not None)


def random_question(seed: int) -> Question:
    """Up to three networks, pools up to 8, sensors with two pools, small chips."""
    draw = np.random.default_rng(seed)
    networks = []
    for n in range(int(draw.integers(1, 4))):
        kinds = [
            conv(int(draw.choice([2, 4, 8])), int(draw.choice([1, 2, 3]))) for _ in range(draw.integers(1, 4))
        ]
        pools = [int(draw.choice([1, 2, 8])) for _ in kinds[1:]]
        network = chain(kinds, (2, 32, 32), pools, dvs=bool(draw.integers(2)), name=f"n{n}")
        networks.append(network)
    words = [int(draw.choice([256, 1024, 8192])) for _ in range(2 * int(draw.integers(3, 9)))]
    cores = [(a, b * 4, 8) for a, b in zip(words[::2], words[1::2], strict=True)]
    chip: ChipSpec = tiny_chip(*cores, overrides=[f"routing.fan_out={int(draw.integers(1, 4))}"])
    return Question(tuple(networks), chip, SolveOptions(repairs=0, relays=bool(draw.integers(4))))


def test_solutions_of_random_questions_pass_the_checker_and_name_whole_layers() -> None:
    verdicts = []
    for seed in range(40):
        question = random_question(seed)
        result = decide(question, "reasons")
        verdicts.append(result.status)
        if result.solution is not None:
            assert verify(result.networks, result.chip, result.options, result.solution) == ()
            assert any(isinstance(p.body, LayerPart) for p in result.solution.placements)
    assert {Status.OPTIMAL, Status.INFEASIBLE} == set(verdicts)


def test_pins_by_name_and_by_index_are_told_apart() -> None:
    network = chain([conv(2), conv(2), conv(2), conv(2)])
    names = {"conv0": "0", "conv1": "3", "conv2": "6", "conv3": "10"}
    renamed = network.replacing(
        layers=tuple(NormalLayer(names[x.name], x.input_shape, x.operation) for x in network.layers),
        edges=tuple(Edge(names.get(e.source, e.source), names[e.target]) for e in network.edges),
        outputs=(Output("out", "10"),),
    )
    assert mapper.solve(renamed, pins={"3": 8}).find_chip_layer("3") == 8
    assert mapper.solve(renamed, pins={"#3": 8}).find_chip_layer("10") == 8
    with pytest.raises(OptionsError, match="#3"):
        mapper.solve(renamed, pins={3: 8})


@pytest.mark.parametrize("objective", ["capacity", "index", "headroom", "balance"])
def test_a_sensor_alone_takes_no_core(objective: str) -> None:
    alone = mapper.Network("s", (Input("in", Shape(2, 16, 16), DvsSettings()),), (), (), ())
    traffic = (("in", 5),) if objective == "balance" else ()
    result = mapper.solve(alone, objective=objective, traffic=traffic)
    assert result.status is Status.OPTIMAL
    assert not result.require().placements
