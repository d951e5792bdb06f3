"""Maps that are too large, from the question to what a board would show: layers are seen as they were given."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mapper
from mapper.boards.monitored import monitored_layers
from mapper.by_value import same
from mapper.cli.entry import run
from mapper.emit.read.compare import compare
from mapper.emit.read.diff import diff
from mapper.emit.read.extract import extract
from mapper.emit.shared.config import ChipConfig
from mapper.emit.shared.file import config_text, read_config, write_config
from mapper.emit.shared.joined import joined
from mapper.emit.write.build import build_config
from mapper.equivalence import compare_events, known_answer, layer_shapes
from mapper.equivalence.run import check_equivalence, random_recording
from mapper.events import events_from_raster, events_from_spikes
from mapper.network import Edge, Input, Layer, Network, Output
from mapper.normal_form import NormalLayer, NormalNetwork
from mapper.operations import Convolution, Neuron, Pool, Shape
from mapper.options import SolveOptions
from mapper.passes.legalize import has_phases
from mapper.question import Question, fits
from mapper.result import Result
from mapper.sim.config_frame import simulate_config
from mapper.sim.event import EventOptions, EventResult, simulate_events
from mapper.sim.network import simulate
from tests.builders import chain, conv, weighted
from tests.passes.test_phases import first, read_by
from tests.phase_networks import SMALL_MAPS, family, random_phase_network, too_large

PLACED = int(os.environ.get("MAPPER_FUZZ_EXAMPLES", "25"))
FAMILIES = 30 if "MAPPER_FUZZ_EXAMPLES" in os.environ else 3
DT_US = 1000


def rasters(network: NormalNetwork, seed: int, rate: float = 0.2, steps: int = 4) -> dict[str, Any]:
    draw = np.random.default_rng([2, seed])
    return {
        entry.name: (draw.random((steps, *entry.shape)) < rate).astype(np.int64) for entry in network.inputs
    }


def test_siblings_with_phases_are_compared_before_rounding() -> None:
    draw, pool = np.random.default_rng(0), (Pool("sum", (2, 2), (2, 2)),)
    layers, edges = [], []
    for n, (size, scale) in enumerate([(3, 0.4), (5, 0.9)]):
        weight = scale * draw.normal(size=(2, 2, size, size))
        convolution = Convolution(2, (size, size), padding=(size // 2, size // 2), weight=weight)
        layers.append(Layer(f"s{n}", Shape(2, 128, 128), convolution, neuron=Neuron(1.0, -1.0)))
        edges += [Edge("in", f"s{n}"), Edge(f"s{n}", "head", pool, 2 * n)]
    weight = 0.3 * draw.normal(size=(4, 4, 3, 3))
    head = Convolution(4, (3, 3), (2, 2), (1, 1), weight=weight)
    layers.append(Layer("head", Shape(4, 64, 64), head, neuron=Neuron(1.0, -1.0)))
    inputs, outputs = (Input("in", Shape(2, 128, 128)),), (Output("out", "head"),)
    network = Network("siblings", inputs, tuple(layers), tuple(edges), outputs)
    result = mapper.solve(network, "speck2f")
    assert [(o.name, o.layer, o.start, o.phases) for o in result.networks[0].origins] == [
        ("s0", "s0&s1", 0, (2, 2)), ("s1", "s0&s1", 8, (2, 2)), ("head", "head", 0, (1, 1)),
    ]  # fmt: skip
    (given,) = result.given
    assert_same_steps(given, build_config(result), rasters(given, 0, 0.1, 2))


def assert_same_steps(given: NormalNetwork, config: ChipConfig, inputs: dict[str, Any]) -> bool:
    """Every layer and output in every step; whether all layers spike."""
    expected, seen = simulate(given, inputs), simulate_config(config, inputs)
    assert list(seen.layers) == list(expected.spikes)
    for name, spikes in expected.spikes.items():
        own = seen.layers[name]
        assert np.array_equal(own, spikes[:, :, : own.shape[2], : own.shape[3]]), name
        assert own.shape[1:] == layer_shapes(config)[name]
    for name, shown in expected.outputs.items():
        assert np.array_equal(seen.outputs[name], shown)
    return all(bool(spikes.any()) for spikes in expected.spikes.values())


def test_random_placements_compute_what_was_given(tmp_path: Path) -> None:
    placed = spiking = odd = 0
    for seed in range(PLACED):
        given = random_phase_network(seed)
        result = mapper.solve(given, SMALL_MAPS, repairs=0)
        if result.solution is None or not has_phases(result.networks[0]):
            assert has_phases(result.networks[0]) == (result.given[0] is not result.networks[0])
            continue
        assert result.given == (given,)
        config = build_config(result)
        write_config(config, tmp_path / "config.json")
        assert read_config(tmp_path / "config.json") == config
        spiking += assert_same_steps(given, config, rasters(given, seed))
        assert diff(config, result.networks) == ()
        assert same(extract(config).origins, result.networks[0].origins)
        assert fits(Question((given,), SMALL_MAPS, SolveOptions())) is True
        placed += 1
        odd += any(
            s % p for o in result.networks[0].origins for s, p in zip(o.shape[1:], o.phases, strict=True)
        )
    assert placed > PLACED / 3
    assert spiking > placed / 2
    assert odd > 3


@pytest.mark.parametrize("seed", range(FAMILIES))
def test_first_convolutions_at_full_size(seed: int) -> None:
    given = family(seed)
    assert list(too_large(given, mapper.load_chip("speck2f"))) == ["c0"]
    result = mapper.solve(given, "speck2f", repairs=0)
    assert result.require()
    assert assert_same_steps(given, build_config(result), rasters(given, seed, 0.05))


@dataclass
class Spike:
    layer: int
    feature: int
    y: int
    x: int
    timestamp: int


def shown_by_monitors(config: ChipConfig, result: EventResult) -> list[Spike]:
    """What the cores' monitors give, of layers that stand whole on one core."""
    if config.interface is None:
        return []
    spikes = []
    for name, (holder, origin) in config.interface.shown.items():
        (place,) = next(layer.places for layer in config.interface.layers if layer.name == holder)
        (a, b), count = origin.phases if origin else (1, 1), origin.shape.features if origin else 0
        for t, p, y, x in result.layers[name].tolist():
            feature = p if origin is None else (y % a * b + x % b) * count + p
            spikes.append(Spike(place.core, feature, y // a, x // b, t))
    return spikes


def test_monitors_show_layers_in_their_own_shape() -> None:
    seen = 0
    for seed in range(30):
        given = random_phase_network(seed)
        names = tuple(given.index)
        result = mapper.solve(
            given, SMALL_MAPS, repairs=0, monitors=names, max_pieces=1, max_copies=1, relays=False
        )
        if result.solution is None or not has_phases(result.networks[0]):
            continue
        config = build_config(result)
        events = {n: events_from_raster(raster, DT_US) for n, raster in rasters(given, seed).items()}
        ran = simulate_events(config, events, EventOptions(tick_us=float(DT_US), spike_limit=200_000))
        read = events_from_spikes(shown_by_monitors(config, ran), monitored_layers(config), order="sort")
        assert list(read.events) == [*dict.fromkeys((given.outputs[0].source, *names))]
        for name in names:
            assert np.array_equal(np.sort(read.events[name]), np.sort(ran.layers[name])), name
            assert (read.unpooled[name], read.outside[name]) == (0, 0)
        _, height, width = layer_shapes(config)[names[0]]
        assert (height, width) == given.layers[0].output_shape[1:], "nothing is left out of what is seen"
        seen += 1
    assert seen > 5


def placed_family(**options: Any) -> Result:
    return mapper.solve(family(1), "speck2f", repairs=0, **options)


def test_the_report_of_equivalence_holds_it_against_what_was_given() -> None:
    result = placed_family()
    recording = random_recording(result.given[0], 0.02, 3, DT_US, seed=1)
    report = check_equivalence(result, result.given[0], recording)
    assert report.difference is None
    assert [rate.layer for rate in report.rates] == [layer.name for layer in result.given[0].layers]
    assert report.rates[0].correlation == pytest.approx(1)
    assert any("c0: rows and columns as features" in note for note in report.notes)
    assert mapper.verify_equivalence(family(1), "speck2f", steps=3, rate=0.02).is_equivalent


def test_two_networks_one_of_them_rewritten() -> None:
    plain = chain([conv(2), conv(3)], (2, 16, 16), name="plain")
    plain = weighted(plain, np.random.default_rng(0), integer=True)
    result = mapper.solve([family(1), plain], "speck2f", repairs=0)
    assert result.given[1] is result.networks[1]
    assert result.given[0] is not result.networks[0]
    config = build_config(result)
    recording = random_recording(joined(result.given), 0.05, 3, DT_US)
    seen = simulate_config(config, recording.rasters)
    for network, name in ((result.given[0], "family1"), (plain, "plain")):
        inputs = {entry.name: recording.rasters[f"{name}:{entry.name}"] for entry in network.inputs}
        for layer, spikes in simulate(network, inputs).spikes.items():
            assert np.array_equal(seen.layers[f"{name}:{layer}"], spikes)
    assert diff(config, result.networks) == ()
    assert same(extract(config, network="family1").origins, result.networks[0].origins)


@pytest.mark.parametrize(
    ("layer", "reader", "by", "reason"),
    [
        (first(16, 16), conv(3), 3, "second pools first by 3x3"),
        (first(15, 15), conv(3, stride=(2, 2)), 1, "second would not read the same, or fit no core"),
    ],
)
def test_reasons_name_the_reader_in_the_way(layer: NormalLayer, reader: Any, by: int, reason: str) -> None:
    report = mapper.solve(read_by(layer, reader, by), SMALL_MAPS, repairs=0).report
    assert report is not None
    assert report.nature == "structural"
    sentences = [entry.sentence for entry in report.unmet if entry.code == "M102"]
    assert sentences[0].endswith(f"No rows and columns can become features here: {reason}.")


def test_known_answers_and_comparisons_of_events_run() -> None:
    result = placed_family()
    config = build_config(result)
    assert known_answer(config, result.chip) is not None
    frames = simulate_config(config, rasters(result.given[0], 0, 0.02, 2)).layers
    inputs = {name: events_from_raster(r, DT_US) for name, r in rasters(result.given[0], 0, 0.02, 2).items()}
    compared = compare_events(config, frames, inputs, result.chip, duration_us=2.0 * DT_US)
    assert [entry.layer for entry in compared.layers] == list(frames)
    assert compared.layers[0].frame_spikes == int(frames["c0"].sum())


def test_a_network_is_compared_in_the_form_it_has_on_the_chip() -> None:
    given, config = family(1), build_config(placed_family())
    assert compare(given, config) == ()


def test_what_is_not_rewritten_stays_as_it_was() -> None:
    """Configurations have no field more, and those that were written without it are read."""
    result = mapper.solve("digits", "speck2f")
    assert '"origins"' not in config_text(build_config(result))
    assert result.given == result.networks
    content = json.loads(config_text(build_config(placed_family())))
    assert content["interface"]["origins"][0]["phases"] == [2, 2]
    content["interface"]["origins"][0]["start"] = 1
    with pytest.raises(ValueError, match="origin c0: layer c0 has no such features"):
        ChipConfig.model_validate_json(json.dumps(content))


LARGE = "mapper/data/large.yaml"


def test_the_command_names_the_move(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["solve", LARGE, "--out", str(tmp_path)]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "proven among whole layers, pieces, relays, copies and space to depth" in text
    assert "first: space to depth: 4x128x128 became 16x64x64" in text
    record = json.loads((tmp_path / "placement.json").read_text(encoding="utf-8"))
    assert any("space to depth" in note for note in record["notes"])
    assert run(["solve", LARGE, "--no-rewrites", "--repairs", "0"]) == 1
    assert "neuron map 128x128" in capsys.readouterr().out
