"""A picture as a tree of elements, and texts that keep to the room there is.

Widths of texts are those of DejaVu Sans, the widest of the fonts that the pictures ask for.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from html import escape
from typing import TypeAlias
from unicodedata import east_asian_width

__all__ = ["HEAD_SIZE", "Element", "element", "fitted", "markup", "text", "text_width"]

# Tag, attributes, children.
Element: TypeAlias = tuple[str, dict[str, str | int], list["Element | str"]]

_NARROW, _LARGE = frozenset("ijlI.,:;'|!/\\()[]ftr- "), frozenset("mwMW%@&…→+<>=~")
HEAD_SIZE = 15
"""What a headline's letters of 13 take as much room as, since they are bold."""
# In ems: narrow letters, digits and small letters, capitals, the largest, what fills a square or more.
_SMALL_EMS, _USUAL_EMS, _CAPITAL_EMS, _LARGE_EMS, _SQUARE_EMS = 0.42, 0.65, 0.79, 1.0, 1.35


@cache
def _letter_ems(letter: str) -> float:
    if letter in _NARROW:
        return _SMALL_EMS
    if letter in _LARGE:
        return _LARGE_EMS
    if not letter.isascii():
        return _SQUARE_EMS if east_asian_width(letter) in "WFA" else _LARGE_EMS
    return _CAPITAL_EMS if letter.isupper() else _USUAL_EMS


def text_width(words: str, size: float) -> int:
    """Most units that a line takes at a size of font, rounded up."""
    return int(sum(map(_letter_ems, words)) * size) + 1


def fitted(words: str, width: float, size: float) -> str:
    """A line no wider than that: of what is too long the middle goes, since ends tell names apart."""
    if text_width(words, size) <= width:
        return words
    room = width - text_width("…", size)
    head = _within(words, room * 0.6, size)
    tail = _within(words[::-1], room - text_width(head, size), size)[::-1]
    return f"{head}…{tail}"


def _within(words: str, width: float, size: float) -> str:
    """As much of the begin as there is room for."""
    taken = 1.0
    for n, letter in enumerate(words):
        taken += _letter_ems(letter) * size
        if taken > width:
            return words[:n]
    return words


def element(name: str, attributes: dict[str, str | int], children: Iterable[Element | str] = ()) -> Element:
    """An element, whose texts are escaped where it is written."""
    return name, attributes, list(children)


def text(kind: str, x: int, y: int, words: str, **more: str) -> Element:
    """A line of text; `kind` is its class, behind ``mfp-``."""
    return element("text", {"class": f"mfp-{kind}", "x": x, "y": y, **more}, [words])


def markup(part: Element | str) -> str:
    """The tree as text."""
    if isinstance(part, str):
        return escape(part)
    name, attributes, children = part
    head = "".join(f' {key}="{escape(str(value))}"' for key, value in attributes.items())
    return f"<{name}{head}>{''.join(map(markup, children))}</{name}>"
