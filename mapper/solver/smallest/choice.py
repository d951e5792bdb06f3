"""The least chip for some of many networks: which of them, by proven bounds of sets that points share.

What a set of groups needs at least, every set with these among it needs: a set is tried only where no
known one says that it takes as much memory as a chip that is there already. The set to try is the one of
which the least is known; what few of its groups need mostly decides it, and counts for all other sets.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from mapper.reasons import Status
from mapper.solver.budget import INTERRUPTION, Budget
from mapper.solver.cp_sat import Model
from mapper.solver.or_tools import cp_model
from mapper.solver.smallest.model import Catalogue
from mapper.solver.smallest.search import SmallestChip, carries, least_with
from mapper.solver.smallest.sizes import ChipQuestion, CoreType

__all__ = ["Choices"]


@dataclass(frozen=True, slots=True)
class _Chip:
    """A chip that was found, and all groups that it carries."""

    capacity_bits: int
    cores: tuple[CoreType, ...]
    carried: tuple[int, ...]


class Choices:
    """What is known of sets of a question's groups: bounds, and chips.

    Attributes
    ----------
    bounds
        By groups, what a chip that carries them needs at least, in bits.
    """

    def __init__(self, question: ChipQuestion) -> None:
        self.catalogue = Catalogue(question)
        self.bounds: dict[frozenset[int], int] = {}
        self._chips: dict[tuple[CoreType, ...], _Chip] = {}
        self._least: dict[frozenset[int], _Chip | None] = {}
        self._variables = 0

    def note(self, smallest: SmallestChip) -> None:
        """Take in what is known of all groups."""
        every = frozenset(range(len(self.catalogue.question.groups)))
        self.bounds[every] = smallest.bits_bound
        if smallest.cores:
            self._chips[smallest.cores] = _Chip(smallest.capacity_bits, smallest.cores, tuple(sorted(every)))

    def least(self, carry: int, budget: Budget) -> SmallestChip:
        """The chip with the least memory that carries so many of the groups at least.

        Parameters
        ----------
        carry
            1 .. number of groups; more may come for nothing.
        """
        start_s, floor = budget.elapsed_s, 0
        for n in range(len(self.catalogue.question.groups)):
            self._least_of(frozenset({n}), budget)
        while not _is_over(budget):
            best = self._best(carry)
            below = best.capacity_bits if best else None
            chosen, floor = self._next(carry, below, floor, budget)
            if chosen is None:
                break
            self._try(chosen, below, budget)
        return self._told(carry, floor, start_s, budget)

    def _told(self, carry: int, floor: int, start_s: float, budget: Budget) -> SmallestChip:
        best, stopped_by = self._best(carry), budget.stopped_by or budget.limit_reached
        if best is None:
            return SmallestChip(Status.UNDECIDED, bits_bound=floor, stopped_by=stopped_by or "a limit")
        bound = min(floor, best.capacity_bits)
        return SmallestChip(
            Status.OPTIMAL if bound == best.capacity_bits else Status.FEASIBLE,
            best.cores,
            best.capacity_bits,
            bound,
            self.catalogue.question.cores[0],
            best.carried,
            stopped_by=stopped_by if bound < best.capacity_bits or stopped_by == INTERRUPTION else None,
            wall_s=budget.elapsed_s - start_s,
            variables=self._variables,
        )

    def _best(self, carry: int) -> _Chip | None:
        able = [chip for chip in self._chips.values() if len(chip.carried) >= carry]
        return min(able, key=lambda chip: (chip.capacity_bits, len(chip.cores), chip.cores), default=None)

    def _next(
        self, carry: int, below: int | None, floor: int, budget: Budget
    ) -> tuple[list[int] | None, int]:
        """The set of which least is known, if that is less than a chip has; and what every set needs."""
        groups = range(len(self.catalogue.question.groups))
        unit = math.gcd(*(entry.capacity_bits for entry in self.catalogue.types))
        model = Model()
        chosen = [model.new_bool_var("") for _ in groups]
        model.add(cp_model.LinearExpr.sum(chosen) == carry)
        most = max(self.bounds.values()) // unit + 1
        needed = model.new_int_var(floor // unit, most, "")
        for some, bits in self.bounds.items():
            if len(some) == 1:
                model.add(needed >= bits // unit * chosen[min(some)])
            else:
                model.add(needed >= bits // unit).only_enforce_if([chosen[n] for n in sorted(some)])
        alone = [self.bounds[frozenset({n})] // unit for n in groups]
        model.minimize(needed * (1 + sum(alone)) + cp_model.LinearExpr.weighted_sum(chosen, alone))
        solver, status = budget.run(model)
        if status != cp_model.OPTIMAL:
            return None, floor
        floor = max(floor, solver.value(needed) * unit)
        if below is not None and floor >= below:
            return None, floor
        return [n for n in groups if solver.value(chosen[n])], floor

    def _try(self, chosen: Sequence[int], below: int | None, budget: Budget) -> None:
        """A chip for a set, or a bound that keeps it from being of use: by as few groups as decide it."""
        order = sorted(chosen, key=lambda n: (-self.bounds[frozenset({n})], n))
        some, lacks = frozenset[int](), order[:1]
        while lacks and not _is_over(budget):
            some |= {lacks[0]}
            chip = self._least_of(some, budget)
            if chip is None or (below is not None and self.bounds[some] >= below):
                return
            lacks = [n for n in order if n not in chip.carried]

    def _least_of(self, some: frozenset[int], budget: Budget) -> _Chip | None:
        """The chip with the least memory for all of these; its bound is noted."""
        if some not in self._least:
            found = least_with(self.catalogue, sorted(some), budget, is_enough=lambda _: False)
            self._variables = max(self._variables, found.variables)
            self.bounds[some] = max(found.bits_bound, self.bounds.get(some, 0))
            if found.status is Status.INFEASIBLE:
                raise RuntimeError("each network fits the largest chip, and some of them fit none")
            chip = self._with_carried(found, some, budget) if found.cores else None
            if found.status is not Status.OPTIMAL or _is_over(budget):
                return chip
            self._least[some] = chip
        return self._least[some]

    def _with_carried(self, found: SmallestChip, some: frozenset[int], budget: Budget) -> _Chip:
        """The chip with all that it carries; what a limit keeps from being asked is left out."""
        cores, bits, question = found.cores, found.capacity_bits, self.catalogue.question
        if cores not in self._chips:
            carried = [
                n
                for n in range(len(question.groups))
                if n in some
                or (self.bounds.get(frozenset({n}), 0) <= bits and carries(question, cores, n, budget))
            ]
            self._chips[cores] = _Chip(bits, cores, tuple(carried))
        return self._chips[cores]


def _is_over(budget: Budget) -> bool:
    """Whether a limit or Ctrl-C came."""
    return budget.stopped_by is not None or budget.is_spent
