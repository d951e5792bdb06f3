"""How much of sinabs' own tests of its `DynapcnnNetwork` passes with this project's class in its place.

    python -m venv /tmp/sinabs && /tmp/sinabs/bin/pip install -e ".[sinabs]" pytest
    /tmp/sinabs/bin/python scripts/sinabs_suite.py [--sources DIR] [--floor 144] [--json FILE]

The tests are those of the installed version of sinabs, taken from its source distribution (pip downloads
it; `--sources` names one that is unpacked), and never kept here. samna is a stand-in that looks installed
and has boards (`tests/stand_in/for_sinabs.py`). They run twice, each time in a process of its own: with
sinabs' class, which tells which of them the stand-in lets pass, and with this project's in its place.
Counted are those that pass with sinabs; the exit status is 0 if at least `--floor` of them pass with ours.

`--with sinabs` or `--with mapper` runs one of the two and prints what failed. `--baseline FILE` takes the
outcomes with sinabs from the `--json` of an earlier run. `--only WORD` runs tests whose names have it.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

FOLDERS = ("test_dynapcnn", "test_dynapcnnnetwork", "test_dynapcnnlayer")
# Tests elsewhere count if they build the class.
USES = re.compile(r"\bDynapcnn(Compatible)?Network\(|import .*\bDynapcnn(Compatible)?Network\b")
CLASSES = ("DynapcnnNetwork", "DynapcnnCompatibleNetwork")
BACKEND = "sinabs.backend.dynapcnn"
PARTS = ("", ".dynapcnn_network", ".dynapcnn_visualizer", ".io", ".specksim", ".utils")
FLOOR = 144

Outcomes = dict[str, tuple[str, str]]
"""By test, "passed", "failed" or "skipped", and why not passed."""


class Recorder:
    """Plugin of pytest: what became of every test, and a limit of time for each."""

    def __init__(self, seconds: int) -> None:
        self.seconds = seconds
        self.outcomes: Outcomes = {}

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Keep the file that could not be read: its tests have no names."""
        if report.failed:
            self.outcomes[report.nodeid] = ("failed", _reason(report))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """A test passed if its call did and neither its preparation nor its end failed."""
        before = self.outcomes.get(report.nodeid, ("", ""))[0]
        if report.outcome != "passed" and before != "failed":
            self.outcomes[report.nodeid] = (report.outcome, _reason(report))
        elif report.when == "call" and not before:
            self.outcomes[report.nodeid] = ("passed", "")

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self) -> Iterator[None]:
        """End a test that takes too long."""
        signal.signal(signal.SIGALRM, _too_long)
        signal.alarm(self.seconds)
        try:
            return (yield)
        finally:
            signal.alarm(0)


def _too_long(*_: object) -> None:
    raise TimeoutError("the test took too long")


def _reason(report: Any) -> str:
    """One line: the error, or why the test was skipped."""
    long = report.longrepr
    crash = getattr(long, "reprcrash", None)
    text = crash.message if crash is not None else long[2] if isinstance(long, tuple) else str(long)
    lines = [line.removeprefix("E").strip() for line in str(text).splitlines() if line.strip()]
    if crash is None and not isinstance(long, tuple):
        # A file that could not be collected: the last line says why.
        return lines[-1][:200] if lines else ""
    return lines[0][:200] if lines else ""


def put_in_place() -> None:
    """Make every name of sinabs' class in sinabs mean this project's."""
    ours = importlib.import_module("mapper.compat.dynapcnn")
    backend = importlib.import_module(BACKEND)
    theirs = {id(getattr(backend, name)): getattr(ours, name) for name in CLASSES}
    for name, module in list(sys.modules.items()):
        if name == "sinabs" or name.startswith("sinabs."):
            for attribute, value in list(vars(module).items()):
                if id(value) in theirs:
                    setattr(module, attribute, theirs[id(value)])


def tests_of(folder: Path) -> list[str]:
    """The tests that are about the class, relative to the folder of the sources."""
    elsewhere = [
        path.relative_to(folder)
        for path in sorted((folder / "tests").rglob("test_*.py"))
        if path.relative_to(folder).parts[1] not in FOLDERS and USES.search(path.read_text(encoding="utf-8"))
    ]
    return [*(f"tests/{name}" for name in FOLDERS), *map(str, elsewhere)]


