"""One network, not two: what is simulated is what is placed and emitted, after whatever was done to it."""

from __future__ import annotations

import copy
import io
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import mapper
from mapper.compat.forward import ForwardNetwork
from mapper.errors import NetworkError, ShapeError
from mapper.normal_form import NormalNetwork, normal_form
from mapper.sim.network import simulate
from tests.compat.test_dynapcnn import SHAPE, events, snn
from tests.frontends.sinabs_stand_in import IAFSqueeze, SumPool2d
from tests.sim.test_config_frame import random_network


def made(seed: int = 3, **arguments: Any) -> mapper.DynapcnnNetwork:
    torch.manual_seed(seed)
    module = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1, bias=False), IAFSqueeze(min_v_mem=-1.0), SumPool2d(2),
        nn.Conv2d(4, 3, 3), IAFSqueeze(min_v_mem=-0.5, spike_threshold=0.7),
    )  # fmt: skip
    return mapper.DynapcnnNetwork(module, SHAPE, **arguments)


def holds(network: mapper.DynapcnnNetwork) -> None:
    """`forward`, the network and its configuration say the same."""
    network.reset_states()
    x = events(8, seed=5)
    with torch.no_grad():
        spikes = network(x)
    reference = simulate(network.network, {"input": x.numpy().astype(int)})
    assert np.array_equal(reference.outputs[network.network.outputs[0].name], spikes.numpy())
    assert mapper.diff(network.plain_config("speck2f"), network.network) == ()


def neurons(network: mapper.DynapcnnNetwork, n: int) -> Any:
    return network.dynapcnn_layers[n].spk_layer


def weights(network: NormalNetwork, n: int) -> Any:
    return network.layers[n].operation.weight


def trained(network: mapper.DynapcnnNetwork, rate: float = 1e-4, steps: int = 3) -> None:
    optimizer = torch.optim.SGD(network.parameters(), lr=rate)
    for _ in range(steps):
        network.reset_states()
        optimizer.zero_grad()
        ((network(events()).sum() - 400) ** 2).backward()
        optimizer.step()


def test_what_was_trained_edited_or_loaded_is_what_is_emitted() -> None:
    network = made()
    first = network.plain_config("speck2f")
    trained(network)
    weight = network.dynapcnn_layers[0].conv_layer.weight
    assert not torch.equal(weight, weight.round())
    assert network.plain_config("speck2f") != first
    holds(network)
    neurons(network, 1).spike_threshold = 77
    neurons(network, 1).min_v_mem = None
    with torch.no_grad():
        network.dynapcnn_layers[0].weight[0, 0, 0, 0] = 99.4
    holds(network)
    other = made(seed=8)
    assert other.load_state_dict(network.state_dict()).missing_keys == []
    assert other.plain_config("speck2f").hardware == network.plain_config("speck2f").hardware
    holds(other)


def test_integers_stay_as_they_are_and_others_are_rounded_layer_by_layer() -> None:
    network = made()
    before = network.network
    neurons(network, 1).spike_threshold = int(before.layers[1].neuron.threshold) + 1
    after = network.network
    assert np.array_equal(weights(before, 1), weights(after, 1))
    assert after.layers[1].neuron.threshold == int(before.layers[1].neuron.threshold) + 1
    with torch.no_grad():
        network.dynapcnn_layers[1].weight.mul_(0.5)
    assert np.array_equal(weights(before, 0), weights(network.network, 0))
    halved: Any = network.network.layers[1].operation
    assert max(np.abs(halved.weight).max(), np.abs(halved.bias).max()) == 127
    holds(network)
    neurons(network, 0).min_v_mem = 0
    assert network.network.layers[0].neuron.minimum == -1
    holds(network)


def test_weights_beyond_eight_bits_are_scaled_alike_everywhere() -> None:
    network = made()
    with torch.no_grad():
        network.dynapcnn_layers[0].weight.mul_(3)
    assert np.abs(weights(network.network, 0)).max() <= 128
    holds(network)


