"""Does this network fit this chip, and how? The one place that answers; whoever wants to know asks here.

A question has every legal form of its networks: layers whose pools are folded or left to relays are a
choice of the model, settings of the sensor stage are asked one after the other. Numbers that a network has
(weights) are part of the question; where it has shapes alone, the answer is by shapes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import zip_longest
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from hwspec.schema import ChipSpec
from mapper.answers import Answer, best_answer
from mapper.edits import shapes_only
from mapper.errors import TimeLimitError, VerificationError
from mapper.normal_form import NormalNetwork
from mapper.operations import Pair
from mapper.options import EVERY_MOVE, SolveOptions, moves_left_out, moves_of, resolve
from mapper.passes.legalize import (
    MOVE,
    Extended,
    Forms,
    as_rounded,
    extended,
    has_phases,
    legal_forms,
    obstacles,
    rewritten,
)
from mapper.passes.quantize import in_floats
from mapper.problem import Problem
from mapper.process import collector
from mapper.reasons import Status, Unmet, unmet
from mapper.references import layer_key
from mapper.result import Result
from mapper.rules import Rule
from mapper.verify import verify
from mapper.wording import counted, join_names

if TYPE_CHECKING:
    from mapper.solver.budget import Budget
    from mapper.solver.divided.prices import Prices

__all__ = ["Detail", "Question", "decide", "fits"]

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

    def _settings(
        self, budget: Budget | None = None, offers: Sequence[Extended | None] = ()
    ) -> Iterator[tuple[Pair | None, tuple[Forms, ...]]]:
        """Settings of the sensor stage that all networks share, with the networks' forms under each."""
        sensing = [any(entry.dvs for entry in network.inputs) for network in self.networks]
        shared, relays = sum(sensing) > 1, self.resolved.relays
        by_load = self.resolved.objective == "balance"
        several = []
        for network, more in zip_longest(self.rewritten, offers):
            if budget is not None:
                budget.require_time()
            forms = legal_forms(
                network, self.chip, relays=relays, shared_stage=shared, by_load=by_load, extended=more
            )
            several.append(forms)
        by_stage = [{entry.stage: entry for entry in forms} for forms in several]
        stages = [rows for rows in by_stage if None not in rows]
        common = [stage for stage in stages[0] if all(stage in rows for rows in stages)] if stages else []
        for stage in common or [next(iter(stages[0])) if stages else None]:
            # Networks without a setting in common are a fault of the whole, which the report names.
            yield stage, tuple(rows.get(stage) or next(iter(rows.values())) for rows in by_stage)

    def _problem(self, stage: Pair | None, forms: tuple[Forms, ...]) -> Problem:
        networks = tuple(entry.network() for entry in forms)
        is_choice = any(e.offers or any(len(rows) > 1 for rows in e.layers.values()) for e in forms)
        chosen = forms if is_choice else ()
        return Problem(networks, self.chip, self.resolved, chosen, stage)

    def with_offers(self, problem: Problem) -> Problem:
        """One of the `problems` with joint relays and fused siblings on offer; itself without."""
        if not any(self.offers):
            return problem
        settings = dict(self._settings(offers=self.offers))
        stage = problem.stage if problem.stage in settings else next(iter(settings))
        return self._problem(stage, settings[stage])

    @cached_property
    def offers(self) -> tuple[Extended | None, ...]:
        """Joint relays and fused siblings of each network; None where it has none."""
        return tuple(self._offers(number) for number in range(len(self.networks)))

    @property
    def moves(self) -> tuple[str, ...]:
        """What a placement of these networks may do beyond one whole layer per core."""
        offers = [entry for entry in self.offers if entry is not None]
        sums = "" if all(entry.has_all for entry in offers) else " (not of every sum)"
        choices = "" if all(entry.has_siblings for entry in offers) else " (not in every choice)"
        # An input that several networks read has no such relay in common.
        sensing = sum(any(entry.dvs for entry in network.inputs) for network in self.networks)
        by_phases = any(entry.relays for entry in offers)
        apart = " (of the sensor within each network)" if by_phases and sensing > 1 else ""
        of_these = {
            f"joint relays{sums}": any(entry.joints - entry.relays for entry in offers),
            f"fused siblings{choices}": any(entry.fused for entry in offers),
            f"{MOVE}{apart}": by_phases or any(map(has_phases, self.rewritten)),
        }
        return (*moves_of(self.resolved), *(move for move, is_there in of_these.items() if is_there))

    def _offers(self, number: int) -> Extended | None:
        asked = self.resolved
        named = [*(name for name, _ in asked.pins), asked.readout]
        names = {layer_key(self.networks, number, name): name for name in self.networks[number].index}
        apart = {name for key, name in names.items() if key in named}
        if asked.pooled_outputs == "relay":
            # A relay shows all of a signal.
            apart |= {output.source for output in self.networks[number].outputs if output.path}
        joint, phases = asked.joint and asked.relays, asked.rewrites and asked.relays
        network, chip = self.rewritten[number], self.chip
        return extended(network, apart, chip, joint=joint, fusion=asked.fusion, phases=phases)

    def on(self, chip: ChipSpec) -> Question:
        """The same about another chip."""
        return replace(self, chip=chip)

    def problems_on(self, chip: ChipSpec) -> tuple[Problem, ...]:
        """`problems` about another chip, with everything that is on offer."""
        other = self.on(chip)
        return tuple(map(other.with_offers, other.problems))

    def fits_on(self, chip: ChipSpec, budget: Budget) -> bool | None:
        """`fits` about another chip."""
        return fits(self.on(chip), budget)


