"""A full disk, a broken one, memory that runs out and a kill, at every write of every command that writes.

For the n-th call of what `mapper.files` asks the system for, n counting up until a run does without: what was
there is there, or all that is new; the status is no verdict; and the next run gives the same bytes as one
that nothing disturbed. What commands compute is computed once and remembered, since only writing is of
interest here.
"""

from __future__ import annotations

import errno
import os
import random
import shutil
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mapper
from mapper import files
from mapper.cli import entry
from mapper.cli.app import app
from mapper.cli.entry import run
from mapper.events import EVENT_DTYPE, write_events
from mapper.explore import sweep as sweep_module
from mapper.explore import workers as workers_module
from mapper.explore.cell import decide
from mapper.explore.record import ReportRecord
from mapper.explore.workers import in_this_process
from mapper.report import formats
from mapper.report.formats import FORMATS
from tests.stand_in.fake_boards import install_boards

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="signals and processes of POSIX"),
    # In the child nothing runs but the writing of files.
    pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning"),
]

_CALLS = ("open", "fdopen", "fsync", "replace", "link", "unlink", "rmdir", "chmod", "stat", "scandir")
_OF_A_STREAM = ("write", "flush", "close", "seek")
# What fails on a full disk; it goes on failing, since nothing makes room.
_TAKES_ROOM = ("open", "fdopen", "fsync", "link", "mkdir", "write", "flush")
# What leaves another state of the disk behind than it found, which a kill may come before.
_CHANGES = ("open", "write", "flush", "replace", "link", "unlink", "mkdir", "rmdir")
# Clearing up may fail as well, and then something stays until the next run.
_CLEARS_UP = ("close", "unlink", "rmdir")


def _full(_: str) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _broken(_: str) -> None:
    raise OSError(errno.EIO, os.strerror(errno.EIO))


def _no_memory(_: str) -> None:
    raise MemoryError


def _killed(_: str) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


FAULTS = (_full, _broken, _no_memory)
EXAMPLES = int(os.environ.get("MAPPER_FUZZ_EXAMPLES", "60"))
Told = Callable[[], Any]


@dataclass
class Machine:
    """What stands where `mapper.files` looks for the system: its n-th call fails."""

    fault: Callable[[str], None] | None = None
    at: int = -1
    calls: int = 0
    name: str = ""

    def reached(self, name: str) -> None:
        if self.fault is _killed and name not in _CHANGES:
            return
        number, self.calls = self.calls, self.calls + 1
        if self.fault is None:
            return
        again = self.fault is _full and self.name and name in _TAKES_ROOM
        if number == self.at or again:
            self.name = self.name or name
            self.fault(name)

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        if name not in _CALLS:
            return real

        def call(*arguments: Any, **words: Any) -> Any:
            self.reached(name)
            # Nobody waits for the disk of this machine here: it takes longer than all the rest.
            made = None if name == "fsync" else real(*arguments, **words)
            return Stream(made, self) if name == "fdopen" else made

        return call


class Stream:
    """A file whose calls are counted."""

    def __init__(self, file: Any, machine: Machine) -> None:
        self._file, self._machine = file, machine

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._file, name)
        if name not in _OF_A_STREAM:
            return real

        def call(*arguments: Any) -> Any:
            if name == "close":
                real()  # whatever it says, the file is closed
            self._machine.reached(name)
            return real(*arguments)

        return call


_MADE: dict[tuple[object, ...], Any] = {}


def remembered(function: Callable[..., Any], name: str, *of: int) -> Callable[..., Any]:
    """Give what the first call gave; `of` are the arguments whose names tell calls apart."""

    def again(*arguments: Any, **words: Any) -> Any:
        key = (name, *(arguments[n].name for n in of))
        if key not in _MADE:
            _MADE[key] = function(*arguments, **words)
        return _MADE[key]

    return again


def _text(name: str, text_of: Callable[[ReportRecord], str], record: ReportRecord) -> str:
    key = name, record.notes
    if key not in _MADE:
        _MADE[key] = text_of(record)
    return str(_MADE[key])


