"""Compiled kernels of the frame simulator. Counts are whole numbers in floating point, exact by bound."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

__all__ = ["add_pooled", "fire_steps", "fire_steps_in_single", "measure_arrivals"]

_STATE_MIN, _STATE_MAX = -(1 << 15), (1 << 15) - 1
# Neurons whose potentials, currents and counts fit the first cache together.
_BLOCK = 2048
_WITHOUT_SPECIAL_VALUES = {"nnan", "ninf", "nsz"}


@numba.njit(cache=True, nogil=True)
def fire_steps(
    current: Any, bias: Any, area: int, potential: Any, threshold: int, minimum: int, to_zero: bool,
    single: bool, spikes: Any,
) -> Any:  # fmt: skip
    """Integrate-and-fire over time, in frame semantics; `potential` and `spikes` are written in place.

    Per step: potential += current + bias; spikes = potential // threshold where it is positive, at most
    one in single-spike mode; subtract ``spikes * threshold`` or set to 0 where it spiked; then the bound.

    Parameters
    ----------
    current
        (time, neurons); rounded to whole numbers first: fast convolutions are not exact.
    bias
        (features,), integers.
    area
        Neurons of a feature.
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
        for feature in range(neurons // area):
            offset = bias[feature]
            for n in range(feature * area, (feature + 1) * area):
                value = potential[n] + np.int64(np.rint(current[step, n])) + offset
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


@numba.njit(cache=True, nogil=True)
def fire_steps_in_single(
    current: Any, bias: Any, potential: Any, threshold: Any, minimum: Any, to_zero: bool, spikes: Any
) -> Any:
    """`fire_steps` for many spikes per step, in single precision, many neurons at a time.

    Every sum must be exact in it: |current| + |bias| + 2^16 < 2^24. Potentials then stay within 16 bits,
    since what remains of one is below its threshold.

    Parameters
    ----------
    bias
        (neurons,).

    Returns
    -------
    float
        The largest count of spikes.
    """
    steps, neurons = current.shape
    largest, kept = np.float32(0), np.float32(0 if to_zero else 1)
    # Neurons outside, steps inside: the potentials of a block stay in the cache.
    for start in range(0, neurons, _BLOCK):
        stop = min(start + _BLOCK, neurons)
        state, offset = potential[start:stop], bias[start:stop]
        for step in range(steps):
            counts = spikes[step, start:stop]
            _fire_block(current[step, start:stop], offset, state, threshold, minimum, kept, counts)
            largest = max(largest, _largest(counts))
    return largest


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=_WITHOUT_SPECIAL_VALUES)
def _fire_block(
    current: Any, bias: Any, potential: Any, threshold: Any, minimum: Any, kept: Any, counts: Any
) -> None:
    # No branch, no index from outside: what the compiler needs to use vector instructions.
    zero, one = np.float32(0), np.float32(1)
    for n in range(len(potential)):
        value = potential[n] + np.rint(current[n]) + bias[n]
        count = np.floor(max(value, zero) / threshold)
        # The quotient may have been rounded up to the next whole number.
        count -= min(count, one if value - count * threshold < zero else zero)
        counts[n] = count
        rest = value - count * threshold
        fired = min(count, one)
        potential[n] = max(rest - rest * fired * (one - kept), minimum)


@numba.njit(cache=True, nogil=True, fastmath=_WITHOUT_SPECIAL_VALUES | {"reassoc"})
def _largest(counts: Any) -> Any:
    largest = np.float32(0)
    for n in range(len(counts)):
        largest = max(largest, counts[n])
    return largest


@numba.njit(cache=True, nogil=True)
def add_pooled(total: Any, frames: Any, pool_y: int, pool_x: int, shift: int) -> None:
    """Add sum-pooled frames to the features from `shift` on.

    Rows and columns that do not fill a pool do not exist.

    Parameters
    ----------
    total
        (time, features, height, width).
    frames
        (time, fewer features, height · pool_y or more, width · pool_x or more).
    """
    steps, features = frames.shape[:2]
    rows, columns = total.shape[2:]
    for step in range(steps):
        for f in range(features):
            for y in range(rows):
                for dy in range(pool_y):
                    for x in range(columns):
                        for dx in range(pool_x):
                            count = frames[step, f, y * pool_y + dy, x * pool_x + dx]
                            total[step, f + shift, y, x] += count


@numba.njit(cache=True, nogil=True, fastmath=_WITHOUT_SPECIAL_VALUES | {"reassoc"})
def measure_arrivals(frames: Any, reached: Any) -> Any:
    """The largest count of (frames, positions), and the sum of counts times (positions,) `reached`.

    Whole numbers below 2^53 in double precision: any order of summing gives the same.
    """
    largest, total = frames.dtype.type(0), 0.0
    for n in range(frames.shape[0]):
        frame = frames[n]
        for position in range(len(reached)):
            count = frame[position]
            largest = max(largest, count)
            total += np.float64(count) * reached[position]
    return largest, total
