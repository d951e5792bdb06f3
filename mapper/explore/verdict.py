"""What a result says, as a cell: margin and use where it is placed, else what stops it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from hwspec.schema import ChipSpec
from mapper.explore.record import Cell, Margin, Resource
from mapper.network import Network
from mapper.options import moves_of
from mapper.problem import Problem
from mapper.reasons import Conflict, FeasibilityReport, Status, Unmet
from mapper.record import CoreUse, core_use, placement_record
from mapper.result import Result
from mapper.rules import Rule
from mapper.solver.divided.decisive import decisive_unmet
from mapper.wording import join_names

__all__ = ["placed_cell", "refused_cell"]

_MEMORIES: tuple[Resource, ...] = ("kernel", "neuron", "bias")
_BLAMED: dict[str, Resource] = {
    Rule.KERNEL_MEMORY.code: "kernel",
    Rule.NEURON_MEMORY.code: "neuron",
    Rule.BIAS_MEMORY.code: "bias",
    Rule.FAN_OUT.code: "fan_out",
}


def placed_cell(network: Network, result: Result, *, details: bool) -> Cell:
    """The cell of a placement.

    Parameters
    ----------
    network
        After the chip-free passes: its order of layers is the cell's.
    """
    solution, uses = result.require(), [use for use in core_use(result) if use.layer is not None]
    sent = Counter(route.source for route in solution.routes)
    plain = all(use.role == "layer" for use in uses) and not result.networks[0].origins
    return Cell(
        network=0,
        variant=0,
        verdict="plain" if plain else "divided",
        cores_used=len(uses),
        margin=_margin(result.chip, uses),
        layer_cores=tuple(tuple(result.cores_of(0, layer.name)) for layer in network.layers),
        used=tuple(
            (use.core, use.kernel_words[0], use.neuron_words[0], use.bias_words[0], sent[use.core])
            for use in uses
        ),
        placement=placement_record(result) if details else None,
    )


def _margin(chip: ChipSpec, uses: list[CoreUse]) -> Margin:
    """The least free share over used cores and their memories; of equal ones the first by core."""
    margins = [
        Margin(
            resource=resource,
            core=use.core,
            layer=use.layer,
            used=taken,
            offered=offered,
            free_share=round((offered - taken) / offered, 6),
        )
        for use in uses
        for resource in _MEMORIES
        for taken, offered in [getattr(use, f"{resource}_words")]
        if offered
    ]
    if len(uses) == (count := chip.core_count):
        full = Margin(resource="cores", core=None, layer=None, used=count, offered=count, free_share=0.0)
        margins.append(full)
    return min(margins, key=lambda margin: margin.free_share)


def refused_cell(problem: Problem, report: FeasibilityReport, *, details: bool) -> Cell:
    """The cell of a network that has no placement, or none within the limits."""
    undecided = report.status is Status.UNDECIDED
    first = None if undecided else decisive_unmet(problem, report)
    # Where nothing is decisive by itself, layers that compete say more than one that may be cut.
    rivals = tuple(entry.sentence for entry in report.certificate)
    sentences = (*rivals, *report.sentences()) if first is None else (first.sentence,)
    conflict = None if report.conflict is None else report.conflict.sentence
    if conflict is not None:
        moves = join_names(moves_of(problem.options)).capitalize()
        scope = f"{moves} do not help, proven." if moves else "Proven of whole layers alone."
        conflict = f"{conflict} {report.divided.sentence if report.divided else scope}"
    unmet_first = report.unmet if first is None else (first, *(e for e in report.unmet if e != first))
    return Cell(
        network=0,
        variant=0,
        verdict="undecided" if undecided else "infeasible",
        sentence=sentences[0] if sentences else conflict or "No placement exists, proven.",
        nature=report.nature,
        gaps=tuple(entry.bare() for entry in unmet_first),
        conflict=conflict,
        blamed=tuple(dict.fromkeys(_blamed(report.conflict, first))),
        repairs=report.repairs,
        report=report if details else None,
    )


def _blamed(conflict: Conflict | None, first: Unmet | None) -> Iterator[tuple[int | None, Resource]]:
    """The memories that keep layers of the conflict off cores, and the number of cores."""
    if first is not None and first.code == Rule.ONE_LAYER_PER_CORE.code:
        yield None, "cores"
    for entry in conflict.requirements if conflict else ():
        if entry.kind == "cores":
            yield None, "cores"
        elif entry.code in _BLAMED:
            for core in entry.cores:
                yield core, _BLAMED[entry.code]
