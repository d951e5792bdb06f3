"""Files that are there whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from mapper.errors import Finding, OptionsError

__all__ = ["own_file", "write_bytes", "write_text"]

# By a field that no other has, what this program writes.
_OWN_FILES = {
    "hardware": "is a configuration, which emit writes: run, simulate and diff take it",
    "solution": "is a placement, which solve writes: --keep takes it",
    "cells": "is a report of networks on chips, which report writes: --resume and diff take it",
    "answer_hash": "is a known answer, which emit writes for run",
    "memories": "is the record of a synthesis, which synthesize writes beside the chip file",
}


def own_file(content: object) -> str | None:
    """What a file of this program is and is for, as a clause; None of any other."""
    if not isinstance(content, Mapping) or "schema_version" not in content:
        return None
    return next((clause for field, clause in _OWN_FILES.items() if field in content), None)


def write_text(path: Path, text: str) -> None:
    """Write beside the target, then rename: nobody ever sees half a file.

    Raises
    ------
    OptionsError
        The folder cannot be made or written to.
    """
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, content: bytes | memoryview) -> None:
    """Do what `write_text` does, for anything that is not text.

    Raises
    ------
    OptionsError
        The folder cannot be made or written to.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(content)
            os.chmod(name, 0o644)
            os.replace(name, path)
        # Nothing half written stays, also after Ctrl-C, which goes on even if the removal fails.
        except BaseException:
            with suppress(OSError):
                os.unlink(name)
            raise
    except OSError as error:
        raise OptionsError(Finding(str(path), f"cannot be written: {error.strerror or error}")) from None
