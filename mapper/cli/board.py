"""Commands about boards: which are there, run a configuration on one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from mapper.cli.app import app
from mapper.cli.options import JsonOption

__all__ = ["devices", "run_command"]


@app.command()
def devices(as_json: JsonOption = False) -> int:
    """List the boards that are plugged in; needs samna."""
    from mapper.boards import list_boards  # noqa: PLC0415

    boards = list_boards()
    if as_json:
        names = ("device", "chip", "device_type", "serial_number", "is_busy")
        rows = [{name: getattr(board, name) for name in names} for board in boards]
        typer.echo(json.dumps({"schema_version": 1, "boards": rows}, indent=2))
        return 0
    for board in boards:
        state = "in use" if board.is_busy else "free"
        typer.echo(f"{board.device:20} {board.device_type:24} {board.serial_number:16} {state}")
    if not boards:
        typer.echo("no board is plugged in, or its driver is missing")
    return 0


@app.command("run")
def run_command(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="config.json, written by emit")],
    device: Annotated[str, typer.Option(metavar="NAME[:INDEX]", help="board; mapper devices lists them")],
    events: Annotated[Path, typer.Option(metavar="FILE", help="events: .npy, .npz, .csv, .aedat4")],
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="write the layers' spikes there, .npy")
    ] = None,
    input_name: Annotated[str | None, typer.Option("--input", help="input, where there are several")] = None,
    wait: Annotated[float, typer.Option(metavar="SECONDS", help="wait behind the last event")] = 1.0,
    slow_clock: Annotated[float | None, typer.Option(metavar="HZ", help="rate of the slow clock")] = None,
    as_json: JsonOption = False,
) -> int:
    """Run recorded events on a board and count the spikes of its monitored layers; needs samna."""
    from mapper.boards import open_board  # noqa: PLC0415
    from mapper.emit.shared.file import read_config  # noqa: PLC0415
    from mapper.errors import Finding, OptionsError  # noqa: PLC0415
    from mapper.events import read_events, write_events  # noqa: PLC0415

    if not 0 <= wait < float("inf"):
        raise OptionsError(Finding("--wait", "must not be negative", wait, ">= 0", "seconds"))
    made, recorded = read_config(config), read_events(events)
    with open_board(device, made, slow_clock_hz=slow_clock) as board:
        duration = float(recorded["t"][-1] - recorded["t"][0]) * 1e-6 if len(recorded) else 0.0
        read = board.run(recorded, duration + wait, input_name)
    for name, spikes in read.events.items():
        if out is not None:
            write_events(out / f"{name.replace('/', '_')}.npy", spikes)
    counts = {name: len(spikes) for name, spikes in read.events.items()}
    if as_json:
        others = {str(core): count for core, count in read.other_cores.items()}
        record = {"schema_version": 1, "events": len(recorded), "spikes": counts, "other_cores": others}
        typer.echo(json.dumps(record, indent=2))
        return 0
    typer.echo(f"{len(recorded)} events written")
    for name, count in counts.items():
        typer.echo(f"{name:20} {count} spikes")
    if not counts:
        typer.echo("nothing is monitored: emit the configuration with --monitor LAYER")
    return 0
