"""The scripts that train: that they run, that their numbers are true, and the same every time."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mapper
from mapper.emit.write.build import build_config
from mapper.equivalence.labelled import read_labelled
from mapper.events import events_from_raster
from mapper.sim.event import EventOptions, simulate_events
from mapper.sim.network import simulate

SCRIPTS = Path(__file__).parents[2] / "scripts"


def loaded(name: str, patch: pytest.MonkeyPatch) -> Any:
    spec = spec_from_file_location(name, SCRIPTS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    # Dataclasses look their module up.
    patch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    return module


def share(config: Any, network: Any, data: Any, order: Any) -> float:
    """Right answers spike by spike, in a few lines of their own."""
    right = 0
    for number, (raster, label) in enumerate(zip(data.rasters, data.labels, strict=True)):
        given = {network.inputs[0].name: events_from_raster(raster, 1000)}
        options = EventOptions(order=order, seed=number, tick_us=1000)
        spikes = simulate_events(config, given, options, end_us=1000.0 * len(raster)).outputs
        classes = spikes[network.outputs[0].name]["p"].tolist()
        counts = [classes.count(n) for n in range(10)]
        right += bool(classes) and counts.index(max(counts)) == label
    return right / len(data.labels)


@pytest.mark.no_cover
def test_three_networks_before_and_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script = loaded("accuracy_table", monkeypatch)
    halves: list[Any] = []
    judged = script.judged

    def kept(module: Any, training: Any, test: Any, *more: Any, **words: Any) -> Any:
        halves.append(test)
        return judged(module, training, test, *more, **words)

    monkeypatch.setattr(script, "judged", kept)
    found = script.main(["--quick", "--json", str(tmp_path / "table.json")])
    record = json.loads((tmp_path / "table.json").read_text(encoding="utf-8"))
    assert list(record) == list(found) == ["norm", "residual", "moving"]
    text = capsys.readouterr().out
    assert all(f"{name}: 32 samples judge" in text for name in record)
    for test, (name, tuned) in zip(halves, found.items(), strict=True):
        after, network = record[name]["accuracy"]["after"], tuned.result.given[0]
        assert {*after} == {"float", "integer", "steps", "spikes", "orders"}
        assert ("source" in record[name]["accuracy"]["before"]) == (name != "moving")
        config = build_config(tuned.result)
        assert after["orders"] == {order: share(config, network, test, order) for order in after["orders"]}
        sums = [simulate(network, {network.inputs[0].name: r}).spikes for r in test.rasters]
        counts = np.stack([spikes[network.outputs[0].source].sum(0).ravel() for spikes in sums])
        answers = np.where(counts.any(1), counts.argmax(1), -1)
        assert after["integer"] == after["steps"] == float((answers == test.labels).mean())
    # One that has learned: eight directions are told apart beyond chance.
    assert record["moving"]["accuracy"]["before"]["float"] > 0.2


def test_shapes_move_where_their_label_says(monkeypatch: pytest.MonkeyPatch) -> None:
    script = loaded("accuracy_table", monkeypatch)
    data = script.moving_shapes(40, seed=3)
    same, other = script.moving_shapes(40, seed=3), script.moving_shapes(40, seed=4)
    assert np.array_equal(data.rasters, same.rasters)
    assert not np.array_equal(data.rasters, other.rasters)
    rows, columns = np.mgrid[:16, :16]
    for raster, label in zip(data.rasters, data.labels, strict=True):
        # What gets brighter lies ahead of what gets darker.
        bright, dark = raster.sum(0).astype(float)
        ahead = [
            (bright * at).sum() / bright.sum() - (dark * at).sum() / dark.sum() for at in (rows, columns)
        ]
        angle = np.arctan2(*ahead)
        assert np.cos(angle - np.pi / 4 * label) > 0.7


def test_fine_tuning_is_the_same_every_time_and_is_what_is_emitted(monkeypatch: pytest.MonkeyPatch) -> None:
    script = loaded("finetune_digits", monkeypatch)
    data = read_labelled("digits-train")
    few: Any = data.rasters
    data = replace(data, rasters=few[:48], labels=data.labels[:48])
    monkeypatch.setattr(script, "BATCH", 24)
    monkeypatch.setattr(script, "PARTS", 4)
    # Two batches are to move integers.
    monkeypatch.setattr(script, "RATE", 4.0)
    networks = [script.digits_network() for _ in range(2)]
    before = networks[0].network
    for network in networks:
        script.fine_tuned(network, data, epochs=1)
    first, second = (network.network for network in networks)
    for layer, old in zip(first.layers, before.layers, strict=True):
        weight: Any = layer.operation.weight
        assert np.array_equal(weight, second.by_name[layer.name].operation.weight)
        assert not np.array_equal(weight, old.operation.weight)
    result = mapper.solve(networks[0])
    assert mapper.diff(build_config(result), first) == ()
