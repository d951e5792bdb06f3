"""What belongs to a call, and when it is over: boards with recorded timing, whose time is simulated."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from torch import nn

import mapper
from mapper.boards import Listening
from mapper.boards.listening import LEAD_SECONDS, POLL_SECONDS, ask
from mapper.cli.entry import run
from mapper.errors import MapperWarning, OptionsError
from mapper.events import EVENT_DTYPE, write_events
from tests.boards.cases import EVENTS, configured, deploy, opened
from tests.frontends.sinabs_stand_in import IAFSqueeze
from tests.stand_in.fake_boards import FakeBoards, Kit

QUIET = 1.0
LIMIT = 10.0
# 30 events of 3 s: the last one at 2.9 s.
RECORDING = np.array([(n * 100_000, n % 2, n % 8, n // 8) for n in range(30)], EVENT_DTYPE)


def spike_like(event: Any) -> Any:
    """A spike of the first monitored core, for whom it may be."""
    import samna.speck2f as library  # noqa: PLC0415  # the stand-in

    spike = library.event.Spike()
    spike.layer, spike.feature, spike.y, spike.x = event.layer, event.feature, event.y, event.x
    return spike


def after(*seconds: float) -> Any:
    """A chip that answers its first input event so long after the last one was played."""

    def schedule(_: Kit, sent: list[Any]) -> list[tuple[float, Any]]:
        last = sent[-1].timestamp * 1e-6
        return [(last + delay, spike_like(sent[0])) for delay in seconds]

    return schedule


def delayed(seconds: float) -> Any:
    """A chip that answers each input event so long after it was played."""

    def schedule(_: Kit, sent: list[Any]) -> list[tuple[float, Any]]:
        return [(event.timestamp * 1e-6 + seconds, spike_like(event)) for event in sent]

    return schedule


def times(answer: Any) -> list[int]:
    return [int(t) for t in answer.events["conv0"]["t"]]


@pytest.mark.parametrize("origin", [0, 7_000_000, 1_600_000_000_000_000])
def test_all_of_a_recording_comes_back_in_its_own_time(boards: FakeBoards, origin: int) -> None:
    given = RECORDING.copy()
    given["t"] += origin
    boards.schedule = delayed(0.2)
    with opened(configured()) as board:
        slept = boards.clock.slept
        answer = board.infer(given)
        # The lead, 2.9 s of recording, the last answer, the quiet time; a read is at most one poll late.
        least = LEAD_SECONDS + 2.9 + 0.2 + QUIET
        assert least <= boards.clock.slept - slept <= least + 2 * POLL_SECONDS
        assert times(answer) == [int(t) + 200_000 for t in given["t"]]
        assert answer.events["conv0"]["x"].tolist() == given["x"].tolist()


def test_the_order_of_the_steps(boards: FakeBoards) -> None:
    with opened(configured()) as board:
        boards.log.clear()
        board.infer(RECORDING)
        assert [entry[0] for entry in boards.log] == ["clock", "reset", "clock", "write"]


def test_a_burst_after_a_pause_belongs_to_the_call(boards: FakeBoards) -> None:
    boards.schedule = after(0.6, 0.61, 1.5)
    with opened(configured()) as board:
        assert len(times(board.infer(RECORDING))) == 3


def test_what_comes_after_the_quiet_time_is_told_at_the_next_call(boards: FakeBoards) -> None:
    boards.schedule = after(0.1, 0.8, 0.9)
    with opened(configured()) as board:
        board.listening = Listening(quiet_seconds=0.5)
        assert len(times(board.infer(RECORDING))) == 1
        boards.clock.sleep(1.0)
        boards.schedule = delayed(0.0)
        with pytest.warns(MapperWarning, match=r"2 events from before.*nothing had come for 0.5 s") as told:
            answer = board.infer(RECORDING)
        assert len(told) == 1
        assert times(answer) == RECORDING["t"].tolist()
        assert times(board.infer(RECORDING)) == RECORDING["t"].tolist()


def test_the_quiet_time_of_one_call(boards: FakeBoards) -> None:
    boards.schedule = after(0.1, 3.0)
    with opened(configured()) as board:
        assert len(times(board.infer(RECORDING, listening=Listening(quiet_seconds=3.0)))) == 2


def test_events_in_the_buffer_are_no_answer(boards: FakeBoards) -> None:
    with opened(configured()) as board:
        board.write(EVENTS)
        boards.clock.sleep(1.0)
        with pytest.warns(MapperWarning, match="left out: 2 events from before this call. Read them"):
            assert times(board.infer(RECORDING)) == RECORDING["t"].tolist()


def test_events_of_the_clock_before_are_no_answer(boards: FakeBoards) -> None:
    """They were on their way while the clock was reset, and carry a time that it has not reached."""

    def schedule(kit: Kit, sent: list[Any]) -> list[tuple[float, Any]]:
        for event in sent[:4]:
            old = spike_like(event)
            old.timestamp = 60_000_000
            kit.source.events.append(old)
        return [(event.timestamp * 1e-6, spike_like(event)) for event in sent]

    boards.schedule = schedule
    with opened(configured()) as board:
        with pytest.warns(MapperWarning, match="4 events from before this call"):
            answer = board.infer(RECORDING)
        assert times(answer) == RECORDING["t"].tolist()


def test_a_chip_that_never_becomes_quiet(boards: FakeBoards) -> None:
    boards.schedule = after(*np.arange(0.0, 60.0, 0.1).tolist())
    with opened(configured()) as board:
        slept = boards.clock.slept
        with pytest.warns(
            MapperWarning, match="still spikes 10 s behind the last event, never quiet for 1 s"
        ):
            answer = board.infer(RECORDING)
        spent = boards.clock.slept - slept
        assert LEAD_SECONDS + 2.9 + LIMIT <= spent <= LEAD_SECONDS + 2.9 + LIMIT + 2 * POLL_SECONDS
        assert len(times(answer)) in (100, 101)
        boards.clock.sleep(100.0)
        boards.schedule = delayed(0.0)
        with pytest.warns(MapperWarning, match=r"(499|500) events from before.*while the chip still spiked"):
            assert times(board.infer(RECORDING)) == RECORDING["t"].tolist()


def test_what_comes_while_the_end_is_found_belongs_to_the_call(boards: FakeBoards) -> None:
    class Slow:
        """A board whose last event comes behind the read that finds it quiet."""

        quiet_reads = 0

        def reset_clock(self) -> bool:
            self.start = boards.clock.now
            return True

        def send(self, spikes: Sequence[Any]) -> None:
            pass

        def receive(self) -> list[Any]:
            self.quiet_reads += boards.clock.now >= getattr(self, "start", np.inf) + 0.5
            return [SimpleNamespace(timestamp=1)] if self.quiet_reads == 2 else []

    heard = ask(Slow(), [], Listening(quiet_seconds=0.5), None, "")
    assert [event.timestamp for event in heard.events] == [1]


def test_what_comes_while_the_clock_is_reset_is_no_answer(boards: FakeBoards) -> None:
    """Even if the new clock has reached its time."""

    class Full:
        """A board whose buffer holds an event before and behind the reset, and an answer then."""

        left = iter((2, 3, 4))

        def reset_clock(self) -> bool:
            return True

        def send(self, spikes: Sequence[Any]) -> None:
            pass

        def receive(self) -> list[Any]:
            return [SimpleNamespace(timestamp=t) for t in (next(self.left, 0),) if t]

    heard = ask(Full(), [], Listening(quiet_seconds=0.5), None, "")
    assert [event.timestamp for event in heard.events] == [4]
    assert heard.notes == ["left out: 2 events from before this call. Read them before, or leave them"]


def test_what_was_asked_otherwise_is_no_late_answer(boards: FakeBoards) -> None:
    with opened(configured()) as board:
        board.infer(RECORDING)
        board.write(EVENTS)
        boards.clock.sleep(1.0)
        with pytest.warns(MapperWarning, match="left out: 2 events from before this call. Read them"):
            board.infer(RECORDING)


def test_silence_is_told_with_its_reason(boards: FakeBoards) -> None:
    boards.schedule = lambda kit, sent: []
    config = configured()
    with opened(config) as board:
        with pytest.warns(MapperWarning, match="no event came back for 30 that were written. If that"):
            assert times(board.infer(RECORDING)) == []
        # Nothing was asked, so nothing is missing.
        assert times(board.infer(RECORDING[:0])) == []

    def mute(made: Any) -> Any:
        for core in made.cnn_layers:
            core.monitor_enable = False
        return made

    board = opened(config, "speck2fmodule:1", config_modifier=mute)
    with board, pytest.warns(MapperWarning, match="Nothing is monitored: emit.*monitors="):
        board.infer(RECORDING)


@pytest.mark.parametrize(
    ("buffer", "stated", "text"),
    [
        (2048, None, "a read gave 2048 events, a size that buffers have"),
        (100, 100, "a read gave 100 events and the buffer holds 100"),
    ],
)
def test_a_full_buffer_is_told(boards: FakeBoards, buffer: int, stated: int | None, text: str) -> None:
    boards.buffer_events = buffer
    boards.schedule = after(*[0.001] * 3000)
    with opened(configured()) as board:
        with pytest.warns(MapperWarning, match=text):
            answer = board.infer(RECORDING, listening=Listening(buffer_events=stated))
        assert len(times(answer)) == buffer


def test_a_buffer_that_is_not_full_is_not_told(boards: FakeBoards) -> None:
    """Read all the time, it never fills: 3,000 events in 3 s, 10 in every read."""
    boards.buffer_events = 64
    boards.schedule = after(*np.arange(0.0, 3.0, 0.001).tolist())
    with opened(configured()) as board:
        assert len(times(board.infer(RECORDING, listening=Listening(buffer_events=64)))) == 3000


def test_writing_that_takes_too_long_is_told(boards: FakeBoards) -> None:
    boards.write_seconds = 0.4
    with opened(configured()) as board, pytest.warns(MapperWarning, match="writing 30 events took 0.4 s"):
        board.infer(RECORDING)


def test_spikes_before_the_first_event_are_no_answer(boards: FakeBoards) -> None:
    boards.schedule = lambda kit, sent: [(0.01, spike_like(sent[0])), (0.5, spike_like(sent[0]))]
    with opened(configured()) as board:
        with pytest.warns(MapperWarning, match="1 spike came before the first event was played"):
            answer = board.infer(RECORDING)
        assert times(answer) == [400_000]


def test_samna_s_objects_are_written_and_given_as_they_are(boards: FakeBoards) -> None:
    boards.schedule = delayed(0.25)
    with opened(configured()) as board:
        (core,) = {entry.core for entry in board.config.interface.inputs[0].entries}  # type: ignore[union-attr]
        sent = []
        for t in RECORDING["t"].tolist():
            sent.append(board._library.event.Spike())
            sent[-1].layer, sent[-1].timestamp = core, t
        came = board.exchange(sent)
        assert [event.timestamp for event in came] == [t + 250_000 for t in RECORDING["t"].tolist()]
        assert [event.timestamp for event in sent] == RECORDING["t"].tolist()
        assert {event.layer for event in came} == {core}


def test_two_ticks_of_a_slow_clock_are_heard_out(boards: FakeBoards) -> None:
    """At 1 Hz, which is not typical, nothing may come for a second and more."""
    boards.schedule = after(1.9)
    config = configured(bias=True, dt_us=1000.0)
    with pytest.warns(MapperWarning, match="slow clock: 1 Hz is outside 10..10000 Hz.*typical") as told:
        board = opened(config, slow_clock_hz=1.0)
    assert len(told) == 1
    assert ("slow clock", 1.0) in boards.log
    with board:
        assert len(times(board.infer(RECORDING))) == 1
    with opened(config) as board, pytest.warns(MapperWarning, match="no event came back"):
        assert times(board.infer(RECORDING)) == []


def test_a_clock_that_cannot_be_reset(boards: FakeBoards) -> None:
    """Its times tell nothing about before and after, so nothing is left out by them."""
    boards.old_clock = True

    def schedule(kit: Kit, sent: list[Any]) -> list[tuple[float, Any]]:
        kit.zero = 0.0
        return [(event.timestamp * 1e-6, spike_like(event)) for event in sent]

    boards.schedule = schedule
    with opened(configured()) as board, pytest.warns(MapperWarning, match="cannot reset the clock"):
        assert len(times(board.infer(RECORDING))) == 30


@pytest.mark.parametrize(
    ("wish", "text"),
    [
        ({"quiet_seconds": -0.1}, "quiet_seconds: must be a finite number.*got -0.1 seconds"),
        ({"quiet_seconds": float("nan")}, "quiet_seconds"),
        ({"limit_seconds": float("inf")}, "limit_seconds"),
        ({"buffer_events": 0}, "buffer_events: must hold an event"),
    ],
)
def test_wishes_that_cannot_be_met(wish: dict[str, Any], text: str) -> None:
    with pytest.raises(OptionsError, match=text):
        Listening(**wish)


def test_how_long_a_board_is_listened_to() -> None:
    assert Listening().seconds(None) == (1.0, 10.0)
    assert Listening().seconds(1000.0) == (1.0, 10.0)
    assert Listening().seconds(0.5) == (4.0, 40.0)
    assert Listening(0.2).seconds(0.5) == (0.2, 2.0)
    assert Listening(3.0, 1.0).seconds(None) == (3.0, 3.0)


def test_the_class_listens_like_the_board(boards: FakeBoards) -> None:
    module = nn.Sequential(nn.Conv2d(2, 2, 3, padding=1, bias=False), IAFSqueeze(min_v_mem=-1.0))
    network = mapper.DynapcnnNetwork(module, (2, 8, 8))
    network.to("speck2fmodule:0", [3])
    boards.schedule = delayed(0.6)
    assert network(RECORDING)["t"].tolist() == [t + 600_000 for t in RECORDING["t"].tolist()]
    spikes: list[Any] = []
    for t in RECORDING["t"].tolist():
        spikes.append(spike_like(spikes[0] if spikes else EventLike))
        spikes[-1].timestamp = t
    assert [event.timestamp for event in network(spikes)] == [t + 600_000 for t in RECORDING["t"].tolist()]
    network.close()


class EventLike:
    layer, feature, y, x = 3, 1, 2, 3


def test_the_command_listens_like_the_board(
    boards: FakeBoards, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    boards.schedule = after(0.1, 0.7, 2.0)
    mapper.write_config(configured(), tmp_path / "config.json")
    write_events(tmp_path / "e.npy", RECORDING)
    words = ["run", str(tmp_path / "config.json"), "--device", "speck2fmodule"]
    words += ["--events", str(tmp_path / "e.npy")]
    for more, count in (([], 2), (["--quiet-for", "0.5"], 1), (["--quiet-for", "2"], 3)):
        assert run([*words, *more]) == 0
        assert f"{count} spike" in capsys.readouterr().out
    # Never shorter than the quiet time, or nothing could be quiet.
    assert run([*words, "--quiet-for", "1.5", "--at-most", "1"]) == 0
    told = capsys.readouterr()
    assert "2 spikes" in told.out
    assert "still spikes 1.5 s behind" in told.err
    boards.schedule = after(*np.arange(0.0, 60.0, 0.1).tolist())
    assert run([*words, "--at-most", "2"]) == 0
    said = capsys.readouterr()
    assert "Warning: speck2fmodule:0: the chip still spikes 2 s behind the last event" in said.err
    assert "Traceback" not in said.err
    assert run([*words, "--slow-clock", "1", "--at-most", "2"]) == 0
    assert capsys.readouterr().err.count("Warning: slow clock: 1 Hz") == 1


def test_the_deploy_script_listens_like_the_board(
    boards: FakeBoards, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, events = str(tmp_path / "config.json"), str(tmp_path / "e.npy")
    given = RECORDING.copy()
    given["t"] += 1_600_000_000_000_000
    mapper.write_config(configured(), path)
    write_events(events, given)
    words = [path, "--device", "speck2fmodule", "--events", events]
    boards.schedule = delayed(0.6)
    slept = boards.clock.slept
    assert deploy(boards, *words) == 0
    assert "conv0): 30 spikes" in capsys.readouterr().out
    least = 1.0 + LEAD_SECONDS + 2.9 + 0.6 + QUIET
    assert least <= boards.clock.slept - slept <= least + 2 * POLL_SECONDS
    boards.schedule = after(0.1, 0.7)
    assert deploy(boards, *words, "--quiet-for", "0.5") == 0
    assert "conv0): 1 spike" in capsys.readouterr().out
    boards.schedule = after(*np.arange(0.0, 60.0, 0.1).tolist())
    assert deploy(boards, *words, "--at-most", "2") == 0
    said = capsys.readouterr().out
    assert "still spikes 2 s behind the last event" in said
    assert deploy(boards, *words, "--slow-clock", "1", "--at-most", "2") == 0
    assert "a slow clock of 1 Hz: 10 Hz to 10 kHz is typical" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="positive, finite"):
        deploy(boards, *words, "--slow-clock", "0")
