"""Every text of the program that suggests an option or a command, found in its source."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mapper import asking

__all__ = ["suggestions"]

ROOT = Path(__file__).resolve().parents[2]
_NAMED = re.compile(r"(?<![\w-])--[a-z][a-z-]+|\bmapper (?:[a-z]+)\b(?= |$)")
# What declares options says nothing to anybody who has typed one.
_DECLARING = {"text", "number", "word", "file", "Parameter"}
# What help or the guide says.
_HELP = {"mapper/cli/options.py", "mapper/cli/help.py", "mapper/report/rules.py"}
# A name alone, and what was typed behind it: the place that an error is about.
_PLACE = re.compile(r"--[a-z-]+(?: \{\})?(?:=\{\})?(?: (?:and|, ?) --[a-z-]+)*(?:: .*)?")


def suggestions() -> dict[str, set[str]]:
    """By text, the modules that say it; what is filled in is {}."""
    found: dict[str, set[str]] = {}
    for package in ("mapper", "hwspec"):
        for path in sorted((ROOT / package).rglob("*.py")):
            if path.relative_to(ROOT).as_posix() in _HELP:
                continue
            tree = ast.parse(path.read_text(encoding="utf-8"))
            for text in _texts(tree):
                if _NAMED.search(text) and not _PLACE.fullmatch(text):
                    found.setdefault(text, set()).add(path.relative_to(ROOT).as_posix())
    return found


def _texts(tree: ast.AST) -> Iterator[str]:
    """Texts as who types commands sees them, docstrings and declarations left out."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in _DECLARING:
            continue
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            continue
        if isinstance(node, ast.JoinedStr):
            yield "".join(_part(part) for part in node.values)
            for part in node.values:
                yield from _texts(part)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        else:
            yield from _texts(node)


def _part(node: ast.expr) -> str:
    """A part of a text: options as a command line has them, and {} for what is filled in."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    value = node.value if isinstance(node, ast.FormattedValue) else node
    source = ast.unparse(value)
    if re.match(r"(asking\.)?[A-Z_]+(\.to\(|$)|(together|names|spoken)\(", source):
        try:
            with asking.spoken_to("command"):
                return str(eval(source, {**vars(asking), "asking": asking}, _Filled()))  # noqa: S307  # our own source
        except Exception:
            return "{}"
    return "{}"


class _Filled(dict[str, Any]):
    """Whatever else has a name is filled in."""

    def __missing__(self, name: str) -> object:
        if name in vars(asking) or name == "asking":
            raise KeyError(name)
        return "{}"
