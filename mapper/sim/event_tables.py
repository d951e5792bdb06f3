"""A configuration as the flat tables of the event kernel."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mapper.emit.shared.config import CnnLayer
from mapper.emit.shared.graph import ConfigGraph
from mapper.errors import ConfigError, Finding
from mapper.sim.core_arrays import biases_of, initial_of, weights_of
from mapper.sim.event_kernel import CORE, COUNT, NO_LINK

__all__ = ["Chip", "Rules", "Tables", "runs_of", "tables_of"]

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
    spans
        By core, axis (y, x) and arriving coordinate: the first output it reaches, the place of the tap
        that does, and how many outputs follow each other.
    weights, kills, biases, potentials
        Of all cores, one behind the other.
    """

    numbers: tuple[int, ...]
    index: Mapping[int, int]
    cores: NDArray[np.int64]
    links: NDArray[np.int64]
    spans: NDArray[np.int64]
    weights: NDArray[np.int16] | NDArray[np.int32]
    kills: NDArray[np.bool_]
    biases: NDArray[np.int32]
    potentials: NDArray[np.int32]
    counts: NDArray[np.int64]
    border: NDArray[np.int64]
    phase: NDArray[np.int64]


class Chip(NamedTuple):
    """The arrays of `Tables`, the state of the random order and the time of the next tick."""

    cores: Any
    links: Any
    spans: Any
    weights: Any
    kills: Any
    biases: Any
    potentials: Any
    counts: Any
    border: Any
    phase: Any
    random: Any
    clock: Any


class Rules(NamedTuple):
    """How a chip behaves.

    Attributes
    ----------
    order
        A value of `ORDERS`.
    limit
        Most spikes that one arrival may cause.
    period
        Between ticks, µs; infinite for none.
    end
        Ticks before this time run too, when all arrivals are done.
    """

    order: int
    delivered: bool
    wraps: bool
    fires_on_tick: bool
    limit: int
    period: float
    end: float


def tables_of(graph: ConfigGraph, recorded: Collection[int]) -> Tables:
    """Tables of the cores in use; spikes of `recorded` cores are kept."""
    numbers = tuple(sorted(graph.order))
    index = {core: n for n, core in enumerate(numbers)}
    slots = max((link.slot for link in graph.links), default=0) + 1
    cores = np.zeros((len(numbers), len(CORE)), np.int64)
    # Pools only lessen a coordinate: none that arrives lies beyond the largest map.
    shapes = [d for core in graph.cores.values() if (d := core.dimensions) is not None]
    sizes = [size for d in shapes for size in (d.input_shape.size, d.output_shape.size)]
    reach = max((max(size.x, size.y) for size in sizes), default=1)
    spans = np.zeros((len(numbers), 2, reach, 3), np.int64)
    links = np.full((len(numbers), slots, 3), NO_LINK, np.int64)
    weights, kills, weight_count = *_room(graph, numbers), 0
    biases: list[NDArray[Any]] = []
    potentials: list[NDArray[Any]] = []
    for n, number in enumerate(numbers):
        core = graph.cores[number]
        row = _row(core)
        row["weights"], row["potentials"] = weight_count, _length(potentials)
        row["biases"], row["record"] = _length(biases), int(number in recorded)
        row["kills"] = weight_count if core.weights_kill_bit is not None else -1
        cores[n] = [row[name] for name in CORE]
        orders = []
        for axis, (name, size) in enumerate((("y", "height"), ("x", "width"))):
            stride, padding = row[f"stride_{name}"], row[f"padding_{name}"]
            order, spans[n, axis] = _spans(row["kernel"], stride, padding, row[size], reach)
            orders.append(order)
        kernels = weights_of(core)
        part = slice(weight_count, weight_count := weight_count + kernels.size)
        _by_tap(kernels, orders, weights[part])
        if core.weights_kill_bit is not None:
            _by_tap(core.weights_kill_bit.array.transpose(0, 1, 3, 2), orders, kills[part])
        biases.append(_flat(biases_of(core), (0,)))
        potentials.append(_flat(initial_of(core), (1, 2, 0)))
    for link in graph.links:
        links[index[link.source], link.slot] = index[link.target], link.pooling, link.feature_shift
    return Tables(
        numbers, index, cores, links, spans, weights, kills,
        _joined(biases), _joined(potentials), np.zeros((len(numbers), len(COUNT)), np.int64),
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


def runs_of(core: CnnLayer, weights: Any, table: NDArray[Any]) -> NDArray[np.int64]:
    """Write weights (out, in, y, x) of one core as in `Tables`, and give its spans."""
    row = _row(core)
    reach, along = max(row["in_height"], row["in_width"]), []
    for name, size in (("y", "height"), ("x", "width")):
        stride, padding = row[f"stride_{name}"], row[f"padding_{name}"]
        along.append(_spans(row["kernel"], stride, padding, row[size], reach))
    _by_tap(weights, [order for order, _ in along], table)
    return np.stack([spans for _, spans in along])


@lru_cache(maxsize=256)
def _spans(
    kernel: int, stride: int, padding: int, outputs: int, reach: int
) -> tuple[list[int], NDArray[np.int64]]:
    """Along one axis, the order of taps in the table, and the rows of `Tables.spans`.

    Taps that one arrival uses lie side by side, in the order of the outputs that they reach: they are
    those of the same remainder by the stride, the last one first.
    """
    order = sorted(range(kernel), key=lambda tap: (tap % stride, -tap))
    remainders = [tap % stride for tap in order]
    at = np.arange(reach) + padding
    group, farthest = at % stride, at // stride
    # Tap group + n * stride reaches output farthest - n.
    taps = (kernel - 1 - group + stride) // stride
    last = np.minimum(taps - 1, farthest)
    count = np.maximum(last - np.maximum(farthest - outputs + 1, 0) + 1, 0)
    place = np.searchsorted(remainders, group) + taps - 1 - last
    return order, np.stack([farthest - last, place, count], axis=1) * (count > 0)[:, None]


def _room(graph: ConfigGraph, numbers: tuple[int, ...]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Weights and kill bits of all cores, not filled; entries are wide enough for each weight."""
    tensors = [tensor for number in numbers if (tensor := graph.cores[number].weights) is not None]
    kind = np.int16 if all(tensor.array.itemsize <= 2 for tensor in tensors) else np.int32
    count = max(1, sum(tensor.array.size for tensor in tensors))
    # Where no core has kill bits, there is no table of them.
    has_kills = any(graph.cores[number].weights_kill_bit is not None for number in numbers)
    return np.zeros(count, kind), np.zeros(count if has_kills else 1, np.bool_)


def _by_tap(array: Any, orders: Sequence[list[int]], table: NDArray[Any]) -> None:
    """Write (out, in, y, x) as (in, y, x, out), taps in the order (y, x) of the table."""
    order_y, order_x = orders
    features, reads, *_ = array.shape
    target = table.reshape(reads, len(order_y), len(order_x), features)
    for row, y in enumerate(order_y):
        for column, x in enumerate(order_x):
            target[:, row, column] = array[:, :, y, x].T


def _length(parts: list[NDArray[Any]]) -> int:
    return sum(part.size for part in parts)


def _flat(array: Any, axes: tuple[int, ...]) -> NDArray[np.int32]:
    return np.ascontiguousarray(array.transpose(axes), np.int32).reshape(-1)


def _joined(parts: list[NDArray[Any]]) -> NDArray[Any]:
    return np.concatenate(parts) if parts else np.zeros(1, np.int32)
