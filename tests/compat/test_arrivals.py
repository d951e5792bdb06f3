"""Spikes one after the other: what the stand-in that is trained through has in common with the event simulator."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import mapper
from mapper.compat.arrivals import in_parts, in_steps
from mapper.compat.forward import ForwardNetwork
from mapper.equivalence.labelled import read_labelled
from mapper.errors import NetworkError, OptionsError
from mapper.events import events_from_raster
from mapper.passes.quantize import layer_scale
from mapper.sim.event import EventOptions, simulate_events
from mapper.tuning.trial import ORDERS
from tests.compat.test_dynapcnn import SHAPE, events
from tests.compat.test_one_network import holds, made
from tests.frontends.sinabs_stand_in import IAFSqueeze, MembraneReset, MembraneSubtract


def by_spikes(
    network: mapper.DynapcnnNetwork, raster: Any, order: Any = "depth", config: Any = None
) -> dict[str, Any]:
    """Spikes by layer, (time, features, height, width), as the event simulator has them."""
    config = config or network.plain_config("speck2f")
    end = float(1000 * len(raster))
    given = {network.structure.inputs[0].name: events_from_raster(raster, 1000)}
    seen = simulate_events(config, given, EventOptions(order=order, tick_us=1000), end_us=end)
    found = {}
    for layer in network.network.layers:
        counts = np.zeros((len(raster), *layer.output_shape), np.int64)
        spikes = seen.layers[layer.name]
        step = np.minimum(spikes["t"] // 1000, len(raster) - 1)
        np.add.at(counts, (step, spikes["p"], spikes["y"], spikes["x"]), 1)
        found[layer.name] = counts
    return found


def one_by_one(network: ForwardNetwork, raster: Any) -> dict[str, Any]:
    network.reset()
    with torch.no_grad():
        given = torch.tensor(raster[None], dtype=torch.float32)
        spikes = network.spikes({network.structure.inputs[0].name: given})
    return {name: value[0].numpy() for name, value in spikes.items()}


def test_a_step_is_shared_out_in_order() -> None:
    frames = torch.tensor([[3.0, 0.0, 1.0, 1.0], [0.0, 0.0, 0.0, 2.0]]).reshape(1, 2, 1, 2, 2)
    shared = in_parts(frames, 3).flatten(2)[0]
    assert shared.tolist() == [
        [1, 0, 0, 0], [2, 0, 0, 0], [0, 0, 1, 1],
        [0, 0, 0, 0], [0, 0, 0, 1], [0, 0, 0, 1],
    ]  # fmt: skip
    assert torch.equal(in_steps(in_parts(frames, 3), 3), frames)
    torch.manual_seed(0)
    many = torch.randint(0, 4, (2, 5, 2, 4, 4)).float()
    for parts in (1, 7, 96):
        shared = in_parts(many, parts)
        assert torch.equal(in_steps(shared, parts), many)
        of_step = shared.sum((2, 3, 4)).reshape(2, 5, parts)
        assert bool((of_step.amax(2) - of_step.amin(2) <= 1).all())


@pytest.mark.parametrize("reset", [MembraneSubtract, MembraneReset])
@pytest.mark.parametrize("seed", range(6))
def test_layers_at_the_input_are_the_simulators(seed: int, reset: Any) -> None:
    """Weights of several thresholds, both signs, strides, a bound, biases: spike for spike."""
    torch.manual_seed(seed)
    neurons = IAFSqueeze(min_v_mem=-0.4, spike_threshold=0.15, reset_fn=reset())
    conv = nn.Conv2d(2, 5, 3, stride=1 + seed % 2, padding=seed % 3, bias=bool(seed % 2))
    network = mapper.DynapcnnNetwork(nn.Sequential(conv, neurons), SHAPE, semantics="events")
    network.parts = int(np.prod(SHAPE))
    raster = np.random.default_rng(seed).integers(0, 2, (5, *SHAPE))
    (name,) = network.structure.index
    found, expected = one_by_one(network, raster)[name], by_spikes(network, raster)[name]
    assert expected.sum() > 50
    assert np.array_equal(found, expected)
    network.semantics = "steps"
    # What is added up is another thing, so that the test can fail.
    assert not np.array_equal(one_by_one(network, raster)[name], expected)


def test_an_arrival_brings_one_spike_at_most_and_silence_none() -> None:
    module = nn.Sequential(nn.Conv2d(1, 1, 1, bias=True), IAFSqueeze(spike_threshold=0.25))
    with torch.no_grad():
        for values, number in zip(module[0].parameters(), (1.0, 0.25), strict=True):
            values.fill_(number)
    network = mapper.DynapcnnNetwork(module, (1, 1, 1), semantics="events")
    raster = np.array([0, 2, 0, 1]).reshape(4, 1, 1, 1)
    assert one_by_one(network, raster)["0"].ravel().tolist() == [0, 2, 0, 1]
    assert np.array_equal(by_spikes(network, raster)["0"], one_by_one(network, raster)["0"])
    network.semantics = "steps"
    assert one_by_one(network, raster)["0"].ravel().tolist() == [1, 8, 1, 5]


def test_how_near_to_the_chip_on_digits() -> None:
    """The figures of the guide: spikes that differ, of those there are, by layer, in every order."""
    network = mapper.DynapcnnNetwork(mapper.load_network("digits"), (1, 8, 8), semantics="events")
    samples = read_labelled("digits").rasters[:8]  # type: ignore[index]  # an array
    config = network.plain_config("speck2f")
    shares: dict[tuple[str, str], float] = {}
    for parts in (1, 32):
        network.parts = parts
        for order in ORDERS:
            differing: dict[str, int] = {}
            total: dict[str, int] = {}
            for raster in samples:
                found, expected = one_by_one(network, raster), by_spikes(network, raster, order, config)
                for name, counts in expected.items():
                    apart = np.abs(counts.sum(0) - found[name].sum(0)).sum()
                    differing[name] = differing.get(name, 0) + int(apart)
                    total[name] = total.get(name, 0) + int(counts.sum())
            shares |= {(f"{name} {parts}", order): differing[name] / total[name] for name in total}
    for order in ORDERS:
        for name, most in (("conv1", 0.005), ("conv2", 0.03), ("conv3", 0.06), ("fc", 0.18)):
            assert shares[f"{name} 32", order] < most
            assert shares[f"{name} 32", order] < shares[f"{name} 1", order] / 2


def test_gradients_reach_all_weights_and_only_through_what_spikes_reached() -> None:
    network = made(semantics="events")
    network.parts = 6
    network(events()).sum().backward()
    gradients = [layer.weight.grad for layer in network.core_layers()]
    assert all(gradient is not None and bool(gradient.any()) for gradient in gradients)
    network.zero_grad()
    network.reset_states()
    # Biases act, but without spikes nothing could have spiked, however near potentials are to the threshold.
    network.reset_states(randomize=True)
    network(torch.zeros(6, *SHAPE)).sum().backward()
    biases = [layer.bias.grad for layer in network.core_layers() if layer.bias is not None]
    assert biases
    assert all(gradient is not None and not bool(gradient.any()) for gradient in biases)


@pytest.mark.parametrize("semantics", ["steps", "events"])
def test_gradients_are_those_of_the_integers_times_the_scale(semantics: Any) -> None:
    """After an edit, and after a state dict was loaded: straight through, neither more nor less."""
    network = made(semantics=semantics)
    network.parts = 6
    with torch.no_grad():
        for layer in network.core_layers():
            layer.weight.mul_(0.7)
    again = made(4, semantics=semantics)
    again.load_state_dict(network.state_dict())
    again.parts = network.parts
    integers = copy.deepcopy(network)
    for layer in integers.core_layers():
        numbers = layer.numbers()
        layer.weight.data = numbers.weight.detach().clone()
        if layer.bias is not None and numbers.bias is not None:
            layer.bias.data = numbers.bias.detach().clone()
        layer.spk.spike_threshold, layer.spk.min_v_mem = numbers.threshold, numbers.minimum
        assert layer.is_integer()
    for entry in (network, again, integers):
        entry(events()).sum().backward()
    for layers in zip(*(entry.core_layers() for entry in (network, again, integers)), strict=True):
        scale = float(layer_scale(layers[0].as_normal()))
        assert abs(scale - 1) > 0.1
        gradients: Any = [layer.weight.grad for layer in layers]
        found, loaded, expected = gradients
        assert torch.equal(found, loaded)
        assert bool(expected.any())
        assert torch.allclose(found, scale * expected, rtol=1e-4)


def test_training_lowers_the_loss_and_is_what_is_emitted() -> None:
    network = made(semantics="events")
    network.parts = 6
    optimizer = torch.optim.Adam([layer.weight for layer in network.core_layers()], lr=1.0)
    target, losses = network(events()).sum().item() * 0.5, []
    for _ in range(10):
        network.reset_states()
        optimizer.zero_grad()
        loss = (network(events()).sum() - target) ** 2
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert min(losses[1:]) < losses[0] / 2
    other = copy.deepcopy(network)
    assert (other.semantics, other.parts) == ("events", 6)
    assert mapper.diff(network.plain_config("speck2f"), network.network) == ()
    network.semantics = "steps"
    holds(network)


def test_part_by_part_is_layer_by_layer() -> None:
    """As cycles run, though here is none: biases still come where a step begins."""
    torch.manual_seed(1)
    module = nn.Sequential(nn.Conv2d(2, 3, 3), IAFSqueeze(min_v_mem=-0.3, spike_threshold=0.2))
    network = mapper.DynapcnnNetwork(module, SHAPE, semantics="events")
    network.parts = 5
    raster = np.random.default_rng(0).integers(0, 3, (5, *SHAPE))
    (whole,) = one_by_one(network, raster).values()
    network.depth = 1
    (parted,) = one_by_one(network, raster).values()
    assert whole.any()
    assert np.array_equal(parted, whole)


def test_what_is_refused() -> None:
    with pytest.raises(OptionsError, match=r'semantics: is unknown.*frames.*"events" takes') as caught:
        made(semantics="frames")
    assert caught.value.findings[0].limit == "steps, events"
    network = made()
    assert network.semantics == "steps"
    for bad in ("event", None, 1):
        with pytest.raises(OptionsError, match="semantics: is unknown"):
            network.semantics = bad  # type: ignore[assignment]  # as a user might
    for number in (0, 2.5, -1):
        with pytest.raises(OptionsError, match="parts: must be a number of parts"):
            network.parts = number  # type: ignore[assignment]  # as a user might
    network.semantics = "events"
    for wrong in (0.5, -1.0, float("nan")):
        with pytest.raises(NetworkError, match="one after the other are counted"):
            network(torch.full((2, *SHAPE), wrong))
