"""How much a command says beside its answer: --quiet and --verbose, and what is under way."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import replace
from shutil import get_terminal_size
from threading import Lock, Timer
from time import perf_counter
from typing import Any, Literal, TypeAlias

from hwspec.inert import inert
from mapper.activity import Activity, heard_by
from mapper.errors import Finding, OptionsError

__all__ = ["Loudness", "is_quiet", "is_verbose", "loudness_of", "under", "wants_json", "wipe"]

Loudness: TypeAlias = Literal["quiet", "normal", "verbose"]
_loudness: ContextVar[Loudness] = ContextVar("_loudness", default="normal")
_telling: ContextVar[_Telling | None] = ContextVar("_telling", default=None)
# What takes longer says on a terminal what it is about.
_SILENT_S = 1.0
_EVERY_S = 0.5
_AT_ONCE_S = 0.2
_CLEAR = "\r\x1b[K"


def is_quiet() -> bool:
    """Whether nothing but answers and errors is wanted."""
    return _loudness.get() == "quiet"


def is_verbose() -> bool:
    """Whether more than usual is wanted."""
    return _loudness.get() == "verbose"


def loudness_of(arguments: Mapping[str, object]) -> Loudness:
    """What the arguments of a command say of it.

    Raises
    ------
    OptionsError
        Both are given.
    """
    groups = arguments.values()
    quiet, verbose = (any(getattr(group, name, False) for group in groups) for name in ("quiet", "verbose"))
    if quiet and verbose:
        raise OptionsError(Finding("--quiet and --verbose", "are given together", next_step="Leave one out"))
    return "quiet" if quiet else "verbose" if verbose else "normal"


def wants_json(arguments: Mapping[str, object]) -> bool:
    """Whether the arguments of a command ask for JSON."""
    return any(getattr(group, "as_json", False) for group in arguments.values())


@contextmanager
def under(loudness: Loudness, *, is_json: bool = False) -> Iterator[None]:
    """Run a command so: what is under way is told on standard error."""
    telling, is_live = None, loudness == "normal" and not is_json and sys.stderr.isatty()
    if is_live or loudness == "verbose":
        telling = _Telling(is_verbose=not is_live, is_live=is_live)
    tokens = _loudness.set(loudness), _telling.set(telling)
    try:
        with nullcontext() if telling is None else heard_by(telling):
            yield
    finally:
        if telling is not None:
            telling.end()
        _loudness.reset(tokens[0])
        _telling.reset(tokens[1])


def wipe() -> None:
    """Take what is under way off the terminal, so that a line can be printed there."""
    if (telling := _telling.get()) is not None:
        telling.wipe()


class _Telling:
    """What is under way: every step with its time, or on a terminal one line for as long as it takes."""

    def __init__(self, *, is_verbose: bool, is_live: bool) -> None:
        self.is_verbose, self.is_live = is_verbose, is_live
        self.now, self.since, self.inner_since = Activity(""), perf_counter(), perf_counter()
        self.done_before = 0
        self._lock, self._timer, self._is_shown = Lock(), None, False

    _timer: Timer | None

    def __call__(self, now: Activity) -> None:
        with self._lock:
            if now.innermost != self.now.innermost:
                self._say_done()
                self.inner_since = perf_counter()
            if now.what != self.now.what:
                self.since = perf_counter()
            # What is there at once, of an earlier run, says nothing of the time that the rest takes.
            if perf_counter() - self.since < _AT_ONCE_S:
                self.done_before = now.done or 0
            self.now = now
            if not now.what:
                self._close()
            elif self.is_live and self._timer is None:
                self._start(_SILENT_S)

    def end(self) -> None:
        """Nothing is under way any more."""
        self(Activity(""))

    def wipe(self) -> None:
        """Take the line away; it comes back when its time has come again."""
        with self._lock:
            self._clear()

    def _close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._clear()

    def _clear(self) -> None:
        if self._is_shown:
            self._write(_CLEAR)
            self._is_shown = False

    def _say_done(self) -> None:
        if self.is_verbose and self.now.what:
            self._write(f"{inert(self.now.innermost)}: {perf_counter() - self.inner_since:.2f} s\n")

    def _start(self, seconds: float) -> None:
        self._timer = Timer(seconds, self._tick)
        self._timer.daemon = True
        self._timer.start()

    def _tick(self) -> None:
        with self._lock:
            if self._timer is None:
                return
            self._write(f"{_CLEAR}{self._line()}")
            self._is_shown = True
            self._start(_EVERY_S)

    def _line(self) -> str:
        """What is done, of how many, for how long and for how long to come, and what is asked meanwhile."""
        now, elapsed = self.now, perf_counter() - self.since
        outer = replace(now, inner=None)
        left = ""
        done, total = now.done or 0, now.total or 0
        if self.done_before < done <= total:
            left_s = elapsed * (total - done) / (done - self.done_before)
            left = f", some {left_s:.0f} s left"
        inner = f"; {now.inner}" if now.inner is not None and now.inner.what else ""
        # A line that goes over the edge could not be taken away again.
        return inert(f"{outer} ... {elapsed:.0f} s{left}{inner}")[: get_terminal_size().columns - 1]

    def _write(self, text: str) -> Any:
        try:
            sys.stderr.write(text)
            sys.stderr.flush()
        except OSError:
            self.is_live = False
