"""The stages of a divided placement, each to a proven optimum: cores, capacity, and what makes it unique."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from typing import Literal

from mapper.errors import TimeLimitError
from mapper.normal_form import NormalNetwork
from mapper.problem import Problem
from mapper.reasons import Status
from mapper.rules import Rule
from mapper.solution import Solution
from mapper.solver.budget import Budget
from mapper.solver.divided.counts import Counts, counts_of
from mapper.solver.divided.decode import decode_counts
from mapper.solver.divided.merit import cores_with, merits_of
from mapper.solver.divided.model import build_model
from mapper.solver.divided.need import spare_cores
from mapper.solver.divided.prices import Prices, load_of
from mapper.solver.divided.tables import Tables
from mapper.solver.divided.variables import FURTHER, DividedModel, Piece
from mapper.solver.or_tools import cp_model
from mapper.solver.stages import (
    OWN_CORES,
    Outcome,
    Stage,
    best_merit,
    kept_and_busy,
    least_merit,
    merit_objective,
    run_stages,
    seeks_merit,
    tie_weight,
)

__all__ = ["divisible", "is_divided_placeable", "solve_divided"]

# Rules that the chip as a whole can break and that a relay can mend.
_MENDED = frozenset({Rule.DVS_FAN_OUT})
# Cores and capacity in one number are faster on chips of few classes (2.6 times on nine cores), and up to
# four times slower where all of 64 cores differ: both measured.
_CLASSES_AT_ONCE = 16


def divisible(problem: Problem) -> bool:
    """Whether nothing that pieces, copies and relays cannot change stands in the way."""
    return all(fault.rule in _MENDED for fault in problem.faults)


def is_divided_placeable(problem: Problem, budget: Budget, prices: Prices | None = None) -> bool | None:
    """Whether a placement with the allowed moves exists; None if a limit came first.

    Parameters
    ----------
    prices
        What excluded problems like this one, and learns from it.
    """
    if not (problem.options.divides or problem.forms_compete) or not divisible(problem):
        return False
    tables = Tables(problem, budget=budget)
    try:
        table = tables.piece_table()
        if prices is not None and any(
            prices.exclude(load_of(tables, table, of_cores=n)) for n in (True, False)
        ):
            return False
        divided = build_model(tables, table)
    except TimeLimitError:
        return None
    if divided is None:
        return False
    # Measured: what all cores take at least proves in seconds what else takes minutes.
    divided.model.minimize(divided.cores_and_bits(1, bits=False))
    _, status = budget.run(divided.model, is_first=True)
    if status == cp_model.INFEASIBLE and prices is not None:
        prices.learn(load_of(tables, table))
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
    tables, outcome = Tables(problem, budget=budget), Outcome[Counts]()
    outcome.is_infeasible = not divisible(problem)
    with suppress(TimeLimitError):
        if not outcome.is_infeasible:
            _optimize(tables, budget, outcome)
    if outcome.values is None:
        return outcome.status(budget), None, problem.networks
    forms = outcome.values.forms
    solution = outcome.placed(problem, decode_counts(outcome.values, ()), forms)
    absent = problem.optional.difference(piece.layer for piece in outcome.values.pieces)
    return outcome.status(budget), solution, problem.networks_as(forms, absent)


def _optimize(tables: Tables, budget: Budget, outcome: Outcome[Counts]) -> None:
    """Run all stages; what they have come to stands in the outcome whenever a limit ends them."""
    problem, divided = tables.problem, build_model(tables, tables.piece_table())
    if divided is None:
        outcome.is_infeasible = True
        return
    cores, bits = divided.cores_and_bits(1, bits=False), divided.cores_and_bits(0)
    alike = len(problem.classes) <= _CLASSES_AT_ONCE
    if problem.options.objective == "capacity" and not problem.kept and not problem.busy and alike:
        radix = 1 + sum(core.capacity_bits for core in problem.chip.cores)
        both = Stage("cores", divided.cores_and_bits(radix), False, cores, ("capacity_bits", bits), radix)
        _run(divided, budget, [both, *_unique(divided)], outcome)
    else:
        _run(divided, budget, [Stage("cores", cores)], outcome)
        if outcome.status(budget) is Status.OPTIMAL:
            _further(_with_best_merit(tables, budget, outcome), budget, outcome)


def _run(divided: DividedModel, budget: Budget, stages: list[Stage], outcome: Outcome[Counts]) -> None:
    run_stages(divided.model, stages, budget, lambda solver: counts_of(divided, solver), outcome)


def _further(tables: Tables, budget: Budget, outcome: Outcome[Counts]) -> None:
    """With the fewest cores and the best merit: what is to be kept, then least capacity."""
    divided = _bounded(tables, outcome)
    if divided is None:
        raise RuntimeError("a placement was there and is lost")
    here: dict[tuple[int, int], list[cp_model.IntVar]] = {}
    for piece, variable in divided.pieces.items():
        here.setdefault((piece.layer, piece.core_class), []).append(variable)
    sums = {key: cp_model.LinearExpr.sum(variables) for key, variables in here.items()}
    for key in {key for key in tables.problem.kept if key in here and key[0] in tables.problem.members}:
        sums[key] = _whole_at(divided, *key)
    stages = [
        *_on_own_cores(divided),
        *kept_and_busy(tables.problem, sums),
        Stage("capacity_bits", divided.cores_and_bits(0)),
        *_unique(divided),
    ]
    _run(divided, budget, stages, outcome)


def _whole_at(divided: DividedModel, layer: int, k: int) -> cp_model.LinearExpr:
    """How many copies of a layer stand whole in a class."""
    model, whole = divided.model, list[cp_model.IntVar]()
    for copy in sorted({piece.copy for piece in divided.pieces_of(layer)}):
        pieces = divided.pieces_of(layer, copy=copy)
        home = cp_model.LinearExpr.sum([divided.pieces[p] for p in pieces if p.core_class == k])
        is_whole = model.new_bool_var("")
        model.add(home >= is_whole)
        if copy != FURTHER:
            everywhere = cp_model.LinearExpr.sum([divided.pieces[p] for p in pieces])
            model.add(everywhere == 1).only_enforce_if(is_whole)
        whole.append(is_whole)
    return cp_model.LinearExpr.sum(whole)


def _bounded(tables: Tables, outcome: Outcome[Counts]) -> DividedModel | None:
    """The model with no more cores than the fewest: what it can spare is little."""
    cores, table = int(outcome.objectives[0].value), tables.piece_table()
    chip = sum(len(entry.core_ids) for entry in tables.problem.classes)
    divided = build_model(tables, table, spare=spare_cores(tables, table) - chip + cores)
    if divided is not None:
        divided.model.add(divided.cores_and_bits(1, bits=False) <= cores)
    return divided


def _with_best_merit(tables: Tables, budget: Budget, outcome: Outcome[Counts]) -> Tables:
    """Tables under the best merit with which so few cores still suffice."""
    problem = tables.problem
    if not seeks_merit(problem) or outcome.values is None:
        return tables

    def reached(counts: Counts) -> Fraction:
        """The least merit of a placement."""
        return least_merit(problem, decode_counts(counts, ()), counts.forms)

    def reach(merit: Fraction) -> Fraction | Literal[False] | None:
        """As `best_merit` wants it, with no more than the fewest cores."""
        try:
            divided = _bounded(Tables(problem, cores_with(problem, merit), budget=budget), outcome)
        except TimeLimitError:
            return None
        if divided is None:
            return False
        divided.model.minimize(divided.cores_and_bits(1, bits=False))
        solver, status = budget.run(divided.model)
        if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
            return None if status == cp_model.UNKNOWN else False
        outcome.values = counts_of(divided, solver)
        return reached(outcome.values)

    bound = best_merit(merits_of(tables, tables.piece_table()), reached(outcome.values), reach)
    outcome.objectives.append(merit_objective(problem, bound, bound))
    # Later stages must not give away what was reached.
    return Tables(problem, cores_with(problem, reached(outcome.values)), budget=budget)


def _on_own_cores(divided: DividedModel) -> Iterator[Stage]:
    """Most layers of which a copy stands whole on the layer's own core, where that is the objective."""
    problem, model = divided.tables.problem, divided.model
    if problem.options.objective != "index":
        return
    copies: dict[tuple[int, int], list[Piece]] = {}
    for piece in divided.pieces:
        if piece.layer in problem.own_classes:
            copies.setdefault((piece.layer, piece.copy), []).append(piece)
    own: dict[int, list[cp_model.IntVar]] = {}
    for (layer, copy), pieces in copies.items():
        home = [divided.pieces[p] for p in pieces if p.core_class == problem.own_classes[layer]]
        if home:
            is_own = model.new_bool_var("")
            model.add(cp_model.LinearExpr.sum(home) >= is_own)
            # One piece alone covers the layer; copies beyond the second are whole.
            everywhere = cp_model.LinearExpr.sum([divided.pieces[p] for p in pieces])
            if copy != FURTHER:
                model.add(everywhere == 1).only_enforce_if(is_own)
            own.setdefault(layer, []).append(is_own)
    for variables in own.values():
        model.add_at_most_one(variables)
    every = [variable for variables in own.values() for variable in variables]
    yield Stage(OWN_CORES, cp_model.LinearExpr.sum(every), upwards=True)


