"""A core of a frame simulation: what it computes with, and in how few bits its potentials may stand.

Features lie innermost, as (batch, time, height, width, features): one spike reaches neurons that lie side by
side. Maps go on by a vector behind their last entry.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod
from typing import Any, NamedTuple

import numpy as np
import torch

from mapper.emit.shared.config import CnnLayer, Dimensions
from mapper.emit.shared.graph import ConfigGraph, Link
from mapper.errors import ConfigError, Finding
from mapper.sim.core_arrays import biases_of, input_shape, taps, weights_of
from mapper.sim.event_tables import runs_of
from mapper.sim.kernels import Neurons, Taps
from mapper.sim.vector_add import LANES

__all__ = ["COUNT_MAX", "SINGLE_MAX", "STATE_END", "Core", "Frames", "core_of", "room"]

SINGLE_MAX = 1 << 24
"""Sums of integers are exact in single precision below it."""
STATE_END = 1 << 15
"""Potentials of 16 bits end before it; twice as much is what they add to a bound of sums."""
COUNT_MAX = STATE_END - 1
"""What spikes of 16 bits hold."""
# Bytes that a processor fetches at once: vectors that lie across two of them take twice as long.
_LINE = 64


class Frames(NamedTuple):
    """Counts on their way.

    Attributes
    ----------
    counts
        (batch, time, height, width, features), of 16 bits wherever they fit.
    active
        How many are not 0, as far as it is known; else all.
    flat
        The same and a vector more, if there is one.
    """

    counts: Any
    active: int
    flat: Any = None


NOTHING = Frames(None, 0)


def room(shape: tuple[int, ...], kind: type[Any], *, is_zero: bool = False) -> tuple[Any, Any]:
    """An array at the start of a line of the cache, flat and going on by a vector, and in its shape."""
    size = prod(shape)
    bytes_needed = (size + LANES) * np.dtype(kind).itemsize
    whole = (np.zeros if is_zero else np.empty)(bytes_needed + _LINE, np.uint8)
    start = -whole.ctypes.data % _LINE
    flat = whole[start : start + bytes_needed].view(kind)
    return flat, flat[:size].reshape(shape)


@dataclass(slots=True)
class Core:
    """A core, and where its neurons stand.

    Attributes
    ----------
    entries
        (input name, (height, width) of its pool, feature shift) of what enters from outside.
    shape, neurons
        (height, width, features) of what arrives and of the neurons.
    bias
        (features,), or None if it adds nothing.
    reach, reach_mean
        Times the count at each place of the input: synaptic operations; and over all places.
    falls, rises
        What a current lies between, by count, and what it lies between without any.
    gain
        What |current| does not exceed, by count.
    potential
        (batch, neurons and a vector): of 16 bits or 32 while `kind` finds that they suffice, else of 64.
    ends
        Between these it lies.
    sent
        Its spikes of the window.
    trace
        Where something is delayed: of all steps and those before the first.
    largest
        No count of one step exceeded it so far.
    """

    layer: CnnLayer
    dimensions: Dimensions
    links: tuple[Link, ...]
    entries: tuple[tuple[str, tuple[int, int], int], ...]
    single_spike: bool
    shape: tuple[int, int, int]
    neurons: tuple[int, int, int]
    weights: Any
    bias: Any
    reach: Any
    reach_mean: float
    falls: tuple[int, int]
    rises: tuple[int, int]
    gain: int
    potential: Any
    ends: tuple[int, int]
    sent: Frames = NOTHING
    trace: Any = None
    largest: int = 0
    synops: int = 0
    beyond: int = 0
    kernels: dict[torch.dtype, tuple[torch.Tensor, torch.Tensor | None]] = field(default_factory=dict)
    tables: dict[type[Any], tuple[Taps, Neurons]] = field(default_factory=dict)

    @property
    def number(self) -> int:
        """How many neurons it has."""
        return prod(self.neurons)

    @property
    def high(self) -> int:
        """Its threshold."""
        return self.layer.threshold_high or 1

    @property
    def low(self) -> int:
        """The lower bound of its potentials."""
        return self.layer.threshold_low or 0

    def bound(self, most: int) -> int:
        """What no current exceeds, and no part of one, if no place of the input counts more than `most`."""
        return self.gain * most + max(self.rises[1], -self.falls[1])

    def kind(self, most: int) -> type[Any] | None:
        """The fewest bits in which every sum of a potential and parts of its current stays; None for 64.

        They are few only where potentials stay within 16 bits themselves: none lies beyond them then.
        """
        high, low = self.high, self.low
        is_within = min(self.ends[0], low) >= -STATE_END and max(self.ends[1], high) < STATE_END
        if self.single_spike or low >= high or not is_within:
            return None
        lowest = min(self.ends[0], low) + self.falls[0] * most + self.falls[1]
        highest = max(self.ends[1], high - 1) + self.rises[0] * most + self.rises[1]
        if self.bound(most) + 2 * STATE_END >= SINGLE_MAX or highest // high > COUNT_MAX:
            return None
        return np.int16 if lowest >= -STATE_END and highest < STATE_END else np.int32

    def fit(self, kind: type[Any]) -> None:
        """Have potentials of so many bits."""
        if self.potential.dtype != kind:
            _, potential = room(self.potential.shape, kind)
            potential[:] = self.potential
            self.potential = potential

    def settled(self) -> None:
        """Have made a step at least, in so few bits."""
        self.ends = self.low, self.high - 1

    def table(self, kind: type[Any]) -> tuple[Taps, Neurons]:
        """What the kernels read."""
        if kind not in self.tables:
            flat, weights = room(self.weights.shape, kind, is_zero=True)
            spans = runs_of(self.layer, self.weights, weights.reshape(-1))
            kernel, (height, width, _) = self.weights.shape[-1], self.shape
            features = self.neurons[2]
            pitch, tap_pitch = self.neurons[1] * features, kernel * features
            taps = Taps(
                flat, spans[0, :height] * (pitch, tap_pitch, 1), (spans[1, :width] * features).reshape(-1),
                width, kernel * tap_pitch, pitch, tap_pitch,
            )  # fmt: skip
            bias = np.zeros(0, kind)
            if self.bias is not None:
                bias = np.tile(self.bias.astype(kind), self.number // features)
            neurons = Neurons(self.number, bias, self.high, self.low, self.layer.return_to_zero)
            self.tables[kind] = taps, neurons
        return self.tables[kind]


def core_of(graph: ConfigGraph, number: int, start: Any, batch: int) -> Core:
    """A core that begins with potentials (batch or 1, height, width, features)."""
    layer, weights = graph.cores[number], weights_of(graph.cores[number])
    if layer.dimensions is None:
        raise ConfigError(Finding(f"core {number}", "is not configured"))
    bias = biases_of(layer) if layer.leak_enable else None
    bias = bias if bias is not None and bias.any() else None
    features, height, width = input_shape(layer)
    flat = np.ascontiguousarray(weights).reshape(len(weights), -1)
    falls, rises = (each(flat, 0).sum(axis=1, dtype=np.int64) for each in (np.minimum, np.maximum))
    constant = (0, 0) if bias is None else (int(bias.min(initial=0)), int(bias.max(initial=0)))
    neurons, reach = start.shape[-3:], taps(layer) * weights.shape[0]
    ends = int(start.min(initial=0)), int(start.max(initial=0))
    is_narrow = ends[0] >= -STATE_END and ends[1] < STATE_END
    _, potential = room((batch, prod(neurons) + LANES), np.int16 if is_narrow else np.int64, is_zero=True)
    if any(ends):
        potential[:, : prod(neurons)] = start.reshape(start.shape[0], -1)
    return Core(
        layer,
        layer.dimensions,
        graph.arriving(number),
        tuple(
            (name, pooling, entry.feature_shift)
            for name, (entries, pooling) in graph.entries.items()
            for entry in entries
            if entry.core == number
        ),
        number in graph.single_spike,
        (height, width, features),
        neurons,
        weights,
        bias,
        reach,
        float(reach.mean()),
        (int(falls.min(initial=0)), constant[0]),
        (int(rises.max(initial=0)), constant[1]),
        int((rises - falls).max(initial=0)),
        potential,
        ends,
    )
