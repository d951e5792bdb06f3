"""What tuning changed, and what it is worth."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.console import Console

from mapper.asking import DATA
from mapper.operations import Neuron
from mapper.report.accuracy import print_accuracies
from mapper.report.terminal import line, print_table
from mapper.tuning.knobs import Knobs
from mapper.tuning.worth import Tuned, gains
from mapper.wording import counted

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from mapper.tuning import TuneResult

__all__ = ["print_gains", "print_tuning", "tuning_record"]


def print_tuning(console: Console, tuned: TuneResult) -> None:
    """The knobs, then accuracies before and after, by order of spikes."""
    found = tuned.found
    ended = f"; ended: {found.stopped_by}" if found.stopped_by else ", until no turn helped any more"
    line(
        console,
        f"{tuned.network.name}: {counted(found.trials, 'candidate')} run on "
        f"{counted(len(found.losses), 'sample')}{ended}",
    )
    layers = tuned.network.by_name
    rows = [
        (tuned.network.title(name), *_factors(entry, layers[name].neuron))
        for name, entry in tuned.knobs.items()
    ]
    if rows:
        columns = (
            "layer",
            "threshold",
            "what its spikes count for",
            "lower bound",
            "range of weights",
            "rounding",
        )
        print_table(console, columns, rows, title="factors on what was trained")
    else:
        turn = "no turn of a threshold, bound, range or rounding of weights"
        tried = f"{turn} that was tried helps" if found.stopped_by else f"{turn} helps"
        line(console, f"{tried if found.trials > 1 else 'no turn was tried'}: nothing is changed")
    if tuned.before is None or tuned.after is None:
        why = f"no {DATA}" if tuned.labels is None else "interrupted"
        line(console, f"{why}: what it is worth was not measured")
        return
    if tuned.labels is not None:
        print_gains(console, tuned.before, tuned.after, tuned.labels)


def print_gains(console: Console, before: Tuned, after: Tuned, labels: NDArray[np.int64]) -> None:
    """Accuracies of a network before and after it was changed, then by order of spikes."""
    for when, entry in (("before", before), ("after", after)):
        line(console, f"{when}:")
        print_accuracies(console, entry.report.accuracies, entry.report.judgement)
    cells, differences = [], gains(before, after, labels)
    for order, difference in differences.items():
        low, high = difference.interval
        shares = [100 * float((entry.answers[order] == labels).mean()) for entry in (before, after)]
        gain = f"{100 * difference.value:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"
        cells.append((order, f"{shares[0]:.1f}", f"{shares[1]:.1f}", gain))
    title = "right spike by spike, %, by the order in which the chip may handle spikes"
    print_table(console, ("order", "before", "after", "gain (95 %)"), cells, title=title)
    for what, unit in (("spikes", "spikes"), ("synops", "synaptic operations")):
        was, now = (
            sum(getattr(e, what) for e in entry.report.judgement.effort) if entry.report.judgement else 0
            for entry in (before, after)
        )
        line(console, f"an inference by spikes: {was:.0f} -> {now:.0f} {unit}")
    was, now = (sum(e.saturated for e in entry.report.events.layers) for entry in (before, after))
    if was or now:
        line(console, f"potentials that left 16 bits spike by spike: {was} -> {now}")
    for order, difference in differences.items():
        if difference.is_loss:
            line(console, f"WARNING: in {order} order the tuned network is worse, beyond chance", "bold")


def tuning_record(tuned: TuneResult) -> dict[str, Any]:
    """The search and what it is worth, as JSON has it."""
    record: dict[str, Any] = {
        "schema_version": 1,
        "network": tuned.network.name,
        "knobs": {
            # JSON has no infinity: without a bound there is none.
            name: asdict(entry) | ({"bound": None} if entry.bound == float("inf") else {})
            for name, entry in tuned.knobs.items()
        },
        "turns": [
            asdict(step) | ({"factor": None} if step.factor == float("inf") else {})
            for step in tuned.found.steps
        ],
        "candidates": tuned.found.trials,
        "stopped_by": tuned.found.stopped_by or None,
        "accuracy": {},
    }
    for when, entry in (("before", tuned.before), ("after", tuned.after)):
        if entry is not None:
            rows: dict[str, Any] = {row.kind: row.share for row in entry.report.accuracies}
            shares = {order: float((found == tuned.labels).mean()) for order, found in entry.answers.items()}
            record["accuracy"][when] = rows | {"orders": shares}
    return record


def _factors(knobs: Knobs, neuron: Neuron) -> tuple[str, ...]:
    bound = "none" if neuron.minimum is None else f"{knobs.threshold * knobs.bound:.3g}"
    return (
        f"{knobs.threshold:.3g}",
        f"{knobs.gain:.3g}",
        bound,
        f"{knobs.clip:.3g}",
        "in sum" if knobs.in_sum else "nearest",
    )
