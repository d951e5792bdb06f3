"""Spike by spike: every rule computed by hand, and whole networks against a recursion without tables."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from mapper.emit.shared.config import Destination
from mapper.emit.shared.tensor import Tensor
from mapper.errors import ConfigError, EventError, OptionsError
from mapper.events import events_from_raster
from mapper.sim.config_frame import simulate_config
from mapper.sim.event import EventOptions, EventSimulator, simulate_events
from mapper.sim.network import simulate
from mapper.sim.stages import through_stage
from tests.builders import chain, conv, weighted
from tests.sim.event_oracle import Oracle
from tests.sim.handmade import ONE, config, core, events, spikes
from tests.sim.test_config_frame import CASES, placed, random_network


def test_at_the_threshold_a_neuron_spikes() -> None:
    # 10 >= 10: one spike; 9 < 10: none.
    assert spikes(config(core(ONE)), events((5, 0, 2, 3))) == [(5, 0, 2, 3)]
    assert spikes(config(core(ONE - 1)), events((5, 0, 2, 3))) == []


def test_one_spike_at_most_per_arriving_spike() -> None:
    # 25 >= 10 spikes once and leaves 15; the next arrival makes 40, spikes once, leaves 30.
    made = config(core(np.full((1, 1, 1, 1), 25)))
    assert len(spikes(made, events((0, 0, 0, 0), (1, 0, 0, 0)))) == 2
    simulator = EventSimulator(made)
    simulator.run({"in": events((0, 0, 0, 0))})
    assert simulator.tables.potentials[0] == 15


@pytest.mark.parametrize(("to_zero", "count"), [(False, 3), (True, 2)])
def test_reset(to_zero: bool, count: int) -> None:
    # Weight 7, threshold 10. Subtract: 7, 14*, 4+7=11*, 1+7=8, 15* -> spikes 2, 3, 5. To zero: 7, 14*, 7, 14*, 7.
    made = config(core(np.full((1, 1, 1, 1), 7), return_to_zero=to_zero))
    assert len(spikes(made, events(*[(n, 0, 0, 0) for n in range(5)]))) == count


def test_the_lower_bound() -> None:
    # Feature 0 subtracts 50, held at -20; then 3 times 10 from feature 1 make 10: one spike.
    weights = np.array([[[[-50]], [[10]]]])
    made = config(core(weights, low=-20))
    given = [(0, 0, 0, 0), (1, 1, 0, 0), (2, 1, 0, 0), (3, 1, 0, 0)]
    assert spikes(made, events(*given)) == [(3, 0, 0, 0)]
    result = simulate_events(made, {"in": events(*given)})
    assert (result.clamped[0], result.synops[0]) == (1, 4)


@pytest.mark.parametrize(("overflow", "value"), [("saturate", 32767), ("wrap", 32760 + 127 - 65536)])
def test_sixteen_bits(overflow: Any, value: int) -> None:
    # 32760 + 127 = 32887 is 120 beyond 16 bits; the threshold of 32767 is reached only by saturation.
    made = config(core(np.full((1, 1, 1, 1), 127), size=1, high=32767, initial=32760))
    simulator = EventSimulator(made, EventOptions(overflow=overflow))
    result = simulator.run({"in": events((0, 0, 0, 0))})
    fired = overflow == "saturate"
    assert (result.spikes[0], result.saturated[0]) == (int(fired), 1)
    assert simulator.tables.potentials[0] == (0 if fired else value)


def test_strides_and_padding_reach_the_right_neurons() -> None:
    # Kernel 2x2 of 10, 20, 30, 40, stride 2, padding 1 on 4x4: pixel (1, 2) is tap y = 0, x = 1 of neuron (1, 1).
    weights = np.array([[[[10, 20], [30, 40]]]])
    simulator = EventSimulator(config(core(weights, pad=1, stride=2, high=1000)))
    simulator.run({"in": events((0, 0, 1, 2))})
    wanted = np.zeros((3, 3), int)
    wanted[1, 1] = 20
    assert np.array_equal(simulator.tables.potentials.reshape(3, 3), wanted)


def test_pools_divide_and_shifts_add() -> None:
    # (3, 2) pooled by 2 is (1, 1), feature 0 + 1.
    first = core(ONE, to=(Destination(layer=1, enable=True, pooling=2, feature_shift=1),))
    second = core(np.array([[[[0]], [[10]]]]), size=2)
    assert spikes(config(first, second), events((9, 0, 3, 2)), "l1") == [(9, 0, 1, 1)]


@pytest.mark.parametrize(("border", "count"), [("dropped", 0), ("delivered", 1)])
def test_a_pool_over_an_odd_map(border: Any, count: int) -> None:
    # Map 5, pool 2: column 4 becomes 2, outside of 0..1. Delivered, a 2x2 kernel with padding 1 still reaches
    # neuron (2, 2) by tap 1 - of the map 3x3.
    first = core(ONE, size=5, to=(Destination(layer=1, enable=True, pooling=2),))
    second = core(np.full((1, 1, 2, 2), 10), size=2, pad=1)
    result = simulate_events(
        config(first, second), {"in": events((0, 0, 4, 4))}, EventOptions(pooled_border=border)
    )
    assert (len(result.layers["l1"]), result.border) == (count, {(0, 0): 1})


def test_host_events_outside_are_counted_and_never_indexed() -> None:
    result = simulate_events(config(core(ONE)), {"in": events((0, 0, 9, 9), (1, 3, 0, 0), (2, 0, 0, 0))})
    assert (result.outside, result.spikes[0]) == (2, 1)


def test_ticks_add_biases_before_arrivals_of_their_time() -> None:
    # Ticks at 0, 100, 200 add 4: at 200 the potential is 12, which no tick compares; the arrival at 200 does.
    made = config(core(np.zeros((1, 1, 1, 1), int), biases=np.array([4]), leak_enable=True))
    given = events((200, 0, 1, 1))
    assert spikes(made, given, tick_us=100.0) == [(200, 0, 1, 1)]
    # With a comparison at ticks all 16 neurons spike at the third tick, and 2 + 0 is left for the arrival.
    fired = spikes(made, given, tick_us=100.0, fires_on_tick=True)
    assert len(fired) == 16
    assert {t for t, *_ in fired} == {200}
    with pytest.raises(ConfigError, match="slow clock"):
        simulate_events(made, {"in": given})
    # Ticks before 350: 0, 100, 200, 300.
    simulator = EventSimulator(made, EventOptions(tick_us=100.0))
    simulator.run({"in": given[:0]}, end_us=350)
    assert set(simulator.tables.potentials.tolist()) == {16}


def test_zero_weights_touch_unless_they_are_killed() -> None:
    # The neuron starts above its threshold; a weight of 0 touches it, a killed one does not.
    zero = np.zeros((1, 1, 1, 1), int)
    assert len(spikes(config(core(zero, initial=10)), events((0, 0, 0, 0)))) == 1
    killed = core(zero, initial=10, weights_kill_bit=Tensor.of(np.ones((1, 1, 1, 1), int)))
    assert spikes(config(killed), events((0, 0, 0, 0))) == []


@pytest.mark.parametrize(("interval", "passed"), [(0, 4), (1, 2), (2, 1), (3, 0)])
def test_the_decimator(interval: int, passed: int) -> None:
    # 8 spikes, one in 2, 4, 8, 16 passes.
    first = core(
        ONE,
        to=(Destination(layer=1, enable=True),),
        output_decimator_enable=True,
        output_decimator_interval=interval,
    )
    result = simulate_events(config(first, core(ONE)), {"in": events(*[(n, 0, 0, 0) for n in range(8)])})
    wanted = {0: 4, 1: 2, 2: 1, 3: 0}[interval]
    assert passed == wanted
    assert (result.spikes[1], result.decimated[0]) == (wanted, 8 - wanted)


def test_a_balancer_is_refused() -> None:
    made = config(core(ONE, input_congestion_balancer_enable=True))
    with pytest.raises(ConfigError, match="balancer"):
        simulate_events(made, {"in": events((0, 0, 0, 0))})
    assert simulate_events(made, {"in": events((0, 0, 0, 0))}, EventOptions(ignore_lossy=True)).spikes[0] == 1


def test_orders() -> None:
    # l0 spikes for both features; l1 gets them directly and (through l2) once more.
    # Depth first: feature 0 goes to l1, then through l2 to l1; then feature 1. Breadth first: both go to l1 first.
    both = np.array([[[[10]]], [[[10]]]])
    first = core(both, to=(Destination(layer=1, enable=True), Destination(layer=2, enable=True)))
    last = core(np.array([[[[10]], [[0]], [[-10]], [[0]]]]), high=10, low=-10)
    relay = core(
        np.array([[[[10]], [[0]]], [[[0]], [[10]]]]), to=(Destination(layer=1, enable=True, feature_shift=2),)
    )
    made = config(first, last, relay)
    for order in ("depth", "breadth", "random"):
        result = simulate_events(made, {"in": events((0, 0, 0, 0))}, EventOptions(order=order))
        assert result.spikes == {0: 2, 1: 1 if order != "random" else result.spikes[1], 2: 2}
    # Feature 0 through the relay arrives as -10. If it comes first the bound of -10 leaves 0 after +10.
    late = config(
        core(both, to=(Destination(layer=2, enable=True), Destination(layer=1, enable=True))), last, relay
    )
    assert simulate_events(late, {"in": events((0, 0, 0, 0))}).spikes[1] == 0
    assert simulate_events(late, {"in": events((0, 0, 0, 0))}, EventOptions(order="breadth")).spikes[1] == 1


def test_random_orders_follow_their_seed() -> None:
    kinds = [conv(6), conv(6), conv(6)]
    network, made = placed(weighted(chain(kinds, (2, 8, 8)), np.random.default_rng(3), integer=True))
    name = network.inputs[0].name
    given = events_from_raster(np.random.default_rng(0).integers(0, 3, (5, *network.inputs[0].shape)), 100)

    def run(seed: int) -> dict[str, list[Any]]:
        options = EventOptions(order="random", seed=seed, tick_us=100.0)
        return {n: e.tolist() for n, e in simulate_events(made, {name: given}, options).layers.items()}

    first = run(1)
    assert run(1) == first
    assert any(run(seed) != first for seed in range(2, 6))


def test_a_cycle_that_does_not_end_is_named() -> None:
    # The first event lifts neuron 0 from -10 to 0, the second to 10: from then on the ring never rests.
    first = core(ONE, initial=-10, to=(Destination(layer=1, enable=True),))
    made = config(first, core(ONE, to=(Destination(layer=0, enable=True),)))
    given = events((0, 0, 0, 0), (1, 0, 0, 0))
    with pytest.raises(ConfigError, match=r"input event 1: causes too many spikes \(allowed: 1000\)"):
        simulate_events(made, {"in": given}, EventOptions(spike_limit=1000))
    assert simulate_events(made, {"in": given[:1]}).spikes == {0: 0, 1: 0}


@pytest.mark.parametrize("block", range(4))
def test_whole_networks_against_a_recursion(block: int) -> None:
    total, ran = 0, 0
    # The recursion takes a second for each.
    for seed in range(block * CASES // 12, (block + 1) * CASES // 12):
        network, made = placed(random_network(seed))
        if any(edge.delay_steps for edge in network.edges):
            continue
        ran += 1
        entry = network.inputs[0]
        raster = np.random.default_rng(seed).integers(0, 2, (3, *entry.shape))
        given = events_from_raster(raster, 1000)
        for delivered in (False, True):
            oracle = Oracle(made, delivered=delivered)
            options = EventOptions(tick_us=1000.0, pooled_border="delivered" if delivered else "dropped")
            result = EventSimulator(made, options)
            found = result.run({entry.name: given})
            graph = result.graph
            entries, _ = graph.entries[entry.name]
            stage = made.hardware.dvs_layer
            arriving = given
            if entry.name in graph.sensor_inputs and stage is not None:
                arriving, _ = through_stage(given, stage, raw=False)
            ticks = 0
            for t, p, y, x in arriving.tolist():
                while ticks * 1000 <= t:
                    oracle.tick()
                    ticks += 1
                for one in entries:
                    shape = oracle.cores[one.core].dimensions
                    if shape and y < shape.input_shape.size.y and x < shape.input_shape.size.x:
                        oracle.arrive(t, one.core, p + one.feature_shift, y, x)
            for number, expected in oracle.spikes.items():
                layer = next(n for n, places in result.places.items() if places[0][0] == number)
                assert found.layers[layer].tolist() == expected, (seed, layer)
                total += len(expected)
    # Few instances, as for coverage, may be quiet ones.
    assert total >= 10 * ran or CASES < 60


def test_a_recording_in_pieces_is_the_whole() -> None:
    network, made = placed(random_network(5))
    name = network.inputs[0].name
    given = events_from_raster(np.random.default_rng(0).integers(0, 2, (6, *network.inputs[0].shape)), 100)
    whole = simulate_events(made, {name: given}, EventOptions(tick_us=30.0))
    cut = EventSimulator(made, EventOptions(tick_us=30.0))
    parts = list(cut.stream({name: part} for part in np.array_split(given, 7)))
    for layer, expected in whole.layers.items():
        assert np.concatenate([part.layers[layer] for part in parts]).tolist() == expected.tolist()
    assert {c: sum(part.synops[c] for part in parts) for c in whole.synops} == dict(whole.synops)


def test_killed_entries_count_as_zeros() -> None:
    # A killed weight adds nothing, a killed initial value starts at 0, a killed bias does not tick.
    ones = Tensor.of(np.ones((1, 1, 1, 1), int))
    killed = core(ONE, weights_kill_bit=ones)
    assert spikes(config(killed), events((0, 0, 0, 0))) == []
    states = core(ONE, initial=-5, neurons_value_kill_bit=Tensor.of(np.ones((1, 4, 4), int)))
    assert spikes(config(states), events((0, 0, 0, 0))) == [(0, 0, 0, 0)]
    biased: dict[str, Any] = {"biases": np.array([10]), "leak_enable": True}
    biased["biases_kill_bit"] = Tensor.of(np.ones(1, int))
    silent = config(core(np.zeros((1, 1, 1, 1), int), **biased))
    assert spikes(silent, events((500, 0, 0, 0)), tick_us=100.0) == []


def test_what_is_refused() -> None:
    made = config(core(ONE))
    with pytest.raises(ConfigError, match="no such input"):
        simulate_events(made, {"out": events()})
    with pytest.raises(ConfigError, match="no such layer"):
        simulate_events(made, {}, EventOptions(record=("l9",)))
    with pytest.raises(ConfigError) as caught:
        simulate_events(made, {}, EventOptions(tick_us=0.0, spike_limit=0))
    assert len(caught.value.findings) == 2
    with pytest.raises(OptionsError, match=r"order: must be .* Did you mean"):
        EventOptions(order="deep")  # type: ignore[arg-type]
    with pytest.raises(EventError, match="goes back"):
        simulate_events(made, {"in": events((5, 0, 0, 0), (1, 0, 0, 0))})


@pytest.mark.parametrize("order", ["depth", "breadth", "random"])
@pytest.mark.parametrize("seed", [1, 2, 3, 5])
def test_pauses_change_nothing(order: Any, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mapper.sim.event_pauses._UNPAUSED", 7)
    network, made = placed(random_network(seed))
    (entry,) = network.inputs
    given = events_from_raster(np.random.default_rng(0).integers(0, 2, (6, *entry.shape)), 100)
    calls: list[int] = []

    def outcome(**more: Any) -> Any:
        simulator = EventSimulator(made, EventOptions(order, tick_us=30.0, spike_limit=1000))
        try:
            result = simulator.run({entry.name: given}, end_us=1000.0, **more)
        except ConfigError as error:  # a cycle that does not end, at the same event
            return str(error)
        state = simulator.tables.potentials.tolist(), simulator.tables.counts.tolist(), result.border
        return {name: spikes.tolist() for name, spikes in result.layers.items()}, state

    assert outcome(pause=lambda: calls.append(0)) == outcome()
    assert len(calls) > 1


def test_a_pause_ends_a_run() -> None:
    network, made = placed(random_network(5))
    (entry,) = network.inputs
    raster = np.zeros((4, *entry.shape), int)
    runs: tuple[Callable[..., Any], ...] = (
        lambda pause: simulate(network, {entry.name: raster}, pause=pause),
        lambda pause: simulate_config(made, {entry.name: raster}, pause=pause),
        lambda pause: simulate_events(made, {entry.name: events_from_raster(raster, 100)}, pause=pause),
    )

    def ends() -> None:
        raise InterruptedError

    for run in runs:
        with pytest.raises(InterruptedError):
            run(ends)
