"""Of several networks each takes the options that concern it; what concerns none is refused."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mapper
from mapper.cli.entry import run

ROOT = Path(__file__).resolve().parents[1]
WIDE = str(ROOT / "mapper/data/wide.yaml")
CODE = """
from torch import nn
import mapper


def net():
    return nn.Sequential(nn.Conv2d(2, 4, 3, bias=False), nn.ReLU())


def pooled():
    return nn.Sequential(nn.Conv2d(2, 4, 3, bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(144, 4, bias=False))


def read_already():
    return mapper.DynapcnnNetwork(net(), (2, 8, 8), relu_as_if=1.0)
"""
OF_TORCH = ["--relu-as-if", "1", "--input-shape", "2,8,8"]


@pytest.fixture(autouse=True)
def _code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(CODE, encoding="utf-8")


@pytest.mark.parametrize(
    "sources", [("net.py:net", "digits"), ("digits", "net.py:net"), ("digits", "net.py:net", "digits")]
)
def test_a_shared_chip(sources: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["solve", *sources, *OF_TORCH, "--from", "sinabs", "--v-min", "none", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert any("ReLU taken as IF neuron" in reading["taken"] for reading in answer["readings"])
    torch = mapper.TorchOptions(relu_as_if=1.0)
    result = mapper.solve([*sources], torch=torch, input_shape=(2, 8, 8))
    names = {network.name: network.inputs[0].shape for network in result.networks}
    assert names["Sequential"] == (2, 8, 8)
    assert names["digits"] == (1, 8, 8)


def test_a_report_beside_networks_that_are_no_modules(tmp_path: Path) -> None:
    words = ["report", "net.py:net", "digits", WIDE, "--chip", "speck2f", "--repairs-for", "none"]
    assert run([*words, *OF_TORCH, "--out", str(tmp_path / "r")]) == 0
    record = json.loads((tmp_path / "r" / "report.json").read_text(encoding="utf-8"))
    assert [cell["verdict"] in ("plain", "divided") for cell in record["cells"]] == [True] * 3


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            ["--relu-as-if", "1"],
            r"--relu-as-if: goes with a torch module, and (digits|\S+wide\.yaml) is none",
        ),
        (["--no-reading-check"], r"--no-reading-check: goes with a torch module"),
        (["--weights", "w.pth"], r"--weights w\.pth: goes with a torch module"),
        (
            ["--input-shape", "3,8,8"],
            r"digits: states another input shape than --input-shape \(got 3x8x8; allowed: 1x8x8\)",
        ),
    ],
)
@pytest.mark.parametrize("command", ["solve", "report"])
def test_what_concerns_none_is_refused(
    command: str, words: list[str], told: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    more = ["--chip", "speck2f", "--out", str(tmp_path / "r")] if command == "report" else []
    assert run([command, "digits", WIDE, *words, *more]) == 2
    assert re.search(told, capsys.readouterr().err)
    assert not (tmp_path / "r").exists()


def test_facts_of_nir_concern_what_is_nir(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check", WIDE, "digits", "--from", "sinabs", "--v-min", "none"]) == 0
    assert run(["check", WIDE, WIDE, "--from", "sinabs"]) == 2
    assert "--from sinabs: goes with a NIR file or graph" in capsys.readouterr().err


@pytest.mark.parametrize("given", [{"relu_as_if": 1.0}, {"reading_check": False}])
def test_what_was_read_already_is_said_to_be(given: dict[str, Any]) -> None:
    with pytest.raises(mapper.OptionsError, match=r"read_already is a DynapcnnNetwork: it has been read"):
        mapper.solve("net.py:read_already", torch=mapper.TorchOptions(**given))
    result = mapper.solve(
        ["net.py:read_already", "net.py:net"], torch=mapper.TorchOptions(1.0), input_shape=(2, 8, 8)
    )
    assert result.solution is not None


def test_channels_last_and_samples_used_twice_are_told(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert run(["check", "net.py:net", "--input-shape", "32,32,2", "--relu-as-if", "1"]) == 2
    assert (
        "--input-shape 32,32,2: features come first; channels last would be 2,32,32"
        in capsys.readouterr().err
    )
    assert run(["check", "net.py:net", *OF_TORCH]) == 0
    assert "channels last" not in capsys.readouterr().err
    images = np.random.default_rng(0).random((6, 2, 8, 8))
    for name in ("a.npz", "b.npz"):
        np.savez(tmp_path / name, images=images, labels=np.arange(6) % 4)
    words = [
        "verify",
        "net.py:pooled",
        "--input-shape",
        "2,8,8",
        "--relu-as-if",
        "auto",
        "--calibrate",
        "a.npz",
    ]
    for data, is_told in (("./a.npz", True), ("b.npz", False)):
        assert run([*words, "--data", data, "--steps", "4"]) == 0
        assert ("--data are the samples of --calibrate" in capsys.readouterr().err) == is_told


def test_synthesis_gives_options_to_the_networks_that_they_concern(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["synthesize", "net.py:net", "digits", *OF_TORCH, "--cores", "3..9", "-q"]) == 0
    capsys.readouterr()
    assert run(["synthesize", "digits", WIDE, "--relu-as-if", "1"]) == 2
    assert "--relu-as-if" in capsys.readouterr().err


def test_the_command_that_goes_on_reads_networks_as_before(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["report", "net.py:net", "digits", *OF_TORCH, "--chip", "speck2f", "--workers", "1"]
    assert run([*words, "--time-limit", "1e-9", "--out", str(tmp_path)]) == 3
    typed = capsys.readouterr().err.partition("To go on: mapper ")[2].partition(" --time-limit")[0]
    assert run([*shlex.split(typed), "--workers", "1"]) == 0
    record = json.loads((tmp_path / "report.json").read_text())
    assert [row["error"] for row in record["networks"]] == [None, None]


def test_quiet_answers_have_no_notes(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["verify", "net.py:net", *OF_TORCH, "--random", "0.5", "--steps", "20"]
    for loudness, is_told in (([], True), (["-q"], False)):
        assert run([*words, *loudness]) == 0
        told = capsys.readouterr().out
        assert ("read: " in told) is is_told
        assert "configuration = network as read" in told


def test_a_side_that_is_no_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["report", "digits", "--chip", "speck2f", "--workers", "1", "--out", str(tmp_path)]) == 0
    assert run(["diff", str(tmp_path / "report.json"), str(tmp_path / "no.json")]) == 2
    assert "there is no such file" in capsys.readouterr().err


def test_a_report_is_not_written_over_by_one_that_lacks_its_cells(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["report", "net.py:net", *OF_TORCH, "--chip", "speck2f", "--workers", "1", "--out", str(tmp_path)]
    assert run(words) == 0
    path = tmp_path / "report.json"
    before, more = path.read_bytes(), ["--workers", "1", "--resume", str(path)]
    capsys.readouterr()
    for typed, said in (
        (["report", "net.py:net", "--chip", "speck2f", *more], "does not state its input shape"),
        (["report", "digits", "--chip", "speck2f", *more], "has cells that would be lost (got Sequential)"),
        (
            ["report", "net.py:net", *OF_TORCH, "--chip", "speck2e", *more],
            "has cells that would be lost (got speck2f)",
        ),
    ):
        assert run(typed) == 2
        assert said in capsys.readouterr().err
        assert path.read_bytes() == before
    assert run([*typed, "--out", str(tmp_path / "other")]) == 0


# What a file of samples holds, and the options that take it. What is shown turns them.
TURNED = {
    "images": ((6, 8, 8, 1), "images: has another shape than the network's input (got (6, 8, 8, 1); allowed: (samples, 1, 8, 8))"),
    "images of one feature": ((6, 8, 8), "(got (6, 8, 8); allowed: (samples, 1, 8, 8))"),
    "images as lists": ((6, 64), "(got (6, 64); allowed: (samples, 1, 8, 8))"),
    "rasters": ((6, 5, 8, 8, 1), "rasters: has another shape than the network's input (got (6, 5, 8, 8, 1); allowed: (samples, time, 1, 8, 8))"),
}  # fmt: skip
TAKING = {
    "verify": "verify digits --steps 4 --data samples.npz",
    "tune": "tune digits --runs 2 --time-limit 0.1 --out tuned --calibrate samples.npz",
    "tune, data": "tune digits --runs 2 --time-limit 0.1 --out tuned --calibrate digits-train --data samples.npz",
    "check": "check one.py:net --input-shape 1,8,8 --relu-as-if auto --calibrate samples.npz",
}


@pytest.mark.parametrize("taking", TAKING)
@pytest.mark.parametrize("held", TURNED)
def test_samples_whose_axes_stand_otherwise_are_turned_as_is_said(
    held: str, taking: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """One wording for all options that take samples: the file, the array, both shapes, and a line that helps."""
    (tmp_path / "one.py").write_text(CODE.replace("Conv2d(2,", "Conv2d(1,"), encoding="utf-8")
    shape, said = TURNED[held]
    kind = held.partition(" ")[0]
    samples = np.random.default_rng(0).integers(0, 2, shape)
    np.savez(tmp_path / "samples.npz", **{kind: samples, "labels": np.arange(6) % 3})  # type: ignore[arg-type]
    words = shlex.split(TAKING[taking])
    assert run(words) == 2
    told = capsys.readouterr().err
    assert "samples.npz: " in told
    assert said in told
    line = told.rpartition("Give ")[2].strip()
    turned = eval(line, {kind: samples})  # noqa: S307  # our own message
    np.savez(tmp_path / "samples.npz", **{kind: turned, "labels": np.arange(6) % 3})
    assert run(words) == 0
