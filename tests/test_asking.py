"""What options are called has one home, and everybody is told what they can write."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest
from cyclopts import App

import mapper
from hwspec.variant import SET
from mapper import asking
from mapper.asking import (
    DT,
    MONITORS,
    PINS,
    READING_CHECK,
    RELAYS,
    SOURCE,
    V_MIN,
    Option,
    spoken_to,
    together,
)
from mapper.cli.app import app
from mapper.cli.entry import run
from mapper.options import PLAIN

ROOT = Path(__file__).resolve().parents[1]
OPTIONS = {name: entry for name, entry in vars(asking).items() if isinstance(entry, Option)} | {"SET": SET}
# Where a message is for commands alone: what ends a process, and the parser's own words.
OF_COMMANDS = {"mapper/process.py", "mapper/asking.py", "hwspec/variant.py"}
# A whole command may be named to anybody, and so may what a command alone has.
COMMAND = re.compile(r"mapper [a-z]+ |deploy\.py |^--plain, ")


def texts(path: Path) -> list[str]:
    """All text of a module that is no docstring."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    first = [node.body[0] for node in ast.walk(tree) if isinstance(node, documented) and node.body]
    docstrings = {id(node.value) for node in first if isinstance(node, ast.Expr)}
    docstrings |= {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings
    ]


def test_no_message_spells_an_option_itself() -> None:
    paths = [path for folder in ("mapper", "hwspec") for path in (ROOT / folder).rglob("*.py")]
    others = [path for path in paths if str(path.relative_to(ROOT)) not in OF_COMMANDS]
    found = {
        f"{path.relative_to(ROOT)}: {text}"
        for path in others
        if "cli" not in path.parts
        for text in texts(path)
        if re.search(r"(?<![\w-])--[a-z]", text) and not COMMAND.search(text)
    }
    assert not found


def commands(parent: App) -> list[App]:
    named = [parent[name] for name in parent if not name.startswith("-")]
    return [entry for child in named for entry in (child, *commands(child))]


def test_every_option_is_one_of_a_command() -> None:
    known = set()
    for command in commands(app):
        if command.default_command is not None:
            for argument in command.assemble_argument_collection():
                known |= {*argument.names, *argument.negatives}
    assert {entry.typed for entry in OPTIONS.values()} <= known


def test_every_option_of_solving_is_an_argument_in_python() -> None:
    for owner, kind in (("torch=TorchOptions", mapper.TorchOptions), ("nir=NirOptions", mapper.NirOptions)):
        of_owner = {entry.written for entry in OPTIONS.values() if entry.owner == owner}
        assert of_owner == {*kind.__dataclass_fields__}
    fields = {*mapper.SolveOptions.__dataclass_fields__}
    assert fields == {entry.written for entry in OPTIONS.values() if entry.written in fields}


@pytest.mark.parametrize(
    ("spelled", "command", "python", "sinabs"),
    [
        (lambda: str(PINS), "--pin", "pins", "chip_layers_ordering"),
        (
            lambda: MONITORS.to("LAYER", "(LAYER,)"),
            "--monitor LAYER",
            "monitors=(LAYER,)",
            "monitor_layers=(LAYER,)",
        ),
        (lambda: RELAYS.to(False), "--no-relays", "relays=False", "relays=False"),
        (
            lambda: READING_CHECK.to(False),
            "--no-reading-check",
            "torch=TorchOptions(reading_check=False)",
            "reading_check=False",
        ),
        (lambda: V_MIN.to(-1.5), "--v-min -1.5", "nir=NirOptions(v_min=-1.5)", "nir=NirOptions(v_min=-1.5)"),
        (
            lambda: SOURCE.to(("norse", "spyx")),
            "--from norse|spyx",
            'nir=NirOptions(source="norse"|"spyx")',
            'nir=NirOptions(source="norse"|"spyx")',
        ),
        (
            lambda: together((SOURCE, "spikingjelly"), (DT, 1e-3), (RELAYS, False)),
            "--from spikingjelly --dt 0.001 --no-relays",
            'nir=NirOptions(source="spikingjelly", dt=0.001), relays=False',
            'nir=NirOptions(source="spikingjelly", dt=0.001), relays=False',
        ),
    ],
)
def test_spelling(spelled: Any, command: str, python: str, sinabs: str) -> None:
    assert spelled() == python
    with spoken_to("command"):
        assert spelled() == command
        with spoken_to("sinabs"):
            assert spelled() == sinabs
        assert spelled() == command
    assert spelled() == python


