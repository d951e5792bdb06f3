"""Does this network fit this chip, and how? The one place that answers; whoever wants to know asks here.

A question has every legal form of its networks: layers whose pools are folded or left to relays are a
choice of the model, settings of the sensor stage are asked one after the other. Numbers that a network has
(weights) are part of the question; where it has shapes alone, the answer is by shapes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property, partial
from math import inf
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from hwspec.schema import ChipSpec
from mapper.edits import shapes_only
from mapper.errors import Finding, NetworkError, TimeLimitError, VerificationError
from mapper.normal_form import NormalNetwork
from mapper.operations import Pair
from mapper.options import SolveOptions, resolve
from mapper.passes.legalize import Forms, LayerForm, legal_forms, obstacles, phased_by, rewritten
from mapper.problem import Problem
from mapper.result import Result, Status, Unmet
from mapper.rules import Rule
from mapper.solution import Objective, Solution
from mapper.verify import verify

if TYPE_CHECKING:
    from mapper.solver.budget import Budget

__all__ = ["Detail", "Question", "decide", "fits", "float_form"]

# How much of the reason is sought for a network that does not fit: what is unmet and what whole layers
# cannot do together, or also what cannot hold together with all moves, which takes ten times a verdict.
Detail: TypeAlias = Literal["reasons", "all"]


@dataclass(frozen=True)
class Question:
    """Networks, a chip, and what is asked of the placement.

    Attributes
    ----------
    networks
        What the chip-free passes made, distinctly named; they share the chip.
    options
        Layer references are resolved here.

    Raises
    ------
    OptionsError
        On use: options that contradict one another, the networks or the chip.
    """

    networks: tuple[NormalNetwork, ...]
    chip: ChipSpec
    options: SolveOptions

    @cached_property
    def resolved(self) -> SolveOptions:
        """The options with names for layers, checked."""
        return resolve(self.options, self.networks, self.chip)

    @cached_property
    def rewritten(self) -> tuple[NormalNetwork, ...]:
        """The networks with phases where maps are too large; `origins` says what became of the layers."""
        return rewritten(self.networks, self.chip, self.resolved)

    @property
    def is_by_shapes(self) -> bool:
        """Whether a network has shapes alone: weights may then still forbid what the answer allows."""
        return not all(network.has_weights for network in self.networks)

    @cached_property
    def problems(self) -> tuple[Problem, ...]:
        """The question as the solver takes it: once for every setting of the sensor stage, best first."""
        return tuple(self._problem(stage, forms) for stage, forms in self._settings())

    def prepare(self, budget: Budget) -> tuple[Problem, ...]:
        """`problems`, within a time limit.

        Raises
        ------
        TimeLimitError
            It came first.
        """
        if "problems" not in vars(self):
            vars(self)["problems"] = tuple(self._problem(*entry) for entry in self._settings(budget))
        return self.problems

    def _settings(self, budget: Budget | None = None) -> Iterator[tuple[Pair | None, tuple[Forms, ...]]]:
        """Settings of the sensor stage that all networks share, with the networks' forms under each."""
        sensing = [any(entry.dvs for entry in network.inputs) for network in self.networks]
        shared, relays = sum(sensing) > 1, self.resolved.relays
        by_load = self.resolved.objective == "balance"
        several = []
        for network in self.rewritten:
            if budget is not None:
                budget.require_time()
            several.append(
                legal_forms(network, self.chip, relays=relays, shared_stage=shared, by_load=by_load)
            )
        by_stage = [{entry.stage: entry for entry in forms} for forms in several]
        stages = [rows for rows in by_stage if None not in rows]
        common = [stage for stage in stages[0] if all(stage in rows for rows in stages)] if stages else []
        for stage in common or [next(iter(stages[0])) if stages else None]:
            # Networks without a setting in common are a fault of the whole, which the report names.
            yield stage, tuple(rows.get(stage) or next(iter(rows.values())) for rows in by_stage)

    def _problem(self, stage: Pair | None, forms: tuple[Forms, ...]) -> Problem:
        networks = tuple(entry.network() for entry in forms)
        chosen = forms if any(len(rows) > 1 for entry in forms for rows in entry.layers.values()) else ()
        return Problem(networks, self.chip, self.resolved, chosen, stage)

    def on(self, chip: ChipSpec) -> Question:
        """The same about another chip."""
        return replace(self, chip=chip)

    def problems_on(self, chip: ChipSpec) -> tuple[Problem, ...]:
        """`problems` about another chip."""
        return self.on(chip).problems

    def fits_on(self, chip: ChipSpec, budget: Budget) -> bool | None:
        """`fits` about another chip."""
        return fits(self.on(chip), budget)


