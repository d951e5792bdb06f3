"""The command that writes a configuration."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from mapper.activity import doing
from mapper.cli import options
from mapper.cli.options import file, group, number
from mapper.cli.output import finish, kept_placement, note, placement_text
from mapper.cli.placement import open_placement, warn_unwritten
from mapper.cli.solve import solved
from mapper.cli.verdict import Outcome
from mapper.errors import Finding, MapperWarning, OptionsError

if TYPE_CHECKING:
    from mapper.emit.shared.config import ChipConfig

__all__ = ["emit"]


@group("Configuration", 7)
@dataclass(frozen=True)
class Settings:
    """Wishes for the configuration; the fields are those of `EmitOptions`."""

    dt_us: Annotated[float | None, options.STEP, Parameter(show_default="none: no biases")] = None
    sensor: Annotated[
        bool | None,
        Parameter(
            negative="--no-sensor", help="let the sensor's own events in", show_default="as the network"
        ),
    ] = None
    monitor_sensor: Annotated[bool, Parameter(help="read the sensor stage")] = False
    readout_threshold: Annotated[int, number("SPIKES", "spikes the readout's average must exceed")] = 0
    readout_window_ticks: Annotated[
        int, number("TICKS", "length of the readout's moving window", name="--readout-window")
    ] = 1


@group("Output", 9)
@dataclass(frozen=True, kw_only=True)
class Files(options.Output):
    """What is written."""

    out: Annotated[Path, options.OUT]
    is_opened: Annotated[bool, options.OPEN] = False
    flash: Annotated[Path | None, file("write the board's flash image too; needs samna", "none")] = None
    self_test: Annotated[
        bool, Parameter(negative="--no-self-test", help="write known_answer.json, for deploy.py --self-test")
    ] = True


def emit(
    *networks: Annotated[str, options.NETWORKS],
    chip: options.Chip = options.Chip(),
    reading: options.Reading = options.Reading(),
    requests: options.Requests = options.Requests(),
    preferences: options.Preferences = options.Preferences(),
    moves: options.Moves = options.Moves(),
    limits: options.Limits = options.Limits(),
    settings: Settings = Settings(),
    output: Files,
) -> Outcome:
    """Place networks and write the chip's configuration: config.json, placement.json, known_answer.json.

    Exit: 0 written, 1 proven not to fit, 2 bad input, 3 undecided.
    """
    from mapper.emit.samna import flash_binary, to_samna  # noqa: PLC0415
    from mapper.emit.shared.file import config_pieces  # noqa: PLC0415
    from mapper.emit.write.build import build_config  # noqa: PLC0415
    from mapper.emit.write.options import EmitOptions  # noqa: PLC0415
    from mapper.equivalence.known_answer import answer_or_reason  # noqa: PLC0415
    from mapper.files import require_writable, write_all  # noqa: PLC0415

    require_writable(output.out / "config.json", *filter(None, [output.flash]))
    kept = kept_placement(preferences.keep)
    result = solved(networks, chip, reading, requests, preferences, moves, limits)
    if result.solution is None:
        warn_unwritten(output.out)
        if output.is_opened:
            open_placement(result, None)
        return finish(result, output.as_json, written=[], known_answer_missing=None)
    doing("writing the configuration")
    config = build_config(result, EmitOptions(**vars(settings)))
    contents: dict[Path, str | bytes | Iterator[str]] = {
        output.out / "config.json": config_pieces(config),
        output.out / "placement.json": placement_text(result),
    }
    doing("simulating it, for the known answer")
    answer = answer_or_reason(config, result.chip) if output.self_test else None
    if isinstance(answer, str):
        step = "Look at that layer's weights; --no-self-test asks for no such file"
        text = f"known_answer.json is not written: {answer}. {step}"
        warnings.warn(text, MapperWarning, stacklevel=2)
    elif answer is not None:
        contents[output.out / "known_answer.json"] = answer.model_dump_json() + "\n"
    if output.flash is not None:
        if output.flash in contents:
            raise OptionsError(Finding("--flash", "is a file that emit writes as well", output.flash))
        contents[output.flash] = bytes(flash_binary(to_samna(config, result.chip), result.chip))
    write_all(contents)
    lack = answer if isinstance(answer, str) else None
    status = finish(result, output.as_json, kept, written=[*map(str, contents)], known_answer_missing=lack)
    if not output.as_json:
        note(f"written: {', '.join(map(str, contents))}")
        for remark in _remarks(config):
            note(f"note: {remark}")
    if output.is_opened:
        open_placement(result, None)
    return status


def _remarks(config: ChipConfig) -> Iterator[str]:
    """Notes of the configuration, and what whoever runs it will be asked for."""
    yield from config.interface.notes if config.interface else ()
    rate = config.interface.slow_clock_hz if config.interface else None
    if rate is None and any(core.leak_enable for core in config.hardware.cnn_layers):
        yield (
            "biases are added by the slow clock, of which the configuration states no rate: emit with "
            "--step-us MICROSECONDS, the length of a time step; else simulate asks for --tick, deploy.py for "
            "--slow-clock"
        )
