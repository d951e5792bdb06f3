"""Nothing of a solution is emitted without a field: what no field holds is refused, by name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwspec.catalog import load
from mapper.emit.shared.config import ChipConfig
from mapper.emit.write.build import build_config
from mapper.errors import EmitError
from mapper.solution import (
    DVS,
    DvsStage,
    HostEntry,
    LayerPart,
    Monitor,
    Objective,
    Placement,
    Relay,
    Route,
    Solution,
)
from tests.emit.handmade import CASES, layer_with_a_copy_and_a_readout, sensor_relay_that_shifts

# What stands in the solution by itself, and what is decided about it.
PARTS: tuple[type, ...] = (Placement, LayerPart, Relay, Route, HostEntry, DvsStage, Monitor)
RESULTS = {name: make() for name, make in CASES.items()}
CONFIGS = {name: build_config(result) for name, result in RESULTS.items()}


Path = tuple[str | int, ...]


def sites(entry: Any, path: Path = ()) -> Iterator[tuple[Path, type, Any]]:
    """(path, class, value) of every field of a solution; how good the solution is does not concern a chip."""
    for field in fields(entry):
        value, place = getattr(entry, field.name), (*path, field.name)
        if isinstance(value, tuple) and value and is_dataclass(value[0]):
            for n, inner in enumerate(value):
                yield from sites(inner, (*place, n))
        elif is_dataclass(value):
            yield from sites(value, place)
        elif type(entry) is not Solution:
            yield place, type(entry), value


def changed_at(entry: Any, path: Path, value: Any) -> Any:
    """The same with another value at a path."""
    if not path:
        return value
    name, *rest = path
    if isinstance(name, int):
        return (*entry[:name], changed_at(entry[name], tuple(rest), value), *entry[name + 1 :])
    return replace(entry, **{name: changed_at(getattr(entry, name), tuple(rest), value)})


SITES = [(case, *site) for case, result in RESULTS.items() for site in sites(result.require())]
NAMES = ("in", "l0", "l1", "dvs", "readout", "nobody")


def others(value: Any) -> list[Any]:
    """Values of the same type."""
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [-1, 0, 1, 2, 3, 5, 8, 9, 12, 127, 1 << 20]
    if isinstance(value, str):
        return [*NAMES, 3]
    if value is None:
        return [0, 1, 99]
    if isinstance(value, tuple):
        return [(*value[:n], new, *value[n + 1 :]) for n in range(len(value)) for new in others(value[n])]
    return []


def meaning(case: str, solution: Solution) -> Any:
    """What a solution says: a relay of all of a signal reads all of it in either way; order does not count."""
    networks, parts = RESULTS[case].networks, []
    for placement in solution.placements:
        body = placement.body
        if isinstance(body, Relay):
            shapes = networks[body.network or 0].signal_shapes
            features = shapes["in" if body.network is None else body.signal].features
            body = replace(body, reads_all=body.reads_all or placement.features == (0, features))
        parts.append(replace(placement, body=body))
    everything = (*parts, *solution.routes, *solution.host_entries, *solution.monitors, solution.dvs_stage)
    return sorted(map(repr, everything))


def emitted(case: str, solution: Solution) -> ChipConfig | EmitError:
    """Refused, or a configuration that is another one exactly if the solution is."""
    try:
        config = build_config(replace(RESULTS[case], solution=solution))
    except EmitError as error:
        return error
    assert (config == CONFIGS[case]) == (meaning(case, solution) == meaning(case, RESULTS[case].require()))
    return config


FIELDS = sorted({(kind.__name__, path[-1]) for _, path, kind, _ in SITES})


@pytest.mark.parametrize(("kind", "name"), FIELDS)
def test_every_field_of_a_solution(kind: str, name: str) -> None:
    """Every other value shows in the configuration or is refused; some are, by their value."""
    refused = []
    for case, path, owner, value in SITES:
        if (owner.__name__, path[-1]) == (kind, name):
            for other in others(value):
                answer = emitted(case, changed_at(RESULTS[case].require(), path, other))
                if isinstance(answer, EmitError):
                    refused.append((other, str(answer)))
    assert refused
    assert any(_is_named(value, text) for value, text in refused)


def _is_named(value: Any, text: str) -> bool:
    """Whether a message has a value, or part of a pair; a range by its last feature; switches have none."""
    if isinstance(value, bool):
        return True
    parts = value if isinstance(value, tuple) else (value,)
    return any(str(part) in text or (isinstance(part, int) and str(part - 1) in text) for part in parts)


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_any_changes_show_or_are_refused(data: st.DataObject) -> None:
    case = data.draw(st.sampled_from(sorted(RESULTS)))
    solution = RESULTS[case].require()
    for _ in range(data.draw(st.integers(1, 4))):
        path, _, value = data.draw(st.sampled_from(list(sites(solution))))
        solution = changed_at(solution, path, data.draw(st.sampled_from(others(value))))
    emitted(case, solution)


def test_all_fields_are_changed() -> None:
    expected = {(part.__name__, field.name) for part in PARTS for field in fields(part)}
    assert set(FIELDS) == expected - {("Placement", "body")}
    # How good a solution is does not concern the chip.
    case, result = next(iter(RESULTS.items()))
    judged = replace(result.require(), objectives=(Objective("cores", 7, 7),))
    assert build_config(replace(result, solution=judged)) == CONFIGS[case]


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"feature_shift": 2}, r"destination 1 of the sensor stage: to 5: no field holds a feature shift \(got 2"),
        ({"pooling": 2}, r"destination 1 of the sensor stage: to 5: no field holds a pool \(got 2; allowed: 1\)"),
        ({"slot": 2}, r"destination 2 of the sensor stage: there is no such entry \(got 2; allowed: 0..1\)"),
        ({"slot": 0}, "destination 0 of the sensor stage: is used more than once"),
        ({"target": 3}, "leads to a core on which nothing is placed"),
        ({"target": "readout"}, "leads to the readout, which it cannot reach"),
        ({"source": 4}, "leaves a core on which nothing is placed"),
    ],
)  # fmt: skip
def test_routes_of_the_sensor(changes: dict[str, Any], text: str) -> None:
    result = sensor_relay_that_shifts()
    solution = result.require()
    routes = tuple(replace(r, **changes) if (r.source, r.slot) == (DVS, 1) else r for r in solution.routes)
    with pytest.raises(EmitError, match=text):
        build_config(replace(result, solution=replace(solution, routes=routes)))


@pytest.mark.parametrize(("field", "value"), [("pooling", 2), ("feature_shift", 1)])
def test_routes_to_the_readout(field: str, value: int) -> None:
    result = layer_with_a_copy_and_a_readout()
    solution = result.require()
    routes = tuple(replace(r, **{field: value}) if r.target == "readout" else r for r in solution.routes)
    with pytest.raises(EmitError, match=rf"to readout: no field holds a .*got {value}"):
        build_config(replace(result, solution=replace(solution, routes=routes)))


def test_chips_that_lack_what_a_solution_uses() -> None:
    sensing, reading = sensor_relay_that_shifts(), layer_with_a_copy_and_a_readout()
    blind = sensing.chip.model_copy(update={"input": None})
    with pytest.raises(EmitError, match="sensor stage: speck2f has none to set"):
        build_config(replace(sensing, chip=blind))
    unset = replace(sensing.require(), dvs_stage=None)
    with pytest.raises(EmitError, match="is used and has no setting"):
        build_config(replace(sensing, solution=unset))
    mute = reading.chip.model_copy(update={"readout": None})
    with pytest.raises(EmitError, match="leads to the readout, which it cannot reach"):
        build_config(replace(reading, chip=mute))
    # A variant may have so many cores that one has the readout's number.
    large = load("speck2f", ["+core[9..15]=core[8]"])
    with pytest.raises(EmitError, match=r"number is also a core's \(got 12; allowed: >= 16\). Set readout"):
        build_config(replace(reading, chip=large))
    moved = load("speck2f", ["+core[9..15]=core[8]", "readout.destination_id=16"])
    assert build_config(replace(reading, chip=moved)).hardware.cnn_layers[4].destinations[0].layer == 16
    still = load("speck2f", ["routing.feature_shift=false"])
    with pytest.raises(
        EmitError, match=r"feature_shift: its field cannot hold this value \(got 2; allowed: 0..0\)"
    ):
        build_config(replace(sensing, chip=still))


@pytest.mark.parametrize("pooling", [1, 3, 4])
def test_a_relay_is_pooled_as_what_arrives(pooling: int) -> None:
    """Which pools its spikes contain stands in no field of its own."""
    result = CASES["layer_relay_in_pieces"]()
    solution = result.require()
    placements = tuple(
        replace(p, body=replace(p.body, pooling=pooling)) if isinstance(p.body, Relay) else p
        for p in solution.placements
    )
    with pytest.raises(EmitError, match=rf"relay of l0 on core 3: is not pooled.*got {pooling}; allowed: 2"):
        build_config(replace(result, solution=replace(solution, placements=placements)))
