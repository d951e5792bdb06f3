"""What public scripts do with a `DynapcnnNetwork`, each from beginning to end, without sinabs."""

from __future__ import annotations

import copy
import io
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
import torch
from torch import nn

import mapper
from mapper.cli.entry import run
from mapper.emit.samna import flash_binary, to_samna
from mapper.errors import MapperWarning
from mapper.events import EVENT_DTYPE, events_from_raster
from mapper.frontends import NirOptions
from mapper.normal_form import NormalNetwork
from mapper.sim.config_frame import simulate_config
from tests.frontends.sinabs_stand_in import IAFSqueeze, SumPool2d, dvs
from tests.frontends.test_nir import conv2d, neurons
from tests.stand_in.fake_boards import FakeBoards, install_boards

SHAPE = (2, 8, 8)
BOARD = "speck2fmodule:0"


@pytest.fixture
def boards(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeBoards:
    folder = tmp_path / "site"
    folder.mkdir()
    return install_boards(monkeypatch, folder, "Speck2fModuleDevKit")


def spiking() -> IAFSqueeze:
    return IAFSqueeze(min_v_mem=-1.0)


def snn(*, bias: bool = False, seed: int = 3) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1, bias=bias), spiking(), SumPool2d(2),
        nn.Conv2d(4, 6, 3, bias=bias), spiking(), nn.Flatten(),
        nn.Linear(24, 5, bias=bias), spiking(),
    )  # fmt: skip


def frames(steps: int = 6, seed: int = 0, high: int = 12) -> torch.Tensor:
    return torch.tensor(np.random.default_rng(seed).integers(0, high, (steps, *SHAPE)), dtype=torch.float32)


def recording() -> Any:
    return events_from_raster(frames(3, high=2).numpy().astype(int), dt_us=1000)


def weights(network: NormalNetwork, number: int) -> Any:
    return np.asarray(network.layers[number].operation.weight)


def through_file(state: Any) -> Any:
    stream = io.BytesIO()
    torch.save(state, stream)
    stream.seek(0)
    return torch.load(stream, weights_only=True)


def test_convert() -> None:
    """A trained network, as it is and in integers."""
    module = snn()
    network = mapper.DynapcnnNetwork(module, input_shape=SHAPE, dvs_input=False, discretize=True)
    exact = mapper.DynapcnnNetwork(module, input_shape=SHAPE, dvs_input=False, discretize=False)
    assert torch.equal(exact(frames()).flatten(1), module(frames()))
    assert len(network.dynapcnn_layers) == 3
    for layer in network.dynapcnn_layers.values():
        weight = layer.conv_layer.weight
        assert torch.equal(weight, weight.round())
        assert int(weight.abs().max()) in (127, 128)
    spikes = network(frames())
    assert spikes.shape == (6, 5, 1, 1)
    assert spikes.any()


def test_configure(boards: FakeBoards) -> None:
    """A configuration of samna, cores by hand, and a change to it that survives only as a modifier."""
    network = mapper.DynapcnnNetwork(snn(), SHAPE, False)
    config = network.make_config([0, 1, 7], device=BOARD)
    assert network.chip_layers_ordering == [0, 1, 7]
    assert [n for n, core in enumerate(config.cnn_layers) if len(core.weights)] == [0, 1, 7]
    assert config.cnn_layers[0].destinations[0].layer == 1
    assert config.cnn_layers[0].destinations[0].pooling == 2
    expected = network.dynapcnn_layers[0].conv_layer.weight.detach().numpy().transpose(0, 1, 3, 2)
    assert np.array_equal(np.asarray(config.cnn_layers[0].weights), expected)

    def louder(made: Any) -> Any:
        made.cnn_layers[0].threshold_high = 77
        return made

    assert network.make_config([0, 1, 7], BOARD, config_modifier=louder).cnn_layers[0].threshold_high == 77
    assert network.make_config([0, 1, 7], BOARD).cnn_layers[0].threshold_high != 77
    assert network.is_compatible_with("speck2edevkit")


def test_deploy(boards: FakeBoards) -> None:
    """Onto the board, with what is there now; again after a change; and off it."""
    network = mapper.DynapcnnNetwork(snn(), SHAPE, False)
    assert network.to(device=BOARD, chip_layers_ordering="auto", monitor_layers=[-1]) is network
    assert network.device == BOARD
    assert network.is_deployed_on_dynapcnn_device
    first = boards.kits[-1].config.cnn_layers[network.find_chip_layer(0)]
    assert first.threshold_high == int(network.dynapcnn_layers[0].spk_layer.spike_threshold)
    network.dynapcnn_layers[0].spk_layer.spike_threshold = 55
    assert first.threshold_high != 55
    network.to(BOARD)
    assert boards.kits[-1].config.cnn_layers[network.find_chip_layer(0)].threshold_high == 55
    network.to("cpu")
    assert (network.samna_device, network.device) == (None, "cpu")
    assert boards.log[-1] == ("close",)
    assert network(frames()).shape == (6, 5, 1, 1)


