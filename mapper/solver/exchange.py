"""Placements that lack one layer, and what they show possible: requirements that a conflict needs.

Where all but one layer of a conflict are placed, another one can often take its turn: the layer that was out
stands where the other stood, or where a rule that is given up gives room. That proves what a search would
prove, for most requirements of a conflict at once (model rotation; Marques-Silva and Lynce, "On improving MUS
extraction algorithms", 2011). Destinations must not count, and no core may be under a request.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from mapper.rules import Rule
from mapper.solver.requirements import Part, Requirements

__all__ = ["Exchange"]

# Cores per class, in use or free.
Cores: TypeAlias = tuple[int, ...]

# Covers of a layer that are tried where it makes room for another one.
_COVERS_MAX = 32
# More than any layer takes.
_ANY = 1 << 30


@dataclass(frozen=True, slots=True)
class _Placed:
    """All layers of some requirements but one, placed within them.

    Attributes
    ----------
    out
        The layer that is not placed.
    held
        By layer, the cores that it takes in each class.
    """

    out: int
    held: Mapping[int, Cores]


class Exchange:
    """What is known of placements within almost all of a conflict's requirements."""

    def __init__(self, asked: Requirements) -> None:
        self.asked, self.tables = asked, asked.tables
        options = asked.problem.options
        self._is_open = not (options.pins or options.forbidden_cores or asked.problem.optional)
        self._limits: dict[int, list[Part]] = {}
        for part in asked.parts:
            if part.kind == "limit":
                self._limits.setdefault(part.index, []).append(part)
        self._placed: list[_Placed] = []

    def within(self, kept: Collection[Part], left_out: Sequence[Part]) -> Without:
        """What is known of placements within some requirements without some of them."""
        return Without(self, kept, left_out)

    def learn(self, kept: Collection[Part], held: Mapping[int, Cores]) -> None:
        """Take a placement within all of these requirements but some, if it can be made to lack one layer."""
        if not self._counts(kept):
            return
        within = _Within(self, frozenset(kept))
        stays = {layer: cores for layer, cores in held.items() if within.is_cover(layer, cores)}
        missing = [layer for layer in within.layers if layer not in stays]
        for layer in self._too_many(within, stays):
            del stays[layer]
            missing.append(layer)
        free, out = within.free(stays), []
        for layer in missing:
            cover = within.cover(layer, free)
            if cover is None:
                out.append(layer)
            else:
                stays[layer], free = cover, _less(free, cover)
        if len(out) == 1:
            self._placed.append(_Placed(out[0], stays))

    def shows(self, kept: Collection[Part], part: Part) -> bool:
        """Whether the requirements can hold together but for one of them; False where that is not known."""
        return self._turns(kept, part, self._direct)

    def shows_by_way(self, kept: Collection[Part], part: Part) -> bool:
        """The same where a third layer stands elsewhere, which takes longer to find."""
        return self._turns(kept, part, self._by_way)

    def _turns(
        self, kept: Collection[Part], part: Part, turn: Callable[[_Within, _Placed, Part], bool]
    ) -> bool:
        if not (self._placed and self._counts(kept)):
            return False
        within = _Within(self, frozenset(kept) - {part})
        known = [placed for placed in reversed(self._placed) if placed.out in within.layers]
        return any(turn(within, placed, part) for placed in known)

    def _direct(self, within: _Within, placed: _Placed, part: Part) -> bool:
        """Whether the layer that is out finds room, or does beside the one that a limit no longer bounds."""
        held = within.still(placed.held)
        free = within.free(held)
        cover = within.cover(placed.out, free)
        if cover is not None:
            if part.kind == "layer" and all(other.out != part.index for other in self._placed):
                self._placed.append(_Placed(part.index, {**held, placed.out: cover}))
            return True
        if part.kind != "limit" or part.index not in held:
            return False
        return within.both(part.index, placed.out, _more(free, held[part.index]))

    def _by_way(self, within: _Within, placed: _Placed, part: Part) -> bool:
        """As `_direct`, with one more layer that stands elsewhere than it did."""
        held = within.still(placed.held)
        free = within.free(held)
        if part.kind != "limit" or part.index not in held:
            return self._moved(within, placed.out, held, free)
        room = _more(free, held.pop(part.index))
        return any(
            self._moved(within, placed.out, held, _less(room, cores))
            for cores in within.covers(part.index, room)
        )

    def _moved(self, within: _Within, out: int, held: Mapping[int, Cores], free: Cores) -> bool:
        # Layers that may stand on the same cores, and do, are as good.
        alike = {(within.rows(layer), cores): layer for layer, cores in held.items()}
        return any(within.both(layer, out, _more(free, cores)) for (_, cores), layer in alike.items())

    def _counts(self, kept: Collection[Part]) -> bool:
        """Whether nothing but cores counts."""
        return self._is_open and not any(part.kind in ("slots", "monitors") for part in kept)

    def dropped(self, layer: int, kept: Collection[Part]) -> frozenset[Rule]:
        """Rules that no longer bound a layer."""
        return frozenset(part.rule for part in self._limits.get(layer, ()) if part not in kept)

    def _too_many(self, within: _Within, stays: Mapping[int, Cores]) -> list[int]:
        """Layers that leave where a class has more occupants than cores: one that suffices, or else all."""
        free = within.free(stays)
        if min(free) >= 0:
            return []
        ways = (layer for layer, cores in stays.items() if min(_more(free, cores)) >= 0)
        return [layer] if (layer := next(ways, None)) is not None else list(stays)


