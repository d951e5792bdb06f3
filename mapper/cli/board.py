"""Commands about boards: which are there, run a configuration on one, and find out its order of spikes."""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from mapper.activity import steps_of
from mapper.cli.options import (
    CONFIG,
    EVENTS,
    INPUT,
    STEP,
    FileOutput,
    Output,
    file,
    group,
    number,
    text,
)
from mapper.cli.output import console, print_json, print_record, say
from mapper.cli.recordings import ENCODE, STEPS, Clock, recorded, require_in_order
from mapper.errors import Finding, OptionsError
from mapper.wording import counted

if TYPE_CHECKING:
    from mapper.boards import Listening
    from mapper.emit.shared.config import ChipConfig
    from mapper.equivalence.order_counts import BoardComparison

__all__ = ["devices", "run"]

_SAMPLES = '"digits", "digits-train", .npz with rasters (or images), labels or none, or folder per class'


@group("Board", 3)
@dataclass(frozen=True, kw_only=True)
class Run:
    """What a board is given."""

    device: Annotated[str, text("NAME[:INDEX]", "board; mapper devices lists them")]
    events: Annotated[Path | None, EVENTS, Parameter(show_default="--data is played")] = None
    input_name: Annotated[str | None, INPUT] = None
    quiet_for: Annotated[
        float | None, number("SECONDS", "stop when nothing came for so long", "1, or two ticks of the clock")
    ] = None
    at_most: Annotated[
        float | None, number("SECONDS", "stop so long behind the last event", "10 times --quiet-for")
    ] = None
    slow_clock: Annotated[float | None, number("HZ", "rate of the slow clock", "the configuration's")] = None

    def listening(self) -> Listening:
        """When a call to the board ends."""
        from mapper.boards import Listening  # noqa: PLC0415

        try:
            return Listening(self.quiet_for, self.at_most)
        except OptionsError as error:
            options = {"quiet_seconds": "--quiet-for", "limit_seconds": "--at-most"}
            findings = (replace(finding, where=options[finding.where]) for finding in error.findings)
            raise OptionsError(*findings) from None


@group("Samples", 4)
@dataclass(frozen=True)
class Samples:
    """What a board is compared by with the simulation in each order of spikes."""

    data: Annotated[str | None, file(_SAMPLES, "a recording is run")] = None
    samples: Annotated[int, number("COUNT", "samples that are played, spread over --data")] = 100
    random_orders: Annotated[int, number("COUNT", "simulations in random order")] = 10
    steps: Annotated[int | None, STEPS] = None
    encode: Annotated[Literal["accumulate", "poisson"], ENCODE] = "accumulate"
    seed: Annotated[int, number("SEED", "of poisson")] = 0
    dt_us: Annotated[int | None, STEP, Parameter(show_default="a tick of the slow clock, or 1000")] = None


def devices(*, output: Output = Output()) -> int:
    """List the boards that are plugged in; needs samna."""
    from mapper.boards import list_boards  # noqa: PLC0415

    boards = list_boards()
    if output.as_json:
        names = ("device", "chip", "device_type", "serial_number", "is_busy")
        print_json(boards=[{name: getattr(board, name) for name in names} for board in boards])
        return 0
    for board in boards:
        state = "in use" if board.is_busy else "free"
        say(f"{board.device:20} {board.device_type:24} {board.serial_number:16} {state}")
    if not boards:
        say("no board is plugged in, or its driver is missing")
    return 0


def run(
    config: Annotated[Path, CONFIG],
    /,
    *,
    settings: Run,
    samples: Samples = Samples(),
    clock: Clock = Clock(),
    output: FileOutput = FileOutput(),
) -> int:
    """Run recorded events on a board and count the spikes of its monitored layers; needs samna.

    Writes the spikes of each layer as .npy. With --data samples instead of --events: plays them one by one
    and says in which order of spikes the simulation counts what the board does; writes orders.json.
    Exit: 0 run, 2 bad input or a board that fails, 3 interrupted.
    """
    from mapper.emit.shared.file import read_config  # noqa: PLC0415

    listening = settings.listening()
    require_in_order(config, settings.events)
    if (settings.events is None) == (samples.data is None):
        problem = "is missing" if settings.events is None else "cannot be run together with --data"
        step = "Name a recording by --events, or samples by --data"
        raise OptionsError(Finding("--events", problem, next_step=step))
    configuration = read_config(config)
    if settings.events is None:
        return _compare(configuration, settings, samples, listening, clock, output)
    return _record(configuration, settings.events, settings, listening, clock, output)


