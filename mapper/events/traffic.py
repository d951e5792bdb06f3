"""Traffic as a file: spikes per second by signal, which a simulation measures and a placement takes in."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

from mapper.asking import TRAFFIC
from mapper.errors import EventError, Finding, OptionsError, unreadable
from mapper.files import write_text
from mapper.texts import json_of, plain_text

__all__ = ["read_traffic", "write_traffic"]

_RATE_MAX = 2**50
_BYTES_MAX = 1 << 24


def write_traffic(path: Path, spikes: Mapping[str, int], duration_us: int) -> None:
    """Write the rates of a recording, rounded to thousandths of a spike per second.

    Parameters
    ----------
    spikes
        By signal, how many left it.
    duration_us
        Length of the recording in microseconds.

    Raises
    ------
    EventError
        The recording has no length.
    OptionsError
        The file cannot be written.
    """
    if duration_us < 1:
        raise EventError(Finding(str(TRAFFIC), "the recording has no length, so there are no rates"))
    rates = {name: round(count * 1e6 / duration_us, 3) for name, count in spikes.items()}
    content = {"schema_version": 1, "spikes_per_second": rates}
    write_text(path, json.dumps(content, indent=1) + "\n")


def read_traffic(path: Path) -> tuple[tuple[str, int], ...]:
    """(signal, spikes per second) pairs of a file that `write_traffic` wrote, rates rounded up.

    Raises
    ------
    OptionsError
        It cannot be read, or holds something else.
    """
    step = "mapper simulate CONFIG --events FILE --traffic FILE writes one"
    try:
        content = json_of(plain_text(path, _BYTES_MAX))
    except OSError as error:
        raise OptionsError(Finding(str(path), unreadable(error))) from None
    except ValueError as error:
        raise OptionsError(Finding(str(path), f"is no traffic: {error}", next_step=step)) from None
    is_known = isinstance(content, dict) and content.get("schema_version") == 1
    rates = content.get("spikes_per_second") if is_known else None
    if not isinstance(rates, dict):
        problem = "is no traffic of a version this program knows"
        raise OptionsError(Finding(str(path), problem, next_step=step))
    wrong = [
        Finding(f"{path}: {name}", "a rate must be a number from 0", rate)
        for name, rate in rates.items()
        if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 <= rate < _RATE_MAX
    ]
    if wrong:
        raise OptionsError(*wrong)
    return tuple((name, math.ceil(rate)) for name, rate in rates.items())
