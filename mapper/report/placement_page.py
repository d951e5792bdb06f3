"""A placement as two files: a picture that stands alone, and a page in which that picture answers.

Both are the same bytes for the same placement, load nothing, and hold no time, version or path.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from mapper.record import PlacementRecord
from mapper.report.floorplan import floorplan_svg
from mapper.report.html import page_of, policy, script_of, template
from mapper.report.words import placed_words, share_text
from mapper.wording import counted, join_names

__all__ = ["CORE_HEAD", "core_rows", "page_text", "svg_text"]

CORE_HEAD = ("core", "holds", "kernel words", "neuron words", "bias words", "destinations")
_STYLES = ("palette.css", "page.css", "floorplan.css", "placement.css")
_SCRIPTS = ("base", "follow", "placement")


def core_rows(record: PlacementRecord) -> list[tuple[int | str, ...]]:
    """A row of `CORE_HEAD` for every core that holds something."""
    return [
        (
            *(use.core, use.label),
            *(f"{taken}/{have}, {share_text(taken, have)}" for taken, have in words),
            sum(route.source == use.core for route in record.solution.routes),
        )
        for use in record.cores
        for words in [(use.kernel_words, use.neuron_words, use.bias_words)]
        if use.layer is not None
    ]


def page_text(record: PlacementRecord) -> str:
    """The page, placement.html: the picture, the use of every core, notes, and assumed facts."""
    style, script = "".join(map(template, _STYLES)), script_of(_SCRIPTS)
    status = placed_words(record.status)
    used = sum(use.layer is not None for use in record.cores)
    return page_of("placement.html.jinja").render(
        title=f"{join_names(record.networks)} on {record.chip}",
        status=status[:1].upper() + status[1:],
        used=f"{used} of {counted(len(record.cores), 'core')} used",
        policy=policy(style, script),
        floorplan=floorplan_svg(record),
        head=CORE_HEAD,
        rows=core_rows(record),
        notes=[*record.notes, *(f"read: {reading}" for reading in record.readings)],
        chip=record.chip,
        facts=[fact.statement for fact in record.assumed_facts],
        style=style,
        script=script,
    )


def svg_text(record: PlacementRecord) -> str:
    """The picture, placement.svg, with its style in it: light, and dark where the reader's screen is."""
    return floorplan_svg(record, _own_style()) + "\n"


def _own_style() -> str:
    """The picture's style with every colour written out: not every program that shows SVG knows names."""
    light, dark = (
        dict(re.findall(r"(--[\w-]+): (#\w+)", part)) for part in template("palette.css").split("@media")
    )
    rules = re.sub(r"/\*.*?\*/\n?", "", template("floorplan.css"))
    at_night = f"@media screen and (prefers-color-scheme: dark) {{\n{_coloured(rules, dark)}}}\n"
    return _coloured(rules, light) + at_night


def _coloured(rules: str, colours: Mapping[str, str]) -> str:
    return re.sub(r"var\((--[\w-]+)\)", lambda found: colours[found[1]], rules)
