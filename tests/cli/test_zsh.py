"""Completion in an interactive zsh, installed as a user does it."""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mapper.cli.entry import run

PROMPT = "ready> "
SECONDS = 20.0


@contextmanager
def terminal_of(words: list[str], home: Path) -> Iterator[int]:
    """The master's end of a terminal in which a shell runs."""
    master, slave = pty.openpty()
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    environment = {"HOME": str(home), "TERM": "dumb", **kept}
    shell = shutil.which(words[0]) or words[0]
    process = subprocess.Popen(
        [shell, *words[1:]], stdin=slave, stdout=slave, stderr=slave, env=environment, cwd=home
    )
    os.close(slave)
    try:
        yield master
    finally:
        process.kill()
        process.wait()
        os.close(master)


def told(terminal: int, awaited: str) -> str:
    """What the terminal shows until it shows that, or until time is up."""
    shown, stop = "", time.monotonic() + SECONDS
    while awaited not in shown and time.monotonic() < stop:
        if select.select([terminal], [], [], 0.1)[0]:
            shown += os.read(terminal, 4096).decode(errors="replace")
    return shown


def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rules: str) -> Path:
    """A home whose zsh finds this program by the name that users type."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("ZSH", "ZSH_CUSTOM", "ZDOTDIR", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    program = tmp_path / "bin" / "mapper"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -P -m mapper "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    (tmp_path / "net.py").write_text("def make():\n    pass\n", encoding="utf-8")
    (tmp_path / ".zshrc").write_text(f"{rules}PS1='{PROMPT}'\n", encoding="utf-8")
    return tmp_path


def require_completed(folder: Path, *cases: tuple[str, str]) -> None:
    with terminal_of(["zsh", "-i"], folder) as terminal:
        assert PROMPT in told(terminal, PROMPT)
        for typed, offered in cases:
            os.write(terminal, f"{typed}\t".encode())
            assert offered in told(terminal, offered)
            os.write(terminal, b"\x15\r")  # the line goes, a new one begins
            assert PROMPT in told(terminal, PROMPT)


# As zsh's own set-up for new users writes it; completion of any kind rests on it.
COMPINIT = "autoload -Uz compinit\ncompinit -u\n"


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")
def test_zsh_completes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    home(tmp_path, monkeypatch, COMPINIT)
    assert run(["--install-completion", "zsh"]) == 0
    assert "compinit" in capsys.readouterr().out
    require_completed(
        tmp_path,
        ("mapper synth", "mapper synthesize"),
        ("mapper solve digits --mon", "--monitor"),
        ("mapper chips s", "schema"),
        ("mapper solve digits --chip speck2fm", "speck2fmodule"),
        ("mapper explain M20", "M204"),
        ("mapper check net.py:m", "net.py:make"),
    )


@pytest.mark.parametrize("rules", ["fpath=(~/own $fpath)\n" + COMPINIT, COMPINIT + "source ~/own/_mapper\n"])
@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")
def test_a_script_of_another_name_completes(
    rules: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the path of functions, and read by the start-up file."""
    home(tmp_path, monkeypatch, rules)
    assert run(["--install-completion", "zsh", "--out", str(tmp_path / "own" / "_mapper")]) == 0
    # The first call defines what later ones are.
    require_completed(tmp_path, ("mapper synth", "mapper synthesize"), ("mapper chips s", "schema"))
