"""Events of .aedat4 files, decoded where a decoder that fails takes nothing along."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mapper.errors import BackendMissingError, EventError, Finding
from mapper.events.aedat4_child import NO_STREAM

__all__ = ["recording"]

_CHILD = Path(__file__).with_name("aedat4_child.py")
# What is compressed grows a few times when it is read, and events are held twice. Both bounds are far from
# what sound files need: 50 MB a second on one core, 25 times their size.
_MEMORY_BYTES, _MEMORY_SHARE = 4 << 30, 64
_TIME_S, _BYTES_PER_S = 60.0, 1_000_000
_SIGNAL_NAMES = {-6: "the decoder gave up", -9: "the decoder was killed", -11: "the decoder crashed"}


def recording(path: Path) -> dict[str, NDArray[Any]]:
    """The first stream of events of a file, by field.

    Raises
    ------
    EventError
        The file cannot be decoded, in the time and memory that its size warrants, or has no events.
    BackendMissingError
        The decoder is not installed.
    """
    if find_spec("aedat") is None:
        step = 'Install it: pip install "dynapcnn-mapper[aedat4]"'
        raise BackendMissingError("aedat", path.name, step)
    # Threads of linear algebra, which is not needed, would reserve memory of their own.
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "RUST_BACKTRACE": "0"}
    # -P: what lies beside the script is no library.
    words = [sys.executable, "-P", str(_CHILD), str(path.absolute())]
    try:
        with path.open("rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            memory, limit_s = _MEMORY_BYTES + _MEMORY_SHARE * size, _TIME_S + size / _BYTES_PER_S
            done = subprocess.run(  # noqa: S603  # this interpreter, and a file of this package
                [*words, str(memory)],
                stdin=stream,
                capture_output=True,
                timeout=limit_s,
                env=environment,
                check=False,
            )
    except subprocess.TimeoutExpired as late:
        problem, step = "cannot be read: it took too long", "The file is damaged, or the machine is busy"
        raise EventError(Finding(str(path), problem, limit=f"{late.timeout:.0f} s", next_step=step)) from None
    except OSError as error:
        raise EventError(Finding(str(path), f"cannot be read: {error.strerror or error}")) from None
    if done.returncode == NO_STREAM:
        raise EventError(Finding(str(path), "holds no stream of events"))
    if done.returncode != 0:
        raise EventError(Finding(str(path), f"cannot be read: {_reason(done)}"))
    events = np.load(io.BytesIO(done.stdout), allow_pickle=False)
    return {"t": events["t"], "p": events["on"], "y": events["y"], "x": events["x"]}


def _reason(done: subprocess.CompletedProcess[bytes]) -> str:
    """What the decoder said last: a line of Rust, or the message of an exception."""
    lines = [line.strip() for line in done.stderr.decode("utf-8", "replace").splitlines() if line.strip()]
    said = [
        line for line in lines if not line.startswith(("note:", "thread '", "File ", "Traceback", "stack"))
    ]
    words = re.sub(r"^[\w.]*(?:Error|Exception): ", "", said[-1])[:200] if said else ""
    return words or _SIGNAL_NAMES.get(done.returncode, f"the decoder ended with status {done.returncode}")
