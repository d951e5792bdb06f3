"""The familiar class: forward passes, placement, configuration, and what differs from sinabs on purpose."""

from __future__ import annotations

import copy
import re
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import mapper
from mapper.compat.forward import ForwardNetwork
from mapper.errors import NetworkError, OptionsError, SpecError
from mapper.normal_form import normal_form
from mapper.sim.network import simulate
from tests.builders import UNDIVIDED
from tests.frontends.sinabs_stand_in import IAFSqueeze, SumPool2d
from tests.sim.test_config_frame import random_network


def snn(*, classes: int = 5, bias: bool = False) -> nn.Sequential:
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1, bias=bias), IAFSqueeze(min_v_mem=-1.0), SumPool2d(2),
        nn.Conv2d(4, 6, 3, bias=bias), IAFSqueeze(min_v_mem=-1.0), nn.Flatten(),
        nn.Linear(6 * 4, classes, bias=bias), IAFSqueeze(min_v_mem=-1.0),
    )  # fmt: skip


SHAPE = (2, 8, 8)


def events(steps: int = 6, seed: int = 0) -> torch.Tensor:
    return torch.tensor(np.random.default_rng(seed).integers(0, 12, (steps, *SHAPE)), dtype=torch.float32)


@pytest.mark.parametrize("seed", range(24))
def test_forward_is_the_reference_simulation(seed: int) -> None:
    network = random_network(seed)
    x = np.random.default_rng(seed).integers(0, 3, (9, *network.inputs[0].shape))
    expected = simulate(network, {network.inputs[0].name: x}).spikes
    module = ForwardNetwork(normal_form(network))
    frames = torch.tensor(x, dtype=torch.float32)[None]
    first = module.spikes({network.inputs[0].name: frames[:, :4]})
    second = module.spikes({network.inputs[0].name: frames[:, 4:]})
    for name, spikes in expected.items():
        found = torch.cat([first[name], second[name]], 1)[0]
        assert np.array_equal(found.detach().numpy(), spikes), name


def test_forward_keeps_states_and_batches_apart() -> None:
    network = mapper.DynapcnnNetwork(snn(), SHAPE, batch_size=1)
    x = events()
    whole = network(x)
    network.reset_states()
    parts = torch.cat([network(x[:2]), network(x[2:])])
    assert torch.equal(whole, parts)
    assert whole.abs().sum() > 0
    pair = mapper.DynapcnnNetwork(snn(), SHAPE, batch_size=2)
    both = pair(torch.cat([x, x]))
    assert torch.equal(both, torch.cat([whole, whole]))
    with pytest.raises(NetworkError, match="batch_size"):
        pair(x[:3])
    network.reset_states(randomize=True)
    assert network(x).shape == whole.shape
    reference = simulate(network.network, {network.network.inputs[0].name: x.numpy().astype(int)})
    assert np.array_equal(next(iter(reference.outputs.values())), whole.detach().numpy())


def test_gradients_flow_through_the_users_surrogate() -> None:
    module = snn()
    calls = []

    def surrogate(potential: torch.Tensor, threshold: torch.Tensor) -> torch.Tensor:
        calls.append(threshold)
        return torch.ones_like(potential)

    for layer in module.modules():
        if isinstance(layer, IAFSqueeze):
            layer.surrogate_grad_fn = surrogate  # type: ignore[assignment]
    network = mapper.DynapcnnNetwork(module, SHAPE, discretize=False)
    network(events()).sum().backward()
    assert calls
    gradients = [parameter.grad for parameter in network.parameters()]
    assert len(gradients) == 3
    assert all(gradient is not None and gradient.abs().sum() > 0 for gradient in gradients)
    network.zero_grad()
    assert all(p.grad is not None and not p.grad.any() for p in network.parameters())
    network.zero_grad(set_to_none=True)
    assert all(p.grad is None for p in network.parameters())
    plain = mapper.DynapcnnNetwork(snn(), SHAPE, discretize=False)
    plain(events()).sum().backward()
    assert all(p.grad is not None for p in plain.parameters())


