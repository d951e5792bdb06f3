"""Ctrl-C at any moment: what is proven until then comes out, and everything ends."""

from __future__ import annotations

import re
import signal
import sys
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from ortools.sat.python import cp_model

import mapper
from mapper.options import SolveOptions
from mapper.reasons import FeasibilityReport, Status
from mapper.result import Result
from mapper.solver.budget import INTERRUPTION, Budget
from tests.cli.moments import SAID, ended_at

ZOO = Path(__file__).resolve().parent.parent / "data" / "zoo"
MISFIT = ZOO / "silicon_ceiling_9bn.yaml"
# As many different cores as make the search for repairs take minutes.
CHANGES = [f"core[{n}].neuron_words={40000 + 300 * n}" for n in range(64)]


def interrupted_at(monkeypatch: pytest.MonkeyPatch, call: int, *, inside: bool) -> Result:
    """The result where Ctrl-C comes at one of the solver's calls, before it or inside."""
    original, calls = Budget.run, count(1)

    def run(budget: Budget, model: Any, **words: bool) -> Any:
        here = next(calls) == call
        if here and not inside:
            raise KeyboardInterrupt
        outcome = original(budget, model, **words)
        if here:
            budget.interrupt()
        return outcome

    with monkeypatch.context() as patch:
        patch.setattr(Budget, "run", run)
        return mapper.check(MISFIT)


def report_of(result: Result) -> FeasibilityReport:
    assert result.report is not None
    return result.report


@pytest.mark.parametrize("inside", [False, True])
def test_the_verdict_and_its_reasons_survive(inside: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = mapper.check(MISFIT)
    seen = set()
    solves = whole.statistics.solves
    for call in sorted({*range(1, solves + 1, 3), solves - 1, solves}):
        result = interrupted_at(monkeypatch, call, inside=inside)
        seen.add(result.status)
        assert result.statistics.interrupted
        if result.status is Status.INFEASIBLE:
            assert report_of(result).unmet == report_of(whole).unmet
            assert report_of(result).cut_short
            assert all(said.endswith(f"{INTERRUPTION} came first") for said in report_of(result).cut_short)
            assert set(report_of(result).repairs) <= set(report_of(whole).repairs)
    assert seen <= {Status.INFEASIBLE, Status.UNDECIDED}
    assert Status.INFEASIBLE in seen


def test_a_side_question_that_is_interrupted_ends_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    model = cp_model.CpModel()
    # Pigeons and holes, which the solver proves by itself in no time that a test waits for.
    cells = [[model.new_bool_var("") for _ in range(60)] for _ in range(61)]
    for row in cells:
        model.add_bool_or(row)
    for column in zip(*cells, strict=True):
        for n, one in enumerate(column):
            for two in column[:n]:
                model.add_bool_or([one.negated(), two.negated()])
    whole = Budget(SolveOptions())
    begun = cp_model.CpSolver.solve

    def once_begun(solver: Any, *arguments: Any) -> Any:
        # The search says itself that it is under way.
        solver.parameters.log_search_progress, solver.parameters.log_to_stdout = True, False
        pressed = iter([partial(signal.raise_signal, signal.SIGINT)])
        solver.log_callback = lambda _: next(pressed, str)()
        return begun(solver, *arguments)

    monkeypatch.setattr(cp_model.CpSolver, "solve", once_begun)
    _, status = whole.share(1).run(model)
    assert status == cp_model.UNKNOWN
    assert whole.is_interrupted
    assert whole.aside().is_spent


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT for one process alone")
@pytest.mark.parametrize(
    ("moment", "status"),
    [
        ("import numpy", 3),
        ("call mapper.solver.budget:Budget.run", 3),
        ("search 0", 3),
        ("search 3", 1),
        ("call mapper.solver.budget:Budget.run 6", 1),
        ("search 40", 1),
    ],
)
def test_a_real_process(moment: str, status: int) -> None:
    words = ["check", str(MISFIT), "--no-rewrites", "--time-limit", "600", "--set", "+core[9..63]=core[7]"]
    words += [word for change in CHANGES for word in ("--set", change)]
    # Without an end at Ctrl-C it would be minutes.
    ended, out, errors = ended_at(moment, signal.SIGINT, *words)
    assert SAID in errors
    assert ended == status, errors
    assert "Traceback" not in errors
    if status == 1:
        assert "does not fit, proven" in out
        assert "layer0 needs 131072 neuron words" in out
        assert re.search(rf"not done: repairs.*: {re.escape(INTERRUPTION)} came first", out)
    else:
        assert INTERRUPTION in out or "Interrupted" in errors
