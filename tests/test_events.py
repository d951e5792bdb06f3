"""Events, rasters, spikes and files into each other: exact, by name, and nothing lost unsaid."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mapper.errors import BackendMissingError, EventError, OptionsError
from mapper.events import (
    EVENT_DTYPE,
    MonitoredLayer,
    events_from,
    events_from_dvs,
    events_from_raster,
    events_from_spikes,
    is_raster,
    raster_from_events,
    read_events,
    read_raster,
    spikes_of,
    unwrap_timestamps,
    write_events,
    write_raster,
)
from mapper.events.traffic import read_traffic, write_traffic

DATA = Path(__file__).parent / "data"


def make(*rows: tuple[int, int, int, int]) -> Any:
    """Events of (t, p, y, x)."""
    return np.array(list(rows), EVENT_DTYPE)


THREE = make((10, 1, 2, 3), (10, 0, 0, 4), (25, 1, 2, 3))


def test_fields_go_by_name_in_any_order_and_width() -> None:
    kind = [("x", "<i2"), ("polarity", "?"), ("timestamp", ">u4"), ("Y", "u1")]
    other = np.array([(3, True, 10, 2), (4, False, 10, 0), (3, True, 25, 2)], kind)
    made = events_from(other)
    assert made.dtype == EVENT_DTYPE
    assert made.tolist() == THREE.tolist()
    columns = {"t": [10, 10, 25], "p": [1, 0, 1], "y": [2, 0, 2], "x": [3, 4, 3]}
    assert events_from(columns).tolist() == THREE.tolist()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"t": [3, 2, 1]}, "time goes back"),
        ({"x": [1, 2]}, "differ in length"),
        ({"x": [-1, 0, 0]}, "negative"),
        ({"x": [70000, 0, 0]}, "too large"),
        ({"t": [0.5, 1.0, 2.0]}, "floats"),
        ({"z": [1, 1, 1]}, '"z"'),
        ({"col": [1, 1, 1]}, "both mean x"),
        ({"x": ["a", "b", "c"]}, "integers"),
        ({"p": [-1, 1, 1]}, "polarity is 0 or 1"),
    ],
)
def test_what_is_wrong_is_named(change: dict[str, Any], message: str) -> None:
    columns = {"t": [1, 2, 3], "p": [0, 0, 0], "y": [0, 0, 0], "x": [0, 0, 0]} | change
    with pytest.raises(EventError, match=message):
        events_from(columns)


def test_all_problems_come_at_once() -> None:
    with pytest.raises(EventError) as caught:
        events_from({"t": [5, 4], "p": [9, 0], "y": [0, 0], "w": [0, 0]}, shape=(2, 4, 4))
    assert len(caught.value.findings) == 4


def test_sorting_keeps_the_order_of_equal_times() -> None:
    mixed = make((5, 0, 0, 0), (1, 0, 0, 1), (5, 0, 0, 2), (1, 0, 0, 3))
    assert events_from(mixed, order="sort")["x"].tolist() == [1, 3, 0, 2]


def test_a_raster_by_hand() -> None:
    made = raster_from_events(THREE, (2, 3, 5), 10)
    wanted = np.zeros((3, 2, 3, 5), np.int32)
    wanted[1, 1, 2, 3] = wanted[1, 0, 0, 4] = wanted[2, 1, 2, 3] = 1
    assert np.array_equal(made.counts, wanted)
    assert made.dropped == 0


def test_what_lies_outside_is_refused_or_counted() -> None:
    with pytest.raises(EventError, match="drop_outside") as caught:
        raster_from_events(THREE, (2, 3, 4), 10, 2)
    assert len(caught.value.findings) == 2
    made = raster_from_events(THREE, (2, 3, 4), 10, 2, drop_outside=True)
    assert (made.counts.sum(), made.dropped_shape, made.dropped_time) == (1, 1, 1)
    with pytest.raises(EventError, match="too large a raster"):
        raster_from_events(make((2**60, 0, 0, 0)), (2, 3, 4), 1)


def test_spikes_of_a_step_are_spread_over_it() -> None:
    raster = np.zeros((2, 1, 1, 2), np.int64)
    raster[1, 0, 0, 1] = 4
    raster[1, 0, 0, 0] = 1
    made = events_from_raster(raster, 10)
    assert [(int(e["t"]), int(e["x"])) for e in made] == [(10, 0), (10, 1), (12, 1), (15, 1), (17, 1)]


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_rasters_survive_events(data: Any) -> None:
    shape = tuple(data.draw(st.integers(1, 4)) for _ in range(4))
    counts = np.random.default_rng(data.draw(st.integers(0, 99))).integers(0, 4, shape)
    dt, start = data.draw(st.integers(1, 1000)), data.draw(st.integers(0, 10**9))
    events = events_from_raster(counts, dt, start)
    assert np.all(np.diff(events["t"]) >= 0)
    back = raster_from_events(events, shape[1:], dt, shape[0], start_us=start)
    assert np.array_equal(back.counts, counts)


@pytest.mark.parametrize(
    ("raster", "message"),
    [
        (np.zeros((2, 2)), "must be"),
        (np.zeros((1, 1, 1, 1)), "floats"),
        (-np.ones((1, 1, 1, 1), np.int8), "negative"),
        (np.full((1, 1, 1, 1), 2**40), "too many"),
    ],
)
def test_no_raster(raster: Any, message: str) -> None:
    with pytest.raises(EventError, match=message):
        events_from_raster(raster, 10)


def test_spikes_for_the_chip_go_to_every_core_of_the_input() -> None:
    made = spikes_of(THREE, [(5, 0), (2, 4)], SimpleNamespace)
    told = [(s.layer, s.feature, s.y, s.x, s.timestamp) for s in made]
    assert told[:2] == [(5, 1, 2, 3, 10), (2, 5, 2, 3, 10)]
    assert len(told) == 6
    assert all(type(value) is int for row in told for value in row)
    for entries, message in (([], "empty"), ([(1, 0), (1, 0)], "twice"), ([(1, 65535)], "too large")):
        with pytest.raises(EventError, match=message):
            spikes_of(THREE, entries, SimpleNamespace)
    with pytest.raises(EventError, match="timestamp_bits"):
        spikes_of(make((2**33, 0, 0, 0)), [(1, 0)], SimpleNamespace)


def spike(core: int, feature: int, y: int, x: int, t: int) -> Any:
    return SimpleNamespace(layer=core, feature=feature, y=y, x=x, timestamp=t)


def test_monitored_spikes_come_back_by_layer() -> None:
    layers = {"conv": MonitoredLayer([(3, 0, 2), (4, 2, 5)], (5, 5, 5), (2, 2))}
    spikes = [spike(3, 1, 3, 2, 7), spike(4, 2, 4, 0, 8), spike(4, 0, 0, 0, 9), spike(8, 0, 0, 0, 9)]
    made = events_from_spikes(spikes, layers)
    assert made.events["conv"].tolist() == [(7, 1, 1, 1), (9, 2, 0, 0)]
    assert (made.unpooled, made.other_cores) == ({"conv": 1}, {8: 1})
    with pytest.raises(EventError, match="core 3, attribute feature"):
        events_from_spikes([spike(3, 2, 0, 0, 1)], layers)
    assert events_from_spikes([spike(3, 2, 0, 0, 1)], layers, drop_outside=True).outside == {"conv": 1}
    with pytest.raises(EventError, match="lack some"):
        events_from_spikes([spike(3, 0, 0, 0, 1), object()], layers)
    gap = {"conv": MonitoredLayer([(3, 0, 2), (4, 3, 5)], (5, 5, 5))}
    with pytest.raises(EventError, match="without a place"):
        events_from_spikes([], gap)


def test_there_and_back_through_spikes() -> None:
    spikes: Any = spikes_of(THREE, [(5, 2)], SimpleNamespace)
    layer = MonitoredLayer([(5, 0, 4)], (4, 3, 5))
    back = events_from_spikes(spikes, {"in": layer}).events["in"]
    assert (back["p"] - 2).tolist() == THREE["p"].tolist()
    assert back["t"].tolist() == THREE["t"].tolist()


def test_sensor_events() -> None:
    seen = [SimpleNamespace(p=bool(n % 2), y=n, x=1, timestamp=n) for n in range(3)]
    assert events_from_dvs(seen, shape=(2, 3, 2)).tolist() == [(0, 0, 0, 1), (1, 1, 1, 1), (2, 0, 2, 1)]
    with pytest.raises(EventError):
        events_from_dvs(seen, shape=(2, 2, 2))


def test_clocks_that_start_again() -> None:
    top = 2**32
    assert unwrap_timestamps(np.array([top - 2, top - 1, 1, 0, 5])).tolist() == [
        top - 2, top - 1, top + 1, top, top + 5,
    ]  # fmt: skip
    assert unwrap_timestamps(np.array([3, top - 1, 4])).tolist() == [top + 3, top - 1, top + 4]


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".csv"])
@pytest.mark.parametrize("events", [THREE, THREE[:0]], ids=["three", "none"])
def test_files(tmp_path: Path, suffix: str, events: Any) -> None:
    path = tmp_path / f"e{suffix}"
    write_events(path, events)
    assert read_events(path).tolist() == events.tolist()
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_files_of_others(tmp_path: Path) -> None:
    np.savez(tmp_path / "columns.npz", ts=[1, 2], pol=[True, False], x=[0, 1], y=[1, 0], extra=[0, 0])
    assert read_events(tmp_path / "columns.npz", ignore=("extra",)).tolist() == [(1, 1, 1, 0), (2, 0, 0, 1)]
    (tmp_path / "a.csv").write_text("\ufeffx, y, polarity, timestamp\n1,2,1,30\n", encoding="utf-8")
    assert read_events(tmp_path / "a.csv").tolist() == [(30, 1, 2, 1)]
    raster = np.ones((2, 1, 2, 2), np.int8)
    write_raster(tmp_path / "r.npz", raster)
    assert is_raster(tmp_path / "r.npz")
    assert np.array_equal(read_raster(tmp_path / "r.npz"), raster)
    assert not is_raster(tmp_path / "columns.npz")


def test_a_recording() -> None:
    made = read_events(DATA / "twenty.aedat4", shape=(2, 12, 16))
    wanted = [(1_000_000 + 250 * n, int(n % 3 == 0), 5 * n % 12, 3 * n % 16) for n in range(20)]
    assert made.tolist() == wanted


def test_files_that_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, content in {
        "text.npy": b"nothing", "short.npz": b"PK\x03\x04", "half.aedat4": b"#!AER-DAT4.0\r\n",
        "words.csv": b"t,p,y,x\na,b,c,d\n", "few.csv": b"t,p\n1,2\n", "gap.csv": b"t,p,y,x\n1,2,3\n",
        "half.csv": b"t,p,y,x\n1,2,3,1.5\n", "a.txt": b"",
    }.items():  # fmt: skip
        (tmp_path / name).write_bytes(content)
        with pytest.raises(EventError, match=name.split(".")[0]):
            read_events(tmp_path / name)
    np.save(tmp_path / "pickle.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(EventError, match="pickle"):
        read_events(tmp_path / "pickle.npy")
    with pytest.raises(EventError, match="no such file"):
        read_events(tmp_path / "absent.npy")
    with pytest.raises(EventError, match=r"\.png"):
        write_events(tmp_path / "a.png", THREE)
    (tmp_path / "file").write_text("")
    with pytest.raises(OptionsError):
        write_events(tmp_path / "file" / "a.npy", THREE)
    monkeypatch.setattr("mapper.events.aedat4.find_spec", lambda name: None)
    with pytest.raises(BackendMissingError, match="aedat4"):
        read_events(DATA / "twenty.aedat4")


def test_rates_of_a_recording_are_rounded_up(tmp_path: Path) -> None:
    path = tmp_path / "traffic.json"
    write_traffic(path, {"a": 3, "b": 4, "c": 0}, 2_000_000)
    assert read_traffic(path) == (("a", 2), ("b", 2), ("c", 0))


def test_what_nobody_else_changes_is_not_copied(tmp_path: Path) -> None:
    made = np.array([(5, 0, 1, 2), (9, 1, 2, 1)], EVENT_DTYPE)
    assert np.shares_memory(events_from(made, copy=False), made)
    assert not np.shares_memory(events_from(made), made)
    # It is looked through all the same, and other layouts become events.
    with pytest.raises(EventError, match="goes back"):
        events_from(made[::-1], copy=False)
    with pytest.raises(EventError, match="too large"):
        events_from(made, shape=(1, 3, 3), copy=False)
    wide = made.astype([(name, np.int64) for name in ("t", "p", "y", "x")])
    assert events_from(wide, copy=False).dtype == EVENT_DTYPE
    assert (events_from(made[::-1], order="sort", copy=False) == made).all()
    # Times of a file count from the first event in what was read, not in what stands there.
    np.save(tmp_path / "events.npy", made)
    assert read_events(tmp_path / "events.npy", rebase=True)["t"].tolist() == [0, 4]
    assert read_events(tmp_path / "events.npy")["t"].tolist() == [5, 9]
