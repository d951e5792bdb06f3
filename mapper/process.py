"""What becomes of the process: its streams, its signals, and the one place where it ends.

Every way out goes through `completed`, since Python's own way out of an exception is exit status 1, which
here says that a misfit is proven. Nothing but the standard library is imported.
"""

from __future__ import annotations

import atexit
import gc
import io
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, ClassVar

__all__ = [
    "BAD_INPUT",
    "FAULT",
    "OK",
    "UNDECIDED",
    "collector",
    "completed",
    "ctrl_c",
    "ended_by_ctrl_c",
    "interrupted",
    "is_command_line",
    "report_fault",
    "starting_workers",
    "undisturbed",
    "was_interrupted",
    "worker_processes",
]

# Exit statuses. 1, proven not to fit, stands in mapper/cli/verdict.py alone, with what it takes to give it.
OK, BAD_INPUT, UNDECIDED, FAULT = 0, 2, 3, 4

_AGAIN_S = 0.02
_came: list[int] = []
# One entry for each command that this process was started for: none where mapper is a library.
_own_commands: list[bool] = []


def completed(command: Callable[[], int]) -> int:
    """The exit status of the process, once a command has run and its output has been taken.

    A reader that goes before the end changes nothing: the rest is computed, and the status is the same
    however much it read. Output that cannot be written (a full disk) is bad input, as it is for files.
    SIGTERM and SIGHUP end what is under way as Ctrl-C does.
    """
    out = None
    _own_commands.append(True)
    try:
        _hold_descriptors()
        out = _replace_streams()
        _listen()
        status = command()
    except KeyboardInterrupt:
        status = interrupted()
    except BaseException as error:
        status = interrupted() if _came else report_fault(error)
    # The status stands: a signal that still comes ends the process at once, as a signal.
    for number in _signals(signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    sys.stdout.flush()
    if out is not None and out.failure is not None:
        print(f"Error: standard output: cannot be written: {out.failure}", file=sys.stderr)
        status = BAD_INPUT
    sys.stderr.flush()
    if _came:
        # Python ends by SIGINT once a KeyboardInterrupt has left code that exec ran, as dataclasses do,
        # whatever became of it: the status would be lost.
        atexit._run_exitfuncs()
        os._exit(status)
    return status


def interrupted() -> int:
    """Say that a signal came before there was an answer; the exit status for it."""
    print("Interrupted before anything was found.", file=sys.stderr)
    return UNDECIDED


def is_command_line() -> bool:
    """Whether this process runs a command of ours and nothing else."""
    return bool(_own_commands)


def worker_processes(count: int) -> Any:
    """Loky's executor of so many processes, kept for the next call; those of a command know they are."""
    from joblib.externals.loky import get_reusable_executor  # noqa: PLC0415  # loads slowly

    return get_reusable_executor(
        max_workers=count, initializer=_work_for_command if is_command_line() else None
    )


def _work_for_command() -> None:
    _own_commands.append(True)


def was_interrupted() -> bool:
    """Whether Ctrl-C or the like came, which a library that was at work may have made another error of."""
    return bool(_came)


@contextmanager
def ended_by_ctrl_c(note: Callable[[], object]) -> Iterator[None]:
    """Let Ctrl-C end this block and no more; `note` is called then."""
    was_before = was_interrupted()
    try:
        yield
    except BaseException as error:
        # Some libraries make an error of their own of Ctrl-C.
        if not isinstance(error, KeyboardInterrupt) and (was_before or not was_interrupted()):
            raise
        note()


def report_fault(error: BaseException) -> int:
    """Write a report of a fault of this program, and say where it is; the exit status for it.

    Memory that was short is a fault of nobody's, and needs no report.
    """
    import platform  # noqa: PLC0415  # loaded for a fault alone, as all here
    import tempfile  # noqa: PLC0415
    import traceback  # noqa: PLC0415

    from hwspec.inert import inert  # noqa: PLC0415

    # Some libraries make an error of their own of what they run into.
    if "MemoryError" in f"{type(error).__name__}: {error}":
        step = "Close other programs, or ask for less at once: fewer --workers, a smaller network"
        print(f"Error: there was not enough memory. {step}", file=sys.stderr)
        return FAULT
    text = f"python {platform.python_version()}\n{''.join(traceback.format_exception(error))}"
    said = f"this is a fault of the mapper ({type(error).__name__}: {inert(str(error))})"
    try:
        with tempfile.NamedTemporaryFile(prefix="mapper-fault-", suffix=".txt", delete=False) as stream:
            stream.write(text.encode("utf-8", "backslashreplace"))
        print(f"Error: {said}. Please report it with the file {stream.name}", file=sys.stderr)
    except OSError:
        # No folder can be written to: what would stand in the file follows.
        print(f"Error: {said}. Please report it with this:\n{text}", file=sys.stderr)
    return FAULT


def ctrl_c(number: int, frame: FrameType | None) -> None:
    """What Python does at Ctrl-C, and a note that it came."""
    _came.append(number)
    signal.default_int_handler(number, frame)


def _again(lost: Any) -> None:
    """Where Ctrl-C came while an object was deleted, which no exception can leave, it comes once more."""
    if isinstance(lost.exc_value, KeyboardInterrupt):
        threading.Timer(_AGAIN_S, signal.raise_signal, [signal.SIGINT]).start()
    else:
        sys.__unraisablehook__(lost)


def _in_thread(lost: Any) -> None:
    """Threads of libraries whose work Ctrl-C took away may fail by that: it is no news."""
    if not _came:
        threading.__excepthook__(lost)


class _Collector(threading.local):
    """Python's search for reference cycles: off as long as a thread puts it off, then as it was before."""

    lock: ClassVar = threading.Lock()
    threads: ClassVar[int] = 0
    was_on: ClassVar[bool] = True
    is_put_off: bool = False

    def put_off(self, wanted: bool) -> None:
        """Say what this thread wants from now on."""
        kind, change = type(self), int(wanted) - int(self.is_put_off)
        self.is_put_off = wanted
        with kind.lock:
            if change > 0 and not kind.threads:
                kind.was_on = gc.isenabled()
                gc.disable()
            kind.threads += change
            if change < 0 and not kind.threads and kind.was_on:
                gc.enable()


_collector = _Collector()


@contextmanager
def collector(*, put_off: bool) -> Iterator[None]:
    """Put off Python's search for cycles in a block that makes many objects and no cycles, or no longer.

    It would look at all of them again and again, which takes a quarter of the time of thousands of layers.
    What may take long should not put it off: other threads compute meanwhile.
    """
    before = _collector.is_put_off
    try:
        _collector.put_off(put_off)
        yield
    finally:
        _collector.put_off(before)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Let no signal end what must be done as a whole and is over at once; it comes afterwards."""
    if threading.current_thread() is not threading.main_thread():
        yield  # handlers run in the main thread alone
        return
    came: list[int] = []
    every = {number: signal.getsignal(number) for number in _signals(signal.SIGINT)}
    earlier = {number: handler for number, handler in every.items() if callable(handler)}
    for held in earlier:
        signal.signal(held, lambda number, _: came.append(number))
    try:
        yield
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)
        for late in came:
            signal.raise_signal(late)


@contextmanager
def starting_workers() -> Iterator[None]:
    """Hold Ctrl-C back; processes and threads that are started meanwhile never get it.

    A terminal sends it to workers too, which may still be importing and would tell their tracebacks.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield  # a system on which nothing is inherited
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _as_ctrl_c(_: int, __: FrameType | None) -> None:
    signal.raise_signal(signal.SIGINT)


def _signals(*others: signal.Signals) -> list[signal.Signals]:
    """SIGTERM and SIGHUP, as far as this system has them, and others."""
    return [*others, *(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))]


