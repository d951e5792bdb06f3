"""Outputs of an event simulation: made when they are looked up, one in memory at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from mapper.emit.shared.interface import OutputPart
from mapper.events import EVENT_DTYPE, Events

__all__ = ["Outputs", "Way", "pooled", "unpacked"]

# Of an output: the layer, the parts of it that are shown, and the pool of the host.
Way: TypeAlias = tuple[str, tuple[OutputPart, ...], tuple[int, int]]


class Outputs(Mapping[str, Events]):
    """Outputs, each made when it is looked up, and one kept: any number of them takes the memory of one.

    Parameters
    ----------
    ways
        By output, how it is shown; those that are shown alike are one array, which cannot be written to.
    make
        Gives the spikes.
    """

    def __init__(self, ways: Mapping[str, Way], make: Callable[[Way], Events]) -> None:
        self._ways, self._make = ways, make
        self._kept: tuple[Way, Events] | None = None

    def __getitem__(self, name: str) -> Events:
        way = self._ways[name]
        if self._kept is None or self._kept[0] != way:
            self._kept = None  # before the next one is made: there is never a second one
            events = self._make(way)
            events.flags.writeable = False
            self._kept = way, events
        return self._kept[1]

    def __iter__(self) -> Iterator[str]:
        return iter(self._ways)

    def __len__(self) -> int:
        return len(self._ways)


def pooled(spikes: Events, pool: tuple[int, int], size: tuple[int, int]) -> Events:
    """Spikes of a map of a size in pools; those outside a whole pool are left out."""
    y, x = spikes["y"] // pool[0], spikes["x"] // pool[1]
    kept = (y < size[0] // pool[0]) & (x < size[1] // pool[1])
    pooled = spikes[kept].copy()
    pooled["y"], pooled["x"] = y[kept], x[kept]
    return pooled


def unpacked(record: NDArray[np.int64], cores: Mapping[int, int]) -> dict[int, Events]:
    """By core, the spikes of a record in order; `cores` by row."""
    by_core = {}
    for n, core in cores.items():
        rows = record[record[:, 1] == n]
        spikes = np.empty(len(rows), EVENT_DTYPE)
        spikes["t"], spikes["p"] = rows[:, 0], rows[:, 2] >> 32
        spikes["y"], spikes["x"] = (rows[:, 2] >> 16) & 0xFFFF, rows[:, 2] & 0xFFFF
        by_core[core] = spikes
    return by_core
