"""The words of a command line: what is given twice, numbers left out, and what options are called."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from difflib import get_close_matches
from shlex import join

from cyclopts import App
from cyclopts.argument import Argument

from mapper.errors import EventError, Finding, OptionsError
from mapper.wording import join_names

__all__ = ["as_typed", "filled", "require_once", "unexpected", "unknown_command", "unknown_option"]

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
    if name in tree:
        return f"It stands alone: mapper {name}"
    if (instead := _INSTEAD.get((" ".join(chain), name))) is not None:
        return instead
    owners = [" ".join(words) for words, entry in _commands(tree) if _has(entry, name)]
    return f"It belongs to mapper {join_names(owners)}" if owners else ""


def unknown_command(tree: App, chain: Sequence[str], words: Sequence[str]) -> str:
    """What is wrong with a word that stands where a command should, and what was meant.

    Parameters
    ----------
    chain
        The commands before it.
    words
        All that was typed; its first word behind `chain` is the one.
    """
    rest = words[len(chain) :]
    word = rest[0]
    here = [" ".join(found[len(chain) :]) for found, _ in _commands(tree) if found[: len(chain)] == (*chain,)]
    if word.startswith("-"):
        return _early_option(tree, chain, rest)
    named = [name for name in here if " " not in name]
    meant = [join(["mapper", *chain, *name.split(), *rest[1:]]) for name in here if name.endswith(f" {word}")]
    if word == "help":
        meant = [join(["mapper", *chain, *rest[1:], "--help"])]
    elif f"--{word}" in tree:
        meant = [f"mapper --{word}"]
    elif not chain and _is_network(word):
        meant = [join(["mapper", "solve", *rest])]
    elif chain == ("chips",) and _is_chip(word):
        meant = [join(["mapper", "chips", "show", *rest])]
    elif not meant and (close := get_close_matches(word.lower(), named, n=1)):
        meant = [join(["mapper", *chain, *close, *rest[1:]])]
    step = f"Did you mean {meant[0]}?" if meant else f"There are {join_names(named)}."
    return f'Unknown command "{word}". {step}'


def _early_option(tree: App, chain: Sequence[str], rest: Sequence[str]) -> str:
    """What to say of options that stand before the command they are for."""
    option = rest[0].partition("=")[0]
    found = dict(_commands(tree))
    at = next((n for n, word in enumerate(rest) if (*chain, word) in found), None)
    if at is None:
        if not any(_has(command, option) for command in found.values()):
            return f"Unknown option: {option}."
        return f"{option} stands without a command. {join(['mapper', *chain])} COMMAND {option} is the order."
    command, behind = (*chain, rest[at]), rest[at + 1 :]
    if not _has(found[command], option):
        step = unknown_option(tree, command, option)
        known = [name for entry in _options(found[command]) for name in entry.names]
        if close := get_close_matches(option, known, n=1):
            step = f"Did you mean {join(['mapper', *command, *close, *rest[1:at], *behind])}?"
        return f"Unknown option: {option}.{f' {step}' if step else ''}"
    return f"Options stand behind the command: {join(['mapper', *command, *rest[:at], *behind])}"


def unexpected(tree: App, chain: Sequence[str], words: Sequence[str]) -> str:
    """What to do about words that a command has no place for."""
    command = tree
    for name in chain:
        command = command[name]
    operands = [entry for entry in _arguments(command) if entry.index is not None]
    if _is_chip(words[0]) and _has(command, "--chip"):
        return f"Did you mean --chip {words[0]}?"
    if not operands:
        return f"It takes {'options alone' if _options(command) else 'none'}."
    names = [entry.name.lstrip("-").upper() for entry in operands]
    several = [
        " ".join(found)
        for found, entry in _commands(tree)
        if any(one.is_var_positional() and one.name == operands[-1].name for one in _arguments(entry))
    ]
    others = f"; several go to mapper {join_names(several)}" if several and len(names) == 1 else ""
    return f"It takes {'one ' if len(names) == 1 else ''}{join_names(names)}{others}."


def _is_network(word: str) -> bool:
    """Whether a word names a network rather than a command or a value."""
    from mapper.frontends import looks_like_network  # noqa: PLC0415

    return looks_like_network(word)


def _is_chip(word: str) -> bool:
    from hwspec.catalog import is_name  # noqa: PLC0415

    return is_name(word)


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
        f"{word}={_ALONE[word]}" if n < own and word in _ALONE and _is_next(followers[n]) else word
        for n, word in enumerate(words)
    ]


def _is_next(text: str) -> bool:
    """Whether a word is an option or a network rather than a number, however badly written."""
    is_option = text.startswith("-") and not text[1:2].isdigit()
    return not text or is_option or _is_network(text)


def _arguments(command: App) -> list[Argument]:
    return list(command.assemble_argument_collection()) if command.default_command else []


def _options(command: App) -> list[Argument]:
    """Options; operands are none."""
    return [entry for entry in _arguments(command) if entry.index is None and entry.names != ("*",)]


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
