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
from mapper.solver.divided.flows import Wish, share_slots
from mapper.solver.divided.slots import Taker, preference, suiting
from mapper.solver.divided.tables import ORIGIN, Consumer, Provider, Signal

__all__ = ["decode_counts"]

# Where a consumer stands among the consumers of a signal; relays stand where their first consumer does.
Rank: TypeAlias = tuple[int, int, int]
Shares: TypeAlias = dict[Provider, int]
_LAST: Rank = (1 << 30, 0, 0)
_UNLIMITED = 1 << 30


@dataclass(frozen=True, slots=True)
class _Piece:
    core: int
    start: int
    stop: int


@dataclass
class _Sender:
    """A copy, a relay, a set of relays or an input: the cores that send alike, and who reads them.

    Attributes
    ----------
    relays
        Relays that read it: the sender they are, and which of its pieces; None for all of an aligned set,
        each of which reads the piece it is aligned to.
    """

    pieces: list[_Piece]
    provider: Provider
    free: int
    consumers: list[tuple[Rank, Consumer, int]] = field(default_factory=list)
    relays: list[tuple[_Sender, _Piece | None]] = field(default_factory=list)

    @property
    def rank(self) -> Rank:
        """Of the first consumer that is reached through here."""
        ranks = [rank for rank, _, _ in self.consumers] + [relay.rank for relay, _ in self.relays]
        return min(ranks, default=_LAST)

    def feed(self, relay: _Sender, piece: _Piece | None) -> None:
        """Give a relay one of the destinations."""
        self.free -= 1
        self.relays.append((relay, piece))


Senders: TypeAlias = dict[Provider, list[_Sender]]


def decode_counts(counts: Counts, objectives: tuple[Objective, ...]) -> Solution:
    """Give every piece and relay a core and write the destinations.

    Layers in natural order of names, copies and pieces ascending, then relays, each from the lowest core
    of its class; destinations in the order of their targets, so that the counts determine everything. Seats
    among cores that are alike, and the order of all, come later (`mapper.solver.seats`).

    Raises
    ------
    RuntimeError
        The counts leave too few destinations for a signal: a fault of the model.
    """
    return _Decoder(counts).solution(objectives)


