"""Mutants: small wrong changes of this package, each with the tests that must notice it.

    python scripts/mutants.py [--jobs 2]          all of them
    python scripts/mutants.py checker padding     those whose area or name holds one of these words
    python scripts/mutants.py --touched HEAD~1    those whose file, or a test of theirs, differs from there

They stand in scripts/mutants/, a file for each area. The tree is copied into a temporary folder, one change
at a time is made there, and its tests run on the copy, after they have passed without it. A test that fails,
a crash and a run without end are a mutant caught. The exit status is 0 where every mutant is caught, or
survives by the argument that stands beside it; 1 where one survives, or is caught against its argument; 2
where nothing is proven: what a mutant changes does not stand in its file, or its tests fail without it.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from tempfile import TemporaryDirectory
from typing import Literal

ROOT = Path(__file__).resolve().parent.parent
# What tests read beside these are the documents at the top.
_COPIED = ("hwspec", "mapper", "scripts", "tests", "pyproject.toml", "LICENSE")
# A mutant's tests may take so much longer than without it, and so many seconds more.
_TIMES, _MORE_S = 5, 20
_FAILED = re.compile(r"^(?:FAILED|ERROR) (.+?)(?: - .*)?$", re.M)

Verdict = Literal["caught", "survives", "argued", "not argued", "unproven", "not run"]
_GOOD: tuple[Verdict, ...] = ("caught", "argued", "not run")


@dataclass(frozen=True, slots=True)
class Mutant:
    """One wrong change.

    Attributes
    ----------
    original
        Text that stands in the file once.
    tests
        Files or node ids for pytest, one of which must fail.
    interpreted
        Its tests run without numba's compiler, which takes longer than they do.
    argument
        Why nothing can notice it; empty where something must.
    """

    area: str
    name: str
    file: str
    original: str
    replacement: str
    tests: tuple[str, ...]
    interpreted: bool = False
    argument: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a mutant.

    Attributes
    ----------
    why
        The test that noticed, or what else there is to say.
    """

    mutant: Mutant
    verdict: Verdict
    why: str = ""
    seconds: float = 0.0


def mutants_of(folder: Path) -> list[Mutant]:
    """All mutants of a folder, area by area."""
    return [
        Mutant(path.stem, **{**entry, "tests": tuple(entry["tests"])})
        for path in sorted(folder.glob("*.toml"))
        for entry in tomllib.loads(path.read_text(encoding="utf-8"))["mutant"]
    ]


def changed(root: Path, mutant: Mutant) -> str:
    """The text of a mutant's file with its change.

    Raises
    ------
    ValueError
        It cannot be made, or a test is not there.
    """
    path = root / mutant.file
    if not path.is_file():
        raise ValueError(f"there is no file {mutant.file}")
    text = path.read_text(encoding="utf-8")
    if (times := text.count(mutant.original)) != 1:
        raise ValueError(f"its original text stands in {mutant.file} {times} times, not once: renew it")
    for test in mutant.tests:
        if not (root / test.partition("::")[0]).exists():
            raise ValueError(f"there is no test {test}: renew it")
    new = text.replace(mutant.original, mutant.replacement)
    try:
        compile(new, mutant.file, "exec")
    except SyntaxError as error:
        raise ValueError(f"what it makes of {mutant.file} is no Python: {error}") from None
    return new


class Copy:
    """The tree in a folder of its own, where tests run.

    Attributes
    ----------
    is_stopped
        No more tests are to run.
    """

    def __init__(self, root: Path, folder: Path) -> None:
        self.folder, self.is_stopped = folder, False
        self._running: subprocess.Popen[str] | None = None
        folder.mkdir()
        for path in (*(root / name for name in _COPIED), *root.glob("*.md")):
            if path.is_dir():
                shutil.copytree(path, folder / path.name, ignore=shutil.ignore_patterns("__pycache__"))
            elif path.exists():
                shutil.copy(path, folder / path.name)
        # What Python keeps of a source must follow its text: two changes may fall into one tick of the clock.
        words = ("-m", "compileall", "-q", "--invalidation-mode", "checked-hash", "mapper", "hwspec", "tests")
        subprocess.run([sys.executable, *words], cwd=folder, check=True)

    def _environment(self, interpreted: bool) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"}
        kept |= {"PYTHONPATH": str(self.folder), "PYTHONDONTWRITEBYTECODE": "1"}
        return kept | ({"NUMBA_DISABLE_JIT": "1"} if interpreted else {})

    @contextmanager
    def with_change(self, mutant: Mutant) -> Iterator[None]:
        """Make a mutant's change, and take it back."""
        path = self.folder / mutant.file
        new, before = changed(self.folder, mutant), path.read_bytes()
        path.write_text(new, encoding="utf-8")
        try:
            yield
        finally:
            path.write_bytes(before)

    def run(self, mutant: Mutant, limit_s: float | None = None) -> tuple[int | None, str]:
        """Run a mutant's tests up to the first that fails.

        Returns
        -------
        tuple
            The exit status of pytest, None at the time limit; its output.
        """
        words = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *mutant.tests]
        with subprocess.Popen(
            words,
            cwd=self.folder,
            env=self._environment(mutant.interpreted),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        ) as self._running:
            try:
                text, _ = self._running.communicate(timeout=limit_s)
            except subprocess.TimeoutExpired:
                self._kill()
                return None, ""
        return self._running.returncode, text

    def stop(self) -> None:
        """End the tests that run, and run no more."""
        self.is_stopped = True
        self._kill()

    def _kill(self) -> None:
        """End what runs with all that it has started, which is of the same session."""
        if self._running is not None and self._running.poll() is None:
            os.killpg(self._running.pid, signal.SIGKILL)


