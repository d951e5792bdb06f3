"""The command that runs a recording through a configuration, without a board."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from mapper.cli.app import app
from mapper.cli.options import JsonOption

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mapper.emit.shared.config import ChipConfig
    from mapper.equivalence import Sensitivity
    from mapper.events import Events
    from mapper.sim.event import EventOptions
    from mapper.sim.recording import RecordingSummary

__all__ = ["simulate"]


@app.command()
def simulate(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="config.json, written by emit")],
    events: Annotated[Path, typer.Option(metavar="FILE", help="events: .npy, .npz, .csv, .aedat4")],
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="write layers' spikes there, .npy")] = None,
    layer: Annotated[list[str], typer.Option(help="layer to record; else monitored ones, outputs")] = [],  # noqa: B006
    input_name: Annotated[str | None, typer.Option("--input", help="input, where there are several")] = None,
    order: Annotated[Literal["depth", "breadth", "random"], typer.Option(help="of spikes")] = "depth",
    seed: Annotated[int, typer.Option(help="of the random order")] = 0,
    sensor_view: Annotated[
        Literal["raw", "input"],
        typer.Option(help="a sensor's own events, or behind crop, mirror and swap"),
    ] = "raw",
    pooled_border: Annotated[
        Literal["dropped", "delivered"], typer.Option(help="spikes outside a pooled map")
    ] = "dropped",
    tick: Annotated[float | None, typer.Option(metavar="MICROSECONDS", help="of the slow clock")] = None,
    ignore_lossy: Annotated[bool, typer.Option(help="leave a congestion balancer out")] = False,
    sensitivity: Annotated[
        int, typer.Option(metavar="N", help="compare depth, breadth and N random orders too")
    ] = 0,
    traffic: Annotated[
        Path | None, typer.Option(metavar="FILE", help="write spikes per second by signal, for solve")
    ] = None,
    piece: Annotated[int, typer.Option(metavar="EVENTS", help="events in memory at once")] = 100_000,
    as_json: JsonOption = False,
) -> int:
    """Run recorded events through a configuration, spike by spike; no board and no samna."""
    from mapper.emit.shared.file import read_config  # noqa: PLC0415
    from mapper.events import read_events  # noqa: PLC0415
    from mapper.sim.event import EventOptions  # noqa: PLC0415

    made, recorded = read_config(config), read_events(events)
    options = EventOptions(
        order=order, seed=seed, pooled_border=pooled_border, tick_us=tick, sensor_view=sensor_view,
        ignore_lossy=ignore_lossy, record=tuple(layer) or None,
    )  # fmt: skip
    inputs = {_input(made, input_name): recorded}
    summary = _with_progress(made, inputs, options, piece, out, is_shown=not as_json)
    if traffic is not None:
        _write_traffic(summary, traffic)
    depends = _sensitivity(made, inputs, options, sensitivity) if sensitivity > 0 else ()
    if as_json:
        typer.echo(json.dumps(_record(summary, depends), indent=2))
        return 0
    _tell(made, summary, depends)
    return 0


def _input(config: ChipConfig, name: str | None) -> str:
    from mapper.errors import ConfigError, Finding, OptionsError  # noqa: PLC0415

    if config.interface is None:
        step = "Use mapper.sim.event.simulate_events with input_cores"
        raise ConfigError(Finding("configuration", "does not say where events enter", next_step=step))
    names = [entry.name for entry in config.interface.inputs]
    if name is not None and name not in names:
        raise OptionsError(Finding("--input", "there is no such input", name, ", ".join(names)))
    if name is None and len(names) != 1:
        raise OptionsError(Finding("--input", "there are several inputs", None, ", ".join(names)))
    return name or names[0]


def _with_progress(
    config: ChipConfig,
    inputs: Mapping[str, Events],
    options: EventOptions,
    piece: int,
    out: Path | None,
    *,
    is_shown: bool,
) -> RecordingSummary:
    """Run, write what is recorded, and draw a bar with rate and time left on standard error."""
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn  # noqa: PLC0415

    from mapper.sim.recording import default_layers, run_recording  # noqa: PLC0415

    total = sum(map(len, inputs.values()))
    columns = (*Progress.get_default_columns()[:-1], MofNCompleteColumn(), TimeRemainingColumn())
    with ExitStack() as stack:
        sink = None if out is None else _sink(stack, out, options.record or default_layers(config))
        bar = Progress(*columns, console=Console(stderr=True), transient=True, disable=not is_shown)
        stack.enter_context(bar)
        task = bar.add_task("events", total=total)
        return run_recording(
            config,
            inputs,
            options,
            piece_events=piece,
            sink=sink,
            progress=lambda done: bar.update(task, completed=done),
        )


def _sink(stack: ExitStack, out: Path, layers: tuple[str, ...]) -> Callable[[Mapping[str, Events]], None]:
    """Write the pieces of every layer to a file of its own; the files appear when all is done."""
    from mapper.events import EventWriter  # noqa: PLC0415

    names = {layer: f"{layer.replace('/', '_')}.npy" for layer in layers}
    writers = {layer: stack.enter_context(EventWriter(out / name)) for layer, name in names.items()}

    def write(spikes: Mapping[str, Events]) -> None:
        for layer, made in spikes.items():
            writers[layer].append(made)

    return write


def _write_traffic(summary: RecordingSummary, path: Path) -> None:
    from mapper.errors import EventError, Finding  # noqa: PLC0415
    from mapper.files import write_text  # noqa: PLC0415

    if summary.duration_us < 1:
        raise EventError(Finding("--traffic", "the recording has no length, so there are no rates"))
    rates = {name: round(count * 1e6 / summary.duration_us, 3) for name, count in summary.signals.items()}
    content = {"schema_version": 1, "spikes_per_second": rates}
    write_text(path, json.dumps(content, indent=1) + "\n")


def _sensitivity(
    config: ChipConfig, inputs: Mapping[str, Events], options: EventOptions, orders: int
) -> tuple[Sensitivity, ...]:
    from mapper.equivalence import count_ranges, layer_shapes, sensitivity  # noqa: PLC0415

    counts = count_ranges(config, inputs, layer_shapes(config), options, random_orders=orders)
    return sensitivity(counts)


def _record(summary: RecordingSummary, depends: tuple[Sensitivity, ...]) -> dict[str, Any]:
    from dataclasses import asdict  # noqa: PLC0415

    told = asdict(summary)
    told["border"] = [
        {"core": core, "slot": slot, "spikes": count} for (core, slot), count in summary.border.items()
    ]
    return {"schema_version": 1, **told, "sensitivity": [asdict(entry) for entry in depends]}


def _tell(config: ChipConfig, summary: RecordingSummary, depends: tuple[Sensitivity, ...]) -> None:
    from rich.console import Console  # noqa: PLC0415

    from mapper.report.equivalence import print_simulation  # noqa: PLC0415

    print_simulation(Console(soft_wrap=False), config, summary, depends)
