"""Boards that are fakes: the whole flow, and every failure in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import mapper
from mapper.boards import find_board, list_boards
from mapper.cli.entry import run
from mapper.emit.samna import from_samna
from mapper.errors import BoardError, ConfigError, EmitError, EventError
from mapper.events import EVENT_DTYPE, write_events
from mapper.sim.event import simulate_events
from tests.boards.cases import EVENTS, configured, deploy, opened
from tests.frontends.sinabs_stand_in import IAFSqueeze
from tests.stand_in.fake_boards import FakeBoards


def test_discovery(boards: FakeBoards) -> None:
    found = {board.device: (board.chip, board.is_busy) for board in list_boards()}
    assert found == {
        "speck2fmodule:0": ("speck2f", False), "speck2edevkit:0": ("speck2e", False),
        "speck2fmodule:1": ("speck2f", False), "OddBoard:0": ("", False),
    }  # fmt: skip
    assert find_board("Speck2fModule:1").serial_number == "serial2"
    with pytest.raises(BoardError, match=r"Did you mean speck2fmodule:[01]"):
        find_board("speck2fmodule:7")
    boards.busy.add("serial0")
    with pytest.raises(BoardError, match="in use"):
        find_board("speck2fmodule")
    boards.plugged.clear()
    with pytest.raises(BoardError, match="No board is plugged in"):
        find_board("speck2fmodule")


def test_the_whole_flow(boards: FakeBoards) -> None:
    config = configured(bias=True, dt_us=1000.0)
    with opened(config) as board:
        steps = [entry[0] for entry in boards.log]
        assert steps == [
            "open", "apply", "clock", "reset", "clock", "graph start", "graph start", "slow clock", "slow",
        ]  # fmt: skip
        assert ("slow clock", 1000.0) in boards.log
        spikes = board.infer(EVENTS).events["conv0"]
        # The fake sends spikes back from where they arrived: the input's core, which is monitored.
        assert spikes.tolist() == EVENTS.tolist()
        assert board.read().events["conv0"].tolist() == []
    assert boards.kits[0].config.cnn_layers[0].monitor_enable is False
    assert boards.log[-1] == ("close",)
    assert ("slow", False) in boards.log
    with pytest.raises(BoardError, match="closed"):
        board.read()
    assert board.close() == "The board is closed"


def test_sensor_events_go_through_the_stage(boards: FakeBoards) -> None:
    config = configured(dvs=True, monitor_sensor=True)
    with opened(config) as board:
        assert board.write(EVENTS) == 2
        boards.clock.sleep(1.0)
        seen = board.receive()
        assert [(e.timestamp, e.p, e.y, e.x) for e in seen] == [tuple(e) for e in EVENTS.tolist()]


def test_potentials_and_power(boards: FakeBoards) -> None:
    config = configured(chip="speck2e")
    with opened(config, "speck2edevkit") as board:
        core = next(n for n, entry in enumerate(config.hardware.cnn_layers) if entry.dimensions)
        assert set(board.read_potentials(core, 0.0).values()) == {7}
        board.reset()
        told = board.read_potentials(core, 0.0)
        assert set(told.values()) == {0}
        assert len(told) == board.chip.cores[core].neuron_words
        with pytest.raises(ConfigError, match="power"):
            board.start_power(1000.0)
        assert len(board.read_power()) == 0
        board.start_power(50.0)
        assert board.read_power().tolist() == [(5, 1, 0.25)]


def test_clocks_of_older_versions(boards: FakeBoards) -> None:
    boards.old_clock = True
    with opened(configured()):
        assert ("clock", True) in boards.log


@pytest.mark.parametrize("step", ["open", "apply", "clock", "reset", "graph start", "slow clock", "slow"])
def test_a_step_that_fails_leaves_the_board_quiet(boards: FakeBoards, step: str) -> None:
    boards.failing.add(step)
    with pytest.raises(BoardError, match=f"{step} is broken") as caught:
        opened(configured(bias=True, dt_us=1000.0))
    if step != "open":
        assert boards.log[-1] == ("close",)
    state = {"open": "The board is closed", "apply": "Unplug", "slow": "Unplug"}
    assert state.get(step, "made quiet and closed") in str(caught.value)


def test_a_board_that_goes_away_in_the_middle(boards: FakeBoards) -> None:
    board = opened(configured())
    boards.failing |= {"write", "close"}
    with pytest.raises(BoardError, match=r"writing events failed: write is broken. Unplug the board"):
        board.write(EVENTS)
    with pytest.raises(BoardError, match="closed"):
        board.write(EVENTS)


def test_an_interrupt_closes_the_board_too(boards: FakeBoards, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tests.stand_in.fake_boards.Kit.get_stop_watch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        opened(configured())
    assert boards.log[-1] == ("close",)


def test_nothing_is_opened_for_a_configuration_that_is_wrong(boards: FakeBoards) -> None:
    with pytest.raises(ConfigError, match="no rate of the slow clock"):
        opened(configured(bias=True))
    for rate in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ConfigError, match="positive, finite number"):
            opened(configured(bias=True), slow_clock_hz=rate)

    def broken(config: Any) -> Any:
        next(core for core in config.cnn_layers if len(core.weights)).dimensions.kernel_size = 7
        return config

    with pytest.raises(ConfigError, match="samna refuses"):
        opened(configured(), config_modifier=broken)
    with pytest.raises(ConfigError, match="another chip"):
        opened(configured(), "speck2edevkit")
    assert boards.log == []


def test_inputs_are_named_and_checked(boards: FakeBoards) -> None:
    config = configured()
    with opened(config) as board:
        with pytest.raises(ConfigError, match="no such input"):
            board.write(EVENTS, "other")
        with pytest.raises(EventError):
            board.write(np.array([(0, 5, 0, 0)], EVENT_DTYPE))
    with opened(config.model_copy(update={"interface": None})) as board:
        with pytest.raises(ConfigError, match="no interface"):
            board.write(EVENTS)
        assert board.read().events == {}


def test_factory_settings_pass_through(boards: FakeBoards) -> None:
    with opened(configured(factory={"io_sel": 24})) as board:
        assert board.samna_config.factory_config.io_sel == 24
    with pytest.raises(EmitError, match="wrong"):
        opened(configured(factory={"wrong": 1}))


def test_the_class_on_a_board(boards: FakeBoards, monkeypatch: pytest.MonkeyPatch) -> None:
    module = nn.Sequential(nn.Conv2d(2, 2, 3, padding=1, bias=False), IAFSqueeze(min_v_mem=-1.0))
    network = mapper.DynapcnnNetwork(module, (2, 8, 8))
    assert network.to("speck2fmodule:0", [3]) is network
    assert network.samna_device is boards.kits[0]
    spikes = network(EVENTS)
    assert spikes.tolist() == EVENTS.tolist()
    assert [event.layer for event in network(boards_spikes(boards))] == [3]
    with pytest.raises(EventError, match="events_from_raster"):
        network(torch.zeros(2, 2, 8, 8))

    def louder(config: Any) -> Any:
        config.cnn_layers[3].threshold_high = 99
        return config

    network.to("speck2fmodule:1", layer2core_map=[3], config_modifier=louder)
    assert boards.kits[1].config.cnn_layers[3].threshold_high == 99
    assert boards.log.count(("close",)) == 1
    network.to("cpu")
    assert network.samna_device is None
    assert boards.log[-1] == ("close",)
    assert network(torch.zeros(2, 2, 8, 8)).shape == (2, 2, 8, 8)
    with pytest.raises(ValueError, match="one of them"):
        network.to("speck2fmodule", [3], layer2core_map=[3])


def boards_spikes(boards: FakeBoards) -> list[Any]:
    import samna.speck2f as library  # noqa: PLC0415  # the stand-in

    spike = library.event.Spike()
    spike.layer = 3
    return [spike]


def test_biases_need_a_slow_clock_in_the_class(boards: FakeBoards, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)  # a bias that rounds to 0 would be told, too
    module = nn.Sequential(nn.Conv2d(2, 2, 3), IAFSqueeze(min_v_mem=-1.0))
    network = mapper.DynapcnnNetwork(module, (2, 8, 8))
    with pytest.raises(ValueError, match="slow clock"):
        network.to("speck2fmodule:0")
    network.to("speck2fmodule:0", slow_clk_frequency=200.0)
    assert ("slow clock", 200.0) in boards.log


def test_commands(
    boards: FakeBoards, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["devices", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["boards"][1]["device"] == "speck2edevkit:0"
    assert run(["devices"]) == 0
    assert "free" in capsys.readouterr().out
    mapper.write_config(configured(), tmp_path / "config.json")
    write_events(tmp_path / "e.npy", EVENTS)
    words = ["run", str(tmp_path / "config.json"), "--device", "speck2fmodule"]
    words += ["--events", str(tmp_path / "e.npy")]
    assert run([*words, "--out", str(tmp_path / "out")]) == 0
    assert "2 spikes" in capsys.readouterr().out
    assert np.load(tmp_path / "out" / "conv0.npy").tolist() == EVENTS.tolist()
    assert run([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["spikes"] == {"conv0": 2}
    assert run([*words, "--quiet-for", "-1"]) == 2
    assert "--quiet-for: must be a finite number" in capsys.readouterr().err
    boards.plugged.clear()
    assert run(["devices"]) == 0
    assert "no board" in capsys.readouterr().out


def test_the_deploy_script(
    boards: FakeBoards, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path, events = str(tmp_path / "config.json"), str(tmp_path / "e.npy")
    config = configured(bias=True, dt_us=1000.0, factory={"io_sel": 24})
    mapper.write_config(config, path)
    write_events(events, EVENTS)
    assert deploy(boards, path, "--device", "speck2fmodule:1") == 0
    applied = boards.kits[0]
    assert [entry[0] for entry in boards.log if entry[0] == "apply"] == ["apply", "apply"]
    assert (boards.log[-1], applied.config.cnn_layers[0].monitor_enable) == (("close",), False)
    kept: list[Any] = []
    original = type(applied)._apply

    def keep(kit: Any, made: Any) -> None:
        kept.append(made)
        original(kit, made)

    monkeypatch.setattr(type(applied), "_apply", keep)
    assert deploy(boards, path, "--device", "speck2fmodule", "--events", events) == 0
    assert "conv0): 2 spikes" in capsys.readouterr().out
    chip = mapper.load_chip("speck2f")
    bare = configured(bias=True, dt_us=1000.0).model_copy(update={"interface": None})
    assert mapper.diff(bare, from_samna(kept[0], chip)) == ()
    assert kept[0].factory_config.io_sel == 24


def simulated(kit: Any, sent: list[Any]) -> list[Any]:
    """Spikes of the chip that samna's object describes, by the event simulator."""
    import samna.speck2f as library  # noqa: PLC0415  # the stand-in

    kinds = library.event
    read = from_samna(kit.config, mapper.load_chip("speck2f"))
    used = {n for n, core in enumerate(read.hardware.cnn_layers) if core.dimensions}
    arrived = [event for event in sent if type(event) is kinds.Spike and event.layer in used]
    if not arrived:
        return []
    events = np.array([(e.timestamp, e.feature, e.y, e.x) for e in arrived], EVENT_DTYPE)
    result = simulate_events(read, {"in": events}, input_cores={"in": arrived[0].layer})
    made = []
    for name, spikes in result.layers.items():
        for t, p, y, x in spikes.tolist():
            spike = kinds.Spike()
            spike.layer, spike.feature, spike.y, spike.x, spike.timestamp = int(name[4:]), p, y, x, t
            made.append(spike)
    return made


