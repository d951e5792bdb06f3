"""The requirements of a placement one by one, so that some can be given up.

A placement is possible if every layer that must be placed gets a core that the requirements leave it.
Requirements left out of a set leave more cores, so that sets of requirements can be compared: what
cannot hold together (`mapper.solver.conflict`), and what to give up.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from ortools.sat.python import cp_model

from mapper.demand import shortfalls
from mapper.problem import CoreClass, Problem
from mapper.rules import Rule
from mapper.solver.budget import Budget

__all__ = ["Part", "Relaxation"]


@dataclass(frozen=True, slots=True, order=True)
class Part:
    """One requirement: `layer` is a position in the canonical order, `core_class` an index of `classes`.

    Attributes
    ----------
    kind
        As in `mapper.result.Requirement`; "chip" does not occur, since nothing relaxes it.
    rule
        Name of the rule, for kind "rule".
    """

    kind: Literal["layer", "pin", "forbidden", "rule", "cores"]
    layer: int = -1
    rule: str = ""
    core_class: int = -1


class Relaxation:
    """A problem whose requirements can be switched off.

    Attributes
    ----------
    classes
        The problem's core classes and, behind them, its forbidden cores.
    """

    def __init__(self, problem: Problem, budget: Budget) -> None:
        self.problem, self.budget = problem, budget
        self.classes: tuple[CoreClass, ...] = (*problem.classes, *problem.forbidden_classes)
        self.order = problem.by_name
        table: dict[object, tuple[frozenset[str], ...]] = {}
        for demand in problem.demands:
            if (demand.work, demand.sending) not in table:
                rows = (shortfalls(demand, entry.core, problem.chip) for entry in self.classes)
                table[demand.work, demand.sending] = tuple(
                    frozenset(lack.rule.name for lack in row) for row in rows
                )
        self._broken = table
        pins = {
            entry.pinned_layer: k for k, entry in enumerate(self.classes) if entry.pinned_layer is not None
        }
        identities = [(problem.demands[i].network, problem.demands[i].layer) for i in self.order]
        self.pin_of = {n: pins[key] for n, key in enumerate(identities) if key in pins}

    def broken_rules(self, layer: int, core_class: int) -> frozenset[str]:
        """Names of the rules that a layer (canonical position) breaks on a class."""
        demand = self.problem.demands[self.order[layer]]
        return self._broken[demand.work, demand.sending][core_class]

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """Every requirement, in canonical order."""
        found: set[Part] = {Part("cores", core_class=k) for k in range(len(self.classes))}
        found |= {Part("forbidden", core_class=k) for k, e in enumerate(self.classes) if e.forbidden}
        for layer in range(len(self.order)):
            found.add(Part("layer", layer))
            if layer in self.pin_of:
                found.add(Part("pin", layer, core_class=self.pin_of[layer]))
            rules = frozenset[str]().union(*(self.broken_rules(layer, k) for k in range(len(self.classes))))
            found |= {Part("rule", layer, rule) for rule in rules}
        return tuple(sorted(found))

    def against(self, layer: int, core_class: int) -> tuple[Part, ...]:
        """The requirements that keep a layer off a class."""
        parts = [Part("rule", layer, rule) for rule in sorted(self.broken_rules(layer, core_class))]
        if self.classes[core_class].forbidden:
            parts.append(Part("forbidden", core_class=core_class))
        if layer in self.pin_of and self.pin_of[layer] != core_class:
            parts.append(Part("pin", layer, core_class=self.pin_of[layer]))
        return tuple(parts)

    def possible(self, parts: Collection[Part]) -> bool | None:
        """Whether these requirements, alone, can hold together; None if the work limit came first."""
        kept = frozenset(parts)
        groups: dict[tuple[int, ...], int] = defaultdict(int)
        for layer in range(len(self.order)):
            if Part("layer", layer) not in kept:
                continue
            left = tuple(k for k in range(len(self.classes)) if not kept.intersection(self.against(layer, k)))
            if not left:
                return False
            # A class that any number of layers may share takes the layer in every case.
            if all(Part("cores", core_class=k) in kept for k in left):
                groups[left] += 1
        model, users = cp_model.CpModel(), defaultdict(list)
        for left, size in groups.items():
            counts = [model.new_int_var(0, min(size, len(self.classes[k].core_ids)), "") for k in left]
            model.add(cp_model.LinearExpr.sum(counts) == size)
            for k, count in zip(left, counts, strict=True):
                users[k].append(count)
        for k, counts in users.items():
            model.add(cp_model.LinearExpr.sum(counts) <= len(self.classes[k].core_ids))
        _, status = self.budget.aside().run(model)
        if status == cp_model.UNKNOWN:
            return None
        return status in (cp_model.OPTIMAL, cp_model.FEASIBLE)

    def rule_of(self, part: Part) -> Rule:
        """The rule behind a requirement."""
        if part.kind == "rule":
            return Rule[part.rule]
        return {
            "layer": Rule.PLACED,
            "pin": Rule.PIN,
            "forbidden": Rule.FORBIDDEN_CORE,
            "cores": Rule.ONE_LAYER_PER_CORE,
        }[part.kind]
