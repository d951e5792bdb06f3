"""Repairs of the chip: memory where it is short, further cores, further destinations."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from hwspec.schema import CoreSpec
from hwspec.variant import apply_overrides
from mapper.errors import SpecError
from mapper.problem import Problem
from mapper.reasons import Repair
from mapper.repairs.search import Search, largest, smallest
from mapper.solver.amounts import MEMORIES, least_extra
from mapper.wording import counted, join_names

__all__ = ["chip_repairs"]

# Bandwidths are tried in so many steps.
_BANDWIDTH_STEPS = 64


def chip_repairs(search: Search, kind: str) -> Iterator[Repair]:
    """Repairs of one kind: "memory", "cores", "memory_and_cores", "fan_out" or "bandwidth"."""
    if kind == "memory":
        candidates = _memory(search, search.problem, ())
        if candidates is not None:
            yield candidates
    elif kind == "cores":
        yield from _cores(search)
    elif kind == "memory_and_cores":
        yield from _memory_and_cores(search)
    elif kind == "bandwidth":
        yield from _bandwidth(search)
    else:
        yield from _fan_out(search)


def _total_bits(problem: Problem) -> int:
    return sum(core.capacity_bits for core in problem.chip.cores)


def _memory(search: Search, problem: Problem, overrides: tuple[str, ...]) -> Repair | None:
    """The least extra memory, in bits, with which every layer has a core."""
    if problem.faults:
        return None
    assigned = least_extra(problem, search.budget)
    if not assigned:
        return None
    enlarged: list[tuple[int, str, int, int]] = []
    bits = 0
    free = [iter(entry.core_ids) for entry in problem.classes]
    for layer, k in assigned:
        # Cores of a class are alike: the enlarged ones are its first.
        core = next(free[k])
        for lack in problem.shortfalls(layer)[k]:
            name, width = MEMORIES[lack.rule]
            before = getattr(problem.classes[k].core, name)
            enlarged.append((core, name, int(lack.demand), before))
            bits += width * (int(lack.demand) - before)
    sentences = [
        f"core {core}: {after} {name.replace('_', ' ')} instead of {before}"
        for core, name, after, before in sorted(enlarged)
    ]
    changes = tuple(f"core[{core}].{name}={after}" for core, name, after, _ in sorted(enlarged))
    total = _total_bits(search.problem)
    return Repair(
        sentence=f"{join_names(sentences)}.",
        kind="memory",
        change=round(bits / (bits + total), 4),
        overrides=(*overrides, *changes),
    )


def _more(search: Search, core: int, count: int) -> str:
    first = search.problem.chip.core_count
    return f"+core[{first}..{first + count - 1}]=core[{core}]"


def _kinds_of_cores(search: Search) -> list[tuple[int, CoreSpec]]:
    return [(entry.core_ids[0], entry.core) for entry in search.problem.chip.core_classes]


def _more_cores_text(count: int, core: int) -> str:
    return f"{count} more core{'s' * (count > 1)} like core {core}"


def _cores(search: Search) -> Iterator[Repair]:
    """Fewest further cores of one class; of equally few the smallest."""
    layers = len(search.problem.demands)
    candidates: list[tuple[int, int, int]] = []
    failed: list[CoreSpec] = []
    for core, spec in sorted(_kinds_of_cores(search), key=lambda kind: (-kind[1].capacity_bits, kind[0])):
        # Of as many that are smaller, or of more of any, nobody wants to know.
        most = min((count for count, *_ in candidates), default=layers)
        if any(_has_all(larger, spec) for larger in failed):
            continue
        least = max(1, search.bounds.further_cores(core, most))
        if least > most:
            continue

        count = smallest(least, most, partial(_fits_with_more, search, core))
        if count is None:
            failed.append(spec)
        else:
            candidates.append((count, spec.capacity_bits, core))
    for count, bits, core in sorted(candidates)[:1]:
        total = _total_bits(search.problem)
        yield Repair(
            sentence=f"{_more_cores_text(count, core)}.",
            kind="cores",
            change=round(count * bits / (count * bits + total), 4),
            overrides=(_more(search, core, count),),
        )


def _fits_with_more(search: Search, core: int, count: int) -> bool:
    return search.fits_on(_more(search, core, count))


def _has_all(larger: CoreSpec, smaller: CoreSpec) -> bool:
    """Whether a core holds whatever another one does."""
    memories = [(getattr(larger, name), getattr(smaller, name)) for name, _ in MEMORIES.values()]
    alike = smaller.model_copy(update={name: getattr(larger, name) for name, _ in MEMORIES.values()})
    return alike == larger and all(one >= two for one, two in memories)


def _memory_and_cores(search: Search) -> Iterator[Repair]:
    """As many further cores as layers are too many, and memory where it is then still short."""
    have = sum(len(entry.core_ids) for entry in search.problem.classes)
    count = len(search.problem.demands) - have
    if count < 1:
        return
    candidates = []
    for core, spec in _kinds_of_cores(search):
        override = _more(search, core, count)
        try:
            chip = apply_overrides(search.problem.chip, [override])
        except SpecError:
            continue
        repair = _memory(search, search.question.on(chip).problems[0], (override,))
        if repair is not None:
            candidates.append(
                (
                    repair.change
                    + count * spec.capacity_bits / _total_bits(search.question.on(chip).problems[0]),
                    core,
                    repair,
                )
            )
    for change, core, repair in sorted(candidates, key=lambda entry: entry[:2])[:1]:
        sentence = f"{_more_cores_text(count, core)}, and {repair.sentence}"
        update = {"sentence": sentence, "kind": "memory_and_cores", "change": round(min(change, 1.0), 4)}
        yield repair.model_copy(update=update)


def _bandwidth(search: Search) -> Iterator[Repair]:
    """As much bandwidth on every core as mends it, at most what the busiest layer takes whole."""
    chip = search.problem.chip
    stated = {n: core.synops_per_second for n, core in enumerate(chip.cores) if core.synops_per_second}
    have = min(stated.values())
    most = max(demand.work.synops_per_second for demand in search.problem.demands)

    def raised(less: int) -> tuple[int, tuple[str, ...]]:
        value = most - less * (most - have) // _BANDWIDTH_STEPS
        low = [n for n, bandwidth in stated.items() if bandwidth < value]
        cores = [f"0..{chip.core_count - 1}"] if 1 < len(low) == chip.core_count else low
        return value, tuple(f"core[{core}].synops_per_second={value}" for core in cores)

    best = largest(0, _BANDWIDTH_STEPS - 1, lambda less: search.fits_on(*raised(less)[1]), 0)
    if best is not None:
        value, overrides = raised(best)
        sentence = f"Cores with {value} SynOps/s instead of {have}."
        change = round(1 - have / value, 4)
        yield Repair(sentence=sentence, kind="bandwidth", change=change, overrides=overrides)


def _fan_out(search: Search) -> Iterator[Repair]:
    """As many destinations as the layer with the most wants, on every core or at the sensor stage."""
    chip, problem = search.problem.chip, search.problem
    destinations = max(demand.sending.destinations for demand in problem.demands)
    have = min(core.fan_out for core in chip.cores)
    if destinations > have:
        override = f"core[0..{chip.core_count - 1}].fan_out={destinations}"
        if search.fits_on(override):
            sentence = f"Cores with {counted(destinations, 'destination')} instead of {have}."
            yield Repair(
                sentence=sentence,
                kind="fan_out",
                change=round(1 - have / destinations, 4),
                overrides=(override,),
            )
    stage = chip.input
    if stage is not None and len(problem.dvs_edges) > stage.fan_out:
        destinations, override = len(problem.dvs_edges), f"input.fan_out={len(problem.dvs_edges)}"
        if search.fits_on(override):
            sentence = f"A sensor stage with {destinations} destinations instead of {stage.fan_out}."
            change = round(1 - stage.fan_out / destinations, 4)
            yield Repair(sentence=sentence, kind="fan_out", change=change, overrides=(override,))
