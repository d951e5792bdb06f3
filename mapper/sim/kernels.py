"""Compiled kernels of the frame simulator. Counts are whole numbers in floating point, exact by bound."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

__all__ = ["add_pooled", "fire_steps", "fire_steps_in_single", "measure_arrivals"]

_STATE_MIN, _STATE_MAX = -(1 << 15), (1 << 15) - 1


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


@numba.njit(cache=True, nogil=True, fastmath={"nnan", "ninf", "nsz"})
def fire_steps_in_single(
    current: Any,
    bias: Any,
    area: int,
    potential: Any,
    threshold: Any,
    minimum: Any,
    to_zero: bool,
    spikes: Any,
) -> Any:
    """`fire_steps` for many spikes per step, in single precision and without branches.

    Every sum must be exact in it: |current| + |bias| + 2^16 < 2^24. Potentials then stay within 16 bits,
    since what remains of one is below its threshold.

    Returns
    -------
    float
        The largest count of spikes.
    """
    steps, neurons = current.shape
    zero, one, largest = np.float32(0), np.float32(1), np.float32(0)
    # Features outside, steps inside: the potentials of a feature stay in the cache.
    for feature in range(neurons // area):
        offset = bias[feature]
        for step in range(steps):
            for n in range(feature * area, (feature + 1) * area):
                value = potential[n] + np.rint(current[step, n]) + offset
                count = np.floor(value / threshold) if value >= threshold else zero
                rest = value - count * threshold
                # The quotient may have been rounded up to the next whole number.
                count = count - one if rest < zero and count > zero else count
                rest = value - count * threshold
                spikes[step, n] = count
                rest = zero if to_zero and count > zero else rest
                potential[n] = max(rest, minimum)
                largest = max(largest, count)
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


@numba.njit(cache=True, nogil=True)
def measure_arrivals(frames: Any, reached: Any) -> Any:
    """The largest count of (frames, height, width), and the sum of counts times (height, width) `reached`."""
    largest, total = 0.0, 0.0
    for n in range(frames.shape[0]):
        for y in range(frames.shape[1]):
            for x in range(frames.shape[2]):
                count = float(frames[n, y, x])
                largest = max(largest, count)
                total += count * reached[y, x]
    return largest, total
