"""The stages of a divided placement, each to a proven optimum: cores, capacity, and what makes it unique."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

from ortools.sat.python import cp_model

from mapper.normal_form import NormalNetwork
from mapper.problem import Problem
from mapper.result import Status
from mapper.rules import Rule
from mapper.solution import Solution
from mapper.solver.budget import Budget
from mapper.solver.divided.counts import Counts, counts_of
from mapper.solver.divided.decode import decode_counts
from mapper.solver.divided.merit import cores_with, merits_of
from mapper.solver.divided.model import build_model
from mapper.solver.divided.tables import Tables
from mapper.solver.divided.variables import DividedModel
from mapper.solver.stages import Outcome, Stage, best_merit, kept_and_busy, run_stages, tie_weight

__all__ = ["divisible", "is_divided_placeable", "solve_divided"]

# Rules that the chip as a whole can break and that a relay can mend.
_MENDED = frozenset({Rule.DVS_FAN_OUT})


def divisible(problem: Problem) -> bool:
    """Whether nothing that pieces, copies and relays cannot change stands in the way."""
    return all(fault.rule in _MENDED for fault in problem.faults)


def is_divided_placeable(problem: Problem, budget: Budget) -> bool | None:
    """Whether a placement with the allowed moves exists; None if a limit came first."""
    if not problem.options.divides or not divisible(problem):
        return False
    tables = Tables(problem)
    made = build_model(tables, tables.piece_table())
    if made is None:
        return False
    _, status = budget.run(made.model)
    return status in (cp_model.OPTIMAL, cp_model.FEASIBLE) if status != cp_model.UNKNOWN else None


def solve_divided(
    problem: Problem, budget: Budget
) -> tuple[Status, Solution | None, tuple[NormalNetwork, ...]]:
    """The best placement with pieces, copies and relays; INFEASIBLE is proven within these moves.

    Returns
    -------
    tuple
        Status, solution, and the networks in the forms that were chosen.
    """
    tables = Tables(problem)
    made = build_model(tables, tables.piece_table()) if divisible(problem) else None
    if made is None:
        return Status.INFEASIBLE, None, problem.networks
    cores, bits = made.cores_and_bits(1, bits=False), made.cores_and_bits(0)
    if problem.options.objective == "capacity" and not problem.kept and not problem.busy:
        radix = 1 + sum(core.capacity_bits for core in problem.chip.cores)
        both = Stage("cores", made.cores_and_bits(radix), False, cores, ("capacity_bits", bits), radix)
        outcome = _run(made, budget, [both, *_unique(made)])
    else:
        outcome = _run(made, budget, [Stage("cores", cores)])
        if outcome.status(budget) is Status.OPTIMAL:
            tables = _with_best_merit(tables, budget, outcome)
            outcome = _further(tables, budget, outcome)
    if outcome.values is None:
        return outcome.status(budget), None, problem.networks
    solution = decode_counts(outcome.values, tuple(outcome.objectives))
    return outcome.status(budget), solution, problem.networks_as(outcome.values.forms)


def _run(
    made: DividedModel, budget: Budget, stages: list[Stage], outcome: Outcome[Counts] | None = None
) -> Outcome[Counts]:
    return run_stages(made.model, stages, budget, lambda solver: counts_of(made, solver), outcome)


def _further(tables: Tables, budget: Budget, outcome: Outcome[Counts]) -> Outcome[Counts]:
    """With the fewest cores and the best merit: what is to be kept, then least capacity."""
    made = _bounded(tables, outcome)
    if made is None:
        raise RuntimeError("a placement was there and is lost")
    here: dict[tuple[int, int], list[cp_model.IntVar]] = {}
    for piece, variable in made.pieces.items():
        here.setdefault((piece.layer, piece.core_class), []).append(variable)
    sums = {key: cp_model.LinearExpr.sum(variables) for key, variables in here.items()}
    stages = [*kept_and_busy(tables.problem, sums), Stage("capacity_bits", made.cores_and_bits(0))]
    return _run(made, budget, [*stages, *_unique(made)], outcome)


def _bounded(tables: Tables, outcome: Outcome[Counts]) -> DividedModel | None:
    made = build_model(tables, tables.piece_table())
    if made is not None:
        made.model.add(made.cores_and_bits(1, bits=False) <= int(outcome.objectives[0].value))
    return made


def _with_best_merit(tables: Tables, budget: Budget, outcome: Outcome[Counts]) -> Tables:
    """Tables under the best merit with which so few cores still suffice."""
    problem = tables.problem
    if problem.options.objective == "capacity":
        return tables
    best_tables = tables

    def fits(merit: Fraction) -> bool | None:
        nonlocal best_tables
        tried = Tables(problem, cores_with(problem, merit))
        made = _bounded(tried, outcome)
        if made is None:
            return False
        solver, status = budget.run(made.model)
        if status in (cp_model.OPTIMAL, cp_model.FEASIBLE):
            best_tables, outcome.values = tried, counts_of(made, solver)
            return True
        return None if status == cp_model.UNKNOWN else False

    outcome.objectives.append(best_merit(problem, merits_of(tables, tables.piece_table()), fits))
    return best_tables


def _unique(made: DividedModel) -> Iterator[Stage]:
    """Of all placements that are as good, one that depends on names alone."""
    problem, signals = made.tables.problem, made.tables.signals
    keys: list[tuple[str, cp_model.IntVar]] = []

    def cores(k: int) -> str:
        return str(problem.classes[k].core_ids[0])

    def layer(n: int) -> str:
        return problem.key(problem.demands[n].network, problem.demands[n].layer)

    def signal(n: int) -> str:
        number = signals[n].network
        return signals[n].name if number is None else problem.key(number, signals[n].name)

    for (n, form, copy, k), variable in made.pieces.items():
        keys.append((f"piece/{layer(n)}/{copy}/{cores(k)}" + f"/{form}" * bool(form), variable))
    for (n, provider, k), variable in made.relays.items():
        keys.append((f"{provider.kind}/{signal(n)}/{provider.level}/{cores(k)}", variable))
    for (n, level, k, cap), variable in made.capped.items():
        keys.append((f"capped/{signal(n)}/{level}/{cores(k)}/{cap}", variable))
    weights = [tie_weight(key) for key, _ in keys]
    yield Stage("", cp_model.LinearExpr.weighted_sum([variable for _, variable in keys], weights))
