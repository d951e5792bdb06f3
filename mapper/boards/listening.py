"""How a board is asked and listened to: what belongs to a call, what came too late, and when it is over.

A call drops what is in the buffer, starts the clock of the timestamps at 0, writes, and reads every
`POLL_SECONDS` until the last event written has been played and nothing came for a while. samna documents
neither the size of its buffer nor a sign of loss. What can be told from outside is told: a read that is as
large as the buffer, or that is a power of two as sizes of buffers are.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from mapper.arguments import checked
from mapper.by_value import ByValue
from mapper.errors import Finding, OptionsError
from mapper.wording import counted

__all__ = ["LEAD_SECONDS", "POLL_SECONDS", "Heard", "Listening", "ask", "drop"]

# Often enough that little gathers in samna's buffer, seldom enough to leave the processor to others.
POLL_SECONDS = 0.01
# Some boards' clocks run before all events are written (HARDWARE.md, erratum 9): what is recorded begins
# this long behind the reset.
LEAD_SECONDS = 0.1
# Ten ticks of the slowest clock that is typical: what a tick, a driver's packet or a busy host delays comes
# within it. A slower clock is given two of its own ticks.
_QUIET_SECONDS, _QUIET_TICKS = 1.0, 2
# A network that is still not quiet after ten times as long is taken to spike by itself.
_LIMIT_QUIETS = 10
# Two crystals differ by far less; what is beyond shows another clock.
_CLOCK_DRIFT, _CLOCK_JITTER_US = 1.001, 1000
# A read of 2^n events by chance is rare from here on.
_BUFFER_LEAST = 1024


@checked
@dataclass(frozen=True, slots=True)
class Listening:
    """How long a board is listened to behind the last event that it is given.

    Attributes
    ----------
    quiet_seconds
        A call ends when nothing came for so long, >= 0; None: 1 s, ten ticks of the slowest slow clock that
        is typical, or two ticks of this board's slow clock where that is longer.
    limit_seconds
        A call ends, and says so, when the board is not quiet so long behind the last event, >= 0; None: ten
        times the quiet time.
    buffer_events
        Events that samna's buffer holds, > 0, for who knows it: a read of as many may have lost some.
    """

    quiet_seconds: float | None = None
    limit_seconds: float | None = None
    buffer_events: int | None = None

    def __post_init__(self) -> None:
        findings = [
            Finding(name, "must be a finite number, not negative", value, ">= 0", "seconds")
            for name in ("quiet_seconds", "limit_seconds")
            if (value := getattr(self, name)) is not None and not 0 <= value < math.inf
        ]
        if self.buffer_events is not None and self.buffer_events < 1:
            problem = "must hold an event at least"
            findings.append(Finding("buffer_events", problem, self.buffer_events, ">= 1", "events"))
        if findings:
            raise OptionsError(*findings)

    def seconds(self, slow_clock_hz: float | None) -> tuple[float, float]:
        """Quiet time and limit on a board with this slow clock; the limit is no shorter."""
        quiet = self.quiet_seconds
        if quiet is None:
            quiet = max(_QUIET_SECONDS, _QUIET_TICKS / slow_clock_hz if slow_clock_hz else 0.0)
        limit = _LIMIT_QUIETS * quiet if self.limit_seconds is None else self.limit_seconds
        return quiet, max(quiet, limit)


class Asked(Protocol):
    """What of a board is used here."""

    def reset_clock(self) -> bool: ...
    def send(self, spikes: Sequence[Any]) -> None: ...
    def receive(self) -> list[Any]: ...


@dataclass(slots=True, eq=False)
class Heard(ByValue):
    """What a board answered to a call.

    Attributes
    ----------
    events
        samna's objects, in the order in which they came; timestamps count from the call's reset of the clock.
    end
        How the call ended, as a clause.
    notes
        What should be said about it.
    older
        Events from before the call.
    fullest
        Events of the largest read.
    """

    events: list[Any] = field(default_factory=list)
    end: str = ""
    notes: list[str] = field(default_factory=list)
    older: int = 0
    fullest: int = 0


def drop(board: Asked, last_end: str) -> list[str]:
    """Empty the buffer; says how much was in it.

    Parameters
    ----------
    last_end
        How the last call ended, if that is what the events come behind, else "".
    """
    return _older_notes(len(board.receive()), last_end)


def ask(board: Asked, given: Sequence[Any], listening: Listening, hz: float | None, last_end: str) -> Heard:
    """Write events and hear what the board says to them, and to nothing else.

    The buffer is emptied on both sides of the clock's reset. What still comes from before is told by a
    timestamp that the new clock has not reached; one that it has reached cannot be told from an answer.

    Parameters
    ----------
    given
        samna's objects. Timestamps (µs) count from the reset of the clock.
    hz
        Rate of the slow clock, None for none.
    last_end
        As in `drop`.
    """
    heard = Heard(older=len(board.receive()))
    before = time.monotonic()
    is_zero = board.reset_clock()
    if not is_zero:
        heard.notes.append("this samna cannot reset the clock, so times go on from when it was switched on")
    # Times of such a clock tell nothing about before and after.
    zero = before if is_zero else -math.inf
    heard.older += len(board.receive())
    start = time.monotonic()
    board.send(given)
    written = time.monotonic() - start
    stamps = [event.timestamp for event in given if hasattr(event, "timestamp")] or [0]
    end = start + max(stamps) * 1e-6
    lead = max(LEAD_SECONDS, min(stamps) * 1e-6)
    if written > lead:
        heard.notes.append(
            f"writing {counted(len(given), 'event')} took {written:.3g} s, and the first was due {lead:.3g} "
            "s after the clock began, so the first ones were played late: write fewer at a time"
        )
    quiet, limit = listening.seconds(hz)
    is_quiet = _read_until_quiet(board, heard, zero, end, quiet, limit)
    # What came while that was found out belongs to the call too.
    _take(board.receive(), heard, zero)
    heard.notes[:0] = _older_notes(heard.older, last_end)
    heard.end = f"ended when nothing had come for {quiet:g} s"
    if not is_quiet:
        heard.end = f"ended {limit:g} s behind its last event while the chip still spiked"
        heard.notes.append(
            f"the chip still spikes {limit:g} s behind the last event, never quiet for {quiet:g} s: what "
            "came is given. Raise limit_seconds; positive biases, cycles and the sensor can go on for ever"
        )
    heard.notes += _buffer_notes(heard.fullest, listening.buffer_events)
    return heard


def _read_until_quiet(
    board: Asked, heard: Heard, zero: float, end: float, quiet: float, limit: float
) -> bool:
    """Read until nothing came for `quiet` seconds behind `end` and the last event; False at the limit."""
    latest = end
    while True:
        time.sleep(POLL_SECONDS)
        if _take(board.receive(), heard, zero):
            latest = max(end, time.monotonic())
        now = time.monotonic()
        if now - latest >= quiet:
            return True
        if now - end >= limit:
            return False


def _take(came: Sequence[Any], heard: Heard, zero: float) -> bool:
    """Add what belongs to the call; whether anything did."""
    clock_us = (time.monotonic() - zero) * 1e6 * _CLOCK_DRIFT + _CLOCK_JITTER_US
    new = [event for event in came if getattr(event, "timestamp", 0) <= clock_us]
    heard.events += new
    heard.older += len(came) - len(new)
    heard.fullest = max(heard.fullest, len(came))
    return bool(new)


def _older_notes(count: int, last_end: str) -> list[str]:
    if not count:
        return []
    late = f"They came behind the last call, which {last_end}: let it listen longer"
    why = late if last_end else "Read them before, or leave them"
    return [f"left out: {counted(count, 'event')} from before this call. {why}"]


def _buffer_notes(fullest: int, capacity: int | None) -> list[str]:
    way_out = "Send fewer events a second, or monitor fewer layers"
    if capacity is not None:
        if fullest < capacity:
            return []
        return [f"a read gave {fullest} events and the buffer holds {capacity}: some may be lost. {way_out}"]
    if fullest < _BUFFER_LEAST or fullest & (fullest - 1):
        return []
    return [f"a read gave {counted(fullest, 'event')}, a size that buffers have: some may be lost. {way_out}"]
