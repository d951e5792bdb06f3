"""Compiled kernels of the frame simulator. Counts and potentials are integers, as narrow as they may be."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from mapper.sim.compiling import compiled
from mapper.sim.vector_add import LANES, lowest_bit, set_lanes
from mapper.sim.vector_spread import MOST_BITS, TIMES, fire, ones, over_lanes, spread_row

__all__ = [
    "FOUND_MORE",
    "Grid",
    "Neurons",
    "Taps",
    "add_input",
    "add_pooled",
    "fire_currents",
    "fire_steps",
    "reached",
    "spread_steps",
    "sum_frames",
]

_STATE_MIN, _STATE_MAX = -(1 << 15), (1 << 15) - 1
# So many are written down at once, whether they are spikes or not: most vectors of neurons have fewer.
_AT_ONCE = 4
FOUND_MORE = LANES
"""So much longer than a row is what takes its spikes down."""


class Grid(NamedTuple):
    """Frames that arrive: (time, height, width, features), and how.

    Attributes
    ----------
    pool
        Their sum pool on the way.
    shift
        The feature at which their first one arrives.
    """

    height: int
    width: int
    features: int
    pool: int
    shift: int


class Taps(NamedTuple):
    """How what arrives at a core reaches its neurons.

    Attributes
    ----------
    weights
        Flat (feature that arrives, row and column of the kernel, feature), and `LANES` more.
    rows
        By row of the input map: the first neuron reached, the first weight, rows of neurons reached.
    columns
        Flat; by column the first neuron, the first weight, and how many of both follow one another.
    width
        Of the input map.
    taps
        Weights of a feature that arrives.
    pitch, tap_pitch
        Neurons and weights of a row.
    """

    weights: Any
    rows: Any
    columns: Any
    width: int
    taps: int
    pitch: int
    tap_pitch: int


class Neurons(NamedTuple):
    """Neurons of a core.

    Attributes
    ----------
    number
        How many.
    bias
        Of each neuron, per step; empty without.
    high
        >= 1.
    """

    number: int
    bias: Any
    high: int
    low: int
    to_zero: bool


@compiled(nogil=True)
def fire_steps(
    current: Any, potential: Any, threshold: int, minimum: int, to_zero: bool, single: bool, spikes: Any
) -> Any:  # fmt: skip
    """Integrate-and-fire over time, in frame semantics; `potential` and `spikes` are written in place.

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
            value = max(value, minimum)
            beyond += value < _STATE_MIN or value > _STATE_MAX
            potential[n] = value
    return beyond, largest


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
            sums[position] += frame[position]


@compiled(nogil=True)
def reached(sums: Any, reach: Any) -> Any:
    """Sum of (positions, features) counts, times how many neurons each position reaches."""
    total = np.int64(0)
    for position in range(len(sums)):
        there = np.int64(0)
        for f in range(sums.shape[1]):
            there += np.int64(sums[position, f])
        total += there * reach[position]
    return total


@compiled(is_kept=False, error_model="numpy", forceinline=True, no_cpython_wrapper=True, _nrt=False)
def _fire(potentials: Any, spikes: Any, place: int, neurons: Any) -> Any:
    """One step of all neurons, with its current in `potentials`: how many fired, and the largest count."""
    high, kept = np.int64(neurons.high), 0 if neurons.to_zero else -1
    found = fire(potentials, spikes, place, neurons.number, high, neurons.low, kept)
    active, largest = found >> MOST_BITS, found & ((1 << MOST_BITS) - 1)
    if largest > TIMES:
        # They stand above the threshold still.
        for start in range(0, neurons.number, LANES):
            mask = over_lanes(potentials, start, high)
            while mask:
                n = start + lowest_bit(mask)
                mask &= mask - 1
                value = np.int64(potentials[n])
                count = value // high
                largest = max(largest, count)
                spikes[place + n] = count
                potentials[n] = max(0 if neurons.to_zero else value - count * high, neurons.low)
    return active, largest


@compiled(is_kept=False, error_model="numpy", forceinline=True, no_cpython_wrapper=True, _nrt=False)
def _take_down(counts: Any, first: int, number: int, found: Any) -> Any:
    """Write down where counts are not 0, from `first` on; how many they are."""
    done = np.int64(0)
    for start in range(0, number, LANES):
        mask = set_lanes(counts, first + start)
        if number - start < LANES:
            mask &= (np.int64(1) << (number - start)) - 1
        if mask:
            # In groups, whose number is foretold more easily than that of spikes.
            end = done + ones(mask)
            while done < end:
                for n in range(_AT_ONCE):
                    found[done + n] = start + lowest_bit(mask)
                    mask &= mask - 1
                done += _AT_ONCE
            done = end
    # Two at a time are added: what follows the last one must be a place, too.
    found[done] = 0
    return done


@compiled(nogil=True, error_model="numpy")
def spread_steps(
    potentials: Any, frames: Any, first: int, grid: Any, taps: Any, neurons: Any, spikes: Any, place: int,
    steps: int, found: Any,
) -> Any:  # fmt: skip
    """Steps of a core, what arrives added spike by spike: as a convolution of the pooled frames adds.

    Parameters
    ----------
    potentials
        Flat, of 16 or 32 bits, and `LANES` more: (neurons,), changed in place. No sum may leave its bits.
    frames, first
        Flat counts of 16 bits, and `LANES` more; where the first step begins.
    spikes, place
        Of 16 bits, where the spikes of the first step go: (time, neurons), and `LANES` more.
    found
        Of 32 bits, `FOUND_MORE` longer than a row of frames.

    Returns
    -------
    tuple
        Neurons reached by spikes, how many counts are not 0, the largest one.
    """
    synops, active, largest = np.int64(0), np.int64(0), np.int64(0)
    features, pool = np.int64(grid.features), np.int64(grid.pool)
    read, at_column = taps.width * pool * features, pool * features
    of_feature = ((np.int64(1) << 32) + features - 1) // features
    of_place = ((np.int64(1) << 32) + at_column - 1) // at_column
    for step in range(steps):
        for n in range(len(neurons.bias)):
            potentials[n] += neurons.bias[n]
        for y in range(len(taps.rows) * pool):
            start = first + (step * grid.height + y) * grid.width * features
            begun, weight, rows = taps.rows[y // pool, 0], taps.rows[y // pool, 1], taps.rows[y // pool, 2]
            if rows == 0:
                continue
            number = _take_down(frames, start, read, found)
            if number:
                starts = (begun, weight + grid.shift * taps.taps, start)
                synops += rows * spread_row(
                    potentials, taps.weights, frames, starts, found, number, taps.columns, features,
                    of_feature, of_place, taps.taps, rows, taps.pitch, taps.tap_pitch,
                )  # fmt: skip
        fired, most = _fire(potentials, spikes, place + step * neurons.number, neurons)
        active, largest = active + fired, max(largest, most)
    return synops, active, largest


@compiled(nogil=True, error_model="numpy")
def fire_currents(potentials: Any, currents: Any, neurons: Any, spikes: Any, place: int) -> Any:
    """Steps of a core whose currents, (time, neurons), have been convolved, biases among them.

    They are rounded first: fast convolutions are not exact. The rest is as in `spread_steps`.
    """
    active, largest = np.int64(0), np.int64(0)
    for step in range(len(currents)):
        current = currents[step]
        for n in range(len(current)):
            potentials[n] = potentials.dtype.type(potentials[n] + np.int32(np.rint(current[n])))
        fired, most = _fire(potentials, spikes, place + step * neurons.number, neurons)
        active, largest = active + fired, max(largest, most)
    return active, largest
