"""The stages of the objective, each an integer expression, and the exact shares of headroom."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction
from math import prod

from ortools.sat.python import cp_model

from hwspec.schema import CoreSpec
from mapper.demand import CoreDemand
from mapper.problem import CoreClass, Problem
from mapper.solution import Objective
from mapper.solver.variables import Variables

__all__ = [
    "canonical_stages",
    "capacity_bits_taken",
    "headroom",
    "kept_and_busy",
    "load",
    "merit_objective",
    "merit_table",
    "states_bandwidth",
]

# A stage's weights stay far below 2**63, so that no partial sum of the solver can overflow.
_STAGE_WEIGHT_MAX = 2**40


def capacity_bits_taken(problem: Problem, variables: Variables) -> cp_model.LinearExpr:
    """Bits of memory on the cores that are used: what is taken from later networks."""
    keys = list(variables.count)
    weights = [problem.classes[k].core.capacity_bits for _, k in keys]
    return cp_model.LinearExpr.weighted_sum([variables.count[key] for key in keys], weights)


def canonical_stages(problem: Problem, variables: Variables) -> Iterator[cp_model.LinearExpr]:
    """Expressions to be maximised one after the other, after which every count is determined.

    The counts, in the order (group, class), are the digits of a number in mixed radix: the largest
    such number is one single placement. A stage takes as many digits as its weights can carry.
    """
    digits = [
        (variables.count[g, k], min(len(group.layers), len(problem.classes[k].core_ids)) + 1)
        for g, group in enumerate(variables.groups)
        if len(group.classes) > 1
        for k in group.classes[:-1]  # the last count follows from the others
    ]
    while digits:
        taken = 1
        while taken < len(digits) and prod(radix for _, radix in digits[: taken + 1]) <= _STAGE_WEIGHT_MAX:
            taken += 1
        weights = [prod(radix for _, radix in digits[n + 1 : taken]) for n in range(taken)]
        yield cp_model.LinearExpr.weighted_sum([variable for variable, _ in digits[:taken]], weights)
        digits = digits[taken:]


def headroom(demand: CoreDemand, core_class: CoreClass) -> Fraction:
    """Least free share over the memories of a core that holds this layer, in 0..1.

    A memory of no words has no share.
    """
    core = core_class.core
    pairs = (
        (demand.kernel_words, core.kernel_words),
        (demand.neuron_words, core.neuron_words),
        (demand.bias_words, core.bias_words),
    )
    return min((Fraction(have - need, have) for need, have in pairs if have), default=Fraction(1))


def load(demand: CoreDemand, core: CoreSpec, shared: bool) -> Fraction:
    """Synaptic operations per second of a layer; `shared` as a share of the core's bandwidth."""
    bandwidth = core.synops_per_second if shared else None
    return Fraction(demand.synops_per_second, bandwidth or 1)


def states_bandwidth(problem: Problem) -> bool:
    """Whether every core states a bandwidth, so that loads can be told as shares."""
    return all(entry.core.synops_per_second is not None for entry in problem.classes)


def merit_table(problem: Problem) -> tuple[dict[int, Fraction], ...]:
    """Per layer, how good each of its candidate classes is: headroom, or the load with a minus sign."""
    shared = states_bandwidth(problem)

    def merit(demand: CoreDemand, k: int) -> Fraction:
        if problem.options.objective == "balance":
            return -load(demand, problem.classes[k].core, shared)
        return headroom(demand, problem.classes[k])

    known: dict[tuple[CoreDemand, int], Fraction] = {}
    table = []
    for demand, classes in zip(problem.demands, problem.candidates, strict=True):
        for k in classes:
            if (demand.core, k) not in known:
                known[demand.core, k] = merit(demand.core, k)
        table.append({k: known[demand.core, k] for k in classes})
    return tuple(table)


def merit_objective(problem: Problem, value: Fraction, bound: Fraction) -> Objective:
    """The stage of the objective that a least merit stands for."""
    if problem.options.objective == "headroom":
        return Objective("headroom", str(value), str(bound))
    name = "largest_load_share" if states_bandwidth(problem) else "largest_load_synops_per_second"
    return Objective(name, str(-value), str(-bound))


def kept_and_busy(
    problem: Problem, here: Mapping[tuple[int, int], cp_model.LinearExpr]
) -> Iterator[tuple[str, cp_model.LinearExpr]]:
    """Stages before capacity, each to be maximised: layers that stay, input layers on parallel cores.

    Parameters
    ----------
    here
        By (layer, class), a variable that is positive only if the layer stands there.
    """
    if problem.kept:
        stay = [here[key] for key in problem.kept if key in here]
        yield "layers_kept", cp_model.LinearExpr.sum(stay)
    parallel = [k for k, entry in enumerate(problem.classes) if entry.core.parallel]
    busy = [(here[n, k], rate) for n, rate in problem.busy.items() for k in parallel if (n, k) in here]
    if busy:
        variables, rates = zip(*busy, strict=True)
        yield "spikes_on_parallel_cores", cp_model.LinearExpr.weighted_sum(list(variables), list(rates))
