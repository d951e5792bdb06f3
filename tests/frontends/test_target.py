"""Networks named by Python code: what is imported and called, and what goes wrong there."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from mapper.cli.entry import run
from mapper.errors import NetworkError
from mapper.frontends import TorchOptions, is_code, load_network
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


FILE = """
from dataclasses import dataclass

import torch
from torch import nn

from layers_beside import WIDTH

print("said by the file")


@dataclass
class Config:
    width: int = WIDTH


class Net(nn.Module):
    def __init__(self, width: int = WIDTH) -> None:
        super().__init__()
        self.conv, self.relu = nn.Conv2d(2, width, 3), nn.ReLU()

    def forward(self, x):
        from layers_beside import double
        return self.relu(self.conv(double(x)))


class Wide(Net):
    def __init__(self, width: int) -> None:
        super().__init__(width)


def make() -> Net:
    return Net()


def make_wide(width: int) -> Net:
    return Net(width)


def broken() -> nn.Module:
    return nn.Conv2d(2, 3, kernel_size=None)


def _private() -> Net:
    return Net()


net = Net(WIDTH + 1)
"""
ONE = TorchOptions(relu_as_if=1.0)


def written(folder: Path, width: int, name: str = "net.py", text: str = FILE) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "layers_beside.py").write_text(f"WIDTH = {width}\ndef double(x):\n    return x\n")
    (folder / name).write_text(text)
    return folder / name


def features(target: str) -> int:
    return load_network(target, SHAPE, torch=ONE).layers[0].output_shape.features


def test_files_of_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    first, second = written(tmp_path / "a.b" / "c d", 4, "net.v2.py"), written(tmp_path / "other", 5)
    monkeypatch.chdir(tmp_path)
    # Modules beside the file are Python's own to cache: one that changes twice in a second, as here, stays as it was.
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    path_before, modules_before = list(sys.path), set(sys.modules)
    for name, count in (("make", 4), ("Net", 4), ("net", 5)):
        assert features(f"{first}:{name}") == count
        assert features(f"a.b/c d/net.v2.py:{name}") == count
        # Another folder's modules beside the file are its own.
        assert features(f"./other/net.py:{name}") == count + 1
    assert sys.path == path_before
    assert {
        name for name in set(sys.modules) - modules_before if not name.startswith("mapper_target_")
    } == set()
    assert not list(tmp_path.rglob("net*.pyc"))
    written(tmp_path / "other", 7)
    assert features(f"{second}:make") == 7
    told = capsys.readouterr()
    assert told.out == ""
    assert "said by the file" in told.err


def test_a_file_named_like_an_installed_module(tmp_path: Path) -> None:
    import torch  # noqa: PLC0415

    path = written(tmp_path, 4, "torch.py", FILE.replace("from torch import nn", "import torch.nn as nn"))
    other = tmp_path / "json.py"
    other.write_text("raise RuntimeError('not this one')\n")
    # Python finds what is imported already; the file itself has a name of its own.
    assert features(f"{path}:make") == 4
    assert sys.modules["torch"] is torch


def test_a_file_finds_packages_of_the_current_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = FILE.replace("from layers_beside import", "from models_of_mine.layers_beside import")
    written(tmp_path / "models_of_mine", 6, text=text)
    monkeypatch.chdir(tmp_path)
    assert features("models_of_mine/net.py:make") == 6
    assert not [name for name in sys.modules if name.startswith("models_of_mine")]


def test_a_file_alone_tells_what_it_offers_and_is_not_run(tmp_path: Path) -> None:
    path = written(tmp_path, 4, text="raise RuntimeError('was run')\n" + FILE)
    with pytest.raises(NetworkError) as caught:
        load_network(str(path))
    offered = " or ".join(f"{path}:{name}" for name in ("Net", "make", "broken", "net"))
    assert str(caught.value).endswith(f"Did you mean {offered}?")
    with pytest.raises(NetworkError, match="Did you mean"):
        load_network(path)
    assert features(f"{written(tmp_path, 4)}:make") == 4


@pytest.mark.parametrize(
    ("text", "name", "parts"),
    [
        (FILE, ":mak", ["AttributeError", "'mak'", "Did you mean", "net.py:make or"]),
        (FILE, ":Wide", ["TypeError", "width", "net.py, line 28", "called without arguments"]),
        (FILE, ":make_wide", ["TypeError", "width", "net.py, line 36", "returns make_wide(...)"]),
        (FILE, ":broken", ["TypeError", "net.py, line 41)"]),
        (FILE, ":Config", ["gives no network (got Config)"]),
        ("x = 1\nimport nothing_of_this_name\n", ":x", ["ModuleNotFoundError", "net.py, line 2)"]),
        ("x = 1\n\n1 +\n", ":x", ["SyntaxError", "net.py, line 3)"]),
        ("x = 1\n\n1 +\n", "", ["is not Python at line 3"]),
        ("import layers_beside\nlayers_beside.double()\n", ":x", ["TypeError", "net.py, line 2)"]),
        ("import sys\nsys.exit('no data')\n", ":x", ["SystemExit: no data", "net.py, line 2)"]),
        ("class Stop(BaseException): ...\nraise Stop('now')\n", ":x", ["Stop: now", "net.py, line 2)"]),
        ("from .layers_beside import WIDTH\n", ":x", ["relative import", "name it pack.net:x"]),
        ("x = 1\n", "", ["Name it: ", "net.py:NAME"]),
    ],
)  # fmt: skip
def test_errors_in_files(text: str, name: str, parts: list[str], tmp_path: Path, capsys: Any) -> None:
    path = written(tmp_path / "pack", 4, text=text)
    assert run(["check", f"{path}{name}", "--input-shape", "2,8,8", "--relu-as-if"]) == 2
    errors = capsys.readouterr().err.splitlines()
    (line,) = (line for line in errors if line.startswith("Error: "))
    assert all(part in line for part in parts), line


def test_the_way_out_of_a_relative_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path / "relative_pack", 4, text=FILE.replace("from layers_beside", "from .layers_beside"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NetworkError, match=r"name it relative_pack\.net:make"):
        load_network("relative_pack/net.py:make", SHAPE, torch=ONE)
    assert features("relative_pack.net:make") == 4
    for name in [name for name in sys.modules if name.startswith("relative_pack")]:
        del sys.modules[name]


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("net.py:make", True), ("a/b.c/net.v2.py:make.inner", True), ("C:\\nets\\net.py:make", True),
        ("C:/nets/net.PY:make", True), ("odd:name.py:make", True), ("pack.models:make", True),
        ("net.py", False), ("C:net.py", False), ("C:\\nets\\net.nir", False), ("net.py:", False),
        ("net.py:a b", False), ("digits", False), ("net.nir", False),
    ],
)  # fmt: skip
def test_what_is_code(text: str, answer: bool) -> None:
    assert is_code(text) == answer


def test_a_file_with_a_colon_in_its_name_is_a_file(tmp_path: Path) -> None:
    path = tmp_path / "odd.py:make"
    path.write_text("")
    assert not is_code(str(path))
