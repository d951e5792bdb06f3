"""The compiled loop of the event simulator: spikes arrive, neurons add, compare and emit.

Everything a core is lies in flat tables, so that one function runs any graph. Potentials are laid out
(row, column, feature) and weights (input feature, row, column, feature), the taps of a kernel in the order of
the outputs that they reach: what an arrival adds to one row of a map is one run, in both. No index is ever
formed from an unchecked coordinate.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mapper.sim.compiling import compiled

if TYPE_CHECKING:
    from mapper.sim.event_tables import Chip, Rules

__all__ = ["CORE", "COUNT", "NO_LINK", "ORDERS", "columns", "go_on", "in_16_bits", "run_events", "sort_few"]


def columns(*names: str) -> dict[str, int]:
    """Numbers of the columns of a table."""
    return {name: n for n, name in enumerate(names)}


CORE = columns(
    "in_features", "in_height", "in_width", "features", "height", "width", "kernel", "stride_y", "stride_x",
    "padding_y", "padding_x", "high", "low", "to_zero", "weights", "potentials", "biases", "leak", "record",
    "decimate", "kills",
)  # fmt: skip
COUNT = columns("arrived", "synops", "spikes", "saturated", "clamped", "decimated", "outside")
ORDERS = {"depth": 0, "breadth": 1, "random": 2}
NO_LINK = -1

_IN_F, _IN_H, _IN_W, _F, _H, _W, _K, _SY, _SX, _PY, _PX = range(11)
_HIGH, _LOW, _ZERO, _W0, _P0, _B0, _LEAK, _RECORD, _DECIMATE, _KILLS = range(11, 21)
_ARRIVED, _SYNOPS, _SPIKES, _SATURATED, _CLAMPED, _DECIMATED, _OUTSIDE = range(7)
_MAX, _MIN = 32767, -32768

# What a run is in the midst of: the next arrival, the next core of a tick (none: the number of cores), the
# pending ones' end and begin, rows of the record, spikes of the present cause, its time and its arrival,
# whether a tick is on.
_ROW, _CORE, _SIZE, _HEAD, _USED, _CAUSED, _TIME, _CAUSE, _TICKING = range(9)
_ENDED, _BROKEN, _FULL = range(3)

# Compiled into the caller, without counting references to arrays: calls that pass every array in seven words
# and count would cost more than all arithmetic. Nothing compiled allocates: it would take seconds to compile.
_inlined = compiled(
    is_kept=False, error_model="numpy", forceinline=True, no_cpython_wrapper=True, no_cfunc_wrapper=True,
    _nrt=False,
)  # fmt: skip


@_inlined
def _added(potentials: Any, p0: int, weights: Any, w0: int, count: int) -> Any:
    """Add a run of weights; the largest and least potential it leaves."""
    top, bottom = np.int32(-(1 << 30)), np.int32(1 << 30)
    # Signed indices may count from the end, and sums of 32 bits have 64: either one keeps numba from
    # vector code.
    for n in range(count):
        value = np.int32(potentials[np.uint64(p0 + n)] + weights[np.uint64(w0 + n)])
        potentials[np.uint64(p0 + n)] = value
        top = max(top, value)
        bottom = min(bottom, value)
    return top, bottom


@_inlined
def _added_and_held(potentials: Any, p0: int, weights: Any, w0: int, count: int, bound: Any) -> Any:
    """`_added`, with potentials held at the lower bound; the largest one, and how many were held."""
    top, held = np.int32(-(1 << 30)), np.int32(0)
    for n in range(count):
        value = np.int32(potentials[np.uint64(p0 + n)] + weights[np.uint64(w0 + n)])
        held = np.int32(held + np.int32(value < bound))
        top = max(top, value)
        potentials[np.uint64(p0 + n)] = max(value, bound)
    return top, held


@_inlined
def in_16_bits(value: int, wraps: bool) -> int:
    """A potential beyond 16 bits, saturated or wrapped."""
    if wraps:
        return (value - _MIN) % 65536 + _MIN
    return min(max(value, _MIN), _MAX)


@_inlined
def _settle(number: int, chip: Chip, at: int, fires: bool, wraps: bool) -> bool:
    """Bring one potential into its range, after the comparison; whether the neuron spikes."""
    value = chip.potentials[at]
    if value > _MAX or value < _MIN:
        chip.counts[number, _SATURATED] += 1
        value = in_16_bits(value, wraps)
    high, low = chip.cores[number, _HIGH], chip.cores[number, _LOW]
    spikes = fires and value >= high
    if spikes:
        value = 0 if chip.cores[number, _ZERO] else value - high
    if value < low:
        chip.counts[number, _CLAMPED] += 1
        value = low
    chip.potentials[at] = value
    return spikes


@_inlined
def sort_few(fired: Any, first: int, count: int) -> None:
    """Bring entries into ascending order, by insertion at falling distances: they are few."""
    distance = 1
    while distance < count // 9:
        distance = 3 * distance + 1
    while distance > 0:
        for n in range(distance, count):
            one, place = fired[first + n], n
            while place >= distance and fired[first + place - distance] > one:
                fired[first + place] = fired[first + place - distance]
                place -= distance
            fired[first + place] = one
        distance //= 3


@_inlined
def _compared(
    number: int, chip: Chip, p0: int, w0: int, row: int, column: int, columns: int, wraps: bool, fired: Any,
    count: int,
) -> int:  # fmt: skip
    """Settle the potentials of a run that have to be; how many entries of `fired` are filled then."""
    cores, potentials = chip.cores, chip.potentials
    features, low, ceiling = cores[number, _F], cores[number, _LOW], min(cores[number, _HIGH], _MAX + 1)
    kill0 = cores[number, _KILLS]
    for step in range(columns):
        first = p0 + step * features
        top, bottom = np.int32(-(1 << 30)), np.int32(1 << 30)
        for n in range(features):
            top = max(top, potentials[np.uint64(first + n)])
            bottom = min(bottom, potentials[np.uint64(first + n)])
        if top < ceiling and bottom >= low:
            continue
        for n in range(features):
            value = potentials[np.uint64(first + n)]
            if low <= value < ceiling:
                continue
            # A weight that is switched off does not touch its neuron.
            touched = kill0 < 0 or not chip.kills[kill0 + w0 - cores[number, _W0] + step * features + n]
            if _settle(number, chip, first + n, touched, wraps):
                fired[count] = (n << 32) | (row << 16) | (column + step)
                count += 1
    return count


@_inlined
def _arrive(number: int, f: int, y: int, x: int, chip: Chip, wraps: bool, fired: Any) -> Any:
    """One spike arrives at a core; how many entries of `fired` (packed feature, row, column) it filled."""
    cores, spans, potentials, weights = chip.cores, chip.spans, chip.potentials, chip.weights
    row, tap_y, rows = spans[number, 0, y, 0], spans[number, 0, y, 1], spans[number, 0, y, 2]
    column, tap_x, columns = spans[number, 1, x, 0], spans[number, 1, x, 1], spans[number, 1, x, 2]
    features, kernel, width = cores[number, _F], cores[number, _K], cores[number, _W]
    low, ceiling = cores[number, _LOW], min(cores[number, _HIGH], _MAX + 1)
    # Nothing leaves 16 bits downwards where the bound lies above them by more than a weight.
    is_held = low > _MIN + 256
    bound = np.int32(low)
    p0 = cores[number, _P0] + (row * width + column) * features
    w0 = cores[number, _W0] + ((f * kernel + tap_y) * kernel + tap_x) * features
    # A plain 0 has a type of its own, for which callees would be compiled once more.
    first: Any = np.int64(0)
    count: Any = np.int64(0)
    for step in range(rows):
        if is_held:
            top, held = _added_and_held(potentials, p0, weights, w0, columns * features, bound)
            chip.counts[number, _CLAMPED] += held
            crosses = top >= ceiling
        else:
            top, bottom = _added(potentials, p0, weights, w0, columns * features)
            crosses = top >= ceiling or bottom < low
        if crosses:
            count = _compared(number, chip, p0, w0, row + step, column, columns, wraps, fired, count)
        p0 += width * features
        w0 += kernel * features
    chip.counts[number, _SYNOPS] += rows * columns * features
    if count > 1:
        sort_few(fired, first, count)
    return count


@_inlined
def _draw(state: Any, below: int) -> Any:
    """A number 0..below − 1, by xorshift; the state goes on."""
    value = state[0]
    value ^= (value << np.uint64(13)) & np.uint64(0xFFFFFFFFFFFFFFFF)
    value ^= value >> np.uint64(7)
    value ^= (value << np.uint64(17)) & np.uint64(0xFFFFFFFFFFFFFFFF)
    state[0] = value
    return np.int64((value >> np.uint64(11)) % np.uint64(below))


@_inlined
def _kept(number: int, chip: Chip, fired: Any, count: int) -> int:
    """Drop what the core's decimator drops of its spikes, in order; how many are left.

    The last of every `decimate` passes.
    """
    every = chip.cores[number, _DECIMATE]
    if every == 0:
        return count
    kept = 0
    for n in range(count):
        chip.phase[number] += 1
        if chip.phase[number] < every:
            chip.counts[number, _DECIMATED] += 1
        else:
            chip.phase[number] = 0
            fired[kept] = fired[n]
            kept += 1
    return kept


@_inlined
def _sent(number: int, packed: int, chip: Chip, rules: Rules, pending: Any, size: int) -> int:
    """Put the arrivals of one spike behind `size` pending ones; their new number."""
    f, y, x = packed >> 32, (packed >> 16) & 0xFFFF, packed & 0xFFFF
    slots = chip.links.shape[1]
    for step in range(slots):
        # A stack gives back last what it got first.
        slot = slots - 1 - step if rules.order == 0 else step
        link = chip.links
        target, pooling, shift = link[number, slot, 0], link[number, slot, 1], link[number, slot, 2]
        if target < 0:
            continue
        # Division of 32 bits takes half the time.
        py = np.int64(np.uint32(y) // np.uint32(pooling))
        px = np.int64(np.uint32(x) // np.uint32(pooling))
        if py >= chip.cores[target, _IN_H] or px >= chip.cores[target, _IN_W]:
            chip.border[number, slot] += 1
            if not rules.delivered:
                continue
        pending[size] = (target << 48) | ((f + shift) << 32) | (py << 16) | px
        size += 1
    return size


@_inlined
def _emitted(
    number: int, count: int, chip: Chip, rules: Rules, fired: Any, pending: Any, size: int, record: Any,
    progress: Any,
) -> int:  # fmt: skip
    """Count, record and send a core's spikes; the new number of pending arrivals."""
    chip.counts[number, _SPIKES] += count
    if chip.cores[number, _RECORD]:
        used = progress[_USED]
        for n in range(count):
            record[used + n, 0], record[used + n, 1] = progress[_TIME], number
            record[used + n, 2] = fired[n]
        progress[_USED] = used + count
    count = _kept(number, chip, fired, count)
    for n in range(count):
        one = fired[count - 1 - n] if rules.order == 0 else fired[n]
        size = _sent(number, one, chip, rules, pending, size)
    return size


