"""What all terminal text shares: tables that read well at 80 columns and without colour, and lines."""

from __future__ import annotations

from collections.abc import Collection

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

__all__ = ["line", "table"]


def table(*columns: str, right: Collection[str] = (), title: str = "") -> Table:
    """An empty table.

    Parameters
    ----------
    right
        Columns of numbers, which stand right.
    """
    empty = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for name in columns:
        empty.add_column(escape(name), justify="right" if name in right else "left", overflow="fold")
    return empty


def line(console: Console, text: str, style: str | None = None) -> None:
    """Print a text as it is: brackets and numbers in it are no markup."""
    console.print(text, style=style, highlight=False, markup=False)
