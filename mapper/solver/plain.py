"""One whole layer per core: the stages one after the other, each proven, then the counts decoded."""

from __future__ import annotations

from collections.abc import Sequence

from ortools.sat.python import cp_model

from mapper.problem import Problem
from mapper.result import Status
from mapper.solution import Objective, Solution
from mapper.solver.budget import INTERRUPTION, Budget
from mapper.solver.constraints import post_all
from mapper.solver.decode import decode
from mapper.solver.objective import (
    canonical_stages,
    capacity_bits_taken,
    kept_and_busy,
    merit_objective,
    merit_table,
)
from mapper.solver.variables import Variables, group_layers, make_variables

__all__ = ["solve_plain"]

Candidates = Sequence[tuple[int, ...]]
Counts = dict[tuple[int, int], int]


def solve_plain(problem: Problem, budget: Budget) -> tuple[Status, Solution | None]:
    """The best placement with one whole layer per core.

    INFEASIBLE is proven; UNDECIDED where a limit came before any placement.
    """
    candidates: Candidates = problem.candidates
    if problem.faults or problem.monitored_pooled or not all(candidates):
        return Status.INFEASIBLE, None
    merit_stage: Objective | None = None
    if problem.options.objective != "capacity":
        found = _best_merit(problem, budget)
        if found is None:
            return _none(budget), None
        candidates, merit_stage = found
    model = cp_model.CpModel()
    variables = make_variables(model, problem, group_layers(problem, candidates))
    post_all(model, problem, variables)
    counts, objectives = _stages(problem, budget, model, variables)
    if counts is None:
        return _none(budget), None
    cores = Objective("cores", len(problem.demands), len(problem.demands))
    stages = (cores, *([merit_stage] if merit_stage else []), *objectives)
    solution = decode(problem, variables.groups, counts, stages)
    proven = all(stage.proven for stage in stages) and budget.stopped_by is None
    return (Status.OPTIMAL if proven else Status.FEASIBLE), solution


def _none(budget: Budget) -> Status:
    return Status.INFEASIBLE if budget.stopped_by is None else Status.UNDECIDED


def _stages(
    problem: Problem, budget: Budget, model: cp_model.CpModel, variables: Variables
) -> tuple[Counts | None, list[Objective]]:
    """What must be kept, least capacity, then the canonical counts; what is known when a limit stops it."""
    here = {
        (g.layers[0], k): variables.count[n, k] for n, g in enumerate(variables.groups) for k in g.classes
    }
    wanted = [(name, stage, True) for name, stage in kept_and_busy(problem, here)]
    wanted.append(("capacity_bits", capacity_bits_taken(problem, variables), False))
    counts: Counts | None = None
    objectives: list[Objective] = []
    for name, expression, upwards in wanted:
        if upwards:
            model.maximize(expression)
        else:
            model.minimize(expression)
        solver, status = budget.run(model)
        if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
            return counts, objectives
        counts = _values(solver, variables)
        value, bound = round(solver.objective_value), round(solver.best_objective_bound)
        objectives.append(Objective(name, value, value if status == cp_model.OPTIMAL else bound))
        if status != cp_model.OPTIMAL:
            return counts, objectives
        model.add(expression >= value if upwards else expression <= value)
    try:
        for stage in canonical_stages(problem, variables):
            model.maximize(stage)
            solver, status = budget.run(model)
            if status != cp_model.OPTIMAL:
                break
            counts = _values(solver, variables)
            model.add(stage >= round(solver.objective_value))
    except KeyboardInterrupt:
        # Ctrl-C inside the solver ends a stage; between two stages it arrives here. What is found stays.
        budget.stopped_by = INTERRUPTION
    return counts, objectives


def _values(solver: cp_model.CpSolver, variables: Variables) -> Counts:
    return {key: solver.value(variable) for key, variable in variables.count.items()}


def _best_merit(problem: Problem, budget: Budget) -> tuple[Candidates, Objective] | None:
    """Candidates with the largest possible least merit, by bisection over exact merits.

    A merit (headroom, or less load) is reachable if the layers can be placed on cores that each have at
    least it; every probe is one solve, and the smallest merit that fails is the proof.
    """
    table = merit_table(problem)
    shares = sorted({share for row in table for share in row.values()})
    low, high, best = 0, len(shares) - 1, None
    while low <= high:
        middle = (low + high) // 2
        candidates = tuple(tuple(k for k, share in row.items() if share >= shares[middle]) for row in table)
        fits = _placeable(problem, budget, candidates)
        if fits is None:
            break
        if fits:
            best, low = (middle, candidates), middle + 1
        else:
            high = middle - 1
    if best is None:
        return None
    return best[1], merit_objective(problem, shares[best[0]], shares[high])


def _placeable(problem: Problem, budget: Budget, candidates: Candidates) -> bool | None:
    """Whether these candidates admit a placement; None if a limit came first."""
    if not all(candidates):
        return False
    model = cp_model.CpModel()
    post_all(model, problem, make_variables(model, problem, group_layers(problem, candidates)))
    _, status = budget.run(model)
    return status in (cp_model.OPTIMAL, cp_model.FEASIBLE) if status != cp_model.UNKNOWN else None
