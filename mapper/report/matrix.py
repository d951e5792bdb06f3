"""A feasibility report in the terminal: the matrix, what each variant and each network is short of."""

from __future__ import annotations

from collections import Counter

from rich.console import Console
from rich.text import Text

from mapper.asking import RESUME
from mapper.explore.difference import CellChange, ReportDifference
from mapper.explore.record import Cell, ReportRecord, VariantSummary
from mapper.explore.summary import resource_words
from mapper.report.terminal import heading, line, print_table
from mapper.report.words import changed_chip
from mapper.wording import counted, join_numbers

__all__ = ["cell_text", "failures", "print_difference", "print_matrix"]

# Style, and what one cell and several are called.
_VERDICTS = {
    "plain": ("green", "plain", "plain"),
    "divided": ("cyan", *2 * ("with pieces, copies, relays or rewrites",)),
    "infeasible": ("red", "does not fit, proven", "do not fit, proven"),
    "unsupported": ("yellow", "unsupported", "unsupported"),
    "undecided": ("magenta", "undecided", "undecided"),
    "error": ("bold red", "failed", "failed"),
}
# Longer names are folded; a cell holds "no: structural".
_NAME_WIDTH, _CELL_WIDTH = 28, 15
# More columns than these are read in a spreadsheet or a browser.
_BLOCKS_MAX = 4
_REASONS_MAX = 20


def cell_text(cell: Cell | None) -> str:
    """A cell in a few characters: verdict, and cores and margin where it is placed."""
    if cell is None:
        return "-"
    if cell.free_share is not None:
        share = f"{100 * cell.free_share:.0f}% free"
        return share if cell.verdict == "plain" else f"{counted(cell.cores_used or 0, 'core')} {share}"
    return {"infeasible": f"no: {cell.nature}"}.get(cell.verdict, cell.verdict)


def print_matrix(console: Console, record: ReportRecord, *, is_brief: bool = False) -> None:
    """Print everything that fits a terminal, brief without notes; the rest is in the files."""
    _print_head(console, record)
    printed = _print_cells(console, record)
    if (rest := len(record.variants) - printed) > 0:
        line(console, f"{counted(rest, 'further variant')}: see the files of the report")
    _print_variants(console, record, printed)
    _print_networks(console, record)
    if is_brief:
        return
    for note in record.notes:
        line(console, f"note: {note}")
    for row in record.networks:
        for reading in row.readings:
            line(console, f"read: {row.name}, {reading}")


def _print_head(console: Console, record: ReportRecord) -> None:
    networks, variants = len(record.networks), len(record.variants)
    verdicts = Counter[str](cell.verdict for cell in record.cells)
    counts = [counted(verdicts[name], *words) for name, (_, *words) in _VERDICTS.items() if verdicts[name]]
    sides = f"{counted(networks, 'network')} on {counted(variants, 'chip')}"
    heading(console, sides, ", ".join(counts) or "nothing decided")
    if unweighted := [row.name for row in record.networks if row.basis == "shapes"]:
        line(console, f"by shapes, without weights: {_some(unweighted)}")
    if not record.complete:
        decided = len(record.cells) - verdicts["error"]
        line(
            console,
            f"Partial: {decided} of {counted(networks * variants, 'cell')}; {RESUME} goes on.",
            "bold",
        )


