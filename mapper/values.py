"""Values that users give for options, each what it must be or a finding."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from hwspec.errors import Finding
from hwspec.inert import quoted
from hwspec.kinds import as_number
from mapper.references import whole_number

if TYPE_CHECKING:
    from mapper.asking import Option

__all__ = ["entries", "is_positive", "number", "pairs", "value_text"]


def entries(option: Option, form: str, value: object, findings: list[Finding]) -> list[Any]:
    """Entries of an option that takes several."""
    try:
        if not isinstance(value, str | bytes | Mapping):
            return list(value)  # type: ignore[call-overload, no-any-return]  # found out here
    except TypeError:
        pass
    findings.append(Finding(str(option), f"wants a list or tuple of {form}", value_text(value)))
    return []


def pairs(option: Option, form: str, value: object, findings: list[Finding]) -> Iterator[tuple[Any, Any]]:
    """Pairs of an option that takes them, as a mapping or one by one; what is none leaves a finding."""
    given = value.items() if isinstance(value, Mapping) else value
    for entry in entries(option, f"{form} pairs", given, findings):
        if isinstance(entry, tuple | list) and len(entry) == 2:
            yield entry[0], entry[1]
        else:
            findings.append(Finding(str(option), f"wants {form} pairs", value_text(entry)))


def number(
    findings: list[Finding], value: object, where: Option | str, problem: str, least: int, most: int
) -> int | None:
    """A whole number in its range; what is none leaves a finding."""
    found = whole_number(value)
    if found is not None and least <= found <= most:
        return found
    findings.append(Finding(str(where), problem, value_text(value), f"{least}..{most}"))
    return None


def is_positive(value: object) -> bool:
    """Whether a value is a number of any library, finite and positive."""
    number = as_number(value)
    try:
        return number is not None and 0 < float(number) < float("inf")
    except OverflowError:
        return False


def value_text(value: object, *, plain: bool = False) -> str:
    """A value as a message shows it, shortened; quotes tell text from numbers unless `plain`."""
    if plain and isinstance(value, str):
        return value if len(value) <= 80 else f"{value[:77]}..."
    return quoted(value)