@_inlined
def _has_room(chip: Chip, fired: Any, pending: Any, size: int, record: Any, progress: Any) -> bool:
    """Whether all that one arrival or tick may cause fits."""
    most = len(fired)
    return bool(size + most * chip.links.shape[1] <= len(pending) and progress[_USED] + most <= len(record))


@_inlined
def _drained(chip: Chip, rules: Rules, fired: Any, pending: Any, record: Any, progress: Any) -> int:
    """Work off all pending arrivals and what they cause; whether that ended."""
    size, head, status = progress[_SIZE], progress[_HEAD], _ENDED
    while size > head:
        if not _has_room(chip, fired, pending, size, record, progress):
            status = _FULL
            break
        if rules.order == 0:
            size -= 1
            packed = pending[size]
        elif rules.order == 1:
            packed = pending[head]
            head += 1
        else:
            chosen = _draw(chip.random, size)
            packed = pending[chosen]
            size -= 1
            pending[chosen] = pending[size]
        number = packed >> 48
        f, y, x = (packed >> 32) & 0xFFFF, (packed >> 16) & 0xFFFF, packed & 0xFFFF
        if f >= chip.cores[number, _IN_F] or max(y, x) >= chip.spans.shape[2]:
            chip.counts[number, _OUTSIDE] += 1
            continue
        count = _arrive(number, f, y, x, chip, rules.wraps, fired)
        if count == 0:
            continue
        progress[_CAUSED] += count
        if progress[_CAUSED] > rules.limit:
            chip.counts[number, _SPIKES] += count
            status = _BROKEN
            break
        size = _emitted(number, count, chip, rules, fired, pending, size, record, progress)
    if status == _ENDED:
        size, head = 0, 0
    progress[_SIZE], progress[_HEAD] = size, head
    return status


