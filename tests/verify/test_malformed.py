"""Whatever stands in a solution: the checker answers with violations and never raises."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mapper
from hwspec.schema import ChipSpec
from mapper.network import Network
from mapper.operations import Convolution
from mapper.options import SolveOptions
from mapper.solution import Relay, Solution
from mapper.verify import Violation, verify
from tests.builders import chain, conv
from tests.rules.instances import SITUATIONS
from tests.verify.mutations import GARBAGE, NEIGHBOURS, get, places, put

KINDS = [*SITUATIONS, "readout", "sensor"]


@dataclass(frozen=True)
class Question:
    networks: tuple[Network, ...]
    chip: ChipSpec
    options: SolveOptions
    solution: Solution

    def violations(self, solution: object) -> tuple[Violation, ...]:
        return verify(self.networks, self.chip, self.options, solution)  # type: ignore[arg-type]  # anything


@cache
def question(kind: str) -> Question:
    """A right solution: of a generated instance, or of the solver with objectives, readout and sensor."""
    if kind in SITUATIONS:
        case = SITUATIONS[kind](np.random.default_rng(5))
        return Question(case.networks, case.chip(), case.options, case.solution)
    if kind == "readout":
        network = chain([conv(4), Convolution(8, (16, 16))])
        traffic = (("input", 100), ("conv0", 50))
        result = mapper.solve(
            network, "speck2f", readout="conv1", objective="headroom", traffic=traffic, keep=(("conv0", 4),)
        )
    else:
        result = mapper.solve(chain([conv(4), conv(8)], (2, 32, 32), dvs=True), "speck2f")
    return Question(result.networks, result.chip, result.options, result.require())


def is_harmless(solution: Solution, path: tuple[str | int, ...], value: object) -> bool:
    """Changes after which a solution says the same, or says less without saying anything wrong."""
    before = get(solution, path)
    if type(value) is type(before) and repr(value) == repr(before):
        return True
    if path == ("objectives",):
        return value == ()  # a placement need not state its objective
    if path[:1] == ("objectives",) and path[-1] == "bound" and type(value) is type(before):
        # A bound may be looser than the proven one.
        stage = get(solution, path[:-1])
        upwards = stage.name in ("headroom", "layers_kept", "spikes_on_parallel_cores")
        numbers = (isinstance(value, int) and value >= 0) or value == "1/2"
        return numbers and (value > stage.value if upwards else value < stage.value)
    if path[-1:] == ("reads_all",):
        # A relay of the whole signal reads all of it either way.
        return value is True and _passes_everything(solution, path)
    return False


def _passes_everything(solution: Solution, path: tuple[str | int, ...]) -> bool:
    relay = get(solution, path[:2])
    return (
        isinstance(relay.body, Relay) and sum(place.body == relay.body for place in solution.placements) == 1
    )


@pytest.mark.parametrize("kind", ["relay that reads all", "relay of the sensor", "readout"])
def test_every_value_of_a_wrong_type_is_a_violation(kind: str) -> None:
    asked = question(kind)
    for path in places(asked.solution):
        for value in GARBAGE:
            violations = asked.violations(put(asked.solution, path, value))
            nothing = value is None or type(value) is tuple
            assert bool(violations) != (nothing and is_harmless(asked.solution, path, value)), path
            assert all(str(violation) for violation in violations)


@pytest.mark.no_cover
@pytest.mark.parametrize(
    "kind", ["piece", "relay that reads all", "relay of the sensor", "readout", "sensor"]
)
def test_every_single_change_is_a_violation(kind: str) -> None:
    asked = question(kind)
    assert asked.violations(asked.solution) == ()
    for path in places(asked.solution):
        for value in NEIGHBOURS:
            violations = asked.violations(put(asked.solution, path, value))
            assert bool(violations) != is_harmless(asked.solution, path, value), (path, value, violations)
            assert all(str(violation) for violation in violations)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_missing_or_stands_twice_is_a_violation(kind: str) -> None:
    asked = question(kind)
    for name in ("placements", "routes", "host_entries", "monitors", "objectives"):
        entries = getattr(asked.solution, name)
        for n, entry in enumerate(entries):
            fewer = put(asked.solution, (name,), (*entries[:n], *entries[n + 1 :]))
            # Of the objective, a placement may state a part.
            assert bool(asked.violations(fewer)) == (name != "objectives")
            assert asked.violations(put(asked.solution, (name,), (*entries, entry)))


@pytest.mark.parametrize("kind", KINDS)
def test_the_order_of_entries_says_nothing(kind: str) -> None:
    asked = question(kind)
    for name in ("placements", "routes", "host_entries", "monitors"):
        turned = getattr(asked.solution, name)[::-1]
        assert asked.violations(put(asked.solution, (name,), turned)) == ()


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_no_heap_of_changes_makes_it_raise(data: st.DataObject) -> None:
    asked = question(data.draw(st.sampled_from(KINDS)))
    solution: Any = asked.solution
    values = (*GARBAGE, *NEIGHBOURS)
    for _ in range(data.draw(st.integers(1, 6))):
        paths = list(places(solution))
        # By number: some values refuse to be hashed or printed.
        path, donor = (paths[data.draw(st.integers(0, len(paths) - 1))] for _ in range(2))
        choice = data.draw(st.integers(0, len(values) + 8))
        new = values[choice] if choice < len(values) else get(solution, donor)
        if choice > len(values) + 5:
            new = data.draw(st.integers() | st.text() | st.binary())
        solution = put(solution, path, new)
    violations = asked.violations(solution)
    assert all(isinstance(violation, Violation) and str(violation) for violation in violations)


def without(value: object, path: tuple[str | int, ...]) -> Any:
    """A copy in which a field was never set."""
    name, *rest = path
    if isinstance(value, tuple):
        assert isinstance(name, int)
        return (*value[:name], without(value[name], tuple(rest)), *value[name + 1 :])
    bare = object.__new__(type(value))
    for field in fields(value):  # type: ignore[arg-type]  # a dataclass
        inner = getattr(value, field.name)
        if field.name != name or rest:
            object.__setattr__(bare, field.name, without(inner, tuple(rest)) if field.name == name else inner)
    return bare


@pytest.mark.parametrize("kind", KINDS)
def test_a_field_that_was_never_set_is_named(kind: str) -> None:
    case = question(kind)
    paths = [path for path in places(case.solution) if path and isinstance(path[-1], str)]
    assert ("dvs_stage",) in paths
    for path in paths:
        violations = case.violations(without(case.solution, path))
        assert any(v.where.endswith(str(path[-1])) and v.problem == "is missing" for v in violations), path
