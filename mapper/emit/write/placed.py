"""A placement by cores and names, as the emitter looks at it: all networks as one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from mapper.emit.shared.joined import joined
from mapper.normal_form import NormalNetwork
from mapper.references import layer_key, natural_key
from mapper.result import Result
from mapper.solution import READOUT, Placement, Relay, Route, Solution

__all__ = ["Arrival", "Part", "Placed"]


@dataclass(frozen=True, slots=True)
class Part:
    """What one core holds.

    Attributes
    ----------
    signal
        The layer, or the layer or input whose spikes a relay passes on, by the joined network's name.
    start, stop
        Its features [start, stop).
    reads
        How many features arrive.
    copy
        0, or the number of the copy that it belongs to.
    relayed
        By how much a relay's signal is pooled; None for a layer.
    """

    core: int
    signal: str
    start: int
    stop: int
    role: Literal["layer", "piece", "copy", "relay"]
    reads: int
    copy: int = 0
    relayed: int | None = None

    @property
    def features(self) -> str:
        """Its features, for messages."""
        return f"{self.start}..{self.stop - 1}"


@dataclass(frozen=True, slots=True)
class Arrival:
    """Features [start, stop) of a signal on a route into a core.

    Attributes
    ----------
    pooling
        Of all hops up to the core.
    offset
        Where the signal's feature 0 would arrive.
    """

    route: Route
    signal: str
    pooling: int
    offset: int
    start: int
    stop: int


class Placed:
    """The parts of a placement, with the look-ups that emission needs.

    Attributes
    ----------
    network
        All networks of the result, joined.
    sensors
        Inputs that the sensor stage feeds; it sends the same events to all.
    parts
        By core.
    """

    def __init__(self, result: Result) -> None:
        self.networks = result.networks
        self.network: NormalNetwork = joined(result.networks)
        self.solution: Solution = result.require()
        self.sensors = tuple(entry.name for entry in self.network.inputs if entry.dvs is not None)
        self.parts: Mapping[int, Part] = {
            placement.core: self._part(placement)
            for placement in sorted(self.solution.placements, key=lambda entry: entry.core)
        }

    def key(self, network: int, name: str) -> str:
        """A layer, input or output by the joined network's name."""
        return layer_key(self.networks, network, name)

    def signal(self, network: int, name: str) -> str:
        """A layer or input by the joined network's name; the first of the sensor's inputs for all of them."""
        key = self.key(network, name)
        return self.sensors[0] if key in self.sensors else key

    def title(self, signal: str) -> str:
        """A signal for people: the sensor's events by all names that they have."""
        return ", ".join(self.sensors) if signal in self.sensors else self.network.title(signal)

    def _part(self, placement: Placement) -> Part:
        core, body, (start, stop) = placement.core, placement.body, placement.features
        if isinstance(body, Relay):
            signal = self.sensors[0] if body.network is None else self.key(body.network, body.signal)
            reads = self.network.signal_shapes[signal].features if body.reads_all else stop - start
            return Part(core, signal, start, stop, "relay", reads, relayed=body.pooling)
        layer = self.networks[body.network].by_name[body.layer]
        role: Literal["layer", "piece"] = "layer" if stop - start == layer.output_shape.features else "piece"
        signal, reads = self.key(body.network, body.layer), layer.input_shape.features
        return Part(core, signal, start, stop, "copy" if body.copy_index else role, reads, body.copy_index)

    def of(self, signal: str) -> tuple[Part, ...]:
        """Parts of a layer or input: itself, then its copies, then its relays; features ascending."""
        parts = [part for part in self.parts.values() if part.signal == signal]
        return tuple(
            sorted(parts, key=lambda p: (p.role == "relay", p.copy, p.relayed or 1, p.start, p.core))
        )

    def routes_of(self, core: int) -> list[Route]:
        """Routes that leave a core, by slot."""
        return sorted((r for r in self.solution.routes if r.source == core), key=lambda route: route.slot)

    def rank(self, core: int, pooling: int = 1, offset: int = 0) -> tuple[object, ...]:
        """Where a core stands among the readers of a signal: a relay where its first reader does.

        By name of the layer, pool, offset; then the layer before its copies, and pieces ascending.
        """
        part = self.parts[core]
        if part.role != "relay":
            return (natural_key(part.signal), pooling, offset, part.copy, part.start)
        behind = (
            self.rank(int(route.target), pooling * route.pooling, route.feature_shift - part.start)
            for route in self.routes_of(core)
        )
        return min(behind, default=())

    @cached_property
    def arrivals(self) -> Mapping[int, tuple[Arrival, ...]]:
        """By core, what comes to it from other cores."""
        arrivals: dict[int, list[Arrival]] = {core: [] for core in self.parts}
        for core, part in self.parts.items():
            for route in self.routes_of(core):
                if route.target != READOUT:
                    pooling, offset = (part.relayed or 1) * route.pooling, route.feature_shift - part.start
                    arrival = Arrival(route, part.signal, pooling, offset, part.start, part.stop)
                    arrivals[int(route.target)].append(arrival)
        return {core: tuple(entries) for core, entries in arrivals.items()}
