"""The compiled loop of one core: what arrives, in order, and what it emits.

Spikes are packed: cause, feature, row, column, of 16 bits each. A cause is an arrival from outside, by its
number in a block of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mapper.sim.compiling import compiled
from mapper.sim.event_kernel import CORE, COUNT, in_16_bits, sort_few
from mapper.sim.vector_add import LANES, add_16, add_32, lowest_bit, set_lanes

if TYPE_CHECKING:
    from mapper.sim.event_cores import CoreArrays, Way

__all__ = ["CAUSES_MAX", "run_core", "sent", "ticks_between"]

CAUSES_MAX = 1 << 15
"""Causes of a block: so many fit above the coordinates of a packed spike."""

_IN_F, _F, _W, _K = CORE["in_features"], CORE["features"], CORE["width"], CORE["kernel"]
_HIGH, _LOW, _ZERO, _KILLS = CORE["high"], CORE["low"], CORE["to_zero"], CORE["kills"]
_ARRIVED, _SYNOPS, _SPIKES, _SATURATED = (COUNT[n] for n in ("arrived", "synops", "spikes", "saturated"))
_CLAMPED, _OUTSIDE = COUNT["clamped"], COUNT["outside"]
_MAX, _MIN = 32767, -32768
# Where a run stands: the next arrival, ticks that are done, spikes emitted, arrivals outside the map.
_NEXT, _TICKS, _USED, _BORDER = range(4)
# Lanes count in 16 bits what they hold: of so many blocks, and of the most that are added at once.
_COUNTED = 1 << 13
# Entries of `starts` for an arrival.
_START = 4

_inlined = compiled(is_kept=False, error_model="numpy", forceinline=True, no_cpython_wrapper=True, _nrt=False)


@_inlined
def _settled(core: CoreArrays, at: int, added: int, fires: bool, wraps: bool) -> bool:
    """Bring one potential into its range, after the comparison; whether the neuron spikes."""
    row = core.row
    value: Any = np.int64(core.potentials[at]) + core.offset + added
    if value > _MAX or value < _MIN:
        core.counts[_SATURATED] += 1
        value = in_16_bits(value, wraps)
    spikes = fires and value >= row[_HIGH]
    if spikes:
        value = 0 if row[_ZERO] else value - row[_HIGH]
    if value < row[_LOW]:
        core.counts[_CLAMPED] += 1
        value = row[_LOW]
    core.potentials[at] = value - core.offset
    return spikes


@_inlined
def _ticked(core: CoreArrays, wraps: bool) -> None:
    """Add the biases once; nothing is compared."""
    for place in range(0, core.neurons, core.wide):
        for n in range(core.row[_F]):
            _settled(core, place + n, core.biases[n], False, wraps)


@_inlined
def _ordered(emitted: Any, first: int, count: int) -> None:
    """Bring an arrival's spikes into order."""
    if count == 2:
        # Without a branch, which could not be foretold.
        one, other = emitted[np.uint64(first)], emitted[np.uint64(first + 1)]
        emitted[np.uint64(first)], emitted[np.uint64(first + 1)] = min(one, other), max(one, other)
    elif count > 2:
        sort_few(emitted, first, count)


@_inlined
def _emitted(
    core: CoreArrays, blocks: int, is_plain: bool, wraps: bool, emitted: Any, came_by: Any, used: int
) -> int:
    """Spikes of what was added at once, of so many blocks; how many entries of `emitted` are filled then."""
    starts, places, table, masks = core.starts, core.places, core.blocks, core.masks
    arrival, first, end, begun = 0, 0, starts[3], used
    for part in range(0, blocks, LANES):
        found = set_lanes(masks, part)
        if blocks - part < LANES:
            found &= (1 << (blocks - part)) - 1
        while found:
            block = part + lowest_bit(found)
            found &= found - 1
            if block >= end:
                _ordered(emitted, begun, used - begun)
                begun = used
                while block >= end:
                    arrival, first = arrival + 1, end
                    end += starts[np.uint64(_START * arrival + 3)]
            start = _START * arrival
            entry = starts[np.uint64(start + 2)] + 3 * (block - first)
            place = places[np.uint64(2 * arrival)] + table[np.uint64(entry + 2)]
            reached = np.int64(masks[np.uint64(block)])
            while reached:
                n = lowest_bit(reached)
                reached &= reached - 1
                if not is_plain:
                    # A weight that is switched off does not touch its neuron.
                    touched = len(core.kills) == 0 or not core.kills[starts[start + 1] + table[entry + 1] + n]
                    if not _settled(core, starts[start] + table[entry] + n, 0, touched, wraps):
                        continue
                emitted[np.uint64(used)] = place + (n << 32)
                if len(came_by):
                    came_by[used] = places[2 * arrival + 1]
                used += 1
    _ordered(emitted, begun, used - begun)
    return used


