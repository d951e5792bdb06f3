"""Emit, read back, compare: the same network; and every injected fault is found."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mapper
from mapper.cli.entry import run
from mapper.emit.read.diff import diff
from mapper.emit.read.extract import extract
from mapper.emit.shared.config import ChipConfig, CnnLayer, Dimensions, Hardware, LayerShape, Vector
from mapper.emit.shared.file import config_text, read_config, write_config
from mapper.emit.shared.tensor import Tensor
from mapper.emit.write.options import EmitOptions, NoiseFilter
from mapper.errors import ConfigError, MapperWarning, NetworkError, OptionsError
from mapper.frontends import load_network
from mapper.network import Layer, Network
from mapper.operations import Convolution
from mapper.passes import prepare
from tests.builders import as_read, chain, conv, tiny_chip, weighted
from tests.emit.faults import IN_NETWORK, ONLY_IN_CONFIG, Mutation, core_number, one_more, sample
from tests.sim.test_config_frame import random_network

ZOO = Path(__file__).resolve().parent.parent / "data" / "zoo"
CASES = int(os.environ.get("MAPPER_INSTANCES", "80"))


def emitted(
    network: Network, chip: object = "speck2f", wishes: EmitOptions | None = None, **more: Any
) -> tuple[Network, ChipConfig]:
    result = mapper.solve(network, chip, **more)  # type: ignore[arg-type]  # a chip
    return result.networks[0], mapper.build_config(result, wishes)


@pytest.mark.parametrize("block", range(4))
def test_random_networks_come_back(block: int) -> None:
    for seed in range(block * CASES // 4, (block + 1) * CASES // 4):
        network, config = emitted(random_network(seed))
        assert diff(network, config) == (), seed
        assert read_back(config) == config


def read_back(config: ChipConfig) -> ChipConfig:
    return ChipConfig.model_validate_json(config_text(config))


@pytest.mark.parametrize("path", sorted(ZOO.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_zoo_comes_back(path: Path) -> None:
    """With random integer weights; what no chip of nine cores holds has no configuration."""
    expected = json.loads((ZOO / "expected.json").read_text(encoding="utf-8"))[path.stem]
    try:
        network = prepare(load_network(path), mapper_options())
    except NetworkError:
        assert path.stem in ("retina_snn_128", "sinabs_lenet5_tutorial")
        return
    result = mapper.solve(weighted(network, np.random.default_rng(1), integer=True))
    if result.solution is None:
        assert expected.get("fits") is not True
        assert path.stem in (
            "silicon_ceiling_9bn",
            "sinabs_complex_dummy4_old",
            "sinabs_too_large",
            "thesis_rnn2c_cyberzoo",
        )
        return
    config = mapper.build_config(result)
    assert diff(result.networks[0], config) == ()
    assert len(config_text(config)) < 2_000_000


def mapper_options() -> Any:
    from mapper.passes import PrepareOptions  # noqa: PLC0415

    return PrepareOptions(add_output_neuron=1.0)


def test_a_full_chip_fits_two_megabytes(tmp_path: Path) -> None:
    """Nine cores whose kernel and neuron memories are full of random weights."""
    kinds = [Convolution(16, (3, 3), padding=(1, 1))] + [
        Convolution(64, (4, 4), stride=(2, 2), padding=(1, 1))
    ] * 3
    network = weighted(chain(kinds, (2, 64, 64)), np.random.default_rng(0), integer=True)
    layers = [
        replace(
            layer,
            operation=replace(
                layer.operation,
                weight=np.random.default_rng(n).integers(-128, 128, np.asarray(layer.operation.weight).shape),
            ),
        )
        for n, layer in enumerate(network.layers)
    ]
    _, config = emitted(network.replacing(layers=tuple(layers)))
    words = sum(np.prod(core.weights.shape) for core in config.hardware.cnn_layers if core.weights)
    write_config(config, tmp_path / "config.json")
    bytes_per_word = (tmp_path / "config.json").stat().st_size / words
    # All kernel memories of a chip of nine cores hold 278,528 words.
    assert bytes_per_word * 278_528 < 2_000_000
    assert read_config(tmp_path / "config.json") == config


@pytest.mark.parametrize(("mutation", "word"), IN_NETWORK.values(), ids=IN_NETWORK)
def test_faults_are_found_against_the_network(mutation: Mutation, word: str) -> None:
    config = sample()
    network = extract(config)
    assert diff(config, network) == ()
    faulty = mutation(config)
    assert faulty != config
    try:
        told = "; ".join(map(str, diff(faulty, network)))
    except (ConfigError, NetworkError) as error:
        told = str(error)
        assert "core" in told or "edge" in told or "layer" in told or "input" in told
        return
    assert word in told
    assert diff(faulty, config)


@pytest.mark.parametrize(("mutation", "word"), ONLY_IN_CONFIG.values(), ids=ONLY_IN_CONFIG)
def test_faults_are_found_between_configurations(mutation: Mutation, word: str) -> None:
    config = sample()
    told = [str(entry) for entry in diff(mutation(config), config)]
    assert told
    assert all(word in line for line in told)


def test_readout_filter_decimator_and_clock() -> None:
    network = weighted(
        chain([conv(4), Convolution(3, (8, 8), has_bias=True)], (2, 8, 8)), np.random.default_rng(0)
    )
    wishes = EmitOptions(
        dt_us=1000.0,
        readout_threshold=5,
        readout_window_ticks=32,
        decimators={"conv0": 2},
        balancers=("conv1",),
    )
    _, config = emitted(network, wishes=wishes, readout="conv1")
    stage, interface = config.hardware.readout, config.interface
    assert stage is not None
    assert interface is not None
    assert (stage.enable, stage.threshold, stage.low_pass_filter32_not16, stage.low_pass_filter_disable) == (
        True,
        5,
        True,
        False,
    )
    assert interface.slow_clock_hz == 1000.0
    core = config.hardware.cnn_layers[core_number(config, "conv1")]
    assert core.destinations[0].layer == 12
    assert core.dimensions is not None
    assert core.dimensions.output_shape.feature_count == 9
    assert core.input_congestion_balancer_enable
    assert config.hardware.cnn_layers[core_number(config, "conv0")].output_decimator_interval == 2
    assert any("positive biases" in note for note in interface.notes)
    bare = emitted(network, wishes=EmitOptions(noise_filter=NoiseFilter("low-pass", rate_hz=50.0)))[
        1
    ].hardware
    assert bare.dvs_filter is not None
    assert (bare.dvs_filter.low_pass_mode_enable, bare.dvs_filter.filter_size.x) == (True, 0)
    assert bare.readout is not None
    assert not bare.readout.enable


@pytest.mark.parametrize(
    ("chip", "wishes", "text"),
    [
        ("speck2f", EmitOptions(readout_rate_hz=-1.0), "positive, finite"),
        ("speck2f", EmitOptions(readout_rate_hz=float("nan")), "positive, finite"),
        ("speck2f", EmitOptions(noise_filter=NoiseFilter(rate_hz=float("inf"))), "positive, finite"),
        ("speck2f", EmitOptions(dt_us=5e-324), "positive, finite"),
        ("speck2f", EmitOptions(dt_us=float("inf")), "time step must be positive"),
        ("speck2f", EmitOptions(dt_us=-1.0), "positive"),
        ("speck2f", EmitOptions(dt_us=1000.0, noise_filter=NoiseFilter(rate_hz=50.0)), "one clock"),
        ("speck2f", EmitOptions(noise_filter=NoiseFilter(size=(16, 1))), "1..15"),
        ("speck2f", EmitOptions(decimators={"nobody": 9}), "0..7"),
        ("speck2b", EmitOptions(decimators={"conv0": 1}, balancers=("conv0",)), "no decimators"),
        ("speck2f", EmitOptions(balancers=("nobody",)), "no layer"),
    ],
)
def test_wishes_a_chip_cannot_meet(chip: str, wishes: EmitOptions, text: str) -> None:
    network = weighted(chain([conv(4, has_bias=True)], (2, 8, 8)), np.random.default_rng(0))
    with pytest.raises(OptionsError, match=text):
        emitted(network, chip, wishes)


@pytest.mark.parametrize(("dt_us", "rate"), [(1e6, "1 Hz"), (100_001.0, "9.9999 Hz"), (1.0, "1e[+]06 Hz")])
def test_a_slow_clock_that_is_not_typical_is_warned_of(dt_us: float, rate: str) -> None:
    """The leak notebook runs at 1 Hz: the datasheet's range is what is typical, no limit."""
    network = weighted(chain([conv(4, has_bias=True)], (2, 8, 8)), np.random.default_rng(0))
    with pytest.warns(MapperWarning, match=f"slow clock: {rate} is outside 10..10000 Hz.*typical") as told:
        _, config = emitted(network, wishes=EmitOptions(dt_us=dt_us))
    assert len(told) == 1
    assert config.interface is not None
    assert config.interface.slow_clock_hz == 1e6 / dt_us


