"""Event semantics once more, recursively and without tables: what the compiled simulator must equal."""

from __future__ import annotations

from typing import Any

import numpy as np

from mapper.emit.shared.config import ChipConfig
from mapper.integers import widened

__all__ = ["Oracle"]


class Oracle:
    """Depth first: a spike's consequences end before the next spike begins."""

    def __init__(self, config: ChipConfig, *, delivered: bool = False) -> None:
        self.cores: dict[int, Any] = {n: c for n, c in enumerate(config.hardware.cnn_layers) if c.dimensions}
        self.states = {
            n: widened(c.neurons_initial_value.array).transpose(0, 2, 1).copy()
            for n, c in self.cores.items()
            if c.neurons_initial_value
        }
        self.count = len(config.hardware.cnn_layers)
        self.delivered = delivered
        self.spikes: dict[int, list[tuple[int, int, int, int]]] = {n: [] for n in self.cores}

    def tick(self) -> None:
        for number, core in self.cores.items():
            if core.leak_enable and core.biases:
                state = self.states[number] + widened(core.biases.array)[:, None, None]
                self.states[number] = np.maximum(np.clip(state, -32768, 32767), core.threshold_low or 0)

    def arrive(self, time: int, number: int, f: int, y: int, x: int) -> None:
        core = self.cores[number]
        shape, weights = core.dimensions, widened(core.weights.array)
        fired = []
        for o, ty, tx in np.ndindex(weights.shape[0], shape.kernel_size, shape.kernel_size):
            row, column = y + shape.padding.y - ty, x + shape.padding.x - tx
            if row % shape.stride.y or column % shape.stride.x:
                continue
            row, column = row // shape.stride.y, column // shape.stride.x
            size = shape.output_shape.size
            if not (0 <= row < size.y and 0 <= column < size.x):
                continue
            value = int(np.clip(self.states[number][o, row, column] + weights[o, f, tx, ty], -32768, 32767))
            if value >= core.threshold_high:
                fired.append((o, row, column))
                value = 0 if core.return_to_zero else value - core.threshold_high
            self.states[number][o, row, column] = max(value, core.threshold_low)
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
