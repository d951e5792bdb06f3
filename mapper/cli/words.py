"""The words of a command line: what is given twice, numbers left out, and what options are called."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from cyclopts import App
from cyclopts.argument import Argument

from mapper.errors import EventError, Finding, OptionsError
from mapper.wording import join_names

__all__ = ["as_typed", "filled", "require_once", "unknown_option"]

# Options that mean a number of their own where none follows.
_ALONE = {"--relu-as-if": "1"}


# What a command has instead of an option of others.
_INSTEAD = {
    ("synthesize", "--chip"): "A chip is sought: --extends names the one whose limits and stages it has",
    ("chips check", "--chip"): "The file stands alone: mapper chips check FILE",
}


def unknown_option(tree: App, chain: Sequence[str], option: str) -> str:
    """What to do about an option that a command does not have but others do; empty where none has it."""
    name = option.partition("=")[0]
    if (instead := _INSTEAD.get((" ".join(chain), name))) is not None:
        return instead
    owners = [" ".join(words) for words, entry in _commands(tree) if _has(entry, name)]
    return f"It belongs to mapper {join_names(owners)}" if owners else ""


def _commands(tree: App, chain: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], App]]:
    for name in (name for name in tree if not name.startswith("-")):
        yield (*chain, name), tree[name]
        yield from _commands(tree[name], (*chain, name))


def _has(command: App, option: str) -> bool:
    return any(option in entry.names for entry in _options(command))


def filled(words: Sequence[str]) -> list[str]:
    """The words, with the number of every option that may go without one."""
    own = len(words) if "--" not in words else words.index("--")
    followers = [*words[1:], ""]
    return [
        f"{word}={_ALONE[word]}" if n < own and word in _ALONE and not _is_value(followers[n]) else word
        for n, word in enumerate(words)
    ]


def _is_value(text: str) -> bool:
    if text == "auto":
        return True
    try:
        float(text)
    except ValueError:
        return False
    return True


def _options(command: App) -> list[Argument]:
    """Options; operands are none."""
    arguments = command.assemble_argument_collection() if command.default_command else ()
    return [entry for entry in arguments if entry.index is None and entry.names != ("*",)]


def require_once(command: App, words: Sequence[str]) -> None:
    """Refuse options that are given twice where one value is taken, and flags that are given both ways.

    Raises
    ------
    OptionsError
        All of them.
    """
    own = words[: words.index("--")] if "--" in words else words
    # Options have one name each, flags another that begins with "no-": no name twice, no option twice.
    typed = [word.partition("=")[0] for word in own if word.startswith("-")]
    distinct = {word.removeprefix("--").removeprefix("no-") for word in typed}
    if len(distinct) == len(typed):
        return
    findings = []
    for entry in _options(command):
        _, is_repeatable = entry.token_count()
        if is_repeatable:
            continue
        # A value may be spelled like an option of another name, but never like its own; -q is --quiet.
        given = [word for word in own if word.partition("=")[0] in entry.names]
        is_flag = entry.is_flag() or bool(entry.negatives)
        if len(set(given) if is_flag else given) > 1:
            names = " and ".join(dict.fromkeys(word.partition("=")[0] for word in given))
            problem = "are given together" if is_flag else f"is given {len(given)} times, and takes one value"
            findings.append(Finding(names, problem, next_step="Leave all but one out"))
    if findings:
        raise OptionsError(*findings)


def as_typed(command: App, error: OptionsError | EventError) -> OptionsError | EventError:
    """The error with options as the command line calls them, where it calls them as Python does."""
    names = {entry.field_info.name: entry.name for entry in _options(command)}
    findings = [replace(found, where=names.get(found.where, found.where)) for found in error.findings]
    return type(error)(*findings)
