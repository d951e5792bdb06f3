"""How much a command says beside its answer: --quiet and --verbose, and what is under way."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Lock, Timer
from time import perf_counter
from typing import Any, Literal, TypeAlias

from hwspec.inert import inert
from mapper.activity import heard_by
from mapper.errors import Finding, OptionsError

__all__ = ["Loudness", "is_quiet", "is_verbose", "loudness_of", "under"]

Loudness: TypeAlias = Literal["quiet", "normal", "verbose"]
_loudness: ContextVar[Loudness] = ContextVar("_loudness", default="normal")
# What takes longer says on a terminal what it is about.
_SILENT_S = 1.0
_EVERY_S = 0.5
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


@contextmanager
def under(loudness: Loudness) -> Iterator[None]:
    """Run a command so: what is under way is told on standard error."""
    token = _loudness.set(loudness)
    telling = _Telling(is_verbose=loudness == "verbose", is_live=loudness == "normal" and sys.stderr.isatty())
    try:
        with heard_by(telling):
            yield
    finally:
        telling.end()
        _loudness.reset(token)


class _Telling:
    """What is under way: every step with its time, or on a terminal one line for as long as it takes."""

    def __init__(self, *, is_verbose: bool, is_live: bool) -> None:
        self.is_verbose, self.is_live = is_verbose, is_live
        self.what, self.since = "", perf_counter()
        self._lock, self._timer, self._is_shown = Lock(), None, False

    _timer: Timer | None

    def __call__(self, what: str) -> None:
        with self._lock:
            self._close()
            self.what, self.since = what, perf_counter()
            if self.is_live:
                self._start(_SILENT_S)

    def end(self) -> None:
        """Nothing is under way any more."""
        with self._lock:
            self._close()
            self.what = ""

    def _close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._is_shown:
            self._write(_CLEAR)
            self._is_shown = False
        if self.is_verbose and self.what:
            self._write(f"{inert(self.what)}: {perf_counter() - self.since:.2f} s\n")

    def _start(self, seconds: float) -> None:
        self._timer = Timer(seconds, self._tick)
        self._timer.daemon = True
        self._timer.start()

    def _tick(self) -> None:
        with self._lock:
            if self._timer is None:
                return
            self._write(f"{_CLEAR}{inert(self.what)} ... {perf_counter() - self.since:.0f} s")
            self._is_shown = True
            self._start(_EVERY_S)

    def _write(self, text: str) -> Any:
        try:
            sys.stderr.write(text)
            sys.stderr.flush()
        except OSError:
            self.is_live = False
