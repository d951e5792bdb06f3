"""Boards and pieces: samna's objects, events to every core that takes them, spikes back to the layer."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import mapper
from mapper.boards.monitored import monitored_layers
from mapper.emit.samna import from_samna, to_samna, validate
from mapper.emit.shared.file import config_text
from mapper.emit.write.build import build_config
from mapper.events import EVENT_DTYPE, events_from_spikes, spikes_of
from mapper.network import Output
from mapper.result import Result
from tests.builders import chain, conv, pool, weighted
from tests.divided import big_chip, divided
from tests.sim.test_divided import several, with_host_input
from tests.stand_in.samna_stand_in import install


def cut_on_a_real_chip() -> Result:
    """32 features of 64x64 take 128 Ki words of neurons: no core has more than 64 Ki."""
    kinds = [conv(32), conv(4)]
    network = weighted(chain(kinds, (2, 64, 64), (4,)), np.random.default_rng(0), integer=True)
    return mapper.solve(network, "speck2f", monitors=("conv0",))


def test_pieces_through_samna_and_back(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    install(monkeypatch, tmp_path)
    result = cut_on_a_real_chip()
    config = build_config(result)
    theirs = to_samna(config, result.chip)
    assert validate(theirs, result.chip) == (True, "")
    assert from_samna(theirs, result.chip).hardware == config.hardware


def test_spikes_of_pieces_are_the_layer_s() -> None:
    config = build_config(cut_on_a_real_chip())
    reading = monitored_layers(config)
    assert reading["conv0"].shape == (32, 64, 64)
    assert len(reading["conv0"].parts) == 2
    parts: Any = reading["conv0"].parts
    spikes = [
        SimpleNamespace(layer=core, feature=1, y=2, x=3, timestamp=n) for n, (core, _, _) in enumerate(parts)
    ]
    seen = events_from_spikes(spikes, reading).events["conv0"]
    assert seen["p"].tolist() == [start + 1 for _, start, _ in parts]


def test_a_relay_shows_the_output_pooled() -> None:
    base = weighted(chain([conv(3), conv(4)], (2, 8, 8)), np.random.default_rng(0), integer=True)
    network, kinds = base.replacing(outputs=(Output("out", "conv1", pool(2)),)), set()
    for seed in range(8):
        result = divided([network], big_chip(), np.random.default_rng(seed))
        (reading,) = monitored_layers(build_config(result)).values()
        kinds.add((reading.shape, reading.host_pool))
    assert kinds == {((4, 8, 8), (2, 2)), ((4, 4, 4), (1, 1))}


def deploy() -> Any:
    path = Path(__file__).parents[2] / "scripts" / "deploy.py"
    spec = importlib.util.spec_from_file_location("deploy", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Spike(SimpleNamespace):
    """Takes any attribute."""


def test_the_deploy_script_sends_to_every_core_of_an_input() -> None:
    script, library = deploy(), SimpleNamespace(event=SimpleNamespace(Spike=Spike, DvsEvent=Spike))
    events = np.array([(5, 1, 2, 3)], EVENT_DTYPE)
    hosts = 0
    for seed in range(6):
        networks = [with_host_input(network) for network in several(seed)]
        result = divided(networks, big_chip(), np.random.default_rng(seed))
        config = build_config(result)
        content = json.loads(config_text(config))
        assert config.interface is not None
        with pytest.raises(SystemExit, match="there are several inputs"):
            script.spikes(content, library, events)
        with pytest.raises(SystemExit, match="no input third"):
            script.spikes(content, library, events, "third")
        for entry in config.interface.inputs:
            made = script.spikes(content, library, events, entry.name)
            hosts += len(made)
            assert [vars(one) for one in made] == [vars(s) for s in spikes_of(events, entry.entries, Spike)]
        assert set(script.owners_of(content["interface"])) == set(config.interface.owners)
    assert hosts >= 12
