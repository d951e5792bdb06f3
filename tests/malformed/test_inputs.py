"""Malformed chips, shape files, NIR files, modules and command lines: one message, exit status 2, no traces."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import yaml

from mapper.cli.entry import run

Capture = pytest.CaptureFixture[str]
DIGITS = Path(__file__).resolve().parents[2] / "mapper" / "data" / "digits.nir"


def refused(words: list[str], word: str, capsys: Capture, folder: Path) -> None:
    """Run a command; it must end with one message that names the thing, and write nothing."""
    out = folder / "out"
    before = sorted(path for path in folder.rglob("*"))
    arguments = [*words, "--out", str(out)] if words[:1] == ["solve"] and "--out" not in words else words
    assert run(arguments) == 2, capsys.readouterr()
    told = capsys.readouterr()
    assert word.lower() in " ".join(told.err.lower().split()), told.err
    assert "Traceback" not in told.err + told.out
    assert sum(line.startswith("Error") for line in told.err.splitlines()) == 1, told.err
    assert told.out == "" or "Usage" in told.out
    assert sorted(path for path in folder.rglob("*")) == before


CHIPS = {
    "empty": (b"", "chip.toml"),
    "not-toml": (b"name = = 3", "toml"),
    "not-text": (b"\xff\xfe\x00name", "text"),
    "unclosed": (b'extends = "speck2f', "toml"),
    "unknown-base": (b'extends = "speck9"\nname = "x"', "speck9"),
    "base-is-a-number": (b'extends = 3\nname = "x"', "extends"),
    "extends-itself": (b'extends = "chip.toml"\nname = "x"', "chip.toml"),
    "unknown-table": (b'extends = "speck2f"\nname = "x"\n[memory]\nsize = 3', "memory"),
    "unknown-field": (b'extends = "speck2f"\nname = "x"\n[routing]\nfanout = 3', "fanout"),
    "text-for-number": (b'extends = "speck2f"\nname = "x"\n[routing]\nfan_out = "two"', "fan_out"),
    "negative": (b'extends = "speck2f"\nname = "x"\n[routing]\nfan_out = -1', "fan_out"),
    "fraction": (b'extends = "speck2f"\nname = "x"\n[input]\nheight = 1.5', "height"),
    "nan": (b'extends = "speck2f"\nname = "x"\n[input]\nheight = nan', "height"),
    "boolean-for-number": (b'extends = "speck2f"\nname = "x"\n[input]\nheight = true', "height"),
    "no-strides": (b'extends = "speck2f"\nname = "x"\n[limits]\nstrides = []', "strides"),
    "zero-stride": (b'extends = "speck2f"\nname = "x"\n[limits]\nstrides = [0]', "strides"),
    "core-out-of-range": (b'extends = "speck2f"\nname = "x"\n["core[44]"]\nkernel_words = 3', "core[44]"),
    "bad-range": (b'extends = "speck2f"\nname = "x"\n["core[5..2]"]\nkernel_words = 3', "core[5..2]"),
    "huge-memory": (b'extends = "speck2f"\nname = "x"\n["core[0]"]\nkernel_words = 99999999999999', "kernel_words"),
    "evidence": (
        b'extends = "speck2f"\nname = "x"\n[sources]\n"core.*" = { evidence = "rumour", source = "x" }', "evidence"),
    "array-for-table": (b'extends = "speck2f"\nname = "x"\nrouting = [1]', "routing"),
    "no-name-no-cores": (b"schema_version = 1", "chip.toml"),
    "newer": (b'schema_version = 9\nextends = "speck2f"\nname = "x"', "schema_version"),
}  # fmt: skip


@pytest.mark.parametrize(("content", "word"), CHIPS.values(), ids=CHIPS)
def test_chip_files(content: bytes, word: str, tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "chip.toml"
    path.write_bytes(content)
    refused(["chips", "check", str(path)], word, capsys, tmp_path)
    refused(["solve", "digits", "--chip", str(path)], word, capsys, tmp_path)


OVERRIDES = [
    ("core[5].kernel_words", "PATH=VALUE"), ("core[99].kernel_words=3", "core"), ("core[x].kernel_words=3", "core"),
    ("core[5].words=3", "no such field"), ("core[5].kernel_words=-3", "kernel_words"),
    ("core[5].kernel_words=many", "kernel_words"), ("core[5].kernel_words=128KB", "Write 128Ki for"), ("routing.fan_out=none", "fan_out"), ("nothing=3", "nothing"),
    ("+core[20..30]=core[0]", "follow"), ("+core[9]=core[77]", "77"), ("-core[0..8]", "none would be left"),
    ("-core[40]", "no such cores"), ("limits.strides=[]", "strides"), ("sources=3", "sources"), ("", "PATH=VALUE"),
    ("core[0..8].fan_out=1.5", "fan_out"), ("+core[9..99999999]=core[0]", "ids"),
]  # fmt: skip


@pytest.mark.parametrize(("override", "word"), OVERRIDES)
def test_overrides(override: str, word: str, tmp_path: Path, capsys: Capture) -> None:
    refused(["solve", "digits", "--set", override], word, capsys, tmp_path)


def good_shape() -> dict[str, Any]:
    return {
        "schema_version": 1, "name": "net", "input": {"shape": [2, 8, 8]},
        "layers": [
            {"name": "a", "conv": {"features": 4, "kernel": 3}, "from": "input"},
            {"name": "b", "linear": {"features": 3}, "from": "a"},
        ],
    }  # fmt: skip


def at(path: list[Any], value: Any) -> Callable[[dict[str, Any]], None]:
    def change(content: dict[str, Any]) -> None:
        inner: Any = content
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = value

    return change


SHAPES = {
    "no-layers": (at(["layers"], []), "layer"), "layers-is-text": (at(["layers"], "a"), "layers"),
    "unknown-key": (at(["layer"], []), "layer"), "negative-size": (at(["input", "shape"], [2, -8, 8]), "shape"),
    "two-sizes": (at(["input", "shape"], [8, 8]), "shape"), "text-size": (at(["input", "shape"], [2, "x", 8]), "shape"),
    "huge-size": (at(["input", "shape"], [2, 10**12, 8]), "shape"), "nan-size": (at(["input", "shape"], [2, float("nan"), 8]), "shape"),
    "zero-features": (at(["layers", 0, "conv", "features"], 0), "features"),
    "true-features": (at(["layers", 0, "conv", "features"], True), "features"),
    "half-a-feature": (at(["layers", 0, "conv", "features"], 2.5), "features"),
    "large-kernel": (at(["layers", 0, "conv", "kernel"], 30), "kernel"), "zero-kernel": (at(["layers", 0, "conv", "kernel"], 0), "kernel"),
    "three-kernel": (at(["layers", 0, "conv", "kernel"], [3, 3, 3]), "kernel"), "negative-padding": (at(["layers", 0, "conv", "padding"], -1), "padding"),
    "zero-stride": (at(["layers", 0, "conv", "stride"], 0), "stride"), "groups": (at(["layers", 0, "conv", "groups"], 3), "groups"),
    "unknown-source": (at(["layers", 1, "from"], "nobody"), "nobody"), "no-source": (at(["layers", 0, "from"], []), "nothing feeds"),
    "number-as-name": (at(["layers", 0, "name"], 1), 'Write it in quotes: "1"'),
    "true-as-name": (at(["name"], True), "Write it in quotes"),
    "twice": (at(["layers", 1, "name"], "a"), "a"), "empty-name": (at(["layers", 0, "name"], ""), "name"),
    "name-is-a-list": (at(["layers", 0, "name"], ["a"]), "name"), "both-kinds": (at(["layers", 0, "linear"], {"features": 2}), "a"),
    "newer": (at(["schema_version"], 7), "schema_version"), "no-input": (at(["input"], None), "input"),
    "pool-too-large": (at(["layers", 1, "from"], {"source": "a", "pool": 9}), "pool"),
    "pool-negative": (at(["layers", 1, "from"], {"source": "a", "pool": -2}), "pool"),
    "self-fed-only": (at(["layers", 0, "from"], "a"), "a"),
    "dilation": (at(["layers", 0, "conv", "dilation"], 9), "kernel"),
}  # fmt: skip


@pytest.mark.parametrize("suffix", ["json", "yaml"])
@pytest.mark.parametrize(("change", "word"), SHAPES.values(), ids=SHAPES)
def test_shape_files(
    change: Callable[[dict[str, Any]], None], word: str, suffix: str, tmp_path: Path, capsys: Capture
) -> None:
    content = good_shape()
    change(content)
    path = tmp_path / f"net.{suffix}"
    path.write_text(json.dumps(content) if suffix == "json" else yaml.safe_dump(content), encoding="utf-8")
    refused(["solve", str(path)], word, capsys, tmp_path)


TEXTS = {
    "empty.yaml": (b"", "net"), "list.json": (b"[1]", "list.json"), "cut.json": (b'{"name": ', "cut.json"),
    "tab.yaml": (b"a:\n\t- b", "tab.yaml"), "object.yaml": (b"!!python/object/apply:os.system ['true']", "object.yaml"),
    "two.yaml": (b"a: 1\n---\nb: 2", "two.yaml"), "bytes.yaml": (b"\xff\x00\xfe", "bytes.yaml"),
    "number.toml": (b"3", "number.toml"), "null.json": (b"null", "null.json"), "deep.json": (b"[" * 3000, "deep.json"),
    "text.txt": (b"x", "not a network file"), "none": (b"x", "not a network file"),
}  # fmt: skip


@pytest.mark.parametrize("name", TEXTS)
def test_texts(name: str, tmp_path: Path, capsys: Capture) -> None:
    content, word = TEXTS[name]
    path = tmp_path / name
    path.write_bytes(content)
    refused(["solve", str(path)], word if word != "net" else "", capsys, tmp_path)


Edit = Callable[[Any], None]


def put(path: str, value: Any) -> Edit:
    def change(file: Any) -> None:
        if path in file:
            del file[path]
        file[path] = value

    return change


def drop(path: str) -> Edit:
    def change(file: Any) -> None:
        del file[path]

    return change


def edge(*pairs: tuple[str, str]) -> Edit:
    return put("node/edges", np.array(pairs, dtype=object).astype("S"))


def huge(file: Any) -> None:
    del file["node/nodes/conv1/weight"]
    file.create_dataset("node/nodes/conv1/weight", shape=(1 << 20, 1 << 20), dtype="f4", chunks=(1024, 1024))


def loop(file: Any) -> None:
    del file["node/nodes/conv1/weight"]
    file["node/nodes/conv1/weight"] = h5py.SoftLink("/node/nodes/conv1/weight")


def outside(file: Any) -> None:
    del file["node/nodes/conv1/weight"]
    file["node/nodes/conv1/weight"] = h5py.ExternalLink("elsewhere.h5", "/x")


NIR: dict[str, tuple[Edit, str]] = {
    "no-node": (drop("node"), "graph"), "no-nodes": (drop("node/nodes"), "graph"), "no-edges": (drop("node/edges"), "edges"),
    "edges-are-numbers": (put("node/edges", np.zeros((3, 2))), "node"), "edges-in-threes": (put("node/edges", np.zeros((3, 3))), "pairs"),
    "edge-to-nowhere": (edge(("input", "ghost")), "ghost"), "no-weight": (drop("node/nodes/conv1/weight"), "conv1"),
    "weight-of-text": (put("node/nodes/conv1/weight", "abc"), "conv1"), "flat-weight": (put("node/nodes/conv1/weight", np.zeros(3)), "conv1"),
    "five-axes": (put("node/nodes/conv1/weight", np.zeros((1, 1, 1, 3, 3))), "conv1"),
    "empty-weight": (put("node/nodes/conv1/weight", np.zeros((0, 1, 3, 3))), "conv1"),
    "complex-weight": (put("node/nodes/conv1/weight", np.zeros((8, 1, 3, 3), complex)), "conv1"),
    "nan-weight": (put("node/nodes/conv1/weight", np.full((8, 1, 3, 3), np.nan)), "conv1"),
    "infinite-weight": (put("node/nodes/conv1/weight", np.full((8, 1, 3, 3), np.inf)), "conv1"),
    "other-features": (put("node/nodes/conv2/weight", np.zeros((4, 99, 3, 3))), "conv2"),
    "no-kind": (drop("node/nodes/conv1/type"), "conv1"), "unknown-kind": (put("node/nodes/conv1/type", "Conv9d"), "Conv9d"),
    "leaky": (put("node/nodes/conv1/type", "LIF"), "LIF"), "negative-stride": (put("node/nodes/conv1/stride", [-1, -1]), "conv1"),
    "zero-stride": (put("node/nodes/conv1/stride", [0, 0]), "conv1"), "half-stride": (put("node/nodes/conv1/stride", [1.5, 1]), "conv1"),
    "groups": (put("node/nodes/conv1/groups", 3), "conv1"), "padding-word": (put("node/nodes/conv1/padding", "wide"), "conv1"),
    "huge": (huge, "too much"), "link-to-itself": (loop, "link"), "link-outside": (outside, "conv1"),
    "node-is-data": (put("node/nodes/conv1", 3), "conv1"), "bias-shape": (put("node/nodes/fc/bias", np.zeros(3)), "fc"),
}  # fmt: skip


@pytest.mark.parametrize(("change", "word"), NIR.values(), ids=NIR)
def test_nir_files(change: Edit, word: str, tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "net.nir"
    path.write_bytes(DIGITS.read_bytes())
    with h5py.File(path, "r+") as file:
        change(file)
    refused(["solve", str(path)], word, capsys, tmp_path)


@pytest.mark.parametrize("kept", [0, 1, 8, 100, 2000, 0.5, 0.9])
def test_truncated_nir_files(kept: float, tmp_path: Path, capsys: Capture) -> None:
    content = DIGITS.read_bytes()
    path = tmp_path / "net.nir"
    path.write_bytes(content[: kept if isinstance(kept, int) else int(kept * len(content))])
    refused(["solve", str(path)], "net.nir", capsys, tmp_path)


MODULES = {
    "none": "def make(): return None", "text": "def make(): return 'abc'", "number": "make = 3", "class": "class make: pass",
    "raises": "def make(): raise RuntimeError('no weights')", "arguments": "def make(a, b): pass", "syntax": "def make(:",
    "exits": "import sys\ndef make(): sys.exit(7)", "missing": "x = 1",
    "empty": "import torch\ndef make(): return torch.nn.Sequential()",
    "branches": "import torch\nclass M(torch.nn.Module):\n    def forward(self, x):\n        return x if x.sum() > 0 else -x\ndef make(): return M()",
    "max-pool": "import torch\ndef make(): return torch.nn.Sequential(torch.nn.Conv2d(2, 4, 3), torch.nn.MaxPool2d(2))",
    "relu": "import torch\ndef make(): return torch.nn.Sequential(torch.nn.Conv2d(2, 4, 3), torch.nn.ReLU())",
    "lstm": "import torch\ndef make(): return torch.nn.LSTM(3, 3)",
    "reflect": "import torch\ndef make(): return torch.nn.Sequential(torch.nn.Conv2d(2, 4, 3, padding=1, padding_mode='reflect'))",
    "features": "import torch\ndef make(): return torch.nn.Sequential(torch.nn.Conv2d(5, 4, 3))",
}  # fmt: skip


@pytest.mark.parametrize("name", MODULES)
def test_modules(name: str, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    module = f"malformed_{name.replace('-', '_')}"
    (tmp_path / f"{module}.py").write_text(MODULES[name], encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    refused(["solve", f"{module}:make", "--input-shape", "2,16,16"], "", capsys, tmp_path)


LINES = [
    (["solve"], "NETWORK"), (["solv", "digits"], "solv"), (["solve", "digits", "--chips", "x"], "--chips"),
    (["check", "digits", "--chip"], "--chip"), (["solve", "digits", "--chip", ""], "chip"),
    (["solve", "digits", "--pin", "conv1"], "LAYER=CORE"), (["solve", "digits", "--pin", "conv1=x"], "LAYER=CORE"),
    (["solve", "digits", "--pin", "conv1=99"], "99"), (["solve", "digits", "--pin", "7=1"], "index"),
    (["solve", "digits", "--pin", "conv1=1", "--pin", "conv1=2"], "also pinned"),
    (["solve", "digits", "--pin", "conv1=1", "--forbid", "1"], "forbidden"),
    (["solve", "digits", "--forbid", "a"], "--forbid"), (["solve", "digits", "--forbid", "10"], "10"),
    (["solve", "digits", "--objective", "speed"], "objective"), (["solve", "digits", "--monitor", "x"], "--monitor"),
    (["solve", "digits", "--readout", "x"], "--readout"), (["solve", "digits", "--time-limit", "0"], "--time-limit"),
    (["solve", "digits", "--time-limit", "soon"], "--time-limit"), (["solve", "digits", "--work-limit", "-1"], "--work-limit"),
    (["solve", "digits", "--workers", "0"], "--workers"), (["solve", "digits", "--repairs", "-1"], "--repairs"),
    (["solve", "digits", "--add-output-neuron", "0"], "--add-output-neuron"), (["solve", "digits", "--reset", "maybe"], "--reset"),
    (["solve", "digits", "--v-min", "low"], "--v-min"), (["solve", "digits", "--input-shape", "8,8"], "--input-shape"),
    (["solve", "digits", "--input-shape", "0,8,8"], "--input-shape"), (["solve", "digits", "--input-shape", "2,8,8"], "input"),
    (["chips", "show", "speck3"], "speck3"), (["chips", "check", "nofile.toml"], "nofile.toml"), (["explain", "M000"], "M000"),
    (["check", "digits", "extra"], "extra"), (["solve", "no_such_package.module:make"], "no_such_package"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "word"), LINES, ids=[" ".join(words) for words, _ in LINES])
def test_command_lines(words: list[str], word: str, tmp_path: Path, capsys: Capture) -> None:
    refused(words, word, capsys, tmp_path)


def test_there_are_enough_cases() -> None:
    count = sum(map(len, (CHIPS, OVERRIDES, SHAPES, TEXTS, NIR, MODULES, LINES)))
    assert count >= 100
