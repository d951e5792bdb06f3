"""A layer is called the same everywhere, and no number is shown that could be a name and an index."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from torch import nn

import mapper
from mapper.cli.entry import run
from mapper.wording import titled, untitled

Capture = pytest.CaptureFixture[str]
CODE = """
from torch import nn


def net():
    return nn.Sequential(nn.Conv2d(2, 4, 3, bias=False), nn.ReLU(), nn.Conv2d(4, 2, 3, bias=False), nn.ReLU())
"""
OF_NET = ["net.py:net", "--input-shape", "2,8,8", "--relu-as-if", "1"]
# A row of a table that begins with a number alone, or a sentence about "layer 3".
BARE = re.compile(r"^ *\d+ +[\d.-]+ +[\d.-]+|layers? \d+(?! \()|SPIKES in \d+(?! \()", re.M)


@pytest.fixture(autouse=True)
def _code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    (tmp_path / "net.py").write_text(CODE, encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "kind", "title"),
    [
        ("3", "Conv2d", "3 (Conv2d)"),
        ("3", "", '"3"'),
        ("#3", "Linear", "#3 (Linear)"),
        ("conv3", "Conv2d", "conv3"),
    ],
)
def test_titles_and_back(name: str, kind: str, title: str) -> None:
    assert titled(name, kind) == title
    assert untitled(title) == name
    assert untitled(title.replace(" ", "")) == name


@pytest.mark.parametrize("reference", ["2 (Conv2d)", "2(Conv2d)", "2  (Conv2d)", '"2"', "#1"])
def test_every_way_to_write_a_title_is_read(reference: str) -> None:
    result = mapper.solve(
        "net.py:net", input_shape=(2, 8, 8), torch=mapper.TorchOptions(1.0), pins={reference: 5}
    )
    assert result.solution is not None
    assert run(["check", *OF_NET, "--pin", f"{reference}=5"]) == 0
    # What it is not is not read.
    assert run(["check", *OF_NET, "--pin", "2 (Linear)=5"]) == 2


@pytest.mark.filterwarnings("ignore:.*no layer is called")
def test_pins_of_one_core_are_named_as_they_were_given(capsys: Capture) -> None:
    said = "=5: layer 2 (Conv2d): the core is also taken by pinned layer 0 (Conv2d)"
    assert run(["check", *OF_NET, "--pin", "0=5", "--pin", "1=5"]) == 2
    assert f"--pin 1{said}" in capsys.readouterr().err
    assert run(["check", *OF_NET, "--pin", "0=5", "--pin", "2 (Conv2d)=5"]) == 2
    assert "--pin 2 (Conv2d)=5: the core is also taken" in capsys.readouterr().err
    options = mapper.TorchOptions(1.0)
    with pytest.raises(mapper.OptionsError, match=re.escape(f"pins 1{said}")):
        mapper.solve("net.py:net", input_shape=(2, 8, 8), torch=options, pins={0: 5, 1: 5})


def test_verify_and_simulate_show_titles(capsys: Capture, tmp_path: Path) -> None:
    assert run(["verify", *OF_NET, "--random", "0.3", "--steps", "20"]) == 0
    told = capsys.readouterr().out
    assert told.count("0 (Conv2d)") >= 3
    assert not BARE.search(told), told
    assert run(["verify", *OF_NET, "--random", "0.001", "--steps", "3"]) in (0, 2)
    assert not BARE.search("".join(capsys.readouterr()))
    assert run(["emit", *OF_NET, "--out", "out"]) == 0
    np.savez("e.npz", t=np.arange(50), p=np.zeros(50, int), y=np.full(50, 4), x=np.full(50, 4))
    assert (
        run(["simulate", "out/config.json", "--events", "e.npz", "--layer", '"0"', "--layer", "2 (Conv2d)"])
        == 0
    )
    told = capsys.readouterr().out
    assert '"0"' in told
    assert not re.search(r"^ *\d+ +\d+ +\d+ +\d", told, re.M), told
    assert run(["simulate", "out/config.json", "--events", "e.npz", "--layer", "9"]) == 2
    assert 'allowed: "0", "2", or #0..#1' in capsys.readouterr().err


def test_the_class_like_sinabs_shows_titles() -> None:
    network = mapper.DynapcnnNetwork(
        nn.Sequential(nn.Conv2d(2, 4, 3, bias=False), nn.ReLU()), (2, 8, 8), relu_as_if=1
    )
    assert "#0: 0 (Conv2d)" in repr(network)
    network.place()
    assert re.search(r"#0: 0 \(Conv2d\), core \d", repr(network))


def test_refusals_show_titles() -> None:
    with pytest.raises(mapper.NetworkError) as caught:
        mapper.solve("net.py:net", input_shape=(2, 2, 2), torch=mapper.TorchOptions(1.0))
    assert not BARE.search(str(caught.value))
    with pytest.raises(
        mapper.OptionsError, match=r"There are 0 \(Conv2d\), 2 \(Conv2d\) \(indexes -2\.\.1\)"
    ):
        mapper.solve(
            "net.py:net", input_shape=(2, 8, 8), torch=mapper.TorchOptions(1.0), pins={"convolution": 1}
        )


def test_widest_names_its_layers_so_that_none_is_a_number(capsys: Capture) -> None:
    assert run(["widest", *OF_NET, "--what", "width", "--max-pieces", "1"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert 'sizes: "0" ' in told
    assert not re.search(r"(sizes|binding): \d", told)
