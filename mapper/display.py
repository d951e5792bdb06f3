"""What a notebook shows of a value: its type stands here on the left, the drawing far on the right.

Nothing of the drawing is loaded before a notebook asks for it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import singledispatch

__all__ = ["Displayed", "draw_with", "html"]

_loaders: list[Callable[[], object]] = []


def draw_with(load: Callable[[], object]) -> None:
    """Name what loads the drawing, once something is to be shown; `mapper/__init__` does."""
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


class Displayed:
    """A type that notebooks show by `html`."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        for load in _loaders:
            load()
        return html(self)
