"""What commands print and write."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hwspec.inert import inert, inert_json
from mapper.cli.verdict import Outcome, Refuted
from mapper.process import OK, UNDECIDED

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

    from mapper.record import PlacementRecord
    from mapper.result import Result

__all__ = [
    "console",
    "finish",
    "kept_placement",
    "placement_text",
    "print_json",
    "print_record",
    "progress_bar",
    "say",
]


def console() -> Console:
    """Standard output for tables."""
    from rich.console import Console  # noqa: PLC0415

    return Console(soft_wrap=False)


def say(text: str) -> None:
    """Print a line; what names bring along can neither begin another nor steer the terminal."""
    print(inert(text))


def print_json(**record: Any) -> None:
    """Print a record of the first version of its schema."""
    print_record(json.dumps({"schema_version": 1, **record}, indent=2))


def print_record(text: str) -> None:
    """Print JSON, which says the same and holds nothing that a terminal obeys."""
    print(inert_json(text))


@contextmanager
def progress_bar(label: str, total: int | None, *, is_shown: bool = True) -> Iterator[Callable[[int], None]]:
    """A bar with rate and time left on standard error, told how much is done."""
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import MofNCompleteColumn, Progress, ProgressColumn, Task, TimeRemainingColumn  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    class Rate(ProgressColumn):
        """Steps per second."""

        def render(self, task: Task) -> Text:
            return Text("" if not task.speed else f"{task.speed:.1f}/s")

    columns = (*Progress.get_default_columns()[:-1], MofNCompleteColumn(), Rate(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not is_shown) as bar:
        yield _Progress(bar, bar.add_task(label, total=total))


class _Progress:
    """What a bar is told: how much is done, and how much there is where that shows later."""

    def __init__(self, bar: Progress, task: TaskID) -> None:
        self._bar, self._task = bar, task

    def __call__(self, done: int) -> None:
        self._bar.update(self._task, completed=done)

    def expect(self, total: int) -> None:
        self._bar.update(self._task, total=total)


def placement_text(result: Result) -> str:
    """Content of placement.json."""
    from mapper.record import placement_record  # noqa: PLC0415

    return placement_record(result).model_dump_json(indent=2) + "\n"


def kept_placement(keep: Path | None) -> PlacementRecord | None:
    """The placement that is to be kept, read before anything is written, maybe over it."""
    from mapper.record import read_placement  # noqa: PLC0415

    return None if keep is None else read_placement(keep)


def finish(result: Result, as_json: bool, kept: PlacementRecord | None = None, **more: object) -> Outcome:
    """Print a result, and what left its place in the placement to be kept; the outcome it is.

    Parameters
    ----------
    more
        Further entries of what `--json` prints.
    """
    from mapper.passes.rounding import rounding_losses  # noqa: PLC0415
    from mapper.record import moved_layers, placement_record  # noqa: PLC0415

    is_kept = kept is not None and result.solution is not None
    moved = moved_layers(kept, result) if kept is not None and is_kept else ()
    if as_json:
        record: dict[str, Any] = {
            "status": result.status.value,
            "placement": placement_record(result).model_dump(mode="json") if result.solution else None,
            "report": result.report.model_dump(mode="json") if result.report else None,
            "readings": [asdict(reading) for reading in result.readings],
            "rounding": [asdict(loss) for loss in rounding_losses(result.given)],
            "stats": asdict(result.statistics),
        }
        if is_kept:
            record["moved"] = [{"layer": name, "before": old, "now": new} for name, old, new in moved]
        print_json(**record, **more)
    else:
        from mapper.report.text import print_result  # noqa: PLC0415

        print_result(console(), result)
        for layer, *cores in moved:
            before, now = (", ".join(map(str, entry)) or "nowhere" for entry in cores)
            say(f"moved: {layer} from {before} to {now}")
        if is_kept and not moved:
            say("moved: nothing")
    if result.status.value == "infeasible" and result.report is not None:
        return Refuted(result.report)
    return {"optimal": OK, "feasible": OK, "undecided": UNDECIDED}[result.status.value]
