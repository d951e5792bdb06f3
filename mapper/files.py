"""Files that are there whole or not at all: whatever this program writes is written here."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import stat
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from itertools import product
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from mapper.asking import KEEP, RESUME
from mapper.errors import Finding, OptionsError
from mapper.process import undisturbed

try:
    import fcntl
except ImportError:  # a system without it: what a killed process left stays
    fcntl = None  # type: ignore[assignment]

__all__ = [
    "Staged",
    "file_name",
    "own_file",
    "place",
    "require_writable",
    "write_all",
    "write_bytes",
    "write_text",
]

# Long text is written in blocks of so many letters.
_BLOCK = 1 << 20
# By a field that no other has, what this program writes.
_OWN_FILES = {
    "hardware": "is a configuration, which emit writes: run, simulate and diff take it",
    "solution": "is a placement, which solve writes: {keep} takes it",
    "cells": "is a report of networks on chips, which report writes: {resume} and diff take it",
    "answer_hash": "is a known answer, which emit writes for deploy.py --self-test",
    "memories": "is the record of a synthesis, which synthesize writes beside the chip file",
}


def own_file(content: object) -> str | None:
    """What a file of this program is and is for, as a clause; None of any other."""
    if not isinstance(content, Mapping) or "schema_version" not in content:
        return None
    clause = next((clause for field, clause in _OWN_FILES.items() if field in content), None)
    return None if clause is None else clause.format(keep=KEEP, resume=RESUME)


def file_name(name: str) -> str:
    """The name of a layer, a network or a chip as that of a file: no two names give the same one.

    What is no letter, digit or one of ``_ - .`` stands as percent signs do in addresses, a dot in front too;
    of long names the end is a hash.
    """
    safe = b"._-0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
    raw = name.encode("utf-8", "surrogatepass")
    text = "".join(chr(byte) if byte in safe else f"%{byte:02X}" for byte in raw)
    text = f"%2E{text[1:]}" if text.startswith(".") else text or "%"
    return text if len(text) <= _NAME_MAX else f"{text[:_NAME_MAX]}%~{hashlib.sha256(raw).hexdigest()[:32]}"


def write_text(path: Path, text: str, *, is_lasting: bool = True) -> None:
    """Write a file; nobody ever sees half of it.

    Parameters
    ----------
    is_lasting
        It must outlive a crash of the machine, too; the disk is waited for.

    Raises
    ------
    OptionsError
        It cannot be written, or what is there is no file.
    """
    write_bytes(path, _encoded(text), is_lasting=is_lasting)


def write_bytes(path: Path, content: bytes | memoryview, *, is_lasting: bool = True) -> None:
    """Do what `write_text` does, for anything that is not text.

    Raises
    ------
    OptionsError
        As `write_text`.
    """
    with Staged(path) as file:
        file.write(content)
        place(file, is_lasting=is_lasting)


def write_all(contents: Mapping[Path, str | bytes | Iterator[str]]) -> None:
    """Write several files: all of them, or none.

    Parameters
    ----------
    contents
        By file. Of long text its pieces, which are made as they are written.

    Raises
    ------
    OptionsError
        As `write_text`, for any of them; or two are one file.
    """
    with ExitStack() as stack:
        files = [stack.enter_context(Staged(path)) for path in contents]
        for file, content in zip(files, contents.values(), strict=True):
            if isinstance(content, bytes):
                file.write(content)
            else:
                for block in (content,) if isinstance(content, str) else _blocks(content):
                    file.write(_encoded(block))
        place(*files)


def _blocks(pieces: Iterator[str]) -> Iterator[str]:
    """Pieces of text joined, so that a file of a thousand words is not a thousand writes."""
    waiting, size = list[str](), 0
    for piece in pieces:
        waiting.append(piece)
        size += len(piece)
        if size >= _BLOCK:
            yield "".join(waiting)
            waiting, size = [], 0
    yield "".join(waiting)


def require_writable(*paths: Path, read: Collection[Path] = ()) -> None:
    """Ask before hours of work whether their outcome can be written; nothing is left of the question.

    Parameters
    ----------
    read
        What the work reads, and must not replace.

    Raises
    ------
    OptionsError
        As `write_text`, for any of them; or one is what is read.
    """
    for path, source in product(paths, read):
        if path.exists() and source.exists() and path.samefile(source):
            step = "Write to another file"
            raise OptionsError(Finding(str(path), "is read by this command", next_step=step))
    with ExitStack() as stack:
        for path in paths:
            stack.enter_context(Staged(path))


def _encoded(text: str) -> bytes:
    # Half characters come from paths that are no text. In JSON, how they are spelled here means them.
    return text.encode("utf-8", "backslashreplace")


class Staged:
    """A file that is written beside its place, under a name of its own, until `place` puts it there.

    Use it in a ``with`` block: what has not been placed is gone at its end. Of a process that was killed
    something stays; it is removed when another one writes into the same folder.

    Attributes
    ----------
    stream
        Takes the content.

    Raises
    ------
    OptionsError
        The folder cannot be made or written to, or what is there is no regular file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with _telling(path):
            self.target, mode = _place_of(path)
            self._made = _made(self.target.parent)
            try:
                _sweep(self.target.parent)
                self.beside, self.stream = _opened(self.target.parent, mode)
            except BaseException:
                _remove_empty(self._made)
                raise

    def write(self, content: bytes | memoryview) -> None:
        """Write a further part.

        Raises
        ------
        OptionsError
            It cannot be written.
        """
        with _telling(self.path):
            self.stream.write(content)

    def rewind(self) -> None:
        """Go back to the begin: what is written next lies over what is there.

        Raises
        ------
        OptionsError
            What was written so far cannot be.
        """
        with _telling(self.path):
            self.stream.seek(0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Goes on whatever fails: a full disk fails once more when what is left is flushed.
        with suppress(OSError):
            self.stream.close()
        with suppress(OSError):
            os.unlink(self.beside)
        _remove_empty(self._made)


def place(*files: Staged, is_lasting: bool = True) -> None:
    """Put complete files into their places: all of them, or none.

    Raises
    ------
    OptionsError
        One cannot be put there; what was there before is there again. Or two have the same place.
    """
    for file in files:
        if sum(other.target == file.target for other in files) > 1:
            problem, step = "would be written twice, with different content", "Name another file"
            raise OptionsError(Finding(str(file.path), problem, next_step=step))
        with _telling(file.path):
            file.stream.flush()
            if is_lasting:
                os.fsync(file.stream.fileno())
            if fcntl is None:
                file.stream.close()  # what is open has a fixed name there
    earlier: dict[Path, Path | None] = {}
    with undisturbed():
        try:
            for file in files:
                with _telling(file.path):
                    earlier[file.target] = _second_name(file.target) if len(files) > 1 else None
                    os.replace(file.beside, file.target)
        except BaseException:
            for file in files:
                if file.target in earlier and not file.beside.exists():
                    _put_back(file.target, earlier[file.target])
            raise
        finally:
            for second in filter(None, earlier.values()):
                with suppress(OSError):  # it goes at the next run
                    second.unlink(missing_ok=True)
    for file in files if is_lasting else ():
        _make_last(file.target.parent)


_NAME_MAX = 160
# Who holds the lock of such a file is at work on it.
_BESIDE = re.compile(r"\.mapper-[0-9a-f]{16}\.tmp")
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}
_swept: set[Path] = set()


