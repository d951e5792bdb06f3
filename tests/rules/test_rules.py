"""Every rule: an instance that fits, one that does not, and a solution the checker must reject."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest

from hwspec.catalog import load
from mapper.normal_form import NormalNetwork
from mapper.operations import Convolution, Pool
from mapper.options import SolveOptions, resolve
from mapper.question import Question, decide
from mapper.result import Result
from mapper.rules import Rule
from mapper.solution import LayerPart, Monitor, Placement, Route, Solution
from mapper.verify import CHECKS, verify
from tests.builders import UNDIVIDED, chain, conv, pool, weighted

Break = Callable[[Solution], Solution]


def solved(network: NormalNetwork, overrides: Sequence[str], options: SolveOptions) -> Result:
    chip = load("speck2f", list(overrides))
    return decide(Question((network,), chip, options))


@dataclass(frozen=True)
class Pair:
    """What fits; what must not; and a fault in the good solution, or the bad network under a good solution."""

    rule: Rule
    good: NormalNetwork
    bad: NormalNetwork
    bad_overrides: tuple[str, ...] = ()
    good_options: SolveOptions = SolveOptions()
    bad_options: SolveOptions = SolveOptions()
    fault: Break | None = None
    divides: bool = False

    @property
    def refused_options(self) -> SolveOptions:
        """Of the bad instance: whole layers alone, unless the rule is about more."""
        return self.bad_options if self.divides else replace(self.bad_options, **UNDIVIDED)


PLAIN = chain([conv(4), conv(8)], pools=(2,))
FLAT = chain([conv(4), Convolution(8, (16, 16))])
WIDE = chain([conv(4), Convolution(61, (16, 16))])
DVS = chain([conv(4), conv(8)], (2, 32, 32), dvs=True)
TWO = chain([conv(4), conv(8)])
TALL = chain([conv(17)], (2, 64, 64))
BUSY = (("input", 100),)
# Weights of -8..8, biases of -3..3, potentials of -20..7.
WHOLE_NUMBERS = weighted(chain([conv(4, has_bias=True)]), np.random.default_rng(0), integer=True)


def three_targets(count: int) -> NormalNetwork:
    network = chain([conv(4)] + [conv(4)] * count)
    edges = [replace(edge, source="input" if n == 0 else "conv0") for n, edge in enumerate(network.edges)]
    return network.replacing(edges=tuple(edges))


def sensor_targets(count: int) -> NormalNetwork:
    network = (
        chain([conv(4)] * count, (4, 32, 32))
        if count > 9
        else chain([conv(2)] * count, (2, 32, 32), dvs=True)
    )
    return network.replacing(edges=tuple(replace(edge, source="input") for edge in network.edges))


def moved(solution: Solution, core: int) -> Solution:
    """The first layer on another core, its routes with it."""
    old = solution.placements[0].core
    routes = tuple(
        replace(r, source=core if r.source == old else r.source, target=core if r.target == old else r.target)
        for r in solution.routes
    )
    first = replace(solution.placements[0], core=core)
    entries = tuple(replace(e, core=core if e.core == old else e.core) for e in solution.host_entries)
    return replace(
        solution, placements=(first, *solution.placements[1:]), routes=routes, host_entries=entries
    )


PAIRS = [
    Pair(Rule.INPUT_SIZE, chain([conv(1, 8, stride=(8, 8), padding=(0, 0))], (1, 128, 128)),
         chain([conv(1, 8, stride=(8, 8), padding=(0, 0))], (1, 136, 136))),
    Pair(Rule.OUTPUT_SIZE, chain([conv(1)], (1, 64, 64)), chain([conv(1)], (1, 65, 64))),
    Pair(Rule.FEATURES, chain([conv(1024, 1)], (1, 1, 1)), chain([conv(1025, 1)], (1, 1, 1))),
    Pair(Rule.KERNEL_SIZE, chain([conv(1, 16, padding=(0, 0))], (1, 16, 16)),
         chain([conv(1, 17, padding=(0, 0))], (1, 17, 17))),
    Pair(Rule.KERNEL_SQUARE, PLAIN, chain([Convolution(4, (2, 3))])),
    Pair(Rule.STRIDE, chain([conv(4, stride=(4, 4))]), chain([conv(4, stride=(3, 3))])),
    Pair(Rule.PADDING, chain([conv(4, 9, padding=(7, 7))]), chain([conv(4, 9, padding=(8, 8))])),
    Pair(Rule.POOLING, PLAIN, chain([conv(4), conv(8)], pools=(3,))),
    Pair(Rule.FEATURE_SHIFT, TWO,
         TWO.replacing(edges=(TWO.edges[0], replace(TWO.edges[1], feature_offset=2)),
                       layers=(TWO.layers[0], replace(TWO.layers[1], input_shape=TWO.layers[1].input_shape._replace(features=6)))),
         ("routing.feature_shift=false",)),
    Pair(Rule.INPUT_POOLING, PLAIN, chain([conv(4, 9)], (2, 32, 32), input_path=pool(2)), (),
         SolveOptions(relays=False)),
    Pair(Rule.DVS_STAGE, DVS, chain([conv(4)], (2, 96, 96), dvs=True, input_path=pool(3))),
    Pair(Rule.NUMBER_WIDTH, WHOLE_NUMBERS, WHOLE_NUMBERS, ("core[0..8].limits.weight_bits=4",)),
    Pair(Rule.NUMBER_WIDTH, WHOLE_NUMBERS, WHOLE_NUMBERS, ("core[0..8].limits.bias_bits=2",)),
    Pair(Rule.NUMBER_WIDTH, WHOLE_NUMBERS, WHOLE_NUMBERS, ("core[0..8].limits.state_bits=5",)),
    Pair(Rule.KERNEL_MEMORY, chain([conv(256, 1)], (256, 4, 4)), chain([conv(512, 1)], (256, 4, 4))),
    Pair(Rule.NEURON_MEMORY, chain([conv(16)], (2, 64, 64)), chain([conv(17)], (2, 64, 64))),
    Pair(Rule.BIAS_MEMORY, chain([conv(16, has_bias=True)]), chain([conv(16, has_bias=True)]),
         ("core[0..8].bias_words=15",)),
    Pair(Rule.BANDWIDTH, PLAIN, PLAIN, ("core[0..8].synops_per_second=10",), SolveOptions(traffic=BUSY),
         SolveOptions(traffic=BUSY)),
    Pair(Rule.WHOLE, FLAT, FLAT, ("core[0..8].kernel_words=4096",), SolveOptions(readout="conv1"),
         SolveOptions(readout="conv1"), divides=True),
    Pair(Rule.MOVES, TALL, TALL, (), SolveOptions(max_pieces=2), SolveOptions(max_pieces=1), divides=True),
    Pair(Rule.PLACED, chain([conv(4)] * 9), chain([conv(4)] * 10)),
    Pair(Rule.ONE_LAYER_PER_CORE, chain([conv(4)] * 9), chain([conv(4)] * 10)),
    Pair(Rule.FAN_OUT, three_targets(2), three_targets(3)),
    Pair(Rule.DVS_FAN_OUT, sensor_targets(2), sensor_targets(3)),
    Pair(Rule.READOUT, FLAT, FLAT, ("readout=none",), SolveOptions(readout="conv1"), SolveOptions(readout="conv1")),
    Pair(Rule.READOUT, FLAT, PLAIN, (), SolveOptions(readout="conv1"), SolveOptions(readout="conv1")),
    Pair(Rule.READOUT, FLAT, WIDE, (), SolveOptions(readout="conv1"), SolveOptions(readout="conv1")),
    Pair(Rule.MONITOR, PLAIN, PLAIN, ("monitor.cores_max=1",), SolveOptions(monitors=("conv0", "conv1")),
         SolveOptions(monitors=("conv0", "conv1"))),
    Pair(Rule.PIN, PLAIN, chain([conv(16)], (2, 64, 64)), (), SolveOptions(pins=(("conv0", 3),)),
         SolveOptions(pins=(("conv0", 8),))),
    Pair(Rule.FORBIDDEN_CORE, PLAIN, PLAIN, (), SolveOptions(forbidden_cores=(0, 1)),
         SolveOptions(forbidden_cores=tuple(range(8)))),
]  # fmt: skip


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.rule.name)
def test_good_instance_is_placed_and_bad_one_is_not(pair: Pair) -> None:
    good = solved(pair.good, (), pair.good_options)
    assert good.solution is not None
    assert verify(good.networks, good.chip, good.options, good.solution) == ()
    bad = solved(pair.bad, pair.bad_overrides, pair.refused_options)
    assert bad.solution is None
    assert bad.report is not None
    assert bad.report.sentences()


COUNTED = {Rule.PLACED, Rule.ONE_LAYER_PER_CORE, Rule.FORBIDDEN_CORE, Rule.PIN}


@pytest.mark.parametrize("pair", [p for p in PAIRS if p.rule not in COUNTED], ids=lambda pair: pair.rule.name)
def test_the_report_names_the_rule(pair: Pair) -> None:
    report = solved(pair.bad, pair.bad_overrides, pair.refused_options).report
    assert report is not None
    assert pair.rule.code in {entry.code for entry in report.unmet}


def violated(
    network: NormalNetwork,
    solution: Solution,
    overrides: Sequence[str] = (),
    options: SolveOptions = SolveOptions(),
) -> set[Rule]:
    chip = load("speck2f", list(overrides))
    return {v.rule for v in verify((network,), chip, resolve(options, network, chip), solution)}


# Networks that break a limit of layers: the checker must say so when the layer stands on a core all the same.
FORCED = {
    pair.rule: pair
    for pair in PAIRS
    if pair.rule.code < "M300" and pair.rule not in (Rule.FEATURE_SHIFT, Rule.POOLING)
}


@pytest.mark.parametrize("pair", FORCED.values(), ids=lambda pair: pair.rule.name)
def test_checker_rejects_a_layer_beyond_a_limit(pair: Pair) -> None:
    wide = ["limits.input_height_max=4096", "limits.input_width_max=4096", "limits.output_height_max=4096"]
    wide += ["limits.output_width_max=4096", "limits.kernel_size_max=4096", "limits.padding_max=4095"]
    wide += [
        "limits.kernel_square=false",
        "limits.input_features_max=65536",
        "limits.output_features_max=65536",
    ]
    wide += ["core[0..8].kernel_words=1073741824", "core[0..8].neuron_words=1073741824"]
    network = pair.bad
    if pair.rule in (Rule.STRIDE, Rule.INPUT_POOLING, Rule.DVS_STAGE):
        base = solved(pair.good, wide, SolveOptions()).require()
        good_names = [p.body.layer for p in base.placements if isinstance(p.body, LayerPart)]
        kept = [n for n in good_names if n in network.by_name]
        parts = tuple(p for p in base.placements if isinstance(p.body, LayerPart) and p.body.layer in kept)
        solution = replace(base, placements=parts)
    else:
        solution = solved(network, wide, SolveOptions()).require()
    options = pair.bad_options if pair.rule is Rule.BANDWIDTH else SolveOptions()
    assert pair.rule in violated(network, solution, pair.bad_overrides, options)


def routes_with(solution: Solution, route: Route) -> Solution:
    return replace(solution, routes=(*solution.routes, route))


FAULTS: dict[Rule, tuple[NormalNetwork, SolveOptions, Break]] = {
    Rule.PLACED: (PLAIN, SolveOptions(), lambda s: replace(s, placements=s.placements[1:])),
    Rule.ONE_LAYER_PER_CORE: (PLAIN, SolveOptions(), lambda s: moved(s, s.placements[1].core)),
    Rule.FEATURE_SHIFT: (
        PLAIN, SolveOptions(), lambda s: replace(s, routes=(replace(s.routes[0], feature_shift=-1),))),
    Rule.POOLING: (PLAIN, SolveOptions(), lambda s: replace(s, routes=(replace(s.routes[0], pooling=3),))),
    Rule.FAN_OUT: (PLAIN, SolveOptions(), lambda s: replace(s, routes=s.routes * 3)),
    Rule.DVS_FAN_OUT: (DVS, SolveOptions(), lambda s: routes_with(s, Route("dvs", 2, 0))),
    Rule.CONNECTION: (PLAIN, SolveOptions(), lambda s: replace(s, routes=(replace(s.routes[0], pooling=4),))),
    Rule.READOUT: (
        FLAT, SolveOptions(readout="conv1"), lambda s: replace(s, routes=tuple(r for r in s.routes if r.target != "readout"))),
    Rule.MONITOR: (PLAIN, SolveOptions(), lambda s: replace(s, monitors=())),
    Rule.PIN: (PLAIN, SolveOptions(pins=(("conv0", 3),)), lambda s: swap(s, "conv0", 6)),
    Rule.FORBIDDEN_CORE: (PLAIN, SolveOptions(forbidden_cores=(6,)), lambda s: swap(s, "conv0", 6)),
    Rule.WHOLE: (PLAIN, SolveOptions(pins=(("conv0", 3),)), lambda s: copied(s, "conv0", 3)),
    Rule.MOVES: (PLAIN, SolveOptions(max_copies=1), lambda s: copied(s, "conv0", 8)),
    Rule.OBJECTIVE: (
        PLAIN, SolveOptions(), lambda s: replace(s, objectives=(replace(s.objectives[0], value=3), *s.objectives[1:]))),
}  # fmt: skip


def copied(solution: Solution, layer: str, core: int) -> Solution:
    extra = Placement(core, LayerPart(0, layer, 1), (0, 4))
    return replace(solution, placements=(*solution.placements, extra))


def swap(solution: Solution, layer: str, core: int) -> Solution:
    index = next(
        n
        for n, p in enumerate(solution.placements)
        if isinstance(p.body, LayerPart) and p.body.layer == layer
    )
    ordered = (solution.placements[index], *solution.placements[:index], *solution.placements[index + 1 :])
    return moved(replace(solution, placements=ordered), core)


@pytest.mark.parametrize("rule", FAULTS, ids=lambda rule: rule.name)
def test_checker_rejects_a_faulty_solution(rule: Rule) -> None:
    network, options, fault = FAULTS[rule]
    result = solved(network, (), options)
    solution = result.require()
    assert verify(result.networks, result.chip, result.options, solution) == ()
    found = {v.rule for v in verify(result.networks, result.chip, result.options, fault(solution))}
    assert rule in found


def test_every_rule_is_checked_and_tested() -> None:
    # No network breaks these, a faulty placement alone does.
    tested = {pair.rule for pair in PAIRS} | {Rule.CONNECTION, Rule.OBJECTIVE, Rule.REWRITTEN}
    assert set(Rule) == set(CHECKS) == tested
    # What breaks the last one is no solution: tests/verify/test_rewriting.py.
    assert set(Rule) == set(FORCED) | set(FAULTS) | {Rule.REWRITTEN}
    assert len({rule.code for rule in Rule}) == len(Rule)


@pytest.mark.parametrize(
    "fault",
    [
        lambda s: replace(s, routes=()),
        lambda s: replace(s, routes=(replace(s.routes[0], feature_shift=1),)),
        lambda s: replace(s, routes=(replace(s.routes[0], target=5),)),
        lambda s: replace(s, routes=(*s.routes, replace(s.routes[0], slot=1))),
        lambda s: replace(s, host_entries=()),
        lambda s: replace(s, host_entries=s.host_entries * 2),
        lambda s: replace(s, host_entries=(replace(s.host_entries[0], core=s.placements[1].core),)),
        lambda s: replace(s, routes=(*s.routes, Route("dvs", 0, s.placements[0].core))),
    ],
)
def test_every_wrong_wire_is_a_violation(fault: Break) -> None:
    result = solved(PLAIN, (), SolveOptions())
    found = {v.rule for v in verify(result.networks, result.chip, result.options, fault(result.require()))}
    assert Rule.CONNECTION in found


@pytest.mark.parametrize(
    "fault",
    [
        lambda s: replace(s, dvs_stage=None),
        lambda s: replace(s, dvs_stage=replace(s.dvs_stage, pooling=(2, 2))),
        lambda s: replace(s, dvs_stage=replace(s.dvs_stage, pooling=(3, 1))),
        lambda s: replace(s, dvs_stage=replace(s.dvs_stage, cut=(200, 31))),
        lambda s: replace(s, dvs_stage=replace(s.dvs_stage, cut=(31, 200))),
        lambda s: replace(s, dvs_stage=replace(s.dvs_stage, merge=True)),
        lambda s: replace(s, dvs_stage=replace(s.dvs_stage, swap=True)),
        lambda s: replace(s, dvs_stage=replace(s.dvs_stage, gates=(False, True))),
    ],
)
def test_every_wrong_sensor_setting_is_a_violation(fault: Break) -> None:
    result = solved(DVS, (), SolveOptions())
    found = {v.rule for v in verify(result.networks, result.chip, result.options, fault(result.require()))}
    assert Rule.DVS_STAGE in found


@pytest.mark.parametrize(
    "fault",
    [
        lambda s: replace(s, placements=(replace(s.placements[0], core=99),)),
        lambda s: replace(s, placements=(replace(s.placements[0], body=LayerPart(0, "nobody")),)),
        lambda s: routes_with(s, Route(77, 0, 0)),
        lambda s: routes_with(s, Route(0, 0, 77)),
        lambda s: replace(s, host_entries=(replace(s.host_entries[0], input="nowhere"),)),
    ],
)
def test_numbers_that_point_nowhere_are_violations(fault: Break) -> None:
    result = solved(PLAIN, (), SolveOptions())
    assert verify(result.networks, result.chip, result.options, fault(result.require()))


def test_a_monitor_nobody_asked_for_is_a_violation() -> None:
    result = solved(PLAIN, (), SolveOptions())
    solution = result.require()
    extra = Monitor(solution.placements[0].core, 0, "conv0", (0, 4))
    faulty = replace(solution, monitors=(*solution.monitors, extra))
    found = {v.rule for v in verify(result.networks, result.chip, result.options, faulty)}
    assert Rule.MONITOR in found


def test_a_pool_whose_stride_is_not_its_size_is_a_violation() -> None:
    result = solved(PLAIN, (), SolveOptions())
    overlapping = replace(PLAIN.edges[1], path=(Pool("sum", (2, 2), (2, 1)),))
    shape = PLAIN.layers[1].input_shape._replace(width=15)
    layers = (PLAIN.layers[0], replace(PLAIN.layers[1], input_shape=shape))
    network = PLAIN.replacing(edges=(PLAIN.edges[0], overlapping), layers=layers)
    found = {v.rule for v in verify((network,), result.chip, result.options, result.require())}
    assert Rule.POOLING in found
