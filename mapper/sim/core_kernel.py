"""The compiled loop of one core: what arrives, in order, and what it emits.

Spikes are packed: cause, feature, row, column, of 16 bits each. A cause is an arrival from outside, by its
number in a block of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mapper.sim.compiling import compiled
from mapper.sim.event_kernel import CORE, COUNT, in_16_bits, sort_few
from mapper.sim.vector_add import LANES, add_lanes, lowest_bit

if TYPE_CHECKING:
    from mapper.sim.event_blocks import CoreArrays

__all__ = ["CAUSES_MAX", "run_core", "sent", "ticks_between"]

CAUSES_MAX = 1 << 15
"""Causes of a block: so many fit above the coordinates of a packed spike."""

_IN_F, _F, _W, _K = CORE["in_features"], CORE["features"], CORE["width"], CORE["kernel"]
_HIGH, _LOW, _ZERO, _KILLS = CORE["high"], CORE["low"], CORE["to_zero"], CORE["kills"]
_ARRIVED, _SYNOPS, _SPIKES, _SATURATED = (COUNT[n] for n in ("arrived", "synops", "spikes", "saturated"))
_CLAMPED, _OUTSIDE = COUNT["clamped"], COUNT["outside"]
_MAX, _MIN = 32767, -32768
# Where a run stands: the next arrival, ticks that are done, spikes emitted.
_NEXT, _TICKS, _USED = range(3)

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
    features = core.row[_F]
    for at in range(core.neurons):
        _settled(core, at, core.biases[at % features], False, wraps)


@_inlined
def _arrived(core: CoreArrays, packed: int, wraps: bool, emitted: Any, used: int) -> int:
    """One spike arrives; how many entries of `emitted` are filled then."""
    row, spans, first = core.row, core.spans, used
    f, y, x = (packed >> 32) & 0xFFFF, (packed >> 16) & 0xFFFF, packed & 0xFFFF
    if f >= row[_IN_F] or max(y, x) >= spans.shape[1]:
        core.counts[_OUTSIDE] += 1
        return used
    start_y, tap_y, rows = spans[0, y, 0], spans[0, y, 1], spans[0, y, 2]
    start_x, tap_x, columns = spans[1, x, 0], spans[1, x, 1], spans[1, x, 2]
    features, kernel, width = row[_F], row[_K], row[_W]
    count = columns * features
    p0, w0 = (start_y * width + start_x) * features, ((f * kernel + tap_y) * kernel + tap_x) * features
    cause, held = packed & ~np.int64(0xFFFFFFFFFFFF), 0
    for step in range(rows):
        for n in range(0, count, LANES):
            reached, below = add_lanes(
                core.potentials, p0 + n, core.weights, w0 + n, count - n, core.bound, core.ceiling
            )
            held += below
            while reached:
                lane = n + lowest_bit(reached)
                reached &= reached - 1
                # A weight that is switched off does not touch its neuron.
                touched = row[_KILLS] < 0 or not core.kills[w0 + lane]
                if _settled(core, p0 + lane, 0, touched, wraps):
                    column, feature = (
                        np.uint32(lane) // np.uint32(features),
                        np.uint32(lane) % np.uint32(features),
                    )
                    place = (
                        (np.int64(feature) << 32) | ((start_y + step) << 16) | (start_x + np.int64(column))
                    )
                    emitted[used] = cause | place
                    used += 1
        p0 += width * features
        w0 += kernel * features
    core.counts[core.held_as] += held
    core.counts[_SYNOPS] += rows * count
    core.counts[_SPIKES] += used - first
    if used - first > 1:
        sort_few(emitted, first, used - first)
    return used


@compiled(nogil=True, error_model="numpy")
def run_core(
    core: CoreArrays, arrivals: Any, ticks: Any, wraps: bool, progress: Any, emitted: Any, came_by: Any
) -> bool:
    """Run a block's arrivals at one core, and its ticks; whether it ended, or `emitted` is full.

    Parameters
    ----------
    arrivals
        Packed, in order.
    ticks
        By cause, ticks of the slow clock in the block before it; at last those before its end.
    progress
        Next arrival, ticks done, spikes emitted: where to begin, and where it stopped.
    emitted, came_by
        Spikes, packed, and the arrival that each is of.
    """
    most, used = core.most, progress[_USED]
    for n in range(progress[_NEXT], len(arrivals)):
        if used + most > len(emitted):
            progress[_NEXT], progress[_USED] = n, used
            return False
        if core.leaks:
            while progress[_TICKS] < ticks[arrivals[n] >> 48]:
                _ticked(core, wraps)
                progress[_TICKS] += 1
        after = _arrived(core, arrivals[n], wraps, emitted, used)
        for entry in range(used, after):
            came_by[entry] = n
        used = after
    if core.leaks:
        while progress[_TICKS] < ticks[len(ticks) - 1]:
            _ticked(core, wraps)
            progress[_TICKS] += 1
    progress[_NEXT], progress[_USED] = len(arrivals), used
    return True


@compiled(nogil=True, error_model="numpy")
def sent(
    emitted: Any, is_kept: Any, pooling: int, shift: int, height: int, width: int, delivered: bool,
    packed: Any, spike: Any,
) -> Any:  # fmt: skip
    """Spikes on their way to a map of a size; how many arrive, and how many lie outside.

    Parameters
    ----------
    is_kept
        Which of them a decimator lets pass; empty for all.
    packed, spike
        What arrives, and which of the spikes it is.
    """
    count, outside, pool = 0, 0, np.uint32(pooling)
    for n in range(len(emitted)):
        if len(is_kept) and not is_kept[n]:
            continue
        one = emitted[n]
        y, x = np.int64(np.uint32((one >> 16) & 0xFFFF) // pool), np.int64(np.uint32(one & 0xFFFF) // pool)
        if y >= height or x >= width:
            outside += 1
            if not delivered:
                continue
        packed[count] = (((one >> 32) + shift) << 32) | (y << 16) | x
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
