"""Decision variables: how many layers of a group go to each core class.

Layers that may use the same core classes are interchangeable for the verdict and, since a core's
capacity counts as a whole, for the objective. One integer per (group, class) therefore describes every
placement up to a renaming; the model's size does not depend on the number of cores or layers.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from ortools.sat.python import cp_model

from mapper.problem import Problem

__all__ = ["Group", "Variables", "group_layers", "make_variables"]


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


@dataclass(frozen=True, slots=True)
class Variables:
    """``count[g, k]``: how many layers of group g go to a core of class k."""

    groups: tuple[Group, ...]
    count: dict[tuple[int, int], cp_model.IntVar]


def group_layers(problem: Problem, candidates: Sequence[tuple[int, ...]]) -> tuple[Group, ...]:
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


def make_variables(model: cp_model.CpModel, problem: Problem, groups: tuple[Group, ...]) -> Variables:
    """Integer variables with the tightest obvious bounds."""
    count = {}
    for g, group in enumerate(groups):
        for k in group.classes:
            most = min(len(group.layers), len(problem.classes[k].core_ids))
            count[g, k] = model.new_int_var(0, most, f"count[{g},{k}]")
    return Variables(groups, count)
