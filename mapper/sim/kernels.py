"""Compiled kernels of the frame simulator. Counts are whole numbers in floating point, exact by bound."""

from __future__ import annotations

from typing import Any

import numpy as np

from mapper.sim.compiling import compiled
from mapper.sim.vector_add import LANES, add_share, lowest_bit, set_lanes

__all__ = [
    "add_input",
    "add_pooled",
    "fire_steps",
    "fire_steps_in_single",
    "reached",
    "spread_input",
    "spread_spikes",
    "sum_frames",
]

_STATE_MIN, _STATE_MAX = -(1 << 15), (1 << 15) - 1
# Neurons whose potentials, currents and counts fit the first cache together.
_BLOCK = 2048
_WITHOUT_SPECIAL_VALUES = {"nnan", "ninf", "nsz"}


@compiled(nogil=True)
def fire_steps(
    current: Any, potential: Any, threshold: int, minimum: int, to_zero: bool, single: bool, spikes: Any,
    totals: Any,
) -> Any:  # fmt: skip
    """Integrate-and-fire over time, in frame semantics; the last two and `potential` are written in place.

    Per step: potential += current; spikes = potential // threshold where it is positive, at most one in
    single-spike mode; subtract ``spikes * threshold`` or set to 0 where it spiked; then the bound.

    Parameters
    ----------
    current
        (time, neurons); rounded to whole numbers first: fast convolutions are not exact.
    potential
        (neurons,), integers.
    threshold
        >= 1.
    spikes
        (time, neurons), of any type that holds the counts.
    totals
        (neurons,), integers: spikes are added to it.

    Returns
    -------
    tuple
        How often a potential lay beyond 16 bits after its step; the largest count of spikes.
    """
    steps, neurons = current.shape
    beyond, largest = 0, 0
    for step in range(steps):
        for n in range(neurons):
            value = potential[n] + np.int64(np.rint(current[step, n]))
            count = 0
            if value >= threshold:
                count = 1 if single else value // threshold
                value = 0 if to_zero else value - count * threshold
                largest = max(largest, count)
            spikes[step, n] = count
            totals[n] += count
            value = max(value, minimum)
            beyond += value < _STATE_MIN or value > _STATE_MAX
            potential[n] = value
    return beyond, largest


@compiled(nogil=True)
def fire_steps_in_single(
    current: Any, potential: Any, threshold: Any, minimum: Any, to_zero: bool, totals: Any
) -> None:
    """`fire_steps` for many spikes per step, in single precision, many neurons at a time.

    Every sum must be exact in it: |current| + 2^16 < 2^24. Potentials then stay within 16 bits, since what
    remains of one is below its threshold. Spikes are written over the currents: what is near needs no
    fetching.
    """
    steps, neurons = current.shape
    kept = np.float32(0 if to_zero else 1)
    # Neurons outside, steps inside: the potentials of a block stay in the cache.
    for start in range(0, neurons, _BLOCK):
        stop = min(start + _BLOCK, neurons)
        for step in range(steps):
            _fire_block(
                current[step, start:stop], potential[start:stop], threshold, minimum, kept, totals[start:stop]
            )


@compiled(nogil=True, error_model="numpy", fastmath=_WITHOUT_SPECIAL_VALUES)
def _fire_block(current: Any, potential: Any, threshold: Any, minimum: Any, kept: Any, totals: Any) -> None:
    # No branch, no index from outside: what the compiler needs to use vector instructions.
    zero, one = np.float32(0), np.float32(1)
    for n in range(len(potential)):
        value = potential[n] + np.rint(current[n])
        count = np.floor(max(value, zero) / threshold)
        # The quotient may have been rounded up to the next whole number.
        count -= min(count, one if value - count * threshold < zero else zero)
        current[n] = count
        totals[n] += np.int32(count)
        rest = value - count * threshold
        fired = min(count, one)
        potential[n] = max(rest - rest * fired * (one - kept), minimum)


@compiled(nogil=True)
def add_input(total: Any, frames: Any, pool_y: int, pool_x: int, shift: int) -> None:
    """Add sum-pooled frames to the features from `shift` on.

    Rows and columns that do not fill a pool do not exist.

    Parameters
    ----------
    total
        (time, height, width, features).
    frames
        (time, fewer features, height · pool_y or more, width · pool_x or more).
    """
    steps, features = frames.shape[:2]
    rows, columns = total.shape[1:3]
    for step in range(steps):
        for f in range(features):
            for y in range(rows):
                for dy in range(pool_y):
                    for dx in range(pool_x):
                        # Without a branch, which could not be foretold where a fifth is not 0.
                        row, place = frames[step, f, y * pool_y + dy], total[step, y, :, f + shift]
                        for x in range(columns):
                            place[x] += total.dtype.type(row[x * pool_x + dx])


