"""Enumeration of pieces, copies and relays: the search of the oracle, without the solver's model.

Three plain searches inside one another. How often each layer stands on the chip and which cores each
copy takes; which cores relay which signal, pooled by how much; and, per signal, who hangs on whom. The
number of cores grows from outside, so the first number that admits anything is the fewest.

Left out is only what cannot be the best: a piece or a relay that could be dropped, a copy nobody reads,
and all but one of the choices that differ by a swap of equal cores. A piece with a relay beside it could be
dropped only together with that relay, where the other such pairs hold all features.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations_with_replacement

from tests.property.divided_question import Aligned, Copies, Counts, Question, RelayKind, Standing

__all__ = ["Choice", "fewest_cores", "hang"]


@dataclass(frozen=True)
class Choice:
    """Which cores do what: how each layer stands on the chip, relays of whole signals by signal."""

    standings: dict[str, Standing]
    relays: dict[str, tuple[RelayKind, ...]]

    @property
    def copies(self) -> dict[str, Copies]:
        """Cores of each copy, by layer."""
        return {name: standing.copies for name, standing in self.standings.items()}

    def aligned(self, name: str) -> Aligned | None:
        """Relays beside the pieces of a signal's first copy."""
        return self.standings[name].aligned if name in self.standings else None


Hanging = tuple[tuple[int, ...], tuple[int, ...]]


@cache
def hang(
    root: int,
    direct: frozenset[int],
    poolings: frozenset[int],
    relays: tuple[tuple[int, int], ...],
    consumers: tuple[int, ...],
    aligned: tuple[int, int] | None = None,
) -> Hanging | None:
    """Who reads whom so that nobody has more readers than slots, by trying everything.

    Parameters
    ----------
    root
        Slots of the signal itself; the pools they can have are `direct`.
    relays
        (level, fan-out) of each.
    consumers
        Level that each wants, ascending.
    aligned
        (level, fan-out) of a set of aligned relays; it reads the signal itself, never a relay.

    Returns
    -------
    Per relay and per consumer, what it reads: 0 for the signal itself, n for relay n - 1, the next number
    for the set; or None.
    """
    sets = () if aligned is None else (aligned,)
    providers = (*relays, *sets)
    if root < len(sets) or any(level not in direct for level, _ in sets):
        return None
    if root + sum(fan for _, fan in providers) < len(providers) + len(consumers):
        return None
    levels = (1, *(level for level, _ in providers))
    pools = (direct, *(poolings for _ in providers))

    def grow(free: tuple[int, ...], parents: dict[int, int]) -> Hanging | None:
        if len(parents) == len(relays):
            served = _serve(free, consumers, levels, pools)
            return None if served is None else (tuple(parents[n] for n in range(len(relays))), served)
        for number, (level, fan) in enumerate(relays):
            if number in parents:
                continue
            for provider in _open(level, free, levels, pools):
                after = [slots - (n == provider) for n, slots in enumerate(free)]
                after[number + 1] = fan
                if found := grow(tuple(after), {**parents, number: provider}):
                    return found
        return None

    # A relay has no slots to give before it hangs somewhere itself: so there is never a circle.
    return grow((root - len(sets), *(0 for _ in relays), *(fan for _, fan in sets)), {})


def _open(
    wanted: int, free: Sequence[int], levels: Sequence[int], pools: Sequence[frozenset[int]]
) -> Iterator[int]:
    """Providers with a slot left that reach a level by one pool; of equal ones the first."""
    seen = set()
    for provider, level in enumerate(levels):
        kind = (provider == 0, level)
        if (
            free[provider] > 0
            and kind not in seen
            and wanted % level == 0
            and wanted // level in pools[provider]
        ):
            seen.add(kind)
            yield provider