def test_placement_and_look_up() -> None:
    network = mapper.DynapcnnNetwork(snn(), SHAPE)
    with pytest.raises(ValueError, match="not placed yet"):
        network.find_chip_layer(0)
    assert network.layer2core_map is None
    assert network.chip_layers_ordering is None
    with pytest.warns(UserWarning, match="before the pool"):
        config = network.plain_config(
            "speck2fmodule:0", chip_layers_ordering=["dvs", 2, 5, 1], monitor_layers=[0, -1, "dvs"]
        )
    assert network.chip_layers_ordering == [2, 5, 1]
    assert network.layer2core_map == {0: 2, 1: 5, 2: 1}
    assert [network.find_chip_layer(n) for n in (0, 1, 2, -1)] == [2, 5, 1, 1]
    assert network.find_chip_layers(-1) == [1]
    monitored = [n for n, core in enumerate(config.hardware.cnn_layers) if core.monitor_enable]
    assert monitored == [1, 2]
    assert config.hardware.dvs_layer is not None
    assert config.hardware.dvs_layer.monitor_enable
    with pytest.raises(OptionsError, match=r"-3\.\.2"):
        network.find_chip_layer(3)
    with pytest.warns(UserWarning, match="before the pool"):
        every = network.plain_config("speck2f", {0: 2}, "all")
    assert sum(core.monitor_enable for core in every.hardware.cnn_layers) == 3
    assert network.find_chip_layer(0) == 2


@pytest.mark.parametrize(
    ("ordering", "text"), [([1, 2], "monitor_layers="), ("best", '"auto"'), ([0, 0, 1], "also taken")]
)
def test_orderings_that_do_not_suit(ordering: Any, text: str) -> None:
    with pytest.raises((ValueError, OptionsError), match=text):
        mapper.DynapcnnNetwork(snn(), SHAPE).place("speck2f", ordering)


@pytest.mark.parametrize("ordering", [{0: 0, 1: 0}, [0, 0, 1]])
def test_layers_that_share_a_core_are_named_as_they_were_given(ordering: Any) -> None:
    network = mapper.DynapcnnNetwork(snn(), SHAPE)
    first, second = (layer.title for layer in network.network.layers[:2])
    text = f"layer2core_map 1=0: layer {second}: the core is also taken by pinned layer {first}"
    with pytest.raises(OptionsError, match=re.escape(text)):
        network.place("speck2f", layer2core_map=ordering)


def test_compatibility_needs_no_samna() -> None:
    network = mapper.DynapcnnNetwork(snn(), SHAPE)
    assert network.is_compatible_with("speck2fmodule")
    assert network.why_incompatible_with("speck2f") is None
    wide = mapper.DynapcnnNetwork(
        nn.Sequential(nn.Conv2d(2, 256, 3, padding=1, bias=False), IAFSqueeze(min_v_mem=-1.0)), (2, 64, 64)
    )
    assert not wide.is_compatible_with("speck2fmodule:0")
    report = wide.why_incompatible_with("speck2f")
    assert report is not None
    assert report.repairs
    with pytest.raises(ValueError, match="neuron words"):
        wide.plain_config("speck2f")
    with pytest.raises(SpecError, match="speck9"):
        network.is_compatible_with("speck9")


def test_memory_summary_and_states_in_files() -> None:
    network = mapper.DynapcnnNetwork(snn(bias=True), SHAPE)
    assert network.memory_summary() == {
        "kernel": [128, 512, 6 * 4 * 8],
        "neuron": [256, 24, 5],
        "bias": [4, 6, 5],
    }
    other = mapper.DynapcnnNetwork(snn(bias=True), SHAPE)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    other.load_state_dict(network.state_dict())
    assert torch.equal(other(events()), network(events()))
    network.reset_states()
    twin = copy.deepcopy(network)
    assert torch.equal(twin(events()), network(events()))


def test_forward_leaks_nothing_into_a_configuration() -> None:
    network = mapper.DynapcnnNetwork(snn(), SHAPE)
    before = network.plain_config("speck2f")
    network(events())
    assert network.plain_config("speck2f") == before
    assert all(
        not core.neurons_initial_value.array.any()
        for core in before.hardware.cnn_layers
        if core.neurons_initial_value
    )


def test_the_current_state_on_request() -> None:
    network = mapper.DynapcnnNetwork(snn(), SHAPE)
    network(events())
    config = network.plain_config("speck2f", initial_state="current")
    potentials = [state[0].numpy() for state in network.potentials()]
    assert any(state.any() for state in potentials)
    for n, state in enumerate(potentials):
        found = config.hardware.cnn_layers[network.find_chip_layer(n)].neurons_initial_value
        assert found is not None
        assert np.array_equal(found.array.transpose(0, 2, 1), state)
    with pytest.raises(ValueError, match="built"):
        network.plain_config("speck2f", initial_state="now")
    twice = mapper.DynapcnnNetwork(snn(), SHAPE, batch_size=2)
    twice(events())
    with pytest.raises(ValueError, match="2 samples"):
        twice.plain_config("speck2f", initial_state="current")
    network.dynapcnn_layers[0].spk_layer.v_mem.fill_(4e4)
    with pytest.raises(ValueError, match="16 bits"):
        network.plain_config("speck2f", initial_state="current")


