"""The compiled loop of the event simulator: spikes arrive, neurons add, compare and emit.

Everything a core is lies in flat tables, so that one function runs any graph. Potentials are laid out
(row, column, feature) and weights (input feature, row, column, feature): the features that one tap reaches
lie side by side, in both. No index is ever formed from an unchecked coordinate.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

__all__ = ["CORE", "COUNT", "NO_LINK", "ORDERS", "run_events"]


def _columns(*names: str) -> dict[str, int]:
    """Numbers of the columns of a table."""
    return {name: n for n, name in enumerate(names)}


CORE = _columns(
    "in_features", "in_height", "in_width", "features", "height", "width", "kernel", "stride_y", "stride_x",
    "padding_y", "padding_x", "high", "low", "to_zero", "weights", "potentials", "biases", "leak", "record",
    "decimate", "kills",
)  # fmt: skip
COUNT = _columns("arrived", "synops", "spikes", "saturated", "clamped", "decimated", "outside")
ORDERS = {"depth": 0, "breadth": 1, "random": 2}
NO_LINK = -1

_IN_F, _IN_H, _IN_W, _F, _H, _W, _K, _SY, _SX, _PY, _PX = range(11)
_HIGH, _LOW, _ZERO, _W0, _P0, _B0, _LEAK, _RECORD, _DECIMATE, _KILLS = range(11, 21)
_ARRIVED, _SYNOPS, _SPIKES, _SATURATED, _CLAMPED, _DECIMATED, _OUTSIDE = range(7)
_MAX, _MIN = 32767, -32768


@numba.njit(cache=True, inline="always")
def _added(potentials: Any, p0: int, weights: Any, w0: int, count: int) -> Any:
    """Add a row of weights; the largest and least potential it leaves."""
    top, bottom = np.int32(-(1 << 30)), np.int32(1 << 30)
    for n in range(count):
        value = potentials[p0 + n] + weights[w0 + n]
        potentials[p0 + n] = value
        top = max(top, value)
        bottom = min(bottom, value)
    return top, bottom


@numba.njit(cache=True, inline="always")
def _added_and_held(potentials: Any, p0: int, weights: Any, w0: int, count: int, low: int) -> Any:
    """`_added`, with potentials held at the lower bound; the largest one, and how many were held."""
    top, held, bound = np.int32(-(1 << 30)), np.int32(0), np.int32(low)
    for n in range(count):
        value = potentials[p0 + n] + weights[w0 + n]
        held += np.int32(value < bound)
        top = max(top, value)
        potentials[p0 + n] = max(value, bound)
    return top, held


@numba.njit(cache=True)
def _in_16_bits(value: int, wraps: bool) -> int:
    if wraps:
        return (value - _MIN) % 65536 + _MIN
    return min(max(value, _MIN), _MAX)


@numba.njit(cache=True)
def _settle(core: Any, counts: Any, potentials: Any, at: int, fires: bool, wraps: bool) -> bool:
    """Bring one potential into its range, after the comparison; whether the neuron spikes."""
    value = potentials[at]
    if value > _MAX or value < _MIN:
        counts[_SATURATED] += 1
        value = _in_16_bits(value, wraps)
    spikes = fires and value >= core[_HIGH]
    if spikes:
        value = 0 if core[_ZERO] else value - core[_HIGH]
    if value < core[_LOW]:
        counts[_CLAMPED] += 1
        value = core[_LOW]
    potentials[at] = value
    return spikes


@numba.njit(cache=True)
def _arrive(
    core: Any, counts: Any, weights: Any, kills: Any, potentials: Any,
    f: int, y: int, x: int, wraps: bool, fired: Any,
) -> int:  # fmt: skip
    """One spike arrives at a core; how many entries of `fired` (packed feature, row, column) it filled."""
    count, rows = 0, 0
    features, kernel, height, width = core[_F], core[_K], core[_H], core[_W]
    stride_y, stride_x, high, low = core[_SY], core[_SX], core[_HIGH], core[_LOW]
    # Nothing leaves 16 bits downwards where the bound lies above them by more than a weight.
    is_held = low > _MIN + 256
    first = core[_W0] + f * kernel * kernel * features
    for ky in range(kernel):
        oy = y + core[_PY] - ky
        if oy < 0 or (stride_y > 1 and oy % stride_y):
            continue
        oy = oy if stride_y == 1 else oy // stride_y
        if oy >= height:
            continue
        for kx in range(kernel):
            ox = x + core[_PX] - kx
            if ox < 0 or (stride_x > 1 and ox % stride_x):
                continue
            ox = ox if stride_x == 1 else ox // stride_x
            if ox >= width:
                continue
            p0 = core[_P0] + (oy * width + ox) * features
            w0 = first + (ky * kernel + kx) * features
            rows += 1
            if is_held:
                top, held = _added_and_held(potentials, p0, weights, w0, features, low)
                counts[_CLAMPED] += held
                if top < high and top <= _MAX:
                    continue
            else:
                top, bottom = _added(potentials, p0, weights, w0, features)
                if top < high and top <= _MAX and bottom >= low:
                    continue
            for n in range(features):
                value = potentials[p0 + n]
                if low <= value < high and value <= _MAX:
                    continue
                # A weight that is switched off does not touch its neuron.
                touched = core[_KILLS] < 0 or not kills[core[_KILLS] + w0 - core[_W0] + n]
                if _settle(core, counts, potentials, p0 + n, touched, wraps):
                    fired[count] = (n << 32) | (oy << 16) | ox
                    count += 1
    counts[_SYNOPS] += rows * features
    if count > 1:
        fired[:count].sort()
    return count


@numba.njit(cache=True)
def _grown(array: Any) -> Any:
    larger = np.empty(2 * len(array), array.dtype)
    larger[: len(array)] = array
    return larger


@numba.njit(cache=True)
def _draw(state: Any, below: int) -> Any:
    """A number 0..below − 1, by xorshift; the state goes on."""
    value = state[0]
    value ^= (value << np.uint64(13)) & np.uint64(0xFFFFFFFFFFFFFFFF)
    value ^= value >> np.uint64(7)
    value ^= (value << np.uint64(17)) & np.uint64(0xFFFFFFFFFFFFFFFF)
    state[0] = value
    return np.int64((value >> np.uint64(11)) % np.uint64(below))


@numba.njit(cache=True)
def _passes(core: Any, counts: Any, phase: Any, number: int) -> bool:
    """Whether a spike gets through the core's decimator: the last of every `decimate` does."""
    if core[_DECIMATE] == 0:
        return True
    phase[number] += 1
    if phase[number] < core[_DECIMATE]:
        counts[_DECIMATED] += 1
        return False
    phase[number] = 0
    return True


