"""The feasibility report as one HTML file that needs nothing else.

The report's JSON stands in the page, and a small script draws from it: the matrix only where it is looked at,
a floorplan when its cell is opened. So the file grows with the record alone (a floorplan drawn ahead would
take as much again as its placement), and every number on the page is one of the record's.
"""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment

from mapper.explore.record import ReportRecord
from mapper.files import write_text

__all__ = ["count", "html_text", "template", "write_html"]

_STYLES = ("palette.css", "page.css", "floorplan.css")
_SCRIPTS = (
    "base.js",
    "data.js",
    "view.js",
    "matrix.js",
    "controls.js",
    "floorplan.js",
    "detail.js",
    "summaries.js",
    "print.js",
    "main.js",
)
# What could end the element, begin a comment in it, or end a line of script.
_ESCAPES = {ord(c): f"\\u{ord(c):04x}" for c in "<>&\N{LINE SEPARATOR}\N{PARAGRAPH SEPARATOR}"}


def template(name: str) -> str:
    """A file of `mapper/report/templates`."""
    return files("mapper.report").joinpath("templates", name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def count(number: int, word: str) -> str:
    """A number with its word, in the plural unless it is 1."""
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def html_text(record: ReportRecord) -> str:
    """The whole page; the same record gives the same text.

    Nothing is loaded: the content security policy allows the page's own script and style, by their hashes,
    and nothing else.
    """
    style = "".join(template(name) for name in _STYLES)
    script = "\n".join(["(() => {", '"use strict";', *(template(name) for name in _SCRIPTS), "})();"])
    networks, variants = len(record.networks), len(record.variants)
    page = Environment(autoescape=True, keep_trailing_newline=True).from_string(template("page.html.jinja"))
    return page.render(
        title=f"Feasibility of {count(networks, 'network')} on {count(variants, 'chip variant')}",
        policy=f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; "
        "base-uri 'none'; form-action 'none'",
        version=record.version,
        complete=record.complete,
        notes=record.notes,
        settings=record.settings.model_dump(),
        cells=len(record.cells),
        networks=networks,
        variants=variants,
        style=style,
        script=script,
        data=record.model_dump_json().translate(_ESCAPES),
    )


def write_html(record: ReportRecord, path: Path) -> None:
    """Write the page; the file is there whole or not at all.

    Raises
    ------
    OptionsError
        The folder cannot be made or written to.
    """
    write_text(path, html_text(record))
