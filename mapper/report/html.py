"""The feasibility report as one HTML file that needs nothing else.

The report's JSON, its texts inert, stands in the page, and a small script draws from it: the matrix only
where it is looked at, a cell when it is opened. Every number on the page is one of the record's. Floorplans
are drawn here and stand in the page compressed, those of a network together since they are much alike: about
a kilobyte each.
"""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from collections.abc import Iterable
from dataclasses import asdict
from importlib.resources import files

from jinja2 import Environment, Template

from hwspec.inert import inert, inert_values
from mapper.explore.record import ReportRecord, Settings
from mapper.options import SolveOptions
from mapper.report.drawing import Element
from mapper.report.floorplan import floorplan
from mapper.wording import counted

__all__ = ["html_text", "page_of", "policy", "script_of", "template"]

_STYLES = ("palette.css", "page.css", "floorplan.css")
_SCRIPTS = ("base", "data", "view", "matrix", "controls", "follow", "detail", "summaries", "print", "main")
# What could end the element, begin a comment in it, or end a line of script.
_ESCAPES = {ord(c): f"\\u{ord(c):04x}" for c in "<>&\N{LINE SEPARATOR}\N{PARAGRAPH SEPARATOR}"}


def template(name: str) -> str:
    """A file of `mapper/report/templates`."""
    return files("mapper.report").joinpath("templates", name).read_text(encoding="utf-8")


def page_of(name: str) -> Template:
    """A template whose texts, all but what is marked as safe, are inert and no markup."""

    def plain(value: object) -> object:
        return inert(value) if type(value) is str else value

    environment = Environment(autoescape=True, keep_trailing_newline=True, finalize=plain)
    return environment.from_string(template(name))


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def script_of(names: Iterable[str]) -> str:
    """Files of `templates` as one script that leaves nothing behind in the page."""
    return "\n".join(["(() => {", '"use strict";', *(template(f"{name}.js") for name in names), "})();"])


def policy(style: str, script: str) -> str:
    """A content security policy: the page's own script and style, by their hashes, and nothing else."""
    return (
        f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; "
        "base-uri 'none'; form-action 'none'"
    )


def html_text(record: ReportRecord) -> str:
    """The whole page; the same record gives the same text. Nothing is loaded."""
    style = "".join(template(name) for name in _STYLES)
    script = script_of(_SCRIPTS)
    networks, variants = len(record.networks), len(record.variants)
    page = page_of("page.html.jinja")
    return page.render(
        title=f"Feasibility of {counted(networks, 'network')} on {counted(variants, 'chip variant')}",
        policy=policy(style, script),
        version=record.version,
        complete=record.complete,
        notes=record.notes,
        readings=[f"{row.name}, {reading}" for row in record.networks for reading in row.readings],
        settings=_settings_by_name(record.settings),
        cells=sum(not cell.is_failed for cell in record.cells),
        failed=sum(cell.is_failed for cell in record.cells),
        networks=networks,
        variants=variants,
        style=style,
        script=script,
        data=inert_values(record.model_dump_json()).translate(_ESCAPES),
        drawings=json.dumps(_drawings(record)),
    )


def _settings_by_name(settings: Settings) -> dict[str, object]:
    """Settings by name: the objective, options other than by default, which variants more was asked of."""
    default, options = asdict(SolveOptions()), asdict(settings.options)
    changed = {name for name in options if name == "objective" or options[name] != default[name]}
    return {name: options[name] for name in options if name in changed} | settings.model_dump(
        exclude={"options"}
    )


def _drawings(record: ReportRecord) -> dict[int, str]:
    """Per network the floorplans by variant, as JSON that is compressed by zlib, in base 64."""
    trees: dict[int, dict[int, Element]] = {}
    for cell in record.cells:
        if cell.placement is not None:
            trees.setdefault(cell.network, {})[cell.variant] = floorplan(cell.placement)
    return {
        network: base64.b64encode(zlib.compress(json.dumps(drawn).encode(), 9)).decode()
        for network, drawn in trees.items()
    }