@dataclass
class Commands:
    """A folder with inputs, and the commands that write files from them."""

    folder: Path

    def words(self, name: str, out: Path) -> list[str]:
        """A command that writes into a folder."""
        config, events = str(self.folder / "config.json"), str(self.folder / "events.npy")
        recorded = [config, "--events", events]
        cells = [
            "--chip",
            "speck2f",
            "--chip",
            "dynapcnn",
            "--details-for",
            "none",
            "--repairs-for",
            "none",
            "--workers",
            "1",
        ]
        return {
            "solve": ["solve", "digits", "--out", str(out)],
            "emit": ["emit", "digits", "--out", str(out)],
            "simulate": ["simulate", *recorded, "--out", str(out), "--layer", "conv1", "--layer", "conv2", "--traffic", str(out / "rates.json")],
            "run": ["run", *recorded, "--device", "speck2fmodule", "--out", str(out)],
            "report": ["report", "digits", *cells, "--out", str(out), "--cache", str(out / "cells")],
            "synthesize": ["synthesize", "digits", "--out", str(out)],
            "verify --plot": ["verify", "digits", "--plot", str(out / "drawing.svg")],
            "completion": ["--install-completion", "bash", "--out", str(out / "script")],
        }[name]  # fmt: skip


COMMANDS = ["solve", "emit", "simulate", "run", "report", "synthesize", "verify --plot", "completion"]
# What takes long in a command, and is computed once.
COMPUTES = {
    "solve": "mapper.api.solve",
    "emit": "mapper.equivalence.known_answer.answer_or_reason",
    "report": "mapper.explore.plan.plan_networks",
    "synthesize": "mapper.explore.smallest.synthesize",
    "verify --plot": "mapper.api.verify_equivalence",
}
# One for each way of writing: a file, several, streams, a cache. Processes take long to be made and killed, so
# each other command is killed once unless much is asked for.
KILLED_EVERYWHERE = COMMANDS if EXAMPLES > 1000 else ["solve", "emit", "simulate", "report"]
# All files of a command appear together, but for these.
APART = {"simulate": "rates.json", "report": "cells"}


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Commands:
    install_boards(monkeypatch, tmp_path, "Speck2fModuleDevKit")
    monkeypatch.setenv("COLUMNS", "400")
    inputs = tmp_path / "inputs"
    inputs.mkdir()
    if ("config",) not in _MADE:
        result = mapper.solve("digits", "speck2f", monitors=("conv1", "conv2"))
        _MADE["config",] = mapper.build_config(result)
    mapper.write_config(_MADE["config",], inputs / "config.json")
    events = np.zeros(40, EVENT_DTYPE)
    events["t"], events["x"] = np.arange(40) * 1000, np.arange(40) % 8
    write_events(inputs / "events.npy", events)
    for name in COMPUTES.values():
        home, _, attribute = name.rpartition(".")
        module = import_module(home)
        monkeypatch.setattr(module, attribute, remembered(getattr(module, attribute), name))
    monkeypatch.setattr(workers_module, "decide", remembered(decide, "decide", 1))
    texts = {name: partial(_text, name, text_of) for name, text_of in FORMATS.items()}
    monkeypatch.setattr(formats, "FORMATS", texts)
    if find_spec("matplotlib"):
        monkeypatch.setattr(
            "matplotlib.figure.Figure.savefig", lambda _, stream, **__: stream.write(b"drawn")
        )
    script = remembered(app.generate_completion, "completion")
    monkeypatch.setattr(type(app), "generate_completion", lambda _, **words: script(**words))
    monkeypatch.setattr(sweep_module, "on_cores", lambda tasks, _, deadline: in_this_process(tasks, deadline))
    return Commands(inputs)


def require(name: str) -> None:
    if "--plot" in name:
        pytest.importorskip("matplotlib")


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def leftovers(folder: Path) -> list[str]:
    return [name for name in contents(folder) if files._BESIDE.fullmatch(Path(name).name)]


def attempt(words: list[str], machine: Machine) -> int:
    """The status of a command on such a machine."""
    files._swept.clear()
    with pytest.MonkeyPatch.context() as patched:
        for name in ("mkdir", "unlink"):
            real = getattr(Path, name)

            def call(path: Path, *arguments: Any, _real: Any = real, _name: str = name, **words: Any) -> None:
                machine.reached(_name)
                _real(path, *arguments, **words)

            patched.setattr(Path, name, call)
        patched.setattr(files, "os", machine)
        # Reading the words takes longer than all the rest.
        if (key := ("words", *words)) not in _MADE:
            _MADE[key] = app.parse_args(words)
        command, bound, _ = _MADE[key]
        patched.setattr(entry, "_dispatch", lambda _: command(*bound.args, **bound.kwargs))
        return run(words)


