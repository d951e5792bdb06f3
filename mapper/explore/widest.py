"""The reverse question: how wide, how large or of how many classes a network may be to fit a chip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal, TypeAlias

from pydantic import BaseModel, ConfigDict

from hwspec.schema import ChipSpec
from mapper.demand import shortfalls
from mapper.edits import Edit, apply_edits, linked_layers, shapes_only
from mapper.errors import Finding, InfeasibleError, MapperError, NetworkError, OptionsError
from mapper.normal_form import NormalNetwork
from mapper.operations import Pair
from mapper.options import SolveOptions
from mapper.problem import Problem
from mapper.question import Question, decide, fits
from mapper.repairs.search import size_changes
from mapper.result import FeasibilityReport, Result, SizeChange
from mapper.rules import Rule, by_code
from mapper.solver.budget import Budget

__all__ = ["Binding", "What", "Widest", "find_widest", "steps_of"]

What: TypeAlias = Literal["width", "input", "classes"]


class Binding(BaseModel):
    """What keeps the next larger network off the chip.

    Attributes
    ----------
    rule, code
        Title and stable code of the rule.
    layers
        Whom it concerns.
    demand, bound, unit
        What the layer asks and what the nearest core that is too small has; None where cores are counted.
    sentence
        The whole reason.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    rule: str
    code: str
    layers: tuple[str, ...]
    demand: int | str | None
    bound: int | str | None
    unit: str
    sentence: str


@dataclass(frozen=True)
class Step:
    """One size that is tried: what it is called, and the edits that make it."""

    told: str
    edits: tuple[Edit, ...]


@dataclass(frozen=True, slots=True)
class Widest:
    """The largest network that fits, placed and checked.

    Attributes
    ----------
    told, now, next_told
        The size found, the network's own, and the next larger one that can be built, which does not fit;
        None at the end of the range.
    changes
        Sizes that differ from the network's own.
    is_monotone
        Whether a larger network never fits where a smaller one does not: then the search bisects. Else
        every larger size was tried.
    tried
        How many sizes were tried.
    binding
        None at the end of the range, of which `end` tells.
    """

    network: str
    chip: str
    what: What
    told: str
    now: str
    next_told: str | None
    changes: tuple[SizeChange, ...]
    edited: NormalNetwork
    result: Result
    is_monotone: bool
    tried: int
    binding: Binding | None
    end: str


def find_widest(
    network: NormalNetwork,
    chip: ChipSpec,
    what: What = "width",
    options: SolveOptions | None = None,
    name: str | None = None,
) -> Widest:
    """The largest width, input or number of classes with which a network fits.

    Widths and classes are bisected: more features never ask less of any core. Maps are not: whether
    shapes follow, and whether a kernel that covers its map is square, changes with every pixel. There
    every size above the answer is tried.

    Parameters
    ----------
    name
        The input or output meant, where there are several.

    Raises
    ------
    OptionsError
        There is nothing to change, or it is not clear what is meant.
    InfeasibleError
        Not even the smallest one fits; the report is about that.
    UndecidedError
        A limit came before the answer.
    """
    wanted = replace(options or SolveOptions(), repairs=0)
    plain = shapes_only(network)
    steps, end, now = steps_of(plain, chip, what, name)
    search = _Search(plain, chip, wanted, steps)
    best = search.scan(len(steps) - 1) if what == "input" else search.bisect()
    if best is None:
        raise InfeasibleError(search.smallest_report())
    edited = apply_edits(plain, steps[best].edits)
    result = decide(Question((edited,), chip, wanted), budget=search.budget)
    result.require()
    following = search.following(best)
    changes = size_changes(plain, steps[best].edits)
    return Widest(
        network.name,
        chip.name,
        what,
        steps[best].told,
        now,
        None if following is None else steps[following].told,
        tuple(change for change in changes if change.before != change.after),
        edited,
        result,
        what != "input",
        len(search.verdicts),
        None if following is None else search.binding(following),
        end,
    )


