"""Potentials back to where they start, the event that is spared behind it, and the test of that."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from torch import nn

import mapper
from mapper.boards import Board, Listening, loses_first_event
from mapper.boards.potentials import harmless_event
from mapper.errors import BoardError, ConfigError, MapperWarning
from mapper.events import EVENT_DTYPE
from tests.boards.cases import EVENTS, configured, deploy_script, opened
from tests.frontends.sinabs_stand_in import IAFSqueeze
from tests.stand_in.fake_boards import Buffer, FakeBoards, Kit


def starting_at(*values: int) -> Any:
    """A modifier: the cores in use start from these potentials, each value on as many neurons."""

    def change(made: Any) -> Any:
        for core in made.cnn_layers:
            shape = np.asarray(core.neurons_initial_value).shape
            if len(shape) == 3:
                core.neurons_initial_value = np.resize(values, shape).tolist()
        return made

    return change


def written(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Everything that is written to boards from now on."""
    sent: list[Any] = []
    arrive = Kit._arrive

    def keep(kit: Kit, events: list[Any]) -> None:
        sent.extend(events)
        arrive(kit, events)

    monkeypatch.setattr(Kit, "_arrive", keep)
    return sent


def kinds(events: list[Any]) -> list[str]:
    return [type(event).__name__ for event in events]


def potentials(board: Board) -> set[int]:
    return {value for core in board.used_cores for value in board.read_potentials(core, 0.0).values()}


@pytest.mark.no_cover
@pytest.mark.parametrize("start", [0, -1, 12])
def test_every_potential_starts_again(boards: FakeBoards, start: int) -> None:
    with opened(configured(), config_modifier=starting_at(start)) as board:
        board.infer(EVENTS)
        assert potentials(board) > {7}
        board.reset()
        assert potentials(board) == {start}
        assert [entry[0] for entry in boards.log].count("apply") == 1


