"""A time limit on a whole sweep: what it cuts is no verdict, and what it leaves is what there would be anyway."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ortools.sat.python import cp_model

from mapper.cli.entry import run
from mapper.deadline import NEVER, Deadline
from mapper.errors import OptionsError, TimeLimitError
from mapper.explore import cell as cell_module
from mapper.explore import workers as workers_module
from mapper.explore.cell import CellOptions, decide
from mapper.explore.record import Cell, Settings, read_report
from mapper.explore.sweep import Place, sweep
from mapper.explore.workers import Task, on_cores
from mapper.options import SolveOptions
from mapper.report.formats import FORMATS
from mapper.solver import budget as budget_module
from mapper.solver.budget import INTERRUPTION, Budget
from tests.explore.reports import BARE, GESTURE, HERE, SMALL, TOO_LARGE, sides

CHIPS = ("speck2f", "speck2cmini")
LIMIT_S = 100.0


@dataclass
class Clock:
    """A clock that stands still but for jumps beyond every limit."""

    now: float = 0.0

    def jump_after(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def jumping(*arguments: Any, **words: Any) -> Any:
            made = function(*arguments, **words)
            self.now += 2 * LIMIT_S
            return made

        return jumping


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr("mapper.deadline.time", SimpleNamespace(perf_counter=lambda: made.now))
    return made


def test_a_limit_is_reached_where_a_solver_stops_early(clock: Clock) -> None:
    deadline = Deadline.after(LIMIT_S)
    assert (deadline.left_s, deadline.is_reached) == (LIMIT_S, False)
    clock.now = 0.97 * LIMIT_S
    deadline.check("nothing was done")
    clock.now = 0.99 * LIMIT_S
    assert deadline.is_reached
    with pytest.raises(TimeLimitError, match=r"limit of 100 s came first, while nothing was done\. Raise"):
        deadline.check("nothing was done")
    assert Deadline.after(None) is NEVER
    assert not NEVER.is_reached
    assert Deadline.after(5.0, -10.0).is_reached


@pytest.mark.parametrize("at", ["decide_question", "with_repairs"])
def test_a_cut_cell_is_no_verdict(
    at: str, clock: Clock, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    networks, variants = sides([TOO_LARGE], ["speck2f"])
    place = Place(workers=0, cache=tmp_path, time_limit_s=LIMIT_S)
    settings = Settings(options=SolveOptions(objective="headroom"))
    with monkeypatch.context() as patched:
        patched.setattr(cell_module, at, clock.jump_after(getattr(cell_module, at)))
        part = sweep(networks, variants, settings, place)
    assert (part.cells, part.complete) == ((), False)
    assert list(tmp_path.rglob("*.json")) == []
    whole = sweep(networks, variants, settings, place, resume=part)
    assert whole.model_dump_json() == sweep(networks, variants, settings, HERE).model_dump_json()
    assert whole.cells[0].verdict == "infeasible"


def test_cells_before_the_limit_are_kept_and_resumed(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    networks, variants = sides([SMALL, GESTURE, TOO_LARGE], CHIPS)
    calls: list[str] = []

    def third_is_late(network: Any, *rest: Any) -> Cell:
        made = decide(network, *rest)
        calls.append(network.name)
        if len(calls) == 3:
            clock.now += 2 * LIMIT_S
        return made

    whole = sweep(networks, variants, BARE, HERE)
    place = Place(workers=0, cache=tmp_path, time_limit_s=LIMIT_S)
    with monkeypatch.context() as patched:
        patched.setattr(workers_module, "decide", third_is_late)
        part = sweep(networks, variants, BARE, place)
    assert len(calls) == len(part.cells) == len(list(tmp_path.rglob("*.json"))) == 3
    assert not part.complete
    assert set(part.cells) < set(whole.cells)
    assert sweep(networks, variants, BARE, place, resume=part).model_dump_json() == whole.model_dump_json()


@pytest.mark.parametrize("workers", [0, 2])
def test_a_limit_that_is_never_reached_changes_nothing(workers: int) -> None:
    networks, variants = sides([SMALL, TOO_LARGE], CHIPS)
    settings = Settings(options=SolveOptions(objective="headroom"))
    limited = sweep(networks, variants, settings, Place(workers=workers, time_limit_s=1e6))
    assert limited.complete
    assert limited.model_dump_json() == sweep(networks, variants, settings, HERE).model_dump_json()


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_a_limit_shorter_than_the_start(workers: int) -> None:
    networks, variants = sides([SMALL, GESTURE], CHIPS)
    part = sweep(networks, variants, BARE, Place(workers=workers, time_limit_s=1e-9))
    assert (part.cells, part.complete) == ((), False)
    again = sweep(networks, variants, BARE, HERE, resume=part)
    assert again == sweep(networks, variants, BARE, HERE)


@dataclass(frozen=True)
class Endless(CellOptions):
    """What holds whoever reads its options for an hour."""

    def __getattribute__(self, name: str) -> Any:
        if name == "solve":
            time.sleep(3600)
        return super().__getattribute__(name)


def test_busy_workers_are_ended() -> None:
    networks, variants = sides([SMALL], ["speck2f"])
    network = networks[0].network
    assert network is not None
    task = Task(0, network, (0,), (variants[0].chip,), Endless(SolveOptions()))
    start_s = time.perf_counter()
    with pytest.raises(TimeLimitError, match="while workers decided cells"):
        list(on_cores([task] * 3, 2, Deadline.after(1.0)))
    assert time.perf_counter() - start_s < 600


@pytest.mark.parametrize("limit", [0, -1, float("nan")])
def test_wrong_limits(limit: float) -> None:
    with pytest.raises(OptionsError, match="time_limit_s: a limit must be a positive number"):
        sweep(*sides([SMALL], ["speck2f"]), BARE, Place(workers=0, time_limit_s=limit))


@dataclass
class Stopped:
    """A solver that stops without an answer."""

    work: float
    was_interrupted: bool = False
    parameters: Any = field(default_factory=lambda: cp_model.CpSolver().parameters)

    @property
    def response_proto(self) -> Any:
        return SimpleNamespace(deterministic_time=self.work)

    def solve(self, _: cp_model.CpModel) -> Any:
        return cp_model.UNKNOWN


@pytest.mark.parametrize(
    ("work", "deadline", "stopped_by", "whole"),
    [
        (1.0, NEVER, "the work of a side question", None),
        (0.5, NEVER, INTERRUPTION, INTERRUPTION),
        (0.5, Deadline(7.0, 0.0), "the time limit of 7 s", None),
    ],
)
def test_what_stopped_a_side_question(
    work: float, deadline: Deadline, stopped_by: str, whole: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        budget_module, "InterruptibleSolver", lambda: Stopped(work, stopped_by == INTERRUPTION)
    )
    budget = Budget(SolveOptions(), deadline=deadline)
    aside = budget.aside()
    aside.run(cp_model.CpModel())
    assert (aside.stopped_by, budget.stopped_by) == (stopped_by, whole)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole, part, again = (tmp_path / name for name in ("whole", "part", "again"))
    asked = [str(SMALL), str(GESTURE), "--chip", "speck2f", "--repairs-for", "none", "--workers", "1"]
    assert run(["report", *asked, "--out", str(whole)]) == 0
    capsys.readouterr()
    assert run(["report", *asked, "--out", str(part), "--time-limit", "1e-9"]) == 3
    told = capsys.readouterr()
    assert "Partial: 0 of 2 cells" in told.out
    sentence = "The time limit of 1e-09 s came first: 0 of 2 cells decided. To go on: "
    assert f"{sentence}mapper report --resume {part / 'report.json'} --time-limit 2e-09\n" in told.err
    assert {path.name for path in part.iterdir()} == FORMATS.keys()
    assert not read_report(part / "report.json").complete
    resumed = ["--resume", str(part / "report.json"), "--repairs-for", "none", "--workers", "1"]
    assert run(["report", *resumed, "--out", str(again), "--time-limit", "1e6"]) == 0
    for name in FORMATS:
        assert (again / name).read_bytes() == (whole / name).read_bytes()
