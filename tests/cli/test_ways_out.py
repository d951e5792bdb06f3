"""Every way out that a message suggests is typed, and helps."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from mapper.cli.entry import run

Capture = pytest.CaptureFixture[str]
ROOT = Path(__file__).resolve().parents[2]
ZOO = ROOT / "tests" / "data" / "zoo"
CODE = """
from torch import nn


def bare():
    return nn.Sequential(nn.Conv2d(2, 4, 3, bias=False))


def rectified():
    layers = [nn.Conv2d(2, 2, 3, padding=1, bias=False), nn.ReLU()]
    return nn.Sequential(*layers, nn.Conv2d(2, 2, 3, padding=1, bias=False), nn.ReLU())
"""
SHAPE = ["--input-shape", "2,8,8"]
NETWORK = str(ZOO / "silicon_ceiling_9bn.yaml")
TOO_LARGE = str(ZOO / "sinabs_dvs_gesture_9layer.yaml")
Change = Callable[[list[str], re.Match[str]], list[str]]


def added(words: list[str], found: re.Match[str]) -> list[str]:
    return [*words, *shlex.split(found[1])]


def instead(old: str) -> Change:
    return lambda words, found: [word.replace(old, found[1]) for word in words]


def without(*options: str) -> Change:
    return lambda words, found: [word for word in words if word not in options]


# What is typed and its status, what the message suggests, and what becomes of the words.
CASES: list[tuple[list[str], int, str, Change]] = [
    (["check", "net.py:rectified", *SHAPE], 2, r"(--relu-as-if 1) makes", added),
    (["check", "net.py:bare", *SHAPE], 2, r"(--add-output-neuron 1\.0) appends", added),
    (
        ["check", "net.py", *SHAPE, "--relu-as-if", "1"],
        2,
        r"Did you mean net\.py:bare or (net\.py:rectified)\?",
        instead("net.py"),
    ),
    (["check", "digits", "--set", "fan_out=4"], 2, r"Did you mean (routing\.fan_out)\?", instead("fan_out")),
    (["check", "digits", "--chip", "spek2f"], 2, r"Did you mean (speck2f)", instead("spek2f")),
    (["check", "digits", "--forbid", "0-3"], 2, r"A range is written (0\.\.)5", instead("0-")),
    (["solv", "digits"], 2, r"Did you mean mapper (solve) digits\?", instead("solv")),
    (["solve", "digits", "--work-limt", "9"], 2, r"Did you mean (--work-limit)\?", instead("--work-limt")),
    (["check", NETWORK, "--repair", "chip"], 1, r'    ((?:--set "\S+" ?)+)', added),
    (
        ["report", NETWORK, "--chip", "speck2f", "--repair", "chip", "--workers", "1", "--out", "out"],
        0,
        r"    ((?:--set \"\S+\" ?)+)",
        lambda words, found: ["check", *words[1:4], *shlex.split(found[1])],
    ),
    (
        ["check", str(ROOT / "mapper/data/wide.yaml"), "--plain"],
        1,
        r"leave out (--plain)",
        without("--plain"),
    ),
    (
        ["solve", TOO_LARGE, "--work-limit", "1e-12"],
        3,
        r"leave --time-limit and (--work-limit) out",
        without("--work-limit", "1e-12"),
    ),
    (
        ["solve", "digits", "--pin", "conv1=1", "--monitor", "conv9"],
        2,
        r"Did you mean (conv\d)",
        instead("conv9"),
    ),
    (["check", "digits", "-q", "-v"], 2, r"(Leave one out)", without("-v")),
]


@pytest.mark.parametrize(
    ("words", "status", "suggested", "change"),
    CASES,
    ids=[f"{n}-{Path(case[0][1]).name}" for n, case in enumerate(CASES)],
)
def test_a_way_out_helps(
    words: list[str],
    status: int,
    suggested: str,
    change: Change,
    capsys: Capture,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(CODE, encoding="utf-8")
    assert run(words) == status
    told = capsys.readouterr()
    found = re.search(suggested, told.err if status == 2 else told.out)
    assert found, told
    changed = change(words, found)
    assert changed != words
    assert run(changed) == 0, (changed, capsys.readouterr())


def test_the_command_that_goes_on_with_a_report(capsys: Capture, tmp_path: Path) -> None:
    out = tmp_path / "a folder"
    assert run(["report", "digits", "--chip", "speck2f", "--time-limit", "1e-9", "--out", str(out)]) == 3
    found = re.search(r"To go on: mapper (.*) --time-limit \S+$", capsys.readouterr().err, re.M)
    assert found
    assert run(shlex.split(found[1])) == 0
    assert "digits" in capsys.readouterr().out


def test_traffic_is_measured_as_the_message_says(capsys: Capture, tmp_path: Path) -> None:
    assert run(["solve", "digits", "--objective", "balance"]) == 2
    told = capsys.readouterr().err
    found = re.search(r"mapper (simulate CONFIG --events FILE --traffic rates\.json) measures it", told)
    assert found
    assert run(["emit", "digits", "--out", str(tmp_path)]) == 0
    events = tmp_path / "events.csv"
    events.write_text("t,x,y,p\n0,1,1,0\n5,2,2,0\n", encoding="utf-8")
    real = {"CONFIG": "config.json", "FILE": "events.csv", "rates.json": "rates.json"}
    assert run([str(tmp_path / real[word]) if word in real else word for word in found[1].split()]) == 0
    assert run(["solve", "digits", "--objective", "balance", "--traffic", str(tmp_path / "rates.json")]) == 0


@pytest.mark.parametrize(
    ("repair", "kinds"), [("network", "network"), ("chip", "chip"), ("any", "network first")]
)
def test_whose_repairs(repair: str, kinds: str, capsys: Capture) -> None:
    assert run(["check", NETWORK, "--repair", repair]) == 1
    text = capsys.readouterr().out.partition("repairs, each solved and checked:")[2]
    first = text.partition("2. ")[0]
    assert ("--set" in first) == (kinds == "chip")
    assert ("--set" in text) or kinds != "chip"
    # A chip that nobody sells may be changed as well as the network: the least change comes first.
    assert run(["check", NETWORK, "--repair", repair, "--set", "core[0].bias_words=2048"]) == 1
    changed = capsys.readouterr().out.partition("repairs, each solved and checked:")[2].partition("2. ")[0]
    assert ("--set" in changed) == (repair != "network")
