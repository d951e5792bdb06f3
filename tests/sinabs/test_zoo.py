"""Every zoo network that sinabs builds has the same layer graph, shapes and integers here."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import mapper
from mapper.errors import NetworkError
from mapper.frontends import load_network
from mapper.network import Network
from mapper.operations import Convolution
from mapper.passes import PrepareOptions, prepare
from mapper.sim.config_frame import simulate_config
from tests.sinabs.inert import inert_samna
from tests.sinabs.modules import as_module, without_sensor

with inert_samna():
    from sinabs.backend.dynapcnn import DynapcnnNetwork
    from sinabs.backend.dynapcnn.dvs_layer import DVSLayer
    from sinabs.layers import IAFSqueeze

ZOO = Path(__file__).resolve().parent.parent / "data" / "zoo"

# What is not compared, and why.
NOT_BUILT = {
    "flow_axis_general": "concatenation or a cycle",
    "flow_axis_shift": "concatenation or a cycle",
    "flow_diag_onoff_seq3": "concatenation or a cycle",
    "flow_diag_split": "concatenation or a cycle",
    "thesis_if2c": "concatenation or a cycle",
    "thesis_rnn2c_cyberzoo": "concatenation or a cycle",
    "retina_snn_128": "leaves nothing of a map",
    "sinabs_lenet5_tutorial": "max pooling",
}
# Averages of different size add up: exact here, over more input features; sinabs takes one factor for all.
APPROXIMATED = "sinabs_residual_dummy1"
NAMES = sorted(path.stem for path in ZOO.glob("*.yaml") if path.stem not in {*NOT_BUILT, APPROXIMATED})


@cache
def built(name: str) -> tuple[nn.Module, tuple[int, int, int]]:
    torch.manual_seed(7)
    network = without_sensor(load_network(ZOO / f"{name}.yaml"))
    return as_module(network), tuple(network.inputs[0].shape)  # type: ignore[return-value]  # a Shape


def ours(name: str, discretize: bool) -> Network:
    module, shape = built(name)
    read = load_network(module, shape)
    return prepare(read, PrepareOptions(quantize=discretize))


def theirs(name: str, discretize: bool) -> Any:
    module, shape = built(name)
    return DynapcnnNetwork(module, input_shape=shape, discretize=discretize)


def pairs(network: Network, peer: Any) -> Iterator[tuple[int, str]]:
    """Which layer of sinabs is which of ours: the random weights are proportional to one alone."""
    for number, layer in peer.dynapcnn_layers.items():
        weight = layer.conv_layer.weight.detach().numpy()
        matches = []
        for mine in network.layers:
            own: Any = mine.operation.weight
            if own.shape == weight.shape:
                cosine = float((own * weight).sum() / np.sqrt((own**2.0).sum() * (weight**2.0).sum()))
                if cosine > 0.999:
                    matches.append(mine.name)
        assert len(matches) == 1, (number, matches)
        yield number, matches[0]


@pytest.mark.parametrize("name", NAMES)
def test_same_graph_and_shapes(name: str) -> None:
    network, peer = ours(name, False), theirs(name, False)
    names = dict(pairs(network, peer))
    assert sorted(names.values()) == sorted(layer.name for layer in network.layers)
    for number, mine in names.items():
        layer, own = peer.dynapcnn_layers[number], network.by_name[mine]
        conv = layer.conv_layer
        assert isinstance(own.operation, Convolution)
        assert tuple(layer.in_shape) == tuple(own.input_shape)
        assert tuple(layer.get_neuron_shape()) == tuple(own.output_shape)
        assert (tuple(conv.kernel_size), tuple(conv.stride), tuple(conv.padding)) == (
            own.operation.kernel,
            own.operation.stride,
            own.operation.padding,
        )
    edges = set()
    for number, targets in peer.layer_destination_map.items():
        if number == "dvs":
            continue
        sizes = peer.dynapcnn_layers[number].pool
        for target, size in zip(targets, sizes, strict=True):
            if target >= 0:
                edges.add((names[number], names[target], tuple(torch.nn.modules.utils._pair(size))))
    found = {
        (edge.source, edge.target, edge.pool.size if edge.pool else (1, 1))
        for edge in network.edges
        if edge.source in network.by_name
    }
    assert found == edges


@pytest.mark.parametrize("name", NAMES)
def test_same_integers(name: str) -> None:
    network, peer = ours(name, True), theirs(name, True)
    for number, mine in pairs(network, peer):
        layer, own = peer.dynapcnn_layers[number], network.by_name[mine]
        neuron, operation = own.neuron, own.operation
        assert neuron is not None
        assert np.array_equal(layer.conv_layer.weight.detach().numpy(), np.asarray(operation.weight))
        bias = layer.conv_layer.bias
        mine_bias = np.zeros(operation.out_features) if operation.bias is None else np.asarray(operation.bias)
        assert np.array_equal(np.zeros_like(mine_bias) if bias is None else bias.detach().numpy(), mine_bias)
        assert float(layer.spk_layer.spike_threshold) == float(np.asarray(neuron.threshold))
        assert float(layer.spk_layer.min_v_mem) == float(neuron.minimum or 0)


@pytest.mark.parametrize(("name", "reason"), NOT_BUILT.items())
def test_what_is_not_compared(name: str, reason: str) -> None:
    """Sinabs has no cycles and loses concatenations; the others are refused here by name."""
    with pytest.raises((ValueError, NetworkError), match=reason):
        ours(name, True)


def test_averages_of_different_size_add_up_exactly() -> None:
    """Here as the module computes them, where sinabs takes the mean of the factors."""
    module, shape = built(APPROXIMATED)
    mine, peer = mapper.DynapcnnNetwork(module, shape, discretize=False), theirs(APPROXIMATED, False)
    reads = [layer.input_shape.features for layer in mine.network.layers]
    assert sorted(layer.in_shape[0] for layer in peer.dynapcnn_layers.values()) == [1, 2, 10, 10, 200]
    assert sorted(reads) == [1, 2, 10, 20, 200]
    assert any("add up exactly" in note for note in mine.network.notes)
    x = torch.tensor(np.random.default_rng(0).integers(0, 300, (5, *shape)), dtype=torch.float32)
    with torch.no_grad():
        expected = module(x)
        assert expected.any()
        assert torch.equal(mine(x).flatten(1), expected)
        assert not torch.equal(peer(x).flatten(1), expected)


def test_most_of_the_zoo_is_compared() -> None:
    assert len(NAMES) == 27


# Large maps would take minutes in sinabs.
SIMULATED: set[str] = set()
SMALL = [name for name in NAMES if np.prod(built(name)[1]) <= 2 * 64 * 64]


@pytest.mark.parametrize("name", SMALL)
def test_same_spikes_and_memory(name: str) -> None:
    """The whole converted network, step by step, as sinabs runs it."""
    module, shape = built(name)
    mine = mapper.DynapcnnNetwork(module, shape)
    peer = theirs(name, True)
    # `reset_states` of sinabs 3.1.3 fails on a network that is on no board.
    with pytest.raises(AttributeError):
        peer.reset_states()
    mine.reset_states()
    draw = np.random.default_rng(0)
    x = torch.tensor(draw.integers(0, 6, (5, *shape)), dtype=torch.float32)
    with torch.no_grad():
        expected, found = peer(x), mine(x)
    if isinstance(expected, dict):
        assert isinstance(found, dict)
        spikes = [tensor for entry in expected.values() for tensor in entry.values()]
        ours_too = [tensor for entry in found.values() for tensor in entry.values()]
        for one in spikes:
            assert any(one.shape == two.shape and torch.equal(one, two) for two in ours_too)
    else:
        assert torch.equal(expected.flatten(1), found.flatten(1))
    if mine.is_compatible_with("speck2f"):
        # The emitted configuration too, simulated without the network.
        config, raster = mine.plain_config("speck2f"), x.numpy().astype(int)
        assert config.interface is not None
        if not any(layer.spike_mode == "single" for layer in config.interface.layers):
            chip = simulate_config(config, {config.interface.inputs[0].name: raster}).outputs
            flat = [torch.tensor(made).flatten(1) for made in chip.values()]
            for tensor in expected.values() if isinstance(expected, dict) else [expected]:
                for one in tensor.values() if isinstance(tensor, dict) else [tensor]:
                    assert any(torch.equal(one.flatten(1), made.to(one)) for made in flat)
            SIMULATED.add(name)
    summary, own = peer.memory_summary(), mine.memory_summary()
    for kind in ("kernel", "neuron"):
        assert sorted(summary[kind].values()) == sorted(own[kind])


def test_enough_networks_run_in_both() -> None:
    assert len(SMALL) >= 15
    assert len(SIMULATED) >= 10


SENSORS: list[dict[str, Any]] = [
    {},
    {"pool": (2, 2), "merge_polarities": True},
    {"pool": (2, 4), "crop": ((1, 13), (2, 7)), "flip_y": True},
    {"crop": ((0, 24), (4, 30)), "flip_x": True, "swap_xy": True, "disable_pixel_array": False},
]


@pytest.mark.parametrize("setting", SENSORS, ids=range(len(SENSORS)))
def test_same_sensor_stage_and_spikes(setting: dict[str, Any]) -> None:
    """A DVS layer in front: its fields of the configuration, and spikes of frames of the whole sensor."""
    torch.manual_seed(1)
    features = 1 if setting.get("merge_polarities") else 2
    module = nn.Sequential(
        DVSLayer((32, 32), **setting),
        nn.Conv2d(features, 4, 3, padding=1, bias=False),
        IAFSqueeze(batch_size=1, min_v_mem=-1.0),
        nn.Conv2d(4, 2, 2, bias=False),
        IAFSqueeze(batch_size=1, min_v_mem=-1.0),
    )
    on = not setting.get("disable_pixel_array", True)
    mine = mapper.DynapcnnNetwork(module, dvs_input=on)
    peer = DynapcnnNetwork(module, dvs_input=on)
    x = torch.tensor(np.random.default_rng(2).integers(0, 4, (6, 2, 32, 32)), dtype=torch.float32)
    with torch.no_grad():
        spikes = peer(x)
        assert spikes.any()
        assert torch.equal(mine(x), spikes)
    stage = mine.plain_config("speck2f").hardware.dvs_layer
    assert stage is not None
    sensor: Any = module[0]
    wanted: dict[str, Any] = sensor.get_config_dict()
    for name, value in stage.model_dump().items():
        if name in wanted:
            assert value == wanted[name], name
    assert set(wanted) <= set(stage.model_dump())
