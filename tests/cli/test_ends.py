"""How the process ends: status 1 is a verdict and nothing else, whatever happens to streams and signals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mapper.cli.entry import run
from mapper.cli.verdict import Refuted, exit_status
from tests.cli.moments import SAID, ended_at

ROOT = Path(__file__).resolve().parents[2]
MISFIT = str(ROOT / "tests" / "data" / "zoo" / "sinabs_too_large.yaml")
COMMAND = [sys.executable, "-m", "mapper"]
Done = subprocess.CompletedProcess[str]

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="pipes, devices and signals of POSIX")


def shell(words: str, **more: Any) -> Done:
    """A line of bash, in which MAPPER is the command."""
    line = words.replace("MAPPER", f"'{sys.executable}' -m mapper")
    return subprocess.run(
        ["/bin/bash", "-c", line], capture_output=True, text=True, cwd=ROOT, check=False, **more
    )


@pytest.mark.parametrize(
    ("words", "status"), [("solve digits", 0), (f"check {MISFIT}", 1), ("check none.yaml --json", 2)]
)
@pytest.mark.parametrize("reader", ["head -1", "true"])
def test_a_reader_that_goes_changes_no_status(words: str, reader: str, status: int) -> None:
    done = shell(f"MAPPER {words} | {reader} >/dev/null; exit ${{PIPESTATUS[0]}}")
    assert done.returncode == status
    assert "Traceback" not in done.stderr
    assert "Broken" not in done.stderr


@pytest.mark.parametrize("words", ["solve digits", f"check {MISFIT} --json", "--help"])
@pytest.mark.parametrize("target", ["> /dev/full", ">&-"])
def test_output_that_cannot_be_written_is_no_verdict(words: str, target: str) -> None:
    done = shell(f"MAPPER {words} {target}")
    assert done.returncode == 2
    assert done.stderr.startswith("Error: standard output: cannot be written: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("target", ["2> /dev/full", "2>&-", "2>&- <&-", "2>&1 | true"])
def test_errors_that_nobody_hears(target: str) -> None:
    assert shell(f"MAPPER check none.yaml {target}; exit ${{PIPESTATUS[0]}}").returncode == 2


def test_a_library_that_is_broken(tmp_path: Path) -> None:
    (tmp_path / "cyclopts.py").write_text("raise RuntimeError('broken')\n", encoding="utf-8")
    done = shell("MAPPER check digits", env={**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}"})
    assert done.returncode == 4
    assert "RuntimeError: broken" in done.stderr
    # Without a place for the report, it is printed.
    nowhere = {"TMPDIR": str(tmp_path / "none"), "PYTHONPATH": f"{tmp_path}:{ROOT}"}
    code = "import tempfile; tempfile.tempdir = '/none'; from mapper.__main__ import main; main()"
    done = shell(f'"{sys.executable}" -c "{code}"', env={**os.environ, **nowhere})
    assert done.returncode == 4
    assert "Traceback" in done.stderr


@pytest.mark.parametrize("outcome", [1, None, True, "1", 7])
def test_only_a_verdict_gives_status_1(outcome: object, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RuntimeError):
        exit_status(outcome)
    assert exit_status(Refuted(("a difference",))) == 1
    with pytest.raises(ValueError, match="without evidence"):
        Refuted(())
    assert run(["diff", "digits", "digits"]) == 0


# From the first import to the last line, in the order in which a command comes to them.
MOMENTS = [
    "import cyclopts",
    "import mapper.cli.app",
    "import numpy",
    "import ortools.sat.python.cp_model",
    "call mapper.question:decide",
    "search 0",
    "search 1",
    "call mapper.cli.output:print_json",
]


@pytest.mark.parametrize(
    ("number", "moment"),
    [
        *((signal.SIGINT, moment) for moment in MOMENTS),
        *((signal.SIGTERM, moment) for moment in MOMENTS),
        # Handled as SIGTERM is.
        *((signal.SIGHUP, moment) for moment in MOMENTS[::3]),
    ],
)
def test_a_signal_at_any_moment(number: signal.Signals, moment: str) -> None:
    status, out, errors = ended_at(moment, number, "check", MISFIT, "--json")
    assert SAID in errors
    assert status in (1, 3), errors
    assert "fault" not in errors
    if status == 1:
        assert json.loads(out)["status"] == "infeasible"
    if status == 3 and out:
        assert json.loads(out)["status"] == "undecided"
    assert (status == 1) <= moment.startswith("search")


def test_sigterm_gives_what_is_proven_until_then() -> None:
    zoo = ROOT / "tests" / "data" / "zoo" / "silicon_ceiling_9bn.yaml"
    words = ["check", str(zoo), "--no-rewrites", "--time-limit", "600", "--set", "+core[9..63]=core[7]"]
    words += [word for n in range(64) for word in ("--set", f"core[{n}].neuron_words={40000 + 300 * n}")]
    status, out, errors = ended_at("search 12", signal.SIGTERM, *words)
    assert SAID in errors
    assert status == 1, errors
    assert "does not fit, proven" in out
    assert "Traceback" not in errors


@pytest.mark.parametrize("is_pressed", [False, True])
def test_what_ctrl_c_breaks_in_a_librarys_thread_is_no_news(is_pressed: bool) -> None:
    code = f"""
import signal, sys, threading
from contextlib import suppress
from mapper.process import completed

def broken():
    raise RuntimeError("its workers are gone")

def command():
    with suppress(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT) if {is_pressed} else None
    thread = threading.Thread(target=broken)
    thread.start()
    thread.join()
    return 3

sys.exit(completed(command))
"""
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert ended.returncode == 3
    assert ("its workers are gone" in ended.stderr) is not is_pressed
