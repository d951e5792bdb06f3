"""What surrounds the cores: the sensor stage and the readout by hand, and a placed network's readout."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import mapper
from mapper.emit.shared.config import Destination, DvsLayer, Readout, Vector
from mapper.emit.write.options import EmitOptions
from mapper.events import events_from_raster
from mapper.operations import Convolution
from mapper.sim.event import EventOptions, EventSimulator, simulate_events
from mapper.sim.stages import readout_classes, sensor_events, through_stage
from tests.builders import chain, conv, weighted
from tests.sim.handmade import config, core, events


def stage(**fields: Any) -> DvsLayer:
    base: dict[str, Any] = {
        "destinations": (), "pooling": Vector(x=1, y=1), "origin": Vector(x=0, y=0), "cut": Vector(x=7, y=7),
        "mirror": Vector(x=0, y=0),
    }  # fmt: skip
    return DvsLayer(**base | fields)


SEEN = events((0, 0, 1, 2), (1, 1, 6, 3))


def test_the_sensor_stage_by_hand() -> None:
    assert through_stage(SEEN, stage(merge=True), raw=True)[0]["p"].tolist() == [0, 0]
    gated, lost = through_stage(SEEN, stage(off_channel=False), raw=True)
    assert (gated.tolist(), lost) == ([(1, 1, 6, 3)], 1)
    # Pool 2 x 1: (1, 2) -> (0, 2). Crop rows 1.., columns 2..3: (3, 3) -> (2, 1); row 0 is outside.
    pooled = stage(pooling=Vector(x=1, y=2), origin=Vector(x=2, y=1), cut=Vector(x=3, y=3))
    assert through_stage(SEEN, pooled, raw=True)[0].tolist() == [(1, 1, 2, 1)]
    # Mirrored: row 3 - 1 - 2 = 0, column 2 - 1 - 1 = 0; swapped rows and columns change places.
    turned = stage(
        pooling=Vector(x=1, y=2), origin=Vector(x=2, y=1), cut=Vector(x=3, y=3), mirror=Vector(x=1, y=1)
    )
    assert through_stage(SEEN, turned, raw=True)[0].tolist() == [(1, 1, 0, 0)]
    swapped = stage(mirror_diagonal=True)
    assert through_stage(SEEN, swapped, raw=True)[0][["y", "x"]].tolist() == [(2, 1), (3, 6)]


@pytest.mark.parametrize("swap", [False, True])
def test_the_way_back_through_the_stage(swap: bool) -> None:
    made = stage(
        pooling=Vector(x=2, y=2), origin=Vector(x=1, y=0), cut=Vector(x=3, y=1), mirror=Vector(x=1, y=0),
        mirror_diagonal=swap,
    )  # fmt: skip
    rows, columns = (6, 4) if swap else (4, 6)
    inside = events(*[(n, n % 2, n % rows, n % columns) for n in range(24)])
    raw, lost = through_stage(sensor_events(inside, made), made, raw=True)
    assert lost == 0
    assert raw.tolist() == through_stage(inside, made, raw=False)[0].tolist()


def test_the_readout_by_hand() -> None:
    # Classes at features 0, 4, 8. Window 1, threshold 1: two spikes in a tick are above, one is not.
    ticks = np.array([0.0, 10.0, 20.0, 30.0])
    seen = events((1, 4, 0, 0), (2, 4, 0, 0), (3, 0, 0, 0), (12, 8, 0, 0), (13, 5, 0, 0), (99, 0, 0, 0))
    one = Readout(enable=True, threshold=1)
    assert readout_classes(seen, ticks, one).tolist() == [[0, 0], [10, 2], [20, 0], [30, 0]]
    # Window 16, threshold 0: the sums stay; feature 4 keeps the lead with 2.
    long = Readout(enable=True, threshold=0, low_pass_filter_disable=False)
    assert readout_classes(seen, ticks, long)[:, 1].tolist() == [0, 2, 2, 2]


def test_the_readout_of_a_recording_in_pieces_is_that_of_the_whole() -> None:
    first = core(np.full((5, 1, 1, 1), 10), size=1)
    made = config(first, readout=Readout(enable=True, threshold=1, low_pass_filter_disable=False))
    cores = (first.model_copy(update={"destinations": (Destination(layer=12, enable=True),)}),)
    made = made.model_copy(update={"hardware": made.hardware.model_copy(update={"cnn_layers": cores})})
    draw = np.random.default_rng(0)
    given = events(*[(int(t), 0, 0, 0) for t in np.sort(draw.integers(0, 1000, 300))])
    options = EventOptions(tick_us=10.0)
    whole = simulate_events(made, {"in": given}, options).classes
    simulator = EventSimulator(made, options)
    parts = [result.classes for result in simulator.stream({"in": part} for part in np.array_split(given, 9))]
    assert whole is not None
    assert set(whole[:, 1]) == {0, 1}
    assert np.concatenate([part for part in parts if part is not None]).tolist() == whole.tolist()


def test_the_readout_of_a_placed_network() -> None:
    network = weighted(
        chain([conv(4), Convolution(3, (8, 8))], (2, 8, 8)), np.random.default_rng(0), integer=True
    )
    result = mapper.solve(network, "speck2f", readout="conv1")
    made = mapper.build_config(result, EmitOptions(readout_threshold=0, dt_us=1000.0, readout_rate_hz=1000.0))
    given = events_from_raster(np.ones((4, 2, 8, 8), int), 1000)
    told = simulate_events(made, {"input": given}, end_us=5000)
    assert told.classes is not None
    best = np.bincount(told.layers["conv1"]["p"] // 4).argmax() + 1 if len(told.layers["conv1"]) else 0
    assert best in told.classes[:, 1]
