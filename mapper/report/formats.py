"""The files of a feasibility report: one line for each, one module that writes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from mapper.explore.record import ReportRecord
from mapper.report.csv import layers_csv, summary_csv
from mapper.report.html import html_text

__all__ = ["FORMATS"]

# In the order in which they are put in place; report.json last, since it is the one to resume from.
FORMATS: Mapping[str, Callable[[ReportRecord], str]] = {
    "report.html": html_text,
    "summary.csv": summary_csv,
    "layers.csv": layers_csv,
    "report.json": lambda record: record.model_dump_json() + "\n",
}
