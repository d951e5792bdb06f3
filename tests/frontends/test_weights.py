"""Weights of a file: all of them or none, accounted for by name, and the user's module stays as it is."""

from __future__ import annotations

import os
import pickle
import types
from collections import OrderedDict
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import prune, spectral_norm

from mapper.cli.entry import run
from mapper.errors import BackendMissingError, NetworkError, OptionsError
from mapper.frontends import TorchOptions, load_network
from mapper.network import Network
from tests.builders import chain
from tests.builders import conv as conv_layer
from tests.frontends.sinabs_stand_in import IAFSqueeze
from tests.frontends.test_nir import graph

SHAPE = (2, 8, 8)
ZOO = Path(__file__).resolve().parent.parent / "data" / "zoo"
PREFIXES = ("", "module.", "model.", "_orig_mod.", "net.", "network.", "module._orig_mod.", "module.model.")


class Net(nn.Module):
    def __init__(self, features: int = 4) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(2, features, 3), nn.BatchNorm2d(features)
        self.first, self.fc, self.last = nn.ReLU(), nn.Linear(36 * features, 3), nn.ReLU()

    def forward(self, x: Any) -> Any:
        return self.last(self.fc(self.first(self.norm(self.conv(x))).flatten(1)))


def state(seed: int = 1) -> OrderedDict[str, torch.Tensor]:
    """A state dict of `Net` with values of its own in all tensors."""
    torch.manual_seed(seed)
    values = Net().state_dict()
    return OrderedDict(
        (name, torch.rand_like(value) + 0.5 if value.is_floating_point() else value + 7)
        for name, value in values.items()
    )


def loaded(module: nn.Module, values: Any) -> nn.Module:
    module.load_state_dict(values)
    return module


def saved(folder: Path, content: Any, name: str = "weights.pth") -> Path:
    torch.save(content, folder / name)
    return folder / name


def read(module: Any, weights: Path | None = None) -> Network:
    return load_network(module, SHAPE, torch=TorchOptions(relu_as_if=1.0, weights=weights))