@_inlined
def _ticked(number: int, chip: Chip, rules: Rules, fired: Any) -> Any:
    """Add the biases of a core once; how many entries of `fired` it filled."""
    first: Any = np.int64(0)
    count: Any = np.int64(0)
    cores = chip.cores
    if not cores[number, _LEAK]:
        return count
    features, width = cores[number, _F], cores[number, _W]
    for place in range(cores[number, _H] * width):
        for n in range(features):
            at = cores[number, _P0] + place * features + n
            chip.potentials[at] += chip.biases[cores[number, _B0] + n]
            if _settle(number, chip, at, rules.fires_on_tick, rules.wraps):
                fired[count] = (n << 32) | ((place // width) << 16) | (place % width)
                count += 1
    if count > 1:
        sort_few(fired, first, count)
    return count


@compiled(nogil=True, error_model="numpy", _nrt=False)
def go_on(inputs: Any, chip: Chip, rules: Rules, fired: Any, pending: Any, record: Any, progress: Any) -> int:
    """Go on with a run until it has ended, has broken the limit, or has filled an array."""
    cores, clock = len(chip.cores), chip.clock
    while True:
        status = _drained(chip, rules, fired, pending, record, progress)
        if status != _ENDED:
            return status
        row, number = progress[_ROW], progress[_CORE]
        is_last = row == len(inputs)
        now = rules.end if is_last else float(inputs[row, 0])
        if number < cores:
            if not _has_room(chip, fired, pending, progress[_SIZE], record, progress):
                return _FULL
            progress[_CAUSED], progress[_TIME], progress[_CAUSE] = 0, np.int64(clock[0]), row
            count = _ticked(number, chip, rules, fired)
            size = progress[_SIZE]
            progress[_SIZE] = _emitted(number, count, chip, rules, fired, pending, size, record, progress)
            progress[_CORE] = number + 1
        elif progress[_TICKING]:
            progress[_TICKING] = 0
            clock[0] += rules.period
        elif clock[0] < now or (clock[0] == now and not is_last):
            progress[_CORE], progress[_TICKING] = 0, 1
        elif is_last:
            return _ENDED
        else:
            progress[_CAUSED], progress[_TIME], progress[_CAUSE] = 0, inputs[row, 0], row
            pending[0] = inputs[row, 1]
            progress[_SIZE], progress[_ROW] = 1, row + 1


def _moved(old: NDArray[np.int64], first: int, count: int, room: int) -> NDArray[np.int64]:
    """Entries of an array at the front of a larger one."""
    new = np.empty((room, *old.shape[1:]), np.int64)
    new[:count] = old[first : first + count]
    return new


def run_events(inputs: Any, chip: Chip, rules: Rules) -> tuple[NDArray[np.int64], int]:
    """Run arrivals in order, each with all its consequences, and the ticks of the slow clock between them.

    Parameters
    ----------
    inputs
        (arrivals, 2): time in µs; core, feature, row and column, packed.
    chip
        Its potentials, counts and clocks go on. A tick at the time of an arrival comes before it.

    Returns
    -------
    tuple
        Spikes of recorded cores (time, core, packed feature, row, column); the arrival that broke the
        limit, or −1.
    """
    cores, slots = chip.cores, chip.links.shape[1]
    at_once = cores[:, _F] * np.maximum(cores[:, _K] ** 2, cores[:, _H] * cores[:, _W])
    room = int(at_once.max(initial=1))
    fired, pending = np.empty(room, np.int64), np.empty(room * slots + 1024, np.int64)
    record, progress = np.empty((room + 1024, 3), np.int64), np.zeros(9, np.int64)
    progress[_CORE] = len(cores)
    while (status := go_on(inputs, chip, rules, fired, pending, record, progress)) == _FULL:
        # A queue moves to the front; what has to grow at least doubles.
        waiting, used = int(progress[_SIZE] - progress[_HEAD]), int(progress[_USED])
        pending = _moved(pending, progress[_HEAD], waiting, 2 * (waiting + room * slots) + 1024)
        progress[_SIZE], progress[_HEAD] = waiting, 0
        record = _moved(record, 0, used, 2 * (used + room) + 1024)
    return record[: progress[_USED]], int(progress[_CAUSE]) if status == _BROKEN else -1
