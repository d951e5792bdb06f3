"""The compiled loop of a block of arrivals: core by core, what arrives, in order, and what it emits.

Spikes are packed: cause, feature, row, column, of 16 bits each. A cause is an arrival from outside, by its
number in the block.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mapper.sim.compiling import compiled
from mapper.sim.core_neurons import CELL, START, STEP, apart, inlined, spikes_of_many, spikes_of_one, tick
from mapper.sim.event_kernel import COUNT
from mapper.sim.vector_add import LANES, SORTED_MAX, add_16, add_32

if TYPE_CHECKING:
    from mapper.sim.event_cores import BlockArrays, Cores, Scratch, Totals

__all__ = ["CAUSES_MAX", "FROM_OUTSIDE", "GATHERED", "run_cores", "sent", "ticks_between"]

CAUSES_MAX = 1 << 15
"""Causes of a block: so many fit above the coordinates of a packed spike."""

FROM_OUTSIDE, GATHERED = -1, -2
"""In the place of a core's one source: its arrivals are the block's, or are put together before it runs."""

(
    _IN_F, _F, _TAPS, _WAYS, _PITCH, _SPANS, _REACH, _P0, _NEURONS, _WIDE, _NARROW, _AT_ONCE, _MOST, _OFFSET,
    _BOUND, _CEILING, _KEPT, _CHANGE, _HELD_AS, _LEAKS, _PLAIN, _LIFT, _DECIMATE, _SOURCE, _SLOT, _POOL,
    _SHIFT, _HEIGHT, _WIDTH,
) = (
    CELL[name]
    for name in (
        "in_features", "features", "taps", "ways", "ways_pitch", "spans", "reach", "potentials", "neurons",
        "wide", "is_narrow", "at_once", "most", "offset", "bound", "ceiling", "kept", "change", "held_as",
        "leaks", "is_plain", "lift", "decimate", "source", "slot", "pool", "shift", "height", "width",
    )
)  # fmt: skip
_SYNOPS, _SPIKES, _DECIMATED, _OUTSIDE = (
    COUNT[name] for name in ("synops", "spikes", "decimated", "outside")
)
_AT, _NEXT, _TICKS, _USED, _EMITTED = (STEP[n] for n in ("at", "next", "ticks", "used", "spikes"))
_MAX, _MIN = 32767, -32768
_PLACE = (1 << 48) - 1
# Lanes count in 16 bits what they hold: of so many blocks, and of the most that are added at once.
_COUNTED = 1 << 13
# Spikes of a call, after which no other core is begun: some milliseconds.
_UNPAUSED = 1 << 17


@inlined
def _added(core: Any, cores: Cores, scratch: Scratch, size: int, is_plain: bool) -> None:
    """Add so many arrivals at once."""
    kept, change = np.int16(core[_KEPT] if is_plain else -1), np.int16(core[_CHANGE] if is_plain else 0)
    bound, ceiling = np.int16(core[_BOUND]), np.int16(core[_CEILING])
    if core[_NARROW]:
        add_16(
            cores.potentials, cores.weights, scratch.starts, cores.blocks, scratch.held, scratch.masks, size,
            bound, ceiling, kept, change,
        )  # fmt: skip
    else:
        add_32(
            cores.potentials, cores.weights, scratch.starts, cores.blocks, scratch.held, scratch.masks, size,
            bound, ceiling, kept, change,
        )  # fmt: skip


@inlined
def _steps(core: Any, potentials: Any) -> Any:
    """So many arrivals can lift no potential beyond 16 bits."""
    highest: Any = np.int16(_MIN)
    for n in range(core[_P0], core[_P0] + core[_NEURONS]):
        highest = max(highest, potentials[np.uint64(n)])
    return (_MAX - core[_OFFSET] - np.int64(highest)) // max(core[_LIFT], 1)


@apart
def _at_once(core: Any, potentials: Any, steps: int) -> Any:
    """How many arrivals may be added at once, whether they are plain, and `steps` behind them.

    Parameters
    ----------
    steps
        Arrivals until one has to look again: plain ones, or, negative, others.
    """
    if not core[_PLAIN]:
        return 1, False, 0
    if not core[_LIFT]:
        return core[_AT_ONCE], True, 0
    if steps == 0:
        steps = _steps(core, potentials)
        # Where 16 bits may end it is one by one, for as long as it takes to look again.
        steps = -1 - core[_NEURONS] // LANES if steps <= 0 else steps
    if steps < 0:
        return 1, False, steps + 1
    room = min(core[_AT_ONCE], steps)
    return room, True, steps - room


@inlined
def _taken(held: Any) -> Any:
    """What lanes have counted, which begin anew."""
    total: Any = 0
    for n in range(len(held)):
        total += np.int64(held[n])
        held[n] = 0
    return total


@apart
def _begun(
    core: Any, spans: Any, starts: Any, places: Any, counts: Any, arrivals: Any, is_kept: Any, way: Any,
    first: int, room: int, delivered: bool,
) -> Any:  # fmt: skip
    """Fill `starts` with what arrivals reach; how many these are, their blocks, and the next arrival."""
    size: Any = 0
    blocks: Any = 0
    n: Any = first
    outside, beyond, total = 0, 0, len(arrivals)
    down0, across0 = core[_SPANS], core[_SPANS] + 4 * core[_REACH]
    in_features, reach, taps, ways, pitch = core[_IN_F], core[_REACH], core[_TAPS], core[_WAYS], core[_PITCH]
    pool, shift, height, width = core[_POOL], core[_SHIFT], core[_HEIGHT], core[_WIDTH]
    while n < total and size < room:
        packed = arrivals[np.uint64(n)]
        n += 1
        if len(is_kept) and not is_kept[np.uint64(n - 1)]:
            continue
        f = ((packed >> 32) & 0xFFFF) + shift
        y, x = (((packed >> 16) & 0xFFFF) * pool) >> 32, ((packed & 0xFFFF) * pool) >> 32
        if y >= height or x >= width:
            beyond += 1
            if not delivered:
                continue
        if f >= in_features or max(y, x) >= reach:
            outside += 1
            continue
        down, across = np.uint64(down0 + 4 * y), np.uint64(across0 + 4 * x)
        columns = spans[across + np.uint64(3)]
        length = spans[down + np.uint64(3)] * columns
        if length:
            at, place = np.uint64(START * size), np.uint64(2 * size)
            starts[at] = spans[down] + spans[across]
            starts[at + np.uint64(1)] = f * taps + spans[down + np.uint64(1)] + spans[across + np.uint64(1)]
            starts[at + np.uint64(2)], starts[at + np.uint64(3)] = ways + pitch * columns, length
            places[place] = (packed & ~_PLACE) + spans[down + np.uint64(2)] + spans[across + np.uint64(2)]
            places[place + np.uint64(1)] = n - 1
            size += 1
            blocks += length
    counts[_OUTSIDE] += outside
    if beyond:
        # Else it may be another core's, at which another thread is.
        way[0] += beyond
    return size, blocks, n


@inlined
def _entered(row: int, inputs: Any, packed: Any, used: int) -> Any:
    """What of a block's arrivals enters a core, numbered; how many entries of `packed` are filled then."""
    for n in range(len(inputs)):
        arrival = inputs[np.uint64(n), 1]
        packed[np.uint64(used)] = (n << 48) | (arrival & _PLACE)
        used += arrival >> 48 == row
    return used


