"""TOML within limits: what `tomllib` leaves to the machine's patience is refused before or behind it."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["DEPTH_MAX", "check_depth", "parser_limits", "toml_of"]

DEPTH_MAX = 60
"""How deeply tables and lists may be nested; no file of this program needs ten."""

_TOO_DEEP = f"is nested too deeply (allowed: {DEPTH_MAX} levels)"


def toml_of(text: str) -> dict[str, Any]:
    """What a TOML text says.

    Raises
    ------
    ValueError
        It is no TOML, nested beyond `DEPTH_MAX`, or holds a number of more than 4300 digits.
    """
    # The time that tomllib takes for a key of n dotted parts grows with n²: a megabyte of them takes days.
    for number, line in enumerate(text.splitlines(), 1):
        parts = () if line.lstrip().startswith("#") else line.replace("=", ",").split(",")
        if any(part.count(".") > DEPTH_MAX for part in parts):
            raise ValueError(f"line {number}: {_TOO_DEEP}")
    with parser_limits():
        table = tomllib.loads(text)
    check_depth(table)
    return table


@contextmanager
def parser_limits() -> Iterator[None]:
    """Python's own limits on nesting and on digits, in this program's words.

    Raises
    ------
    ValueError
        What is parsed in this block is beyond one of them, or wrong otherwise.
    """
    try:
        yield
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    except ValueError as error:
        if "int_max_str_digits" in str(error):
            raise ValueError("holds a number of more than 4300 digits") from None
        raise


def check_depth(content: Any) -> None:
    """Refuse lists and tables inside one another beyond `DEPTH_MAX`, without recursion.

    Raises
    ------
    ValueError
        They are.
    """
    level = [content]
    for _ in range(DEPTH_MAX + 1):
        level = [inner for inner in level if isinstance(inner, list | dict)]
        if not level:
            return
        level = [inner for outer in level for inner in (outer.values() if isinstance(outer, dict) else outer)]
    raise ValueError(_TOO_DEEP)
