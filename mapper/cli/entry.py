"""The entry of the command line: every outcome becomes one message and one exit status."""

from __future__ import annotations

import json
import platform
import sys
import tempfile
import traceback
from collections.abc import Sequence
from typing import Any

import typer

from hwspec.errors import SpecError
from mapper.cli import board as _board_commands  # noqa: F401  # registers its commands
from mapper.cli import config as _config_commands  # noqa: F401  # registers its commands
from mapper.cli import diff as _diff_command  # noqa: F401  # registers its command
from mapper.cli import report as _report_command  # noqa: F401  # registers its command
from mapper.cli import simulate as _simulate_command  # noqa: F401  # registers its command
from mapper.cli import synthesize as _synthesize_commands  # noqa: F401  # registers its commands
from mapper.cli import verify as _verify_command  # noqa: F401  # registers its command
from mapper.cli.app import app
from mapper.errors import MapperError

__all__ = ["run"]

# Typer exports this one usage error; its root class is not public and has moved between versions.
_USAGE_ERROR: Any = next(c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException")

# What Typer returns for Ctrl-C, depending on its version: this, or `Abort`.
_INTERRUPTED = 130

EXIT_OK, EXIT_BAD_INPUT, EXIT_UNDECIDED, EXIT_FAULT = 0, 2, 3, 4


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns
    -------
    int
        0 mapped, 1 proven infeasible, 2 bad input, 3 undecided, 4 a fault of this program.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        outcome = app(words, standalone_mode=False, prog_name="mapper")
    except _USAGE_ERROR as error:
        error.show()
        return EXIT_BAD_INPUT
    except (SpecError, MapperError) as error:
        _tell(error, "--json" in words)
        return error.exit_code
    except (typer.Abort, KeyboardInterrupt):
        outcome = _INTERRUPTED
    except BrokenPipeError:
        # The reader has gone; standard output is closed so that nothing more is attempted on it.
        sys.stderr.close()
        return EXIT_OK
    except Exception as error:  # the one broad handler: anything unforeseen is our fault
        _report_fault(error)
        return EXIT_FAULT
    if outcome == _INTERRUPTED:
        print("Interrupted before anything was found.", file=sys.stderr)
        return EXIT_UNDECIDED
    return outcome if isinstance(outcome, int) else EXIT_OK


def _tell(error: SpecError | MapperError, as_json: bool) -> None:
    if as_json:
        record = {"schema_version": 1, "error": type(error).__name__, "message": str(error)}
        print(json.dumps(record, indent=2))
    print(f"Error: {error}", file=sys.stderr)


def _report_fault(error: Exception) -> None:
    with tempfile.NamedTemporaryFile(
        "w", prefix="mapper-fault-", suffix=".txt", delete=False, encoding="utf-8"
    ) as stream:
        stream.write(f"python {platform.python_version()}\n")
        stream.write("".join(traceback.format_exception(error)))
    print(
        f"Error: this is a fault of the mapper ({type(error).__name__}: {error}). "
        f"Please report it with the file {stream.name}",
        file=sys.stderr,
    )
