"""What more would have to be on offer: as few options as can be, each as small as helps, and layers whole."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from mapper.cli.entry import run

ROOT = Path(__file__).resolve().parents[2]
WIDE = str(ROOT / "mapper/data/wide.yaml")
GESTURE = str(ROOT / "tests/data/zoo/sinabs_dvs_gesture_9layer.yaml")


@pytest.mark.parametrize(
    ("asked", "offered"),
    [
        (["digits", "--cores", "1..2"], "--cores 1..4"),
        ([GESTURE, "--cores", "1..4"], "--cores 1..9"),
        # Cut over eight cores it would do with 2Ki; whole it needs 8Ki.
        (["digits", "--kernel-words", "1Ki"], "--kernel-words 1Ki..8Ki"),
        # Memory alone does, though not so much of it would with more cores.
        ([WIDE, "--cores", "5..9", "--neuron-words", "1Ki..4Ki"], "--neuron-words 1Ki..16Ki"),
        ([WIDE, "--cores", "1..2"], "--cores 1..5"),
        (["digits", "--cores", "1", "--kernel-words", "1Ki..2Ki"], "--cores 1..4 --kernel-words 1Ki..8Ki"),
    ],
)
def test_what_is_offered(asked: list[str], offered: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["synthesize", *asked]) == 1
    found = re.search(r"There is one with (.*) \(tried\)\.$", capsys.readouterr().err, re.MULTILINE)
    assert found
    assert found[1] == offered


@pytest.mark.parametrize("asked", [["digits", "--kernel-words", "1Ki"], [WIDE, "--cores", "1..2"]])
def test_what_is_offered_is_found(asked: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["synthesize", *asked]) == 1
    found = re.search(r"There is one with (.*) \(tried\)\.$", capsys.readouterr().err, re.MULTILINE)
    assert found
    kept = [asked[0]] if asked[1] in found[1] else asked
    assert run(["synthesize", *kept, *shlex.split(found[1])]) == 0
