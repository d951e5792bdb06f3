"""Oracle for placements with forms, pieces, copies and relays: an optimum and a solution that reaches it.

It shares nothing with the solver: `divided_cores` and `divided_forms` read the rules, `divided_question`
lists what there is to choose, `divided_search` enumerates, and this module writes the solution out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hwspec.schema import ChipSpec
from mapper.normal_form import NormalNetwork
from mapper.options import SolveOptions
from mapper.solution import (
    DVS,
    READOUT,
    DvsStage,
    HostEntry,
    LayerPart,
    Monitor,
    Placement,
    Relay,
    Route,
    Solution,
)
from tests.property.divided_forms import stages_of
from tests.property.divided_question import Aligned, Question, Signal
from tests.property.divided_search import OWN_CORE, Choice, fewest_cores, hanging_of

__all__ = ["Answer", "best_division"]

# Core and its half-open range of features.
Piece = tuple[int, tuple[int, int]]


@dataclass(frozen=True)
class Answer:
    """The optimum, with the networks in the forms and the solution that reach it."""

    cores: int
    capacity_bits: int
    on_own_core: int
    networks: tuple[NormalNetwork, ...]
    solution: Solution


class _Writer:
    """Hands out cores and slots, and writes down who sends what to whom."""

    def __init__(self, question: Question, choice: Choice) -> None:
        self.question, self.choice = question, choice
        self.free = [list(stock.cores) for stock in question.stocks]
        self.pieces: dict[Signal, list[list[Piece]]] = {}
        self.relays: dict[Signal, list[list[Piece]]] = {}
        self.aligned: dict[Signal, list[Piece]] = {}
        self.placements: list[Placement] = []
        self.routes: list[Route] = []
        self.entries: list[HostEntry] = []
        self.slots: Counter[int | str] = Counter()

    def place(self) -> None:
        question = self.question
        for signal, way in self.choice.ways.items():
            largest, aligned = question.largest(signal, way.form), way.standing.aligned
            self.pieces[signal] = []
            for index, counts in enumerate(way.standing.copies):
                sizes = [(stock, largest[stock]) for stock, n in enumerate(counts) for _ in range(n)]
                if index == 0 and aligned:
                    relayed = question.partial(signal, aligned.level, reads_all=False)
                    sizes = [(own, min(largest[own], relayed[to])) for own, to in aligned.pairs]
                pieces = self._cut(question.shapes[signal][0], sizes)
                self.pieces[signal].append(pieces)
                part = LayerPart(signal[0] or 0, signal[1], index)
                self.placements += [Placement(core, part, span) for core, span in pieces]
            if aligned:
                self._place_beside(signal, aligned)
        for signal, chosen in self.choice.relays.items():
            self.relays[signal] = []
            for entry in chosen:
                whole = len(entry.stocks) == 1
                held = question.relay_largest(signal, entry.level, reads_all=not whole)
                pieces = self._cut(
                    question.shapes[signal][0], [(stock, held[stock]) for stock in entry.stocks]
                )
                body = Relay(*signal, entry.level, not whole)
                self.placements += [Placement(core, body, span) for core, span in pieces]
                self.relays[signal].append(pieces)

    def _place_beside(self, signal: Signal, aligned: Aligned) -> None:
        """A relay beside each piece of the first copy."""
        self.aligned[signal] = [
            (self.free[stock].pop(0), span)
            for (_, stock), (_, span) in zip(aligned.pairs, self.pieces[signal][0], strict=True)
        ]
        body = Relay(*signal, aligned.level)
        self.placements += [Placement(core, body, span) for core, span in self.aligned[signal]]

    def _cut(self, total: int, sizes: list[tuple[int, int]]) -> list[Piece]:
        """Fill core after core, and leave one feature at least for each that follows."""
        pieces, start = [], 0
        for number, (stock, largest) in enumerate(sizes):
            stop = min(start + largest, total - (len(sizes) - 1 - number))
            pieces.append((self.free[stock].pop(0), (start, stop)))
            start = stop
        assert start == total
        return pieces

    def connect(self, signal: Signal) -> None:
        question, chosen = self.question, self.choice.relays[signal]
        if signal in self.pieces and question.key(*self._layer(signal)) == question.options.readout:
            self._send([self.pieces[signal][0][0]], READOUT, 1, 0)
        hanging = hanging_of(question, signal, self.choice)
        assert hanging is not None
        way = self.choice.ways.get(signal)
        beside = way.standing.aligned if way else None
        if beside is not None:
            for (piece, _), (core, _) in zip(self.pieces[signal][0], self.aligned[signal], strict=True):
                self._send([(piece, (0, 0))], core, beside.level, 0)
        providers = [(entry.level, pieces) for entry, pieces in zip(chosen, self.relays[signal], strict=True)]
        if beside is not None:
            providers.append((beside.level, self.aligned[signal]))
        targets = [
            (entry.level, core, 0, provider)
            for entry, pieces, reads in zip(chosen, self.relays[signal], hanging.links, strict=True)
            for (core, _), provider in zip(pieces, reads, strict=True)
        ]
        readers = zip(sorted(self._readers(signal)), hanging.consumers, strict=True)
        targets += [(level, core, offset, provider) for (level, _, core, offset), provider in readers]
        for level, core, offset, provider in targets:
            if provider:
                base, pieces = providers[provider - 1]
                self._send(pieces, core, level // base, offset)
            elif signal[0] is None:
                self._send([], core, 1, offset)
            elif signal in self.pieces:
                self._send(self._open_copy(signal), core, level, offset)
            else:
                self.entries.append(HostEntry(signal[0], signal[1], core, offset))

    def _layer(self, signal: Signal) -> tuple[int, str]:
        return signal[0] or 0, signal[1]

    def _readers(self, signal: Signal) -> Iterator[tuple[int, bool, int, int]]:
        """(level, direct, core, offset) of every core that reads a signal, once per edge."""
        for reader, way in self.choice.ways.items():
            readings = self.question.readings[reader][way.form]
            edges = self.question.forms[reader][way.form].edges
            for entry, edge in zip(readings, edges, strict=True):
                if entry.signal == signal:
                    cores = [core for pieces in self.pieces[reader] for core, _ in pieces]
                    yield from ((entry.level, entry.direct, core, edge.feature_offset) for core in cores)

    def _open_copy(self, signal: Signal) -> list[Piece]:
        cores = self.question.chip.cores
        return next(
            pieces
            for pieces in self.pieces[signal]
            if all(self.slots[core] < cores[core].fan_out for core, _ in pieces)
        )

    def _send(self, pieces: Sequence[Piece], target: int | str, pooling: int, offset: int) -> None:
        """A destination of every piece; of the sensor stage where there are none."""
        senders: list[tuple[int | str, int]] = [(core, start) for core, (start, _) in pieces]
        for source, start in senders or [(DVS, 0)]:
            slot = self.slots[source]
            self.routes.append(Route(source, slot, target, pooling, offset + start))  # type: ignore[arg-type]  # DVS and READOUT are their own literals
            self.slots[source] += 1

    def monitors(self) -> Iterator[Monitor]:
        question = self.question
        for signal in sorted(question.watched, key=str):
            for core, span in self.pieces[signal][0]:
                yield Monitor(core, *self._layer(signal), span)
        for signal in self.pieces:
            for level in question.shown(signal):
                pairs = zip(self.choice.relays[signal], self.relays[signal], strict=True)
                showing = [pieces for entry, pieces in pairs if entry.level == level]
                beside = self.choice.ways[signal].standing.aligned
                if beside is not None and beside.level == level:
                    showing.append(self.aligned[signal])
                for core, span in min(showing, key=len):
                    yield Monitor(core, *self._layer(signal), span, level)

    def stage(self) -> DvsStage | None:
        shape, part = self.question.shapes.get((None, DVS)), self.question.stage
        if shape is None or part is None:
            return None
        return DvsStage(shape[0] == 1, (part, part), (0, 0), (shape[1] - 1, shape[2] - 1))

    def networks(self) -> tuple[NormalNetwork, ...]:
        """In the forms that were chosen."""
        written = []
        for n, network in enumerate(self.question.networks):
            forms = {
                layer.name: self.question.forms[n, layer.name][self.choice.ways[n, layer.name].form]
                for layer in network.layers
            }
            edges = {name: iter(form.edges) for name, form in forms.items()}
            written.append(
                network.replacing(
                    layers=tuple(form.layer for form in forms.values()),
                    edges=tuple(next(edges[edge.target]) for edge in network.edges),
                )
            )
        return tuple(written)


def _answer(question: Question, cores: int, price: int, choice: Choice) -> Answer:
    """Placements, routes, entries and monitors of a choice; the sensor's settings are the default ones."""
    writer = _Writer(question, choice)
    writer.place()
    for signal in choice.relays:
        writer.connect(signal)
    solution = Solution(
        placements=tuple(writer.placements),
        routes=tuple(writer.routes),
        host_entries=tuple(writer.entries),
        monitors=tuple(writer.monitors()),
        dvs_stage=writer.stage(),
    )
    on_own_core, capacity_bits = -(price // OWN_CORE), price % OWN_CORE
    return Answer(cores, capacity_bits, on_own_core, writer.networks(), solution)


def best_division(networks: Sequence[NormalNetwork], chip: ChipSpec, options: SolveOptions) -> Answer | None:
    """Fewest cores, then least capacity, over every form and all that pieces, copies and relays can do.

    Under the objective "index", most layers on their own cores come before capacity; the solution has them
    on cores like these.

    Parameters
    ----------
    networks
        In normal form, with pools that are squares.
    options
        With layer references resolved to names.
    """
    best: tuple[tuple[int, int], Question, Choice] | None = None
    for stage in stages_of(networks, chip):
        question = Question(networks, chip, options, stage)
        found = fewest_cores(question, None if best is None else best[0][0])
        if found is not None and (best is None or found[:2] < best[0]):
            best = found[:2], question, found[2]
    return None if best is None else _answer(best[1], *best[0], best[2])
