"""Public values are equal where what they say is, whatever made them; a copy equals what it is of."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import mapper
from mapper import equivalence, events
from mapper.by_value import ByValue, same
from mapper.errors import OptionsError
from mapper.sim.frame_run import FrameState
from mapper.sim.network import State, simulate
from tests.test_wrong_arguments import public, rasters, right, tiny

# Of what each is made, twice with the same outcome.
VALUES: Mapping[str, Callable[[], Any]] = {
    "Network": tiny,
    "Network, read": lambda: mapper.load_network("digits"),
    "NormalNetwork": lambda: mapper.solve(tiny()).networks[0],
    "Result": lambda: mapper.solve(tiny()),
    "Result, misfit": lambda: mapper.solve("digits", forbidden_cores=tuple(range(8)), repairs=1),
    "FeasibilityReport": lambda: mapper.check("digits", forbidden_cores=tuple(range(8)), repairs=1).report,
    "Solution": lambda: mapper.solve(tiny()).solution,
    "ChipSpec": lambda: mapper.load_chip("speck2f", "-core[8]"),
    "ChipConfig": lambda: mapper.build_config(mapper.solve(tiny())),
    "EquivalenceReport": lambda: mapper.verify_equivalence(tiny(), steps=4, rate=0.5),
    "EquivalenceReport, judged": lambda: mapper.verify_equivalence(tiny(), data=data(), steps=4),
    "FrameResult": lambda: mapper.simulate_config(config(), {"input": rasters()[0]}),
    "EventResult": lambda: mapper.simulate_events(config(), {"input": some()}),
    "Simulation": lambda: simulate(mapper.solve(tiny()).networks[0], {"input": rasters()[0]}),
    "LabelledData": lambda: data(),
    "EventRaster": lambda: events.raster_from_events(some(), (2, 6, 6), dt_us=1000),
    "SolveOptions": lambda: mapper.SolveOptions(pins={"a": 2}, forbidden_cores=[1]),  # type: ignore[arg-type]
    "BatchNorm": lambda: mapper.BatchNorm(np.ones(2), np.ones(2), np.ones(2), np.ones(2)),
}


def config() -> mapper.ChipConfig:
    return mapper.build_config(mapper.solve(tiny()))


def data() -> equivalence.LabelledData:
    return equivalence.LabelledData("some", rasters(), np.arange(4) % 3)


def some() -> Any:
    return np.array([(5, 0, 1, 1), (9, 1, 2, 2)], events.EVENT_DTYPE)


@pytest.mark.filterwarnings("ignore:NO SPIKES")
@pytest.mark.parametrize("name", VALUES)
def test_what_is_made_alike_is_equal_and_so_are_copies(name: str) -> None:
    one, other = VALUES[name](), VALUES[name]()
    assert one is not other
    for made in (other, copy.copy(one), copy.deepcopy(one), pickle.loads(pickle.dumps(one))):  # noqa: S301  # of our own making
        assert one == made
        assert not one != made  # noqa: SIM202  # the other operator
        assert hash(one) == hash(made)
        assert len({one, made}) == 1
    assert one != name
    assert one not in (None, 3)


def changed(value: Any) -> Iterator[tuple[str, Any]]:
    """The same with one array that has another entry, for each array that it holds."""
    if isinstance(value, np.ndarray) and value.size and value.dtype.names is None:
        other = value.copy()
        other.flat[-1] = other.flat[-1] + 1
        yield "", other
    elif isinstance(value, Mapping):
        for key, held in value.items():
            yield from ((f"[{key}]{path}", {**value, key: made}) for path, made in changed(held))
    elif isinstance(value, tuple) and not hasattr(value, "_fields"):
        for n, held in enumerate(value):
            for path, made in changed(held):
                yield f"[{n}]{path}", (*value[:n], made, *value[n + 1 :])
    elif is_dataclass(value) and not isinstance(value, type):
        for field in fields(value):
            if field.compare:
                for path, made in changed(getattr(value, field.name)):
                    yield f".{field.name}{path}", replace(value, **{field.name: made})


@pytest.mark.parametrize(
    "name", ["Network", "NormalNetwork", "Result", "FrameResult", "Simulation", "BatchNorm"]
)
def test_one_other_entry_of_an_array_makes_another_value(name: str) -> None:
    value = VALUES[name]()
    found = [(path, made) for path, made in changed(value) if path.rpartition(".")[2] != "neuron"]
    assert found
    for path, made in found:
        assert value != made, path


def test_other_fields_make_another_value() -> None:
    network, result = tiny(), mapper.solve(tiny())
    assert network != replace(network, name="other")
    assert network != replace(network, layers=(replace(network.layers[0], neuron=mapper.Neuron(2.0)),))
    assert result != mapper.solve(tiny(), pins={"a": 5})
    assert result != mapper.solve(tiny(), "speck2cmini")
    assert result == replace(result, statistics=replace(result.statistics, wall_s=1e9))
    assert mapper.Neuron(1.0) != mapper.Neuron(np.ones(3))
    assert mapper.Neuron(np.ones(3)) != mapper.Neuron(np.ones(2))
    assert mapper.Convolution(1, (1, 1)) != mapper.Linear(1)


def test_what_is_the_same() -> None:
    nan = float("nan")
    equal = [
        (1, 1.0), (np.array(2.0), 2), (np.ones(2), np.ones(2, int)), (nan, float("nan")), ({"a": np.zeros(2)},) * 2,
        (np.array([nan]), np.array([nan])), ([1, (2, np.ones(1))],) * 2, (State(), State()),
        (FrameState({1: np.ones(2)}), FrameState({1: np.ones(2)})), (some(), some()), (np.array("a"), np.array("a")),
    ]  # fmt: skip
    for one, other in equal:
        assert same(one, copy.deepcopy(other))
        assert same(other, one)
    different = [
        (1, 2), (np.ones(2), np.ones(3)), (np.ones(1), 1), (np.ones(2), (1, 1)), ({"a": 1}, {"b": 1}),
        (nan, 1.0), ([1], (1,)), (State(), FrameState()), (np.ones(2), None), ({"a": np.ones(2)}, {"a": np.zeros(2)}),
        (some(), some()[:1]), (np.array("a"), np.array(1)), ([1, 2], [1]),
        (np.float32(0.1), 0.1),
    ]  # fmt: skip
    for one, other in different:
        assert not same(one, other)
        assert not same(other, one)
    numbers: tuple[Any, ...] = (np.array(2.0), np.float32(2), np.int8(2))
    for number in numbers:
        assert mapper.Neuron(number) == mapper.Neuron(2)
        assert hash(mapper.Neuron(number)) == hash(mapper.Neuron(2))


def test_thresholds_and_weights_are_arrays_whatever_they_were() -> None:
    for threshold in (
        torch.ones(3),
        nn.Parameter(torch.ones(3)),
        [1.0, 1.0, 1.0],
        (1, 1, 1),
        np.ones(3, ">f4"),
    ):
        made = mapper.Neuron(threshold)  # type: ignore[arg-type]
        assert isinstance(made.threshold, np.ndarray)
        assert made == mapper.Neuron(np.ones(3)) == copy.deepcopy(made)
        assert hash(made) == hash(mapper.Neuron(np.ones(3)))
    half = mapper.Neuron(torch.tensor(0.5), torch.tensor(-1))  # type: ignore[arg-type]
    assert half == mapper.Neuron(0.5, -1)
    assert len({half, mapper.Neuron(0.5, -1), copy.deepcopy(half)}) == 1
    weight = mapper.Convolution(1, (1, 1), weight=nn.Parameter(torch.ones(1, 1, 1, 1))).weight  # type: ignore[arg-type]
    assert isinstance(weight, np.ndarray)
    with pytest.raises(OptionsError, match=r"^threshold: is masked"):
        mapper.Neuron(np.ma.array(np.ones(3), mask=[False, True, False]))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_errors_reach_other_processes(protocol: int) -> None:
    """Whatever their constructors take: with all they hold."""
    misfit = mapper.solve("digits", forbidden_cores=tuple(range(8)), repairs=0)
    undecided = mapper.solve("digits", time_limit_s=1e-9)
    calls: tuple[Callable[[], Any], ...] = (
        misfit.require, undecided.require, lambda: mapper.solve("digits", chip="nope"),
        lambda: mapper.solve("none.nir"), lambda: mapper.solve("digits", pins={"none": 1}),
    )  # fmt: skip
    told = set()
    for call in calls:
        with pytest.raises((mapper.MapperError, mapper.SpecError)) as caught:
            call()
        error = caught.value
        for other in (pickle.loads(pickle.dumps(error, protocol)), copy.copy(error), copy.deepcopy(error)):  # noqa: S301  # of our own making
            assert type(other) is type(error)
            assert str(other) == str(error)
            assert vars(other).keys() == vars(error).keys()
        told.add(type(error))
    assert len(told) == len(calls)


def test_every_public_value_compares_by_its_values(tmp_path: Any) -> None:
    """What holds arrays or mappings takes part by `ByValue`: its own comparison would fail, or know no hash."""
    asked = public()
    with events.EventWriter(tmp_path / "more.npy") as writer:
        given = right(tmp_path, writer)
        walked = 0
        for name, entry in asked.items():
            if not isinstance(entry, type) or not is_dataclass(entry):
                continue
            made = [entry(**given[name]) for _ in range(2)]
            assert made[0] == made[1], name
            assert hash(made[0]) == hash(made[1]), name
            assert pickle.loads(pickle.dumps(made[0])) == made[0], name  # noqa: S301  # of our own making
            walked += 1
    assert walked > 15
    assert issubclass(mapper.EmitOptions, ByValue)
