"""The stages of a divided placement, each to a proven optimum: cores, capacity, and what makes it unique."""

from __future__ import annotations

import hashlib

from ortools.sat.python import cp_model

from mapper.problem import Problem
from mapper.result import Status
from mapper.rules import Rule
from mapper.solution import Objective, Solution
from mapper.solver.budget import INTERRUPTION, Budget
from mapper.solver.divided.counts import Counts, counts_of
from mapper.solver.divided.decode import decode_counts
from mapper.solver.divided.merit import cores_with, merits_of
from mapper.solver.divided.model import DividedModel, build_model
from mapper.solver.divided.tables import Tables
from mapper.solver.objective import kept_and_busy, merit_objective

__all__ = ["divisible", "piece_table", "solve_divided"]

# Rules that the chip as a whole can break and that a relay can mend.
_MENDED = frozenset({Rule.DVS_FAN_OUT})
_TIE_BITS = 40
_COUNTED = ("cores", "capacity_bits")


def piece_table(
    tables: Tables, left_out: frozenset[tuple[Rule, int]] = frozenset()
) -> tuple[tuple[int, ...], ...]:
    """Per layer and class, the most features of a piece; 0 where pins keep the layer off the class.

    Parameters
    ----------
    left_out
        (rule, layer): limits that do not count.
    """
    rows = []
    for layer, demand in enumerate(tables.problem.demands):
        features = demand.core.output_shape.features
        row = []
        for k, limits in enumerate(tables.piece_limits[layer]):
            bounds = [bound for rule, bound in limits.items() if (rule, layer) not in left_out]
            row.append(min([features, *bounds]) if tables.may_use(layer, k) else 0)
        rows.append(tuple(row))
    return tuple(rows)


def divisible(problem: Problem) -> bool:
    """Whether nothing that pieces, copies and relays cannot change stands in the way."""
    return all(fault.rule in _MENDED for fault in problem.faults)


def solve_divided(problem: Problem, budget: Budget) -> tuple[Status, Solution | None]:
    """The best placement with pieces, copies and relays; INFEASIBLE is proven within these moves."""
    if not divisible(problem):
        return Status.INFEASIBLE, None
    tables = Tables(problem)
    made = build_model(tables, piece_table(tables))
    if made is None:
        return Status.INFEASIBLE, None
    per_core = 1 + sum(core.capacity_bits for core in problem.chip.cores)
    plainly = problem.options.objective == "capacity" and not problem.kept and not problem.busy
    cost = made.cores_and_bits(per_core) if plainly else made.cores_and_bits(1, bits=False)
    made.model.minimize(cost)
    solver, status = budget.run(made.model, whole_relaxation=True)
    if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return (Status.INFEASIBLE if budget.stopped_by is None else Status.UNDECIDED), None
    counts, best = counts_of(made, solver), round(solver.objective_value)
    bound = best if status == cp_model.OPTIMAL else max(0, int(solver.best_objective_bound))
    objectives = list(_objectives(best, bound, per_core) if plainly else [Objective("cores", best, bound)])
    try:
        if status == cp_model.OPTIMAL and not plainly:
            tables, made, counts = _further(problem, budget, counts, best, objectives)
        if all(stage.proven for stage in objectives):
            # Two bounds instead of one on their weighted sum: measured, a third of the time.
            values = {stage.name: int(stage.value) for stage in objectives if stage.name in _COUNTED}
            made.model.add(made.cores_and_bits(1, bits=False) <= values["cores"])
            made.model.add(made.cores_and_bits(0) <= values["capacity_bits"])
            counts = _unique(made, budget, counts)
    except KeyboardInterrupt:
        # Ctrl-C inside the solver ends a stage; between two stages it arrives here. What is found stays.
        budget.stopped_by = INTERRUPTION
    proven = all(stage.proven for stage in objectives) and budget.stopped_by is None
    solution = decode_counts(tables, counts, tuple(objectives))
    return (Status.OPTIMAL if proven else Status.FEASIBLE), solution


