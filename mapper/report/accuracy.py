"""The table of accuracies as terminal text, and as pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from rich.console import Console

from mapper.equivalence.accuracy import Accuracy, Judgement
from mapper.report.plots import plain
from mapper.report.terminal import line, print_table
from mapper.wording import counted, titled

__all__ = ["draw_accuracies", "print_accuracies"]

_WORDS = {
    "source": "as trained",
    "float": "spiking, float",
    "integer": "integers",
    "steps": "chip, time steps",
    "spikes": "chip, by spikes",
}
# Points of the curve over time steps, and confusions, that are printed; JSON has all.
_POINTS, _CONFUSIONS = 8, 3


def print_accuracies(
    console: Console,
    rows: Sequence[Accuracy],
    judgement: Judgement | None,
    title_of: Callable[[str], str] = titled,
) -> None:
    """The table, how long one must listen, what is mistaken for what, and what an inference costs."""
    if judgement is None:
        return
    cells: list[tuple[str, ...]] = []
    for row in rows:
        low, high = row.interval
        difference, lost = "", ""
        if row.difference is not None:
            start, end = row.difference.interval
            difference = f"{100 * row.difference.value:+.1f} ({100 * start:+.1f} to {100 * end:+.1f})"
        if row.lost_in is not None:
            lost = f"{title_of(row.lost_in.layer)}: {row.lost_in.lost} of {row.lost_in.of}"
        span = f"{100 * low:.1f} to {100 * high:.1f}"
        cells.append((_WORDS[row.kind], f"{100 * row.share:.1f}", span, difference, lost))
    columns = ("network", "right", "95 %", "to the row above", "most lost in")
    title = f"accuracy on {judgement.data}, % of {counted(judgement.samples, 'sample')}"
    print_table(console, columns, cells, title=title)
    _print_steps(console, judgement)
    unanswered = judgement.unanswered.get("spikes", 0)
    if unanswered:
        text = (
            f"no output spike, and so no answer, for {unanswered} of {counted(judgement.samples, 'sample')}"
        )
        line(console, f"WARNING: by spikes {text}", "bold")
    mistaken = sorted(
        ((count, label, answer) for label, row in enumerate(judgement.confusion)
         for answer, count in enumerate(row[:-1]) if count and answer != label),
        key=lambda entry: (-entry[0], entry[1:]),
    )  # fmt: skip
    if mistaken:
        names = judgement.classes
        told = [f"{names[a]} taken for {names[b]} ({count})" for count, a, b in mistaken[:_CONFUSIONS]]
        line(console, f"most mistaken, by spikes: {', '.join(told)}")
    spikes, synops = (sum(getattr(e, name) for e in judgement.effort) for name in ("spikes", "synops"))
    line(console, f"an inference by spikes: {spikes:.0f} spikes, {synops:.0f} synaptic operations")


def _print_steps(console: Console, judgement: Judgement) -> None:
    curve = judgement.by_step["spikes"]
    points = sorted({max(1, round(len(curve) * n / _POINTS)) for n in range(1, _POINTS + 1)})
    shares = ", ".join(f"{100 * curve[step - 1]:.1f}" for step in points)
    line(console, f"right by spikes after {', '.join(map(str, points))} steps: {shares} %")
    if not curve[-1]:
        return
    enough = judgement.enough_steps("spikes")
    ends = f"of {judgement.steps} {'is' if enough == 1 else 'are'} enough to be within a point of the end"
    line(console, f"{counted(enough, 'step')} {ends}")


def draw_accuracies(axes: Any, rows: Sequence[Accuracy], judgement: Judgement) -> None:
    """Draw the table, accuracies after each time step, and the confusion matrix on three axes."""
    table, curves, matrix = axes
    values = [row.share for row in rows]
    low = [row.share - row.interval[0] for row in rows]
    high = [row.interval[1] - row.share for row in rows]
    table.errorbar(range(len(rows)), values, (low, high), fmt="o", capsize=4)
    table.set_xticks(range(len(rows)), [_WORDS[row.kind] for row in rows], rotation=30, ha="right")
    table.set(ylabel="right, with 95 % interval", title=plain(f"accuracy on {judgement.data}"))
    for kind, curve in judgement.by_step.items():
        curves.plot(range(1, len(curve) + 1), curve, label=_WORDS[kind])
    curves.set(xlabel="time steps", ylabel="right", ylim=(0, 1), title="how long to listen")
    curves.legend()
    matrix.imshow(judgement.confusion, cmap="Blues", aspect="auto")
    names = [*map(plain, judgement.classes), "none"]
    matrix.set_xticks(range(len(names)), names, rotation=90)
    matrix.set_yticks(range(len(names) - 1), names[:-1])
    matrix.set(xlabel="answer, by spikes", ylabel="class", title="what is taken for what")
