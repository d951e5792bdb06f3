"""Synthesized chips and widest networks: tables, CSV, curves as a plot, and JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape

from mapper.report.csv import csv_text
from mapper.report.plots import new_figure, write_figure
from mapper.report.terminal import line, table
from mapper.result import Status
from mapper.rules import by_code
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
    columns = ("cores", "kernel words", "neuron words", "bias words", "fan-out")
    cores = table(*columns, right=columns[1:])
    for entry in chip.core_classes:
        core = entry.core
        words = (core.kernel_words, core.neuron_words, core.bias_words, core.fan_out)
        cores.add_row(join_numbers(entry.core_ids), *map(str, words))
    console.print(cores)
    if not found.is_unique:
        line(console, "Other chips may be as good; another run may show one of them.")
    line(console, f"carries {join_names(answer.carried)}: placed and checked on it")
    if curves is not None:
        _print_curve(console, "cores at most", curves.by_cores)
        _print_curve(console, "networks", curves.by_networks)
        if not curves.is_complete:
            line(console, "Interrupted: the curves end early.")


def _print_curve(console: Console, title: str, points: Sequence[tuple[int, Answer | None]]) -> None:
    if len(points) < 2:
        return
    columns = (title, "bits of memory", "used cores", "gap", "carried")
    curve = table(*columns, right=columns[:-1])
    for count, answer in points:
        if answer is None:
            curve.add_row(str(count), "-", "-", "-", "no chip found")
            continue
        gap = "proven" if answer.found.status is Status.OPTIMAL else f"{answer.gap:.2%}"
        names = escape(join_names(answer.carried))
        curve.add_row(str(count), str(answer.found.capacity_bits), str(answer.chip.core_count), gap, names)
    console.print(curve)


def _rows(points: Sequence[tuple[int, Answer | None]]) -> Iterator[dict[str, Any]]:
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
    rows = [{**row, "networks": " ".join(row["networks"] or ())} for row in _rows(points)]
    return csv_text((limit, *_COLUMNS[1:]), ([row[name] for name in _COLUMNS] for row in rows))


def plot_curves(curves: Curves, path: Path) -> None:
    """Memory over the number of cores, and over the number of networks; bounds where there is a gap.

    Raises
    ------
    BackendMissingError
        matplotlib is not installed.
    OptionsError
        The file ends in neither .png nor .svg, or cannot be written.
    """
    figure = new_figure(path, 9, 4)
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
    write_figure(figure, path)


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
    for text in widest_lines(widest):
        line(console, text)


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
            f"binding: {where}{by_code(binding.code).value.title} ({binding.code}), "
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
