"""The smallest chip for some networks: sizes and number of cores in stages, each to a proven optimum."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from ortools.sat.python import cp_model

from mapper.demand import layer_demands
from mapper.normal_form import NormalNetwork
from mapper.options import SolveOptions
from mapper.result import Status
from mapper.solver.budget import INTERRUPTION, Budget
from mapper.solver.smallest.model import SynthesisModel, build_synthesis
from mapper.solver.smallest.sizes import ChipQuestion, CoreType, chip_of, useful_types
from mapper.solver.stages import tie_weight

__all__ = ["ChipFound", "Minimise", "find_chip", "find_chip_for"]

Minimise: TypeAlias = Literal["sram", "cores"]


@dataclass(frozen=True, slots=True)
class ChipFound:
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


def find_chip(question: ChipQuestion, minimise: Minimise = "sram") -> ChipFound:
    """The chip with the least memory, or with the fewest cores and then the least memory.

    Of several that are as good the one with the fewest cores is taken, then one that depends on sizes
    alone.
    """
    start = time.perf_counter()
    types = useful_types(question)
    found, work = _with_few(question, types, minimise)
    if found is None or (not found.carried and found.status is not Status.INFEASIBLE):
        if found is not None and found.stopped_by == INTERRUPTION:
            return replace(found, wall_s=time.perf_counter() - start)
        # With fewest cores first the bound holds for the number of cores that a part of the groups needs.
        floor = 0 if found is None or minimise == "cores" else found.bits_bound
        budget = Budget(_left(question.options, time.perf_counter() - start, work))
        found = _found_with(question, types, minimise, budget)
        found = replace(found, bits_bound=max(floor, found.bits_bound))
    return replace(found, wall_s=time.perf_counter() - start)


def _left(options: SolveOptions, wall_s: float, work: float) -> SolveOptions:
    limits = (options.time_limit_s, wall_s), (options.work_limit, work)
    # A solver takes no limit of 0 or less.
    left = [None if limit is None else max(limit - spent, 1e-6) for limit, spent in limits]
    return replace(options, time_limit_s=left[0], work_limit=left[1])


def _found_with(
    question: ChipQuestion,
    types: tuple[CoreType, ...],
    minimise: Minimise,
    budget: Budget,
    is_enough: Callable[[tuple[CoreType, ...]], bool] = lambda _: True,
) -> ChipFound:
    made = build_synthesis(question, types)
    if made is None:
        return ChipFound(Status.INFEASIBLE, wall_s=budget.elapsed_s)
    return _Search(question, made, budget).run(minimise, is_enough)


def _with_few(
    question: ChipQuestion, types: tuple[CoreType, ...], minimise: Minimise
) -> tuple[ChipFound | None, float]:
    """The chip for as few of the groups as decide it, and the deterministic time spent.

    The best chip for some of the groups that carries the others too is the best for all of them. Groups
    are taken in one by one, those with the largest demands first, within half of the limits.

    Returns
    -------
    ChipFound or None
        Without `carried` where a limit came before a chip for all; None where all groups are needed.
    """
    options = question.options
    limits = [None if n is None else n / 2 for n in (options.time_limit_s, options.work_limit)]
    budget = Budget(replace(options, time_limit_s=limits[0], work_limit=limits[1]))
    order = sorted(range(len(question.groups)), key=lambda n: -_demand(question.groups[n].networks))
    chosen, found = order[:1], None
    while len(chosen) < len(order):
        waiting = [n for n in order if n not in chosen]

        def missing(cores: tuple[CoreType, ...], waiting: list[int] = waiting) -> int | None:
            return next((n for n in waiting if not _carries(question, cores, n)), None)

        some = replace(question, groups=tuple(question.groups[n] for n in sorted(chosen)))
        found = _found_with(some, types, minimise, budget, lambda cores: missing(cores) is None)
        lacks = missing(found.cores) if found.cores else None
        if found.cores and lacks is None:
            return replace(found, carried=tuple(range(len(order)))), budget.deterministic_time
        if lacks is None or budget.stopped_by is not None:
            return replace(found, cores=(), carried=(), is_unique=False), budget.deterministic_time
        chosen.append(lacks)
    return None, budget.deterministic_time


def _demand(group: Sequence[NormalNetwork]) -> int:
    """Bits that the layers of a group ask for, each whole."""
    works = (entry.work for network in group for entry in layer_demands(network))
    return sum(CoreType(w.neuron_words, w.kernel_words, w.bias_words).capacity_bits for w in works)


def _carries(question: ChipQuestion, cores: tuple[CoreType, ...], group: int) -> bool | None:
    """Whether these cores carry a group; None where a limit came first."""
    chip = chip_of(question.base, cores, question.fan_out, "candidate", "candidate")
    return question.groups[group].fits_on(chip)


def find_chip_for(
    question: ChipQuestion, carry: int, alone_bits: Sequence[int], floor_bits: int = 0
) -> ChipFound:
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
    start = time.perf_counter()
    order = sorted(range(len(question.groups)), key=lambda n: (alone_bits[n], n))
    # Of any so many groups one needs as much alone as the last of the cheapest ones.
    floor_bits = max(floor_bits, alone_bits[order[carry - 1]])
    cheapest = tuple(sorted(order[:carry]))
    guess = replace(_chip_for(question, cheapest), carried=cheapest)
    if guess.cores and guess.capacity_bits == floor_bits:
        wall_s = time.perf_counter() - start
        return replace(guess, status=Status.OPTIMAL, bits_bound=floor_bits, wall_s=wall_s)
    budget = Budget(question.options)
    search = _choice(question, carry, alone_bits, (floor_bits, guess.capacity_bits), budget)
    if search is None:
        return ChipFound(Status.INFEASIBLE, wall_s=time.perf_counter() - start)
    status, bound = search.choose()
    bound = max(bound, floor_bits)
    chosen = tuple(search.kept)
    found = guess if chosen in ((), cheapest) else _chip_for(question, chosen)
    if guess.cores and (not found.cores or guess.capacity_bits < found.capacity_bits):
        found, chosen = guess, cheapest
    if not found.cores:
        told = Status.INFEASIBLE if status is Status.INFEASIBLE else Status.UNDECIDED
        return ChipFound(told, stopped_by=budget.stopped_by, wall_s=time.perf_counter() - start)
    is_least = found.capacity_bits == bound
    return replace(
        found,
        status=Status.OPTIMAL if is_least else Status.FEASIBLE,
        bits_bound=bound,
        carried=chosen or cheapest,
        is_unique=found.is_unique and status is Status.OPTIMAL,
        stopped_by=found.stopped_by or budget.stopped_by,
        wall_s=time.perf_counter() - start,
        variables=budget.variables,
    )


def _chip_for(question: ChipQuestion, groups: tuple[int, ...]) -> ChipFound:
    return find_chip(replace(question, groups=tuple(question.groups[n] for n in groups)))


def _choice(
    question: ChipQuestion,
    carry: int,
    alone_bits: Sequence[int],
    bounds: tuple[int, int],
    budget: Budget,
) -> _Search | None:
    """The model in which groups may be left out; its bits lie within the bounds, where the upper is not 0."""
    made = build_synthesis(question, useful_types(question), optional=True)
    if made is None:
        return None
    made.model.add(cp_model.LinearExpr.sum(made.carried) >= carry)
    bits = made.weighted([entry.capacity_bits for entry in made.types])
    made.model.add(bits >= bounds[0])
    if bounds[1]:
        made.model.add(bits <= bounds[1])
    # The relaxation would carry a share of each group; what one needs by itself keeps it from that.
    for carried, least in zip(made.carried, alone_bits, strict=True):
        made.model.add(bits >= least * carried)
    return _Search(question, made, budget)


class _Search:
    """One model and what its stages have found so far."""

    def __init__(self, question: ChipQuestion, made: SynthesisModel, budget: Budget) -> None:
        self.question, self.made, self.budget = question, made, budget
        self.values: list[int] = []
        self.kept: list[int] = []

    def run(self, minimise: Minimise, is_enough: Callable[[tuple[CoreType, ...]], bool]) -> ChipFound:
        """All stages, until one is not proven; ties are broken only of a chip that is enough."""
        bits = [entry.capacity_bits for entry in self.made.types]
        # Bounds of whole units: a fraction of a unit above the bound is a unit above it.
        unit, radix = math.gcd(*bits), self.question.cores[1] + 1
        bounds = {"cores": self.question.cores[0], "bits": 0}
        if minimise == "cores":
            status, bound = self._stage([1] * len(bits))
            bounds["cores"] = bound or bounds["cores"]
            if status != cp_model.OPTIMAL:
                return self.found(self._told(status), bounds, unique=False)
        # Bits count first, then cores, in one number: measured, faster than one after the other.
        status, bound = self._stage([n // unit * radix + 1 for n in bits])
        bounds["bits"] = bound // radix * unit
        if status != cp_model.OPTIMAL:
            return self.found(self._told(status), bounds, unique=False)
        if not is_enough(self._cores()):
            return self.found(Status.OPTIMAL, bounds, unique=False)
        return self.found(Status.OPTIMAL, bounds, unique=self._unique())

    def _told(self, status: cp_model.CpSolverStatus) -> Status:
        if self.values:
            return Status.FEASIBLE
        return Status.INFEASIBLE if status == cp_model.INFEASIBLE else Status.UNDECIDED

    def _stage(self, weights: list[int]) -> tuple[cp_model.CpSolverStatus, int]:
        """Minimise one sum, hold its value for the stages to come; status and bound."""
        cost = self.made.weighted(weights)
        self.made.model.minimize(cost)
        solver, status = self.budget.run(self.made.model)
        if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
            return status, 0
        self._keep(solver)
        best = round(solver.objective_value)
        if status == cp_model.OPTIMAL:
            self.made.model.add(cost <= best)
            return status, best
        return status, max(0, math.ceil(solver.best_objective_bound - 1e-6))

    def _keep(self, solver: cp_model.CpSolver) -> None:
        self.values = [solver.value(variable) for variable in self.made.counts]
        self.kept = [n for n, variable in enumerate(self.made.carried) if solver.value(variable)]
        model = self.made.model
        model.clear_hints()  # type: ignore[no-untyped-call]  # OR-Tools states no types here
        for n in range(len(model.proto.variables)):
            variable = model.get_int_var_from_proto_index(n)
            model.add_hint(variable, solver.value(variable))

    def choose(self) -> tuple[Status, int]:
        """Which groups to carry, so that memory is least: status and the bits' bound."""
        bits = [entry.capacity_bits for entry in self.made.types]
        unit = math.gcd(*bits)
        status, bound = self._stage([n // unit for n in bits])
        if status != cp_model.OPTIMAL:
            return self._told(status), bound * unit
        names = ["+".join(network.name for network in group.networks) for group in self.question.groups]
        weights = [-tie_weight(name) for name in names]
        cost = cp_model.LinearExpr.weighted_sum(self.made.carried, weights)
        proven = self._last(cost)
        return (Status.OPTIMAL if proven else Status.FEASIBLE), bound * unit

    def _unique(self) -> bool:
        """Of all chips as good, the least sum of weights that come from sizes; whether proven."""
        keys = [f"{t.kernel_words}/{t.neuron_words}/{t.bias_words}" for t in self.made.types]
        return self._last(self.made.weighted([tie_weight(key) for key in keys]))

    def _last(self, cost: cp_model.LinearExpr) -> bool:
        """Break ties; whether proven."""
        try:
            self.made.model.minimize(cost)
            solver, status = self.budget.run(self.made.model)
            if status in (cp_model.OPTIMAL, cp_model.FEASIBLE):
                self._keep(solver)
        except KeyboardInterrupt:
            # Ctrl-C inside the solver ends a stage; between two stages it arrives here. What is found stays.
            self.budget.stopped_by = INTERRUPTION
            return False
        return status == cp_model.OPTIMAL

    def found(self, status: Status, bounds: dict[str, int], *, unique: bool) -> ChipFound:
        """The chip of the last stage that found one."""
        cores = self._cores()
        carried = tuple(range(len(self.question.groups))) if cores else ()
        return ChipFound(
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
        pairs = zip(self.made.types, self.values, strict=bool(self.values))
        return tuple(sorted((entry for entry, n in pairs for _ in range(n)), reverse=True))
