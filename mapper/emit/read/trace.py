"""What arrives at each core of a configuration, followed back through pieces, copies and relays."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TypeAlias

from mapper.emit.shared.graph import ConfigGraph
from mapper.emit.shared.interface import Interface, LayerPlace
from mapper.emit.shared.relay import relay_faults
from mapper.errors import Finding
from mapper.wording import counted

__all__ = ["Arriving", "Trace", "times_covered"]

Spans: TypeAlias = list[tuple[int, int]]


@dataclass(frozen=True, slots=True, order=True)
class Arriving:
    """A signal as it comes to a core: what an edge of the network says.

    Attributes
    ----------
    pooling
        (height, width), of all hops together.
    offset
        Where the signal's feature 0 arrives.
    delay
        Time steps on the way.
    """

    signal: str
    pooling: tuple[int, int]
    offset: int
    delay: int

    def __str__(self) -> str:
        pool = "x".join(map(str, self.pooling))
        return f"{self.signal}, pooled {pool}, at offset {self.offset}, delayed {counted(self.delay, 'step')}"


class Trace:
    """The edges that end at each core; what contradicts itself is in `findings`.

    Parameters
    ----------
    features
        By layer and input, how many features it has.
    """

    def __init__(self, graph: ConfigGraph, interface: Interface, features: Mapping[str, int]) -> None:
        self.graph, self.features = graph, features
        self.findings: list[Finding] = []
        self.holds: dict[int, tuple[str, LayerPlace]] = {}
        self.readers = {layer: entry.name for entry in interface.inputs for layer in entry.readers}
        for name, place in interface.places:
            if place.core in self.holds:
                self._tell(place.core, f"holds {name} and {self.holds[place.core][0]}")
            self.holds[place.core] = (name, place)
        self._passed_on: dict[int, Arriving | None] = {}
        for core, (name, place) in self.holds.items():
            if place.role == "relay" and core in graph.cores:
                self._relay(core, name, place)
        for core in sorted(set(graph.cores) - set(self.holds)):
            self._tell(core, "is configured, and the interface does not say what it holds")

    def _tell(self, core: int, problem: str, value: object = None, limit: object = None) -> None:
        finding = Finding(f"core {core}", problem, value, limit)
        if finding not in self.findings:
            self.findings.append(finding)

    def edges_into(self, core: int) -> Counter[Arriving]:
        """How often each signal arrives at a core, in full."""
        edges: Counter[Arriving] = Counter()
        for arriving, spans in self._spans(core).items():
            times = times_covered(spans, 0, self.features[arriving.signal])
            if times is None:
                limit = f"0..{self.features[arriving.signal] - 1}"
                problem = f"not all features of {arriving} arrive equally often"
                self._tell(core, problem, _text(spans), limit)
            else:
                edges[self._named(core, arriving)] = times
        return edges

    def _named(self, core: int, arriving: Arriving) -> Arriving:
        """The sensor's events by the name of the input by which the core's layer reads them."""
        sensor = self.graph.sensor_inputs
        if len(sensor) < 2 or arriving.signal != sensor[0]:
            return arriving
        layer = self.holds[core][0]
        if layer not in self.readers:
            problem = f"gets the sensor's events, and no input names {layer} among its readers"
            self._tell(core, problem, None, ", ".join(sensor))
        return replace(arriving, signal=self.readers.get(layer, arriving.signal))

    def relayed(self, core: int) -> tuple[int, int]:
        """The pooling that the spikes of a core show already."""
        passed = self._passed_on.get(core)
        return passed.pooling if passed else (1, 1)

    def _relay(self, core: int, name: str, place: LayerPlace) -> None:
        """Find out what a relay passes on, and whether it does so unchanged."""
        if core in self._passed_on:
            return
        # Relays in a circle come here again before they are known.
        self._passed_on[core] = None
        # It reads all of the signal, or only what it passes on.
        inputs, outputs = self._feature_counts(core)
        first, last = place.start, place.stop
        if inputs != last - first:
            first, last = 0, self.features[name]
        if (inputs, outputs) != (last - first, place.stop - place.start):
            problem = f"is a relay of features {place.start}..{place.stop - 1} of {name}, and makes others"
            self._tell(
                core, problem, f"{outputs} of {inputs}", f"{place.stop - place.start} of {last - first}"
            )
            return
        for what, value, limit in relay_faults(self.graph.cores[core], place.start - first):
            self._tell(core, f"is no true relay of {name}: its {what}", value, limit)
        arriving = self._spans(core)
        texts = [f"{one}: features {_text(spans)}" for one, spans in sorted(arriving.items())]
        if len(arriving) != 1:
            self._tell(core, f"is a relay of {name} and must get one signal", "; ".join(texts) or "nothing")
            return
        ((one, spans),) = arriving.items()
        is_whole = times_covered(spans, first, last) == 1
        if one.signal != name or one.offset != -first or not is_whole:
            problem = f"is a relay of {name}, reads features {first}..{last - 1} once each, and gets"
            self._tell(core, problem, texts[0])
            return
        self._passed_on[core] = one

    def _feature_counts(self, core: int) -> tuple[int, int]:
        """How many features a core reads and makes."""
        shape = self.graph.cores[core].dimensions
        return (shape.input_shape.feature_count, shape.output_shape.feature_count) if shape else (0, 0)

    def _spans(self, core: int) -> dict[Arriving, Spans]:
        """Features of each signal that come to a core, unsorted."""
        spans: dict[Arriving, Spans] = defaultdict(list)
        for name, (entries, pooling) in self.graph.entries.items():
            for entry in entries:
                if entry.core == core:
                    spans[Arriving(name, pooling, entry.feature_shift, 0)].append((0, self.features[name]))
        for link in self.graph.arriving(core):
            if link.source not in self.holds:
                continue
            name, place = self.holds[link.source]
            height, width, delay = 1, 1, 0
            if place.role == "relay":
                self._relay(link.source, name, place)
                passed = self._passed_on[link.source]
                if passed is None:
                    continue
                (height, width), delay = passed.pooling, passed.delay
            pooling = (height * link.pooling, width * link.pooling)
            offset = link.feature_shift - place.start
            arriving = Arriving(name, pooling, offset, delay + link.delay_steps)
            spans[arriving].append((place.start, place.stop))
        return spans


def times_covered(spans: Sequence[tuple[int, int]], start: int, stop: int) -> int | None:
    """How often every number of start..stop is covered; None if not all equally often, or others too."""
    places = sorted({start, stop, *(place for span in spans for place in span)})
    if places[0] < start or places[-1] > stop:
        return None
    depths = {sum(a <= low and high <= b for a, b in spans) for low, high in pairwise(places)}
    return depths.pop() if len(depths) == 1 else None


def _text(spans: Spans) -> str:
    return ", ".join(f"{start}..{stop - 1}" for start, stop in sorted(spans))
