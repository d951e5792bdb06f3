"""Enumeration of forms, pieces, copies and relays: the search of the oracle, without the solver's model.

How each layer is written, how often it stands on the chip and which cores each copy takes; which cores
relay which signal, pooled by how much; and, per signal, who hangs on whom. The number of cores grows from
outside, so the first number that admits anything is the fewest.

Left out is only what cannot be the best: a piece or a relay that could be dropped, a copy nobody reads,
what takes as much as something else and gives no more, and all but one of the choices that differ by a
swap of equal cores. A piece with a relay beside it could be dropped only together with that relay, where
the other such pairs hold all features.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations_with_replacement

from tests.property.divided_cores import Counts
from tests.property.divided_hanging import Hanging, Link, hang
from tests.property.divided_question import UNLIMITED, Question, Signal, Way

__all__ = ["OWN_CORE", "Choice", "Relays", "fewest_cores", "hanging_of"]

# A layer on its own core, in bits: more than all memories of a chip.
OWN_CORE = 2**60


@dataclass(frozen=True)
class Relays:
    """Relays of a whole signal, or several that share it, each of which reads all of it.

    Attributes
    ----------
    stocks
        Of their cores; one for a whole signal.
    """

    level: int
    stocks: tuple[int, ...]


@dataclass(frozen=True)
class _Option:
    """Relays that serve all readers of a signal: the cores they take, and how many show it pooled."""

    relays: tuple[Relays, ...]
    taken: Counts
    watched: int


@dataclass(frozen=True)
class Choice:
    """Which cores do what."""

    ways: dict[Signal, Way]
    relays: dict[Signal, tuple[Relays, ...]]


def hanging_of(question: Question, signal: Signal, choice: Choice) -> Hanging | None:
    """Who reads whom of a signal."""
    return _hanging(question, signal, choice.ways, choice.relays[signal])


def _hanging(
    question: Question, signal: Signal, ways: dict[Signal, Way], relays: tuple[Relays, ...]
) -> Hanging | None:
    links = tuple(Link(r.level, question.fan_out(r.stocks), len(r.stocks)) for r in relays)
    way = ways.get(signal)
    aligned = way.standing.aligned if way else None
    beside = Link(aligned.level, way.set_slots) if way and aligned else None
    root, consumers = question.root_slots(signal, ways), question.consumers(signal, ways)
    if root == UNLIMITED:
        # As many as could ever be taken.
        root = len(consumers) + sum(link.takes for link in links)
    return hang(root, question.origin_pools(signal), question.poolings, links, consumers, beside)


class _Search:
    """The best choice with at most so many cores."""

    def __init__(
        self, question: Question, budget: int, known: dict[tuple[object, ...], list[_Option]]
    ) -> None:
        self.question, self.budget, self.known = question, budget, known
        self.best: tuple[int, Choice] | None = None
        self.steps = _steps(question)
        ways = [question.ways[step] if is_layer else [] for step, is_layer in self.steps]
        self.price = {
            (step, way): _price(question, step, way) for step, row in question.ways.items() for way in row
        }
        least = [min((sum(way.standing.taken) for way in row), default=0) for row in ways]
        bits = [
            min((self.price[step, way] for way in row), default=0)
            for (step, _), row in zip(self.steps, ways, strict=True)
        ]
        self.cores_left = [sum(least[n:]) for n in range(len(least) + 1)]
        self.cost_left = [sum(bits[n:]) for n in range(len(bits) + 1)]
        self.room = tuple(len(stock.cores) for stock in question.stocks)

    def run(self) -> tuple[int, Choice] | None:
        self._go(0, self.room, 0, 0, Choice({}, {}))
        return self.best

    def _go(self, step: int, free: Counts, bits: int, watched: int, choice: Choice) -> None:
        used, bound = sum(self.room) - sum(free), self.question.chip.monitor.cores_max
        if used + self.cores_left[step] > self.budget or (bound is not None and watched > bound):
            return
        if self.best is not None and bits + self.cost_left[step] >= self.best[0]:
            return
        if step == len(self.steps):
            self.best = bits, choice
            return
        signal, is_layer = self.steps[step]
        left = self.budget - used - self.cores_left[step + 1]
        for taken, cost, more, chosen in (
            self._ways(signal, choice) if is_layer else self._relays(signal, left, choice)
        ):
            rest = tuple(have - n for have, n in zip(free, taken, strict=True))
            if min(rest, default=0) >= 0:
                self._go(step + 1, rest, bits + cost, watched + more, chosen)

    def _ways(self, signal: Signal, choice: Choice) -> Iterator[tuple[Counts, int, int, Choice]]:
        for way in self.question.ways[signal]:
            watched = sum(way.standing.copies[0]) if signal in self.question.watched else 0
            chosen = Choice({**choice.ways, signal: way}, choice.relays)
            yield way.standing.taken, self.price[signal, way], watched, chosen

    def _relays(self, signal: Signal, left: int, choice: Choice) -> Iterator[tuple[Counts, int, int, Choice]]:
        question, way = self.question, choice.ways.get(signal)
        aligned = way.standing.aligned if way else None
        key = (
            signal, left, question.root_slots(signal, choice.ways), question.consumers(signal, choice.ways),
            aligned and (aligned.level, len(aligned.pairs)), way.set_slots if way else 0,
        )  # fmt: skip
        if key not in self.known:
            self.known[key] = list(self._options(signal, left, choice.ways))
        for option in self.known[key]:
            chosen = Choice(choice.ways, {**choice.relays, signal: option.relays})
            yield option.taken, question.cost(option.taken), option.watched, chosen

    def _options(self, signal: Signal, left: int, ways: dict[Signal, Way]) -> Iterator[_Option]:
        """Relays that serve a signal with at most so many cores, none of which could be dropped."""
        kept: list[_Option] = []
        for relays in _combinations(self.question, signal, left):
            stocks = [stock for entry in relays for stock in entry.stocks]
            taken = tuple(stocks.count(n) for n in range(len(self.room)))
            watched = self._watched(signal, ways, relays)
            if watched is None or any(n > room for n, room in zip(taken, self.room, strict=True)):
                continue
            if any(
                option.watched <= watched and all(a <= b for a, b in zip(option.taken, taken, strict=True))
                for option in kept
            ):
                continue
            if _hanging(self.question, signal, ways, relays) is not None:
                kept.append(_Option(relays, taken, watched))
                yield kept[-1]

    def _watched(self, signal: Signal, ways: dict[Signal, Way], relays: tuple[Relays, ...]) -> int | None:
        """Cores that show a signal pooled, as few as may be; None if nothing shows it at some pool."""
        way, count = ways.get(signal), 0
        aligned = way.standing.aligned if way else None
        for level in self.question.shown(signal):
            sizes = [len(entry.stocks) for entry in relays if entry.level == level]
            if aligned and aligned.level == level:
                sizes.append(len(aligned.pairs))
            if not sizes:
                return None
            count += min(sizes)
        return count


def _price(question: Question, signal: Signal, way: Way) -> int:
    """What a way costs: bits, and before them a reward under the objective "index"."""
    rewarded = question.options.objective == "index" and _can_be_on_own_core(question, signal, way)
    return question.cost(way.standing.taken) - OWN_CORE * rewarded


def _can_be_on_own_core(question: Question, signal: Signal, way: Way) -> bool:
    """Whether a copy of a layer can stand whole on core n, the layer being number n of all, by name.

    Names here end in numbers below ten, so that their natural order is that of text.
    """
    number = sorted((n, layer.name) for n, layer in question.layers).index((signal[0] or 0, signal[1]))
    home = [n for n, stock in enumerate(question.stocks) if number in stock.cores]
    return any(sum(counts) == 1 and any(counts[n] for n in home) for counts in way.standing.copies)


def _steps(question: Question) -> list[tuple[Signal, bool]]:
    """(layer, True) for every layer; (signal, False) as soon as all that reads it is known."""
    readers: dict[Signal, set[Signal]] = {
        signal: {signal} & question.ways.keys() for signal in question.shapes
    }
    for reader, rows in question.readings.items():
        for row in rows:
            for entry in row:
                readers[entry.signal].add(reader)
    steps: list[tuple[Signal, bool]] = []
    done: set[Signal] = set()
    for n, layer in question.layers:
        done.add((n, layer.name))
        steps.append(((n, layer.name), True))
        ready = [signal for signal, reading in readers.items() if reading <= done]
        steps += [(signal, False) for signal in ready]
        for signal in ready:
            del readers[signal]
    return steps


def _combinations(question: Question, signal: Signal, left: int) -> Iterator[tuple[Relays, ...]]:
    """Relays of a signal on at most so many cores, fewest first; those that share it once a level."""
    whole, shared = [], []
    for level in question.levels[signal]:
        whole += [Relays(level, (stock,)) for stock in sorted(question.whole_stocks(signal, level))]
        shared += [Relays(level, stocks) for stocks in question.partial_sets(signal, level)]
    sets: list[tuple[Relays, ...]] = [()]
    for entry in shared:
        sets += [(*chosen, entry) for chosen in sets if all(one.level != entry.level for one in chosen)]
    for count in range(left + 1):
        for chosen in sets:
            rest = count - sum(len(entry.stocks) for entry in chosen)
            if rest >= 0:
                for kinds in combinations_with_replacement(whole, rest):
                    yield (*kinds, *chosen)


def fewest_cores(question: Question, most: int | None = None) -> tuple[int, int, Choice] | None:
    """Fewest cores, then the least price, with the choice that reaches them; None if nothing does.

    The price is capacity in bits; under the objective "index" `OWN_CORE` less for each layer on its own core.

    Parameters
    ----------
    most
        Cores that may be taken; None for all.
    """
    if question.readout_impossible() or not all(question.ways.values()):
        return None
    available = sum(len(stock.cores) for stock in question.stocks)
    known: dict[tuple[object, ...], list[_Option]] = {}
    for budget in range(len(question.ways), min(available, most or available) + 1):
        if found := _Search(question, budget, known).run():
            return budget, *found
    return None