@_inlined
def _steps(core: CoreArrays) -> Any:
    """So many arrivals can lift no potential beyond 16 bits."""
    highest: Any = np.int16(_MIN)
    for n in range(core.neurons):
        highest = max(highest, core.potentials[np.uint64(n)])
    return (_MAX - core.offset - np.int64(highest)) // max(core.lift, 1)


@_inlined
def _at_once(core: CoreArrays, room: int, steps: int) -> Any:
    """How many arrivals may be added at once, whether they are plain, and `steps` behind them.

    Parameters
    ----------
    steps
        Arrivals until one has to look again: plain ones, or, negative, others.
    """
    if not core.is_plain:
        return 1, False, 0
    if not core.lift:
        return room, True, 0
    if steps == 0:
        steps = _steps(core)
        # Where 16 bits may end it is one by one, for as long as it takes to look again.
        steps = -1 - core.neurons // LANES if steps <= 0 else steps
    if steps < 0:
        return 1, False, steps + 1
    room = min(room, steps)
    return room, True, steps - room


@_inlined
def _taken(held: Any) -> Any:
    """What lanes have counted, which begin anew."""
    total: Any = 0
    for n in range(len(held)):
        total += np.int64(held[n])
        held[n] = 0
    return total


@_inlined
def _begun(
    core: CoreArrays, arrivals: Any, is_kept: Any, way: Way, ticks: Any, wraps: bool, progress: Any, room: int
) -> Any:
    """Fill `starts` with what arrivals reach, and bring the ticks before them; how many, and their blocks."""
    spans, starts, size, blocks = core.spans, core.starts, 0, 0
    in_features, reach, taps = core.row[_IN_F], spans.shape[1], core.row[_K] ** 2 * core.wide
    most, n, total = core.blocks_most, progress[_NEXT], len(arrivals)
    while n < total and size < room:
        n += 1
        if len(is_kept) and not is_kept[n - 1]:
            continue
        packed = arrivals[n - 1]
        f = ((packed >> 32) & 0xFFFF) + way.shift
        y, x = (((packed >> 16) & 0xFFFF) * way.pool) >> 32, ((packed & 0xFFFF) * way.pool) >> 32
        if y >= way.height or x >= way.width:
            progress[_BORDER] += 1
            if not way.delivered:
                continue
        if f >= in_features or max(y, x) >= reach:
            core.counts[_OUTSIDE] += 1
            continue
        if core.leaks:
            while progress[_TICKS] < ticks[packed >> 48]:
                _ticked(core, wraps)
                progress[_TICKS] += 1
        columns = spans[1, x, 3]
        length = spans[0, y, 3] * columns
        if length:
            at = np.uint64(_START * size)
            starts[at] = spans[0, y, 0] + spans[1, x, 0]
            starts[at + np.uint64(1)] = f * taps + spans[0, y, 1] + spans[1, x, 1]
            starts[at + np.uint64(2)], starts[at + np.uint64(3)] = 3 * most * columns, length
            core.places[np.uint64(2 * size)] = (
                (packed & ~np.int64(0xFFFFFFFFFFFF)) + spans[0, y, 2] + spans[1, x, 2]
            )
            core.places[np.uint64(2 * size + 1)] = n - 1
            size += 1
            blocks += length
    progress[_NEXT] = n
    return size, blocks


