"""CP-SAT against enumeration: same verdict, same optimum, on random small instances."""

from __future__ import annotations

import itertools
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from hwspec.catalog import load
from hwspec.schema import ChipSpec
from mapper.normal_form import NormalNetwork
from mapper.options import SolveOptions, resolve
from mapper.question import Question, decide, fits
from mapper.reasons import Status
from mapper.result import Result
from mapper.solution import LayerPart, Objective, Placement, Solution
from mapper.solver.budget import Budget
from mapper.verify import verify
from tests.builders import UNDIVIDED, chain, conv, tiny_chip
from tests.property.divided_oracle import best_division
from tests.property.question_instances import random_question_instance

INSTANCES = int(os.environ.get("MAPPER_INSTANCES", "150"))


@dataclass(frozen=True)
class Best:
    """Optimum by enumeration, None if nothing fits."""

    capacity_bits: int | None
    headroom: Fraction | None
    on_own_core: int | None


def random_instance(seed: int) -> tuple[NormalNetwork, ChipSpec, SolveOptions]:
    generator = np.random.default_rng(seed)
    cores = [
        tuple(int(2 ** generator.integers(low, high)) for low, high in ((5, 11), (6, 13), (2, 5)))
        for _ in range(int(generator.integers(2, 6)))
    ]
    cores[-1] = cores[0]
    layers = [
        conv(
            int(generator.integers(1, 12)),
            int(generator.choice([1, 3, 5])),
            has_bias=bool(generator.integers(0, 2)),
            stride=(int(generator.choice([1, 2])),) * 2,
        )
        for _ in range(int(generator.integers(1, 6)))
    ]
    network = chain(layers, (2, 16, 16))
    chip = tiny_chip(*cores)  # type: ignore[arg-type]  # triples by construction
    pins = ((f"conv{generator.integers(len(layers))}", int(generator.integers(len(cores)))),)
    forbidden = (int(generator.integers(len(cores))),)
    choice = int(generator.integers(0, 5))
    options = SolveOptions(
        pins=pins if choice == 1 else (),
        forbidden_cores=forbidden if choice == 2 else (),
        objective="headroom" if choice == 3 else "index" if choice == 4 else "capacity",
    )
    return network, chip, options


def enumerate_best(network: NormalNetwork, chip: ChipSpec, options: SolveOptions) -> Best:
    """Every injective placement, judged by memory words from the raw formulas."""

    def power(n: int) -> int:
        return 1 << (n - 1).bit_length()

    needs = []
    for layer in network.layers:
        f, height, width = layer.output_shape
        c, k = layer.input_shape.features, layer.operation.kernel
        bias = f if layer.operation.has_bias else 0
        needs.append((c * power(k[0] * k[1]) * power(f), f * power(height) * power(width), bias))
    have = [(core.kernel_words, core.neuron_words, core.bias_words) for core in chip.cores]
    pins = dict(options.pins)
    free = [n for n in range(len(have)) if n not in options.forbidden_cores]
    costs, shares, own = [], [], []
    for cores in itertools.permutations(free, len(needs)):
        if any(pins.get(layer.name, core) != core for layer, core in zip(network.layers, cores, strict=True)):
            continue
        pairs = [
            (n, h)
            for need, core in zip(needs, cores, strict=True)
            for n, h in zip(need, have[core], strict=True)
        ]
        if all(n <= h for n, h in pairs):
            costs.append(sum(8 * have[c][0] + 16 * have[c][1] + 16 * have[c][2] for c in cores))
            shares.append(min(Fraction(h - n, h) for n, h in pairs if h))
            # Fewer than ten layers: their natural order is that of their names.
            own.append(sum(layer.name == f"conv{c}" for layer, c in zip(network.layers, cores, strict=True)))
    if not costs:
        return Best(None, None, None)
    aims: Sequence[int | Fraction] = [0] * len(costs)
    if options.objective != "capacity":
        aims = shares if options.objective == "headroom" else own
    kept = [cost for cost, aim in zip(costs, aims, strict=True) if aim == max(aims)]
    return Best(min(kept), max(shares), max(own))


def run(network: NormalNetwork, chip: ChipSpec, options: SolveOptions) -> Result:
    """Whole layers alone, which is what is enumerated here."""
    options = replace(options, **UNDIVIDED)
    return decide(Question((network,), chip, options))


