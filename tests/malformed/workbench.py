"""A folder of sound files, the commands that take a file of each kind, and what must hold for all of them."""

from __future__ import annotations

import contextlib
import io
import os
import resource
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import numpy as np

from mapper.cli.entry import run
from mapper.events import EVENT_DTYPE
from tests.boards.cases import deploy
from tests.stand_in.fake_boards import FakeBoards

__all__ = ["COMMANDS", "DIGITS", "Ended", "Workbench", "bounded", "ended", "make_sound_files"]

ROOT = Path(__file__).resolve().parents[2]
DIGITS = "digits.nir"
# Of the processor, and of a wait for something that does not come, which a busy machine makes longer.
CPU_S, WAIT_S, BYTES = 10.0, 120.0, 2 << 30
NETWORK = """schema_version: 1
name: net
input: {shape: [2, 6, 6]}
layers:
- {name: a, conv: {features: 2, kernel: 3}}
- {name: b, conv: {features: 2, kernel: 3, bias: true}, from: a}
"""

# By the kind of a file, the commands that may be given one: FILE is it, OUT a folder that is not there.
COMMANDS: dict[str, tuple[str, ...]] = {
    "network": (
        "check FILE --repairs 1",
        "solve FILE --out OUT --repairs 0 --json",
        "emit FILE --out OUT --repairs 0 --no-self-test",
        "diff FILE net.yaml",
        "diff FILE config.json",
        "report FILE --chip speck2f --workers 1 --out OUT --repairs-for none",
        "widest FILE --time-limit 0.2",
        "synthesize FILE --cores 9 --time-limit 0.5 --out OUT",
        "verify FILE --steps 2 --time-limit 1",
    ),
    "chip": (
        "chips check FILE",
        "chips show FILE",
        "chips show FILE --json",
        "solve net.yaml --chip FILE --out OUT --repairs 1 --time-limit 2",
        "emit digits --chip FILE --out OUT --repairs 0 --no-self-test --time-limit 2",
        "report net.yaml --chip FILE --workers 1 --out OUT",
        "report net.yaml --variant FILE --workers 1 --out OUT",
        "synthesize net.yaml --extends FILE --cores 2 --time-limit 0.5 --out OUT",
    ),
    "config": (
        "simulate FILE --events events.npy --out OUT",
        "simulate FILE --events events.npy --sensitivity 1 --json",
        "diff FILE config.json",
        "diff config.json FILE --json",
        "run FILE --device speck2fmodule:0 --events events.npy --out OUT",
        "deploy FILE --device speck2fmodule:0",
        "deploy FILE --device speck2fmodule:0 --events events.npy",
    ),
    "answer": ("deploy config.json --device speck2fmodule:0 --events events.npy --self-test FILE",),
    "events": (
        "simulate config.json --events FILE --out OUT",
        "simulate config.json --events FILE --order sort --unwrap --rebase --drop-outside --time-unit s",
        "simulate config.json --events FILE --order sort --time-unit us --traffic OUT",
        "run config.json --device speck2fmodule:0 --events FILE --drop-outside",
        "verify digits --events FILE --steps 2",
        "deploy config.json --device speck2fmodule:0 --events FILE",
    ),
    "raster": ("verify digits --data FILE --steps 2 --time-limit 3", "verify digits --expect FILE"),
    "placement": (
        "solve digits --keep FILE --out OUT",
        "emit digits --keep FILE --out OUT --no-self-test",
        "diff FILE config.json",
    ),
    "report": (
        "report --resume FILE --workers 1 --out OUT",
        "diff FILE report.json",
        "diff report.json FILE --json",
    ),
    "traffic": (
        "check digits --traffic FILE --repairs 0",
        "report digits --chip speck2f --traffic FILE --workers 1 --out OUT",
    ),
    "cell": ("report net.yaml --chip speck2f --cache cache --workers 1 --out OUT",),
}


class TooLong(BaseException):
    """A command ran for longer than it may."""


def _late(number: int, frame: FrameType | None) -> None:
    raise TooLong


@contextlib.contextmanager
def bounded() -> Iterator[None]:
    """End what takes over 10 s of the processor, and let no more than 2 GiB be taken."""
    alarms = {
        signal.SIGPROF: (signal.ITIMER_PROF, CPU_S),
        signal.SIGALRM: (signal.ITIMER_REAL, WAIT_S),
    }
    earlier = {number: signal.signal(number, _late) for number in alarms}
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + BYTES, hard))
    for timer, seconds in alarms.values():
        signal.setitimer(timer, seconds)
    start = time.process_time()
    try:
        yield
    finally:
        for timer, _ in alarms.values():
            signal.setitimer(timer, 0)
        for number, handler in earlier.items():
            signal.signal(number, handler)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    assert time.process_time() - start < CPU_S


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    words: list[str]
    status: int
    out: str
    err: str


