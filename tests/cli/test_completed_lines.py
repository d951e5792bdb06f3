"""Completion in interactive shells: what stands on the line behind a tab."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Literal

import pytest

from tests.cli.test_options import script
from tests.cli.test_zsh import COMPINIT, PROMPT, terminal_of, told

# The line as typed, and as it is behind the tab and an x: a blank between them is one that was put there.
LINES = [
    ("mapper synth", "mapper synthesize x"),
    ("mapper check di", "mapper check digits x"),
    ("mapper check nets/m", "mapper check nets/more/x"),
    ("mapper check nets/more/", "mapper check nets/more/a.yaml x"),
    ("mapper check n", "mapper check netx"),
    ("mapper check net.p", "mapper check net.pyx"),
    ("mapper check net.py:m", "mapper check net.py:make x"),
    ("mapper check net.py:", "mapper check net.py:make x"),
    ("mapper check nets/cod", "mapper check nets/code.pyx"),
    ("mapper check nets/code.py:make_o", "mapper check nets/code.py:make_one x"),
    ("mapper check net.py:make --chip speck2fm", "mapper check net.py:make --chip speck2fmodule x"),
    ('mapper check "di', 'mapper check "digits" x'),
    ("mapper check 'net.py:m", "mapper check 'net.py:make' x"),
    ('mapper check "nets/m', 'mapper check "nets/more/x'),
    (r"mapper check a\ fol", r"mapper check a\ folder/x"),
    ('mapper check "a fol', 'mapper check "a folder/x'),
    ("mapper solve digits --out nets/m", "mapper solve digits --out nets/more/x"),
    (r"mapper solve digits --out a\ f", r"mapper solve digits --out a\ folder/x"),
    ("mapper solve digits --out ~/nets/m", "mapper solve digits --out ~/nets/more/x"),
    ("mapper check ~/net.py:m", "mapper check ~/net.py:make x"),
    ("mapper solve digits --keep=place", "mapper solve digits --keep=placement.json x"),
    ("mapper explain M20", "mapper explain M20x"),
]  # fmt: skip


PLAIN = f"PS1='{PROMPT}'\n"
# How a shell is started that reads the script, and what it reads.
SHELLS = {
    "bash": (
        ["bash", "--noprofile", "--rcfile", "rules", "-i"],
        f"{PLAIN}bind 'set bell-style none'\nbind 'set enable-bracketed-paste off'\nsource ~/words\n",
    ),
    "zsh": (["zsh", "-i"], f"{COMPINIT}setopt interactive_comments\nbindkey -e\n{PLAIN}source ~/words\n"),
}


@pytest.mark.parametrize("shell", SHELLS)
def test_a_line_is_completed(
    shell: Literal["bash", "zsh"], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    for name in (
        "net.py",
        "nets/code.py",
        "nets/more/a.yaml",
        "a folder/b.nir",
        "placement.json",
        "bin/mapper",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("def make():\n    raise SystemExit('it was run')\n", encoding="utf-8")
    (tmp_path / "nets" / "code.py").write_text("def make_one():\n    pass\n", encoding="utf-8")
    program = tmp_path / "bin" / "mapper"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -P -m mapper "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    (tmp_path / "words").write_text(script(shell), encoding="utf-8")
    words, rules = SHELLS[shell]
    for name in ("rules", ".zshrc"):
        (tmp_path / name).write_text(rules, encoding="utf-8")
    with terminal_of(words, tmp_path) as terminal:
        assert PROMPT in told(terminal, PROMPT)
        for typed, whole in LINES:
            os.write(terminal, f"{typed}\t".encode())
            # Behind what the tab put there; as a remark nothing of it is run.
            os.write(terminal, b"x\x01#\r")
            assert f"#{whole}" in told(terminal, f"#{whole}").replace("\b", ""), typed