@inlined
def _thin(core: Any, counts: Any, phase: Any, row: int, is_kept: Any, ends: Any) -> None:
    """Mark which spikes a core's decimator lets pass: the last of every so many."""
    every = core[_DECIMATE]
    for n in range(ends[2], ends[3]):
        is_kept[n] = every == 0
        if every:
            phase[row] = (phase[row] + 1) % every
            is_kept[n] = phase[row] == 0
            counts[_DECIMATED] += phase[row] != 0


@inlined
def _worked_off(
    row: int, cores: Cores, block: BlockArrays, totals: Totals, scratch: Scratch, wraps: bool,
    delivered: bool,
) -> bool:  # fmt: skip
    """Go on with a core; whether it ended, or `packed` is full."""
    core, counts, ends, progress = cores.table[row], totals.counts[row], block.ends[row], block.progress
    starts, places, masks, potentials = scratch.starts, scratch.places, scratch.masks, cores.potentials
    arrivals, is_kept = block.packed[ends[0] : ends[1]], block.is_kept[ends[0] : ends[1]]
    most, limit = core[_MOST], len(block.packed) - SORTED_MAX
    used, done, counted, clamped, steps = progress[_USED], 0, 0, 0, 0
    way = totals.border[max(core[_SOURCE], 0), core[_SLOT] : core[_SLOT] + 1]
    while progress[_NEXT] < len(arrivals):
        room, is_plain, steps = _at_once(core, potentials, steps)
        if used + room * most > limit:
            break
        size, blocks, progress[_NEXT] = _begun(
            core, cores.spans, starts, places, counts, arrivals, is_kept, way, progress[_NEXT], room,
            delivered,
        )  # fmt: skip
        if size == 0:
            continue
        if core[_LEAKS]:
            # Then it is one arrival.
            tick(core, potentials, cores.biases, counts, wraps, block.ticks, places[0] >> 48, progress)
        _added(core, cores, scratch, size, is_plain)
        if is_plain:
            used = spikes_of_many(
                starts, places, cores.blocks, masks, blocks, block.packed, block.came_by, used
            )
        else:
            used = spikes_of_one(
                core, potentials, cores.kills, cores.blocks, starts, places, masks, counts, blocks, wraps,
                block.packed, block.came_by, used,
            )  # fmt: skip
        done += blocks
        if done - counted > _COUNTED:
            clamped, counted = clamped + _taken(scratch.held), done
    is_done = progress[_NEXT] == len(arrivals)
    if core[_LEAKS] and is_done:
        tick(core, potentials, cores.biases, counts, wraps, block.ticks, len(block.ticks) - 1, progress)
    counts[core[_HELD_AS]] += clamped + _taken(scratch.held)
    counts[_SYNOPS] += done // (core[_WIDE] // (16 if core[_NARROW] else LANES)) * core[_F]
    counts[_SPIKES] += used - progress[_USED]
    progress[_EMITTED] += used - progress[_USED]
    progress[_USED] = used
    return bool(is_done)


