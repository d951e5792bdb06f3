"""Tuning: what its knobs do, what the search keeps, what is written, and that it is worth what it says."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mapper
from mapper.cli.entry import run
from mapper.emit.write.build import build_config
from mapper.equivalence.labelled import LabelledData, read_labelled
from mapper.errors import EventError, NetworkError, OptionsError, TimeLimitError
from mapper.events import events_from_raster
from mapper.network import Edge
from mapper.normal_form import NormalLayer, NormalNetwork
from mapper.operations import Convolution, Neuron, Shape
from mapper.passes import PrepareOptions, prepare
from mapper.passes.quantize import layer_scale, quantize, rounded
from mapper.sim.event import EventOptions, simulate_events
from mapper.sim.network import simulate
from mapper.tuning import Harder, Knobs, TuneOptions, tuned_by, tuned_network
from mapper.tuning.directions import rounded_in_sum
from mapper.tuning.knobs import changes_of, tied_layers
from mapper.tuning.nir_file import nir_file
from mapper.tuning.search import searched
from mapper.tuning.trial import margin_of
from tests.builders import chain, conv, weighted
from tests.offer_networks import dense, residual

FLOATS = PrepareOptions(quantize=False)


def digits() -> NormalNetwork:
    return prepare(mapper.load_network("digits"), FLOATS)


def part(name: str, count: int) -> LabelledData:
    data = read_labelled(name)
    return replace(data, rasters=data.rasters[:count], labels=data.labels[:count])  # type: ignore[index]  # arrays


def test_knobs_are_factors() -> None:
    network = digits()
    knobs = {"conv1": Knobs(2.0, 4.0, 0.5), "conv2": Knobs(clip=0.5), "conv3": Knobs(bound=float("inf"))}
    turned = tuned_network(network, knobs)
    before, after = network.by_name, turned.by_name
    assert (after["conv1"].neuron.threshold, after["conv1"].neuron.minimum) == (2.0, -1.0)
    weight: Any = before["conv2"].operation.weight
    limit = np.abs(weight).max() / 2
    # What is clipped is what was trained; what the source's spikes count for comes on top.
    found: Any = after["conv2"].operation.weight
    assert np.allclose(found, np.clip(weight, -limit, limit) * 4)
    assert after["conv3"].neuron.minimum is None
    assert repr(after["fc"]) == repr(before["fc"])


@pytest.mark.parametrize("seed", range(40))
def test_rounded_in_sum_no_feature_gains_or_loses(seed: int) -> None:
    draw = np.random.default_rng(seed)
    shape = tuple(int(n) for n in (*draw.integers(1, 12, 2), *draw.integers(1, 6, 2)))
    weight = draw.normal(0, draw.choice([0.01, 1, 30]), shape) * (draw.random(shape) < 0.8)
    weight.flat[0] = 0.5
    operation = Convolution(shape[0], (shape[2], shape[3]), weight=weight.astype(np.float32))
    layer = NormalLayer(
        "one", Shape(shape[1], 6, 6), operation, neuron=Neuron(float(draw.uniform(0.5, 200)), -1.0)
    )
    scale = float(layer_scale(layer))
    found: Any = rounded(rounded_in_sum(layer)).operation.weight
    lost = weight.astype(np.float32) * scale - found
    assert np.abs(lost).max() < 1
    assert np.abs(lost.sum((2, 3))).max() < 1
    assert np.abs(lost.sum((1, 2, 3))).max() <= 0.5 + 1e-2
    assert not np.any(found[weight == 0])


def test_rounding_in_sum_is_a_turn_there_and_back() -> None:
    network = digits()
    turned = tuned_network(network, {"conv2": Knobs(in_sum=True)})
    before, after = (np.asarray(quantize(n).by_name["conv2"].operation.weight) for n in (network, turned))
    assert not np.array_equal(before, after)
    names = {change: knobs for (change, _), knobs in changes_of(network, {"conv2": Knobs(in_sum=True)}, 2.0)}
    assert names["conv2: rounding to nearest"]["conv2"] == Knobs()
    assert names["conv1: rounding in sum"]["conv1"].in_sum


def test_threshold_and_gain_together_tell_the_same_more_coarsely() -> None:
    network = digits()
    raster = read_labelled("digits").rasters[0]
    doubled = tuned_network(network, {"conv1": Knobs(2.0, 2.0)})
    first, second = (simulate(n, {"input": raster}).spikes["conv1"].sum(0) for n in (network, doubled))
    # Bounds apart, a neuron of twice the threshold has half of the spikes, and may owe one.
    assert np.abs(first / 2 - second).max() <= 1.5
    assert second.sum() > 0


def test_layers_whose_spikes_add_up_are_turned_together() -> None:
    network = prepare(residual(0, 2, floats=True), FLOATS)
    groups = set(tied_layers(network))
    assert ("block0", "block1", "stem") in groups
    side_by_side = set(tied_layers(prepare(dense(0, 2, floats=True), FLOATS)))
    assert all(len(group) == 1 for group in side_by_side)
    names = [change for (change, _), _ in changes_of(network, {}, 2.0)]
    assert names.count("block0 + block1 + stem: threshold and gain") == 2
    assert not any(name.startswith("head: threshold and gain") for name in names)


class Wanting:
    """Losses that grow with the distance of a layer's threshold from a wish."""

    def __init__(self, layer: str, wish: float, after: Callable[[int], None] = lambda _: None) -> None:
        self.layer, self.wish, self.after, self.count = layer, wish, after, 0

    def losses(self, candidate: NormalNetwork) -> Any:
        self.count += 1
        self.after(self.count)
        threshold: Any = candidate.by_name[self.layer].neuron.threshold
        return np.full(9, abs(np.log2(threshold) - np.log2(self.wish)))


