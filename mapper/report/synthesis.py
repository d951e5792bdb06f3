"""Synthesized chips and widest networks: tables, CSV, curves as a plot, and JSON."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from mapper.errors import BackendMissingError, Finding, OptionsError
from mapper.files import write_bytes
from mapper.result import Status
from mapper.wording import join_names, join_numbers

if TYPE_CHECKING:
    from mapper.explore.smallest import Answer, Curves
    from mapper.explore.widest import Widest

__all__ = [
    "curve_csv",
    "plot_curves",
    "print_synthesis",
    "print_widest",
    "synthesis_record",
    "widest_lines",
    "widest_record",
]

_COLUMNS = ("limit", "cores", "capacity_bits", "bits_bound", "gap", "proven", "fan_out", "networks")


def print_synthesis(console: Console, answer: Answer, curves: Curves | None) -> None:
    """The chip, its proof, and the curves."""
    found, chip = answer.found, answer.chip
    told = "proven least" if found.status is Status.OPTIMAL else f"gap {answer.gap:.2%}, {found.stopped_by}"
    console.print(
        f"[bold]{escape(chip.name)}[/]: {chip.core_count} cores, "
        f"{found.capacity_bits} bits of memory, {told}.",
        highlight=False,
    )
    table = _table(("cores", "kernel words", "neuron words", "bias words", "fan-out"))
    for entry in chip.core_classes:
        core = entry.core
        words = (core.kernel_words, core.neuron_words, core.bias_words, core.fan_out)
        table.add_row(join_numbers(entry.core_ids), *map(str, words))
    console.print(table)
    if not found.is_unique:
        console.print("Other chips may be as good; another run may show one of them.", highlight=False)
    carried = f"carries {join_names(answer.carried)}: placed and checked on it"
    console.print(escape(carried), highlight=False)
    if curves is not None:
        _print_curve(console, "cores at most", curves.by_cores)
        _print_curve(console, "networks", curves.by_networks)
        if not curves.is_complete:
            console.print("Interrupted: the curves end early.", highlight=False)


def _table(columns: Sequence[str], title: str = "") -> Table:
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for name in columns:
        table.add_column(
            name, justify="left" if name in ("", "carried", "cores") else "right", overflow="fold"
        )
    return table


def _print_curve(console: Console, title: str, points: Sequence[tuple[int, Answer | None]]) -> None:
    if len(points) < 2:
        return
    table = _table((title, "bits of memory", "used cores", "gap", "carried"))
    for count, answer in points:
        if answer is None:
            table.add_row(str(count), "-", "-", "-", "no chip found")
            continue
        gap = "proven" if answer.found.status is Status.OPTIMAL else f"{answer.gap:.2%}"
        names = escape(join_names(answer.carried))
        table.add_row(str(count), str(answer.found.capacity_bits), str(answer.chip.core_count), gap, names)
    console.print(table)


def _rows(points: Sequence[tuple[int, Answer | None]]) -> Iterator[dict[str, object]]:
    for count, answer in points:
        if answer is None:
            yield dict.fromkeys(_COLUMNS) | {"limit": count}
            continue
        yield {
            "limit": count,
            "cores": answer.chip.core_count,
            "capacity_bits": answer.found.capacity_bits,
            "bits_bound": answer.found.bits_bound,
            "gap": round(answer.gap, 6),
            "proven": answer.found.status is Status.OPTIMAL,
            "fan_out": answer.fan_out,
            "networks": list(answer.carried),
        }


def curve_csv(points: Sequence[tuple[int, Answer | None]], limit: str) -> str:
    """One row a point.

    Parameters
    ----------
    limit
        Name of the first column: "cores_max" or "networks_carried".
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow((limit, *_COLUMNS[1:]))
    for row in _rows(points):
        names = row["networks"]
        row["networks"] = " ".join(names) if isinstance(names, list) else ""
        writer.writerow("" if row[name] is None else row[name] for name in _COLUMNS)
    return stream.getvalue()


