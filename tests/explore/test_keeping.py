"""What was decided stays decided: cache, interruption, resumption, workers that die."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mapper
from hwspec.variant import apply_overrides
from mapper.asking import spoken_to
from mapper.errors import OptionsError
from mapper.explore import workers as workers_module
from mapper.explore.cache import CellCache, sealed
from mapper.explore.cell import decide
from mapper.explore.plan import plan_networks, plan_variants
from mapper.explore.record import Cell, ReportRecord, read_report
from mapper.explore.sweep import Place, sweep
from mapper.report.formats import FORMATS
from tests.builders import chain, conv, weighted
from tests.explore.reports import BARE, GESTURE, HERE, SMALL, TOO_LARGE, ZOO, bare, sides

WHOLE = bare(max_pieces=1)


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
    assert again.notes == ("1 cell of the resumed report without a right checksum: decided anew",)
    swapped = tuple(cell.model_copy(update={"network": 1 - cell.network}) for cell in reversed(first.cells))
    assert (
        sweep(networks, variants, BARE, HERE, resume=first.model_copy(update={"cells": swapped})).cells
        == first.cells
    )


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


def test_a_kept_cell_speaks_to_who_asks(tmp_path: Path) -> None:
    """What names options of a command is not told to Python."""
    cache, cell = CellCache(tmp_path), Cell(network=0, variant=0, verdict="infeasible", sentence="--plain")
    with spoken_to("command"):
        cache.write("key", sealed(cell, "key"))
        assert cache.read("key") == sealed(cell, "key")
    assert cache.read("key") is None