def same(left: Network, right: Network) -> bool:
    def numbers(network: Network) -> list[Any]:
        values: list[Any] = []
        for layer in network.layers:
            values += [layer.operation.weight, layer.operation.bias]
            for step in layer.between:
                values += [getattr(step, name) for name in getattr(step, "__slots__", ())]
        return [np.asarray(value) for value in values if isinstance(value, np.ndarray)]

    pairs = list(zip(numbers(left), numbers(right), strict=True))
    assert len(pairs) >= 2
    return all(np.array_equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("wrapper", [None, "state_dict", "model_state_dict", "model"])
def test_a_state_dict_is_read_whatever_stands_around_it(
    prefix: str, wrapper: str | None, tmp_path: Path
) -> None:
    values = {prefix + name: value for name, value in state().items()}
    more = {"epoch": 3, "optimizer": {"state": {0: {"step": torch.ones(1)}}, "param_groups": [{"lr": 0.1}]}}
    path = saved(tmp_path, values if wrapper is None else {wrapper: values, **more})
    module = Net()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    objects = [id(entry) for entry in (*module.parameters(), *module.buffers())]
    memory = [entry.data_ptr() for entry in (*module.parameters(), *module.buffers())]
    network = read(module, path)
    assert same(network, read(loaded(Net(), state())))
    assert not same(network, read(module))
    told = [text for text in map(str, network.readings) if text.startswith("weights")]
    assert len(told) == (prefix != "") + (wrapper is not None)
    assert any(f'prefix "{prefix}"' in text for text in told) == bool(prefix)
    assert any(f'"{wrapper}"' in text and "epoch, optimizer" in text for text in told) == bool(wrapper)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert [id(entry) for entry in (*module.parameters(), *module.buffers())] == objects
    assert [entry.data_ptr() for entry in (*module.parameters(), *module.buffers())] == memory
    # What was read does not live in the module's memory, nor changes when it trains on.
    with torch.no_grad():
        for entry in module.parameters():
            entry.fill_(9.0)
    assert same(network, read(loaded(Net(), state())))


def test_wrapped_modules_take_weights_with_and_without_their_prefix(tmp_path: Path) -> None:
    wanted = read(loaded(Net(), state()))
    plain = saved(tmp_path, state())
    outer = saved(tmp_path, {f"module.{name}": value for name, value in state().items()}, "outer.pth")
    twice = saved(tmp_path, {f"module.module.{name}": value for name, value in state().items()}, "twice.pth")
    for path in (plain, outer, twice):
        assert same(read(nn.DataParallel(Net()), path), wanted)
    # A child of that name is no wrapper: the rest would keep values nobody gave.
    child = nn.Sequential(OrderedDict(module=Net(), more=nn.Linear(3, 2), end=nn.ReLU()))
    with pytest.raises(NetworkError, match=r"lacks .* more\.weight \(2, 3\), more\.bias \(2\)"):
        read(child, plain)


def test_everything_that_differs_is_told_at_once(tmp_path: Path) -> None:
    values = state()
    del values["norm.running_var"], values["fc.bias"]
    values["conv.weight"] = torch.ones(4, 2, 5, 5)
    values |= {"head.weight": torch.ones(2, 3), "fc.weight": torch.ones(3, 144, dtype=torch.complex64)}
    path = saved(tmp_path, {f"module.{name}": value for name, value in values.items()} | {"epoch": 3})
    with pytest.raises(NetworkError) as caught:
        read(Net(), path)
    text = str(caught.value)
    assert text.startswith("4 problems")
    assert "lacks 2 of the 9 tensors of Net: norm.running_var (4), fc.bias (3)" in text
    assert "holds 2 entries that Net has not: module.head.weight (2, 3), epoch int" in text
    assert "another shape: conv.weight (4, 2, 5, 5), in Net (4, 2, 3, 3)" in text
    assert "complex64, in Net float32" in text
    assert str(path) in text


def test_other_types_are_told(tmp_path: Path) -> None:
    values = {n: v.half() if v.is_floating_point() else v for n, v in state().items()}
    network = read(Net(), saved(tmp_path, values))
    assert same(network, read(loaded(Net(), values)))
    (reading,) = [
        entry for entry in network.readings if "weights" in entry.subject or "weights" in entry.taken
    ]
    assert "float16" in reading.taken
    assert "float32" in reading.taken
    assert "conv.weight" in reading.subject


def test_tied_tensors_need_one_value(tmp_path: Path) -> None:
    def tied() -> nn.Sequential:
        first, second = nn.Conv2d(2, 2, 3), nn.Conv2d(2, 2, 3)
        second.weight = first.weight
        return nn.Sequential(first, nn.ReLU(), second, nn.ReLU())

    values = {name: value + 1 for name, value in tied().state_dict().items()}
    assert same(read(tied(), saved(tmp_path, values)), read(loaded(tied(), values)))
    values["2.weight"] = values["2.weight"] + 1
    with pytest.raises(NetworkError, match=r"one tensor of Sequential: 0\.weight, 2\.weight"):
        read(tied(), saved(tmp_path, values))


def pruned() -> nn.Module:
    module = nn.Conv2d(2, 4, 3)
    prune.l1_unstructured(module, "weight", amount=0.5)  # type: ignore[no-untyped-call]
    return nn.Sequential(module, nn.ReLU())


def normed() -> nn.Module:
    return nn.Sequential(spectral_norm(nn.Conv2d(2, 4, 3)), nn.ReLU())


def parametrized() -> nn.Module:
    return nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Conv2d(2, 4, 3)), nn.ReLU())


@pytest.mark.parametrize("make", [pruned, normed, parametrized])
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_derived_weights_follow_the_file(make: Any, tmp_path: Path) -> None:
    """Weights that a hook or parametrisation makes of others: read, and run, with the file's."""
    module, other = make(), make()
    kept = module[0].weight.detach().clone()
    path = saved(tmp_path, other.state_dict())
    network, expected = read(module, path), read(other)
    assert not same(read(module), expected)
    assert same(network, expected)
    assert network.compared_with
    assert torch.equal(module[0].weight, kept)


def test_references_outside_the_module_tree_see_the_weights(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU())
    conv = module[0]
    conv.forward = types.MethodType(type(conv).forward, conv)
    other = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU())
    network = read(module, saved(tmp_path, other.state_dict()))
    assert same(network, read(other))


def test_the_module_is_restored_after_a_refusal(tmp_path: Path) -> None:
    module: Any = nn.Sequential(nn.Conv2d(2, 4, 3), nn.MaxPool2d(2))
    before = module[0].weight.clone()
    other = nn.Sequential(nn.Conv2d(2, 4, 3), nn.MaxPool2d(2))
    with pytest.raises(NetworkError, match="MaxPool2d"):
        read(module, saved(tmp_path, other.state_dict()))
    assert torch.equal(module[0].weight, before)


