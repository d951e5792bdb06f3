"""What was decided stays decided: cache, interruption, resumption, workers that die."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mapper
from hwspec.variant import apply_overrides
from mapper.cli.entry import run
from mapper.errors import Finding, OptionsError
from mapper.explore import sweep as sweep_module
from mapper.explore import workers as workers_module
from mapper.explore.cache import CellCache, is_sealed, sealed
from mapper.explore.cell import CellOptions, decide
from mapper.explore.plan import PlannedNetwork, PlannedVariant, plan_networks, plan_variants
from mapper.explore.record import Cell, ReportRecord, Settings, read_report
from mapper.explore.sweep import Place, sweep
from mapper.explore.workers import Task, in_this_process, on_cores
from mapper.options import SolveOptions
from mapper.question import decide as decide_question
from mapper.report.formats import FORMATS
from tests.builders import chain, conv, tiny_chip, weighted
from tests.explore.reports import BARE, GESTURE, HERE, SMALL, TOO_LARGE, ZOO, bare, sides

WHOLE = bare(max_pieces=1)


@pytest.fixture
def decided(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """(network, chip) of every cell that is decided anew."""
    calls: list[tuple[str, str]] = []

    def counted(network: Any, chip: Any, *rest: Any) -> Cell:
        calls.append((network.name, chip.name))
        return decide(network, chip, *rest)

    monkeypatch.setattr(workers_module, "decide", counted)
    return calls


def test_a_second_run_does_only_what_changed(tmp_path: Path, decided: list[tuple[str, str]]) -> None:
    place = Place(workers=0, cache=tmp_path / "cells")
    networks = plan_networks([SMALL, GESTURE])
    chip = mapper.load_chip("speck2f")
    first = sweep(networks, plan_variants(["speck2f", "speck2cmini"])[0], BARE, place)
    assert len(decided) == 4
    decided.clear()
    assert sweep(networks, plan_variants(["speck2f", "speck2cmini"])[0], BARE, place) == first
    assert decided == []
    changed = apply_overrides(chip, ["core[8].kernel_words=32768"], name="speck2f")
    sweep(networks, plan_variants([changed, "speck2cmini"])[0], BARE, place)
    assert decided == [("gesture_small", "speck2f"), ("sinabs_dvs_gesture_9layer", "speck2f")]
    decided.clear()
    sweep(plan_networks([SMALL, TOO_LARGE]), plan_variants(["speck2f", "speck2cmini"])[0], BARE, place)
    assert [network for network, _ in decided] == ["sinabs_too_large"] * 2
    decided.clear()
    sweep(networks, plan_variants(["speck2f"])[0], WHOLE, place)
    assert len(decided) == 2


def test_other_weights_are_another_network(tmp_path: Path, decided: list[tuple[str, str]]) -> None:
    place, (variants, _) = Place(workers=0, cache=tmp_path), plan_variants(["speck2f"])
    shapes = chain([conv(4), conv(2)], (2, 8, 8))
    first, second = (plan_networks([weighted(shapes, np.random.default_rng(seed))]) for seed in (0, 1))
    record = sweep(first, variants, BARE, place)
    sweep(first, variants, BARE, place)
    assert len(decided) == 1
    sweep(second, variants, BARE, place)
    sweep(second, variants, BARE, HERE, resume=record)
    assert len(decided) == 3
    assert [row.basis for row in record.networks] == ["weights"]


def test_a_damaged_cell_is_decided_again(tmp_path: Path, decided: list[tuple[str, str]]) -> None:
    place, (networks, variants) = Place(workers=0, cache=tmp_path), sides([SMALL], ["speck2f"])
    first = sweep(networks, variants, BARE, place)
    (path,) = tmp_path.rglob("*.json")
    path.write_text(path.read_text(encoding="utf-8")[:40], encoding="utf-8")
    assert sweep(networks, variants, BARE, place) == first
    assert len(decided) == 2


def test_a_cell_that_was_edited_is_not_believed(tmp_path: Path, decided: list[tuple[str, str]]) -> None:
    place, (networks, variants) = Place(workers=0, cache=tmp_path), sides([TOO_LARGE, SMALL], ["speck2f"])
    first = sweep(networks, variants, BARE, place)
    assert {cell.verdict for cell in first.cells} == {"infeasible", "plain"}
    for path in tmp_path.rglob("*.json"):
        path.write_text(path.read_text(encoding="utf-8").replace("infeasible", "plain"), encoding="utf-8")
    assert sweep(networks, variants, BARE, place) == first
    assert len(decided) == 3
    forged = tuple(
        cell.model_copy(update={"verdict": "plain", "cores_used": 1})
        if cell.verdict == "infeasible"
        else cell
        for cell in first.cells
    )
    again = sweep(networks, variants, BARE, HERE, resume=first.model_copy(update={"cells": forged}))
    assert again.cells == first.cells
    assert again.notes == (
        "1 cell of the resumed report without a right checksum, or with a wrong placement: decided anew",
    )
    swapped = tuple(cell.model_copy(update={"network": 1 - cell.network}) for cell in reversed(first.cells))
    assert (
        sweep(networks, variants, BARE, HERE, resume=first.model_copy(update={"cells": swapped})).cells
        == first.cells
    )


def test_faults_are_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place, (networks, variants) = Place(workers=0, cache=tmp_path), sides([SMALL], ["speck2f"])
    with monkeypatch.context() as patched:
        patched.setattr(workers_module, "decide", lambda *_: Cell(network=0, variant=0, verdict="error"))
        broken = sweep(networks, variants, BARE, place)
    assert broken.cells[0].verdict == "error"
    assert sweep(networks, variants, BARE, place).cells[0].verdict == "plain"
    assert sweep(networks, variants, BARE, HERE, resume=broken).cells[0].verdict == "plain"


def test_a_cache_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(OptionsError, match="cannot be made"):
        sweep(*sides([SMALL], ["speck2f"]), BARE, Place(workers=0, cache=tmp_path / "file" / "cells"))


def interrupting(after: int) -> Callable[[int], None]:
    def progress(done: int) -> None:
        if done >= after:
            raise KeyboardInterrupt

    return progress


@pytest.mark.parametrize("workers", [0, 2])
def test_an_interruption_leaves_a_valid_partial_report(workers: int, tmp_path: Path) -> None:
    networks, variants = sides([SMALL, GESTURE, TOO_LARGE], ["speck2f", "speck2cmini"])
    place, whole = Place(workers=workers), sweep(networks, variants, BARE, HERE)
    part = sweep(networks, variants, BARE, place, progress=interrupting(3))
    assert not part.complete
    assert 3 <= len(part.cells) < 6
    assert set(part.cells) <= set(whole.cells)
    path = tmp_path / "report.json"
    path.write_text(part.model_dump_json(), encoding="utf-8")
    assert read_report(path) == part
    assert sweep(networks, variants, BARE, place, resume=read_report(path)) == whole


def test_an_interruption_inside_the_solver_is_no_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(network: Any, chip: Any, *rest: Any) -> Cell:
        if chip.name == "speck2cmini":
            raise KeyboardInterrupt
        return decide(network, chip, *rest)

    monkeypatch.setattr(workers_module, "decide", interrupted)
    part = sweep(*sides([SMALL], ["speck2f", "speck2cmini", "dynapcnn"]), BARE, HERE)
    assert [cell.variant for cell in part.cells] == [0]
    assert not part.complete


def test_only_what_is_missing_is_decided(decided: list[tuple[str, str]]) -> None:
    networks, variants = sides([SMALL, GESTURE], ["speck2f", "speck2cmini"])
    part = sweep(networks, variants, BARE, HERE, progress=interrupting(2))
    decided.clear()
    more = sides([SMALL, GESTURE], ["speck2cmini", "speck2f", "dynapcnn"])
    record = sweep(*more, BARE, HERE, resume=part)
    assert record.complete
    assert len(decided) == 6 - len(part.cells)
    assert record == sweep(*more, BARE, HERE)


def test_a_report_under_other_settings_is_not_resumed() -> None:
    networks, variants = sides([SMALL], ["speck2f"])
    record = sweep(networks, variants, BARE, HERE)
    with pytest.raises(OptionsError, match="other settings: max_pieces"):
        sweep(networks, variants, WHOLE, HERE, resume=record)
    older = record.model_copy(update={"version": "0.0.1+0"})
    with pytest.raises(OptionsError, match="another version"):
        sweep(networks, variants, BARE, HERE, resume=older)


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
    words += ["--repairs", "none", "--out", str(tmp_path / "out")]
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
        "- gesture_small on speck2cmini: MemoryError: there was not enough memory",
        "- sinabs_too_large on speck2cmini: MemoryError: there was not enough memory",
        f"To decide these again: --resume {path}, with fewer --workers where memory was short.",
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


def forged(cell: Cell, network: PlannedNetwork, variant: PlannedVariant, **changes: Any) -> Cell:
    """A cell that was edited by somebody who can make checksums."""
    return sealed(cell.model_copy(update=changes), sweep_module._key(network, variant, Settings()))


def test_a_forged_placement_is_not_believed(decided: list[tuple[str, str]], tmp_path: Path) -> None:
    networks, variants = sides([SMALL, TOO_LARGE], ["speck2f"])
    place = Place(workers=0, cache=tmp_path)
    first = sweep(networks, variants, Settings(), place)
    cell = first.cells[0]
    assert cell.placement is not None
    assert cell.margin is not None
    one, other = cell.placement.solution.placements[:2]
    moved = replace(cell.placement.solution, placements=(replace(one, core=other.core), *cell.placement.solution.placements[1:]))  # fmt: skip
    half = replace(cell.placement.solution.objectives[0], bound=0)
    unproven = replace(cell.placement.solution, objectives=(half, *cell.placement.solution.objectives[1:]))
    forgeries: list[dict[str, Any]] = [
        {"placement": cell.placement.model_copy(update={"solution": solution})}
        for solution in (moved, unproven)
    ]
    forgeries += [
        {"placement": cell.placement.model_copy(update={"layers": ()})},
        {"placement": cell.placement.model_copy(update={"status": "infeasible"})},
        {"margin": cell.margin.model_copy(update={"free_share": 0.9})},
        {"cores_used": 1},
        {"verdict": "divided"},
    ]
    (path,) = (p for p in tmp_path.rglob("*.json") if '"plain"' in p.read_text(encoding="utf-8"))
    for changes in forgeries:
        edited = forged(cell, networks[0], variants[0], **changes)
        assert is_sealed(edited, sweep_module._key(networks[0], variants[0], Settings()))
        decided.clear()
        path.write_text(edited.model_dump_json(), encoding="utf-8")
        assert sweep(networks, variants, Settings(), place) == first
        cells = (edited, *first.cells[1:])
        again = sweep(networks, variants, Settings(), HERE, resume=first.model_copy(update={"cells": cells}))
        assert again.cells == first.cells
        assert decided == [("gesture_small", "speck2f")] * 2, changes
        assert len(again.notes) == 1
    decided.clear()
    assert sweep(networks, variants, Settings(), place) == first
    assert decided == []


def test_placements_in_every_form_are_recognized(decided: list[tuple[str, str]]) -> None:
    # A pool of 8, which relays do or kernels take up, as cores have room.
    networks = plan_networks([chain([conv(8), conv(8)], (4, 32, 32), [8]), GESTURE])
    chips = [tiny_chip(*[(words, 8192, 10)] * 4) for words in (512, 1024, 4096)]
    variants, _ = plan_variants([*chips, "speck2f"])
    settings = Settings(repairs="none")
    whole = sweep(networks, variants, settings, HERE)
    placed = [cell for cell in whole.cells if cell.placement is not None]
    assert [cell.cores_used for cell in placed] == [4, 3, 2, 2, 9]
    decided.clear()
    assert sweep(networks, variants, settings, HERE, resume=whole) == whole
    assert decided == []


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


def started(out: Path, cache: Path, *more: str) -> subprocess.Popen[str]:
    """A report that takes long enough to be interrupted."""
    networks = [str(path) for path in sorted(ZOO.glob("*.yaml"))]
    command = [sys.executable, "-m", "mapper", "report", *networks, "--out", str(out), "--cache", str(cache)]
    return subprocess.Popen(
        [*command, "--chip", "speck2cmini", "--chip", "speck2dmini", *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@pytest.mark.parametrize("workers", ["1", "2"])
def test_ctrl_c_in_the_terminal(workers: str, tmp_path: Path) -> None:
    out, cache = tmp_path / "report", tmp_path / "cells"
    process = started(out, cache, "--workers", workers)
    deadline = time.monotonic() + 120
    while len(list(cache.rglob("*.json"))) < 3 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    # As a terminal does it: to every process of the group.
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 3, errors
    assert "--resume" in errors
    assert "Traceback" not in errors
    record = read_report(out / "report.json")
    assert not record.complete
    assert 3 <= len(record.cells) < len(record.networks) * len(record.variants)
    assert {cell.verdict for cell in record.cells} <= {"plain", "divided", "infeasible", "unsupported"}
    assert {path.name for path in out.iterdir()} == FORMATS.keys()


def test_partial_records_are_marked(tmp_path: Path) -> None:
    networks, variants = sides([SMALL, GESTURE], ["speck2f"])
    part = sweep(networks, variants, BARE, HERE, progress=interrupting(1))
    text = part.model_dump_json()
    assert '"complete":false' in text
    assert ReportRecord.model_validate_json(text) == part