@pytest.mark.parametrize("dt_us", [100.0, 100_000.0])
def test_a_slow_clock_at_the_ends_of_what_is_typical_is_not_warned_of(dt_us: float) -> None:
    """Warnings are errors in these tests."""
    network = weighted(chain([conv(4, has_bias=True)], (2, 8, 8)), np.random.default_rng(0))
    _, config = emitted(network, wishes=EmitOptions(dt_us=dt_us))
    assert config.interface is not None
    assert config.interface.slow_clock_hz == 1e6 / dt_us


def test_the_command_line_says_it_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = "from torch import nn\n\ndef network(): return nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU())\n"
    (tmp_path / "biased.py").write_text(text)
    words = ["emit", f"{tmp_path / 'biased.py'}:network", "--input-shape", "2,8,8", "--relu-as-if"]
    assert run([*words, "--out", str(tmp_path), "--step-us", "1000000"]) == 0
    said = capsys.readouterr().err
    assert said.count("Warning: slow clock: 1 Hz") == 1
    assert "Traceback" not in said
    assert "MapperWarning" not in said


def test_shapes_alone_have_no_configuration() -> None:
    with pytest.raises(NetworkError, match="no integer weights"):
        emitted(chain([conv(4)]))


def test_read_back_without_interface() -> None:
    network, config = emitted(
        weighted(chain([conv(3), conv(4)], (2, 8, 8), (2,)), np.random.default_rng(2), integer=True)
    )
    bare = config.model_copy(update={"interface": None})
    entry = core_number(config, "conv0")
    found = extract(bare, {"input": entry})
    assert {layer.name for layer in found.layers} == {f"core{entry}", f"core{core_number(config, 'conv1')}"}
    assert found.notes
    same = {layer.name: layer for layer in found.layers}[f"core{entry}"]
    assert np.array_equal(np.asarray(same.operation.weight), np.asarray(network.layers[0].operation.weight))


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("", "not JSON"), ("[]", "no configuration"), ('{"hardware": {}}', "schema version"), ('{"hardware": {}, "schema_version": 7}', "7"),
        ('{"hardware": {}, "schema_version": 1}', "cnn_layers"), ('{"hardware": {"cnn_layers": 3}, "schema_version": 1, "chip": 4}', "chip"),
        ("[" * 5000, "not JSON"),
    ],
)  # fmt: skip
def test_malformed_files(content: str, text: str, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError, match=text):
        read_config(path)
    with pytest.raises(ConfigError, match=r"there is no such file.* mapper\.write_config"):
        read_config(tmp_path / "nothing.json")


