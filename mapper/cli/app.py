"""The tree of commands."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

from cyclopts import App, Group, Parameter

from mapper.cli.completion import Shell, script
from mapper.cli.options import file
from mapper.cli.output import say
from mapper.cli.verdict import Outcome
from mapper.errors import Finding, OptionsError

__all__ = ["app"]


def show_completion(shell: Annotated[Shell, Parameter(help="shell whose script is printed")], /) -> int:
    """Print the completion script of a shell."""
    print(script(app, shell), end="")
    return 0


def install_completion(
    shell: Annotated[
        Shell | None,
        Parameter(help="shell that is told", show_default="the running one"),
    ] = None,
    /,
    *,
    out: Annotated[Path | None, file("the script's file", "where the shell looks")] = None,
) -> int:
    """Install completion for a shell; without --out its start-up file is told of it, too."""
    from cyclopts.completion import ShellDetectionError, detect_shell  # noqa: PLC0415

    from mapper.files import write_text  # noqa: PLC0415

    try:
        known = detect_shell() if shell is None else shell
    except ShellDetectionError:
        known = "powershell"
    if known == "powershell":
        raise OptionsError(Finding("SHELL", "the running one is not known", limit="bash, zsh, fish"))
    try:
        path = out or app.install_completion(shell=known, add_to_startup=True)
        write_text(path, script(app, known))
    except OSError as error:
        raise OptionsError(Finding(str(error.filename), f"cannot be written: {error.strerror}")) from None
    # The script completes nothing where nobody calls compinit.
    rule = " once ~/.zshrc says: autoload -Uz compinit && compinit" if known == "zsh" else ""
    who = "new shells complete" if out is None else "a shell that reads it completes"
    say(f"written: {path}; {who} the words of mapper{rule}")
    return 0


def version() -> int:
    """Print the version."""
    from importlib.metadata import version as installed  # noqa: PLC0415

    print(f"mapper {installed('dynapcnn-mapper')}")
    return 0


def _register(parent: App, command: Callable[..., Outcome] | str, name: str) -> None:
    # A negative form only where one is named; of several values of an option that takes one, the last counts.
    plain = Parameter(negative_bool=(), negative_iterable=(), negative_none=(), allow_repeating=True)
    arguments, options = Group("Arguments", sort_key=0), Group("Options", sort_key=8)
    parent.command(
        command, name=name, default_parameter=plain, group_arguments=arguments, group_parameters=options
    )


app = App(
    name="mapper",
    help="Place spiking convolutional networks on DYNAP-CNN and Speck chips, with proof.",
    version_flags=[],
    exit_on_error=False,
    print_error=False,
)
_chips = App(name="chips", help="Chips: list, show, check a file, JSON schema.", version_flags=[])
# Where commands stand: a module is loaded when one of its own is run, or when all are listed.
_COMMANDS = {
    "solve": "solve check",
    "config": "emit",
    "verify": "verify",
    "simulate": "simulate",
    "report": "report",
    "diff": "diff",
    "synthesize": "synthesize widest",
    "tune": "tune",
    "board": "devices run",
    "about": "explain schema",
    "doctor": "doctor",
}
for _module, _names in _COMMANDS.items():
    for _name in _names.split():
        _register(app, f"mapper.cli.{_module}:{_name}", _name)
for _name in ("list", "show", "check", "schema"):
    _register(_chips, f"mapper.cli.about:chips_{_name}", _name)
for _command in (version, show_completion, install_completion):
    _register(app, _command, f"--{_command.__name__.replace('_', '-')}")
app.command(_chips)
