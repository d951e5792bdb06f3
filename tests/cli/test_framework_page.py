"""The commands of the page on frameworks, as they stand there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from mapper.cli.entry import run
from mapper.frontends.from_nir.origins import ORIGINS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "mapper" / "guide" / "frameworks.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", PAGE, re.DOTALL)
COMMANDS = [line for language, body in BLOCKS if language == "sh" for line in body.splitlines()]
REFUSED = [body.partition("\n") for language, body in BLOCKS if language == "console"]


def joined(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: shlex.split(command)[6])
def test_a_command_for_every_framework(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    words = shlex.split(command)
    assert words[:3] == ["python", "-m", "mapper"]
    assert run(words[3:]) == 0
    assert f"network as read = the spikes of {Path(words[-1]).name}, all 400 values" in joined(
        capsys.readouterr().out
    )


@pytest.mark.parametrize("session", REFUSED, ids=lambda session: shlex.split(session[0])[4])
def test_refusals_are_as_shown(
    session: tuple[str, str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(ROOT)
    words = [str(tmp_path) if word == "OUT" else word for word in shlex.split(session[0])[4:]]
    assert run(words) == 2
    assert joined(capsys.readouterr().err) == joined(session[2])


def test_every_framework_has_its_row_and_its_command() -> None:
    assert set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)) == set(ORIGINS)
    assert {shlex.split(command)[6] for command in COMMANDS} == set(ORIGINS) - {"nir"}
    for name in set(ORIGINS) - {"nir"}:
        assert (ROOT / "scripts" / "recorders" / f"record_{name}.py").exists()
        assert f"record_{name}.py" in PAGE
