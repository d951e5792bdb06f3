"""Inputs from the sensor or the host, where the user says it, whatever the source."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from torch import nn

import mapper
from mapper.cli.entry import run
from mapper.emit.write.options import EmitOptions
from mapper.errors import OptionsError
from mapper.frontends import TorchOptions, load_network
from mapper.network import DvsSettings, Edge, Input, Network, Output
from mapper.operations import Shape
from tests.builders import chain, conv

SHAPE = (2, 8, 8)
ZOO = Path(__file__).resolve().parent.parent / "data" / "zoo"
SENSOR = DvsSettings()
Capture = pytest.CaptureFixture[str]


def two_inputs() -> Network:
    """One layer that two inputs feed."""
    network = chain([conv(4)], SHAPE)
    name, shape = network.inputs[0].name, network.inputs[0].shape
    layer = network.layers[0].name
    inputs = (Input("left", shape, replace(SENSOR, mirror=(True, False))), Input("right", shape))
    assert name not in ("left", "right")
    return network.replacing(inputs=inputs, edges=(Edge("left", layer), Edge("right", layer)))


@pytest.mark.parametrize(
    "source", ["digits", ZOO / "gesture_small.yaml", nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU())]
)
def test_every_source(source: Any) -> None:
    shape, torch = (SHAPE, TorchOptions(1.0)) if isinstance(source, nn.Module) else (None, None)
    stated, sensor, host = (
        load_network(source, shape, torch=torch, input_from=place) for place in (None, "sensor", "host")
    )
    assert all(entry.dvs is not None for entry in sensor.inputs)
    assert all(entry.dvs is None for entry in host.inputs)
    assert stated.inputs in (sensor.inputs, host.inputs)
    changed = sensor.inputs != stated.inputs
    assert len(sensor.readings) - len(stated.readings) == changed
    assert all("rows 0.." in reading.taken for reading in sensor.readings[len(stated.readings) :])


def test_one_of_several() -> None:
    network = two_inputs()
    both = load_network(network, input_from="sensor")
    assert [entry.dvs for entry in both.inputs] == [network.inputs[0].dvs, SENSOR]
    right = load_network(network, input_from={"right": "sensor", "left": "host"})
    assert [entry.dvs for entry in right.inputs] == [None, SENSOR]
    told = [str(reading) for reading in right.readings]
    assert len(told) == 2
    assert "input left: events from the host as the first layer reads them" in told[0]
    assert load_network(network, input_from={}) == network


def test_what_cannot_come_from_the_sensor() -> None:
    network = two_inputs()
    with pytest.raises(OptionsError, match=r"no such input \(allowed: left, right\)"):
        load_network(network, input_from={"middle": "sensor"})
    with pytest.raises(OptionsError, match='mapping of text to "sensor" or "host"'):
        load_network(network, input_from={"left": "camera"})  # type: ignore[dict-item]
    wide = chain([conv(4)], (3, 8, 8))
    name = wide.inputs[0].name
    with pytest.raises(OptionsError, match=rf"input {name}: .*two polarities.*got 3 features; allowed: 1, 2"):
        load_network(wide, input_from="sensor")
    assert load_network(wide, input_from="host").inputs == wide.inputs
    merged = load_network(chain([conv(4)], (1, 8, 8)), input_from="sensor")
    assert "merged" in str(merged.readings[-1])


def test_in_every_call() -> None:
    assert mapper.solve("digits", input_from="sensor").require().dvs_stage is not None
    assert mapper.solve("digits").require().dvs_stage is None
    assert mapper.verify_equivalence("digits", input_from="sensor", rate=0.5, steps=10).is_equivalent


def test_on_the_command_line(tmp_path: Path, capsys: Capture) -> None:
    def stage(*words: str) -> Any:
        capsys.readouterr()
        assert run(["solve", "digits", "--json", *words]) == 0
        return json.loads(capsys.readouterr().out)["placement"]["solution"]["dvs_stage"]

    name = load_network("digits").inputs[0].name
    assert stage() is None
    assert stage("--input", "sensor") == stage("--input", f"{name}=sensor")
    assert stage("--input", "sensor")["cut"] == [7, 7]
    assert stage("--input", "host") is None
    for words, text in (
        (["--input", "camera"], "--input camera: is neither sensor nor host"),
        (["--input", "=sensor"], "is neither sensor nor host"),
        (["--input", "sensor", "--input", "host"], "--input sensor"),
        (["--input", "a=sensor", "--input", "a=host"], "--input a: is given twice"),
        (["--input", "a=sensor"], f"there is no such input (allowed: {name})"),
    ):
        assert run(["check", "digits", *words]) == 2
        assert text in capsys.readouterr().err
    assert run(["widest", "digits", "--what", "input", "--input", "sensor", "--input-name", name]) == 0


def test_a_sensor_that_nothing_reads_stays_off(tmp_path: Path, capsys: Capture) -> None:
    out = ["--out", str(tmp_path), "--no-self-test"]
    assert run(["emit", "digits", "--sensor", *out]) == 2
    assert "nothing reads it. Leave --sensor out, or let the network read the sensor: --input sensor" in (
        capsys.readouterr().err
    )
    assert run(["emit", "digits", "--sensor", "--input", "sensor", *out]) == 0
    assert json.loads((tmp_path / "config.json").read_text())["hardware"]["dvs_layer"]["pass_sensor_events"]
    # Whoever monitors the sensor reads it.
    assert run(["emit", "digits", "--sensor", "--monitor-sensor", *out]) == 0
    assert run(["emit", "digits", "--no-sensor", *out]) == 0
    result = mapper.solve("digits")
    with pytest.raises(OptionsError, match="nothing reads it"):
        mapper.build_config(result, EmitOptions(sensor=True))


def test_a_merged_sensor_is_placed() -> None:
    network = chain([conv(4)], (1, 8, 8))
    network = network.replacing(
        inputs=(Input(network.inputs[0].name, Shape(1, 8, 8)),),
        outputs=(Output("out", network.layers[0].name),),
    )
    stage = mapper.solve(network, input_from="sensor").require().dvs_stage
    assert stage is not None
    assert stage.merge
