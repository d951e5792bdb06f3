"""The command that writes a configuration."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mapper.cli.app import app, finish, write_placement
from mapper.cli.options import (
    ChipOption,
    CopiesOption,
    ForbidOption,
    JsonOption,
    KeepOption,
    MinimumOption,
    MonitorOption,
    NetworksArgument,
    NeuronOption,
    ObjectiveOption,
    PiecesOption,
    PinOption,
    PooledOption,
    ReadoutMonitorOption,
    ReadoutOption,
    RelaysOption,
    ReluOption,
    RepairsOption,
    ResetOption,
    SetOption,
    ShapeOption,
    TrafficOption,
    solved,
)

if TYPE_CHECKING:
    from hwspec.schema import ChipSpec
    from mapper.emit.shared.config import ChipConfig
    from mapper.result import Result

__all__ = ["emit"]

# Options of the command that are wishes of the emitter, by the emitter's names.
_EMIT_WORDS = {
    "dt": "dt_us",
    "sensor": "sensor",
    "monitor_sensor": "monitor_sensor",
    "readout_threshold": "readout_threshold",
    "readout_window": "readout_window_ticks",
}


@app.command()
def emit(
    network: NetworksArgument,
    out: Annotated[Path, typer.Option(metavar="DIR", help="write config.json and placement.json there")],
    chip: ChipOption = "speck2f",
    overrides: SetOption = [],  # noqa: B006  # Typer copies it
    input_shape: ShapeOption = None,
    pin: PinOption = [],  # noqa: B006
    forbid: ForbidOption = None,
    objective: ObjectiveOption = "capacity",
    monitor: MonitorOption = [],  # noqa: B006
    readout: ReadoutOption = None,
    readout_monitor: ReadoutMonitorOption = False,
    repairs: RepairsOption = 3,
    add_output_neuron: NeuronOption = None,
    relu_as_if: ReluOption = False,
    reset: ResetOption = None,
    v_min: MinimumOption = None,
    max_pieces: PiecesOption = None,
    relays: RelaysOption = True,
    copies: CopiesOption = True,
    pooled_outputs: PooledOption = "host",
    traffic: TrafficOption = None,
    keep: KeepOption = None,
    dt: Annotated[float | None, typer.Option(metavar="MICROSECONDS", help="length of a time step")] = None,
    sensor: Annotated[bool | None, typer.Option(help="let the sensor's own events in")] = None,
    monitor_sensor: Annotated[bool, typer.Option(help="read the sensor stage")] = False,
    readout_threshold: Annotated[int, typer.Option(help="spikes the readout's average must exceed")] = 0,
    readout_window: Annotated[int, typer.Option(help="ticks of the readout's moving window")] = 1,
    flash: Annotated[
        Path | None, typer.Option(metavar="FILE", help="write the board's flash image too; needs samna")
    ] = None,
    self_test: Annotated[
        bool, typer.Option(help="write known_answer.json, for deploy.py --self-test")
    ] = True,
    as_json: JsonOption = False,
) -> int:
    """Place a network and write the chip's configuration. Exit: 0 written, 1 does not fit, 2 bad input."""
    words = dict(locals())
    kept = {name: words.pop(name) for name in (*_EMIT_WORDS, "out", "flash", "self_test", "as_json")}
    result = solved(**words)
    if result.solution is None:
        return finish(result, as_json)
    return _emitted(result, keep=keep, **kept)


def _emitted(
    result: Result,
    *,
    out: Path,
    flash: Path | None,
    self_test: bool,
    as_json: bool,
    keep: Path | None,
    **words: Any,
) -> int:
    """Write what belongs to a placement, and tell."""
    from mapper.emit.shared.file import write_config  # noqa: PLC0415
    from mapper.emit.write.build import build_config  # noqa: PLC0415
    from mapper.emit.write.options import EmitOptions  # noqa: PLC0415

    wishes = EmitOptions(**{_EMIT_WORDS[name]: value for name, value in words.items()})
    config = build_config(result, wishes)
    write_config(config, out / "config.json")
    write_placement(result, out)
    written = [out / "config.json", out / "placement.json"]
    if self_test and _write_known_answer(config, result.chip, out / "known_answer.json"):
        written.append(out / "known_answer.json")
    if flash is not None:
        _write_flash(config, result.chip, flash)
        written.append(flash)
    status = finish(result, as_json, keep)
    if not as_json:
        _tell(config, written)
    return status


def _tell(config: ChipConfig, written: list[Path]) -> None:
    typer.echo(f"written: {', '.join(map(str, written))}")
    for note in config.interface.notes if config.interface else ():
        typer.echo(f"note: {note}")


def _write_known_answer(config: ChipConfig, chip: ChipSpec, path: Path) -> bool:
    """Write the self-test, if there is one for this configuration."""
    from mapper.equivalence.known_answer import known_answer  # noqa: PLC0415
    from mapper.files import write_text  # noqa: PLC0415

    made = known_answer(config, chip)
    if made is not None:
        write_text(path, made.model_dump_json() + "\n")
    return made is not None


def _write_flash(config: ChipConfig, chip: ChipSpec, path: Path) -> None:
    from mapper.emit.samna import flash_binary, to_samna  # noqa: PLC0415
    from mapper.files import write_bytes  # noqa: PLC0415

    write_bytes(path, flash_binary(to_samna(config, chip), chip))
