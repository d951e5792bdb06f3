"""Cells that fail, workers that die, a cache that fills up: tried twice, then named, and nothing else is lost."""

from __future__ import annotations

import os
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from mapper.cli.entry import run
from mapper.errors import Finding, OptionsError
from mapper.explore import workers as workers_module
from mapper.explore.cache import CellCache
from mapper.explore.cell import CellOptions
from mapper.explore.record import Cell, read_report
from mapper.explore.sweep import Place, sweep
from mapper.explore.workers import Task, in_this_process, on_cores
from mapper.options import SolveOptions
from mapper.question import decide as decide_question
from mapper.report.formats import FORMATS
from tests.explore.reports import BARE, HERE, SMALL, TOO_LARGE, sides


def test_faults_are_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place, (networks, variants) = Place(workers=0, cache=tmp_path), sides([SMALL], ["speck2f"])
    with monkeypatch.context() as patched:
        patched.setattr(workers_module, "decide", lambda *_: Cell(network=0, variant=0, verdict="error"))
        broken = sweep(networks, variants, BARE, place)
    assert broken.cells[0].verdict == "error"
    assert sweep(networks, variants, BARE, place).cells[0].verdict == "plain"
    assert sweep(networks, variants, BARE, HERE, resume=broken).cells[0].verdict == "plain"


@dataclass(frozen=True)
class Deadly(CellOptions):
    """What ends every process but one as soon as its options are read, without a word."""

    survivor: int = 0

    def __getattribute__(self, name: str) -> Any:
        value = super().__getattribute__(name)
        if name == "solve" and os.getpid() != super().__getattribute__("survivor"):
            os._exit(1)
        return value


@pytest.mark.filterwarnings("ignore:A worker stopped")
def test_a_worker_that_dies_takes_only_its_cell() -> None:
    networks, variants = sides([SMALL], ["speck2f", "speck2cmini", "dynapcnn", "speck2b"])
    network = networks[0].network
    assert network is not None
    kinds = [CellOptions(SolveOptions())] * 4
    kinds[1] = Deadly(SolveOptions(), survivor=os.getpid())
    tasks = [
        Task(0, network, (n,), (entry.chip,), asked)
        for n, (entry, asked) in enumerate(zip(variants, kinds, strict=True))
    ]
    outcomes = {outcome.task.variant_indexes[0]: outcome.cells[0] for outcome in on_cores(tasks, 2)}
    assert sorted(outcomes) == [0, 1, 2, 3]
    assert [outcomes[n].verdict for n in range(4)] == ["plain", "error", "plain", "plain"]
    assert "died, twice" in str(outcomes[1].sentence)


@dataclass(frozen=True)
class Unsendable(CellOptions):
    """What no worker can read."""

    def __reduce__(self) -> Any:
        return _unreadable, ()


def _unreadable() -> None:
    raise MemoryError


def test_what_a_worker_cannot_take_is_named() -> None:
    networks, variants = sides([SMALL], ["speck2f", "speck2cmini"])
    network = networks[0].network
    assert network is not None
    kinds = CellOptions(SolveOptions()), Unsendable(SolveOptions())
    tasks = [
        Task(0, network, (n,), (entry.chip,), asked)
        for n, (entry, asked) in enumerate(zip(variants, kinds, strict=True))
    ]
    outcomes = {outcome.task.variant_indexes[0]: outcome.cells[0] for outcome in on_cores(tasks, 1)}
    assert [outcomes[n].verdict for n in range(2)] == ["plain", "error"]
    assert "twice" in str(outcomes[1].sentence)


def test_a_cell_that_fails_once_is_decided(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, right = sides([SMALL], ["speck2f", "speck2cmini"]), decide_question
    calls = count()

    def short_of_memory(*words: Any) -> Any:
        if next(calls) == 0:
            raise MemoryError
        return right(*words)

    monkeypatch.setattr("mapper.explore.cell.decide_question", short_of_memory)
    record = sweep(*asked, BARE, HERE)
    assert next(calls) == 3
    assert record == sweep(*asked, BARE, HERE)


def test_a_report_with_failed_cells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [
        "report",
        str(SMALL),
        str(TOO_LARGE),
        "--chip",
        "speck2f",
        "--chip",
        "speck2cmini",
        "--workers",
        "1",
    ]
    words += ["--repairs-for", "none", "--out", str(tmp_path / "out")]
    right, path = decide_question, str(tmp_path / "out" / "report.json")

    def breaks(question: Any, *rest: Any) -> Any:
        if question.chip.name == "speck2cmini":
            raise MemoryError
        return right(question, *rest)

    monkeypatch.setattr(
        "mapper.explore.sweep.on_cores", lambda tasks, _, deadline: in_this_process(tasks, deadline)
    )
    with monkeypatch.context() as patched:
        patched.setattr("mapper.explore.cell.decide_question", breaks)
        assert run(words) == 4
    told = capsys.readouterr()
    assert "Partial: 2 of 4 cells; --resume goes on." in told.out
    assert list(filter(None, told.err.splitlines())) == [
        "Error: 2 cells failed, twice:",
        "- gesture_small on speck2cmini, sinabs_too_large on speck2cmini: "
        "MemoryError: there was not enough memory",
        f"To decide these again: mapper report --resume {path} (with --workers 1 where memory was short).",
        "More of one cell says: mapper check NETWORK --chip CHIP",
    ]
    assert not read_report(Path(path)).complete
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "2 cells are not decided, 2 of them since this program or a machine failed" in page
    assert run([*words, "--resume", path]) == 0
    told = capsys.readouterr()
    assert (
        f"taken from {path}: 2 cells; placements were checked, optima and other verdicts not proven here\n"
        in told.out
    )
    resumed = {name: (tmp_path / "out" / name).read_bytes() for name in FORMATS}
    assert run(words) == 0
    assert resumed == {name: (tmp_path / "out" / name).read_bytes() for name in FORMATS}


def test_a_cache_that_fills_up_loses_no_cell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, place = sides([SMALL], ["speck2f", "speck2cmini", "dynapcnn"]), Place(workers=0, cache=tmp_path)
    right, calls = CellCache.write, count()

    def fills_up(cache: CellCache, *cell: Any) -> None:
        if next(calls):
            raise OptionsError(Finding("cells", "cannot be written: No space left on device"))
        right(cache, *cell)

    monkeypatch.setattr(CellCache, "write", fills_up)
    record = sweep(*asked, BARE, place)
    assert record.cells == sweep(*asked, BARE, HERE).cells
    assert record.complete
    assert next(calls) == 2
    told = "the cache keeps nothing from here on: cells: cannot be written: No space left on device"
    assert record.notes == (told,)
    assert len(list(tmp_path.rglob("*.json"))) == 1
