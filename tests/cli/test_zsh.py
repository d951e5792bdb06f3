"""Completion in an interactive zsh, installed as a user does it."""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mapper.cli.entry import run

PROMPT = "ready> "
SECONDS = 20.0


@contextmanager
def zsh(home: Path) -> Iterator[int]:
    """The master's end of a terminal in which a zsh runs."""
    master, slave = pty.openpty()
    environment = {"HOME": str(home), "TERM": "dumb", "PATH": os.environ["PATH"]}
    shell = shutil.which("zsh") or "zsh"
    process = subprocess.Popen([shell, "-i"], stdin=slave, stdout=slave, stderr=slave, env=environment)
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


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")
def test_zsh_completes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("ZSH", "ZSH_CUSTOM", "ZDOTDIR", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    # As zsh's own set-up for new users writes it; completion of any kind rests on it.
    compinit = "autoload -Uz compinit\ncompinit -u\n"
    (tmp_path / ".zshrc").write_text(f"{compinit}PS1='{PROMPT}'\n", encoding="utf-8")
    assert run(["--install-completion", "zsh"]) == 0
    assert "compinit" in capsys.readouterr().out
    with zsh(tmp_path) as terminal:
        assert PROMPT in told(terminal, PROMPT)
        for typed, offered in (
            ("mapper synth", "mapper synthesize"),
            ("mapper solve digits --mon", "--monitor"),
            ("mapper chips s", "schema"),
        ):
            os.write(terminal, f"{typed}\t".encode())
            assert offered in told(terminal, offered)
            os.write(terminal, b"\x15\r")  # the line goes, a new one begins
            assert PROMPT in told(terminal, PROMPT)