def test_what_sinabs_gets_wrong() -> None:
    bare = nn.Sequential(nn.Conv2d(2, 4, 3, bias=False), IAFSqueeze())
    config = mapper.DynapcnnNetwork(bare, SHAPE).plain_config("speck2f")
    (core,) = [core for core in config.hardware.cnn_layers if core.weights]
    assert core.threshold_low == -32768
    assert core.weights is not None
    assert core.weights.array.any()
    with pytest.warns(UserWarning, match="discretize is False"):
        assert mapper.DynapcnnNetwork(bare, SHAPE, discretize=False).plain_config("speck2f") == config
    with pytest.raises(NetworkError, match="Give input_shape="):
        mapper.DynapcnnNetwork(bare)


def spiking() -> IAFSqueeze:
    return IAFSqueeze(min_v_mem=-1.0)


class Branches(nn.Module):
    """A stem with branches that meet again, by sum or by concatenation."""

    def __init__(self, count: int, *, add: bool) -> None:
        super().__init__()
        self.stem, self.stem_spike = nn.Conv2d(2, 4, 3, padding=1, bias=False), spiking()
        self.branches = nn.ModuleList(nn.Conv2d(4, 4, 3, padding=1, bias=False) for _ in range(count))
        self.spikes = nn.ModuleList(spiking() for _ in range(count))
        self.head, self.head_spike = nn.Conv2d(4 if add else 4 * count, 2, 1, bias=False), spiking()
        self.add = add

    def forward(self, x: torch.Tensor) -> Any:
        x = self.stem_spike(self.stem(x))
        made = [spike(conv(x)) for conv, spike in zip(self.branches, self.spikes, strict=True)]
        joined = torch.cat(made, 1)
        if self.add:
            joined = made[0]
            for one in made[1:]:
                joined = joined + one
        return self.head_spike(self.head(joined))


@pytest.mark.parametrize("add", [True, False], ids=["+", "cat"])
def test_branches_meet_by_plus_and_by_cat(add: bool) -> None:
    network = mapper.DynapcnnNetwork(Branches(2, add=add), SHAPE)
    config = network.plain_config("speck2f")
    assert network.is_compatible_with("speck2f")
    assert mapper.diff(config, network.network) == ()
    shifts = [d.feature_shift for core in config.hardware.cnn_layers for d in core.destinations if d.enable]
    assert sorted(shifts) == [0, 0, 0, 0 if add else 4]


def test_three_destinations_take_a_relay_or_are_refused_by_name() -> None:
    network = mapper.DynapcnnNetwork(Branches(3, add=False), SHAPE)
    assert network.is_compatible_with("speck2f")
    config = network.plain_config("speck2f")
    assert mapper.diff(config, network.network) == ()
    assert (
        len([core for core in config.hardware.cnn_layers if core.weights]) == len(network.network.layers) + 1
    )
    report = mapper.check(network.network, "speck2f", **UNDIVIDED).report
    assert report is not None
    assert "stem" in str(report)
    assert "destination" in str(report)


def test_pooling_8_groups_and_dilation() -> None:
    deep = nn.Sequential(
        nn.Conv2d(2, 4, 1, bias=False), spiking(), SumPool2d(8), nn.Conv2d(4, 2, 1, bias=False), spiking()
    )
    report = mapper.DynapcnnNetwork(deep, (2, 32, 32)).why_incompatible_with("speck2f")
    # A pool of 8 fits no destination; it is folded into the kernel behind it.
    assert report is None
    module = nn.Sequential(
        nn.Conv2d(2, 4, 3, groups=2, bias=False), spiking(),
        nn.Conv2d(4, 4, 3, dilation=2, bias=False), spiking(),
    )  # fmt: skip
    network = mapper.DynapcnnNetwork(module, (2, 12, 12))
    float_network = mapper.DynapcnnNetwork(module, (2, 12, 12), discretize=False)
    x = torch.tensor(np.random.default_rng(1).integers(0, 3, (4, 2, 12, 12)), dtype=torch.float32)
    expected = module[3](module[2](module[1](module[0](x))))
    assert torch.allclose(float_network(x), expected)
    assert mapper.diff(network.plain_config("speck2f"), network.network) == ()


