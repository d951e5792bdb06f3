"""When the slow clock starts, and what is too much of it."""

from __future__ import annotations

import json
import math
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mapper
from mapper.cli.entry import run
from mapper.errors import ConfigError, EventError, MapperWarning
from mapper.events import EVENT_DTYPE, write_events
from mapper.sim.event import EventOptions, EventSimulator, simulate_events
from mapper.sim.ticks import LEAD_TICKS_MAX, TICKS_MAX
from tests.boards.cases import configured

Capture = pytest.CaptureFixture[str]


def events(*times: int) -> Any:
    return np.array([(t, 0, 1, 1) for t in times], EVENT_DTYPE)


@pytest.fixture(scope="module")
def biased() -> Any:
    """A network with biases, a tick every millisecond."""
    return configured(bias=True, dt_us=1000.0)


def counted(config: Any, given: Any, **options: Any) -> dict[int, int]:
    return dict(simulate_events(config, {"input": given}, EventOptions(**options)).spikes)


def test_a_clock_of_the_day_costs_nothing(biased: Any) -> None:
    """The same spikes as if the recording began at 0, at once."""
    expected = counted(biased, events(0, 5000, 90_000))
    start = time.monotonic()
    for first in (10**8, 10**12, 1_700_000_000_000_000):
        with pytest.warns(MapperWarning, match=r"starts with that event.*start_us=0"):
            assert counted(biased, events(first, first + 5000, first + 90_000)) == expected
    assert time.monotonic() - start < 5


