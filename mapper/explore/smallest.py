"""The smallest chip that carries a set of networks, and what a core or a network more or less would cost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from hwspec.schema import ChipSpec
from mapper.activity import steps_of
from mapper.errors import InfeasibleError, UndecidedError, VerificationError
from mapper.explore.larger_offer import larger_offer, largest_chip
from mapper.explore.request import Request, require_sound
from mapper.normal_form import NormalNetwork
from mapper.question import Question, decide
from mapper.reasons import Status
from mapper.references import networks_apart
from mapper.result import Result
from mapper.wording import join_names

# The solver is loaded by this module: the command line imports it when it has read its arguments.
from mapper.solver.budget import INTERRUPTION, Budget  # isort: skip
from mapper.solver.smallest.choice import Choices  # isort: skip
from mapper.solver.smallest.search import SmallestChip, find_chip  # isort: skip
from mapper.solver.smallest.sizes import ChipQuestion, chip_of  # isort: skip

__all__ = ["Answer", "Curves", "NoChip", "Point", "curves", "synthesize"]

# Networks of a group share the chip; the groups take turns on it.
Groups: TypeAlias = tuple[tuple[NormalNetwork, ...], ...]

_NAMES_MAX = 40
# Deterministic time of a point of a curve: about as many seconds.
_POINT_WORK = 20.0
# Of a limit, the part for the search of a chip: the networks are still to be placed on it.
_SEARCH_SHARE = 0.8


@dataclass(frozen=True, slots=True)
class Answer:
    """A chip, and its networks placed on it and checked.

    Attributes
    ----------
    carried
        Names of the networks.
    results
        One a network, or one for all where they share the chip.
    budget
        What is left of the limits.
    """

    chip: ChipSpec
    smallest: SmallestChip
    fan_out: int
    carried: tuple[str, ...]
    results: tuple[Result, ...]
    budget: Budget = field(compare=False)

    @property
    def gap(self) -> float:
        """(bits - bound) / bits: 0 where the least memory is proven."""
        return 1 - self.smallest.bits_bound / self.smallest.capacity_bits


@dataclass(frozen=True, slots=True)
class NoChip:
    """A point of a curve without a chip.

    Attributes
    ----------
    stopped_by
        The limit that came before one was found; None where it is proven that there is none.
    """

    stopped_by: str | None = None


Point: TypeAlias = Answer | NoChip


@dataclass(frozen=True, slots=True)
class Curves:
    """What the least memory depends on.

    Attributes
    ----------
    by_cores
        (most cores allowed, answer).
    by_networks
        (networks carried at least, answer): those that take least memory. Where all share the chip, they
        count as one.
    is_complete
        Whether every point is there; False after an interruption or a limit.
    """

    by_cores: tuple[tuple[int, Point], ...]
    by_networks: tuple[tuple[int, Point], ...]
    is_complete: bool = True


def synthesize(networks: Sequence[NormalNetwork], request: Request) -> Answer:
    """The smallest chip; every network has been placed on it by the normal path, and checked.

    Parameters
    ----------
    networks
        After the chip-free passes, at least one.

    Raises
    ------
    OptionsError
        A request that contradicts itself.
    InfeasibleError
        No chip within the limits carries the networks; the report is about the largest one.
    UndecidedError
        A limit came before any chip was found.
    VerificationError
        A network does not fit the chip that was found for it: a fault of this package.
    """
    require_sound(request, networks)
    groups, budget = _groups(networks, request), Budget(request.options)
    largest = [_on_largest(group, request, budget) for group in groups]
    refused = next((result.report for result in largest if result.status is Status.INFEASIBLE), None)
    if refused is not None:
        raise InfeasibleError(refused, larger_offer(groups, request, budget))
    question, smallest = _least(groups, request, request.cores[1], budget.share(_SEARCH_SHARE))
    if smallest.status is Status.INFEASIBLE:
        raise RuntimeError("each network fits the largest chip, and all of them fit none")
    answer = _checked(question, smallest, request, request.name, budget)
    if isinstance(answer, NoChip):
        raise UndecidedError(answer.stopped_by or "a limit", largest[0])
    return answer


def curves(networks: Sequence[NormalNetwork], request: Request, best: Answer) -> Curves:
    """The least memory for every number of cores, and for every number of networks carried.

    A limit of the user's is for all of it, the search for the best chip included, and points are left out
    when it is reached. Without one each point has its own in deterministic time: which networks are
    cheapest together can be far harder than the chip for all of them.

    Parameters
    ----------
    best
        What `synthesize` gave: it is not sought again.

    Raises
    ------
    VerificationError
        As `synthesize`.
    """
    groups = _groups(networks, request)
    points = _Points(groups, replace(request, minimise="sram"), best.budget)
    by_cores: list[tuple[int, Point]] = []
    by_networks: list[tuple[int, Point]] = []
    (least, most), every = request.cores, request.cores[1] - request.cores[0] + 1 + len(groups)
    try:
        if best.smallest.stopped_by == INTERRUPTION:
            raise KeyboardInterrupt
        with steps_of("points of the curves", every) as steps:
            for count in range(least, most + 1):
                is_known = request.minimise == "sram" and count == most
                by_cores.append((count, best if is_known else points.with_cores(count)))
                steps(len(by_cores))
            # Where a limit came first, the chip found for fewer cores may be smaller.
            for n in range(1, len(by_cores)):
                by_cores[n] = (by_cores[n][0], _smaller(by_cores[n][1], by_cores[n - 1][1]))
            points.add_networks(by_cores[-1][1], by_networks, lambda n: steps(len(by_cores) + n))
    except KeyboardInterrupt:
        return Curves(tuple(by_cores), tuple(by_networks), is_complete=False)
    return Curves(tuple(by_cores), tuple(by_networks), is_complete=not points.is_cut_short)


class _Points:
    """Points of the curves, within what the search for the best chip has left of the limits."""

    def __init__(self, groups: Groups, request: Request, budget: Budget) -> None:
        self.groups, self.request, self.budget, self.is_cut_short = groups, request, budget, False
        self.left = request.cores[1] - request.cores[0] + len(groups)

    def part(self) -> Budget:
        """What one point may take."""
        options = self.request.options
        if options.time_limit_s is None and options.work_limit is None:
            return Budget(replace(options, work_limit=_POINT_WORK))
        self.left = max(1, self.left - 1)
        return self.budget.share(1 / (self.left + 1))

    def with_cores(self, most: int) -> Point:
        """The least memory with so many cores."""
        budget = self.part()
        question, smallest = _least(self.groups, self.request, most, budget.share(_SEARCH_SHARE))
        return self._answer(question, smallest, f"{self.request.name}-{most}-cores", budget)

    def add_networks(
        self, whole: Point, points: list[tuple[int, Point]], progress: Callable[[int], None]
    ) -> None:
        """The least memory for every number of networks carried."""
        choices = Choices(_question(self.groups, self.request, self.request.cores[1]))
        if isinstance(whole, Answer):
            choices.note(whole.smallest)
        for carry in range(1, len(self.groups)):
            points.append((carry, self._with_networks(choices, carry)))
            progress(len(points))
        points.append((len(self.groups), whole))
        # What later points have found, and what they have left of a limit, proves earlier ones.
        for n, (carry, point) in enumerate(points[:-1]):
            if isinstance(point, NoChip) or point.smallest.status is not Status.OPTIMAL:
                points[n] = (carry, self._with_networks(choices, carry))
        # Where a limit came first, a chip for more networks may be smaller than the one found for these.
        for n in range(len(points) - 2, -1, -1):
            points[n] = (points[n][0], _smaller(points[n][1], points[n + 1][1]))

    def _with_networks(self, choices: Choices, carry: int) -> Point:
        budget = self.part()
        smallest = choices.least(carry, budget.share(_SEARCH_SHARE))
        name = f"{self.request.name}-{carry}-networks"
        return self._answer(choices.catalogue.question, smallest, name, budget)

    def _answer(self, question: ChipQuestion, smallest: SmallestChip, name: str, budget: Budget) -> Point:
        if smallest.stopped_by == INTERRUPTION:
            # Ctrl-C ends a solve as a limit does: it is meant for the whole curve.
            raise KeyboardInterrupt
        self.is_cut_short |= smallest.status is Status.UNDECIDED or self.budget.is_spent
        try:
            return _checked(question, smallest, self.request, name, budget)
        except UndecidedError as error:
            if error.limit == INTERRUPTION:
                raise KeyboardInterrupt from None
            self.is_cut_short = True
            return NoChip(error.limit)


def _smaller(point: Point, neighbour: Point) -> Point:
    """The answer of a neighbouring point that answers this one too, where it takes less memory."""
    if isinstance(neighbour, NoChip):
        return point
    bits = neighbour.smallest.capacity_bits
    if isinstance(point, Answer) and point.smallest.capacity_bits <= bits:
        return point
    bound = 0 if isinstance(point, NoChip) else point.smallest.bits_bound
    stopped_by = point.stopped_by if isinstance(point, NoChip) else point.smallest.stopped_by
    status = Status.OPTIMAL if bits == bound else Status.FEASIBLE
    smaller = replace(
        neighbour.smallest, status=status, bits_bound=bound, is_unique=False, stopped_by=stopped_by
    )
    return replace(neighbour, smallest=smaller)


def _groups(networks: Sequence[NormalNetwork], request: Request) -> Groups:
    """Networks in natural order of names, so that the order of arguments does not count."""
    ready = sorted(networks_apart(networks), key=lambda network: network.name)
    return (tuple(ready),) if request.together else tuple((network,) for network in ready)


def _on_largest(group: tuple[NormalNetwork, ...], request: Request, budget: Budget) -> Result:
    """The verdict on a chip of as many cores as may be, each with the largest memories on offer."""
    return decide(Question(group, largest_chip(request), request.options), budget=budget.share(0.5))


def _question(groups: Groups, request: Request, most: int) -> ChipQuestion:
    cores = (min(request.cores[0], most), most)
    carried = tuple(Question(group, request.base, request.options) for group in groups)
    return ChipQuestion(carried, request.base, cores, request.sizes, request.fan_out[1], request.options)


def _least(groups: Groups, request: Request, most: int, budget: Budget) -> tuple[ChipQuestion, SmallestChip]:
    """The chip with the most destinations; then the fewest destinations under which it is as small."""
    question = _question(groups, request, most)
    fewer_destinations = request.fan_out[0] < request.fan_out[1]
    part = budget.share(0.5) if fewer_destinations else budget
    smallest = find_chip(question, part, request.minimise)
    for fan_out in range(*request.fan_out):
        if smallest.status is not Status.OPTIMAL:
            break
        fewer = replace(question, fan_out=fan_out)
        tried = find_chip(fewer, budget.share(0.5), request.minimise)
        same = (tried.capacity_bits, len(tried.cores)) == (smallest.capacity_bits, len(smallest.cores))
        if tried.status is Status.OPTIMAL and same:
            return fewer, tried
    return question, smallest


def _checked(
    question: ChipQuestion, smallest: SmallestChip, request: Request, name: str, budget: Budget
) -> Point:
    """The chip as a specification, with every network placed on it, where there is a chip."""
    if not smallest.cores:
        is_proven = smallest.status is Status.INFEASIBLE
        return NoChip(None if is_proven else smallest.stopped_by or "a limit")
    groups = [question.groups[n].networks for n in smallest.carried]
    names = tuple(network.name for group in groups for network in group)
    more = (f"{len(names) - _NAMES_MAX} more",) * (len(names) > _NAMES_MAX)
    listed = join_names(names[:_NAMES_MAX] + more)
    source = f"synthesized for {listed}, all but the memories as on {request.base.name}"
    chip = chip_of(question.base, smallest.cores, question.fan_out, name, source)
    results = tuple(decide(Question(group, chip, request.options), budget=budget) for group in groups)
    for group, result in zip(groups, results, strict=True):
        if result.status is Status.INFEASIBLE:
            fault = f"{join_names([n.name for n in group])} does not fit the chip that was synthesized for it"
            raise VerificationError((fault,))
        result.require()
    return Answer(chip, smallest, question.fan_out, names, results, budget.top)
