"""The command that tunes a trained network for its chip."""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from mapper.activity import steps_of
from mapper.cli import options
from mapper.cli.options import group, keywords, number
from mapper.cli.output import console, note, placement_text, print_record
from mapper.cli.recordings import DATA, ENCODE, STEPS
from mapper.errors import MapperWarning, NetworkError

__all__ = ["tune"]


@dataclass(frozen=True)
class Calibrated(options.Reading):
    """How a network is read, and what it is tuned by."""

    # Of ReLUs thresholds are found by them, too.
    calibrate: Annotated[str | None, options.CALIBRATE, Parameter(required=True)] = None


@group("Tuning", 7)
@dataclass(frozen=True)
class Samples:
    """What a network is judged by, and how samples enter it."""

    data: Annotated[str | None, DATA] = None
    steps: Annotated[int | None, STEPS] = None
    encode: Annotated[Literal["accumulate", "poisson"], ENCODE] = "accumulate"
    runs: Annotated[int, number("COUNT", "samples that a candidate is run on")] = 1000
    seed: Annotated[int, number("SEED", "which samples come first, and of poisson")] = 0
    dt_us: Annotated[int, options.STEP] = 1000


@dataclass(frozen=True)
class SearchLimits(options.Effort):
    """How much the solver may do for a candidate, and when the search ends."""

    time_limit: Annotated[
        float | None, number("SECONDS", "end of the search, with the best so far", "until nothing helps")
    ] = None

    def of_a_candidate(self) -> options.Effort:
        """The time limit ends the search, and none of the placements that it asks for."""
        return options.Effort(self.work_limit, self.workers)


@group("Output", 9)
@dataclass(frozen=True, kw_only=True)
class Files(options.Output):
    """What is written."""

    out: Annotated[Path, options.OUT]


def tune(
    network: Annotated[str, options.NETWORK],
    /,
    *,
    chip: options.Chip = options.Chip(),
    reading: Calibrated = Calibrated(),
    places: options.Places = options.Places(),
    preferences: options.Preferences = options.Preferences(),
    moves: options.Moves = options.Moves(),
    limits: SearchLimits = SearchLimits(),
    samples: Samples = Samples(),
    output: Files,
) -> int:
    """Turn thresholds, bounds and ranges of weights until the chip answers better, spike by spike.

    Writes tuned.nir, config.json, placement.json and tuning.json. A limit and Ctrl-C keep the best so far.
    Exit: 0 written, 1 proven not to fit, 2 bad input, 3 undecided.
    """
    from mapper.emit.shared.file import config_text  # noqa: PLC0415
    from mapper.emit.write.build import build_config  # noqa: PLC0415
    from mapper.emit.write.options import EmitOptions  # noqa: PLC0415
    from mapper.equivalence import DataOptions  # noqa: PLC0415
    from mapper.files import require_writable, write_all  # noqa: PLC0415
    from mapper.report.tuning import print_tuning, tuning_record  # noqa: PLC0415
    from mapper.tuning.nir_file import nir_file  # noqa: PLC0415
    from mapper.tuning.run import TuneOptions, tuned_by  # noqa: PLC0415

    require_writable(output.out / "config.json")
    read = reading if reading.relu_as_if == "auto" else replace(reading, calibrate=None)
    words = keywords(chip, read, places, preferences, moves, limits.of_a_candidate())
    given = words.pop("options")
    solving = {entry.name: getattr(given, entry.name) for entry in fields(given)}
    how = DataOptions(samples.steps, samples.encode, samples.seed, samples.dt_us)
    asked = TuneOptions(samples.runs, samples.seed, time_limit_s=limits.time_limit)
    with steps_of("running candidates") as progress:
        tuned = tuned_by(
            network, calibrate=reading.calibrate or "", data=samples.data, tuning=asked, how=how,
            progress=progress, **words, **solving,
        )  # fmt: skip
    contents: dict[Path, str | bytes] = {
        output.out / "config.json": config_text(build_config(tuned.result, EmitOptions(dt_us=samples.dt_us))),
        output.out / "placement.json": placement_text(tuned.result),
        output.out / "tuning.json": json.dumps(tuning_record(tuned), indent=2) + "\n",
    }
    try:
        contents[output.out / "tuned.nir"] = nir_file(tuned.result.given[0])
    except NetworkError as error:
        warnings.warn(f"tuned.nir is not written: {error}", MapperWarning, stacklevel=2)
    write_all(contents)
    if output.as_json:
        print_record(json.dumps(tuning_record(tuned), indent=2))
    else:
        print_tuning(console(), tuned)
        note(f"written: {', '.join(map(str, contents))}")
    return 0
