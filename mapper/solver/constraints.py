"""Every rule as a constraint, in one visible table.

A rule that concerns one layer on one core decides whether the variable exists at all (`ADMISSION`): a
layer's candidates are the classes without a shortfall. The others are posted here. With one layer per
core the destinations are the edges themselves, so fan-out is a matter of one layer and one core.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

from ortools.sat.python import cp_model

from mapper.demand import SHORTFALLS
from mapper.problem import Problem
from mapper.rules import Rule
from mapper.solver.variables import Variables

__all__ = ["ADMISSION", "POSTS", "post_all"]

Post: TypeAlias = Callable[[cp_model.CpModel, Problem, Variables], None]


def _admission(model: cp_model.CpModel, problem: Problem, variables: Variables) -> None:
    """Nothing to post: `Problem.candidates` leaves out what the rule excludes."""


def _by_decoding(model: cp_model.CpModel, problem: Problem, variables: Variables) -> None:
    """Nothing to post: destinations and entries are written edge by edge from the network."""


def _every_layer_placed(model: cp_model.CpModel, problem: Problem, variables: Variables) -> None:
    for g, group in enumerate(variables.groups):
        counts = [variables.count[g, k] for k in group.classes]
        model.add(cp_model.LinearExpr.sum(counts) == len(group.layers))


def _one_layer_per_core(model: cp_model.CpModel, problem: Problem, variables: Variables) -> None:
    for k, core_class in enumerate(problem.classes):
        users = [variables.count[g, k] for g, group in enumerate(variables.groups) if k in group.classes]
        if users:
            model.add(cp_model.LinearExpr.sum(users) <= len(core_class.core_ids))


def _no_fault(rule: Rule) -> Post:
    """The rule does not depend on where layers go: one broken instance makes the model infeasible."""

    def post(model: cp_model.CpModel, problem: Problem, variables: Variables) -> None:
        if any(fault.rule is rule for fault in problem.faults):
            model.add_bool_or([])

    return post


ADMISSION: Final = frozenset(SHORTFALLS) | {Rule.PIN, Rule.FORBIDDEN_CORE}

POSTS: Mapping[Rule, Post] = {
    **dict.fromkeys(sorted(ADMISSION, key=lambda rule: rule.code), _admission),
    Rule.DVS_STAGE: _no_fault(Rule.DVS_STAGE),
    Rule.DVS_FAN_OUT: _no_fault(Rule.DVS_FAN_OUT),
    Rule.READOUT: _no_fault(Rule.READOUT),
    Rule.MONITOR: _no_fault(Rule.MONITOR),
    Rule.FEATURE_SHIFT: _no_fault(Rule.FEATURE_SHIFT),
    Rule.WHOLE: _by_decoding,
    Rule.MOVES: _by_decoding,
    Rule.PLACED: _every_layer_placed,
    Rule.ONE_LAYER_PER_CORE: _one_layer_per_core,
    Rule.CONNECTION: _by_decoding,
}


def post_all(model: cp_model.CpModel, problem: Problem, variables: Variables) -> None:
    """Post every rule."""
    for post in dict.fromkeys(POSTS.values()):
        post(model, problem, variables)
