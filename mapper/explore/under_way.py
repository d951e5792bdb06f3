"""What workers are doing, said in files or over a net to the process that alone has a terminal."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from mapper.activity import Activity, doing, heard_by, is_heard
from mapper.errors import OptionsError
from mapper.files import write_text

__all__ = ["EVERY_S", "folder_of_workers", "said_in", "seldom", "tell_of"]

EVERY_S = 0.5
"""How often the files are looked at, in seconds; a worker writes no more often than twice as much."""


@contextmanager
def folder_of_workers() -> Iterator[str | None]:
    """A folder in which workers may say what they do; None where nobody listens."""
    with (
        TemporaryDirectory(prefix="mapper-", ignore_cleanup_errors=True)
        if is_heard()
        else nullcontext() as folder
    ):
        yield folder


@contextmanager
def said_in(folder: str | None) -> Iterator[None]:
    """In a worker: what is being done is said in a file of that folder."""
    if folder is None:
        yield
        return
    path = Path(folder, str(os.getpid()))

    def write(now: str) -> None:
        # Nobody's answer depends on it.
        with suppress(OptionsError):
            write_text(path, now)

    with heard_by(seldom(write)):
        yield


def seldom(say: Callable[[str], object]) -> Callable[[Activity], None]:
    """A listener that passes on what is being done, but of steps no more than is looked at."""
    last = 0.0

    def told(now: Activity) -> None:
        nonlocal last
        if (moment := time.monotonic()) - last < EVERY_S / 2 and now.done:
            return
        last = moment
        say(str(now))

    return told


def tell_of(folder: str) -> None:
    """Say what the worker does that spoke last."""
    with suppress(OSError, ValueError):
        said = {
            path.stat().st_mtime: path.read_text(encoding="utf-8")
            for path in Path(folder).iterdir()
            if path.name.isdecimal()
        }
        if said and (latest := said[max(said)]):
            doing(latest)
