"""One network on one chip: the verdict, by what margin, or what stops it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from hwspec.schema import ChipSpec
from mapper.activity import doing
from mapper.deadline import NEVER, Deadline
from mapper.errors import NetworkError, TimeLimitError
from mapper.explore.identity import facts_hash
from mapper.explore.record import Cell
from mapper.explore.verdict import placed_cell, refused_cell
from mapper.normal_form import NormalNetwork
from mapper.options import SolveOptions
from mapper.question import Detail, Question
from mapper.question import decide as decide_question
from mapper.repairs.find import with_repairs
from mapper.result import Result
from mapper.solver.budget import INTERRUPTION, Budget

__all__ = ["CellOptions", "Shared", "at", "decide", "failed_cell", "fault_text"]


# What a search for repairs adds to a report.
_OF_REPAIRS = ("repairs", "repairs_missing", "repairs_note", "cut_short")


@dataclass(frozen=True, slots=True)
class CellOptions:
    """How much of a cell is wanted.

    Attributes
    ----------
    details
        Keep placement and report, the conflict with all moves included: it takes ten times a verdict.
    """

    solve: SolveOptions
    repairs: bool = False
    details: bool = False


@dataclass(slots=True)
class Shared:
    """What variants with the same facts under other names share, for one network, by `facts_hash`."""

    placed: dict[str, Result] = field(default_factory=dict)
    repairs: dict[str, dict[str, object]] = field(default_factory=dict)


def decide(
    network: NormalNetwork,
    chip: ChipSpec,
    options: CellOptions,
    shared: Shared | None = None,
    deadline: Deadline = NEVER,
) -> Cell:
    """A cell with the indexes 0; a fault of ours leaves the cell "error", so that other cells go on.

    Parameters
    ----------
    network
        After the chip-free passes.
    deadline
        Of all cells together: it ends a cell and changes none.

    Raises
    ------
    KeyboardInterrupt
        Ctrl-C, also where it ended the solver alone: what that then says is no verdict.
    TimeLimitError
        The deadline came first, be it in the midst of reasons or repairs.
    """
    try:
        return _decided(network, chip, options, shared or Shared(), deadline)
    except TimeLimitError:
        raise
    except NetworkError as error:
        return Cell(network=0, variant=0, verdict="unsupported", sentence=" ".join(str(error).split()))
    # Hours of other cells must not end with a fault in one. "error" is nobody's verdict: it is counted by
    # itself and kept in no cache.
    except Exception as error:
        return failed_cell(fault_text(error))


def fault_text(error: BaseException) -> str:
    """What was raised, in a line."""
    said = " ".join(str(error).split())
    if isinstance(error, MemoryError) and not said:
        said = "there was not enough memory"
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


def failed_cell(sentence: str) -> Cell:
    """The cell that a fault of the program, or of the machine that ran it, leaves."""
    return Cell(network=0, variant=0, verdict="error", sentence=sentence)


def _decided(
    network: NormalNetwork, chip: ChipSpec, options: CellOptions, shared: Shared, deadline: Deadline
) -> Cell:
    question, facts = Question((network,), chip, options.solve), facts_hash(chip)
    budget = Budget(question.resolved, deadline=deadline)
    known = shared.placed.get(facts)
    doing("placing it")
    detail: Detail = "all" if options.details else "reasons"
    result = replace(known, chip=chip) if known else decide_question(question, detail, budget)
    _raise_if_cut(budget)
    if result.solution is not None:
        shared.placed[facts] = result
        return placed_cell(network, result, details=options.details)
    report = result.report
    if report is None:
        raise RuntimeError("a result has neither solution nor report")
    if options.repairs:
        if facts not in shared.repairs:
            mended = with_repairs(question, result, budget).report or report
            if budget.is_interrupted:
                raise KeyboardInterrupt
            _raise_if_cut(budget)
            shared.repairs[facts] = {name: getattr(mended, name) for name in _OF_REPAIRS}
        report = report.model_copy(update=shared.repairs[facts])
    return refused_cell(question.with_offers(question.problems[0]), report, details=options.details)


def _raise_if_cut(budget: Budget) -> None:
    """Give up what an interruption or the deadline may have cut."""
    if budget.stopped_by == INTERRUPTION:
        raise KeyboardInterrupt
    budget.deadline.check("a cell was decided")


def at(cell: Cell, network: int, variant: int) -> Cell:
    """The cell with its indexes."""
    return cell.model_copy(update={"network": network, "variant": variant})
