"""Whether a network fits under rules that never forbid a narrower network what they allow a wider one."""

from __future__ import annotations

from ortools.sat.python import cp_model

from mapper.problem import Problem
from mapper.repairs.search import placeable
from mapper.solver.divided.model import build_model
from mapper.solver.divided.run import divisible, piece_table
from mapper.solver.divided.tables import Signal, Tables
from mapper.solver.requirements import new_solver

__all__ = ["placeable", "placeable_generously"]


class _Generous(Tables):
    """Tables under which pieces may be relayed one by one even where a core holds a relay of all of them.

    The tables proper offer that only where no core does, so that a narrower network, whose relay fits,
    may lose a move that a wider one has.
    """

    def aligned_levels(self, signal: Signal) -> tuple[int, ...]:
        if signal.layer is None or signal.layer in self.whole or not self.problem.chip.routing.feature_shift:
            return ()
        return tuple(level for level in self.levels(signal) if level in self.poolings)


def placeable_generously(problem: Problem) -> bool:
    """Whether a placement may exist: no if False; with fewer features everywhere the answer stays True."""
    if placeable(problem):
        return True
    if not problem.options.divides or not divisible(problem):
        return False
    tables = _Generous(problem)
    made = build_model(tables, piece_table(tables))
    return made is not None and new_solver().solve(made.model) in (cp_model.OPTIMAL, cp_model.FEASIBLE)
