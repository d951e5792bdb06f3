"""One CP-SAT model for several networks and the chip that they share or take turns on.

Every network's pieces, copies and relays are modelled as for a chip that exists, on a chip that offers
every type of core; that chip's numbers of cores are variables here, and all models share them. What a
layer asks stands at the least types alone that hold it, and cores flow down to these from all that can
do as much: a tenth of the variables, and the same relaxation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TypeAlias

from mapper.solver.cp_sat import Model
from mapper.solver.divided.model import build_model
from mapper.solver.divided.variables import DividedModel, Slack
from mapper.solver.or_tools import cp_model
from mapper.solver.smallest.sizes import (
    ChipQuestion,
    CoreType,
    Group,
    groups_on,
    useful_types,
)

__all__ = ["Catalogue", "SynthesisModel", "build_synthesis"]

# A group under one setting of the sensor stage, and its model.
Part: TypeAlias = tuple[Group, DividedModel]


@dataclass(frozen=True)
class Catalogue:
    """A question with the types of core that a chip may be of, and every group's own model on them."""

    question: ChipQuestion
    _parts: dict[int, tuple[Part, ...]] = field(default_factory=dict, compare=False)

    @cached_property
    def types(self) -> tuple[CoreType, ...]:
        """Types on offer, cheapest first."""
        return useful_types(self.question)

    def parts(self, number: int) -> tuple[Part, ...]:
        """A group's models: none where it fits no chip of these types, however many cores it had."""
        if number not in self._parts:
            alone = replace(self.question, groups=(self.question.groups[number],))
            (settings,) = groups_on(alone, self.types)
            models = ((group, _model_of(group)) for group in settings)
            self._parts[number] = tuple((group, model) for group, model in models if model is not None)
        return self._parts[number]


@dataclass
class SynthesisModel:
    """Variables by what they mean.

    Attributes
    ----------
    counts
        Per type, how many cores of it the chip has.
    """

    types: tuple[CoreType, ...]
    most: int
    model: cp_model.CpModel = field(default_factory=Model)
    counts: list[cp_model.IntVar] = field(default_factory=list)

    def weighted(self, weights: Sequence[int]) -> cp_model.LinearExpr:
        """A sum over the chip's cores, a weight per type."""
        return cp_model.LinearExpr.weighted_sum(self.counts, list(weights))


def build_synthesis(catalogue: Catalogue, groups: Sequence[int]) -> SynthesisModel | None:
    """The model of some groups; None where one fits no chip of these types, however many cores it had."""
    least, most = catalogue.question.cores
    synthesis = SynthesisModel(catalogue.types, most)
    synthesis.counts = [synthesis.model.new_int_var(0, most, "") for _ in catalogue.types]
    synthesis.model.add_linear_constraint(cp_model.LinearExpr.sum(synthesis.counts), least, most)
    for number in groups:
        parts = catalogue.parts(number)
        if not parts:
            return None
        if len(parts) == 1:
            _add_part(synthesis, parts[0], None)
        else:
            chosen = [synthesis.model.new_bool_var("") for _ in parts]
            synthesis.model.add_exactly_one(chosen)
            for part, setting in zip(parts, chosen, strict=True):
                _add_part(synthesis, part, setting)
    return synthesis


def _model_of(group: Group) -> DividedModel | None:
    if not group.is_divisible:
        return None
    free = Slack(cores=frozenset(range(len(group.problem.classes))))
    return build_model(group.lean_tables, group.lean_table, free, group.spare)


def _add_part(synthesis: SynthesisModel, part: Part, chosen: cp_model.IntVar | None) -> None:
    """Take over a group's variables and constraints, and bind its cores to the chip's.

    Parameters
    ----------
    chosen
        Whether this setting of the sensor stage is taken, where there are several.
    """
    group, divided = part
    proto, model = divided.model.proto, synthesis.model
    own = []
    for variable in proto.variables:
        low, high = list(variable.domain)
        own.append(model.new_int_var(min(low, 0), min(high, synthesis.most), ""))
    for constraint in proto.constraints:
        literals = [own[n] if n >= 0 else ~own[-n - 1] for n in constraint.enforcement_literal]
        if constraint.has_at_most_one():
            model.add_at_most_one(own[n] for n in constraint.at_most_one.literals)
        elif constraint.has_exactly_one():
            one = cp_model.LinearExpr.sum([own[n] for n in constraint.exactly_one.literals])
            model.add(one == (1 if chosen is None else chosen))
        elif constraint.has_linear():
            linear = constraint.linear
            expression = cp_model.LinearExpr.weighted_sum([own[n] for n in linear.vars], list(linear.coeffs))
            low, high = list(linear.domain)
            _add_linear(model, expression, low, high, literals, chosen)
        else:
            raise RuntimeError("the placement model has a constraint that synthesis does not know")
    users: dict[int, list[cp_model.IntVar]] = {}
    for k, variable in divided.users():
        users.setdefault(k, []).append(own[variable.index])
    _add_cores(synthesis, users, group)


def _add_cores(synthesis: SynthesisModel, users: Mapping[int, list[cp_model.IntVar]], group: Group) -> None:
    """What stands at a type takes cores of it, or of types that can do as much.

    Cores flow from abler types to the next less able ones; types that can do the same are one.
    """
    model = synthesis.model
    given = {first: [synthesis.counts[k] for k in same] for first, same in group.alike.items()}
    taken = {first: [v for k in same for v in users.get(k, ())] for first, same in group.alike.items()}
    for able in group.alike:
        less = group.stands_for[able]
        for other in sorted(less.difference(*(group.stands_for[between] for between in less))):
            flow = model.new_int_var(0, synthesis.most, "")
            taken[able].append(flow)
            given[other].append(flow)
    for first, variables in taken.items():
        if variables:
            model.add(cp_model.LinearExpr.sum(variables) <= cp_model.LinearExpr.sum(given[first]))


def _add_linear(
    model: cp_model.CpModel,
    expression: cp_model.LinearExpr,
    low: int,
    high: int,
    literals: Sequence[cp_model.IntVar],
    chosen: cp_model.IntVar | None,
) -> None:
    """Add low <= expression <= high; of a setting that is not taken, all variables may be 0."""
    if chosen is None or low <= 0 <= high:
        bounded = [model.add_linear_constraint(expression, low, high)]
    else:
        bounded = []
        if low > cp_model.INT_MIN:
            bounded.append(
                model.add(expression - low * chosen >= 0) if low > 0 else model.add(expression >= low)
            )
        if high < cp_model.INT_MAX:
            bounded.append(
                model.add(expression - high * chosen <= 0) if high < 0 else model.add(expression <= high)
            )
    if literals:
        for entry in bounded:
            entry.only_enforce_if(literals)