def test_a_short_lead_is_run(biased: Any) -> None:
    """What comes within a second of 1 kHz may be meant: biases charge until then."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        late = counted(biased, events(LEAD_TICKS_MAX * 1000))
    assert late == counted(biased, events(LEAD_TICKS_MAX * 1000), start_us=0.0)
    assert late != counted(biased, events(0))


def test_it_is_run_from_0_when_asked(biased: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        asked = counted(biased, events(2_000_000), start_us=0.0)
    assert asked != counted(biased, events(0))


def test_pieces_go_on_with_one_clock(biased: Any) -> None:
    whole = events(10**9, 10**9 + 7000, 10**9 + 50_000)
    with pytest.warns(MapperWarning):
        expected = counted(biased, whole)
    simulator = EventSimulator(biased)
    with pytest.warns(MapperWarning):
        first = simulator.run({"input": whole[:0]}).spikes, simulator.run({"input": whole[:1]}).spikes
    rest = simulator.run({"input": whole[1:]}).spikes
    assert {core: first[0][core] + first[1][core] + rest[core] for core in rest} == expected


@pytest.mark.filterwarnings("ignore:slow clock")
@pytest.mark.parametrize(
    ("times", "options"),
    [
        ((0, 1_700_000_000_000_000), {}),
        ((5, TICKS_MAX * 1000 + 2000), {}),
        ((1_700_000_000_000_000_000,), {}),
        ((1_700_000_000_000_000,), {"start_us": 0.0}),
        ((0, 10**9), {"tick_us": 1.0}),
    ],
)
def test_too_much_is_refused_at_once(biased: Any, times: tuple[int, ...], options: Any) -> None:
    start = time.monotonic()
    with pytest.raises(EventError, match=r"ticks|too late"):
        counted(biased, events(*times), **options)
    assert time.monotonic() - start < 2


@pytest.mark.parametrize(
    "options", [{"tick_us": 1e-300}, {"tick_us": 0.5}, {"tick_us": math.inf}, {"tick_us": math.nan},
                {"seed": -1}, {"seed": 1 << 40}, {"start_us": -1.0}, {"start_us": math.nan}],
)  # fmt: skip
def test_options_without_sense(biased: Any, options: Any) -> None:
    (name,) = options
    with pytest.raises(ConfigError, match=name):
        counted(biased, events(0), **options)


def test_a_rate_that_no_clock_has(biased: Any) -> None:
    interface = biased.interface.model_copy(update={"slow_clock_hz": 1e300})
    with pytest.raises(ConfigError, match="slow clock"):
        counted(biased.model_copy(update={"interface": interface}), events(0))


def test_the_command(biased: Any, tmp_path: Path, capsys: Capture) -> None:
    config, path = tmp_path / "config.json", tmp_path / "e.npy"
    mapper.write_config(biased, config)
    words = ["simulate", str(config), "--events", str(path), "--json"]

    def told(*more: str) -> Any:
        assert run([*words, *more]) == 0
        answer = capsys.readouterr()
        return json.loads(answer.out)["spikes"], answer.err

    write_events(path, events(0, 5000))
    expected, note = told()
    assert note == ""
    write_events(path, events(1_700_000_000_000_000, 1_700_000_000_005_000))
    spikes, note = told()
    assert spikes == expected
    assert "clock starts with that event" in " ".join(note.split())
    assert told("--rebase") == (expected, "")
    assert run([*words, "--no-rebase"]) == 2
    assert "--rebase" in capsys.readouterr().err
    write_events(path, events(2**32 - 5000, 0)[[0, 1]])
    assert run(words) == 2
    assert "--unwrap" in capsys.readouterr().err
    assert told("--unwrap", "--rebase") == (expected, "")
    write_events(path, events(5000, 0))
    assert run(words) == 2
    assert "--order sort" in capsys.readouterr().err
    assert told("--order", "sort") == (expected, "")
    write_events(path, np.array([(0, 0, 1, 1), (10, 9, 99, 99)], EVENT_DTYPE))
    assert run(words) == 2
    assert "--drop-outside" in capsys.readouterr().err
    spikes, note = told("--drop-outside")
    write_events(path, events(0))
    assert spikes == told()[0]
    assert "1 of 2 events lie outside" in note


NUMBERS = [
    ("--tick", "1e-300"), ("--tick", "nan"), ("--seed", "-1"), ("--sensitivity", "100000000"), ("--sensitivity", "-1"),
    ("--piece", "0"), ("--piece", "-5"),
]  # fmt: skip


@pytest.mark.parametrize("words", NUMBERS)
def test_numbers_without_sense(words: tuple[str, str], biased: Any, tmp_path: Path, capsys: Capture) -> None:
    config, path = tmp_path / "config.json", tmp_path / "e.npy"
    mapper.write_config(biased, config)
    write_events(path, events(0))
    assert run(["simulate", str(config), "--events", str(path), *words]) == 2
    told = capsys.readouterr().err
    assert words[0][2:] in told
    assert "allowed" in told


@pytest.mark.parametrize(
    "words",
    [("--steps", "100000000"), ("--steps", "0"), ("--seed", "-1"), ("--random", "7"), ("--step-us", "0")],
)
def test_numbers_of_verify(words: tuple[str, str], capsys: Capture) -> None:
    start = time.monotonic()
    assert run(["verify", "digits", *words]) == 2
    told = capsys.readouterr().err
    assert "allowed" in told
    assert time.monotonic() - start < 20


def test_verify_takes_the_same_options(tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "e.npy"
    write_events(path, np.array([(5000, 0, 1, 1), (0, 0, 1, 1), (6000, 0, 1, 99)], EVENT_DTYPE))
    assert run(["verify", "digits", "--events", str(path)]) == 2
    assert "--order sort" in capsys.readouterr().err
    assert run(["verify", "digits", "--events", str(path), "--order", "sort"]) == 2
    assert "--drop-outside" in capsys.readouterr().err
    assert run(["verify", "digits", "--events", str(path), "--order", "sort", "--drop-outside"]) == 0
    assert "1 of 3 events lie outside" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("field", ["limits.input_height_max", "limits.kernel_size_max", "routing.fan_out"])
def test_chip_facts_without_sense(field: str, capsys: Capture) -> None:
    assert run(["solve", "digits", "--set", f"{field}=1000000000"]) == 2
    assert "65536" in capsys.readouterr().err
