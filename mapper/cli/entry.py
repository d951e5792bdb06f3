"""The entry of the command line: every outcome becomes one message and one exit status."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from cyclopts.exceptions import (
    CycloptsError,
    MissingArgumentError,
    UnknownCommandError,
    UnknownOptionError,
    UnusedCliTokensError,
)

from hwspec.errors import gathered
from hwspec.inert import inert
from mapper.asking import spoken_to
from mapper.cli.app import app
from mapper.cli.completion import CALLED_BACK, unquoted
from mapper.cli.help import help_text
from mapper.cli.loudness import is_quiet, loudness_of, under, wants_json, wipe
from mapper.cli.output import print_json
from mapper.cli.verdict import Outcome, Refuted, exit_status
from mapper.cli.words import (
    as_typed,
    filled,
    missing,
    require_once,
    require_sense,
    unexpected,
    unknown_command,
    unknown_option,
)
from mapper.errors import EventError, Finding, InfeasibleError, MapperError, MapperWarning, OptionsError
from mapper.process import BAD_INPUT, OK, interrupted, report_fault, was_interrupted

__all__ = ["run"]


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns
    -------
    int
        0 mapped, 1 proven infeasible, 2 bad input, 3 undecided, 4 a fault of this program.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        with _warnings_in_a_line(), spoken_to("command"):
            return exit_status(_outcome(words))
    except KeyboardInterrupt:
        return interrupted()
    # Anything unforeseen is our fault, a library's panic or sys.exit too: left alone, those would end with
    # status 1, which says that a misfit is proven. Some libraries make an error of their own of Ctrl-C.
    except BaseException as error:
        return interrupted() if was_interrupted() else report_fault(error)


def _outcome(words: list[str]) -> Outcome:
    try:
        return _dispatch(words)
    except (MapperError, CycloptsError) as error:
        known = _usage_error(error, words) if isinstance(error, CycloptsError) else error
        if "--json" in words:
            print_json(error=type(known).__name__, message=str(known))
        # Several findings are a list, whose lines are inert each; any other line break is somebody's name.
        lines = str(known).split("\n") if len(gathered(getattr(known, "findings", ()))) > 1 else [str(known)]
        print("Error: " + "\n".join(map(inert, lines)), file=sys.stderr)
        return Refuted(known.report) if isinstance(known, InfeasibleError) else known.exit_code


@contextmanager
def _warnings_in_a_line() -> Iterator[None]:
    """Print this program's own warnings as messages, each once, however often it is said."""
    told = set()
    with warnings.catch_warnings():
        others = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *more: Any, **keywords: Any) -> None:
            if not issubclass(category, MapperWarning):
                others(message, category, *more, **keywords)
            elif str(message) not in told and not is_quiet():
                told.add(str(message))
                wipe()
                print(f"Warning: {inert(str(message))}", file=sys.stderr)

        warnings.showwarning = show
        warnings.simplefilter("always", MapperWarning)
        yield


def _dispatch(words: list[str]) -> Outcome:
    """Print help where it is asked for, or where no command is named; else run the command."""
    if words[:1] == [CALLED_BACK]:
        command, bound, _ = app.parse_args([*words[:-1], unquoted(words[-1])])
        command(*bound.args)
        return OK
    own = words[: words.index("--")] if "--" in words else words
    flags = [word for word in own if word in app.help_flags]
    words = [word for word in own if word not in flags] + words[len(own) :]
    chain, apps, rest = app.parse_commands(words)
    if apps[-1].default_command is None and not rest:
        print(help_text(chain, apps[-1]), file=sys.stdout if flags else sys.stderr)
        return OK if flags else BAD_INPUT
    if flags and apps[-1].default_command is not None:
        print(help_text(chain, apps[-1]))
        return OK
    words = filled(words)
    require_sense(apps[-1], words[len(chain) :])
    require_once(apps[-1], words)
    command, bound, _ = app.parse_args(words)
    try:
        arguments = bound.arguments
        with under(loudness_of(arguments), is_json=wants_json(arguments)):
            outcome: Outcome = command(*bound.args, **bound.kwargs)
    except (OptionsError, EventError) as error:
        raise as_typed(apps[-1], error) from error
    return outcome


def _usage_error(error: CycloptsError, words: Sequence[str]) -> OptionsError:
    """What is wrong with the words, in one line; four of the parser's own messages say too little."""
    message, chain = " ".join(str(error).split()), tuple(error.command_chain or ())
    if isinstance(error, UnknownCommandError):
        flags = [word for word in words if word not in app.help_flags]
        message = unknown_command(app, chain, flags)
    elif isinstance(error, UnusedCliTokensError):
        unused = list(error.unused_tokens or ())
        message = f"Unexpected argument: {' '.join(unused)}. {unexpected(app, chain, unused)}"
    elif isinstance(error, MissingArgumentError) and error.argument is not None:
        message = missing(app, chain, words, error.argument, error.keyword)
    elif isinstance(error, UnknownOptionError):
        option_typed = error.token.keyword or error.token.value
        if step := unknown_option(app, chain, option_typed):
            message = f"Unknown option: {option_typed}. {step}."
    command = " ".join(("mapper", *chain))
    end = "" if message.endswith((".", "?")) else "."
    return OptionsError(Finding("", f"{message}{end} Help: {command} --help"))