@pytest.mark.parametrize("values", ["1 2", "1 2 3 4 5", "a b c d", "1*5", "1*-1 2 3 4 5", "4*99999999999999"])
def test_malformed_tensors(values: str) -> None:
    with pytest.raises(ValueError, match=r"values|whole number|shape"):
        Tensor(shape=(2, 2), values=values)
    with pytest.raises(ValueError, match="impossible shape"):
        Tensor(shape=(1 << 20, 1 << 20), values="0")
    with pytest.raises(ValueError, match="only integers"):
        Tensor.of(np.array([0.5]))


def test_tensors_are_short_and_exact() -> None:
    array = np.array([[0, 0, 0, -5], [1, 1, 2, 2]])
    assert Tensor.of(array).values == "0*3 -5 1 1 2 2"
    assert np.array_equal(Tensor(shape=(2, 4), values="0*3 -5 1 1 2 2").array, array)
    assert Tensor.of(np.zeros((0, 3), int)).values == ""
    assert Tensor.of(array) == Tensor.of(array.copy())
    assert hash(Tensor.of(array)) == hash(Tensor.of(array.copy()))


def test_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["emit", "digits", "--out", str(tmp_path), "--step-us", "1000"]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "config.json",
        "known_answer.json",
        "placement.json",
    ]
    config = str(tmp_path / "config.json")
    assert run(["diff", config, "digits"]) == 0
    content = read_config(config)
    number = core_number(content, "conv1")
    cores = list(content.hardware.cnn_layers)
    cores[number] = cores[number].model_copy(update={"weights": one_more(cores[number].weights)})
    faulty = content.model_copy(
        update={"hardware": content.hardware.model_copy(update={"cnn_layers": tuple(cores)})}
    )
    write_config(faulty, tmp_path / "other.json")
    capsys.readouterr()
    assert run(["diff", config, str(tmp_path / "other.json")]) == 1
    assert "weights[" in capsys.readouterr().out
    assert run(["diff", str(tmp_path / "other.json"), "digits", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["differences"][0]["where"] == "layer conv1"
    assert run(["emit", str(ZOO / "gesture_small.yaml"), "--out", str(tmp_path / "no")]) == 2
    assert not (tmp_path / "no").exists()
    assert run(["emit", "digits", "--forbid", "0,1,2,3,4,5", "--out", str(tmp_path / "no")]) == 1


def test_differences_of_structure() -> None:
    base = weighted(chain([conv(3), conv(4)], (2, 8, 8)), np.random.default_rng(2), integer=True)
    other = weighted(chain([conv(3)], (2, 8, 8)), np.random.default_rng(2), integer=True)
    told = [str(entry) for entry in diff(base, other)]
    assert any("layer conv1: exists" in line for line in told)
    assert any("edge conv0 -> conv1" in line for line in told)
    turned = base.replacing(layers=tuple(reversed(base.layers)))
    assert [entry.what for entry in diff(base, turned)] == ["order"]
    layers = tuple(Layer(x.name, x.input_shape, x.operation, (), None) for x in base.layers)
    with pytest.raises(NetworkError, match="conv0 and conv1, each: a weight layer without spiking neurons"):
        diff(base, as_read(base).replacing(layers=layers))
    assert tiny_chip((64, 64, 4)).core_count == 1


def test_nine_full_cores_stay_one_file_of_2_mb(tmp_path: Path) -> None:
    """Random weights and random initial potentials in every word of nine cores."""
    chip, draw = mapper.load_chip("speck2f"), np.random.default_rng(0)
    cores = []
    for spec in chip.cores:
        features = 16
        inputs, side = spec.kernel_words // (features * 16), int((spec.neuron_words // features) ** 0.5)
        one, none, sides = Vector(x=1, y=1), Vector(x=0, y=0), Vector(x=side, y=side)
        reads = LayerShape(feature_count=inputs, size=Vector(x=side + 3, y=side + 3))
        values: dict[str, Any] = {
            "dimensions": Dimensions(
                input_shape=reads,
                output_shape=LayerShape(feature_count=features, size=sides),
                kernel_size=4,
                stride=one,
                padding=none,
            ),
            "threshold_high": 1,
            "threshold_low": -1,
            "weights": Tensor.of(draw.integers(-128, 128, (features, inputs, 4, 4))),
            "biases": Tensor.of(draw.integers(-32768, 32768, features)),
            "neurons_initial_value": Tensor.of(draw.integers(-32768, 32768, (features, side, side))),
        }
        cores.append(CnnLayer(destinations=(), **values))
    config = ChipConfig(chip="speck2f", chip_hash="", hardware=Hardware(cnn_layers=tuple(cores)))
    mapper.write_config(config, tmp_path / "config.json")
    assert (tmp_path / "config.json").stat().st_size < 2e6
    assert mapper.read_config(tmp_path / "config.json") == config


@pytest.mark.parametrize(
    ("values", "message"),
    [("base64 f4 AAAA", "none of i1"), ("base64 i1 ???", "base64"), ("base64 i2 AAAA", "bytes")],
)
def test_packed_tensors_that_are_none(values: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Tensor(shape=(3,), values=values)


def test_packed_and_written_out_are_equal() -> None:
    assert Tensor(shape=(3,), values="base64 i1 AQID") == Tensor.of(np.array([1, 2, 3]))
    assert Tensor(shape=(3,), values="base64 i1 AQID") != Tensor.of(np.array([1, 2, 4]))
