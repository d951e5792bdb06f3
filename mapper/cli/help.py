"""The help: plain text, so that asking for it loads nothing but the parser."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterable, Sequence
from inspect import cleandoc

from cyclopts import App
from cyclopts.argument import Argument

from mapper.cli.examples import EXAMPLES

__all__ = ["help_text", "label"]


def help_text(chain: Sequence[str], command: App) -> str:
    """Usage, description, and a section for every group of options, or for the commands.

    Parameters
    ----------
    chain
        Names of the commands from the root to `command`, without the root's.
    """
    width = min(shutil.get_terminal_size().columns, 110)
    sections: dict[str, list[tuple[str, str]]] = {}
    operands = ["COMMAND"]
    if command.default_command is not None:
        arguments = command.assemble_argument_collection().filter_by(show=True)
        for group in sorted(arguments.groups, key=lambda group: group.sort_key):
            sections[group.name] = [_row(entry) for entry in arguments.filter_by(group=group)]
        named = [(label(entry), entry.required) for entry in arguments if _is_operand(entry)]
        operands = [name if is_required else f"[{name}]" for name, is_required in named]
    names = [name for name in command if name not in command.help_flags]
    rows = [(name, cleandoc(command[name].help).partition("\n")[0]) for name in names]
    sections["Commands"] = [row for row in rows if not row[0].startswith("-")]
    sections["Help"] = [row for row in rows if row[0].startswith("-")] + [("--help, -h", "Print this help.")]
    usage = " ".join(["Usage: mapper", *chain, "[OPTIONS]", *operands])
    text = cleandoc(command.help).split("\n\n")
    paragraphs = [textwrap.fill(" ".join(part.split()), width - 1) for part in (usage, *text)]
    tables = [f"{title}:\n{_table(rows, width)}" for title, rows in sections.items() if rows]
    return "\n\n".join([*paragraphs, *tables])


def label(argument: Argument) -> str:
    """What an argument is called: NETWORK... for one that is told by its place, else --option."""
    if not _is_operand(argument):
        return argument.name
    return argument.name.lstrip("-").upper() + ("..." if argument.is_var_positional() else "")


def _is_short(name: str) -> bool:
    return not name.startswith("--")


def _is_operand(argument: Argument) -> bool:
    return argument.index is not None


def _row(argument: Argument) -> tuple[str, str]:
    """An option with its value's form; and what it means, with its default."""
    parameter, default = argument.parameter, argument.field_info.default
    form = "" if _is_operand(argument) else "|".join(argument.get_choices() or ()) or parameter.metavar or ""
    names = label(argument) if _is_operand(argument) else ", ".join(sorted(argument.names, key=_is_short))
    notes = ["repeatable"] if isinstance(default, tuple) else []
    is_flag = argument.is_flag() or bool(argument.negatives)
    if argument.required:
        notes.append("required")
    elif isinstance(parameter.show_default, str):
        notes.append(f"default: {parameter.show_default}")
    elif argument.negatives:
        notes.append(f"default: {argument.names[0 if default else -1]}")
    elif is_flag:
        notes.append("default: off")
    elif default == ():
        notes.append("default: none")
    elif default is not None and default is not argument.field_info.empty:
        notes.append(f"default: {default}")
    note = f" [{', '.join(notes)}]" if notes else ""
    return f"{names} {form}".strip(), f"{parameter.help}{_example(argument)}{note}"


def _example(argument: Argument) -> str:
    """How an option or an operand is typed; words to choose from and flags show it themselves."""
    if _is_operand(argument):
        example = EXAMPLES.get(label(argument).removesuffix("..."))
        return f"; e.g. {example}" if example else ""
    if argument.name not in EXAMPLES or argument.get_choices() or argument.parameter.metavar is None:
        return ""
    first, *others = EXAMPLES[argument.name].split(" or ")
    texts = (f'"{text}"' if set(text) & set("[]#") else text for text in (first, *others))
    return f"; e.g. {' or '.join(f'{argument.name} {text}' for text in texts)}"


def _table(rows: Iterable[tuple[str, str]], width: int) -> str:
    """Two columns; a name too long for the first stands on a line of its own."""
    column = 30
    lines = []
    for name, meaning in rows:
        wrapped = textwrap.wrap(meaning, max(width - column - 1, 20))
        head = f"  {name}" if len(name) > column - 4 else f"{f'  {name}':{column}}{wrapped.pop(0)}"
        lines += [head, *(" " * column + line for line in wrapped)]
    return "\n".join(lines)
