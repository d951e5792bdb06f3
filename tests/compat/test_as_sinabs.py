"""What scripts of sinabs write and look up: arguments in two orders, samples, sensors, numbers, views, errors."""

from __future__ import annotations

import sys
import time
import types
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import mapper
from mapper.errors import MissingNeuronError, NetworkError, OptionsError, SpecError, UnsupportedLayerError
from tests.compat.test_dynapcnn import SHAPE, Branches, events, snn
from tests.frontends import sinabs_stand_in as sinabs
from tests.frontends.sinabs_stand_in import IAFSqueeze
from tests.stand_in import samna_stand_in


def small(**neurons: Any) -> nn.Sequential:
    torch.manual_seed(2)
    return nn.Sequential(nn.Conv2d(2, 4, 3, bias=False), IAFSqueeze(min_v_mem=-1.0, **neurons))


def test_samples_of_a_number_of_time_steps_are_kept_apart() -> None:
    module = small()
    for layer in module.modules():
        if isinstance(layer, IAFSqueeze):
            layer.__dict__.update(batch_size=-1, num_timesteps=6)
    network = mapper.DynapcnnNetwork(module, SHAPE)
    x = torch.cat([events(6, 1), events(6, 2), events(6, 3)])
    together = network(x)
    alone = []
    for part in (x[:6], x[6:12], x[12:]):
        network.reset_states()
        alone.append(network(part))
    assert torch.equal(together, torch.cat(alone))
    assert together.any()
    with pytest.raises(NetworkError, match=r"num_timesteps \(got 13; allowed: multiples of 6\)"):
        network(torch.zeros(13, *SHAPE))
    twice = mapper.DynapcnnNetwork(module, SHAPE, batch_size=2)
    assert twice.batch_size == 2
    with pytest.raises(NetworkError, match="changes it"):
        twice(torch.zeros(3, *SHAPE))
    # As sinabs.set_batch_size does.
    for own in twice.dynapcnn_layers.values():
        own.spk_layer.batch_size = 3
    assert twice(torch.zeros(3, *SHAPE)).shape[0] == 3


def test_batches_after_drawn_states() -> None:
    network = mapper.DynapcnnNetwork(small(), SHAPE, batch_size=4)
    network.reset_states(randomize=True)
    assert len(network.potentials()[0]) == 1
    network(torch.zeros(4, *SHAPE))
    states = network.potentials()[0]
    assert len(states) == 4
    assert not torch.equal(states[0], states[1])
    neuron = network.network.layers[0].neuron
    assert float(states.min()) >= float(neuron.minimum or 0)
    assert float(states.max()) < float(np.asarray(neuron.threshold))


def test_both_orders_of_arguments() -> None:
    def asked(*more: Any, **named: Any) -> tuple[Any, ...]:
        network = mapper.DynapcnnNetwork(small(), SHAPE, *more, **named)
        return network.dvs_input, network.discretize, network.batch_size

    assert asked() == (None, True, 1)
    assert asked(True) == asked(np.True_) == (True, True, 1)
    assert asked(False, False) == (False, False, 1)
    assert asked(None) == (None, True, 1)
    assert asked(4) == asked(np.int64(4)) == (None, True, 4)
    assert asked(4, True) == (True, True, 4)
    assert asked(4, None, False) == (None, False, 4)
    assert asked(None, True, False) == (True, False, 1)
    assert asked(2, False, True, max) == (False, True, 2)
    for wrong, text in (
        ((None, True), "None may be dvs_input, or batch_size"),
        ((True, True, 3), "more than"),
        ((0,), "batch_size: must be a whole number"),
        ((1, "yes"), "dvs_input: must be True or False"),
        ((1, True, None), "discretize: must be True or False"),
    ):
        with pytest.raises(OptionsError, match=text):
            asked(*wrong)
    for shape in ((1, *SHAPE), (8, 8), (2, 8, 8.5)):
        with pytest.raises(OptionsError, match="input_shape: must be three whole numbers"):
            mapper.DynapcnnNetwork(small(), shape)  # type: ignore[arg-type]  # as tested
    with pytest.raises(OptionsError, match="by position and by name"):
        asked(True, dvs_input=False)
    with pytest.raises(NetworkError, match="load_network"):
        mapper.DynapcnnNetwork("net.nir", SHAPE)  # type: ignore[arg-type]  # what people try
    read = mapper.load_network(small(), SHAPE)
    assert torch.equal(
        mapper.DynapcnnNetwork(read)(events()), mapper.DynapcnnNetwork(small(), SHAPE)(events())
    )


