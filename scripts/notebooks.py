"""Run the notebooks of `examples/` without Jupyter: cell after cell, in one namespace, as a kernel would.

    python scripts/notebooks.py

A cell gives what it prints, and then what its last line is: as HTML where that can be, else as text.
"""

from __future__ import annotations

import ast
import json
import os
from contextlib import chdir, redirect_stdout
from dataclasses import dataclass
from html import escape
from io import StringIO
from pathlib import Path
from typing import Any

__all__ = ["Cell", "executed", "notebooks"]

FOLDER = Path(__file__).resolve().parent.parent / "examples"


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell of a notebook.

    Attributes
    ----------
    source
        Markdown, or code.
    is_code
        Which of both.
    printed
        What code printed.
    html
        What the last line of the code is; empty where that is nothing.
    """

    source: str
    is_code: bool
    printed: str = ""
    html: str = ""


def notebooks() -> list[Path]:
    """All of `examples/`, by name."""
    return sorted(FOLDER.glob("*.ipynb"))


def executed(path: Path) -> list[Cell]:
    """The cells of a notebook, run in the notebook's folder, as Jupyter does."""
    names: dict[str, Any] = {"__name__": "__main__"}
    cells = []
    with chdir(path.parent):
        for entry in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            source = "".join(entry["source"])
            is_code = entry["cell_type"] == "code"
            cells.append(_run(source, names, path.name) if is_code else Cell(source, is_code=False))
    return cells


def _run(source: str, names: dict[str, Any], where: str) -> Cell:
    tree = ast.parse(source, where)
    last = tree.body[-1]
    heard, value = StringIO(), None
    if isinstance(last, ast.Expr):
        tree.body.pop()
    with redirect_stdout(heard):
        exec(compile(tree, where, "exec"), names)  # noqa: S102  # a notebook of this project
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), where, "eval"), names)  # noqa: S307  # the same
    return Cell(source, is_code=True, printed=heard.getvalue(), html=_html(value))


def _html(value: object) -> str:
    if value is None:
        return ""
    drawn = getattr(value, "_repr_html_", None)
    return str(drawn()) if drawn else f"<pre>{escape(repr(value))}</pre>"


def main() -> None:
    """Print what every cell gives, pictures left out."""
    os.environ.setdefault("COLUMNS", "80")
    for path in notebooks():
        print(f"== {path.name}")
        for cell in executed(path):
            print(cell.printed, end="")
            if cell.html:
                print(f"({len(cell.html)} letters of HTML)")


if __name__ == "__main__":
    main()
