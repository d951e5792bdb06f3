"""--quiet and --verbose: more or less beside the answer, which stays the same."""

from __future__ import annotations

import io
import re
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from mapper.activity import doing, heard_by, steps_of
from mapper.cli import loudness
from mapper.cli.entry import run
from mapper.explore.under_way import folder_of_workers, said_in, tell_of

Capture = pytest.CaptureFixture[str]
ZOO = Path(__file__).resolve().parent.parent / "data" / "zoo"
ASIDE = ("solver:", "rests on assumed", "note:", "read:", "rounding:", "written:")


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (["solve", "digits", "--out", "{}"], 0),
        (["emit", "digits", "--out", "{}"], 0),
        (["check", str(ZOO / "sinabs_too_large.yaml")], 1),
        (["check", "digits"], 0),
        (["solve", "nowhere.yaml"], 2),
    ],
)
def test_the_answer_and_the_files_are_the_same(
    words: list[str], status: int, capsys: Capture, tmp_path: Path
) -> None:
    shown, files = {}, {}
    for flag in ("", "-q", "--quiet", "-v", "--verbose"):
        out = tmp_path / f"out{flag}"
        typed = [word.format(out) for word in words] + [flag] * bool(flag)
        assert run(typed) == status
        told = capsys.readouterr()
        shown[flag] = told._replace(out=told.out.replace(str(out), "FOLDER"))
        files[flag] = {path.name: path.read_bytes() for path in out.glob("*")}
    assert all(content == files[""] for content in files.values())
    assert shown["-q"].out == shown["--quiet"].out
    assert (shown["-q"].err != "") == (status == 2)
    first, quiet = (shown[flag].out.splitlines() for flag in ("", "-q"))
    assert [line for line in quiet if line not in first] == []
    assert not any(line.startswith(ASIDE) for line in quiet)
    assert (quiet == []) == (status == 2)
    if status != 2:
        assert "placing" in shown["-v"].err
        assert "units of work" in shown["-v"].err or words[0] == "check"
        assert [line for line in shown["-v"].out.splitlines() if "solver:" not in line] == [
            line for line in first if "solver:" not in line
        ]


def test_both_are_refused(capsys: Capture) -> None:
    assert run(["check", "digits", "-q", "-v"]) == 2
    assert "--quiet and --verbose: are given together" in capsys.readouterr().err


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("volume", "is_told"), [("normal", True), ("quiet", False)])
def test_what_takes_long_is_told_on_a_terminal_and_wiped(
    volume: loudness.Loudness, is_told: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(loudness, "_SILENT_S", 0.01)
    with loudness.under(volume):
        doing("reading digits")
        time.sleep(0.2)
        doing("placing digits")
    assert ("reading digits ..." in terminal.getvalue()) == is_told
    assert terminal.getvalue().endswith("\r\x1b[K" if is_told else "")


def test_nothing_moves_where_there_is_no_terminal(capsys: Capture) -> None:
    with loudness.under("normal"), steps_of("cells", 3) as steps:
        steps(1)
    assert capsys.readouterr() == ("", "")


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """A terminal on which a line is shown nearly at once, and often."""
    made = Terminal()
    # The whole module: between a fixture and its test, stderr is put back.
    monkeypatch.setattr(loudness, "sys", SimpleNamespace(stderr=made))
    monkeypatch.setattr(loudness, "_SILENT_S", 0.001)
    monkeypatch.setattr(loudness, "_EVERY_S", 0.001)
    monkeypatch.setenv("COLUMNS", "100")
    return made


def lines(terminal: Terminal) -> list[str]:
    return [line for line in terminal.getvalue().split(CLEAR) if line]


CLEAR = "\r\x1b[K"


def test_a_line_says_how_much_is_done_and_what_is_asked(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loudness, "_AT_ONCE_S", 0.3)
    with loudness.under("normal"), steps_of("cells", 10) as steps:
        steps(4)  # of an earlier run
        time.sleep(0.4)
        steps(5)
        doing("placing wide")
        time.sleep(0.1)
        with steps_of("samples", 7) as inner:
            inner(3)
            time.sleep(0.1)
        doing("x" * 200)
        time.sleep(0.1)
    told = lines(terminal)
    assert any(re.fullmatch(r"cells: 4 of 10 \.\.\. \d+ s", line) for line in told)
    assert any(
        re.fullmatch(r"cells: 5 of 10 \.\.\. 0 s, some \d+ s left; placing wide", line) for line in told
    )
    assert any(line.endswith("; samples: 3 of 7") for line in told)
    assert max(map(len, told)) == 99
    assert terminal.getvalue().endswith(CLEAR)


def test_short_steps_one_after_the_other_are_told_too(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loudness, "_SILENT_S", 0.1)
    with loudness.under("normal"):
        for number in range(30):
            doing(f"step {number}")
            time.sleep(0.01)
    assert lines(terminal)


def test_a_warning_has_a_line_of_its_own(terminal: Terminal) -> None:
    with loudness.under("normal"):
        doing("placing")
        time.sleep(0.05)
        loudness.wipe()
        assert terminal.getvalue().endswith(CLEAR)
    with loudness.under("normal", is_json=True):
        before = terminal.getvalue()
        doing("placing")
        time.sleep(0.05)
        assert terminal.getvalue() == before


WIDE = str(Path(__file__).resolve().parents[2] / "mapper" / "data" / "wide.yaml")
LONG = {
    "verify": (["verify", "digits", "--steps", "30"], r"simulating the (integer|float) network: \d+ of 30"),
    "verify --data": (
        ["verify", "digits", "--data", "few.npz", "--steps", "4"],
        r"labelled samples: \d of 5",
    ),
    "synthesize": (
        ["synthesize", "digits", WIDE],
        r"looking for the least chip of 9 cores at most for 1 of 2 n",
    ),
    "synthesize --curves": (
        ["synthesize", "digits", WIDE, "--curves", "--cores", "6..8"],
        r"points of the curves: 1 of 5 .*; looking for the least chip of 7 cores",
    ),
    "widest": (["widest", "digits"], r"asking whether digits fits at \d+.* \(\d+ sizes, [1-9]\d* tried\)"),
    "report": (
        ["report", WIDE, "digits", "--chip", "speck2f", "--workers", "1", "--out", "out"],
        r"cells: \d of 2 ",
    ),
}


@pytest.mark.parametrize("name", LONG)
def test_what_takes_long_says_how_far_it_is(
    name: str, terminal: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    draw = np.random.default_rng(0)
    np.savez("few.npz", rasters=draw.integers(0, 2, (5, 4, 1, 8, 8)), labels=np.arange(5))
    words, told = LONG[name]
    assert run(words) == 0
    assert any(re.match(told, line) for line in lines(terminal)), lines(terminal)
    terminal.truncate(0)
    assert run([*words, "--json"]) == 0
    assert CLEAR not in terminal.getvalue()


def test_what_a_worker_does_is_told_in_the_process_that_started_it(tmp_path: Path, capsys: Capture) -> None:
    told: list[str] = []
    with heard_by(lambda now: told.append(str(now))):
        with said_in(str(tmp_path)), steps_of("wide on speck2f"):
            doing("looking for repairs: width")
        tell_of(str(tmp_path))
        with folder_of_workers() as folder:
            assert folder is not None
            assert not list(Path(folder).iterdir())
            tell_of(folder)
    assert told == ["wide on speck2f; looking for repairs: width"]
    with folder_of_workers() as folder:
        assert folder is None
    with said_in(None):
        doing("nothing")
    assert capsys.readouterr() == ("", "")
