"""Memory that runs out anywhere, and files that cannot be read: named, no verdict, and nothing half-written."""

from __future__ import annotations

import subprocess
import sys
from itertools import count, takewhile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mapper
from mapper.cli.entry import run
from mapper.events import EVENT_DTYPE, write_events

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits and a file of Linux")

_ALLOCATIONS = ("empty", "zeros", "ones", "full", "arange", "asarray", "array", "concatenate")
# Every call up to the fourth, then ever further ones.
_NUMBERS = (0, 1, 2, 3, 6, 12, 25, 50, 100, 200, 400, 800, 1600, 3200, 6400, 12800)


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    folder = tmp_path / "inputs"
    folder.mkdir()
    mapper.write_config(mapper.build_config(mapper.solve("digits", "speck2f")), folder / "config.json")
    events = np.zeros(40, EVENT_DTYPE)
    events["t"] = np.arange(40) * 1000
    write_events(folder / "events.npy", events)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.no_cover
@pytest.mark.parametrize("command", ["emit", "simulate", "report"])
def test_memory_at_every_array(
    command: str, inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    words = {
        "emit": ["emit", "digits"],
        "simulate": ["simulate", str(inputs / "config.json"), "--events", str(inputs / "events.npy")],
        "report": ["report", "digits", "--chip", "speck2f", "--workers", "1", "--repairs-for", "none"],
    }[command] + ["--out", str(out)]
    assert run(words) == 0
    whole, reached = contents(out), 0
    for at in _NUMBERS:
        capsys.readouterr()
        calls = count()
        with pytest.MonkeyPatch.context() as patched:
            for name in _ALLOCATIONS:
                patched.setattr(np, name, _failing(getattr(np, name), calls, at))
            status = run(words)
        told = capsys.readouterr()
        assert contents(out) == whole or command == "report"
        if next(calls) <= at:
            break
        reached += 1
        # What a library makes of it may be right all the same.
        assert status in (0, 2, 4), told.err
        assert "Traceback" not in told.err
        if status == 4:
            assert "not enough memory" in told.err
    assert reached > 3
    assert run(words) == 0
    assert contents(out) == whole


def _failing(real: Any, calls: Any, at: int) -> Any:
    def made(*arguments: Any, **words: Any) -> Any:
        if next(calls) == at:
            raise MemoryError
        return real(*arguments, **words)

    return made


@pytest.mark.parametrize("mebibytes", [300, 1200])
def test_a_limit_on_memory_is_no_verdict(mebibytes: int, tmp_path: Path) -> None:
    code = (
        "import resource, sys; from mapper.__main__ import main;"
        f"resource.setrlimit(resource.RLIMIT_AS, ({mebibytes} << 20,) * 2);"
        f"sys.argv[1:] = ['emit', 'digits', '--out', {str(tmp_path / 'out')!r}]; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, timeout=300)
    assert done.returncode != 1, done.stderr
    there = contents(tmp_path)
    assert len(there) in ((3,) if done.returncode == 0 else (0,))


# Reading it gives EIO, as of a broken disk, at the first byte.
BROKEN = Path("/proc/self/mem")


@pytest.mark.parametrize(
    "words",
    [
        ["check", "X.yaml"],
        ["check", "X.nir"],
        ["check", "X.pt:net"],
        ["check", "X.py:net"],
        ["check", "digits", "--chip", "X.toml"],
        ["check", "digits", "--traffic", "X.json"],
        ["check", "digits", "--weights", "X.pt"],
        ["solve", "digits", "--keep", "X.json"],
        ["chips", "check", "X.toml"],
        ["report", "digits", "--resume", "X.json", "--out", "OUT"],
        ["report", "digits", "--variant", "X.toml", "--out", "OUT"],
        ["diff", "X.json", "X.json"],
        ["simulate", "X.json", "--events", "EVENTS"],
        *(["simulate", "CONFIG", "--events", f"X.{kind}"] for kind in ("npy", "npz", "csv", "aedat4")),
        ["verify", "digits", "--events", "X.npy"],
        ["verify", "digits", "--data", "X.npz"],
        ["verify", "digits", "--expect", "X.npz"],
    ],
    ids=" ".join,
)
def test_files_that_cannot_be_read(
    words: list[str], inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places = {
        "EVENTS": str(inputs / "events.npy"),
        "CONFIG": str(inputs / "config.json"),
        "OUT": str(tmp_path / "out"),
    }
    named = "X" + "".join(
        takewhile(lambda c: c != ":", next(word for word in words if word.startswith("X."))[1:])
    )
    (tmp_path / named).symlink_to(BROKEN)
    words = [
        word.replace("X.", f"{tmp_path}/X.") if word.startswith("X.") else places.get(word, word)
        for word in words
    ]
    assert run(words) == 2
    told = capsys.readouterr()
    assert named in told.err
    assert told.err.lstrip().startswith("Error: ")
    assert "Traceback" not in told.err
    assert "fault of the mapper" not in told.err
    assert not (tmp_path / "out").exists()