def test_the_sensor_as_its_layer_says_or_the_argument() -> None:
    def stage_of(network: mapper.DynapcnnNetwork) -> Any:
        return network.plain_config("speck2f").hardware.dvs_layer

    for off in (True, False):
        module = nn.Sequential(sinabs.dvs((8, 8)), nn.Conv2d(2, 4, 3, bias=False), IAFSqueeze())
        module[0].__dict__["disable_pixel_array"] = off
        assert stage_of(mapper.DynapcnnNetwork(module, dvs_input=None)).pass_sensor_events is not off
        assert stage_of(mapper.DynapcnnNetwork(module, dvs_input=True)).pass_sensor_events
        assert not stage_of(mapper.DynapcnnNetwork(module, dvs_input=False)).pass_sensor_events
        with pytest.warns(UserWarning, match="sensor stays off"):
            left_out = mapper.DynapcnnNetwork(module)
        assert not stage_of(left_out).pass_sensor_events
        assert left_out.has_dvs_layer()
        assert left_out.dvs_layer is not module[0]
    added = mapper.DynapcnnNetwork(small(), SHAPE, dvs_input=True)
    assert added.has_dvs_layer()
    assert stage_of(added).pass_sensor_events
    assert not mapper.DynapcnnNetwork(small(), SHAPE, dvs_input=None).has_dvs_layer()


def test_the_sensor_alone_is_watched() -> None:
    module = nn.Sequential(sinabs.dvs((16, 20), (1, 1), ((2, 12), (0, 20)), flip_x=True))
    viewers = [
        mapper.DynapcnnNetwork(module, dvs_input=True),
        mapper.DynapcnnNetwork(nn.Sequential(), (2, 10, 20), dvs_input=True),
    ]
    for viewer in viewers:
        assert viewer.is_compatible_with("speck2f")
        stage = viewer.plain_config("speck2f", monitor_layers=["dvs"]).hardware.dvs_layer
        assert stage is not None
        assert (stage.pass_sensor_events, stage.monitor_enable) == (True, True)
        assert (stage.cut.y - stage.origin.y + 1, stage.cut.x - stage.origin.x + 1) == (10, 20)
        assert viewer.layer_destination_map == {"dvs": [-1]}
        assert viewer.memory_summary() == {"kernel": [], "neuron": [], "bias": []}
    assert viewers[0](torch.ones(3, 2, 16, 20)).shape == (3, 2, 10, 20)
    with pytest.raises(NetworkError, match="pools the sensor"):
        mapper.DynapcnnNetwork(nn.Sequential(sinabs.dvs((16, 16), (2, 2))), dvs_input=True)
    with pytest.raises(NetworkError, match="input shape"):
        mapper.DynapcnnNetwork(nn.Sequential(), dvs_input=True)


def test_where_sinabs_numbers_otherwise_is_said() -> None:
    sensor = mapper.DynapcnnNetwork(snn(), SHAPE, dvs_input=True)
    with pytest.warns(UserWarning, match="from 1 behind a sensor stage"):
        sensor.place("speck2f", {0: 5})
    with pytest.warns(UserWarning, match="from 1 behind a sensor stage"):
        sensor.place("speck2f", monitor_layers=[1])
    branches = mapper.DynapcnnNetwork(Branches(2, add=True), SHAPE)
    with pytest.warns(UserWarning, match="branches in an order of its own"):
        branches.place("speck2f", [0, 1, 2, 3])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sensor.place("speck2f", ["dvs", 5, 6, 7], monitor_layers=["dvs", -1])
        mapper.DynapcnnNetwork(snn(), SHAPE).place("speck2f", {0: 5}, monitor_layers=[2])
        branches.place("speck2f", monitor_layers=-1)


