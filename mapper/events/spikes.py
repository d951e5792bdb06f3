"""Events as spike objects of the chip's library, which itself is never imported.

Written are `layer` (the core), `feature`, `y`, `x` and `timestamp` (µs).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeAlias, TypeVar

from hwspec.inert import quoted
from mapper.arguments import checked
from mapper.errors import EventError, Finding
from mapper.events.arrays import Events, Shape3, column_findings, events_from, whole

__all__ = ["spikes_of"]

Made = TypeVar("Made")


class EntryLike(Protocol):
    """A core that takes events: `InputEntry` of a configuration, `HostEntry` of a solution."""

    @property
    def core(self) -> int: ...

    @property
    def feature_shift(self) -> int: ...


Entry: TypeAlias = EntryLike | tuple[int, int]


@checked
def spikes_of(
    events: Events,
    entries: Sequence[Entry],
    make_spike: Callable[[], Made],
    *,
    shape: Shape3 | None = None,
    timestamp_bits: int = 32,
) -> list[Made]:
    """Spikes for the chip: every event once for each entry, in the order of events, then of entries.

    Parameters
    ----------
    events
        In ascending time; any layout that `events_from` takes. Timestamps are kept.
    entries
        Cores that take the input, with what is added to the feature: pairs, or objects with `core` and
        `feature_shift`.
    make_spike
        Class of the spikes, called without arguments, such as `samna.speck2f.event.Spike`; `layer`,
        `feature`, `y`, `x` and `timestamp` are then set to Python integers.
    shape
        (features, height, width) of the input: events outside are refused.
    timestamp_bits
        Width of the timestamps, 1..63; the vendor documents none, so 32 is assumed. Larger ones are
        refused.

    Raises
    ------
    EventError
        With everything that is wrong.
    """
    events, pairs = _checked(events, entries, shape, timestamp_bits)
    # Plain integers first: reading them one by one out of numpy is what would take the time.
    rows = zip(*(events[name].tolist() for name in ("t", "p", "y", "x")), strict=True)
    spikes = []
    for t, p, y, x in rows:
        for core, shift in pairs:
            spike: Any = make_spike()
            spike.layer = core
            spike.feature = p + shift
            spike.y = y
            spike.x = x
            spike.timestamp = t
            spikes.append(spike)
    return spikes


def _checked(
    events: Events, entries: Sequence[Entry], shape: Shape3 | None, timestamp_bits: int
) -> tuple[Events, list[tuple[int, int]]]:
    """The events, and (core, feature shift) of every entry."""
    pairs, findings = _pairs(entries)
    bits, problems = whole("timestamp_bits", timestamp_bits, 1, 63)
    findings += problems
    try:
        events = events_from(events, shape=shape)
    except EventError as error:
        raise EventError(*findings, *error.findings) from None
    step = "Subtract the first event's time, or give timestamp_bits"
    findings += [
        Finding(late.where, late.problem, late.value, late.limit, "µs", step)
        for late in column_findings("events, field t", events["t"], 2**bits - 1)
    ]
    largest = int(events["p"].max(initial=0))
    for core, shift in pairs:
        if largest + shift > 65535:
            text = f"feature {largest} plus the shift {shift} is too large"
            findings.append(Finding(f"entries, core {core}", text, largest + shift, "0..65535"))
    if findings:
        raise EventError(*findings)
    return events, pairs


def _stated(entry: object) -> tuple[Any, ...]:
    """What an entry of an interface says; of anything else, nothing."""
    found = (getattr(entry, name, None) for name in ("core", "feature_shift"))
    return tuple(value for value in found if value is not None)


def _pairs(entries: Sequence[Entry]) -> tuple[list[tuple[int, int]], list[Finding]]:
    findings = []
    pairs: list[tuple[int, int]] = []
    for n, entry in enumerate(entries):
        given = entry if isinstance(entry, tuple) else _stated(entry)
        if len(given) != 2:
            findings.append(Finding(f"entries, entry {n}", "must be (core, feature shift)", quoted(entry)))
            continue
        core, problems = whole(f"entries, entry {n}, core", given[0], 0, 65535)
        shift, more = whole(f"entries, entry {n}, feature shift", given[1], 0, 65535)
        findings += problems + more
        if (core, shift) in pairs and not problems and not more:
            text = "is there twice: its core would get every event twice"
            findings.append(Finding(f"entries, entry {n}", text, given))
        pairs.append((core, shift))
    if not len(entries):
        findings.append(Finding("entries", "are empty: no core would get an event"))
    return pairs, findings