def steps_of(
    network: NormalNetwork, chip: ChipSpec, what: What, name: str | None
) -> tuple[list[Step], str, str]:
    """Sizes in ascending order, what limits their range, and the network's own size.

    Raises
    ------
    OptionsError
        As `find_widest`.
    """
    if what == "width":
        return _widths(network, chip)
    if what == "classes":
        return _classes(network, chip, name)
    return _inputs(network, chip, name)


def _widths(network: NormalNetwork, chip: ChipSpec) -> tuple[list[Step], str, str]:
    """Every multiple of the hidden layers' features at which one of them gains a feature."""
    outputs = {output.source for output in network.outputs}
    hidden: dict[str, int] = {}
    for layer in network.layers:
        try:
            linked = linked_layers(network, layer.name)
        except NetworkError:
            continue
        if not outputs & set(linked):
            hidden[layer.name] = layer.operation.out_features
    if not hidden:
        step = "Ask for --what input or classes"
        raise OptionsError(
            Finding("--what width", "no layer's features are free to change", None, None, "", step)
        )
    most = max(core.limits.input_features_max for core in chip.cores)
    # A hidden layer has a reader, and a reader takes no more features than this.
    top = Fraction(most + 1, max(hidden.values()))
    shares = sorted({Fraction(n, f) for f in set(hidden.values()) for n in range(1, int(top * f) + 1)})
    steps = []
    for share in (share for share in shares if share < top):
        edits = (Edit(name, "features", max(1, int(share * f))) for name, f in hidden.items())
        told = str(share) if share.denominator == 1 else f"{share} ({float(share):.4g})"
        steps.append(Step(told, tuple(edits)))
    return steps, f"a core reads {most} features at most", "1"


def _named(option: str, kind: str, names: Sequence[str], name: str | None) -> str:
    if name is not None and name not in names:
        raise OptionsError(Finding(option, f"there is no such {kind}", name, ", ".join(names)))
    if name is None and len(names) != 1:
        step = f"Name one of them with {option}"
        raise OptionsError(
            Finding(option, f"there are several {kind}s", len(names), ", ".join(names), "", step)
        )
    return name or names[0]


def _classes(network: NormalNetwork, chip: ChipSpec, name: str | None) -> tuple[list[Step], str, str]:
    """Features of the layer behind an output."""
    names = list(dict.fromkeys(output.source for output in network.outputs))
    layer = _named("--output", "output layer", names, name)
    try:
        linked_layers(network, layer)
    except NetworkError as error:
        raise OptionsError(*error.findings) from None
    most = sum(core.limits.output_features_max for core in chip.cores)
    steps = [Step(str(n), (Edit(layer, "features", n),)) for n in range(1, most + 1)]
    return (
        steps,
        f"all cores together make {most} features at most",
        str(network.by_name[layer].operation.out_features),
    )


def _inputs(network: NormalNetwork, chip: ChipSpec, name: str | None) -> tuple[list[Step], str, str]:
    """Sizes of an input by its longer side, in its proportions."""
    chosen = _named("--input", "input", [entry.name for entry in network.inputs], name)
    shape = next(entry.shape for entry in network.inputs if entry.name == chosen)
    sides = [max(core.limits.input_height_max, core.limits.input_width_max) for core in chip.cores]
    stage = [max(chip.input.height, chip.input.width)] if chip.input else []
    most, longer = max([*sides, *stage]), max(shape.height, shape.width)
    steps: dict[Pair, Step] = {}
    for pixels in range(1, most + 1):
        height, width = (max(1, round(side * pixels / longer)) for side in (shape.height, shape.width))
        step = Step(f"{height}x{width}", (Edit(chosen, "input_size", (height, width)),))
        steps[height, width] = step
    return list(steps.values()), f"no map is larger than {most} pixels", f"{shape.height}x{shape.width}"


