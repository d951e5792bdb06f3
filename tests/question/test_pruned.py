"""No form, and no setting of the sensor stage, is left out that a better placement could use."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from hwspec.catalog import load
from hwspec.schema import ChipSpec
from mapper import question as asked
from mapper.network import DvsSettings, Edge, Input, Output
from mapper.normal_form import NormalLayer, NormalNetwork
from mapper.operations import Convolution, Shape
from mapper.options import SolveOptions
from mapper.passes.legalize import Extended, form_like, legal_forms
from mapper.passes.legalize.layer_form import Candidate
from mapper.problem import Problem
from mapper.question import Question, decide
from mapper.reasons import Status
from tests.builders import chain, conv, pool
from tests.property import question_instances

CHIP = load("speck2f")


def kernel_of_two_shapes() -> NormalNetwork:
    """The pool can go into the kernel by rows, by columns, or both: of different taps an event."""
    kernel = Convolution(2, (3, 2), stride=(2, 2))
    entry = Input("input", Shape(1, 16, 16), DvsSettings())
    layer = NormalLayer("l0", Shape(1, 8, 8), kernel)
    return NormalNetwork("b", (entry,), (layer,), (Edge("input", "l0", pool(2)),), (Output("l0", "l0"),))


def test_load_is_the_objective_of_a_chip_that_states_no_bandwidth_too() -> None:
    traffic: Any = (("input", 9_000),)
    options = SolveOptions(objective="balance", traffic=traffic)
    result = decide(Question((kernel_of_two_shapes(),), CHIP, options))
    assert result.status is Status.OPTIMAL
    assert result.solution is not None
    # 9000 spikes x 2 features x 4x4 taps / (2x4), where 3x3 / (2x2) taps are the first form.
    assert result.solution.objectives[1].value == "36000"
    assert result.networks[0].by_name["l0"].operation.kernel == (4, 4)
    # Whoever compares with float weights finds the form again.
    floating = form_like(kernel_of_two_shapes(), result.networks[0], CHIP)
    assert floating.by_name["l0"].operation.kernel == (4, 4)


@pytest.mark.parametrize(("objective", "kernel"), [("capacity", 6), ("headroom", 6), ("balance", 10)])
def test_whole_layers_take_the_form_that_suits_the_objective(objective: Any, kernel: int) -> None:
    """Alone the kernel fills up to 6x6, with the pool to 10x10, which is fewer taps an event."""
    network = chain([conv(2, 1), Convolution(2, (2, 5), stride=(1, 2))], (2, 32, 32), (2,))
    traffic: Any = (("input", 10), ("conv0", 9_000))
    result = decide(Question((network,), CHIP, SolveOptions(objective=objective, traffic=traffic)))
    assert result.status is Status.OPTIMAL
    assert result.networks[0].by_name["conv1"].operation.kernel == (kernel, kernel)


def instances(count: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[question_instances.Instance]:
    """Random questions with many kernels that are not square."""
    chance = question_instances._chance
    monkeypatch.setattr(
        question_instances, "_chance", lambda draw, share: chance(draw, 0.6 if share == 0.08 else share)
    )
    return map(question_instances.random_question_instance, range(70_000, 70_000 + count))


def objective_values(question: Question) -> object:
    solution = decide(question, "reasons").solution
    return solution and [(stage.name, stage.value) for stage in solution.objectives]


def every_form(
    network: NormalNetwork, chip: ChipSpec, *, by_load: bool, extended: Extended | None, **more: bool
) -> object:
    everything = {**more, "by_load": True}
    return legal_forms(network, chip, extended=extended, **everything)


@pytest.mark.no_cover
@pytest.mark.parametrize("objective", ["capacity", "headroom", "balance", "index"])
def test_no_form_that_is_left_out_is_better(objective: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    fewer = 0
    for networks, chip, drawn in instances(60, monkeypatch):
        options = replace(drawn, objective=objective, repairs=0)
        question = Question(networks, chip, options)
        values = objective_values(question)
        with monkeypatch.context() as patch:
            patch.setattr(Candidate, "dominates", lambda *_: False)
            patch.setattr(Problem, "forms_compete", property(lambda problem: bool(problem.forms)))
            patch.setattr(asked, "legal_forms", every_form)
            whole = Question(networks, chip, options)
            assert values == objective_values(whole), (networks, chip)
        fewer += [problem.works for problem in question.problems] != [p.works for p in whole.problems]
    assert fewer > 15


def test_relays_alone_leave_the_fast_path() -> None:
    """A layer whose other forms all need a relay: where it fits as it is, nothing takes fewer cores."""
    network = chain([conv(2, 1), conv(2, 1)], (2, 32, 32), (8,))
    (problem,) = Question((network,), CHIP, SolveOptions()).problems
    assert len(problem.works[1]) > 1
    assert not problem.forms_compete
