"""Commands about boards: which are there, run a configuration on one."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from mapper.cli.options import CONFIG, EVENTS, INPUT, FileOutput, Output, group, number, text
from mapper.cli.output import print_json, say
from mapper.cli.recordings import Clock, recorded

__all__ = ["devices", "run"]


@group("Board", 3)
@dataclass(frozen=True, kw_only=True)
class Run:
    """What a board is given."""

    device: Annotated[str, text("NAME[:INDEX]", "board; mapper devices lists them")]
    events: Annotated[Path, EVENTS]
    input_name: Annotated[str | None, INPUT] = None
    quiet_for: Annotated[
        float | None, number("SECONDS", "stop when nothing came for so long", "1, or two ticks of the clock")
    ] = None
    at_most: Annotated[
        float | None, number("SECONDS", "stop so long behind the last event", "10 times --quiet-for")
    ] = None
    slow_clock: Annotated[float | None, number("HZ", "rate of the slow clock", "the configuration's")] = None


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
    clock: Clock = Clock(),
    output: FileOutput = FileOutput(),
) -> int:
    """Run recorded events on a board and count the spikes of its monitored layers; needs samna.

    Writes the spikes of each layer as .npy.
    """
    from mapper.boards import Listening, open_board  # noqa: PLC0415
    from mapper.emit.shared.file import read_config  # noqa: PLC0415
    from mapper.errors import OptionsError  # noqa: PLC0415
    from mapper.events.stream import EventWriter, place_all  # noqa: PLC0415
    from mapper.files import file_name, require_writable  # noqa: PLC0415
    from mapper.sim.recording import default_layers, input_of  # noqa: PLC0415

    try:
        listening = Listening(settings.quiet_for, settings.at_most)
    except OptionsError as error:
        options = {"quiet_seconds": "--quiet-for", "limit_seconds": "--at-most"}
        findings = (replace(finding, where=options[finding.where]) for finding in error.findings)
        raise OptionsError(*findings) from None
    configuration = read_config(config)
    interface, name = configuration.interface, input_of(configuration, settings.input_name)
    shapes = {entry.name: entry.shape for entry in interface.inputs} if interface else {}
    events = recorded(settings.events, clock, shapes[name])

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
    say(f"{len(events)} events written")
    for name, count in counts.items():
        say(f"{name:20} {count} spikes")
    if not counts:
        say("nothing is monitored: emit the configuration with --monitor LAYER")
    return 0