def plot_curves(curves: Curves, path: Path) -> None:
    """Memory over the number of cores, and over the number of networks; bounds where there is a gap.

    Raises
    ------
    BackendMissingError
        matplotlib is not installed.
    OptionsError
        The file ends in neither .png nor .svg, or cannot be written.
    """
    if path.suffix not in (".png", ".svg"):
        raise OptionsError(Finding(str(path), "cannot be drawn", path.suffix or "no suffix", ".png, .svg"))
    if find_spec("matplotlib") is None:
        raise BackendMissingError("matplotlib", "a plot", 'Install it: pip install "dynapcnn-mapper[plot]"')
    import matplotlib as mpl  # noqa: PLC0415  # an optional extra
    from matplotlib.figure import Figure  # noqa: PLC0415

    figure = Figure(figsize=(9, 4), layout="constrained")
    titles = ("most cores", "networks carried")
    for axes, points, title in zip(
        figure.subplots(1, 2), (curves.by_cores, curves.by_networks), titles, strict=True
    ):
        known = [(count, answer) for count, answer in points if answer is not None]
        counts = [count for count, _ in known]
        axes.plot(counts, [a.found.capacity_bits / 1024 for _, a in known], marker="o", label="found")
        axes.plot(counts, [a.found.bits_bound / 1024 for _, a in known], linestyle=":", label="bound")
        axes.set(xlabel=title, ylabel="memory, Kibit", xticks=counts)
        axes.set_ylim(bottom=0)
        axes.legend()
    stream = io.BytesIO()
    # No date and named marks: the same curves give the same file.
    about: dict[str, Any] = {"Date": None} if path.suffix == ".svg" else {}
    with mpl.rc_context({"svg.hashsalt": "mapper"}):
        figure.savefig(stream, format=path.suffix[1:], metadata=about)
    write_bytes(path, stream.getvalue())


def synthesis_record(answer: Answer, curves: Curves | None) -> dict[str, Any]:
    """Content of ``synthesis.json``: no times, the same bytes on every run."""
    found = answer.found
    best = next(_rows([(answer.chip.core_count, answer)]))
    best.pop("limit")
    return {
        "schema_version": 1,
        "status": found.status.value,
        "chip": answer.chip.name,
        "chip_hash": answer.chip.content_hash(),
        "unique": found.is_unique,
        "stopped_by": found.stopped_by,
        **best,
        "memories": [
            {"kernel_words": c.kernel_words, "neuron_words": c.neuron_words, "bias_words": c.bias_words}
            for c in found.cores
        ],
        "complete": curves is None or curves.is_complete,
        "by_cores": list(_rows(curves.by_cores)) if curves else [],
        "by_networks": list(_rows(curves.by_networks)) if curves else [],
    }


def print_widest(console: Console, widest: Widest) -> None:
    """The largest network that fits, and what keeps it from being larger."""
    for line in widest_lines(widest):
        console.print(escape(line), highlight=False)


def widest_lines(widest: Widest) -> Iterator[str]:
    """What `print_widest` prints."""
    binding = widest.binding
    what = {"width": "width", "input": "input", "classes": "number of classes"}[widest.what]
    yield f"{widest.network} on {widest.chip}: largest {what} that fits: {widest.told} (now {widest.now})."
    changes = (f"{change.name} {_size(change.before)} -> {_size(change.after)}" for change in widest.changes)
    if told := ", ".join(changes):
        yield f"sizes: {told}"
    yield "placed and checked; every larger step was tried or is excluded by proof"
    if binding is None:
        yield f"nothing on the chip is in the way: {widest.end}"
        return
    yield f"next step {widest.next_told}: {binding.sentence}"
    if binding.demand is not None:
        where = f"{', '.join(binding.layers)}: " if binding.layers else ""
        yield (
            f"binding: {where}{binding.rule} ({binding.code}), "
            f"asked {binding.demand}, at hand {binding.bound} ({binding.unit})"
        )


def _size(value: object) -> str:
    return "x".join(map(str, value)) if isinstance(value, tuple) else str(value)


def widest_record(widest: Widest) -> dict[str, Any]:
    """What `--json` prints of a widest network."""
    binding = widest.binding
    return {
        "schema_version": 1,
        "network": widest.network,
        "chip": widest.chip,
        "what": widest.what,
        "largest": widest.told,
        "now": widest.now,
        "next": widest.next_told,
        "sizes": [change.model_dump(mode="json") for change in widest.changes],
        "monotone": widest.is_monotone,
        "tried": widest.tried,
        "binding": None if binding is None else binding.model_dump(mode="json"),
        "end": widest.end,
    }
