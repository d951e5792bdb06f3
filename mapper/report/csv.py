"""A feasibility report as two tables for spreadsheets and scripts."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence

from hwspec.inert import inert
from mapper.explore.record import Cell, NetworkLayer, ReportRecord

__all__ = ["LAYER_COLUMNS", "SUMMARY_COLUMNS", "csv_text", "layers_csv", "summary_csv"]

# Full-width signs count as well in some spreadsheets. Tabs and line ends are spelled out by then.
_COMPUTED = tuple("=+-@＝＋－＠")
_FIRST = ("network", "variant", "verdict")
_GAP = ("demand", "bound", "gap", "unit")
_MEMORIES = ("kernel_words", "neuron_words", "bias_words")
_TRAFFIC = ("spikes_per_second", "synops_per_second")
SUMMARY_COLUMNS = (
    *(*_FIRST, "basis", "layers", "cores", "cores_used"),
    *("tightest", "tightest_core", "tightest_layer", "used", "offered", "free_share"),
    *("nature", "rule", *_GAP, "sentence", "conflict", "repair", "repair_overrides"),
)
LAYER_COLUMNS = (
    *(*_FIRST, "layer", "index", "input_shape", "output_shape", "kernel"),
    *(*_MEMORIES, "destinations", "cores", *(f"{name}_taken" for name in _MEMORIES), *_TRAFFIC),
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
    return csv_text(LAYER_COLUMNS, _layer_rows(record))


def csv_text(columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> str:
    """A table as CSV, its head first; nothing for None.

    A text that a spreadsheet would compute has an apostrophe in front.
    """
    stream = io.StringIO()
    writer = csv.DictWriter(stream, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _cell(value) for name, value in row.items()} for row in rows)
    return stream.getvalue()


def _cell(value: object) -> object:
    if not isinstance(value, str):
        return value
    text = inert(value)
    return f"'{text}" if text.startswith(_COMPUTED) else text


def _first_columns(record: ReportRecord, cell: Cell) -> dict[str, object]:
    names = record.networks[cell.network].name, record.variants[cell.variant].name
    return dict(zip(_FIRST, (*names, cell.verdict), strict=True))


def _summary_row(record: ReportRecord, cell: Cell) -> dict[str, object]:
    network, variant = record.networks[cell.network], record.variants[cell.variant]
    row = _first_columns(record, cell) | {
        **{"basis": network.basis, "layers": network.layers, "cores": len(variant.cores)},
        **{name: getattr(cell, name) for name in ("cores_used", "nature", "sentence", "conflict")},
    }
    if (margin := cell.margin) is not None:
        row |= {name: getattr(margin, name) for name in ("used", "offered", "free_share")}
        row |= {"tightest": margin.resource, "tightest_core": margin.core, "tightest_layer": margin.layer}
    for gap in cell.gaps[:1]:
        row |= {"rule": gap.code, **{name: getattr(gap, name) for name in _GAP}}
    for repair in cell.repairs[:1]:
        row |= {"repair": repair.sentence, "repair_overrides": " ".join(repair.overrides)}
    return row


def _layer_rows(record: ReportRecord) -> Iterator[dict[str, object]]:
    fixed = [[_layer_columns(layer) for layer in row.layer_rows] for row in record.networks]
    for cell in record.cells:
        words = {core: taken for core, *taken in cell.used}
        for index, columns in enumerate(fixed[cell.network]):
            row = _first_columns(record, cell) | columns | {"index": index}
            if cell.layer_cores:
                cores = cell.layer_cores[index]
                row["cores"] = " ".join(map(str, cores))
                for n, name in enumerate(_MEMORIES):
                    row[f"{name}_taken"] = sum(words[core][n] for core in cores)
            yield row


def _layer_columns(layer: NetworkLayer) -> dict[str, object]:
    """The columns that are the same on every variant."""
    sizes = {
        name: "x".join(map(str, getattr(layer, name))) for name in ("input_shape", "output_shape", "kernel")
    }
    numbers = {name: getattr(layer, name) for name in (*_MEMORIES, "destinations", *_TRAFFIC)}
    return {"layer": layer.name, **sizes, **numbers}