def test_states_of_a_run_are_no_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = type("StatefulLayer", (IAFSqueeze,), {})
    kind = type("IAFSqueeze", (base,), {"__module__": "sinabs.layers.iaf"})
    ran: Any
    ran, fresh = (nn.Sequential(nn.Conv2d(2, 4, 3), kind()) for _ in range(2))
    ran[1].v_mem = torch.ones(1, 4, 6, 6)
    monkeypatch.setattr(IAFSqueeze, "__module__", "sinabs.layers.iaf")
    network = read(fresh, saved(tmp_path, ran.state_dict()))
    assert np.array_equal(np.asarray(network.layers[0].operation.weight), ran[0].weight.detach().numpy())
    assert any("1.v_mem" in str(reading) for reading in network.readings)
    assert same(read(ran, saved(tmp_path, fresh.state_dict())), read(fresh))


class Code:
    def __reduce__(self) -> Any:
        return os.mkdir, ("executed",)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ([1, 2], "holds a list, not a state dict"),
        ({"lr": 0.1}, "holds no tensors under its keys"),
        ({}, "holds no tensors"),
        ({"model": state(), "state_dict": state()}, "holds several state dicts"),
        (dict(state(), epoch=3), "epoch int"),
        (nn.Linear(2, 2), r"holds code besides tensors \(torch.nn.modules.linear.Linear\)"),
        ({"conv.weight": Code()}, r"holds code besides tensors \(\w+.mkdir\), which is not run.*state_dict"),
        (state()["conv.weight"], "holds a Tensor"),
    ],
)
def test_files_that_are_no_state_dicts(
    content: Any, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NetworkError, match=text):
        read(Net(), saved(tmp_path, content))
    assert not (tmp_path / "executed").exists()


def test_files_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.pth").write_bytes(b"")
    (tmp_path / "pickle.pth").write_bytes(pickle.dumps(Code()))
    (tmp_path / "text.pth").write_text("hello" * 50)
    whole = saved(tmp_path, state()).read_bytes()
    (tmp_path / "half.pth").write_bytes(whole[: len(whole) // 2])
    for name in ("empty.pth", "pickle.pth", "text.pth", "half.pth"):
        with pytest.raises(NetworkError, match=rf"{name}: (cannot be read|there is no such file|holds code)"):
            read(Net(), tmp_path / name)
    with pytest.raises(NetworkError, match="there is no such file"):
        read(Net(), tmp_path / "none.pth")
    with pytest.raises(NetworkError, match="is a folder"):
        read(Net(), tmp_path)
    assert not (tmp_path / "executed").exists()


def test_safetensors(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    path.write_bytes(b"")
    try:
        library = import_module("safetensors.torch")
    except ImportError:
        with pytest.raises(BackendMissingError, match="safetensors, which is not installed"):
            read(Net(), path)
        return
    with pytest.raises(NetworkError, match="cannot be read"):
        read(Net(), path)
    library.save_file(dict(state()), str(path))
    assert same(read(Net(), path), read(loaded(Net(), state())))


def test_weights_go_with_torch_modules_alone(tmp_path: Path) -> None:
    path = saved(tmp_path, state())
    network = chain([conv_layer(4)], SHAPE)
    for source in ("digits", ZOO / "gesture_small.yaml", graph(), network):
        with pytest.raises(OptionsError, match="goes with a torch module"):
            load_network(source, torch=TorchOptions(weights=path))
    with pytest.raises(OptionsError, match="must be the path of a file"):
        TorchOptions(weights=state())  # type: ignore[arg-type]


def test_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = "from torch import nn\ndef make(): return nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU())\n"
    (tmp_path / "net.py").write_text(code)
    module: Any = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU())
    path = saved(tmp_path, module.state_dict())
    words = [f"{tmp_path / 'net.py'}:make", "--input-shape", "2,8,8", "--relu-as-if", "--weights", str(path)]
    assert run(["emit", *words, "--out", str(tmp_path / "one"), "--no-self-test", "--step-us", "1000"]) == 0
    with torch.no_grad():
        module[0].weight.neg_()
    saved(tmp_path, module.state_dict())
    assert run(["emit", *words, "--out", str(tmp_path / "two"), "--no-self-test", "--step-us", "1000"]) == 0
    one, two = ((tmp_path / name / "config.json").read_bytes() for name in ("one", "two"))
    assert one != two
    saved(tmp_path, {"0.weight": module[0].weight})
    assert run(["check", *words]) == 2
    assert "lacks 1 of the 2 tensors of Sequential: 0.bias (4)" in capsys.readouterr().err
