"""The command that simulates a configuration and compares it with its network."""

from __future__ import annotations

import os
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from mapper.cli import options
from mapper.cli.loudness import is_quiet
from mapper.cli.options import file, group, keywords, number
from mapper.cli.output import console, print_json
from mapper.cli.recordings import DATA, ENCODE, STEPS, Clock, recorded
from mapper.errors import MapperWarning
from mapper.process import OK, UNDECIDED

if TYPE_CHECKING:
    from mapper.equivalence import EquivalenceReport

__all__ = ["verify"]

_EXIT_DIFFERENT = 4


@dataclass(frozen=True)
class DrawnOutput(options.Output):
    """How the command answers, and what it draws."""

    plot: Annotated[Path | None, options.PLOT] = None


@group("Input", 7)
@dataclass(frozen=True)
class Stimulus(Clock):
    """What the simulators are fed; fields but those of the clock are parameters of `verify_equivalence`."""

    events: Annotated[Path | None, options.EVENTS, Parameter(show_default="random spikes")] = None
    rate: Annotated[
        float, number("RATE", "probability of a random spike per pixel and step, 0..1", name="--random")
    ] = 0.05
    steps: Annotated[int | None, STEPS] = None
    seed: Annotated[int, number("SEED", "seed of the random spikes, and of poisson")] = 0
    data: Annotated[str | None, DATA] = None
    encode: Annotated[Literal["accumulate", "poisson"], ENCODE] = "accumulate"
    expect: Annotated[
        Path | None, file("spikes of the network's own framework: .npz with input and output", "not compared")
    ] = None
    dt_us: Annotated[int, options.STEP] = 1000


def verify(
    network: Annotated[str, options.NETWORK],
    /,
    *,
    chip: options.Chip = options.Chip(),
    reading: options.Reading = options.Reading(),
    places: options.Places = options.Places(),
    preferences: options.Preferences = options.Preferences(),
    moves: options.Moves = options.Moves(),
    limits: options.SolverLimits = options.SolverLimits(),
    stimulus: Stimulus = Stimulus(),
    output: DrawnOutput = DrawnOutput(),
) -> int:
    """Simulate the configuration that is emitted for a network against the network.

    Exit: 0 identical, 1 proven not to fit, 2 bad input, 3 undecided or cut short by a limit or Ctrl-C,
    4 different (a fault).
    """
    from mapper.api import verify_equivalence  # noqa: PLC0415
    from mapper.files import require_writable  # noqa: PLC0415

    require_writable(*filter(None, [output.plot]))
    words = keywords(chip, reading, places, preferences, moves, limits)
    given = [os.path.realpath(source) for source in (reading.calibrate, stimulus.data) if source]
    if len(given) == 2 and given[0] == given[1]:
        text = (
            "--data are the samples of --calibrate: thresholds that were found on them say little of others"
        )
        warnings.warn(f"{text}. Give samples that nothing was fitted to", MapperWarning, stacklevel=2)
    words |= {name: value for name, value in vars(stimulus).items() if name not in vars(Clock())}
    words["events"] = None if stimulus.events is None else recorded(stimulus.events, stimulus)
    words["drop_outside"] = stimulus.drop_outside
    report = verify_equivalence(network, **words)
    if output.plot is not None:
        from mapper.report.equivalence import plot_equivalence  # noqa: PLC0415

        plot_equivalence(report, output.plot)
    if output.as_json:
        print_json(**_record(report))
    else:
        from mapper.report.equivalence import print_equivalence  # noqa: PLC0415

        print_equivalence(console(), report, is_brief=is_quiet())
    if not report.is_equivalent:
        return _EXIT_DIFFERENT
    return OK if report.is_complete else UNDECIDED


def _record(report: EquivalenceReport) -> dict[str, Any]:
    """The report for --json: accuracies by row, as fractions."""
    record = asdict(report) | {"is_equivalent": report.is_equivalent}
    del record["output"], record["events"]["outputs"], record["accuracies"]
    rows: dict[str, Any] = {}
    for row in report.accuracies:
        low, high = row.interval
        rows[row.kind] = {
            "value": row.share, "low": low, "high": high, "correct": row.correct, "samples": row.samples,
            "difference": None, "lost_in": None if row.lost_in is None else asdict(row.lost_in),
        }  # fmt: skip
        if row.difference is not None:
            low, high = row.difference.interval
            numbers = {"value": row.difference.value, "low": low, "high": high}
            rows[row.kind]["difference"] = numbers | asdict(row.difference)
    return record | {"accuracy": rows, "silent": report.silence.layers}