def test_infer(boards: FakeBoards) -> None:
    """The same call in simulation and on the board: frames there, events here, as arrays or samna's own."""
    network = mapper.DynapcnnNetwork(snn(), SHAPE, False)
    with torch.no_grad():
        simulated = network(frames())
    config = network.plain_config(BOARD)
    assert config.interface is not None
    entry = config.interface.inputs[0].name
    (chip,) = simulate_config(config, {entry: frames().numpy().astype(int)}).outputs.values()
    assert np.array_equal(chip.reshape(6, 5), simulated.flatten(1).numpy())
    with pytest.warns(UserWarning, match="before the pool"):
        network.to(BOARD, monitor_layers=[0])
    given = recording()
    answer = network(given)
    assert answer.dtype == EVENT_DTYPE
    assert len(answer) == len(given)
    import samna  # noqa: PLC0415  # the stand-in

    sent = []
    for event in given:
        spike = samna.speck2f.event.Spike()
        spike.layer, spike.feature = network.find_chip_layer(0), int(event["p"])
        spike.y, spike.x, spike.timestamp = int(event["y"]), int(event["x"]), int(event["t"])
        sent.append(spike)
    heard = network(sent)
    assert [(spike.feature, spike.y, spike.x) for spike in heard] == [(s.feature, s.y, s.x) for s in sent]
    network.close()


def test_monitor(boards: FakeBoards) -> None:
    """Every way to say which layers are watched, and that pools come later."""
    network = mapper.DynapcnnNetwork(snn(), SHAPE, True)

    def watched(monitor_layers: Any) -> tuple[list[int], bool]:
        config = network.make_config([0, 1, 2], BOARD, monitor_layers)
        cores = [n for n, core in enumerate(config.cnn_layers) if core.monitor_enable]
        return cores, config.dvs_layer.monitor_enable

    assert watched(None) == ([2], False)
    assert watched([-1]) == ([2], False)
    assert watched(["dvs"]) == ([], True)
    with pytest.warns(UserWarning, match="before the pool"):
        assert watched("all") == ([0, 1, 2], False)
    name = network.structure.layers[1].name
    assert watched(["dvs", name]) == ([1], True)
    network.to(BOARD, [0, 1, 2], monitor_layers=["dvs", name])
    assert sorted({event.layer for event in _answers(network, boards)}) == [1]
    network.close()


def _answers(network: Any, boards: FakeBoards) -> list[Any]:
    """What comes back where every core says one spike, as far as it is monitored."""
    import samna  # noqa: PLC0415  # the stand-in

    def say(kit: Any, events: list[Any]) -> list[Any]:
        said = []
        for core, fields in enumerate(kit.config.cnn_layers):
            if fields.monitor_enable:
                spike = samna.speck2f.event.Spike()
                spike.layer = core
                said.append(spike)
        return said

    boards.answers = say
    network.samna_input_buffer.write([samna.speck2f.event.Spike()])
    found: list[Any] = network.samna_output_buffer.get_events()
    return found


def test_readout(boards: FakeBoards) -> None:
    """The readout core counts every fourth feature: the last layer is spread on a copy, by hand."""
    network = mapper.DynapcnnNetwork(snn(bias=True), SHAPE, False)
    before = network(frames())
    wide = copy.deepcopy(network)
    for layer in wide.exit_layers:
        conv: Any = layer.conv_layer
        count = conv.out_channels
        conv.out_channels = (count - 1) * 4 + 1
        weight = torch.zeros((conv.out_channels, *conv.weight.data.shape[1:]), dtype=conv.weight.dtype)
        weight[::4] = conv.weight.data
        conv.weight.data = weight
        bias = torch.zeros(conv.out_channels)
        bias[::4] = conv.bias.data
        conv.bias.data = bias
    wide(torch.zeros(1, *wide.input_shape))
    wide.reset_states()
    after = wide(frames())
    assert after.shape == (6, 17, 1, 1)
    assert torch.equal(after[:, ::4], before)
    assert before.any()
    assert not after[:, [n for n in range(17) if n % 4]].any()
    config = wide.make_config(device=BOARD)
    core = config.cnn_layers[wide.find_chip_layer(-1)]
    assert core.dimensions.output_shape.feature_count == 17
    assert np.asarray(core.weights).shape[0] == 17
    assert (
        network.make_config(device=BOARD)
        .cnn_layers[network.find_chip_layer(-1)]
        .dimensions.output_shape.feature_count
        == 5
    )
    assert wide.memory_summary()["bias"][-1] == 17


