"""JSON, YAML and TOML: nothing stands twice, nothing is what it does not look like, nothing takes long."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from hwspec.toml_text import toml_of
from mapper.cli.entry import run
from mapper.errors import NetworkError
from mapper.frontends.shapes import load_shapes
from mapper.frontends.yaml_core import yaml_of
from mapper.texts import json_of
from tests.malformed.test_inputs import refused

Capture = pytest.CaptureFixture[str]

CORE_SCHEMA: dict[str, Any] = {
    "1:10": "1:10", "010": 10, "0o10": 8, "0x1F": 31, "0b11": "0b11", "1_000": "1_000", "-0o7": "-0o7",
    "no": "no", "Yes": "Yes", "on": "on", "off": "off", "y": "y", "true": True, "FALSE": False, "tRue": "tRue",
    "null": None, "~": None, "Null": None, "1e3": 1000.0, "1.": 1.0, ".5": 0.5, "+12": 12, "-.inf": float("-inf"),
    "2001-01-01": "2001-01-01", "=": "=", "<<": "<<", "'010'": "010", '"no"': "no", "!!str 12": "12", "12e03": 12000.0,
}  # fmt: skip


@pytest.mark.parametrize("text", CORE_SCHEMA)
def test_yaml_is_that_of_version_1_2(text: str) -> None:
    read = yaml_of(f"a: {text}\n")["a"]
    assert (read, type(read)) == (CORE_SCHEMA[text], type(CORE_SCHEMA[text]))


TWICE = {
    "json": '{"a": {"b": 1, "c": 2, "b": 3}}',
    "yaml": "a:\n  b: 1\n  c: 2\n  'b': 3\n",
    "flow.yaml": "{a: {b: 1, b: 1}}",
    "toml": "[a]\nb = 1\nb = 3\n",
}


@pytest.mark.parametrize("suffix", TWICE)
def test_keys_that_stand_twice(suffix: str, tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / f"net.{suffix}"
    path.write_text(TWICE[suffix])
    refused(["solve", str(path)], "b", capsys, tmp_path)


def test_a_layer_key_that_stands_twice(tmp_path: Path) -> None:
    path = tmp_path / "net.json"
    path.write_text(
        '{"input": {"shape": [2, 8, 8]}, "layers": [{"name": "a", "conv": {"features": 4, "kernel": 3},'
        ' "conv": {"features": 2, "kernel": 1}}]}'
    )
    with pytest.raises(NetworkError, match='"conv" stands twice'):
        load_shapes(path)


def test_words_are_no_truth_values(tmp_path: Path) -> None:
    path = tmp_path / "net.yaml"
    path.write_text(
        "input: {shape: [2, 8, 8]}\nlayers:\n- {name: a, conv: {features: 4, kernel: 3, bias: no}}\n"
    )
    with pytest.raises(NetworkError, match="bias"):
        load_shapes(path)


DIGITS = "9" * 5000
HOSTILE: dict[str, str] = {
    "digits.json": f'{{"layers": {DIGITS}}}',
    "digits.yaml": f"layers: {DIGITS}",
    "digits.toml": f"layers = {DIGITS}",
    "flow.yaml": "[" * 60_000,
    "tables.yaml": "{a: " * 60_000,
    "block.yaml": "- " * 60_000,
    "keys.yaml": "? " * 60_000,
    "deep.json": '{"a":' * 60_000,
    "lists.json": "[" * 500 + "]" * 500,
    "deep.toml": "a = " + "[" * 60_000,
    "dotted.toml": "a." * 200_000 + "a = 1",
    "inline.toml": "x = {" + "a." * 200_000 + "a = 1}",
    "table.toml": "[" + "a." * 200_000 + "a]",
    "alias.yaml": "a: &x [1, 1]\nb: &y [*x, *x]\n",
    "tag.yaml": "a: !!binary aGk=\n",
    "merge.yaml": "a: &x {b: 1}\nc: {<<: *x}\n",
    "complex.yaml": "? [a]\n: 1\n",
    "latin.yaml": "a: \x85\x00",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_texts_end_at_once(name: str, tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / name
    path.write_text(HOSTILE[name])
    start = time.monotonic()
    refused(["solve", str(path)], name, capsys, tmp_path)
    if name.endswith(".toml"):
        refused(["chips", "check", str(path)], "toml", capsys, tmp_path)
    assert time.monotonic() - start < 5


def test_large_and_legal_texts_take_seconds(tmp_path: Path) -> None:
    for name, text in (
        ("long.yaml", "layers:\n" + "- {name: a, conv: {features: 1, kernel: 3}}\n" * 20_000),
        ("long.json", '{"layers": [' + '{"name": "a", "conv": [1, 2]},' * 30_000 + "1]}"),
    ):
        start = time.monotonic()
        (yaml_of if name.endswith("yaml") else json_of)(text)
        assert time.monotonic() - start < 20, name


CHIPS = {
    "digits": f"[routing]\nfan_out = {DIGITS}",
    "sources": "sources = 3",
    "source": 'sources = { "core.*" = 3 }',
    "limits": "limits = 3",
    "core": "core = 3",
    "one-core": "core.0 = 3",
    "set": "set = 3",
    "title": "title = 3",
    "changes": "changes = 3",
}


@pytest.mark.parametrize("case", CHIPS)
def test_chip_files(case: str, tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "chip.toml"
    path.write_text(f'extends = "speck2f"\nname = "x"\n{CHIPS[case]}\n')
    refused(["chips", "check", str(path)], "chip.toml", capsys, tmp_path)


def test_overrides_say_one_thing(tmp_path: Path, capsys: Capture) -> None:
    for override in (f"routing.fan_out={DIGITS}", "routing.fan_out=3\nb=4", f"routing.fan_out={'[' * 3000}"):
        refused(["solve", "digits", "--set", override], "fan_out", capsys, tmp_path)


def test_pipes_and_devices_are_no_files(tmp_path: Path, capsys: Capture) -> None:
    pipe = tmp_path / "net.json"
    os.mkfifo(pipe)
    for words in (
        ["solve", str(pipe)],
        ["simulate", str(pipe), "--events", "e.npy"],
        ["simulate", "/dev/zero", "--events", "e.npy"],
        ["solve", "digits", "--keep", str(pipe)],
        ["solve", "digits", "--keep", "/dev/zero"],
        ["solve", "digits", "--traffic", "/dev/zero"],
    ):
        assert run(words) == 2, words
        assert "copy its content" in capsys.readouterr().err, words


def test_toml_that_looks_deep_and_is_not() -> None:
    dots = "." * 100
    assert toml_of(f'# {dots}\na = "x"\nb = [{", ".join(["1.5"] * 100)}]')["a"] == "x"