# What is done in Python, the argument its message names, and the option of the same at the command line.
SAME = [
    ({"add_output_neuron": None}, "net.py:bare", [], r"add_output_neuron=1\.0", r"--add-output-neuron 1\.0"),
    ({}, "net.py:rectified", [], r"torch=TorchOptions\(relu_as_if=1\.0\)", r"--relu-as-if 1"),
    ({"pins": {"9": 1}}, "net.py:bare", ["--pin", "9=1"], r"^pins: layer 9", r"--pin: layer 9"),
    ({"monitors": ["9"]}, "net.py:bare", ["--monitor", "9"], r"^monitors: layer 9", r"--monitor: layer 9"),
    ({"forbidden_cores": (9,)}, "net.py:bare", ["--forbid", "9"], r"^forbidden_cores: ", r"--forbid: "),
    ({"time_limit_s": -1}, "net.py:bare", ["--time-limit", "-1"], r"^time_limit_s: ", r"--time-limit: "),
    (
        {"input_shape": None},
        "net.py:bare",
        None,
        r"input_shape=\(features, height, width\)",
        r"--input-shape C,H,W",
    ),
]
CODE = """
from torch import nn


def bare():
    return nn.Sequential(nn.Conv2d(2, 4, 3, bias=False))


def rectified():
    return nn.Sequential(nn.Conv2d(2, 2, 3, padding=1, bias=False), nn.ReLU())
"""


@pytest.mark.parametrize(("keywords", "target", "words", "python", "command"), SAME)
def test_a_way_out_names_what_its_reader_can_write(
    keywords: dict[str, Any],
    target: str,
    words: list[str] | None,
    python: str,
    command: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(CODE, encoding="utf-8")
    last = {} if "add_output_neuron" in keywords or not keywords else {"add_output_neuron": 1.0}
    asked = {"input_shape": (2, 8, 8), **last, **keywords}
    with pytest.raises(mapper.MapperError, match=python) as raised:
        mapper.solve(target, **asked)
    assert "--" not in str(raised.value)
    typed = ["--input-shape", "2,8,8", *words] if words is not None else []
    assert run(["solve", target, *typed, *(["--add-output-neuron", "1"] if last else [])]) == 2
    assert re.search(command, capsys.readouterr().err)


def test_the_class_like_sinabs_names_its_own_arguments() -> None:
    from torch import nn  # noqa: PLC0415

    rectified = nn.Sequential(nn.Conv2d(2, 2, 3, bias=False), nn.ReLU())
    with pytest.raises(mapper.NetworkError, match=r"\. relu_as_if=1\.0 makes it spiking neurons"):
        mapper.DynapcnnNetwork(rectified, (2, 8, 8))
    network = mapper.DynapcnnNetwork(rectified, (2, 8, 8), relu_as_if=1.0)
    with pytest.raises(mapper.OptionsError, match=r"^chip_layers_ordering: layer conv9: "):
        network.place(chip_layers_ordering={"conv9": 1})


def test_a_report_says_what_was_left_out_as_it_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    wide = str(ROOT / "mapper/data/wide.yaml")
    said = " ".join(str(mapper.check(wide, **PLAIN, repairs=0).report).split())
    assert "leave out max_pieces=1, max_copies=1, relays=False, joint=False" in said
    assert "--" not in said
    assert run(["check", wide, "--plain", "--repairs", "0"]) == 1
    told = capsys.readouterr().out
    assert "leave out --plain, or what it stands for (--max-pieces 1, --no-copies, --no-relays" in " ".join(
        told.split()
    )
