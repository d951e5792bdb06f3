"""Names and lists as people write them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from math import prod

from mapper.errors import Finding

__all__ = ["channels_last", "counted", "join_names", "join_numbers", "other_shape", "titled", "untitled"]

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


def other_shape(
    where: str,
    array: str,
    given: Sequence[int],
    wanted: Sequence[int],
    front: Sequence[str] = (),
    turn: str = "transpose",
) -> Finding:
    """Maps of another shape than an input's; where they hold the same, with the line that turns them.

    Parameters
    ----------
    array
        What the line calls the array.
    given
        Its shape.
    wanted
        (features, height, width) of the input.
    front
        The axes before these.
    turn
        Method of the array that orders its axes.
    """
    kept, maps = len(front), tuple(given[len(front) :])
    limit, step = f"({', '.join((*front, *map(str, wanted)))})", ""
    if maps == (*wanted[1:], wanted[0]):
        axes = (*range(kept), kept + 2, kept, kept + 1)
        step = f"Its features come last; this puts them first: {array}.{turn}({', '.join(map(str, axes))})"
    elif (1, *maps) == tuple(wanted):
        step = f"It lacks the axis of its one feature; this adds it: {array}[{':, ' * kept}None]"
    elif len(maps) == 1 and maps[0] == prod(wanted):
        sides = ", ".join(map(str, (*given[:kept], *wanted)))
        step = f"Its maps are lists of values; this gives them their sides: {array}.reshape({sides})"
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
