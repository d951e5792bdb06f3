"""First mistakes in Python: what is meant is said, and what was right goes on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import mapper
from tests.test_wrong_arguments import refusal, tiny


@pytest.fixture(autouse=True)
def _same_weights() -> None:
    """Else biases round to zero now and then, which a warning says."""
    torch.manual_seed(0)


def said(call: Callable[[], object]) -> str:
    """What somebody reads who calls so."""
    return str(refusal(call))


def test_a_way_out_is_named_and_works() -> None:
    assert 'mapper.solve("digits") gives one' in said(lambda: mapper.build_config("digits"))  # type: ignore[arg-type]
    assert 'mapper.build_config(mapper.solve("digits"))' in said(lambda: mapper.write_config("x", "y"))  # type: ignore[arg-type]
    assert said(lambda: mapper.solve("digits", plain=True)).startswith(
        "unknown keyword: plain (did you mean **mapper.options.PLAIN?)"
    )
    assert mapper.solve("digits", **mapper.options.PLAIN).solution is not None
    assert "(did you mean data?)" in said(lambda: mapper.verify_equivalence("digits", dat=3))
    assert "torch=TorchOptions(relu_as_if=...)" in said(lambda: mapper.solve("digits", relu_as_if=1))
    assert 'Did you mean "depth"?' in said(lambda: mapper.EventOptions(order="dept"))  # type: ignore[arg-type]
    assert "(did you mean dt_us? dt is of mapper.NirOptions)" in said(lambda: mapper.EmitOptions(dt=1))  # type: ignore[call-arg]
    assert 'Did you mean "digits"?' in said(lambda: mapper.load_network("digit"))


@pytest.mark.parametrize("options", [None, mapper.TorchOptions(1.0), mapper.TorchOptions(weights="w.pth")])
def test_weights_in_the_place_of_a_network(
    options: mapper.TorchOptions | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    module = nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU())
    torch.save(module.state_dict(), "w.pth")
    told = said(lambda: mapper.solve("w.pth", "speck2f", input_shape=(2, 6, 6), torch=options))
    assert told.startswith("w.pth: is a file of weights, and no network")
    assert told.endswith('net.py:Net, with torch=TorchOptions(weights="w.pth")')
    Path("net.py").write_text(
        "from torch import nn\n\ndef Net():\n    return nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU())\n",
        encoding="utf-8",
    )
    followed = mapper.TorchOptions(relu_as_if=1.0, weights="w.pth")
    assert mapper.solve("net.py:Net", input_shape=(2, 6, 6), torch=followed).solution is not None


def test_what_was_right_goes_on() -> None:
    """Numbers of NumPy and torch, whole floats, lists for tuples, paths for text, and one change alone."""
    assert repr(mapper.EventOptions(spike_limit=1e6).spike_limit) == "1000000"  # type: ignore[arg-type]
    assert mapper.verify_equivalence(tiny(), steps=2, dt_us=1e3).dt_us == 1000  # type: ignore[arg-type]
    assert mapper.solve(tiny(), pins=[("a", 2)]).find_chip_layer("a") == 2
    size = np.int64(2)
    layer = mapper.Layer("a", mapper.Shape(2, 6, 6), mapper.Convolution(size, [3, 3]))  # type: ignore[arg-type]
    assert layer.output_shape == (2, 4, 4)
    assert mapper.TorchOptions(np.float32(2)).relu_as_if == 2  # type: ignore[arg-type]
    assert mapper.load_chip("speck2f", "-core[8]").core_count == 8
    module = nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU())
    shapes = ([2, 6, 6], np.array([2, 6, 6]), torch.Size([2, 6, 6]), (np.int64(2), 6, 6))
    networks = [mapper.load_network(module, shape, torch=mapper.TorchOptions(1)) for shape in shapes]  # type: ignore[arg-type]
    assert {network.inputs[0].shape for network in networks} == {(2, 6, 6)}
    assert mapper.EventOptions(fires_on_tick=np.True_, record=["a"], seed=np.uint8(3)).seed == 3  # type: ignore[arg-type]
    options = mapper.SolveOptions(pins={"a": 3})  # type: ignore[arg-type]
    assert mapper.solve(tiny(), Path("speck2f"), options=options).find_chip_layer("a") == 3
    assert mapper.verify_equivalence(tiny(), options=mapper.SolveOptions(workers=1), steps=2).is_equivalent


def test_whole_numbers_are_counts_too() -> None:
    module = nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU())
    network = mapper.DynapcnnNetwork(module, (2, 6, 6), relu_as_if=1.0)
    frames = torch.randint(0, 3, (4, 2, 6, 6))
    counts = network(frames)
    network.reset_states()
    assert torch.equal(counts, network(frames.float()))
    with pytest.raises(mapper.NetworkError, match="must be spike counts"):
        network(frames.to(torch.complex64))


def test_a_checkpoint_of_the_module_is_loaded_as_far_as_it_goes() -> None:
    module = nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Conv2d(3, 2, 3), nn.ReLU())
    network = mapper.DynapcnnNetwork(module, (2, 6, 6), relu_as_if=1.0)
    twice = {key: 2 * value for key, value in module.state_dict().items()}
    part = {key: value for key, value in twice.items() if key != "2.weight"} | {"other": torch.ones(1)}
    told = network.load_state_dict(part, strict=False)
    assert (told.missing_keys, told.unexpected_keys) == (["2.weight"], ["other"])
    module.load_state_dict(part, strict=False)
    now = mapper.DynapcnnNetwork(module, (2, 6, 6), relu_as_if=1.0).state_dict()
    assert all(torch.equal(value, now[key]) for key, value in network.state_dict().items())
    with pytest.raises(RuntimeError, match=r"2\.weight"):
        network.load_state_dict(part)


@pytest.mark.parametrize("name", ["layer2core_map", "chip_layers_ordering"])
@pytest.mark.parametrize("ordering", [{"b": 1}, {0: 99}, [1, 2], 3, "first"])
def test_an_ordering_is_called_as_it_was_given(name: str, ordering: Any) -> None:
    network = mapper.DynapcnnNetwork(tiny())
    for call in (network.place, network.plain_config, network.make_config):
        text = said(partial(call, device="speck2f", **{name: ordering}))
        assert text.startswith(name), text


def test_a_shape_that_seems_to_have_its_channels_last_is_told() -> None:
    module = nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU())
    text = r"input_shape=\(16, 16, 2\): features come first; channels last would be \(2, 16, 16\)"
    with pytest.warns(mapper.errors.MapperWarning, match=text), pytest.raises(mapper.NetworkError):
        mapper.load_network(module, (16, 16, 2), torch=mapper.TorchOptions(1.0))
    with pytest.warns(mapper.errors.MapperWarning, match=text), pytest.raises(mapper.NetworkError):
        mapper.DynapcnnNetwork(module, (16, 16, 2), relu_as_if=1.0)


def test_names_that_are_numbers_say_what_they_name() -> None:
    layers = [nn.Conv2d(2, 3, 3), nn.ReLU(), nn.AvgPool2d(2), nn.Conv2d(3, 2, 3), nn.ReLU()]
    network = mapper.DynapcnnNetwork(nn.Sequential(*layers), (2, 12, 12), relu_as_if=1.0)
    with pytest.warns(UserWarning, match=r"the chip shows 0 \(Conv2d\) as they are before the pool"):
        network.plain_config(monitor_layers=[0])
    several = mapper.solve([network, network])
    assert {str(reading).partition(" (")[0] for reading in several.readings} == {
        "Sequential: layer 0", "Sequential-2: layer 0",
    }  # fmt: skip
    with pytest.raises(mapper.NetworkError, match='edge "0" -> "5": no layer has this target'):
        replace(tiny(), edges=(mapper.Edge("0", "5"),))


def test_a_warning_shows_the_line_of_whoever_called() -> None:
    with pytest.warns(mapper.errors.MapperWarning, match="NO SPIKES") as told:
        mapper.verify_equivalence("digits", rate=0.0001, steps=1)
    network = mapper.DynapcnnNetwork(tiny(), discretize=False)
    with pytest.warns(UserWarning, match="discretize is False") as floats:
        network.plain_config()
    assert {entry.filename for entry in (*told, *floats)} == {__file__}


def layers(*entries: nn.Module, shape: tuple[int, int, int] = (2, 12, 12)) -> Callable[[], object]:
    return lambda: mapper.load_network(nn.Sequential(*entries), shape, torch=mapper.TorchOptions(1.0))


RELU, FLATTEN = nn.ReLU(), nn.Flatten()


@pytest.mark.parametrize(
    ("wrong", "told", "mended"),
    [
        (
            (nn.Conv2d(2, 8, 3), RELU, nn.Conv2d(4, 6, 3), RELU),
            "layer 2 (Conv2d): takes 4 features, and gets 8, of a map of 8x10x10. "
            "Write Conv2d(8, 6, 3), or let what is before it give 4",
            (nn.Conv2d(2, 8, 3), RELU, nn.Conv2d(8, 6, 3), RELU),
        ),
        (
            (nn.Conv2d(8, 8, (3, 5), padding=1), RELU),
            "takes 8 features, and gets 2, of a map of 2x12x12. "
            "Give input_shape=(8, 12, 12), or write Conv2d(2, 8, (3, 5), ...)",
            (nn.Conv2d(2, 8, (3, 5), padding=1), RELU),
        ),
        (
            (FLATTEN, nn.Linear(99, 10), RELU),
            "layer 1 (Linear): takes 99 values, and gets 288. Write Linear(288, 10)",
            (FLATTEN, nn.Linear(288, 10), RELU),
        ),
        (
            (nn.Linear(99, 10), RELU),
            "takes 99 values in a row, and gets a map of 2x12x12, which has 288. "
            "Put nn.Flatten() before it and write Linear(288, 10)",
            (FLATTEN, nn.Linear(288, 10), RELU),
        ),
        (
            (nn.Linear(288, 10), RELU),
            "Put nn.Flatten() before it",
            (FLATTEN, nn.Linear(288, 10), RELU),
        ),
        (
            (nn.Conv2d(2, 8, 3), nn.BatchNorm2d(4), RELU),
            "layer 1 (BatchNorm2d): takes 4 features, and gets 8x10x10. Write BatchNorm2d(8)",
            (nn.Conv2d(2, 8, 3), nn.BatchNorm2d(8), RELU),
        ),
    ],
)
def test_a_layer_that_does_not_fit_is_told_what_it_takes_and_gets_and_which_change_mends_it(
    wrong: tuple[nn.Module, ...], told: str, mended: tuple[nn.Module, ...]
) -> None:
    assert told in said(layers(*wrong))
    assert said(layers(*mended)) == "None"


def test_groups_that_cannot_divide_what_arrives_are_not_proposed() -> None:
    text = said(layers(nn.Conv2d(4, 8, 3, groups=4), RELU))
    assert text.endswith("Give input_shape=(4, 12, 12)")
    assert said(layers(nn.Conv2d(4, 8, 3, groups=4), RELU, shape=(4, 12, 12))) == "None"
    with pytest.warns(UserWarning, match="features come first"):
        text = said(layers(nn.Conv2d(2, 8, 3), RELU, shape=(12, 13, 2)))
    assert "Give input_shape=(2, 12, 13), features first" in text


def test_the_shape_of_a_batch_is_told_to_leave_the_batch_out() -> None:
    module, options = nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU()), mapper.TorchOptions(1.0)
    batch = torch.ones(4, 2, 12, 12)
    one = "Leave the batch out: input_shape=(2, 12, 12), which is tuple(x.shape[1:])"
    two = "Leave batch and time out: input_shape=(2, 12, 12), which is tuple(x.shape[2:])"
    for given, step in (
        (batch.shape, one), ([4, 2, 12, 12], one), (np.array(batch.shape), one), (batch, one),
        (batch[None].shape, two), (batch[0], "Give its shape: input_shape=(2, 12, 12)"),
    ):  # fmt: skip
        shape: Any = given
        for call in (
            lambda: mapper.load_network(module, shape, torch=options),  # noqa: B023
            lambda: mapper.solve(module, input_shape=shape, torch=options),  # noqa: B023
            lambda: mapper.DynapcnnNetwork(module, shape, relu_as_if=1.0),  # noqa: B023
        ):
            assert said(call).endswith(step)
    assert "got (4, 2, 12, 12)" in said(lambda: mapper.load_network(module, batch.shape))  # type: ignore[arg-type]
    several: Any = (4, 2, 12, 12)
    assert said(lambda: mapper.Input("a", several)).endswith(
        "Leave the batch out: mapper.Shape(2, 12, 12), which is tuple(x.shape[1:])"
    )
    assert said(lambda: mapper.Input("a", several[1:])).endswith("Write mapper.Shape(2, 12, 12)")
    for no_shape in ((12, 12), "2x12x12", 3, (1.5, 2, 3, 4)):
        wrong: Any = no_shape
        assert "Leave" not in said(lambda: mapper.load_network(module, wrong))  # noqa: B023


def test_a_keyword_is_told_where_it_belongs() -> None:
    network = mapper.DynapcnnNetwork(tiny())
    result = mapper.solve(tiny())
    calls: tuple[tuple[Any, str, str], ...] = (
        (mapper.TorchOptions, "add_output_neuron", "(it is of mapper.DynapcnnNetwork, mapper.solve and "),
        (partial(mapper.load_network, "digits"), "add_output_neuron", "mapper.solve and "),
        (partial(mapper.build_config, result), "steps", "(it is of mapper.verify_equivalence, "),
        (
            network.plain_config,
            "config_modifier",
            "(it is of DynapcnnNetwork.make_config, DynapcnnNetwork.to and mapper.boards.",
        ),
        (network.to, "pins", "mapper.solve and "),
        (partial(mapper.build_config, result), "sensor", "(did you mean options=EmitOptions(sensor=...)?)"),
        (mapper.EmitOptions, "tick_us", "tick_us is of mapper.EventOptions)"),
        (partial(mapper.Shape, 1, 2), "widht", "(did you mean width?)"),
        (result.find_chip_layer, "layr", "(did you mean layer?)"),
        (result.find_chip_layers, "layr", "(did you mean layer?)"),
    )
    for call, word, told in calls:
        text = said(partial(call, **{word: 1}))
        assert text.startswith(f"unknown keyword: {word} ")
        assert told in text
    assert mapper.Shape(features=1, height=2, width=3) == (1, 2, 3)
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'width'"):
        mapper.Shape(1, 2)  # type: ignore[call-arg]


def test_what_is_given_in_the_place_of_another_is_told_what_to_do_with_it(tmp_path: Path) -> None:
    module: Any = nn.Conv2d(2, 3, 3)
    network = tiny()
    result: Any = mapper.solve(network)
    config: Any = mapper.build_config(result)
    # A path is named whole, however long.
    folder = tmp_path / ("long" * 20)
    folder.mkdir()
    mapper.write_config(config, folder / "config.json")
    file: Any = str(folder / "config.json")
    made = "Give mapper.build_config(result), of this Result"
    wrong: tuple[tuple[Callable[[], object], str], ...] = (
        (lambda: mapper.write_config(result, tmp_path / "x.json"), made),
        (lambda: mapper.extract(result), made),
        (lambda: mapper.diff(config, result), made),
        (lambda: mapper.diff(result, config), made),
        (lambda: mapper.simulate_config(result, {}), made),
        (lambda: mapper.extract(network), "Give mapper.build_config(mapper.solve(network)), of this Network"),  # type: ignore[arg-type]
        (lambda: mapper.extract(file), f'Give mapper.read_config("{file}")'),
        (lambda: mapper.build_config(network), "Give mapper.solve(network), of this Network"),  # type: ignore[arg-type]
        (lambda: mapper.build_config(module), "Give mapper.solve(module, input_shape=(features, height, width))"),
        (lambda: mapper.build_config(config), "configuration already: mapper.write_config(config, path) writes it"),
    )  # fmt: skip
    for call, step in wrong:
        assert step in said(call)
    assert mapper.extract(mapper.build_config(mapper.solve(network))) == mapper.extract(
        mapper.read_config(file)
    )


@pytest.mark.parametrize(
    "half", [Fraction(1, 2), Decimal("0.5"), np.array(0.5), np.float16(0.5), np.longdouble(0.5), torch.tensor(0.5)]
)  # fmt: skip
def test_one_number_of_every_library_is_one(half: Any) -> None:
    module = nn.Sequential(nn.Conv2d(2, 3, 3, bias=False), nn.ReLU())
    assert repr(mapper.TorchOptions(half).relu_as_if) == "0.5"
    network = mapper.DynapcnnNetwork(module, (2, 6, 6), False, False, relu_as_if=half)
    assert network.network.layers[0].neuron.threshold == 0.5
    assert repr(mapper.NirOptions(dt=half).dt) == "0.5"
    assert repr(mapper.SolveOptions(time_limit_s=half).time_limit_s) == "0.5"
    assert mapper.solve(tiny(), time_limit_s=half * 40, add_output_neuron=half).solution is not None
    bare = mapper.DynapcnnNetwork(module[:1], (2, 6, 6), False, False, add_output_neuron=half)
    assert bare.network.layers[0].neuron.threshold == 0.5


@pytest.mark.parametrize("value", [0, -1, Decimal("NaN"), Decimal("Infinity"), Fraction(-1, 3), 10**400, True, "1", np.ones(1)])  # fmt: skip
def test_what_is_no_threshold_is_refused(value: Any) -> None:
    told = said(lambda: mapper.TorchOptions(value))
    assert told.startswith("relu_as_if: ")
    assert "must be a" in told
    assert len(told) < 200