def _print_cells(console: Console, record: ReportRecord) -> int:
    """The matrix in blocks of columns that fit; how many variants were printed."""
    cells = {(cell.network, cell.variant): cell for cell in record.cells}
    longest = max((len(row.name) for row in record.networks), default=0)
    width = max(1, (console.width - min(longest + 2, _NAME_WIDTH)) // _CELL_WIDTH)
    printed = min(len(record.variants), _BLOCKS_MAX * width)
    for start in range(0, printed, width):
        block = range(start, min(start + width, printed))
        rows = (
            (row.name, *(_styled(cells.get((number, variant))) for variant in block))
            for number, row in enumerate(record.networks)
        )
        print_table(console, ("network", *(record.variants[n].name for n in block)), rows, right=())
    return printed


def _styled(cell: Cell | None) -> Text:
    return Text(cell_text(cell), "" if cell is None else _VERDICTS[cell.verdict][0])


def _print_variants(console: Console, record: ReportRecord, printed: int) -> None:
    numbers = ("fit", "of these divided", "not")
    columns = ("chip", *numbers, "bottleneck", "never used", "memory used")
    rows = (
        (
            record.variants[summary.variant].name,
            *(summary.plain + summary.divided, summary.divided, summary.infeasible),
            _bottleneck(summary),
            f"core{'s' * (len(unused) > 1)} {join_numbers(unused)}" if unused else "",
            "" if summary.used_share is None else f"{100 * summary.used_share:.1f}%",
        )
        for summary in record.variant_summaries[:printed]
        for unused in [summary.unused_cores]
    )
    print_table(console, columns, rows, right=(*numbers, "memory used"))


def _bottleneck(summary: VariantSummary) -> str:
    """The resource that was tightest or missing most often."""
    counts = [(summary.cores_short, "cores")]
    counts += [(use.bottleneck, resource_words(use.resource, use.core)) for use in summary.memories]
    times, words = max(counts, key=lambda entry: entry[0])
    return f"{words} ({times}x)" if times else ""


def _print_networks(console: Console, record: ReportRecord) -> None:
    """Why networks do not fit, once a reason, and the least change that helps."""
    reasons: dict[tuple[int, str], list[str]] = {}
    for cell in record.cells:
        # What failed is told at the end.
        if cell.sentence is not None and not cell.is_failed:
            key = (cell.network, cell.sentence)
            reasons.setdefault(key, []).append(record.variants[cell.variant].name)
    lines = [
        f"{record.networks[network].name} on {_some(variants)}: {sentence}"
        for (network, sentence), variants in reasons.items()
    ]
    for text in lines[:_REASONS_MAX]:
        line(console, text)
    if len(lines) > _REASONS_MAX:
        line(console, f"... and {len(lines) - _REASONS_MAX} more, in summary.csv")
    for summary in record.network_summaries:
        if summary.repair is not None:
            name, chip = record.networks[summary.network].name, record.variants[summary.repair.variant]
            line(console, f"{name} would fit {chip.name}: {summary.repair.repair.sentence}")
            if changes := summary.repair.repair.overrides:
                line(console, f"    {changed_chip(chip.base, (*chip.overrides, *changes))}", is_whole=True)


def failures(record: ReportRecord) -> tuple[str, ...]:
    """Which cells failed, with what error, once an error; the first ones of many."""
    reasons: dict[str, list[str]] = {}
    for cell in record.cells:
        if cell.is_failed:
            name = f"{record.networks[cell.network].name} on {record.variants[cell.variant].name}"
            reasons.setdefault(str(cell.sentence), []).append(name)
    lines = [f"{_some(names)}: {sentence}" for sentence, names in reasons.items()]
    more = [f"... and {len(lines) - _REASONS_MAX} more, in summary.csv"] if len(lines) > _REASONS_MAX else []
    return (*lines[:_REASONS_MAX], *more)


def _some(names: list[str]) -> str:
    return ", ".join(names) if len(names) < 4 else f"{names[0]} and {len(names) - 1} others"


def print_difference(console: Console, difference: ReportDifference) -> None:
    """What a change gained and lost."""
    for variant in difference.variants:
        facts = ", ".join(variant.facts) or "facts beside the cores"
        name = variant.before if variant.before == variant.after else f"{variant.before} -> {variant.after}"
        line(console, f"{name}: {facts}")
    for kind in ("gained", "lost", "better", "worse", "other"):
        for change in difference.changes:
            if change.kind == kind:
                line(console, _change_line(change))
    for side, names in (("first", difference.only_before), ("second", difference.only_after)):
        for name in names:
            line(console, f"only in the {side}: {name}")
    kinds = Counter(change.kind for change in difference.changes)
    counts = [f"{times} {kind}" for kind, times in kinds.items()]
    line(console, ", ".join([*counts, f"{difference.unchanged} the same"]))


def _change_line(change: CellChange) -> str:
    before = _state(change.before, change.cores_before, change.free_share_before)
    after = _state(change.after, change.cores_after, change.free_share_after)
    reason = f": {change.sentence}" if change.sentence and change.kind in ("lost", "other") else ""
    return f"{change.kind}: {change.network} on {change.variant}: {before} -> {after}{reason}"


def _state(verdict: str, cores: int | None, share: float | None) -> str:
    return verdict if share is None else f"{verdict} ({counted(cores or 0, 'core')}, {100 * share:.0f}% free)"
