"""A feasibility report as two tables for spreadsheets and scripts."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence

from mapper.explore.record import Cell, NetworkRow, ReportRecord, VariantRow

__all__ = ["LAYER_COLUMNS", "SUMMARY_COLUMNS", "csv_text", "layers_csv", "summary_csv"]

SUMMARY_COLUMNS = (
    "network",
    "variant",
    "verdict",
    "basis",
    "layers",
    "cores",
    "cores_used",
    "tightest",
    "tightest_core",
    "tightest_layer",
    "used",
    "offered",
    "free_share",
    "nature",
    "rule",
    "demand",
    "bound",
    "gap",
    "unit",
    "sentence",
    "conflict",
    "repair",
    "repair_overrides",
)
LAYER_COLUMNS = (
    "network",
    "variant",
    "verdict",
    "layer",
    "index",
    "input_shape",
    "output_shape",
    "kernel",
    "kernel_words",
    "neuron_words",
    "bias_words",
    "destinations",
    "cores",
    "kernel_words_taken",
    "neuron_words_taken",
    "bias_words_taken",
    "spikes_per_second",
    "synops_per_second",
)


def summary_csv(record: ReportRecord) -> str:
    """One row a cell, by network, then variant; shares from 0 to 1, empty where there is nothing to say.

    `basis` says whether a verdict holds for the network's weights, or for its shapes alone.
    """
    return csv_text(SUMMARY_COLUMNS, (_summary_row(record, cell) for cell in record.cells))


def layers_csv(record: ReportRecord) -> str:
    """One row for every layer of every cell.

    `kernel_words` and the like are what the layer asks of a core that holds it whole; `..._taken` what it
    takes on its `cores`, all of them together. Both differ where it is cut, stands twice, or was rewritten
    for the chip's limits.
    """
    rows = (row for cell in record.cells for row in _layer_rows(record, cell))
    return csv_text(LAYER_COLUMNS, rows)


def csv_text(columns: Sequence[str], rows: Iterable[Iterable[object]]) -> str:
    """A table as CSV, its head first; nothing for None."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return stream.getvalue()


def _sides(record: ReportRecord, cell: Cell) -> tuple[NetworkRow, VariantRow]:
    return record.networks[cell.network], record.variants[cell.variant]


def _summary_row(record: ReportRecord, cell: Cell) -> tuple[object, ...]:
    network, variant = _sides(record, cell)
    margin, gap = cell.margin, cell.gaps[0] if cell.gaps else None
    repair = cell.repairs[0] if cell.repairs else None
    tight = (
        (margin.resource, margin.core, margin.layer, margin.used, margin.offered, margin.free_share)
        if margin
        else (None,) * 6
    )
    missed = (gap.code, gap.demand, gap.bound, gap.gap, gap.unit) if gap else (None,) * 5
    mended = (repair.sentence, " ".join(repair.overrides)) if repair else (None, None)
    return (
        network.name,
        variant.name,
        cell.verdict,
        network.basis,
        network.layers,
        len(variant.cores),
        cell.cores_used,
        *tight,
        cell.nature,
        *missed,
        cell.sentence,
        cell.conflict,
        *mended,
    )


def _layer_rows(record: ReportRecord, cell: Cell) -> Iterator[tuple[object, ...]]:
    network, variant = _sides(record, cell)
    words = {core: taken for core, *taken in cell.used}
    for index, layer in enumerate(network.layer_rows):
        cores = cell.layer_cores[index] if cell.layer_cores else ()
        taken = [sum(words[core][n] for core in cores) if cores else None for n in range(3)]
        yield (
            network.name,
            variant.name,
            cell.verdict,
            layer.name,
            index,
            _joined(layer.input_shape),
            _joined(layer.output_shape),
            _joined(layer.kernel),
            layer.kernel_words,
            layer.neuron_words,
            layer.bias_words,
            layer.destinations,
            " ".join(map(str, cores)),
            *taken,
            layer.spikes_per_second,
            layer.synops_per_second,
        )


def _joined(sizes: Iterable[int]) -> str:
    return "x".join(map(str, sizes))
