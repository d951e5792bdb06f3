"""Which memory sizes a chip that is yet to be made can be told apart by, and the chip that offers them all.

A size counts only where some layer, piece or relay fits that did not fit the next smaller one; a type of
core counts only where no other is at least as able for no more bits. What fits where is asked of the same
tables as for a chip that exists.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from typing import Protocol, TypeAlias

from hwspec.document import Draft, build, draft_of
from hwspec.schema import BIAS_WORD_BITS, KERNEL_WORD_BITS, NEURON_WORD_BITS, ChipSpec
from mapper.normal_form import NormalNetwork
from mapper.options import SolveOptions
from mapper.problem import Problem
from mapper.solver.budget import Budget
from mapper.solver.divided.need import least_pieces, need_of
from mapper.solver.divided.run import divisible
from mapper.solver.divided.tables import PieceTable, Signal, Tables

__all__ = [
    "Ability",
    "ChipQuestion",
    "CoreType",
    "Group",
    "MemorySizes",
    "chip_of",
    "groups_on",
    "useful_types",
]

Ability: TypeAlias = tuple[int, ...]


@dataclass(frozen=True, slots=True, order=True)
class CoreType:
    """Memories of a core that may be made.

    Attributes
    ----------
    kernel_words, neuron_words
        Powers of two.
    bias_words
        A power of two, or 0.
    """

    neuron_words: int
    kernel_words: int
    bias_words: int

    @property
    def capacity_bits(self) -> int:
        """Bits of all three memories."""
        kernel, neuron = KERNEL_WORD_BITS * self.kernel_words, NEURON_WORD_BITS * self.neuron_words
        return kernel + neuron + BIAS_WORD_BITS * self.bias_words


@dataclass(frozen=True, slots=True)
class MemorySizes:
    """Sizes on offer for each memory, in words, ascending, at least one each."""

    kernel_words: tuple[int, ...]
    neuron_words: tuple[int, ...]
    bias_words: tuple[int, ...]


class Carried(Protocol):
    """Networks that share a chip, as `mapper.question.Question` asks about them."""

    @property
    def networks(self) -> tuple[NormalNetwork, ...]:
        """What the chip-free passes made."""

    def problems_on(self, chip: ChipSpec) -> tuple[Problem, ...]:
        """The question about a chip as the solver takes it, under each setting of the sensor stage."""

    def fits_on(self, chip: ChipSpec, budget: Budget) -> bool | None:
        """Whether a chip carries them; None where a limit comes first."""


@dataclass(frozen=True, slots=True)
class ChipQuestion:
    """What a chip is sought for.

    Attributes
    ----------
    groups
        Networks of a group share the chip; the groups take turns on it.
    base
        Everything but the memories and the number of cores is as on this chip; every core is like its
        first.
    cores
        (least, most) cores, 1 <= least <= most.
    fan_out
        Destinations of every core.
    """

    groups: tuple[Carried, ...]
    base: ChipSpec
    cores: tuple[int, int]
    sizes: MemorySizes
    fan_out: int
    options: SolveOptions


@dataclass(frozen=True)
class Group:
    """Networks that share the chip, under one setting of the sensor stage, on every type of core.

    Attributes
    ----------
    cores
        As many as the chip may have.
    """

    problem: Problem
    cores: int

    @cached_property
    def tables(self) -> Tables:
        """Largest pieces and fitting relays by type; a type is a class of cores."""
        return Tables(self.problem)

    @cached_property
    def table(self) -> PieceTable:
        """Per layer, form and type, the most features of a piece; 0 also where so few are of no use."""
        most = self.problem.options.max_pieces
        return tuple(
            tuple(_useful(row, demand.work.output_shape.features, most) for row in rows)
            for demand, rows in zip(self.problem.demands, self.tables.piece_table(), strict=True)
        )

    @cached_property
    def spare(self) -> int:
        """Cores beyond the least that all layers take, where the chip has as many as it may."""
        layers = (n for n in range(len(self.problem.demands)) if n not in self.problem.optional)
        return self.cores - sum(least_pieces(self.tables, self.table, layer) for layer in layers)

    @property
    def is_divisible(self) -> bool:
        """Whether nothing stands in the way that no memory mends."""
        return divisible(self.problem)

    @cached_property
    def lean_tables(self) -> Tables:
        """`tables`, with relays at the least able types alone."""
        return _LeanTables(self.problem, self.stands_for)

    @cached_property
    def lean_table(self) -> PieceTable:
        """`table`, with pieces at the least able types alone."""
        return tuple(tuple(self._lean_row(row) for row in rows) for rows in self.table)

    def _lean_row(self, row: tuple[int, ...]) -> tuple[int, ...]:
        least = _least_able({k: most for k, most in enumerate(row) if most}, self.stands_for)
        return tuple(least.get(k, 0) for k in range(len(row)))

    @cached_property
    def alike(self) -> Mapping[int, tuple[int, ...]]:
        """By the first of them, types that can do the same, and something."""
        types: dict[Ability, list[int]] = {}
        for k, ability in enumerate(self.abilities):
            if any(ability):
                types.setdefault(ability, []).append(k)
        return {same[0]: tuple(same) for same in types.values()}

    @cached_property
    def stands_for(self) -> tuple[frozenset[int], ...]:
        """Per type, others whose place it can take: less able ones, and the first that can do the same."""
        able = self.abilities
        below = {
            first: frozenset(k for k in self.alike if k != first and _covers(able[first], able[k]))
            for first in self.alike
        }
        rows = [frozenset[int]()] * len(able)
        for first, same in self.alike.items():
            for k in same:
                rows[k] = below[first] if k == first else below[first] | {first}
        return tuple(rows)

    @cached_property
    def abilities(self) -> tuple[Ability, ...]:
        """Per type, everything that the model knows of it: more is never worse."""
        columns: list[Sequence[int]] = [row for rows in self.table for row in rows]
        types = range(len(self.problem.classes))
        need = need_of(self.tables, self.table, self.spare)
        for number, signal in enumerate(self.tables.signals):
            for level in self.tables.levels(signal) if number in need.relays else ():
                for reads_all in (False, True):
                    limits = self.tables.relay_limits(signal, level, reads_all=reads_all)
                    columns.append([limits.get(k, 0) for k in types])
        return tuple(tuple(column[k] for column in columns) for k in types)


class _LeanTables(Tables):
    """Tables in which, of types that hold as much of a relay, the least able ones stand for all."""

    def __init__(self, problem: Problem, stands_for: Sequence[frozenset[int]]) -> None:
        super().__init__(problem)
        self._stands_for = stands_for

    def relay_classes(self, signal: Signal, level: int) -> tuple[int, ...]:
        every = dict.fromkeys(super().relay_classes(signal, level), signal.shape.features)
        return tuple(_least_able(every, self._stands_for))

    def partial_limits(self, signal: Signal, level: int, *, reads_all: bool) -> Mapping[int, int]:
        whole = super().relay_classes(signal, level)
        limits = super().partial_limits(signal, level, reads_all=reads_all)
        return _least_able({k: most for k, most in limits.items() if k not in whole}, self._stands_for)


def _least_able(limits: Mapping[int, int], stands_for: Sequence[frozenset[int]]) -> dict[int, int]:
    """Types that hold something, without those that can take the place of another which holds as much."""
    return {
        k: most for k, most in limits.items() if not any(limits.get(other) == most for other in stands_for[k])
    }


def chip_of(
    base: ChipSpec, types: Sequence[CoreType], fan_out: int, name: str, source: str, copies: int = 1
) -> ChipSpec:
    """A chip of these cores, in this order, `copies` of each; all else as on the base.

    Every fact of it is assumed, for a chip that does not exist has no other source.
    """
    draft = draft_of(base)
    shared = {**draft.cores[0], "parallel": False, "fan_out": fan_out}
    known: dict[CoreType, dict[str, object]] = {}
    for entry in types:
        words = {"kernel_words": entry.kernel_words, "neuron_words": entry.neuron_words}
        known.setdefault(entry, {**shared, **words, "bias_words": entry.bias_words})
    head = draft.head
    sections = ("core", "routing", "monitor", *(part for part in ("input", "readout") if head[part]))
    note = {"evidence": "assumed", "source": source}
    head |= {"name": name, "title": source, "devices": (), "emission": None, "errata": ()}
    head["sources"] = {f"{section}.*": note for section in sections}
    head["routing"] = {**head["routing"], "fan_out": fan_out}
    cores = [known[entry] for entry in types for _ in range(copies)]
    return build(Draft(head, cores), name)


def groups_on(question: ChipQuestion, types: Sequence[CoreType]) -> tuple[tuple[Group, ...], ...]:
    """Every group on a chip that offers all these types, under each setting of the sensor stage."""
    most = question.cores[1]
    chip = chip_of(question.base, types, question.fan_out, "catalogue", "candidate sizes", most)
    return tuple(
        tuple(Group(problem, most) for problem in carried.problems_on(chip)) for carried in question.groups
    )


def useful_types(question: ChipQuestion) -> tuple[CoreType, ...]:
    """Types that no other makes superfluous, cheapest first.

    The cheapest of all is among them where the chip must have more than one core, even if it holds nothing:
    cores beyond those that the networks need are idle, and cost least so.
    """
    sizes = [_distinct_sizes(question, field) for field in ("neuron_words", "kernel_words", "bias_words")]
    types = sorted((CoreType(*words) for words in product(*sizes)), key=_cost)
    kept = _without_dominated(types, _abilities(question, types))
    offered = question.sizes
    idle = CoreType(offered.neuron_words[0], offered.kernel_words[0], offered.bias_words[0])
    return kept if question.cores[0] == 1 or idle in kept else (idle, *kept)


def _cost(entry: CoreType) -> tuple[int, CoreType]:
    return entry.capacity_bits, entry


def _abilities(question: ChipQuestion, types: Sequence[CoreType]) -> list[Ability]:
    rows = [group.abilities for settings in groups_on(question, types) for group in settings]
    return [tuple(value for row in rows for value in row[k]) for k in range(len(types))]


def _useful(row: tuple[int, ...], features: int, pieces: int | None) -> tuple[int, ...]:
    """Sizes of pieces that some cover needs from which no piece can be left out.

    All pieces but the smallest hold less than the whole: it has to hold what they leave at least.
    """
    sums = {0}
    for _ in range((pieces or features) - 1):
        more = {one + size for one in sums for size in set(row) if one + size < features} | sums
        if more == sums:
            break
        sums = more
    least = features - max(sums)
    return tuple(size if size >= least else 0 for size in row)


def _distinct_sizes(question: ChipQuestion, field: str) -> list[int]:
    """Sizes of one memory, the least of those under which the same fits while the others are largest."""
    offered = question.sizes
    largest = CoreType(offered.neuron_words[-1], offered.kernel_words[-1], offered.bias_words[-1])
    types = [replace(largest, **{field: size}) for size in getattr(offered, field)]
    sizes: dict[Ability, int] = {}
    for entry, ability in zip(types, _abilities(question, types), strict=True):
        if any(ability):
            sizes.setdefault(ability, getattr(entry, field))
    return list(sizes.values()) or [getattr(largest, field)]


def _without_dominated(types: Sequence[CoreType], abilities: Sequence[Ability]) -> tuple[CoreType, ...]:
    """Types in ascending cost without those that one before them can replace."""
    kept: list[int] = []
    for k, ability in enumerate(abilities):
        if any(ability) and not any(_covers(abilities[other], ability) for other in kept):
            kept.append(k)
    return tuple(types[k] for k in kept)


def _covers(more: Ability, less: Ability) -> bool:
    return all(a >= b for a, b in zip(more, less, strict=True))
