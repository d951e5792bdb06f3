"""What workers are doing, said in files to the process that started them: it alone has a terminal."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from mapper.activity import Activity, doing, heard_by, is_heard
from mapper.errors import OptionsError
from mapper.files import write_text

__all__ = ["EVERY_S", "folder_of_workers", "said_in", "tell_of"]

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
    path, last = Path(folder, str(os.getpid())), 0.0

    def write(now: Activity) -> None:
        nonlocal last
        if (moment := time.monotonic()) - last < EVERY_S / 2 and now.done:
            return
        last = moment
        # Nobody's answer depends on it.
        with suppress(OptionsError):
            write_text(path, str(now))

    with heard_by(write):
        yield


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
