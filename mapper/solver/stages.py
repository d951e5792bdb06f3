"""A lexicographic objective: stage after stage, each proven before the next, with one way to stop."""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from types import MappingProxyType
from typing import Generic, Literal, TypeVar

from hwspec.schema import CoreSpec
from mapper.errors import TimeLimitError
from mapper.problem import Problem
from mapper.reasons import Status
from mapper.solution import LayerPart, Objective, Relay, Solution
from mapper.solver.budget import Budget
from mapper.solver.or_tools import cp_model
from mapper.solver.seats import count_own, seated
from mapper.work import CoreWork, free_shares, relay_work

__all__ = [
    "OWN_CORES",
    "Outcome",
    "Stage",
    "best_merit",
    "kept_and_busy",
    "least_merit",
    "merit_objective",
    "merit_of",
    "run_stages",
    "seeks_merit",
    "states_bandwidth",
    "tie_weight",
]

Values = TypeVar("Values")
NO_FORMS: Mapping[int, int] = MappingProxyType({})
# The stage of the objective "index".
OWN_CORES = "layers_on_own_core"
_TIE_BITS = 40


@dataclass(frozen=True, slots=True)
class Stage:
    """One sum to be made as small, or as large, as can be.

    Attributes
    ----------
    name
        Of the objective; empty for stages that only choose among equals.
    upwards
        Whether large is good.
    minor, radix
        A second objective, (name, sum), that counts after the first in one number:
        ``expression = radix * first + second``; the first sum is then `major`.
    """

    name: str
    expression: cp_model.LinearExpr
    upwards: bool = False
    major: cp_model.LinearExpr | None = None
    minor: tuple[str, cp_model.LinearExpr] | None = None
    radix: int = 1

    def objectives(self, value: int, bound: int) -> Iterator[Objective]:
        """What a value and its bound say of each objective."""
        if self.minor is None:
            if self.name:
                yield Objective(self.name, value, bound)
            return
        (first, second), (least, rest) = divmod(value, self.radix), divmod(bound, self.radix)
        yield Objective(self.name, first, least)
        # The bound of the second sum holds for the first one's value alone.
        yield Objective(self.minor[0], second, second if value == bound else (rest if least == first else 0))

    def hold(self, model: cp_model.CpModel, value: int) -> None:
        """Bind later stages to a proven value."""
        if self.major is not None and self.minor is not None:
            # Two bounds instead of one on their weighted sum: measured, a third of the time.
            first, second = divmod(value, self.radix)
            model.add(self.major <= first)
            model.add(self.minor[1] <= second)
        elif self.upwards:
            model.add(self.expression >= value)
        else:
            model.add(self.expression <= value)


@dataclass
class Outcome(Generic[Values]):
    """What stages have come to.

    Attributes
    ----------
    values
        Of the last stage that gave any; None without.
    is_infeasible
        Proven.
    """

    values: Values | None = None
    objectives: list[Objective] = field(default_factory=list)
    is_infeasible: bool = False

    def placed(self, problem: Problem, solution: Solution, forms: Mapping[int, int] = NO_FORMS) -> Solution:
        """A solution on its seats, with what the stages say of it.

        Its merit and the layers on their own cores are counted anew: a limit may leave those of a stage low.
        """
        seats, stages = seated(problem, solution), self.objectives
        if seeks_merit(problem) and len(stages) > 1:
            reached = merit_objective(problem, least_merit(problem, seats, forms), Fraction(0))
            stages[1] = replace(reached, bound=stages[1].bound)
        for n, stage in enumerate(stages):
            if stage.name == OWN_CORES and stage.value != "unknown":
                stages[n] = replace(stage, value=count_own(problem, seats))
        return replace(seats, objectives=tuple(stages))

    def status(self, budget: Budget) -> Status:
        """How far the stages got; a limit voids the proof even if only ties were left to break."""
        if self.values is None:
            return Status.INFEASIBLE if self.is_infeasible else Status.UNDECIDED
        proven = all(stage.proven for stage in self.objectives) and budget.stopped_by is None
        return Status.OPTIMAL if proven else Status.FEASIBLE


def run_stages(
    model: cp_model.CpModel,
    stages: Iterable[Stage],
    budget: Budget,
    read: Callable[[cp_model.CpSolver], Values],
    outcome: Outcome[Values] | None = None,
) -> Outcome[Values]:
    """Run stages until one is not proven.

    Parameters
    ----------
    read
        Takes the values out of a solved model.
    outcome
        What earlier stages have come to, to go on from.
    """
    so_far: Outcome[Values] = outcome or Outcome()
    try:
        for stage in stages:
            budget.require_time()
            if stage.upwards:
                model.maximize(stage.expression)
            else:
                model.minimize(stage.expression)
            solver, status = budget.run(model, breaks_ties=not stage.name)
            if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
                so_far.is_infeasible = status == cp_model.INFEASIBLE and so_far.values is None
                if stage.name and so_far.values is not None:
                    so_far.objectives.append(Objective(stage.name, "unknown", "a limit came first"))
                break
            so_far.values = read(solver)
            value = round(solver.objective_value)
            proven = status == cp_model.OPTIMAL
            so_far.objectives += stage.objectives(value, value if proven else _bound(solver, stage))
            if not proven:
                break
            stage.hold(model, value)
    except KeyboardInterrupt:
        # Ctrl-C inside the solver ends a stage; between two stages it arrives here. What there is stays.
        budget.interrupt()
    except TimeLimitError:
        pass
    return so_far


