"""One whole layer per core.

Layers that may use the same core classes are interchangeable for the verdict and, since a core's
capacity counts as a whole, for the objective. One integer per (group of them, class) describes every
placement up to a renaming; the model's size does not depend on the number of cores or layers. A rule that
concerns one layer on one core decides whether the integer exists at all: a layer's candidates are the
classes without a shortfall.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import prod
from typing import Literal, NamedTuple, TypeAlias

from mapper.problem import Problem
from mapper.reasons import Status
from mapper.solution import Objective, Solution
from mapper.solver.assignment import assignment
from mapper.solver.budget import Budget
from mapper.solver.cp_sat import Model
from mapper.solver.decode import decode
from mapper.solver.or_tools import cp_model
from mapper.solver.stages import (
    OWN_CORES,
    Outcome,
    Stage,
    best_merit,
    kept_and_busy,
    least_merit,
    merit_objective,
    merit_of,
    run_stages,
    seeks_merit,
)

__all__ = ["Group", "group_layers", "is_placeable", "solve_plain"]

Candidates: TypeAlias = Sequence[tuple[int, ...]]
Counts: TypeAlias = dict[tuple[int, int], int]

# A stage's weights stay far below 2**63, so that no partial sum of the solver can overflow.
_STAGE_WEIGHT_MAX = 2**40


@dataclass(frozen=True, slots=True)
class Group:
    """Layers with the same candidate classes; one whose own place matters is a group by itself.

    Attributes
    ----------
    layers
        Indexes into the problem's demands, in natural order of names.
    classes
        Indexes into the problem's core classes, ascending; empty if no core holds these layers.
    """

    layers: tuple[int, ...]
    classes: tuple[int, ...]


class _Placed(NamedTuple):
    """Some placement: the groups, and how many layers of each go to a core of a class."""

    groups: tuple[Group, ...]
    counts: Counts


@dataclass(frozen=True)
class _Model:
    """``count[g, k]``: how many layers of group g go to a core of class k."""

    problem: Problem
    groups: tuple[Group, ...]
    model: cp_model.CpModel
    count: dict[tuple[int, int], cp_model.IntVar]

    def values(self, solver: cp_model.CpSolver) -> Counts:
        return {key: solver.value(variable) for key, variable in self.count.items()}

    def capacity_bits(self) -> cp_model.LinearExpr:
        """Bits of memory on the cores that are used: what is taken from later networks."""
        weights = [self.problem.classes[k].core.capacity_bits for _, k in self.count]
        return cp_model.LinearExpr.weighted_sum(list(self.count.values()), weights)


def group_layers(problem: Problem, candidates: Candidates) -> tuple[Group, ...]:
    """Groups by first layer in natural order of names.

    Parameters
    ----------
    candidates
        Per layer, the classes it may use.
    """
    single = {layer for layer, _ in problem.kept} | set(problem.busy)
    members: dict[tuple[int, tuple[int, ...]], list[int]] = defaultdict(list)
    for layer in problem.by_name:
        members[layer if layer in single else -1, candidates[layer]].append(layer)
    return tuple(Group(tuple(layers), classes) for (_, classes), layers in members.items())


def _build(problem: Problem, groups: tuple[Group, ...]) -> _Model:
    """Every layer is placed, and a core holds one of them."""
    model = Model()
    rooms = [len(entry.core_ids) for entry in problem.classes]
    count: dict[tuple[int, int], cp_model.IntVar] = {}
    for g, group in enumerate(groups):
        for k in group.classes:
            count[g, k] = model.new_int_var(0, min(len(group.layers), rooms[k]), "")
    for g, group in enumerate(groups):
        model.add(cp_model.LinearExpr.sum([count[g, k] for k in group.classes]) == len(group.layers))
    users: dict[int, list[cp_model.IntVar]] = defaultdict(list)
    for (_, k), variable in count.items():
        users[k].append(variable)
    for k, variables in users.items():
        model.add(cp_model.LinearExpr.sum(variables) <= rooms[k])
    return _Model(problem, groups, model, count)


def _may_fit(problem: Problem) -> bool:
    return not problem.faults and not problem.wants_relays and all(problem.candidates)


def is_placeable(problem: Problem) -> bool:
    """Whether every layer gets a core of its own."""
    return _may_fit(problem) and _probe(problem, problem.candidates) is not None


def _probe(problem: Problem, candidates: Candidates) -> _Placed | None:
    """Some placement with these candidates; None if there is none."""
    groups = group_layers(problem, candidates)
    rooms = [len(entry.core_ids) for entry in problem.classes]
    counts = assignment([(len(group.layers), group.classes) for group in groups], rooms)
    return None if counts is None else _Placed(groups, counts)


def solve_plain(problem: Problem, budget: Budget) -> tuple[Status, Solution | None]:
    """The best placement with one whole layer per core.

    INFEASIBLE is proven; UNDECIDED where a limit came before any placement.
    """
    if not _may_fit(problem):
        return Status.INFEASIBLE, None
    outcome: Outcome[Counts] = Outcome()
    outcome.objectives.append(Objective("cores", len(problem.demands), len(problem.demands)))
    if seeks_merit(problem):
        plain = _with_best_merit(problem, budget, outcome)
    else:
        plain = _build(problem, group_layers(problem, problem.candidates))
    if plain is None:
        return outcome.status(budget), None
    here = {(g.layers[0], k): plain.count[n, k] for n, g in enumerate(plain.groups) for k in g.classes}
    stages = [
        *_on_own_cores(plain),
        *kept_and_busy(problem, here),
        Stage("capacity_bits", plain.capacity_bits()),
        *_canonical(plain),
    ]
    outcome = run_stages(plain.model, stages, budget, plain.values, outcome)
    if outcome.values is None:
        return outcome.status(budget), None
    solution = outcome.placed(problem, decode(problem, plain.groups, outcome.values, ()))
    return outcome.status(budget), solution


def _with_best_merit(problem: Problem, budget: Budget, outcome: Outcome[Counts]) -> _Model | None:
    """The model of the layers on cores with the largest possible least merit; None without any placement.

    A merit (headroom, or less load) is reachable if the layers can be placed on cores that each have at
    least it; every probe is one solve, and the smallest merit that fails is the proof.
    """
    table = _merits(problem)
    some = _probe(problem, problem.candidates)
    if some is None:
        outcome.is_infeasible = True
        return None

    def reached(placed: _Placed) -> Fraction:
        """The least merit of a placement."""
        return least_merit(problem, decode(problem, *placed, ()), {})

    def with_least(merit: Fraction) -> _Placed | None:
        return _probe(problem, tuple(tuple(k for k, own in row.items() if own >= merit) for row in table))

    def reach(least: Fraction) -> Fraction | Literal[False] | None:
        """As `best_merit` wants it."""
        nonlocal some
        if budget.is_spent:
            return None
        placed = with_least(least)
        if placed is None:
            return False
        some = placed
        return reached(placed)

    merits = sorted({merit for row in table for merit in row.values()})
    bound = best_merit(merits, reached(some), reach)
    outcome.objectives.append(merit_objective(problem, bound, bound))
    # Later stages must not give away what was reached: the groups are those that have as much.
    kept = with_least(reached(some)) or some
    outcome.values = kept.counts
    return _build(problem, kept.groups)


def _merits(problem: Problem) -> list[Mapping[int, Fraction]]:
    """Per layer, how good each of its candidate classes is."""
    known: dict[tuple[object, int], Fraction] = {}
    table: list[Mapping[int, Fraction]] = []
    for demand, classes in zip(problem.demands, problem.candidates, strict=True):
        for k in classes:
            if (demand.work, k) not in known:
                known[demand.work, k] = merit_of(problem, demand.work, problem.classes[k].core)
        table.append({k: known[demand.work, k] for k in classes})
    return table


def _on_own_cores(plain: _Model) -> Iterator[Stage]:
    """Most layers on their own cores, where that is the objective.

    Layers of a group are interchangeable: of those that go to a class, as many stand on their own cores as
    have them there.
    """
    problem = plain.problem
    if problem.options.objective != "index":
        return
    own: list[cp_model.IntVar] = []
    for g, group in enumerate(plain.groups):
        homes = Counter(problem.own_classes[layer] for layer in group.layers if layer in problem.own_classes)
        for k, most in homes.items():
            if (g, k) in plain.count:
                own.append(plain.model.new_int_var(0, most, ""))
                plain.model.add(own[-1] <= plain.count[g, k])
    yield Stage(OWN_CORES, cp_model.LinearExpr.sum(own), upwards=True)


def _canonical(plain: _Model) -> Iterator[Stage]:
    """Stages after which every count is determined.

    The counts, in the order (group, class), are the digits of a number in mixed radix: the largest
    such number is one single placement. A stage takes as many digits as its weights can carry.
    """
    rooms = [len(entry.core_ids) for entry in plain.problem.classes]
    digits = [
        (plain.count[g, k], min(len(group.layers), rooms[k]) + 1)
        for g, group in enumerate(plain.groups)
        if len(group.classes) > 1
        for k in group.classes[:-1]  # the last count follows from the others
    ]
    while digits:
        taken = 1
        while taken < len(digits) and prod(radix for _, radix in digits[: taken + 1]) <= _STAGE_WEIGHT_MAX:
            taken += 1
        weights = [prod(radix for _, radix in digits[n + 1 : taken]) for n in range(taken)]
        number = cp_model.LinearExpr.weighted_sum([variable for variable, _ in digits[:taken]], weights)
        yield Stage("", number, upwards=True)
        digits = digits[taken:]
