"""Potentials on a board: where they start, what writes them, and the event that is spared behind that.

One lab reports that the first input event is lost after potentials were written from the host, cause unknown.
So every reset ends with an event that cannot change an answer. Best is one to a core that is not in use: its
destinations, monitor and leak are off, so what it does stays inside. Where all cores are used, a feature
whose weights are all 0 will do: the neurons that it touches keep their potentials, below the threshold.
`ReadNeuronValue` changes nothing either, but is as little an input event as `WriteNeuronValue`: were it
what is lost, of a thousand writes all but the first would be. Whether chips or cores lose the event is not
known; `mapper.boards.first_event` finds out whether this one is enough.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

__all__ = ["harmless_event", "reads_of", "spike_to", "start_values", "writes_of"]


def start_values(samna_config: Any, cores: Iterable[int]) -> dict[int, int | None]:
    """By core, the potential that all its neurons start from; None where they differ."""
    starts: dict[int, int | None] = {}
    for core in cores:
        values = np.unique(np.asarray(samna_config.cnn_layers[core].neurons_initial_value))
        starts[core] = int(values[0]) if len(values) == 1 else None
    return starts


def writes_of(library: Any, core: int, words: int, value: int) -> list[Any]:
    """Objects that set all potentials of a core, used or not: which address is whose is not established."""
    writes = []
    for address in range(words):
        write = library.event.WriteNeuronValue()
        write.layer, write.address, write.neuron_state = core, address, value
        writes.append(write)
    return writes


def reads_of(library: Any, core: int, words: int) -> list[Any]:
    """Objects that ask for all potentials of a core."""
    reads = []
    for address in range(words):
        read = library.event.ReadNeuronValue()
        read.layer, read.address = core, address
        reads.append(read)
    return reads


def spike_to(library: Any, core: int, feature: int, y: int = 0, x: int = 0) -> Any:
    """A spike that is played at once: its time has passed."""
    spike = library.event.Spike()
    spike.layer, spike.feature, spike.y, spike.x, spike.timestamp = core, feature, y, x, 0
    return spike


def harmless_event(library: Any, samna_config: Any, used: Iterable[int]) -> Any | None:
    """An input event that changes no answer of the network; None where there is none."""
    used = set(used)
    layers = samna_config.cnn_layers
    # The last cores first: 0 and 1 of some chips compute in parallel and are not like the others.
    for core in reversed(range(len(layers))):
        if core not in used and _is_off(layers[core]):
            return spike_to(library, core, 0)
    for core in sorted(used, reverse=True):
        rests = np.max(layers[core].neurons_initial_value) < layers[core].threshold_high
        unread = np.flatnonzero(~np.asarray(layers[core].weights).any(axis=(0, 2, 3)))
        if rests and len(unread):
            return spike_to(library, core, int(unread[0]))
    return None


def _is_off(core: Any) -> bool:
    is_heard = core.monitor_enable or core.leak_enable
    return not is_heard and not any(entry.enable for entry in core.destinations)
