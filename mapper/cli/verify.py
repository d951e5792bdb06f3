"""The command that simulates a configuration and compares it with its network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mapper.cli.app import app
from mapper.cli.options import (
    ChipOption,
    CopiesOption,
    JsonOption,
    MinimumOption,
    NetworkArgument,
    NeuronOption,
    PiecesOption,
    PinOption,
    RelaysOption,
    ReluOption,
    ResetOption,
    SetOption,
    ShapeOption,
    reading,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from mapper.equivalence import EquivalenceReport

__all__ = ["verify"]

_EXIT_DIFFERENT = 4


@app.command()
def verify(
    network: NetworkArgument,
    chip: ChipOption = "speck2f",
    overrides: SetOption = [],  # noqa: B006  # Typer copies it
    input_shape: ShapeOption = None,
    pin: PinOption = [],  # noqa: B006
    add_output_neuron: NeuronOption = None,
    relu_as_if: ReluOption = False,
    reset: ResetOption = None,
    v_min: MinimumOption = None,
    max_pieces: PiecesOption = None,
    relays: RelaysOption = True,
    copies: CopiesOption = True,
    events: Annotated[Path | None, typer.Option(metavar="FILE", help="recording: .npy .csv .aedat4")] = None,
    random: Annotated[float, typer.Option(metavar="RATE", help="spikes per pixel and step, 0..1")] = 0.05,
    steps: Annotated[int, typer.Option(help="steps of the random input")] = 50,
    seed: Annotated[int, typer.Option(help="of the random input")] = 0,
    data: Annotated[str | None, typer.Option(help='"digits", or .npz with rasters and labels')] = None,
    dt: Annotated[int, typer.Option(metavar="MICROSECONDS", help="length of a time step")] = 1000,
    plot: Annotated[Path | None, typer.Option(metavar="FILE", help="draw .png or .svg")] = None,
    as_json: JsonOption = False,
) -> int:
    """Simulate the emitted configuration against the network. Exit: 0 identical, 4 different (a fault)."""
    from mapper.api import verify_equivalence  # noqa: PLC0415
    from mapper.events import read_events  # noqa: PLC0415

    words: dict[str, Any] = reading(
        chip, overrides, pin=pin, input_shape=input_shape, relu_as_if=relu_as_if, reset=reset, v_min=v_min,
        add_output_neuron=add_output_neuron, max_pieces=max_pieces, relays=relays, copies=copies,
    )  # fmt: skip
    recorded = None if events is None else read_events(events)
    report = _with_progress(
        data is not None and not as_json,
        lambda progress: verify_equivalence(
            network, events=recorded, rate=random, steps=steps, seed=seed, dt_us=dt, data=data,
            progress=progress, **words,
        ),
    )  # fmt: skip
    if plot is not None:
        from mapper.report.equivalence import plot_equivalence  # noqa: PLC0415

        plot_equivalence(report, plot)
    if as_json:
        typer.echo(json.dumps(_record(report), indent=2))
    else:
        from rich.console import Console  # noqa: PLC0415

        from mapper.report.equivalence import print_equivalence  # noqa: PLC0415

        print_equivalence(Console(soft_wrap=False), report)
    return 0 if report.is_equivalent else _EXIT_DIFFERENT


def _with_progress(
    is_shown: bool, work: Callable[[Callable[[int], None] | None], EquivalenceReport]
) -> EquivalenceReport:
    """Run `work`, with a bar of the labelled samples on standard error."""
    if not is_shown:
        return work(None)
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import Progress  # noqa: PLC0415

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("labelled samples", total=None)
        return work(lambda done: bar.update(task, completed=done))


def _record(report: EquivalenceReport) -> dict[str, Any]:
    from dataclasses import asdict  # noqa: PLC0415

    events = asdict(report.events)
    del events["outputs"]
    return {
        "schema_version": 1,
        "network": report.network,
        "chip": report.chip,
        "steps": report.steps,
        "dt_us": report.dt_us,
        "input_events": report.input_events,
        "is_equivalent": report.is_equivalent,
        "difference": None if report.difference is None else asdict(report.difference),
        "rates": [asdict(entry) for entry in report.rates],
        "events": events,
        "accuracies": [
            {**asdict(entry), "share": entry.share, "interval": entry.interval} for entry in report.accuracies
        ],
        "notes": report.notes,
    }
