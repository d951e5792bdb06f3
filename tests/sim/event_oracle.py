"""Event semantics once more, recursively and without tables: what the compiled simulator must equal."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np

from mapper.emit.shared.config import ChipConfig

__all__ = ["Oracle"]


def _reached(start: int, kernel_size: int, stride: int, count: int) -> list[tuple[int, int]]:
    """Along one axis: taps of the kernel, each with the place of the neuron that it reaches."""
    places = [(tap, start - tap) for tap in range(kernel_size)]
    return [(tap, at // stride) for tap, at in places if at % stride == 0 and 0 <= at // stride < count]


class Oracle:
    """Depth first: a spike's consequences end before the next spike begins."""

    def __init__(self, config: ChipConfig, *, delivered: bool = False) -> None:
        self.cores: dict[int, Any] = {n: c for n, c in enumerate(config.hardware.cnn_layers) if c.dimensions}
        self.states = {
            n: c.neurons_initial_value.array.transpose(0, 2, 1).astype(np.int64)
            for n, c in self.cores.items()
            if c.neurons_initial_value
        }
        self.count = len(config.hardware.cnn_layers)
        self.delivered = delivered
        self.spikes: dict[int, list[tuple[int, int, int, int]]] = {n: [] for n in self.cores}

    def tick(self) -> None:
        for number, core in self.cores.items():
            if core.leak_enable and core.biases:
                state = self.states[number] + core.biases.array.astype(np.int64)[:, None, None]
                self.states[number] = np.maximum(np.clip(state, -32768, 32767), core.threshold_low or 0)

    def arrive(self, time: int, number: int, f: int, y: int, x: int) -> None:
        core = self.cores[number]
        shape, state, fired = core.dimensions, self.states[number], []
        size = shape.output_shape.size
        rows = _reached(y + shape.padding.y, shape.kernel_size, shape.stride.y, size.y)
        columns = _reached(x + shape.padding.x, shape.kernel_size, shape.stride.x, size.x)
        # Python's own numbers: an entry of an array takes several times as long.
        weights = core.weights.array[:, f].tolist()
        for o, ((ty, row), (tx, column)) in product(range(len(weights)), product(rows, columns)):
            value = min(max(state[o, row, column].item() + weights[o][tx][ty], -32768), 32767)
            if value >= core.threshold_high:
                fired.append((o, row, column))
                value = 0 if core.return_to_zero else value - core.threshold_high
            state[o, row, column] = max(value, core.threshold_low)
        for o, row, column in sorted(fired):
            self.spikes[number].append((time, o, row, column))
        for o, row, column in sorted(fired):
            for entry in core.destinations:
                if not entry.enable or entry.layer >= self.count:
                    continue
                target = self.cores[entry.layer].dimensions
                there = row // entry.pooling, column // entry.pooling
                limits = target.input_shape.size
                if self.delivered or (there[0] < limits.y and there[1] < limits.x):
                    self.arrive(time, entry.layer, o + entry.feature_shift, *there)
