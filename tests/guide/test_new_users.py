"""Three people who have never seen this: what they type first, and whether what they are told brings them on.

The pages that are written for them run in `test_pages.py`; here nobody has read any.
"""

from __future__ import annotations

import json
import re
import runpy
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mapper
from mapper.cli.entry import run
from tests.guide.pages import ROOT

GESTURES = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, classes=4):
        super().__init__()
        self.conv1 = nn.Conv2d(2, 8, 5, stride=2, padding=2, bias=False)
        self.conv2 = nn.Conv2d(8, 16, 3, padding=1, bias=False)
        self.relu1, self.relu2 = nn.ReLU(), nn.ReLU()
        self.pool, self.drop = nn.AvgPool2d(4), nn.Dropout(0.3)
        self.fc = nn.Linear(256, classes, bias=False)

    def forward(self, x):
        x = self.pool(self.relu1(self.conv1(x)))
        x = self.relu2(self.conv2(x))
        return self.fc(self.drop(x.flatten(1)))


def trained():
    torch.manual_seed(0)
    return Net()
"""
# What somebody knows of the own network, by the option that a message asks for it with.
KNOWN = {"--input-shape": "2,32,32", "--relu-as-if": "1", "--add-output-neuron": "1"}


@dataclass
class Terminal:
    """Commands as they are typed, and what is to be seen."""

    read: Any

    def __call__(self, *words: str) -> tuple[int, str]:
        """Exit status, and all that is printed."""
        status = run(words)
        heard = self.read.readouterr()
        assert "Traceback" not in heard.err
        return status, heard.err + heard.out


@pytest.fixture
def terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Terminal:
    monkeypatch.chdir(tmp_path)
    return Terminal(capsys)


def led(terminal: Terminal, *words: str) -> list[str]:
    """The words that come of doing what each message says; every one brings something new."""
    typed = list(words)
    for _ in range(len(KNOWN) + 2):
        status, said = terminal(*typed)
        if status == 0:
            return typed
        assert status == 2, said
        option = next((name for name in re.findall(r"--[a-z-]+", said) if name in KNOWN), None)
        target = re.search(r"[\w.]+\.py:trained", said)
        if option is not None:
            assert option not in typed, f"{option} was given, and is asked for again: {said}"
            typed += [option, KNOWN[option]]
        else:
            assert target is not None, f"nothing to go on with: {said}"
            typed = [target[0] if word.endswith(".py") else word for word in typed]
    raise AssertionError(f"asked too often: {typed}")


def test_a_dev_kit_and_a_network_of_pytorch(terminal: Terminal, tmp_path: Path) -> None:
    Path("net.py").write_text(GESTURES, encoding="utf-8")
    typed = led(terminal, "solve", "net.py")
    assert "net.py:trained" in typed
    assert set(KNOWN) < set(typed)

    status, said = terminal("emit", *typed[1:], "--out", "chip")
    assert (status, "chip/config.json" in said) == (0, True)
    rng = np.random.default_rng(0)
    events = np.zeros(300, [("x", "i8"), ("y", "i8"), ("t", "i8"), ("p", "i8")])
    for name, largest in (("x", 32), ("y", 32), ("p", 2)):
        events[name] = rng.integers(0, largest, len(events))
    events["t"] = np.sort(rng.integers(0, 50_000, len(events)))
    np.save("recording.npy", events)
    status, said = terminal("simulate", "chip/config.json", "--events", "recording.npy", "--out", "spikes")
    assert status == 0, said
    assert list((tmp_path / "spikes").iterdir())

    # samna is not installed here, nor on most machines on which somebody tries this first.
    words = ["chip/config.json", "--device", "speck2fmodule:0", "--self-test", "chip/known_answer.json"]
    deployed = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "deploy.py"), *words],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert deployed.returncode == 2
    assert "samna is not installed" in deployed.stderr
    assert "Traceback" not in deployed.stderr


SHAPES = """
schema_version: 1
name: next
input: {shape: [2, 32, 32]}
layers:
  - {name: conv1, conv: {features: 16, kernel: 3, padding: 1}, pool: 2}
  - {name: conv2, conv: {features: 64, kernel: 3, padding: 1}, pool: 2}
  - {name: fc, linear: {features: 40}}
outputs: [fc]
"""


def test_the_next_chip(terminal: Terminal) -> None:
    Path("next.yaml").write_text(SHAPES, encoding="utf-8")
    status, said = terminal("check", "next.yaml", "--chip", "speck2cmini", "--repair", "chip", "--json")
    assert status == 1
    repairs = json.loads(said)["report"]["repairs"]
    changes = repairs[0]["overrides"]
    as_set = [word for change in changes for word in ("--set", change)]
    assert terminal("check", "next.yaml", "--chip", "speck2cmini", *as_set)[0] == 0

    quoted = ", ".join(json.dumps(change) for change in changes)
    Path("variant.toml").write_text(f'extends = "speck2cmini"\nchanges = [{quoted}]\n', encoding="utf-8")
    assert terminal("chips", "check", "variant.toml")[0] == 0
    status, said = terminal(
        "report", "next.yaml", "digits", "--chip", "speck2cmini", "--variant", "variant.toml",
        "--workers", "1", "--out", "report",
    )  # fmt: skip
    assert status == 0, said
    cells = json.loads(Path("report/report.json").read_text(encoding="utf-8"))["cells"]
    verdicts = {(cell["network"], cell["variant"]): cell["verdict"] for cell in cells}
    assert verdicts.pop((0, 0)) == "infeasible"
    assert set(verdicts.values()) <= {"plain", "divided"}


SINABS = """
import torch
from torch import nn
from sinabs.backend.dynapcnn import DynapcnnNetwork

snn = nn.Sequential(
    nn.Conv2d(2, 8, 3, bias=False), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(8 * 49, 10, bias=False), nn.ReLU()
)
network = DynapcnnNetwork(snn, input_shape=(2, 16, 16), discretize=True, dvs_input=False)
counts = network(torch.ones(5, 2, 16, 16))
compatible = network.is_compatible_with("speck2fmodule:0")
"""


def test_a_script_of_sinabs(terminal: Terminal) -> None:
    old, new = "from sinabs.backend.dynapcnn import DynapcnnNetwork", "from mapper import DynapcnnNetwork"
    script = SINABS.replace(old, new)
    Path("script.py").write_text(script, encoding="utf-8")
    # A module of ReLUs is none of sinabs' own, whose neurons spike: what to add is said, and is enough.
    with pytest.raises(mapper.NetworkError, match=r"relu_as_if=1\.0"):
        runpy.run_path("script.py")
    Path("script.py").write_text(script.replace("dvs_input=", "relu_as_if=1.0, dvs_input="), encoding="utf-8")
    names = runpy.run_path("script.py")
    assert tuple(names["counts"].shape) == (5, 10, 1, 1)
    assert names["compatible"]

    network = names["network"]
    with pytest.raises(ImportError, match=r"samna.*plain_config"):
        network.to("speck2fmodule:0")
    mapper.write_config(network.plain_config("speck2fmodule:0"), Path("config.json"))
    status, said = terminal("diff", "config.json", "config.json")
    assert status == 0, said
