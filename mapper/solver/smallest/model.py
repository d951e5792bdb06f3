"""One CP-SAT model for several networks and the chip that they share or take turns on.

Every network's pieces, copies and relays are modelled as for a chip that exists, on a chip that offers
every type of core; that chip's numbers of cores are variables here, and all models share them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from mapper.solver.cp_sat import Model
from mapper.solver.divided.model import build_model
from mapper.solver.divided.variables import DividedModel, Slack
from mapper.solver.or_tools import cp_model
from mapper.solver.smallest.sizes import ChipQuestion, CoreType, Group, groups_on

__all__ = ["SynthesisModel", "build_synthesis"]


@dataclass
class SynthesisModel:
    """Variables by what they mean.

    Attributes
    ----------
    counts
        Per type, how many cores of it the chip has.
    carried
        Per group, whether the chip carries it; empty where it must carry all.
    """

    types: tuple[CoreType, ...]
    model: cp_model.CpModel = field(default_factory=Model)
    counts: list[cp_model.IntVar] = field(default_factory=list)
    carried: list[cp_model.IntVar] = field(default_factory=list)

    def weighted(self, weights: Sequence[int]) -> cp_model.LinearExpr:
        """A sum over the chip's cores, a weight per type."""
        return cp_model.LinearExpr.weighted_sum(self.counts, list(weights))


def build_synthesis(
    question: ChipQuestion, types: tuple[CoreType, ...], *, optional: bool = False
) -> SynthesisModel | None:
    """The model; None where a group fits no chip of these types, however many cores it had.

    Parameters
    ----------
    optional
        Whether groups may be left out.
    """
    least, most = question.cores
    synthesis = SynthesisModel(types)
    synthesis.counts = [synthesis.model.new_int_var(0, most, "") for _ in types]
    synthesis.model.add_linear_constraint(cp_model.LinearExpr.sum(synthesis.counts), least, most)
    for settings in groups_on(question, types):
        parts = [part for group in settings if (part := _part(group)) is not None]
        if not parts and not optional:
            return None
        carried: cp_model.IntVar | None = None
        if optional:
            carried = synthesis.model.new_bool_var("")
            synthesis.carried.append(carried)
        if len(parts) == 1:
            _add_part(synthesis, parts[0], carried)
        else:
            # One setting of the sensor stage is chosen, and none of a group that is left out.
            chosen = [synthesis.model.new_bool_var("") for _ in parts]
            synthesis.model.add(cp_model.LinearExpr.sum(chosen) == (1 if carried is None else carried))
            for part, setting in zip(parts, chosen, strict=True):
                _add_part(synthesis, part, setting)
    return synthesis


def _part(group: Group) -> DividedModel | None:
    if not group.is_divisible:
        return None
    free = Slack(cores=frozenset(range(len(group.problem.classes))))
    return build_model(group.tables, group.table, free, group.spare)


def _add_part(synthesis: SynthesisModel, part: DividedModel, carried: cp_model.IntVar | None) -> None:
    """Take over a group's variables and constraints, and bind its cores to the chip's."""
    proto, model = part.model.proto, synthesis.model
    own = []
    for variable in proto.variables:
        low, high = list(variable.domain)
        own.append(model.new_int_var(min(low, 0), min(high, _most(synthesis)), ""))
    for constraint in proto.constraints:
        literals = [own[n] if n >= 0 else ~own[-n - 1] for n in constraint.enforcement_literal]
        if constraint.has_at_most_one():
            model.add_at_most_one(own[n] for n in constraint.at_most_one.literals)
        elif constraint.has_exactly_one():
            one = cp_model.LinearExpr.sum([own[n] for n in constraint.exactly_one.literals])
            model.add(one == (1 if carried is None else carried))
        elif constraint.has_linear():
            linear = constraint.linear
            expression = cp_model.LinearExpr.weighted_sum([own[n] for n in linear.vars], list(linear.coeffs))
            low, high = list(linear.domain)
            _add_linear(model, expression, low, high, literals, carried)
        else:
            raise RuntimeError("the placement model has a constraint that synthesis does not know")
    users: dict[int, list[cp_model.IntVar]] = {}
    for k, variable in part.users():
        users.setdefault(k, []).append(own[variable.index])
    for k, variables in users.items():
        model.add(cp_model.LinearExpr.sum(variables) <= synthesis.counts[k])


def _most(synthesis: SynthesisModel) -> int:
    return int(list(synthesis.counts[0].proto.domain)[-1])


def _add_linear(
    model: cp_model.CpModel,
    expression: cp_model.LinearExpr,
    low: int,
    high: int,
    literals: Sequence[cp_model.IntVar],
    carried: cp_model.IntVar | None,
) -> None:
    """Add low <= expression <= high; of a group that is left out, all variables may be 0."""
    if carried is None or low <= 0 <= high:
        bounded = [model.add_linear_constraint(expression, low, high)]
    else:
        bounded = []
        if low > cp_model.INT_MIN:
            bounded.append(
                model.add(expression - low * carried >= 0) if low > 0 else model.add(expression >= low)
            )
        if high < cp_model.INT_MAX:
            bounded.append(
                model.add(expression - high * carried <= 0) if high < 0 else model.add(expression <= high)
            )
    if literals:
        for entry in bounded:
            entry.only_enforce_if(literals)
