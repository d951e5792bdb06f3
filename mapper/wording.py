"""Names and lists as people write them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import permutations
from math import prod

from mapper.errors import Finding

__all__ = [
    "channels_last",
    "counted",
    "join_names",
    "join_numbers",
    "other_shape",
    "titled",
    "turned",
    "untitled",
]

# Of a map's axes, the orders that may be meant: as they are, then features last, then all others.
_LIKELY = ((0, 1, 2), (2, 0, 1))
_ORDERS = (*_LIKELY, *sorted({*permutations(range(3))} - {*_LIKELY}))
# What a reader, or `mapper.references`, may take for an index.
_NUMBER = re.compile(r"#?-?[0-9]+")
_TITLE = re.compile(rf'({_NUMBER.pattern})\s*\([^()]*\)|"({_NUMBER.pattern})"')


def titled(name: str, kind: str = "") -> str:
    """A name as sentences and tables show it; one that is a number says what it names, "3 (Conv2d)".

    Where nobody knows what it names, quotes tell it from an index: "3" in quotes.
    """
    if not _NUMBER.fullmatch(name):
        return name
    return f"{name} ({kind})" if kind else f'"{name}"'


def untitled(text: str) -> str:
    """The name in what `titled` gives, with or without the space before what it names; else the text."""
    match = _TITLE.fullmatch(text.strip())
    return (match[1] or match[2]) if match else text


def counted(number: int, one: str, several: str = "") -> str:
    """A number of things: "1 feature", "2 features"; `several` is said of more where an "s" does not do."""
    return f"{number} {one if number == 1 else several or one + 's'}"


def channels_last(shape: Sequence[int]) -> tuple[int, ...] | None:
    """What was meant by (height, width, channels), where a shape seems to be given so; else None."""
    return (shape[2], *shape[:2]) if len(shape) == 3 and shape[2] <= 4 < min(shape[:2]) else None


def turned(
    array: str, given: Sequence[int], wanted: Sequence[int], kept: int, method: str = "transpose"
) -> str:
    """The expression that makes of an array the maps that an input takes; "" where nothing does.

    Parameters
    ----------
    array
        What the expression calls the array.
    given
        Its shape.
    wanted
        (features, height, width) of the input.
    kept
        How many axes come before these, and stay.
    method
        What orders the array's axes.
    """
    maps = tuple(given[kept:])
    order = next((o for o in _ORDERS if len(maps) == 3 and tuple(maps[n] for n in o) == tuple(wanted)), None)
    if order is not None:
        axes = ", ".join(map(str, (*range(kept), *(kept + n for n in order))))
        return array if order == _ORDERS[0] else f"{array}.{method}({axes})"
    if len(given) >= kept and (1, *maps) == tuple(wanted):
        return f"{array}[{':, ' * kept}None]"
    if maps == (prod(wanted),):
        return f"{array}.reshape({', '.join(map(str, (*given[:kept], *wanted)))})"
    return ""


def other_shape(
    where: str, array: str, given: Sequence[int], wanted: Sequence[int], front: Sequence[str] = ()
) -> Finding:
    """Maps of another shape than an input's; where they hold the same, with the line that turns them.

    Parameters
    ----------
    array, given, wanted
        As `turned`.
    front
        The axes before these.
    """
    limit, line = f"({', '.join((*front, *map(str, wanted)))})", turned(array, given, wanted, len(front))
    step = f"Give {line}" if line else ""
    return Finding(where, "has another shape than the network's input", tuple(given), limit, "", step)


def join_names(names: Sequence[str]) -> str:
    """Join names as a sentence does: "a", "a and b", "a, b and c"."""
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"


def join_numbers(numbers: Sequence[int]) -> str:
    """Ascending numbers, runs of four and more shortened: "0, 1, 2, 8..15"."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    texts = [f"{run[0]}..{run[-1]}" if len(run) > 3 else ", ".join(map(str, run)) for run in runs]
    return ", ".join(texts)
