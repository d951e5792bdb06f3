"""What cannot hold together, and the least that would have to be given up."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from hwspec.variant import SET
from mapper.asking import spoken
from mapper.faults import ChipFault
from mapper.reasons import Conflict, Correction, DividedConflict, Requirement
from mapper.rules import Rule
from mapper.solver.cp_sat import Model
from mapper.solver.exchange import Exchange
from mapper.solver.or_tools import cp_model
from mapper.solver.requirements import Part, Requirements
from mapper.solver.sentences import Sentences
from mapper.wording import counted, join_names

__all__ = ["find_conflict", "find_correction"]

# What is left out together, and in this order: a conflict of few destinations, then of few layers.
_BLOCKS = (("slots", "monitors"), ("layer",), ("limit", "pin", "forbidden", "cores"))
# One requirement given up outweighs every preference between single ones.
_ONE = 1_000_000
_PREFERENCE = {"pin": 0, "forbidden": 1000, "limit": 2000, "cores": 4000}


def find_conflict(asked: Requirements) -> Conflict | None:
    """An irreducible conflict of an infeasible problem; None if a limit came before its proof.

    Rules that the chip as a whole breaks are a conflict each by themselves, and the first is taken.
    Otherwise requirements are left out, the last in canonical order first, and stay out if the others
    still exclude one another.
    """
    if asked.faults:
        entry = _fault(asked.faults[0])
        return Conflict(sentence=entry.sentence, requirements=(entry,), irreducible=True)
    kept, irreducible, exchange = list(asked.parts), True, Exchange(asked)
    for kinds in _BLOCKS:
        layers = {part.index for part in kept if part.kind == "layer"}
        kept = [part for part in kept if asked.matters(part, layers)]
        block = [part for part in reversed(kept) if part.kind in kinds]
        others = [part for part in kept if part.kind not in kinds]
        # Mostly memory is short, and no destination is in the way.
        at_once = max(1, len(block)) if kinds == _BLOCKS[0] else 1
        needed, sure = _reduced(block, others, exchange, at_once)
        kept = [part for part in kept if part in others or part in needed]
        irreducible = irreducible and sure
    if len(kept) == len(asked.parts) and (asked.budget.is_spent or asked.possible(kept) is not False):
        return None
    words = Sentences(asked, kept)
    sentence, requirements = words.conflict(), tuple(map(words.requirement, kept))
    if not words.moves:
        return Conflict(sentence=sentence, requirements=requirements, irreducible=irreducible)
    return DividedConflict(
        sentence=sentence, moves=words.moves, requirements=requirements, irreducible=irreducible
    )


def _fault(fault: ChipFault) -> Requirement:
    sentence = f"{fault.rule.value.title} ({fault.rule.code}): {fault.terms}."
    code = fault.rule.code
    return Requirement(sentence=sentence, kind="chip", code=code, layers=fault.layers, cores=())


def _reduced(
    block: list[Part], others: list[Part], exchange: Exchange, at_once: int
) -> tuple[list[Part], bool]:
    """Leave out, one after the other, what others exclude without it; and whether nothing more could go.

    Parameters
    ----------
    at_once
        How many to leave out together at first. Twice as many follow where these can go, half as many where
        they cannot: what stays is the same as one by one.
    """
    kept, start, size, sure, asked = block, 0, at_once, True, exchange.asked
    while start < len(kept):
        if asked.budget.is_spent:
            asked.budget.leave("the smallest conflict")
            return kept, False
        size = min(size, len(kept) - start)
        # What is needed anyhow is left out with nothing else.
        needed = (n for n in range(size) if exchange.shows([*others, *kept], kept[start + n]))
        taken = next(needed, size)
        if not taken:
            start += 1
            continue
        rest = kept[:start] + kept[start + taken :]
        known = exchange.within([*others, *kept], kept[start : start + taken])
        verdict = asked.possible([*others, *rest], known)
        if verdict is False:
            kept, size = rest, 2 * size
        elif taken > 1:
            size = taken // 2
        else:
            sure, start = sure and verdict is not None, start + 1
    return kept, sure


def find_correction(asked: Requirements) -> Correction | None:
    """The fewest requirements of whole layers to give up; None if a limit came before the proof.

    Layers stay: a network without one of them is another network. Among equally few, requests are given
    up before rules, rules that are missed by little before others, and single cores before further cores.
    """
    model = Model()
    layers = asked.problem.by_name
    dropped = {
        part: model.new_bool_var("") if part.kind != "cores" else model.new_int_var(0, len(layers), "")
        for part in asked.parts
        if part.kind != "layer"
    }
    users: dict[int, list[cp_model.IntVar]] = defaultdict(list)
    for layer in layers:
        asked.budget.require_time()
        options = []
        for k in range(len(asked.classes)):
            here = model.new_bool_var("")
            options.append(here)
            users[k].append(here)
            for part in asked.against(layer, k):
                model.add_implication(here, dropped[part])
        model.add_exactly_one(options)
    for k, variables in users.items():
        cores = asked.classes[k].core_ids
        model.add(cp_model.LinearExpr.sum(variables) - dropped[Part("cores", cores[0])] <= len(cores))
    weights = [_ONE + _preference(asked, part) for part in dropped]
    model.minimize(cp_model.LinearExpr.weighted_sum(list(dropped.values()), weights))
    solver, status = asked.budget.aside().run(model)
    if status != cp_model.OPTIMAL:
        return None
    counts = {part: solver.value(variable) for part, variable in dropped.items()}
    words = Sentences(asked, asked.parts)
    entries = [*map(_fault, asked.faults), *(words.requirement(part) for part in counts if counts[part])]
    if not entries:
        return None
    return Correction(sentence=_correction_sentence(asked, counts), requirements=tuple(entries))


def _correction_sentence(asked: Requirements, counts: Mapping[Part, int]) -> str:
    less = [f"{fault.rule.value.title}: {fault.terms}" for fault in asked.faults]
    rules: dict[Rule, list[str]] = {}
    more: list[str] = []
    added: list[tuple[range, int]] = []
    for part, count in counts.items():
        if not count:
            continue
        if part.kind == "limit":
            rules.setdefault(part.rule, []).append(asked.problem.title(part.index))
        elif part.kind == "cores":
            more.append(f"{counted(count, 'more core')} like core {part.index}")
            first = asked.problem.chip.core_count + sum(len(ids) for ids, _ in added)
            added.append((range(first, first + count), part.index))
        elif part.kind == "forbidden":
            less.append(f"the ban of core {part.index}")
        else:
            less.append(f"the pin of {asked.problem.title(part.index)} to core {asked.pins[part.index]}")
    for rule in sorted(rules, key=list(Rule).index):
        less.append(f"the limit of {rule.value.title} for {join_names(rules[rule])} ({rule.code})")
    changes = [f"{word} {join_names(names)}" for word, names in (("without", less), ("with", more)) if names]
    return f"As whole layers it would fit {' and '.join(changes)}{_as_asked(added) if not less else ''}."


def _as_asked(added: Sequence[tuple[range, int]]) -> str:
    """How further cores are asked for, where they are all that is missing."""
    overrides = [f"+core[{ids[0]}..{ids[-1]}]=core[{model}]" for ids, model in added]
    typed = " ".join(f'{SET} "{override}"' for override in overrides)
    return f": {spoken(command=typed, python=f'{SET}={overrides}')}"


def _preference(asked: Requirements, part: Part) -> int:
    """Which of equally few requirements to name: 0..9999, smaller is preferred."""
    if part.kind != "limit":
        return _PREFERENCE[part.kind] + min(asked.cores_of(part)[0], 900)
    shares = [
        100 * lack.gap // max(lack.bound, 1)
        for lacks in asked.tables.problem.shortfalls(part.index)
        for lack in lacks
        if lack.rule is part.rule and lack.gap is not None and isinstance(lack.bound, int)
    ]
    return _PREFERENCE["limit"] + min(min(shares, default=1000), 1000)
