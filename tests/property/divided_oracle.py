"""Oracle for placements with pieces, copies and relays: an optimum and a solution that reaches it.

It shares nothing with the solver: `divided_question` reads the rules, `divided_search`
enumerates, and this module writes the solution out.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from hwspec.schema import ChipSpec
from mapper.network import Edge
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
from tests.property.divided_question import Aligned, Question, pool_of
from tests.property.divided_search import Choice, fewest_cores, hang

__all__ = ["Answer", "best_division"]

# Core and its half-open range of features.
Piece = tuple[int, tuple[int, int]]


@dataclass(frozen=True)
class Answer:
    """The optimum, with a solution that reaches it."""

    cores: int
    capacity_bits: int
    solution: Solution


class _Writer:
    """Hands out cores and slots, and writes down who sends what to whom."""

    def __init__(self, question: Question, choice: Choice) -> None:
        self.question, self.choice = question, choice
        self.free = [list(stock.cores) for stock in question.stocks]
        self.pieces: dict[str, list[list[Piece]]] = {}
        self.relays: dict[str, list[int]] = {}
        self.aligned: dict[str, list[Piece]] = {}
        self.placements: list[Placement] = []
        self.routes: list[Route] = []
        self.entries: list[HostEntry] = []
        self.slots: Counter[int | str] = Counter()

    def place(self) -> None:
        network = self.question.network
        for layer in network.layers:
            largest, standing = self.question.largest(layer), self.choice.standings[layer.name]
            self.pieces[layer.name] = []
            for index, counts in enumerate(standing.copies):
                sizes = [(stock, largest[stock]) for stock, n in enumerate(counts) for _ in range(n)]
                if index == 0 and standing.aligned:
                    relayed = self.question.relay_largest(layer.name, standing.aligned.level)
                    sizes = [(own, min(largest[own], relayed[to])) for own, to in standing.aligned.pairs]
                pieces = self._cut(layer.output_shape.features, sizes)
                self.pieces[layer.name].append(pieces)
                part = LayerPart(0, layer.name, index)
                self.placements += [Placement(core, part, span) for core, span in pieces]
            if standing.aligned:
                self._place_beside(layer.name, standing.aligned)
        for name, kinds in self.choice.relays.items():
            self.relays[name] = [self.free[kind.stock].pop(0) for kind in kinds]
            whole = (0, network.signal_shapes[name].features)
            self.placements += [
                Placement(core, Relay(0, name, kind.level), whole)
                for core, kind in zip(self.relays[name], kinds, strict=True)
            ]

    def _place_beside(self, name: str, aligned: Aligned) -> None:
        """A relay beside each piece of the first copy."""
        self.aligned[name] = [
            (self.free[stock].pop(0), span)
            for (_, stock), (_, span) in zip(aligned.pairs, self.pieces[name][0], strict=True)
        ]
        body = Relay(0, name, aligned.level)
        self.placements += [Placement(core, body, span) for core, span in self.aligned[name]]

    def _cut(self, total: int, sizes: list[tuple[int, int]]) -> list[Piece]:
        """Fill core after core, and leave one feature at least for each that follows."""
        pieces, start = [], 0
        for number, (stock, largest) in enumerate(sizes):
            stop = min(start + largest, total - (len(sizes) - 1 - number))
            pieces.append((self.free[stock].pop(0), (start, stop)))
            start = stop
        assert start == total
        return pieces

    def connect(self, name: str) -> None:
        question, kinds = self.question, self.choice.relays[name]
        copies = self.choice.copies.get(name, ())
        if name == question.options.readout:
            self._send(self.pieces[name][0][0][0], READOUT, 1, 0)
        root, direct = question.root(name, copies)
        relays = tuple((kind.level, kind.fan_out) for kind in kinds)
        consumers = question.consumers(name, self.choice.copies)
        beside = self.choice.aligned(name)
        aligned = None if beside is None else (beside.level, question.set_fan_out(beside))
        hanging = hang(root, direct, question.poolings, relays, consumers, aligned)
        assert hanging is not None
        if beside is not None:
            for (piece, _), (core, _) in zip(self.pieces[name][0], self.aligned[name], strict=True):
                self._send(piece, core, beside.level, 0)
        targets = [(kind.level, core, 0) for kind, core in zip(kinds, self.relays[name], strict=True)]
        targets += sorted(self._readers(name))
        for (level, core, offset), provider in zip(targets, (*hanging[0], *hanging[1]), strict=True):
            if beside is not None and provider > len(kinds):
                for source, (start, _) in self.aligned[name]:
                    self._send(source, core, level // beside.level, offset + start)
            elif provider:
                ratio = level // kinds[provider - 1].level
                self._send(self.relays[name][provider - 1], core, ratio, offset)
            elif name in question.hosts:
                self.entries.append(HostEntry(0, name, core, offset))
            elif name in question.sensors:
                self._send(DVS, core, 1, offset)
            else:
                self._send_pieces(name, core, level, offset)

    def _readers(self, name: str) -> list[tuple[int, int, int]]:
        """(level, core, offset) of every core that reads a signal, once per edge."""
        return [
            (1 if name in self.question.sensors else pool_of(edge), core, edge.feature_offset)
            for edge in self.question.network.outgoing[name]
            for pieces in self.pieces[edge.target]
            for core, _ in pieces
        ]

    def _send_pieces(self, name: str, target: int, level: int, offset: int) -> None:
        cores = self.question.chip.cores
        pieces = next(
            pieces
            for pieces in self.pieces[name]
            if all(self.slots[core] < cores[core].fan_out for core, _ in pieces)
        )
        for core, (start, _) in pieces:
            self._send(core, target, level, offset + start)

    def _send(self, source: int | str, target: int | str, pooling: int, shift: int) -> None:
        self.routes.append(Route(source, self.slots[source], target, pooling, shift))  # type: ignore[arg-type]  # DVS and READOUT are their own literals
        self.slots[source] += 1

    def monitors(self) -> list[Monitor]:
        question = self.question
        found = [
            Monitor(core, 0, name, span)
            for name in sorted(question.watched())
            for core, span in self.pieces[name][0]
        ]
        for name in question.network.by_name:
            for level in sorted(question.shown(name)):
                kinds = self.choice.relays[name]
                core = next(
                    c for c, kind in zip(self.relays[name], kinds, strict=True) if kind.level == level
                )
                whole = (0, question.network.signal_shapes[name].features)
                found.append(Monitor(core, 0, name, whole, level))
        return found

    def stage(self) -> DvsStage | None:
        network = self.question.network
        edges: list[Edge] = [edge for edge in network.edges if edge.source in self.question.sensors]
        if not edges:
            return None
        pool, shape = pool_of(edges[0]), network.by_name[edges[0].target].input_shape
        merge = network.signal_shapes[edges[0].source].features == 1
        return DvsStage(merge, (pool, pool), (0, 0), (shape.height - 1, shape.width - 1))


def _solution_of(question: Question, choice: Choice) -> Solution:
    """Placements, routes, entries and monitors of a choice; the sensor's settings are the default ones."""
    writer = _Writer(question, choice)
    writer.place()
    for name in question.network.signal_shapes:
        writer.connect(name)
    return Solution(
        placements=tuple(writer.placements),
        routes=tuple(writer.routes),
        host_entries=tuple(writer.entries),
        monitors=tuple(writer.monitors()),
        dvs_stage=writer.stage(),
    )


def best_division(network: NormalNetwork, chip: ChipSpec, options: SolveOptions) -> Answer | None:
    """Fewest cores, then least capacity, over everything that pieces, copies and relays can do.

    Parameters
    ----------
    network
        In normal form, with square pools.
    options
        With layer references resolved to names.
    """
    question = Question(network, chip, options)
    found = fewest_cores(question)
    if found is None:
        return None
    cores, capacity_bits, choice = found
    return Answer(cores, capacity_bits, _solution_of(question, choice))
