"""The smallest chip for some networks: sizes and number of cores in stages, each to a proven optimum."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from ortools.sat.python import cp_model

from mapper.result import Status
from mapper.solver.budget import INTERRUPTION, Budget
from mapper.solver.synthesis_model import SynthesisModel, build_synthesis
from mapper.solver.synthesis_types import CoreType, Question, useful_types

__all__ = ["ChipFound", "Minimise", "find_chip", "find_chip_for"]

Minimise: TypeAlias = Literal["sram", "cores"]

_TIE_BITS = 40


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


def find_chip(question: Question, minimise: Minimise = "sram") -> ChipFound:
    """The chip with the least memory, or with the fewest cores and then the least memory.

    Of several that are as good the one with the fewest cores is taken, then one that depends on sizes
    alone.
    """
    budget = Budget(question.options)
    made = build_synthesis(question, useful_types(question))
    if made is None:
        return ChipFound(Status.INFEASIBLE, wall_s=budget.elapsed_s)
    return _Search(question, made, budget).run(minimise)


def find_chip_for(
    question: Question, carry: int, alone_bits: Sequence[int], floor_bits: int = 0
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
    budget = Budget(question.options)
    made = build_synthesis(question, useful_types(question), optional=True)
    if made is None:
        return ChipFound(Status.INFEASIBLE, wall_s=budget.elapsed_s)
    made.model.add(cp_model.LinearExpr.sum(made.carried) >= carry)
    bits = made.weighted([entry.capacity_bits for entry in made.types])
    made.model.add(bits >= floor_bits)
    # The relaxation would carry a share of each group; what one needs by itself keeps it from that.
    for carried, least in zip(made.carried, alone_bits, strict=True):
        made.model.add(bits >= least * carried)
    search = _Search(question, made, budget)
    status, bound = search.choose()
    if not search.kept:
        return ChipFound(status, stopped_by=budget.stopped_by, wall_s=budget.elapsed_s)
    chosen = replace(question, groups=tuple(question.groups[n] for n in search.kept))
    found = find_chip(chosen)
    if not found.cores:
        # A limit came first; the chip that the choice was made with is one as well.
        found = search.found(Status.FEASIBLE, {"cores": question.cores[0], "bits": bound}, unique=False)
    is_least = found.status is Status.OPTIMAL and found.capacity_bits == bound
    return replace(
        found,
        status=Status.OPTIMAL if is_least else Status.FEASIBLE,
        bits_bound=bound,
        carried=tuple(search.kept),
        is_unique=found.is_unique and status is Status.OPTIMAL,
        stopped_by=found.stopped_by or budget.stopped_by,
        wall_s=found.wall_s + budget.elapsed_s,
        variables=budget.variables,
    )


class _Search:
    """One model and what its stages have found so far."""

    def __init__(self, question: Question, made: SynthesisModel, budget: Budget) -> None:
        self.question, self.made, self.budget = question, made, budget
        self.values: list[int] = []
        self.kept: list[int] = []

    def run(self, minimise: Minimise) -> ChipFound:
        """All stages, until one is not proven."""
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
        return self.found(Status.OPTIMAL, bounds, unique=self._unique())

    def _told(self, status: cp_model.CpSolverStatus) -> Status:
        if self.values:
            return Status.FEASIBLE
        return Status.INFEASIBLE if status == cp_model.INFEASIBLE else Status.UNDECIDED

    def _stage(self, weights: list[int]) -> tuple[cp_model.CpSolverStatus, int]:
        """Minimise one sum, hold its value for the stages to come; status and bound."""
        cost = self.made.weighted(weights)
        self.made.model.minimize(cost)
        solver, status = self.budget.run(self.made.model, whole_relaxation=True)
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
        names = ["+".join(network.name for network in group) for group in self.question.groups]
        weights = [-_weight(name) for name in names]
        cost = cp_model.LinearExpr.weighted_sum(self.made.carried, weights)
        proven = self._last(cost)
        return (Status.OPTIMAL if proven else Status.FEASIBLE), bound * unit

    def _unique(self) -> bool:
        """Of all chips as good, the least sum of weights that come from sizes; whether proven."""
        keys = [f"{t.kernel_words}/{t.neuron_words}/{t.bias_words}" for t in self.made.types]
        return self._last(self.made.weighted([_weight(key) for key in keys]))

    def _last(self, cost: cp_model.LinearExpr) -> bool:
        """Break ties; whether proven."""
        try:
            self.made.model.minimize(cost)
            solver, status = self.budget.run(self.made.model, whole_relaxation=True)
            if status in (cp_model.OPTIMAL, cp_model.FEASIBLE):
                self._keep(solver)
        except KeyboardInterrupt:
            # Ctrl-C inside the solver ends a stage; between two stages it arrives here. What is found stays.
            self.budget.stopped_by = INTERRUPTION
            return False
        return status == cp_model.OPTIMAL

    def found(self, status: Status, bounds: dict[str, int], *, unique: bool) -> ChipFound:
        """The chip of the last stage that found one."""
        pairs = zip(self.made.types, self.values, strict=bool(self.values))
        cores = sorted((entry for entry, n in pairs for _ in range(n)), reverse=True)
        carried = tuple(range(len(self.question.groups))) if cores else ()
        return ChipFound(
            status,
            tuple(cores),
            sum(entry.capacity_bits for entry in cores),
            bounds["bits"],
            bounds["cores"],
            carried,
            unique,
            self.budget.stopped_by,
            self.budget.elapsed_s,
            self.budget.variables,
        )


def _weight(key: str) -> int:
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8]) >> (64 - _TIE_BITS)
