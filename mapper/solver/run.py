"""Solve the stages one after the other, each to a proven optimum, and decode the counts."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from ortools.sat.python import cp_model

from mapper.options import SolveOptions
from mapper.problem import Problem
from mapper.result import Result, Statistics, Status
from mapper.solution import Objective
from mapper.solver.constraints import post_all
from mapper.solver.decode import decode
from mapper.solver.explain import infeasible_report, undecided_report
from mapper.solver.objective import canonical_stages, capacity_bits_taken, headroom_table
from mapper.solver.variables import Variables, group_layers, make_variables

__all__ = ["solve"]

_INTERRUPTION = "an interruption (Ctrl-C)"

Candidates = Sequence[tuple[int, ...]]
Counts = dict[tuple[int, int], int]


@dataclass
class _Budget:
    """What is left of the limits, and what was spent; one object through all stages of a solve."""

    options: SolveOptions
    start_s: float = field(default_factory=time.perf_counter)
    deterministic_time: float = 0.0
    solves: int = 0
    variables: int = 0
    constraints: int = 0
    stopped_by: str | None = None

    def run(self, model: cp_model.CpModel) -> tuple[cp_model.CpSolver, cp_model.CpSolverStatus]:
        """Solve once within what is left; remember which limit stopped it."""
        solver = cp_model.CpSolver()
        parameters = solver.parameters
        # Measured: the linear relaxation proves these models, and presolve hides rows from it.
        parameters.num_workers = self.options.workers
        parameters.linearization_level = 2
        parameters.cp_model_presolve = False
        parameters.random_seed = self.options.seed
        limit, work = self.options.time_limit_s, self.options.work_limit
        if limit is not None:
            parameters.max_time_in_seconds = max(limit - self.elapsed_s, 0.0)
        if work is not None:
            parameters.max_deterministic_time = max(work - self.deterministic_time, 0.0)
        status = solver.solve(model)
        proto = model.proto
        self.solves += 1
        self.variables, self.constraints = len(proto.variables), len(proto.constraints)
        self.deterministic_time += solver.response_proto.deterministic_time
        if status == cp_model.MODEL_INVALID:
            raise RuntimeError(f"the placement model is invalid: {model.validate()}")
        if status not in (cp_model.OPTIMAL, cp_model.INFEASIBLE):
            self.stopped_by = self._reason()
        return solver, status

    @property
    def elapsed_s(self) -> float:
        return time.perf_counter() - self.start_s

    def _reason(self) -> str:
        limit, work = self.options.time_limit_s, self.options.work_limit
        if work is not None and self.deterministic_time >= work:
            return f"the work limit of {work:g}"
        if limit is not None and self.elapsed_s >= limit:
            return f"the time limit of {limit:g} s"
        return _INTERRUPTION

    def statistics(self) -> Statistics:
        interrupted = self.stopped_by == _INTERRUPTION
        return Statistics(
            self.elapsed_s,
            self.deterministic_time,
            self.variables,
            self.constraints,
            self.solves,
            interrupted,
        )


def solve(problem: Problem) -> Result:
    """The best placement of a problem, proven, or the reason why there is none.

    The caller checks the solution (`mapper.verify`) before it shows it to anyone.
    """
    budget = _Budget(problem.options)
    candidates: Candidates = problem.candidates
    if problem.faults or not all(candidates):
        return _infeasible(problem, budget)
    headroom_stage: Objective | None = None
    if problem.options.objective == "headroom":
        found = _best_headroom(problem, budget)
        if found is None:
            return _no_solution(problem, budget)
        candidates, headroom_stage = found
    model = cp_model.CpModel()
    variables = make_variables(model, problem, group_layers(problem, candidates))
    post_all(model, problem, variables)
    counts, objectives = _stages(problem, budget, model, variables)
    if counts is None:
        return _no_solution(problem, budget)
    cores = Objective("cores", len(problem.demands), len(problem.demands))
    stages = (cores, *([headroom_stage] if headroom_stage else []), *objectives)
    solution = decode(problem, variables.groups, counts, stages)
    proven = all(stage.proven for stage in stages) and budget.stopped_by is None
    status = Status.OPTIMAL if proven else Status.FEASIBLE
    return _result(problem, status, budget, solution=solution)


def _stages(
    problem: Problem, budget: _Budget, model: cp_model.CpModel, variables: Variables
) -> tuple[Counts | None, list[Objective]]:
    """Least capacity, then the canonical counts; what is known when a limit stops it."""
    expression = capacity_bits_taken(problem, variables)
    model.minimize(expression)
    solver, status = budget.run(model)
    if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return None, []
    counts = _values(solver, variables)
    value, bound = round(solver.objective_value), round(solver.best_objective_bound)
    objectives = [Objective("capacity_bits", value, value if status == cp_model.OPTIMAL else bound)]
    if status != cp_model.OPTIMAL:
        return counts, objectives
    model.add(expression <= value)
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
        budget.stopped_by = _INTERRUPTION
    return counts, objectives


def _values(solver: cp_model.CpSolver, variables: Variables) -> Counts:
    return {key: solver.value(variable) for key, variable in variables.count.items()}


def _best_headroom(problem: Problem, budget: _Budget) -> tuple[Candidates, Objective] | None:
    """Candidates that leave the largest possible least free share, by bisection over exact shares.

    A share is reachable if the layers can be placed on cores that each leave at least that much; every
    probe is one solve, and the smallest share that fails is the proof.
    """
    table = headroom_table(problem)
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
    bound = shares[high] if shares else Fraction(1)
    return best[1], Objective("headroom", str(shares[best[0]]), str(bound))


def _placeable(problem: Problem, budget: _Budget, candidates: Candidates) -> bool | None:
    """Whether these candidates admit a placement; None if a limit came first."""
    if not all(candidates):
        return False
    model = cp_model.CpModel()
    post_all(model, problem, make_variables(model, problem, group_layers(problem, candidates)))
    _, status = budget.run(model)
    return status in (cp_model.OPTIMAL, cp_model.FEASIBLE) if status != cp_model.UNKNOWN else None


def _no_solution(problem: Problem, budget: _Budget) -> Result:
    if budget.stopped_by is None:
        return _infeasible(problem, budget)
    report = undecided_report(problem, budget.stopped_by)
    return _result(problem, Status.UNDECIDED, budget, report=report)


def _infeasible(problem: Problem, budget: _Budget) -> Result:
    report = infeasible_report(problem)
    return _result(problem, Status.INFEASIBLE, budget, report=report)


def _result(problem: Problem, status: Status, budget: _Budget, **parts: object) -> Result:
    fields = {"solution": None, "report": None, **parts}
    return Result(
        status=status,
        networks=problem.networks,
        chip=problem.chip,
        options=problem.options,
        statistics=budget.statistics(),
        **fields,  # type: ignore[arg-type]  # solution or report, by the callers above
    )
