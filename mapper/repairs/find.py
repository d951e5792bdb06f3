"""Changes that would make a network fit: each one solved and checked before it is shown.

A repair changes requests, sizes of the network, or facts of the chip. Per kind the least change that
works is sought: by bisection where less always asks less of the cores, elsewhere value by value. Edited
networks have shapes alone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence, Sized
from dataclasses import replace
from typing import TypeAlias

from hwspec.catalog import is_shipped
from mapper.activity import doing
from mapper.asking import REPAIR
from mapper.errors import MapperError
from mapper.options import RepairOf, SolveOptions
from mapper.question import Question, decide
from mapper.reasons import FeasibilityReport, Repair, Status
from mapper.repairs.chip import chip_repairs
from mapper.repairs.combined import combined_repairs
from mapper.repairs.network import single_repairs, unfolded_repairs
from mapper.repairs.search import Search, repaired, smallest
from mapper.result import Result
from mapper.rules import Rule
from mapper.solver.budget import Budget
from mapper.wording import join_numbers

__all__ = ["CHIP_KINDS", "KINDS", "NETWORK_KINDS", "find_repairs", "with_repairs", "works"]

NETWORK_KINDS = ("features", "kernel", "stride", "pooling", "padding", "input_size")
_COMBINED_KINDS = ("legal_values", "several", "width")
CHIP_KINDS = ("memory", "cores", "memory_and_cores", "fan_out", "bandwidth")
KINDS = ("request", *NETWORK_KINDS, *_COMBINED_KINDS, *CHIP_KINDS)
# The order in which they are sought: those first that few questions answer, or that mend most networks.
_SOUGHT = (
    *(
        "request",
        "memory",
        "bandwidth",
        "fan_out",
        "width",
        "cores",
        "memory_and_cores",
        "features",
        "input_size",
    ),
    *("several", "stride", "pooling", "kernel", "padding", "legal_values"),
)
# How much a search may take, and the check of what it finds, where no limits are given: a few seconds, and
# many times what nine cores take.
_EFFORT = 2.0
# With limits, the share of them that is for proposals; the rest is for their check.
_SHARE = 0.7
# Of more wishes that are withdrawn at once it is not asked of each whether it could stand.
_WISHES_MAX = 12
# A layer and the core that it is pinned to, or None and a forbidden core.
_Wish: TypeAlias = tuple[str | None, int]


def with_repairs(question: Question, result: Result, budget: Budget) -> Result:
    """The result of a question, and how to mend it where it is infeasible, as far as limits allow."""
    report, count = result.report, question.resolved.repairs
    if report is None or report.status is not Status.INFEASIBLE or count < 1:
        return result
    repairs, missing = find_repairs(question, report, count, budget)
    changes = {
        "repairs": repairs,
        "repairs_missing": missing,
        "repairs_note": _why_none(question, report),
        "cut_short": tuple(budget.cut_short),
    }
    return replace(result, report=report.model_copy(update=changes), statistics=budget.statistics())


def _why_none(question: Question, report: FeasibilityReport) -> str | None:
    """Why sizes of the network are not changed, where nothing but the network may be."""
    if question.resolved.repair != "network":
        return None
    if len(question.networks) > 1:
        why = "sizes are changed of one network alone"
    elif any(entry.code == Rule.ONE_LAYER_PER_CORE.code for entry in report.unmet):
        why = "smaller layers are as many, and there are fewer cores"
    else:
        return None
    return f"no repair of the network: {why}; {REPAIR.to('chip')} changes the chip"


def find_repairs(
    question: Question, report: FeasibilityReport, count: int, budget: Budget
) -> tuple[tuple[Repair, ...], tuple[str, ...]]:
    """The least changes after which the network fits, and the kinds of which none exists.

    The best of every kind come first, ordered by how little they change, then the second best; of a chip that
    is shipped as it is, those of the network before those of the chip. Sizes of
    several networks are not changed: requests and chip are.

    Parameters
    ----------
    count
        How many repairs to find at most, >= 0.
    budget
        Of the question; kinds that a limit left untried are named in its `cut_short`. Without limits the
        search has one of its own, which is the same on every machine.
    """
    if count < 1:
        return (), ()
    limited = question.resolved.time_limit_s is not None or question.resolved.work_limit is not None
    seeking, checking = (budget.share(_SHARE), budget) if limited else [budget.aside(_EFFORT) for _ in "12"]
    search, is_product = Search(question, report, seeking), is_shipped(question.chip)
    proposals, missing = _proposals(search, count, is_product=is_product)
    checked: list[Repair] = []
    try:
        for repair in _ranked(proposals, is_product=is_product):
            if len(checked) == count:
                break
            is_found = not checking.is_spent and works(question, repair, checking)
            if is_found:
                checked.append(repair)
            elif checking.is_spent:
                # Before the check or within it, which then says nothing of this repair.
                checking.leave("the check of further repairs")
                break
    except KeyboardInterrupt:
        checking.interrupt()
    if checking.is_interrupted:
        checking.leave("the check of further repairs")
    return tuple(checked), missing


def _proposals(
    search: Search, count: int, *, is_product: bool
) -> tuple[dict[str, list[Repair]], tuple[str, ...]]:
    """Repairs by kind, so many that none is better than the best; and the kinds of which none exists."""
    proposals: dict[str, list[Repair]] = {}
    kinds = [kind for kind in allowed_kinds(search.question.resolved.repair) if _is_for(search, kind)]
    sought = [kind for kind in _SOUGHT if kind in kinds]
    more: dict[str, Iterator[Repair]] = {}
    untried = set(kinds)
    try:
        # The best of every kind comes before the second best of any.
        while sought:
            for kind in sought:
                untried.add(kind)
                doing(f"looking for repairs: {kind.replace('_', ' ')}")
                if not search.budget.is_spent and kind not in more and _is_open(search, kind, proposals):
                    more[kind], proposals[kind] = _of_kind(search, kind), []
                found = next(more.get(kind, iter(())), None)
                if found is not None:
                    proposals[kind].append(found)
                elif kind in more:
                    del more[kind]
                if search.budget.is_spent:
                    break
                untried.remove(kind)
            if search.budget.is_spent:
                break
            sought = _further(proposals, more, count, is_product=is_product)
    except KeyboardInterrupt:
        search.budget.interrupt()
    if untried:
        names = ", ".join(kind for kind in kinds if kind in untried).replace("_", " ")
        search.budget.leave("repairs" if len(untried) == len(kinds) else f"repairs ({names})")
    missing = (kind for kind in kinds if kind in proposals and kind not in untried)
    return proposals, tuple(kind for kind in missing if not proposals[kind])


def _further(
    proposals: Mapping[str, Sized], more: Collection[str], count: int, *, is_product: bool
) -> list[str]:
    """Kinds of which the next best is wanted, among those that have more: none where there are enough."""
    have = 0
    for is_last in (False, True):
        kinds = [
            kind
            for kind in _SOUGHT
            if kind in proposals and is_last is _comes_last(kind, is_product=is_product)
        ]
        have += sum(len(proposals[kind]) for kind in kinds)
        wanted = [kind for kind in kinds if kind in more]
        if have >= count or wanted:
            return [] if have >= count else wanted
    return []


def _comes_last(kind: str, *, is_product: bool) -> bool:
    """Whether all others are shown first: what would change a chip that was bought."""
    return is_product and kind in CHIP_KINDS


def allowed_kinds(repair: RepairOf) -> tuple[str, ...]:
    """Kinds of repair that change what may be changed, in the order of `KINDS`."""
    unwanted = {"any": (), "network": CHIP_KINDS, "chip": (*NETWORK_KINDS, *_COMBINED_KINDS)}[repair]
    return tuple(kind for kind in KINDS if kind not in unwanted)


def _ranked(proposals: dict[str, list[Repair]], *, is_product: bool) -> list[Repair]:
    """Those that change least first; of a chip that was bought, those of the network before all others."""
    rows = [
        (_comes_last(kind, is_product=is_product), rank, repair.change, KINDS.index(kind), repair)
        for kind, repairs in proposals.items()
        for rank, repair in enumerate(repairs)
    ]
    return [repair for *_, repair in sorted(rows, key=lambda row: row[:4])]


def works(question: Question, repair: Repair, budget: Budget) -> bool:
    """Whether the question as the repair changes it has a placement that passes the checker."""
    try:
        changed = repaired(question, repair)
        changed.resolved  # noqa: B018  # what no longer applies is no repair; a fault of the solver is one
    except MapperError:
        return False
    return decide(changed, "reasons", budget.aside()).solution is not None


def _is_for(search: Search, kind: str) -> bool:
    """Whether repairs of a kind are for such a question at all."""
    if kind == "request":
        return bool(search.question.resolved.pins or search.question.resolved.forbidden_cores)
    if kind == "bandwidth":
        return any(lack.code == Rule.BANDWIDTH.code for lack in search.report.unmet)
    # Sizes do not change the number of layers.
    return kind in CHIP_KINDS or not (search.too_many_layers or len(search.question.networks) > 1)


def _is_open(search: Search, kind: str, proposals: dict[str, list[Repair]]) -> bool:
    """Whether repairs of a kind are worth seeking, after those before it."""
    if kind == "memory_and_cores":
        return not (proposals["memory"] or proposals["cores"])
    if kind == "request" or kind in CHIP_KINDS:
        return True
    # But for pools, sizes do not change what weights forbid.
    if kind != "pooling" and search.fits_with():
        return False
    return kind != "legal_values" or not any(proposals.get(k) for k in NETWORK_KINDS)


def _of_kind(search: Search, kind: str) -> Iterator[Repair]:
    if kind == "request":
        return _requests(search)
    if kind in CHIP_KINDS:
        return chip_repairs(search, kind)
    if kind == "pooling" and search.fits_with():
        return unfolded_repairs(search)
    return single_repairs(search, kind) if kind in NETWORK_KINDS else combined_repairs(search, kind)


def _requests(search: Search) -> Iterator[Repair]:
    """Pins and forbidden cores to withdraw: one, or else as few as are found to do."""
    wishes = _wishes(search)
    working: list[tuple[_Wish, ...]] = [
        (wish,) for wish in wishes if search.fits_asked(_without(search, [wish]))
    ]
    if not working and len(wishes) > 1 and search.fits_asked(_without(search, wishes)):
        working = [_needed(search, wishes)]
    for withdrawn in working:
        pins = {name: core for name, core in withdrawn if name is not None}
        cores = tuple(core for name, core in withdrawn if name is None)
        titles = search.problem.titles(tuple(pins))
        words = [f"unpin {title} (core {core})" for title, core in zip(titles, pins.values(), strict=True)]
        if cores:
            words.append(f"allow core{'s' * (len(cores) > 1)} {join_numbers(cores)}")
        sentence = ", ".join(words)
        yield Repair(
            sentence=f"{sentence[0].upper()}{sentence[1:]}.",
            kind="request",
            change=0.0,
            dropped_pins=tuple(pins),
            allowed_cores=tuple(sorted(cores)),
        )


def _wishes(search: Search) -> list[_Wish]:
    """Forbidden cores, the largest first, and pins: what is withdrawn first comes first."""
    options, cores = search.question.resolved, search.question.chip.cores
    forbidden = sorted(options.forbidden_cores, key=lambda core: (-cores[core].capacity_bits, core))
    pins = {str(layer): core for layer, core in options.pins}
    return [*((None, core) for core in forbidden), *pins.items()]


def _needed(search: Search, wishes: list[_Wish]) -> tuple[_Wish, ...]:
    """As few of the first wishes as are found to do, if all do: withdrawing more never fits less."""

    def do(withdrawn: list[_Wish]) -> bool:
        return search.fits_asked(_without(search, withdrawn))

    count = smallest(2, len(wishes) - 1, lambda count: do(wishes[:count])) or len(wishes)
    needed = wishes[:count]
    for wish in reversed(needed[:-1]) if count <= _WISHES_MAX else ():
        others = [entry for entry in needed if entry != wish]
        needed = others if do(others) else needed
    return tuple(needed)


def _without(search: Search, withdrawn: Sequence[_Wish]) -> SolveOptions:
    options, unpinned = search.question.resolved, {layer for layer, _ in withdrawn}
    return replace(
        options,
        pins=tuple((layer, core) for layer, core in options.pins if str(layer) not in unpinned),
        forbidden_cores=tuple(core for core in options.forbidden_cores if (None, core) not in withdrawn),
    )
