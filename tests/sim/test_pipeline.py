"""Cores in a pipeline give what one spike after the other gives, on any number of threads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numpy as np
import pytest

from mapper.emit.shared.config import ChipConfig, Destination
from mapper.emit.shared.interface import InterfaceLayer, LayerPlace
from mapper.emit.shared.tensor import Tensor
from mapper.errors import ConfigError
from mapper.events import EVENT_DTYPE
from mapper.sim import event_blocks, event_pipeline, side_by_side
from mapper.sim.compiling import compiled
from mapper.sim.event import EventOptions, EventSimulator
from mapper.sim.event_kernel import COUNT
from mapper.sim.vector_add import (
    LANES,
    SORTED_MAX,
    add_16,
    add_32,
    adder_plainly,
    lowest_bit,
    set_lanes,
    sort_8,
    sort_16,
)
from tests.sim.event_oracle import Oracle
from tests.sim.handmade import ONE, config, core, events
from tests.sim.test_config_frame import CASES
from tests.sim.test_side_by_side import outcome, two_networks

SIDE = 6


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads even where there is one processor, and blocks of few arrivals."""
    for module in (event_pipeline, side_by_side):
        monkeypatch.setattr(module, "threads_for", lambda works: min(works, 3))
    sizes = {
        "_WORTH": 1,
        "_WORTH_THREADS": 1,
        "_ROOM": 1,
        "_ARRIVALS_MIN": 3,
        "_ARRIVALS_FIRST": 5,
        "_ARRIVALS_MAX": 17,
    }
    for name, count in sizes.items():
        monkeypatch.setattr(event_pipeline, name, count)


def random_graph(seed: int, *, is_plain: bool = False) -> ChipConfig:
    """Cores that send to one, two or three later ones, the same one twice as well.

    Unless plain, some switch weights off or drop spikes, and two of them may be one layer.
    """
    draw = np.random.default_rng(seed)
    count, features = int(draw.integers(3, 7)), 3
    cores = []
    for n in range(count):
        later = [int(m) for m in draw.integers(n + 1, count, draw.integers(1, 4))] if n < count - 1 else []
        to = tuple(
            Destination(layer=m, enable=True, pooling=1, feature_shift=int(draw.integers(0, 2)) * features)
            for m in later
        )
        weights = draw.integers(-9, 12, (features, 2 * features, 3, 3))
        more: dict[str, Any] = {}
        if not is_plain and draw.integers(3) == 0:
            more |= {"weights_kill_bit": Tensor.of(draw.integers(0, 2, weights.shape))}
        if draw.integers(3) == 0:
            more |= {"leak_enable": True, "biases": draw.integers(-3, 4, features)}
        if not is_plain and draw.integers(4) == 0:
            more |= {"output_decimator_enable": True, "output_decimator_interval": 0}
        low = int(draw.choice([-1, -20, -300] if "leak_enable" in more else [-1, -20, -300, -32768]))
        high, start = int(draw.integers(8, 40)), int(draw.integers(max(low, -5), 20))
        # A weight above the threshold may need all of 16 bits, which then have no room below.
        high = max(high, 12) if low == -32768 else high
        made = core(
            weights, SIDE, high=high, low=low, pad=1, to=to, initial=start,
            return_to_zero=bool(draw.integers(2)), **more,
        )  # fmt: skip
        cores.append(made)
    made_config = config(*cores)
    if not is_plain and draw.integers(2):
        # The last two, neither of which sends to the other, as pieces of one layer.
        assert made_config.interface is not None
        last = count - 1
        kept = cores[: last - 1]
        cores = [*kept, cores[last - 1].model_copy(update={"destinations": ()}), cores[last]]
        places = (
            LayerPlace(core=last - 1, start=0, stop=features, role="piece"),
            LayerPlace(core=last, start=features, stop=2 * features, role="piece"),
        )
        layers = (*made_config.interface.layers[: last - 1], InterfaceLayer(name="cut", places=places))
        interface = made_config.interface.model_copy(update={"layers": layers})
        hardware = made_config.hardware.model_copy(update={"cnn_layers": tuple(cores)})
        made_config = made_config.model_copy(update={"interface": interface, "hardware": hardware})
    return made_config


def random_events(seed: int, count: int) -> Any:
    draw = np.random.default_rng(seed)
    times = np.sort(draw.integers(0, 1000, count))
    places = draw.integers(0, SIDE, (3, count))
    return events(*zip(times.tolist(), *places.tolist(), strict=True))