def test_a_harmless_event_ends_a_reset(boards: FakeBoards, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = written(monkeypatch)
    with opened(configured()) as board:
        board.reset()
        words = sum(board.chip.cores[core].neuron_words for core in board.used_cores)
        assert kinds(sent) == [*["WriteNeuronValue"] * words, "Spike"]
        spare = sent[-1]
        assert spare.layer not in board.used_cores
        core = board.samna_config.cnn_layers[spare.layer]
        assert (core.monitor_enable, core.leak_enable) == (False, False)
        assert [entry.enable for entry in core.destinations] == [False, False]
        # Nothing of it is heard, neither now nor as an event from before the next call.
        assert board.infer(EVENTS).events["conv0"].tolist() == EVENTS.tolist()


def test_a_reset_is_what_makes_the_first_event_arrive(boards: FakeBoards) -> None:
    boards.loses_first = True
    with opened(configured()) as board:
        board.reset()
        assert board.infer(EVENTS).events["conv0"].tolist() == EVENTS.tolist()


@pytest.mark.parametrize("loses", [True, False])
def test_the_self_test_of_the_first_event(boards: FakeBoards, loses: bool) -> None:
    boards.loses_first = loses
    with opened(configured(bias=True, dt_us=1000.0)) as board:
        boards.log.clear()
        assert loses_first_event(board) is loses
        assert loses_first_event(board, with_harmless_event=True) is False
        slow = [entry[1] for entry in boards.log if entry[0] == "slow"]
        assert slow == [False, True, False, True]
        assert potentials(board) == {0}


@pytest.mark.no_cover
@pytest.mark.parametrize(
    ("weight", "threshold", "to_zero"),
    [(1, 127, False), (127, 127, False), (127, 127, True), (127, 1, False), (127, 1, True), (-1, 127, False)],
)
def test_the_self_test_s_event_moves_a_potential(
    boards: FakeBoards, weight: int, threshold: int, to_zero: bool
) -> None:
    """Below, at and above the threshold, by both kinds of reset, and down to the lower bound."""

    def change(made: Any) -> Any:
        for core in made.cnn_layers:
            if np.asarray(core.weights).ndim == 4:
                core.weights = np.full_like(np.asarray(core.weights), weight).tolist()
                core.threshold_high, core.threshold_low, core.return_to_zero = threshold, -1, to_zero
        return made

    boards.loses_first = True
    with opened(configured(), config_modifier=change) as board:
        assert loses_first_event(board) is True


def test_the_self_test_tells_nothing_of_a_dead_board(
    boards: FakeBoards, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(configured()) as board:
        monkeypatch.setattr(Kit, "_feel", lambda kit, spike: None)
        with pytest.raises(BoardError, match="answers to no event"):
            loses_first_event(board)
        assert potentials(board) == {0}
    with (
        opened(configured(dvs=True)) as board,
        pytest.raises(ConfigError, match=r"EmitOptions\(sensor=False\)"),
    ):
        loses_first_event(board)

    def empty(made: Any) -> Any:
        for core in made.cnn_layers:
            if np.asarray(core.weights).ndim == 4:
                core.weights = np.zeros_like(np.asarray(core.weights)).tolist()
        return made

    with opened(configured(), config_modifier=empty) as board, pytest.raises(ConfigError, match="no weight"):
        loses_first_event(board)


def test_potentials_that_differ_hang_on_the_configuration(boards: FakeBoards) -> None:
    with opened(configured(), config_modifier=starting_at(3, 4)) as board:
        board.infer(EVENTS)
        with pytest.warns(MapperWarning, match=r"cores \d, \d start from potentials that differ by neuron"):
            board.reset()
        assert [entry[0] for entry in boards.log].count("apply") == 2


def test_where_every_core_is_used_a_feature_without_weights_is_spared(boards: FakeBoards) -> None:
    import samna.speck2f as library  # noqa: PLC0415  # the stand-in

    def crowd(made: Any) -> Any:
        for core in made.cnn_layers:
            core.monitor_enable = True
        return made

    with opened(configured(), config_modifier=crowd) as board:
        with pytest.warns(MapperWarning, match="no event is harmless"):
            board.reset()
        with pytest.raises(ConfigError, match="no event that changes nothing"):
            loses_first_event(board, with_harmless_event=True)
        core = max(board.used_cores)
        weights = np.asarray(board.samna_config.cnn_layers[core].weights)
        weights[:, 1] = 0
        board.samna_config.cnn_layers[core].weights = weights.tolist()
        spare = harmless_event(library, board.samna_config, board.used_cores)
        assert spare is not None
        assert (spare.layer, spare.feature) == (core, 1)
        # A neuron that starts at its threshold would spike when it is touched.
        board.samna_config.cnn_layers[core].threshold_high = 1
        starting_at(1)(board.samna_config)
        assert harmless_event(library, board.samna_config, board.used_cores) is None


def test_a_reset_tells_what_came_too_late(boards: FakeBoards) -> None:
    boards.schedule = lambda kit, sent: [(0.2, spike(kit)), (1.0, spike(kit))]
    with opened(configured()) as board:
        board.listening = Listening(quiet_seconds=0.5)
        board.infer(EVENTS)
        boards.clock.sleep(5.0)
        boards.schedule = None
        with pytest.warns(MapperWarning, match="1 event from before this call.*nothing had come for 0.5 s"):
            board.reset()
        assert board.infer(EVENTS).events["conv0"].tolist() == EVENTS.tolist()


def test_what_a_reset_makes_spike_is_dropped_unsaid(boards: FakeBoards) -> None:
    """Warnings are errors in these tests: the next call finds nothing."""
    boards.schedule = lambda kit, sent: [(0.15, spike(kit))]
    with opened(configured()) as board:
        board.reset()
        boards.schedule = None
        assert board.infer(EVENTS).events["conv0"].tolist() == EVENTS.tolist()


def spike(kit: Kit) -> Any:
    import samna.speck2f as library  # noqa: PLC0415  # the stand-in

    made = library.event.Spike()
    made.layer = next(n for n, core in enumerate(kit.config.cnn_layers) if core.monitor_enable)
    return made


def test_the_class_resets_the_board(boards: FakeBoards) -> None:
    module = nn.Sequential(nn.Conv2d(2, 2, 3, padding=1, bias=False), IAFSqueeze(min_v_mem=-1.0))
    network = mapper.DynapcnnNetwork(module, (2, 8, 8))
    network.to("speck2fmodule:0", [3])
    assert network.board is not None
    network(np.array([(0, 0, 1, 1)], EVENT_DTYPE))
    before = potentials(network.board)
    network.reset_states()
    assert potentials(network.board) == {0} != before
    network.close()
    network.reset_states()


def test_the_deploy_script_spares_an_event_too(
    boards: FakeBoards, capsys: pytest.CaptureFixture[str]
) -> None:
    import samna.speck2f as library  # noqa: PLC0415  # the stand-in

    shape = {"feature_count": 3, "size": {"x": 3, "y": 1}}
    used: dict[str, Any] = {"dimensions": {"output_shape": shape}}
    for cores, sent in (([used, {}, {}], ["Spike"]), ([used], [])):
        source = Buffer()
        made: list[Any] = []
        source.on_write = made.extend
        deploy_script(boards).zero_potentials(source, {"hardware": {"cnn_layers": cores}}, library)
        assert kinds(made) == ["WriteNeuronValue"] * 12 + sent
        assert [event.layer for event in made[12:]] == [2] * len(sent)
        assert ("every core is in use" in capsys.readouterr().out) == (not sent)