def test_what_makes_no_network_is_refused_by_name() -> None:
    network = made()
    with torch.no_grad():
        network.dynapcnn_layers[0].weight[0, 0, 0, 0] = torch.nan
    with pytest.raises(NetworkError, match=r"layer 0 \(Conv2d\): weights that are NaN"):
        network.plain_config("speck2f")
    assert network(events()).shape == (6, 3, 2, 2)
    other = made()
    other.dynapcnn_layers[0].conv_layer.weight.data = torch.ones(5, 2, 3, 3)
    with pytest.raises(ShapeError, match="features beyond the target's input"):
        other.plain_config("speck2f")
    third = made()
    neurons(third, 0).spike_threshold = torch.tensor([3.0, 4.0])
    with pytest.raises(NetworkError, match="one threshold"):
        third.memory_summary()


def test_gradients_pass_the_rounding() -> None:
    network = made()
    trained(network, steps=1)
    scaled = made(discretize=False)
    for layer in (network, scaled):
        layer.reset_states()
        layer.zero_grad(set_to_none=True)
        layer(events()).sum().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in network.parameters())
    losses = []
    for _ in range(12):
        network.reset_states()
        network.zero_grad()
        loss = (network(events()).mean() - 0.2) ** 2
        loss.backward()
        with torch.no_grad():
            for parameter in network.parameters():
                gradient: Any = parameter.grad
                parameter.sub_(60.0 * loss.item() * gradient / (gradient.abs().max() + 1e-9))
        losses.append(loss.item())
    assert min(losses[6:]) < losses[0]
    holds(network)


@pytest.mark.parametrize("discretize", [True, False])
def test_copies_pickles_dtypes_and_files_keep_the_promise(discretize: bool) -> None:
    network = made(discretize=discretize)
    if discretize:
        trained(network)
    neurons(network, 0).spike_threshold = 30001
    expected = network.network
    file = io.BytesIO()
    torch.save(network.state_dict(), file)
    file.seek(0)
    loaded = made(seed=9, discretize=discretize)
    loaded.load_state_dict(torch.load(file, weights_only=True))
    narrow = copy.deepcopy(network).half() if discretize else copy.deepcopy(network).double()
    for twin in (copy.deepcopy(network), pickle.loads(pickle.dumps(network)), loaded, narrow):  # noqa: S301
        for n, (own, other) in enumerate(zip(twin.network.layers, expected.layers, strict=True)):
            if twin is not narrow or discretize is False:
                assert np.array_equal(weights(twin.network, n), weights(expected, n))
            assert (own.neuron.threshold, own.neuron.minimum) == (
                other.neuron.threshold,
                other.neuron.minimum,
            )
        twin.reset_states()
        first = next(twin.parameters())
        twin(events().to(first.dtype))
    twin = copy.deepcopy(network)
    with torch.no_grad():
        twin.dynapcnn_layers[0].weight.zero_()
    assert network.dynapcnn_layers[0].weight.any()


def test_a_state_dict_holds_all_and_loads_strictly() -> None:
    torch.manual_seed(1)
    module = nn.Sequential(nn.Conv2d(2, 4, 3, bias=False), IAFSqueeze(min_v_mem=-1.0))
    network = mapper.DynapcnnNetwork(module, SHAPE)
    neurons(network, 0).initial_v_mem = torch.randint(-9, 9, (4, 6, 6)).float()
    holds(network)
    state = network.state_dict()
    assert {"structure_version", "layers.0.spk.min_v_mem", "layers.0.spk.initial_v_mem"} <= set(state)
    plain = mapper.DynapcnnNetwork(nn.Sequential(nn.Conv2d(2, 4, 3, bias=False), IAFSqueeze()), SHAPE)
    plain.load_state_dict(state)
    assert plain.plain_config("speck2f").hardware == network.plain_config("speck2f").hardware
    assert plain.network.layers[0].neuron.initial_potential is not None
    del state["layers.0.spk.min_v_mem"]
    with pytest.raises(RuntimeError, match="min_v_mem"):
        plain.load_state_dict(state)
    earlier = {"forward_network.layers.0.weight": state["layers.0.conv.weight"]}
    with pytest.raises(RuntimeError, match=r"layers\.0\.spk\.spike_threshold"):
        plain.load_state_dict(earlier)


