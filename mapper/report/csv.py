"""A feasibility report as two tables for spreadsheets and scripts."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from mapper.explore.record import Cell, NetworkLayer, NetworkRow, ReportRecord, VariantRow

__all__ = ["LAYER_COLUMNS", "SUMMARY_COLUMNS", "csv_text", "layers_csv", "summary_csv"]


@dataclass(frozen=True, slots=True)
class _Row:
    """What a row speaks of; `index` and `layer` stand in the table of layers alone."""

    network: NetworkRow
    variant: VariantRow
    cell: Cell
    index: int = 0
    layer: NetworkLayer | None = None

    @property
    def cores(self) -> tuple[int, ...]:
        return self.cell.layer_cores[self.index] if self.cell.layer_cores else ()

    def taken(self, memory: int) -> int | None:
        """Words of a memory that the layer takes on all its cores."""
        if not self.cores:
            return None
        return sum(words[memory + 1] for words in self.cell.used if words[0] in self.cores)


_Column = Callable[[_Row], object]
_FIRST: Mapping[str, _Column] = {
    "network": lambda row: row.network.name,
    "variant": lambda row: row.variant.name,
    "verdict": lambda row: row.cell.verdict,
}
_SUMMARY: Mapping[str, _Column] = {
    **_FIRST,
    "basis": lambda row: row.network.basis,
    "layers": lambda row: row.network.layers,
    "cores": lambda row: len(row.variant.cores),
    "cores_used": lambda row: row.cell.cores_used,
    "tightest": lambda row: row.cell.margin and row.cell.margin.resource,
    "tightest_core": lambda row: row.cell.margin and row.cell.margin.core,
    "tightest_layer": lambda row: row.cell.margin and row.cell.margin.layer,
    "used": lambda row: row.cell.margin and row.cell.margin.used,
    "offered": lambda row: row.cell.margin and row.cell.margin.offered,
    "free_share": lambda row: row.cell.margin and row.cell.margin.free_share,
    "nature": lambda row: row.cell.nature,
    "rule": lambda row: next((gap.code for gap in row.cell.gaps), None),
    "demand": lambda row: next((gap.demand for gap in row.cell.gaps), None),
    "bound": lambda row: next((gap.bound for gap in row.cell.gaps), None),
    "gap": lambda row: next((gap.gap for gap in row.cell.gaps), None),
    "unit": lambda row: next((gap.unit for gap in row.cell.gaps), None),
    "sentence": lambda row: row.cell.sentence,
    "conflict": lambda row: row.cell.conflict,
    "repair": lambda row: next((repair.sentence for repair in row.cell.repairs), None),
    "repair_overrides": lambda row: next((" ".join(repair.overrides) for repair in row.cell.repairs), None),
}
_LAYERS: Mapping[str, _Column] = {
    **_FIRST,
    "layer": lambda row: row.layer and row.layer.name,
    "index": lambda row: row.index,
    "input_shape": lambda row: row.layer and _joined(row.layer.input_shape),
    "output_shape": lambda row: row.layer and _joined(row.layer.output_shape),
    "kernel": lambda row: row.layer and _joined(row.layer.kernel),
    "kernel_words": lambda row: row.layer and row.layer.kernel_words,
    "neuron_words": lambda row: row.layer and row.layer.neuron_words,
    "bias_words": lambda row: row.layer and row.layer.bias_words,
    "destinations": lambda row: row.layer and row.layer.destinations,
    "cores": lambda row: _joined(row.cores, " "),
    "kernel_words_taken": lambda row: row.taken(0),
    "neuron_words_taken": lambda row: row.taken(1),
    "bias_words_taken": lambda row: row.taken(2),
    "spikes_per_second": lambda row: row.layer and row.layer.spikes_per_second,
    "synops_per_second": lambda row: row.layer and row.layer.synops_per_second,
}
SUMMARY_COLUMNS, LAYER_COLUMNS = tuple(_SUMMARY), tuple(_LAYERS)


def summary_csv(record: ReportRecord) -> str:
    """One row a cell, by network, then variant; shares from 0 to 1, empty where there is nothing to say.

    `basis` says whether a verdict holds for the network's weights, or for its shapes alone.
    """
    return csv_text(SUMMARY_COLUMNS, _filled(_SUMMARY, _rows(record)))


def layers_csv(record: ReportRecord) -> str:
    """One row for every layer of every cell.

    `kernel_words` and the like are what the layer asks of a core that holds it whole; `..._taken` what it
    takes on its `cores`, all of them together. Both differ where it is cut, stands twice, or was rewritten
    for the chip's limits.
    """
    rows = (
        _Row(row.network, row.variant, row.cell, index, layer)
        for row in _rows(record)
        for index, layer in enumerate(row.network.layer_rows)
    )
    return csv_text(LAYER_COLUMNS, _filled(_LAYERS, rows))


def csv_text(columns: Sequence[str], rows: Iterable[Iterable[object]]) -> str:
    """A table as CSV, its head first; nothing for None."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return stream.getvalue()


def _rows(record: ReportRecord) -> Iterator[_Row]:
    for cell in record.cells:
        yield _Row(record.networks[cell.network], record.variants[cell.variant], cell)


def _filled(columns: Mapping[str, _Column], rows: Iterable[_Row]) -> Iterator[list[object]]:
    return ([value_of(row) for value_of in columns.values()] for row in rows)


def _joined(sizes: Iterable[int], sign: str = "x") -> str:
    return sign.join(map(str, sizes))
