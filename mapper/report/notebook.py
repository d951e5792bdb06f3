"""Results as a notebook shows them: without script, on their own ground, whatever the notebook's colours."""

from __future__ import annotations

from typing import Any

from hwspec.display import html
from mapper.explore.record import Cell, ReportRecord
from mapper.reasons import FeasibilityReport
from mapper.record import PlacementRecord, placement_record
from mapper.report.floorplan import floorplan_svg
from mapper.report.html import page_of, template
from mapper.report.placement_page import CORE_HEAD, core_rows
from mapper.report.words import assumed_paths, placed_words, reasons, refused_words
from mapper.result import Result
from mapper.wording import counted, join_names

__all__ = ["matrix_html", "page", "placement_html", "report_html", "result_html"]

# A page of HTML in a cell's output; report.html takes any number of cells.
_CELLS_MAX = 2500
_SIGNS = {
    "plain": "✓ fits",
    "divided": "÷ divided",
    "infeasible": "✕ does not fit",
    "undecided": "? undecided",
    "unsupported": "∅ unsupported",
    "error": "! error",
}


def page(title: str, **parts: Any) -> str:
    """What a cell of a notebook shows, with the parts that its template names."""
    style = "".join(template(name) for name in ("palette.css", "floorplan.css", "notebook.css"))
    assumed = assumed_paths(parts["source"].assumed_facts) if "source" in parts else ()
    return page_of("notebook.html.jinja").render(title=title, style=style, assumed=assumed, **parts)


@html.register
def result_html(result: Result) -> str:
    """A placement with its floorplan, or why there is none."""
    if result.report is not None:
        return report_html(result.report, join_names([network.name for network in result.networks]))
    return placement_html(placement_record(result))


@html.register
def placement_html(record: PlacementRecord) -> str:
    """Floorplan and use of every core that holds something."""
    return page(
        f"{join_names(record.networks)} on {record.chip}: {placed_words(record.status)}",
        floorplan=floorplan_svg(record),
        head=CORE_HEAD,
        rows=core_rows(record),
        paragraphs=[f"note: {note}" for note in record.notes],
        source=record,
    )


@html.register
def report_html(report: FeasibilityReport, network: str = "") -> str:
    """Why a network does not fit, one sentence a reason, and what would mend it."""
    return page(
        f"{network} on {report.chip}: {refused_words(report)}".removeprefix(" on "),
        sentences=report.sentences(),
        paragraphs=[*reasons(report)],
        repairs=report.repairs,
        source=report,
    )


@html.register
def matrix_html(record: ReportRecord) -> str:
    """Networks against variants as a plain table; large ones as a line that names the page to open."""
    networks, variants = record.networks, record.variants
    title = f"{counted(len(networks), 'network')} on {counted(len(variants), 'chip variant')}"
    title += "" if record.complete else ", partial"
    if len(networks) * len(variants) > _CELLS_MAX:
        return page(title, paragraphs=["Too large for a notebook: write report.html and open it."])
    cells = {(cell.network, cell.variant): _cell_text(cell) for cell in record.cells}
    rows = [
        (
            f"{row.name} (by shapes)" if row.basis == "shapes" else row.name,
            *(cells.get((n, k), "· not done") for k in range(len(variants))),
        )
        for n, row in enumerate(networks)
    ]
    return page(title, paragraphs=[], head=("network", *(row.name for row in variants)), rows=rows)


def _cell_text(cell: Cell) -> str:
    margin = "" if cell.free_share is None else f", {100 * cell.free_share:.1f} % free"
    return f"{_SIGNS[cell.verdict]}{margin}"
