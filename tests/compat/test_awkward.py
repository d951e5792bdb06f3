"""What is done to modules elsewhere: pruning, half precision, drawn states, wrappers, wrong input."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import prune

import mapper
from mapper.cli.entry import run
from mapper.errors import NetworkError, OptionsError
from tests.compat.test_dynapcnn import SHAPE, events, snn
from tests.compat.test_one_network import holds, made, weights
from tests.frontends import sinabs_stand_in as sinabs
from tests.frontends.sinabs_stand_in import IAFSqueeze


def pruned(conv: nn.Module, amount: float) -> None:
    prune.l1_unstructured(conv, "weight", amount=amount)  # type: ignore[no-untyped-call]  # torch's own


@pytest.mark.parametrize("discretize", [True, False])
def test_pruned_and_normalised_weights_are_those_of_the_next_call(discretize: bool) -> None:
    network = made(discretize=discretize)
    conv = network.dynapcnn_layers[0].conv_layer
    pruned(conv, 0.5)
    with torch.no_grad():
        network(events())
        raw: Any = conv.weight_orig
        raw.mul_(-0.5)
    emitted = weights(network.network, 0)
    assert np.array_equal(np.sign(emitted), np.sign(conv.weight.detach().numpy()))
    network.reset_states()
    first = network(events())
    network.reset_states()
    assert torch.equal(network(events()), first)
    first.sum().backward()
    assert raw.grad is not None
    if discretize:
        holds(network)
    twin = made(seed=4, discretize=discretize)
    pruned(twin.dynapcnn_layers[0].conv_layer, 0.1)
    twin.load_state_dict(network.state_dict())
    assert np.array_equal(weights(twin.network, 0), weights(network.network, 0))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_sums_are_exact_in_every_precision(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(8, 4, 5, bias=False), IAFSqueeze(min_v_mem=-1.0))
    network = mapper.DynapcnnNetwork(module, (8, 9, 9))
    x = torch.randint(0, 60, (6, 8, 9, 9)).float()
    with torch.no_grad():
        expected = network(x)
        narrow = copy.deepcopy(network).to(dtype)
        narrow.reset_states()
        found = narrow(x.to(dtype))
        assert found.dtype == dtype
        assert torch.equal(found.float(), expected.to(dtype).float())
        network.reset_states()
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(network(x).float(), expected)
    assert narrow.memory_summary() == network.memory_summary()
    assert mapper.diff(narrow.plain_config("speck2f"), narrow.network) == ()


def test_drawn_states_are_whole_and_in_the_layers_unit() -> None:
    network = made()
    network.reset_states(randomize=True)
    states = network.potentials()
    assert all(torch.equal(state, state.round()) for state in states)
    network.place("speck2f", initial_state="current")
    with torch.no_grad():
        for layer in network.dynapcnn_layers.values():
            layer.conv_layer.weight.mul_(0.01)
            layer.spk_layer.spike_threshold *= 0.01
            layer.spk_layer.min_v_mem *= 0.01
    network.reset_states(randomize=True)
    threshold = float(np.asarray(network.network.layers[0].neuron.threshold))
    assert float(network.potentials()[0].max()) > threshold / 2


def test_the_stage_is_the_modules_own() -> None:
    stage = sinabs.dvs((16, 16), (2, 2), flip_x=True)
    module = nn.Sequential(stage, nn.Conv2d(2, 4, 3, bias=False), IAFSqueeze())
    network: Any = mapper.DynapcnnNetwork(module, dvs_input=True)
    kept: Any = network.dvs_layer
    assert kept is network.dvs_layer
    assert type(kept).__name__ == "DVSLayer"
    assert kept.flip_layer.flip_x is True
    assert kept.disable_pixel_array is False
    assert [name for name, _ in network.named_children()] == ["layers"]
    assert copy.deepcopy(network).dvs_layer.flip_layer.flip_x is True


def test_biases_of_zeros_are_biases() -> None:
    module = snn(bias=True)
    with torch.no_grad():
        for layer in module:
            if isinstance(layer, nn.Conv2d | nn.Linear) and layer.bias is not None:
                layer.bias.zero_()
    network = mapper.DynapcnnNetwork(module, SHAPE)
    assert len(list(network.parameters())) == 6
    assert network.memory_summary()["bias"] == [0, 0, 0]
    trained = snn(bias=True)
    network.load_state_dict(trained.state_dict())
    assert (
        network.plain_config("speck2f").hardware
        == mapper.DynapcnnNetwork(trained, SHAPE).plain_config("speck2f").hardware
    )
    network.load_state_dict(module.state_dict())
    assert network.memory_summary()["bias"] == [0, 0, 0]


def test_weights_of_the_module_by_key() -> None:
    source = snn()
    network = mapper.DynapcnnNetwork(source, SHAPE)
    lower = copy.deepcopy(source)
    for entry in lower.modules():
        if isinstance(entry, IAFSqueeze):
            entry.min_v_mem = nn.Parameter(torch.tensor(-3.0), requires_grad=False)
    network.load_state_dict(lower.state_dict())
    assert (
        network.plain_config("speck2f").hardware
        == mapper.DynapcnnNetwork(lower, SHAPE).plain_config("speck2f").hardware
    )
    network.load_state_dict(source.state_dict())
    source(events())
    state = source.state_dict()
    assert any(key.endswith("v_mem") and value.numel() for key, value in state.items())
    network.load_state_dict(state)
    weights_alone = {key: value for key, value in state.items() if key.endswith("weight")}
    network.load_state_dict(weights_alone)
    with pytest.raises(
        RuntimeError, match=r'Missing key\(s\).*"3\.weight"(.|\n)*Unexpected key\(s\).*"third\.weight"'
    ):
        network.load_state_dict(
            {"third.weight" if key == "3.weight" else key: v for key, v in weights_alone.items()}
        )
    with pytest.raises(RuntimeError, match="is of version 99"):
        network.load_state_dict({**network.state_dict(), "structure_version": torch.tensor(99)})


class Swapped(nn.Module):
    """Neurons that are registered in another order than they run."""

    def __init__(self, first: Any, second: Any) -> None:
        super().__init__()
        self.b, self.b_spike = nn.Conv2d(4, 3, 3, bias=False), IAFSqueeze()
        self.a, self.a_spike = nn.Conv2d(2, 4, 3, bias=False), IAFSqueeze()
        self.a_spike.__dict__["surrogate_grad_fn"], self.b_spike.__dict__["surrogate_grad_fn"] = first, second

    def forward(self, x: torch.Tensor) -> Any:
        return self.b_spike(self.b(self.a_spike(self.a(x))))


def test_surrogates_are_their_layers() -> None:
    def first(potential: torch.Tensor, threshold: torch.Tensor) -> torch.Tensor:
        return torch.ones_like(potential)

    def second(potential: torch.Tensor, threshold: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(potential)

    network = mapper.DynapcnnNetwork(Swapped(first, second), SHAPE)
    assert [layer.spk_layer.surrogate_grad_fn for layer in network.core_layers()] == [first, second]


def test_structure_that_is_changed_by_hand_is_changed_everywhere_or_refused() -> None:
    network = made()
    network.dynapcnn_layers[1].conv_layer.padding = (1, 1)
    assert network.network.layers[1].output_shape == (3, 4, 4)
    holds(network)
    with pytest.raises(AttributeError):
        network.discretize = False  # type: ignore[misc]  # what must not go


def test_integers_without_a_bound_stay_as_they_are() -> None:
    network = made()
    before = weights(network.network, 0)
    with torch.no_grad():
        network.dynapcnn_layers[0].weight.copy_(torch.tensor(before // 2).float())
    spk: Any = network.dynapcnn_layers[0].spk_layer
    spk.min_v_mem = None
    assert np.array_equal(weights(network.network, 0), before // 2)
    assert network.network.layers[0].neuron.minimum == -32768
    holds(network)


def test_wrong_input_is_named() -> None:
    network = made()
    for frames in (np.zeros((3, *SHAPE)), torch.zeros(0, *SHAPE), [1, 2]):
        with pytest.raises(NetworkError, match=r"is no tensor of frames|holds no frames"):
            network(frames)
    for layers in (True, 1.0):
        with pytest.raises(OptionsError, match="monitor_layers: names no layers"):
            network.place("speck2f", monitor_layers=layers)  # type: ignore[arg-type]  # as tested
    assert mapper.DynapcnnNetwork(nn.Sequential(), SHAPE, dvs_input=True).device == "cpu"
    average = torch.optim.swa_utils.AveragedModel(network, use_buffers=True)
    network(events())
    average.update_parameters(network)
    module: Any = average.module
    assert np.array_equal(weights(module.network, 0), weights(network.network, 0))


def test_the_command_line_takes_the_class(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "net.py"
    file.write_text(
        "import mapper\nfrom tests.compat.test_one_network import made\n\n\ndef dyn():\n"
        "    network = made()\n    network.dynapcnn_layers[0].spk_layer.spike_threshold = 321\n    return network\n",
        encoding="utf-8",
    )
    assert run(["emit", f"{file}:dyn", "--step-us", "1000", "--out", str(tmp_path / "out")]) == 0
    assert '"threshold_high":321' in (tmp_path / "out" / "config.json").read_text(encoding="utf-8").replace(
        " ", ""
    )
    capsys.readouterr()


def test_states_to_start_from_are_in_the_unit_of_the_rounded_layer() -> None:
    network = made()
    with torch.no_grad():
        network.dynapcnn_layers[0].weight.mul_(0.25)
    spk: Any = network.dynapcnn_layers[0].spk_layer
    spk.initial_v_mem = torch.full((4, 8, 8), 9.0)
    built = network.network.layers[0].neuron.initial_potential
    assert built is not None
    assert int(built.max()) > 9
    assert np.array_equal(network.potentials()[0][0].numpy(), built)
    current = network.place("speck2f", initial_state="current").networks[0].layers[0].neuron
    assert np.array_equal(np.asarray(current.initial_potential), built)


def test_monitors_that_can_be_read_once() -> None:
    network = made()
    once: Any = iter([1])
    config = network.plain_config("speck2f", {0: 2, 1: 5}, monitor_layers=once)
    assert [n for n, core in enumerate(config.hardware.cnn_layers) if core.monitor_enable] == [5]
    with pytest.warns(UserWarning, match="before the pool"):
        shown = network.plain_config("speck2f", {0: 2, 1: 5}, monitor_layers=iter([0]))  # type: ignore[arg-type]  # as above
    assert [n for n, core in enumerate(shown.hardware.cnn_layers) if core.monitor_enable] == [2]


class _Branches(nn.Module):
    """A stem, convolutions that read it, and one that reads them all: too many for nine cores of their own."""

    def __init__(self, count: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem, self.spikes = nn.Conv2d(2, 4, 3, padding=1, bias=False), IAFSqueeze(min_v_mem=-1.0)
        self.branches = nn.ModuleList(nn.Conv2d(4, 4, 3, padding=1, bias=False) for _ in range(count))
        self.neurons = nn.ModuleList(IAFSqueeze(min_v_mem=-1.0) for _ in range(count))
        self.last, self.out = nn.Conv2d(4 * count, 5, 1, bias=False), IAFSqueeze(min_v_mem=-1.0)

    def forward(self, x: Any) -> Any:
        x = self.spikes(self.stem(x))
        return self.out(
            self.last(torch.cat([n(c(x)) for n, c in zip(self.neurons, self.branches, strict=True)], 1))
        )


def test_siblings_share_a_core_only_where_nothing_else_fits_and_that_is_said() -> None:
    few, many = (mapper.DynapcnnNetwork(_Branches(count), (2, 8, 8)) for count in (2, 8))
    assert len(few.place("speck2f").networks[0].layers) == 4
    with pytest.warns(UserWarning, match="layers share a core, and with it one scale"):
        result = many.place("speck2f")
    assert len(result.networks[0].layers) == 3
