"""What the README and the guide show is what happens."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "mapper" / "guide").glob("*.md"))]
BLOCKS = [
    block
    for page in PAGES
    for block in re.findall(r"```(\w+)\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
]
SESSIONS = [body for language, body in BLOCKS if language == "text"]
PROGRAMS = [body for language, body in BLOCKS if language == "python"]


def lines(text: str) -> list[str]:
    """Lines without times and trailing blanks."""
    kept = [line.rstrip() for line in text.splitlines()]
    return [line for line in kept if line and not line.startswith("solver:")]


@pytest.mark.parametrize("session", SESSIONS, ids=range(len(SESSIONS)))
def test_sessions(session: str, tmp_path: Path) -> None:
    command, _, shown = session.partition("\n")
    # What a page calls OUT is a folder.
    words = [
        str(tmp_path) if word == "OUT" else word for word in shlex.split(command.removeprefix("$ python"))
    ]
    environment = {**os.environ, "COLUMNS": "80", "NO_COLOR": "1"}
    done = subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, cwd=ROOT, env=environment, check=False
    )
    assert done.returncode in (0, 1)
    assert lines(done.stdout.replace(str(tmp_path), "OUT")) == lines(shown)


# By program, what it prints.
PRINTED = [
    ["optimal 5 8", "True None"],
    ["(5, 10, 1, 1) True True", "()"],
    ["['float', 'integer', 'steps', 'spikes'] 50"],
    ["subtract above"],
    ["optimal [(0, 16), (16, 20)]", "('relays', 'copies') M503"],
    ["51 104"],
    ["True ()"],
]


@pytest.mark.parametrize(("program", "printed"), list(zip(PROGRAMS, PRINTED, strict=True)))
def test_programs(program: str, printed: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert done.stdout.splitlines() == printed


def test_there_is_something_to_test() -> None:
    assert len(SESSIONS) >= 5
    assert len(PROGRAMS) == len(PRINTED) >= 4


def test_the_citation_is_of_this_version() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert (cited["version"], cited["license"]) == (project["version"], project["license"])