def test_random_graphs(monkeypatch: pytest.MonkeyPatch) -> None:
    blocks: list[int] = []
    original = event_blocks.Block.compute

    def counted(self: Any, stop: int, *more: Any) -> int:
        blocks.append(stop)
        return original(self, stop, *more)

    monkeypatch.setattr(event_blocks.Block, "compute", counted)
    spikes = cut = 0
    for seed in range(2 * CASES):
        made, given = random_graph(seed), {"in": random_events(seed, 60)}
        options = EventOptions(tick_us=70.0)
        pipeline, one = EventSimulator(made, options), EventSimulator(made, options)
        assert pipeline._held is not None
        one._held = None
        wanted = outcome(one, given)
        before = len(blocks)
        assert outcome(pipeline, given) == wanted, seed
        assert len(blocks) > before, seed
        spikes += sum(map(sum, one.tables.counts.tolist()))
        cut += len(wanted[0][0][0][0].get("cut", []))
    assert spikes > 1000 * CASES
    assert cut > CASES


def test_an_independent_recursion() -> None:
    total = 0
    for seed in range(CASES // 6):
        made = random_graph(seed, is_plain=True)
        given, oracle, ticks = random_events(seed, 40), Oracle(made), 0
        for t, p, y, x in given.tolist():
            while ticks * 70 <= t:
                oracle.tick()
                ticks += 1
            oracle.arrive(t, 0, p, y, x)
        found = EventSimulator(made, EventOptions(tick_us=70.0)).run({"in": given})
        for number, expected in oracle.spikes.items():
            assert found.layers[f"l{number}"].tolist() == expected, (seed, number)
            total += len(expected)
    assert total > 1000


@pytest.mark.parametrize("threads", [1, 3])
def test_pieces_relays_and_several_networks(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_pipeline, "threads_for", lambda works: min(works, threads))
    planned = 0
    for seed in range(max(8, CASES // 8)):
        made, inputs, wanted = _several(seed)
        pipeline = EventSimulator(made, _SEVERAL)
        planned += pipeline._held is not None
        assert outcome(pipeline, inputs) == wanted, seed
    assert planned > 0


_SEVERAL = EventOptions(tick_us=30.0, spike_limit=1000)


@cache
def _several(seed: int) -> tuple[ChipConfig, dict[str, Any], Any]:
    """Two networks, events, and what becomes of them without a pipeline."""
    made, inputs = two_networks(seed)
    if CASES < 60:
        # Plain Python takes half a minute for all events.
        inputs = {name: given[::8] for name, given in inputs.items()}
    one = EventSimulator(made, _SEVERAL)
    one._held, one._groups = None, (tuple(range(len(one.tables.numbers))),)
    return made, inputs, outcome(one, inputs)


def test_what_comes_back_has_no_plan() -> None:
    to_second, to_first = (Destination(layer=n, enable=True) for n in (1, 0))
    assert EventSimulator(config(core(ONE, to=(to_second,)), core(ONE)))._held is not None
    assert EventSimulator(config(core(ONE, to=(to_second,)), core(ONE, to=(to_first,))))._held is None


def test_the_limit_names_the_same_event() -> None:
    # Each event makes 1 + 3 + 9 spikes where the map's border cuts nothing.
    wide = np.full((3, 3, 1, 1), 10)
    to = tuple(Destination(layer=n, enable=True) for n in (1,))
    made = config(core(wide, SIDE, to=to, initial=0), core(wide, SIDE))
    given = random_events(1, 50)
    given["p"][:30] = 2
    told = []
    for planned in (True, False):
        simulator = EventSimulator(made, EventOptions(spike_limit=10))
        if not planned:
            simulator._held = None
        with pytest.raises(ConfigError) as caught:
            simulator.run({"in": given})
        told.append((str(caught.value), simulator.tables.potentials.tolist()))
    assert told[0] == told[1]


def test_too_many_spikes_for_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_blocks, "EMITTED_MAX", 4)
    made, given = random_graph(1), {"in": random_events(1, 60)}
    one = EventSimulator(made, EventOptions(tick_us=70.0))
    pipeline = EventSimulator(made, EventOptions(tick_us=70.0))
    one._held = None
    assert outcome(pipeline, given) == outcome(one, given)


def test_a_run_that_is_ended_has_not_been() -> None:
    made, given = random_graph(4), random_events(4, 60)
    ended, whole = (EventSimulator(made, EventOptions(tick_us=70.0)) for _ in range(2))
    calls: list[int] = []

    def pause() -> None:
        calls.append(len(calls))
        if len(calls) == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ended.run({"in": given}, pause=pause)
    assert outcome(ended, {"in": given}) == outcome(whole, {"in": given})
    assert int(whole.tables.counts[:, COUNT["spikes"]].sum()) > 100


def test_potentials_written_between_runs() -> None:
    made, given = random_graph(4), {"in": random_events(4, 60)}
    pipeline, one = (EventSimulator(made, EventOptions(tick_us=70.0)) for _ in range(2))
    one._held = None
    for simulator in (pipeline, one):
        simulator.run(given)
        simulator.tables.potentials[:] += 1
    assert outcome(pipeline, given) == outcome(one, given)


@pytest.mark.parametrize(
    ("change", "is_within"),
    [
        ({"low": -5}, True),
        ({"low": -32768}, False),  # a weight above the threshold lifts potentials to the end of 16 bits
        ({"low": -32768, "return_to_zero": True}, True),
        ({"low": -32768, "high": 127}, True),
        ({"low": -32768, "high": 126}, False),
        ({"low": -32700, "high": 127}, False),  # clamped and beyond 16 bits both
        ({"low": -32768, "high": 32767}, False),  # no room for a weight on either side
        ({"low": -5, "high": 32767}, True),
        ({"low": -5, "initial": -6}, False),
        ({"low": -32768, "high": 127, "leak_enable": True}, False),
    ],
)
def test_what_sixteen_bits_hold(change: dict[str, Any], is_within: bool) -> None:
    draw = np.random.default_rng(0)
    weights = draw.choice([-128, 127, 90, -60], (3, 3, 3, 3))
    made = config(core(weights, SIDE, pad=1, biases=np.array([5, -9, 100]), **change))
    given, options = {"in": random_events(2, 900)}, EventOptions(tick_us=70.0)
    given["in"]["p"] %= 3
    pipeline, one = EventSimulator(made, options), EventSimulator(made, options)
    one._held = None
    assert pipeline._held is not None
    assert (pipeline._held.begin(pipeline._chip) is not None) == is_within
    assert outcome(pipeline, given) == outcome(one, given)


@pytest.mark.no_cover
@pytest.mark.parametrize("low", [-32768, -32640, -32639, -32514, -32513, -32512, -5])
@pytest.mark.parametrize("high", [1, 10, 19, 20, 21])
@pytest.mark.parametrize("to_zero", [False, True])
def test_potentials_that_climb_to_the_end(low: int, high: int, to_zero: bool) -> None:
    """A neuron that subtracts less than a weight adds is lifted until it saturates."""
    climbs = high < 20 and not to_zero
    # Plain Python takes half a minute for the whole way: there the end is near.
    start, count = (0, 4000) if CASES >= 60 else (32000 if climbs else 0, 500)
    weights = np.full((1, 1, 1, 1), 20)
    made = config(core(weights, 1, low=low, high=high, return_to_zero=to_zero, initial=start))
    pipeline, one = EventSimulator(made), EventSimulator(made)
    one._held = None
    given = {"in": np.zeros(count, EVENT_DTYPE)}
    for _ in range(2):
        found = outcome(pipeline, given)
        assert found == outcome(one, given)
    assert (int(pipeline.tables.potentials.max()) > start + count) == climbs


@pytest.mark.parametrize("to_zero", [False, True])
def test_a_lower_bound_above_zero(to_zero: bool) -> None:
    made = config(core(np.full((1, 1, 1, 1), 20), 1, low=5, high=31, initial=5, return_to_zero=to_zero))
    pipeline, one = EventSimulator(made), EventSimulator(made)
    one._held = None
    given = {"in": np.zeros(100, EVENT_DTYPE)}
    found = outcome(pipeline, given)
    assert found == outcome(one, given)
    assert int(pipeline.tables.counts[0, COUNT["clamped"]]) > 10


@pytest.mark.no_cover
@pytest.mark.parametrize("features", [1, 15, 16, 17, 40, 64])
def test_as_many_features_as_fill_vectors_and_others(features: int) -> None:
    draw = np.random.default_rng(features)
    to = (Destination(layer=1, enable=True, pooling=2),)
    first, second = (
        draw.integers(-30, 40, (features, 3, 3, 3)),
        draw.integers(-30, 40, (features, features, 3, 3)),
    )
    made = config(
        core(first, SIDE, pad=1, to=to, initial=0, high=45, low=-50),
        core(second, SIDE // 2, pad=1, initial=0, high=60, low=-300, return_to_zero=True),
    )
    # Plain Python takes a minute for all of them where there are 64 features.
    given = {"in": random_events(features, 300 if CASES >= 60 else max(40, 300 // features))}
    given["in"]["p"] %= 3
    pipeline, one = EventSimulator(made), EventSimulator(made)
    one._held = None
    found = outcome(pipeline, given)
    assert found == outcome(one, given)
    assert all(count > 10 for count in pipeline.tables.counts[:, COUNT["spikes"]].tolist())


@pytest.mark.parametrize("low", [-32768, -32640, -300])
def test_potentials_that_sink_to_the_lower_bound(low: int) -> None:
    """At the end of 16 bits what is held counts as beyond them, above it as clamped."""
    made = config(core(np.full((1, 1, 1, 1), -20), 1, low=low, high=127))
    pipeline, one = EventSimulator(made), EventSimulator(made)
    one._held = None
    given = {"in": np.zeros(4000, EVENT_DTYPE)}
    found = pipeline.run(given)
    assert (found.saturated[0] > 0, found.clamped[0] > 0) == (low == -32768, low != -32768)
    assert (found.saturated, found.clamped) == ((wanted := one.run(given)).saturated, wanted.clamped)


@compiled(is_kept=False)
def _called(
    narrow: bool, potentials: Any, weights: Any, starts: Any, blocks: Any, held: Any, masks: Any, given: Any
) -> Any:
    number, low, high, kept, change = given
    if narrow:
        add_16(potentials, weights, starts, blocks, held, masks, number, low, high, kept, change)
    else:
        add_32(potentials, weights, starts, blocks, held, masks, number, low, high, kept, change)
    found = set_lanes(masks, 0)
    return found, lowest_bit(found) if found else -1


@pytest.mark.parametrize("lanes", [16, LANES])
@pytest.mark.parametrize(("kept", "change"), [(-1, -270), (0, 5), (-1, 0)])
def test_lanes(lanes: int, kept: int, change: int) -> None:
    for seed in range(20):
        draw = np.random.default_rng(seed)
        found, weights = draw.integers(-300, 300, 8 * lanes), draw.integers(-128, 128, 8 * lanes)
        found, weights = found.astype(np.int16), weights.astype(np.int8)
        number, wanted = int(draw.integers(1, 4)), found.copy()
        starts = draw.integers(0, 3 * lanes, (number, 4))
        starts[:, 2], starts[:, 3] = 3 * draw.integers(0, 2, number), draw.integers(1, 4, number)
        blocks = draw.integers(0, 3 * lanes, 3 * 4)
        held, masks = np.zeros(LANES, np.int16), np.zeros(LANES, np.uint32)
        wanted_held, wanted_masks = held.copy(), masks.copy()
        bounds = tuple(np.int16(value) for value in (-290, 250, kept, change))
        flat, given = starts.reshape(-1), (number, *bounds)
        seen, lowest = _called(lanes == 16, found, weights, flat, blocks, held, masks, given)
        adder_plainly(lanes)(wanted, weights, flat, blocks, wanted_held, wanted_masks, number, *bounds)
        assert np.array_equal(found, wanted)
        assert held.tolist() == wanted_held.tolist()
        assert masks.tolist() == wanted_masks.tolist()
        assert seen == sum(1 << n for n in range(LANES) if wanted_masks[n])
        assert lowest == next((n for n in range(LANES) if wanted_masks[n]), -1)


@compiled(is_kept=False)
def _sorted(few: bool, array: Any, first: int, number: int) -> None:
    if few:
        sort_8(array, first, number)
    else:
        sort_16(array, first, number)


@pytest.mark.parametrize("most", [8, SORTED_MAX])
def test_sorts(most: int) -> None:
    for seed in range(40):
        draw = np.random.default_rng(seed)
        array = draw.permutation(3 * most) - 2
        array[draw.integers(len(array))] = (1 << 62) + seed
        first, number = int(draw.integers(0, most)), int(draw.integers(1, most + 1))
        wanted = array.copy()
        wanted[first : first + number].sort()
        _sorted(most == 8, array, first, number)
        assert array.tolist() == wanted.tolist()


def in_a_chain() -> tuple[ChipConfig, dict[str, Any]]:
    to = (Destination(enable=True, layer=1),)
    made = config(
        core(np.full((4, 1, 1, 1), 3), SIDE, to=to, high=40),
        core(np.full((4, 4, 1, 1), 2), SIDE, high=40),
    )
    given = random_events(1, 4000)
    given["p"] = 0
    return made, {"in": given}


def test_threads_end_with_the_run_that_ctrl_c_breaks_off_as_they_begin(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ctrl-C is held back until threads run."""
    made, given = in_a_chain()
    begun: list[Any] = []

    class Broken(ThreadPoolExecutor):
        def submit(self, *work: Any) -> Any:  # type: ignore[override]  # of one kind of work
            begun.append(super().submit(*work))
            raise KeyboardInterrupt

    monkeypatch.setattr(side_by_side, "ThreadPoolExecutor", Broken)
    with pytest.raises(KeyboardInterrupt):
        EventSimulator(made).run(given)
    assert [future.done() for future in begun] == [True]


def test_what_a_broken_run_still_writes_is_not_the_next_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    made, given = in_a_chain()
    simulator, left = EventSimulator(made), []

    def broken(works: Any, _: Any) -> None:
        left.append(works[0])
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(event_pipeline, "side_by_side", broken)
        with pytest.raises(KeyboardInterrupt):
            simulator.run(given)
    (thread,) = left
    result = simulator.run(given, pause=lambda: left and left.pop()(None))
    assert not left
    assert thread
    assert result == EventSimulator(made).run(given)
