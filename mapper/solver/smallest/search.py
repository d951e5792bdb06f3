"""The smallest chip for some networks: sizes and number of cores in stages, each to a proven optimum."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from mapper.demand import layer_demands
from mapper.normal_form import NormalNetwork
from mapper.result import Status
from mapper.solver.budget import INTERRUPTION, Budget
from mapper.solver.or_tools import cp_model
from mapper.solver.smallest.model import SynthesisModel, build_synthesis
from mapper.solver.smallest.sizes import ChipQuestion, CoreType, chip_of, useful_types
from mapper.solver.stages import tie_weight

__all__ = ["Minimise", "SmallestChip", "find_chip", "find_chip_for"]

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
    types = useful_types(question)
    smallest = _with_few(question, types, minimise, budget.share(0.5))
    decided = smallest is not None and (smallest.carried or smallest.status is Status.INFEASIBLE)
    if smallest is None or not (decided or smallest.stopped_by == INTERRUPTION):
        # With fewest cores first the bound holds for the number of cores that some of the groups need.
        floor = 0 if smallest is None or minimise == "cores" else smallest.bits_bound
        smallest = _smallest_with(question, types, minimise, budget)
        smallest = replace(smallest, bits_bound=max(floor, smallest.bits_bound))
    return replace(smallest, wall_s=budget.elapsed_s - start_s)


def _smallest_with(
    question: ChipQuestion,
    types: tuple[CoreType, ...],
    minimise: Minimise,
    budget: Budget,
    is_enough: Callable[[tuple[CoreType, ...]], bool] = lambda _: True,
) -> SmallestChip:
    if (limit := budget.limit_reached) is not None:
        return SmallestChip(Status.UNDECIDED, stopped_by=limit)
    synthesis = build_synthesis(question, types)
    if synthesis is None:
        return SmallestChip(Status.INFEASIBLE, wall_s=budget.elapsed_s)
    return _Search(question, synthesis, budget).run(minimise, is_enough)


def _with_few(
    question: ChipQuestion, types: tuple[CoreType, ...], minimise: Minimise, budget: Budget
) -> SmallestChip | None:
    """The chip for as few of the groups as decide it.

    The best chip for some of the groups that carries the others too is the best for all of them. Groups
    are taken in one by one, those with the largest demands first.

    Returns
    -------
    SmallestChip or None
        Without `carried` where a limit came before a chip for all; None where all groups are needed.
    """
    order = sorted(range(len(question.groups)), key=lambda n: -_demand(question.groups[n].networks))
    chosen, smallest = order[:1], None
    while len(chosen) < len(order):
        waiting = [n for n in order if n not in chosen]

        def missing(cores: tuple[CoreType, ...], waiting: list[int] = waiting) -> int | None:
            return next((n for n in waiting if not _carries(question, cores, n, budget)), None)

        some = replace(question, groups=tuple(question.groups[n] for n in sorted(chosen)))
        smallest = _smallest_with(some, types, minimise, budget, lambda cores: missing(cores) is None)
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


def _carries(question: ChipQuestion, cores: tuple[CoreType, ...], group: int, budget: Budget) -> bool | None:
    """Whether these cores carry a group; None where a limit came first."""
    chip = chip_of(question.base, cores, question.fan_out, "candidate", "candidate")
    return question.groups[group].fits_on(chip, budget.aside())


def find_chip_for(
    question: ChipQuestion, budget: Budget, carry: int, alone_bits: Sequence[int], floor_bits: int = 0
) -> SmallestChip:
    """The chip with the least memory that carries some of the groups, those that make it smallest.

    Parameters
    ----------
    carry
        How many of them, 1 .. number of groups; more may come for nothing.
    alone_bits
        Per group, what a chip needs at least to carry it.
    floor_bits
        What a chip for so many is known to need at least.
    """
    start_s = budget.elapsed_s
    order = sorted(range(len(question.groups)), key=lambda n: (alone_bits[n], n))
    # Of any so many groups one needs as much alone as the last of the cheapest ones.
    floor_bits = max(floor_bits, alone_bits[order[carry - 1]])
    cheapest = tuple(sorted(order[:carry]))
    guess = replace(_chip_for(question, cheapest, budget.share(0.4)), carried=cheapest)
    if guess.cores and guess.capacity_bits == floor_bits:
        wall_s = budget.elapsed_s - start_s
        return replace(guess, status=Status.OPTIMAL, bits_bound=floor_bits, wall_s=wall_s)
    search = _choice(question, carry, alone_bits, (floor_bits, guess.capacity_bits), budget.share(0.6))
    if search is None:
        return SmallestChip(Status.INFEASIBLE, wall_s=budget.elapsed_s - start_s)
    status, bound = search.choose()
    bound = max(bound, floor_bits)
    chosen = tuple(search.kept)
    smallest = guess if chosen in ((), cheapest) else _chip_for(question, chosen, budget)
    if guess.cores and (not smallest.cores or guess.capacity_bits < smallest.capacity_bits):
        smallest, chosen = guess, cheapest
    if not smallest.cores:
        status = Status.INFEASIBLE if status is Status.INFEASIBLE else Status.UNDECIDED
        stopped_by = smallest.stopped_by or search.budget.stopped_by
        return SmallestChip(status, stopped_by=stopped_by, wall_s=budget.elapsed_s - start_s)
    is_least = smallest.capacity_bits == bound
    return replace(
        smallest,
        status=Status.OPTIMAL if is_least else Status.FEASIBLE,
        bits_bound=bound,
        carried=chosen or cheapest,
        is_unique=smallest.is_unique and status is Status.OPTIMAL,
        stopped_by=smallest.stopped_by or search.budget.stopped_by,
        wall_s=budget.elapsed_s - start_s,
        variables=search.budget.variables,
    )


def _chip_for(question: ChipQuestion, groups: tuple[int, ...], budget: Budget) -> SmallestChip:
    return find_chip(replace(question, groups=tuple(question.groups[n] for n in groups)), budget)


def _choice(
    question: ChipQuestion,
    carry: int,
    alone_bits: Sequence[int],
    bounds: tuple[int, int],
    budget: Budget,
) -> _Search | None:
    """The model in which groups may be left out; its bits lie within the bounds, where the upper is not 0."""
    synthesis = build_synthesis(question, useful_types(question), optional=True)
    if synthesis is None:
        return None
    synthesis.model.add(cp_model.LinearExpr.sum(synthesis.carried) >= carry)
    bits = synthesis.weighted([entry.capacity_bits for entry in synthesis.types])
    synthesis.model.add(bits >= bounds[0])
    if bounds[1]:
        synthesis.model.add(bits <= bounds[1])
    # The relaxation would carry a share of each group; what one needs by itself keeps it from that.
    for carried, least in zip(synthesis.carried, alone_bits, strict=True):
        synthesis.model.add(bits >= least * carried)
    return _Search(question, synthesis, budget)


class _Search:
    """One model and what its stages have found so far."""

    def __init__(self, question: ChipQuestion, synthesis: SynthesisModel, budget: Budget) -> None:
        self.question, self.synthesis, self.budget = question, synthesis, budget
        self.values: list[int] = []
        self.kept: list[int] = []

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
        self.kept = [n for n, variable in enumerate(self.synthesis.carried) if solver.value(variable)]
        model = self.synthesis.model
        model.clear_hints()  # type: ignore[no-untyped-call]  # OR-Tools states no types here
        for n in range(len(model.proto.variables)):
            variable = model.get_int_var_from_proto_index(n)
            model.add_hint(variable, solver.value(variable))

    def choose(self) -> tuple[Status, int]:
        """Which groups to carry, so that memory is least: status and the bits' bound."""
        bits = [entry.capacity_bits for entry in self.synthesis.types]
        unit = math.gcd(*bits)
        status, bound = self._stage([n // unit for n in bits])
        if status != cp_model.OPTIMAL:
            return self._status_of(status), bound * unit
        names = ["+".join(network.name for network in group.networks) for group in self.question.groups]
        weights = [-tie_weight(name) for name in names]
        cost = cp_model.LinearExpr.weighted_sum(self.synthesis.carried, weights)
        proven = self._last(cost)
        return (Status.OPTIMAL if proven else Status.FEASIBLE), bound * unit

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
        carried = tuple(range(len(self.question.groups))) if cores else ()
        return SmallestChip(
            status,
            cores,
            sum(entry.capacity_bits for entry in cores),
            bounds["bits"],
            bounds["cores"],
            carried,
            unique,
            self.budget.stopped_by,
            self.budget.elapsed_s,
            self.budget.variables,
        )

    def _cores(self) -> tuple[CoreType, ...]:
        pairs = zip(self.synthesis.types, self.values, strict=bool(self.values))
        return tuple(sorted((entry for entry, n in pairs for _ in range(n)), reverse=True))
