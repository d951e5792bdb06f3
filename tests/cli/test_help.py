"""Every option of every command says in what unit its value is, what holds without it, and how it is typed."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from cyclopts import App
from cyclopts.argument import Argument

from mapper.cli.entry import run
from mapper.cli.examples import EXAMPLES
from mapper.cli.help import label
from tests.cli.test_options import LEAVES, arguments, by_chain, is_flag

Capture = pytest.CaptureFixture[str]
# Texts that hold numbers; of the others the type says it.
NUMBERS = {
    *("--input-shape", "--relu-as-if", "--v-min", "--set", "--cores", "--fan-out"),
    *("--kernel-words", "--neuron-words", "--bias-words"),
}
UNIT = re.compile(
    r"seconds\b|microseconds|\bhz\b|words of \d+ bits|memories in words|in pixels|unit of the weights|deterministic time"
    r"|\b(threads|processes|samples|simulations|spikes|ticks|events|steps|cores|destinations|repairs|orders)\b"
    r"|probability .* per pixel and step|\bseed\b",
    re.IGNORECASE,
)
# What holds without an option, as help says it.
WITHOUT = re.compile(r"\[(repeatable, )?(required|default: [^\[\]]+)\]$")


def rows(chain: tuple[str, ...], command: App, capsys: Capture) -> Iterator[tuple[Argument, str]]:
    """Every argument, and what help says of it on one line."""
    assert run([*chain, "--help"]) == 0
    text = capsys.readouterr().out
    for argument in arguments(command):
        name = label(argument) if argument.index is not None else min(argument.names, key=len)
        (found,) = re.findall(
            rf"^  (?:\S+, )?({re.escape(name)}(?![\w-]).*(?:\n {{30}}.*)*)", text, re.MULTILINE
        )
        yield argument, " ".join(found.split())


def has_unit(argument: Argument) -> bool:
    kind = str(argument.field_info.annotation)
    return argument.name in NUMBERS or (argument.index is None and bool(re.search(r"\b(int|float)\b", kind)))


@by_chain
def test_unit_default_and_example(
    chain: tuple[str, ...], command: App, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    for argument, row in rows(chain, command, capsys):
        if has_unit(argument):
            assert UNIT.search(row), row
        if argument.index is None or not argument.required:
            assert WITHOUT.search(row) or argument.index is not None, row
        # Flags are typed as they stand, and of words all are listed.
        if not is_flag(argument) and not argument.get_choices():
            assert "; e.g. " in row, row


def test_the_units_are_of_something() -> None:
    """That no unit is found where none stands, and that numbers are known as such."""
    found = {argument.name for _, command in LEAVES for argument in arguments(command) if has_unit(argument)}
    assert {"--time-limit", "--step-us", "--slow-clock", "--random", *NUMBERS} <= found
    assert not {"--out", "--chip", "--reset", "--json"} & found
    assert not UNIT.search(
        "--plot FILE draw it there: .png or .svg; e.g. --plot rates.svg [default: no drawing]"
    )
    assert not WITHOUT.search("--json print JSON")


def test_operands_have_examples_too() -> None:
    operands = {
        label(argument).removesuffix("...")
        for _, command in LEAVES
        for argument in arguments(command)
        if argument.index is not None and not argument.get_choices()
    }
    assert operands == {name for name in EXAMPLES if not name.startswith("--")}
