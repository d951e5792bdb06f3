"""Hand-made solutions: emitted, read back, and run in time steps and spike by spike like their networks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from hwspec.catalog import load
from mapper.emit.read.diff import diff
from mapper.emit.read.extract import extract
from mapper.emit.shared.config import ChipConfig
from mapper.emit.shared.file import config_text
from mapper.emit.shared.joined import joined
from mapper.emit.shared.tensor import Tensor
from mapper.emit.write.build import build_config
from mapper.equivalence.known_answer import known_answer
from mapper.equivalence.run import check_equivalence, random_recording
from mapper.errors import ConfigError, EmitError
from mapper.events import events_from_raster, raster_from_events
from mapper.network import Edge, Input, Output
from mapper.operations import Shape
from mapper.result import Result
from mapper.sim.config_frame import simulate_config
from mapper.sim.event import EventSimulator, simulate_events
from mapper.sim.network import simulate
from mapper.sim.recording import run_recording
from mapper.solution import HostEntry, LayerPart, Monitor, Placement, Relay, Route, Solution
from tests.builders import conv, pool, weighted
from tests.emit.handmade import (
    CASES,
    network,
    one_relay_for_three_networks,
    placed,
    pooled_output_by_aligned_relays,
    pooled_output_by_relays_that_read_all,
    sensor_relay_in_pieces,
)
from tests.sim.test_divided import assert_same, run_events

ALL = pytest.mark.parametrize("case", CASES.values(), ids=CASES)
STEPS = 4


def rasters(result: Result) -> dict[str, Any]:
    """Counts for every input; the sensor gives the same to all."""
    inputs, draw = joined(result.networks).inputs, np.random.default_rng(3)
    shapes = {tuple(entry.shape) for entry in inputs}
    # Few on large maps: events are run one by one.
    counts = {
        shape: draw.integers(0, 3, (STEPS, *shape)) * (draw.random((STEPS, *shape)) < 500 / np.prod(shape))
        for shape in sorted(shapes)
    }
    return {entry.name: counts[tuple(entry.shape)] for entry in inputs}


@ALL
def test_it_comes_back(case: Callable[[], Result]) -> None:
    result = case()
    config = build_config(result)
    assert diff(result.networks, config) == ()
    assert ChipConfig.model_validate_json(config_text(config)) == config
    for one in result.networks:
        assert diff(one, extract(config, network=one.name)) == ()


@ALL
def test_it_runs_like_its_networks(case: Callable[[], Result]) -> None:
    result = case()
    config, x = build_config(result), rasters(result)
    assert assert_same(result.networks, config, x, case) > 200
    expected, found = simulate(joined(result.networks), x), run_events(config, x)
    for name, spikes in expected.spikes.items():
        seen = raster_from_events(found.layers[name], spikes.shape[1:], 1000.0, STEPS).counts
        assert np.array_equal(seen, spikes), name
    for name, spikes in expected.outputs.items():
        seen = raster_from_events(found.outputs[name], spikes.shape[1:], 1000.0, STEPS).counts
        assert np.array_equal(seen, spikes), name


@ALL
def test_the_whole_check_holds(case: Callable[[], Result]) -> None:
    result = case()
    recording = random_recording(joined(result.networks), 0.1, 3, 1000)
    report = check_equivalence(result, result.networks, recording)
    assert report.is_equivalent
    assert all(entry.differing == 0 for entry in report.events.layers)
    answer = known_answer(build_config(result), result.chip)
    assert answer is not None
    assert answer.is_exact


def relayed(spans: list[tuple[int, int]], draw: np.random.Generator) -> Result:
    """l0 of six features behind relays that read all of it, one for each span, and feed l1 and l2."""
    edges = (Edge("in", "l0"), *(Edge("l0", f"l{n}", pool(2)) for n in (1, 2)))
    shapes = network(Input("in", Shape(2, 8, 8)), [conv(6), conv(3), conv(3)], edges, [Output("o", "l2")])
    own = tuple(Placement(n, LayerPart(0, f"l{n}"), (0, 6 if n == 0 else 3)) for n in range(3))
    relays = tuple(Placement(3 + n, Relay(0, "l0", 2, True), span) for n, span in enumerate(spans))
    routes = tuple(Route(0, n, 3 + n, 2) for n in range(len(spans)))
    routes += tuple(Route(3 + n, m, 1 + m, 1, span[0]) for n, span in enumerate(spans) for m in range(2))
    monitors = (Monitor(2, 0, "l2", (0, 3)),)
    solution = Solution((*own, *relays), routes, (HostEntry(0, "in", 0),), monitors)
    return placed([weighted(shapes, draw, integer=True)], solution, ["core[0..8].fan_out=6"])


@pytest.mark.parametrize("seed", range(12))
def test_pieces_of_a_relay_pass_on_what_the_whole_does(seed: int) -> None:
    """With weights of both signs, in time steps and spike by spike, in the same order."""
    draw = np.random.default_rng(seed)
    cuts = sorted(draw.choice(np.arange(1, 6), draw.integers(1, 6), replace=False).tolist())
    spans = list(zip([0, *cuts], [*cuts, 6], strict=True))
    pieces = relayed(spans, np.random.default_rng(seed))
    whole = relayed([(0, 6)], np.random.default_rng(seed))
    x = {"in": draw.integers(0, 3, (STEPS, 2, 8, 8))}
    config = build_config(pieces)
    assert diff(whole.networks, config) == ()
    assert assert_same(pieces.networks, config, x, seed) > 50
    found, expected = run_events(config, x), run_events(build_config(whole), x)
    for name, spikes in expected.layers.items():
        assert np.array_equal(found.layers[name], spikes), name


def test_events_pass_a_shared_relay_once() -> None:
    result = one_relay_for_three_networks()
    config, x = build_config(result), rasters(result)
    assert config.interface is not None
    assert [place.core for place in config.interface.sensor_relays] == [6]
    assert config.interface.owners[6] == "relay of a:in, b:in, c:in"
    assert any(
        note.startswith("a:in, b:in, c:in: passed on by a relay on core 6") for note in config.interface.notes
    )
    frames = simulate_config(config, x)
    count = int(x["a:in"].sum())
    # Each event reaches both neurons of its place.
    assert frames.synops[6] == 2 * count
    events = run_events(config, x)
    assert events.spikes[6] == count
    # One recording is enough, whichever input it is given to: there is one sensor.
    for name in x:
        one = simulate_config(config, {name: x[name]})
        assert all(np.array_equal(one.layers[layer], frames.layers[layer]) for layer in frames.layers)
        alone = run_events(config, {name: x[name]})
        assert all(np.array_equal(alone.layers[layer], events.layers[layer]) for layer in events.layers)
        given = events_from_raster(x[name], 1000)
        summary = run_recording(config, {name: given})
        assert summary.events == count
        assert summary.signals["c:in"] == count
    everywhere = run_recording(config, {name: events_from_raster(raster, 1000) for name, raster in x.items()})
    assert everywhere.events == count


def test_recordings_of_one_sensor_must_not_differ() -> None:
    result = one_relay_for_three_networks()
    config, x = build_config(result), rasters(result)
    other = {**x, "b:in": x["b:in"] + (np.arange(STEPS) == 1)[:, None, None, None]}
    with pytest.raises(ConfigError, match=r"input b:in: shares the sensor stage.*those of a:in"):
        simulate_config(config, other)
    events = {name: events_from_raster(raster, 1000) for name, raster in other.items()}
    with pytest.raises(ConfigError, match=r"input b:in: shares the sensor stage.*those of a:in"):
        simulate_events(config, events)
    with pytest.raises(ConfigError, match=r"input a:in: is missing"):
        simulate_config(config, {})


def test_what_fills_no_pool_is_no_difference() -> None:
    """Recordings that differ only in rows that the stage drops leave it alike."""
    result = one_relay_for_three_networks()
    config, x = build_config(result), rasters(result)
    larger = np.pad(x["a:in"], ((0, 0), (0, 0), (0, 2), (0, 1)), constant_values=1)
    frames = simulate_config(config, {**x, "c:in": larger})
    assert np.array_equal(frames.layers["c:l1"], simulate_config(config, x).layers["c:l1"])
    events = {name: events_from_raster(raster, 1000) for name, raster in {**x, "c:in": larger}.items()}
    # Within a step the order of events is that of features, rows and columns: the same without those left out.
    assert EventSimulator(config).run(events).spikes == run_events(config, x).spikes


def relay_changed(config: ChipConfig, core: int, **changes: Any) -> ChipConfig:
    cores = list(config.hardware.cnn_layers)
    cores[core] = cores[core].model_copy(update=changes)
    return config.model_copy(
        update={"hardware": config.hardware.model_copy(update={"cnn_layers": tuple(cores)})}
    )


@pytest.mark.parametrize("place", [0, 1])
def test_a_relay_that_selects_something_else_is_found(place: int) -> None:
    config = build_config(sensor_relay_in_pieces())
    for core in (5, 6):
        weights = config.hardware.cnn_layers[core].weights
        assert weights is not None
        assert weights.shape == (1, 2, 1, 1)
        array = weights.array.copy()
        array[0, place] = 127 - array[0, place]
        with pytest.raises(
            ConfigError, match=rf"core {core}: is no true relay of in: its weight\[0, {place}\]"
        ):
            extract(relay_changed(config, core, weights=Tensor.of(array)))


def test_an_interface_that_says_something_else_is_found() -> None:
    config = build_config(sensor_relay_in_pieces())
    assert config.interface is not None
    one, other = config.interface.sensor_relays
    swapped = (one.model_copy(update={"core": 6}), other.model_copy(update={"core": 5}))
    with pytest.raises(ConfigError, match="is no true relay"):
        extract(_told(config, sensor_relays=swapped))
    wider = (one, other.model_copy(update={"start": 0}))
    with pytest.raises(ConfigError, match=r"core 6: is a relay of features 0..1 of in, and makes others"):
        extract(_told(config, sensor_relays=wider))
    with pytest.raises(ConfigError, match="is configured, and the interface does not say what it holds"):
        extract(_told(config, sensor_relays=(one,)))
    shared = build_config(one_relay_for_three_networks())
    assert shared.interface is not None
    nameless = tuple(entry.model_copy(update={"readers": ()}) for entry in shared.interface.inputs)
    with pytest.raises(ConfigError, match="no input names a:l0 among its readers"):
        extract(_told(shared, inputs=nameless))


def _told(config: ChipConfig, **changes: Any) -> ChipConfig:
    return config.model_copy(update={"interface": config.interface.model_copy(update=changes)})  # type: ignore[union-attr]  # it has one


def test_outputs_that_show_not_all_are_found() -> None:
    config = build_config(pooled_output_by_aligned_relays())
    assert config.interface is not None
    (output,) = config.interface.outputs
    assert [(part.core, part.start, part.stop) for part in output.parts] == [(5, 0, 2), (6, 2, 6)]
    assert output.host_pool == (1, 1)
    less = output.model_copy(update={"parts": output.parts[1:]})
    with pytest.raises(
        ConfigError, match=r"do not show every feature of l1 once \(got 2..5; allowed: 0..5\)"
    ):
        extract(_told(config, outputs=(less,)))


def test_an_output_is_shown_once_whoever_shows_it() -> None:
    """One relay of all features and two of some, all of them monitored; and two that leave some out."""
    result = pooled_output_by_relays_that_read_all()
    solution, chip = result.require(), load("speck2f", ["core[1].fan_out=3"])
    whole = Placement(7, Relay(0, "l1", 2), (0, 6))
    more = replace(
        solution,
        placements=(*solution.placements, whole),
        routes=(*solution.routes, Route(1, 2, 7, 2)),
        monitors=(*solution.monitors, Monitor(7, 0, "l1", (0, 6), 2)),
    )
    x = rasters(result)
    for monitors, cores, host_pool in (
        (more.monitors, [7], 1),
        (more.monitors[:2], [5, 6], 1),
        (more.monitors[:1], [1], 2),
    ):
        made = replace(result, chip=chip, solution=replace(more, monitors=monitors))
        config = build_config(made)
        assert config.interface is not None
        (output,) = config.interface.outputs
        assert [part.core for part in output.parts] == cores
        assert output.host_pool == (host_pool, host_pool)
        assert diff(made.networks, config) == ()
        assert_same(made.networks, config, x, cores)


def test_the_host_sends_to_relays_in_the_order_of_their_readers() -> None:
    """The second of three pieces behind two relays, each of one feature of the input."""
    shapes = network(Input("in", Shape(2, 6, 6)), [conv(3)], [Edge("in", "l0")], [Output("o", "l0")])
    pieces = tuple(Placement(n, LayerPart(0, "l0"), (n, n + 1)) for n in range(3))
    relays = tuple(Placement(3 + n, Relay(0, "in", 1, True), (n, n + 1)) for n in range(2))
    routes = tuple(Route(3 + n, 0, 1, 1, n) for n in range(2))
    entries = tuple(HostEntry(0, "in", core) for core in (4, 2, 3, 0))
    monitors = tuple(Monitor(n, 0, "l0", (n, n + 1)) for n in range(3))
    config = build_config(placed([shapes], Solution((*pieces, *relays), routes, entries, monitors)))
    assert config.interface is not None
    assert [entry.core for entry in config.interface.inputs[0].entries] == [0, 4, 3, 2]


def test_a_relay_of_the_sensor_is_of_no_one_network() -> None:
    result = one_relay_for_three_networks()
    solution = result.require()
    owned = tuple(
        replace(place, body=Relay(1, "in")) if place.core == 6 else place for place in solution.placements
    )
    with pytest.raises(EmitError, match=r"core 6: the sensor's events are of no one network \(got in\)"):
        build_config(replace(result, solution=replace(solution, placements=owned)))