class _Search:
    """Verdicts of a network's sizes on a chip."""

    def __init__(
        self, network: NormalNetwork, chip: ChipSpec, options: SolveOptions, steps: Sequence[Step]
    ) -> None:
        self.network, self.chip, self.options, self.steps = network, chip, options, steps
        self.verdicts: dict[int, bool] = {}
        self.budget = Budget(options)

    def question(self, step: int) -> Question | None:
        """The question at a step; None where the shapes do not follow."""
        try:
            edited = apply_edits(self.network, self.steps[step].edits)
        except MapperError:
            return None
        return Question((edited,), self.chip, self.options)

    def fits(self, step: int) -> bool:
        """Whether the network fits at a step.

        Raises
        ------
        UndecidedError
            A limit came first.
        """
        if step not in self.verdicts:
            question = self.question(step)
            verdict = question is not None and fits(question, self.budget.share(1))
            if verdict is None and question is not None:
                decide(question, "reasons", self.budget).require()
            self.verdicts[step] = bool(verdict)
        return self.verdicts[step]

    def scan(self, top: int) -> int | None:
        """The largest step up to `top` that fits: one after the other from above."""
        return next((step for step in range(top, -1, -1) if self.fits(step)), None)

    def bisect(self) -> int | None:
        """The largest step that fits, where a larger one never asks less.

        Steps at which shapes do not follow say nothing of others: the answer ends where the next one that
        can be built is refused.
        """
        low, high, best = 0, len(self.steps) - 1, None
        while low <= high:
            middle = (low + high) // 2
            if self.fits(middle):
                best, low = middle, middle + 1
            else:
                high = middle - 1
        while (above := self.following(-1 if best is None else best)) is not None and self.fits(above):
            best = above
        return best

    def following(self, best: int) -> int | None:
        """The next larger step that can be built."""
        return next((n for n in range(best + 1, len(self.steps)) if self.question(n) is not None), None)

    def smallest_report(self) -> FeasibilityReport:
        """Why not even the smallest network that can be built fits."""
        step = self.following(-1)
        if step is None:
            raise OptionsError(Finding(f"network {self.network.name}", "its shapes follow at no size"))
        return self._report(step)

    def _report(self, step: int) -> FeasibilityReport:
        question = self.question(step)
        result = None if question is None else decide(question, budget=self.budget)
        if result is None or result.report is None:
            raise RuntimeError("a network was found not to fit, and does")
        return result.report

    def _grown(self, step: int) -> set[str]:
        before = {edit.name: edit.value for edit in self.steps[step - 1].edits} if step else {}
        return {edit.name for edit in self.steps[step].edits if edit.value != before.get(edit.name)}

    def binding(self, step: int) -> Binding:
        """Which layer, which rule, and by how much it is missed."""
        report, question = self._report(step), self.question(step)
        if report.divided is not None:
            requirements, sentence = report.divided.requirements, report.divided.sentence
        elif report.conflict is not None:
            requirements, sentence = report.conflict.requirements, report.conflict.sentence
        else:
            requirements, sentence = (), report.sentence()
        broken = [(entry.code, entry.layers) for entry in requirements if entry.kind == "rule"]
        broken += [(entry.code, entry.layers) for entry in report.unmet]
        # Of all that conflict, what this step has made larger is told first.
        grown = self._grown(step)
        broken.sort(key=lambda entry: not grown & set(entry[1]))
        for code, layers in broken:
            numbers = None if question is None else _numbers(question.problems[0], by_code(code), layers)
            if numbers is not None:
                rule = by_code(code)
                return Binding(
                    rule=rule.value.title,
                    code=code,
                    layers=layers,
                    demand=numbers[0],
                    bound=numbers[1],
                    unit=rule.value.unit,
                    sentence=sentence,
                )
        rule = Rule.ONE_LAYER_PER_CORE if not broken else by_code(broken[0][0])
        layers = broken[0][1] if broken else tuple(self.network.index)
        return Binding(
            rule=rule.value.title,
            code=rule.code,
            layers=layers,
            demand=None,
            bound=None,
            unit=rule.value.unit,
            sentence=sentence,
        )


def _numbers(problem: Problem, rule: Rule, layers: Sequence[str]) -> tuple[int | str, int | str] | None:
    """What a layer asks under a rule, and what the largest core has that is too small for it."""
    for demand in problem.demands:
        if demand.layer not in layers:
            continue
        lacks = [
            lack
            for entry in problem.classes
            for lack in shortfalls(demand, entry.core, problem.chip)
            if lack.rule is rule
        ]
        if lacks:
            nearest = min(lacks, key=lambda lack: lack.gap or 0)
            return nearest.demand, nearest.bound
    return None
