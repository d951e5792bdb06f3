"""`mapper report` and `mapper diff` of two reports."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from mapper.cli.diff import kind_of
from mapper.cli.entry import run
from mapper.errors import OptionsError
from mapper.explore.cache import cell_key, sealed
from mapper.explore.cell import CellOptions
from mapper.explore.record import REPORT_MAX, Cell, ReportRecord, read_report
from mapper.explore.sweep import sweep
from tests.explore.reports import BARE, GESTURE, HERE, LENET, SMALL, sides, small_report

Capture = pytest.CaptureFixture[str]
CHIPS = ("--chip", "speck2f", "--chip", "speck2cmini")
QUICK = ("--repairs-for", "none", "--workers", "1")


def test_the_issue_s_own_call(tmp_path: Path, capsys: Capture) -> None:
    variant = tmp_path / "next.toml"
    variant.write_text('extends = "speck2f"\n[set]\n"core[0].kernel_words" = 65536\n', encoding="utf-8")
    change = "core[5..6].kernel_words=131072"
    out = tmp_path / "report"
    arguments = [str(SMALL), str(LENET), *CHIPS, "--variant", str(variant), "--set", change, *QUICK]
    # One of the two pools by maximum: its cells are unsupported, and those of the other are written.
    assert run(["report", *arguments, "--out", str(out)]) == 2
    told = capsys.readouterr()
    assert "2 networks on 5 chips" in told.out
    assert told.err == "Error: 1 network cannot be read or prepared: sinabs_lenet5_tutorial\n"
    assert f"written: {out / 'report.html'}" in told.out
    record = read_report(out / "report.json")
    names = ["speck2f", "speck2cmini", "next", "speck2f+changes", "next+changes"]
    assert [row.name for row in record.variants] == names
    assert [row.is_chip for row in record.variants] == [True, True, False, False, False]
    assert record.variants[3].overrides == (change,)
    assert record.variants[3].cores[5].kernel_words == 131072
    assert record.complete
    for name in ("report.html", "summary.csv", "layers.csv"):
        assert "gesture_small" in (out / name).read_text(encoding="utf-8")


def test_json(tmp_path: Path, capsys: Capture) -> None:
    assert run(["report", str(SMALL), "--chip", "speck2f", *QUICK, "--out", str(tmp_path), "--json"]) == 0
    record = ReportRecord.model_validate_json(capsys.readouterr().out)
    assert record == read_report(tmp_path / "report.json")


def test_all_shipped_chips_by_default(tmp_path: Path, capsys: Capture) -> None:
    arguments = [
        "--details-for",
        "none",
        "--relays",
        "--no-copies",
        "--max-pieces",
        "2",
        "--objective",
        "capacity",
    ]
    assert run(["report", str(SMALL), *QUICK, "--out", str(tmp_path), *arguments]) == 0
    record = read_report(tmp_path / "report.json")
    assert len(record.variants) == 7
    options = record.settings.options
    assert (options.max_pieces, options.max_copies) == (2, 1)
    assert (options.objective, record.settings.details) == ("capacity", "none")
    capsys.readouterr()


def test_what_goes_on_stays_in_its_folder(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["report", str(SMALL), "--chip", "speck2f", *QUICK, "--out", "first"]) == 0
    before = (tmp_path / "first" / "report.json").stat().st_mtime_ns
    assert run(["report", "--resume", "first/report.json", *QUICK]) == 0
    assert (tmp_path / "first" / "report.json").stat().st_mtime_ns > before
    assert not (tmp_path / "report").exists()


def test_resume_without_naming_anything_again(tmp_path: Path, capsys: Capture) -> None:
    whole, part = tmp_path / "whole", tmp_path / "part.json"
    change = ("--set", "core[5..6].kernel_words=131072")
    assert run(["report", str(SMALL), str(GESTURE), *CHIPS, *change, *QUICK, "--out", str(whole)]) == 0
    record = read_report(whole / "report.json")
    kept = record.model_copy(update={"complete": False, "cells": record.cells[:2]})
    part.write_text(kept.model_dump_json(), encoding="utf-8")
    again = tmp_path / "again"
    assert run(["report", "--resume", str(part), *QUICK, "--out", str(again)]) == 0
    assert (again / "report.json").read_bytes() == (whole / "report.json").read_bytes()
    assert (again / "summary.csv").read_bytes() == (whole / "summary.csv").read_bytes()
    capsys.readouterr()
    # Settings are the file's, unless some are said.
    assert run(["report", "--resume", str(part), "--workers", "1", "--out", str(again)]) == 0
    assert (again / "report.json").read_bytes() == (whole / "report.json").read_bytes()
    capsys.readouterr()
    other = ["--repairs-for", "all", "--workers", "1", "--out", str(again)]
    assert run(["report", "--resume", str(part), *other]) == 2
    assert "other settings: repairs" in capsys.readouterr().err


def test_only_what_was_taken_is_counted_as_taken(tmp_path: Path, capsys: Capture) -> None:
    """Of four cells one was edited, one has failed, and one has a placement that the checker refuses."""
    words = [
        "report",
        str(SMALL),
        str(GESTURE),
        "--chip",
        "speck2f",
        "--chip",
        "speck2b",
        "--repairs-for",
        "none",
    ]
    words += ["--workers", "1", "--out", str(tmp_path)]
    assert run(words) == 0
    path = tmp_path / "report.json"
    whole = path.read_bytes()
    record = read_report(path)
    one, other, third, fourth = record.cells
    network, variant = record.networks[1], record.variants[0]
    options = CellOptions(record.settings.options, repairs=False, details=True)
    forged = third.model_copy(update={"cores_used": 1})
    cells = (
        one.model_copy(update={"cores_used": 1}),
        Cell(network=0, variant=1, verdict="error", sentence="made to fail"),
        sealed(forged, cell_key(network.network_hash, variant.chip_hash, options)),
        fourth,
    )
    assert other.verdict == "plain"
    path.write_text(record.model_copy(update={"cells": cells}).model_dump_json(), encoding="utf-8")
    capsys.readouterr()
    assert run([*words, "--resume", str(path)]) == 0
    told = capsys.readouterr().out
    assert f"taken from {path}: 1 cell;" in told
    assert [line for line in told.splitlines() if line.startswith("decided anew")] == [
        "decided anew: 1 cell without a right checksum",
        "decided anew: 1 cell that had failed",
        "decided anew: 1 cell with a placement that the checker refuses, or that says something else",
    ]
    again = read_report(path)
    assert again.cells == record.cells
    # A report tells of cells that were not as they had been written, and of no others.
    assert len(again.notes) == 2
    path.write_bytes(whole)
    assert run([*words, "--resume", str(path)]) == 0
    told = capsys.readouterr().out
    assert f"taken from {path}: 4 cells;" in told
    assert "decided anew" not in told


def test_reports_with_more_than_anybody_reads(tmp_path: Path, capsys: Capture) -> None:
    record = small_report()
    path = tmp_path / "report.json"
    content = json.loads(record.model_dump_json())
    for name, most in REPORT_MAX.items():
        path.write_text(json.dumps(content | {name: [0] * (most + 1)}), encoding="utf-8")
        for words in (
            ["diff", str(path), str(path)],
            ["report", "--resume", str(path), "--out", str(tmp_path / "out")],
        ):
            assert run(words) == 2
            told = " ".join(capsys.readouterr().err.split())
            assert f"has too many {name} (got {most + 1}; allowed: {most})" in told
    assert not (tmp_path / "out").exists()


def test_a_report_that_nobody_could_read_is_not_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    networks, variants = sides([SMALL], ["speck2f"])
    for sizes, name in (((5_001, 1), "networks"), ((1, 5_001), "variants"), ((300, 200), "cells")):
        with pytest.raises(OptionsError, match=f"too many {name}"):
            sweep(networks * sizes[0], variants * sizes[1], BARE, HERE)


def test_a_report_cannot_name_code_to_run(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = "from pathlib import Path\nPath('executed').touch()\nfrom torch import nn\n"
    (tmp_path / "net_of_mine.py").write_text(code + "net = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU())\n")
    monkeypatch.chdir(tmp_path)
    words = ("--input-shape", "2,8,8", "--relu-as-if", "--chip", "speck2f", *QUICK)
    for name in ("net_of_mine.py:net", "net_of_mine:net"):
        assert run(["report", name, *words, "--out", "report"]) == 0
        (tmp_path / "executed").unlink()
        again = ["report", "--resume", "report/report.json", *words[:3], *QUICK, "--out", "again"]
        assert run(again) == 2
        told = capsys.readouterr().err
        assert f"names Python code, and code runs only where you type its name yourself (got {name})" in told
        assert not (tmp_path / "executed").exists()
        sys.modules.pop("net_of_mine", None)
        assert run(["report", name, *again[1:]]) == 0
        (tmp_path / "executed").unlink()
        sys.modules.pop("net_of_mine", None)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["report"], "has no networks"),
        (["report", str(SMALL), "--chip", "speck9"], "speck9"),
        (["report", str(SMALL), "--variant", "nowhere.toml"], "nowhere.toml"),
        (["report", str(SMALL), "--set", "core[99].kernel_words=1"], "no such core"),
        (["report", str(SMALL), "--workers", "0"], "--workers"),
        (["report", str(SMALL), "--repairs-for", "some"], "repairs-for"),
        (["report", str(SMALL), "--max-pieces", "0"], "max-pieces"),
        (["report", str(SMALL), "--work-limit", "-1"], "work-limit"),
        (["report", str(SMALL), "--time-limit", "0"], "time-limit"),
        (["report", str(SMALL), "--resume", "nowhere.json"], "nowhere.json"),
        (["report", str(SMALL), "--input-shape", "1,2"], "--input-shape"),
        (["diff", "nowhere.json", "digits"], "nowhere.json"),
    ],
)
def test_bad_input(arguments: list[str], words: str, tmp_path: Path, capsys: Capture) -> None:
    more = ["--out", str(tmp_path)] if arguments[0] == "report" else []
    assert run([*arguments, *more]) == 2
    assert words in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_report_of_nothing_that_can_be_read_is_not_written(tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "report"
    assert run(["report", str(LENET), str(tmp_path / "none.nir"), *QUICK, "--out", str(out)]) == 2
    told = capsys.readouterr()
    assert (told.out, out.exists()) == ("", False)
    assert all(part in told.err for part in ("2 problems:", "max pooling", "none.nir: there is no such file"))


def test_a_partial_report_ends_with_3(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["report", str(SMALL), "--chip", "speck2f", *QUICK, "--out", str(tmp_path)]
    assert run(arguments) == 0
    capsys.readouterr()
    whole = read_report(tmp_path / "report.json")
    part = whole.model_copy(update={"complete": False, "cells": ()})
    monkeypatch.setattr("mapper.explore.sweep.sweep", lambda *_, **__: part)
    assert run([*arguments, "--time-limit", "1e6"]) == 3
    told = capsys.readouterr()
    assert "Interrupted." in told.err
    assert "Partial: 0 of 1 cell" in told.out
    assert f"--resume {tmp_path / 'report.json'}" in told.err


def test_diff_of_two_reports(tmp_path: Path, capsys: Capture) -> None:
    for name, chip in (("a", "speck2cmini"), ("b", "speck2f")):
        out = str(tmp_path / name)
        assert run(["report", str(SMALL), str(GESTURE), "--chip", chip, *QUICK, "--out", out]) == 0
    capsys.readouterr()
    first, second = (str(tmp_path / name / "report.json") for name in ("a", "b"))
    assert run(["diff", first, first]) == 0
    assert "the same" in capsys.readouterr().out
    assert run(["diff", first, second]) == 1
    text = capsys.readouterr().out
    assert "gained: sinabs_dvs_gesture_9layer on speck2f" in text
    assert run(["diff", first, second, "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["changes"][0]["kind"] in ("gained", "better", "worse")
    record = read_report(Path(first))
    part = tmp_path / "part.json"
    part.write_text(record.model_copy(update={"cells": record.cells[1:]}).model_dump_json(), encoding="utf-8")
    capsys.readouterr()
    assert run(["diff", first, str(part)]) == 1
    assert "only in the first: cell gesture_small on speck2cmini" in capsys.readouterr().out
    assert run(["diff", first, "digits"]) == 2
    assert "report" in capsys.readouterr().err


def test_what_is_a_report(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text('{"schema_version": 1, "hardware": {}}', encoding="utf-8")
    assert kind_of(str(path)) != "report"
    assert kind_of(str(tmp_path)) != "report"
    assert kind_of("digits") != "report"


def test_a_report_is_written_over_only_where_its_folder_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["report", str(SMALL), *QUICK]
    assert run(words) == 0
    first = (tmp_path / "report" / "report.json").stat().st_mtime_ns
    capsys.readouterr()
    assert run([*words, "--json"]) == 2
    told = capsys.readouterr().err
    assert "Error: report: holds report.html, summary.csv, layers.csv and report.json already. " in told
    assert "--resume report/report.json goes on with it" in told
    assert (tmp_path / "report" / "report.json").stat().st_mtime_ns == first
    assert run([*words, "--resume", "report/report.json"]) == 0
    assert run([*words, "--out", "report"]) == 0
    (tmp_path / "report" / "report.json").unlink()
    assert run(words) == 2
    assert "--resume" not in capsys.readouterr().err
