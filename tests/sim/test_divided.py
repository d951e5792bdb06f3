"""Pieces, copies, relays and neighbours on the chip change nothing that the networks do."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from mapper.emit.shared.config import ChipConfig
from mapper.emit.shared.joined import joined
from mapper.emit.write.build import build_config
from mapper.errors import ConfigError
from mapper.events import Events, events_from_raster
from mapper.network import Network
from mapper.normal_form import NormalNetwork, normal_form
from mapper.operations import Shape
from mapper.sim.config_frame import simulate_config
from mapper.sim.event import EventOptions, EventResult, simulate_events
from mapper.sim.network import simulate
from mapper.solution import DVS, LayerPart, Relay
from tests.builders import pool, weighted
from tests.divided import Moves, big_chip, divided, plain
from tests.property.divided_instances import random_divided_instance
from tests.sim.test_config_frame import neurons, random_network

CASES = int(os.environ.get("MAPPER_INSTANCES", "60"))
CHIP = big_chip()
LIMIT = 2000


def some_network(seed: int) -> NormalNetwork:
    """Chains with one more edge, and graphs with sums, concatenations, fans, cycles and pools up to 8."""
    if seed % 2:
        chosen = pooled_sensor(random_network(seed)) if seed % 4 == 1 else random_network(seed)
        return normal_form(chosen)
    draw = np.random.default_rng(seed)
    return normal_form(neurons(weighted(random_divided_instance(seed)[0][0], draw, integer=True), draw))


def pooled_sensor(network: Network) -> Network:
    """The same behind a sensor twice as large, which is pooled by 2 on its way."""
    sensors = {entry.name for entry in network.inputs if entry.dvs is not None}
    inputs, edges = [], []
    for entry in network.inputs:
        features, height, width = entry.shape
        twice = replace(entry, shape=Shape(features, 2 * height, 2 * width))
        inputs.append(twice if entry.name in sensors else entry)
    for edge in network.edges:
        edges.append(replace(edge, path=pool(2)) if edge.source in sensors else edge)
    return network.replacing(inputs=tuple(inputs), edges=tuple(edges))


def rasters(network: Network, seed: int, steps: int = 4, most: int = 3) -> dict[str, Any]:
    draw = np.random.default_rng(seed)
    return {entry.name: draw.integers(0, most, (steps, *entry.shape)) for entry in network.inputs}


def assert_same(
    networks: Sequence[NormalNetwork], config: ChipConfig, x: dict[str, Any], case: object
) -> int:
    """In every layer, step and output, and in the potentials; how many spikes there were."""
    network = joined(networks)
    expected, found = simulate(network, x), simulate_config(config, x)
    assert config.interface is not None
    for layer in config.interface.layers:
        spikes, potential = expected.spikes[layer.name], expected.state.potentials[layer.name]
        assert np.array_equal(found.layers[layer.name], spikes), (case, layer.name)
        for place in layer.places:
            if place.role != "relay":
                part = found.state.potentials[place.core][0]
                assert np.array_equal(part, potential[place.start : place.stop]), (case, layer.name)
    for name, spikes in expected.outputs.items():
        assert np.array_equal(found.outputs[name], spikes), (case, name)
    return sum(int(spikes.sum()) for spikes in expected.spikes.values())


@pytest.mark.no_cover
@pytest.mark.parametrize("block", range(4))
def test_in_time_steps_nothing_changes(block: int) -> None:
    spikes = 0
    for seed in range(block * CASES // 4, (block + 1) * CASES // 4):
        network = some_network(seed)
        config = build_config(divided([network], CHIP, np.random.default_rng(seed)))
        spikes += assert_same([network], config, rasters(network, seed), seed)
    assert spikes > 16 * CASES


@pytest.mark.no_cover
def test_synops_of_pieces_add_up_and_relays_have_their_own() -> None:
    for seed in range(8):
        network = random_network(seed)
        whole = plain([network], CHIP)
        result = divided([network], CHIP, np.random.default_rng(seed), Moves(copies=False))
        x = rasters(result.networks[0], seed)
        seen = [simulate_config(config, x) for config in map(build_config, (whole, result))]
        sums = [
            by_layer(config, run)
            for config, run in zip(map(build_config, (whole, result)), seen, strict=True)
        ]
        for name, synops in sums[0].items():
            assert sums[1][name] == synops


def by_layer(config: ChipConfig, run: Any) -> dict[str, int]:
    assert config.interface is not None
    return {
        layer.name: sum(run.synops[place.core] for place in layer.places if place.role != "relay")
        for layer in config.interface.layers
    }


def feed_forward(seed: int) -> NormalNetwork | None:
    network = some_network(seed)
    return None if any(edge.delay_steps for edge in network.edges) else network


def run_events(config: ChipConfig, x: dict[str, Any], limit: int = 1_000_000) -> EventResult:
    """Spike by spike in the default order; an event may cause `limit` spikes."""
    events = {name: events_from_raster(raster, 1000) for name, raster in x.items()}
    options = EventOptions(tick_us=1000.0, spike_limit=limit)
    return simulate_events(config, events, options, end_us=1000.0 * len(next(iter(x.values()))))


def sequence(events: Events) -> list[tuple[int, ...]]:
    return [tuple(event) for event in events.tolist()]


@pytest.mark.no_cover
@pytest.mark.parametrize("block", range(4))
def test_spike_by_spike_pieces_and_relays_change_nothing(block: int) -> None:
    """In the default order, without cycles: the same spikes of every layer, in the same order."""
    moves, spikes, compared = Moves(copies=False), 0, 0
    for seed in range(block * CASES // 4, (block + 1) * CASES // 4):
        network = feed_forward(seed)
        if network is None:
            continue
        result = divided([network], CHIP, np.random.default_rng(seed), moves)
        x = rasters(network, seed, 2, 2)
        try:
            # In the same forms: zeros around a kernel touch neurons that it does not, which may spike then.
            expected = run_events(build_config(plain(result.networks, CHIP)), x, LIMIT)
        except ConfigError:
            continue  # an avalanche, which takes minutes
        found, compared = run_events(build_config(result), x), compared + 1
        for name, events in expected.layers.items():
            assert sequence(found.layers[name]) == sequence(events), (seed, name)
            spikes += len(events)
    assert spikes > CASES
    assert compared > CASES // 16


def several(seed: int) -> list[NormalNetwork]:
    return [
        normal_form(random_network(2 * seed)).replacing(name="first"),
        normal_form(random_network(2 * seed + 1)).replacing(name="second"),
    ]


def with_host_input(network: NormalNetwork) -> NormalNetwork:
    return network.replacing(inputs=tuple(replace(entry, dvs=None) for entry in network.inputs))


def test_several_networks_do_not_meet() -> None:
    heard = 0
    for seed in range(max(6, CASES // 8)):
        networks = [with_host_input(network) for network in several(seed)]
        result = divided(networks, CHIP, np.random.default_rng(seed))
        config, whole = build_config(result), joined(result.networks)
        x = rasters(whole, seed)
        assert_same(networks, config, x, seed)
        alone = {name: raster if name == "first:input" else 0 * raster for name, raster in x.items()}
        silent = {name: 0 * raster for name, raster in x.items()}
        # A cycle may never end spike by spike.
        ends = not any(edge.delay_steps for edge in whole.edges)
        for run in (in_steps, by_spikes) if ends else (in_steps,):
            one, none = run(config, alone), run(config, silent)
            assert all(one[name] == none[name] for name in whole.index if name.startswith("second:"))
            heard += one != none
    assert heard > 6


def in_steps(config: ChipConfig, x: dict[str, Any]) -> dict[str, Any]:
    return {name: spikes.tolist() for name, spikes in simulate_config(config, x).layers.items()}


def by_spikes(config: ChipConfig, x: dict[str, Any]) -> dict[str, Any]:
    return {name: sequence(events) for name, events in run_events(config, x).layers.items()}


@pytest.mark.no_cover
def test_networks_that_share_the_sensor() -> None:
    kinds: set[tuple[LayerPart | Relay, bool]] = set()
    shared = 0
    for seed in range(40):
        networks = several(seed)
        shapes = {network.inputs[0].shape for network in networks}
        if any(network.inputs[0].dvs is None for network in networks) or len(shapes) > 1:
            networks = [networks[0], networks[0].replacing(name="second")]
        if networks[0].inputs[0].dvs is None:
            continue
        networks = [normal_form(pooled_sensor(n)) if seed % 2 else n for n in networks]
        result = divided(networks, CHIP, np.random.default_rng(seed))
        solution, config = result.require(), build_config(result)
        bodies = {place.core: place.body for place in solution.placements}
        relays = {core: body for core, body in bodies.items() if body.network is None}
        pooled = {route.source for route in solution.routes if route.pooling > 1}
        kinds |= {(body, core in pooled) for core, body in relays.items()}
        shared += any(
            {bodies[int(route.target)].network for route in solution.routes if route.source == core} >= {0, 1}
            for core in relays
        )
        x = rasters(networks[0], seed)["input"]
        assert_same(networks, config, {"first:input": x, "second:input": x}, seed)
    assert shared > 3
    assert {
        (body, False) for body in (Relay(None, DVS), Relay(None, DVS, 1, True), Relay(None, DVS, 2))
    } <= kinds
    assert {(body, True) for body in (Relay(None, DVS), Relay(None, DVS, 1, True))} <= kinds