def decide(question: Question, detail: Detail = "all", budget: Budget | None = None) -> Result:
    """The best placement, checked, or the reason why there is none.

    A placement of whole layers takes one core a layer, and pieces, copies and relays take more: it is the
    best where it exists. INFEASIBLE is proven for every form and setting.

    Raises
    ------
    OptionsError, NetworkError
        A question that contradicts itself.
    VerificationError
        The checker rejects the solution: a fault of this package.
    """
    from mapper.solver import explain  # noqa: PLC0415  # OR-Tools is loaded when there is something to solve
    from mapper.solver.budget import Budget  # noqa: PLC0415

    spent = budget or Budget(question.resolved)
    try:
        answers = [_solved(problem, spent) for problem in question.prepare(spent)]
    except TimeLimitError:
        answers = [(Status.UNDECIDED, None, question.rewritten)]
    status, solution, networks = _best(question, answers)
    if solution is not None:
        given = question.networks
        violations: tuple[object, ...] = verify(networks, question.chip, question.resolved, solution, given)
        if status is Status.OPTIMAL and not all(stage.proven for stage in solution.objectives):
            violations = (*violations, f"an optimum that is not proven: {solution.objectives}")
        if violations:
            raise VerificationError(violations)
        return _result(question, networks, status, spent, solution=solution)
    if any(answer[0] is Status.UNDECIDED for answer in answers):
        report = explain.undecided_report(question.chip, spent)
        return _result(question, networks, Status.UNDECIDED, spent, report=report)
    problem = question.problems[0]
    report = explain.infeasible_report(problem, spent, with_moves=detail == "all")
    report = report.model_copy(update={"unmet": tuple(_with_obstacles(question, report.unmet))})
    none: tuple[Unmet, ...] = ()
    if any(network.is_integer for network in question.networks):
        what = "weights that keep pools out of kernels"
        weights = spent.attempt(what, lambda: tuple(_weights_in_the_way(question, spent)), none)
        update = {"unmet": (*report.unmet, *weights), "cut_short": tuple(spent.cut_short)}
        report = report.model_copy(update=update)
    return _result(question, problem.networks, Status.INFEASIBLE, spent, report=report)


def fits(question: Question, budget: Budget | None = None) -> bool | None:
    """Whether `decide` has a placement, without seeking the best one; None where a limit comes first."""
    from mapper.solver.budget import Budget  # noqa: PLC0415
    from mapper.solver.divided.run import is_divided_placeable  # noqa: PLC0415
    from mapper.solver.plain import is_placeable  # noqa: PLC0415

    spent = budget or Budget(question.resolved)
    verdict: bool | None = False
    try:
        problems = question.prepare(spent)
    except TimeLimitError:
        return None
    for problem in problems:
        plain = False if problem.forms_compete else is_placeable(problem, spent)
        divided = is_divided_placeable(problem, spent) if plain is False else plain
        if divided:
            return True
        verdict = None if divided is None else verdict
    return verdict


def _with_obstacles(question: Question, unmet: Sequence[Unmet]) -> Iterator[Unmet]:
    """What is unmet; of maps that are too large, why their rows and columns do not become features."""
    found = obstacles(question.networks, question.chip, question.resolved)
    reasons = {question.problems[0].key(*layer): reason for layer, reason in found.items()}
    for entry in unmet:
        is_size = entry.code in (Rule.OUTPUT_SIZE.code, Rule.KERNEL_SIZE.code)
        reason = reasons.get(entry.layers[0]) if is_size else None
        yield entry.model_copy(update={"sentence": f"{entry.sentence} {reason}"}) if reason else entry


def _weights_in_the_way(question: Question, budget: Budget) -> Iterator[Unmet]:
    """Layers whose pools would fold into their kernels, if the weights that add up there had more bits."""
    for number, network in enumerate(question.rewritten):
        if not network.is_integer or budget.is_spent:
            continue
        own = legal_forms(network, question.chip)[0].layers
        for name, forms in legal_forms(_unrounded(network), question.chip)[0].layers.items():
            known = {form.shape for form in own[name]}
            lost = next((form for form in forms if form.shape not in known), None)
            if lost is not None:
                most = int(np.abs(np.asarray(lost.layer.operation.weight)).max())
                key = question.problems[0].key(number, name)
                yield _overflow(key, most, question, budget)


def _unrounded(network: NormalNetwork) -> NormalNetwork:
    """The same numbers as floats, which no pass holds to a number of bits."""
    layers = []
    for layer in network.layers:
        weight = np.asarray(layer.operation.weight, np.float64)
        layers.append(replace(layer, operation=replace(layer.operation, weight=weight)))
    return network.replacing(layers=tuple(layers))


