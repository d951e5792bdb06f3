"""Events that stay in their file are those that reading it whole gives, or nobody takes them so."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mapper.cli.entry import run
from mapper.cli.recordings import Clock, recorded_in_pieces
from mapper.errors import EventError
from mapper.events import EVENT_DTYPE, read_events, stored, write_events
from mapper.events.stored import StoredEvents, stored_events

SHAPE = (2, 6, 8)


@pytest.fixture(autouse=True)
def _few_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored, "_AT_ONCE", 7)


def random_events(count: int = 50) -> Any:
    draw, events = np.random.default_rng(count), np.empty(count, EVENT_DTYPE)
    events["t"] = np.sort(draw.integers(0, 100, count))
    for name, side in zip("pyx", SHAPE, strict=True):
        events[name] = draw.integers(0, side, count)
    return events


def saved(path: Path, array: Any) -> Path:
    np.save(path, array)
    return path


@pytest.mark.parametrize("count", [0, 1, 7, 50])
@pytest.mark.parametrize(
    "kind", [EVENT_DTYPE, np.dtype([("x", ">i4"), ("y", "u1"), ("timestamp", "<u4"), ("polarity", "?")])]
)
def test_any_piece(count: int, kind: Any, tmp_path: Path) -> None:
    events = random_events(count)
    given = np.empty(count, kind)
    for own, name in zip(kind.names, "tpyx" if kind == EVENT_DTYPE else "xytp", strict=True):
        given[own] = events[name]
    found = stored_events(saved(tmp_path / "events.npy", given), SHAPE)
    assert found is not None
    assert len(found) == count
    for part in (slice(None), slice(3, 20), slice(-1, None), slice(1), slice(5, 2), slice(40, 90)):
        assert found[part].tolist() == events[part].tolist()


def changed(**fields: tuple[int, int]) -> Any:
    events = random_events()
    for name, (at, value) in fields.items():
        events[name][at] = value
    return events


@pytest.mark.parametrize(
    "array",
    [
        changed(t=(7, 0)),  # behind the last one of the piece before
        changed(t=(20, 99)),
        changed(t=(0, -1)),
        changed(p=(30, 2)),
        changed(y=(30, 6)),
        np.zeros(5, [("t", int), ("y", int), ("x", int)]),
        random_events().reshape(5, 10),
        np.zeros((3, 4)),
    ],
)
def test_what_has_to_be_judged_whole(array: Any, tmp_path: Path) -> None:
    assert stored_events(saved(tmp_path / "events.npy", array), SHAPE) is None


def test_other_files(tmp_path: Path) -> None:
    path = saved(tmp_path / "events.npy", random_events())
    assert stored_events(path, SHAPE) is not None
    os.truncate(path, path.stat().st_size - 1)
    assert stored_events(path, SHAPE) is None
    path.write_bytes(b"none")
    assert stored_events(path, SHAPE) is None
    write_events(tmp_path / "events.csv", random_events())
    for other in (tmp_path / "events.csv", tmp_path / "missing.npy", tmp_path):
        assert stored_events(other, SHAPE) is None


@pytest.mark.parametrize("change", ["other", "shorter", "none", "folder"])
def test_a_file_that_changes(change: str, tmp_path: Path) -> None:
    path = saved(tmp_path / "events.npy", random_events())
    found = StoredEvents(path)
    if change == "other":
        saved(tmp_path / "later.npy", random_events()).replace(path)
    elif change == "shorter":
        os.truncate(path, path.stat().st_size - 14)
    else:
        path.unlink()
        if change == "folder":
            path.mkdir()
    with pytest.raises(EventError, match=r"events\.npy: was changed while it was read"):
        found[-3:]
    with pytest.raises(ValueError, match="one after the other"):
        found[::2]


@pytest.mark.parametrize("clock", [Clock(rebase=True), Clock(unwrap=True), Clock(time_unit="ms")])
def test_a_clock_that_is_turned_takes_all_events(clock: Clock, tmp_path: Path) -> None:
    path = saved(tmp_path / "events.npy", random_events())
    assert isinstance(recorded_in_pieces(path, clock, SHAPE), np.ndarray)
    assert isinstance(recorded_in_pieces(path, Clock(), SHAPE), StoredEvents)


def test_the_command_says_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["emit", "digits", "--out", str(tmp_path)]) == 0
    events = random_events(400)
    events["p"] = 0
    path, told = saved(tmp_path / "events.npy", events), []
    words = ["simulate", str(tmp_path / "config.json"), "--events", str(path), "--sensitivity", "1", "--json"]
    for is_stored in (True, False):
        if not is_stored:
            monkeypatch.setattr(stored, "stored_events", lambda *more: None)
        capsys.readouterr()
        out = tmp_path / str(is_stored)
        words_here = [*words, "--piece", "90", "--out", str(out)]
        assert run(words_here) == 0
        told.append(
            (capsys.readouterr().out, [read_events(one).tolist() for one in sorted(out.glob("*.npy"))])
        )
    assert told[0] == told[1]
    assert told[0][1][0]
