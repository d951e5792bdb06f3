"""Commands that get a signal at a moment which they come to, however fast or slow the machine is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

__all__ = ["SAID", "ended_at"]

ROOT = Path(__file__).resolve().parents[2]
# What the process says on standard error as the signal comes.
SAID = "(signal)\n"
_CODE = """
import os, sys
from importlib import import_module

kind, place, nth, number, words = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), sys.argv[5:]
sys.argv[1:] = words
left = iter(range(nth, -1, -1))


def reached():
    if next(left, None) == 0:
        os.write(2, b"(signal)\\n")
        os.kill(os.getpid(), number)


class Imports:
    def find_spec(self, name, path=None, target=None):
        if name == place:
            reached()


def before(owner, name):
    real = getattr(owner, name)

    def call(*arguments, **more):
        reached()
        return real(*arguments, **more)

    setattr(owner, name, call)


def within(owner, name):
    real = getattr(owner, name)

    def solve(solver, *arguments):
        # The search says that it has begun.
        solver.parameters.log_search_progress, solver.parameters.log_to_stdout = True, False
        lines = iter((reached,))
        solver.log_callback = lambda _: next(lines, str)()
        return real(solver, *arguments)

    setattr(owner, name, solve)


if kind == "import":
    sys.meta_path.insert(0, Imports())
else:
    module, _, path = place.partition(":")
    owner = import_module(module)
    *parts, name = path.split(".")
    for part in parts:
        owner = getattr(owner, part)
    {"call": before, "search": within}[kind](owner, name)

from mapper.__main__ import main
main()
"""


def ended_at(moment: str, number: signal.Signals, *words: str, limit_s: float = 120) -> tuple[int, str, str]:
    """Status, output and errors of a command to which a signal comes.

    Parameters
    ----------
    moment
        "import NAME": before a module is looked for. "call MODULE:NAME N": before the call of a function or
        method that follows N others. "search N": once the search that follows N others has begun.
    """
    kind, *rest = moment.split()
    place = rest[0] if kind != "search" else "ortools.sat.python.cp_model:CpSolver.solve"
    nth = rest[-1] if rest[-1].isdigit() else "0"
    done = subprocess.run(
        [sys.executable, "-c", _CODE, kind, place, nth, str(int(number)), *words],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "300"},
        timeout=limit_s,
    )
    return done.returncode, done.stdout, done.stderr
