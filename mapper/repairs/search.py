"""The common ground of a search for repairs: what is changed, and whether that would fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from hwspec.variant import apply_overrides
from mapper.edits import Edit, apply_edits, shapes_only
from mapper.errors import MapperError, SpecError
from mapper.normal_form import NormalNetwork
from mapper.operations import Convolution, Pair
from mapper.options import SolveOptions
from mapper.problem import Problem
from mapper.question import Question, fits
from mapper.reasons import FeasibilityReport, Repair, SizeChange
from mapper.repairs.bounds import Bounds
from mapper.solver.budget import Budget
from mapper.solver.divided.prices import Prices

__all__ = ["Search", "largest", "last", "repaired", "roundest", "size_changes", "smallest"]

# A question may be answered without the solver, and takes time all the same.
_EFFORT_PER_QUESTION = 1e-3
# Numbers that are tried before it is asked whether any works.
_LEAST_TRIED = 2
# More layers than these are not edited one by one: the report names the others all the same.
_SUSPECTS_MAX = 12


def largest(
    low: int,
    high: int,
    works: Callable[[int], bool | None],
    first: int | None = None,
    may: Callable[[int], bool] | None = None,
    middle_of: Callable[[int, int], int] = lambda low, high: (low + high) // 2,
) -> int | None:
    """The largest number in low..high that works, by bisection.

    Parameters
    ----------
    works
        True: this or a larger number. False: only smaller ones. None: too small to make sense.
    first
        What to try first, where one answer is likely to end the search; None for the middle.
    may
        Quickly, whether a number or a smaller one may work. The largest that may is tried before all others,
        since it mostly does.
    middle_of
        What to try of low..high.
    """
    if may is not None:
        if low > high or not may(low):
            return None
        high = last(low, high, may)
    best, tries = None, iter([n for n in (high if may else None, first) if n is not None])
    while low <= high:
        middle = next((n for n in tries if low <= n <= high), middle_of(low, high))
        verdict = works(middle)
        if verdict is False:
            high = middle - 1
        else:
            best = middle if verdict else best
            low = middle + 1
    return best


def roundest(low: int, high: int) -> int:
    """The number in low..high that can be halved most often."""
    bit = (low - 1 ^ high).bit_length() - 1
    return high >> bit << bit


def last(low: int, high: int, may: Callable[[int], bool]) -> int:
    """The largest number in low..high that may, where the least does."""
    middle = high
    while low < high:
        if may(middle):
            low = middle
        else:
            high = middle - 1
        middle = (low + high + 1) // 2
    return low


def smallest(low: int, high: int, works: Callable[[int], bool]) -> int | None:
    """The smallest number in low..high that works, where it mostly is `low` or next to it.

    Parameters
    ----------
    works
        True: this or a smaller number. False: only larger ones.
    """
    best, failures = None, 0
    while low <= high:
        # The least ones, then whether any works at all, then by bisection.
        tried = (low + high) // 2 if best is not None else low if failures < _LEAST_TRIED else high
        if works(tried):
            best, high = tried, tried - 1
        else:
            low, failures = tried + 1, failures + 1
    return best


def repaired(question: Question, repair: Repair) -> Question:
    """The question as a repair changes it.

    Raises
    ------
    MapperError
        The repair does not apply.
    """
    edits = [Edit(change.name, change.field, change.after, change.target) for change in repair.sizes]
    options = replace(
        question.resolved,
        pins=tuple(pin for pin in question.resolved.pins if pin[0] not in repair.dropped_pins),
        forbidden_cores=tuple(
            core for core in question.resolved.forbidden_cores if core not in repair.allowed_cores
        ),
    )
    networks = question.networks
    edited = tuple(apply_edits(network, edits) for network in networks) if edits else networks
    return Question(edited, apply_overrides(question.chip, repair.overrides), options)


def size_changes(network: NormalNetwork, edits: Sequence[Edit]) -> tuple[SizeChange, ...]:
    """Edits together with the values they replace."""
    changes = []
    for edit in edits:
        before: int | Pair
        if edit.field == "input_size":
            shape = next(entry.shape for entry in network.inputs if entry.name == edit.name)
            before = (shape.height, shape.width)
        elif edit.field == "pooling":
            edges = (e for e in network.outgoing[edit.name] if edit.target in (None, e.target))
            before = next((e.pool.size for e in edges if e.pool), (1, 1))
        else:
            attribute = "out_features" if edit.field == "features" else edit.field
            before = getattr(network.by_name[edit.name].operation, attribute)
        changes.append(
            SizeChange(name=edit.name, field=edit.field, before=before, after=edit.value, target=edit.target)
        )
    return tuple(changes)


@dataclass
class Search:
    """One infeasible question while repairs for it are sought.

    Attributes
    ----------
    question
        What was asked; requests and chips are changed with the weights that it has.
    budget
        For proposals; once it is spent none is asked any more, and no further one works.
    """

    question: Question
    report: FeasibilityReport
    budget: Budget
    verdicts: dict[tuple[Edit, ...], bool | None] = field(default_factory=dict)
    prices: Prices = field(default_factory=Prices)

    @cached_property
    def network(self) -> NormalNetwork:
        """The one network by shapes alone, as the chip-free passes left it: edits are told in these terms."""
        return shapes_only(self.question.networks[0])

    @cached_property
    def bounds(self) -> Bounds:
        """What no repair mends, without a question."""
        return Bounds(self.question, self.network, self.prices)

    @property
    def problem(self) -> Problem:
        """What was solved first, in the chip's legal form."""
        return self.question.problems[0]

    @property
    def named(self) -> tuple[str, ...]:
        """Layers that the report names, in canonical order."""
        conflict = self.report.conflict.requirements if self.report.conflict else ()
        names = {layer for entry in self.report.unmet for layer in entry.layers}
        names |= {layer for entry in self.report.certificate for layer in entry.layers}
        names |= {layer for entry in conflict for layer in entry.layers}
        order = (self.problem.demands[index].layer for index in self.problem.by_name)
        return tuple(name for name in order if name in names)[:_SUSPECTS_MAX]

    @property
    def suspects(self) -> tuple[str, ...]:
        """Layers that the report names, then those that feed them."""
        named = self.named
        feeding = (edge.source for name in named for edge in self.network.incoming[name])
        layers = dict.fromkeys((*named, *(name for name in feeding if name in self.network.by_name)))
        return tuple(layers)[:_SUSPECTS_MAX]

    @property
    def too_many_layers(self) -> bool:
        """Whether there are more layers than cores, which no edit of sizes mends."""
        return len(self.problem.demands) > sum(len(entry.core_ids) for entry in self.problem.classes)

    @property
    def outputs(self) -> frozenset[str]:
        """Layers whose features are the network's answer."""
        return frozenset(output.source for output in self.network.outputs)

    def convolution(self, layer: str) -> Convolution:
        """The operation of a layer."""
        return self.network.by_name[layer].operation

    def fits(self, question: Question) -> bool | None:
        """Whether a changed question has an answer; None where a limit came first."""
        if self.budget.is_spent:
            return None
        self.budget.effort += _EFFORT_PER_QUESTION
        return fits(question, self.budget.aside(), self.prices)

    def fits_with(self, *edits: Edit) -> bool | None:
        """Whether the edited network, by shapes, fits; None if its shapes no longer follow."""
        if self.budget.is_spent:
            return False
        if edits not in self.verdicts:
            try:
                network = apply_edits(self.network, edits)
                fits = not self.bounds.exclude(network)
                self.verdicts[edits] = fits and bool(self.fits(replace(self.question, networks=(network,))))
            except MapperError:
                self.verdicts[edits] = None
        return self.verdicts[edits]

    def may_fit(self, *edits: Edit) -> bool:
        """Whether the edited network may fit, as far as is known without asking."""
        if edits not in self.verdicts:
            try:
                if self.bounds.exclude(apply_edits(self.network, edits)):
                    self.verdicts[edits] = False
            except MapperError:
                self.verdicts[edits] = None
        return self.verdicts.get(edits) is not False

    def fits_on(self, *overrides: str) -> bool:
        """Whether the networks fit the changed chip; False where the chip cannot be so."""
        if self.budget.is_spent:
            return False
        try:
            chip = apply_overrides(self.question.chip, overrides)
        except SpecError:
            return False
        return bool(self.fits(self.question.on(chip)))

    def fits_asked(self, options: SolveOptions) -> bool:
        """Whether the networks fit with other requests."""
        return bool(self.fits(replace(self.question, options=options)))
