"""One network on one chip: the verdict, by what margin, or what stops it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from hwspec.schema import ChipSpec
from mapper.errors import NetworkError
from mapper.explore.identity import facts_hash
from mapper.explore.record import Cell
from mapper.explore.verdict import placed_cell, refused_cell
from mapper.normal_form import NormalNetwork
from mapper.options import SolveOptions
from mapper.question import Question
from mapper.question import decide as decide_question
from mapper.repairs.find import find_repairs
from mapper.result import Repair, Result, Status
from mapper.solver.budget import Budget

__all__ = ["Asked", "Shared", "at", "decide"]


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

    placed: dict[str, Result] = field(default_factory=dict)
    repairs: dict[str, tuple[tuple[Repair, ...], tuple[str, ...]]] = field(default_factory=dict)


def decide(network: NormalNetwork, chip: ChipSpec, asked: Asked, shared: Shared | None = None) -> Cell:
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


def _decided(network: NormalNetwork, chip: ChipSpec, asked: Asked, shared: Shared) -> Cell:
    question, facts = Question((network,), chip, asked.options), facts_hash(chip)
    budget = Budget(question.resolved)
    if facts in shared.placed:
        result = replace(shared.placed[facts], chip=chip)
    else:
        result = decide_question(question, "all" if asked.details else "reasons", budget)
    if result.statistics.interrupted:
        raise KeyboardInterrupt
    if result.solution is not None:
        shared.placed[facts] = result
        return placed_cell(network, result, details=asked.details)
    report = result.report
    if report is None:
        raise RuntimeError("a result has neither solution nor report")
    if asked.repairs and report.status is Status.INFEASIBLE:
        if facts not in shared.repairs:
            shared.repairs[facts] = find_repairs(question, report, asked.options.repairs, budget)
        repairs, missing = shared.repairs[facts]
        report = report.model_copy(update={"repairs": repairs, "repairs_missing": missing})
    return refused_cell(question.problems[0], report, details=asked.details)


def at(cell: Cell, network: int, variant: int) -> Cell:
    """The cell with its indexes."""
    return cell.model_copy(update={"network": network, "variant": variant})
