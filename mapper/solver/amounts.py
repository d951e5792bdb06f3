"""How much of a repair is needed: the least extra memory with which every layer has a core."""

from __future__ import annotations

from collections import defaultdict

from hwspec.schema import BIAS_WORD_BITS, KERNEL_WORD_BITS, NEURON_WORD_BITS
from mapper.problem import Problem
from mapper.rules import Rule
from mapper.solver.budget import Budget
from mapper.solver.cp_sat import Model
from mapper.solver.or_tools import cp_model

__all__ = ["MEMORIES", "least_extra"]

# By the rule that is missed, the field of a core and the bits of its words.
MEMORIES = {
    Rule.KERNEL_MEMORY: ("kernel_words", KERNEL_WORD_BITS),
    Rule.NEURON_MEMORY: ("neuron_words", NEURON_WORD_BITS),
    Rule.BIAS_MEMORY: ("bias_words", BIAS_WORD_BITS),
}


def least_extra(problem: Problem, budget: Budget) -> list[tuple[int, int]] | None:
    """(layer, class) of the layers that need more than their core has, at least extra bits in all."""
    model = Model()
    users, weights, variables = defaultdict(list), [], []
    keys: list[tuple[int, int]] = []
    pins = {entry.pinned_layer: k for k, entry in enumerate(problem.classes) if entry.pinned_layer}
    for layer in problem.by_name:
        demand, options = problem.demands[layer], []
        pin = pins.get((demand.network, demand.layer))
        for k, lacks in enumerate(problem.shortfalls(layer)):
            owner = problem.classes[k].pinned_layer
            if (k != pin) if (owner or pin is not None) else False:
                continue
            if any(lack.rule not in MEMORIES for lack in lacks):
                continue
            here = model.new_bool_var("")
            options.append(here)
            users[k].append(here)
            keys.append((layer, k))
            variables.append(here)
            weights.append(sum(MEMORIES[lack.rule][1] * (lack.gap or 0) for lack in lacks))
        model.add_exactly_one(options)
    for k, taken in users.items():
        model.add(cp_model.LinearExpr.sum(taken) <= len(problem.classes[k].core_ids))
    model.minimize(cp_model.LinearExpr.weighted_sum(variables, weights))
    solver, status = budget.aside().run(model)
    if status != cp_model.OPTIMAL:
        return None
    chosen = [key for key, variable in zip(keys, variables, strict=True) if solver.value(variable)]
    return [(layer, k) for layer, k in chosen if problem.shortfalls(layer)[k]]
