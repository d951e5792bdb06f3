"""What the cells of a report say about each variant and each network."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

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

_VERDICTS: tuple[Verdict, ...] = ("plain", "divided", "infeasible", "unsupported", "undecided", "error")
# A core's resources in the order of the numbers in `Cell.used`, behind the core's id.
_OF_A_CORE: tuple[Resource, ...] = ("kernel", "neuron", "bias", "fan_out")


def resource_words(resource: Resource, core: int | None) -> str:
    """A resource in words: "neuron memory of core 2", "destinations of core 3", "cores"."""
    if resource == "cores":
        return "cores"
    name = "destinations" if resource == "fan_out" else f"{resource} memory"
    return name if core is None else f"{name} of core {core}"


def _counted(cells: Sequence[Cell]) -> dict[str, int]:
    counts = Counter(cell.verdict for cell in cells)
    return {verdict: counts[verdict] for verdict in _VERDICTS}


def variant_summaries(variants: Sequence[VariantRow], cells: Sequence[Cell]) -> tuple[VariantSummary, ...]:
    """One summary a variant, over the cells that are there."""
    by_variant: dict[int, list[Cell]] = defaultdict(list)
    for cell in cells:
        by_variant[cell.variant].append(cell)
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
    offered = _offered(core)
    found = []
    for n, resource in enumerate(_OF_A_CORE):
        taken = [row[n] for row in rows]
        possible = len(placed) * offered[n]
        found.append(
            MemoryUse(
                core=core.core,
                resource=resource,
                offered=offered[n],
                most_used=max(taken, default=0),
                mean_share=round(sum(taken) / possible, 6) if possible else 0.0,
                bottleneck=blamed[core.core, resource],
            )
        )
    return found


def network_summaries(
    networks: Sequence[NetworkRow], variants: Sequence[VariantRow], cells: Sequence[Cell]
) -> tuple[NetworkSummary, ...]:
    """One summary a network, over the cells that are there."""
    by_network: dict[int, list[Cell]] = defaultdict(list)
    for cell in cells:
        by_network[cell.network].append(cell)
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
    found = [(cell.repairs[0].change, cell.variant, cell.repairs[0]) for cell in cells if cell.repairs]
    if not found:
        return None
    _, variant, repair = min(found, key=lambda entry: entry[:2])
    return SmallestRepair(variant=variant, repair=repair)