@contextmanager
def _telling(path: Path) -> Iterator[None]:
    """Say of what file it is that the system refuses something."""
    try:
        yield
    except OSError as error:
        file = next((home for home in path.parents if home.exists() and not home.is_dir()), None)
        why = f"{file} is a file, and no folder" if file is not None else error.strerror or error
        raise OptionsError(Finding(str(path), f"cannot be written: {why}")) from None


def _place_of(path: Path) -> tuple[Path, int | None]:
    """Where a file of this name lies, behind links, and its mode if it is there."""
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return Path(os.path.realpath(path)), None
    if not stat.S_ISREG(mode):
        kind = _KINDS.get(stat.S_IFMT(mode), "no file")
        problem = f"cannot be written: it is {kind}, and only files are replaced"
        raise OptionsError(Finding(str(path), problem, next_step="Name a file, or one that is not there yet"))
    return Path(os.path.realpath(path)), mode


def _made(folder: Path) -> list[Path]:
    """Make a folder, and those above it; which ones were not there."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    return missing[::-1]


def _remove_empty(folders: list[Path]) -> None:
    """Remove folders that were made, the innermost last, as long as nothing is in them."""
    for folder in reversed(folders):
        with suppress(OSError):
            os.rmdir(folder)


def _beside(folder: Path) -> Path:
    return folder / f".mapper-{secrets.token_hex(8)}.tmp"


def _opened(folder: Path, mode: int | None) -> tuple[Path, BinaryIO]:
    """A new file in a folder, locked until it is closed.

    Its permissions are those of the file that it replaces, else what the user's mask leaves.
    """
    while True:
        name = _beside(folder)
        handle = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
        try:
            if mode is not None:
                os.chmod(name, stat.S_IMODE(mode))
            if fcntl is not None:
                with suppress(OSError):  # a file system without locks
                    fcntl.flock(handle, fcntl.LOCK_EX)
            # Another process may have taken it for a leftover before it was locked.
            if name.exists():
                return name, os.fdopen(handle, "wb")
        except BaseException:
            os.close(handle)
            name.unlink(missing_ok=True)
            raise
        os.close(handle)


def _sweep(folder: Path) -> None:
    """Remove what processes that were killed have left in a folder."""
    if fcntl is None or folder in _swept:
        return
    _swept.add(folder)
    for entry in [entry for entry in os.scandir(folder) if _BESIDE.fullmatch(entry.name)]:
        with suppress(OSError):
            handle = os.open(entry.path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.unlink(entry.path)
            finally:
                os.close(handle)


def _second_name(target: Path) -> Path | None:
    """Another name for what is to be replaced; None where nothing is there."""
    second = _beside(target.parent)
    try:
        os.link(target, second)
    except FileNotFoundError:
        return None
    except OSError:
        os.replace(target, second)  # a file system without second names
    return second


def _put_back(target: Path, second: Path | None) -> None:
    with suppress(OSError):
        if second is None:
            target.unlink()
        else:
            os.replace(second, target)


def _make_last(folder: Path) -> None:
    """Wait until the names in a folder are on the disk, where that can be asked for."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
