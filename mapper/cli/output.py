"""What commands print and write."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hwspec.inert import inert, inert_json
from mapper.activity import doing
from mapper.cli.loudness import is_quiet, is_verbose
from mapper.cli.verdict import Outcome, Refuted
from mapper.process import OK, UNDECIDED
from mapper.wording import counted

if TYPE_CHECKING:
    from rich.console import Console

    from mapper.record import PlacementRecord
    from mapper.result import Result

__all__ = [
    "console",
    "finish",
    "kept_placement",
    "note",
    "placement_text",
    "print_json",
    "print_record",
    "say",
    "tell",
]


def console() -> Console:
    """Standard output for tables."""
    from rich.console import Console  # noqa: PLC0415

    doing("")
    return Console(soft_wrap=False)


def note(text: str) -> None:
    """Print a line that is no part of the answer; nothing where only that is wanted."""
    if not is_quiet():
        say(text)


def tell(text: str) -> None:
    """Print a line on standard error for those who want to know more."""
    if is_verbose():
        doing("")
        print(inert(text), file=sys.stderr)


def say(text: str) -> None:
    """Print a line; what names bring along can neither begin another nor steer the terminal."""
    doing("")
    print(inert(text))


def print_json(**record: Any) -> None:
    """Print a record of the first version of its schema."""
    print_record(json.dumps({"schema_version": 1, **record}, indent=2))


def print_record(text: str) -> None:
    """Print JSON, which says the same and holds nothing that a terminal obeys."""
    doing("")
    print(inert_json(text))


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

    doing("")
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

        print_result(console(), result, is_brief=is_quiet())
        for layer, *cores in moved:
            before, now = (", ".join(map(str, entry)) or "nowhere" for entry in cores)
            say(f"moved: {layer} from {before} to {now}")
        if is_kept and not moved:
            say("moved: nothing")
    _tell_more(result)
    if result.status.value == "infeasible" and result.report is not None:
        return Refuted(result.report)
    return {"optimal": OK, "feasible": OK, "undecided": UNDECIDED}[result.status.value]


def _tell_more(result: Result) -> None:
    """How the answer came about, and which facts of the chip nobody states, each with its reason."""
    spent = result.statistics
    tell(
        f"solver: {counted(spent.solves, 'solve')}, {spent.wall_s:.2f} s, {spent.deterministic_time:.3g} "
        f"units of work; last model: {counted(spent.variables, 'variable')}, "
        f"{counted(spent.constraints, 'constraint')}"
    )
    tell(f"moves: {', '.join(result.moves) or 'none: one whole layer per core'}")
    for network in result.networks:
        given = counted(len(network.index), "layer")
        origin = f"; found equal to {network.compared_with}" if network.compared_with else ""
        tell(f"network {network.name}: {given} as given, {len(network.layers)} as placed{origin}")
    tell(f"chip {result.chip.name}: specification {result.chip.content_hash()[:12]}")
    for fact in result.chip.assumed_facts():
        tell(f"assumed: {fact.statement}")