@compiled(nogil=True)
def add_pooled(total: Any, frames: Any, pool: int, shift: int) -> None:
    """`add_input` of frames whose features lie innermost, too: (time, height, width, features)."""
    steps, rows, columns = total.shape[:3]
    features = frames.shape[3]
    for step in range(steps):
        for y in range(rows):
            for x in range(columns):
                goal = total[step, y, x, shift : shift + features]
                for dy in range(pool):
                    for dx in range(pool):
                        came = frames[step, y * pool + dy, x * pool + dx]
                        for f in range(features):
                            goal[f] += came[f]


@compiled(nogil=True)
def sum_frames(frames: Any, sums: Any) -> None:
    """Add (frames, positions) to integers (positions,)."""
    for n in range(len(frames)):
        frame = frames[n]
        for position in range(len(sums)):
            sums[position] += np.int64(frame[position])


@compiled(nogil=True)
def reached(counts: Any, reach: Any, pool_y: int, pool_x: int) -> Any:
    """Sum of (samples, height, width, features) counts, times what the pool they lie in reaches."""
    total = np.int64(0)
    rows, columns = reach.shape
    for sample in range(len(counts)):
        for y in range(rows * pool_y):
            for x in range(columns * pool_x):
                there = np.int64(0)
                for f in range(counts.shape[3]):
                    there += np.int64(counts[sample, y, x, f])
                total += there * reach[y // pool_y, x // pool_x]
    return total


@compiled(is_kept=False, error_model="numpy", forceinline=True, no_cpython_wrapper=True, _nrt=False)
def _spread(
    current: Any, first: int, width: int, features: int, count: Any, f: Any, y: int, x: Any, weights: Any,
    spans: Any, kernel: int,
) -> None:  # fmt: skip
    """Add a count's share to the neurons that it reaches: runs of weights, as in the event simulator."""
    row, tap_y, rows = spans[0, y, 0], spans[0, y, 1], spans[0, y, 2]
    column, tap_x, columns = spans[1, x, 0], spans[1, x, 1], spans[1, x, 2]
    place = first + (row * width + column) * features
    weight = ((f * kernel + tap_y) * kernel + tap_x) * features
    for _ in range(rows):
        for n in range(0, columns * features, LANES):
            add_share(current, place + n, weights, weight + n, columns * features - n, count)
        place += width * features
        weight += kernel * features


@compiled(nogil=True, error_model="numpy")
def spread_spikes(
    current: Any, neurons: Any, frames: Any, pool: int, shift: int, size: Any, weights: Any, spans: Any,
    kernel: int,
) -> None:  # fmt: skip
    """Add what spikes cause, one after the other: what a convolution of the pooled frames gives.

    Parameters
    ----------
    current
        Flat (time, height, width, features) of the neurons, and `LANES` more.
    neurons
        (height, width, features) of them.
    frames
        (time, height, width, features) of the spikes, in single precision; contiguous.
    size
        (height, width) of the input map: what lies outside whole pools is left out.
    weights, spans
        As in `mapper.sim.event_tables`, flat with `LANES` more, and by axis.
    """
    steps, features = len(frames), frames.shape[3]
    of_step = neurons[0] * neurons[1] * neurons[2]
    columns = size[1] * pool * features
    for step in range(steps):
        for y in range(size[0] * pool):
            row = frames[step, y].reshape(-1)
            bits = row.view(np.int32)
            for start in range(0, columns, LANES):
                # Most are 0, which has no bit: many are looked at together.
                left = columns - start
                if left >= LANES:
                    found = set_lanes(bits, start)
                else:
                    found = np.int64(0)
                    for n in range(left):
                        found |= np.int64(bits[start + n] != 0) << n
                while found:
                    n = start + lowest_bit(found)
                    found &= found - 1
                    x, f = np.uint32(n) // np.uint32(features), np.uint32(n) % np.uint32(features)
                    _spread(
                        current, step * of_step, neurons[1], neurons[2], row[n], np.int64(f) + shift,
                        y // pool, np.int64(x) // pool, weights, spans, kernel,
                    )  # fmt: skip


@compiled(nogil=True, error_model="numpy")
def spread_input(
    current: Any, neurons: Any, frames: Any, pools: Any, shift: int, size: Any, weights: Any, spans: Any,
    kernel: int,
) -> None:  # fmt: skip
    """`spread_spikes` of (time, features, height, width), with a pool for each axis."""
    of_step = neurons[0] * neurons[1] * neurons[2]
    for step in range(len(frames)):
        for f in range(frames.shape[1]):
            for y in range(size[0] * pools[0]):
                here = frames[step, f, y]
                for x in range(size[1] * pools[1]):
                    if here[x]:
                        _spread(
                            current, step * of_step, neurons[1], neurons[2], np.float32(here[x]), f + shift,
                            y // pools[0], x // pools[1], weights, spans, kernel,
                        )  # fmt: skip
