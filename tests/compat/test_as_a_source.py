"""A `DynapcnnNetwork`, and networks that were read, given to what reads networks and configurations."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from torch import nn

import mapper
from mapper import DynapcnnNetwork
from mapper.emit.shared.config import ChipConfig
from mapper.emit.shared.interface import Interface
from mapper.errors import NetworkError, OptionsError

SHAPE = (2, 16, 16)


def numbered() -> DynapcnnNetwork:
    """Layers named 0 and 4, at the indexes 0 and 1, that spike."""
    torso = nn.Conv2d(2, 8, 3, bias=False), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten()
    module = nn.Sequential(*torso, nn.Linear(8 * 49, 10, bias=False), nn.ReLU())
    for weights in module.parameters():
        nn.init.constant_(weights, 0.5)
    return DynapcnnNetwork(module, SHAPE, relu_as_if=1.0)


def meant(config: ChipConfig) -> Interface:
    assert config.interface is not None
    return config.interface


def saying(config: ChipConfig, **changed: object) -> ChipConfig:
    """The configuration with other fields in its interface."""
    return config.model_copy(update={"interface": meant(config).model_copy(update=changed)})


READERS: tuple[Callable[..., object], ...] = (
    lambda source, shape: mapper.load_network(source, input_shape=shape),
    lambda source, shape: mapper.solve(source, input_shape=shape),
    lambda source, shape: mapper.verify_equivalence(source, input_shape=shape),
    DynapcnnNetwork,
)


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("kind", ["module", "normal", "network"])
def test_what_was_read_refuses_another_shape(read: Callable[..., object], kind: str) -> None:
    network, digits = numbered(), mapper.load_network("digits")
    source = {"module": network, "normal": network.network, "network": digits}[kind]
    with pytest.raises(
        OptionsError,
        match=r"states another input shape than input_shape \(got 1x24x24; .*Leave input_shape out",
    ):
        read(source, (1, 24, 24))
    read(source, (1, 8, 8) if kind == "network" else SHAPE)


def test_what_was_said_while_reading_is_no_difference() -> None:
    """The same weights, loaded anew: a reading says so, and the chip is written the same."""
    network, other = (
        DynapcnnNetwork(nn.Sequential(nn.Conv2d(2, 8, 3, bias=False), nn.ReLU()), SHAPE, relu_as_if=1.0)
        for _ in range(2)
    )
    left = network.plain_config("speck2f")
    other.load_state_dict(network.state_dict())
    right = other.plain_config("speck2f")
    assert meant(left).readings != meant(right).readings
    assert mapper.diff(left, right) == ()
    assert mapper.diff(left, saying(right, notes=("a note",))) == ()


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        (("a" * 90 + "b", "a" * 90 + "c"), ("..." + "a" * 20 + "b", "..." + "a" * 20 + "c")),
        (("b" + "a" * 90, "c"), ("b" + "a" * 59 + "...", "c")),
        (("a" * 45 + "b" * 80, "a" * 45), ("..." + "a" * 20 + "b" * 40 + "...", "a" * 45)),
    ],
)
def test_long_values_are_shown_where_they_differ(names: tuple[str, str], shown: tuple[str, str]) -> None:
    config = numbered().plain_config("speck2f")
    left, right = (saying(config, network=name) for name in names)
    (difference,) = mapper.diff(left, right)
    assert (difference.left, difference.right) == shown


@pytest.mark.parametrize(
    "ask",
    [
        lambda network: network.find_chip_layer(4),
        lambda network: network.find_chip_layers("#4"),
        lambda network: network.plain_config("speck2f", monitor_layers=[0, 4]),
        lambda network: network.plain_config("speck2f", layer2core_map={0: 0, 4: 1}),
    ],
)
def test_an_index_that_is_a_layers_number_is_shown_the_name(ask: Callable[[DynapcnnNetwork], object]) -> None:
    network = numbered()
    network.plain_config("speck2f")
    with pytest.raises(OptionsError, match=r'out of range .*\. Write "4 \(Linear\)" for the name'):
        ask(network)
    assert network.find_chip_layer("4 (Linear)") == network.find_chip_layer(1)


@pytest.mark.parametrize("layers", ["dynapcnn_layers", "all_layers"])
def test_layers_by_index_say_which_there_are(layers: str) -> None:
    found = getattr(numbered(), layers)
    assert list(found) == [0, 1]
    with pytest.raises(KeyError, match=r"no layer 4 by index; there are 0: 0 \(Conv2d\), 1: 4 \(Linear\)"):
        found[4]


@pytest.mark.parametrize(
    ("ask", "told"),
    [
        (mapper.extract, "Give network.plain_config(device), of this DynapcnnNetwork"),
        (lambda network: mapper.diff(network, network), "Give network.plain_config(device), of this"),
        (mapper.build_config, "Give network.place(device), of this DynapcnnNetwork"),
    ],
)
def test_in_anothers_place_it_is_told_what_of_it_to_give(ask: Callable[..., object], told: str) -> None:
    with pytest.raises(OptionsError, match=re.escape(told)):
        ask(numbered())


def test_a_module_in_the_place_of_a_configuration_is_told_how_one_is_made() -> None:
    told = "Give mapper.build_config(mapper.solve(module, input_shape=(features, height, width)))"
    with pytest.raises(OptionsError, match=re.escape(told)):
        mapper.extract(nn.Sequential())  # type: ignore[arg-type]  # what is tested


@pytest.mark.parametrize("read", [mapper.load_network, lambda state: DynapcnnNetwork(state, SHAPE)])
def test_a_state_dict_in_the_place_of_its_module_is_told_so(read: Callable[[object], object]) -> None:
    state = nn.Conv2d(2, 8, 3).state_dict()
    for given in (state, {"epoch": 3, "state_dict": state}):
        with pytest.raises(NetworkError, match=r"holds weights.*after module\.load_state_dict\(weights\)"):
            read(given)
    with pytest.raises(NetworkError) as caught:
        read({"epoch": 3})
    assert "weights" not in str(caught.value)


def test_a_number_in_quotes_is_shown_without() -> None:
    with pytest.raises(OptionsError, match='Write 5, not "5"'):
        mapper.solve("digits", pins={"conv": "5"})  # type: ignore[dict-item]  # what is tested
    with pytest.raises(OptionsError, match="NAME") as caught:
        mapper.solve("digits", pins={"conv": "five"})  # type: ignore[dict-item]
    assert "Write" not in str(caught.value)


def test_a_lower_bound_that_no_core_has_is_named_as_it_was_written() -> None:
    """Half the weights are doubled for the chip, and the bound with them: the message has the user's."""
    network = numbered()
    network.dynapcnn_layers[0].conv_layer.weight.data *= 0.5
    network.dynapcnn_layers[0].spk_layer.min_v_mem.fill_(5)
    with pytest.raises(
        NetworkError, match=r"0 \(Conv2d\): lower bound above 0 \(got 5(\.0)?; allowed: <= 0\)"
    ):
        network.plain_config("speck2f")


@pytest.mark.parametrize(
    ("name", "meant"),
    [("threshold", "spike_threshold"), ("v_threshold", "spike_threshold"), ("min_vmem", "min_v_mem")],
)
def test_a_number_of_neurons_that_is_set_under_another_name_is_refused(name: str, meant: str) -> None:
    neurons = numbered().dynapcnn_layers[0].spk_layer
    with pytest.raises(AttributeError, match=f"has no {name}. Did you mean {meant}"):
        setattr(neurons, name, 3)
    neurons.hook_of_a_tool = 3  # tools keep something of theirs here
    neurons.spike_threshold = 200  # type: ignore[assignment]  # becomes a tensor
    assert float(neurons.spike_threshold) == 200
