"""Nothing is imported from the folder in which a command is started, but for code that was named."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LOUD = "open(__import__('os').environ['SEEN'], 'a').write(__name__ + '\\n')\nraise ImportError(__name__)\n"


def started(folder: Path, words: list[str], path: str = "") -> tuple[int, list[str], str]:
    """Status, own modules that were imported, and errors of a command in a folder."""
    seen = folder / "seen.txt"
    search = {"PYTHONPATH": f"{ROOT}{path}", "SEEN": str(seen)}
    done = subprocess.run(
        [sys.executable, "-m", "mapper", *words],
        capture_output=True, text=True, cwd=folder, env={**os.environ, **search}, check=False,
    )  # fmt: skip
    return done.returncode, seen.read_text("utf-8").split() if seen.exists() else [], done.stderr


PATHS = {"none": "", "empty": os.pathsep, "dot": os.pathsep + "."}
# Workers, and what loads most, once: the path is cleaned before a command is known.
STARTED = [
    *((words, path) for words in ("check digits", "solve digits") for path in PATHS),
    ("chips list", "dot"),
    ("report digits --workers 2", "none"),
    ("verify digits", "dot"),
]


@pytest.mark.parametrize(("words", "path"), STARTED)
def test_a_module_of_a_library_s_name_is_not_run(tmp_path: Path, words: str, path: str) -> None:
    names = ["numpy", "torch", "typing", "json", "h5py", "cyclopts", "signal", "joblib", "numba", "resource"]
    for name in names:
        (tmp_path / f"{name}.py").write_text(LOUD, encoding="utf-8")
    status, seen, errors = started(tmp_path, words.split(), PATHS[path])
    assert seen == []
    assert status == 0, errors


def test_what_is_named_is_found(tmp_path: Path) -> None:
    (tmp_path / "sizes.py").write_text("WIDTH = 3\n", encoding="utf-8")
    text = (
        "from torch import nn\nfrom sizes import WIDTH\n"
        "def net():\n    return nn.Sequential(nn.Conv2d(2, WIDTH, 3), nn.ReLU())\n"
    )
    (tmp_path / "net_of_mine.py").write_text(text, encoding="utf-8")
    more = ["--input-shape", "2,8,8", "--relu-as-if"]
    for target in ("net_of_mine.py:net", "net_of_mine:net"):
        status, _, errors = started(tmp_path, ["check", target, *more])
        assert status == 0, errors
