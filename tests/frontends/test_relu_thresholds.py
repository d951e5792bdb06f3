"""`--relu-as-if auto`: thresholds from samples, so that rates are the values that a ReLU gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import mapper
from mapper.cli.entry import run
from mapper.equivalence import labelled_data
from mapper.errors import NetworkError, OptionsError
from mapper.frontends import TorchOptions
from mapper.passes import PrepareOptions, prepare
from mapper.sim.network import simulate

STEPS = 400


def samples(count: int = 20) -> Any:
    images = np.random.default_rng(0).random((count, 1, 6, 6))
    return labelled_data([(image, n % 3) for n, image in enumerate(images)], (1, 6, 6))


class Skipping(nn.Module):
    """Two ReLUs that add up, and an output without any."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.first = nn.Conv2d(1, 4, 3, padding=1, bias=False)
        self.second = nn.Conv2d(4, 4, 3, padding=1, bias=False)
        self.last = nn.Linear(4 * 9, 3, bias=False)
        self.pool = nn.AvgPool2d(2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        one = torch.relu(self.first(x))
        two = torch.relu(self.second(one))
        found: torch.Tensor = self.last(self.pool(one + two).flatten(1))
        return found


def test_rates_are_the_values_of_the_module() -> None:
    module, data = Skipping().eval(), samples()
    network = mapper.load_network(module, (1, 6, 6), torch=TorchOptions(relu_as_if="auto", calibrate=data))
    thresholds: dict[str, Any] = {
        layer.name: layer.neuron.threshold for layer in network.layers if layer.neuron
    }
    assert set(thresholds) == set(network.by_name)
    # What adds up counts alike, so that one kernel reads both.
    assert thresholds["first"] == thresholds["second"]
    assert all(layer.neuron is None or layer.neuron.minimum is None for layer in network.layers)
    ready = prepare(network, PrepareOptions(quantize=False))
    assert ready.by_name["last"].input_shape.features == 4
    frame = data.frame(3)
    expected = module(torch.tensor(frame, dtype=torch.float32)[None])[0].detach().numpy()
    whole = np.arange(1, STEPS + 1).reshape(-1, 1, 1, 1)
    raster = np.floor(whole * frame) - np.floor((whole - 1) * frame)
    spikes = simulate(ready, {ready.inputs[0].name: raster.astype(int)}).spikes["last"]
    rates = spikes.sum(0).ravel() / STEPS * thresholds["last"]
    assert np.abs(rates - np.maximum(expected, 0)).max() < 0.05 * thresholds["last"]
    assert rates.max() > 0.3 * thresholds["last"]
    assert any("of thresholds first" in entry.taken for entry in network.readings)
    assert not any("ReLU taken" in entry.taken for entry in network.readings)


def test_thresholds_are_the_largest_values_but_for_one_sample_in_a_hundred() -> None:
    module = nn.Sequential(
        nn.Conv2d(1, 1, 1, bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(36, 2, bias=False), nn.ReLU()
    )
    with torch.no_grad():
        module[0].weight.fill_(2.0)  # type: ignore[operator]  # a tensor
        module[3].weight.fill_(0.5)  # type: ignore[operator]
    images = np.zeros((101, 1, 6, 6))
    images[:, 0, 0, 0] = np.arange(101) / 100
    data = labelled_data([(image, 0) for image in images], (1, 6, 6))
    network = mapper.load_network(module.eval(), (1, 6, 6), torch=TorchOptions("auto", calibrate=data))
    first, last = (layer.neuron for layer in network.layers)
    assert first is not None
    assert last is not None
    # A data set's images enter as the mean of 50 steps: 0.99 has 49 spikes.
    assert first.threshold == pytest.approx(2 * 0.98)
    assert last.threshold == pytest.approx(0.98)


def test_what_has_no_thresholds_is_refused() -> None:
    silent = nn.Sequential(nn.Conv2d(1, 2, 1, bias=False), nn.ReLU())
    with torch.no_grad():
        silent[0].weight.fill_(-1.0)  # type: ignore[operator]
    with pytest.raises(NetworkError, match="gives nothing above 0 on these samples"):
        mapper.load_network(silent.eval(), (1, 6, 6), torch=TorchOptions("auto", calibrate=samples()))
    with pytest.raises(NetworkError, match="another shape than the network's input"):
        mapper.load_network(silent.eval(), (1, 8, 8), torch=TorchOptions("auto", calibrate=samples()))
    with pytest.raises(OptionsError, match="goes with samples"):
        TorchOptions("auto")
    with pytest.raises(OptionsError, match="goes with samples"):
        TorchOptions(1.0, calibrate=samples())


def test_auto_on_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text(
        "from torch import nn\n"
        "net = nn.Sequential(nn.Conv2d(1, 2, 3, bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(32, 3), nn.ReLU())\n"
    )
    data = samples()
    np.savez("data.npz", images=np.stack([data.frame(n) for n in range(20)]), labels=data.labels)
    words = ["solve", "net.py:net", "--input-shape", "1,6,6"]
    assert run([*words, "--relu-as-if", "auto", "--calibrate", "data.npz"]) == 0
    assert "neurons without lower bound, of thresholds 0 (Conv2d) " in " ".join(
        capsys.readouterr().out.split()
    )
    assert run([*words, "--relu-as-if"]) == 0
    assert "threshold 1, lower bound -1" in " ".join(capsys.readouterr().out.split())
    for wrong, said in (
        (["--relu-as-if", "auto"], "goes with samples"),
        (["--relu-as-if", "2", "--calibrate", "data.npz"], "goes with samples"),
        (["--relu-as-if=soon"], "wants a threshold, or auto"),
        (["--relu-as-if", "auto", "--calibrate", "none.npz"], "none.npz"),
    ):
        assert run([*words, *wrong]) == 2
        assert said in capsys.readouterr().err
    command = ["report", "net.py:net", "--chip", "speck2f", "--input-shape", "1,6,6", "--out", "out"]
    assert run([*command, "--relu-as-if", "auto", "--calibrate", "data.npz"]) == 0
    assert "1 network on 1 chip: 1 plain" in capsys.readouterr().out