def _unique(divided: DividedModel) -> Iterator[Stage]:
    """Of all placements that are as good, one that depends on names alone."""
    problem, signals = divided.tables.problem, divided.tables.signals
    keys: list[tuple[str, cp_model.IntVar]] = []

    def cores(k: int) -> str:
        return str(problem.classes[k].core_ids[0])

    def layer(n: int) -> str:
        return problem.key(problem.demands[n].network, problem.demands[n].layer)

    def signal(n: int) -> str:
        number = signals[n].network
        return signals[n].name if number is None else problem.key(number, signals[n].name)

    for (n, form, copy, k), variable in divided.pieces.items():
        keys.append((f"piece/{layer(n)}/{copy}/{cores(k)}" + f"/{form}" * bool(form), variable))
    for (n, provider, k), variable in divided.relays.items():
        keys.append((f"{provider.kind}/{signal(n)}/{provider.level}/{cores(k)}", variable))
    for (n, level, piece, cap), variable in divided.capped.items():
        where = f"{cores(piece.core_class)}/{cap}" + f"/{piece.form}" * bool(piece.form)
        keys.append((f"capped/{signal(n)}/{level}/{where}", variable))
    weights = [tie_weight(key) for key, _ in keys]
    yield Stage("", cp_model.LinearExpr.weighted_sum([variable for _, variable in keys], weights))
