"""The equivalence check and the known-answer test on pieces, copies, relays and several networks."""

from __future__ import annotations

import numpy as np
import pytest

import mapper
from mapper.boards.monitored import monitored_layers
from mapper.emit.shared.joined import joined
from mapper.emit.write.build import build_config
from mapper.equivalence import known_answer, layer_shapes
from mapper.equivalence.known_answer import derived
from mapper.equivalence.run import check_equivalence, random_recording
from mapper.events import EVENT_DTYPE
from mapper.sim.event import EventOptions, EventSimulator, simulate_events
from mapper.sim.recording import run_recording
from tests.builders import chain, conv, weighted
from tests.divided import big_chip, divided
from tests.sim.test_config_frame import random_network
from tests.sim.test_divided import several

CHIP = big_chip()


def quiet(seed: int) -> bool:
    return not any(edge.delay_steps for edge in random_network(seed).edges)


@pytest.mark.parametrize("seed", [seed for seed in range(9) if quiet(seed)])
def test_the_whole_check_on_a_divided_network(seed: int) -> None:
    result = divided([random_network(seed)], CHIP, np.random.default_rng(seed))
    (network,) = result.networks
    report = check_equivalence(result, network, random_recording(network, 0.1, 3, 1000, seed))
    assert report.is_equivalent
    config = build_config(result)
    assert config.interface is not None
    roles = {place.role for layer in config.interface.layers for place in layer.places}
    told = "\n".join(report.notes)
    for role, sentence in (
        ("piece", "cut into pieces: exact in time steps"),
        ("relay", "passed on by relays: exact in time steps"),
        ("copy", "stands twice: exact in time steps"),
    ):
        assert (sentence in told) >= (role in roles)
    assert len(report.events.loads) == len(config.interface.owners)
    assert {load.layer for load in report.events.loads} == set(config.interface.owners.values())
    shapes = {layer.name: tuple(layer.output_shape) for layer in network.layers}
    assert layer_shapes(config) == shapes
    read = monitored_layers(config)
    assert all(entry.shape[0] == shapes[name][0] for name, entry in read.items() if name in shapes)


def test_the_whole_check_on_several_networks() -> None:
    for seed in (0, 2, 3):
        networks = several(seed)
        if len({network.inputs[0].shape for network in networks}) > 1:
            networks = [networks[0], networks[0].replacing(name="second")]
        if any(edge.delay_steps for network in networks for edge in network.edges):
            continue
        result = divided(networks, CHIP, np.random.default_rng(seed))
        recording = random_recording(joined(result.networks), 0.1, 3, 1000, seed)
        report = check_equivalence(result, result.networks, recording)
        assert report.is_equivalent
        assert report.network == "first+second"
        assert {entry.layer.split(":")[0] for entry in report.rates} == {"first", "second"}


@pytest.mark.parametrize("seed", [seed for seed in range(9) if quiet(seed)])
def test_known_answers_are_by_core(seed: int) -> None:
    result = divided([random_network(seed)], CHIP, np.random.default_rng(seed))
    config = build_config(result)
    answer = known_answer(config, CHIP)
    if answer is None:
        return
    used = [n for n, core in enumerate(config.hardware.cnn_layers) if core.dimensions is not None]
    assert sorted(answer.counts) == used
    events = np.array(list(answer.inputs[0].events), EVENT_DTYPE)
    simulator = EventSimulator(derived(config), EventOptions(sensor_view="raw"))
    seen = simulator.run({result.networks[0].inputs[0].name: events}).spikes
    for core, rows in answer.counts.items():
        assert sum(row[3] for row in rows) <= seen[core] <= sum(row[4] for row in rows)
    summary = run_recording(derived(config), {result.networks[0].inputs[0].name: events})
    assert sorted(summary.synops) == used


def test_known_answers_ask_every_input() -> None:
    """Two networks on one chip: each input in turn; one sensor stage is asked once for both."""
    config = mapper.build_config(mapper.solve(["digits", "digits"]))
    answer = known_answer(config, CHIP)
    assert answer is not None
    assert [entry.name for entry in answer.inputs] == ["digits:input", "digits-2:input"]
    times = sorted(row[0] for entry in answer.inputs for row in entry.events)
    assert len(times) == len(set(times)) == 2 * len(answer.inputs[0].events)
    given = {entry.name: np.array(list(entry.events), EVENT_DTYPE) for entry in answer.inputs}
    result = simulate_events(derived(config), given)
    for core, rows in answer.counts.items():
        assert sum(row[3] for row in rows) <= result.spikes[core] <= sum(row[4] for row in rows)
    draw = np.random.default_rng(0)
    sensing = [
        weighted(chain([conv(4), conv(4)], (2, 16, 16), dvs=True, name=name), draw, integer=True)
        for name in ("a", "b")
    ]
    shared = known_answer(mapper.build_config(mapper.solve(sensing)), CHIP)
    assert shared is not None
    assert [(entry.name, entry.source) for entry in shared.inputs] == [("a:input", "dvs")]
    assert len({core for core, rows in shared.counts.items() if rows}) == 4
