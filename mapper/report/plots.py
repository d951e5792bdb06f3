"""Pictures by matplotlib: an optional package, and files that are the same on every run."""

from __future__ import annotations

import io
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hwspec.inert import inert
from mapper.errors import BackendMissingError, Finding, OptionsError
from mapper.files import write_bytes

__all__ = ["new_figure", "plain", "write_figure"]


def plain(name: str) -> str:
    """A name as text of a figure, in which dollar signs begin no formula."""
    return inert(name).replace("$", r"\$")


def new_figure(path: Path, width: float, height: float) -> Any:
    """An empty figure for a file, in inches.

    Raises
    ------
    BackendMissingError
        matplotlib is not installed.
    OptionsError
        The file ends in neither .png nor .svg.
    """
    if path.suffix not in (".png", ".svg"):
        raise OptionsError(Finding(str(path), "cannot be drawn", path.suffix or "no suffix", ".png, .svg"))
    if find_spec("matplotlib") is None:
        raise BackendMissingError("matplotlib", "a plot", 'Install it: pip install "dynapcnn-mapper[plot]"')
    from matplotlib.figure import Figure  # noqa: PLC0415  # an optional extra

    return Figure(figsize=(width, height), layout="constrained")


def write_figure(figure: Any, path: Path) -> None:
    """Write a figure.

    Raises
    ------
    OptionsError
        The file cannot be written.
    """
    import matplotlib as mpl  # noqa: PLC0415  # an optional extra

    stream = io.BytesIO()
    # No date and named marks: the same figure gives the same file.
    about: dict[str, Any] = {"Date": None} if path.suffix == ".svg" else {}
    with mpl.rc_context({"svg.hashsalt": "mapper"}):
        figure.savefig(stream, format=path.suffix[1:], metadata=about)
    write_bytes(path, stream.getvalue())
