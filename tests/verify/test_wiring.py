"""Circles of relays, monitors and host entries: exactly at the bound, and one beyond."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from hwspec.catalog import load
from mapper.network import Edge, Input, Output
from mapper.normal_form import NormalLayer, NormalNetwork
from mapper.operations import Convolution, Pool, Shape
from mapper.options import SolveOptions, resolve
from mapper.rules import Rule
from mapper.solution import (
    DVS,
    READOUT,
    HostEntry,
    LayerPart,
    Monitor,
    Placement,
    Relay,
    Route,
    Solution,
)
from mapper.verify import verify
from tests.builders import chain, conv, pool
from tests.rules.instances import SITUATIONS


def rules(
    network: NormalNetwork | tuple[NormalNetwork, ...],
    solution: Solution,
    *overrides: str,
    options: SolveOptions = SolveOptions(),
) -> set[Rule]:
    networks = network if isinstance(network, tuple) else (network,)
    chip = load("speck2f", list(overrides))
    return {entry.rule for entry in verify(networks, chip, resolve(options, networks, chip), solution)}


def hand_over() -> tuple[NormalNetwork, Solution]:
    """A layer of four features, a relay of it, and a reader behind the relay."""
    network = chain([conv(4), conv(2)])
    return network, Solution(
        (
            Placement(0, LayerPart(0, "conv0"), (0, 4)),
            Placement(1, LayerPart(0, "conv1"), (0, 2)),
            Placement(2, Relay(0, "conv0"), (0, 4)),
        ),
        (Route(0, 0, 2), Route(2, 0, 1)),
        (HostEntry(0, "input", 0),),
        (Monitor(1, 0, "conv1", (0, 2)),),
    )


def test_relays_in_a_circle_feed_nobody() -> None:
    network, solution = hand_over()
    assert rules(network, solution) == set()
    placements = (*solution.placements, Placement(3, Relay(0, "conv0"), (0, 4)))
    in_line = (Route(0, 0, 3), Route(3, 0, 2), Route(2, 0, 1))
    assert rules(network, replace(solution, placements=placements, routes=in_line)) == set()
    circle = (Route(2, 0, 3), Route(3, 0, 2), Route(2, 1, 1))
    assert rules(network, replace(solution, placements=placements, routes=circle)) == {Rule.CONNECTION}
    own = (Route(2, 0, 2), Route(2, 1, 1))
    assert rules(network, replace(solution, routes=own)) == {Rule.CONNECTION}


def test_a_circle_of_some_features_is_one_too() -> None:
    """The first relay reads features 2 and 3 of a second one, which reads all of the first."""
    network, solution = hand_over()
    halves = tuple(Placement(core, LayerPart(0, "conv0"), span) for core, span in ((0, (0, 2)), (4, (2, 4))))
    second = Placement(3, Relay(0, "conv0", 1, reads_all=True), (2, 4))
    entries = (HostEntry(0, "input", 0), HostEntry(0, "input", 4))
    base = replace(solution, placements=(*halves, *solution.placements[1:]), host_entries=entries)
    assert (
        rules(network, replace(base, routes=(Route(0, 0, 2), Route(4, 0, 2, 1, 2), Route(2, 0, 1)))) == set()
    )
    routes = (Route(0, 0, 2), Route(2, 0, 1), Route(2, 1, 3), Route(3, 0, 2, 1, 2))
    circle = replace(base, placements=(*base.placements, second), routes=routes)
    assert rules(network, circle) == {Rule.CONNECTION}


def test_a_relay_that_reads_all_gets_all_of_it() -> None:
    case = SITUATIONS["relay that reads all"](np.random.default_rng(1))
    bodies = [(place, place.body) for place in case.solution.placements]
    relay, body = next((place, body) for place, body in bodies if isinstance(body, Relay))
    own = replace(relay, body=replace(body, reads_all=False))
    places = tuple(own if place is relay else place for place in case.solution.placements)
    violations = verify(case.networks, case.chip(), case.options, replace(case.solution, placements=places))
    assert {(entry.rule, f"core {relay.core} " in entry.where) for entry in violations} == {
        (Rule.CONNECTION, True)
    }


@pytest.mark.parametrize("count", [1, 2, 3])
def test_so_many_cores_are_watched_and_not_one_more(count: int) -> None:
    network = chain([conv(4)] * 3)
    solution = Solution(
        tuple(Placement(n, LayerPart(0, f"conv{n}"), (0, 4)) for n in range(3)),
        (Route(0, 0, 1), Route(1, 0, 2)),
        (HostEntry(0, "input", 0),),
        tuple(Monitor(n, 0, f"conv{n}", (0, 4)) for n in range(count)),
    )
    watch = SolveOptions(monitors=tuple(f"conv{n}" for n in range(count)))
    assert rules(network, solution, options=watch) == set()
    assert rules(network, solution, f"monitor.cores_max={count}", options=watch) == set()
    assert rules(network, solution, f"monitor.cores_max={count - 1}", options=watch) == {Rule.MONITOR}
    fewer = replace(watch, monitors=watch.monitors[:-1] if watch.monitors else None)
    assert rules(network, solution, options=fewer) == {Rule.MONITOR}
    more = replace(watch, monitors=("conv0", "conv1", "conv2"))
    assert rules(network, solution, options=more) == (set() if count == 3 else {Rule.MONITOR})
    twice = replace(solution, monitors=(*solution.monitors, solution.monitors[0]))
    assert rules(network, twice, options=watch) == {Rule.MONITOR}


def pooled_output(cut_relay: bool) -> tuple[NormalNetwork, Solution]:
    """A layer in two pieces whose output is shown pooled by 2, by a relay of each piece or one of both."""
    network = chain([conv(4)])
    network = network.replacing(outputs=(Output("o", "conv0", pool(2)),))
    spans = ((0, 1), (1, 4))
    pieces = [Placement(core, LayerPart(0, "conv0"), span) for core, span in enumerate(spans)]
    if cut_relay:
        relays = [Placement(core + 2, Relay(0, "conv0", 2), span) for core, span in enumerate(spans)]
        routes = [Route(0, 0, 2, 2), Route(1, 0, 3, 2)]
    else:
        relays = [Placement(2, Relay(0, "conv0", 2), (0, 4))]
        routes = [Route(0, 0, 2, 2), Route(1, 0, 2, 2, 1)]
    return network, Solution(
        (*pieces, *relays),
        tuple(routes),
        tuple(HostEntry(0, "input", core) for core in range(2)),
        tuple(Monitor(relay.core, 0, "conv0", relay.features, 2) for relay in relays),
    )


@pytest.mark.parametrize("cut_relay", [False, True])
def test_relays_show_an_output_pooled_whole_or_in_pieces(cut_relay: bool) -> None:
    network, solution = pooled_output(cut_relay)
    relayed = SolveOptions(pooled_outputs="relay")
    assert rules(network, solution, options=relayed) == set()
    assert rules(network, solution) == {Rule.MONITOR}
    first = solution.monitors[0]
    for monitors in (
        solution.monitors[1:],
        (*solution.monitors, first),
        (replace(first, pooling_seen=1), *solution.monitors[1:]),
        (replace(first, features=(0, 3)), *solution.monitors[1:]),
        (replace(first, source=0), *solution.monitors[1:]),
        (replace(first, source=DVS), *solution.monitors[1:]),
        (replace(first, signal="input"), *solution.monitors[1:]),
        (*solution.monitors, Monitor(0, 0, "conv0", (0, 1))),
        (
            replace(first, features=solution.monitors[-1].features),
            replace(solution.monitors[-1], features=first.features),
        ),
    ):
        assert rules(network, replace(solution, monitors=monitors), options=relayed) == {Rule.MONITOR}


def test_relays_that_show_an_output_are_pooled_alike() -> None:
    network, solution = pooled_output(True)
    relay = replace(solution.placements[3], body=Relay(0, "conv0", 4))
    mixed = replace(
        solution,
        placements=(*solution.placements[:3], relay),
        routes=(solution.routes[0], replace(solution.routes[1], pooling=4)),
        monitors=(solution.monitors[0], replace(solution.monitors[1], pooling_seen=4)),
    )
    assert rules(network, mixed, options=SolveOptions(pooled_outputs="relay")) == {Rule.MONITOR}


def test_spikes_for_a_core_that_does_nothing_are_a_violation() -> None:
    network, solution = hand_over()
    idle = replace(solution, routes=(*solution.routes, Route(0, 1, 8)))
    assert rules(network, idle) == {Rule.CONNECTION}
    sent = replace(solution, host_entries=(*solution.host_entries, HostEntry(0, "input", 8)))
    assert rules(network, sent) == {Rule.CONNECTION}


def test_pieces_hold_every_feature_once() -> None:
    """Of the last layer, which nobody reads and nobody watches."""
    network, solution = hand_over()
    unseen = replace(solution, monitors=())
    options = SolveOptions(monitors=())
    assert rules(network, unseen, options=options) == set()
    for spans in (((0, 1),), ((1, 2),), ((0, 2), (0, 2)), ((0, 2), (1, 2))):
        pieces = tuple(Placement(5 + n, LayerPart(0, "conv1"), span) for n, span in enumerate(spans))
        routes = (Route(0, 0, 2), *(Route(2, n, piece.core) for n, piece in enumerate(pieces)))
        placements = (solution.placements[0], *pieces, solution.placements[2])
        assert rules(network, replace(unseen, placements=placements, routes=routes), options=options) == {
            Rule.PLACED
        }


def two_networks() -> tuple[tuple[NormalNetwork, NormalNetwork], Solution]:
    networks = (chain([conv(4)], name="one"), chain([conv(4)], name="two"))
    return networks, Solution(
        tuple(Placement(n, LayerPart(n, "conv0"), (0, 4)) for n in range(2)),
        (),
        tuple(HostEntry(n, "input", n) for n in range(2)),
        tuple(Monitor(n, n, "conv0", (0, 4)) for n in range(2)),
    )


def test_a_host_entry_belongs_to_the_network_of_its_core() -> None:
    networks, solution = two_networks()
    assert rules(networks, solution) == set()
    crossed = tuple(replace(entry, network=1 - entry.network) for entry in solution.host_entries)
    assert rules(networks, replace(solution, host_entries=crossed)) == {Rule.CONNECTION}
    # A network of other names, whose input the core's own network does not know.
    other = networks[1].replacing(
        inputs=(Input("events", Shape(2, 16, 16)),), edges=(Edge("events", "conv0"),)
    )
    foreign = replace(solution, host_entries=(HostEntry(1, "events", 0), HostEntry(1, "events", 1)))
    assert rules((networks[0], other), foreign) == {Rule.CONNECTION}


def test_a_pool_of_host_events_is_square_even_behind_a_relay() -> None:
    layer = NormalLayer("conv0", Shape(2, 8, 5), conv(2, 1))
    path = (Pool("sum", (2, 3), (2, 3)),)
    network = NormalNetwork(
        "n",
        (Input("input", Shape(2, 16, 16)),),
        (layer,),
        (Edge("input", "conv0", path),),
        (Output("o", "conv0"),),
    )
    solution = Solution(
        (Placement(0, LayerPart(0, "conv0"), (0, 2)), Placement(1, Relay(0, "input"), (0, 2))),
        (Route(1, 0, 0, 2),),
        (HostEntry(0, "input", 1),),
        (Monitor(0, 0, "conv0", (0, 2)),),
    )
    assert rules(network, solution) == {Rule.POOLING}


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (lambda route: replace(route, pooling=2), Rule.POOLING),
        (lambda route: replace(route, feature_shift=1), Rule.FEATURE_SHIFT),
        (lambda route: replace(route, source=0, slot=1), Rule.READOUT),
        (lambda route: replace(route, source=DVS), Rule.READOUT),
        (lambda route: replace(route, slot=1), Rule.FAN_OUT),
    ],
)
def test_the_readouts_destination_is_plain(change: Callable[[Route], Route], rule: Rule) -> None:
    network = chain([conv(4), Convolution(8, (16, 16))])
    solution = Solution(
        (Placement(0, LayerPart(0, "conv0"), (0, 4)), Placement(5, LayerPart(0, "conv1"), (0, 8))),
        (Route(0, 0, 5), Route(5, 0, READOUT)),
        (HostEntry(0, "input", 0),),
        (Monitor(5, 0, "conv1", (0, 8)),),
    )
    options = SolveOptions(readout="conv1")
    assert rules(network, solution, options=options) == set()
    changed = replace(solution, routes=(solution.routes[0], change(solution.routes[1])))
    assert rule in rules(network, changed, options=options)


@pytest.mark.parametrize("bound", [1, 2, 3])
def test_a_core_has_so_many_destinations_and_not_one_more(bound: int) -> None:
    case = SITUATIONS["relay"](np.random.default_rng(2))
    relay = next(place.core for place in case.solution.placements if isinstance(place.body, Relay))
    chip = case.chip(f"core[{relay}].fan_out={bound}")
    violations = verify(case.networks, chip, case.options, case.solution)
    assert {entry.rule for entry in violations} == (set() if bound == 3 else {Rule.FAN_OUT})
