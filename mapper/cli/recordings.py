"""Options about the clock and the map of recorded events, which all commands share that take some."""

# No `from __future__ import annotations` here, as in `mapper.cli.options`.
from dataclasses import dataclass
from pathlib import Path
from shlex import join
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from mapper.cli.completion import samples
from mapper.cli.options import file, group, number, word
from mapper.errors import EventError, Finding, MapperWarning, OptionsError
from mapper.wording import counted

if TYPE_CHECKING:
    from mapper.events import Events
    from mapper.events.stored import Recording

# Of verify and tune.
DATA = file(
    '"digits", "digits-train", .npz with rasters (or images) and labels, or folder per class',
    "no accuracies",
    completer=samples,
)
STEPS = number("COUNT", "steps of the random spikes, and of images", "50; of digits 16")
ENCODE = word("how images of --data become spikes in --steps steps")


@group("Recording", 8)
@dataclass(frozen=True)
class Clock:
    """How recorded events are read."""

    time_order: Annotated[
        Literal["ascending", "sort"], word("refuse time that goes back, or sort by time", name="--order")
    ] = "ascending"
    unwrap: Annotated[bool, Parameter(negative=(), help="let a clock that starts again at 2^32 µs go on")] = (
        False
    )
    rebase: Annotated[
        bool | None,
        Parameter(
            negative="--no-rebase",
            help="count time from the first event, or let the slow clock run from 0 whenever that is",
            show_default="slow clock from 0, or from a first event that is long after it",
        ),
    ] = None
    drop_outside: Annotated[
        bool, Parameter(negative=(), help="leave out events outside the input's map, and count them")
    ] = False
    time_unit: Annotated[
        Literal["s", "ms", "us"] | None, word("unit of the file's times", "us, as whole numbers")
    ] = None


def recorded(path: Path, clock: Clock, shape: tuple[int, int, int] | None = None) -> "Events":
    """Events of a file, as the options say.

    Parameters
    ----------
    shape
        (features, height, width) of the input; None where events outside it are someone else's to count.

    Raises
    ------
    EventError
        The file cannot be read, or events lie outside and are not to be dropped.
    """
    import warnings  # noqa: PLC0415

    from mapper.events import read_events  # noqa: PLC0415

    events = read_events(
        path,
        order=clock.time_order,
        time_unit=clock.time_unit,
        unwrap=clock.unwrap,
        rebase=bool(clock.rebase),
    )
    if shape is None:
        return events
    inside = (events["p"] < shape[0]) & (events["y"] < shape[1]) & (events["x"] < shape[2])
    if inside.all():
        return events
    first = events[~inside][0]
    lie = counted(len(events), "event lies", "events lie")
    text = f"{int((~inside).sum())} of {lie} outside the input's map"
    if not clock.drop_outside:
        step = "Leave them out, and count them, with --drop-outside"
        value = f"feature {first['p']}, row {first['y']}, column {first['x']}"
        sides = zip(shape, ("feature", "row", "column"), strict=True)
        allowed = ", ".join(counted(size, side) for size, side in sides)
        raise EventError(Finding(str(path), text, value, allowed, next_step=step))
    warnings.warn(f"{path}: {text} and are left out", MapperWarning, stacklevel=2)
    return events[inside]


def require_in_order(config: Path, events: Path | None) -> None:
    """Refuse a configuration and a recording in each other's place, and a network in the configuration's.

    Raises
    ------
    OptionsError
        They are, by the ends of their names.
    """
    from mapper.frontends.target import is_target  # noqa: PLC0415

    if is_target(str(config), ()):
        emit = join(["mapper", "emit", str(config)])
        step = f"Write one first: {emit} --out DIR; then name DIR/config.json"
        problem = "is a network, and a configuration is wanted"
        raise OptionsError(Finding(str(config), problem, next_step=step))
    if (
        events is not None
        and events.suffix == ".json"
        and config.suffix in (".npy", ".npz", ".csv", ".aedat4")
    ):
        step = f"Did you mean {join([str(events), '--events', str(config)])}?"
        raise OptionsError(
            Finding("--events", "is a recording's place, not the configuration's", events, next_step=step)
        )


def recorded_in_pieces(path: Path, clock: Clock, shape: tuple[int, int, int] | None = None) -> "Recording":
    """As `recorded`; what needs nothing done to it stays in its file."""
    from mapper.events.stored import stored_events  # noqa: PLC0415

    is_meant = clock.time_unit is None and not clock.unwrap and not clock.rebase
    stored = stored_events(path, shape) if is_meant else None
    return recorded(path, clock, shape) if stored is None else stored
