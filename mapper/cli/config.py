"""Commands about configurations: write one, compare two."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mapper.cli.app import (
    ChipOption,
    ForbidOption,
    JsonOption,
    MinimumOption,
    MonitorOption,
    NetworkArgument,
    NeuronOption,
    ObjectiveOption,
    PinOption,
    ReadoutMonitorOption,
    ReadoutOption,
    ReluOption,
    RepairsOption,
    ResetOption,
    SetOption,
    ShapeOption,
    app,
    finish,
    solved,
    write_placement,
)

if TYPE_CHECKING:
    from hwspec.schema import ChipSpec
    from mapper.emit.config import ChipConfig
    from mapper.network import Network

__all__ = ["diff_command", "emit"]

_EXIT_DIFFERENT = 1
_READOUT_WORDS = ("readout_threshold", "readout_window")


@app.command()
def emit(
    network: NetworkArgument,
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
    dt: Annotated[float | None, typer.Option(metavar="MICROSECONDS", help="length of a time step")] = None,
    sensor: Annotated[bool | None, typer.Option(help="let the sensor's own events in")] = None,
    monitor_sensor: Annotated[bool, typer.Option(help="read the sensor stage")] = False,
    readout_threshold: Annotated[int, typer.Option(help="spikes the readout's average must exceed")] = 0,
    readout_window: Annotated[int, typer.Option(help="ticks of the readout's moving window")] = 1,
    flash: Annotated[
        Path | None, typer.Option(metavar="FILE", help="write the board's flash image too; needs samna")
    ] = None,
    as_json: JsonOption = False,
) -> int:
    """Place a network and write the chip's configuration. Exit: 0 written, 1 does not fit, 2 bad input."""
    words = dict(locals())
    for name in (*("out", "flash", "dt", "sensor", "monitor_sensor"), *_READOUT_WORDS, "as_json"):
        words.pop(name)
    result = solved(**words)
    if result.solution is None:
        return finish(result, as_json)
    from mapper.emit.build import build_config  # noqa: PLC0415
    from mapper.emit.file import write_config  # noqa: PLC0415
    from mapper.emit.options import EmitOptions  # noqa: PLC0415

    wishes = EmitOptions(
        sensor=sensor,
        monitor_sensor=monitor_sensor,
        dt_us=dt,
        readout_threshold=readout_threshold,
        readout_window_ticks=readout_window,
    )
    config = build_config(result, wishes)
    write_config(config, out / "config.json")
    write_placement(result, out)
    if flash is not None:
        _write_flash(config, result.chip, flash)
    status = finish(result, as_json)
    if not as_json:
        typer.echo(f"written: {out / 'config.json'}, {out / 'placement.json'}")
        for note in config.interface.notes if config.interface else ():
            typer.echo(f"note: {note}")
    return status


def _write_flash(config: ChipConfig, chip: ChipSpec, path: Path) -> None:
    from mapper.emit.samna import flash_binary, to_samna  # noqa: PLC0415
    from mapper.files import write_bytes  # noqa: PLC0415

    write_bytes(path, flash_binary(to_samna(config, chip), chip))


@app.command("diff")
def diff_command(
    left: Annotated[str, typer.Argument(help="config.json, or a network")],
    right: Annotated[str, typer.Argument(help="config.json, or a network")],
    as_json: JsonOption = False,
) -> int:
    """Compare two configurations, or a configuration with a network. Exit: 0 the same, 1 different."""
    from dataclasses import asdict  # noqa: PLC0415

    from mapper.emit.diff import diff  # noqa: PLC0415

    found = diff(_side(left), _side(right))
    if as_json:
        record = {"schema_version": 1, "differences": [asdict(entry) for entry in found]}
        typer.echo(json.dumps(record, indent=2))
    else:
        for entry in found:
            typer.echo(str(entry))
        typer.echo("the same" if not found else f"{len(found)} differences")
    return _EXIT_DIFFERENT if found else 0


def _side(source: str) -> ChipConfig | Network:
    """A configuration file, or a network after all passes."""
    from mapper.emit.file import read_config  # noqa: PLC0415
    from mapper.frontends import load_network  # noqa: PLC0415
    from mapper.passes import prepare  # noqa: PLC0415

    path = Path(source)
    if path.suffix == ".json" and path.is_file() and '"hardware"' in path.read_text("utf-8", "replace"):
        return read_config(path)
    return prepare(load_network(source))
