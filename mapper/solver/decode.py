"""From counts per core class to a solution with routes: the canonical fill."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import count
from typing import TYPE_CHECKING

from mapper.normal_form import NormalNetwork
from mapper.problem import Problem
from mapper.solution import (
    DVS,
    READOUT,
    HostEntry,
    LayerPart,
    Monitor,
    Objective,
    Placement,
    Route,
    Solution,
)

if TYPE_CHECKING:
    from mapper.solver.plain import Group

__all__ = ["decode"]


def decode(
    problem: Problem,
    groups: tuple[Group, ...],
    counts: Mapping[tuple[int, int], int],
    objectives: tuple[Objective, ...],
) -> Solution:
    """Give every layer a core of its class and write the destinations its edges need.

    Groups by first layer name, classes by core id, layers in natural order of names: the counts
    determine the placement. Seats among cores that are alike, and the order of all, come later
    (`mapper.solver.seats`).
    """
    free = [iter(core_class.core_ids) for core_class in problem.classes]
    core_of: dict[tuple[int, str], int] = {}
    for g, group in enumerate(groups):
        for layer, k in _classes_of(problem, group, {k: counts[g, k] for k in group.classes}):
            demand = problem.demands[layer]
            core_of[demand.network, demand.layer] = next(free[k])
    placements = [
        Placement(
            core_of[demand.network, demand.layer],
            LayerPart(demand.network, demand.layer),
            (0, demand.work.output_shape.features),
        )
        for demand in problem.demands
    ]
    routes: list[Route] = []
    entries: list[HostEntry] = []
    dvs_slots = count()
    for number, network in enumerate(problem.networks):
        routes += _core_routes(problem, number, network, core_of)
        for entry in network.inputs:
            for edge in network.outgoing[entry.name]:
                core = core_of[number, edge.target]
                if entry.dvs is None:
                    entries.append(HostEntry(number, entry.name, core, edge.feature_offset))
                else:
                    routes.append(Route(DVS, next(dvs_slots), core))
    monitors = [
        Monitor(core_of[n, name], n, name, (0, problem.networks[n].by_name[name].output_shape.features))
        for n, name in problem.monitored
    ]
    return Solution(
        placements=tuple(placements),
        routes=tuple(routes),
        host_entries=tuple(entries),
        monitors=tuple(monitors),
        dvs_stage=problem.dvs_stage,
        objectives=objectives,
    )


def _classes_of(problem: Problem, group: Group, rooms: Mapping[int, int]) -> Iterator[tuple[int, int]]:
    """(layer, class) of a group, in the order of its layers where own cores are not the objective."""
    left = dict(rooms)
    waiting = []
    for layer in group.layers:
        own = problem.own_classes.get(layer) if problem.options.objective == "index" else None
        if own is not None and left.get(own, 0):
            left[own] -= 1
            yield layer, own
        else:
            waiting.append(layer)
    classes = (k for k in group.classes for _ in range(left[k]))
    yield from zip(waiting, classes, strict=True)


def _core_routes(
    problem: Problem, number: int, network: NormalNetwork, core_of: Mapping[tuple[int, str], int]
) -> list[Route]:
    """Destinations of every core, canonically ordered: by name of the target, pooling and offset."""
    routes = []
    demands = problem.demands
    place = {(demands[n].network, demands[n].layer): at for at, n in enumerate(problem.by_name)}
    for layer in network.layers:
        source = core_of[number, layer.name]
        reading = sorted(
            (
                place[number, edge.target],
                edge.pool.size[0] if edge.pool else 1,
                edge.feature_offset,
                edge.target,
            )
            for edge in network.outgoing[layer.name]
        )
        routes += [
            Route(source, slot, core_of[number, target], pooling, offset)
            for slot, (_, pooling, offset, target) in enumerate(reading)
        ]
        if problem.readout == (number, layer.name):
            routes.append(Route(source, len(reading), READOUT))
    return routes
