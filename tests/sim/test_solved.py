"""What the solver cuts and relays runs like the network, in time steps and, without cycles, spike by spike."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from mapper.emit.read.diff import diff
from mapper.emit.shared.config import ChipConfig
from mapper.emit.write.build import build_config
from mapper.errors import ConfigError
from mapper.network import Network
from mapper.normal_form import normal_form
from mapper.options import SolveOptions, resolve
from mapper.question import Question, decide
from mapper.result import Result
from mapper.sim.config_frame import simulate_config
from mapper.sim.network import simulate
from mapper.solution import LayerPart, Relay
from tests.builders import weighted
from tests.divided import big_chip, plain
from tests.property.divided_instances import random_divided_instance
from tests.sim.test_config_frame import CASES, neurons
from tests.sim.test_divided import rasters, run_events, sequence

BIG = big_chip()
BLOCKS = 4


@cache
def solved(block: int, **options: Any) -> tuple[tuple[int, Network, Result], ...]:
    """Random networks with weights that only pieces, copies or relays place, and their placements."""
    return tuple(_solved(block, options))


def _solved(block: int, options: dict[str, Any]) -> Iterator[tuple[int, Network, Result]]:
    for seed in range(block * 3 * CASES // BLOCKS, (block + 1) * 3 * CASES // BLOCKS):
        (shapes,), chip, wishes = random_divided_instance(seed)
        draw = np.random.default_rng(seed)
        network = neurons(weighted(shapes, draw, integer=True), draw)
        if wishes.readout is not None:
            continue
        wanted: SolveOptions = resolve(replace(wishes, **options), network, chip)
        result = decide(Question((normal_form(network),), chip, wanted))
        if result.solution is not None and len(result.solution.placements) > len(network.layers):
            yield seed, network, result


def moves_of(result: Result) -> set[str]:
    found = set()
    bodies: Counter[object] = Counter(place.body for place in result.require().placements)
    for body, count in bodies.items():
        if isinstance(body, Relay):
            found.add("relay")
        elif body.copy_index:  # type: ignore[attr-defined]  # a layer's part
            found.add("copy")
        elif count > 1:
            found.add("piece")
    return found


@pytest.mark.no_cover
@pytest.mark.parametrize("block", range(BLOCKS))
def test_in_time_steps(block: int) -> None:
    compared = 0
    for seed, network, result in solved(block):
        config, x = build_config(result), rasters(network, seed, 3, 2)
        expected, found = simulate(network, x), simulate_config(config, x)
        for name, spikes in expected.spikes.items():
            assert np.array_equal(found.layers[name], spikes), (seed, name)
        for name, output in expected.outputs.items():
            assert np.array_equal(found.outputs[name], output), (seed, name)
        assert diff(result.networks[0], config) == (), seed
        compared += 1
    assert compared > CASES // 8


@pytest.mark.no_cover
@pytest.mark.parametrize("block", range(BLOCKS))
def test_spike_by_spike_without_copies_and_cycles(block: int) -> None:
    """The same spikes of every layer, in the same order, as with one whole layer per core."""
    compared: Counter[str] = Counter()
    for seed, network, result in solved(block, max_copies=1):
        if any(edge.delay_steps for edge in network.edges):
            continue
        x = rasters(network, seed, 3, 2)
        try:
            expected = run_events(build_config(plain(result.networks, BIG)), x, 20_000).layers
        except ConfigError:
            continue  # an avalanche, which takes minutes
        found = run_events(build_config(result), x).layers
        for name, events in expected.items():
            assert sequence(found[name]) == sequence(events), (seed, name)
        compared.update(moves_of(result))
    assert min(compared[move] for move in ("piece", "relay")) > CASES // 60
    assert compared["copy"] == 0


@pytest.mark.no_cover
def test_all_moves_occur() -> None:
    found: set[str] = set()
    for block in range(BLOCKS):
        for _, _, result in solved(block):
            found |= moves_of(result)
    assert found == {"piece", "copy", "relay"}


def test_a_layer_on_two_cores_is_read_as_one() -> None:
    _, network, result = solved(0)[0]
    config: ChipConfig = build_config(result)
    assert config.interface is not None
    assert [layer.name for layer in config.interface.layers] == [layer.name for layer in network.layers]
    for layer in config.interface.layers:
        cores = {place.core for place in layer.places if place.role != "relay"}
        parts = (p for p in result.require().placements if isinstance(p.body, LayerPart))
        assert cores == {
            p.core for p in parts if isinstance(p.body, LayerPart) and p.body.layer == layer.name
        }
