"""What rounding takes away is found, told with a value and a limit, and the way out that is told works."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import mapper
from mapper.cli.entry import run
from mapper.errors import MapperWarning, NetworkError
from mapper.network import Network
from mapper.operations import Neuron
from mapper.passes import prepare
from mapper.passes.rounding import RoundingLoss, rounding_losses
from tests.builders import chain, conv

Capture = pytest.CaptureFixture[str]


def one_layer(weight: Any, bias: Any = None, threshold: float = 1.0, minimum: float | None = -1.0) -> Network:
    network = chain([conv(len(weight))], (2, 8, 8))
    (layer,) = network.layers
    operation = replace(
        layer.operation, weight=np.asarray(weight, np.float32), bias=bias, has_bias=bias is not None
    )
    neuron = Neuron(threshold=threshold, minimum=minimum)
    return network.replacing(layers=(replace(layer, operation=operation, neuron=neuron),))


def small_weights() -> Any:
    return np.random.default_rng(0).uniform(0.01, 0.03, (4, 2, 3, 3)).astype(np.float32)


def losses(network: Network) -> dict[str, RoundingLoss]:
    return {loss.kind: loss for loss in rounding_losses((prepare(network),))}


def test_one_outlier_kills_features() -> None:
    weight = small_weights()
    weight[0, 0, 0, 0] = 8.0
    found = losses(one_layer(weight))
    dead = found["features"]
    # The scale is 127/8: up to half of 8/127 is zero, and 0.03 is less.
    assert dead.limit == pytest.approx(4 / 127)
    assert (dead.features, dead.of) == ((1, 2, 3), 4)
    assert dead.value == pytest.approx(float(weight[1:].max()))
    outlier = found["outlier"]
    assert (outlier.features, outlier.value) == ((0,), 8.0)
    assert "71 of 72 weights round to zero" in str(outlier)
    clip = float(re.findall(r"\+-([\d.e-]+)", str(outlier))[0])
    assert clip == pytest.approx(float(np.sort(weight.ravel())[-2]), rel=0.01)
    # The way out works: nothing is lost then.
    assert not losses(one_layer(np.clip(weight, -clip, clip)))


def test_layers_without_a_loss() -> None:
    assert not losses(one_layer(small_weights()))
    # What was zero before is not lost.
    weight = small_weights()
    weight[2] = 0
    assert not losses(one_layer(weight, np.array([0.01, 0.0, 0.0, 0.02])))
    # Twice as large as the next one is no outlier.
    weight[0, 0, 0, 0] = 2 * weight.max()
    assert not losses(one_layer(weight))
    assert not rounding_losses(mapper.solve("digits").given)


def test_biases_that_vanish() -> None:
    found = losses(one_layer(np.ones((4, 2, 3, 3)), np.array([0.001, -0.002, 0.003, 0.0])))
    assert [*found] == ["biases"]
    biases = found["biases"]
    assert (biases.features, biases.of, biases.value) == ((0, 1, 2), 4, 0.003)
    assert biases.limit == pytest.approx(0.5 / 127)
    assert "alone a spike in 334 steps" in str(biases)
    (most,) = re.findall(r"weights of up to 1 \(at most ([\d.e-]+)", str(biases))
    assert not losses(
        one_layer(np.full((4, 2, 3, 3), float(most) * 0.999), np.array([0.001, -0.002, 0.003, 0.0]))
    )


def test_a_threshold_takes_the_scale() -> None:
    weight = small_weights()
    weight[1] *= 0.1
    found = losses(one_layer(weight, threshold=300.0, minimum=None))
    assert found["features"].features == (1,)
    (most,) = re.findall(r"threshold of up to 300 \(at most ([\d.e+]+)", str(found["features"]))
    assert not losses(one_layer(weight, threshold=float(most) * 0.999, minimum=None))


@pytest.mark.parametrize(
    ("words", "what"),
    [({"threshold": 1e4, "minimum": None}, "threshold"), ({"bias": np.array([50.0, -50, 0, 0])}, "biases")],
)
def test_a_layer_that_would_be_zero_says_what_takes_the_scale(words: dict[str, Any], what: str) -> None:
    with pytest.raises(NetworkError, match="all weights would round to zero") as caught:
        prepare(one_layer(small_weights(), **words))
    (most,) = re.findall(rf"{what} of up to \S+ \(at most ([\d.e+]+)", str(caught.value))
    limit = float(most) * 0.99
    words = {
        name: np.clip(value, -limit, limit) if value is not None else None for name, value in words.items()
    }
    prepare(one_layer(small_weights(), **words))


def test_commands_say_it(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "made.py").write_text(
        "import torch\nfrom torch import nn\n"
        "def net():\n"
        "    layer = nn.Conv2d(2, 4, 3, bias=False)\n"
        "    layer.weight.data.fill_(0.02)\n"
        "    layer.weight.data[0, 0, 0, 0] = 8.0\n"
        "    return nn.Sequential(layer, nn.ReLU())\n"
    )
    words = [f"{tmp_path}/made.py:net", "--input-shape", "2,8,8", "--relu-as-if", "1"]
    sentence = "layer 0 (Conv2d): all weights of 3 features of 4 round to zero: 1, 2, 3 (largest 0.02; up to 0.0315 is zero)"
    for command, more in (
        ("solve", []),
        ("emit", ["--out", str(tmp_path / "out")]),
        ("verify", ["--random", "0.5"]),
    ):
        run([command, *words, *more])
        assert sentence in " ".join(capsys.readouterr().out.split())
        run([command, *words, *more, "--json"])
        first, second = json.loads(capsys.readouterr().out)["rounding"]
        assert (first["kind"], first["layer"], first["features"], first["of"]) == (
            "features",
            "0",
            [1, 2, 3],
            4,
        )
        assert (second["kind"], second["value"]) == ("outlier", 8.0)


def test_the_class_of_sinabs_says_it() -> None:
    layer = torch.nn.Conv2d(2, 4, 3, bias=False)
    layer.weight.data.fill_(0.02)
    layer.weight.data[0, 0, 0, 0] = 8.0
    module = torch.nn.Sequential(layer, torch.nn.ReLU())
    with pytest.warns(MapperWarning) as told:
        mapper.DynapcnnNetwork(module, input_shape=(2, 8, 8), relu_as_if=1.0)
    assert [str(entry.message)[:53] for entry in told] == [
        "rounding: layer 0 (Conv2d): all weights of 3 features",
        "rounding: layer 0 (Conv2d): 1 weight of up to 8, in f",
    ]
    assert all(entry.filename == __file__ for entry in told)
