"""Runs on threads give what one run after the other gives: spikes, their order, state, failures."""

from __future__ import annotations

import threading
import time
from importlib import import_module
from typing import Any

import numpy as np
import pytest

from mapper.emit.shared.config import ChipConfig
from mapper.emit.shared.graph import Link
from mapper.emit.write.build import build_config
from mapper.equivalence import count_ranges, layer_shapes
from mapper.errors import ConfigError
from mapper.events import events_from_raster
from mapper.sim import event_groups, side_by_side
from mapper.sim.event import EventOptions, EventSimulator
from mapper.sim.event_groups import groups_of
from mapper.sim.event_kernel import go_on
from tests.divided import divided
from tests.sim.test_config_frame import CASES
from tests.sim.test_divided import CHIP, several, with_host_input

THREADS = 3


@pytest.fixture(autouse=True)
def _threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads even where there is one core, and for few arrivals."""
    for module in (event_groups, side_by_side):
        monkeypatch.setattr(module, "threads_for", lambda works: min(works, THREADS))
    for part in (event_groups, import_module("mapper.equivalence.sensitivity")):
        monkeypatch.setattr(part, "_WORTH", 1)


def two_networks(seed: int) -> tuple[ChipConfig, dict[str, Any]]:
    """Two networks in pieces, with relays, that share no core, some with decimators; events of both.

    Up to 400 µs the last event of all comes with a tick of 30 µs, when the second input has long been quiet.
    """
    result = divided([with_host_input(n) for n in several(seed)], CHIP, np.random.default_rng(seed))
    config, draw = build_config(result), np.random.default_rng(seed)
    if seed % 3 == 0:
        lossy = {"output_decimator_enable": True, "output_decimator_interval": 0}
        cores = [
            core.model_copy(update=lossy if core.dimensions else {}) for core in config.hardware.cnn_layers
        ]
        hardware = config.hardware.model_copy(update={"cnn_layers": tuple(cores)})
        config = config.model_copy(update={"hardware": hardware})
    assert config.interface is not None
    first, second = (
        (entry.name, events_from_raster(draw.integers(0, 2, (6, *entry.shape)), 100))
        for entry in config.interface.inputs
    )
    is_quiet = (second[1]["t"] >= 200) & (second[1]["t"] < 400)
    return config, {first[0]: first[1], second[0]: second[1][~is_quiet]}


def outcome(simulator: EventSimulator, inputs: dict[str, Any]) -> Any:
    """All that a recording in two parts gives and leaves, or its failure."""
    seen: list[Any] = []
    for part, end_us in ((0, None), (1, 900.0)):
        given = {name: events[(events["t"] >= 400) == part] for name, events in inputs.items()}
        try:
            result = simulator.run(given, end_us=end_us)
        except ConfigError as error:
            seen.append(str(error))
            break
        shown = [
            {name: spikes.tolist() for name, spikes in each.items()}
            for each in (result.layers, result.outputs)
        ]
        counted = (result.spikes, result.synops, result.clamped, result.decimated, result.border)
        seen.append((shown, counted, result.outside))
    tables = simulator.tables
    state = (tables.potentials, tables.counts, tables.border, tables.phase, simulator._clock)
    return seen, [array.tolist() for array in state]


@pytest.mark.parametrize("order", ["depth", "breadth", "random"])
def test_networks_that_share_no_core(order: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    original = side_by_side.side_by_side

    def counted(works: Any, pause: Any) -> Any:
        calls.append(len(works))
        return original(works, pause)

    monkeypatch.setattr(event_groups, "side_by_side", counted)
    spikes, failures = 0, 0
    for seed in range(max(8, CASES // 8)):
        config, inputs = two_networks(seed)
        options = EventOptions(order, tick_us=30.0, spike_limit=1000, fires_on_tick=bool(seed % 2))
        together, one = EventSimulator(config, options), EventSimulator(config, options)
        assert len(together._groups) > 1
        together._held = one._held = None
        one._groups = (tuple(range(len(one.tables.numbers))),)
        wanted = outcome(one, inputs)
        assert outcome(together, inputs) == wanted, seed
        failures += isinstance(wanted[0][-1], str)
        spikes += sum(map(sum, one.tables.counts.tolist()))
    assert spikes > 1000
    if order == "random":
        assert not calls
    else:
        assert len(calls) > failures
        assert min(calls) > 1


def test_cores_that_stay_together() -> None:
    # 0 sends to 5; 3 and 4 are pieces of a layer; 1 stands alone.
    index = {core: core for core in range(6)}
    links = [Link(0, 5, 1, 0, 0)]
    layers = [[0], [3, 4], [1], [2]]
    assert groups_of(index, links, layers) == ((0, 5), (1,), (2,), (3, 4))


def test_several_orders_at_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    config, inputs = two_networks(3)
    options, shapes = EventOptions(tick_us=30.0), layer_shapes(config)
    assert shapes
    found = count_ranges(config, inputs, shapes, options, random_orders=4)
    monkeypatch.setattr(side_by_side, "threads_for", lambda works: 1)
    wanted = count_ranges(config, inputs, shapes, options, random_orders=4)
    assert found.keys() == wanted.keys()
    assert all(np.array_equal(found[name], wanted[name]) for name in wanted)
    assert any((counts != counts[0]).any() for counts in wanted.values())


def test_results_come_in_the_order_of_works() -> None:
    # The first work ends when the last one has run.
    is_done = threading.Event()

    def waits(pause: Any) -> int:
        assert is_done.wait(60)
        return 0

    def ends(pause: Any) -> int:
        is_done.set()
        return 2

    assert side_by_side.side_by_side([waits, lambda pause: 1, ends], None) == [0, 1, 2]


def test_the_failure_of_the_first_work_that_fails() -> None:
    late = threading.Event()

    def fails(pause: Any) -> None:
        assert late.wait(60)
        raise ValueError("first")

    def fails_before(pause: Any) -> None:
        late.set()
        raise ValueError("second")

    def goes_on(pause: Any) -> None:
        while True:
            pause()

    with pytest.raises(ValueError, match="first"):
        side_by_side.side_by_side([fails, fails_before, goes_on], None)


def test_what_a_pause_raises_ends_all_runs() -> None:
    calls: list[int] = []

    def pause() -> None:
        calls.append(0)
        if len(calls) > 20:
            raise InterruptedError

    def goes_on(pause: Any) -> None:
        while True:
            pause()

    with pytest.raises(InterruptedError):
        side_by_side.side_by_side([goes_on] * 5, pause)


@pytest.mark.skipif(not hasattr(go_on, "targetoptions"), reason="nothing is compiled")
def test_the_compiled_loop_lets_go_of_the_lock() -> None:
    kernel: Any = go_on
    assert kernel.targetoptions["nogil"]


@pytest.mark.parametrize("first_fails", [True, False])
def test_the_failure_of_any_work_ends_the_others(first_fails: bool) -> None:
    pauses: list[int] = []

    def endless(pause: side_by_side.Pause | None) -> None:
        assert pause is not None
        while True:
            pauses.append(1)
            pause()
            time.sleep(0.001)

    def failing(_: side_by_side.Pause | None) -> None:
        while not pauses:
            time.sleep(0.001)
        raise ValueError("this one")

    works = [failing, endless] if first_fails else [endless, failing]
    with pytest.raises(ValueError, match="this one"):
        side_by_side.side_by_side(works, None)
