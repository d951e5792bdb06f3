"""The compiled loop of one core: what arrives, in order, and what it emits.

Spikes are packed: cause, feature, row, column, of 16 bits each. A cause is an arrival from outside, by its
number in a block of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mapper.sim.compiling import compiled
from mapper.sim.event_kernel import CORE, COUNT, in_16_bits, sort_few
from mapper.sim.vector_add import (
    LANES,
    SORTED_MAX,
    add_16,
    add_32,
    lowest_bit,
    set_lanes,
    sort_8,
    sort_16,
)

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
# Of their own, so that their loops have all registers.
_apart = compiled(is_kept=False, error_model="numpy", no_cpython_wrapper=True, _nrt=False)


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
def _ticked(core: CoreArrays, until: int, wraps: bool, progress: Any) -> None:
    """Add the biases once a tick, up to so many ticks of the block; nothing is compared."""
    while progress[_TICKS] < until:
        for place in range(0, core.neurons, core.wide):
            for n in range(core.row[_F]):
                _settled(core, place + n, core.biases[n], False, wraps)
        progress[_TICKS] += 1


@_inlined
def _ordered(emitted: Any, first: int, count: int) -> None:
    """Bring an arrival's spikes into order."""
    if count == 2:
        # Without a branch, which could not be foretold.
        one, other = emitted[np.uint64(first)], emitted[np.uint64(first + 1)]
        emitted[np.uint64(first)], emitted[np.uint64(first + 1)] = min(one, other), max(one, other)
    elif 2 < count <= 8:
        sort_8(emitted, first, count)
    elif 8 < count <= SORTED_MAX:
        sort_16(emitted, first, count)
    elif count > SORTED_MAX:
        sort_few(emitted, first, count)


@_inlined
def _added(core: CoreArrays, size: int, is_plain: bool) -> None:
    """Add so many arrivals at once."""
    kept, change = (core.kept, core.change) if is_plain else (np.int16(-1), np.int16(0))
    if core.is_narrow:
        add_16(
            core.potentials, core.weights, core.starts, core.blocks, core.held, core.masks, size, core.bound,
            core.ceiling, kept, change,
        )  # fmt: skip
    else:
        add_32(
            core.potentials, core.weights, core.starts, core.blocks, core.held, core.masks, size, core.bound,
            core.ceiling, kept, change,
        )  # fmt: skip


@_apart
def _emitted(
    starts: Any, places: Any, table: Any, masks: Any, blocks: int, emitted: Any, came_by: Any, used: int
) -> int:
    """Spikes of what was added at once, of so many blocks; how many entries of `emitted` are filled then."""
    arrival: Any = 0
    first: Any = 0
    end, begun = starts[3], used
    for part in range(0, blocks, LANES):
        found = set_lanes(masks, part)
        if blocks - part < LANES:
            found &= (1 << (blocks - part)) - 1
        while found:
            block = part + lowest_bit(found)
            found &= found - 1
            if block >= end:
                _ordered(emitted, begun, used - begun)
                if len(came_by):
                    for n in range(begun, used):
                        came_by[np.uint64(n)] = places[np.uint64(2 * arrival + 1)]
                begun = used
                while block >= end:
                    arrival, first = arrival + 1, end
                    end += starts[np.uint64(_START * arrival + 3)]
            entry = starts[np.uint64(_START * arrival + 2)] + 3 * (block - first)
            place = places[np.uint64(2 * arrival)] + table[np.uint64(entry + 2)]
            reached = np.int64(masks[np.uint64(block)])
            while reached:
                emitted[np.uint64(used)] = place + (lowest_bit(reached) << 32)
                reached &= reached - 1
                used += 1
    _ordered(emitted, begun, used - begun)
    if len(came_by):
        for n in range(begun, used):
            came_by[np.uint64(n)] = places[np.uint64(2 * arrival + 1)]
    return used