def decide(question: Question, detail: Detail = "all", budget: Budget | None = None) -> Result:
    """The best placement, checked, or the reason why there is none.

    A placement of whole layers takes one core a layer; pieces, copies and relays take more: it is the best
    where it exists. INFEASIBLE is proven for every form and setting.

    Raises
    ------
    OptionsError, NetworkError
        A question that contradicts itself.
    VerificationError
        The checker rejects the solution: a fault of this package.
    """
    from mapper.solver.budget import Budget  # noqa: PLC0415  # OR-Tools is loaded when something is to solve

    spent = budget or Budget(question.resolved)
    try:
        with collector(put_off=True):
            answers = [_solved(question, problem, spent) for problem in question.prepare(spent)]
    except TimeLimitError:
        answers = [(Status.UNDECIDED, None, question.rewritten)]
    status, solution, networks = best_answer(answers, partial(_loosest, question))
    if solution is not None:
        given = tuple(map(as_rounded, question.networks, networks))
        violations: tuple[object, ...] = ()
        with collector(put_off=True):
            violations = verify(networks, question.chip, question.resolved, solution, given)
        if status is Status.OPTIMAL and not all(stage.proven for stage in solution.objectives):
            violations = (*violations, f"an optimum that is not proven: {solution.objectives}")
        if violations:
            raise VerificationError(violations)
        return _result(question, networks, status, spent, solution=solution)
    from mapper.solver import explain  # noqa: PLC0415  # what has a placement need not load the reasons

    if any(answer[0] is Status.UNDECIDED for answer in answers):
        report = explain.undecided_report(question.chip, spent)
        return _result(question, networks, Status.UNDECIDED, spent, report=report)
    problem = question.problems[0]
    report = explain.infeasible_report(problem, spent, with_moves=detail == "all")
    if report.divided is not None and (further := _further(question, spent)):
        divided = report.divided.model_copy(update={"sentence": f"{report.divided.sentence} {further}"})
        report = report.model_copy(update={"divided": divided})
    report = report.model_copy(update={"unmet": tuple(_with_obstacles(question, report.unmet))})
    none: tuple[Unmet, ...] = ()
    if detail == "all" and moves_left_out(question.resolved):
        mended = spent.attempt("moves that were left out", lambda: tuple(_left_out(question, spent)), none)
        report = report.model_copy(update={"unmet": (*report.unmet, *mended)})
    if any(network.is_integer for network in question.networks):
        what = "weights that keep pools out of kernels"
        weights = spent.attempt(what, lambda: tuple(_weights_in_the_way(question, spent)), none)
        report = report.model_copy(update={"unmet": (*report.unmet, *weights)})
    report = report.model_copy(update={"cut_short": tuple(spent.cut_short)})
    return _result(question, problem.networks, Status.INFEASIBLE, spent, report=report)


