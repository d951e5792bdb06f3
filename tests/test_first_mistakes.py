"""First mistakes in Python: what is meant is said, and what was right goes on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
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
    config = mapper.build_config(mapper.solve("digits"))
    assert 'mapper.build_config(mapper.solve("digits"))' in said(lambda: mapper.write_config("x", "y"))  # type: ignore[arg-type]
    assert said(lambda: mapper.solve("digits", plain=True)).startswith(
        "unknown keyword: plain (did you mean **mapper.options.PLAIN?)"
    )
    assert mapper.solve("digits", **mapper.options.PLAIN).solution is not None
    assert "(did you mean data?)" in said(lambda: mapper.verify_equivalence("digits", dat=3))
    assert "torch=TorchOptions(relu_as_if=...)" in said(lambda: mapper.solve("digits", relu_as_if=1))
    assert 'Did you mean "depth"?' in said(lambda: mapper.EventOptions(order="dept"))  # type: ignore[arg-type]
    assert "(did you mean dt_us?)" in said(lambda: mapper.EmitOptions(dt=1))  # type: ignore[call-arg]
    assert 'Give {"NAME": ...}' in said(lambda: mapper.simulate_config(config, np.zeros((1, 1, 8, 8))))  # type: ignore[arg-type]
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
