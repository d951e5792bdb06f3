"""A recording in pieces is the whole, in numbers and in files; pixels that never rest are listed."""

from __future__ import annotations

import json
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mapper
from mapper.cli.entry import run
from mapper.emit.shared.file import config_text, read_config, write_config
from mapper.errors import EventError, OptionsError
from mapper.events import (
    EVENT_DTYPE,
    EventWriter,
    events_from_raster,
    hot_pixels,
    read_events,
    without_pixels,
    write_events,
)
from mapper.network import Input
from mapper.sim.event import EventOptions, simulate_events
from mapper.sim.event_outputs import pooled
from mapper.sim.recording import default_layers, run_recording
from tests.builders import chain, conv, weighted
from tests.sim.test_config_frame import placed, random_network


def recorded(shape: Any, steps: int = 6) -> Any:
    return events_from_raster(np.random.default_rng(0).integers(0, 2, (steps, *shape)), 100)


def test_outputs_take_the_memory_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that are shown alike are one array; of others there is never a second one."""
    network, config = placed(random_network(1))
    assert config.interface is not None
    output = config.interface.outputs[0]
    pools = [(1, 1)] * 3 + [(2, 2)] * 2 + [(1, 1)]
    outputs = tuple(output.model_copy(update={"name": f"o{n}", "host_pool": p}) for n, p in enumerate(pools))
    config = config.model_copy(update={"interface": config.interface.model_copy(update={"outputs": outputs})})
    made: list[weakref.ref[Any]] = []

    def one_at_a_time(*arguments: Any) -> Any:
        assert not any(reference() is not None for reference in made)
        events = pooled(*arguments)
        made.append(weakref.ref(events))
        return events

    monkeypatch.setattr("mapper.sim.event.pooled", one_at_a_time)
    entry = network.inputs[0]
    result = simulate_events(config, {entry.name: recorded(entry.shape)}, EventOptions(tick_us=30.0))
    counts = {name: len(result.outputs[name]) for name in result.outputs}
    assert len(made) == 3
    assert counts["o0"] == counts["o2"] == counts["o5"] > 0
    assert counts["o3"] == counts["o4"] <= counts["o0"]
    assert not result.outputs["o0"].flags.writeable


@pytest.mark.parametrize("seed", [1, 5, 9])
def test_pieces_are_the_whole(seed: int) -> None:
    network, config = placed(random_network(seed))
    entry = network.inputs[0]
    events = recorded(entry.shape)
    options = EventOptions(tick_us=30.0, sensor_view="input")
    whole = simulate_events(config, {entry.name: events}, options)
    seen: dict[str, list[Any]] = {}
    steps: list[int] = []

    def sink(spikes: Any) -> None:
        for name, part in spikes.items():
            seen.setdefault(name, []).append(part)

    summary = run_recording(
        config, {entry.name: events}, options, piece_events=17, sink=sink, progress=steps.append
    )
    assert summary.spikes == whole.spikes
    assert summary.synops == whole.synops
    assert summary.clamped == whole.clamped
    assert summary.border == whole.border
    assert summary.outputs == {name: len(spikes) for name, spikes in whole.outputs.items()}
    assert (summary.events, steps[-1]) == (len(events), len(events))
    assert set(seen) == set(default_layers(config))
    for name, parts in seen.items():
        assert np.concatenate(parts).tolist() == whole.layers[name].tolist()


def test_several_inputs_are_cut_at_the_same_times() -> None:
    base = weighted(chain([conv(3), conv(2)], (2, 6, 6)), np.random.default_rng(0), integer=True)
    network = base.replacing(
        inputs=(*base.inputs, Input("more", base.inputs[0].shape)),
        edges=(*base.edges, base.edges[0].__class__("more", "conv0")),
    )
    network, config = placed(network)
    one, two = recorded((2, 6, 6)), recorded((2, 6, 6), 9)
    names = [entry.name for entry in network.inputs]
    inputs = dict(zip(names, (one, two), strict=True))
    whole = simulate_events(config, inputs)
    summary = run_recording(config, inputs, piece_events=10)
    assert summary.events == len(one) + len(two)
    assert summary.synops == whole.synops
    with pytest.raises(OptionsError, match="piece_events"):
        run_recording(config, inputs, piece_events=0)


def test_a_file_grows_by_pieces(tmp_path: Path) -> None:
    events = recorded((2, 6, 6))
    with EventWriter(tmp_path / "a.npy") as writer:
        for part in np.array_split(events, 5):
            writer.append(part)
        assert not (tmp_path / "a.npy").exists()
    assert read_events(tmp_path / "a.npy").tolist() == events.tolist()
    with pytest.raises(EventError, match="no named fields"), EventWriter(tmp_path / "b.npy") as writer:
        writer.append(np.array(["x"]))
    assert [path.name for path in tmp_path.iterdir()] == ["a.npy"]
    with pytest.raises(EventError, match=r"\.npy"):
        EventWriter(tmp_path / "a.csv")
    with pytest.raises(OptionsError, match="cannot be written"):
        EventWriter(tmp_path / "a.npy" / "b.npy")


def test_hot_pixels_by_hand() -> None:
    # 100 spikes of one pixel and 60 of another in 1 s, one each of nine others: the median is 1.
    rows = [(n * 10_000, 1, 3, 4) for n in range(100)] + [(n * 10_000, 0, 2, 2) for n in range(60)]
    rows += [(n, 0, 0, n) for n in range(9)]
    events = np.array(sorted(rows), EVENT_DTYPE)
    found = hot_pixels(events)
    assert found.tolist() == [(1, 3, 4), (0, 2, 2)]
    assert len(without_pixels(events, found)) == 9
    # 60 spikes in 0.99 s are 60.6 a second.
    assert hot_pixels(events, rate_hz_min=61).tolist() == [(1, 3, 4)]
    assert hot_pixels(events, factor=70).tolist() == [(1, 3, 4)]
    assert hot_pixels(events[:0]).tolist() == []
    with pytest.raises(EventError) as caught:
        hot_pixels(events, factor=1, rate_hz_min=-1)
    assert len(caught.value.findings) == 2


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = mapper.build_config(mapper.solve("digits"))
    write_config(config, tmp_path / "config.json")
    events = events_from_raster(np.random.default_rng(0).integers(0, 2, (40, 1, 8, 8)), 1000)
    write_events(tmp_path / "e.npy", events)
    words = ["simulate", str(tmp_path / "config.json"), "--events", str(tmp_path / "e.npy")]
    expected = simulate_events(config, {"input": events})
    assert run([*words, "--piece", "100", "--out", str(tmp_path / "out"), "--sensitivity", "1"]) == 0
    told = capsys.readouterr().out
    assert f"{len(events)} events" in told
    assert "neurons depend on the order" in told
    assert read_events(tmp_path / "out" / "fc.npy").tolist() == expected.layers["fc"].tolist()
    assert run([*words, "--json", "--layer", "conv1"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["synops"] == {str(core): count for core, count in expected.synops.items()}
    assert record["outputs"] == {}
    assert run([*words, "--json", "--layer", "#0", "--sensitivity", "1"]) == 0
    assert [entry["layer"] for entry in json.loads(capsys.readouterr().out)["sensitivity"]] == ["conv1"]
    write_events(tmp_path / "wide.npy", events_from_raster(np.ones((1, 1, 9, 8), int), 1000))
    wide = [*words[:3], str(tmp_path / "wide.npy")]
    assert run(wide) == 2
    assert "8 of 72 events lie outside the input's map" in (said := capsys.readouterr().err)
    assert "--drop-outside" in said
    assert run([*wide, "--drop-outside"]) == 0
    assert "64 events" in capsys.readouterr().out
    for wrong, text in (
        (["--layer", "nope"], "no such layer"),
        (["--layer", "conv"], "Did you mean"),
        (["--input", "nope"], "no such input"),
        (["--piece", "0"], "--piece: must be positive"),
        (["--order", "deep"], "deep"),
    ):
        assert run([*words, *wrong]) == 2
        assert text in capsys.readouterr().err


def test_one_recording_is_enough_for_all_inputs_of_the_sensor(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    draw = np.random.default_rng(0)
    sensing = [
        weighted(chain([conv(4), conv(4)], (2, 16, 16), dvs=True, name=name), draw, integer=True)
        for name in ("a", "b")
    ]
    config, events = mapper.build_config(mapper.solve(sensing)), recorded((2, 16, 16))
    write_config(config, tmp_path / "config.json")
    write_events(tmp_path / "e.npy", events)
    words = ["simulate", str(tmp_path / "config.json"), "--events", str(tmp_path / "e.npy"), "--json"]
    expected = simulate_events(config, {"a:input": events})
    assert sum(expected.spikes.values()) > 0
    for name in ([], ["--input", "b:input"]):
        assert run([*words, *name]) == 0
        record = json.loads(capsys.readouterr().out)
        assert record["spikes"] == {str(core): count for core, count in expected.spikes.items()}
        assert record["signals"]["a:input"] == record["signals"]["b:input"] == len(events)
    host = sensing[1].replacing(inputs=(Input("input", sensing[1].inputs[0].shape),))
    mixed = mapper.build_config(mapper.solve([sensing[0], host]))
    write_config(mixed, tmp_path / "config.json")
    assert run(words) == 2
    assert "there are several inputs" in capsys.readouterr().err


def test_a_configuration_without_interface_runs_from_python() -> None:
    config = mapper.build_config(mapper.solve("digits"))
    bare = config.model_copy(update={"interface": None})
    events = recorded((1, 8, 8))
    assert config.interface is not None
    core = config.interface.inputs[0].entries[0].core
    summary = run_recording(bare, {"events": events}, input_cores={"events": core})
    assert summary.synops == simulate_events(config, {"input": events}).synops


def test_layers_whose_names_differ_have_files_that_do(tmp_path: Path) -> None:
    text = config_text(mapper.build_config(mapper.solve("digits")))
    for name, other in (("conv1", "a/b"), ("conv2", "a_b"), ("conv3", "../up")):
        text = text.replace(f'"{name}"', f'"{other}"')
    (tmp_path / "config.json").write_text(text, encoding="utf-8")
    events = events_from_raster(np.random.default_rng(0).integers(0, 2, (40, 1, 8, 8)), 1000)
    write_events(tmp_path / "e.npy", events)
    words = ["simulate", str(tmp_path / "config.json"), "--events", str(tmp_path / "e.npy")]
    layers = ["a/b", "a_b", "../up"]
    more = [word for layer in layers for word in ("--layer", layer)]
    assert run([*words, *more, "--out", str(tmp_path / "out")]) == 0
    expected = simulate_events(
        read_config(tmp_path / "config.json"), {"input": events}, EventOptions(record=tuple(layers))
    )
    for layer, name in zip(layers, ("a%2Fb", "a_b", "%2E.%2Fup"), strict=True):
        assert read_events(tmp_path / "out" / f"{name}.npy").tolist() == expected.layers[layer].tolist()
    assert len(list((tmp_path / "out").iterdir())) == 3