class _Decoder:
    def __init__(self, counts: Counts) -> None:
        self.tables, self.counts, self.problem = counts.tables, counts, counts.tables.problem
        self.forms = counts.forms
        self.free = [iter(entry.core_ids) for entry in self.problem.classes]
        self.placements: list[Placement] = []
        self.routes: list[Route] = []
        self.entries: list[HostEntry] = []
        self.monitors: list[Monitor] = []
        self.copies: dict[int, list[list[_Piece]]] = {}
        # By layer, the relays that are aligned to the pieces of its first copy: their classes.
        self.aligned: dict[int, list[int]] = {}

    def solution(self, objectives: tuple[Objective, ...]) -> Solution:
        """Everything placed, routed and watched.

        Raises
        ------
        RuntimeError
            The counts leave too few destinations for a signal: a fault of the model.
        """
        for layer in self.problem.by_name:
            self.copies[layer] = list(self._copies(layer))
        signals = self.tables.signals
        absent = {layer for layer, copies in self.copies.items() if not copies}
        order = [n for n in self.tables.by_name if signals[n].layer not in absent]
        senders = {number: self._senders(number) for number in order}
        for number in order:
            signal = self.tables.signals[number]
            self._attach(signal, senders[number])
            self._write(signal, senders[number])
            self._watch(signal, senders[number])
        for layer in dict.fromkeys(
            self._holder(self.problem.layer_of[entry]) for entry in self.problem.monitored
        ):
            demand = self.problem.demands[layer]
            for piece in self.copies[layer][0]:
                span = (piece.start, piece.stop)
                self.monitors.append(Monitor(piece.core, demand.network, demand.layer, span))
        return Solution(
            placements=tuple(self.placements),
            routes=tuple(self.routes),
            host_entries=tuple(self.entries),
            monitors=tuple(self.monitors),
            dvs_stage=self.problem.dvs_stage,
            objectives=objectives,
        )

    def _holder(self, layer: int) -> int:
        """The layer itself, or what it is fused to where that is there instead."""
        fused = (n for n, members in self.problem.members.items() if layer in members and self.copies[n])
        return layer if self.copies[layer] else next(fused)

    def _copies(self, layer: int) -> Iterator[list[_Piece]]:
        """Pieces of every copy: in order of classes, each as large as it can be, one feature at least."""
        demand, most = self.problem.demands[layer], self.counts.limits(layer)
        features = demand.work.output_shape.features
        for copy, classes in enumerate(self.counts.copies_of(layer)):
            limits = [(k, most[k]) for k in classes]
            if copy == 0:
                limits = self._aligned_limits(layer) or limits
            pieces, start = [], 0
            for n, (k, limit) in enumerate(limits):
                stop = start + min(limit, features - start - (len(limits) - n - 1))
                core = next(self.free[k])
                pieces.append(_Piece(core, start, stop))
                body = LayerPart(demand.network, demand.layer, copy)
                self.placements.append(Placement(core, body, (start, stop)))
                start = stop
            yield pieces

    def _aligned_limits(self, layer: int) -> list[tuple[int, int]]:
        """(class, most features) of the first copy's pieces where relays are aligned to them.

        The pieces with the largest caps come first to the relays that just hold so much.
        """
        number = self.tables.sent_by[layer]
        relays = self.counts.relays_of(number)
        provider = next((p for p in relays if p.kind == "aligned"), None)
        if provider is None:
            return []
        signal, most = self.tables.signals[number], self.counts.limits(layer)
        holds = self.tables.partial_limits(signal, provider.level, reads_all=False)
        left = sorted(relays[provider], key=lambda k: (holds[k], k))
        caps = self.counts.caps_of(number)
        given: dict[int, int] = {}
        for at in sorted(range(len(caps)), key=lambda n: (-caps[n][1], n)):
            given[at] = left.pop(next(n for n, k in enumerate(left) if holds[k] >= caps[at][1]))
        self.aligned[layer] = [given[at] for at in range(len(caps))]
        return [(k, min(most[k], holds[given[at]])) for at, (k, _) in enumerate(caps)]

    def _senders(self, number: int) -> Senders:
        """By provider, who sends a signal; whole relays with most destinations first."""
        signal, cores = self.tables.signals[number], self.problem.chip.cores
        features, stage = signal.shape.features, self.problem.chip.input
        senders: Senders = {}
        if signal.layer is None:
            slots = stage.fan_out if stage and signal.kind == "sensor" else _UNLIMITED
            senders[ORIGIN] = [_Sender([_Piece(-1, 0, features)], ORIGIN, slots)]
        else:
            senders[ORIGIN] = [
                _Sender(pieces, ORIGIN, self._fan_out(pieces) - int(signal.readout))
                for pieces in self.copies[signal.layer]
            ]
        for provider, classes in self.counts.relays_of(number).items():
            if provider.kind == "relay":
                whole = [
                    _Sender([self._relay(signal, provider, k, 0, features)], provider, 0) for k in classes
                ]
                for sender in whole:
                    sender.free = cores[sender.pieces[0].core].fan_out
                senders[provider] = sorted(whole, key=lambda sender: -sender.free)
            else:
                pieces = list(self._set(signal, provider, classes))
                senders[provider] = [_Sender(pieces, provider, self._fan_out(pieces))]
        return senders

    def _fan_out(self, pieces: list[_Piece]) -> int:
        return min(self.problem.chip.cores[piece.core].fan_out for piece in pieces)

    def _relay(self, signal: Signal, provider: Provider, k: int, start: int, stop: int) -> _Piece:
        core = next(self.free[k])
        body = Relay(signal.network, signal.name, provider.level, reads_all=provider.kind == "split")
        self.placements.append(Placement(core, body, (start, stop)))
        return _Piece(core, start, stop)

    def _set(self, signal: Signal, provider: Provider, classes: list[int]) -> Iterator[_Piece]:
        """A relay for every piece of the first copy, or several that share the features of a signal."""
        if provider.kind == "aligned" and signal.layer is not None:
            for piece, k in zip(self.copies[signal.layer][0], self.aligned[signal.layer], strict=True):
                yield self._relay(signal, provider, k, piece.start, piece.stop)
            return
        limits = self.tables.partial_limits(signal, provider.level, reads_all=True)
        start = 0
        for n, k in enumerate(classes):
            stop = start + min(limits[k], signal.shape.features - start - (len(classes) - n - 1))
            yield self._relay(signal, provider, k, start, stop)
            start = stop

    def _attach(self, signal: Signal, senders: Senders) -> None:
        """Relays first, each to a sender that is fed itself; then consumers in order."""
        readers: list[tuple[Rank, Consumer, int]] = []
        for n, consumer in enumerate(signal.consumers):
            if consumer.form == self.forms.get(consumer.layer, 0):
                for c, pieces in enumerate(self.copies[consumer.layer]):
                    readers += [((n, c, p), consumer, piece.core) for p, piece in enumerate(pieces)]
        for provider, (sender, *_) in senders.items():
            if provider.kind == "aligned":
                senders[ORIGIN][0].feed(sender, None)
        relays = sorted((p for p in senders if p.kind in ("relay", "split")), key=lambda p: (p.level, p.kind))
        feeds, reads = self._shares(signal, senders, relays, [reader[1] for reader in readers])
        for provider in relays:
            if provider.kind == "relay":
                waiting, senders[provider] = [(s, s.pieces[0]) for s in senders[provider]], []
            else:
                waiting = [(senders[provider][0], piece) for piece in senders[provider][0].pieces]
            for source, given in feeds[provider]:
                for _ in range(given):
                    sender = next(entry for entry in senders[source] if entry.free > 0)
                    relay, piece = waiting.pop(0)
                    sender.feed(relay, piece)
                    if provider.kind == "relay":
                        senders[provider].append(relay)
        # In the order of all consumers: what a relay serves are neighbours, as far as pools allow.
        for reader, (source,) in zip(readers, reads, strict=True):
            sender = next(entry for entry in senders[source] if entry.free > 0)
            sender.free -= 1
            sender.consumers.append(reader)

    def _shares(
        self, signal: Signal, senders: Senders, relays: list[Provider], readers: list[Consumer]
    ) -> tuple[dict[Provider, list[tuple[Provider, int]]], list[Shares]]:
        """Slots by sender: for the relays of each provider, in the order to take them; for each reader.

        The first whole relay of a level is fed from below it, and those at its own level last.
        """
        among = sorted(senders, key=preference)
        if among == [ORIGIN]:
            return {}, [{ORIGIN: 1} for _ in readers]
        slots = {provider: sum(entry.free for entry in entries) for provider, entries in senders.items()}
        suited = {
            provider: suiting(self.tables, signal, among, Taker(provider.level, True, provider))
            for provider in relays
        }
        firsts = {p: tuple(s for s in suited[p] if s != p) for p in relays if p.kind == "relay"}
        wishes = [Wish(1, sources) for sources in firsts.values()]
        for provider in relays:
            count = (
                len(senders[provider]) - 1 if provider.kind == "relay" else len(senders[provider][0].pieces)
            )
            wishes.append(Wish(count, suited[provider]))
        for consumer in readers:
            taker = Taker(consumer.pooling, consumer.direct, None, consumer.origin_only)
            wishes.append(Wish(1, suiting(self.tables, signal, among, taker)))
        shares = share_slots(slots, wishes)
        if shares is None:
            raise RuntimeError(f"the destinations of {signal.name} do not suffice after all")
        roots = dict(zip(firsts, shares, strict=False))
        feeds = {}
        for provider, share in zip(relays, shares[len(firsts) :], strict=False):
            later = sorted(share.items(), key=lambda e: (e[0] == provider, preference(e[0])))
            feeds[provider] = [*roots.get(provider, {}).items(), *later]
        return feeds, shares[len(firsts) + len(relays) :]

    def _write(self, signal: Signal, senders: Senders) -> None:
        """Destinations of every sender, in the order of the first consumers that they lead to."""
        sensor_slots = count()
        for provider, entries in senders.items():
            for sender in entries:
                self._write_sender(signal, sender, sensor_slots if provider == ORIGIN else None)

    def _write_sender(self, signal: Signal, sender: _Sender, sensor_slots: Iterator[int] | None) -> None:
        # Per target, its core by piece of the sender: what aligned relays read differs from piece to piece.
        targets: list[tuple[Rank, list[int], int, int | None]] = []
        level = sender.provider.level
        for rank, consumer, core in sender.consumers:
            targets.append((rank, [core] * len(sender.pieces), consumer.pooling // level, consumer.offset))
        for relay, piece in sender.relays:
            cores = [p.core for p in relay.pieces] if piece is None else [piece.core] * len(sender.pieces)
            targets.append((relay.rank, cores, relay.provider.level // level, None if piece is None else 0))
        targets.sort(key=lambda entry: entry[:2])
        for slot, (_, cores, pooling, offset) in enumerate(targets):
            if signal.kind == "host" and sensor_slots is not None:
                self.entries.append(HostEntry(signal.network or 0, signal.name, cores[0], offset or 0))
            elif signal.kind == "sensor" and sensor_slots is not None:
                self.routes.append(Route(DVS, next(sensor_slots), cores[0]))
            else:
                for piece, core in zip(sender.pieces, cores, strict=True):
                    shift = 0 if offset is None else offset + piece.start
                    self.routes.append(Route(piece.core, slot, core, pooling, shift))
        if signal.readout and sensor_slots is not None:
            self.routes.append(Route(sender.pieces[0].core, len(targets), READOUT))

    def _watch(self, signal: Signal, senders: Senders) -> None:
        """A monitor on the first whole relay that shows a pooled output, else on every core of a set."""
        for pooling in signal.shown:
            showing = sorted((p for p in senders if p.level == pooling and p != ORIGIN), key=_whole_first)
            for piece in senders[showing[0]][0].pieces:
                span = (piece.start, piece.stop)
                self.monitors.append(Monitor(piece.core, signal.network or 0, signal.name, span, pooling))


def _whole_first(provider: Provider) -> tuple[bool, str]:
    return provider.kind != "relay", provider.kind
