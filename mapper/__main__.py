"""``python -m mapper``."""

from __future__ import annotations

import gc
import os
import sys

from mapper.process import completed


def _command_line() -> int:
    from mapper.cli.entry import run  # noqa: PLC0415  # a signal, or a fault, while it is loaded has its status

    return run()


def main() -> None:
    """Run the command line and leave with its exit status."""
    # Imports make objects that live as long as the process: looking for garbage among them costs 5 to 10 %.
    gc.set_threshold(100_000)
    # Else pydantic reads what every installed package says of itself, for plugins that no command needs.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    status = completed(_command_line)
    # Python looks for garbage among them twice more when it ends.
    gc.freeze()
    sys.exit(status)


if __name__ == "__main__":
    main()