def _serve(
    free: tuple[int, ...], consumers: tuple[int, ...], levels: Sequence[int], pools: Sequence[frozenset[int]]
) -> tuple[int, ...] | None:
    """A provider for every consumer, by trying all; states that failed once are not tried again."""
    dead: set[tuple[tuple[int, ...], int]] = set()

    def serve(free: tuple[int, ...], served: tuple[int, ...]) -> tuple[int, ...] | None:
        if len(served) == len(consumers):
            return served
        if (free, len(served)) in dead:
            return None
        for provider in _open(consumers[len(served)], free, levels, pools):
            after = tuple(slots - (n == provider) for n, slots in enumerate(free))
            if (found := serve(after, (*served, provider))) is not None:
                return found
        dead.add((free, len(served)))
        return None

    return serve(free, ())


class _Search:
    """The best choice with at most so many cores."""

    def __init__(self, question: Question, budget: int) -> None:
        self.question, self.budget = question, budget
        self.best: tuple[int, Choice] | None = None
        least = [min(sum(s.taken) for s in options) for options in question.standings]
        cheapest = [min(question.cost(s.taken) for s in options) for options in question.standings]
        self.cores_left = [sum(least[n:]) for n in range(len(least) + 1)]
        self.cost_left = [sum(cheapest[n:]) for n in range(len(cheapest) + 1)]

    def run(self) -> tuple[int, Choice] | None:
        self._layers(tuple(len(stock.cores) for stock in self.question.stocks), 0, {})
        return self.best

    def _worse(self, cost: int) -> bool:
        return self.best is not None and cost >= self.best[0]

    def _layers(self, free: Counts, cost: int, standings: dict[str, Standing]) -> None:
        question, number = self.question, len(standings)
        used = sum(len(stock.cores) for stock in question.stocks) - sum(free)
        if used + self.cores_left[number] > self.budget or self._worse(cost + self.cost_left[number]):
            return
        if number == len(question.standings):
            choice = Choice(standings, {})
            if self._watchable(choice.copies):
                signals = list(question.network.signal_shapes)
                self._relays(signals, self.budget - used, free, cost, choice)
            return
        name = question.network.layers[number].name
        for option in question.standings[number]:
            rest = tuple(have - taken for have, taken in zip(free, option.taken, strict=True))
            if min(rest) >= 0:
                self._layers(rest, cost + question.cost(option.taken), {**standings, name: option})

    def _watchable(self, copies: dict[str, Copies]) -> bool:
        question, bound = self.question, self.question.chip.monitor.cores_max
        watched = sum(sum(copies[name][0]) for name in question.watched())
        watched += sum(len(question.shown(name)) for name in question.network.by_name)
        return bound is None or watched <= bound

    def _relays(self, signals: list[str], left: int, free: Counts, cost: int, choice: Choice) -> None:
        if self._worse(cost):
            return
        if not signals:
            self.best = cost, choice
            return
        question, (name, *others) = self.question, signals
        root, direct = question.root(name, choice.copies.get(name, ()))
        consumers = question.consumers(name, choice.copies)
        beside = choice.aligned(name)
        aligned = None if beside is None else (beside.level, question.set_fan_out(beside))
        for count in range(left + 1):
            for kinds in combinations_with_replacement(question.relay_kinds[name], count):
                rest = list(free)
                for kind in kinds:
                    rest[kind.stock] -= 1
                if min(rest, default=0) < 0 or not question.shown(name) <= {kind.level for kind in kinds}:
                    continue
                relays = tuple((kind.level, kind.fan_out) for kind in kinds)
                if hang(root, direct, question.poolings, relays, consumers, aligned) is None:
                    continue
                dearer = cost + sum(question.stocks[kind.stock].core.capacity_bits for kind in kinds)
                chosen = Choice(choice.standings, {**choice.relays, name: kinds})
                self._relays(others, left - count, tuple(rest), dearer, chosen)
                # A signal that needs no relay gains nothing from one.
                if count == 0:
                    return


def fewest_cores(question: Question) -> tuple[int, int, Choice] | None:
    """Fewest cores, then least capacity in bits, with the choice that reaches them; None if nothing does."""
    if question.impossible() or not all(question.standings):
        return None
    available = sum(len(stock.cores) for stock in question.stocks)
    for budget in range(len(question.standings), available + 1):
        if found := _Search(question, budget).run():
            return budget, *found
    return None
