"""The words of a command line: what is given twice, numbers left out, and what options are called."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from difflib import get_close_matches
from itertools import pairwise
from shlex import join, quote

from cyclopts import App
from cyclopts.argument import Argument

from hwspec.inert import quoted
from mapper.cli.help import label
from mapper.errors import EventError, Finding, OptionsError
from mapper.wording import join_names

__all__ = [
    "as_typed", "filled", "missing", "require_once", "require_sense", "unexpected", "unknown_command",
    "unknown_option",
]  # fmt: skip

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


def missing(
    tree: App, chain: Sequence[str], words: Sequence[str], first: Argument, keyword: str | None
) -> str:
    """Everything that a command needs and was not given; before that, what it was given and has no place for.

    Parameters
    ----------
    first
        What the parser missed first.
    keyword
        The option at hand, if it is its value that is missing.
    """
    if keyword:
        return f"{keyword} needs a value{_meaning(first)}"
    command = tree
    for name in chain:
        command = command[name]
    own = _own(words[len(chain) :])
    for word in (word for word in own if word.startswith("--")):
        if not _has(command, word.partition("=")[0]) and (step := unknown_option(tree, chain, word)):
            return f"Unknown option: {word.partition('=')[0]}. {step}."
    given = {word.partition("=")[0] for word in own}
    lacking = [entry for entry in _options(command) if entry.required and not given & {*entry.names}]
    # With an operand, those behind it are missing.
    place = first.index
    behind = [
        entry
        for entry in _arguments(command)
        if entry.required and None not in (entry.index, place) and (entry.index or 0) >= (place or 0)
    ]
    lacking += behind or [first]
    lacking = sorted({entry.name: entry for entry in lacking}.values(), key=lambda entry: entry.index is None)
    said, meant = [], None
    for word in _further(command, own):
        form = "FILE" if os.path.isfile(word) else "DIR"
        meant = next((entry for entry in lacking if entry.parameter.metavar == form), None)
        if meant is not None and not _is_chip(word) and (form == "FILE" or not _is_network(word)):
            said = [f"Did you mean {meant.name} {quote(word)}?"]
            break
    said += [
        f"{label(entry)} is missing{_meaning(entry)}" for entry in lacking if not said or entry is not meant
    ]
    return " ".join(said)


def _further(command: App, own: Sequence[str]) -> Iterator[str]:
    """Words that stand where operands do, but for the first one."""
    flags = {name for entry in _options(command) if _is_flag(entry) for name in entry.names}
    operands = []
    for n, word in enumerate(own):
        before, first = own[n - 1] if n else "", own[n - 2] if n > 1 else ""
        # A change whose = was a blank; and an option that the command does not have may take a value.
        is_change = first == "--set" and "=" not in before and before[:1] not in ("+", "-")
        is_value = before.startswith("-") and before not in flags and "=" not in before
        if not (word.startswith("-") or is_value or is_change):
            operands.append(word)
    yield from operands[1:]


def _is_flag(entry: Argument) -> bool:
    return entry.is_flag() or bool(entry.negatives)


def _meaning(entry: Argument) -> str:
    form = f" ({entry.parameter.metavar})" if entry.parameter.metavar else ""
    return f"{form}: {entry.parameter.help}."


def _own(words: Sequence[str]) -> list[str]:
    """What stands before a --, behind which options are none."""
    return list(words[: words.index("--")] if "--" in words else words)


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


# Words that people give flags, which take none.
_FALSE = {"false", "no", "off", "0"}
_TRUTHS = _FALSE | {"true", "yes", "on", "1"}


def require_sense(command: App, words: Sequence[str]) -> None:
    """Refuse a - for a stream, and values behind flags, which would be taken for networks.

    Raises
    ------
    OptionsError
        All of them.
    """
    findings, own = [], _own(words)
    if "-" in own:
        step = "Name a file; what a command prints goes on by > FILE or | COMMAND"
        findings.append(Finding("-", "is no name of a stream here", next_step=step))
    for word in _chips_meant(command, own):
        option = "--chip" if _has(command, "--chip") else "--extends"
        findings.append(Finding(word, "is a chip", next_step=f"Give it as one: {option} {word}"))
    for word in _folders_meant(command, own):
        step = f"Did you mean --out {quote(word)}?"
        findings.append(Finding(word, "is neither a network nor a chip", next_step=step))
    flags = {name for entry in _options(command) if _is_flag(entry) for name in entry.names}
    for flag, value in [*pairwise(own), *(word.split("=", 1) for word in own if "=" in word)]:
        is_truth = value.lower() in _TRUTHS and flag in own
        if flag not in flags or not (is_truth or _is_new_json(value)):
            continue
        step = f"Leave {value} out; {flag} alone says it"
        if flag == "--json" and not is_truth:
            step = f"It prints: write > {quote(value)}"
        elif value.lower() in _FALSE:
            step = f"Write --no-{flag[2:]}" if f"--no-{flag[2:]}" in flags else f"Leave {flag} out too"
        findings.append(Finding(flag, "takes no value", quoted(value), next_step=step))
    if findings:
        raise OptionsError(*findings)


def _chips_meant(command: App, own: Sequence[str]) -> list[str]:
    """Chips behind the networks of a command that takes several, and a chip by an option."""
    operands = [entry for entry in _arguments(command) if entry.index is not None]
    if (
        not operands
        or not operands[-1].is_var_positional()
        or not (_has(command, "--chip") or _has(command, "--extends"))
    ):
        return []
    return [word for word in _further(command, own) if _is_chip(word) and not _is_network(word)]


def _folders_meant(command: App, own: Sequence[str]) -> list[str]:
    """Plain words behind the networks of a command that writes into a folder."""
    operands = [entry for entry in _arguments(command) if entry.index is not None]
    if not operands or not operands[-1].is_var_positional() or not _has(command, "--out"):
        return []
    words = (word for word in _further(command, own) if not any(sign in word for sign in ".:="))
    return [word for word in words if not _is_network(word) and not _is_chip(word)]


def _is_new_json(word: str) -> bool:
    return word.endswith(".json") and not os.path.exists(word)


def require_once(command: App, words: Sequence[str]) -> None:
    """Refuse options that are given twice where one value is taken, and flags that are given both ways.

    Raises
    ------
    OptionsError
        All of them.
    """
    own = _own(words)
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
        is_flag = _is_flag(entry)
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