class TwoEnds(nn.Module):
    """A stem whose spikes leave, beside those of a head that reads it pooled."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.stem_spike = nn.Conv2d(2, 4, 3, padding=1, bias=False), IAFSqueeze()
        self.pool = sinabs.SumPool2d(2)
        self.head, self.head_spike = nn.Conv2d(4, 3, 1, bias=False), IAFSqueeze()

    def forward(self, x: torch.Tensor) -> Any:
        x = self.stem_spike(self.stem(x))
        return self.head_spike(self.head(self.pool(x))), x


def test_views_of_the_one_network() -> None:
    network = mapper.DynapcnnNetwork(TwoEnds(), SHAPE)
    assert network.layer_destination_map == {0: [1, -1], 1: [-1]}
    assert network.exit_layer_ids == [0, 1]
    assert network.exit_layers == list(network.dynapcnn_layers.values()) == network.core_layers()
    assert network.name_2_indx_map == {"stem": 0, "head": 1}
    graph = network.dynapcnn_module
    assert graph.dynapcnnlayer_edges == graph._dynapcnnlayer_edges == {("input", 0), (0, 1)}
    assert (graph.entry_points, graph.sorted_nodes, graph.node_source_map) == (
        {0},
        [0, 1],
        {0: ["input"], 1: [0]},
    )
    assert network.dynapcnn_layers[0].pool == [(2, 2), (1, 1)]
    with torch.no_grad():
        spikes = network(events())
    assert {n: list(ways) for n, ways in spikes.items()} == {0: [-1], 1: [-1]}
    network.reset_states()
    with torch.no_grad():
        complete = network(events(), return_complete=True)
    assert {n: list(ways) for n, ways in complete.items()} == {"input": [0], 0: [1, -1], 1: [-1]}
    assert torch.equal(complete[0][-1], spikes[0][-1])
    assert complete[0][1].shape == (6, 4, 4, 4)
    assert float(complete[0][1].sum()) == float(spikes[0][-1].sum())
    summary = network.memory_summary()["kernel"]
    assert summary == list(summary.values()) == [words for _, words in summary.items()]
    assert [summary[n] for n in summary.keys()] == summary  # noqa: SIM118  # a list has no keys otherwise
    with pytest.warns(UserWarning, match="before the pool"):
        shown = network.plain_config("speck2f", monitor_layers=0)
    assert [n for n, core in enumerate(shown.hardware.cnn_layers) if core.monitor_enable] == [
        network.find_chip_layer(0)
    ]
    text = str(network)
    assert f"#0: stem, core {network.find_chip_layer(0)}" in text
    assert "CoreConvolution(2, 4" in text
    assert (network.device, network.is_deployed_on_dynapcnn_device) == ("cpu", False)
    assert network.samna_device is network.samna_input_buffer is network.samna_output_buffer is None
    with pytest.raises(ValueError, match="no board is open"):
        network.hw_forward([])
    for name in ("sequence", "compatible_layers", "samna_input_graph"):
        with pytest.raises(AttributeError, match="here: "):
            getattr(network, name)
    with pytest.raises(AttributeError, match="nonsense"):
        _ = network.nonsense
    assert mapper.solve(network, "speck2f").solution is not None


def test_hooks_and_live_weights() -> None:
    network = mapper.DynapcnnNetwork(snn(), SHAPE)
    seen: list[tuple[Any, ...]] = []
    for layer in network.dynapcnn_layers.values():
        for part in (layer.conv_layer, layer.spk_layer):
            part.register_forward_hook(lambda module, given, made: seen.append((module, given, made)))
    network(events())
    assert len(seen) == 6
    assert all(len(given) == 1 and given[0].shape[0] == made.shape[0] == 6 for _, given, made in seen)
    assert network.dynapcnn_layers[0].conv_layer.weight is next(network.parameters())
    assert not any(p is q for p in network.parameters() for q in snn().parameters())


def test_numpy_integers_are_integers_everywhere() -> None:
    one: Any = np.int64(1)
    two: Any = np.int64(2)
    module = nn.Sequential(
        nn.Conv2d(2, 4, 3, stride=(one, one), padding=(one, one), bias=False), IAFSqueeze(),
        sinabs.SumPool2d((two, two)), nn.Conv2d(4, 2, 3, stride=one, bias=False), IAFSqueeze(),
    )  # fmt: skip
    network = mapper.DynapcnnNetwork(module, tuple(np.array(SHAPE)), np.int64(1))
    cores: Any = np.array([3, 5])
    network.plain_config("speck2f", cores, monitor_layers=cores[:1] - 2)
    assert network.layer2core_map == {0: 3, 1: 5}
    assert network.find_chip_layer(-one) == 5


def test_compatibility_is_answered_in_milliseconds() -> None:
    wide = nn.Sequential(nn.Conv2d(2, 256, 3, padding=1, bias=False), IAFSqueeze())
    for module, shape, fits in ((wide, (2, 64, 64), False), (snn(), SHAPE, True)):
        network = mapper.DynapcnnNetwork(module, shape)
        network.is_compatible_with("speck2f")
        times = []
        for _ in range(5):
            start = time.process_time()
            assert network.is_compatible_with("speck2fmodule:0") is fits
            times.append(time.process_time() - start)
        assert min(times) < 0.1


def test_unknown_devices_are_said_before_samna_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mapper.emit.samna.find_samna", lambda: None)
    network = mapper.DynapcnnNetwork(small(), SHAPE)
    for call in (network.make_config, network.to):
        with pytest.raises(SpecError, match="speck9"):
            call(device="speck9:0")
    with pytest.raises(ImportError, match="samna"):
        network.make_config()


def test_the_default_device_and_chips_that_samna_lacks(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    samna_stand_in.install(monkeypatch, tmp_path)
    network = mapper.DynapcnnNetwork(small(), SHAPE)
    assert len(network.make_config().cnn_layers) == 9
    assert network.result is not None
    assert network.result.chip.name == "dynapcnn"
    for gone in ("dynapcnn", "speck2"):
        monkeypatch.delitem(sys.modules, f"samna.{gone}")
    monkeypatch.setattr("mapper.emit.samna.find_spec", lambda name: sys.modules.get(name))
    monkeypatch.setattr("mapper.emit.samna.require_samna", lambda needed_for: None)
    with pytest.warns(
        UserWarning, match="no chip of dynapcnndevkit:0; the configuration is of speck2fdevkit:0"
    ):
        network.make_config()
    assert network.result.chip.name == "speck2f"
    with pytest.raises(ImportError, match=r"installed samna has .*speck2f"):
        network.make_config(device="speck2")


def test_errors_that_scripts_of_sinabs_catch(monkeypatch: pytest.MonkeyPatch) -> None:
    class InvalidEdge(Exception):  # noqa: N818  # a name of sinabs
        def __init__(self, edge: object, source: object, target: object) -> None:
            raise AssertionError

    theirs = types.ModuleType("sinabs.backend.dynapcnn.exceptions")
    kinds = ("InvalidGraphStructure", "UnsupportedLayerType", "InputConfigurationError")
    for name in kinds:
        setattr(theirs, name, type(name, (Exception,), {}))
    theirs.InvalidEdge = InvalidEdge  # type: ignore[attr-defined]  # as above
    conv = nn.Conv2d(2, 4, 3, bias=False)
    cases: list[tuple[nn.Module, Any, type[NetworkError], str, str]] = [
        (nn.Sequential(conv), SHAPE, MissingNeuronError, "InvalidGraphStructure", "add_output_neuron"),
        (nn.Sequential(conv, nn.Sigmoid()), SHAPE, UnsupportedLayerError, "UnsupportedLayerType", "Sigmoid"),
        (
            nn.Sequential(conv, nn.Conv2d(4, 4, 3), IAFSqueeze()),
            SHAPE,
            UnsupportedLayerError,
            "InvalidEdge",
            "0",
        ),
        (nn.Sequential(conv, IAFSqueeze()), None, NetworkError, "InputConfigurationError", "input shape"),
    ]
    for module, shape, own, name, text in cases:
        with pytest.raises(own, match=text) as plain:
            mapper.DynapcnnNetwork(module, shape)
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, theirs.__name__, theirs)
            with pytest.raises(getattr(theirs, name), match=text) as both:
                mapper.DynapcnnNetwork(module, shape)
        assert isinstance(both.value, own)
        assert str(both.value) == str(plain.value)
    with pytest.raises(NetworkError, match=r"\. relu_as_if=1\.0 makes it"):
        mapper.DynapcnnNetwork(nn.Sequential(conv, nn.ReLU()), SHAPE)
    assert mapper.DynapcnnNetwork(nn.Sequential(conv), SHAPE, add_output_neuron=1.0)(events()).shape[0] == 6