def prepared(out: Path, before: dict[str, bytes]) -> None:
    shutil.rmtree(out, ignore_errors=True)
    for name, content in before.items():
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_bytes(content)


def consistent(name: str, out: Path, old: dict[str, bytes], new: dict[str, bytes]) -> None:
    """No file is half of anything, and those that belong together are all old or all new."""
    kinds = set()
    there = contents(out)
    for path, content in there.items():
        if not files._BESIDE.fullmatch(Path(path).name):
            assert content in (old.get(path), new.get(path)), path
    for path in [path for path in new if not path.startswith(APART.get(name, "-"))]:
        kinds |= {"old"} if there.get(path) == old.get(path) else {"new"}
    assert len(kinds) == 1


def disturbed(name: str, words: list[str], out: Path, told: Told, *, shift: int) -> None:
    """A command under a fault at its n-th call, for every n; kinds of faults, and of starts, take turns."""
    assert attempt(words, Machine()) == 0, told().err
    new = contents(out)
    assert new
    assert leftovers(out) == []
    for at in count():
        fault = FAULTS[(at + shift) % len(FAULTS)]
        old = dict.fromkeys(new, b"old") if (at + shift) % 2 else {}
        prepared(out, old)
        told()
        machine = Machine(fault, at)
        status, said = attempt(words, machine), told()
        if not machine.name:
            break
        where = f"{fault.__name__}: call {at}, {machine.name}: {said.err}"
        # A cache that fills up changes a note of the report, and no cell.
        if (is_uncached := "the cache keeps nothing from here on" in said.out) is False:
            consistent(name, out, old, new)
        assert machine.name in _CLEARS_UP or leftovers(out) == [], where
        if status:
            assert status == (4 if fault is _no_memory else 2), where
            (line,) = filter(None, said.err.splitlines())
            assert line.startswith("Error: "), where
            assert ("there was not enough memory" in line) == (fault is _no_memory), where
            assert "\nwritten:" not in f"\n{said.out}", where
        elif not is_uncached:
            assert {path: content for path, content in contents(out).items() if path in new} == new, where
        assert attempt(words, Machine()) == 0, where
        assert contents(out) == new, where
    assert at > 5
    assert status == 0


@pytest.mark.no_cover
@pytest.mark.parametrize("shift", range(6 if EXAMPLES > 1000 else 1))
@pytest.mark.parametrize("name", COMMANDS)
def test_a_fault_at_every_write(
    name: str, shift: int, commands: Commands, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    require(name)
    out = tmp_path / "out"
    disturbed(name, commands.words(name, out), out, capsys.readouterr, shift=shift)
    assert name not in COMPUTES or (COMPUTES[name],) in _MADE, "it is computed elsewhere now, and every time"


@pytest.mark.no_cover
@pytest.mark.parametrize("name", COMMANDS)
def test_a_kill_at_a_write(name: str, commands: Commands, tmp_path: Path) -> None:
    require(name)
    out = tmp_path / "out"
    words = commands.words(name, out)
    assert attempt(words, Machine()) == 0
    new = contents(out)
    old = dict.fromkeys(new, b"old")
    prepared(out, old)
    counted = Machine(_killed)
    assert attempt(words, counted) == 0
    assert counted.calls > 5
    once = random.Random(name).randrange(counted.calls)  # noqa: S311  # any write will do, the same every time
    for at in range(counted.calls) if name in KILLED_EVERYWHERE else (once,):
        prepared(out, old)
        status = killed(words, at)
        assert os.WIFSIGNALED(status)
        assert os.WTERMSIG(status) == signal.SIGKILL
        there = contents(out)
        for path, content in there.items():
            if not files._BESIDE.fullmatch(Path(path).name):
                assert content in (b"old", new[path])
        assert new.keys() <= there.keys()
        assert attempt(words, Machine()) == 0
        assert contents(out) == new, at


def killed(words: list[str], at: int) -> int:
    """How a process ends, as `waitpid` says it, that is killed at its n-th change of the disk."""
    if (child := os.fork()) == 0:
        signal.alarm(60)
        try:
            os._exit(attempt(words, Machine(_killed, at)))
        finally:
            os._exit(99)
    return os.waitpid(child, 0)[1]
