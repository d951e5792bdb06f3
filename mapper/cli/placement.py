"""What shows a placement: its files, and the browser."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from mapper.cli.output import placement_text
from mapper.errors import MapperWarning

if TYPE_CHECKING:
    from mapper.result import Result

__all__ = [
    "PLACEMENT_FILES",
    "open_page",
    "open_placement",
    "placement_files",
    "warn_unwritten",
    "write_placement",
]

_PAGE = "placement.html"
PLACEMENT_FILES = ("placement.json", "placement.svg", _PAGE)
"""Names of what `placement_files` gives."""


def placement_files(result: Result) -> dict[str, str]:
    """Content by name: the record, the picture, and the page; the same on every run."""
    from mapper.record import placement_record  # noqa: PLC0415
    from mapper.report.placement_page import page_text, svg_text  # noqa: PLC0415

    record = placement_record(result)
    contents = (placement_text(result), svg_text(record), page_text(record))
    return dict(zip(PLACEMENT_FILES, contents, strict=True))


def write_placement(result: Result, folder: Path | None) -> list[str]:
    """Write the files of a placement into a folder; their paths. Without a placement a warning says so."""
    from mapper.files import write_all  # noqa: PLC0415

    if folder is None:
        return []
    if result.solution is None:
        warn_unwritten(folder)
        return []
    files = {folder / name: text for name, text in placement_files(result).items()}
    write_all(files)
    return [*map(str, files)]


def warn_unwritten(folder: Path) -> None:
    """Say that a folder stays as it is."""
    _warn(f"--out: nothing is written to {folder}: there is no placement")


def open_placement(result: Result, folder: Path | None) -> None:
    """Show a placement in the browser; where that cannot be, a warning says why, and the answer stands.

    Parameters
    ----------
    folder
        Where its files have been written; None writes the page among temporary files, where it stays.
    """
    import tempfile  # noqa: PLC0415

    from mapper.files import write_text  # noqa: PLC0415

    if result.solution is None:
        _warn("--open shows nothing: there is no placement")
        return
    if folder is None:
        page = Path(tempfile.mkdtemp(prefix="mapper-")) / _PAGE
        write_text(page, placement_files(result)[_PAGE])
    else:
        page = folder / _PAGE
    open_page(page)


def open_page(page: Path) -> None:
    """Show a page in the browser; where that cannot be, a warning says why."""
    import webbrowser  # noqa: PLC0415

    try:
        is_shown = webbrowser.open(page.absolute().as_uri())
    except (webbrowser.Error, OSError):
        is_shown = False
    if not is_shown:
        _warn(f"--open: no browser was found; the page is {page}. The variable BROWSER names one")


def _warn(text: str) -> None:
    warnings.warn(text, MapperWarning, stacklevel=3)