def test_the_search_comes_to_what_is_wanted() -> None:
    network, judge = digits(), Wanting("conv2", 4 * 2**0.5)
    found = searched(network, judge.losses(network), judge)
    assert found.knobs["conv2"].threshold == pytest.approx(4 * 2**0.5)
    assert [step.change for step in found.steps] == ["conv2: threshold"] * 3
    assert found.losses.max() < 1e-9
    assert not found.stopped_by


@pytest.mark.parametrize(
    ("error", "told"),
    [(KeyboardInterrupt(), "Ctrl-C"), (TimeLimitError(5.0, "candidates were run", "Wait"), "5 s")],
)
def test_what_ends_a_search_keeps_the_best(error: BaseException, told: str) -> None:
    def end(count: int) -> None:
        if count == 20:
            raise error

    network, judge = digits(), Wanting("conv1", 8.0, end)
    found = searched(network, judge.losses(network), judge)
    assert told in found.stopped_by
    assert found.knobs["conv1"].threshold > 1


def test_what_a_library_makes_of_ctrl_c_keeps_the_best_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(count: int) -> None:
        if count == 20:
            raise RuntimeError("a callback failed")

    network = digits()
    judge = Wanting("conv1", 8.0, fail)
    with pytest.raises(RuntimeError, match="a callback failed"):
        searched(network, judge.losses(network), judge)
    monkeypatch.setattr("mapper.tuning.search.was_interrupted", lambda: True)
    judge = Wanting("conv1", 8.0, fail)
    found = searched(network, judge.losses(network), judge)
    assert found.stopped_by == "Ctrl-C"
    assert found.knobs["conv1"].threshold > 1


def test_a_gain_within_chance_is_none() -> None:
    network, steps = digits(), 0

    class Chance:
        def __init__(self, seed: int) -> None:
            self.draw = np.random.default_rng(seed)

        def losses(self, _: NormalNetwork) -> Any:
            return 1 + 0.1 * self.draw.standard_normal(1000)

    for seed in range(12):
        judge = Chance(seed)
        steps += len(searched(network, judge.losses(network), judge).steps)
    # Of about sixty candidates each; by the mean alone some forty look better.
    assert steps <= 6


def test_margins() -> None:
    assert margin_of(np.array([3, 1]), 0) == 0.5
    assert margin_of(np.array([3, 1]), 1) == -0.5
    assert margin_of(np.array([2, 2]), 1) == 0
    # Silence is never right, and not to be had for the asking.
    assert margin_of(np.array([0, 0]), 1) == -1
    assert margin_of(np.array([2]), 5) == -1


def test_samples_are_made_harder_alike_every_time() -> None:
    raster, harder = np.full((4, 1, 8, 8), 2), Harder(0.5, 0.1)
    assert np.array_equal(harder.of(raster, 3), harder.of(raster, 3))
    assert not np.array_equal(harder.of(raster, 3), harder.of(raster, 4))
    assert np.array_equal(Harder(0, 0).of(raster, 3), raster)


@pytest.mark.no_cover
def test_tuned_digits_answer_as_told(tmp_path: Path) -> None:
    choosing, judging = part("digits-train", 60), part("digits", 40)
    tuned = tuned_by("digits", calibrate=choosing, data=judging, tuning=TuneOptions(runs=60, time_limit_s=20))
    assert tuned.knobs
    assert tuned.found.losses.mean() < tuned.found.steps[0].loss
    assert tuned.after is not None
    # The table once more, by the configuration alone.
    config, right = build_config(tuned.result), 0
    for number, label in enumerate(judging.labels):
        events = {"input": events_from_raster(judging.rasters[number], 1000)}
        seen = simulate_events(config, events, EventOptions(order="depth", seed=number), end_us=16000.0)
        counts = np.bincount(seen.outputs["fc"]["p"], minlength=10)
        right += int(counts.argmax()) == int(label)
    assert int((tuned.after.answers["depth"] == judging.labels).sum()) == right
    difference = tuned.differences["depth"]
    assert difference.gained - difference.lost == right - int(
        (tuned.before.answers["depth"] == judging.labels).sum() if tuned.before else 0
    )
    # The file is the network of integers that was placed.
    path = tmp_path / "tuned.nir"
    path.write_bytes(nir_file(tuned.result.given[0]))
    again = prepare(mapper.load_network(path))
    for layer in tuned.result.given[0].layers:
        same: Any = again.by_name[layer.name]
        weight: Any = layer.operation.weight
        assert np.array_equal(weight, same.operation.weight)
        assert layer.neuron.threshold == same.neuron.threshold


