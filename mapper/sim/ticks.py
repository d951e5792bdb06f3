"""When the slow clock ticks: how often, from when on, and what is too much of it."""

from __future__ import annotations

import math

from mapper.asking import EMITTED_STEP_US, NO_REBASE, REBASE, TICK_US
from mapper.errors import ConfigError, EventError, Finding, OptionsError, warn_caller

__all__ = [
    "LEAD_TICKS_MAX",
    "TICKS_MAX",
    "TICK_MIN_US",
    "check_end",
    "check_span",
    "period_us",
    "start_us",
    "tick_findings",
]

TICK_MIN_US = 1.0
"""The unit of all times; the fastest clock that the data sheet calls typical ticks every 100 µs."""
LEAD_TICKS_MAX = 1000
"""Ticks before the first event that still may be meant. Behind more of them a recording's clock was not set
to 0 when the chip was: a counter since power-on, or the time of day."""
TICKS_MAX = 20_000_000
"""Of a run: over five hours at the usual 1 kHz."""
# Up to here every µs has a floating-point number of its own, so that no tick falls on the one before.
_TIME_MAX = 2.0**53


def tick_findings(tick_us: float | None) -> list[Finding]:
    """What is wrong with a period that a user asks for."""
    if tick_us is None or TICK_MIN_US <= tick_us < math.inf:
        return []
    return [Finding("tick_us", "must be a finite number", tick_us, f">= {TICK_MIN_US:g}", "µs")]


def period_us(tick_us: float | None, rate_hz: float | None, *, leaks: bool) -> float:
    """Between two ticks: as asked, else of the configuration's rate; infinite without either.

    Raises
    ------
    ConfigError
        There are biases and neither; or the rate is none.
    """
    if tick_us is not None:
        return tick_us
    if rate_hz is None and leaks:
        step = (
            f"Give {TICK_US.to('MICROSECONDS', 'MICROSECONDS')}, "
            f"or emit with {EMITTED_STEP_US.to('MICROSECONDS', 'MICROSECONDS')}"
        )
        raise ConfigError(Finding("biases", "the configuration states no slow clock", next_step=step))
    if rate_hz is not None and not 0 < rate_hz <= 1e6 / TICK_MIN_US:
        raise ConfigError(Finding("slow clock", "no clock has this rate", rate_hz, f"0..{1e6:g}", "Hz"))
    return math.inf if rate_hz is None else 1e6 / rate_hz


def start_us(asked: float | None, first_us: int, period: float) -> float:
    """When the clock starts: as asked, else at 0, or with the first event if that is long after 0."""
    if asked is not None:
        return asked
    if first_us <= LEAD_TICKS_MAX * period:
        return 0.0
    text = (
        f"slow clock: the first event is at {first_us} µs, {first_us / period:.3g} ticks after 0. The clock "
        f"starts with that event; to run those ticks first, say {NO_REBASE.to(False, '0')}"
    )
    warn_caller(text)
    return float(first_us)


def check_end(end_us: float | None) -> None:
    """Refuse the end of a run that is no time.

    Raises
    ------
    OptionsError
        It is none.
    """
    if end_us is not None and not 0 <= end_us < math.inf:
        step = "Leave it out to stop at the last event"
        raise OptionsError(Finding("end_us", "must be a finite number", end_us, ">= 0", "µs", step))


def check_span(clock: float, last_us: float, period: float) -> None:
    """Refuse a run of more ticks than anyone waits for, or so late that they cannot be told apart.

    Raises
    ------
    EventError
        It is one.
    """
    step = (
        "Is the first event of another clock, or the unit not µs? "
        f"Count from it with {REBASE.to(True)}, or cut it"
    )
    if last_us > _TIME_MAX:
        raise EventError(Finding("events", "are too late for a slow clock", last_us, _TIME_MAX, "µs", step))
    if (ticks := (last_us - clock) / period) > TICKS_MAX:
        problem = f"span too many ticks of the slow clock, one every {period:g} µs"
        raise EventError(Finding("events", problem, int(ticks), TICKS_MAX, "ticks", step))