@numba.njit(cache=True)
def _kept(core: Any, counts: Any, phase: Any, number: int, fired: Any, count: int) -> int:
    """Drop what the core's decimator drops of its spikes, in order; how many are left."""
    kept = 0
    for n in range(count):
        if _passes(core, counts, phase, number):
            fired[kept] = fired[n]
            kept += 1
    return kept


@numba.njit(cache=True)
def _noted(record: Any, used: int, time: Any, owner: int, fired: Any, count: int) -> Any:
    """Write spikes behind `used` rows of a record, which grows; the record and its new length."""
    while used + count > len(record):
        larger = np.empty((2 * len(record), 3), np.int64)
        larger[: len(record)] = record
        record = larger
    for n in range(count):
        record[used, 0], record[used, 1], record[used, 2] = time, owner, fired[n]
        used += 1
    return record, used


@numba.njit(cache=True)
def _sent(
    number: int, packed: int, cores: Any, links: Any, border: Any, delivered: bool, pending: Any, size: int,
    backwards: bool,
) -> Any:  # fmt: skip
    """Put the arrivals of one spike behind `size` pending ones; the array and its new size."""
    f, y, x = packed >> 32, (packed >> 16) & 0xFFFF, packed & 0xFFFF
    slots = links.shape[1]
    for step in range(slots):
        slot = slots - 1 - step if backwards else step
        target, pooling = links[number, slot, 0], links[number, slot, 1]
        if target < 0:
            continue
        py, px = y // pooling, x // pooling
        if py >= cores[target, _IN_H] or px >= cores[target, _IN_W]:
            border[number, slot] += 1
            if not delivered:
                continue
        if size == len(pending):
            pending = _grown(pending)
        pending[size] = (target << 48) | ((f + links[number, slot, 2]) << 32) | (py << 16) | px
        size += 1
    return pending, size


@numba.njit(cache=True)
def _spread(
    number: int, fired: Any, count: int, cores: Any, links: Any, border: Any, delivered: bool, pending: Any,
    size: int, backwards: bool,
) -> Any:  # fmt: skip
    """Put the arrivals of a core's spikes behind the pending ones; backwards for a stack."""
    for n in range(count):
        one = fired[count - 1 - n] if backwards else fired[n]
        pending, size = _sent(number, one, cores, links, border, delivered, pending, size, backwards)
    return pending, size


@numba.njit(cache=True)
def _drained(
    time: Any, cores: Any, links: Any, weights: Any, kills: Any, potentials: Any, counts: Any, border: Any,
    phase: Any, random: Any, order: int, delivered: bool, wraps: bool, limit: int, fired: Any, pending: Any,
    size: int, record: Any, used: int,
) -> Any:  # fmt: skip
    """Work off all pending arrivals and what they cause; pending, record, its length, whether that ended."""
    head, caused = 0, 0
    while size > head:
        if order == 0:
            size -= 1
            packed = pending[size]
        elif order == 1:
            packed = pending[head]
            head += 1
        else:
            chosen = _draw(random, size)
            packed = pending[chosen]
            size -= 1
            pending[chosen] = pending[size]
        number = packed >> 48
        core, tally = cores[number], counts[number]
        f, y, x = (packed >> 32) & 0xFFFF, (packed >> 16) & 0xFFFF, packed & 0xFFFF
        if f >= core[_IN_F]:
            tally[_OUTSIDE] += 1
            continue
        count = _arrive(core, tally, weights, kills, potentials, f, y, x, wraps, fired)
        if count == 0:
            continue
        tally[_SPIKES] += count
        caused += count
        if caused > limit:
            return pending, record, used, False
        if core[_RECORD]:
            record, used = _noted(record, used, time, number, fired, count)
        count = _kept(core, tally, phase, number, fired, count)
        if head > 0 and size == len(pending):
            # A queue moves to the front before it grows.
            pending[: size - head] = pending[head:size].copy()
            size, head = size - head, 0
        pending, size = _spread(
            number, fired, count, cores, links, border, delivered, pending, size, order == 0
        )
    return pending, record, used, True


