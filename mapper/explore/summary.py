"""What the cells of a report say about each variant and each network."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import Literal, get_args

from hwspec.schema import BIAS_WORD_BITS, KERNEL_WORD_BITS, NEURON_WORD_BITS
from mapper.explore.record import (
    Cell,
    MemoryUse,
    NetworkRow,
    NetworkSummary,
    Resource,
    SmallestRepair,
    VariantCore,
    VariantRow,
    VariantSummary,
    Verdict,
)

__all__ = ["network_summaries", "resource_words", "variant_summaries"]

# A core's resources in the order of the numbers in `Cell.used`, behind the core's id.
_OF_A_CORE: tuple[Resource, ...] = ("kernel", "neuron", "bias", "fan_out")


def resource_words(resource: Resource, core: int | None) -> str:
    """A resource in words: "neuron memory of core 2", "destinations of core 3", "cores"."""
    if resource == "cores":
        return "cores"
    name = "destinations" if resource == "fan_out" else f"{resource} memory"
    return name if core is None else f"{name} of core {core}"


def _grouped(cells: Sequence[Cell], side: Literal["network", "variant"]) -> dict[int, list[Cell]]:
    groups: dict[int, list[Cell]] = defaultdict(list)
    for cell in cells:
        groups[getattr(cell, side)].append(cell)
    return groups


def _counted(cells: Sequence[Cell]) -> dict[str, int]:
    counts = Counter(cell.verdict for cell in cells)
    return {verdict: counts[verdict] for verdict in get_args(Verdict)}


def variant_summaries(variants: Sequence[VariantRow], cells: Sequence[Cell]) -> tuple[VariantSummary, ...]:
    """One summary a variant, over the cells that are there."""
    by_variant = _grouped(cells, "variant")
    return tuple(_variant(number, row, by_variant[number]) for number, row in enumerate(variants))


def _variant(number: int, row: VariantRow, cells: Sequence[Cell]) -> VariantSummary:
    placed = [cell for cell in cells if cell.used]
    blamed: Counter[tuple[int | None, Resource]] = Counter()
    for cell in cells:
        blamed.update({*cell.blamed, *_tightest(row, cell)})
    used = {core for cell in placed for core, *_ in cell.used}
    taken = [sum(_bits(*words[1:4]) for words in cell.used) for cell in placed]
    share = sum(taken) / (len(placed) * row.capacity_bits) if placed and row.capacity_bits else None
    return VariantSummary(
        variant=number,
        **_counted(cells),
        memories=tuple(use for core in row.cores for use in _memories(core, placed, blamed)),
        cores_short=blamed[None, "cores"],
        unused_cores=tuple(core.core for core in row.cores if placed and core.core not in used),
        used_share=None if share is None else round(share, 6),
    )


def _tightest(row: VariantRow, cell: Cell) -> Iterator[tuple[int | None, Resource]]:
    """Every memory that is as full as the one that `Cell.margin` names, and the cores if all are taken."""
    if cell.margin is None:
        return
    if len(cell.used) == len(row.cores):
        yield None, "cores"
    for core, *taken in cell.used:
        for n, resource in enumerate(_OF_A_CORE[:3]):
            have = _offered(row.cores[core])[n]
            if have and round((have - taken[n]) / have, 6) == cell.margin.free_share:
                yield core, resource


def _offered(core: VariantCore) -> tuple[int, int, int, int]:
    return core.kernel_words, core.neuron_words, core.bias_words, core.fan_out


def _bits(kernel_words: int, neuron_words: int, bias_words: int) -> int:
    return KERNEL_WORD_BITS * kernel_words + NEURON_WORD_BITS * neuron_words + BIAS_WORD_BITS * bias_words


def _memories(
    core: VariantCore, placed: Sequence[Cell], blamed: Counter[tuple[int | None, Resource]]
) -> list[MemoryUse]:
    rows = [words[1:] for cell in placed for words in cell.used if words[0] == core.core]
    uses = []
    for n, (resource, offered) in enumerate(zip(_OF_A_CORE, _offered(core), strict=True)):
        taken, possible = [row[n] for row in rows], len(placed) * offered
        use = MemoryUse(
            core=core.core,
            resource=resource,
            offered=offered,
            most_used=max(taken, default=0),
            mean_share=round(sum(taken) / possible, 6) if possible else 0.0,
            bottleneck=blamed[core.core, resource],
        )
        uses.append(use)
    return uses


def network_summaries(
    networks: Sequence[NetworkRow], variants: Sequence[VariantRow], cells: Sequence[Cell]
) -> tuple[NetworkSummary, ...]:
    """One summary a network, over the cells that are there."""
    by_network = _grouped(cells, "network")
    return tuple(_network(number, len(variants), by_network[number]) for number in range(len(networks)))


def _network(number: int, variants: int, cells: Sequence[Cell]) -> NetworkSummary:
    tightest: list[str | None] = [None] * variants
    for cell in cells:
        if cell.margin is not None:
            tightest[cell.variant] = resource_words(cell.margin.resource, cell.margin.core)
    return NetworkSummary(
        network=number, **_counted(cells), tightest=tuple(tightest), repair=_smallest(cells)
    )


def _smallest(cells: Sequence[Cell]) -> SmallestRepair | None:
    """The least change; of equal ones that of the first variant."""
    repaired = [cell for cell in cells if cell.repairs]
    least = min(repaired, key=lambda cell: (cell.repairs[0].change, cell.variant), default=None)
    return None if least is None else SmallestRepair(variant=least.variant, repair=least.repairs[0])
