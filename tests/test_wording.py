"""One of a thing and several of it, in every sentence that counts."""

from __future__ import annotations

import ast
from io import StringIO
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console

import mapper
from mapper.cli.entry import run
from mapper.events import events_from, read_events
from mapper.report.accuracy import _print_steps
from mapper.wording import counted

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize(
    ("number", "words", "text"),
    [
        (1, ("core",), "1 core"),
        (0, ("core",), "0 cores"),
        (2, ("core",), "2 cores"),
        (1, ("core is", "cores are"), "1 core is"),
        (3, ("core is", "cores are"), "3 cores are"),
    ],
)
def test_counts(number: int, words: tuple[str, ...], text: str) -> None:
    assert counted(number, *words) == text


def test_nothing_else_makes_plurals() -> None:
    """No second helper, and no `"s" if` of its own beside what says a verb too."""
    found = []
    for path in (ROOT / "mapper").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and node.name in ("count", "plural", "pluralise"):
                found.append(f"{path}: {node.name}")
    assert found == []


def test_a_report_of_one_that_does_not_fit(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    words = [
        "report",
        str(ROOT / "tests/data/zoo/sinabs_too_large.yaml"),
        "--chip",
        "speck2f",
        "--repairs-for",
        "none",
    ]
    assert run([*words, "--out", str(tmp_path)]) == 0
    head = capsys.readouterr().out.splitlines()[0]
    assert head == "1 network on 1 chip: 1 does not fit, proven"


def test_arrays_without_fields_are_refused_in_whole_words(tmp_path: Path) -> None:
    np.save(tmp_path / "0.npy", np.zeros((3, 4)))
    with pytest.raises(mapper.MapperError, match=r"0\.npy: no named fields"):
        read_events(tmp_path / "0.npy")
    with pytest.raises(mapper.MapperError, match=r"events: no named fields \(got dtype float64"):
        events_from(np.zeros((3, 4)))
    with pytest.raises(mapper.MapperError, match=r"Give a structured array, or a mapping"):
        events_from(np.zeros(3))


def test_the_line_that_names_columns_works(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    columns = np.array([[0, 0, 1, 2], [5, 1, 3, 4]])
    with pytest.raises(
        mapper.MapperError, match=r"allowed: fields t, p, y, x\)\. Name its columns"
    ) as caught:
        events_from(columns)
    line = str(caught.value).rpartition("have: ")[2]
    assert events_from(eval(line, {"numpy": np, "ARRAY": columns})).tolist() == [(0, 0, 1, 2), (5, 1, 3, 4)]  # noqa: S307  # our own message
    named, plain = tmp_path / "named.npy", tmp_path / "plain.npy"
    np.save(plain, columns)
    words = ["verify", "digits", "--events"]
    assert run([*words, str(plain)]) == 2
    line = " ".join(capsys.readouterr().err.split()).rpartition("have: ")[2]
    eval(line.replace("NAMED.npy", str(named)), {"numpy": np, "FILE": plain})  # noqa: S307  # our own message
    assert read_events(named).tolist() == [(0, 0, 1, 2), (5, 1, 3, 4)]


@pytest.mark.parametrize(("last", "told"), [(0.0, False), (0.5, True)])
def test_where_nothing_is_right_no_number_of_steps_is_enough(last: float, told: bool) -> None:
    steps = 16
    curve = np.linspace(0.0, last, steps)
    judgement = SimpleNamespace(by_step={"spikes": curve}, steps=steps, enough_steps=lambda _: steps)
    stream = StringIO()
    _print_steps(Console(file=stream, width=200), judgement)  # type: ignore[arg-type]  # what is read of one
    assert "right by spikes after" in stream.getvalue()
    assert ("16 steps of 16 are enough" in stream.getvalue()) == told
