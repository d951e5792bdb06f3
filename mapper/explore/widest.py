"""The reverse question: how wide, how large or of how many classes a network may be to fit a chip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal, TypeAlias

from hwspec.schema import ChipSpec
from mapper.activity import doing
from mapper.asking import INPUT_NAME, OUTPUT, WHAT, Option
from mapper.demand import shortfalls
from mapper.edits import Edit, apply_edits, following_edits, linked_layers, shapes_only
from mapper.errors import Finding, InfeasibleError, MapperError, NetworkError, OptionsError
from mapper.normal_form import NormalNetwork
from mapper.operations import Pair
from mapper.options import SolveOptions
from mapper.problem import Problem
from mapper.question import Question, decide, fits
from mapper.reasons import FeasibilityReport, Gap, SizeChange, Status, unmet
from mapper.repairs.search import size_changes
from mapper.result import Result
from mapper.rules import Rule, by_code
from mapper.solver.budget import Budget
from mapper.wording import counted, join_names

__all__ = ["What", "Widest", "find_widest", "steps_of"]

What: TypeAlias = Literal["width", "input", "classes"]


@dataclass(frozen=True)
class Step:
    """One size that is tried: what it is called, and the edits that make it."""

    size: str
    edits: tuple[Edit, ...]


# Sizes in ascending order, what limits their range, and the network's own size.
Range: TypeAlias = tuple[list[Step], str, str]


@dataclass(frozen=True, slots=True)
class Widest:
    """The largest network that fits, placed and checked.

    Attributes
    ----------
    size, now, next_size
        The size that fits, the network's own, and the next larger one that can be built, which does not fit;
        None at the end of the range.
    changes
        Sizes that differ from the network's own.
    is_monotone
        Whether a larger network never fits where a smaller one does not: then the search bisects. Else
        every larger size was tried.
    tried
        How many sizes were tried.
    reason
        Why the next size does not fit; None at the end of the range, of which `end` tells.
    binding
        What a layer of the next size misses; None where no layer misses anything by itself.
    """

    network: str
    chip: str
    what: What
    size: str
    now: str
    next_size: str | None
    changes: tuple[SizeChange, ...]
    edited: NormalNetwork
    result: Result
    is_monotone: bool
    tried: int
    reason: str | None
    binding: Gap | None
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
    plain, requests = shapes_only(network), replace(options or SolveOptions(), repairs=0)
    steps, end, now = steps_of(plain, chip, what, name)
    search = _Search(plain, chip, requests, steps)
    best = search.scan() if what == "input" else search.bisect()
    if best is None:
        raise InfeasibleError(search.smallest_report())
    edited = apply_edits(plain, steps[best].edits)
    result = decide(Question((edited,), chip, requests), budget=search.budget)
    result.require()
    following = search.following(best)
    if following is not None:
        doing(f"asking why {plain.name} does not fit at {steps[following].size}")
    reason, binding = (None, None) if following is None else search.refusal(following)
    edits = steps[best].edits
    changes = size_changes(plain, (*edits, *following_edits(plain, edits)))
    return Widest(
        network=network.name,
        chip=chip.name,
        what=what,
        size=steps[best].size,
        now=now,
        next_size=None if following is None else steps[following].size,
        changes=tuple(change for change in changes if change.before != change.after),
        edited=edited,
        result=result,
        is_monotone=what != "input",
        tried=len(search.verdicts),
        reason=reason,
        binding=binding,
        end=end,
    )


def steps_of(network: NormalNetwork, chip: ChipSpec, what: What, name: str | None) -> Range:
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


def _widths(network: NormalNetwork, chip: ChipSpec) -> Range:
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
        problem, step = "no layer's features are free to change", f"Ask for {WHAT.to(('input', 'classes'))}"
        raise OptionsError(Finding(f"{WHAT} width", problem, next_step=step))
    most = max(core.limits.input_features_max for core in chip.cores)
    # A hidden layer has a reader, and a reader takes no more features than this.
    top = Fraction(most + 1, max(hidden.values()))
    shares = sorted({Fraction(n, f) for f in set(hidden.values()) for n in range(1, int(top * f) + 1)})
    steps = []
    for share in (share for share in shares if share < top):
        edits = (Edit(name, "features", max(1, int(share * f))) for name, f in hidden.items())
        size = str(share) if share.denominator == 1 else f"{share} ({float(share):.4g})"
        steps.append(Step(size, tuple(edits)))
    return steps, _end(Rule.FEATURES, f"a core reads {most} at most", "limits.input_features_max"), "1"


def _named(option: Option, kind: str, names: Sequence[str], name: str | None) -> str:
    if name is not None and name not in names:
        raise OptionsError(Finding(str(option), f"there is no such {kind}", name, ", ".join(names)))
    if name is None and len(names) != 1:
        problem, step = f"there are several {kind}s", f"Name one of them with {option}"
        raise OptionsError(Finding(str(option), problem, len(names), ", ".join(names), next_step=step))
    return name or names[0]


def _classes(network: NormalNetwork, chip: ChipSpec, name: str | None) -> Range:
    """Features of the layer behind an output."""
    names = list(dict.fromkeys(output.source for output in network.outputs))
    layer = _named(OUTPUT, "output layer", names, name)
    try:
        linked_layers(network, layer)
    except NetworkError as error:
        raise OptionsError(*error.findings) from None
    most = sum(core.limits.output_features_max for core in chip.cores)
    steps = [Step(str(n), (Edit(layer, "features", n),)) for n in range(1, most + 1)]
    now = str(network.by_name[layer].operation.out_features)
    end = _end(Rule.FEATURES, f"all cores together make {most} at most", "limits.output_features_max")
    return steps, end, now


def _inputs(network: NormalNetwork, chip: ChipSpec, name: str | None) -> Range:
    """Sizes of an input by its longer side, in its proportions."""
    chosen = _named(INPUT_NAME, "input", [entry.name for entry in network.inputs], name)
    shape = next(entry.shape for entry in network.inputs if entry.name == chosen)
    cores = [max(core.limits.input_height_max, core.limits.input_width_max) for core in chip.cores]
    stage = [max(chip.input.height, chip.input.width)] if chip.input else []
    most, longer = max([*cores, *stage]), max(shape.height, shape.width)
    steps: dict[Pair, Step] = {}
    for pixels in range(1, most + 1):
        height, width = (max(1, round(side * pixels / longer)) for side in (shape.height, shape.width))
        edit = Edit(chosen, "input_size", (height, width))
        steps[height, width] = Step(f"{height}x{width}", (edit,))
    sides = [side for side in ("height", "width") if getattr(shape, side) == longer]
    if most in cores:
        fields = join_names([f"limits.input_{side}_max" for side in sides])
        end = _end(Rule.INPUT_SIZE, f"a core reads {counted(most, 'pixel')} a side at most", fields)
    else:
        fields = join_names([f"input.{side}" for side in sides])
        end = _end(Rule.DVS_STAGE, f"the sensor has {counted(most, 'pixel')} a side at most", fields)
    return list(steps.values()), end, f"{shape.height}x{shape.width}"


def _end(rule: Rule, bound: str, facts: str) -> str:
    return f"{rule.value.title} ({rule.code}): {bound} ({facts})"


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
            sizes = f"{counted(len(self.steps), 'size')}, {len(self.verdicts)} tried"
            doing(f"asking whether {self.network.name} fits at {self.steps[step].size} ({sizes})")
            question = self.question(step)
            verdict = question is not None and fits(question, self.budget.share(1))
            if verdict is None and question is not None:
                verdict = bool(decide(question, "reasons", self.budget).require())
            self.verdicts[step] = bool(verdict)
        return self.verdicts[step]

    def scan(self) -> int | None:
        """The largest step that fits: one after the other from above."""
        return next((step for step in reversed(range(len(self.steps))) if self.fits(step)), None)

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
        return self._refused(step)[1]

    def _refused(self, step: int) -> tuple[Problem, FeasibilityReport]:
        question = self.question(step)
        result = None if question is None else decide(question, budget=self.budget)
        if question is None or result is None or result.report is None:
            raise RuntimeError("a network was proven not to fit, and does")
        return question.problems[0], result.report

    def refusal(self, step: int) -> tuple[str, Gap | None]:
        """Why a step does not fit, and which layer misses which rule by how much, where one does."""
        problem, report = self._refused(step)
        if report.status is Status.UNDECIDED:
            return f"proven not to fit; why was not sought: {report.limit} came first", None
        conflict = report.divided or report.conflict
        requirements = conflict.requirements if conflict else ()
        broken = [(entry.code, entry.layers) for entry in requirements if entry.kind == "rule"]
        broken += [(entry.code, entry.layers) for entry in report.unmet]
        # Of all that conflict, what this step has made larger comes first.
        before = {edit.name: edit.value for edit in self.steps[step - 1].edits} if step else {}
        grown = {edit.name for edit in self.steps[step].edits if edit.value != before.get(edit.name)}
        broken.sort(key=lambda entry: grown.isdisjoint(entry[1]))
        gaps = (_gap(problem, by_code(code), layers) for code, layers in broken)
        sentence = conflict.sentence if conflict else report.sentence()
        return sentence, next((gap for gap in gaps if gap is not None), None)


def _gap(problem: Problem, rule: Rule, layers: Sequence[str]) -> Gap | None:
    """By how much the first of the layers that does misses a rule, on the core that comes nearest."""
    for demand in problem.demands:
        if demand.layer not in layers:
            continue
        every = (lack for group in problem.classes for lack in shortfalls(demand, group.core, problem.chip))
        lacks = (lack for lack in every if lack.rule is rule)
        nearest = min(lacks, key=lambda lack: lack.gap or 0, default=None)
        if nearest is not None:
            return unmet(rule, (demand.layer,), (), nearest.demand, nearest.bound, nearest.terms, "").bare()
    return None
