"""Prices of cores that no placement can pay: that nothing fits, without a search.

Give every core class a price. A layer costs at least what its cheapest cover by pieces costs, and pieces
beyond the destinations of what they read cost the relays and copies that these take. Where all layers
together cost more than all cores of the chip, no placement exists (weak duality; Geoffrion, "Lagrangean
relaxation for integer programming", 1974). Prices that exclude one problem mostly exclude others like it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import NamedTuple, TypeAlias

from mapper.solver.divided.tables import PieceTable, Signal, Tables
from mapper.solver.divided.variables import NO_SLACK, Slack

__all__ = ["Asked", "Form", "Load", "Prices", "Sent", "load_of"]

Price: TypeAlias = tuple[int, ...]

# The highest price of a core: fine enough to tell classes apart, and sums of prices stay short.
_HIGHEST = 12
# Steps of a search for prices, each shorter than the last by so much: where there are some, ten mostly find
# them.
_STEPS, _SHORTER = 16, 0.9
# Of more classes a search for prices would take longer than the solver.
_CLASSES_MAX = 12
# With more pieces than these a layer's price is what its features cost.
_PIECES_MAX = 64
# What no core has room for, and what no relay and no copy serves: more than covers mostly cost.
_NEVER, _DEAR = 1 << 40, 1 << 8


class Form(NamedTuple):
    """One form of a layer: per class the most features of a piece, and the signals that it reads."""

    sizes: tuple[int, ...]
    sources: tuple[int, ...]


class Asked(NamedTuple):
    """What a layer asks: all its features in one of its forms, uncut where it must stay whole."""

    features: int
    is_whole: bool
    forms: tuple[Form, ...]


class Sent(NamedTuple):
    """What destinations of a signal cost.

    Attributes
    ----------
    free
        How many pieces a reader may have where every other reader has one.
    beyond
        How many readers of one piece have no destination.
    relays
        (class, destinations that each relay there adds).
    copy
        The layer whose further copies have `destinations` each; None where there may be none.
    """

    free: int
    beyond: int
    relays: tuple[tuple[int, int], ...]
    copy: Asked | None
    destinations: int


class _Cover(NamedTuple):
    """A cheapest cover: what it costs at least, and how many pieces it has per class."""

    cost: int
    pieces: tuple[int, ...]


@dataclass(frozen=True)
class Load:
    """What layers ask of the cores of a chip, as prices count it.

    Attributes
    ----------
    rooms
        Cores per class; None of those of which any number may be taken.
    asked
        The layers that must be placed; those that ask the same together.
    sent
        Signals whose destinations count, in the places that `Form.sources` name, and how many there are of
        each kind.
    """

    rooms: tuple[int | None, ...]
    asked: Mapping[Asked, int]
    sent: tuple[tuple[Sent, int], ...] = ()


def load_of(tables: Tables, table: PieceTable, slack: Slack = NO_SLACK, *, of_cores: bool = False) -> Load:
    """What the layers of a problem ask.

    Parameters
    ----------
    of_cores
        Whether destinations do not count.
    """
    problem = tables.problem
    rooms = tuple(
        None if k in slack.cores else len(entry.core_ids) for k, entry in enumerate(problem.classes)
    )
    # With sums and choices on offer nobody knows who reads what.
    sent = {} if of_cores or problem.optional else _sent_of(tables, table, slack)
    kinds = Counter(sent.values())
    places = {kind: n for n, kind in enumerate(kinds)}
    sources: dict[tuple[int, int], list[int]] = {}
    for n, kind in sent.items():
        for consumer in tables.signals[n].consumers:
            sources.setdefault((consumer.layer, consumer.form), []).append(places[kind])
    left_out = problem.optional | slack.layers
    asked = Counter(
        _asked(tables, table, layer, sources)
        for layer in range(len(problem.demands))
        if layer not in left_out
    )
    return Load(rooms, asked, tuple(kinds.items()))


def _asked(
    tables: Tables, table: PieceTable, layer: int, sources: Mapping[tuple[int, int], Sequence[int]]
) -> Asked:
    features = tables.problem.demands[layer].work.output_shape.features
    forms = (
        Form(tuple(min(n, features) for n in row), tuple(sorted(sources.get((layer, form), ()))))
        for form, row in enumerate(table[layer])
    )
    is_whole = layer in tables.whole or tables.problem.options.max_pieces == 1
    return Asked(features, is_whole, tuple(dict.fromkeys(forms)))


def _sent_of(tables: Tables, table: PieceTable, slack: Slack) -> dict[int, Sent]:
    return {
        n: _sent(tables, table, signal, slack)
        for n, signal in enumerate(tables.signals)
        if n not in slack.slots and signal.kind != "host" and signal.layer not in slack.layers
    }


def _sent(tables: Tables, table: PieceTable, signal: Signal, slack: Slack) -> Sent:
    problem, layer, copy = tables.problem, signal.layer, None
    classes = problem.classes
    if layer is None:
        each = problem.chip.input.fan_out if problem.chip.input else 0
    else:
        usable = {k for row in table[layer] for k, most in enumerate(row) if most}
        each = max((classes[k].core.fan_out for k in usable), default=0)
        if problem.options.max_copies != 1 and layer not in tables.whole:
            copy = _asked(tables, table, layer, {})
    edges = Counter((consumer.layer, consumer.form) for consumer in signal.consumers)
    # What a reader takes in any case: of its forms the one with fewest edges.
    least = sum(
        min(edges[reader, form] for form in range(len(table[reader])))
        for reader in {reader for reader, _ in edges} - slack.layers
    )
    held = {k for level in tables.levels(signal) for k in tables.relay_limits(signal, level)}
    relays = tuple((k, gain) for k in sorted(held) if (gain := classes[k].core.fan_out - 1) > 0)
    have = each - int(signal.readout)
    return Sent(1 + max(0, have - least), max(0, least - have), relays, copy, max(1, each))


@dataclass
class Prices:
    """Prices that have excluded something, to be tried on whatever comes next."""

    known: dict[Price, None] = field(default_factory=dict)

    def exclude(self, load: Load) -> bool:
        """Whether some known prices show that no placement exists."""
        for price in self._for(load):
            if _beyond(load, price) > 0:
                # What excludes one problem will exclude the next.
                self.known[price] = self.known.pop(price, None)
                return True
        return False

    def least_more(self, load: Load, k: int, most: int) -> int:
        """How many further cores of a class there must be at least, by prices; or a number above `most`."""
        bounds = ((_beyond(load, price), price[k]) for price in self._for(load))
        count = max((-(-beyond // cost) for beyond, cost in bounds if cost and beyond > 0), default=0)
        rooms = load.rooms
        while count <= most and self.learn(
            replace(load, rooms=(*rooms[:k], (rooms[k] or 0) + count, *rooms[k + 1 :]))
        ):
            price = next(reversed(self.known))
            count = max(count + 1, -(-_beyond(load, price) // price[k]) if price[k] else 0)
        return count

    def _for(self, load: Load) -> tuple[Price, ...]:
        classes = len(load.rooms)
        return (*(price for price in reversed(self.known) if len(price) == classes), (1,) * classes)

    def learn(self, load: Load) -> bool:
        """Seek prices that exclude what is known to have no placement; whether there are some.

        Prices rise where the cheapest covers take more cores than there are, and fall elsewhere: the steps
        of a subgradient.
        """
        rooms = load.rooms
        if len(rooms) > _CLASSES_MAX or None in rooms:
            return False
        now = [float(_HIGHEST)] * len(rooms)
        for step in range(_STEPS):
            price = tuple(round(value) for value in now)
            if _beyond(load, price) > 0:
                self.known[price] = None
                return True
            lacking = [-float(room or 0) for room in rooms]
            further = [_destination(sent, price) for sent, _ in load.sent]
            for asked, count in load.asked.items():
                for k, pieces in enumerate(_cheapest(load, asked, price, further).pieces):
                    lacking[k] += count * pieces
            most = max(map(abs, lacking))
            if not most:
                return False
            length = _HIGHEST / 3 * _SHORTER**step / most
            now = [max(0.0, value + length * lack) for value, lack in zip(now, lacking, strict=True)]
            top = max(now)
            if not top:
                return False
            now = [value * _HIGHEST / top for value in now]
        return False


def _beyond(load: Load, price: Price) -> int:
    """By how much all layers cost more than all cores; cores without end cost nothing."""
    price = tuple(0 if room is None else cost for room, cost in zip(load.rooms, price, strict=True))
    further = [_destination(sent, price) for sent, _ in load.sent]
    spent = sum(count * sent.beyond * cost for (sent, count), cost in zip(load.sent, further, strict=True))
    spent += sum(count * _cheapest(load, asked, price, further).cost for asked, count in load.asked.items())
    return spent - sum(cost * (room or 0) for room, cost in zip(load.rooms, price, strict=True))


@lru_cache(maxsize=1 << 12)
def _destination(sent: Sent, price: Price) -> int:
    """What a destination costs at least that the signal's origin does not have: a part of a relay or copy."""
    costs = [price[k] // gain for k, gain in sent.relays]
    if sent.copy is not None:
        copies = (_cover(form.sizes, sent.copy.features, price, 1, 0).cost for form in sent.copy.forms)
        costs.append(min(copies) // sent.destinations)
    return min(costs, default=_DEAR)


def _cheapest(load: Load, asked: Asked, price: Price, further: Sequence[int]) -> _Cover:
    """The cheapest cover of a layer, whatever form it takes.

    Parameters
    ----------
    further
        By kind of signal, what a further destination costs.
    """
    covers = []
    for form in asked.forms:
        if asked.is_whole:
            covers.append(_whole(form.sizes, asked.features, price))
            continue
        free = max((load.sent[n][0].free for n in form.sources), default=1)
        extra = min(sum(further[n] for n in form.sources), _DEAR)
        covers.append(_cover(form.sizes, asked.features, price, free, extra))
    return min(covers)


def _whole(sizes: Price, features: int, price: Price) -> _Cover:
    costs = [(cost, k) for k, (size, cost) in enumerate(zip(sizes, price, strict=True)) if size >= features]
    cost, chosen = min(costs, default=(_NEVER, -1))
    return _Cover(cost, tuple(int(k == chosen) for k in range(len(sizes))))


@lru_cache(maxsize=1 << 14)
def _cover(sizes: Price, features: int, price: Price, free: int, extra: int) -> _Cover:
    """The cheapest cover by pieces of at most these sizes, of which all but `free` cost `extra` more."""
    # Of equal price the largest piece, and of more only what holds more.
    options: list[tuple[int, int, int]] = []
    for own, size, k in sorted((price[k], -size, k) for k, size in enumerate(sizes) if size):
        if not options or -size > options[-1][1]:
            options.append((own, -size, k))
    if not options:
        return _Cover(_NEVER, (0,) * len(sizes))
    least = -(-features // options[-1][1])
    if least > _PIECES_MAX or not (extra or options[0][0]):
        # By features, as if parts of pieces were to be had: no cover costs less.
        cost, k = min((-(-features * own // size), k) for own, size, k in options)
        return _Cover(cost, tuple(-(-features // size) if n == k else 0 for n, size in enumerate(sizes)))
    reached = _reached(options, features, free if extra else 0, extra)
    return _Cover(len(reached[-1]) - 1, _pieces(options, reached, extra, len(sizes)))


def _reached(
    options: Sequence[tuple[int, int, int]], features: int, free: int, extra: int
) -> list[list[int]]:
    """By number of pieces, the last for all beyond `free`, and cost: the most features that are covered."""
    reached: list[list[int]] = [[] for _ in range(free + 1)]
    last, cost = reached[-1], 0
    while not last or last[-1] < features:
        for n, row in enumerate(reached):
            most = row[-1] if row else 0
            if n:
                fewer = reached[n - 1]
                most = max(most, fewer[cost])
                for own, size, _ in options:
                    if own <= cost:
                        most = max(most, fewer[cost - own] + size)
            if n == free:
                for own, size, _ in options:
                    if own + extra <= cost:
                        most = max(most, row[cost - own - extra] + size)
            row.append(most)
        cost += 1
    return reached


def _pieces(
    options: Sequence[tuple[int, int, int]], reached: Sequence[Sequence[int]], extra: int, classes: int
) -> Price:
    """The pieces per class on the way to the last cost."""
    pieces, n, cost = [0] * classes, len(reached) - 1, len(reached[-1]) - 1
    while most := reached[n][cost]:
        if cost and reached[n][cost - 1] == most:
            cost -= 1
            continue
        if n and reached[n - 1][cost] == most:
            n -= 1
            continue
        ways = [(k, n, own + extra, size) for own, size, k in options] if n == len(reached) - 1 else []
        ways += [(k, n - 1, own, size) for own, size, k in options] if n else []
        k, n, spent = next(
            (k, fewer, spent)
            for k, fewer, spent, size in ways
            if spent <= cost and reached[fewer][cost - spent] + size == most
        )
        cost -= spent
        pieces[k] += 1
    return tuple(pieces)