@compiled(nogil=True, error_model="numpy", _nrt=False)
def run_cores(
    cores: Cores, block: BlockArrays, totals: Totals, scratch: Scratch, stop: int, wraps: bool,
    delivered: bool,
) -> bool:  # fmt: skip
    """Run a block at its next cores, in order; whether it stopped of itself, or `packed` is full.

    Parameters
    ----------
    cores
        Their potentials go on.
    block, totals
        Go on.
    stop
        Cores that are done then, or fewer: a call that has taken some milliseconds begins no other one.
    """
    progress, ends, begun = block.progress, block.ends, block.progress[_EMITTED]
    while progress[_AT] < stop and progress[_EMITTED] - begun < _UNPAUSED:
        row = cores.order[progress[_AT]]
        source = cores.table[row, _SOURCE]
        if progress[_NEXT] < 0:
            if source == FROM_OUTSIDE:
                if progress[_USED] + len(block.inputs) >= len(block.packed):
                    return False
                first = progress[_USED]
                progress[_USED] = _entered(row, block.inputs, block.packed, first)
                ends[row, 0], ends[row, 1] = first, progress[_USED]
                block.is_kept[first : progress[_USED]] = True
            elif source >= 0:
                ends[row, 0], ends[row, 1] = ends[source, 2], ends[source, 3]
            ends[row, 2], progress[_NEXT], progress[_TICKS] = progress[_USED], 0, 0
        if not _worked_off(row, cores, block, totals, scratch, wraps, delivered):
            return False
        ends[row, 3] = progress[_USED]
        if len(block.is_kept):
            _thin(cores.table[row], totals.counts[row], totals.phase, row, block.is_kept, ends[row])
        progress[_AT], progress[_NEXT] = progress[_AT] + 1, -1
    return True


@compiled(nogil=True, error_model="numpy", _nrt=False)
def sent(emitted: Any, is_kept: Any, link: Any, delivered: bool, packed: Any, spike: Any) -> Any:
    """Spikes on their way to a core; how many arrive, and how many lie outside its map.

    Parameters
    ----------
    is_kept
        Which of them a decimator lets pass; empty for all.
    link
        2^32 by the pool, rounded up, the shift of features, and the height and width of the map.
    packed, spike
        What arrives, and which of the spikes it is.
    """
    count, outside = 0, 0
    for n in range(len(emitted)):
        if len(is_kept) and not is_kept[n]:
            continue
        one = emitted[n]
        y, x = (((one >> 16) & 0xFFFF) * link[0]) >> 32, ((one & 0xFFFF) * link[0]) >> 32
        if y >= link[2] or x >= link[3]:
            outside += 1
            if not delivered:
                continue
        packed[count] = (((one >> 32) + link[1]) << 32) | (y << 16) | x
        spike[count] = n
        count += 1
    return count, outside


@compiled(nogil=True, _nrt=False)
def ticks_between(times: Any, clock: Any, period: float, end: float, ticks: Any) -> None:
    """Ticks before each arrival, one at its time included, and before the end; the clock goes on."""
    done = 0
    for n in range(len(times) + 1):
        is_last = n == len(times)
        now = end if is_last else float(times[n, 0])
        while clock[0] < now or (clock[0] == now and not is_last):
            clock[0] += period
            done += 1
        ticks[n] = done
