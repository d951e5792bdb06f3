"""What whoever reads a message calls an option: as a command takes it, or as Python does.

Errors and notes come up far from where somebody asked. They name an `Option`; how it is spelled says a
command while it runs, and a class with arguments of its own while it is made.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, TypeAlias, TypeVar

__all__ = ["Option", "Surface", "names", "spoken", "spoken_to", "surface", "together"]

Surface: TypeAlias = Literal["python", "command", "sinabs"]
Said = TypeVar("Said")
_surface: ContextVar[Surface] = ContextVar("_surface", default="python")
_NOTHING: Mapping[str, str] = MappingProxyType({})
_newer: ContextVar[Mapping[str, str]] = ContextVar("_newer", default=_NOTHING)


def surface() -> Surface:
    """How options are spelled now: as Python, a command, or the class made like sinabs' has them."""
    return _surface.get()


@contextmanager
def spoken_to(surface: Surface, newer: Mapping[str, str] = _NOTHING) -> Iterator[None]:
    """Spell options so, in all that is said meanwhile.

    Parameters
    ----------
    newer
        Other names of arguments of the class like sinabs', where they were used.
    """
    tokens = _surface.set(surface), _newer.set(newer)
    try:
        yield
    finally:
        _surface.reset(tokens[0])
        _newer.reset(tokens[1])


@dataclass(frozen=True, slots=True)
class Option:
    """One thing that can be asked for.

    Attributes
    ----------
    typed
        On a command line: "--dt"; of a switch the form that changes something: "--no-relays".
    written
        The argument or field in Python.
    owner
        What that is a field of, as the argument of a function: "nir=NirOptions"; "" for an argument itself.
    sinabs
        The argument of the class that is made like sinabs', where it is another one.
    """

    typed: str
    written: str
    owner: str = ""
    sinabs: str = ""

    def __str__(self) -> str:
        """Its name: "--dt", "dt"."""
        if surface() == "command":
            return self.typed
        return (surface() == "sinabs" and _newer.get().get(self.sinabs, self.sinabs)) or self.written

    def to(self, value: object, written: str = "") -> str:
        """How it is given a value: "--dt 0.001", "nir=NirOptions(dt=0.001)".

        Parameters
        ----------
        value
            A tuple for one of several; of a switch whether it is on.
        written
            The value in Python, where that is no plain number or word.
        """
        return together((self, value, written))


def together(*wishes: tuple[Option, object] | tuple[Option, object, str]) -> str:
    """How several options are given values at once: (option, value) pairs, or as `Option.to` takes them."""
    if surface() == "command":
        return " ".join(_typed(wish[0], wish[1]) for wish in wishes)
    calls: dict[str, list[str]] = {}
    for option, value, *rest in wishes:
        owner = "" if surface() == "sinabs" and option.sinabs else option.owner
        calls.setdefault(owner, []).append(f"{option}={(rest and rest[0]) or _written(value)}")
    parts = [
        f"{owner}({', '.join(fields)})" if owner else ", ".join(fields) for owner, fields in calls.items()
    ]
    return ", ".join(parts)


def spoken(*, command: Said, python: Said) -> Said:
    """What is said to who typed a command, or to who wrote Python."""
    return command if surface() == "command" else python


def _typed(option: Option, value: object) -> str:
    if isinstance(value, bool):
        return option.typed
    return f"{option.typed} {'|'.join(map(_plain, value)) if isinstance(value, tuple) else _plain(value)}"


def _plain(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _written(value: object) -> str:
    if isinstance(value, tuple):
        return "|".join(map(_written, value))
    if isinstance(value, str):
        return f'"{value}"'
    return f"{value:g}" if isinstance(value, float) else str(value)


def names(options: Sequence[Option]) -> str:
    """Names of several: "--reset, --spike-mode"."""
    return ", ".join(map(str, options))
