"""The configuration that is emitted runs like the network it came from, in every layer and step."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

import mapper
from mapper.emit.shared.config import ChipConfig
from mapper.emit.shared.graph import graph_of
from mapper.emit.shared.tensor import Tensor
from mapper.emit.write.build import build_config
from mapper.errors import ConfigError
from mapper.network import Edge, Layer, Network, Output
from mapper.normal_form import NormalNetwork
from mapper.operations import Convolution, Neuron, Pool, Shape
from mapper.passes.quantize import quantize
from mapper.sim.config_frame import simulate_config
from mapper.sim.core_arrays import input_shape
from mapper.sim.network import simulate
from tests.builders import UNDIVIDED, chain, conv, pool, weighted

CASES = int(os.environ.get("MAPPER_INSTANCES", "60"))


def random_network(seed: int) -> Network:
    """A chain with pools and strides, sometimes with a residual, a concatenation or a way back."""
    draw = np.random.default_rng(seed)
    count, size = int(draw.integers(2, 6)), int(draw.integers(8, 15))
    kinds = [
        conv(int(draw.integers(1, 6)), int(draw.choice([1, 3])), has_bias=bool(draw.integers(2)))
        for _ in range(count)
    ]
    # Pools only while the map is large enough for all of them.
    pools = [int(draw.choice([1, 1, 2])) if n < 3 else 1 for n in range(count)]
    network: Network = chain(kinds, (2, size, size + 1), pools, dvs=bool(draw.integers(2)))
    shape = int(draw.integers(0, 4))
    first, last = network.layers[0], network.layers[-1]
    if shape == 1:  # a residual connection
        network = with_edge(network, Edge(first.name, last.name))
    elif shape == 2:  # a way back
        network = with_edge(network, Edge(last.name, first.name, delay_steps=1))
    elif shape == 3:
        network = concatenated(network)
    return neurons(weighted(network, draw, integer=True), draw)


def with_edge(network: Network, edge: Edge) -> Network:
    try:
        return network.replacing(edges=(*network.edges, edge))
    except mapper.NetworkError:
        return network


def concatenated(network: Network) -> Network:
    """The last layer reads its source twice, one behind the other."""
    *rest, last = network.layers
    (edge,) = network.incoming[last.name]
    features = last.input_shape.features
    wide = replace(last, input_shape=last.input_shape._replace(features=2 * features))
    return network.replacing(
        layers=(*rest, wide), edges=(*network.edges, replace(edge, feature_offset=features))
    )


def neurons(network: Network, draw: np.random.Generator) -> Network:
    layers = []
    for layer in network.layers:
        state = draw.integers(-5, 6, layer.output_shape) if draw.integers(2) else None
        neuron = Neuron(
            int(draw.integers(3, 20)),
            int(draw.choice([-1, -9, -32768])),
            "zero" if draw.integers(2) else "subtract",
            "single" if draw.integers(4) == 0 else "multi",
            state,
        )
        layers.append(replace(layer, neuron=neuron))
    return network.replacing(layers=tuple(layers))


def random_input(network: Network, draw: np.random.Generator, *head: int) -> dict[str, Any]:
    entry = network.inputs[0]
    return {entry.name: draw.integers(0, 3, (*head, *entry.shape))}


def placed(network: Network) -> tuple[NormalNetwork, ChipConfig]:
    result = mapper.solve(network)
    return result.networks[0], build_config(result)


def test_the_random_networks_are_of_every_kind() -> None:
    networks = [random_network(seed) for seed in range(24)]
    assert any(edge.delay_steps for network in networks for edge in network.edges)
    assert any(edge.feature_offset for network in networks for edge in network.edges)
    neurons = [layer.neuron for network in networks for layer in network.layers if layer.neuron]
    assert {neuron.reset for neuron in neurons} == {"zero", "subtract"}
    assert {neuron.spike_mode for neuron in neurons} == {"multi", "single"}


@pytest.mark.parametrize("block", range(6))
def test_configuration_and_network_spike_alike(block: int) -> None:
    spikes = 0
    for seed in range(block * CASES // 6, (block + 1) * CASES // 6):
        network, config = placed(random_network(seed))
        x = random_input(network, np.random.default_rng(seed), 7)
        expected, found = simulate(network, x), simulate_config(config, x)
        for layer in network.layers:
            assert np.array_equal(found.layers[layer.name], expected.spikes[layer.name]), (seed, layer.name)
            core = (
                next(p.places[0].core for p in config.interface.layers if p.name == layer.name)
                if config.interface
                else -1
            )
            assert np.array_equal(found.state.potentials[core][0], expected.state.potentials[layer.name]), (
                seed
            )
        spikes += sum(int(array.sum()) for array in expected.spikes.values())
    assert spikes > 16 * CASES


@pytest.mark.parametrize("seed", [2, 5, 11, 23])
def test_state_goes_on_and_batches_are_apart(seed: int) -> None:
    network, config = placed(random_network(seed))
    x = random_input(network, np.random.default_rng(seed), 3, 8)
    name = network.inputs[0].name
    whole = simulate_config(config, x)
    first = simulate_config(config, {name: x[name][:, :3]})
    second = simulate_config(config, {name: x[name][:, 3:]}, first.state)
    for core, trace in whole.spikes.items():
        assert np.array_equal(trace, np.concatenate([first.spikes[core], second.spikes[core]], axis=1))
        alone = simulate_config(config, {name: x[name][1]}).spikes[core]
        assert np.array_equal(trace[1], alone)
    with pytest.raises(ConfigError, match="batch size"):
        simulate_config(config, {name: x[name][:2]}, first.state)


def test_the_trained_network() -> None:
    result = mapper.solve("digits")
    x = {"input": np.random.default_rng(0).integers(0, 3, (20, 1, 8, 8))}
    expected, found = simulate(result.networks[0], x), simulate_config(build_config(result), x)
    assert np.array_equal(found.outputs["fc"], expected.outputs[next(iter(expected.outputs))])
    assert found.layers["fc"].any()
    # 3x3 taps and 8 features reached from inside, fewer at the border.
    inside = np.zeros((1, 1, 8, 8), int)
    inside[0, 0, 4, 4] = 1
    core = result.find_chip_layer("conv1")
    assert simulate_config(build_config(result), {"input": inside}).synops[core] == 9 * 8
    corner = np.zeros((1, 1, 8, 8), int)
    corner[0, 0, 0, 0] = 1
    assert simulate_config(build_config(result), {"input": corner}).synops[core] == 4 * 8


def test_pooled_outputs_are_pooled_on_the_host() -> None:
    base = weighted(chain([conv(3)], (1, 7, 7)), np.random.default_rng(1))
    average = Pool("average", (2, 2), (2, 2))
    network, config = placed(base.replacing(outputs=(Output("seen", "conv0", (average,)),)))
    x = random_input(network, np.random.default_rng(2), 5)
    assert np.array_equal(simulate_config(config, x).outputs["seen"], simulate(network, x).outputs["seen"])
    assert config.interface is not None
    assert any("unpooled" in note for note in config.interface.notes)


def test_without_interface_inputs_name_cores() -> None:
    network, config = placed(random_network(3))
    bare = config.model_copy(update={"interface": None})
    core = next(n for n, c in enumerate(config.hardware.cnn_layers) if c.dimensions)
    with pytest.raises(ConfigError, match="no such input"):
        simulate_config(bare.model_copy(), {"events": np.zeros((1, 1, 2, 2))})
    assert core >= 0
    assert network.layers


def test_potentials_beyond_16_bits_are_counted() -> None:
    layer = Layer(
        "a",
        Shape(1, 1, 1),
        Convolution(1, (1, 1), weight=np.array([[[[127]]]]), bias=None),
        (),
        Neuron(32767, -32768, "subtract", "single"),
    )
    base = chain([Convolution(1, (1, 1))], (1, 1, 1))
    network, config = placed(base.replacing(layers=(replace(layer, name="conv0"),)))
    found = simulate_config(config, {"input": np.full((3, 1, 1, 1), 1000)})
    assert sum(found.beyond_16_bits.values()) == 3
    assert network.is_integer


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"output_decimator_enable": True, "output_decimator_interval": 2}, "decimator"),
        ({"input_congestion_balancer_enable": True}, "balancer"),
        ({"weights": None}, "lacks weights"),
        ({"threshold_high": 0}, "threshold_high"),
    ],
)
def test_what_cannot_be_simulated_is_named(change: dict[str, Any], text: str) -> None:
    _, config = placed(weighted(chain([conv(2), conv(2)], (1, 6, 6)), np.random.default_rng(0)))
    cores = list(config.hardware.cnn_layers)
    number = next(n for n, core in enumerate(cores) if core.dimensions)
    cores[number] = cores[number].model_copy(update=change)
    broken = config.model_copy(
        update={"hardware": config.hardware.model_copy(update={"cnn_layers": tuple(cores)})}
    )
    x = {"input": np.ones((2, 1, 6, 6), int)}
    with pytest.raises(ConfigError, match=text):
        simulate_config(broken, x)
    if "enable" in next(iter(change)):
        assert simulate_config(broken, x, ignore_lossy=True).layers


@pytest.mark.parametrize(
    ("inputs", "text"),
    [
        ({}, "is missing"),
        ({"other": np.zeros((1, 1, 6, 6))}, "no such input"),
        ({"input": np.zeros((1, 1, 6, 7))}, "not the map"),
        ({"input": np.zeros((1, 2, 6, 6))}, "more features"),
        ({"input": np.full((1, 1, 6, 6), -1)}, "whole numbers"),
        ({"input": np.full((1, 1, 6, 6), 0.5)}, "whole numbers"),
        ({"input": np.zeros((6, 6))}, "must be"),
    ],
)
def test_inputs_that_do_not_fit(inputs: dict[str, Any], text: str) -> None:
    _, config = placed(weighted(chain([conv(2)], (1, 6, 6)), np.random.default_rng(0)))
    with pytest.raises(ConfigError, match=text):
        simulate_config(config, inputs)


def test_destinations_that_lead_nowhere_and_cycles_without_delay() -> None:
    network = weighted(chain([conv(2), conv(2)], (1, 6, 6)), np.random.default_rng(0), integer=True)
    looped = network.replacing(edges=(*network.edges, Edge("conv1", "conv1", delay_steps=1)))
    _, config = placed(quantize(looped) if not looped.is_integer else looped)
    assert config.interface is not None
    layers = tuple(layer.model_copy(update={"delays": ()}) for layer in config.interface.layers)
    undelayed = config.model_copy(
        update={"interface": config.interface.model_copy(update={"layers": layers})}
    )
    x = {"input": np.ones((2, 1, 6, 6), int)}
    with pytest.raises(ConfigError, match="cycle without a delay"):
        simulate_config(undelayed, x)
    cores = list(config.hardware.cnn_layers)
    number = next(n for n, core in enumerate(cores) if any(d.enable for d in core.destinations))
    free = next(n for n, core in enumerate(cores) if core.dimensions is None)
    moved = tuple(d.model_copy(update={"layer": free}) if d.enable else d for d in cores[number].destinations)
    cores[number] = cores[number].model_copy(update={"destinations": moved})
    astray = config.model_copy(
        update={"hardware": config.hardware.model_copy(update={"cnn_layers": tuple(cores)})}
    )
    with pytest.raises(ConfigError, match="not configured"):
        simulate_config(astray, x)


def test_killed_entries_count_as_zeros() -> None:
    network = weighted(chain([conv(3, has_bias=True)], (1, 5, 5)), np.random.default_rng(0), integer=True)
    state = np.full(network.layers[0].output_shape, 6)
    layer = replace(network.layers[0], neuron=Neuron(7, -20, initial_potential=state))
    _, config = placed(network.replacing(layers=(layer,)))
    cores = list(config.hardware.cnn_layers)
    number = next(n for n, core in enumerate(cores) if core.dimensions)
    ones = {
        f"{name}_kill_bit": Tensor.of(np.ones(getattr(cores[number], field).shape, int))
        for name, field in (
            ("weights", "weights"),
            ("biases", "biases"),
            ("neurons_value", "neurons_initial_value"),
        )
    }
    cores[number] = cores[number].model_copy(update=ones)
    killed = config.model_copy(
        update={"hardware": config.hardware.model_copy(update={"cnn_layers": tuple(cores)})}
    )
    x = {"input": np.ones((3, 1, 5, 5), int)}
    assert simulate_config(config, x).layers["conv0"].any()
    found = simulate_config(killed, x)
    assert not found.layers["conv0"].any()
    assert not found.state.potentials[number].any()


def test_pools_and_sums_follow_by_hand() -> None:
    """Two steps of a 1x1 layer behind a pool of 2, by hand."""
    ones = np.ones((1, 1, 1, 1), np.int64)
    base = chain([Convolution(1, (1, 1), weight=ones), Convolution(1, (1, 1), weight=ones)], (1, 3, 3), (2,))
    layers = tuple(replace(layer, neuron=Neuron(1, -1)) for layer in base.layers)
    _, config = placed(base.replacing(layers=layers))
    x = np.arange(9).reshape(1, 1, 3, 3)
    found = simulate_config(config, {"input": x}).layers
    assert found["conv1"].tolist() == [[[[0 + 1 + 3 + 4]]]]
    assert pool(2)[0] == base.edges[1].path[0]


@pytest.mark.parametrize("seed", [1, 2, 5, 11, 23, 42])
def test_windows_and_types_of_inputs_change_nothing(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    network, config = placed(random_network(seed))
    x = {
        name: np.minimum(a, 1) for name, a in random_input(network, np.random.default_rng(seed), 2, 9).items()
    }
    whole = simulate_config(config, x)
    monkeypatch.setattr("mapper.sim.frame_run._WINDOW_ENTRIES", 1)
    for kind in (np.uint8, np.float32, np.bool_):
        stepwise = simulate_config(config, {name: a.astype(kind) for name, a in x.items()})
        assert stepwise.synops == whole.synops
        for core, trace in whole.spikes.items():
            assert np.array_equal(stepwise.spikes[core], trace)
            assert np.array_equal(stepwise.state.potentials[core], whole.state.potentials[core])


@pytest.mark.parametrize("seed", [0, 3, 9, 23, 30])
def test_synaptic_operations_are_what_kernels_of_ones_add(seed: int) -> None:
    network, config = placed(random_network(seed))
    x = random_input(network, np.random.default_rng(seed), 6)
    found, graph = simulate_config(config, x), graph_of(config)
    for number, core in graph.cores.items():
        shape, (depth, height, width) = core.dimensions, input_shape(core)
        assert shape is not None
        # A delay holds back the last steps.
        came = [
            (found.spikes[link.source][: 6 - link.delay_steps], link.pooling)
            for link in graph.arriving(number)
        ]
        came += [
            (x[name], p[0]) for name, (all_, p) in graph.entries.items() for e in all_ if e.core == number
        ]
        places = np.zeros((height, width))
        for frames, size in came:
            whole = frames[..., : height * size, : width * size].sum((0, 1))
            places += whole.reshape(height, size, width, size).sum((1, 3))
        ones = torch.ones(1, 1, shape.kernel_size, shape.kernel_size, dtype=torch.float64)
        stride, padding = (shape.stride.y, shape.stride.x), (shape.padding.y, shape.padding.x)
        added = torch.nn.functional.conv2d(torch.from_numpy(places)[None, None], ones, None, stride, padding)
        assert depth > 0
        assert found.synops[number] == int(added.sum()) * shape.output_shape.feature_count


@pytest.mark.parametrize("high", [1, 7, 32767, 32768])
@pytest.mark.parametrize("count", [1, 1 << 12, 1 << 17, 1 << 24, 1 << 31])
def test_counts_of_every_size_are_exact(high: int, count: int) -> None:
    """Single precision, double precision and integers, by hand: one neuron of weight 127, bias 5."""
    weight, bias = np.array([[[[127]]]]), np.array([5])
    base = chain([Convolution(1, (1, 1), weight=weight, bias=bias, has_bias=True)], (1, 1, 1))
    layer = replace(base.layers[0], neuron=Neuron(min(high, 32767), -9))
    _, config = placed(base.replacing(layers=(layer,)))
    # No chip holds 32768, and nothing emits it; the arithmetic is exact all the same.
    cores = tuple(
        core if core.threshold_high is None else core.model_copy(update={"threshold_high": high})
        for core in config.hardware.cnn_layers
    )
    hardware = config.hardware.model_copy(update={"cnn_layers": cores})
    config = config.model_copy(update={"hardware": hardware})
    found, potential = simulate_config(config, {"input": np.full((3, 1, 1, 1), count)}), 0
    for spikes in found.layers["conv0"].ravel().tolist():
        expected, potential = divmod(potential + 127 * count + 5, high)
        assert spikes == expected
    assert [a.item() for a in found.state.potentials.values()] == [potential]


@pytest.mark.parametrize("stride", [(1, 1), (1, 2), (1, 8), (2, 1), (4, 1), (1, 4)])
@pytest.mark.parametrize("kernel", [2, 3, 4, 5])
def test_one_feature_and_maps_of_one_column(stride: tuple[int, int], kernel: int) -> None:
    """Potentials are sums by hand: with its layout told wrongly oneDNN reads beside such a map."""
    weight = np.arange(1, kernel * kernel + 1, dtype=float).reshape(1, 1, kernel, kernel)
    for height, width in ((4, 2), (kernel, kernel), (5, 3), (8, 2)):
        operation = Convolution(1, (kernel, kernel), stride=stride, padding=(1, 1), weight=weight)
        if min(height, width) + 2 < kernel:
            continue
        quiet = Neuron(32767.0, minimum=-32768.0, spike_mode="single")
        network = quantize(chain([operation], (1, height, width)))
        layer = replace(network.layers[0], neuron=quiet)
        configuration = build_config(mapper.solve(network.replacing(layers=(layer,)), **UNDIVIDED))
        frame = np.random.default_rng(kernel).integers(0, 4, (1, 1, height, width))
        held = np.asarray(layer.operation.weight)[0, 0]
        padded = np.pad(frame[0, 0], 1)
        seen = np.lib.stride_tricks.sliding_window_view(padded, (kernel, kernel))[:: stride[0], :: stride[1]]
        found = simulate_config(configuration, {"input": frame}).state.potentials
        (potentials,) = found.values()
        assert potentials.ravel().tolist() == (seen * held).sum((2, 3)).ravel().tolist(), (height, width)