def _further(
    problem: Problem, budget: Budget, counts: Counts, cores: int, objectives: list[Objective]
) -> tuple[Tables, DividedModel, Counts]:
    """With the fewest cores: the merit asked for, what is to be kept, then least capacity."""
    tables = Tables(problem)
    if problem.options.objective != "capacity":
        tables = _best_merit(problem, budget, cores, objectives)
    made = _bounded(tables, cores)
    if made is None:
        raise RuntimeError("a placement was found and is lost")
    here: dict[tuple[int, int], cp_model.LinearExpr] = {}
    for layer, k in {(layer, k) for layer, _, k in made.pieces}:
        parts = [variable for (n, _, c), variable in made.pieces.items() if (n, c) == (layer, k)]
        here[layer, k] = cp_model.LinearExpr.sum(parts)
    stages = [(name, stage, True) for name, stage in kept_and_busy(problem, here)]
    stages.append(("capacity_bits", made.cores_and_bits(0), False))
    for name, expression, upwards in stages:
        if upwards:
            made.model.maximize(expression)
        else:
            made.model.minimize(expression)
        solver, status = budget.run(made.model, whole_relaxation=True)
        if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
            objectives.append(Objective(name, "unknown", "a limit came first"))
            break
        counts = counts_of(made, solver)
        value, bound = round(solver.objective_value), round(solver.best_objective_bound)
        objectives.append(Objective(name, value, value if status == cp_model.OPTIMAL else bound))
        if status != cp_model.OPTIMAL:
            break
        made.model.add(expression >= value if upwards else expression <= value)
    return tables, made, counts


def _bounded(tables: Tables, cores: int) -> DividedModel | None:
    made = build_model(tables, piece_table(tables))
    if made is not None:
        made.model.add(made.cores_and_bits(1, bits=False) <= cores)
    return made


def _best_merit(problem: Problem, budget: Budget, cores: int, objectives: list[Objective]) -> Tables:
    """Tables under the best merit that still fits so many cores, by bisection over all that can occur."""
    merits = merits_of(problem)
    low, high, best = 0, len(merits) - 1, None
    while low <= high:
        middle = (low + high) // 2
        tables = Tables(problem, cores_with(problem, merits[middle]))
        made = _bounded(tables, cores)
        status = cp_model.INFEASIBLE if made is None else budget.run(made.model, whole_relaxation=True)[1]
        if status == cp_model.UNKNOWN:
            break
        if status == cp_model.INFEASIBLE:
            high = middle - 1
        else:
            best, low = (middle, tables), middle + 1
    if best is None:
        objectives.append(Objective(problem.options.objective, "unknown", "a limit came first"))
        return Tables(problem)
    objectives.append(merit_objective(problem, merits[best[0]], merits[high]))
    return best[1]


def _objectives(best: int, bound: int, per_core: int) -> tuple[Objective, ...]:
    """Cores and capacity out of the one number; the capacity's bound holds for that many cores alone."""
    cores, bits = divmod(best, per_core)
    least, rest = divmod(bound, per_core)
    told = bits if best == bound else (rest if least == cores else 0)
    return Objective("cores", cores, least), Objective("capacity_bits", bits, told)


def _unique(made: DividedModel, budget: Budget, counts: Counts) -> Counts:
    """Of all placements that are as good, one that depends on names alone."""
    problem, signals = made.tables.problem, made.tables.signals
    keys: list[tuple[str, cp_model.IntVar]] = []

    def cores(k: int) -> str:
        return str(problem.classes[k].core_ids[0])

    def layer(n: int) -> str:
        return problem.key(problem.demands[n].network, problem.demands[n].layer)

    def signal(n: int) -> str:
        return problem.key(signals[n].network, signals[n].name)

    for (n, copy, k), variable in made.pieces.items():
        keys.append((f"piece/{layer(n)}/{copy}/{cores(k)}", variable))
    for (n, level, k), variable in made.relays.items():
        keys.append((f"relay/{signal(n)}/{level}/{cores(k)}", variable))
    for (n, level, k, other), variable in made.pairs.items():
        keys.append((f"aligned/{signal(n)}/{level}/{cores(k)}/{cores(other)}", variable))
    for n, flows in made.sensor_flows().items():
        # Which signals share the sensor stage's destinations; all else about destinations follows.
        keys += [(f"sensor/{signal(n)}/{at}", variable) for at, variable in enumerate(flows)]
    weights = [
        int.from_bytes(hashlib.sha256(key.encode()).digest()[:8]) >> (64 - _TIE_BITS) for key, _ in keys
    ]
    made.model.minimize(cp_model.LinearExpr.weighted_sum([variable for _, variable in keys], weights))
    solver, status = budget.run(made.model, whole_relaxation=True)
    return counts_of(made, solver) if status in (cp_model.OPTIMAL, cp_model.FEASIBLE) else counts