def _listen() -> None:
    # What is ignored stays ignored: nohup, and jobs in the background of a script.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, ctrl_c)
    sys.unraisablehook, threading.excepthook = _again, _in_thread
    for number in _signals():
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _as_ctrl_c)


def _hold_descriptors() -> None:
    """Put something in the place of streams that are closed: a file opened later would get their number."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # The lowest free number is this one. Nothing can be written to it, which is found out.
            os.open(os.devnull, os.O_RDONLY)


class _Descriptor(io.FileIO):
    """A stream's descriptor whose failure ends no command; the first one other than a gone reader is kept."""

    failure: str | None = None
    is_lost = False

    def write(self, content: Any) -> int:
        """Write, or drop what follows a failure."""
        size = memoryview(content).nbytes
        if self.is_lost:
            return size
        try:
            return super().write(content) or 0
        except BrokenPipeError:
            self.is_lost = True
        except OSError as error:
            self.is_lost, self.failure = True, error.strerror or str(error)
        return size


def _replace_streams() -> _Descriptor | None:
    """Standard output and error that drop what nobody takes; the descriptor of standard output."""
    if sys.platform == "win32":
        return None  # a console there is no file
    out = _Descriptor(1, "wb", closefd=False)
    sys.stdout = _text(out, sys.stdout)
    sys.stderr = _text(_Descriptor(2, "wb", closefd=False), sys.stderr)
    return out


def _text(raw: _Descriptor, earlier: Any) -> io.TextIOWrapper:
    """A stream as Python sets it up, in which what the encoding lacks is spelled out."""
    is_live = raw.isatty() or raw.fileno() == 2
    encoding = getattr(earlier, "encoding", None) or "utf-8"
    buffer = io.BufferedWriter(raw)
    return io.TextIOWrapper(buffer, encoding, "backslashreplace", line_buffering=is_live)