def _bound(solver: cp_model.CpSolver, stage: Stage) -> int:
    bound = solver.best_objective_bound
    return int(bound + 1e-6) if stage.upwards else max(0, -int(-bound + 1e-6))


def kept_and_busy(
    problem: Problem, here: Mapping[tuple[int, int], cp_model.LinearExpr | cp_model.IntVar]
) -> Iterator[Stage]:
    """Stages before capacity: layers that stay, input layers on parallel cores.

    Parameters
    ----------
    here
        By (layer, class), a sum that is positive only if the layer stands there.
    """
    if problem.kept:
        stay = [here[key] for key in problem.kept if key in here]
        yield Stage("layers_kept", cp_model.LinearExpr.sum(stay), upwards=True)
    parallel = [k for k, entry in enumerate(problem.classes) if entry.core.parallel]
    busy = [(here[n, k], rate) for n, rate in problem.busy.items() for k in parallel if (n, k) in here]
    if busy:
        sums, rates = zip(*busy, strict=True)
        weighted = cp_model.LinearExpr.weighted_sum(list(sums), list(rates))
        yield Stage("spikes_on_parallel_cores", weighted, upwards=True)


def seeks_merit(problem: Problem) -> bool:
    """Whether the objective is a merit of every core that is used: headroom, or little load."""
    return problem.options.objective in ("headroom", "balance") and bool(problem.demands)


def states_bandwidth(problem: Problem) -> bool:
    """Whether every core states a bandwidth, so that loads can be told as shares."""
    return all(entry.core.synops_per_second is not None for entry in problem.classes)


def merit_of(problem: Problem, work: CoreWork, core: CoreSpec) -> Fraction:
    """How good a core is for a work that it holds: least free share, or the load with a minus sign."""
    if problem.options.objective != "balance":
        return free_shares([work.words], core).pop()
    bandwidth = core.synops_per_second if states_bandwidth(problem) else None
    return -Fraction(work.synops_per_second, bandwidth or 1)


def least_merit(problem: Problem, solution: Solution, forms: Mapping[int, int]) -> Fraction:
    """The least merit of all that stands on a core.

    Parameters
    ----------
    forms
        By layer, the index of its form where it is not the first.
    """

    def work_of(body: LayerPart | Relay) -> CoreWork:
        if isinstance(body, LayerPart):
            layer = problem.layer_of[body.network, body.layer]
            return problem.works[layer][forms.get(layer, 0)]
        shape, rate = problem.signal(body.network, body.signal)
        return relay_work(shape, body.pooling, rate, reads_all=body.reads_all)

    return min(
        merit_of(
            problem,
            work_of(place.body).narrowed(place.features[1] - place.features[0]),
            problem.chip.cores[place.core],
        )
        for place in solution.placements
    )


def merit_objective(problem: Problem, value: Fraction, bound: Fraction) -> Objective:
    """The stage of the objective that a least merit stands for."""
    if problem.options.objective != "balance":
        return Objective("headroom", str(value), str(bound))
    name = "largest_load_share" if states_bandwidth(problem) else "largest_load_synops_per_second"
    return Objective(name, str(-value), str(-bound))


def best_merit(
    merits: Sequence[Fraction],
    reached: Fraction,
    reach: Callable[[Fraction], Fraction | Literal[False] | None],
) -> Fraction:
    """Seek the largest of some merits that everything can have, by bisection; what no placement exceeds.

    Parameters
    ----------
    merits
        Ascending, every value that can occur as the least of a placement.
    reached
        The least merit of a placement that there is.
    reach
        Seeks a placement in which nothing has less than a merit, keeps it, and gives its least merit; False
        where there is none, None where a limit came first.
    """
    low, high, step = bisect_right(merits, reached), len(merits) - 1, 1
    while low <= high:
        # The first placement is often among the best: the search begins next to it, in growing steps.
        middle, step = min(low + step - 1, (low + high) // 2), 4 * step
        least = reach(merits[middle])
        if least is None:
            break
        if least is False:
            high = middle - 1
        else:
            reached, low = least, bisect_right(merits, least)
    return max(reached, merits[high])


def tie_weight(key: str) -> int:
    """A weight that depends on a name alone, so that of equal placements one is the least everywhere."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8]) >> (64 - _TIE_BITS)