def test_train_further() -> None:
    """Steps of an optimizer behind the rounding: the loss falls, and the configuration follows."""
    network = mapper.DynapcnnNetwork(snn(), SHAPE, False)
    before = network.plain_config(BOARD)
    optimizer = torch.optim.Adam(network.parameters(), lr=4.0)
    wanted = torch.tensor([0.0, 4.0, 0.0, 0.0, 0.0])
    losses = []
    for _ in range(12):
        network.reset_states()
        optimizer.zero_grad()
        loss: Any = ((network(frames()).flatten(1).mean(0) - wanted) ** 2).sum()
        loss.backward()
        optimizer.step()
        network.detach_neuron_states()
        losses.append(float(loss.detach()))
    assert min(losses[-4:]) < losses[0] / 2
    after = network.plain_config(BOARD)
    assert after != before
    network.reset_states()
    raster = {after.interface.inputs[0].name: frames().numpy().astype(int)} if after.interface else {}
    (chip,) = simulate_config(after, raster).outputs.values()
    assert np.array_equal(chip.reshape(6, 5), network(frames()).detach().flatten(1).numpy())


def theirs(network: Any) -> dict[str, torch.Tensor]:
    """The state of a network under the keys of sinabs, numbered from 1 as behind its sensor stage."""
    found = {}
    for n, layer in network.dynapcnn_layers.items():
        place = f"_dynapcnn_module._dynapcnn_layers.{n + 1}"
        found[f"{place}.conv.weight"] = layer.conv.weight.detach().clone()
        if layer.conv.bias is not None:
            found[f"{place}.conv.bias"] = layer.conv.bias.detach().clone()
        found[f"{place}.spk.spike_threshold"] = layer.spk.spike_threshold.clone()
        found[f"{place}.spk.min_v_mem"] = layer.spk.min_v_mem.clone()
        found[f"{place}.spk.v_mem"] = torch.zeros(0)
    return found


def test_checkpoint() -> None:
    """Saved and loaded, from this class, from sinabs', and from the module that it was made of."""
    module, other = snn(bias=True), snn(bias=True, seed=4)
    network = mapper.DynapcnnNetwork(module, SHAPE, False)
    config = network.plain_config(BOARD)
    for state in (network.state_dict(), theirs(network), module.state_dict()):
        fresh = mapper.DynapcnnNetwork(other, SHAPE, False)
        assert fresh.plain_config(BOARD).hardware != config.hardware
        fresh.load_state_dict(through_file(state))
        assert fresh.plain_config(BOARD).hardware == config.hardware
        assert torch.equal(fresh(frames()), network(frames()))
        network.reset_states()
    left = theirs(network)
    left["_dynapcnn_module._dynapcnn_layers.2.spk.v_mem"] = torch.ones(1, 6, 2, 2)
    with pytest.warns(UserWarning, match="layers 2 are not loaded"):
        mapper.DynapcnnNetwork(other, SHAPE, False).load_state_dict(left)
    del left["_dynapcnn_module._dynapcnn_layers.3.conv.weight"]
    left["_dynapcnn_module._dynapcnn_layers.2.spk.v_mem"] = torch.zeros(0)
    with pytest.raises(RuntimeError, match=r"layers\.2\.conv\.weight"):
        mapper.DynapcnnNetwork(other, SHAPE, False).load_state_dict(left)


def test_nir_tutorial(boards: FakeBoards) -> None:
    """A graph of another framework, and modules whose sizes are NumPy's, as `nir` hands them over."""
    shapes = {"input": np.array([2, 8, 8])}
    nodes = {
        "input": nir.Input(shapes),
        "conv": conv2d(4, 2, 8),
        "spikes": neurons(4, 6, 6),
        "output": nir.Output({"output": np.array([4, 6, 6])}),
    }
    graph = nir.NIRGraph(nodes, [("input", "conv"), ("conv", "spikes"), ("spikes", "output")])
    read = mapper.load_network(graph, nir=NirOptions("sinabs", v_min="threshold"))
    network = mapper.DynapcnnNetwork(read, SHAPE, False)
    layer = network.make_config(device=BOARD).cnn_layers[network.find_chip_layer("conv")]
    scaled = nodes["conv"].weight / np.abs(nodes["conv"].weight).max() * 127
    assert np.abs(np.asarray(layer.weights).transpose(0, 1, 3, 2) - scaled).max() < 1.1
    torch.manual_seed(0)
    two, one = np.int64(2), np.int64(1)
    plain = nn.Sequential(nn.Conv2d(2, 4, 3, stride=2, padding=1, bias=False), spiking(), SumPool2d(2))
    sizes: dict[str, Any] = {"stride": (two, two), "padding": (one, one)}
    odd = nn.Sequential(nn.Conv2d(2, 4, 3, bias=False, **sizes), spiking(), SumPool2d((two, two)))
    odd.load_state_dict(plain.state_dict())
    config = mapper.DynapcnnNetwork(odd, SHAPE, False).make_config(device=BOARD)
    same = mapper.DynapcnnNetwork(plain, SHAPE, False).make_config(device=BOARD)
    assert config.to_json() == same.to_json()
    assert mapper.DynapcnnNetwork(odd, SHAPE, False)(frames()).shape == (6, 4, 2, 2)


