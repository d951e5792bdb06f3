"""What all terminal text shares: tables that read well at 80 columns and without colour, and lines."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from hwspec.schema import ChipSpec
from mapper.wording import join_numbers

__all__ = ["heading", "line", "print_cores", "print_table"]


def print_table(
    console: Console,
    columns: Sequence[str],
    rows: Iterable[Iterable[object]],
    *,
    right: Collection[str] | None = None,
    title: str = "",
) -> None:
    """Print a table; brackets in its texts are no markup.

    Parameters
    ----------
    right
        Columns of numbers, which stand right; by default all but the first.
    """
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for name in columns:
        is_right = name in (columns[1:] if right is None else right)
        table.add_column(escape(name), justify="right" if is_right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(cell if isinstance(cell, Text) else escape(str(cell)) for cell in row))
    console.print(table)


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
    console.print(f"[bold]{escape(subject)}[/]: {escape(text)}", highlight=False)


def line(console: Console, text: str, style: str | None = None) -> None:
    """Print a text as it is: brackets and numbers in it are no markup."""
    console.print(text, style=style, highlight=False, markup=False)
