"""Recordings of AEDAT 4, decoded in a process of their own: damaged ones end the decoder's, not this one."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from mapper.errors import EventError, Finding
from mapper.events.numpy_files import BYTES_MAX, arrays_of

__all__ = ["decoded"]

# The decoder is written in Rust, panics on damaged files, and aborts where a panic meets another one.
_DECODE = """
import sys
import aedat, numpy
decoder = aedat.Decoder(sys.argv[1])
streams = [n for n, entry in decoder.id_to_stream().items() if entry["type"] == "events"]
parts, size = [], 0
for packet in decoder:
    if streams and packet["stream_id"] == min(streams) and "events" in packet:
        parts.append(packet["events"])
        size += parts[-1].nbytes
        if size > int(sys.argv[3]):
            sys.exit("holds more than " + sys.argv[3] + " bytes of events")
if not parts:
    sys.exit("holds no stream of events")
numpy.save(sys.argv[2], numpy.concatenate(parts))
"""


def decoded(path: Path) -> dict[str, NDArray[Any]]:
    """Columns t, p, y and x of the first stream of events.

    Raises
    ------
    EventError
        The file is damaged, or holds no events or too many.
    """
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "events.npy"
        # -P: no module is taken from the folder that the user stands in.
        words = [sys.executable, "-P", "-c", _DECODE, str(path), str(made), str(BYTES_MAX)]
        # The file is an argument of this very Python, and no part of what it runs.
        done = subprocess.run(  # noqa: S603
            words, capture_output=True, text=True, errors="replace", check=False
        )
        if done.returncode or not made.exists():
            lines = [line for line in done.stderr.splitlines() if line.strip() and line[:1] != " "]
            told = next((line for line in reversed(lines) if not line.startswith("note:")), "")[:200]
            raise EventError(Finding(str(path), f"cannot be read: {told or 'its decoder ended'}"))
        array = arrays_of(made)[""]
    return {name: array[field] for name, field in (("t", "t"), ("p", "on"), ("y", "y"), ("x", "x"))}
