"""What people type first and wrongly: one message, whose way out is typed and helps."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from mapper.cli.entry import run

Capture = pytest.CaptureFixture[str]
CODE = """
from torch import nn
def make():
    return nn.Sequential(nn.Conv2d(2, 4, 3, bias=False), nn.ReLU())
"""
SHAPE = "--input-shape 2,8,8"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(CODE, encoding="utf-8")
    (tmp_path / "next.toml").write_text('extends = "speck2f"\n', encoding="utf-8")
    return tmp_path


def refused(typed: str, capsys: Capture) -> str:
    """What is said on one line."""
    assert run(shlex.split(typed)) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    return told


# What is typed, and the whole command that the message gives instead.
WHOLE = [
    ("--verbose check digits", "check --verbose digits"),
    ("--verb check digits", "check --verbose digits"),
    ("--chip speck2f check digits -q", "check --chip speck2f digits -q"),
    ("--out=there -q solve digits", "solve --out=there -q digits"),
    ("chips --json list", "chips list --json"),
    ("digits --chip speck2e", "solve digits --chip speck2e"),
    (f"net.py:make {SHAPE} --relu-as-if 1", f"solve net.py:make {SHAPE} --relu-as-if 1"),
    ("Check digits", "check digits"),
    ("chip list", "chips list"),
    ("list", "chips list"),
    ("chips speck2f", "chips show speck2f"),
    ("chips speck2fmodule:0 --json", "chips show speck2fmodule:0 --json"),
    ("help", "--help"),
    ("help check", "check --help"),
    ("chips help show", "chips show --help"),
    ("version", "--version"),
    ("check --version", "--version"),
]


@pytest.mark.parametrize(("typed", "meant"), WHOLE, ids=lambda words: words)
def test_the_command_that_was_meant(typed: str, meant: str, folder: Path, capsys: Capture) -> None:
    told = refused(typed, capsys)
    found = re.search(
        r"(?:Did you mean|Options stand behind the command:|It stands alone:) mapper (.*?)[?.] Help: ", told
    )
    assert found, told
    assert found[1] == meant
    assert run(shlex.split(meant)) == 0


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("-q", "-q stands without a command. mapper COMMAND -q is the order."),
        ("chips -v", "mapper chips COMMAND -v is the order."),
        ("--zzz", "Unknown option: --zzz."),
        ("--zzz check digits", "Unknown option: --zzz."),
        ("--pin a=1 chips list", "It belongs to mapper solve, check, emit, verify, widest and tune."),
        ("dance", "There are solve, check, emit, verify, simulate, report, diff, synthesize, widest, tune, devices, run, explain, schema, doctor and chips."),
        ("verify digits digits", "It takes one NETWORK; several go to mapper solve, check, emit, report and synthesize."),
        ("widest digits speck2f", "Did you mean --chip speck2f?"),
        ("check digits speck2f", "speck2f: is a chip. Give it as one: --chip speck2f"),
        ("check next.toml", "next.toml: is a chip. Give it as one: --chip next.toml"),
        ("report next.toml --chip speck2f --out out --workers 1", "next.toml: is a chip. Give it as one: --chip next.toml"),
        ("check digits --input-shape 32,1,8,8", "Leave the batch out: --input-shape 1,8,8"),
        ("simulate net.py:Net --events t.npz", "net.py:Net: is a network, and a configuration is wanted. Write one first: mapper emit net.py:Net --out DIR; then name DIR/config.json"),
        ("diff a b c", "It takes LEFT and RIGHT."),
        ("emit digits --out there --step-us 0", "--step-us: a time step must be positive (got 0.0 microseconds"),
        ("synthesize digits --kernel-words 3000", "(got 3000). Write --kernel-words 2048..4096"),
        ("doctor x", "It takes options alone."),
        ("--version x", "It takes none."),
        (f"check net.py:make {SHAPE} --relu-as-if 0.5x", "--relu-as-if: wants a threshold, or auto (got \"0.5x\")"),
        (f"check {SHAPE} --relu-as-if aut net.py:make", "--relu-as-if: wants a threshold, or auto (got \"aut\")"),
    ],
)  # fmt: skip
def test_what_is_said(typed: str, said: str, folder: Path, capsys: Capture) -> None:
    assert said in refused(typed, capsys)


@pytest.mark.parametrize("typed", ["net.py", "net.py:", "net.py::make", "net.py:make()", "net.py:mak"])
def test_what_in_a_file_was_meant(typed: str, folder: Path, capsys: Capture) -> None:
    rest = [*SHAPE.split(), "--relu-as-if"]
    told = refused(shlex.join(["check", typed, *rest]), capsys)
    found = re.search(r"Did you mean (net\.py:\w+)\?", told)
    assert found, told
    assert run(["check", found[1], *rest]) == 0


@pytest.mark.parametrize("shape", ["(1, 8, 8)", "[1, 8, 8]", "1x8x8"])
def test_shapes_as_python_prints_them(shape: str, folder: Path, capsys: Capture) -> None:
    assert run(["check", "digits", "--input-shape", shape]) == 0, capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("routing.fan_out = 0", "note: no core has a destination (fan_out=0)"),
        ('name = "speck2f"\nrouting.fan_out = 4', "note: it is another chip than the speck2f that ships"),
        ("routing.fan_out = 4", ""),
    ],
)
def test_sound_chips_that_are_hardly_meant(content: str, said: str, folder: Path, capsys: Capture) -> None:
    (folder / "next.toml").write_text(f'extends = "speck2f"\n{content}\n', encoding="utf-8")
    assert run(["chips", "check", "next.toml"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert said in told
    assert ("note:" in told) == bool(said)


def test_one_destination_is_one(folder: Path, capsys: Capture) -> None:
    (folder / "next.toml").write_text('extends = "speck2f"\nrouting.fan_out = 0\n', encoding="utf-8")
    assert run(["check", "digits", "--chip", "next.toml"]) == 1
    told = " ".join(capsys.readouterr().out.split())
    assert "conv1 needs 1 destination (" in told
    assert "Cores with 1 destination instead of 0." in told
