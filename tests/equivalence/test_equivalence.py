"""The check that the configuration is the network: what it finds, and that it finds what is wrong."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mapper
from mapper.cli.entry import run
from mapper.emit.write.build import build_config
from mapper.equivalence import (
    Accuracy,
    first_difference,
    layer_rates,
    read_labelled,
    sensitivity,
)
from mapper.equivalence.events import compare_events
from mapper.equivalence.known_answer import answer_or_reason, derived
from mapper.equivalence.run import random_recording, recording_of
from mapper.errors import BackendMissingError, EventError, InfeasibleError, MapperWarning, OptionsError
from mapper.events import EVENT_DTYPE, events_from_raster, write_events
from mapper.frontends import load_network
from mapper.operations import Convolution, Neuron
from mapper.passes import PrepareOptions, prepare
from mapper.sim.config_frame import simulate_config
from mapper.sim.event import simulate_events
from mapper.sim.network import simulate
from tests.builders import as_read, chain, conv, weighted
from tests.sim.test_config_frame import neurons, placed, random_network

ZOO = Path(__file__).parents[1] / "data" / "zoo"


def small(**more: Any) -> Any:
    kinds = [conv(4), conv(4), Convolution(3, (4, 4))]
    return weighted(chain(kinds, (2, 8, 8), (2,), **more), np.random.default_rng(1), integer=True)


def test_the_whole_check_on_the_trained_network() -> None:
    report = mapper.verify_equivalence("digits", rate=0.3, steps=10)
    assert report.is_equivalent
    assert [entry.layer for entry in report.rates] == ["conv1", "conv2", "conv3", "fc"]
    assert all(entry.correlation is None or entry.correlation > 0.9 for entry in report.rates)
    assert any("weight" in note for note in report.notes)
    assert any("bandwidth" in note for note in report.notes)
    assert sum(report.output.chip_counts) == len(report.output.times_us)


def test_the_first_difference_by_hand() -> None:
    zeros = np.zeros((3, 2, 2, 2), int)
    late, early = zeros.copy(), zeros.copy()
    late[2, 0, 0, 0], early[1, 1, 0, 1] = 1, 5
    assert first_difference({"a": zeros, "b": zeros}, {"a": zeros, "b": zeros}) is None
    found = first_difference({"a": zeros, "b": zeros}, {"a": late, "b": early})
    assert found is not None
    assert (found.layer, found.step, found.feature, found.y, found.x) == ("b", 1, 1, 0, 1)
    assert (found.network, found.chip, found.count) == (0, 5, 2)
    assert "5 on the chip" in str(found)
    missing = first_difference({"a": zeros}, {})
    assert missing is not None
    assert missing.chip == -1


def test_rates_and_intervals_by_hand() -> None:
    one, other = np.zeros((4, 1, 1, 2)), np.zeros((4, 1, 1, 2))
    one[:, 0, 0, 0], other[:2, 0, 0, 0] = 1, 1
    (rates,) = layer_rates({"a": one, "gone": one}, {"a": other})
    assert (rates.float_rate, rates.integer_rate, rates.same_argmax) == (0.5, 0.25, True)
    assert rates.correlation == pytest.approx(1.0)
    # Wilson, 8 of 10: (0.8 + 0.19207) / 1.38415 = 0.71674 -+ 0.2268 (textbook value 0.490..0.943).
    low, high = Accuracy("float", 10, 8).interval
    assert (round(low, 3), round(high, 3)) == (0.49, 0.943)


def test_order_sensitivity_by_hand() -> None:
    counts = np.array([[[[2, 0]]], [[[1, 3]]]])
    (entry,) = sensitivity({"a": counts})
    assert (entry.neurons, entry.largest, entry.total_min, entry.total_max, entry.same_argmax) == (
        2,
        3,
        2,
        4,
        False,
    )


def test_what_events_bring_to_light() -> None:
    base = small()
    layers = (
        replace(base.layers[0], neuron=replace(base.layers[0].neuron, threshold=2)),
        *base.layers[1:],
    )
    odd = chain([conv(4), conv(4)], (2, 7, 7), (2,))
    network, config = placed(base.replacing(layers=layers))
    recording = random_recording(network, 0.5, 10, 1000)
    frames = simulate_config(config, recording.rasters).layers
    chip = mapper.load_chip("speck2f", ["core[0..8].synops_per_second=10"])
    found = compare_events(config, frames, recording.events, chip, duration_us=10_000)
    assert found.heavy_layers
    assert all(load.is_over for load in found.loads if load.synops_per_second > 10)
    assert any("shrink layer" in note for note in found.notes)
    for layer in found.layers:
        assert layer.frame_spikes == frames[layer.layer].sum()
    network, config = placed(weighted(odd, np.random.default_rng(0), integer=True))
    recording = random_recording(network, 0.5, 10, 1000)
    frames = simulate_config(config, recording.rasters).layers
    found = compare_events(config, frames, recording.events, mapper.load_chip("speck2f"), duration_us=10_000)
    assert found.odd_maps == ("conv0 to conv1: a map of 7x7 pooled by 2",)
    assert set(found.border) == {"conv0 to conv1"}


PLACEABLE = [
    path.stem
    for path in sorted(ZOO.glob("*.yaml"))
    if json.loads((ZOO / "expected.json").read_text())[path.stem]["placeable"]
]


@pytest.mark.no_cover
@pytest.mark.parametrize("name", PLACEABLE)
def test_the_zoo_runs_alike_on_the_chip(name: str) -> None:
    """Every published network that fits, with random weights."""
    draw = np.random.default_rng(5)
    shapes = prepare(load_network(ZOO / f"{name}.yaml"), PrepareOptions(add_output_neuron=1.0))
    network = neurons(weighted(shapes, draw, integer=True), draw)
    result = mapper.solve(network, "speck2f")
    ready, config = result.networks[0], build_config(result)
    x = {entry.name: draw.integers(0, 2, (2, *entry.shape)) for entry in ready.inputs}
    expected, found = simulate(ready, x).spikes, simulate_config(config, x).layers
    assert first_difference(expected, found) is None
    assert sum(int(spikes.sum()) for spikes in expected.values()) > 0


@pytest.mark.parametrize("seed", range(12))
def test_known_answers(seed: int) -> None:
    network, config = placed(random_network(seed))
    chip = mapper.load_chip("speck2f")
    answer = answer_or_reason(config, chip)
    assert answer == answer_or_reason(config, chip)
    if isinstance(answer, str):
        # Only where a cycle goes on for ever, or a layer has nothing that could make it spike.
        mute = [layer for layer in network.layers if not np.any(np.asarray(layer.operation.weight) > 0)]
        has_cycle = any(edge.delay_steps for edge in network.edges)
        assert has_cycle if "cycle" in answer else f"{mute[0].name} (core" in answer
        return
    (asked,) = answer.inputs
    assert asked.events[0][0] >= 100_000
    # The expected counts are those of the derived configuration, in the default order too.
    tested = derived(config)
    assert tested.hardware.dvs_layer is not None
    assert not tested.hardware.dvs_layer.pass_sensor_events
    events = np.array(list(asked.events), EVENT_DTYPE)
    from mapper.sim.event import EventOptions  # noqa: PLC0415

    result = simulate_events(tested, {network.inputs[0].name: events}, EventOptions(sensor_view="raw"))
    assert config.interface is not None
    cores = {layer.name: layer.places[0].core for layer in config.interface.layers}
    for layer in network.layers:
        core = cores[layer.name]
        spikes = result.layers[layer.name]
        for f, y, x, least, most in answer.counts[core]:
            seen = int(((spikes["p"] == f) & (spikes["y"] == y) & (spikes["x"] == x)).sum())
            assert least <= seen <= most
        if answer.is_exact:
            assert sum(row[3] for row in answer.counts[core]) == len(spikes)


def test_recordings() -> None:
    network = small()
    events = events_from_raster(np.random.default_rng(0).integers(0, 2, (5, 2, 8, 8)), 1000, 500_000)
    made = recording_of(network, events, 1000)
    assert made.steps == 5
    assert made.rasters["input"].sum() == len(events)
    for wrong, message in (
        (events[:0], "there are none"),
        (np.array([(0, 9, 0, 0)], EVENT_DTYPE), "field p"),
    ):
        with pytest.raises(EventError, match=message):
            recording_of(network, wrong, 1000)
    with pytest.raises(EventError) as caught:
        random_recording(network, 1.5, 0, 1000)
    assert len(caught.value.findings) == 2


def test_labelled_data(tmp_path: Path) -> None:
    digits = read_labelled("digits")
    assert isinstance(digits.rasters, np.ndarray)
    assert digits.rasters.shape == (899, 16, 1, 8, 8)
    # 16 spikes for the brightest pixel, none for a dark one.
    assert (digits.rasters.sum(1).max(), digits.rasters.max()) == (16, 1)
    np.savez(tmp_path / "few.npz", rasters=digits.rasters[:40], labels=digits.labels[:40])
    report = mapper.verify_equivalence("digits", steps=2, data=str(tmp_path / "few.npz"))
    shares = {entry.kind: entry.correct for entry in report.accuracies}
    assert shares["integer"] == shares["steps"]
    assert min(shares.values()) > 30
    np.savez(tmp_path / "odd.npz", rasters=digits.rasters[:4], labels=digits.labels[:3])
    np.savez(tmp_path / "halves.npz", rasters=digits.rasters[:4], labels=digits.labels[:4] + 0.5)
    (tmp_path / "text.npz").write_text("x")
    for name in ("odd.npz", "halves.npz", "text.npz", "absent.npz"):
        with pytest.raises(EventError, match=name.split(".")[0]):
            read_labelled(str(tmp_path / name))


@pytest.mark.parametrize("count", [np.inf, np.nan, 1e300, 0.5, -1.0])
def test_what_is_no_count_of_spikes(tmp_path: Path, count: float) -> None:
    np.savez(tmp_path / "odd.npz", rasters=np.full((1, 4, 1, 8, 8), count), labels=np.array([3]))
    with pytest.raises(EventError, match=r"odd.npz: rasters must hold .* whole numbers from 0 to 2\^53"):
        mapper.verify_equivalence("digits", steps=2, data=str(tmp_path / "odd.npz"))


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    events = events_from_raster(np.random.default_rng(0).integers(0, 2, (5, 1, 8, 8)), 1000)
    write_events(tmp_path / "e.csv", events)
    words = ["verify", "digits", "--events", str(tmp_path / "e.csv")]
    for suffix in ("png", "svg"):
        assert run([*words, "--plot", str(tmp_path / f"p.{suffix}")]) == 0
        assert (tmp_path / f"p.{suffix}").stat().st_size > 5000
    assert "identical in every layer and step" in capsys.readouterr().out
    assert run([*words, "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["is_equivalent"], record["input_events"], record["steps"]) == (True, len(events), 5)
    assert run([*words, "--plot", "p.gif"]) == 2
    assert run(["verify", "digits", "--random", "7"]) == 2
    assert run(["verify", str(ZOO.parent / "none.nir")]) == 2
    assert run(["verify", "digits", "--set", "core[0..8].kernel_words=64"]) == 1


def test_a_fault_of_ours_ends_in_4(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = simulate_config

    def wrong(*arguments: Any, **words: Any) -> Any:
        made = real(*arguments, **words)
        made.layers["conv2"][1, 0, 0, 0] += 1
        return made

    monkeypatch.setattr("mapper.equivalence.run.simulate_config", wrong)
    assert run(["verify", "digits", "--steps", "3"]) == 4
    assert "layer conv2, feature 0, row 0, column 0, step 1" in " ".join(capsys.readouterr().out.split())


def test_what_cannot_be_checked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from mapper.report.equivalence import plot_equivalence  # noqa: PLC0415

    with pytest.raises(InfeasibleError):
        mapper.verify_equivalence("digits", mapper.load_chip("speck2f", ["core[0..8].kernel_words=64"]))
    report = mapper.verify_equivalence("digits", rate=0.3, steps=10)
    with pytest.raises(OptionsError, match="gif"):
        plot_equivalence(report, tmp_path / "a.gif")
    monkeypatch.setattr("mapper.report.plots.find_spec", lambda name: None)
    with pytest.raises(BackendMissingError, match="matplotlib"):
        plot_equivalence(report, tmp_path / "a.png")


def test_what_is_said_to_help_against_full_potentials_does() -> None:
    """Fewer steps, and a lower bound: the note names both and none is left then."""
    weight = np.full((1, 1, 1, 1), -100.0)
    network = as_read(chain([Convolution(1, (1, 1), weight=weight)], (1, 2, 2)))

    def notes(steps: int, minimum: float | None) -> list[str]:
        neuron = Neuron(threshold=100.0, minimum=minimum)
        given = replace(network, layers=(replace(network.layers[0], neuron=neuron),))
        with pytest.warns(MapperWarning, match="NO SPIKES"):
            report = mapper.verify_equivalence(given, rate=1.0, steps=steps)
        return [note for note in report.notes if "have left the 16 bits" in note]

    (note,) = notes(400, None)
    assert "What helps: fewer spikes in (fewer steps)" in note
    assert "a lower bound (v_min of NIR files, min_v_mem of sinabs)" in note
    assert notes(200, None) == []
    assert notes(400, -100.0) == []
