"""What is left of a question's limits, and what was spent: through solving, reasons and repairs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeVar

from mapper.activity import doing
from mapper.asking import TIME_LIMIT, WORK_LIMIT
from mapper.deadline import NEVER, Deadline
from mapper.errors import INTERRUPTION, TimeLimitError
from mapper.options import SolveOptions
from mapper.process import collector
from mapper.result import Statistics
from mapper.solver.cp_sat import InterruptibleSolver
from mapper.solver.or_tools import cp_model

__all__ = ["INTERRUPTION", "Budget", "Found", "timed"]

Found = TypeVar("Found")

# Work of one probe in deterministic time: about a second, a thousand times what nine cores take.
_WORK_PER_PROBE = 1.0
# Building a model takes about as long as the solver takes for this much deterministic time.
_EFFORT_PER_VARIABLE = 1e-5
# Variables of a model of nine cores or a few more.
_SMALL = 1000
# A solver takes no limit of 0.
_LEAST = 1e-6


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
    effort, allowance
        What the questions asked here took, in deterministic time and a share for the size of their models;
        and how much of it this part may take, None for as much as the limits leave.
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
    effort: float = 0.0
    allowance: float | None = None
    deadline: Deadline = NEVER

    def aside(self, allowance: float | None = None) -> Budget:
        """For side questions whose answers repeat: one worker, a fixed seed, little work a solve.

        A limit that stops it does not stop what it is aside of.
        """
        return Budget(
            self.options,
            self.start_s,
            whole=self,
            is_aside=True,
            allowance=allowance,
            deadline=self.deadline,
        )

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

    def run(
        self,
        model: cp_model.CpModel,
        *,
        is_long: bool = False,
        is_first: bool = False,
        breaks_ties: bool = False,
    ) -> tuple[cp_model.CpSolver, cp_model.CpSolverStatus]:
        """Solve once within what is left; remember which limit stopped it.

        Parameters
        ----------
        is_long
            Whether the search takes seconds, and strong bounds pay from the start.
        is_first
            Whether any solution will do, whatever the objective.
        breaks_ties
            Whether the objective only chooses among equals.

        Raises
        ------
        RuntimeError
            The model is invalid: a fault of this program.
        """
        solver = InterruptibleSolver()
        parameters = solver.parameters
        parameters.stop_after_first_solution = is_first
        is_large = len(model.proto.variables) > _SMALL
        _tune(parameters, is_brief=not (is_long or self.is_aside), has_cg_cuts=is_large or not breaks_ties)
        # Deterministic time repeats for one worker and one seed only.
        alone = self.options.work_limit is not None or self.is_aside
        parameters.num_workers = 1 if alone else self.options.workers
        parameters.random_seed = 0 if alone else self.options.seed
        if (left := min(self.deadline.left_s, self._own_deadline.left_s)) < float("inf"):
            parameters.max_time_in_seconds = max(left, _LEAST)
        if (work := self._work_left()) < float("inf"):
            parameters.max_deterministic_time = max(work, _LEAST)
        with collector(put_off=False):
            status = solver.solve(model)
        self._count(model, solver)
        if status == cp_model.MODEL_INVALID:
            raise RuntimeError(f"the placement model is invalid: {model.validate()}")
        if solver.was_interrupted:
            self.interrupt()
        elif status not in (cp_model.OPTIMAL, cp_model.INFEASIBLE) and not (
            is_first and status == cp_model.FEASIBLE
        ):
            capped = self.is_aside and self.limit_reached is None
            self.stopped_by = "the work of a side question" if capped else self._reason()
        return solver, status

    def interrupt(self) -> None:
        """Take note of Ctrl-C, which ends all of the question."""
        budget: Budget | None = self
        while budget is not None:
            budget.stopped_by = INTERRUPTION
            budget = budget.whole

    @property
    def is_interrupted(self) -> bool:
        """Whether Ctrl-C was pressed."""
        return self.top.stopped_by == INTERRUPTION

    def _work_left(self) -> float:
        if self.is_interrupted:
            return 0.0
        work = self.options.work_limit
        left = float("inf") if work is None else work - self.top.deterministic_time
        return min(left, _WORK_PER_PROBE) if self.is_aside else left

    def _count(self, model: cp_model.CpModel, solver: cp_model.CpSolver) -> None:
        spent = solver.response_proto.deterministic_time
        effort = spent + _EFFORT_PER_VARIABLE * len(model.proto.variables)
        budget: Budget | None = self
        while budget is not None:
            budget.solves += 1
            budget.deterministic_time += spent
            budget.effort += effort
            budget = budget.whole
        self.variables, self.constraints = len(model.proto.variables), len(model.proto.constraints)

    @property
    def elapsed_s(self) -> float:
        """Seconds since the question was asked."""
        return time.perf_counter() - self.start_s

    @property
    def is_spent(self) -> bool:
        """Whether a limit has been reached, or Ctrl-C pressed."""
        return self.is_interrupted or self.limit_reached is not None

    @property
    def limit_reached(self) -> str | None:
        """The limit that has been reached, in words."""
        if self.allowance is not None and self.effort >= self.allowance:
            return f"the own limit of this search (any {TIME_LIMIT} or {WORK_LIMIT} replaces it)"
        work = self.options.work_limit
        if work is not None and self.top.deterministic_time >= work:
            return self._limit_text("work")
        if self._own_deadline.is_reached:
            return self._limit_text("time")
        return str(self.deadline) if self.deadline.is_reached else None

    @property
    def _own_deadline(self) -> Deadline:
        return Deadline.after(self.options.time_limit_s, self.start_s)

    def _limit_text(self, kind: Literal["work", "time"]) -> str:
        field, unit = ("work_limit", "") if kind == "work" else ("time_limit_s", " s")
        stated = getattr(self.top.options, field)
        part = "" if getattr(self.options, field) == stated else "a part of "
        return f"{part}the {kind} limit of {stated:g}{unit}"

    def require_time(self) -> None:
        """End what is under way if the time limit is over: asked before every step of building a model.

        Work is spent by solves alone: a work limit ends at the same place every time.

        Raises
        ------
        TimeLimitError
            It is; `stopped_by` says so.
        """
        for deadline in (self._own_deadline, self.deadline):
            if deadline.left_s < 0:
                self.stopped_by = self._reason()
                deadline.check("building the model")

    def _reason(self) -> str:
        if self.is_interrupted:
            return INTERRUPTION
        if self.limit_reached or (self.options.time_limit_s is None and self.options.work_limit is None):
            return self.limit_reached or str(self.deadline)
        # The solver may stop a moment before its limit.
        return self._limit_text("time" if self.options.work_limit is None else "work")

    def attempt(self, what: str, find: Callable[[], Found], otherwise: Found) -> Found:
        """What is found, or `otherwise` where Ctrl-C or the time limit came first; that it did is said."""
        found = otherwise
        doing(f"looking for {what}")
        try:
            if not self.is_interrupted:
                found = find()
        except KeyboardInterrupt:
            self.interrupt()
        except TimeLimitError:
            self.leave(what)
        if self.is_interrupted:
            self.leave(what)
        return found

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


def _tune(parameters: Any, *, is_brief: bool, has_cg_cuts: bool) -> None:
    """What suits these models, as measured."""
    # The linear relaxation proves them, with every row in it from the start, and presolve hides rows from it.
    parameters.linearization_level = 2
    parameters.cp_model_presolve = False
    parameters.add_lp_constraints_lazily = False
    if is_brief:
        # Of all cuts these cost the most and prove the least, and probing takes longer than solving; without
        # them 9 to 1,024 cores take half the time. Of reasons that are as good, side questions tell what they
        # come to first: there all stays as it was.
        parameters.add_mir_cuts = False
        parameters.add_zero_half_cuts = False
        parameters.cp_model_probing_level = 1
        # Among equals of a small model 23 ms without these, 178 ms with them; large ones need them.
        parameters.add_cg_cuts = has_cg_cuts
        # Ten rounds of cuts before the search, not one, and solutions of the relaxation moved to whole
        # numbers: 600 layers on 1,024 cores take a third of the time, 2,400 on 4,096 are proven, small ones
        # take as long.
        parameters.max_cut_rounds_at_level_zero = 10
        parameters.polish_lp_solution = True


def timed(budget: Budget | None, count: int) -> Iterator[int]:
    """0 .. count - 1, the steps of something long, for as long as `Budget.require_time` allows."""
    for step in range(count):
        if budget is not None:
            budget.require_time()
        yield step


def _between(spent: float, limit: float, part: float) -> float:
    return max(spent + part * (limit - spent), _LEAST)
