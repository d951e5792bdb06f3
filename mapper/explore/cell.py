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


def at(cell: Cell, network: int, variant: int) -> Cell:
    """The cell with its indexes."""
    return cell.model_copy(update={"network": network, "variant": variant})
