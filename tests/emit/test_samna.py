"""Configurations as samna's objects: a strict stand-in for every family, back again without loss."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import nn

import mapper
from mapper.emit.samna import find_samna, flash_binary, from_samna, require_samna, to_samna, validate
from mapper.emit.write.options import EmitOptions
from mapper.errors import BackendMissingError, ConfigError, EmitError
from mapper.operations import Convolution
from tests.builders import chain, conv, weighted
from tests.frontends.sinabs_stand_in import IAFSqueeze
from tests.stand_in.samna_stand_in import FAMILIES, install

CHIPS = ["dynapcnn", "speck2", "speck2b", "speck2cmini", "speck2dmini", "speck2e", "speck2f"]


@pytest.fixture
def samna(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    install(monkeypatch, tmp_path)


def networks() -> list[Any]:
    draw = np.random.default_rng(4)
    plain = chain([conv(4), conv(5), Convolution(3, (6, 4))], (2, 12, 8), (2,))
    sensor = chain([conv(4), conv(5)], (2, 12, 8), (2,), dvs=True)
    return [weighted(network, draw, integer=True) for network in (plain, sensor)]


@pytest.mark.parametrize("name", CHIPS)
def test_there_and_back(samna: None, name: str) -> None:
    chip = mapper.load_chip(name)
    for network in networks():
        result = mapper.solve(network, chip)
        config = mapper.build_config(result)
        theirs = to_samna(config, chip)
        assert validate(theirs, chip) == (True, "")
        back = from_samna(theirs, chip)
        assert back.interface is None
        left, right = config.hardware, back.hardware
        assert [
            entry.where for entry in mapper.diff(config.model_copy(update={"interface": None}), back)
        ] == []
        assert (left.cnn_layers, left.dvs_layer) == (right.cnn_layers, right.dvs_layer)


def test_every_family_has_a_chip() -> None:
    modules = {mapper.load_chip(name).emission for name in CHIPS}
    assert {entry.samna_module for entry in modules if entry} == {f"samna.{family}" for family in FAMILIES}


def test_readout_decimators_and_flash(samna: None) -> None:
    chip = mapper.load_chip("speck2f")
    network = weighted(
        chain([conv(4), Convolution(3, (8, 8))], (2, 8, 8)), np.random.default_rng(0), integer=True
    )
    config = mapper.build_config(
        mapper.solve(network, chip, readout="conv1"),
        EmitOptions(readout_threshold=4, readout_window_ticks=16, decimators={"conv0": 3}),
    )
    theirs = to_samna(config, chip)
    assert (theirs.readout.enable, theirs.readout.threshold) == (True, 4)
    assert from_samna(theirs, chip).hardware == config.hardware
    assert flash_binary(theirs, chip) == bytes([9, 1, 2])


def test_what_a_version_lacks_matters_only_if_used(samna: None, monkeypatch: pytest.MonkeyPatch) -> None:
    chip = mapper.load_chip("speck2f")
    config = mapper.build_config(mapper.solve(networks()[1], chip))
    import samna.speck2f as library  # noqa: PLC0415  # the stand-in

    original = library.configuration.SpeckConfiguration

    def older(*missing: str) -> Any:
        made = original()
        for name in missing:
            object.__delattr__(made.dvs_layer, name)
        return made

    monkeypatch.setattr(library.configuration, "SpeckConfiguration", lambda: older("raw_monitor_enable"))
    assert to_samna(config, chip).dvs_layer.pass_sensor_events
    monkeypatch.setattr(library.configuration, "SpeckConfiguration", lambda: older("pass_sensor_events"))
    with pytest.raises(EmitError, match="pass_sensor_events"):
        to_samna(config, chip)


def test_a_stand_in_that_is_strict(samna: None) -> None:
    chip = mapper.load_chip("speck2f")
    theirs = to_samna(mapper.build_config(mapper.solve(networks()[0], chip)), chip)
    core = next(entry for entry in theirs.cnn_layers if len(entry.weights))
    for name, value, error in (
        ("wieghts", 1, AttributeError),
        ("threshold_low", 0, ValueError),
        ("threshold_high", 1.5, TypeError),
        ("weights", [[1]], TypeError),
        ("weights", np.full((1, 1, 1, 1), 200), ValueError),
        ("monitor_enable", 2, TypeError),
        ("dimensions", 3, TypeError),
    ):
        with pytest.raises(error):
            setattr(core, name, value)
    for name, fields, error in (
        ("dimensions", {"kernel_sise": 3}, AttributeError),
        ("dimensions", {"stride": {"x": 300}}, ValueError),
        ("dimensions", {"input_shape": {"size": {"x": 1.5}}}, TypeError),
        ("destinations", [{"pooling": 3}, {}], ValueError),
        ("destinations", [{}], TypeError),
    ):
        with pytest.raises(error):
            setattr(core, name, fields)
    core.dimensions = {"padding": {"x": np.int64(1), "y": 2}}
    core.destinations = [{"layer": 4, "enable": 1}, {}]
    assert (core.dimensions.padding.x, core.dimensions.padding.y) == (1, 2)
    assert core.destinations[0].enable is True
    core.dimensions.kernel_size = 5
    assert not validate(theirs, chip)[0]


def test_other_chips_are_refused(samna: None) -> None:
    speck = mapper.load_chip("speck2f")
    config = mapper.build_config(mapper.solve(networks()[0], speck))
    with pytest.raises(ConfigError, match="another chip"):
        to_samna(config, mapper.load_chip("speck2e"))
    larger = mapper.load_chip("speck2f", ["+core[9..20]=core[0]"])
    with pytest.raises(ConfigError, match="not known to samna"):
        to_samna(mapper.build_config(mapper.solve(networks()[0], larger)), larger)


@pytest.mark.parametrize(
    ("files", "state"), [((), "stub"), (("PYPI_SAMNA", "x.so"), "stub"), (("x.so",), "real")]
)
def test_the_installer_stub_is_never_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: tuple[str, ...], state: str
) -> None:
    package = tmp_path / "samna"
    package.mkdir()
    (package / "__init__.py").write_text("raise SystemExit('imported')\n", encoding="utf-8")
    for name in files:
        (package / name).touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(subprocess, "Popen", None)
    assert find_samna() == state
    if state == "stub":
        with pytest.raises(BackendMissingError, match="stub"):
            require_samna("a test")
    else:
        require_samna("a test")


def test_the_class_makes_and_checks_a_configuration(samna: None) -> None:
    module = nn.Sequential(nn.Conv2d(2, 4, 3, bias=False), IAFSqueeze(min_v_mem=-1.0))
    network = mapper.DynapcnnNetwork(module, (2, 8, 8))
    made: Any = network.make_config(device="speck2fmodule:0", chip_layers_ordering=[3])
    assert len(made.cnn_layers[3].weights) == 4
    assert network.samna_config is made

    def louder(config: Any) -> Any:
        config.cnn_layers[3].threshold_high = 99
        return config

    loud: Any = network.make_config([3], "speck2f", config_modifier=louder)
    assert loud.cnn_layers[3].threshold_high == 99

    def broken(config: Any) -> Any:
        config.cnn_layers[3].dimensions.kernel_size = 7
        return config

    with pytest.raises(ValueError, match="weights"):
        network.make_config([3], "speck2f", config_modifier=broken)
    floating = mapper.DynapcnnNetwork(module, (2, 8, 8), discretize=False)
    with pytest.warns(UserWarning, match="discretize"):
        rounded: Any = floating.make_config([3], "speck2f")
    assert np.array_equal(rounded.cnn_layers[3].weights, made.cnn_layers[3].weights)


def test_without_samna_the_class_says_so_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mapper.emit.samna.find_samna", lambda: None)
    network = mapper.DynapcnnNetwork(nn.Sequential(nn.Conv2d(2, 4, 3), IAFSqueeze(min_v_mem=-1.0)), (2, 8, 8))
    with pytest.raises(ImportError, match="samna"):
        network.make_config()
    assert network.to("cpu") is network
    with pytest.raises(ImportError, match="samna"):
        network.to("speck2fmodule:0")
    with pytest.raises(ValueError, match="monitor_layers="):
        network.to("speck2fmodule:0", ["conv"])
