"""What is being done right now, told to whoever listens: nobody, unless a command shows it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import TypeAlias

__all__ = ["Activity", "Steps", "doing", "heard_by", "is_heard", "steps_of"]


@dataclass(frozen=True, slots=True)
class Activity:
    """What is being done.

    Attributes
    ----------
    what
        In words that follow "now": "reading digits"; empty for nothing.
    done, total
        How many of its steps are done, of how many; None where there are none, or nobody knows.
    inner
        What is done within the step that is under way; None where nobody says.
    """

    what: str
    done: int | None = None
    total: int | None = None
    inner: Activity | None = None

    def __str__(self) -> str:
        count = "" if self.done is None else f": {self.done}"
        count += "" if self.total is None or self.done is None else f" of {self.total}"
        return f"{self.what}{count}{f'; {self.inner}' if self.inner and self.inner.what else ''}"

    @property
    def innermost(self) -> str:
        """What is done in the end, without how much of it."""
        return self.inner.innermost if self.inner is not None and self.inner.what else self.what


Listener: TypeAlias = Callable[[Activity], object]
_listener: ContextVar[Listener | None] = ContextVar("_listener", default=None)


def doing(what: str, done: int | None = None, total: int | None = None) -> None:
    """Say what is done from here on, as `Activity` has it."""
    if (listener := _listener.get()) is not None:
        listener(Activity(what, done, total))


def is_heard() -> bool:
    """Whether anybody listens."""
    return _listener.get() is not None


@contextmanager
def heard_by(listener: Listener) -> Iterator[None]:
    """Tell a listener, of this thread, what is being done inside."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


class Steps:
    """Something that is done in steps; what is said inside is about the one that is under way."""

    def __init__(self, what: str, total: int | None, listener: Listener) -> None:
        self._now, self._listener = Activity(what, None if total is None else 0, total), listener

    def begin(self) -> None:
        """Say what begins."""
        self._tell(self._now)

    def __call__(self, done: int) -> None:
        """Say how many are done."""
        self._tell(replace(self._now, done=done, inner=None))

    def expect(self, total: int) -> None:
        """Say how many there are."""
        self._tell(replace(self._now, total=total))

    def within(self, inner: Activity) -> None:
        """Say what is done within the step."""
        self._tell(replace(self._now, inner=inner))

    def _tell(self, now: Activity) -> None:
        self._now = now
        self._listener(now)


@contextmanager
def steps_of(what: str, total: int | None = None) -> Iterator[Steps]:
    """Say what is done in steps, and how many are done: what is given is called with that number."""
    steps = Steps(what, total, _listener.get() or (lambda _: None))
    steps.begin()
    with heard_by(steps.within):
        yield steps