def _record(
    configuration: ChipConfig,
    recording: Path,
    settings: Run,
    listening: Listening,
    clock: Clock,
    output: FileOutput,
) -> int:
    """Play a recording."""
    from mapper.boards import open_board  # noqa: PLC0415
    from mapper.events.stream import EventWriter, place_all  # noqa: PLC0415
    from mapper.files import file_name, require_writable  # noqa: PLC0415
    from mapper.sim.recording import default_layers, input_of  # noqa: PLC0415

    interface, name = configuration.interface, input_of(configuration, settings.input_name)
    shapes = {entry.name: entry.shape for entry in interface.inputs} if interface else {}
    events = recorded(recording, clock, shapes[name])

    def path_of(layer: str) -> Path:
        return (output.out or Path()) / f"{file_name(layer)}.npy"

    if output.out is not None:
        require_writable(*map(path_of, default_layers(configuration)))
    with open_board(settings.device, configuration, slow_clock_hz=settings.slow_clock) as board:
        answer = board.infer(events, settings.input_name, listening)
    if output.out is not None:
        with ExitStack() as stack:
            writers = {layer: stack.enter_context(EventWriter(path_of(layer))) for layer in answer.events}
            for layer, writer in writers.items():
                writer.append(answer.events[layer])
            place_all(writers.values())
    counts = {name: len(spikes) for name, spikes in answer.events.items()}
    if output.as_json:
        others = {str(core): count for core, count in answer.other_cores.items()}
        print_json(events=len(events), spikes=counts, other_cores=others)
        return 0
    say(f"{counted(len(events), 'event')} written")
    for name, count in counts.items():
        say(f"{name:20} {counted(count, 'spike')}")
    if not counts:
        say("nothing is monitored: emit the configuration with --monitor LAYER")
    return 0


def _compare(
    configuration: ChipConfig,
    settings: Run,
    samples: Samples,
    listening: Listening,
    clock: Clock,
    output: FileOutput,
) -> int:
    """Play samples, and hold the counts against the simulations."""
    from mapper.boards import open_board  # noqa: PLC0415
    from mapper.equivalence import DataOptions, read_labelled  # noqa: PLC0415
    from mapper.equivalence.on_board import BoardOptions, compare_with_board, require_comparable  # noqa: PLC0415
    from mapper.files import require_writable, write_text  # noqa: PLC0415
    from mapper.sim.recording import input_of  # noqa: PLC0415

    asked = BoardOptions(settings.input_name, samples.samples, samples.random_orders, samples.dt_us)
    path = None if output.out is None else output.out / "orders.json"
    require_writable(*filter(None, [path]))
    entries = configuration.interface.inputs if configuration.interface else ()
    shapes = {entry.name: entry.shape for entry in entries}
    shape = shapes[input_of(configuration, settings.input_name)]
    step_us = asked.step_us(configuration)
    how = DataOptions(samples.steps, samples.encode, samples.seed, step_us, clock.drop_outside)
    data = read_labelled(samples.data or "", shape, how, needs_labels=False)
    require_comparable(configuration, data, settings.input_name)
    with (
        open_board(settings.device, configuration, slow_clock_hz=settings.slow_clock) as board,
        steps_of("samples on the board") as progress,
    ):
        found = compare_with_board(board, data, asked, listening=listening, progress=progress)
    record = json.dumps(_as_record(found), indent=2) + "\n"
    if path is not None:
        write_text(path, record)
    if output.as_json:
        print_record(record.rstrip())
        return 0
    from mapper.report.board import print_comparison  # noqa: PLC0415

    print_comparison(console(), found)
    return 0


def _as_record(found: BoardComparison) -> dict[str, Any]:
    """The comparison as JSON has it."""
    record = {"schema_version": 1, "verdict": found.verdict, **asdict(found)}
    record["accuracies"] = {}
    for kind, row in found.accuracies.items():
        low, high = row.interval
        numbers = {"value": row.share, "low": low, "high": high}
        record["accuracies"][kind] = numbers | {"correct": row.correct, "samples": row.samples}
    return record
