"""One network on one chip: the verdict, by what margin, or what stops it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from hwspec.schema import ChipSpec
from mapper.errors import NetworkError, VerificationError
from mapper.explore.identity import facts_hash
from mapper.explore.record import Cell, Gap, Margin, Resource
from mapper.network import Network
from mapper.options import SolveOptions, resolve
from mapper.passes.legalize import legalize
from mapper.problem import Problem
from mapper.record import CoreUse, core_use, placement_record
from mapper.result import Conflict, FeasibilityReport, Repair, Result, Status
from mapper.rules import Rule
from mapper.solution import LayerPart, Solution
from mapper.solver.budget import Budget
from mapper.solver.divided.run import solve_divided
from mapper.solver.explain import infeasible_report, undecided_report
from mapper.solver.plain import solve_plain
from mapper.solver.repair import find_repairs
from mapper.solver.run import solve
from mapper.verify import verify
from mapper.wording import join_names

__all__ = ["Asked", "Shared", "at", "decide"]

_MEMORIES: tuple[Resource, ...] = ("kernel", "neuron", "bias")
_BLAMED: dict[str, Resource] = {
    Rule.KERNEL_MEMORY.code: "kernel",
    Rule.NEURON_MEMORY.code: "neuron",
    Rule.BIAS_MEMORY.code: "bias",
    Rule.FAN_OUT.code: "fan_out",
}


@dataclass(frozen=True, slots=True)
class Asked:
    """How much of a cell is wanted.

    Attributes
    ----------
    details
        Keep placement and report, the conflict with all moves included: it takes ten times a verdict.
    """

    options: SolveOptions
    repairs: bool = False
    details: bool = False


@dataclass(slots=True)
class Shared:
    """What variants with the same facts under other names share, for one network, by `facts_hash`."""

    placed: dict[str, tuple[Status, Solution]] = field(default_factory=dict)
    repairs: dict[str, tuple[tuple[Repair, ...], tuple[str, ...]]] = field(default_factory=dict)


def decide(network: Network, chip: ChipSpec, asked: Asked, shared: Shared | None = None) -> Cell:
    """A cell with the indexes 0; whatever goes wrong is a verdict too, so that other cells go on.

    Parameters
    ----------
    network
        After the chip-free passes.

    Raises
    ------
    KeyboardInterrupt
        Ctrl-C, also where it ended the solver alone: what that then says is no verdict.
    """
    try:
        return _decided(network, chip, asked, shared or Shared())
    except NetworkError as error:
        return Cell(network=0, variant=0, verdict="unsupported", sentence=str(error))
    except Exception as error:  # one failing cell must not take the rest with it
        sentence = f"{type(error).__name__}: {error}"
        return Cell(network=0, variant=0, verdict="error", sentence=sentence)


def _decided(network: Network, chip: ChipSpec, asked: Asked, shared: Shared) -> Cell:
    legal = (legalize(network, chip),)
    problem = Problem(legal, chip, resolve(asked.options, legal, chip))
    facts = facts_hash(chip)
    result = _known(problem, shared.placed.get(facts)) or _solved(problem, asked)
    if result.statistics.interrupted:
        raise KeyboardInterrupt
    if result.solution is not None:
        violations = verify(result.networks, chip, problem.options, result.solution)
        if violations:
            raise VerificationError(violations)
        shared.placed[facts] = (result.status, result.solution)
        return _placed_cell(network, result, asked)
    report = result.report
    if report is None:
        raise RuntimeError("a result has neither solution nor report")
    if asked.repairs and report.status is Status.INFEASIBLE:
        if facts not in shared.repairs:
            shared.repairs[facts] = find_repairs((network,), problem, report, asked.options.repairs)
        repairs, missing = shared.repairs[facts]
        report = report.model_copy(update={"repairs": repairs, "repairs_missing": missing})
    return _refused_cell(report, asked)


def _known(problem: Problem, placed: tuple[Status, Solution] | None) -> Result | None:
    """The placement of a chip that has the same facts."""
    if placed is None:
        return None
    status, solution = placed
    statistics = Budget(problem.options).statistics()
    return Result(status, problem.networks, problem.chip, problem.options, solution, None, statistics)


def _solved(problem: Problem, asked: Asked) -> Result:
    """As `mapper.solver.run.solve`; where no details are wanted, without the conflict of divided layers."""
    if asked.details:
        return solve(problem)
    budget = Budget(problem.options)
    status, solution = solve_plain(problem, budget)
    if status is Status.INFEASIBLE and problem.options.divides:
        status, solution = solve_divided(problem, budget)
    report = None
    if status is Status.INFEASIBLE:
        report = infeasible_report(problem)
    elif solution is None:
        report = undecided_report(problem, budget.stopped_by or "a limit")
    statistics = budget.statistics()
    return Result(status, problem.networks, problem.chip, problem.options, solution, report, statistics)


def _placed_cell(network: Network, result: Result, asked: Asked) -> Cell:
    solution, uses = result.require(), [use for use in core_use(result) if use.layer is not None]
    cores: dict[str, list[int]] = {layer.name: [] for layer in network.layers}
    for place in solution.placements:
        if isinstance(place.body, LayerPart):
            cores[place.body.layer].append(place.core)
    sent = Counter(route.source for route in solution.routes)
    plain = all(use.role == "layer" for use in uses)
    return Cell(
        network=0,
        variant=0,
        verdict="plain" if plain else "divided",
        cores_used=len(uses),
        margin=_margin(result.chip, uses),
        layer_cores=tuple(tuple(sorted(found)) for found in cores.values()),
        used=tuple(
            (use.core, use.kernel_words[0], use.neuron_words[0], use.bias_words[0], sent[use.core])
            for use in uses
        ),
        placement=placement_record(result) if asked.details else None,
    )


def _margin(chip: ChipSpec, uses: list[CoreUse]) -> Margin:
    """The least free share over used cores and their memories; of equal ones the first by core."""
    found = [
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
    if len(uses) == chip.core_count:
        count = len(uses)
        found.append(
            Margin(resource="cores", core=None, layer=None, used=count, offered=count, free_share=0.0)
        )
    return min(found, key=lambda margin: margin.free_share)


def _refused_cell(report: FeasibilityReport, asked: Asked) -> Cell:
    undecided = report.status is Status.UNDECIDED
    sentences = report.sentences()
    conflict = None if report.conflict is None else report.conflict.sentence
    if conflict is not None and asked.options.divides:
        further = report.divided.sentence if report.divided else _no_move_helps(asked.options)
        conflict = f"{conflict} {further}"
    return Cell(
        network=0,
        variant=0,
        verdict="undecided" if undecided else "infeasible",
        sentence=sentences[0] if sentences else conflict or "No placement exists, proven.",
        nature=report.nature,
        gaps=tuple(
            Gap(
                rule=entry.rule,
                code=entry.code,
                layers=entry.layers,
                demand=entry.demand,
                bound=entry.bound,
                gap=entry.gap,
                unit=entry.unit,
            )
            for entry in report.unmet
        ),
        conflict=conflict,
        blamed=tuple(dict.fromkeys(_blamed(report.conflict))) if report.conflict else (),
        repairs=report.repairs,
        report=report if asked.details else None,
    )


def _no_move_helps(options: SolveOptions) -> str:
    moves = {"pieces": options.max_pieces != 1, "relays": options.relays, "copies": options.max_copies > 1}
    names = join_names([name for name, allowed in moves.items() if allowed])
    return f"{names.capitalize()} do not help, proven."


def _blamed(conflict: Conflict) -> Iterator[tuple[int | None, Resource]]:
    """The memories that keep layers of the conflict off cores, and the number of cores."""
    for entry in conflict.requirements:
        if entry.kind == "cores":
            yield None, "cores"
        elif entry.code in _BLAMED:
            for core in entry.cores:
                yield core, _BLAMED[entry.code]


def at(cell: Cell, network: int, variant: int) -> Cell:
    """The cell with its indexes."""
    return cell.model_copy(update={"network": network, "variant": variant})
