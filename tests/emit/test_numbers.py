"""Nothing of a network is emitted without a field: every number is in the range of the field it stands in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import BaseModel, ValidationError

from hwspec.catalog import load
from mapper.emit.read.diff import diff
from mapper.emit.samna import to_samna
from mapper.emit.shared.config import Hardware
from mapper.emit.shared.interface import Interface, InterfaceInput, LayerPlace
from mapper.emit.shared.ranges import FAMILY, Range, out_of_range, ranges_of
from mapper.emit.shared.tensor import Tensor
from mapper.emit.write.build import build_config
from mapper.errors import EmitError, NetworkError
from mapper.network import DvsSettings, Edge, Input, Output
from mapper.normal_form import NormalLayer, NormalNetwork
from mapper.operations import Convolution, Neuron, Pool, Scale, Shape
from mapper.result import Result
from mapper.solution import HostEntry, LayerPart, Monitor, Placement, Solution
from tests.builders import tiny_chip
from tests.emit.handmade import placed, sensor_relay_that_shifts
from tests.stand_in.samna_stand_in import install


def single(layer: NormalLayer, path: Any = (), output: Any = ()) -> Result:
    """One layer on core 3 of a chip with room for it; its shapes are whatever they are."""
    features, height, width = layer.input_shape
    if path:
        height, width = height * path[0].size[0], width * path[0].size[1]
    entry = Input("in", Shape(features, height, width))
    net = NormalNetwork("net", (entry,), (layer,), (Edge("in", "l0", path),), (Output("o", "l0", output),))
    placement = Placement(3, LayerPart(0, "l0"), (0, layer.output_shape.features))
    monitor = Monitor(3, 0, "l0", (0, layer.output_shape.features))
    return placed([net], Solution((placement,), (), (HostEntry(0, "in", 3),), (monitor,)))


def one_layer(
    operation: dict[str, Any] | None = None, neuron: dict[str, Any] | None = None, size: int = 8
) -> NormalLayer:
    """A layer of two features with some fields changed."""
    sizes: dict[str, Any] = {"out_features": 2, "kernel": (3, 3), "padding": (1, 1), **(operation or {})}
    shape = (sizes["out_features"], 2, *sizes["kernel"])
    convolution = Convolution(**{"weight": np.ones(shape, np.int64), **sizes})
    return NormalLayer(
        "l0", Shape(2, size, size), convolution, (), Neuron(**{"threshold": 5, **(neuron or {})})
    )


def ones(*shape: int, value: float = 1) -> Any:
    return np.full(shape, value)


NUMBERS: dict[str, tuple[NormalLayer, str]] = {
    "weight": (one_layer({"weight": ones(2, 2, 3, 3, value=128)}), r"weights.*got 128; allowed: -128..127"),
    "negative weight": (one_layer({"weight": ones(2, 2, 3, 3, value=-129)}), r"weights.*got -129"),
    "bias": (one_layer({"bias": ones(2, value=32768)}), r"biases.*got 32768; allowed: -32768..32767"),
    "broken bias": (one_layer({"bias": ones(2, value=0.5)}), r"biases must be whole numbers.*got 0.5"),
    "threshold": (one_layer(None, {"threshold": 32768}), r"threshold_high.*got 32768; allowed: 1..32767"),
    "no threshold": (
        one_layer(None, {"threshold": 0}),
        r"no core has this threshold.*got 0; allowed: 1..inf",
    ),
    "broken threshold": (one_layer(None, {"threshold": 7.5}), r"threshold must be a whole number.*got 7.5"),
    "fires above": (one_layer(None, {"fires_at": "above"}), "fires above its threshold"),
    "thresholds": (one_layer(None, {"threshold": ones(2)}), r"a core has one threshold.*got \(2,\)"),
    "minimum": (one_layer(None, {"minimum": -32769}), r"threshold_low.*got -32769; allowed: -32768..-1"),
    "minimum of zero": (one_layer(None, {"minimum": 0}), "no core has this minimum.*got 0"),
    "broken minimum": (one_layer(None, {"minimum": -1.5}), r"minimum must be a whole number.*got -1.5"),
    "state": (
        one_layer(None, {"initial_potential": ones(2, 8, 8, value=-32769)}),
        r"initial_value.*got -32769",
    ),
    "broken state": (
        one_layer(None, {"initial_potential": ones(2, 8, 8, value=0.25)}),
        r"initial pot.*got 0.25",
    ),
    "stride": (one_layer({"stride": (3, 1)}), r"stride.y.*got 3; allowed: 1, 2, 4, 8"),
    "padding": (one_layer({"kernel": (15, 15), "padding": (7, 8)}), r"padding.x.*got 8; allowed: 0..7"),
    "kernel": (
        one_layer({"kernel": (17, 17), "padding": (7, 7)}, size=20),
        r"kernel_size.*got 17; allowed: 1..16",
    ),
    "kernel's sides": (
        one_layer({"kernel": (3, 1), "padding": (1, 0)}),
        r"one size for both sides of a kernel.*\(3, 1\)",
    ),
    "features": (
        one_layer({"out_features": 1025}),
        r"output_shape.feature_count.*got 1025; allowed: 1..1024",
    ),
    "input map": (one_layer({"stride": (4, 4)}, size=129), r"input_shape.size.x.*got 129; allowed: 1..128"),
    "neuron map": (one_layer(size=65), r"output_shape.size.y.*got 65; allowed: 1..64"),
}


@pytest.mark.parametrize(("layer", "text"), NUMBERS.values(), ids=NUMBERS)
def test_numbers_of_the_network_that_have_no_field(layer: NormalLayer, text: str) -> None:
    with pytest.raises((EmitError, NetworkError), match=text) as caught:
        build_config(single(layer))
    assert "l0" in str(caught.value)


def test_every_field_of_layers_and_neurons_is_tried() -> None:
    """So that a field that is added is thought of.

    `has_bias` follows from the biases, the normal form has neither groups nor dilation, and what a quantiser
    declared of weights is spent once they are integers.
    """
    tried = {
        "out_features",
        "kernel",
        "stride",
        "padding",
        "dilation",
        "groups",
        "weight",
        "bias",
        "has_bias",
        "declared",
    }
    assert {field.name for field in fields(Convolution)} == tried
    # Resets have a bit each; the spike mode stands in the interface; integers fire at their threshold.
    assert {field.name for field in fields(Neuron)} == {
        "threshold", "minimum", "reset", "spike_mode", "initial_potential", "fires_at",
    }  # fmt: skip
    for changes in ({"reset": "zero"}, {"spike_mode": "single"}):
        (network,) = single(one_layer(None, changes)).networks
        assert diff(network, build_config(single(one_layer(None, {**changes, "minimum": -9})))) != ()
        whole = single(one_layer(None, {**changes, "minimum": -9}))
        assert diff(whole.networks, build_config(whole)) == ()


@pytest.mark.parametrize("high", [32767, 1])
@pytest.mark.parametrize("low", [-32768, -1])
@pytest.mark.parametrize("weight", [-128, 127])
def test_the_last_values_that_have_one(high: int, low: int, weight: int) -> None:
    state = np.full((2, 8, 8), low)
    bias = np.array([-32768, 32767])
    layer = one_layer(
        {"weight": np.full((2, 2, 3, 3), weight), "bias": bias, "has_bias": True},
        {"threshold": high, "minimum": low, "initial_potential": state},
    )
    result = single(layer)
    assert diff(result.networks, build_config(result)) == ()


PATHS: dict[str, tuple[Any, str]] = {
    "overlapping": ((Pool("sum", (2, 2), (1, 1)),), "whose stride is its size"),
    "sides": ((Pool("sum", (2, 4), (2, 4)),), r"pools rows and columns differently.*\(2, 4\)"),
}


@pytest.mark.parametrize(("path", "text"), PATHS.values(), ids=PATHS)
def test_paths_of_edges_that_no_destination_has(path: Any, text: str) -> None:
    size = path[0].size if path[0].stride == path[0].size else (1, 1)
    layer = one_layer()
    entry = Input(
        "in",
        Shape(
            2,
            8 * size[0] + (path[0].size[0] - 1) * (size == (1, 1)),
            8 * size[1] + (path[0].size[1] - 1) * (size == (1, 1)),
        ),
    )
    net = NormalNetwork("net", (entry,), (layer,), (Edge("in", "l0", path),), (Output("o", "l0"),))
    result = replace(single(layer), networks=(net,))
    with pytest.raises(NetworkError, match=rf"edge in -> l0: .*{text}"):
        build_config(result)


def test_paths_of_outputs_that_the_host_does_not_do() -> None:
    twice = (Pool("sum", (2, 2), (2, 2)), Pool("sum", (2, 2), (2, 2)))
    for path in (twice, (Scale(2.0),), (Pool("sum", (2, 2), (1, 1)),)):
        with pytest.raises(NetworkError, match="output o: the host does one pool"):
            build_config(single(one_layer(), output=path))


def test_a_layer_reads_the_sensor_by_one_name() -> None:
    layer = replace(one_layer(), input_shape=Shape(2, 8, 8))
    inputs = tuple(Input(name, Shape(2, 8, 8), DvsSettings()) for name in ("left", "right"))
    edges = tuple(Edge(entry.name, "l0") for entry in inputs)
    net = NormalNetwork("net", inputs, (layer,), edges, (Output("o", "l0"),))
    with pytest.raises(NetworkError, match=r"layer l0: reads the sensor by several names \(got left, right"):
        build_config(replace(single(one_layer()), networks=(net,)))


def test_settings_of_the_sensor_that_the_stage_has_not() -> None:
    result = sensor_relay_that_shifts()
    (network,) = result.networks
    for changes, text in (
        ({"origin": (1, 0)}, "origin"),
        ({"mirror": (False, True)}, "mirror"),
        ({"swap_axes": True}, "swap of the axes"),
        ({"off_channel": False}, "polarities"),
    ):
        entry = replace(network.inputs[0], dvs=DvsSettings(**changes))
        with pytest.raises(EmitError, match=f"input in: its {text} cannot stand in a sensor stage"):
            build_config(replace(result, networks=(network.replacing(inputs=(entry,)),)))


def leaves(kind: type[BaseModel], path: str = "") -> Iterator[str]:
    """Every number of a record, by its path; switches are none."""
    for name, field in kind.model_fields.items():
        for part in _types(field.annotation):
            if issubclass(part, BaseModel):
                yield from leaves(part, f"{path}{name}.")
            elif part in (int, Tensor):
                yield f"{path}{name}"


def _types(annotation: Any) -> Iterator[type]:
    arguments = getattr(annotation, "__args__", ())
    if isinstance(annotation, type) and not arguments:
        yield annotation
    elif getattr(annotation, "__origin__", None) is not dict:
        for argument in arguments:
            if argument is not Ellipsis:
                yield from _types(argument)


def test_every_number_that_is_written_has_a_range() -> None:
    assert set(leaves(Hardware)) == set(FAMILY)


def changed(record: BaseModel, path: list[str], value: int) -> BaseModel:
    """A record with another value at a path: of several entries in the first, in all entries of a tensor."""
    name, *rest = path
    inner = getattr(record, name)
    if isinstance(inner, tuple):
        new: Any = (changed(inner[0], rest, value), *inner[1:])
    elif isinstance(inner, Tensor):
        new = Tensor.of(np.full(inner.shape, value))
    else:
        new = changed(inner, rest, value) if rest else value
    return record.model_copy(update={name: new})


@pytest.mark.parametrize("name", FAMILY)
def test_both_sides_of_every_range(name: str) -> None:
    result = single(one_layer())
    # One chip has kill bits, another a readout and a decimator.
    chip = "speck2b" if "kill_bit" in name else "speck2f"
    config = build_config(placed(result.networks, result.require(), chip=chip))
    cores = config.hardware.cnn_layers
    hardware = config.hardware.model_copy(update={"cnn_layers": (cores[3],)})
    allowed = FAMILY[name]
    assert tuple(out_of_range(hardware)) == ()
    for value in (allowed.low, allowed.high):
        made = changed(hardware, name.split("."), value)
        assert isinstance(made, Hardware)
        assert tuple(out_of_range(made)) == (), value
    outside = [
        allowed.low - 1,
        allowed.high + 1,
        *(n for n in range(allowed.low, allowed.high) if not allowed.holds(n)),
    ]
    for value in outside:
        made = changed(hardware, name.split("."), value)
        assert isinstance(made, Hardware)
        (finding,) = out_of_range(made)
        assert name.rpartition(".")[2] in finding.where
        assert (finding.value, finding.limit) == (value, allowed)


def test_ranges_are_those_of_the_chip() -> None:
    chip = tiny_chip(
        (64, 64, 4), overrides=["core[0].limits.weight_bits=4", "core[0].limits.kernel_size_max=8"]
    )
    ranges = ranges_of(chip)
    assert ranges["cnn_layers.weights"] == Range(-8, 7)
    assert str(ranges["cnn_layers.dimensions.kernel_size"]) == "1..8"
    for name, family in FAMILY.items():
        own = ranges_of(load("speck2f"))[name]
        assert (own.low, own.high) == (family.low, family.high), name


def test_samna_is_given_nothing_that_its_types_do_not_hold(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    install(monkeypatch, tmp_path)
    result = single(one_layer())
    config = build_config(result)
    hardware = changed(
        config.hardware.model_copy(update={"cnn_layers": config.hardware.cnn_layers[3:]}),
        ["cnn_layers", "weights"],
        300,
    )
    assert isinstance(hardware, Hardware)
    cores = (*config.hardware.cnn_layers[:3], *hardware.cnn_layers)
    wrong = config.model_copy(update={"hardware": config.hardware.model_copy(update={"cnn_layers": cores})})
    with pytest.raises(EmitError, match=r"core 3: weights: .*got 300; allowed: -128..127"):
        to_samna(wrong, result.chip)


def test_an_interface_states_each_fact_in_one_place() -> None:
    place = LayerPlace(core=1, start=0, stop=2, role="relay")
    with pytest.raises(ValidationError, match="sensor_relays: emit the configuration again"):
        InterfaceInput(name="in", shape=(2, 8, 8), source="dvs", relays=(place,))
    with pytest.raises(ValidationError, match="its entries say where it enters"):
        InterfaceInput(name="in", shape=(2, 8, 8), source="host", readers=("l0",))
    with pytest.raises(ValidationError, match="no input is the sensor's"):
        Interface(network="net", inputs=(), outputs=(), layers=(), sensor_relays=(place,))
