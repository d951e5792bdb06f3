"""A feasibility report in the terminal: the matrix, what each variant and each network is short of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from rich.console import Console
from rich.markup import escape

from mapper.explore.difference import CellChange, ReportDifference
from mapper.explore.record import Cell, ReportRecord, VariantSummary
from mapper.explore.summary import resource_words
from mapper.report.terminal import line, table
from mapper.report.words import count
from mapper.wording import join_numbers

__all__ = ["cell_text", "print_difference", "print_matrix"]

_STYLES = {
    "plain": "green",
    "divided": "cyan",
    "infeasible": "red",
    "unsupported": "yellow",
    "undecided": "magenta",
    "error": "bold red",
}
_TOLD = {
    "plain": "plain",
    "divided": "with pieces, copies or relays",
    "infeasible": "do not fit, proven",
    "unsupported": "unsupported",
    "undecided": "undecided",
    "error": "failed",
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
    if cell.margin is not None:
        share = f"{100 * cell.margin.free_share:.0f}% free"
        return share if cell.verdict == "plain" else f"{cell.cores_used} cores {share}"
    return {"infeasible": f"no: {cell.nature}"}.get(cell.verdict, cell.verdict)


def print_matrix(console: Console, record: ReportRecord) -> None:
    """Print everything that fits a terminal; the rest is in the files."""
    _print_head(console, record)
    shown = _print_cells(console, record)
    if shown < len(record.variants):
        rest = len(record.variants) - shown
        line(console, f"{rest} further variants: see the files of the report")
    _print_variants(console, record, shown)
    _print_networks(console, record)
    for note in record.notes:
        line(console, f"note: {note}")


def _print_head(console: Console, record: ReportRecord) -> None:
    networks, variants = len(record.networks), len(record.variants)
    verdicts = Counter[str](cell.verdict for cell in record.cells)
    told = [f"{verdicts[verdict]} {text}" for verdict, text in _TOLD.items() if verdicts[verdict]]
    sides = f"{count(networks, 'network')} on {count(variants, 'chip')}"
    console.print(f"[bold]{sides}[/]: {', '.join(told) or 'nothing decided'}", highlight=False)
    if unweighted := [row.name for row in record.networks if row.basis == "shapes"]:
        line(console, f"by shapes, without weights: {_some(unweighted)}")
    if not record.complete:
        line(
            console, f"Partial: {len(record.cells)} of {networks * variants} cells; --resume goes on.", "bold"
        )


def _print_cells(console: Console, record: ReportRecord) -> int:
    """The matrix in blocks of columns that fit; how many variants were shown."""
    cells = {(cell.network, cell.variant): cell for cell in record.cells}
    longest = max((len(row.name) for row in record.networks), default=0)
    width = max(1, (console.width - min(longest + 2, _NAME_WIDTH)) // _CELL_WIDTH)
    shown = min(len(record.variants), _BLOCKS_MAX * width)
    for start in range(0, shown, width):
        block = range(start, min(start + width, shown))
        matrix = table("network", *(record.variants[variant].name for variant in block))
        for number, row in enumerate(record.networks):
            matrix.add_row(escape(row.name), *(_styled(cells.get((number, variant))) for variant in block))
        console.print(matrix)
    return shown


def _styled(cell: Cell | None) -> str:
    text = escape(cell_text(cell))
    return text if cell is None else f"[{_STYLES[cell.verdict]}]{text}[/]"


def _print_variants(console: Console, record: ReportRecord, shown: int) -> None:
    numbers = ("fit", "of these divided", "not")
    variants = table(
        "chip", *numbers, "bottleneck", "never used", "memory used", right=(*numbers, "memory used")
    )
    for summary in record.variant_summaries[:shown]:
        unused = summary.unused_cores
        variants.add_row(
            escape(record.variants[summary.variant].name),
            str(summary.plain + summary.divided),
            str(summary.divided),
            str(summary.infeasible),
            _bottleneck(summary),
            f"core{'s' * (len(unused) > 1)} {join_numbers(unused)}" if unused else "",
            "" if summary.used_share is None else f"{100 * summary.used_share:.1f}%",
        )
    console.print(variants)


def _bottleneck(summary: VariantSummary) -> str:
    """The resource that was tightest or missing most often."""
    found = [(summary.cores_short, "cores")]
    found += [(use.bottleneck, resource_words(use.resource, use.core)) for use in summary.memories]
    times, words = max(found, key=lambda entry: entry[0])
    return f"{words} ({times}x)" if times else ""


def _print_networks(console: Console, record: ReportRecord) -> None:
    """Why networks do not fit, once a reason, and the least change that helps."""
    reasons: dict[tuple[int, str], list[str]] = {}
    for cell in record.cells:
        if cell.sentence is not None:
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
            name, chip = record.networks[summary.network].name, record.variants[summary.repair.variant].name
            told = summary.repair.repair.sentence
            line(console, f"{name} would fit {chip}: {told}")


def _some(names: list[str]) -> str:
    return ", ".join(names) if len(names) < 4 else f"{names[0]} and {len(names) - 1} others"


def print_difference(console: Console, found: ReportDifference) -> None:
    """What a change gained and lost."""
    for variant in found.variants:
        facts = ", ".join(variant.facts) or "facts beside the cores"
        name = variant.before if variant.before == variant.after else f"{variant.before} -> {variant.after}"
        line(console, f"{name}: {facts}")
    for kind in ("gained", "lost", "better", "worse", "other"):
        for change in found.changes:
            if change.kind == kind:
                line(console, _change_line(change))
    for side, names in (("first", found.only_before), ("second", found.only_after)):
        for name in names:
            line(console, f"only in the {side}: {name}")
    kinds = Counter(change.kind for change in found.changes)
    told = [f"{times} {kind}" for kind, times in kinds.items()]
    line(console, ", ".join([*told, f"{found.unchanged} the same"]))


def _change_line(change: CellChange) -> str:
    states = (
        (change.before, change.cores_before, change.free_share_before),
        (change.after, change.cores_after, change.free_share_after),
    )
    told = " -> ".join(" ".join(_state(*state)) for state in states)
    reason = f": {change.sentence}" if change.sentence and change.kind in ("lost", "other") else ""
    return f"{change.kind}: {change.network} on {change.variant}: {told}{reason}"


def _state(verdict: str, cores: int | None, share: float | None) -> Iterator[str]:
    yield verdict
    if cores is not None and share is not None:
        yield f"({cores} cores, {100 * share:.0f}% free)"
