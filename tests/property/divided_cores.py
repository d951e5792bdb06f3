"""Which cores hold how much of what, from the data sheet's raw formulas.

The arithmetic is the oracle's own; nothing here comes from the solver or the works it counts with.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from hwspec.schema import ChipSpec, CoreSpec
from mapper.network import Layer
from mapper.options import SolveOptions

__all__ = [
    "Body",
    "Counts",
    "Stock",
    "doubled",
    "fits",
    "most_features",
    "relay_body",
    "stocks_of",
    "widths_of",
]

# How many cores of each stock are taken.
Counts = tuple[int, ...]


@dataclass(frozen=True)
class Stock:
    """Equal cores: any of them does, unless the one core is pinned to a layer."""

    core: CoreSpec
    cores: tuple[int, ...]
    pinned: str | None


def stocks_of(chip: ChipSpec, options: SolveOptions) -> tuple[Stock, ...]:
    """The chip's cores that may be used, equal ones together."""
    pins = {core: str(layer) for layer, core in options.pins}
    groups: dict[tuple[CoreSpec, str | None], list[int]] = {}
    for number, core in enumerate(chip.cores):
        if number not in options.forbidden_cores:
            groups.setdefault((core, pins.get(number)), []).append(number)
    return tuple(Stock(core, tuple(ids), pin) for (core, pin), ids in groups.items())


@dataclass(frozen=True)
class Body:
    """What a core is asked to do.

    Attributes
    ----------
    incoming
        (features, height, width) of what it reads; no features where it reads as many as it makes.
    spikes
        Arriving per second.
    widths
        Bits of weights, biases and potentials.
    """

    incoming: tuple[int | None, int, int]
    rows: int
    columns: int
    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    has_bias: bool = False
    spikes: int = 0
    widths: tuple[int, int, int] = (0, 0, 0)


def relay_body(shape: tuple[int, int, int], level: int, spikes: int, *, reads_all: bool) -> Body:
    """A relay of a signal that it reads pooled by so much: all of its spikes may be theirs."""
    features, rows, columns = shape[0], shape[1] // level, shape[2] // level
    return Body(
        (features if reads_all else None, rows, columns), rows, columns, spikes=spikes, widths=(2, 0, 2)
    )


def widths_of(layer: Layer) -> tuple[int, int, int]:
    """Bits of the weights, biases and potentials of a layer; none of shapes."""
    conv, neuron = layer.operation, layer.neuron
    if conv.weight is None or neuron is None:
        return (0, 0, 0)
    low = -32768 if neuron.minimum is None else neuron.minimum
    groups: list[list[Any]] = [
        [conv.weight],
        [] if conv.bias is None else [conv.bias],
        [neuron.threshold, low],
    ]
    if neuron.initial_potential is not None:
        groups[2].append(neuron.initial_potential)
    numbers = [[int(n) for array in group for n in np.ravel(array)] for group in groups]
    weights, biases, potentials = (
        next((bits for bits in range(65) if all(-(2**bits) <= 2 * n < 2**bits for n in group)), 0)
        for group in numbers
    )
    return weights, biases, potentials


def doubled(number: int) -> int:
    """The least power of two that is not below a number."""
    power = 1
    while power < number:
        power += power
    return power


def fits(body: Body, features: int, core: CoreSpec) -> bool:
    """Whether a core holds so many features of a body, limit by limit."""
    limits, (reads, height, width) = core.limits, body.incoming
    taken = features if reads is None else reads
    (ky, kx), (sy, sx) = body.kernel, body.stride
    synops = core.synops_per_second
    return (
        height <= limits.input_height_max
        and width <= limits.input_width_max
        and body.rows <= limits.output_height_max
        and body.columns <= limits.output_width_max
        and taken <= limits.input_features_max
        and features <= limits.output_features_max
        and limits.kernel_size_min <= min(ky, kx)
        and max(ky, kx) <= limits.kernel_size_max
        and (ky == kx or not limits.kernel_square)
        and {sy, sx} <= set(limits.strides)
        and max(body.padding) <= limits.padding_max
        and body.widths[0] <= limits.weight_bits
        and body.widths[1] <= limits.bias_bits
        and body.widths[2] <= limits.state_bits
        and taken * doubled(ky * kx) * doubled(features) <= core.kernel_words
        and features * doubled(body.rows) * doubled(body.columns) <= core.neuron_words
        and (not body.has_bias or features <= core.bias_words)
        and (synops is None or body.spikes * features * ky * kx <= synops * sy * sx)
    )


@lru_cache(maxsize=100_000)
def _most(body: Body, total: int, core: CoreSpec) -> int:
    return next((size for size in range(total, 0, -1) if fits(body, size, core)), 0)


def most_features(
    body: Body, total: int, stocks: Collection[Stock], owner: str | None, pinned: Collection[str]
) -> tuple[int, ...]:
    """By stock, the most features of a body that one of its cores holds.

    Parameters
    ----------
    owner
        The layer it is, as pins call it; None for a relay, which no pinned core takes.
    pinned
        Layers with a pin: no other core is open to them.
    """

    def is_open(stock: Stock) -> bool:
        return stock.pinned == owner if owner in pinned else stock.pinned is None

    return tuple(_most(body, total, stock.core) if is_open(stock) else 0 for stock in stocks)


def cost(counts: Counts, stocks: Collection[Stock]) -> int:
    """Bits of all memories of the cores taken."""
    return sum(n * stock.core.capacity_bits for n, stock in zip(counts, stocks, strict=True))


def rates_of(options: SolveOptions) -> Mapping[str, int]:
    """Spikes per second by signal, as options call it."""
    return {str(signal): rate for signal, rate in options.traffic}
