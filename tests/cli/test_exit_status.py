"""What help says of exit statuses is what commands end with, where a limit cuts them short too."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from mapper.cli.entry import run
from tests.cli.test_options import LEAVES

Capture = pytest.CaptureFixture[str]
ROOT = Path(__file__).resolve().parents[2]
WIDE = str(ROOT / "mapper" / "data" / "wide.yaml")
NO_TIME, NO_WORK = ["--time-limit", "1e-9"], ["--work-limit", "1e-12"]
TUNE = ["tune", "digits", "--calibrate", "digits-train", "--runs", "2", "--out", "{}"]
CUT = [
    (["solve", "digits", *NO_WORK], 3),
    (["solve", "digits", *NO_TIME], 3),
    (["check", WIDE, *NO_WORK], 3),
    (["check", WIDE, *NO_TIME], 3),
    (["emit", "digits", "--out", "{}", *NO_WORK], 3),
    (["verify", "digits", *NO_WORK], 3),
    (["verify", "digits", *NO_TIME], 3),
    (["report", "digits", "--chip", "speck2f", "--workers", "1", "--out", "{}", *NO_TIME], 3),
    # Cells that are undecided are decided: this report is whole.
    (["report", "digits", "--chip", "speck2f", "--workers", "1", "--out", "{}", *NO_WORK], 0),
    (["synthesize", "digits", *NO_WORK], 3),
    (["synthesize", "digits", *NO_TIME], 3),
    (["synthesize", "digits", WIDE, "--curves", "--out", "{}", "--work-limit", "0.02"], 3),
    (["synthesize", "digits", "--curves", "--cores", "4..5"], 0),
    (["widest", "digits", *NO_WORK], 3),
    (["widest", "digits", *NO_TIME], 3),
    ([*TUNE, *NO_WORK], 3),
    # The limit ends the search, and the best so far is the answer.
    ([*TUNE, *NO_TIME], 0),
]  # fmt: skip


@pytest.mark.parametrize(("words", "status"), CUT, ids=lambda value: " ".join(map(str, value[:2])) if isinstance(value, list) else "")  # fmt: skip
def test_what_is_cut_short_ends_as_help_says(
    words: list[str], status: int, capsys: Capture, tmp_path: Path
) -> None:
    typed = [word.format(tmp_path / "out") for word in words]
    assert run(typed) == status, capsys.readouterr()
    told = capsys.readouterr()
    if status == 3:
        assert re.search(r"limit|[Uu]ndecided", told.out + told.err)
    assert str(status) in statuses(words[0], capsys)


def statuses(command: str, capsys: Capture) -> dict[str, str]:
    """Exit statuses by what help says of them; 2 and 4 may stand for every command."""
    assert run([command, "--help"]) == 0
    head = " ".join(capsys.readouterr().out.partition("\n\nArguments:")[0].split())
    _, _, listed = head.partition("Exit: ")
    return dict(re.findall(r"(\d) ([^,.:]+)", listed))


def test_help_of_every_command_with_a_verdict_lists_the_statuses(capsys: Capture) -> None:
    for chain, command in LEAVES:
        if "--work-limit" in {
            name for entry in command.assemble_argument_collection() for name in entry.names
        }:
            found = statuses(" ".join(chain), capsys)
            assert {"0", "2", "3"} <= {*found}, chain
            assert ("1" in found) == (chain != ("report",)), chain


def test_curves_that_are_cut_short_say_so_and_are_written(capsys: Capture, tmp_path: Path) -> None:
    words = ["synthesize", "digits", WIDE, "--curves", "--work-limit", "0.02", "--out", str(tmp_path)]
    assert run(words) == 3
    assert "Cut short by a limit" in capsys.readouterr().out
    assert json.loads((tmp_path / "synthesis.json").read_text(encoding="utf-8"))["complete"] is False
    assert run([*words, "--json"]) == 3
    assert json.loads(capsys.readouterr().out)["complete"] is False
