"""TOML within limits: what `tomllib` leaves to the machine's patience is refused before or behind it."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
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
    try:
        with parser_limits():
            table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        if (quoted := _quoted(text, str(error))) is not None:
            raise ValueError(f"{error}. Put quotes where TOML wants them: {quoted}") from None
        raise
    check_depth(table)
    return table


def _quoted(text: str, problem: str) -> str | None:
    """The line at which TOML stopped, with the quotes that its path, range or number of words lacks."""
    found = re.search(r"at line (\d+)", problem)
    lines = text.splitlines()
    if (
        found is None
        or not 0 < int(found[1]) <= len(lines)
        or len(line := lines[int(found[1]) - 1].strip()) > 200
    ):
        return None
    for candidate, whole in _candidates(line):
        with suppress(ValueError):
            tomllib.loads(whole)
            return candidate
    return None


def _candidates(line: str) -> Iterator[tuple[str, str]]:
    """A line with quotes in some places, and a text that is TOML if these are the right ones."""
    if section := re.fullmatch(r"\[core\.([0-9. ]+)\]", line):
        yield (f'[core."{section[1]}"]',) * 2
    key, equals, value = (part.strip() for part in line.partition("="))
    if not equals and "core[" in line:  # an entry of a list
        entry = f'"{line.rstrip(",")}",'
        yield entry, f"list = [{entry}]"
    listed = f'"{value}"'
    if value.startswith("["):
        entries = (entry.strip() for entry in value.removeprefix("[").removesuffix("]").split(","))
        listed = '["' + '", "'.join(entries) + '"]'
    for name in (key, f'"{key}"'):
        for content in (value, listed):
            yield (f"{name} = {content}",) * 2


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