def run_here(kind: str, sources: Path, seconds: int, only: str) -> Outcomes:
    """Run the tests in this process, which is good for nothing else afterwards."""
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        folder = Path(name)
        # Without the package beside them, the tests meet the sinabs that is installed.
        shutil.copytree(sources / "tests", folder / "tests")
        (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
        from tests.stand_in.for_sinabs import install_for_sinabs  # noqa: PLC0415  # before the other `tests`

        (folder / "stand_in").mkdir()
        install_for_sinabs(patch, folder / "stand_in")
        for part in PARTS:
            importlib.import_module(BACKEND + part)
        if kind == "mapper":
            put_in_place()
        # sinabs' folder of tests has the name of ours.
        for module in [key for key in sys.modules if key.split(".")[0] == "tests"]:
            del sys.modules[module]
        sys.path.insert(0, str(folder))
        os.chdir(folder)
        recorder = Recorder(seconds)
        options = ["-q", "--tb=short", "-p", "no:cacheprovider", "-c", "pytest.ini", "--color=no"]
        pytest.main([*options, *(["-k", only] if only else []), *tests_of(folder)], plugins=[recorder])
        os.chdir(ROOT)
        return recorder.outcomes


def run_apart(kind: str, sources: Path, asked: argparse.Namespace) -> Outcomes:
    """Run the tests in a process of their own."""
    with tempfile.TemporaryDirectory() as name:
        outcomes, log = Path(name, "outcomes.json"), Path(name, "log.txt")
        command = [sys.executable, __file__, "--with", kind, "--sources", str(sources)]
        command += ["--json", str(outcomes), "--seconds", str(asked.seconds), "--only", asked.only]
        with log.open("w", encoding="utf-8") as stream:
            subprocess.run(command, stdout=stream, stderr=subprocess.STDOUT, check=False)
        if asked.log:
            asked.log.mkdir(parents=True, exist_ok=True)
            shutil.copy(log, asked.log / f"{kind}.txt")
        if not outcomes.exists():
            raise SystemExit(
                f"the tests with {kind} did not run:\n" + log.read_text(encoding="utf-8")[-2000:]
            )
        return read(outcomes, kind)


def read(path: Path, kind: str) -> Outcomes:
    """Outcomes of a file that `--json` wrote."""
    stored = json.loads(path.read_text(encoding="utf-8"))[kind]
    return {test: (outcome, reason) for test, (outcome, reason) in stored.items()}


def downloaded(folder: Path) -> Path:
    """The unpacked source distribution of the installed sinabs."""
    wanted = f"sinabs=={version('sinabs')}"
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", "sinabs", wanted]
    subprocess.run(command, cwd=folder, check=True)
    (archive,) = folder.glob("sinabs-*.tar.gz")
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
    return folder / archive.name.removesuffix(".tar.gz")


def compared(theirs: Mapping[str, tuple[str, str]], ours: Mapping[str, tuple[str, str]]) -> tuple[int, int]:
    """Print what passes with sinabs alone; how many pass with sinabs, and how many of these with both."""
    counted = [test for test, (outcome, _) in theirs.items() if outcome == "passed"]
    both = [test for test in counted if ours.get(test, ("", ""))[0] == "passed"]
    for test in counted:
        if test not in both:
            file = test.split("::")[0]
            outcome, reason = ours.get(test) or ours.get(file) or ("failed", "did not run")
            print(f"{test}\n    {outcome}: {reason}")
    print(f"{len(counted)} pass with sinabs {version('sinabs')}, {len(both)} of them with this class")
    return len(counted), len(both)


def one(asked: argparse.Namespace, sources: Path) -> int:
    """Run with one of the two classes, and print what did not pass."""
    outcomes = run_here(asked.kind, sources, asked.seconds, asked.only)
    if asked.json:
        asked.json.write_text(json.dumps({asked.kind: outcomes}, indent=1), encoding="utf-8")
    for test, (outcome, reason) in outcomes.items():
        if outcome != "passed":
            print(f"{test}\n    {outcome}: {reason}")
    passed = sum(outcome == "passed" for outcome, _ in outcomes.values())
    print(f"{passed} of {len(outcomes)} pass with {asked.kind}")
    return 0


def both(asked: argparse.Namespace, sources: Path) -> int:
    """Run with both classes and compare."""
    theirs = read(asked.baseline, "sinabs") if asked.baseline else run_apart("sinabs", sources, asked)
    ours = run_apart("mapper", sources, asked)
    if asked.only:
        theirs = {test: outcome for test, outcome in theirs.items() if test in ours}
    if asked.json:
        asked.json.write_text(json.dumps({"sinabs": theirs, "mapper": ours}, indent=1), encoding="utf-8")
    _, passed = compared(theirs, ours)
    if passed < asked.floor:
        print(f"fewer than {asked.floor}")
    return int(passed < asked.floor)


def main() -> int:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--with", dest="kind", choices=("sinabs", "mapper"), help="one run, in this process")
    parser.add_argument("--sources", type=Path, help="unpacked source distribution of sinabs")
    parser.add_argument("--floor", type=int, default=FLOOR, help=f"least count, {FLOOR}")
    parser.add_argument("--json", type=Path, help="file for all outcomes")
    parser.add_argument(
        "--baseline", type=Path, help="--json of an earlier run, for the outcomes with sinabs"
    )
    parser.add_argument("--log", type=Path, help="folder for the output of pytest")
    parser.add_argument("--seconds", type=int, default=600, help="limit of one test")
    parser.add_argument("--only", default="", help="pytest's -k")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        sources = asked.sources.resolve() if asked.sources else downloaded(Path(name))
        return one(asked, sources) if asked.kind else both(asked, sources)


if __name__ == "__main__":
    raise SystemExit(main())
