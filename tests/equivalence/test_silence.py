"""Silence is no agreement: it is told, with its reason, and a known-answer test has answers."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mapper
from hwspec.catalog import load
from mapper.cli.entry import run
from mapper.emit.write.build import build_config
from mapper.equivalence import count_ranges, layer_shapes
from mapper.equivalence.known_answer import KnownAnswer, answer_or_reason, derived
from mapper.equivalence.rates import PairedCounts, layer_rates
from mapper.equivalence.silence import mute_layers
from mapper.errors import MapperWarning
from mapper.events import EVENT_DTYPE, write_events
from mapper.normal_form import NormalNetwork
from tests.builders import chain, conv, weighted
from tests.sim.test_config_frame import placed, random_network

module = import_module("mapper.equivalence.known_answer")

Capture = pytest.CaptureFixture[str]
NET = """
from torch import nn
def net(sign=SIGN):
    n = nn.Sequential(nn.Conv2d(2, 8, 3, padding=1, bias=False), nn.ReLU(), nn.Conv2d(8, 4, 3, bias=False), nn.ReLU())
    n[0].weight.data.fill_(0.4)
    n[2].weight.data.fill_(sign * 0.02)
    return n.eval()
"""


def words(tmp_path: Path, sign: int) -> list[str]:
    (tmp_path / f"made{sign}.py").write_text(NET.replace("SIGN", str(sign)))
    return [f"{tmp_path}/made{sign}.py:net", "--input-shape", "2,8,8", "--relu-as-if", "1"]


def two_layers(first: int, second: int, threshold: int = 1) -> NormalNetwork:
    """Weights of these values."""
    network = weighted(chain([conv(2), conv(2)], (2, 8, 8)), np.random.default_rng(0), integer=True)
    layers = []
    for layer, value in zip(network.layers, (first, second), strict=True):
        before: Any = layer.operation.weight
        weight = np.full(before.shape, value)
        operation = replace(layer.operation, weight=weight, bias=None, has_bias=False)
        neuron = replace(layer.neuron, threshold=threshold, initial_potential=None)
        layers.append(replace(layer, operation=operation, neuron=neuron))
    return network.replacing(layers=tuple(layers))


def test_verify_says_who_is_silent(tmp_path: Path, capsys: Capture) -> None:
    assert run(["verify", *words(tmp_path, -1), "--random", "0.3"]) == 0
    told = capsys.readouterr()
    shown = " ".join(told.out.split())
    assert "WARNING: NO SPIKES in 2 (Conv2d): nothing is shown of them" in shown
    assert "No input can make 2 (Conv2d) spike" in shown
    assert told.err.startswith("Warning: NO SPIKES in 2")
    assert run(["verify", *words(tmp_path, -1), "--random", "0.3", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["silent"] == ["2"]
    assert run(["verify", *words(tmp_path, 1), "--random", "0"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "NO SPIKES in any layer" in shown
    assert "identical" not in shown
    assert "same" not in shown
    assert "Give more input (--random 0.5" in shown
    # The way out that is told works.
    assert run(["verify", *words(tmp_path, 1), "--random", "0.5"]) == 0
    told = capsys.readouterr()
    assert "NO SPIKES" not in told.out + told.err
    assert "identical in every layer and step" in told.out


def test_python_warns() -> None:
    with pytest.warns(MapperWarning, match=r"NO SPIKES in conv1: .* No input can make conv1 spike"):
        report = mapper.verify_equivalence(two_layers(3, -3), rate=0.3)
    assert report.silence.layers == ("conv1",)
    assert [entry.same_argmax is None for entry in report.rates] == [False, True]


@pytest.mark.parametrize(
    ("first", "second", "mute"),
    [(3, 3, ()), (3, -3, ("conv1",)), (-3, 3, ("conv0", "conv1")), (-3, -3, ("conv0", "conv1"))],
)
def test_layers_that_cannot_spike(first: int, second: int, mute: tuple[str, ...]) -> None:
    assert mute_layers(two_layers(first, second)) == mute


def test_a_bias_makes_a_layer_spike() -> None:
    network = two_layers(-3, 3)
    layer = network.layers[0]
    biased = replace(layer, operation=replace(layer.operation, bias=np.array([0, 1]), has_bias=True))
    assert mute_layers(network.replacing(layers=(biased, network.layers[1]))) == ()


def answer(network: NormalNetwork) -> KnownAnswer | str:
    result = mapper.solve(network)
    return answer_or_reason(build_config(result), result.chip)


def test_a_known_answer_is_driven_until_all_spike() -> None:
    """4000 thresholds away: the longest recording that was tried without driving has 512 events."""
    found = answer(two_layers(1, 1, threshold=120))
    assert isinstance(found, KnownAnswer)
    assert len(found.inputs[0].events) > 512
    assert all(any(row[3] for row in rows) for rows in found.counts.values())
    assert len(found.counts) == 2


@pytest.mark.parametrize("seed", [1, 6, 8, 9, 11])
def test_as_many_events_as_no_order_changes_a_count_of(seed: int) -> None:
    """Every number of events is simulated by itself, in every order."""
    _, config = placed(random_network(seed))
    assert config.interface is not None
    tested = module._by_core(derived(config), config.interface)
    recordings = module._questions(config.interface, 240, seed, 0.5)
    asked = module._asked(tested, recordings)
    if asked is None:
        assert any(edge.delay_steps for edge in random_network(seed).edges)
        return
    times = np.sort(np.concatenate([events["t"] for events in recordings.values()]))
    expected, counts = len(times), dict[int, Any]()
    for length in range(1, len(times) + 1):
        given = {name: events[events["t"] <= times[length - 1]] for name, events in recordings.items()}
        counts[length] = count_ranges(tested, given, layer_shapes(tested))
        by_orders = counts[length].values()
        is_loud = all(by_order.sum((1, 2, 3)).all() for by_order in by_orders)
        if is_loud and all((by_order == by_order[0]).all() for by_order in by_orders):
            expected = length
    assert sum(map(len, asked.recordings.values())) == expected
    assert {str(core): by_order.tolist() for core, by_order in asked.counts.items()} == {
        name: by_order.tolist() for name, by_order in counts[expected].items()
    }


@pytest.mark.parametrize(("weights", "who"), [((3, -3), "conv1 (core"), ((-3, 3), "conv0 (core")])
def test_no_known_answer_without_answers(weights: tuple[int, int], who: str) -> None:
    found = answer(two_layers(*weights))
    assert isinstance(found, str)
    assert who in found
    assert "which has no weight above 0" in found


def test_emit_writes_none_and_says_so(tmp_path: Path, capsys: Capture) -> None:
    assert run(["emit", *words(tmp_path, -1), "--out", str(tmp_path / "out")]) == 0
    told = capsys.readouterr()
    assert "known_answer.json is not written: no events make 2 (core" in told.err
    assert "known_answer" not in told.out
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["config.json", "placement.json"]
    assert run(["emit", *words(tmp_path, 1), "--out", str(tmp_path / "loud")]) == 0
    record = json.loads((tmp_path / "loud" / "known_answer.json").read_text())
    assert all(record["counts"].values())
    for weight, name in ((-1, "quiet"), (1, "loud")):
        capsys.readouterr()
        assert run(["emit", *words(tmp_path, weight), "--out", str(tmp_path / name), "--json"]) == 0
        content = json.loads(capsys.readouterr().out)
        files = {Path(file).name for file in content["written"]}
        assert ("known_answer.json" in files) == (content["known_answer_missing"] is None) == (weight > 0)
        assert files >= {"config.json", "placement.json"}


def test_simulate_says_who_is_silent(tmp_path: Path, capsys: Capture) -> None:
    mapper.write_config(build_config(mapper.solve(two_layers(3, -3))), tmp_path / "config.json")
    write_events(tmp_path / "e.npy", np.array([(n, 0, 4, 4) for n in range(9)], EVENT_DTYPE))
    command = ["simulate", str(tmp_path / "config.json"), "--events", str(tmp_path / "e.npy")]
    assert run(command) == 0
    assert "WARNING: NO SPIKES in conv1: this recording shows nothing of them" in " ".join(
        capsys.readouterr().out.split()
    )
    assert run([*command, "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert [record["spikes"][str(core)] for core in record["silent"]] == [0]


def test_features_that_rounding_changed() -> None:
    draw = np.random.default_rng(2)
    floats = draw.integers(0, 3, (20, 5, 6, 6))
    integers = floats.copy()
    integers[:, 1] = 0
    integers[:, 2] = draw.integers(0, 3, (20, 6, 6))
    integers[:, 3] *= 3
    (rates,) = layer_rates({"a": floats}, {"a": integers})
    assert [entry.feature for entry in rates.worst_features] == [1, 3, 2]
    dead, triple, other = rates.worst_features
    assert (dead.float_spikes, dead.integer_spikes, dead.correlation) == (floats[:, 1].sum(), 0, None)
    assert triple.correlation == pytest.approx(1.0)
    one, two = floats[:, 2].sum(0).ravel(), integers[:, 2].sum(0).ravel()
    assert other.correlation == pytest.approx(np.corrcoef(one, two)[0, 1])
    (same,) = layer_rates({"a": floats}, {"a": floats})
    assert same.worst_features == ()
    assert "feature 1" in str(dead)


def test_counts_of_many_recordings_correlate_as_numpy_says() -> None:
    draw, pair = np.random.default_rng(3), PairedCounts()
    ones = draw.integers(0, 9, (7, 3, 2, 2))
    others = ones + draw.integers(0, 5, ones.shape)
    for one, other in zip(ones, others, strict=True):
        pair.add(one, other)
    assert pair.correlation() == pytest.approx(np.corrcoef(ones.ravel(), others.ravel())[0, 1])
    expected = np.corrcoef(ones[:, 2].ravel(), others[:, 2].ravel())[0, 1]
    assert pair.correlation(2) == pytest.approx(expected)
    constant: Any = PairedCounts()
    constant.add(np.ones((1, 2, 2)), np.arange(4).reshape(1, 2, 2))
    assert constant.correlation() is None


def test_no_known_answer_without_inputs() -> None:
    _, config = placed(random_network(1))
    assert config.interface is not None
    closed = config.model_copy(update={"interface": config.interface.model_copy(update={"inputs": ()})})
    assert answer_or_reason(closed, load("speck2f")) == "the configuration names no inputs"
