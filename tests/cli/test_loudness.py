"""--quiet and --verbose: more or less beside the answer, which stays the same."""

from __future__ import annotations

import io
import sys
import time
from pathlib import Path

import pytest

from mapper.activity import doing
from mapper.cli import loudness
from mapper.cli.entry import run
from mapper.cli.output import progress_bar

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
    with loudness.under("normal"), progress_bar("cells", 3) as bar:
        bar(1)
    assert capsys.readouterr() == ("", "")
