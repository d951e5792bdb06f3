"""The command line: outcomes, exit codes, files, and wrong input."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hwspec.catalog import names
from mapper import api
from mapper.cli import doctor
from mapper.cli import solve as solve_module
from mapper.cli.entry import run
from mapper.errors import INTERRUPTION, UndecidedError, VerificationError
from mapper.files import write_text
from mapper.record import PlacementRecord
from mapper.result import Result

ZOO = Path(__file__).resolve().parent.parent / "data" / "zoo"
GESTURE = str(ZOO / "sinabs_dvs_gesture_9layer.yaml")
Capture = pytest.CaptureFixture[str]


def test_the_main_job(capsys: Capture, tmp_path: Path) -> None:
    assert run(["solve", "digits", "--chip", "speck2f", "--out", str(tmp_path / "a")]) == 0
    text = capsys.readouterr().out
    assert "proven optimal, checked" in text
    assert "conv1" in text
    assert "assumed" in text
    record = PlacementRecord.model_validate_json(
        (tmp_path / "a" / "placement.json").read_text(encoding="utf-8")
    )
    assert [layer.name for layer in record.layers] == ["conv1", "conv2", "conv3", "fc"]
    assert run(["solve", "digits", "--out", str(tmp_path / "b"), "--workers", "2"]) == 0
    assert (tmp_path / "a/placement.json").read_bytes() == (tmp_path / "b/placement.json").read_bytes()
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == [
        "placement.html",
        "placement.json",
        "placement.svg",
    ]


def test_json_output(capsys: Capture) -> None:
    assert run(["solve", GESTURE, "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["schema_version"] == 1
    assert content["placement"]["solution"]["dvs_stage"]["pooling"] == [1, 1]
    assert content["stats"]["solves"] >= 2
    assert run(["solve", GESTURE, "--chip", "speck2cmini", "--json"]) == 1
    content = json.loads(capsys.readouterr().out)
    assert content["placement"] is None
    assert content["report"]["certificate"]
    assert run(["solve", "nowhere.yaml", "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["error"] == "NetworkError"


def test_pins_forbidden_cores_and_readout(capsys: Capture) -> None:
    assert (
        run(["solve", "digits", "--pin", "conv2=6", "--pin", "-1=0", "--forbid", "3,4", "--readout", "fc"])
        == 0
    )
    rows = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line.split()}
    assert rows["conv2"].split()[1] == "6"
    assert rows["fc"].split()[1] == "0"
    assert "readout" in rows["fc"]
    assert run(["solve", "digits", "--objective", "headroom", "--monitor", "conv1"]) == 0
    assert "headroom" in capsys.readouterr().out


def test_check(capsys: Capture) -> None:
    assert run(["check", "digits"]) == 0
    assert "fits speck2f: 4 of 9 cores" in capsys.readouterr().out
    assert run(["check", str(ZOO / "sinabs_too_large.yaml")]) == 1
    text = capsys.readouterr().out
    assert "structural" in text
    assert "999999" in text
    assert run(["check", "digits", "--json"]) == 0


def test_limits_end_in_undecided(capsys: Capture) -> None:
    code = run(["solve", GESTURE, "--work-limit", "1e-12"])
    assert code in (0, 3)
    assert ("undecided" in capsys.readouterr().out) == (code == 3)


@pytest.mark.parametrize("name", names())
def test_a_chip_is_shown_as_its_table_first(capsys: Capture, name: str) -> None:
    assert run(["chips", "show", name]) == 0
    told = [line.strip() for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert told[0].startswith(f"{name}: ")
    (head,) = (n for n, line in enumerate(told) if line.split()[:3] == ["cores", "kernel", "words"])
    assert head == 1 + told[1].startswith("devices: ")
    remarks = [n for n, line in enumerate(told) if line.startswith(("erratum ", "assumed: "))]
    assert min(remarks) > head + 2


def test_chips(capsys: Capture, tmp_path: Path) -> None:
    assert run(["chips", "list"]) == 0
    assert "speck2fmodule" in capsys.readouterr().out
    assert run(["chips", "list", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["chips"]) == 7
    assert run(["chips", "show", "speck2f", "--set", "core[5].kernel_words=128Ki"]) == 0
    text = capsys.readouterr().out
    assert "131072" in text
    assert "erratum" in text
    assert run(["chips", "show", "speck2f", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["name"] == "speck2f"
    path = tmp_path / "v.toml"
    path.write_text('extends = "speck2f"\n', encoding="utf-8")
    assert run(["chips", "check", str(path)]) == 0
    assert "sound" in capsys.readouterr().out
    assert run(["chips", "check", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["cores"] == 9
    assert run(["chips", "schema"]) == 0
    assert "properties" in json.loads(capsys.readouterr().out)
    assert run(["schema"]) == 0
    assert "properties" in json.loads(capsys.readouterr().out)


def test_doctor(capsys: Capture) -> None:
    assert run(["doctor"]) == 0
    assert "ortools" in capsys.readouterr().out
    assert run(["doctor", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["packages"]["chips"].startswith("7 ")


@pytest.mark.parametrize(
    ("files", "state"), [((), "stub"), (("PYPI_SAMNA", "x.so"), "stub"), (("x.so",), "found")]
)
def test_samna_is_looked_at_and_not_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: tuple[str, ...], state: str
) -> None:
    package = tmp_path / "samna"
    package.mkdir()
    (package / "__init__.py").write_text("raise SystemExit('imported')\n", encoding="utf-8")
    for name in files:
        (package / name).touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(doctor, "version", lambda _: "0.46")
    assert state in doctor.samna_state()


def test_ranges_of_forbidden_cores(capsys: Capture) -> None:
    assert run(["solve", "digits", "--forbid", "0..2, 5,1..2", "--json"]) == 0
    placed = json.loads(capsys.readouterr().out)["placement"]["solution"]["placements"]
    assert not {place["core"] for place in placed} & {0, 1, 2, 5}


def test_a_file_of_this_program_in_the_wrong_place(tmp_path: Path, capsys: Capture) -> None:
    out = ["--out", str(tmp_path)]
    for command in ("solve", "emit", "report"):
        assert run([command, "digits", *out]) == 0
    capsys.readouterr()
    for name, clause in (
        ("placement", "is a placement, which solve writes: --keep takes it"),
        ("config", "is a configuration, which emit writes: run, simulate and diff take it"),
        ("report", "is a report of networks on chips, which report writes: --resume and diff take it"),
        ("known_answer", "is a known answer, which emit writes for deploy.py --self-test"),
    ):
        path = str(tmp_path / f"{name}.json")
        asked = [["check", path]]
        asked += [["solve", "digits", "--keep", path]] if name != "placement" else []
        asked += [["simulate", path, "--events", path]] if name != "config" else []
        for words in asked:
            assert run(words) == 2
            told = capsys.readouterr().err
            assert clause in told
            assert "\n" not in told.strip()


BAD: list[tuple[list[str], str]] = [
    (["solve"], "NETWORK"),
    (["solve", "digits", "--chip", "speck9"], "speck9"),
    (["solve", "digits", "--nonsense"], "nonsense"),
    (["solve", "digits", "--pin", "conv9=1"], "conv9"),
    (["solve", "digits", "--pin", "conv1"], "LAYER=CORE"),
    (["solve", "digits", "--pin", "conv1=12"], "no such core"),
    (["solve", "digits", "--pin", "conv1=1", "--pin", "conv1=2"], "also pinned"),
    (["solve", "digits", "--pin", "conv1=1", "--pin", "conv2=1"], "also taken"),
    (["solve", "digits", "--pin", "conv1=1", "--forbid", "1"], "also forbidden"),
    (["solve", "digits", "--pin", "17=1"], "out of range"),
    (["solve", "digits", "--forbid", "one"], "core numbers and ranges"),
    (["solve", "digits", "--forbid", "0-5"], "A range is written 0..5"),
    (["solve", "digits", "--forbid", "0..999999"], "no such cores (got 9..999999; allowed: 0..8)"),
    (["solve", "digits", "--forbid", "99"], "no such core"),
    (["solve", "digits", "--input-shape", "1,2"], "three positive"),
    (["solve", "digits", "--input-shape", "2x-3x4"], 'got "2x-3x4"'),
    (["solve", "digits", "--input-shape", "3X9X9"], "another input shape"),
    (["solve", "digits", "--input-shape", "3,9,9"], "another input shape"),
    (["solve", "digits", "--time-limit", "-1"], "positive"),
    (["solve", "digits", "--time-limit", "nan"], "positive"),
    (["solve", "digits", "--work-limit", "0"], "positive"),
    (["solve", "digits", "--workers", "0"], "workers"),
    (["solve", "digits", "--objective", "beauty"], "beauty"),
    (["solve", "digits", "--add-output-neuron", "0"], "positive"),
    (["solve", "digits", "--reset", "maybe"], '"subtract", "zero"'),
    (["solve", "digits", "--v-min", "low"], "--v-min"),
    (["solve", "digits", "--readout", "zz"], "zz"),
    (["solve", "digits", "--monitor", "zz"], "zz"),
    (["solve", "digits", "--set", "core[1]=3"], "core[1]"),
    (["solve", "net.onnx"], "not a network file"),
    (["chips", "show", "nix"], "nix"),
    (["chips", "check", "none.toml"], "there is no such file"),
    (["dance"], "dance"),
    # Python has other names for these: what the user typed is told.
    (["solve", "digits", "--v-min", "5"], "--v-min: a lower bound"),
    (["solve", "digits", "--dt", "0"], "--dt: seconds of a step"),
    (["verify", "digits", "--step-us", "0"], "--step-us: must be a whole number"),
    (["verify", "digits", "--random", "2"], "--random: must be a probability"),
    # The last one would win unsaid.
    (["check", "digits", "--from", "sinabs", "--from=snntorch"], "--from: is given 2 times"),
    (["check", "digits", "--chip", "speck2f", "--chip", "speck2f"], "--chip: is given 2 times"),
    (["check", "digits", "--relays", "--no-relays"], "--relays and --no-relays: are given together"),
    (["check", "digits", "--relu-as-if"], "--relu-as-if: goes with a torch module"),
    (["check", "digits", "--relu-as-if", "0"], "--relu-as-if: a threshold must be a positive number"),
    (["check", "digits", "--relu-as-if=much"], "--relu-as-if: wants a threshold, or auto"),
]


@pytest.mark.parametrize(
    ("words", "text"), BAD, ids=lambda value: " ".join(value) if isinstance(value, list) else ""
)
def test_wrong_input_is_one_message_and_exit_2(capsys: Capture, words: list[str], text: str) -> None:
    assert run(words) == 2
    told = capsys.readouterr()
    assert text in told.err
    assert "Traceback" not in told.err


@pytest.mark.parametrize(
    ("words", "threshold"),
    [
        (["--relu-as-if"], "1"),
        (["--relu-as-if", "2.5"], "2.5"),
        (["--relu-as-if=3"], "3"),
        (["--relu-as-if", "--no-json"], None),
    ],
)
def test_the_threshold_of_rectifiers_may_be_left_out(
    words: list[str], threshold: str | None, capsys: Capture, tmp_path: Path
) -> None:
    code = tmp_path / "net.py"
    code.write_text(
        "from torch import nn\n\ndef net():\n    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU())\n"
    )
    shape = ["--input-shape", "1x4x4"]
    for order in ([*words, f"{code}:net"], [f"{code}:net", *words]):
        assert run(["check", *order, *shape]) == (0 if threshold else 2)
        told = " ".join(capsys.readouterr().out.split())
        assert threshold is None or f"threshold {threshold}, lower bound -{threshold}," in told


def test_an_interruption_is_no_limit_to_be_raised() -> None:
    result = api.solve("digits", repairs=0)
    assert "Raise the limit" in str(UndecidedError("the time limit", result))
    told = str(UndecidedError(INTERRUPTION, result))
    assert "an interruption (Ctrl-C) came before" in told
    assert "Raise" not in told


def test_an_output_that_cannot_be_written_leaves_nothing(capsys: Capture, tmp_path: Path) -> None:
    blocker = tmp_path / "file"
    blocker.touch()
    assert run(["solve", "digits", "--out", str(blocker / "sub")]) == 2
    assert "cannot be written" in capsys.readouterr().err
    with pytest.raises((TypeError, AttributeError)):
        write_text(tmp_path / "x.json", 3)  # type: ignore[arg-type]  # the point of the test
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_our_own_faults_leave_a_report_and_exit_4(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> Result:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr(solve_module, "solved", fail)
    assert run(["solve", "digits"]) == 4
    told = capsys.readouterr().err
    report = Path(told.rsplit(" ", 1)[1].strip())
    assert "ZeroDivisionError" in report.read_text(encoding="utf-8")
    report.unlink()

    def rejected(*_: Any, **__: Any) -> Result:
        raise VerificationError(("M201 core 3: too small",))

    monkeypatch.setattr(solve_module, "solved", rejected)
    assert run(["solve", "digits"]) == 4

    def stopped(*_: Any, **__: Any) -> Result:
        raise KeyboardInterrupt

    monkeypatch.setattr(solve_module, "solved", stopped)
    assert run(["solve", "digits"]) == 3


class Panic(BaseException):
    """As libraries in Rust raise it."""


@pytest.mark.parametrize("error", [SystemExit(0), SystemExit(1), Panic(), GeneratorExit()])
def test_nothing_leaves_with_the_status_of_a_verdict(
    error: BaseException, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def leaves(*_: Any, **__: Any) -> Result:
        raise error

    monkeypatch.setattr(solve_module, "solved", leaves)
    assert run(["solve", "digits"]) == 4
    Path(capsys.readouterr().err.rsplit(" ", 1)[1].strip()).unlink()


def test_a_solution_the_checker_rejects_is_never_returned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mapper.question.verify", lambda *_: ("M201 core 3: too small",))
    with pytest.raises(VerificationError, match="M201"):
        api.solve("digits")


def test_as_a_process() -> None:
    environment = {**os.environ, "COLUMNS": "80", "NO_COLOR": "1"}
    words = [sys.executable, "-m", "mapper", "solve", "digits", "--chip", "speck2f"]
    done = subprocess.run(words, capture_output=True, text=True, env=environment, check=True)
    assert max(len(line) for line in done.stdout.splitlines()) <= 80
    assert "\x1b" not in done.stdout
