"""The command that runs a recording through a configuration, without a board."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from mapper.activity import steps_of
from mapper.cli.loudness import is_quiet
from mapper.cli.options import CONFIG, EVENTS, INPUT, FileOutput, file, group, number, text, word
from mapper.cli.output import console, print_json
from mapper.cli.recordings import Clock, recorded_in_pieces, require_in_order
from mapper.errors import Finding, OptionsError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mapper.emit.shared.config import ChipConfig
    from mapper.equivalence import Sensitivity
    from mapper.events import Events
    from mapper.events.stored import Recording as Recorded
    from mapper.sim.event import EventOptions
    from mapper.sim.recording import RecordingSummary

__all__ = ["simulate"]

# Each runs the whole recording again.
_ORDERS_MAX = 1000


@group("Input", 2)
@dataclass(frozen=True, kw_only=True)
class Recording:
    """What is run."""

    events: Annotated[Path, EVENTS]
    input_name: Annotated[str | None, INPUT] = None
    piece_events: Annotated[int, number("EVENTS", "events in memory at once", name="--piece")] = 100_000


@group("Simulation", 3)
@dataclass(frozen=True)
class Semantics:
    """How spikes are carried; the fields are those of `EventOptions`."""

    order: Annotated[Literal["depth", "breadth", "random"], word("order of spikes", name="--spike-order")] = (
        "depth"
    )
    seed: Annotated[int, number("SEED", "seed of the random order")] = 0
    sensor_view: Annotated[
        Literal["raw", "input"], word("a sensor's own events, or behind crop, mirror and swap")
    ] = "raw"
    pooled_border: Annotated[Literal["dropped", "delivered"], word("spikes outside a pooled map")] = "dropped"
    tick_us: Annotated[
        float | None, number("MICROSECONDS", "period of the slow clock", "the configuration's", name="--tick")
    ] = None
    ignore_lossy: Annotated[bool, Parameter(help="leave a congestion balancer out")] = False


@dataclass(frozen=True)
class Measurements(FileOutput):
    """What is recorded and measured."""

    layer: Annotated[
        tuple[str, ...], text("LAYER", "layer to record, by name or index (#0)", "monitored ones, or outputs")
    ] = ()
    sensitivity: Annotated[int, number("COUNT", "compare depth, breadth and so many random orders")] = 0
    traffic: Annotated[Path | None, file("write spikes per second by signal, for solve", "none")] = None


def simulate(
    config: Annotated[Path, CONFIG],
    /,
    *,
    recording: Recording,
    clock: Clock = Clock(),
    semantics: Semantics = Semantics(),
    output: Measurements = Measurements(),
) -> int:
    """Run recorded events through a configuration, spike by spike; no board and no samna.

    Writes the spikes of each recorded layer as .npy. Exit: 0 simulated, 2 bad input, 3 interrupted.
    """
    from mapper.emit.shared.file import read_config  # noqa: PLC0415
    from mapper.equivalence import count_ranges, layer_shapes, sensitivity  # noqa: PLC0415
    from mapper.events.traffic import write_traffic  # noqa: PLC0415
    from mapper.files import require_writable  # noqa: PLC0415
    from mapper.sim.event import EventOptions  # noqa: PLC0415
    from mapper.sim.recording import host_shape, input_of, layers_named  # noqa: PLC0415

    require_in_order(config, recording.events)
    configuration = read_config(config)
    require_writable(*filter(None, [output.traffic]), read=[recording.events, config])
    if not 0 <= output.sensitivity <= _ORDERS_MAX:
        problem = "number of random orders"
        raise OptionsError(Finding("--sensitivity", problem, output.sensitivity, f"0..{_ORDERS_MAX}"))
    start_us = 0.0 if clock.rebase is False else None
    layers = layers_named(configuration, output.layer)
    options = EventOptions(**vars(semantics), start_us=start_us, record=layers or None)
    name = input_of(configuration, recording.input_name)
    inputs = {name: recorded_in_pieces(recording.events, clock, host_shape(configuration, name))}
    summary = _run(configuration, inputs, options, recording.piece_events, output)
    if output.traffic is not None:
        write_traffic(output.traffic, summary.signals, summary.duration_us)
    depends: tuple[Sensitivity, ...] = ()
    if output.sensitivity > 0:
        shapes, orders = layer_shapes(configuration), output.sensitivity
        whole = {name: events[:] for name, events in inputs.items()}
        depends = sensitivity(count_ranges(configuration, whole, shapes, options, random_orders=orders))
    if output.as_json:
        border = [{"core": core, "slot": slot, "spikes": n} for (core, slot), n in summary.border.items()]
        more = {"border": border, "silent": summary.silent}
        print_json(**(asdict(summary) | more | {"sensitivity": [asdict(entry) for entry in depends]}))
        return 0
    from mapper.report.equivalence import print_simulation  # noqa: PLC0415

    print_simulation(console(), configuration, summary, depends, is_brief=is_quiet())
    return 0


def _run(
    config: ChipConfig,
    inputs: Mapping[str, Recorded],
    options: EventOptions,
    piece: int,
    output: Measurements,
) -> RecordingSummary:
    """Run; what is recorded goes piece by piece to a file a layer, and these appear when all is done."""
    from mapper.events.stream import EventWriter, place_all  # noqa: PLC0415
    from mapper.files import file_name  # noqa: PLC0415
    from mapper.sim.recording import default_layers, run_recording  # noqa: PLC0415

    layers = () if output.out is None else options.record or default_layers(config)
    total = sum(map(len, inputs.values()))
    with ExitStack() as stack:
        paths = {layer: (output.out or Path()) / f"{file_name(layer)}.npy" for layer in layers}
        writers = {layer: stack.enter_context(EventWriter(path)) for layer, path in paths.items()}

        def sink(spikes: Mapping[str, Events]) -> None:
            for layer, events in spikes.items():
                writers[layer].append(events)

        progress = stack.enter_context(steps_of("events", total))
        summary = run_recording(
            config, inputs, options, piece_events=piece, sink=sink if layers else None, progress=progress
        )
        place_all(writers.values())
        return summary
