"""Neurons of a core, compiled: what their potentials become, and the spikes that they emit, in order."""

from __future__ import annotations

from typing import Any

import numpy as np

from mapper.sim.compiling import compiled
from mapper.sim.event_kernel import COUNT, columns, in_16_bits, sort_few
from mapper.sim.vector_add import LANES, SORTED_MAX, lowest_bit, set_lanes, sort_8, sort_16

__all__ = ["CELL", "START", "STEP", "apart", "inlined", "spikes_of_many", "spikes_of_one", "tick"]

CELL = columns(
    "in_features", "in_height", "in_width", "features", "taps", "ways", "ways_pitch", "spans", "reach",
    "kills", "biases", "potentials", "neurons", "wide", "is_narrow", "at_once", "most", "offset", "bound",
    "ceiling", "kept", "change", "held_as", "leaks", "is_plain", "largest", "lift", "high", "low", "to_zero",
    "decimate", "source", "slot", "pool", "shift", "height", "width",
)  # fmt: skip
"""Columns of the table of `Cores`."""

START = 4
"""Entries of `starts` for an arrival."""

STEP = columns("at", "next", "ticks", "used", "spikes")
"""Where a block stands: cores done, the next arrival (none: −1), ticks done, entries of `packed`, spikes."""

_F, _P0, _B0, _NEURONS, _WIDE, _OFFSET, _HIGH, _LOW, _ZERO, _KILLS = (
    CELL[name]
    for name in (
        "features", "potentials", "biases", "neurons", "wide", "offset", "high", "low", "to_zero", "kills",
    )
)  # fmt: skip
_SATURATED, _CLAMPED, _TICKS = COUNT["saturated"], COUNT["clamped"], STEP["ticks"]
_MAX, _MIN = 32767, -32768

inlined = compiled(is_kept=False, error_model="numpy", forceinline=True, no_cpython_wrapper=True, _nrt=False)
# Of their own, so that their loops have all registers.
apart = compiled(is_kept=False, error_model="numpy", no_cpython_wrapper=True, _nrt=False)


@inlined
def _settled(core: Any, potentials: Any, counts: Any, at: int, added: int, fires: bool, wraps: bool) -> bool:
    """Bring one potential into its range, after the comparison; whether the neuron spikes."""
    value: Any = np.int64(potentials[at]) + core[_OFFSET] + added
    if value > _MAX or value < _MIN:
        counts[_SATURATED] += 1
        value = in_16_bits(value, wraps)
    spikes = fires and value >= core[_HIGH]
    if spikes:
        value = 0 if core[_ZERO] else value - core[_HIGH]
    if value < core[_LOW]:
        counts[_CLAMPED] += 1
        value = core[_LOW]
    potentials[at] = value - core[_OFFSET]
    return spikes


@apart
def tick(
    core: Any, potentials: Any, biases: Any, counts: Any, wraps: bool, ticks: Any, cause: int, progress: Any
) -> None:
    """Add the biases once a tick, up to those before a cause; nothing is compared."""
    for _ in range(progress[_TICKS], ticks[cause]):
        for place in range(core[_P0], core[_P0] + core[_NEURONS], core[_WIDE]):
            for n in range(core[_F]):
                _settled(core, potentials, counts, place + n, biases[core[_B0] + n], False, wraps)
    progress[_TICKS] = max(progress[_TICKS], ticks[cause])


@inlined
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


@apart
def spikes_of_many(
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
                    end += starts[np.uint64(START * arrival + 3)]
            entry = starts[np.uint64(START * arrival + 2)] + 3 * (block - first)
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


@apart
def spikes_of_one(
    core: Any, potentials: Any, kills: Any, table: Any, starts: Any, places: Any, masks: Any, counts: Any,
    blocks: int, wraps: bool, emitted: Any, came_by: Any, used: int,
) -> int:  # fmt: skip
    """As `spikes_of_many`, of one arrival whose potentials have to be brought into their range."""
    begun = used
    for block in range(blocks):
        entry, reached = starts[2] + 3 * block, np.int64(masks[block])
        while reached:
            n = lowest_bit(reached)
            reached &= reached - 1
            # A weight that is switched off does not touch its neuron.
            touched = not core[_KILLS] or not kills[starts[1] + table[entry + 1] + n]
            if _settled(core, potentials, counts, starts[0] + table[entry] + n, 0, touched, wraps):
                emitted[used] = places[0] + table[entry + 2] + (n << 32)
                if len(came_by):
                    came_by[used] = places[1]
                used += 1
    _ordered(emitted, begun, used - begun)
    return used
