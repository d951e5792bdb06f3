"""The smallest chip for some networks: sizes and number of cores in stages, each to a proven optimum."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from mapper.activity import doing
from mapper.demand import layer_demands
from mapper.normal_form import NormalNetwork
from mapper.reasons import Status
from mapper.solver.budget import INTERRUPTION, Budget
from mapper.solver.or_tools import cp_model
from mapper.solver.smallest.model import Catalogue, SynthesisModel, build_synthesis
from mapper.solver.smallest.sizes import ChipQuestion, CoreType, chip_of
from mapper.solver.stages import tie_weight
from mapper.wording import counted

__all__ = ["Minimise", "SmallestChip", "carries", "find_chip", "least_with"]

Minimise: TypeAlias = Literal["sram", "cores"]


@dataclass(frozen=True, slots=True)
class SmallestChip:
    """A chip that carries what is asked, or why there is none.

    Attributes
    ----------
    status
        OPTIMAL: no better one exists within the sizes and moves allowed. FEASIBLE: a limit came first.
        INFEASIBLE, UNDECIDED: there is no chip here.
    cores
        Memories core by core, in canonical order.
    capacity_bits, bits_bound
        Bits of all memories, and what no chip (of no more cores, if cores come first) stays below.
    cores_bound
        As many cores at least, where cores come first; else the question's.
    carried
        Indexes of the question's groups.
    is_unique
        Whether ties are broken, so that every run gives this chip.
    stopped_by
        The limit that was hit.
    wall_s, variables
        Seconds, model building included; size of the model.
    """

    status: Status
    cores: tuple[CoreType, ...] = ()
    capacity_bits: int = 0
    bits_bound: int = 0
    cores_bound: int = 0
    carried: tuple[int, ...] = ()
    is_unique: bool = False
    stopped_by: str | None = None
    wall_s: float = 0.0
    variables: int = 0


def find_chip(question: ChipQuestion, budget: Budget, minimise: Minimise = "sram") -> SmallestChip:
    """The chip with the least memory, or with the fewest cores and then the least memory.

    Of several that are as good the one with the fewest cores is taken, then one that depends on sizes
    alone.
    """
    start_s = budget.elapsed_s
    if (limit := budget.limit_reached) is not None:
        return SmallestChip(Status.UNDECIDED, stopped_by=limit)
    catalogue = Catalogue(question)
    smallest = _with_few(catalogue, minimise, budget.share(0.5))
    decided = smallest is not None and (smallest.carried or smallest.status is Status.INFEASIBLE)
    if smallest is None or not (decided or smallest.stopped_by == INTERRUPTION):
        # With fewest cores first the bound holds for the number of cores that some of the groups need.
        floor = 0 if smallest is None or minimise == "cores" else smallest.bits_bound
        smallest = least_with(catalogue, range(len(question.groups)), budget, minimise)
        smallest = replace(smallest, bits_bound=max(floor, smallest.bits_bound))
    return replace(smallest, wall_s=budget.elapsed_s - start_s)


def least_with(
    catalogue: Catalogue,
    groups: Sequence[int],
    budget: Budget,
    minimise: Minimise = "sram",
    is_enough: Callable[[tuple[CoreType, ...]], bool] = lambda _: True,
) -> SmallestChip:
    """The chip that is least for some of the groups, all in one model.

    Parameters
    ----------
    is_enough
        Of which chips ties are broken.
    """
    if (limit := budget.limit_reached) is not None:
        return SmallestChip(Status.UNDECIDED, stopped_by=limit)
    every, most = len(catalogue.question.groups), catalogue.question.cores[1]
    doing(
        f"looking for the least chip of {counted(most, 'core')} at most for {len(groups)} "
        f"of {counted(every, 'network')}"
    )
    synthesis = build_synthesis(catalogue, groups)
    if synthesis is None:
        return SmallestChip(Status.INFEASIBLE, wall_s=budget.elapsed_s)
    found = _Search(catalogue.question, synthesis, budget).run(minimise, is_enough)
    return replace(found, carried=tuple(groups) if found.cores else ())


def _with_few(catalogue: Catalogue, minimise: Minimise, budget: Budget) -> SmallestChip | None:
    """The chip for as few of the groups as decide it.

    The best chip for some of the groups that carries the others too is the best for all of them. Groups
    are taken in one by one, those with the largest demands first.

    Returns
    -------
    SmallestChip or None
        Without `carried` where a limit came before a chip for all; None where all groups are needed.
    """
    question = catalogue.question
    order = sorted(range(len(question.groups)), key=lambda n: -_demand(question.groups[n].networks))
    chosen, smallest = order[:1], None
    while len(chosen) < len(order):
        waiting = [n for n in order if n not in chosen]

        def missing(cores: tuple[CoreType, ...], waiting: list[int] = waiting) -> int | None:
            return next((n for n in waiting if not carries(question, cores, n, budget)), None)

        smallest = least_with(
            catalogue, sorted(chosen), budget, minimise, lambda cores: missing(cores) is None
        )
        lacks = missing(smallest.cores) if smallest.cores else None
        if smallest.cores and lacks is None:
            return replace(smallest, carried=tuple(range(len(order))))
        if lacks is None or budget.stopped_by is not None:
            return replace(smallest, cores=(), carried=(), is_unique=False)
        chosen.append(lacks)
    return None


def _demand(group: Sequence[NormalNetwork]) -> int:
    """Bits that the layers of a group ask for, each whole."""
    works = (entry.work for network in group for entry in layer_demands(network))
    return sum(CoreType(w.neuron_words, w.kernel_words, w.bias_words).capacity_bits for w in works)


def carries(question: ChipQuestion, cores: tuple[CoreType, ...], group: int, budget: Budget) -> bool | None:
    """Whether these cores carry a group; None where a limit came first."""
    chip = chip_of(question.base, cores, question.fan_out, "candidate", "candidate")
    return question.groups[group].fits_on(chip, budget.aside())


class _Search:
    """One model and what its stages have found so far."""

    def __init__(self, question: ChipQuestion, synthesis: SynthesisModel, budget: Budget) -> None:
        self.question, self.synthesis, self.budget = question, synthesis, budget
        self.values: list[int] = []

    def run(self, minimise: Minimise, is_enough: Callable[[tuple[CoreType, ...]], bool]) -> SmallestChip:
        """All stages, until one is not proven; ties are broken only of a chip that is enough."""
        bits = [entry.capacity_bits for entry in self.synthesis.types]
        # Bounds of whole units: a fraction of a unit above the bound is a unit above it.
        unit, radix = math.gcd(*bits), self.question.cores[1] + 1
        bounds = {"cores": self.question.cores[0], "bits": 0}
        if minimise == "cores":
            status, bound = self._stage([1] * len(bits))
            bounds["cores"] = bound or bounds["cores"]
            if status != cp_model.OPTIMAL:
                return self.chip(self._status_of(status), bounds, unique=False)
        # Bits count first, then cores, in one number: measured, faster than one after the other.
        status, bound = self._stage([n // unit * radix + 1 for n in bits])
        bounds["bits"] = bound // radix * unit
        if status != cp_model.OPTIMAL:
            return self.chip(self._status_of(status), bounds, unique=False)
        if not is_enough(self._cores()):
            return self.chip(Status.OPTIMAL, bounds, unique=False)
        return self.chip(Status.OPTIMAL, bounds, unique=self._unique())

    def _status_of(self, status: cp_model.CpSolverStatus) -> Status:
        if self.values:
            return Status.FEASIBLE
        return Status.INFEASIBLE if status == cp_model.INFEASIBLE else Status.UNDECIDED

    def _stage(self, weights: list[int]) -> tuple[cp_model.CpSolverStatus, int]:
        """Minimise one sum, hold its value for the stages to come; status and bound."""
        cost = self.synthesis.weighted(weights)
        self.synthesis.model.minimize(cost)
        solver, status = self.budget.run(self.synthesis.model, is_long=True)
        if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
            return status, 0
        self._keep(solver)
        best = round(solver.objective_value)
        if status == cp_model.OPTIMAL:
            self.synthesis.model.add(cost <= best)
            return status, best
        return status, max(0, math.ceil(solver.best_objective_bound - 1e-6))

    def _keep(self, solver: cp_model.CpSolver) -> None:
        self.values = [solver.value(variable) for variable in self.synthesis.counts]
        model = self.synthesis.model
        model.clear_hints()  # type: ignore[no-untyped-call]  # OR-Tools states no types here
        for n in range(len(model.proto.variables)):
            variable = model.get_int_var_from_proto_index(n)
            model.add_hint(variable, solver.value(variable))

    def _unique(self) -> bool:
        """Of all chips as good, the least sum of weights that come from sizes; whether proven."""
        keys = [f"{t.kernel_words}/{t.neuron_words}/{t.bias_words}" for t in self.synthesis.types]
        return self._last(self.synthesis.weighted([tie_weight(key) for key in keys]))

    def _last(self, cost: cp_model.LinearExpr) -> bool:
        """Break ties; whether proven."""
        try:
            self.synthesis.model.minimize(cost)
            solver, status = self.budget.run(self.synthesis.model, is_long=True)
            if status in (cp_model.OPTIMAL, cp_model.FEASIBLE):
                self._keep(solver)
        except KeyboardInterrupt:
            # Ctrl-C inside the solver ends a stage; between two stages it arrives here. What is found stays.
            self.budget.interrupt()
            return False
        return status == cp_model.OPTIMAL

    def chip(self, status: Status, bounds: dict[str, int], *, unique: bool) -> SmallestChip:
        """The chip of the last stage that found one."""
        cores = self._cores()
        return SmallestChip(
            status,
            cores,
            sum(entry.capacity_bits for entry in cores),
            bounds["bits"],
            bounds["cores"],
            is_unique=unique,
            stopped_by=self.budget.stopped_by,
            wall_s=self.budget.elapsed_s,
            variables=self.budget.variables,
        )

    def _cores(self) -> tuple[CoreType, ...]:
        pairs = zip(self.synthesis.types, self.values, strict=bool(self.values))
        return tuple(sorted((entry for entry, n in pairs for _ in range(n)), reverse=True))
