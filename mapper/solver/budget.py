"""What is left of a question's limits, and what was spent: through solving, reasons and repairs."""

from __future__ import annotations

import signal
import threading
import time
from dataclasses import dataclass, field, replace
from typing import Any

from ortools.sat.python import cp_model

from mapper.deadline import NEVER, Deadline
from mapper.options import SolveOptions
from mapper.result import Statistics

__all__ = ["INTERRUPTION", "Budget"]

INTERRUPTION = "an interruption (Ctrl-C)"
# Work of one probe in deterministic time: about a second, a thousand times what nine cores take.
_WORK_PER_PROBE = 1.0
# A solver takes no limit of 0.
_LEAST = 1e-6


class _Solver(cp_model.CpSolver):
    """CP-SAT, which stops at Ctrl-C with what it has, and gives Python's handler back afterwards.

    OR-Tools leaves the system's own handler behind, under which the next Ctrl-C would end the process
    without a word.
    """

    def solve(self, model: cp_model.CpModel, *arguments: Any) -> cp_model.CpSolverStatus:
        try:
            return super().solve(model, *arguments)
        finally:
            handler = signal.getsignal(signal.SIGINT)
            if threading.current_thread() is threading.main_thread() and handler is not None:
                signal.signal(signal.SIGINT, handler)


@dataclass
class Budget:
    """What is left of the limits, and what was spent.

    Attributes
    ----------
    stopped_by
        The limit that came before a proof, in words.
    cut_short
        What was left undone for want of time, in words, beside the verdict.
    whole
        The budget that this one is a part of: what is spent here is spent there.
    is_aside
        Whether only side questions are asked.
    deadline
        The end of a limit on more than this question, beside that of the options.
    """

    options: SolveOptions
    start_s: float = field(default_factory=time.perf_counter)
    deterministic_time: float = 0.0
    solves: int = 0
    variables: int = 0
    constraints: int = 0
    stopped_by: str | None = None
    cut_short: list[str] = field(default_factory=list)
    whole: Budget | None = None
    is_aside: bool = False
    deadline: Deadline = NEVER

    def aside(self) -> Budget:
        """For side questions whose answers repeat: one worker, a fixed seed, little work a solve.

        A limit that stops it does not stop what it is aside of.
        """
        return Budget(self.options, self.start_s, whole=self, is_aside=True, deadline=self.deadline)

    def share(self, part: float) -> Budget:
        """A part, 0..1, of what is left of the limits."""
        limit, work = self.options.time_limit_s, self.options.work_limit
        spent = self.top.deterministic_time
        options = replace(
            self.options,
            time_limit_s=None if limit is None else _between(self.elapsed_s, limit, part),
            work_limit=None if work is None else _between(spent, work, part),
        )
        return Budget(options, self.start_s, whole=self, deadline=self.deadline)

    @property
    def top(self) -> Budget:
        """The budget of the whole question."""
        return self if self.whole is None else self.whole.top

    def run(self, model: cp_model.CpModel) -> tuple[cp_model.CpSolver, cp_model.CpSolverStatus]:
        """Solve once within what is left; remember which limit stopped it."""
        solver = _Solver()
        parameters = solver.parameters
        # Measured: the linear relaxation proves these models, with every row in it from the start, and
        # presolve hides rows from it.
        parameters.linearization_level = 2
        parameters.cp_model_presolve = False
        parameters.add_lp_constraints_lazily = False
        # Deterministic time repeats for one worker and one seed only.
        alone = self.options.work_limit is not None or self.is_aside
        parameters.num_workers = 1 if alone else self.options.workers
        parameters.random_seed = 0 if alone else self.options.seed
        if (left := min(self.deadline.left_s, self._own_deadline.left_s)) < float("inf"):
            parameters.max_time_in_seconds = max(left, _LEAST)
        if (work := self._work_left()) < float("inf"):
            parameters.max_deterministic_time = max(work, _LEAST)
        status = solver.solve(model)
        self._count(model, solver)
        if status == cp_model.MODEL_INVALID:
            raise RuntimeError(f"the placement model is invalid: {model.validate()}")
        if status not in (cp_model.OPTIMAL, cp_model.INFEASIBLE):
            is_worked_off = solver.response_proto.deterministic_time >= parameters.max_deterministic_time
            capped = self.is_aside and is_worked_off and self.limit_reached is None
            self.stopped_by = "the work of a side question" if capped else self._reason()
            if self.stopped_by == INTERRUPTION:
                self.top.stopped_by = INTERRUPTION
        return solver, status

    def _work_left(self) -> float:
        work = self.options.work_limit
        left = float("inf") if work is None else work - self.top.deterministic_time
        return min(left, _WORK_PER_PROBE) if self.is_aside else left

    def _count(self, model: cp_model.CpModel, solver: cp_model.CpSolver) -> None:
        spent = solver.response_proto.deterministic_time
        budget: Budget | None = self
        while budget is not None:
            budget.solves += 1
            budget.deterministic_time += spent
            budget = budget.whole
        self.variables, self.constraints = len(model.proto.variables), len(model.proto.constraints)

    @property
    def elapsed_s(self) -> float:
        """Seconds since the question was asked."""
        return time.perf_counter() - self.start_s

    @property
    def is_spent(self) -> bool:
        """Whether a limit has been reached, or Ctrl-C pressed."""
        return self.top.stopped_by == INTERRUPTION or self.limit_reached is not None

    @property
    def limit_reached(self) -> str | None:
        """The limit that has been reached, in words."""
        work, own, stated = self.options.work_limit, self._own_deadline, self.top.options
        if work is not None and self.top.deterministic_time >= work:
            part = "" if work == stated.work_limit else "a part of "
            return f"{part}the work limit of {stated.work_limit:g}"
        if own.is_reached:
            part = "" if own.limit_s == stated.time_limit_s else "a part of "
            return f"{part}the time limit of {stated.time_limit_s:g} s"
        return str(self.deadline) if self.deadline.is_reached else None

    @property
    def _own_deadline(self) -> Deadline:
        return Deadline.after(self.options.time_limit_s, self.start_s)

    def _reason(self) -> str:
        return self.limit_reached or INTERRUPTION

    def leave(self, what: str) -> None:
        """Say that something was left undone because a limit came first."""
        said = f"{what}: {self._reason()} came first"
        if said not in self.top.cut_short:
            self.top.cut_short.append(said)

    def statistics(self) -> Statistics:
        """What was spent."""
        interrupted = self.stopped_by == INTERRUPTION
        return Statistics(
            self.elapsed_s,
            self.deterministic_time,
            self.variables,
            self.constraints,
            self.solves,
            interrupted,
        )


def _between(spent: float, limit: float, part: float) -> float:
    return max(spent + part * (limit - spent), _LEAST)
