"""Where modules are looked for: not in the folder that the program happens to be started in.

``python -m mapper`` puts the current directory before everything that is installed, so a ``numpy.py`` that
came with somebody's network would run. This must be over before anything else is imported: `mapper/__init__`
imports this module first, and it imports nothing that is not loaded yet. Python code that a user names is
found all the same (`mapper.frontends.target`).
"""

from __future__ import annotations

import os
import sys

__all__ = ["is_started_as_module", "leave_current_directory"]


def is_started_as_module() -> bool:
    """Whether this is ``python -m mapper``, seen while Python looks for the module to run."""
    return sys.argv[:1] == ["-m"] and not {"mapper", "-mmapper"}.isdisjoint(sys.orig_argv)


def leave_current_directory() -> None:
    """Take the current directory off the search path, here and in the processes that are started.

    Where the program itself lies in it, in a checkout, it stays: whoever writes there writes the program.
    """
    try:
        here = os.path.realpath(os.getcwd())
    except OSError:
        here = ""  # a folder that is gone holds no module
    if here == os.path.dirname(os.path.dirname(os.path.realpath(__file__))):
        return
    sys.path[:] = [entry for entry in sys.path if entry and os.path.realpath(entry) != here]
    os.environ["PYTHONSAFEPATH"] = "1"


if is_started_as_module():
    leave_current_directory()
