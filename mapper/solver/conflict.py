"""What cannot hold together, and the least that would have to be given up."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from ortools.sat.python import cp_model

from mapper.demand import shortfalls
from mapper.problem import Problem
from mapper.result import Conflict, Correction, Requirement
from mapper.rules import Rule, by_code
from mapper.solver.budget import Budget
from mapper.solver.requirements import Part, Relaxation
from mapper.wording import join_names, join_numbers

__all__ = ["find_conflict", "find_correction", "reduced"]

T = TypeVar("T")

# One requirement given up outweighs every preference between single ones.
_ONE = 1_000_000
_PREFERENCE = {"pin": 0, "forbidden": 1000, "rule": 2000, "cores": 4000}


def find_conflict(problem: Problem, budget: Budget) -> Conflict | None:
    """An irreducible conflict of an infeasible problem; None if a limit came before its proof.

    Rules that the chip as a whole breaks are a conflict each by themselves, and the first is taken.
    Otherwise the solver names assumptions that suffice; then each is left out in turn, and stays out
    if the others still exclude one another.
    """
    if problem.faults:
        fault = problem.faults[0]
        sentence = f"{fault.rule.value.title} ({fault.rule.code}): {fault.terms}."
        entry = Requirement(
            sentence=sentence, kind="chip", code=fault.rule.code, layers=fault.layers, cores=()
        )
        return Conflict(sentence=sentence, requirements=(entry,), irreducible=True)
    relaxation = Relaxation(problem, budget)
    core = _assumption_core(relaxation)
    if core is None:
        return None
    # Rules go first: what remains of them is the reason, and fewer rules need fewer layers.
    ordered = sorted(core, key=lambda entry: (entry.kind == "layer", entry), reverse=True)
    kept, irreducible = reduced(ordered, relaxation.possible, budget, at_once=1)
    parts = sorted(kept)
    return Conflict(
        sentence=_conflict_sentence(relaxation, parts),
        requirements=tuple(_requirement(relaxation, part) for part in parts),
        irreducible=irreducible,
    )


def reduced(
    items: Sequence[T], possible: Callable[[list[T]], bool | None], budget: Budget, at_once: int | None = None
) -> tuple[list[T], bool]:
    """Leave out, in order, what is not needed for impossibility; and whether nothing more could go.

    Parameters
    ----------
    possible
        Whether these alone can hold together; None where a limit came first.
    at_once
        How many to leave out together at first; half of them by default.
    """
    kept, size, sure = list(items), at_once or max(1, len(items) // 2), True
    while True:
        start = 0
        while start < len(kept):
            if budget.is_spent:
                budget.leave("the smallest conflict")
                return kept, False
            rest = kept[:start] + kept[start + size :]
            verdict = possible(rest)
            if verdict is False:
                kept = rest
            else:
                sure = sure and (verdict is not None or size > 1)
                start += size
        if size == 1:
            return kept, sure
        size //= 2


def _assumption_core(relaxation: Relaxation) -> tuple[Part, ...] | None:
    """Requirements that suffice for infeasibility; None if nothing was proven within the limit."""
    model = cp_model.CpModel()
    literal = {part: model.new_bool_var("") for part in relaxation.parts}
    users: dict[int, list[cp_model.IntVar]] = defaultdict(list)
    for layer in range(len(relaxation.order)):
        options = []
        for k in range(len(relaxation.classes)):
            here = model.new_bool_var("")
            options.append(here)
            users[k].append(here)
            for part in relaxation.against(layer, k):
                model.add_implication(here, literal[part].negated())
        model.add(cp_model.LinearExpr.sum(options) >= 1).only_enforce_if(literal[Part("layer", layer)])
    for k, variables in users.items():
        room = len(relaxation.classes[k].core_ids)
        model.add(cp_model.LinearExpr.sum(variables) <= room).only_enforce_if(
            literal[Part("cores", core_class=k)]
        )
    model.add_assumptions(list(literal.values()))
    solver, status = relaxation.budget.aside().run(model)
    if status != cp_model.INFEASIBLE:
        return None
    named = set(solver.sufficient_assumptions_for_infeasibility())
    return tuple(part for part, variable in literal.items() if variable.index in named)


def find_correction(problem: Problem, budget: Budget) -> Correction | None:
    """The fewest requirements to give up; None if a limit came before the proof.

    Layers stay: a network without one of them is another network. Among equally few, requests are given
    up before rules, rules that are missed by little before others, and single cores before further cores.
    """
    relaxation = Relaxation(problem, budget)
    model = cp_model.CpModel()
    dropped = {
        part: model.new_bool_var("") for part in relaxation.parts if part.kind not in ("layer", "cores")
    }
    extra: dict[Part, cp_model.IntVar] = {}
    users: dict[int, list[cp_model.IntVar]] = defaultdict(list)
    for layer in range(len(relaxation.order)):
        options = []
        for k in range(len(relaxation.classes)):
            here = model.new_bool_var("")
            options.append(here)
            users[k].append(here)
            for part in relaxation.against(layer, k):
                model.add_implication(here, dropped[part])
        model.add_exactly_one(options)
    for k, variables in users.items():
        part = Part("cores", core_class=k)
        extra[part] = model.new_int_var(0, len(relaxation.order), "")
        room = len(relaxation.classes[k].core_ids)
        model.add(cp_model.LinearExpr.sum(variables) - extra[part] <= room)
    variables_by_part = {**dropped, **extra}
    weights = [_ONE + _preference(relaxation, part) for part in variables_by_part]
    model.minimize(cp_model.LinearExpr.weighted_sum(list(variables_by_part.values()), weights))
    solver, status = budget.aside().run(model)
    if status != cp_model.OPTIMAL:
        return None
    counts = {part: solver.value(variable) for part, variable in variables_by_part.items()}
    parts = sorted(part for part, count in counts.items() if count)
    chip = [
        Requirement(
            sentence=f"{f.rule.value.title}: {f.terms}",
            kind="chip",
            code=f.rule.code,
            layers=f.layers,
            cores=(),
        )
        for f in problem.faults
    ]
    entries = (*chip, *(_requirement(relaxation, part, counts[part]) for part in parts))
    if not entries:
        return None
    return Correction(sentence=_correction_sentence(entries), requirements=entries)


def _correction_sentence(entries: Sequence[Requirement]) -> str:
    less = [entry.sentence for entry in entries if entry.kind not in ("cores", "rule")]
    for code in dict.fromkeys(entry.code for entry in entries if entry.kind == "rule"):
        layers = [name for entry in entries if entry.code == code for name in entry.layers]
        less.append(f"the limit of {by_code(code).value.title} for {join_names(layers)} ({code})")
    more = [entry.sentence for entry in entries if entry.kind == "cores"]
    told = [f"without {join_names(less)}"] if less else []
    told += [f"with {join_names(more)}"] if more else []
    return f"It would fit {' and '.join(told)}."


def _preference(relaxation: Relaxation, part: Part) -> int:
    """Which of equally few requirements to name: 0..9999, smaller is preferred."""
    if part.kind != "rule":
        return _PREFERENCE[part.kind] + min(part.core_class, 900)
    demand = relaxation.problem.demands[relaxation.order[part.layer]]
    shares = [
        100 * lack.gap // max(lack.bound, 1)
        for entry in relaxation.classes
        for lack in shortfalls(demand, entry.core, relaxation.problem.chip)
        if lack.rule.name == part.rule and lack.gap is not None and isinstance(lack.bound, int)
    ]
    return _PREFERENCE["rule"] + min(min(shares, default=1000), 1000)


def _names(relaxation: Relaxation, layers: Iterable[int]) -> tuple[str, ...]:
    return tuple(relaxation.problem.title(relaxation.order[layer]) for layer in layers)


def _cores(relaxation: Relaxation, classes: Iterable[int]) -> tuple[int, ...]:
    return tuple(sorted(core for k in classes for core in relaxation.classes[k].core_ids))


def _core_words(cores: Sequence[int]) -> str:
    return f"core{'s' * (len(cores) > 1)} {join_numbers(cores)}"


def _requirement(relaxation: Relaxation, part: Part, extra: int = 0) -> Requirement:
    """A part in words; `extra` layers more than its cores hold, where a correction wants them."""
    layers = _names(relaxation, [part.layer] if part.layer >= 0 else [])
    rule = relaxation.rule_of(part)
    if part.kind == "rule":
        classes = [
            k for k in range(len(relaxation.classes)) if part.rule in relaxation.broken_rules(part.layer, k)
        ]
    else:
        classes = [part.core_class] if part.core_class >= 0 else []
    cores = _cores(relaxation, classes)
    name, where = "".join(layers), _core_words(cores)
    one_each = f"{where} hold one layer each" if len(cores) > 1 else f"{where} holds one layer"
    sentence = {
        "layer": f"{name} is placed",
        "pin": f"the pin of {name} to {where}",
        "forbidden": f"the ban of {where}",
        "rule": f"the limit of {rule.value.title} for {name} ({rule.code})",
        "cores": f"{extra} more core{'s' * (extra > 1)} like core {min(cores, default=0)}"
        if extra
        else one_each,
    }[part.kind]
    return Requirement(sentence=sentence, kind=part.kind, code=rule.code, layers=layers, cores=cores)


def _conflict_sentence(relaxation: Relaxation, parts: Sequence[Part]) -> str:
    """The conflict as one sentence: who, kept off which cores by what, and what is left."""
    placed = [part.layer for part in parts if part.kind == "layer"]
    names = join_names(_names(relaxation, placed))
    clauses = []
    for rule, layers in _by_rule(parts).items():
        off = {
            k
            for layer in layers
            for k in range(len(relaxation.classes))
            if rule.name in relaxation.broken_rules(layer, k)
        }
        cores = _cores(relaxation, off)
        everywhere = len(off) == len(relaxation.classes)
        where = "every core" if everywhere else _core_words(cores)
        who = "them" if layers == placed and len(placed) > 1 else join_names(_names(relaxation, layers))
        who = "it" if layers == placed and len(placed) == 1 else who
        clauses.append(f"{rule.value.title} ({rule.code}) keeps {who} off {where}")
    for part in parts:
        if part.kind == "pin":
            name, cores = _names(relaxation, [part.layer])[0], _cores(relaxation, [part.core_class])
            clauses.append(f"{name} is pinned to {_core_words(cores)}")
    banned = _cores(relaxation, [part.core_class for part in parts if part.kind == "forbidden"])
    if banned:
        clauses.append(f"{_core_words(banned)} {'are' if len(banned) > 1 else 'is'} forbidden")
    shared = [part.core_class for part in parts if part.kind == "cores"]
    if shared:
        cores = _cores(relaxation, shared)
        few = "holds one layer" if len(cores) == 1 else f"hold one layer each, {len(cores)} in all"
        clauses.append(f"{_core_words(cores)} {few}")
    verb = "cannot be placed" if len(placed) == 1 else "cannot all be placed"
    return f"{names} {verb}: {'; '.join(clauses)}."


def _by_rule(parts: Sequence[Part]) -> dict[Rule, list[int]]:
    found: dict[Rule, list[int]] = {}
    for rule in Rule:
        layers = [part.layer for part in parts if part.kind == "rule" and part.rule == rule.name]
        if layers:
            found[rule] = layers
    return found