def _overflow(layer: str, most: int, question: Question, budget: Budget) -> Unmet:
    bound = 2 ** (min(core.limits.weight_bits for core in question.chip.cores) - 1) - 1
    by_shapes = replace(question, networks=tuple(map(shapes_only, question.networks)))
    fit = "fits" if fits(by_shapes, budget.aside()) else "does not fit either"
    return Unmet(
        rule=Rule.POOLING.name.lower(),
        code=Rule.POOLING.code,
        layers=(layer,),
        cores=(),
        demand=most,
        bound=bound,
        gap=most - bound,
        unit="weight",
        terms="a kernel that takes up an overlapping pool",
        sentence=(
            f"{layer}: the pool before it could go into its kernel, but there its weights add up to {most}, "
            f"and a core holds {-bound - 1}..{bound}. By shapes alone it {fit}: train with smaller weights, "
            "or with pools that do not overlap."
        ),
    )


# The stages of any objective, in order, and those of which more is better.
_STAGES = (
    *("cores", "headroom", "largest_load_share", "largest_load_synops_per_second", "layers_on_own_core"),
    *("layers_kept", "spikes_on_parallel_cores", "capacity_bits"),
)
_UPWARDS = ("headroom", "layers_on_own_core", "layers_kept", "spikes_on_parallel_cores")

_Answer: TypeAlias = tuple[Status, Solution | None, tuple[NormalNetwork, ...]]


def _solved(problem: Problem, budget: Budget) -> _Answer:
    from mapper.solver.divided.run import solve_divided  # noqa: PLC0415
    from mapper.solver.plain import solve_plain  # noqa: PLC0415

    try:
        if problem.forms_compete:
            return solve_divided(problem, budget)
        status, solution = solve_plain(problem, budget)
        if status is Status.INFEASIBLE and problem.options.divides:
            return solve_divided(problem, budget)
    except KeyboardInterrupt:
        # What another setting of the sensor stage has come to stays.
        budget.interrupt()
        return Status.UNDECIDED, None, problem.networks
    except TimeLimitError:
        return Status.UNDECIDED, None, problem.networks
    return status, solution, problem.networks


def _best(question: Question, answers: Sequence[_Answer]) -> _Answer:
    """The best of the answers under all settings of the stage, with bounds that hold for all of them."""
    best = min(answers, key=_order)
    _, solution, networks = best
    unproven = [answer for answer in answers if answer[0] in (Status.FEASIBLE, Status.UNDECIDED)]
    if solution is None or not unproven:
        return best
    for _, other, _ in unproven:
        solution = replace(solution, objectives=tuple(_weakened(question, solution, other)))
    return Status.FEASIBLE, solution, networks


def _order(answer: _Answer) -> tuple[float | Fraction, ...]:
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


def _weakened(question: Question, best: Solution, other: Solution | None) -> Iterator[Objective]:
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
        bound = _loosest(question, stage.name) if own is None else own.bound
        yield replace(stage, bound=min(stage.bound, bound, key=cost))
        excluded = cost(bound) > cost(stage.value)
        if own is None or own.value != stage.value:
            stages = {}


def _loosest(question: Question, name: str) -> int | str:
    """What no placement exceeds in a stage of the objective."""
    if name in ("cores", "layers_on_own_core"):
        return sum(len(network.layers) for network in question.networks)
    if name == "spikes_on_parallel_cores":
        return question.chip.core_count * max(question.problems[0].busy.values(), default=0)
    bounds: dict[str, int | str] = {
        "headroom": "1",
        "layers_kept": len(question.resolved.keep),
        "capacity_bits": 0,
    }
    return bounds.get(name, "0")


def _result(
    question: Question, networks: tuple[NormalNetwork, ...], status: Status, budget: Budget, **parts: object
) -> Result:
    fields = {"solution": None, "report": None, **parts}
    given = tuple(
        placed if placed.origins is own.origins else own
        for placed, own in zip(networks, question.networks, strict=True)
    )
    return Result(
        status=status,
        networks=networks,
        given=given,
        chip=question.chip,
        options=question.resolved,
        statistics=budget.statistics(),
        **fields,  # type: ignore[arg-type]  # solution or report, by the callers above
    )


def float_form(network: NormalNetwork, placed: NormalNetwork, chip: ChipSpec) -> NormalNetwork:
    """A network with float weights in the form in which its integer twin was placed.

    Parameters
    ----------
    network
        What the chip-free passes made without rounding.
    placed
        A network of a result.

    Raises
    ------
    NetworkError
        No form of the one is that of the other.
    """
    if placed.origins and not network.origins:
        try:
            network = phased_by(network, placed)
        except ValueError as error:
            raise NetworkError(Finding(network.name, str(error))) from None
    # All that any objective and any neighbour may have chosen.
    for forms in legal_forms(network, chip, shared_stage=True, by_load=True):
        chosen: dict[str, int] = {}
        for layer in placed.layers:
            shape = LayerForm(layer, placed.incoming[layer.name]).shape
            rows = forms.layers[layer.name]
            match = next((n for n, form in enumerate(rows) if form.shape == shape), None)
            if match is None:
                break
            chosen[layer.name] = match
        else:
            return forms.network(chosen)
    raise NetworkError(Finding(network.name, "has no form like that of its integers"))