def test_networks_become_nir_files_and_are_the_same_again() -> None:
    draw = np.random.default_rng(2)
    for network in (
        weighted(chain([conv(4), conv(3, 5)], (2, 12, 12), (2,)), draw),
        residual(0, 2, floats=True),
    ):
        content = nir_file(prepare(network))
        assert content.startswith(b"\x89HDF")


def test_what_nir_has_no_words_for_is_refused() -> None:
    with pytest.raises(NetworkError, match="concatenation"):
        nir_file(prepare(dense(0, 2)))
    network = prepare(weighted(chain([conv(4), conv(4)], (2, 8, 8)), np.random.default_rng(0)))
    back = Edge("conv1", "conv1", delay_steps=1)
    with pytest.raises(NetworkError, match="cycle"):
        nir_file(network.replacing(edges=(*network.edges, back)))


def test_no_sample_chooses_and_judges() -> None:
    half = part("digits-train", 20)
    with pytest.raises(EventError, match="holds samples of digits-train too") as failure:
        tuned_by("digits", calibrate=half, data=part("digits-train", 5))
    assert failure.value.findings[0].value == 5
    wide = replace(half, rasters=np.ones((20, 5, 2, 16, 16), np.uint8))
    with pytest.raises(EventError, match="another shape than the network's input"):
        tuned_by("digits", calibrate=wide)
    with pytest.raises(EventError, match="another shape than the network's input"):
        tuned_by("digits", calibrate=half, data=wide, tuning=TuneOptions(runs=1, time_limit_s=0.0))
    with pytest.raises(OptionsError, match="runs"):
        TuneOptions(runs=0)
    with pytest.raises(OptionsError, match="lost"):
        TuneOptions(harder=Harder(lost=1.0))


def test_the_command_writes_what_it_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["tune", "digits", "--calibrate", "digits-train", "--runs", "20", "--time-limit", "5"]
    assert run([*words, "--out", str(tmp_path / "a")]) == 0
    told = capsys.readouterr().out
    assert "no --data: what it is worth was not measured" in told
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == [
        "config.json", "placement.json", "tuned.nir", "tuning.json",
    ]  # fmt: skip
    record = json.loads((tmp_path / "a" / "tuning.json").read_text())
    assert record["candidates"] > 1
    assert run(["diff", str(tmp_path / "a" / "tuned.nir"), str(tmp_path / "a" / "config.json")]) == 0
    shapes = str(Path(mapper.__file__).parent / "data" / "example.yaml")
    assert run(["tune", shapes, *words[2:], "--out", str(tmp_path / "b")]) == 2
    assert "has shapes alone" in capsys.readouterr().err
    assert run([*words, "--data", "digits-train", "--out", str(tmp_path / "b")]) == 2
    assert not (tmp_path / "b").exists()
    assert run(["tune", "digits", "--calibrate", "nowhere.npz", "--out", str(tmp_path / "b")]) == 2
    assert "nowhere.npz" in capsys.readouterr().err


def test_ctrl_c_while_it_is_judged_keeps_what_was_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def end(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("mapper.tuning.run.verify_equivalence", end)
    asked = TuneOptions(runs=2, time_limit_s=0.5)
    found = tuned_by("digits", calibrate=part("digits-train", 4), data=part("digits", 4), tuning=asked)
    assert (found.before, found.after) == (None, None)
    assert found.found.stopped_by
    assert found.result.solution is not None


def test_images_that_are_in_both_are_refused_however_they_are_drawn() -> None:
    def drawn(seed: int) -> LabelledData:
        images = np.random.default_rng(0).random((4, 1, 8, 8))
        rasters = np.random.default_rng(seed).poisson(0.5, (4, 5, 1, 8, 8))
        return LabelledData(f"drawn{seed}", rasters, np.arange(4), images=images)

    with pytest.raises(EventError, match="holds samples of drawn1 too"):
        tuned_by("digits", calibrate=drawn(1), data=drawn(2))


def test_one_sample_is_no_proof() -> None:
    class Better:
        def __init__(self) -> None:
            self.left = 9.0

        def losses(self, _: NormalNetwork) -> Any:
            self.left -= 0.1
            return np.array([self.left])

    judge = Better()
    assert searched(digits(), judge.losses(digits()), judge).steps == []
