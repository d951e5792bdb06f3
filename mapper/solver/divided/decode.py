"""From counts to cores and destinations, in one canonical way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import TypeAlias

from mapper.solution import (
    DVS,
    READOUT,
    HostEntry,
    LayerPart,
    Monitor,
    Objective,
    Placement,
    Relay,
    Route,
    Solution,
)
from mapper.solver.divided.counts import Counts
from mapper.solver.divided.flows import Taker, share_slots
from mapper.solver.divided.tables import ORIGIN, Consumer, Signal, Tables

__all__ = ["decode_counts"]

# Where a consumer stands among the consumers of a signal; relays stand where their first consumer does.
Rank: TypeAlias = tuple[int, int, int]
_LAST: Rank = (1 << 30, 0, 0)


@dataclass(frozen=True, slots=True)
class _Piece:
    core: int
    start: int
    stop: int


@dataclass
class _Provider:
    """A copy, a relay or an input: the cores that send alike, and who reads them."""

    pieces: list[_Piece]
    pooling: int
    free: int
    is_aligned: bool = False
    consumers: list[tuple[Rank, Consumer, int]] = field(default_factory=list)
    relays: list[_Provider] = field(default_factory=list)

    @property
    def rank(self) -> Rank:
        """Of the first consumer that is reached through here."""
        ranks = [rank for rank, _, _ in self.consumers] + [relay.rank for relay in self.relays]
        return min(ranks, default=_LAST)


def decode_counts(tables: Tables, counts: Counts, objectives: tuple[Objective, ...]) -> Solution:
    """Give every piece and relay a core and write the destinations.

    Layers in natural order of names, copies and pieces ascending, then relays, each from the lowest core
    of its class; destinations in the order of their targets, so that the counts determine everything.
    """
    return _Decoder(tables, counts).solution(objectives)


class _Decoder:
    def __init__(self, tables: Tables, counts: Counts) -> None:
        self.tables, self.counts, self.problem = tables, counts, tables.problem
        self.free = [iter(entry.core_ids) for entry in self.problem.classes]
        self.placements: list[Placement] = []
        self.routes: list[Route] = []
        self.entries: list[HostEntry] = []
        self.monitors: list[Monitor] = []
        self.sensor_slots = count()
        self.copies: dict[int, list[list[_Piece]]] = {}

    def solution(self, objectives: tuple[Objective, ...]) -> Solution:
        for layer in self.problem.by_name:
            self.copies[layer] = list(self._copies(layer))
        order = self.tables.by_name
        providers = {number: self._providers(number) for number in order}
        for number in order:
            signal = self.tables.signals[number]
            self._attach(number, signal, providers[number])
            for provider in providers[number][ORIGIN]:
                self._write(signal, provider, is_origin=True)
            self._watch(signal, providers[number])
        for n, name in self.problem.monitored:
            for piece in self.copies[self.tables.layer_of[n, name]][0]:
                self.monitors.append(Monitor(piece.core, n, name, (piece.start, piece.stop)))
        return Solution(
            placements=tuple(sorted(self.placements, key=lambda placement: placement.core)),
            routes=tuple(sorted(self.routes, key=lambda route: (str(route.source).zfill(9), route.slot))),
            host_entries=tuple(
                sorted(self.entries, key=lambda e: (e.network, e.input, e.core, e.feature_shift))
            ),
            monitors=tuple(sorted(self.monitors, key=lambda m: (m.network, str(m.source).zfill(9)))),
            dvs_stage=self.problem.dvs_stage,
            objectives=objectives,
        )

    def _copies(self, layer: int) -> Iterator[list[_Piece]]:
        """Pieces of every copy: in order of classes, each as large as it can be, one feature at least."""
        demand, fmax = self.problem.demands[layer], self.counts.fmax[layer]
        features = demand.core.output_shape.features
        for copy in self.counts.copies_of(layer):
            limits = [(k, fmax[k]) for k in self.counts.classes_of(layer, copy)]
            if copy == 0 and layer in self.counts.aligned:
                number, level, pairs = self.counts.aligned[layer]
                holds = self.tables.aligned_limits(self.tables.signals[number], level)
                limits = [(k, min(fmax[k], holds[other])) for k, other in pairs]
            pieces, start = [], 0
            for n, (k, most) in enumerate(limits):
                later = len(limits) - n - 1
                stop = start + min(most, features - start - later)
                core = next(self.free[k])
                pieces.append(_Piece(core, start, stop))
                body = LayerPart(demand.network, demand.layer, copy)
                self.placements.append(Placement(core, body, (start, stop)))
                start = stop
            yield pieces

    def _providers(self, number: int) -> dict[int, list[_Provider]]:
        """By level, what can be read: the origin, and the relays, those with most destinations first."""
        signal, cores = self.tables.signals[number], self.problem.chip.cores
        if signal.layer is None:
            whole = _Piece(-1, 0, signal.shape.features)
            found = {ORIGIN: [_Provider([whole], 1, 1 << 30)]}
        else:
            found = {
                ORIGIN: [
                    _Provider(pieces, 1, min(cores[p.core].fan_out for p in pieces) - int(signal.readout))
                    for pieces in self.copies[signal.layer]
                ]
            }
        for level, classes in self.counts.relays_of(number):
            made = []
            for k in classes:
                core = next(self.free[k])
                body = Relay(signal.network, signal.name, level)
                self.placements.append(Placement(core, body, (0, signal.shape.features)))
                made.append(_Provider([_Piece(core, 0, signal.shape.features)], level, cores[core].fan_out))
            found[level] = sorted(made, key=lambda provider: -provider.free)
        aligned = self.counts.relay_of(number)
        if aligned is not None:
            level, pairs = aligned
            found[-level] = [self._aligned(signal, level, [other for _, other in pairs])]
        return found

    def _aligned(self, signal: Signal, level: int, classes: list[int]) -> _Provider:
        """A relay for every piece of the first copy."""
        pieces = []
        for piece, k in zip(self.copies[signal.layer or 0][0], classes, strict=True):
            core = next(self.free[k])
            body = Relay(signal.network, signal.name, level)
            self.placements.append(Placement(core, body, (piece.start, piece.stop)))
            pieces.append(_Piece(core, piece.start, piece.stop))
        fan_out = min(self.problem.chip.cores[piece.core].fan_out for piece in pieces)
        return _Provider(pieces, level, fan_out, is_aligned=True)

    def _attach(self, number: int, signal: Signal, providers: dict[int, list[_Provider]]) -> None:
        """Relays first, each to a provider that is fed itself; then consumers in order."""
        readers: list[tuple[Rank, Consumer, int]] = []
        for n, consumer in enumerate(signal.consumers):
            for c, pieces in enumerate(self.copies[consumer.layer]):
                readers += [((n, c, p), consumer, piece.core) for p, piece in enumerate(pieces)]
        for level in [level for level in providers if level < ORIGIN]:
            first = providers[ORIGIN][0]
            first.free -= 1
            first.relays.append(providers[level][0])
        levels = sorted(level for level in providers if level > ORIGIN)
        roots, more, reads = self._shares(number, signal, providers, [r[1].pooling for r in readers])
        for level, root, rest in zip(levels, roots, more, strict=True):
            waiting = list(providers[level])
            fed: list[_Provider] = []
            for source, given in (*root.items(), *sorted(rest.items(), key=lambda e: (e[0] == level, e[0]))):
                for _ in range(given):
                    among = fed if source == level else providers[source]
                    provider = next(entry for entry in among if entry.free > 0)
                    provider.free -= 1
                    provider.relays.append(waiting[0])
                    fed.append(waiting.pop(0))
            providers[level] = fed
        # In the order of all consumers: what a relay serves are neighbours, as far as pools allow.
        for reader, (source,) in zip(readers, reads, strict=True):
            provider = next(entry for entry in providers[source] if entry.free > 0)
            provider.free -= 1
            provider.consumers.append(reader)

    def _shares(
        self, number: int, signal: Signal, providers: dict[int, list[_Provider]], reading: list[int]
    ) -> tuple[list[dict[int, int]], list[dict[int, int]], list[dict[int, int]]]:
        """Slots by provider's level: for a first relay of every level, for the others, for each reader.

        The first relay of a level is fed from below; `reading` are the poolings of the readers, in order.
        """
        levels = sorted(level for level in providers if level > ORIGIN)
        among = (ORIGIN, *sorted(level for level in providers if level != ORIGIN))
        if among == (ORIGIN,):
            return [], [], [{ORIGIN: 1} for _ in reading]
        slots = {level: sum(entry.free for entry in entries) for level, entries in providers.items()}
        if signal.kind == "sensor":
            slots[ORIGIN] = self.counts.sensor.get(number, 0)
        suits = self.tables.suits
        takers = [Taker(1, suits(signal, among, level, below=level)) for level in levels]
        takers += [Taker(len(providers[level]) - 1, suits(signal, among, level)) for level in levels]
        takers += [Taker(1, suits(signal, among, pooling)) for pooling in reading]
        shares = share_slots(slots, takers)
        if shares is None:
            raise RuntimeError(f"the destinations of {signal.name} do not suffice after all")
        count = len(levels)
        return shares[:count], shares[count : 2 * count], shares[2 * count :]

    def _write(self, signal: Signal, provider: _Provider, *, is_origin: bool = False) -> None:
        """Destinations of a provider and of all that is fed by it, in the order of the first consumers."""
        # By piece of the provider: what aligned relays read differs, all else is the same for all of them.
        targets: list[tuple[Rank, list[int], int, int | None]] = []
        for rank, consumer, core in provider.consumers:
            cores = [core] * len(provider.pieces)
            targets.append((rank, cores, consumer.pooling // provider.pooling, consumer.offset))
        for relay in provider.relays:
            cores = [piece.core for piece in relay.pieces] if relay.is_aligned else []
            whole = [relay.pieces[0].core] * len(provider.pieces)
            pooling = relay.pooling // provider.pooling
            targets.append((relay.rank, cores or whole, pooling, None if relay.is_aligned else 0))
        for slot, (_, cores, pooling, offset) in enumerate(sorted(targets, key=lambda entry: entry[:2])):
            if signal.kind == "host" and is_origin:
                self.entries.append(HostEntry(signal.network, signal.name, cores[0], offset or 0))
            elif signal.kind == "sensor" and is_origin:
                self.routes.append(Route(DVS, next(self.sensor_slots), cores[0], 1, offset or 0))
            else:
                for piece, core in zip(provider.pieces, cores, strict=True):
                    shift = 0 if offset is None else offset + piece.start
                    self.routes.append(Route(piece.core, slot, core, pooling, shift))
        if signal.readout and is_origin:
            self.routes.append(Route(provider.pieces[0].core, len(targets), READOUT))
        for relay in provider.relays:
            self._write(signal, relay)

    def _watch(self, signal: Signal, providers: dict[int, list[_Provider]]) -> None:
        for pooling in signal.shown:
            core = providers[pooling][0].pieces[0].core
            span = (0, signal.shape.features)
            self.monitors.append(Monitor(core, signal.network, signal.name, span, pooling))
