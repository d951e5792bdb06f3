"""What is left of a solve's limits, and what it has cost."""

from __future__ import annotations

import signal
import threading
import time
from dataclasses import dataclass, field
from typing import Any

from ortools.sat.python import cp_model

from mapper.options import SolveOptions
from mapper.result import Statistics

__all__ = ["INTERRUPTION", "Budget", "Solver"]

INTERRUPTION = "an interruption (Ctrl-C)"


class Solver(cp_model.CpSolver):
    """CP-SAT, which stops at Ctrl-C with what it has, and gives Python's handler back afterwards.

    OR-Tools leaves the system's own handler behind, under which the next Ctrl-C would end the process
    without a word.
    """

    def solve(self, model: cp_model.CpModel, *arguments: Any) -> cp_model.CpSolverStatus:  # noqa: D102
        try:
            return super().solve(model, *arguments)
        finally:
            handler = signal.getsignal(signal.SIGINT)
            if threading.current_thread() is threading.main_thread() and handler is not None:
                signal.signal(signal.SIGINT, handler)


@dataclass
class Budget:
    """What is left of the limits, and what was spent; one object through all stages of a solve."""

    options: SolveOptions
    start_s: float = field(default_factory=time.perf_counter)
    deterministic_time: float = 0.0
    solves: int = 0
    variables: int = 0
    constraints: int = 0
    stopped_by: str | None = None

    def run(
        self, model: cp_model.CpModel, *, whole_relaxation: bool = False
    ) -> tuple[cp_model.CpSolver, cp_model.CpSolverStatus]:
        """Solve once within what is left; remember which limit stopped it.

        Parameters
        ----------
        whole_relaxation
            Put every row into the linear relaxation at once: measured, half the time for covering rows.
        """
        solver = Solver()
        parameters = solver.parameters
        # Measured: the linear relaxation proves these models, and presolve hides rows from it.
        parameters.num_workers = self.options.workers
        parameters.linearization_level = 2
        parameters.cp_model_presolve = False
        parameters.random_seed = self.options.seed
        parameters.add_lp_constraints_lazily = not whole_relaxation
        limit, work = self.options.time_limit_s, self.options.work_limit
        if limit is not None:
            parameters.max_time_in_seconds = max(limit - self.elapsed_s, 0.0)
        if work is not None:
            parameters.max_deterministic_time = max(work - self.deterministic_time, 0.0)
        status = solver.solve(model)
        proto = model.proto
        self.solves += 1
        self.variables, self.constraints = len(proto.variables), len(proto.constraints)
        self.deterministic_time += solver.response_proto.deterministic_time
        if status == cp_model.MODEL_INVALID:
            raise RuntimeError(f"the placement model is invalid: {model.validate()}")
        if status not in (cp_model.OPTIMAL, cp_model.INFEASIBLE):
            self.stopped_by = self._reason()
        return solver, status

    @property
    def elapsed_s(self) -> float:
        """Seconds since the solve began."""
        return time.perf_counter() - self.start_s

    def _reason(self) -> str:
        limit, work = self.options.time_limit_s, self.options.work_limit
        if work is not None and self.deterministic_time >= work:
            return f"the work limit of {work:g}"
        if limit is not None and self.elapsed_s >= limit:
            return f"the time limit of {limit:g} s"
        return INTERRUPTION

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
