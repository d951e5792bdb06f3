"""What tuning changed, and what it is worth."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console

from mapper.report.accuracy import print_accuracies
from mapper.report.terminal import line, print_table
from mapper.tuning.knobs import Knobs
from mapper.tuning.worth import Tuned, gains

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from mapper.tuning import TuneResult

__all__ = ["print_gains", "print_tuning"]


def print_tuning(console: Console, tuned: TuneResult) -> None:
    """The knobs, then accuracies before and after, by order of spikes."""
    found = tuned.found
    ended = f"; ended by {found.stopped_by}" if found.stopped_by else ", until no turn helped any more"
    line(
        console, f"{tuned.network.name}: {found.trials} candidates run on {len(found.losses)} samples{ended}"
    )
    rows = [(name, *_factors(entry)) for name, entry in tuned.knobs.items()]
    if rows:
        columns = ("layer", "threshold", "what its spikes count for", "lower bound", "range of weights")
        print_table(console, columns, rows, title="factors on what was trained")
    else:
        line(console, "no turn of a threshold, bound or range of weights helps: nothing is changed")
    if tuned.before is None or tuned.after is None:
        line(console, "no --data: what it is worth was not measured")
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
    for order, difference in differences.items():
        if difference.is_loss:
            line(console, f"WARNING: in {order} order the tuned network is worse, beyond chance", "bold")


def _factors(knobs: Knobs) -> tuple[str, ...]:
    bound = "none" if knobs.bound == float("inf") else f"{knobs.threshold * knobs.bound:.3g}"
    return (f"{knobs.threshold:.3g}", f"{knobs.gain:.3g}", bound, f"{knobs.clip:.3g}")