@pytest.mark.no_cover
@pytest.mark.parametrize("block", range(10))
def test_same_verdict_and_optimum(block: int) -> None:
    for seed in range(block * INSTANCES // 10, (block + 1) * INSTANCES // 10):
        network, chip, options = random_instance(seed)
        expected = enumerate_best(network, chip, options)
        result = run(network, chip, options)
        if expected.capacity_bits is None:
            assert result.status is Status.INFEASIBLE, seed
            assert result.report is not None
            assert result.report.sentences(), seed
            continue
        assert result.status is Status.OPTIMAL, seed
        assert result.solution is not None
        values = {stage.name: stage.value for stage in result.solution.objectives}
        assert values["capacity_bits"] == expected.capacity_bits, seed
        if options.objective == "headroom":
            assert values["headroom"] == str(expected.headroom), seed
        if options.objective == "index":
            assert values["layers_on_own_core"] == expected.on_own_core, seed
        assert verify(result.networks, chip, result.options, result.solution) == (), seed


def test_the_oracle_can_fail() -> None:
    network = chain([conv(4), conv(4)])
    small, large = tiny_chip((64, 64, 4), (64, 64, 4)), tiny_chip((1024, 4096, 4), (1024, 4096, 4))
    assert enumerate_best(network, small, SolveOptions()).capacity_bits is None
    assert enumerate_best(network, large, SolveOptions()).capacity_bits == 2 * (8 * 1024 + 16 * 4096 + 16 * 4)


def cores_of(result: Result) -> dict[str, int]:
    placements: tuple[Placement, ...] = result.require().placements
    return {p.body.layer: p.core for p in placements if isinstance(p.body, LayerPart)}


@pytest.mark.parametrize("workers", [1, 2, 8])
@pytest.mark.parametrize("seed", [0, 5])
def test_workers_and_seed_do_not_change_the_placement(workers: int, seed: int) -> None:
    network = chain([conv(4)] * 7, (2, 32, 32))
    chip = load("speck2f")
    expected = cores_of(run(network, chip, SolveOptions()))
    assert cores_of(run(network, chip, SolveOptions(workers=workers, seed=seed))) == expected


def test_the_order_of_layers_and_edges_does_not_change_the_placement() -> None:
    network = chain([conv(4), conv(16), conv(32), conv(8)], (2, 32, 32))
    turned = network.replacing(layers=tuple(reversed(network.layers)), edges=tuple(reversed(network.edges)))
    chip = load("speck2f")
    left, right = (run(n, chip, SolveOptions()).require() for n in (network, turned))
    assert left == right


@pytest.mark.no_cover
@pytest.mark.parametrize(
    "limit",
    [{"work_limit": 1e-9}, {"work_limit": 1e-4}, {"time_limit_s": 1e-9}, {"time_limit_s": 2e-3}],
    ids=lambda limit: "-".join(f"{name}-{value:g}" for name, value in limit.items()),
)
def test_a_limit_never_turns_a_verdict_around(limit: dict[str, float]) -> None:
    """Whatever stops the solver: what fits is never INFEASIBLE, and what does not fit has no placement."""
    verdicts: Counter[tuple[bool, Status]] = Counter()
    for seed in range(90):
        networks, chip, options = random_question_instance(seed)
        is_feasible = best_division(networks, chip, resolve(options, networks, chip)) is not None
        question = Question(networks, chip, replace(options, **limit))  # type: ignore[arg-type]  # a limit
        result = decide(question, "reasons")
        verdicts[is_feasible, result.status] += 1
        assert fits(question) in (is_feasible, None), seed
        if result.solution is not None:
            assert verify(result.networks, chip, result.options, result.solution) == (), seed
        if result.status is Status.UNDECIDED:
            assert result.report is not None, seed
            assert "limit" in result.report.sentence(), seed
    assert verdicts[True, Status.INFEASIBLE] == 0
    assert verdicts[False, Status.OPTIMAL] == verdicts[False, Status.FEASIBLE] == 0
    assert min(sum(n for (fit, _), n in verdicts.items() if fit is truth) for truth in (True, False)) > 20
    if min(limit.values()) < 1e-6:
        assert verdicts[True, Status.UNDECIDED]
        assert verdicts[False, Status.UNDECIDED]


def test_an_interruption_keeps_what_was_found(monkeypatch: pytest.MonkeyPatch) -> None:
    network, chip = chain([conv(4)] * 7, (2, 32, 32)), load("speck2f")
    original, calls = Budget.run, []

    def interrupted(budget: Any, model: Any, **keywords: Any) -> Any:
        calls.append(model)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return original(budget, model, **keywords)

    monkeypatch.setattr(Budget, "run", interrupted)
    result = run(network, chip, SolveOptions())
    assert len(calls) == 2
    assert result.status is Status.FEASIBLE
    assert result.statistics.interrupted
    assert verify(result.networks, chip, result.options, result.require()) == ()


def test_a_limit_in_the_search_for_headroom_is_undecided() -> None:
    network, chip = chain([conv(4)] * 7, (2, 32, 32)), load("speck2f")
    result = run(network, chip, SolveOptions(objective="headroom", time_limit_s=1e-9))
    assert result.status in (Status.UNDECIDED, Status.FEASIBLE)


def test_hall_set_in_a_sentence() -> None:
    network = chain([conv(16)] * 4, (2, 64, 64))
    report = run(network, load("speck2f"), SolveOptions()).report
    assert report is not None
    told = (
        "conv0, conv1, conv2 and conv3 each need more than 32768 neuron words; only cores 0, 1, 2 of speck2f"
    )
    assert told in report.sentence()
    assert report.certificate[0].cores == (0, 1, 2)


def test_objective_stage_knows_when_it_is_proven() -> None:
    assert Objective("cores", 3, 3).proven
    assert not Objective("cores", 3, 2).proven
    assert Solution((), (), (), ()).objectives == ()