def judged(mutant: Mutant, status: int | None, text: str) -> tuple[Verdict, str]:
    """What an exit status of pytest, None for the time limit, says of a mutant."""
    if status in (3, 4, 5):
        return "unproven", f"pytest ended with status {status}: {text.strip().splitlines()[-1:]}"
    if status == 0:
        return ("argued", mutant.argument) if mutant.argument else ("survives", "")
    found = _FAILED.search(text)
    why = "does not end" if status is None else found[1] if found else f"ended with status {status}"
    return ("not argued", f"has an argument, and is caught: {why}") if mutant.argument else ("caught", why)


def outcomes_of(group: Sequence[Mutant], copies: SimpleQueue[Copy], until: float) -> list[Outcome]:
    """Mutants that the same tests must notice, after these passed without a change.

    Parameters
    ----------
    until
        The time, by the monotonic clock, after which no run begins.
    """
    copy = copies.get()
    try:
        if time.monotonic() > until or copy.is_stopped:
            return [Outcome(mutant, "not run") for mutant in group]
        start = time.monotonic()
        status, text = copy.run(group[0])
        unchanged_s = time.monotonic() - start
        if status != 0:
            found = _FAILED.search(text)
            why = f"its tests fail without it: {found[1] if found else f'status {status}'}"
            return [Outcome(mutant, "unproven", why) for mutant in group]
        outcomes = []
        for mutant in group:
            start = time.monotonic()
            if start > until or copy.is_stopped:
                outcomes.append(Outcome(mutant, "not run"))
                continue
            with copy.with_change(mutant):
                status, text = copy.run(mutant, _TIMES * unchanged_s + _MORE_S)
            outcomes.append(Outcome(mutant, *judged(mutant, status, text), time.monotonic() - start))
        return outcomes
    finally:
        copies.put(copy)


def run_all(
    root: Path, mutants: Sequence[Mutant], jobs: int = 1, limit_s: float = float("inf")
) -> Iterator[Outcome]:
    """Run mutants on copies of a tree, in the order of their tests."""
    until = time.monotonic() + limit_s
    groups: dict[tuple[object, ...], list[Mutant]] = defaultdict(list)
    for mutant in mutants:
        groups[mutant.tests, mutant.interpreted].append(mutant)
    with TemporaryDirectory(prefix="mutants-") as folder, ThreadPoolExecutor(jobs) as pool:
        every = [Copy(root, Path(folder, str(number))) for number in range(min(jobs, len(groups)))]
        copies: SimpleQueue[Copy] = SimpleQueue()
        for copy in every:
            copies.put(copy)
        try:
            for done in pool.map(lambda group: outcomes_of(group, copies, until), groups.values()):
                yield from done
        finally:
            # Ctrl-C waits for nothing; where all is done, there is nothing to stop.
            for copy in every:
                copy.stop()


def touched(root: Path, reference: str, mutants: Sequence[Mutant]) -> list[Mutant]:
    """Mutants whose file, or a test of theirs, differs from a commit.

    Raises
    ------
    ValueError
        git knows no such commit, or this is no checkout.
    """
    words = ["git", "diff", "--name-only", "--relative", reference, "--"]
    done = subprocess.run(words, cwd=root, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ValueError(f"nothing can be compared with {reference}: {done.stderr.strip().splitlines()[:1]}")
    files = done.stdout.splitlines()

    def is_touched(name: str) -> bool:
        path = name.partition("::")[0]
        return any(file == path or file.startswith(f"{path}/") for file in files)

    return [mutant for mutant in mutants if any(map(is_touched, (mutant.file, *mutant.tests)))]


def told(outcomes: Iterator[Outcome]) -> int:
    """Print outcomes as they come, and what they come to; the exit status."""
    counts: dict[Verdict, int] = defaultdict(int)
    for outcome in outcomes:
        mutant = outcome.mutant
        counts[outcome.verdict] += 1
        line = f"{outcome.verdict:11}{outcome.seconds:6.1f} s  {mutant.area:9}{mutant.name}"
        print(f"{line}  ({outcome.why})" if outcome.why else line, flush=True)
    listed = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
    print(f"{sum(counts.values())} mutants: {listed or 'none'}")
    if counts["unproven"]:
        return 2
    return 0 if all(verdict in _GOOD for verdict, count in counts.items() if count) else 1


def main() -> int:
    """Run what was asked for."""
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("words", nargs="*", help="parts of areas or names; all mutants without")
    parser.add_argument("--touched", metavar="REF", help="those whose file or tests differ from a commit")
    parser.add_argument("--list", action="store_true", help="see that every change can be made; run nothing")
    parser.add_argument("--jobs", type=int, default=1, help="how many run side by side (default: 1)")
    parser.add_argument("--time-limit", type=float, default=float("inf"), help="seconds; then no run begins")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    every = mutants_of(ROOT / "scripts" / "mutants")
    problems = []
    for mutant in every:
        try:
            changed(ROOT, mutant)
        except ValueError as error:
            problems.append(f"{mutant.area} {mutant.name}: {error}")
    if problems:
        print("\n".join(problems))
        return 2
    try:
        chosen = touched(ROOT, asked.touched, every) if asked.touched else every
    except ValueError as error:
        print(error)
        return 2
    if asked.words:
        chosen = [m for m in chosen if any(word in f"{m.area} {m.name}" for word in asked.words)]
    if asked.list:
        for mutant in chosen:
            print(f"{mutant.area:9}{mutant.name:50}{mutant.file}")
        return 0
    return told(run_all(ROOT, chosen, asked.jobs, asked.time_limit))


if __name__ == "__main__":
    sys.exit(main())