@dataclass(frozen=True, slots=True)
class Without:
    """Placements within some requirements, of which some are left out."""

    exchange: Exchange
    kept: Collection[Part]
    left_out: Sequence[Part]

    def is_possible(self) -> bool:
        """Whether there is one, as far as exchanges show."""
        return len(self.left_out) == 1 and self.exchange.shows_by_way(self.kept, self.left_out[0])

    def learn(self, held: Mapping[int, Cores]) -> None:
        """Take one that was found."""
        self.exchange.learn(self.kept, held)


class _Within:
    """Some requirements, as a placement keeps them."""

    def __init__(self, exchange: Exchange, kept: frozenset[Part]) -> None:
        self._exchange, self._kept = exchange, kept
        self.layers = {part.index for part in kept if part.kind == "layer"}
        single = {part.index for part in kept if part.kind == "cores"}
        classes = exchange.asked.classes
        self._rooms = tuple(len(c.core_ids) if c.core_ids[0] in single else _ANY for c in classes)

    def free(self, held: Mapping[int, Cores]) -> Cores:
        """Cores that layers leave; negative where they are too few."""
        used = [sum(column) for column in zip(*held.values(), strict=True)] or [0] * len(self._rooms)
        return _less(self._rooms, used)

    def still(self, held: Mapping[int, Cores]) -> dict[int, Cores]:
        """Of a placement the layers that must still be placed."""
        return {layer: cores for layer, cores in held.items() if layer in self.layers}

    def both(self, one: int, two: int, free: Cores) -> bool:
        """Whether two layers find room together."""
        return any(self.cover(two, _less(free, cores)) is not None for cores in self.covers(one, free))

    def rows(self, layer: int) -> tuple[Cores, ...]:
        """Per form and class, the most features of a piece."""
        tables = self._exchange.tables
        return tables.rows(layer, self._exchange.dropped(layer, self._kept))

    def _most(self, layer: int) -> int:
        """The most pieces that the layer may be cut into."""
        tables = self._exchange.tables
        return 1 if layer in tables.whole else tables.problem.options.max_pieces or _ANY

    def is_cover(self, layer: int, cores: Cores) -> bool:
        """Whether a layer may stand on such cores."""
        features = self._exchange.asked.features(layer)
        return layer in self.layers and any(
            sum(n * size for n, size in zip(cores, row, strict=True)) >= features
            and all(size for n, size in zip(cores, row, strict=True) if n)
            for row in self.rows(layer)
        )

    def cover(self, layer: int, free: Cores) -> Cores | None:
        """A cover of a layer by free cores, the largest pieces first; None where there is none."""
        for row in self.rows(layer):
            missing, left, cores = self._exchange.asked.features(layer), self._most(layer), [0] * len(row)
            for size, k in sorted(((size, k) for k, size in enumerate(row) if size), reverse=True):
                cores[k] = max(0, min(free[k], left, -(-missing // size)))
                missing, left = missing - cores[k] * size, left - cores[k]
                if missing <= 0:
                    return tuple(cores)
        return None

    def covers(self, layer: int, free: Cores) -> Iterator[Cores]:
        """Covers of a layer by free cores of which none can be left out, some of them where they are many."""
        found = 0
        for row in self.rows(layer):
            sizes = sorted(((size, k) for k, size in enumerate(row) if size), reverse=True)
            for cores in self._covers(sizes, self._exchange.asked.features(layer), self._most(layer), free):
                yield cores
                found += 1
                if found == _COVERS_MAX:
                    return

    def _covers(
        self, sizes: Sequence[tuple[int, int]], missing: int, left: int, free: Cores
    ) -> Iterator[Cores]:
        if missing <= 0:
            yield (0,) * len(free)
            return
        # What is left must suffice: as many of the largest pieces as there may be, and all free cores.
        if not sizes or left * sizes[0][0] < missing:
            return
        if sum(size * max(0, free[k]) for size, k in sizes) < missing:
            return
        (size, k), *others = sizes
        for count in range(max(0, min(free[k], left, -(-missing // size))), -1, -1):
            for cores in self._covers(others, missing - count * size, left - count, free):
                yield tuple(n + count * (j == k) for j, n in enumerate(cores))


def _less(cores: Sequence[int], others: Sequence[int]) -> Cores:
    return tuple(one - two for one, two in zip(cores, others, strict=True))


def _more(cores: Sequence[int], others: Sequence[int]) -> Cores:
    return tuple(one + two for one, two in zip(cores, others, strict=True))
