"""placement.json: complete, strict on reading, and what it says of relays."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import mapper
from hwspec.memory import kernel_words, neuron_words
from mapper.errors import OptionsError
from mapper.record import CoreUse, PlacementRecord, core_use, placement_record, read_placement
from mapper.result import Result
from mapper.solution import DVS, Placement, Relay
from tests.builders import chain, conv, gesture


def paths(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Every field of a JSON value, those of the first entry of every list among them."""
    if isinstance(value, dict):
        return [here for key, inner in value.items() for here in ((*path, key), *paths(inner, (*path, key)))]
    return paths(value[0], (*path, 0)) if isinstance(value, list) and value else []


def whole() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(
        placement_record(mapper.solve(gesture(), "speck2f")).model_dump_json()
    )
    return content


def changed(content: Any, path: tuple[str | int, ...], *, rename: bool) -> Any:
    again = json.loads(json.dumps(content))
    place = again
    for key in path[:-1]:
        place = place[key]
    value = place.pop(path[-1])
    return again if not rename else (place.update({f"{path[-1]}_": value, path[-1]: value}), again)[1]


@pytest.mark.parametrize("path", paths(whole()), ids=lambda path: ".".join(map(str, path)))
def test_no_field_may_be_missing_or_unknown(path: tuple[str | int, ...], tmp_path: Path) -> None:
    file = tmp_path / "placement.json"
    file.write_text(json.dumps(changed(whole(), path, rename=False)), encoding="utf-8")
    with pytest.raises(OptionsError, match="is no placement") as caught:
        read_placement(file)
    assert str(path[-1]) in str(caught.value)
    file.write_text(json.dumps(changed(whole(), path, rename=True)), encoding="utf-8")
    with pytest.raises(OptionsError, match="is no placement") as caught:
        read_placement(file)
    assert f"{path[-1]}_" in str(caught.value)
    assert len(caught.value.findings) == 1


def test_what_was_written_is_read_and_holds_the_solution(tmp_path: Path) -> None:
    result = mapper.solve(gesture(), "speck2f")
    file = tmp_path / "placement.json"
    file.write_text(placement_record(result).model_dump_json(), encoding="utf-8")
    assert read_placement(file) == placement_record(result)
    assert read_placement(file).solution == result.solution


@pytest.mark.parametrize(
    ("text", "told"),
    [('{"schema_version": 1}', "another schema_version"), ("{", "Invalid JSON"), ("[]", "is no placement")],
)
def test_other_files_are_refused(text: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "placement.json").write_text(text, encoding="utf-8")
    with pytest.raises(OptionsError, match=told):
        read_placement(tmp_path / "placement.json")


def relayed(relay: Relay, features: tuple[int, int]) -> tuple[Result, CoreUse]:
    """A placement with one more relay, on the last core."""
    result = mapper.solve(chain([conv(8), conv(4)], (2, 64, 64), (2,), dvs=True), "speck2f")
    solution = result.require()
    place = Placement(8, relay, features)
    result = replace(result, solution=replace(solution, placements=(*solution.placements, place)))
    return result, core_use(result)[8]


def test_a_relay_of_the_sensor_belongs_to_no_network() -> None:
    result, use = relayed(Relay(None, DVS, pooling=2), (0, 2))
    assert (use.label, use.role, use.network, use.layer) == ("relay of the sensor /2", "relay", None, DVS)
    stage = result.require().dvs_stage
    assert stage is not None
    side = (stage.cut[0] - stage.origin[0] + 1) // 2
    assert use.shape == (2, side, side)
    assert use.neuron_words[0] == neuron_words(2, side, side)
    again = PlacementRecord.model_validate_json(placement_record(result).model_dump_json())
    assert again == placement_record(result)
    _, first = relayed(Relay(None, DVS), (0, 1))
    assert first.label == "relay of the sensor[0:1]"


@pytest.mark.parametrize(("reads_all", "read"), [(False, 3), (True, 8)])
def test_words_of_a_relay_that_reads_all_of_a_signal(reads_all: bool, read: int) -> None:
    result, use = relayed(Relay(0, "conv0", reads_all=reads_all), (2, 5))
    assert use.label == "relay of conv0[2:5]"
    assert use.kernel_words[0] == kernel_words(read, 3, 1, 1)
    shape = result.networks[0].signal_shapes["conv0"]
    assert use.neuron_words[0] == neuron_words(3, shape.height, shape.width)
