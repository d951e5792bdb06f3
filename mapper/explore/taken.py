"""What a cell that comes from a file says of a placement, held against network and chip."""

from __future__ import annotations

from hwspec.schema import ChipSpec
from mapper.explore.cell import CellOptions
from mapper.explore.record import Cell
from mapper.explore.verdict import placed_cell
from mapper.normal_form import NormalNetwork
from mapper.problem import Problem
from mapper.question import Question
from mapper.reasons import Status
from mapper.record import LayerSizes, PlacementRecord, layer_sizes
from mapper.result import Result, Statistics
from mapper.verify import verify

__all__ = ["is_true"]

_NOTHING = Statistics(wall_s=0.0, deterministic_time=0.0, variables=0, constraints=0, solves=0)


def is_true(cell: Cell, network: NormalNetwork, chip: ChipSpec, options: CellOptions) -> bool:
    """Whether a cell's placement passes the checker, and the cell says what follows from it and no more.

    A cell that keeps no placement says nothing that could be checked: True.
    """
    if cell.placement is None:
        return True
    question = Question((network,), chip, options.solve)
    return any(_says(cell, cell.placement, network, question, problem) for problem in question.problems)


def _says(
    cell: Cell, record: PlacementRecord, network: NormalNetwork, question: Question, problem: Problem
) -> bool:
    """The same under one setting of the sensor stage."""
    names = set(LayerSizes.model_fields)
    sizes = {(layer.network, layer.name): layer.model_dump(include=names) for layer in record.layers}
    chosen = {}
    for number, demand in enumerate(problem.demands):
        own = sizes.get((demand.network, demand.layer))
        form = next((n for n, work in enumerate(problem.works[number]) if layer_sizes(work) == own), None)
        if form is None:
            return False
        if form:
            chosen[number] = form
    networks, solution = problem.networks_as(chosen), record.solution
    is_optimal = record.status == Status.OPTIMAL
    if verify(networks, question.chip, question.resolved, solution) or (
        is_optimal and not all(stage.proven for stage in solution.objectives)
    ):
        return False
    status = Status.OPTIMAL if is_optimal else Status.FEASIBLE
    result = Result(status, networks, question.chip, question.resolved, solution, None, _NOTHING)
    said = placed_cell(network, result, details=True)
    kept = {"network": cell.network, "variant": cell.variant, "checksum": cell.checksum}
    return said.model_copy(update=kept) == cell
