"""What a Python file offers as a network, read from its text: nothing in it is run."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

__all__ = ["offered_names"]

# Bases and calls that cannot give a network, though they look as if they could.
_OTHER_BASES = ("object", "ABC", "Enum", "NamedTuple", "Protocol", "TypedDict", "Exception", "Dataset")
_OTHER_CALLS = ("ArgumentParser", "Path", "Logger", "DataLoader", "Compose")


def offered_names(path: Path) -> tuple[str, ...]:
    """Names at the top of a file that may give a network: classes, functions without arguments, modules.

    Names with a leading underscore are left out.

    Raises
    ------
    OSError
        The file cannot be read.
    ValueError
        Its text is not Python.
    """
    try:
        tree = ast.parse(path.read_bytes(), filename=str(path))
    except (SyntaxError, RecursionError, MemoryError) as error:
        line = getattr(error, "lineno", None)
        problem = getattr(error, "msg", None) or type(error).__name__
        raise ValueError(f"is not Python{f' at line {line}' if line else ''}: {problem}") from None
    names = dict.fromkeys(name for statement in tree.body for name in _offers(statement))
    return tuple(name for name in names if not name.startswith("_"))


def _offers(statement: ast.stmt) -> Iterator[str]:
    if isinstance(statement, ast.FunctionDef):
        if not _wanted(statement.args):
            yield statement.name
    elif isinstance(statement, ast.ClassDef):
        bases = [_last_name(base) for base in statement.bases]
        makers = [n for n in statement.body if isinstance(n, ast.FunctionDef) and n.name == "__init__"]
        # A class takes itself as the first argument.
        if any(base not in _OTHER_BASES for base in bases) and all(_wanted(n.args) <= 1 for n in makers):
            yield statement.name
    elif isinstance(statement, ast.Assign | ast.AnnAssign) and _may_be_network(statement.value):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        yield from (target.id for target in targets if isinstance(target, ast.Name))


def _wanted(arguments: ast.arguments) -> int:
    """Arguments that a call must give."""
    positional = len(arguments.posonlyargs) + len(arguments.args) - len(arguments.defaults)
    return positional + sum(default is None for default in arguments.kw_defaults)


def _may_be_network(value: ast.expr | None) -> bool:
    if isinstance(value, ast.Lambda):
        return not _wanted(value.args)
    if isinstance(value, ast.Attribute):
        return _may_be_network(value.value)
    # Classes are called to make a module; functions are called for all kinds of things.
    name = _last_name(value.func) if isinstance(value, ast.Call) else ""
    return (name[:1].isupper() and name not in _OTHER_CALLS) or name in ("from_model", "from_torch")


def _last_name(node: ast.expr) -> str:
    if isinstance(node, ast.Subscript):
        return _last_name(node.value)
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")
