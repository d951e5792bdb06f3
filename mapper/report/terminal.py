"""What all terminal text shares: tables that read well at 80 columns and without colour, and lines."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from typing import Any, Literal

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.containers import Lines
from rich.table import Table
from rich.text import Text

from hwspec.inert import inert
from hwspec.schema import ChipSpec
from mapper.wording import join_numbers

__all__ = ["heading", "line", "print_cores", "print_table"]


# Parts of a name that was put together: "left&", "net:", "block1.", "conv_", "conv1".
_PARTS = re.compile(r"[^&:./_-]+[&:./_-]?|[&:./_-]")


def print_table(
    console: Console,
    columns: Sequence[str],
    rows: Iterable[Iterable[object]],
    *,
    right: Collection[str] | None = None,
    title: str = "",
) -> None:
    """Print a table; its texts are inert, and neither markup nor names of emoji.

    Parameters
    ----------
    right
        Columns of numbers, which stand right; by default all but the first.
    """
    head = Text(title, "table.title") if title else None
    table = Table(title=head, title_justify="left", box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    cells = [[*map(_cell, row)] for row in (columns, *rows)]
    widths = _widths([*zip(*cells, strict=True)], console.width - 2 * len(columns))
    for name, top, width in zip(columns, cells[0], widths, strict=True):
        is_right = name in (columns[1:] if right is None else right)
        justify: Literal["left", "right"] = "right" if is_right else "left"
        table.add_column(top, justify=justify, overflow="fold", width=width)
    for row in cells[1:]:
        table.add_row(*row)
    console.print(table)


def _widths(columns: Sequence[Sequence[Text]], room: int) -> Sequence[int | None]:
    """Widths at which no part of a word is broken; the widest columns give way.

    None for each where there is room for all of them, or not even for these parts.
    """
    most = [max((len(cell.plain) for cell in column), default=0) for column in columns]
    least = [max((_widest_part(cell.plain) for cell in column), default=0) for column in columns]
    if sum(most) <= room or sum(least) > room:
        return [None] * len(columns)
    widths = list(most)
    for _ in range(sum(most) - room):
        widest = max((n for n in range(len(columns)) if widths[n] > least[n]), key=lambda n: (widths[n], n))
        widths[widest] -= 1
    return widths


def _widest_part(text: str) -> int:
    return max((len(part) for word in text.split() for part in _PARTS.findall(word)), default=0)


class _Cell(Text):
    """Text whose long words break where names are put together, before they break anywhere."""

    def wrap(self, console: Console, width: int, *rest: Any, **more: Any) -> Lines:
        """Lines of at most `width` letters."""
        broken = " ".join(_broken(word, width) for word in self.plain.split(" "))
        return Text(broken, self.style).wrap(console, width, *rest, **more)


def _broken(word: str, width: int) -> str:
    """A word with line breaks behind its joints, as few as bring it into a width."""
    lines = [""]
    for part in _PARTS.findall(word) if len(word) > width else (word,):
        if lines[-1] and len(lines[-1]) + len(part) > width:
            lines.append("")
        lines[-1] += part
    return "\n".join(lines)


def _cell(content: object) -> Text:
    return content if isinstance(content, Text) else _Cell(inert(str(content)))


def print_cores(console: Console, chip: ChipSpec) -> None:
    """The memories of a chip, equal cores together."""
    rows = (
        (join_numbers(same.core_ids), core.kernel_words, core.neuron_words, core.bias_words, core.fan_out)
        for same in chip.core_classes
        for core in [same.core]
    )
    print_table(console, ("cores", "kernel words", "neuron words", "bias words", "fan-out"), rows)


def heading(console: Console, subject: str, text: str) -> None:
    """Print what a view is about, and what there is to say of it."""
    console.print(Text.assemble((inert(subject), "bold"), inert(f": {text}")))


def line(console: Console, text: str, style: str = "", *, is_whole: bool = False) -> None:
    """Print a text as one line: nothing in it is markup, and nothing in it can begin another.

    Parameters
    ----------
    is_whole
        Do not fold it: it is to be copied.
    """
    console.print(Text(inert(text), style), soft_wrap=is_whole or None)
