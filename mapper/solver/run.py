"""A placement with one whole layer per core where there is one, else with pieces, copies and relays."""

from __future__ import annotations

from mapper.problem import Problem
from mapper.result import FeasibilityReport, Result, Status
from mapper.solver.budget import Budget
from mapper.solver.divided.explain import divided_conflict, divided_unmet
from mapper.solver.divided.run import divisible, solve_divided
from mapper.solver.explain import infeasible_report, undecided_report
from mapper.solver.plain import solve_plain

__all__ = ["better", "solve"]


def solve(problem: Problem) -> Result:
    """The best placement of a problem, proven, or the reason why there is none.

    A plain placement has as many cores as layers, the fewest there can be: it is taken where it exists.
    The caller checks the solution (`mapper.verify`) before it shows it to anyone.
    """
    budget = Budget(problem.options)
    status, solution = solve_plain(problem, budget)
    if status is Status.INFEASIBLE and problem.options.divides:
        status, solution = solve_divided(problem, budget)
    if solution is not None:
        return _result(problem, status, budget, solution=solution)
    if status is Status.INFEASIBLE:
        return _result(problem, status, budget, report=_report(problem))
    report = undecided_report(problem, budget.stopped_by or "a limit")
    return _result(problem, Status.UNDECIDED, budget, report=report)


def better(first: Result, second: Result) -> Result:
    """Of two forms of the same networks: fewest cores, then least capacity; infeasible only if both are."""
    if second.status is Status.INFEASIBLE:
        return first
    if first.solution is None or second.solution is None:
        return first if first.solution is not None else second

    def cost(result: Result) -> tuple[int, int]:
        cores = [place.core for place in result.require().placements]
        return len(cores), sum(result.chip.cores[core].capacity_bits for core in cores)

    return min(first, second, key=cost)


def _report(problem: Problem) -> FeasibilityReport:
    """Why whole layers do not fit, and why nothing that may be done to them helps."""
    report = infeasible_report(problem)
    if not problem.options.divides or not divisible(problem):
        return report
    entries = (*report.unmet, *divided_unmet(problem))
    return report.model_copy(update={"unmet": entries, "divided": divided_conflict(problem)})


def _result(problem: Problem, status: Status, budget: Budget, **parts: object) -> Result:
    fields = {"solution": None, "report": None, **parts}
    return Result(
        status=status,
        networks=problem.networks,
        chip=problem.chip,
        options=problem.options,
        statistics=budget.statistics(),
        **fields,  # type: ignore[arg-type]  # solution or report, by the callers above
    )