def test_orderings_and_monitors_name_the_sensor_stage() -> None:
    network = mapper.DynapcnnNetwork(snn(), SHAPE, True)
    with_stage = network.plain_config("speck2f", ["dvs", 3, 5, 6])
    without = network.plain_config("speck2f", [3, 5, 6])
    assert with_stage == without
    shown = network.plain_config("speck2f", monitor_layers=["dvs", -1]).hardware
    assert shown.dvs_layer is not None
    assert shown.dvs_layer.monitor_enable
    assert sum(core.monitor_enable for core in shown.cnn_layers) == 1


def test_states_reset_on_a_network_without_a_board() -> None:
    network = mapper.DynapcnnNetwork(snn(), SHAPE)
    first = network(events())
    network.reset_states()
    assert torch.equal(network(events()), first)
    network.detach_neuron_states()
    network.reset_states(randomize=True)
    network(events())
    network.init_weights(nn.init.zeros_)
    network.reset_states()
    assert not network(events()).any()


class TwoPools(nn.Module):
    """Average pools of different size that add up."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = (nn.Conv2d(2, 4, 1, bias=False), nn.Conv2d(2, 4, 1, stride=2, bias=False),
                                  nn.Conv2d(4, 2, 1, bias=False))  # fmt: skip
        self.sa, self.sb, self.sc = spiking(), spiking(), spiking()

    def forward(self, x: torch.Tensor) -> Any:
        left = nn.functional.avg_pool2d(self.sa(self.a(x)), 4)
        right = nn.functional.avg_pool2d(self.sb(self.b(x)), 2)
        return self.sc(self.c(left + right))


def module_output(module: nn.Module, x: torch.Tensor) -> torch.Tensor:
    for layer in module.modules():
        if isinstance(layer, IAFSqueeze):
            layer.reset_states()
    made: torch.Tensor = module(x)
    return made


def test_a_rescaling_function_is_applied_and_told() -> None:
    module = TwoPools()
    exact = mapper.DynapcnnNetwork(module, SHAPE, discretize=False)
    assert torch.allclose(exact(events()), module_output(module, events()))
    assert any("add up exactly" in note for note in exact.network.notes)
    asked: list[list[float]] = []

    def mean(factors: Any) -> float:
        asked.append(sorted(factors))
        return float(np.mean(factors))

    network = mapper.DynapcnnNetwork(module, SHAPE, weight_rescaling_fn=mean, discretize=False)
    assert asked == [[0.0625, 0.25]]
    assert any("approximation" in note for note in network.network.notes)
    weight: Any = network.network.layers[-1].operation.weight
    assert np.allclose(weight, module.c.weight.detach().numpy() * 0.15625)


def test_sensor_input_and_the_old_name() -> None:
    fed = mapper.DynapcnnNetwork(snn(), SHAPE, True)
    assert fed.network.inputs[0].dvs is not None
    config = fed.plain_config("speck2f")
    assert config.hardware.dvs_layer is not None
    assert config.hardware.dvs_layer.pass_sensor_events
    host = mapper.DynapcnnNetwork(snn(), SHAPE, None).plain_config("speck2f")
    assert host.hardware.dvs_layer is not None
    assert not host.hardware.dvs_layer.pass_sensor_events
    with pytest.warns(DeprecationWarning, match="DynapcnnNetwork"):
        mapper.DynapcnnCompatibleNetwork(snn(), SHAPE)


def test_all_layers_and_wrong_inputs() -> None:
    network = mapper.DynapcnnNetwork(snn(), SHAPE)
    complete = network(events(), return_complete=True)
    assert {n: list(ways) for n, ways in complete.items()} == {"input": [0], 0: [1], 1: [2], 2: [-1]}
    assert complete[0][1].shape == (6, 4, 4, 4)
    assert complete[2][-1].shape == (6, 5, 1, 1)
    with pytest.raises(NetworkError, match=r"must be \(batch \* time"):
        network(torch.zeros(3, 1, 8, 8))
    last = events().permute(0, 2, 3, 1)
    with pytest.raises(NetworkError, match=r"Give x\.permute\(0, 3, 1, 2\)"):
        network(last)
    assert network(last.permute(0, 3, 1, 2)).shape == network(events()).shape
    batch = torch.stack([events(), events()])
    with pytest.raises(NetworkError, match=r"Set batch_size to 2 and give x\.flatten\(0, 1\)"):
        network(batch)
    network.batch_size = 2
    network.reset_states()
    assert network(batch.flatten(0, 1)).shape == (12, 5, 1, 1)
    ann = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU())
    assert mapper.DynapcnnNetwork(ann, SHAPE, relu_as_if=1.0)(events()).shape == (6, 4, 6, 6)
