"""The commands that place networks: solve and check."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from mapper.cli import options
from mapper.cli.loudness import is_quiet
from mapper.cli.options import keywords
from mapper.cli.output import console, finish, kept_placement, note
from mapper.cli.placement import PLACEMENT_FILES, open_placement, write_placement
from mapper.cli.verdict import Outcome
from mapper.wording import counted

if TYPE_CHECKING:
    from mapper.result import Result

__all__ = ["check", "solve", "solved"]


def solve(
    *networks: Annotated[str, options.NETWORKS],
    chip: options.Chip = options.Chip(),
    reading: options.Reading = options.Reading(),
    requests: options.Requests = options.Requests(),
    preferences: options.Preferences = options.Preferences(),
    moves: options.Moves = options.Moves(),
    limits: options.Limits = options.Limits(),
    output: options.ShownOutput = options.ShownOutput(),
) -> Outcome:
    """Place networks on a chip; writes placement.json, placement.svg and placement.html.

    Exit: 0 placed (proven optimal, or not), 1 proven not to fit, 2 bad input, 3 undecided.
    """
    from mapper.files import require_writable  # noqa: PLC0415

    if output.out is not None:
        require_writable(*(output.out / name for name in PLACEMENT_FILES))
    kept = kept_placement(preferences.keep)
    result = solved(networks, chip, reading, requests, preferences, moves, limits)
    files = write_placement(result, output.out)
    outcome = finish(result, output.as_json, kept, written=files)
    if files and not output.as_json:
        note(f"written: {', '.join(files)}")
    if output.is_opened:
        open_placement(result, output.out)
    return outcome


def check(
    *networks: Annotated[str, options.NETWORKS],
    chip: options.Chip = options.Chip(),
    reading: options.Reading = options.Reading(),
    requests: options.Requests = options.Requests(),
    moves: options.Moves = options.Moves(),
    limits: options.Limits = options.Limits(),
    output: options.Output = options.Output(),
) -> Outcome:
    """Say whether networks fit a chip together, and why not; writes no file.

    Exit: 0 they fit, 1 proven not to, 2 bad input, 3 undecided.
    """
    from mapper.passes.rounding import rounding_losses  # noqa: PLC0415
    from mapper.report.terminal import line  # noqa: PLC0415
    from mapper.report.text import print_readings, print_rounding  # noqa: PLC0415

    result = solved(networks, chip, reading, requests, moves, limits)
    if output.as_json or result.solution is None:
        return finish(result, output.as_json)
    count = len(result.solution.placements)
    several = " and ".join(network.name for network in result.networks)
    fit = f"{several} fit{'' if len(result.networks) > 1 else 's'} {result.chip.name}"
    line(console(), f"{fit}: {count} of {counted(result.chip.core_count, 'core')}, checked.")
    if not is_quiet():
        print_readings(console(), result.readings)
        print_rounding(console(), rounding_losses(result.given))
    return 0


def solved(
    networks: tuple[str, ...], chip: options.Chip, reading: options.Reading, *groups: options.SolveGroup
) -> Result:
    """Read what the options say and solve."""
    from mapper.api import solve as solve_networks  # noqa: PLC0415

    return solve_networks(list(networks), **keywords(chip, reading, *groups))
