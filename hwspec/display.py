"""What a notebook and `print` show of a value: its type stands on the left, the drawing far on the right.

Nothing of the drawing is loaded before it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
from functools import singledispatch
from types import MappingProxyType
from typing import TYPE_CHECKING

__all__ = ["Displayed", "Shown", "draw_with", "html", "text"]

_loaders: list[Callable[[], object]] = []


def draw_with(load: Callable[[], object]) -> None:
    """Name what loads a drawing, once something is to be shown; `mapper/__init__` does."""
    _loaders.append(load)


@singledispatch
def html(value: object) -> str:
    """HTML of a value, without script; `mapper.report.notebook` registers the types it can draw.

    Raises
    ------
    TypeError
        Nothing draws this type.
    """
    raise TypeError(f"nothing draws a {type(value).__name__}")


@singledispatch
def text(value: object) -> str:
    """What `print` shows of a value; `mapper.report.text` registers what the command line prints."""
    return repr(value)


def _names_of(kind: type) -> list[str]:
    """What a type of the project has, without what a library gives it."""
    own = [cls for cls in kind.__mro__ if cls.__module__.partition(".")[0] in ("hwspec", "mapper")]
    fields = {**getattr(kind, "__dataclass_fields__", {}), **getattr(kind, "model_fields", {})}
    names = {name for cls in own for name in vars(cls)} | fields.keys()
    return sorted(name for name in names if not name.startswith(("_", "model_")))


class Shown:
    """A type that notebooks show by `html`, and `print` by `text`; what it has not is told what was meant."""

    __slots__ = ()
    # By a name that it has not, what is meant, where no spelling is near. No field of what is made of this.
    _other_names = MappingProxyType[str, str]({})

    # Type checkers would take every name for one that there is.
    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> object:
            # What pydantic keeps for itself it finds itself.
            above = getattr(super(), "__getattr__", None)
            kind = type(self)
            if above is not None and name.startswith("_"):
                return above(name)
            if name.startswith("_") or name in dir(kind):
                # It is there, and says itself why it gives nothing.
                return object.__getattribute__(self, name)
            known = _names_of(kind)
            meant = kind._other_names.get(name) or "".join(get_close_matches(name, known, n=1))
            hint = f". Did you mean {meant}?" if meant else f". There are {', '.join(known)}"
            raise AttributeError(f"a {kind.__name__} has no {name}{hint}", name=None, obj=self)

    def __str__(self) -> str:
        for load in _loaders:
            load()
        return text(self)

    def _repr_html_(self) -> str:
        for load in _loaders:
            load()
        return html(self)


class Displayed(Shown):
    """A type that is shown, and whose own words would fill pages."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {getattr(self, 'status', '')}>"
