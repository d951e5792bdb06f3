"""Compiled neuron kernels; integers only."""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt

__all__ = ["fire_steps"]

_STATE_MIN, _STATE_MAX = -(1 << 15), (1 << 15) - 1

Integers = npt.NDArray[np.int64]


@numba.njit(cache=True)
def fire_steps(
    current: Integers, potential: Integers, threshold: int, minimum: int, to_zero: bool, single: bool
) -> tuple[Integers, int]:
    """Integrate-and-fire over time, in frame semantics; `potential` is updated in place.

    Per step: potential += current; spikes = potential // threshold where it is positive, at most one in
    single-spike mode; subtract ``spikes * threshold`` or set to 0 where it spiked; then the lower bound.

    Parameters
    ----------
    current
        (time, neurons).
    potential
        (neurons,).
    threshold
        >= 1.

    Returns
    -------
    tuple
        Spikes (time, neurons), and how often a potential lay beyond 16 bits after its step.
    """
    steps, neurons = current.shape
    spikes = np.zeros((steps, neurons), np.int64)
    beyond = 0
    for step in range(steps):
        for n in range(neurons):
            value = potential[n] + current[step, n]
            if value > 0:
                count = value // threshold
                if single and count > 1:
                    count = 1
                if count > 0:
                    spikes[step, n] = count
                    value = 0 if to_zero else value - count * threshold
            value = max(value, minimum)
            if value < _STATE_MIN or value > _STATE_MAX:
                beyond += 1
            potential[n] = value
    return spikes, beyond