@compiled(nogil=True, error_model="numpy")
def run_core(
    core: CoreArrays, arrivals: Any, is_kept: Any, way: Way, ticks: Any, wraps: bool, progress: Any,
    emitted: Any, came_by: Any,
) -> bool:  # fmt: skip
    """Run a block's arrivals at one core, and its ticks; whether it ended, or `emitted` is full.

    Parameters
    ----------
    arrivals
        Packed, in order: as they left their core, and so far as `way` brings them to this one.
    is_kept
        Which of them a decimator lets pass; empty for all.
    ticks
        By cause, ticks of the slow clock in the block before it; at last those before its end.
    progress
        Next arrival, ticks done, spikes emitted, arrivals outside the map: where to begin, and where it
        stopped.
    emitted, came_by
        Spikes, packed, and the arrival that each is of; the latter is empty where nobody asks.
    """
    used, done, counted, clamped, steps, total = progress[_USED], 0, 0, 0, 0, len(arrivals)
    starts, masks = core.starts, core.masks
    while progress[_NEXT] < total:
        room = min(len(starts) // _START, (len(emitted) - used) // core.most)
        if room == 0:
            break
        room, is_plain, steps = _at_once(core, room, steps)
        kept, change = (core.kept, core.change) if is_plain else (np.int16(-1), np.int16(0))
        size, blocks = _begun(core, arrivals, is_kept, way, ticks, wraps, progress, room)
        if size == 0:
            continue
        if core.is_narrow:
            add_16(
                core.potentials, core.weights, starts, core.blocks, core.held, masks, size, core.bound,
                core.ceiling, kept, change,
            )  # fmt: skip
        else:
            add_32(
                core.potentials, core.weights, starts, core.blocks, core.held, masks, size, core.bound,
                core.ceiling, kept, change,
            )  # fmt: skip
        used = _emitted(core, blocks, is_plain, wraps, emitted, came_by, used)
        done += blocks
        if done - counted > _COUNTED:
            clamped, counted = clamped + _taken(core.held), done
    if core.leaks and progress[_NEXT] == total:
        while progress[_TICKS] < ticks[len(ticks) - 1]:
            _ticked(core, wraps)
            progress[_TICKS] += 1
    core.counts[core.held_as] += clamped + _taken(core.held)
    core.counts[_SYNOPS] += done // (core.wide // (16 if core.is_narrow else LANES)) * core.row[_F]
    core.counts[_SPIKES] += used - progress[_USED]
    progress[_USED] = used
    return bool(progress[_NEXT] == total)


@compiled(nogil=True, error_model="numpy")
def sent(emitted: Any, is_kept: Any, way: Way, packed: Any, spike: Any) -> Any:
    """Spikes on their way to a core; how many arrive, and how many lie outside its map.

    Parameters
    ----------
    is_kept
        As in `run_core`.
    packed, spike
        What arrives, and which of the spikes it is.
    """
    count, outside = 0, 0
    for n in range(len(emitted)):
        if len(is_kept) and not is_kept[n]:
            continue
        one = emitted[n]
        y, x = (((one >> 16) & 0xFFFF) * way.pool) >> 32, ((one & 0xFFFF) * way.pool) >> 32
        if y >= way.height or x >= way.width:
            outside += 1
            if not way.delivered:
                continue
        packed[count] = (((one >> 32) + way.shift) << 32) | (y << 16) | x
        spike[count] = n
        count += 1
    return count, outside


@compiled(nogil=True)
def ticks_between(times: Any, clock: Any, period: float, end: float) -> Any:
    """Ticks before each arrival, one at its time included, and before the end; the clock goes on."""
    ticks, done = np.empty(len(times) + 1, np.int64), 0
    for n in range(len(times) + 1):
        is_last = n == len(times)
        now = end if is_last else float(times[n])
        while clock[0] < now or (clock[0] == now and not is_last):
            clock[0] += period
            done += 1
        ticks[n] = done
    return ticks
