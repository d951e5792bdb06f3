"""The rate of the slow clock: what no clock has is refused, what is not typical is said."""

from __future__ import annotations

import math

from mapper.errors import Finding, warn_caller

__all__ = ["SLOW_CLOCK_TYPICAL_HZ", "slow_clock_findings", "warn_of_slow_clock"]

SLOW_CLOCK_TYPICAL_HZ = (10.0, 10_000.0)
"""What the Speck Dev Kit Datasheet V1.0, 3.2.6.1, calls typical. No limit: a public notebook runs a leak at
1 Hz, exactly."""


def slow_clock_findings(rate_hz: float, where: str = "slow clock") -> list[Finding]:
    """What is wrong with a rate: it must be a positive, finite number, and that is all."""
    if 0 < rate_hz < math.inf:
        return []
    return [Finding(where, "the rate must be a positive, finite number", rate_hz, "> 0", "Hz")]


def warn_of_slow_clock(rate_hz: float | None) -> None:
    """Say that a rate is outside the typical range; it is used as it is."""
    low, high = SLOW_CLOCK_TYPICAL_HZ
    if rate_hz is None or low <= rate_hz <= high:
        return
    text = (
        f"slow clock: {rate_hz:g} Hz is outside {low:g}..{high:g} Hz. The datasheet calls that typical; it "
        "is no limit, so the rate is used as it is: watch the first ticks on the board"
    )
    warn_caller(text)
