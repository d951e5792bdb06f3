"""What a limit leaves open is said: of several settings of the sensor stage one that is proven is not enough."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import count
from typing import Any

import pytest

from mapper.network import DvsSettings, Edge, Input, Output
from mapper.normal_form import NormalLayer, NormalNetwork
from mapper.operations import Convolution, Shape
from mapper.options import SolveOptions
from mapper.question import Question, decide, fits
from mapper.reasons import Status
from mapper.result import Result
from mapper.solver.budget import Budget
from mapper.solver.divided import model
from tests.builders import chain, conv, pool, tiny_chip
from tests.property.question_instances import random_question_instance

UPWARDS = ("headroom", "layers_on_own_core", "layers_kept", "spikes_on_parallel_cores")
PARTS = (0.05, 0.15, 0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 0.99)


def two_settings() -> Question:
    """The setting of the stage that is tried first is the worse one, by capacity and by load."""
    shape = Shape(1, 16, 16)
    sensing = NormalNetwork(
        "n0",
        (Input("input", shape, DvsSettings()),),
        (NormalLayer("l0", Shape(1, 4, 4), Convolution(6, (2, 1))),),
        (Edge("input", "l0", pool(4)),),
        (Output("l0", "l0"),),
    )
    cores = [(256, 768, 1), (256, 1536, 1), (512, 768, 1), (512, 768, 1), (512, 768, 1)]
    traffic: Any = (("n0:input", 19_000), ("n1:input", 3_000))
    other = chain([conv(12, 1)], (3, 8, 8), name="n1")
    return Question((sensing, other), tiny_chip(*cores), SolveOptions(traffic=traffic))


def questions() -> Iterator[Question]:
    yield two_settings()
    for seed in range(60_000, 60_400):
        networks, chip, options = random_question_instance(seed)
        question = Question(networks, chip, replace(options, repairs=0))
        if len(question.problems) > 1:
            yield question


def assert_honest(cut: Result, full: Result) -> None:
    """Optimal is what nothing exceeds, and a bound holds as far as the stages before it have their values."""
    assert cut.status is not Status.INFEASIBLE or full.solution is None
    if cut.solution is None:
        return
    assert full.solution is not None
    best = {stage.name: stage for stage in full.solution.objectives}
    for stage in cut.solution.objectives:
        if stage.value == "unknown":
            break
        truth, sign = best[stage.name], -1 if stage.name in UPWARDS else 1
        assert sign * Fraction(stage.bound) <= sign * Fraction(truth.value)
        if stage.value != truth.value:
            assert cut.status is not Status.OPTIMAL
            break


@pytest.mark.no_cover
@pytest.mark.parametrize("objective", ["capacity", "headroom", "balance", "index"])
def test_an_optimum_of_one_setting_is_none_of_the_question(objective: Any) -> None:
    seen: Counter[Status] = Counter()
    for question in questions():
        options = replace(question.options, objective=objective)
        full = decide(replace(question, options=options), "reasons")
        work = full.statistics.deterministic_time
        for part in PARTS if full.solution else ():
            limited = replace(question, options=replace(options, work_limit=part * work))
            cut = decide(limited, "reasons")
            assert_honest(cut, full)
            seen[cut.status] += 1
    assert seen[Status.FEASIBLE] > 20


class Clock:
    """A second passes whenever somebody looks."""

    def __init__(self) -> None:
        self.now = 0

    def __call__(self) -> float:
        self.now += 1
        return float(self.now)


def cut_and_relayed() -> Question:
    """A layer in pieces, whose pool takes a relay."""
    network = chain([conv(12), conv(2, 9)], (2, 32, 32), (8,))
    cores = [(4096, 8192, 16), (4096, 6144, 16), *[(4096, 4096, 16)] * 3]
    return Question((network,), tiny_chip(*cores), SolveOptions(objective="headroom"))


@pytest.mark.parametrize("build", [two_settings, cut_and_relayed])
def test_a_time_limit_ends_whatever_is_under_way(build: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    question = build()
    full = decide(question, "reasons")
    seen: Counter[Status] = Counter()
    looks = count(1)
    clock, limit, add = Clock(), 0, model._add_layer

    def add_layer(*arguments: Any) -> bool:
        assert clock.now <= limit + 2
        return add(*arguments)

    monkeypatch.setattr(model, "_add_layer", add_layer)
    while seen[Status.OPTIMAL] < 3:
        clock, limit = Clock(), 3 * next(looks)
        monkeypatch.setattr("time.perf_counter", clock)
        limited = replace(question, options=replace(question.options, time_limit_s=limit))
        cut = decide(limited, "reasons", Budget(limited.resolved, clock()))
        assert_honest(cut, full)
        seen[cut.status] += 1
    assert full.status is Status.OPTIMAL
    assert min(seen[Status.UNDECIDED], seen[Status.FEASIBLE]) > 0


def test_no_more_networks_are_prepared_than_time_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    networks = tuple(chain([conv(2)], name=f"n{n}") for n in range(50))
    question = Question(networks, tiny_chip(*[(4096, 4096, 16)] * 9), SolveOptions(time_limit_s=20))
    monkeypatch.setattr("time.perf_counter", clock := Clock())
    result = decide(question, budget=Budget(question.resolved, clock()))
    assert result.status is Status.UNDECIDED
    assert result.report is not None
    assert result.report.limit == "the time limit of 20 s"
    assert clock.now < 35
    assert "problems" not in vars(question)
    assert fits(question, Budget(question.resolved, clock() - 20)) is None
