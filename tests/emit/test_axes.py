"""What stands in which field, by hand: nothing here is square, so that no axis can be taken for the other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import mapper
from mapper.emit.read.diff import diff
from mapper.emit.shared.config import ChipConfig, CnnLayer, DvsLayer, Vector
from mapper.emit.shared.tensor import Tensor
from mapper.emit.write.build import build_config
from mapper.emit.write.options import EmitOptions, NoiseFilter
from mapper.network import DvsSettings, Edge, Input, Output
from mapper.normal_form import NormalLayer, NormalNetwork
from mapper.operations import Convolution, Neuron, Pool, Shape
from mapper.solution import DVS, DvsStage, Monitor, Route, Solution
from tests.builders import chain, conv, weighted
from tests.emit.faults import core_number
from tests.emit.handmade import body, network, placed, pool_of, sensor_relay


def lopsided() -> NormalNetwork:
    """One layer whose pairs differ in all that a layer has."""
    entry = Input(
        "in", Shape(2, 12, 20), DvsSettings((3, 5), (True, False), on_channel=True, off_channel=False)
    )
    draw = np.random.default_rng(3)
    shape = Shape(2, 6, 5)
    operation = Convolution(
        3,
        (3, 3),
        stride=(1, 2),
        padding=(2, 0),
        has_bias=True,
        weight=draw.integers(-9, 9, (3, 2, 3, 3)),
        bias=np.array([-1, 0, -7]),
    )
    layer = NormalLayer("conv", shape, operation)
    state = draw.integers(-5, 9, layer.output_shape)
    layer = replace(layer, neuron=Neuron(9, None, "zero", "multi", state))
    pools = (Pool("sum", (2, 4), (2, 4)),)
    outputs = (Output("out", "conv", (Pool("average", (4, 2), (4, 2)),)),)
    return NormalNetwork("lopsided", (entry,), (layer,), (Edge("in", "conv", pools),), outputs)


@pytest.fixture(scope="module")
def config() -> ChipConfig:
    network = lopsided()
    made = build_config(mapper.solve(network), EmitOptions(noise_filter=NoiseFilter(size=(3, 5))))
    (layer,) = network.layers
    # What has no lower bound is read back with the least there is.
    bounded = replace(layer, neuron=replace(layer.neuron, minimum=-32768))
    assert diff(network.replacing(layers=(bounded,)), made) == ()
    return made


def core_of(config: ChipConfig) -> CnnLayer:
    return config.hardware.cnn_layers[core_number(config, "conv")]


def test_fields_of_a_core(config: ChipConfig) -> None:
    core, layer = core_of(config), lopsided().layers[0]
    shape, state = core.dimensions, layer.neuron.initial_potential
    assert shape is not None
    assert (shape.stride, shape.padding) == (Vector(x=2, y=1), Vector(x=0, y=2))
    assert (shape.input_shape.size, shape.output_shape.size) == (Vector(x=5, y=6), Vector(x=2, y=8))
    assert core.weights is not None
    assert core.neurons_initial_value is not None
    for y, x in np.ndindex(3, 3):
        assert core.weights.array[2, 1, x, y] == np.asarray(layer.operation.weight)[2, 1, y, x]
    for y, x in np.ndindex(8, 2):
        assert core.neurons_initial_value.array[2, x, y] == np.asarray(state)[2, y, x]
    assert (core.threshold_high, core.threshold_low, core.return_to_zero) == (9, -32768, True)
    # Biases that pull down are added by a tick like others.
    assert core.leak_enable


def test_fields_of_the_sensor_stage(config: ChipConfig) -> None:
    stage = config.hardware.dvs_layer
    assert stage is not None
    expected = DvsLayer(
        destinations=stage.destinations,
        pass_sensor_events=True,
        on_channel=True,
        off_channel=False,
        pooling=Vector(x=4, y=2),
        origin=Vector(x=5, y=3),
        cut=Vector(x=9, y=8),
        mirror=Vector(x=0, y=1),
    )
    assert stage == expected
    noise = config.hardware.dvs_filter
    assert noise is not None
    assert noise.filter_size == Vector(x=5, y=3)


def test_fields_of_an_output(config: ChipConfig) -> None:
    assert config.interface is not None
    (output,) = config.interface.outputs
    assert (output.host_pool, output.divisor) == ((4, 2), 8.0)


@pytest.mark.parametrize(
    ("ticks", "is_off", "is_long"), [(1, True, False), (16, False, False), (32, False, True)]
)
def test_the_window_of_the_readout(ticks: int, is_off: bool, is_long: bool) -> None:
    net = weighted(chain([Convolution(3, (8, 8))], (2, 8, 8)), np.random.default_rng(0), integer=True)
    made = mapper.solve(net, readout="conv0")
    stage = build_config(made, EmitOptions(readout_window_ticks=ticks)).hardware.readout
    assert stage is not None
    assert (stage.low_pass_filter_disable, stage.low_pass_filter32_not16) == (is_off, is_long)


def test_a_relay_of_a_sensor_that_swaps_its_axes() -> None:
    """The sensor's 4 columns of 8 rows are 4 rows of 8 columns for the network, and for its relay."""
    entry = Input("in", Shape(2, 4, 8), DvsSettings(swap_axes=True))
    edges = [Edge("in", "l0", pool_of(2, 2))]
    net = network(entry, [conv(3)], edges, [Output("o", "l0")])
    routes = (Route(DVS, 0, 5), Route(5, 0, 0, 2))
    setting = DvsStage(False, (1, 1), (0, 0), (7, 3), swap=True)
    monitors = (Monitor(0, 0, "l0", (0, 3)),)
    made = placed([net], Solution((body(0, "l0", 3), sensor_relay(5, 0, 2)), routes, (), monitors, setting))
    relay = build_config(made).hardware.cnn_layers[5].dimensions
    assert relay is not None
    assert relay.output_shape.size == relay.input_shape.size == Vector(x=8, y=4)
    assert diff(made.networks, build_config(made)) == ()


@pytest.mark.parametrize("edge", [127, 32767, 2**31 - 1])
def test_packed_numbers_come_back_at_the_ends_of_their_bytes(edge: int) -> None:
    for low, high in ((-edge - 1, edge), (0, edge + 1), (-edge - 2, 0)):
        # No two neighbours are equal: text would be longer than what is written out.
        array = np.resize([low, high], 40_000)
        assert np.array_equal(Tensor((40_000,), Tensor.of(array).values).array, array)
        assert Tensor.of(array).values.startswith("base64 ")


@pytest.mark.parametrize(("runs", "is_packed"), [(32_768, False), (32_769, True)])
def test_text_is_packed_from_the_first_letter_too_many_on(runs: int, is_packed: bool) -> None:
    # Single digits that differ from their neighbours: each takes its letter and a blank.
    values = Tensor.of(np.arange(runs) % 10).values
    assert values.startswith("base64 ") == is_packed
    assert is_packed or len(values) == 2 * runs - 1