def test_visualizer(boards: FakeBoards) -> None:
    """What it looks up on a network with a sensor; and a sensor alone, which it only shows."""
    stage = dvs((16, 16), (2, 2))
    network: Any = mapper.DynapcnnNetwork(nn.Sequential(stage, *snn()), dvs_input=True)
    assert network.has_dvs_layer()
    assert network.samna_device is None
    network.to(BOARD, monitor_layers=["dvs", -1])
    kit: Any = boards.kits[-1]
    assert network.samna_device == kit
    assert kit.config.dvs_layer.monitor_enable
    assert kit.config.dvs_layer.pass_sensor_events
    assert kit.config.cnn_layers[network.find_chip_layer(-1)].monitor_enable
    assert network.samna_output_buffer.get_events() == []
    network.close()
    assert network.samna_output_buffer is None
    alone = mapper.DynapcnnNetwork(nn.Sequential(dvs((128, 128))), dvs_input=True)
    assert alone.dynapcnn_layers == {}
    alone.to(BOARD, monitor_layers=["dvs"])
    config = boards.kits[-1].config
    assert config.dvs_layer.monitor_enable
    assert config.dvs_layer.pass_sensor_events
    assert not any(core.monitor_enable or len(core.weights) for core in config.cnn_layers)
    alone.close()


def test_visualizer_finds_the_stage() -> None:
    stage = dvs((16, 16), (2, 2))
    network: Any = mapper.DynapcnnNetwork(nn.Sequential(stage, *snn()), dvs_input=True)
    assert network.dvs_layer.pool_layer.kernel_size == (2, 2)


def test_leak_notebook(boards: FakeBoards) -> None:
    """One neuron with a bias, at one tick a second, written to and read from by hand."""
    import samna  # noqa: PLC0415  # the stand-in

    module = nn.Sequential(nn.Conv2d(1, 1, 1), spiking())
    with torch.no_grad():
        module[0].weight.fill_(1.0)  # type: ignore[operator]
        module[0].bias.fill_(-0.25)  # type: ignore[operator]
    network = mapper.DynapcnnNetwork(module, (1, 4, 4), False)
    with pytest.raises(ValueError, match="slow clock"):
        network.to(BOARD)
    with pytest.warns(MapperWarning, match="1 Hz is outside"):
        network.to(BOARD, monitor_layers="all", slow_clk_frequency=1)
    assert ("slow clock", 1) in boards.log
    assert ("slow", True) in boards.log
    core = boards.kits[-1].config.cnn_layers[network.find_chip_layer(0)]
    assert core.leak_enable
    assert np.asarray(core.biases).tolist() == [-32]
    spike = samna.speck2f.event.Spike()
    spike.layer, spike.y, spike.x = network.find_chip_layer(0), 1, 2
    network.samna_output_buffer.get_events()
    network.samna_input_buffer.write([spike])
    (heard,) = network.samna_output_buffer.get_events()
    assert (heard.layer, heard.y, heard.x) == (spike.layer, 1, 2)
    assert network.samna_output_buffer.get_events() == []
    network.close()


def test_flash(boards: FakeBoards, tmp_path: Path) -> None:
    """An image of the board's memory, from Python and from the command line."""
    network = mapper.DynapcnnNetwork(snn(), SHAPE, False)
    result = network.place(BOARD)
    config = mapper.build_config(result)
    assert config.hardware == network.plain_config(BOARD).hardware
    image = flash_binary(to_samna(config, result.chip), result.chip)
    file = tmp_path / "flash.bin"
    command = ["emit", "digits", "--chip", "speck2f", "--out", str(tmp_path / "out"), "--flash", str(file)]
    assert run(command) == 0
    # The stand-in's image says how many cores there are.
    assert image == file.read_bytes() == bytes([9, 1, 2])
