"""The root of all errors, that of this package, and the fact every error is built from."""

from __future__ import annotations

import copyreg
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from hwspec.inert import inert

__all__ = ["Finding", "MapperError", "SpecError", "gathered", "sentence_list", "unreadable"]

# A place that others may share a cause with: "layer 3", "net.py:make: layer 3".
_PLACE = re.compile(r"((?:.*: )?(?:layer|node|edge|output|input)) ([^:]+)")

# Of a folder, those that are looked at for a name that is nearly one of them.
_ENTRIES_MAX = 10_000


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong with an input: who, what, value, limit, unit, next step.

    Attributes
    ----------
    where
        The place: a file and field, a layer, a command-line option.
    problem
        What is wrong there, as a clause that can follow ``where:``.
    value, limit
        The offending value and what is allowed, as far as there are such.
    unit
        Unit of ``value`` and ``limit`` ("words", "features", ...), or "".
    next_step
        What the reader can do about it.
    """

    where: str
    problem: str
    value: object = None
    limit: object = None
    unit: str = ""
    next_step: str = ""

    def __str__(self) -> str:
        text = f"{self.where}: {self.problem}" if self.where else self.problem
        unit = f" {self.unit}" if self.unit else ""
        facts = []
        if self.value is not None:
            facts.append(f"got {self.value}{unit}")
        if self.limit is not None:
            facts.append(f"allowed: {self.limit}{unit}")
        if facts:
            text += f" ({'; '.join(facts)})"
        if self.next_step:
            text += f"{'' if text.endswith('?') else '.'} {self.next_step}"
        # Names from files stand in it, and values as they came.
        return inert(text)


def gathered(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Findings that say the same of several layers, nodes or edges as one each, where the first stood."""
    alike: dict[tuple[object, ...], list[Finding]] = {}
    for found in findings:
        place = _PLACE.fullmatch(found.where)
        facts = (found.problem, repr(found.value), repr(found.limit), found.unit, found.next_step)
        alike.setdefault((place[1] if place else found.where, *facts), []).append(found)
    return tuple(_as_one(same) for same in alike.values())


def _as_one(same: list[Finding]) -> Finding:
    places = filter(None, (_PLACE.fullmatch(found.where) for found in same))
    names = list(dict.fromkeys(place[2] for place in places))
    if len(names) < 2:
        return same[0]
    listed = f"{', '.join(names[:-1])} and {names[-1]}"
    kind = same[0].where.removesuffix(names[0]).rstrip()
    return replace(same[0], where=f"{kind}s {listed}, each")


def sentence_list(findings: Iterable[Finding]) -> str:
    """All findings as text: one as a plain sentence, several as a numbered list; each cause once."""
    lines = [str(finding) for finding in gathered(findings)]
    if len(lines) == 1:
        return lines[0]
    return f"{len(lines)} problems:\n" + "\n".join(f"  {n}. {line}" for n, line in enumerate(lines, 1))


def unreadable(error: OSError | ValueError) -> str:
    """Why a file could not be read, as a clause; a name with a zero in it is a `ValueError`."""
    if isinstance(error, FileNotFoundError):
        return f"there is no such file{_beside(error.filename)}"
    return f"cannot be read: {getattr(error, 'strerror', None) or error}"


def _beside(name: object) -> str:
    """Of a path at which nothing is, the file of its folder that may be meant, as a question."""
    if not isinstance(name, str | os.PathLike):
        return ""
    from difflib import get_close_matches  # noqa: PLC0415

    folder, wanted = os.path.split(os.fspath(name))
    try:
        with os.scandir(folder or ".") as entries:
            there = [entry.name for entry in islice(entries, _ENTRIES_MAX)]
    except (OSError, ValueError):
        return ""
    kind = os.path.splitext(wanted)[1]
    for names in ([entry for entry in there if entry.endswith(kind)], there):
        if close := get_close_matches(wanted, names, n=1, cutoff=0.7):
            return f". Did you mean {os.path.join(folder, close[0])}?"
    return ""


class MapperError(Exception):
    """Root of the errors of mapper and hwspec; `exit_code` is the command line's status for it.

    It can be copied and sent to another process, whatever its constructor takes.
    """

    exit_code = 4

    def __reduce__(self) -> tuple[Any, ...]:
        return copyreg.__newobj__, (type(self), *self.args), self.__dict__ or None  # type: ignore[attr-defined]  # of pickle's protocol 2


class SpecError(MapperError):
    """A chip specification, chip name or override that cannot be used.

    Attributes
    ----------
    findings
        Everything that is wrong with the input, not only the first problem.
    exit_code
        Exit status of the command line for this error: 2, bad input.
    """

    exit_code = 2

    def __init__(self, *findings: Finding) -> None:
        self.findings: tuple[Finding, ...] = findings
        super().__init__(sentence_list(findings))
