"""Which of several cores that are alike: cores 0 and 1 for what an input feeds, and core n for layer n.

What is proven counts cores; which of those that are alike (`Problem.alike`) holds what, it leaves open. There
a placement takes its seats by this definition, in which names count, not the order of a file:

1. Under the objective "index", every whole layer whose own core (`Problem.own_cores`) is among them, on it.
2. What reads an input itself, not through a relay, on those of cores 0 and 1 that are among them.
3. All the rest, on the cores that are left.

Within a step whole layers take their own cores first, and what remains the lowest free ones: layers by
number, then joint relays and fused siblings, which have none, copies and pieces ascending, then relays in the
order in which they were decoded.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mapper.problem import Problem
from mapper.solution import DVS, READOUT, HostEntry, LayerPart, Monitor, Placement, Route, Solution

__all__ = ["count_own", "seated"]

# Where a chip has parallel cores, which are meant for the input, it is these two.
_ENTRANCE = frozenset({0, 1})


@dataclass(frozen=True, slots=True)
class _Body:
    """What stands on a core, and its own one; a part of a layer has none."""

    core: int
    own: int | None


def count_own(problem: Problem, solution: Solution) -> int:
    """How many layers stand whole on their own cores."""
    return sum(_own(problem, place) == place.core for place in solution.placements)


def seated(problem: Problem, solution: Solution) -> Solution:
    """The placement on the cores of this module's definition, everything in canonical order."""
    at = _seats(problem, solution)
    placements = [Placement(at[p.core], p.body, p.features) for p in solution.placements]
    routes = [
        Route(
            r.source if r.source == DVS else at[r.source],
            r.slot,
            r.target if r.target == READOUT else at[r.target],
            r.pooling,
            r.feature_shift,
        )
        for r in solution.routes
    ]
    entries = [HostEntry(e.network, e.input, at[e.core], e.feature_shift) for e in solution.host_entries]
    monitors = [
        Monitor(
            m.source if m.source == DVS else at[m.source], m.network, m.signal, m.features, m.pooling_seen
        )
        for m in solution.monitors
    ]
    return Solution(
        placements=tuple(sorted(placements, key=lambda p: p.core)),
        routes=tuple(sorted(routes, key=lambda r: (str(r.source).zfill(9), r.slot))),
        host_entries=tuple(sorted(entries, key=lambda e: (e.network, e.input, e.core, e.feature_shift))),
        monitors=tuple(sorted(monitors, key=lambda m: (m.network, str(m.source).zfill(9)))),
        dvs_stage=solution.dvs_stage,
        objectives=solution.objectives,
    )


def _seats(problem: Problem, solution: Solution) -> dict[int, int]:
    """By the core where something was decoded, the core that it takes."""
    fed = {entry.core for entry in solution.host_entries}
    fed |= {r.target for r in solution.routes if r.source == DVS and r.target != READOUT}
    own_first = problem.options.objective == "index"

    # Joint relays and fused siblings have no number: their order is that of their names.
    by_name = {layer: n for n, layer in enumerate(problem.by_name)}

    def rank(place: Placement) -> tuple[bool, int, int, int]:
        body = place.body
        if isinstance(body, LayerPart):
            layer = problem.layer_of[body.network, body.layer]
            number = problem.own_cores.get(layer, len(problem.demands) + by_name[layer])
            return False, number, body.copy_index, place.features[0]
        return True, place.core, 0, 0

    group = {core: n for n, cores in enumerate(problem.alike) for core in cores}
    bodies: list[list[_Body]] = [[] for _ in problem.alike]
    for place in sorted(solution.placements, key=rank):
        bodies[group[place.core]].append(_Body(place.core, _own(problem, place)))
    seats: dict[int, int] = {}
    for cores, standing in zip(problem.alike, bodies, strict=True):
        taken: dict[int, int] = {}
        if own_first:
            _take_own(standing, set(cores), taken)
        _take([body for body in standing if body.core in fed], _ENTRANCE.intersection(cores), taken)
        _take(standing, cores, taken)
        seats |= taken
    return seats


def _own(problem: Problem, place: Placement) -> int | None:
    body = place.body
    if isinstance(body, LayerPart):
        layer = problem.layer_of[body.network, body.layer]
        if place.features == (0, problem.demands[layer].work.output_shape.features):
            return problem.own_cores.get(layer)
    return None


def _take(bodies: Sequence[_Body], cores: Iterable[int], taken: dict[int, int]) -> None:
    """Seats among cores, while any are free: whole layers on their own, then the rest on the lowest."""
    free = set(cores).difference(taken.values())
    _take_own(bodies, free, taken)
    waiting = [body.core for body in bodies if body.core not in taken]
    taken.update(zip(waiting, sorted(free), strict=False))


def _take_own(bodies: Sequence[_Body], free: set[int], taken: dict[int, int]) -> None:
    for body in bodies:
        if body.core not in taken and body.own in free:
            free.remove(body.own)
            taken[body.core] = body.own
