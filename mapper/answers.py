"""The best of several answers to one question, and what is proven of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import partial
from math import inf
from typing import TypeAlias

from mapper.normal_form import NormalNetwork
from mapper.reasons import Status
from mapper.solution import Objective, Solution

__all__ = ["Answer", "best_answer"]

Answer: TypeAlias = tuple[Status, Solution | None, tuple[NormalNetwork, ...]]

# The stages of any objective, in order, and those of which more is better.
_STAGES = (
    *("cores", "headroom", "largest_load_share", "largest_load_synops_per_second", "layers_on_own_core"),
    *("layers_kept", "spikes_on_parallel_cores", "capacity_bits"),
)
_UPWARDS = ("headroom", "layers_on_own_core", "layers_kept", "spikes_on_parallel_cores")


def best_answer(answers: Sequence[Answer], loosest: Callable[[str], int | str]) -> Answer:
    """The best of the answers under all settings of the stage, with bounds that hold for all of them."""
    best = min(answers, key=_order)
    _, solution, networks = best
    unproven = [answer for answer in answers if answer[0] in (Status.FEASIBLE, Status.UNDECIDED)]
    if solution is None or not unproven:
        return best
    for _, other, _ in unproven:
        solution = replace(solution, objectives=tuple(_weakened(loosest, solution, other)))
    return Status.FEASIBLE, solution, networks


def _order(answer: Answer) -> tuple[float | Fraction, ...]:
    """Sort key: placed, then stage by stage, of which one that a limit left without a value is last."""
    status, solution, _ = answer
    stages = {stage.name: _cost(stage.name, stage.value) for stage in solution.objectives} if solution else {}
    # A stage that a setting does not have, before one that it has, is the sum of nothing.
    absent = 0 if "capacity_bits" in stages else inf
    return (
        inf if solution is None else 0,
        *(stages.get(name, absent) for name in _STAGES),
        status is not Status.OPTIMAL,
    )


def _cost(name: str, number: int | str) -> float | Fraction:
    """A value or bound of a stage as one number, the better the less."""
    if number == "unknown":
        return inf
    return -Fraction(number) if name in _UPWARDS else Fraction(number)


def _weakened(
    loosest: Callable[[str], int | str], best: Solution, other: Solution | None
) -> Iterator[Objective]:
    """The stages of the best answer, with bounds that leave room for what another setting may still have.

    A bound holds where all stages before it have their values: the other's for as long as these are the
    best one's. From there on anything may be, until a bound excludes that the other is as good.
    """
    stages = {stage.name: stage for stage in other.objectives if stage.value != "unknown"} if other else {}
    excluded = False
    for stage in best.objectives:
        if excluded or stage.value == "unknown":
            yield stage
            continue
        own, cost = stages.get(stage.name), partial(_cost, stage.name)
        bound = loosest(stage.name) if own is None else own.bound
        yield replace(stage, bound=min(stage.bound, bound, key=cost))
        excluded = cost(bound) > cost(stage.value)
        if own is None or own.value != stage.value:
            stages = {}
