"""Which order of spikes a board has: chips of a known order are recognised, and what cannot be told is not."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mapper
from mapper.boards import Board
from mapper.cli.entry import run
from mapper.equivalence import LabelledData
from mapper.equivalence.on_board import BoardOptions, compare_with_board
from mapper.equivalence.order_counts import BoardComparison, OrderCounts, Run
from mapper.errors import ConfigError, EventError, OptionsError
from tests.boards.cases import opened
from tests.builders import conv, weighted
from tests.graphs import Link, graph
from tests.stand_in.fake_boards import FakeBoards
from tests.stand_in.ordered_chip import OrderedChip

LAYERS = ("conv0", "conv1", "conv2", "conv3")
SAMPLES, STEPS = 4, 2


@functools.cache
def skipping(*monitors: str, seed: int = 0, **more: Any) -> Any:
    """A configuration of a graph in which depth first and breadth first part: conv1 is skipped."""
    links = [Link(-1, 0), Link(0, 1), Link(0, 2), Link(1, 2), Link(2, 3)]
    shapes = graph([conv(3, **more), conv(3), conv(3), conv(4)], links, (1, 6, 6))
    network = weighted(shapes, np.random.default_rng(seed), integer=True)
    return mapper.build_config(mapper.solve(network, "speck2f", monitors=monitors or LAYERS))


def data(spikes: float = 0.3, *, is_labelled: bool = True) -> LabelledData:
    draw = np.random.default_rng(7)
    rasters = (draw.random((SAMPLES, STEPS, 1, 6, 6)) < spikes).astype(np.uint8)
    return LabelledData("drawn", rasters, draw.integers(0, 4, SAMPLES), is_labelled=is_labelled)


@pytest.fixture(autouse=True)
def small_memories(monkeypatch: pytest.MonkeyPatch) -> None:
    """Potentials of the neurons alone are written: making objects for 65,536 of each core takes seconds."""
    monkeypatch.setattr(Board, "_words", lambda *_: 256)


def compared(
    boards: FakeBoards, chip: OrderedChip | None, config: Any = None, **more: Any
) -> BoardComparison:
    boards.answers = chip
    given = more.pop("given", data())
    with opened(config or skipping()) as board:
        return compare_with_board(board, given, BoardOptions(random_orders=6, **more))


@pytest.mark.parametrize("order", ["depth", "breadth"])
def test_a_fixed_order_is_recognised(boards: FakeBoards, order: Any) -> None:
    found = compared(boards, OrderedChip(order))
    assert found.exact == (order,)
    assert found.alike == ()
    assert found.verdict == f"The board agrees exactly with {order} first, and with no other."
    assert found.distance[order] == 0.0
    assert all(value > 0.01 for kind, value in found.distance.items() if kind != order)


@pytest.mark.parametrize("seed", [1, 2])
def test_a_random_order_is_recognised(boards: FakeBoards, seed: int) -> None:
    found = compared(boards, OrderedChip("random", seed))
    assert (found.exact, found.is_like_random) == ((), True)
    assert "a random order explains them" in found.verdict


@pytest.mark.parametrize("order", ["depth", "breadth", "random"])
def test_a_board_that_drops_one_spike_in_a_hundred_agrees_with_none(boards: FakeBoards, order: Any) -> None:
    found = compared(boards, OrderedChip(order, seed=4, drops=0.01))
    assert (found.exact, found.is_like_random) == ((), False)
    nearest = {"random": "a random order"}.get(order, f"{order} first")
    assert found.verdict.startswith(
        f"None of the orders agrees exactly with the board. Most like it is {nearest}: "
    )
    if order != "random":
        board, simulated = (
            sum(entry.board for entry in found.layers),
            sum(e.simulated[order] for e in found.layers),
        )
        # A board that only loses spikes differs by just these.
        assert found.distance[order] == pytest.approx((simulated - board) / simulated)


def test_samples_that_no_order_decides_are_told(boards: FakeBoards) -> None:
    config = skipping("conv0")
    found = compared(boards, OrderedChip("breadth"), config)
    assert found.alike == (("depth", "breadth", "random"),)
    assert found.verdict.startswith(
        "Depth first, breadth first and a random order cannot be told apart by these samples"
    )
    assert found.unmonitored == ("conv1", "conv2", "conv3")
    lossy = compared(boards, OrderedChip("breadth", drops=0.05), config)
    assert "cannot be told apart by these samples, and are nearest" in lossy.verdict
    assert "Most like" not in lossy.verdict
    silent = compared(boards, OrderedChip("breadth"), given=data(0.0))
    assert silent.verdict.startswith("Nothing spiked")


def test_an_order_is_not_named_where_a_random_one_gives_the_same() -> None:
    def verdict(*samples: tuple[str, ...]) -> str:
        """Of samples, each with what the board, depth, breadth and two random runs spiked."""
        counts = OrderCounts((Run("depth"), Run("breadth"), Run("random"), Run("random", 1)))
        for sample in samples:
            counts.add([{"x": np.array([*map(ord, spikes)], np.int64)} for spikes in sample])
        return counts.comparison("hand", len(samples), (), ()).verdict

    # Of each sample one of the random runs is what the board gave, though of no run both are.
    told = verdict(("ab", "ab", "aa", "ab", "bb"), ("c", "c", "dd", "d", "c"))
    assert told.startswith("Depth first and a random order cannot be told apart by these samples")
    told = verdict(("ab", "ab", "aa", "ab", "bb"), ("c", "c", "dd", "d", "dd"))
    assert told == "The board agrees exactly with depth first, and with no other."


def test_distances_by_hand() -> None:
    counts = OrderCounts((Run("depth"), Run("breadth"), Run("random"), Run("random", 1)))
    a, b = 1 << 32, 2 << 32 | 5
    spikes = ([a, a, b], [a, b, b], [a, a, b], [a, a], [b, b])
    counts.add([{"x": np.array(entry, np.int64)} for entry in spikes])
    counts.add_answers("x", (3, 1, 6), label=6)
    found = counts.comparison("hand", 2, (), ())
    assert found.distance == {"depth": 2 / 4, "breadth": 0.0, "random": (1 / 3 + 3 / 4) / 2}
    assert found.exact == ("breadth",)
    (layer,) = found.layers
    assert (layer.board, layer.simulated) == (3, {"depth": 3.0, "breadth": 3.0, "random": 2.0})
    assert (layer.board_features, layer.simulated_features["random"]) == ((0, 2, 1), (0.0, 1.0, 1.0))
    # Feature 1 of a map of 6 columns is class 6; depth answers feature 2, column 5: class 17.
    assert {kind: row.correct for kind, row in found.accuracies.items()} == {
        "board": 1, "depth": 0, "breadth": 1, "random": 1,
    }  # fmt: skip


def test_accuracies_are_those_of_the_answers(boards: FakeBoards) -> None:
    given = data()
    found = compared(boards, OrderedChip("depth"), given=given)
    right = 0
    for n, label in enumerate(given.labels):
        events = mapper.events.events_from_raster(given.rasters[n], 1000)
        spikes = mapper.simulate_events(skipping(), {"input": events}).outputs["out0"]
        answers = spikes["p"].astype(int) * 36 + spikes["y"] * 6 + spikes["x"]
        right += int(len(answers) > 0 and np.bincount(answers).argmax() == label)
    assert found.accuracies["board"].correct == found.accuracies["depth"].correct == right
    assert found.accuracies["board"].samples == SAMPLES
    assert compared(boards, OrderedChip("depth"), given=data(is_labelled=False)).accuracies == {}
    assert compared(boards, OrderedChip("depth"), skipping("conv0")).accuracies == {}


def test_a_pooled_output_is_compared_as_the_host_pools_it(boards: FakeBoards) -> None:
    shapes = graph([conv(3), conv(4)], [Link(-1, 0), Link(0, 1)], (1, 6, 6), [(1, 2)])
    network = weighted(shapes, np.random.default_rng(2), integer=True)
    config = mapper.build_config(mapper.solve(network, "speck2f", monitors=("conv0", "conv1")))
    found = compared(boards, OrderedChip("depth"), config)
    assert "depth" in found.exact
    # In a chain both come to the same.
    assert ("depth", "breadth") in found.alike


def test_a_board_that_stops_answering_is_told(boards: FakeBoards) -> None:
    found = compared(boards, OrderedChip("depth", deaf_after=SAMPLES - 2))
    assert (found.exact, found.unheard) == ((), 2)
    assert any("no event came back" in note for note in found.notes)
    assert found.verdict.startswith("None of the orders agrees exactly")
    assert boards.log[-1] == ("close",)


def test_biases_are_said_to_spoil_it(boards: FakeBoards) -> None:
    from mapper.emit.write.options import EmitOptions  # noqa: PLC0415

    shapes = graph([conv(3, has_bias=True)], [Link(-1, 0)], (1, 6, 6))
    network = weighted(shapes, np.random.default_rng(0), integer=True)
    config = mapper.build_config(mapper.solve(network, "speck2f"), EmitOptions(dt_us=1000))
    found = compared(boards, OrderedChip("depth"), config, samples=1)
    assert any(note.startswith("biases act at ticks") for note in found.notes)


def test_what_cannot_be_compared_is_refused_before_anything_is_played(boards: FakeBoards) -> None:
    with pytest.raises(EventError, match=r"wide: rasters: has another shape .*, 1, 6, 6\)"):
        compared(
            boards, None, given=LabelledData("wide", np.ones((1, 2, 1, 7, 6), int), np.zeros(1, np.int64))
        )
    with pytest.raises(ConfigError, match="where events enter"):
        compared(boards, None, skipping().model_copy(update={"interface": None}))
    assert [entry for entry in boards.log if entry[0] == "write"] == []
    for words in ({"samples": 0}, {"random_orders": 1}, {"random_orders": 1001}, {"dt_us": 0}):
        with pytest.raises(OptionsError, match="|".join(words)):
            BoardOptions(**words)  # type: ignore[arg-type]  # whole numbers, all of them
    assert BoardOptions(dt_us=500).step_us(skipping()) == 500


def test_the_guide_shows_what_is_printed(
    boards: FakeBoards, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (Path(mapper.__file__).parent / "guide" / "boards.md").read_text(encoding="utf-8")
    monkeypatch.setattr(Board, "_words", lambda *_: 2048)
    monkeypatch.setenv("COLUMNS", "80")
    session = next(part for part in page.split("```") if part.startswith("console\n"))
    commands = [line for line in session.splitlines() if line.startswith("$ ")]
    boards.answers = OrderedChip("depth")
    for command in commands:
        capsys.readouterr()
        asked = command.removeprefix("$ python -m mapper ").replace("OUT", str(tmp_path)).split()
        assert run(asked) == 0
    shown = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert session.splitlines()[1 + len(commands) :] == [line for line in shown if line]


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    mapper.write_config(skipping(), tmp_path / "config.json")
    given = data()
    np.savez(tmp_path / "data.npz", rasters=np.asarray(given.rasters), labels=given.labels)
    np.savez(tmp_path / "bare.npz", rasters=np.asarray(given.rasters))
    return ["run", str(tmp_path / "config.json"), "--device", "speck2fmodule", "--random-orders", "3"]


def test_the_command(
    boards: FakeBoards, words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    boards.answers = OrderedChip("breadth")
    asked = ["--data", str(tmp_path / "data.npz"), "--out", str(tmp_path / "out")]
    assert run([*words, *asked]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert f"spikes at {SAMPLES} samples of data" in shown
    assert "The board agrees exactly with breadth first, and with no other." in shown
    assert "compared: conv0, conv1, conv2 and conv3, which are monitored" in shown
    kept = json.loads((tmp_path / "out" / "orders.json").read_text())
    assert (kept["schema_version"], kept["exact"], kept["samples"]) == (1, ["breadth"], SAMPLES)
    assert {"value", "low", "high", "correct", "samples"} == kept["accuracies"]["board"].keys()
    assert run([*words, "--data", str(tmp_path / "bare.npz"), "--json", "--samples", "2"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["accuracies"], record["samples"], record["total"]) == ({}, 2, SAMPLES)
    assert boards.log[-1] == ("close",)


def test_the_command_says_how_to_monitor_more(
    boards: FakeBoards, words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mapper.write_config(skipping("conv3"), words[1])
    boards.answers = OrderedChip()
    assert run([*words, "--data", str(tmp_path / "bare.npz"), "--samples", "1"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "emit the configuration with --monitor conv0 --monitor conv1 --monitor conv2" in shown


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ([], "--events: is missing. Name a recording by --events, or samples by --data"),
        (["--data", "digits", "--events", "e.npy"], "--events: cannot be run together with --data"),
        (["--data", "digits", "--samples", "0"], "--samples: must be positive (got 0; allowed: >= 1)"),
        (["--data", "digits"], "digits: images: has another shape than the network's input"),
    ],
)
def test_the_command_refuses(
    boards: FakeBoards, words: list[str], capsys: pytest.CaptureFixture[str], more: list[str], told: str
) -> None:
    assert run([*words, *more]) == 2
    assert told in capsys.readouterr().err
    assert boards.log == []


def test_ctrl_c_and_a_board_that_breaks_leave_it_quiet_and_closed(
    boards: FakeBoards, words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*words, "--data", str(tmp_path / "data.npz"), "--out", str(tmp_path / "out")]
    chip = OrderedChip()

    def interrupted(kit: Any, sent: list[Any]) -> list[Any]:
        answer = chip(kit, sent)
        if chip.played == 2:
            raise KeyboardInterrupt
        return answer

    boards.answers = interrupted
    with opened(skipping()) as board, pytest.raises(KeyboardInterrupt):
        compare_with_board(board, data())
    assert boards.log[-1] == ("close",)

    def broken(kit: Any, sent: list[Any]) -> list[Any]:
        if chip.played == 3:
            boards.failing.add("write")
        return chip(kit, sent)

    boards.answers = broken
    assert run(words) == 2
    assert (
        "writing events failed: write is broken. The board was made quiet and closed"
        in capsys.readouterr().err
    )
    assert boards.log[-1] == ("close",)
    assert not (tmp_path / "out" / "orders.json").exists()


def test_a_board_with_another_slow_clock_is_refused(boards: FakeBoards) -> None:
    boards.answers = OrderedChip("depth")
    with opened(skipping(), slow_clock_hz=50.0) as board, pytest.raises(OptionsError, match="slow_clock_hz"):
        compare_with_board(board, data(), BoardOptions(random_orders=6))
