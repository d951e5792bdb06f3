"""A disk that breaks while a file is read, at its n-th kibibyte: the file is named, and nothing is written."""

from __future__ import annotations

import builtins
import errno
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mapper.events import EVENT_DTYPE, write_events
from tests.malformed.workbench import Workbench

_BYTES = 1024
# HDF5 and torch read from the system by themselves: `test_short_of.py` has their first byte.
# Every read up to the fourth, then ever further ones, until a command is done without.
_NUMBERS = (0, 1, 2, 3, 6, 12, 25, 50, 100, 200, 400, 800)


class Broken(io.FileIO):
    """A file that is read a kibibyte at a time; the n-th of these reads fails."""

    at = 0
    reads = 0

    def _reached(self) -> None:
        number, Broken.reads = Broken.reads, Broken.reads + 1
        if number >= Broken.at:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    def readinto(self, buffer: Any, /) -> int:
        self._reached()
        return super().readinto(memoryview(buffer)[:_BYTES])

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or size < 0:
            return self.readall()
        self._reached()
        return super().read(min(size, _BYTES))

    def readall(self) -> bytes:
        return b"".join(iter(lambda: self.read(_BYTES), b""))

    def fileno(self) -> int:
        # Else numpy would read from the system by itself.
        raise io.UnsupportedOperation("this file is read by its methods alone")


@contextmanager
def broken(path: Path, at: int) -> Iterator[type[Broken]]:
    """Let reads of one file fail from the n-th on."""
    real = io.open

    def opened(file: Any, mode: str = "r", *arguments: Any, **words: Any) -> Any:
        is_it = isinstance(file, str | os.PathLike) and Path(file).resolve() == path.resolve()
        if not is_it or set(mode) - {"r", "b", "t"}:
            return real(file, mode, *arguments, **words)
        raw = io.BufferedReader(Broken(file), _BYTES)
        return raw if "b" in mode else io.TextIOWrapper(raw, encoding="utf-8")

    Broken.at, Broken.reads = at, 0
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(io, "open", opened)
        patched.setattr(builtins, "open", opened)
        yield Broken


COMMANDS = [
    ("check FILE --repairs 0", "net.yaml"),
    ("chips check FILE", "chip.toml"),
    ("check digits --repairs 0 --chip FILE", "chip.toml"),
    ("check digits --repairs 0 --traffic FILE", "traffic.json"),
    ("solve digits --keep FILE --out OUT", "placement.json"),
    ("simulate FILE --events events.npy --out OUT", "config.json"),
    ("diff config.json FILE", "config.json"),
    ("run FILE --device speck2fmodule:0 --events events.npy --out OUT", "config.json"),
    ("deploy FILE --device speck2fmodule:0", "config.json"),
    ("deploy config.json --device speck2fmodule:0 --events FILE", "many.npy"),
    ("deploy config.json --device speck2fmodule:0 --events events.npy --self-test FILE", "known_answer.json"),
    *(("simulate config.json --events FILE --out OUT", f"many.{kind}") for kind in ("npy", "npz", "csv")),
    ("verify digits --data FILE --steps 2 --time-limit 3", "labelled.npz"),
    ("report --resume FILE --workers 1 --out OUT", "report.json"),
    ("diff report.json FILE", "report.json"),
]


CHIP = b'extends = "speck2f"\nname = "x"\n' + b"# of no meaning\n" * 200


@pytest.fixture(scope="module")
def files(bench: Workbench, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The workbench's files, and some of kinds that it lacks, longer than a kibibyte."""
    folder = tmp_path_factory.mktemp("more")
    events = np.zeros(400, EVENT_DTYPE)
    events["t"], events["x"] = np.arange(400) * 1000, np.arange(400) % 8
    for kind in ("npy", "npz", "csv"):
        write_events(folder / f"many.{kind}", events)
    rasters, labels = np.random.default_rng(0).integers(0, 2, (8, 4, 1, 8, 8), np.uint8), np.arange(8)
    np.savez(folder / "labelled.npz", rasters=rasters, labels=labels)
    return {**bench.sound, "chip.toml": CHIP, **{path.name: path.read_bytes() for path in folder.iterdir()}}


@pytest.mark.parametrize(("command", "name"), COMMANDS)
def test_a_read_that_fails(command: str, name: str, bench: Workbench, files: dict[str, bytes]) -> None:
    path, reached = bench.folder / f"broken-{name}", 0
    path.write_bytes(files[name])
    try:
        for at in _NUMBERS:
            with broken(path, at) as reads:
                told = bench.run(command, path.name)
            if reads.reads <= at:
                break
            reached += 1
            assert told.status == 2, (at, told)
            assert path.name in told.err, (at, told)
            assert "fault of the mapper" not in told.err
        else:
            pytest.fail("no run was done without a read error")
    finally:
        path.unlink()
    assert told.status in (0, 1)
    assert reached > 0
