"""What a notebook and `print` show of a value: its type stands on the left, the drawing far on the right.

Nothing of the drawing is loaded before it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import singledispatch

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


class Shown:
    """A type that notebooks show by `html`, and `print` by `text`."""

    __slots__ = ()

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