@numba.njit(cache=True)
def _ticked(
    core: Any, counts: Any, biases: Any, potentials: Any, wraps: bool, fires: bool, fired: Any
) -> int:
    """Add the biases of a core once; how many entries of `fired` it filled, none unless `fires`."""
    count = 0
    if not core[_LEAK]:
        return 0
    features, width = core[_F], core[_W]
    for place in range(core[_H] * width):
        for n in range(features):
            at = core[_P0] + place * features + n
            potentials[at] += biases[core[_B0] + n]
            if _settle(core, counts, potentials, at, fires, wraps):
                fired[count] = (n << 32) | ((place // width) << 16) | (place % width)
                count += 1
    if count > 1:
        fired[:count].sort()
    return count


@numba.njit(cache=True)
def _all_ticked(
    now: float, cores: Any, links: Any, weights: Any, kills: Any, biases: Any, potentials: Any, counts: Any,
    border: Any, phase: Any, random: Any, order: int, delivered: bool, wraps: bool, fires: bool, limit: int,
    fired: Any, pending: Any, record: Any, used: int,
) -> Any:  # fmt: skip
    """One tick of every core, and what its spikes cause; pending, record, its length, whether that ended."""
    time = np.int64(now)
    for number in range(len(cores)):
        core, tally = cores[number], counts[number]
        count = _ticked(core, tally, biases, potentials, wraps, fires, fired)
        if count == 0:
            continue
        tally[_SPIKES] += count
        if core[_RECORD]:
            record, used = _noted(record, used, time, number, fired, count)
        count = _kept(core, tally, phase, number, fired, count)
        pending, size = _spread(number, fired, count, cores, links, border, delivered, pending, 0, order == 0)
        pending, record, used, ended = _drained(
            time, cores, links, weights, kills, potentials, counts, border, phase, random, order, delivered,
            wraps, limit, fired, pending, size, record, used,
        )  # fmt: skip
        if not ended:
            return pending, record, used, False
    return pending, record, used, True


@numba.njit(cache=True)
def run_events(
    inputs: Any, cores: Any, links: Any, weights: Any, kills: Any, biases: Any, potentials: Any,
    counts: Any, border: Any, phase: Any, random: Any, clock: Any, period: float, order: int,
    delivered: bool, wraps: bool, fires_on_tick: bool, limit: int, end: float,
) -> Any:  # fmt: skip
    """Run arrivals in order, each with all its consequences, and the ticks of the slow clock between them.

    Parameters
    ----------
    inputs
        (arrivals, 5): time in µs, core, feature, row, column.
    clock
        Time of the next tick, which goes on. A tick at the time of an arrival comes before it.
    period
        Between ticks, µs; infinite for none.
    limit
        Most spikes that one arrival may cause.
    end
        Ticks before this time run too, when all arrivals are done.

    Returns
    -------
    tuple
        Spikes of recorded cores (time, core, packed feature, row, column); the arrival that broke the
        limit, or −1.
    """
    room = 1
    for n in range(len(cores)):
        room = max(room, cores[n, _F] * cores[n, _K] ** 2, cores[n, _F] * cores[n, _H] * cores[n, _W])
    fired, pending = np.empty(room, np.int64), np.empty(1024, np.int64)
    record, used = np.empty((1024, 3), np.int64), 0
    for row in range(len(inputs) + 1):
        is_last = row == len(inputs)
        now = end if is_last else float(inputs[row, 0])
        while clock[0] < now or (clock[0] == now and not is_last):
            pending, record, used, ended = _all_ticked(
                clock[0], cores, links, weights, kills, biases, potentials, counts, border, phase, random,
                order, delivered, wraps, fires_on_tick, limit, fired, pending, record, used,
            )  # fmt: skip
            if not ended:
                return record[:used], row
            clock[0] += period
        if is_last:
            break
        pending[0] = (inputs[row, 1] << 48) | (inputs[row, 2] << 32) | (inputs[row, 3] << 16) | inputs[row, 4]
        pending, record, used, ended = _drained(
            inputs[row, 0], cores, links, weights, kills, potentials, counts, border, phase, random, order,
            delivered, wraps, limit, fired, pending, 1, record, used,
        )  # fmt: skip
        if not ended:
            return record[:used], row
    return record[:used], -1
