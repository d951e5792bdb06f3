"""A configuration as the flat tables of the event kernel."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mapper.emit.config import CnnLayer
from mapper.emit.graph import ConfigGraph
from mapper.errors import ConfigError, Finding
from mapper.sim.event_kernel import CORE, COUNT, NO_LINK

__all__ = ["Tables", "tables_of"]

# HARDWARE.md's list: the decimator passes one spike in so many, by interval.
_DECIMATED = (2, 4, 8, 16, 32, 128, 256, 512)


@dataclass(frozen=True)
class Tables:
    """The arrays of the kernel; `potentials`, `counts`, `border` and `phase` change as it runs.

    Attributes
    ----------
    numbers
        Core ids by row.
    index
        Row by core id.
    cores, links
        One row per core: the columns of `CORE`; per slot target, pooling and shift.
    weights, kills, biases, potentials
        Of all cores, one behind the other.
    """

    numbers: tuple[int, ...]
    index: Mapping[int, int]
    cores: NDArray[np.int64]
    links: NDArray[np.int64]
    weights: NDArray[np.int32]
    kills: NDArray[np.bool_]
    biases: NDArray[np.int32]
    potentials: NDArray[np.int32]
    counts: NDArray[np.int64]
    border: NDArray[np.int64]
    phase: NDArray[np.int64]


def tables_of(graph: ConfigGraph, recorded: Collection[int]) -> Tables:
    """Tables of the cores in use; spikes of `recorded` cores are kept."""
    numbers = tuple(sorted(graph.order))
    index = {core: n for n, core in enumerate(numbers)}
    slots = max((link.slot for link in graph.links), default=0) + 1
    cores = np.zeros((len(numbers), len(CORE)), np.int64)
    links = np.full((len(numbers), slots, 3), NO_LINK, np.int64)
    weights: list[NDArray[Any]] = []
    kills: list[NDArray[Any]] = []
    biases: list[NDArray[Any]] = []
    potentials: list[NDArray[Any]] = []
    for n, number in enumerate(numbers):
        core = graph.cores[number]
        row = _row(core)
        row["weights"], row["potentials"] = _length(weights), _length(potentials)
        row["biases"], row["record"] = _length(biases), int(number in recorded)
        row["kills"] = _length(kills) if core.weights_kill_bit is not None else -1
        cores[n] = [row[name] for name in CORE]
        weights.append(_by_tap(core.weights))
        if core.weights_kill_bit is not None:
            kills.append(_by_tap(core.weights_kill_bit).astype(np.bool_))
        biases.append(_flat(core.biases, (0,)))
        potentials.append(_flat(core.neurons_initial_value, (2, 1, 0)))
    for link in graph.links:
        links[index[link.source], link.slot] = index[link.target], link.pooling, link.feature_shift
    return Tables(
        numbers, index, cores, links, _joined(weights), _joined(kills).astype(np.bool_), _joined(biases),
        _joined(potentials), np.zeros((len(numbers), len(COUNT)), np.int64),
        np.zeros((len(numbers), slots), np.int64), np.zeros(len(numbers), np.int64),
    )  # fmt: skip


def _row(core: CnnLayer) -> dict[str, int]:
    shape = core.dimensions
    if shape is None:
        raise ConfigError(Finding("core", "is not configured"))
    lossy = core.output_decimator_enable
    return {
        "in_features": shape.input_shape.feature_count,
        "in_height": shape.input_shape.size.y,
        "in_width": shape.input_shape.size.x,
        "features": shape.output_shape.feature_count,
        "height": shape.output_shape.size.y,
        "width": shape.output_shape.size.x,
        "kernel": shape.kernel_size,
        "stride_y": shape.stride.y,
        "stride_x": shape.stride.x,
        "padding_y": shape.padding.y,
        "padding_x": shape.padding.x,
        "high": core.threshold_high or 1,
        "low": core.threshold_low or 0,
        "to_zero": int(core.return_to_zero),
        "leak": int(core.leak_enable),
        "decimate": _DECIMATED[core.output_decimator_interval or 0] if lossy else 0,
    }


def _by_tap(tensor: Any) -> NDArray[np.int32]:
    """(out, in, x, y) as (in, y, x, out), flat."""
    return _flat(tensor, (1, 3, 2, 0))


def _length(parts: list[NDArray[Any]]) -> int:
    return sum(part.size for part in parts)


def _flat(tensor: Any, axes: tuple[int, ...]) -> NDArray[np.int32]:
    return np.ascontiguousarray(tensor.array.transpose(axes), np.int32).reshape(-1)


def _joined(parts: list[NDArray[Any]]) -> NDArray[Any]:
    return np.concatenate(parts) if parts else np.zeros(1, np.int32)
