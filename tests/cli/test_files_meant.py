"""A file that is not there is asked about by the one that is, and what stands where no file does is said to."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch

from mapper.cli.entry import run
from mapper.cli.option_values import read_number
from tests.cli.test_first_mistakes import CODE

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one file of every kind."""
    folder = tmp_path_factory.mktemp("files")
    assert run(["emit", "digits", "--out", str(folder / "made")]) == 0
    (folder / "net.py").write_text(CODE, encoding="utf-8")
    torch.save({"0.weight": torch.full((4, 2, 3, 3), 0.5)}, folder / "trained.pth")
    (folder / "next.toml").write_text('extends = "speck2f"\n', encoding="utf-8")
    (folder / "events.csv").write_text("t,x,y,p\n0,1,1,0\n5,2,2,0\n", encoding="utf-8")
    samples = np.random.default_rng(0).integers(0, 2, (6, 5, 1, 8, 8))
    np.savez(folder / "train.npz", rasters=samples, labels=np.arange(6))
    pair = np.random.default_rng(0).random((6, 2, 8, 8))
    np.savez(folder / "images.npz", images=pair, labels=np.arange(6))
    words = ["simulate", "made/config.json", "--events", "events.csv", "--traffic", "rates.json"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert run(words) == 0
        assert run([*REPORT, "--out", "report"]) == 0
    return folder


REPORT = ["report", "digits", "--chip", "speck2f", "--workers", "1", "--repairs-for", "none"]
OF_TORCH = "--input-shape 2,8,8 --relu-as-if"
# With every option that takes a file; the one that is misspelt, and how it is named then.
MISSPELT = [
    ("check nat.py:make --input-shape 2,8,8 --relu-as-if", "net.py:make"),
    ("check digits --chip nxt.toml", "next.toml"),
    ("chips check nxt.toml", "next.toml"),
    ("report digits --variant nxt.toml --workers 1 --repairs-for none --out r", "next.toml"),
    ("report --resume report/reprot.json --workers 1 --out r", "report/report.json"),
    ("solve digits --keep made/placment.json", "made/placement.json"),
    ("check digits --traffic rate.json", "rates.json"),
    ("simulate made/confg.json --events events.csv", "made/config.json"),
    ("simulate made/config.json --events event.csv", "events.csv"),
    ("verify digits --steps 2 --events event.csv", "events.csv"),
    ("verify digits --steps 2 --data trian.npz", "train.npz"),
    ("tune digits --calibrate trian.npz --runs 1 --time-limit 0.1 --out t", "train.npz"),
    (f"check net.py:make {OF_TORCH} auto --calibrate image.npz", "images.npz"),
    (f"check net.py:make {OF_TORCH} 1 --weights traned.pth", "trained.pth"),
    ("diff made/confg.json made/config.json", "made/config.json"),
]


@pytest.mark.parametrize(("typed", "meant"), MISSPELT, ids=lambda text: text)
def test_the_file_that_was_meant(
    typed: str, meant: str, files: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(files)
    words = shlex.split(typed)
    assert run(words) == 2
    found = re.search(r"there is no such file\. Did you mean (\S+)\?(?= |\n)", capsys.readouterr().err)
    assert found
    assert found[1] == meant
    wrong = next(word for word in words if Path(word.partition(":")[0]).suffix == Path(meant.partition(":")[0]).suffix
                 and not Path(word.partition(":")[0]).exists())  # fmt: skip
    assert run([meant if word == wrong else word for word in words]) == 0


def test_what_has_no_like_beside_it_is_not_guessed(
    files: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(files)
    for name in ("other.npz", "nowhere/train.npz", "train.npz/train.npz", ""):
        assert run(["verify", "digits", "--data", name]) == 2
        assert "Did you mean" not in capsys.readouterr().err


# What is typed, what is said, and what then is typed; a status of 0 but where it is the pipe's own.
MENDED = [
    ("check digits --json out.json", "--json: takes no value (got \"out.json\"). It prints: write > out.json", "check digits --json"),
    ("check digits --json=out.json", "It prints: write > out.json", "check digits --json"),
    ("check digits --plain yes", "--plain: takes no value (got \"yes\"). Leave yes out; --plain alone says it", "check digits --plain"),
    ("check digits --relays false", "--relays: takes no value (got \"false\"). Write --no-relays", "check digits --no-relays"),
    ("check digits --plain off", "Leave --plain out too", "check digits"),
    ("emit digits there", "there: is neither a network nor a chip. Did you mean --out there?", "emit digits --out there"),
    ("solve digits there -q", "Did you mean --out there?", "solve digits --out there -q"),
    ("simulate made/config.json events.csv", "Error: Did you mean --events events.csv? Help: mapper", "simulate made/config.json --events events.csv"),
    ("simulate digits --random 0.5 --steps 2", "Unknown option: --random. It belongs to mapper verify.", "verify digits --random 0.5 --steps 2"),
    ("simulate events.csv --events made/config.json", "Did you mean made/config.json --events events.csv?", "simulate made/config.json --events events.csv"),
    ("verify digits --steps 2 --data digit", "Did you mean digits? Write it by", "verify digits --steps 2 --data digits"),
    ("report digits speck2f --out chosen --workers 1", "speck2f: is a chip. Give it as one: --chip speck2f", "report digits --chip speck2f --out chosen --workers 1"),
    ("synthesize digits speck2f", "speck2f: is a chip. Give it as one: --extends speck2f", "synthesize digits --extends speck2f"),
    ("check digits --set core[8].kernel_words 16Ki", "--set core[8].kernel_words: not of the form PATH=VALUE", "check digits --set core[8].kernel_words=16Ki"),
    ("diff made made/config.json", "made: is a folder; name a file in it", "diff made/config.json made/config.json"),
    ("chips show made/config.json", "made/config.json: is no chip file, which ends in .toml", "chips show speck2f"),
    ("simulate made/config.json --events events.csv --piece 0", "--piece: must be positive", "simulate made/config.json --events events.csv --piece 1"),
    ("solve digits --out events.csv", "cannot be written: events.csv is a file, and no folder", "solve digits --out here"),
    ("tune digits --calibrate events.csv --runs 1 --time-limit 0.1 --out there",
     "events.csv: is a recording without a label. Put recordings into a folder, in one sub-folder a class",
     "tune digits --calibrate digits-train --runs 1 --time-limit 0.1 --out there"),
    ("tune digits there --runs 1 --time-limit 0.1",
     "Did you mean --out there? --calibrate is missing (FILE): samples that thresholds are found by",
     "tune digits --out there --calibrate digits-train --runs 1 --time-limit 0.1"),
]  # fmt: skip


@pytest.mark.parametrize(("typed", "said", "then"), MENDED, ids=lambda text: text)
def test_what_stands_in_the_wrong_place(
    typed: str, said: str, then: str, files: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(files)
    assert run(shlex.split(typed)) == 2
    assert said in capsys.readouterr().err
    assert run(shlex.split(then)) == 0


def test_a_chip_that_ships_may_be_checked(capsys: Capture) -> None:
    assert run(["chips", "check", "speck2f"]) == 0
    assert run(["chips", "check", "speck2f", "--set", "limits.padding_max=16"]) == 2
    assert "below kernel_size_max" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "unit", "is_whole", "value"),
    [
        ("10s", "SECONDS", False, 10.0), ("1h", "SECONDS", False, 3600.0), ("2.5 min", "SECONDS", False, 150.0),
        ("100ms", "SECONDS", False, 0.1), ("1e-3s", "SECONDS", False, 0.001), ("1ms", "MICROSECONDS", True, 1000),
        ("0.5ms", "MICROSECONDS", True, 500), ("7µs", "MICROSECONDS", True, 7), ("5%", "RATE", False, 0.05),
        ("1kHz", "HZ", False, 1000.0), ("1e3", "SECONDS", False, 1000.0), ("inf", "SECONDS", False, float("inf")),
        ("12", "COUNT", True, 12),
    ],
)  # fmt: skip
def test_a_number_may_have_its_unit(text: str, unit: str, is_whole: bool, value: float) -> None:
    read = read_number(text, unit, is_whole=is_whole)
    assert read == value
    assert isinstance(read, int if is_whole else float)


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("verify digits --steps 10ms", '"10ms" is no whole number.'),
        ("verify digits --time-limit 10x", '"10x" is no number of seconds.'),
        ("verify digits --time-limit 5%", '"5%" is no number of seconds.'),
        ("verify digits --step-us 0.5us", '"0.5us" is no whole number of microseconds.'),
        ("verify digits --step-us 1.5", '"1.5" is no whole number of microseconds.'),
        ("verify digits --random s", '"s" is no number.'),
    ],
)
def test_what_is_no_number_of_its_unit(typed: str, said: str, capsys: Capture) -> None:
    assert run(shlex.split(typed)) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    "typed", ["check -", "check digits --chip -", "simulate - --events -", "chips check -"]
)
def test_a_hyphen_is_no_stream(typed: str, capsys: Capture) -> None:
    assert run(shlex.split(typed)) == 2
    assert "-: is no name of a stream here. Name a file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("typed", "names"),
    [
        ("tune digits", ["--calibrate", "--out"]),
        ("tune", ["NETWORK", "--calibrate", "--out"]),
        ("emit", ["NETWORK...", "--out"]),
        ("simulate", ["CONFIG", "--events"]),
        ("run", ["CONFIG", "--device"]),
        ("diff", ["LEFT", "RIGHT"]),
    ],
)
def test_all_that_is_missing_is_told_at_once(typed: str, names: list[str], capsys: Capture) -> None:
    assert run(shlex.split(typed)) == 2
    assert re.findall(r"(\S+) is missing", capsys.readouterr().err) == names