def _further(question: Question, budget: Budget) -> str:
    """That moves beyond pieces, relays and copies do not help either, and how many cores they would take."""
    from mapper.solver.divided.explain import fewest_cores  # noqa: PLC0415

    offered = question.moves[len(moves_of(question.resolved)) :]
    if not offered:
        return ""

    def fewest() -> int:  # under every setting of the sensor stage; 0 where one has no answer
        every = map(question.with_offers, question.problems)
        return min(fewest_cores(problem, budget) or 0 for problem in every)

    needed = budget.attempt("the cores with all moves", fewest, 0)
    usable = sum(len(entry.core_ids) for entry in question.problems[0].classes)
    if needed <= usable:
        several = len(offered) > 1 or offered[0].endswith("s")
        return f"Nor {'do' if several else 'does'} {join_names(offered)} help, proven."
    take = f"take {counted(needed, 'core')} at least, and {question.chip.name} has {usable}, proven."
    return f"With {join_names(offered)} all layers together {take}"


def _left_out(question: Question, budget: Budget) -> Iterator[Unmet]:
    """That it would fit with the moves that the request takes away, where it would."""
    left_out = moves_left_out(question.resolved)
    if fits(replace(question, options=replace(question.options, **EVERY_MOVE)), budget.aside()):
        sentence = f"With all moves it fits: leave out {join_names(left_out)}."
        yield unmet(Rule.MOVES, (), (), len(left_out), 0, "moves left out by request", sentence)


def fits(question: Question, budget: Budget | None = None, prices: Prices | None = None) -> bool | None:
    """Whether `decide` has a placement, the best or not, by `prices` too; None where a limit comes first."""
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
        plain = not problem.forms_compete and is_placeable(problem)
        if divided := plain or is_divided_placeable(question.with_offers(problem), spent, prices):
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
        for name, forms in legal_forms(in_floats(network), question.chip)[0].layers.items():
            known = {form.shape for form in own[name]}
            lost = next((form for form in forms if form.shape not in known), None)
            if lost is not None:
                most = int(np.abs(np.asarray(lost.layer.operation.weight)).max())
                key = question.problems[0].key(number, name)
                yield _overflow(key, most, question, budget)


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
            f"{question.problems[0].titles([layer])[0]}: the pool before it could go into its kernel, but "
            f"there its weights add up to {most}, and a core holds {-bound - 1}..{bound}. By shapes alone it "
            f"{fit}: train with smaller weights, or with pools that do not overlap."
        ),
    )


def _solved(question: Question, problem: Problem, budget: Budget) -> Answer:
    from mapper.solver.plain import solve_plain  # noqa: PLC0415

    try:
        # Siblings on one core are the one move that takes fewer cores than there are layers.
        if not (problem.forms_compete or any(offers.fused for offers in question.offers if offers)):
            status, solution = solve_plain(problem, budget)
            if status is not Status.INFEASIBLE or not problem.options.divides:
                return status, solution, problem.networks
        from mapper.solver.divided.run import solve_divided  # noqa: PLC0415

        return solve_divided(question.with_offers(problem), budget)
    except KeyboardInterrupt:
        budget.interrupt()  # what another setting of the sensor stage has come to stays
        return Status.UNDECIDED, None, problem.networks
    except TimeLimitError:
        return Status.UNDECIDED, None, problem.networks


def _loosest(question: Question, name: str) -> int | str:
    """What no placement exceeds in a stage of the objective."""
    if name == "cores" and any(entry.fused for entry in question.offers if entry):
        return len(question.networks)
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
        placed if placed.origins is own.origins else as_rounded(own, placed)
        for placed, own in zip(networks, question.networks, strict=True)
    )
    return Result(
        status=status,
        networks=networks,
        given=given,
        moves=question.moves,
        chip=question.chip,
        options=question.resolved,
        statistics=budget.statistics(),
        **fields,  # type: ignore[arg-type]  # solution or report, by the callers above
    )
