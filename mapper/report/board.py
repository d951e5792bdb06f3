"""A board against the simulations, as terminal text."""

from __future__ import annotations

from rich.console import Console

from mapper.asking import MONITORS
from mapper.equivalence.order_counts import BOARD, STEPS, BoardComparison
from mapper.report.terminal import line, print_table
from mapper.wording import counted, join_names, titled

__all__ = ["print_comparison"]

_WORDS = {BOARD: "board", STEPS: "time steps"}


def print_comparison(console: Console, found: BoardComparison) -> None:
    """Spikes by layer with their distances from the board, accuracies, and the verdict."""
    kinds = list(found.distance)
    columns = ("layer", BOARD, *(_WORDS.get(kind, kind) for kind in kinds))
    rows: list[tuple[str, ...]] = []
    for entry in found.layers:
        cells = [_counts(entry.simulated[kind], entry.distance[kind]) for kind in kinds]
        rows.append((titled(entry.layer), str(entry.board), *cells))
    sizes = {kind: sum(entry.simulated[kind] for entry in found.layers) for kind in kinds}
    cells = [_counts(sizes[kind], found.distance[kind]) for kind in kinds]
    rows.append(("all of them", str(sum(entry.board for entry in found.layers)), *cells))
    played = counted(found.samples, "sample") if found.samples == found.total else None
    played = played or f"{found.samples} of {counted(found.total, 'sample')}"
    title = f"spikes at {played} of {found.data} (% that differ from the board)"
    print_table(console, columns, rows, title=title)
    if found.accuracies:
        shares = []
        for kind, row in found.accuracies.items():
            low, high = row.interval
            span = f"{100 * low:.1f} to {100 * high:.1f}"
            shares.append((_WORDS.get(kind, kind), f"{100 * row.share:.1f}", span))
        print_table(console, ("right", "%", "95 %"), shares)
    line(console, found.verdict, "bold")
    if found.unheard:
        samples = counted(found.samples, "sample")
        text = f"the board gave no spike at {found.unheard} of {samples}, every simulation did"
        line(console, f"WARNING: {text}", "bold")
    line(
        console,
        f"compared: {join_names([titled(entry.layer) for entry in found.layers])}, which are monitored",
    )
    if found.unmonitored:
        asked = " ".join(MONITORS.to(name) for name in found.unmonitored)
        line(console, f"not compared: {join_names(found.unmonitored)}; emit the configuration with {asked}")
    for note in found.notes:
        line(console, f"note: {note}")


def _counts(spikes: float, distance: float) -> str:
    return f"{spikes:.0f} ({100 * distance:.2g})"
