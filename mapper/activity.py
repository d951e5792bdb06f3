"""What is being done right now, told to whoever listens: nobody, unless a command shows it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

__all__ = ["doing", "heard_by"]

_listener: ContextVar[Callable[[str], None] | None] = ContextVar("_listener", default=None)


def doing(what: str) -> None:
    """Say what is done from here on, in words that follow "now": "reading digits"."""
    if (listener := _listener.get()) is not None:
        listener(what)


@contextmanager
def heard_by(listener: Callable[[str], None]) -> Iterator[None]:
    """Tell a listener, of this thread, what is being done inside."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)