def test_checkpoints_of_sinabs_and_of_the_module_load_by_a_key_map() -> None:
    network, other = made(), made(seed=11)
    theirs = {
        f"_dynapcnn_module._dynapcnn_layers.{n}.{key}": value
        for n, layer in other.dynapcnn_layers.items()
        for key, value in layer.state_dict().items()
        if "initial" not in key
    }
    theirs["_dynapcnn_module._dynapcnn_layers.0.spk.v_mem"] = torch.ones(1, 4, 8, 8)
    with pytest.warns(UserWarning, match="layers 0 are not loaded"):
        network.load_state_dict(theirs)
    assert network.plain_config("speck2f").hardware == other.plain_config("speck2f").hardware
    torch.manual_seed(12)
    source = snn(bias=True)
    twin = copy.deepcopy(source)
    with torch.no_grad():
        for name, parameter in twin.named_parameters():
            if name.endswith(("weight", "bias")):
                parameter.mul_(-1.7)
    read = mapper.DynapcnnNetwork(source, SHAPE)
    read.load_state_dict(twin.state_dict())
    fresh = mapper.DynapcnnNetwork(twin, SHAPE)
    assert read.plain_config("speck2f").hardware == fresh.plain_config("speck2f").hardware
    holds(read)
    with pytest.raises(RuntimeError, match="Missing key"):
        copy.deepcopy(read).load_state_dict(twin.state_dict())


def test_layers_of_sinabs_that_cannot_be_told_apart_are_refused() -> None:
    from tests.compat.test_dynapcnn import Branches  # noqa: PLC0415  # beside what it is about

    network = mapper.DynapcnnNetwork(Branches(2, add=True), SHAPE)
    theirs = {
        f"_dynapcnn_module._dynapcnn_layers.{n}.{key}": value
        for n, layer in network.dynapcnn_layers.items()
        for key, value in layer.state_dict().items()
    }
    with pytest.raises(RuntimeError, match="cannot be told apart"):
        network.load_state_dict(theirs)
    with pytest.raises(RuntimeError, match="has 4 layers"):
        made().load_state_dict(theirs)


@pytest.mark.parametrize("seed", range(12))
def test_a_network_comes_back_from_its_tensors(seed: int) -> None:
    network = normal_form(random_network(seed))
    back = ForwardNetwork(network).network
    for n, (own, given) in enumerate(zip(back.layers, network.layers, strict=True)):
        assert np.array_equal(weights(back, n), weights(network, n))
        assert np.array_equal(np.asarray(own.operation.bias), np.asarray(given.operation.bias))
        assert (own.neuron.threshold, own.neuron.minimum) == (given.neuron.threshold, given.neuron.minimum)
    assert back.readings == network.readings


def test_what_was_compared_is_compared_no_more_after_a_change() -> None:
    network = made()
    assert network.network.compared_with
    with torch.no_grad():
        network.dynapcnn_layers[0].weight[0, 0, 0, 0] += 1
    assert network.network.compared_with == ""
    assert any("changed since" in str(reading) for reading in network.network.readings)


def test_current_potentials_of_floats_are_refused_and_configurations_are_told() -> None:
    network = made(discretize=False)
    with pytest.warns(UserWarning, match="discretize is False"):
        config = network.plain_config("speck2f")
    assert config.hardware == made().plain_config("speck2f").hardware
    with pytest.raises(ValueError, match="discretize=True"):
        network.place("speck2f", initial_state="current")