def test_the_self_test(
    boards: FakeBoards, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(["emit", "digits", "--out", str(tmp_path)]) == 0
    assert "known_answer.json" in capsys.readouterr().out
    words = [str(tmp_path / "config.json"), "--device", "speck2fmodule"]
    words += ["--self-test", str(tmp_path / "known_answer.json")]
    boards.answers = simulated
    # The event that this costs is one that does nothing.
    boards.loses_first = True
    assert deploy(boards, *words) == 0
    assert "the board answers" in capsys.readouterr().out
    # The real configuration is on the board afterwards, then the quiet one.
    assert [entry[0] for entry in boards.log].count("apply") == 3

    def broken(kit: Any, sent: list[Any]) -> list[Any]:
        return [event for event in simulated(kit, sent) if event.layer != 8 and event.feature != 3]

    boards.answers = broken
    assert deploy(boards, *words) == 1
    told = capsys.readouterr().out
    assert "differs in" in told
    assert "feature 3" in told
    text = (tmp_path / "config.json").read_text().replace('"threshold_high": ', '"threshold_high": 1')
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(SystemExit, match="another configuration"):
        deploy(boards, *words)


def test_the_deploy_script_refuses(boards: FakeBoards, tmp_path: Path) -> None:
    path = str(tmp_path / "config.json")
    mapper.write_config(configured(bias=True), path)
    for device, message in (("speck2fmodule", "slow-clock"), ("speck2edevkit", "is for speck2fmodule")):
        with pytest.raises(SystemExit, match=message):
            deploy(
                boards,
                path,
                "--device",
                device,
                *(["--slow-clock", "100"] if device == "speck2edevkit" else []),
            )
    with pytest.raises(SystemExit, match="not found"):
        deploy(boards, path, "--device", "speck2fmodule:5", "--slow-clock", "100")
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(SystemExit, match="not a configuration"):
        deploy(boards, str(tmp_path / "other.json"), "--device", "speck2fmodule")
    assert boards.log == []


def test_a_flash_image(boards: FakeBoards, tmp_path: Path) -> None:
    words = ["emit", "digits", "--out", str(tmp_path), "--flash", str(tmp_path / "out.bin")]
    assert run(words) == 0
    assert (tmp_path / "out.bin").read_bytes() == bytes([9, 1, 2])
