"""Networks named by `package.module:factory`: what is imported and called, and what goes wrong there."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from mapper.errors import NetworkError
from mapper.frontends import TorchOptions, load_network
from mapper.network import Network
from mapper.operations import Shape
from tests.frontends.test_nir import graph

SHAPE = (2, 8, 8)

SOURCE = """
import sys
import numpy as np
import torch
from torch import nn
from mapper.errors import Finding, NetworkError

net = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU())
number = 3
make = lambda: net
Net = type("Net", (nn.Sequential,), {"__init__": lambda self: nn.Sequential.__init__(self, *net)})
class Box:
    inner = net
def wrong(): return 3
def broken(): raise KeyError("no such weights")
def leaves(): sys.exit(3)
def wants(argument): return net
def own(): raise NetworkError(Finding("mine", "own words"))
"""


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack" / "__init__.py").write_text("")
    (tmp_path / "pack" / "models_here.py").write_text(SOURCE)
    (tmp_path / "broken_here.py").write_text("import nothing_of_this_name\n")
    monkeypatch.chdir(tmp_path)
    yield "pack.models_here"
    for name in ("pack.models_here", "pack", "broken_here"):
        sys.modules.pop(name, None)


def test_python_targets(models: str) -> None:
    before = list(sys.path)
    for name in ("net", "make", "Net", "Box.inner"):
        network = load_network(f"{models}:{name}", SHAPE, torch=TorchOptions(1.0))
        assert network.layers[0].output_shape == Shape(4, 6, 6)
    assert sys.path == before
    module = sys.modules[models]
    vars(module)["ready"] = network
    assert load_network(f"{models}:ready") is network
    vars(module)["graph"] = graph
    assert isinstance(load_network(f"{models}:graph"), Network)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("{}:wrong", "gives no network .got int"),
        ("{}:number", "gives no network .got int"),
        ("{}:broken", "KeyError: 'no such weights'"),
        ("{}:leaves", "SystemExit: 3"),
        ("{}:wants", "TypeError: wants"),
        ("{}:nobody", "AttributeError: .*nobody"),
        ("{}:own", "mine: own words"),
        ("nothing_here:net", "ModuleNotFoundError"),
        ("broken_here:net", "ModuleNotFoundError: .*nothing_of_this_name"),
        ("C:net", "not a network file"),
        ("c:models.nir", "no such file"),
        ("models:net.nir", "no such file"),
        ("{}", "not a network file"),
        ("{}:", "not a network file"),
        ("{}:a b", "not a network file"),
        ("a:b:c", "not a network file"),
        (":net", "not a network file"),
    ],
)
def test_targets_that_fail(models: str, name: str, text: str) -> None:
    target = name.format(models)
    with pytest.raises(NetworkError, match=text) as caught:
        load_network(target, SHAPE)
    assert target in str(caught.value) or "mine" in text or "nir" in target