def ended(words: list[str], command: Callable[[list[str]], int] = run) -> Ended:
    """Run a command within the bounds; what must hold however it ends is asserted here."""
    out, err = io.StringIO(), io.StringIO()
    with bounded(), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = command(words)
        except SystemExit as end:  # deploy.py, which says why
            err.write(f"Error: {end}\n")
            status = 2
    told = Ended(words, status, out.getvalue(), err.getvalue())
    assert status in (0, 1, 2, 3), told
    assert "Traceback" not in told.err + told.out, told
    assert all(line.isprintable() for line in (told.out + told.err).split("\n")), told
    lines = [line for line in told.err.split("\n") if line.startswith("Error")]
    # A misfit or a limit that is met where a placement was needed is an error, too.
    assert len(lines) in {0: (0,), 2: (1,)}.get(status, (0, 1)), told
    return told


def make_sound_files(folder: Path) -> None:
    """Files that commands take, made by commands."""
    (folder / "net.yaml").write_text(NETWORK)
    np.save(folder / "events.npy", np.array([(1000, 0, 2, 3), (2000, 0, 5, 4)], EVENT_DTYPE))
    with contextlib.chdir(folder), contextlib.redirect_stdout(io.StringIO()):
        for words in (
            "emit digits --out . --repairs 0 --step-us 1000",
            "simulate config.json --events events.npy --traffic traffic.json",
            "report net.yaml --chip speck2f --out r --workers 1 --cache cache",
        ):
            # Not within the bounds: kernels may be compiled here.
            assert run(words.split()) == 0
        shutil.move("r/report.json", "report.json")
        shutil.rmtree("r")
    inputs = np.zeros((4, 1, 8, 8), np.uint8)
    np.savez(folder / "raster.npz", input=inputs, output=np.zeros((4, 10), np.uint8))


class Workbench:
    """Sound files in a folder, in which a hostile one is put beside them."""

    def __init__(self, folder: Path, boards: FakeBoards) -> None:
        self.folder, self.boards = folder, boards
        self.sound = self.content()
        self.digits = (ROOT / "mapper" / "data" / DIGITS).read_bytes()

    def content(self) -> dict[str, bytes]:
        """What is in the folder."""
        files = [path for path in self.folder.rglob("*") if path.is_file()]
        return {str(path.relative_to(self.folder)): path.read_bytes() for path in files}

    def seen(self) -> list[tuple[str, int, int]]:
        """Names, sizes and times: cheaper than the content."""
        with os.scandir(self.folder) as entries:
            found = [(entry.path, entry.stat(follow_symlinks=False)) for entry in entries]
        return sorted((path, state.st_size, state.st_mtime_ns) for path, state in found)

    def give(self, kind: str, name: str, content: bytes, *numbers: int) -> list[Ended]:
        """Give a file to the commands of its kind (all of them, or those of these numbers)."""
        path = self.folder / name
        earlier = path.read_bytes() if path.exists() else None
        path.write_bytes(content)
        told = []
        try:
            for number in numbers or range(len(COMMANDS[kind])):
                words = COMMANDS[kind][number % len(COMMANDS[kind])]
                told.append(self.run(words, name))
        finally:
            if earlier is None:
                path.unlink()
            else:
                path.write_bytes(earlier)
        return told

    def run(self, command: str, name: str) -> Ended:
        """Run one command on the file of a name."""
        return self.run_words([{"FILE": name, "OUT": "out"}.get(word, word) for word in command.split()])

    def run_words(self, words: list[str]) -> Ended:
        """Run a command; sound files stay as they are, and bad input leaves nothing behind."""
        earlier = self.seen()
        with contextlib.chdir(self.folder):
            if words[0] == "deploy":
                told = ended(words[1:], lambda given: deploy(self.boards, *given))
            else:
                told = ended(words)
        if self.seen() != earlier:
            assert told.status != 2, told
            self._restore({path for path, _, _ in earlier})
        return told

    def _restore(self, earlier: set[str]) -> None:
        """What a command wrote, as it was told to, is gone; what it wrote over is there again."""
        for path in self.folder.iterdir():
            if str(path) not in earlier:
                (shutil.rmtree if path.is_dir() else os.unlink)(path)
        for name, content in self.sound.items():
            if not (self.folder / name).exists() or (self.folder / name).read_bytes() != content:
                (self.folder / name).write_bytes(content)
