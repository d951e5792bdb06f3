"""Why nothing fits: layers that fit no core, and layers that compete for too few cores."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache

from hwspec.schema import ChipSpec
from mapper.faults import ChipFault
from mapper.problem import Problem
from mapper.reasons import FeasibilityReport, HallSet, ReportNature, Status, Unmet, unmet
from mapper.references import signal_title
from mapper.rules import Rule
from mapper.solver.budget import Budget, Found
from mapper.solver.conflict import find_conflict, find_correction
from mapper.solver.cp_sat import Model
from mapper.solver.divided.explain import (
    divided_unmet,
    fits_unwatched,
    fits_without_destinations,
    out_of_reach,
)
from mapper.solver.divided.run import divisible
from mapper.solver.or_tools import cp_model
from mapper.solver.plain import Group, group_layers
from mapper.solver.requirements import Requirements
from mapper.wording import counted, join_names, join_numbers
from mapper.work import Shortfall

__all__ = ["hall_sets", "infeasible_report", "undecided_report"]


# What pieces, copies and relays can mend.
_MENDED = frozenset({Rule.FAN_OUT, Rule.DVS_FAN_OUT, Rule.POOLING, Rule.INPUT_POOLING})


def undecided_report(chip: ChipSpec, budget: Budget) -> FeasibilityReport:
    """The report of a solve that a limit stopped before it found or excluded a placement."""
    return _report(chip, Status.UNDECIDED, "undecided", budget, limit=budget.stopped_by or "a limit")


def infeasible_report(problem: Problem, budget: Budget, *, with_moves: bool = True) -> FeasibilityReport:
    """Everything that provably stands in the way; what a limit leaves out is named in `cut_short`.

    Parameters
    ----------
    with_moves
        Also why nothing that may be done to the layers helps.
    """
    entries = _in_any_case(lambda: _entries(problem), budget)
    asked = cache(lambda moves: Requirements(problem, budget, with_moves=moves))
    # The reason with all moves comes first where time is short: it is the one behind the verdict.
    divided, smallest = None, "the smallest conflict"
    if with_moves and problem.options.divides and divisible(problem):
        divided = budget.attempt(smallest, lambda: find_conflict(asked(True)), None)
    none: tuple[HallSet, ...] = ()
    certificate = budget.attempt("layers that compete for cores", lambda: hall_sets(problem, budget), none)
    return _report(
        problem.chip,
        Status.INFEASIBLE,
        _in_any_case(lambda: _nature(problem, entries, certificate, budget), budget),
        budget,
        unmet=tuple(entries),
        certificate=certificate,
        conflict=budget.attempt(smallest, lambda: find_conflict(asked(False)), None),
        correction=budget.attempt("what to give up", lambda: find_correction(asked(False)), None),
        divided=divided,
    )


def _in_any_case(find: Callable[[], Found], budget: Budget) -> Found:
    """What a verdict does not go out without: after Ctrl-C once more, since it takes no time to speak of."""
    try:
        return find()
    except KeyboardInterrupt:
        budget.interrupt()
        return find()


def _entries(problem: Problem) -> list[Unmet]:
    """What cannot be met whatever else is decided."""
    entries = [_fault(problem, fault) for fault in problem.faults]
    entries += _too_many(problem)
    entries += _missing_relays(problem)
    for layer in problem.by_name:
        if not problem.candidates[layer]:
            entries += _homeless(problem, layer)
    if problem.options.divides and divisible(problem):
        entries += divided_unmet(problem)
    return entries


def _report(
    chip: ChipSpec, status: Status, nature: ReportNature, budget: Budget, **parts: object
) -> FeasibilityReport:
    return FeasibilityReport(
        status=status,
        nature=nature,
        chip=chip.name,
        chip_hash=chip.content_hash(),
        assumed_facts=chip.assumed_facts(),
        cut_short=tuple(budget.cut_short),
        **parts,  # type: ignore[arg-type]  # pydantic checks them
    )


def _nature(
    problem: Problem, entries: Sequence[Unmet], halls: Sequence[HallSet], budget: Budget
) -> ReportNature:
    """The hardest kind of limit that is met, with all moves.

    That is: structural before output before routing before capacity before count. Where layers may
    be divided, destinations and monitors are to blame only if all would fit without them, and if not memory
    alone keeps whole layers off the cores.
    """
    divides = problem.options.divides and divisible(problem)
    rules = {Rule[entry.rule.upper()] for entry in entries}
    natures = {rule.nature for rule in rules - (_MENDED if divides else frozenset())}
    if "structural" in natures or (divides and out_of_reach(problem)):
        return "structural"
    is_sent = bool(natures & {"routing", "output"})
    if divides:
        may_be_sent = is_sent or "routing" in {rule.nature for rule in rules} or "capacity" not in natures
        is_sent = may_be_sent and fits_without_destinations(problem, budget)
    if is_sent:
        is_read = "output" in natures or (divides and fits_unwatched(problem, budget))
        return "output" if is_read else "routing"
    return "capacity" if "capacity" in natures or halls else "count"


def _too_many(problem: Problem) -> list[Unmet]:
    """More layers than cores, whatever the cores hold."""
    layers, cores = len(problem.demands), sum(len(entry.core_ids) for entry in problem.classes)
    if layers <= cores:
        return []
    left = "" if cores == problem.chip.core_count else f" free of its {problem.chip.core_count}"
    need = counted(layers, "layer needs a core", "layers need as many cores")
    sentence = f"{need}, and {problem.chip.name} has {cores}{left}."
    names = tuple(problem.name(layer) for layer in problem.by_name)
    return [unmet(Rule.ONE_LAYER_PER_CORE, names, (), layers, cores, "one core holds one layer", sentence)]


def _missing_relays(problem: Problem) -> list[Unmet]:
    """Outputs that are to be seen pooled, where no relay may pool them."""
    if problem.options.relays:
        return []
    entries = []
    for number, name, pooling in problem.monitored_pooled:
        key, title = problem.key(number, name), signal_title(problem.networks, number, name)
        sentence = f"{title} is to be shown pooled by {pooling}, which takes a relay, and none is allowed."
        entries.append(unmet(Rule.MOVES, (key,), (), 1, 0, "relays that show pooled outputs", sentence))
    return entries


def _fault(problem: Problem, fault: ChipFault) -> Unmet:
    who = join_names(problem.titles(fault.layers)) or join_names(
        [network.name for network in problem.networks]
    )
    sentence = (
        f"{who}: {fault.rule.value.title}: {fault.demand} wanted, {fault.bound} allowed "
        f"on {problem.chip.name} ({fault.terms})."
    )
    return unmet(fault.rule, fault.layers, (), fault.demand, fault.bound, fault.terms, sentence)


def _homeless(problem: Problem, layer: int) -> list[Unmet]:
    """Why one layer fits no core: rules that exclude all cores, or the combination that does."""
    name, title = problem.name(layer), problem.title(layer)
    chip, rows = problem.chip, problem.shortfalls(layer)
    usable = [k for k, entry in enumerate(problem.classes) if _may_use(problem, layer, k)]
    pinned = any(problem.classes[k].pinned_layer for k in usable)
    if not usable:
        sentence = f"No core of {chip.name} is left for {title}: all are forbidden or pinned to other layers."
        return [unmet(Rule.FORBIDDEN_CORE, (name,), (), 1, 0, "cores left over", sentence)]
    everywhere = [rule for rule in Rule if all(any(lack.rule is rule for lack in rows[k]) for k in usable)]
    entries = []
    for rule in everywhere:
        lacks = [(lack, k) for k in usable for lack in rows[k] if lack.rule is rule]
        best = min(lacks, key=lambda entry: (entry[0].gap or 0, entry[1]))[0]
        cores = tuple(sorted(c for lack, k in lacks if lack == best for c in problem.classes[k].core_ids))
        where = (
            f"core {join_numbers(cores)}, to which it is pinned," if pinned else f"any core of {chip.name}"
        )
        sentence = f"{title} {_shortfall_clause(best, where)}."
        entries.append(unmet(rule, (name,), cores, best.demand, best.bound, best.terms, sentence))
    return entries or [_no_common_core(problem, layer, usable)]


def _shortfall_clause(lack: Shortfall, where: str) -> str:
    """What is asked, what there is and the difference, in words that suit the rule."""
    text = lack.rule.value
    if lack.gap is None or not isinstance(lack.demand, int):
        place = where.replace("any core", "every core")
        return f"has {text.title} {lack.demand} ({lack.terms}); {place} allows {lack.bound}"
    if text.nature == "structural":
        return f"has {lack.terms}: {lack.demand} {text.unit} are {lack.gap} more than {where} allows"
    needs = "takes at most" if lack.rule is Rule.BANDWIDTH else "needs"
    place = where.removesuffix(",")
    one = text.unit if "/" in text.unit else text.unit.removesuffix("s")
    amount = counted(lack.demand, one, text.unit)
    return f"{needs} {amount} ({lack.terms}), {lack.gap} more than the {lack.bound} of {place}"


def _may_use(problem: Problem, layer: int, k: int) -> bool:
    """Whether pins leave this class to this layer."""
    demand, pinned = problem.demands[layer], problem.classes[k].pinned_layer
    if pinned is None:
        key = problem.key(demand.network, demand.layer)
        return all(str(name) != key for name, _ in problem.options.pins)
    return pinned == (demand.network, demand.layer)


def _no_common_core(problem: Problem, layer: int, usable: Sequence[int]) -> Unmet:
    """No single rule excludes all cores, but each core breaks one."""
    name, rows, terms = problem.name(layer), problem.shortfalls(layer), []
    worst: Counter[Rule] = Counter()
    for k in usable:
        for lack in rows[k]:
            worst[lack.rule] += len(problem.classes[k].core_ids)
    for rule in worst:
        lacking = [(lack, k) for k in usable for lack in rows[k] if lack.rule is rule]
        cores = sorted(c for _, k in lacking for c in problem.classes[k].core_ids)
        demand = lacking[0][0].demand
        terms.append(f"{demand} {rule.value.unit} (too many for cores {join_numbers(cores)})")
    sentence = (
        f"No core of {problem.chip.name} holds all that {problem.title(layer)} needs: {join_names(terms)}."
    )
    rule = max(worst, key=lambda entry: (worst[entry], entry.code))
    best = min(
        ((lack, k) for k in usable for lack in rows[k] if lack.rule is rule),
        key=lambda e: (e[0].gap or 0, e[1]),
    )[0]
    cores_all = tuple(sorted(c for k in usable for c in problem.classes[k].core_ids))
    return unmet(rule, (name,), cores_all, best.demand, best.bound, best.terms, sentence)


def hall_sets(problem: Problem, budget: Budget) -> tuple[HallSet, ...]:
    """Disjoint groups of layers, each with fewer cores than layers; smallest sets of cores first.

    By Hall's theorem layers that have candidates but no placement contain such a group. A group's
    cores and layers are taken out before the next group is sought.
    """
    groups = [group for group in group_layers(problem, problem.candidates) if group.classes]
    sets: list[HallSet] = []
    taken: set[int] = set()
    while True:
        open_groups = [Group(g.layers, tuple(k for k in g.classes if k not in taken)) for g in groups]
        classes = _tight_classes(problem, open_groups, taken, budget)
        if classes is None:
            return tuple(sets)
        if len(classes) == len(problem.classes):
            return tuple(sets)  # all cores: more layers than cores, which the report says by itself
        inside = [g for g in open_groups if set(g.classes) <= set(classes)]
        sets.append(_hall_set(problem, inside, classes, taken))
        taken |= set(classes)
        groups = [g for g in groups if not set(g.classes) <= taken]


def _tight_classes(
    problem: Problem, groups: Sequence[Group], taken: set[int], budget: Budget
) -> tuple[int, ...] | None:
    """The smallest set of core classes that more layers depend on than it has cores."""
    model = Model()
    sizes = {k: len(entry.core_ids) for k, entry in enumerate(problem.classes) if k not in taken}
    chosen = {k: model.new_bool_var(f"class[{k}]") for k in sizes}
    inside = [model.new_bool_var(f"group[{g}]") for g in range(len(groups))]
    for g, group in enumerate(groups):
        for k in group.classes:
            model.add_implication(inside[g], chosen[k])
    need = cp_model.LinearExpr.weighted_sum(inside, [len(group.layers) for group in groups])
    have = cp_model.LinearExpr.weighted_sum(list(chosen.values()), list(sizes.values()))
    model.add(need >= have + 1)
    model.minimize(have)
    solver, status = budget.aside().run(model)
    if status != cp_model.OPTIMAL:
        return None
    # Among the smallest sets: the one with the lowest core ids, decided class by class.
    model.add(have <= round(solver.objective_value))
    fixed = []
    for k, variable in chosen.items():
        model.maximize(variable)
        solver, status = budget.aside().run(model)
        if status != cp_model.OPTIMAL:
            return None
        model.add(variable == solver.value(variable))
        if solver.value(variable):
            fixed.append(k)
    return tuple(fixed)


def _hall_set(problem: Problem, groups: Sequence[Group], classes: Sequence[int], taken: set[int]) -> HallSet:
    layers = sorted((layer for group in groups for layer in group.layers), key=problem.by_name.index)
    names, titles = tuple(map(problem.name, layers)), join_names([*map(problem.title, layers)])
    cores = tuple(sorted(core for k in classes for core in problem.classes[k].core_ids))
    outside = [k for k in range(len(problem.classes)) if k not in classes and k not in taken]
    chip = problem.chip.name
    if any(k in taken for layer in layers for k in problem.candidates[layer]):
        reason = "one core holds one layer, and the other cores are all taken by the layers above"
        sentence = f"That leaves only core{'s' * (len(cores) > 1)} {join_numbers(cores)} for {titles}."
        return HallSet(layers=names, cores=cores, reason=reason, sentence=sentence)
    # Cores held by a pin are no argument about memories: they are named on their own.
    pinned = [k for k in outside if problem.classes[k].pinned_layer]
    common = _common_reason(problem, layers, [k for k in outside if k not in pinned])
    held = [
        f"core {entry.core_ids[0]} is pinned to {signal_title(problem.networks, *entry.pinned_layer)}"
        for k, entry in enumerate(problem.classes)
        if k in pinned and entry.pinned_layer and any(not problem.shortfalls(layer)[k] for layer in layers)
    ]
    aside = f" ({join_names(held)})" if held else ""
    plural, have = (
        ("core", "is left that has it" if held else "has it")
        if len(cores) == 1
        else ("cores", "are left that have them" if held else "have them")
    )
    where = f"{plural} {join_numbers(cores)} of {chip}"
    if common is None:
        reason = "every other core breaks one rule or another"
        sentence = f"{titles} fit only {where}{aside}: {reason}."
    else:
        reason = common
        sentence = f"{titles} each need {reason}; only {where} {have}{aside}."
    return HallSet(layers=names, cores=cores, reason=reason, sentence=sentence)


def _common_reason(problem: Problem, layers: Sequence[int], outside: Sequence[int]) -> str | None:
    """One rule that keeps all these layers off all other cores, as "more than 32768 neuron words"."""
    for rule in Rule:
        bounds = []
        for layer in layers:
            rows = problem.shortfalls(layer)
            lacks = [next((lack for lack in rows[k] if lack.rule is rule), None) for k in outside]
            if not lacks or any(lack is None or not isinstance(lack.bound, int) for lack in lacks):
                break
            bounds += [lack.bound for lack in lacks if lack is not None and isinstance(lack.bound, int)]
        else:
            return f"more than {max(bounds)} {rule.value.unit}"
    return None