@_inlined
def _settled_one(core: CoreArrays, blocks: int, wraps: bool, emitted: Any, came_by: Any, used: int) -> int:
    """As `_emitted`, of one arrival whose potentials have to be brought into their range."""
    starts, places, table, masks, begun = core.starts, core.places, core.blocks, core.masks, used
    for block in range(blocks):
        entry, reached = starts[2] + 3 * block, np.int64(masks[block])
        while reached:
            n = lowest_bit(reached)
            reached &= reached - 1
            # A weight that is switched off does not touch its neuron.
            touched = len(core.kills) == 0 or not core.kills[starts[1] + table[entry + 1] + n]
            if _settled(core, starts[0] + table[entry] + n, 0, touched, wraps):
                emitted[used] = places[0] + table[entry + 2] + (n << 32)
                if len(came_by):
                    came_by[used] = places[1]
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


@_apart
def _begun(
    spans: Any, starts: Any, places: Any, counts: Any, in_features: int, taps: int, most: int, arrivals: Any,
    is_kept: Any, way: Way, progress: Any, room: int,
) -> Any:  # fmt: skip
    """Fill `starts` with what arrivals reach; how many these are, and their blocks."""
    size: Any = 0
    blocks: Any = 0
    reach, n, total, outside, beyond = len(spans) // 8, progress[_NEXT], len(arrivals), 0, 0
    while n < total and size < room:
        packed = arrivals[np.uint64(n)]
        n += 1
        if len(is_kept) and not is_kept[np.uint64(n - 1)]:
            continue
        f = ((packed >> 32) & 0xFFFF) + way.shift
        y, x = (((packed >> 16) & 0xFFFF) * way.pool) >> 32, ((packed & 0xFFFF) * way.pool) >> 32
        if y >= way.height or x >= way.width:
            beyond += 1
            if not way.delivered:
                continue
        if f >= in_features or max(y, x) >= reach:
            outside += 1
            continue
        down, across = np.uint64(4 * y), np.uint64(4 * (reach + x))
        columns = spans[across + np.uint64(3)]
        length = spans[down + np.uint64(3)] * columns
        if length:
            at, place = np.uint64(_START * size), np.uint64(2 * size)
            starts[at] = spans[down] + spans[across]
            starts[at + np.uint64(1)] = f * taps + spans[down + np.uint64(1)] + spans[across + np.uint64(1)]
            starts[at + np.uint64(2)], starts[at + np.uint64(3)] = most * columns, length
            places[place] = (
                (packed & ~np.int64(0xFFFFFFFFFFFF))
                + spans[down + np.uint64(2)]
                + spans[across + np.uint64(2)]
            )
            places[place + np.uint64(1)] = n - 1
            size += 1
            blocks += length
    progress[_NEXT] = n
    progress[_BORDER] += beyond
    counts[_OUTSIDE] += outside
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
    starts, places, masks = core.starts, core.places, core.masks
    in_features, taps, most = core.row[_IN_F], core.row[_K] ** 2 * core.wide, 3 * core.blocks_most
    while progress[_NEXT] < total:
        room = min(len(starts) // _START, (len(emitted) - used - SORTED_MAX) // core.most)
        if room <= 0:
            break
        room, is_plain, steps = _at_once(core, room, steps)
        size, blocks = _begun(
            core.spans, starts, places, core.counts, in_features, taps, most, arrivals, is_kept, way,
            progress, room,
        )  # fmt: skip
        if size == 0:
            continue
        if core.leaks:
            # Then it is one arrival.
            _ticked(core, ticks[places[0] >> 48], wraps, progress)
        _added(core, size, is_plain)
        if is_plain:
            used = _emitted(starts, places, core.blocks, masks, blocks, emitted, came_by, used)
        else:
            used = _settled_one(core, blocks, wraps, emitted, came_by, used)
        done += blocks
        if done - counted > _COUNTED:
            clamped, counted = clamped + _taken(core.held), done
    if core.leaks and progress[_NEXT] == total:
        _ticked(core, ticks[len(ticks) - 1], wraps, progress)
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
