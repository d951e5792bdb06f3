"""A time limit on the check of a configuration: what it ends, and what is said then."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import mapper
from mapper.cli.entry import run
from mapper.deadline import Deadline
from mapper.equivalence import read_labelled
from mapper.equivalence.accuracy import Difference
from mapper.equivalence.run import random_recording
from mapper.errors import INTERRUPTION, TimeLimitError
from mapper.frontends import load_network
from tests.cli.moments import ended_at

Capture = pytest.CaptureFixture[str]


@dataclass(frozen=True)
class Until(Deadline):
    """A limit that is reached while something is done, as soon as `is_late` says so."""

    what: str
    is_late: Callable[[], bool] = lambda: True

    def check(self, doing: str, next_step: str = "") -> None:
        if doing.startswith(self.what) and self.is_late():
            raise TimeLimitError(self.limit_s, doing, next_step)


def limit(monkeypatch: pytest.MonkeyPatch, what: str, is_late: Callable[[], bool] = lambda: True) -> None:
    made = Until(9.0, 0.0, what, is_late)
    monkeypatch.setattr("mapper.api.Deadline", SimpleNamespace(after=lambda *_: made))


@pytest.mark.parametrize(
    "what",
    [
        "random spikes of 20 steps were drawn",
        "the integer network was simulated on 20 steps",
        "the configuration in time steps was simulated on 20 steps",
        "the float network was simulated on 20 steps",
        "the configuration spike by spike was simulated on 20 steps",
    ],
)
def test_what_was_being_done_is_said(what: str, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    limit(monkeypatch, what)
    assert run(["verify", "digits", "--steps", "20"]) == 3
    told = capsys.readouterr()
    way_out = "Raise --time-limit, or simulate less: fewer --steps, or a shorter recording"
    assert told.err == f"Error: the time limit of 9 s came first, while {what}. {way_out}\n"
    assert told.out == ""


@pytest.fixture
def few(tmp_path: Path) -> str:
    """Forty labelled samples."""
    digits = read_labelled("digits")
    assert isinstance(digits.rasters, np.ndarray)
    np.savez(tmp_path / "few.npz", rasters=digits.rasters[:40], labels=digits.labels[:40])
    return str(tmp_path / "few.npz")


@pytest.mark.parametrize("most", [0, 3, 17])
def test_labelled_samples_end_with_those_done(most: int, few: str, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[int] = []
    limit(monkeypatch, "labelled samples were simulated", lambda: len(done) >= most)
    report = mapper.verify_equivalence("digits", steps=2, data=few, progress=done.append)
    assert report.is_equivalent
    note = f"labelled data: {most} of 40 samples were simulated; the time limit of 9 s came first"
    assert note in report.notes
    assert [entry.samples for entry in report.accuracies] == [most] * (4 if most else 0)
    if most:
        with np.load(few) as data:
            np.savez(few, rasters=data["rasters"][:most], labels=data["labels"][:most])
        monkeypatch.undo()
        whole = mapper.verify_equivalence("digits", steps=2, data=few)
        assert whole.accuracies == report.accuracies
        assert set(whole.notes) == {*report.notes} - {note}


def test_the_command_says_how_many(few: str, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    limit(monkeypatch, "labelled samples were simulated")
    words = ["verify", "digits", "--steps", "2", "--data", few]
    assert run(words) == 3
    assert "note: labelled data: 0 of 40 samples" in capsys.readouterr().out
    assert run([*words, "--json"]) == 3
    record = json.loads(capsys.readouterr().out)
    assert (record["accuracy"], record["is_complete"]) == ({}, False)
    assert any("0 of 40 samples" in note for note in record["notes"])


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT for one process alone")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_gives_the_samples_that_are_done(number: signal.Signals, few: str) -> None:
    words = ["verify", "digits", "--steps", "2", "--data", few, "--json"]
    status, out, errors = ended_at("call mapper.equivalence.judge:Tally.add 16", number, *words)
    assert status == 3, errors
    record = json.loads(out)
    assert f"labelled data: 17 of 40 samples were simulated; {INTERRUPTION} came first" in record["notes"]
    assert {row["samples"] for row in record["accuracy"].values()} == {17}
    assert (record["is_complete"], record["is_interrupted"]) == (False, True)
    assert "before anything was found" not in errors


def test_ctrl_c_while_workers_compute_gives_what_they_gave(few: str) -> None:
    def pressed(done: int) -> None:
        if done == 17:
            raise KeyboardInterrupt

    report = mapper.verify_equivalence("digits", steps=2, data=few, workers=1, progress=pressed)
    assert {row.samples for row in report.accuracies} == {17}
    assert report.is_interrupted


def test_ctrl_c_where_layers_are_exchanged_keeps_the_table(few: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def pressed(*_: object) -> None:
        raise KeyboardInterrupt

    whole = mapper.verify_equivalence("digits", steps=2, data=few)
    monkeypatch.setattr(Difference, "is_loss", True)
    monkeypatch.setattr("mapper.equivalence.judging._lost_in", pressed)
    report = mapper.verify_equivalence("digits", steps=2, data=few)
    assert [row.samples for row in report.accuracies] == [row.samples for row in whole.accuracies]
    assert f"where integer loses most was not found: {INTERRUPTION} came first" in report.notes
    assert report.is_interrupted
    assert not report.is_complete


def test_the_limit_begins_with_solving(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[float | None, float]] = []

    def after(limit_s: float | None, start_s: float) -> Deadline:
        seen.append((limit_s, start_s))
        return Deadline(1.0, start_s)

    monkeypatch.setattr("mapper.api.Deadline", SimpleNamespace(after=after))
    with pytest.raises(TimeLimitError, match="random spikes"):
        mapper.verify_equivalence("digits", time_limit_s=1e6)
    ((limit_s, _),) = seen
    assert limit_s == 1e6


def test_a_limit_that_is_never_reached_changes_nothing() -> None:
    limited = mapper.verify_equivalence("digits", rate=0.3, steps=10, time_limit_s=1e6)
    assert limited.rates == mapper.verify_equivalence("digits", rate=0.3, steps=10).rates


def test_random_spikes_are_those_of_one_draw() -> None:
    network = load_network("digits")
    raster = random_recording(network, 0.3, 6, 1000, seed=4).rasters["input"]
    expected = np.random.default_rng(4).random((6, *network.inputs[0].shape)) < 0.3
    assert raster.tolist() == expected.astype(int).tolist()
