"""The tree of commands."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Group, Parameter

from mapper.cli import about
from mapper.cli.board import devices, run
from mapper.cli.config import emit
from mapper.cli.diff import diff
from mapper.cli.doctor import doctor
from mapper.cli.options import file
from mapper.cli.output import say
from mapper.cli.report import report
from mapper.cli.simulate import simulate
from mapper.cli.solve import check, solve
from mapper.cli.synthesize import synthesize, widest
from mapper.cli.tune import tune
from mapper.cli.verdict import Outcome
from mapper.cli.verify import verify
from mapper.errors import Finding, OptionsError

__all__ = ["app"]


def show_completion(shell: Annotated[Literal["bash", "zsh", "fish"], Parameter(help="whose")], /) -> int:
    """Print the completion script of a shell."""
    print(app.generate_completion(shell=shell), end="")
    return 0


def install_completion(
    shell: Annotated[
        Literal["bash", "zsh", "fish"] | None, Parameter(help="whose", show_default="the running one")
    ] = None,
    /,
    *,
    out: Annotated[Path | None, file("the script's file", "where the shell looks")] = None,
) -> int:
    """Install completion for a shell; without --out its start-up file is told of it, too."""
    from cyclopts.completion.detect import ShellDetectionError  # noqa: PLC0415

    from mapper.files import write_text  # noqa: PLC0415

    try:
        if out is None:
            path = app.install_completion(shell=shell, add_to_startup=True)
        else:
            path = out
            write_text(out, app.generate_completion(shell=shell))
    except ShellDetectionError:
        raise OptionsError(
            Finding("SHELL", "the running one is not known", limit="bash, zsh, fish")
        ) from None
    except OSError as error:
        raise OptionsError(Finding(str(error.filename), f"cannot be written: {error.strerror}")) from None
    say(f"written: {path}; new shells complete the words of mapper")
    return 0


def version() -> int:
    """Print the version."""
    from importlib.metadata import version as installed  # noqa: PLC0415

    print(f"mapper {installed('dynapcnn-mapper')}")
    return 0


def _register(parent: App, command: Callable[..., Outcome], name: str) -> None:
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
_COMMANDS: tuple[tuple[App, tuple[Callable[..., Outcome], ...]], ...] = (
    (app, (solve, check, emit, verify, simulate, report, diff, synthesize, widest, tune, devices, run)),
    (app, (about.explain, about.schema, doctor)),
    (_chips, (about.chips_list, about.chips_show, about.chips_check, about.chips_schema)),
)
for _parent, _commands in _COMMANDS:
    for _command in _commands:
        _register(_parent, _command, _command.__name__.removeprefix("chips_"))
for _command in (version, show_completion, install_completion):
    _register(app, _command, f"--{_command.__name__.replace('_', '-')}")
app.command(_chips)
