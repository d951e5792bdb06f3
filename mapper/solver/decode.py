"""From counts per core class to a solution with routes: the canonical fill."""

from __future__ import annotations

from collections.abc import Mapping
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
    """Give every layer a core and write the destinations its edges need.

    Groups by first layer name, classes by core id, layers in natural order of names: the counts
    determine the placement.
    """
    free = [iter(core_class.core_ids) for core_class in problem.classes]
    core_of: dict[tuple[int, str], int] = {}
    for g, group in enumerate(groups):
        layers = iter(group.layers)
        for k in group.classes:
            for _ in range(counts[g, k]):
                demand = problem.demands[next(layers)]
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
        placements=tuple(sorted(placements, key=lambda placement: placement.core)),
        routes=tuple(sorted(routes, key=lambda route: (str(route.source).zfill(9), route.slot))),
        host_entries=tuple(sorted(entries, key=lambda e: (e.network, e.input, e.core, e.feature_shift))),
        monitors=tuple(sorted(monitors, key=lambda monitor: (monitor.network, str(monitor.source).zfill(9)))),
        dvs_stage=problem.dvs_stage,
        objectives=objectives,
    )


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
