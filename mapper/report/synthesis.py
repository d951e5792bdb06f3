"""Synthesized chips and widest networks: tables, CSV, curves as a plot, and JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from rich.console import Console

from mapper.explore.smallest import Answer, Curves, NoChip, Point
from mapper.reasons import Status
from mapper.report.csv import csv_text
from mapper.report.plots import new_figure, write_figure
from mapper.report.terminal import heading, line, print_cores, print_table
from mapper.rules import by_code
from mapper.wording import counted, join_names, titled

if TYPE_CHECKING:
    from mapper.explore.widest import Widest

__all__ = [
    "curve_csv",
    "plot_curves",
    "print_synthesis",
    "synthesis_record",
    "widest_lines",
    "widest_record",
]

Points: TypeAlias = Sequence[tuple[int, Point]]

_COLUMNS = ("cores", "capacity_bits", "bits_bound", "gap", "proven", "stopped_by", "fan_out", "networks")


def print_synthesis(console: Console, answer: Answer, curves: Curves | None) -> None:
    """The chip, its proof, and the curves."""
    smallest, chip = answer.smallest, answer.chip
    is_least = smallest.status is Status.OPTIMAL
    proof = (
        "proven least of the sizes and moves on offer"
        if is_least
        else f"gap {answer.gap:.2%}, {smallest.stopped_by}"
    )
    size = f"{counted(chip.core_count, 'core')}, {smallest.capacity_bits} bits of memory"
    heading(console, chip.name, f"{size}, {proof}.")
    print_cores(console, chip)
    if not smallest.is_unique:
        line(console, "Other chips may be as good; another run may show one of them.")
    line(console, f"carries {join_names(answer.carried)}: placed and checked on it")
    if curves is not None:
        _print_curve(console, "cores at most", curves.by_cores)
        _print_curve(console, "networks", curves.by_networks)
        if not curves.is_complete:
            line(console, "Cut short by a limit or Ctrl-C: points of the curves are missing or not proven.")


def _print_curve(console: Console, title: str, points: Points) -> None:
    columns = (title, "bits of memory", "used cores", "gap", "carried")
    if len(points) > 1:
        rows = ((count, *_curve_cells(point)) for count, point in points)
        print_table(console, columns, rows, right=columns[:-1])


def _curve_cells(point: Point) -> tuple[object, ...]:
    if isinstance(point, NoChip):
        if point.stopped_by is None:
            return "-", "-", "proven", "no chip"
        return "-", "-", "-", f"undecided: {point.stopped_by} came first"
    gap = "proven" if point.smallest.status is Status.OPTIMAL else f"{point.gap:.2%}"
    return point.smallest.capacity_bits, point.chip.core_count, gap, join_names(point.carried)


def _facts(point: Point) -> dict[str, Any]:
    """What JSON and CSV say of a chip, or of there being none, by `_COLUMNS`."""
    if isinstance(point, NoChip):
        known = {"proven": point.stopped_by is None, "stopped_by": point.stopped_by}
        return {**dict.fromkeys(_COLUMNS), **known}
    smallest = point.smallest
    facts = (
        *(point.chip.core_count, smallest.capacity_bits, smallest.bits_bound, round(point.gap, 6)),
        *(smallest.status is Status.OPTIMAL, smallest.stopped_by, point.fan_out, list(point.carried)),
    )
    return dict(zip(_COLUMNS, facts, strict=True))


def _rows(points: Points) -> list[dict[str, Any]]:
    return [{"limit": count, **_facts(point)} for count, point in points]


def curve_csv(points: Points, limit: str) -> str:
    """One row a point; without a chip, "proven" says whether it is known that there is none.

    Parameters
    ----------
    limit
        Name of the first column: "cores_max" or "networks_carried".
    """
    rows = (
        {limit: count, **facts, "networks": " ".join(facts["networks"] or ())}
        for count, point in points
        for facts in (_facts(point),)
    )
    return csv_text((limit, *_COLUMNS), rows)


def plot_curves(curves: Curves, path: Path) -> None:
    """Memory over the number of cores, and over the number of networks; bounds where there is a gap.

    Raises
    ------
    BackendMissingError, OptionsError
        As `new_figure` and `write_figure`.
    """
    figure = new_figure(path, 9, 4)
    sides = (("most cores", curves.by_cores), ("networks carried", curves.by_networks))
    for axes, (title, points) in zip(figure.subplots(1, 2), sides, strict=True):
        known = [(count, point) for count, point in points if not isinstance(point, NoChip)]
        counts = [count for count, _ in known]
        axes.plot(counts, [a.smallest.capacity_bits / 1024 for _, a in known], marker="o", label="found")
        axes.plot(counts, [a.smallest.bits_bound / 1024 for _, a in known], linestyle=":", label="bound")
        axes.set(xlabel=title, ylabel="memory, Kibit", xticks=counts)
        axes.set_ylim(bottom=0)
        axes.legend()
    write_figure(figure, path)


def synthesis_record(answer: Answer, curves: Curves | None) -> dict[str, Any]:
    """Content of ``synthesis.json``: no times, the same bytes on every run."""
    smallest = answer.smallest
    return {
        "schema_version": 1,
        "status": smallest.status.value,
        "chip": answer.chip.name,
        "chip_hash": answer.chip.content_hash(),
        "unique": smallest.is_unique,
        **_facts(answer),
        "memories": [asdict(core) for core in smallest.cores],
        "complete": curves is None or curves.is_complete,
        "by_cores": _rows(curves.by_cores if curves else ()),
        "by_networks": _rows(curves.by_networks if curves else ()),
    }


def widest_lines(widest: Widest) -> Iterator[str]:
    """The largest network that fits, and what keeps it from being larger."""
    what = "number of classes" if widest.what == "classes" else widest.what
    yield f"{widest.network} on {widest.chip}: largest {what} that fits: {widest.size} (now {widest.now})."
    if widest.changes:
        sizes = (
            f"{'kernel of ' if each.field == 'kernel' else ''}{titled(each.name)} "
            f"{_size(each.before)} -> {_size(each.after)}"
            for each in widest.changes
        )
        yield f"sizes: {', '.join(sizes)}"
    yield "placed and checked; every larger step was tried or is excluded by proof"
    if widest.reason is None:
        yield f"no larger size is legal on the chip: {widest.end}"
    else:
        yield f"next step {widest.next_size}: {widest.reason}"
    if (gap := widest.binding) is not None:
        yield (
            f"binding: {', '.join(map(titled, gap.layers))}: {by_code(gap.code).value.title} ({gap.code}), "
            f"asked {gap.demand}, at hand {gap.bound} ({gap.unit})"
        )


def _size(value: object) -> str:
    return "x".join(map(str, value)) if isinstance(value, tuple) else str(value)


def widest_record(widest: Widest) -> dict[str, Any]:
    """What `--json` prints of a widest network."""
    return {
        "schema_version": 2,
        "network": widest.network,
        "chip": widest.chip,
        "what": widest.what,
        "largest": widest.size,
        "now": widest.now,
        "next": widest.next_size,
        "sizes": [change.model_dump(mode="json") for change in widest.changes],
        "monotone": widest.is_monotone,
        "tried": widest.tried,
        "reason": widest.reason,
        "binding": widest.binding and widest.binding.model_dump(mode="json"),
        "end": widest.end,
    }
