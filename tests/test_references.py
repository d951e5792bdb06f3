"""What layers and networks are called, by every way to write it."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import mapper
from mapper.cli.entry import run
from mapper.emit.shared.joined import joined
from mapper.errors import MapperWarning, NetworkError, OptionsError
from mapper.explore.plan import plan_networks, with_traffic
from mapper.frontends import TorchOptions
from mapper.network import Network
from mapper.normal_form import NormalNetwork
from mapper.references import (
    LayerReference,
    as_index,
    layer_key,
    locate_layer,
    locate_signal,
    named_apart,
    natural_key,
    networks_apart,
    require_distinct,
    resolve_layer,
    resolve_reference,
)
from tests.builders import chain, conv

Capture = pytest.CaptureFixture[str]
NUMBERED = ("0", "3", "6", "10")


def named(name: str, layers: Sequence[str]) -> NormalNetwork:
    """A chain of layers of these names."""
    network = chain([conv(2)] * len(layers), (2, 4, 4), name=name)
    to = dict(zip(network.index, layers, strict=True))
    return network.replacing(
        layers=tuple(replace(layer, name=to[layer.name]) for layer in network.layers),
        edges=tuple(
            replace(e, source=to.get(e.source, e.source), target=to[e.target]) for e in network.edges
        ),
        outputs=tuple(replace(output, source=to[output.source]) for output in network.outputs),
    )


def sequential() -> nn.Sequential:
    """Layers that torch calls 0, 3, 6 and 10."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1, bias=False), nn.ReLU(), nn.AvgPool2d(2),
        nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.ReLU(), nn.AvgPool2d(2),
        nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.ReLU(), nn.AvgPool2d(2),
        nn.Flatten(), nn.Linear(16, 4, bias=False), nn.ReLU(),
    ).eval()  # fmt: skip


def torch_network() -> Network:
    return mapper.load_network(sequential(), (2, 16, 16), torch=TorchOptions(relu_as_if=1.0))


def test_a_number_that_names_no_layer_is_told_to_be_an_index_where_layers_are_numbered() -> None:
    network = torch_network()
    with pytest.warns(
        MapperWarning, match=r'^layer 1: no layer is called 1: as an index it is 3 \(Conv2d\); "#1" says so$'
    ):
        assert mapper.solve(network).find_chip_layer("1") == mapper.solve(network).find_chip_layer("#1")
    result = mapper.solve(network)
    with pytest.warns(MapperWarning, match=r"^monitors: layer 2: no layer is called 2"):
        mapper.solve(network, monitors=("2",))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # Names, indexes that say so, numbers of Python, those that mean the same, and layers with names.
        assert [result.find_chip_layer(layer) for layer in ("3", "#1", 1, 0, -1)]
        mapper.solve("digits").find_chip_layer(1)


@pytest.mark.filterwarnings("ignore:.*no layer is called")
def test_numbers_as_names_of_a_torch_network() -> None:
    network = torch_network()
    assert tuple(network.index) == NUMBERED
    result = mapper.solve(network, pins={"3": 8, "#3": 2, "#0": 4}, monitors=("6", "#-1", "2"))
    assert result.options.pins == (("0", 4), ("10", 2), ("3", 8))
    assert result.options.monitors == ("6", "10")
    assert [result.find_chip_layer(layer) for layer in ("3", "#1", 1, "#-3", 0, "10", -1)] == [
        8, 8, 8, 8, 4, 2, 2,
    ]  # fmt: skip
    meant = r"layer 3: can be the layer named 3 \(index 1\) or the layer at index 3 \(10\)\. "
    ways = r"Write .3 \(Conv2d\). for the name, .#3. for the index"
    for ambiguous in (
        lambda: mapper.solve(network, pins={3: 8}),
        lambda: mapper.solve(network, monitors=(3,)),
        lambda: mapper.solve(network, readout=3),
        lambda: result.find_chip_layer(3),
        lambda: result.find_chip_layers(3),
        lambda: mapper.solve(network, keep=((3, 1),)),
        lambda: mapper.solve(network, traffic=((3, 1),)),
    ):
        with pytest.raises(OptionsError, match=meant.replace("layer 3", "(layer|signal) 3", 1) + ways):
            ambiguous()
    with pytest.raises(OptionsError, match=r"got 6; allowed: -4\.\.3.*Write .6 \(Conv2d\). for the name"):
        result.find_chip_layer(6)


def test_numbers_as_names_on_the_command_line_and_in_files(tmp_path: Path, capsys: Capture) -> None:
    layers = [
        {"name": name, "conv": {"features": 2, "kernel": 3, "padding": 1}, "from": source}
        for source, name in zip(("input", *NUMBERED), NUMBERED, strict=False)
    ]
    shapes = {"schema_version": 1, "name": "net", "input": {"shape": [2, 4, 4]}, "layers": layers}
    path = tmp_path / "net.json"
    path.write_text(json.dumps(shapes), encoding="utf-8")
    rates = tmp_path / "rates.json"
    content = {"schema_version": 1, "spikes_per_second": {"input": 9, "3": 5, "#3": 7}}
    rates.write_text(json.dumps(content), encoding="utf-8")
    pins = ["--pin", "3 (Conv2d)=8", "--pin", "#3=2", "--pin", "2=5"]
    assert run(["solve", str(path), *pins, "--out", str(tmp_path), "--traffic", str(rates)]) == 0
    placement = json.loads((tmp_path / "placement.json").read_text(encoding="utf-8"))
    cores = {layer["name"]: layer["cores"] for layer in placement["layers"]}
    assert {name: cores[name] for name in ("3", "10", "6")} == {"3": [8], "10": [2], "6": [5]}
    assert run(["solve", str(path), "--keep", str(tmp_path / "placement.json"), "--out", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert " 3 (Conv2d) " in shown
    assert "events from the host enter at 0 (Conv2d) (core" in shown
    assert run(["solve", str(path), "--pin", "3=8"]) == 2
    both = (
        'layer 3: can be the layer named 3 (index 1) or the layer at index 3 (10). Write "3 (Conv2d)" for the'
    )
    assert both in capsys.readouterr().err
    assert run(["check", str(path), "--pin", "10=8", "--monitor", "6"]) == 0
    again = json.loads((tmp_path / "placement.json").read_text(encoding="utf-8"))
    assert {layer["name"]: layer["cores"] for layer in again["layers"]} == cores


def test_the_familiar_class_takes_integers_as_indexes() -> None:
    network = mapper.DynapcnnNetwork(sequential(), (2, 16, 16), relu_as_if=1.0)
    with pytest.warns(UserWarning, match="before the pool"):
        config = network.plain_config("speck2f", {0: 4, 3: 8, "3": 2}, monitor_layers=[3, "6"])
    assert network.layer2core_map == {0: 4, 1: 2, 2: network.find_chip_layer("6"), 3: 8}
    assert [network.find_chip_layer(n) for n in (0, 1, 3, -1, "3", "10")] == [4, 2, 8, 8, 2, 8]
    watched = {n for n, core in enumerate(config.hardware.cnn_layers) if core.monitor_enable}
    assert watched == {8, network.find_chip_layer("6")}
    network.place("speck2f", [5, 3, 1, 0], "all")
    assert network.chip_layers_ordering == [5, 3, 1, 0]
    with pytest.raises(ValueError, match="are not core ids"):
        network.place("speck2f", [5, 3, True, 0])
    entries: list[Any] = [3, -1, np.int64(2), "3", True]
    assert [as_index(entry) for entry in entries] == ["#3", "#-1", "#2", "3", True]


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        ("a", "a"), ("#1", "#0"), ("2", "2"), (2, "2"), ("#2", "2"), ("3", "x"), (3, "x"), (-1, "q"),
        ("#-3", "x"), ("#003", "x"), (np.int64(0), "a"), ("n:a", "a"), ("n:#1", "#0"), ("n:q", "n:q"),
        ("q", "q"),
    ],
)  # fmt: skip
def test_references_in_one_network(reference: LayerReference, name: str) -> None:
    assert resolve_layer(named("n", ["a", "#0", "2", "x", "n:q", "q"]), reference) == name


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("#0", r"can be the layer named #0 \(index 1\) or the layer at index 0 \(a\)\. "
               r"Write .#0 \(Conv2d\). for the name, .a. for the index"),
        ("#4", r"index out of range in n \(got 4; allowed: -4\.\.3\)"),
        (-5, r"--pin: layer -5: index out of range in n \(got -5; allowed: -4\.\.3\)"),
        ("conv", r"--pin: layer conv: n has no layer of that name\. Did you mean conv1\? "
                 r"\(indexes -4\.\.3\)"),
        ("input", r"no layer of that name\. There are a, #0 \(Conv2d\), conv1, x"),
        ("9" * 99, "no layer of that name"),
        ("", "no layer of that name"),
        (True, r"neither a name nor an index \(got True\)\. Write a name, or an index as 3 or .#3."),
        (np.True_, "neither a name nor an index"),
        (1.0, "neither a name nor an index"),
        (None, "neither a name nor an index"),
        (b"a", "neither a name nor an index"),
        (1 << 999, "index out of range .got a number of 1000 bits"),
    ],
)  # fmt: skip
def test_references_that_mean_no_layer(reference: LayerReference, message: str) -> None:
    with pytest.raises(OptionsError, match=message):
        resolve_layer(named("n", ["a", "#0", "conv1", "x"]), reference, "--pin")


TWO = (named("a", ["3", "b:2", "x", "z"]), named("a:b", ["c", "d", "e", "z"]))


@pytest.mark.parametrize(
    ("reference", "key"),
    [
        ("a:3", "a:3"), ("3", "a:3"), ("a:#3", "a:z"), ("a:b:#3", "a:b:z"), ("a:b:3", "a:b:z"), ("d", "a:b:d"),
        ("a:b:c", "a:b:c"), ("b:2", "a:b:2"), ("a:-1", "a:z"), ("a:b:z", "a:b:z"),
    ],
)  # fmt: skip
def test_references_in_several_networks(reference: LayerReference, key: str) -> None:
    assert resolve_reference(TWO, reference) == key
    number, name = locate_layer(TWO, reference)
    assert layer_key(TWO, number, name) == key


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("z", r"named z of a \(index 3\) or the layer named z of a:b \(index 3\)\. Write .a:z. or .a:b:z."),
        ("a:b:2", "layer named b:2 of a .* or the layer at index 2 of a:b .* Write .a:#1. for the name, "
                  ".a:b:#2. for the index"),
        (3, "an index needs its network .allowed: a, a:b.. Write .NETWORK:#3., or .a:3 .Conv2d.. for the name"),
        ("#1", "an index needs its network"),
        ("7", "an index needs its network"),
        ("a:b:9", r"index out of range in a:b \(got 9; allowed: -4\.\.3\)"),
        ("a:b:zz", "layer a:b:zz: a:b has no layer of that name. Did you mean z"),
        ("c:x", "no network has such a layer .allowed: a, a:b.. Write NETWORK:LAYER"),
        ("zz", "Did you mean a:b:z"),
    ],
)  # fmt: skip
def test_references_to_no_network_or_to_several(reference: LayerReference, message: str) -> None:
    with pytest.raises(OptionsError, match=message):
        resolve_reference(TWO, reference, "--pin")


def test_look_up_among_several_networks() -> None:
    result = mapper.solve(list(TWO), pins={"a:#3": 6, "d": 2})
    assert result.options.pins == (("a:b:d", 2), ("a:z", 6))
    assert result.find_chip_layer("a:z") == result.find_chip_layer("z", 0) == 6
    assert result.find_chip_layer("d") == result.find_chip_layer(1, network=1) == 2
    with pytest.raises(OptionsError, match="an index needs its network"):
        result.find_chip_layer(1)
    for network in (2, -1, True, "a"):
        with pytest.raises(OptionsError, match=r"allowed: 0\.\.1"):
            result.find_chip_layer("z", network)  # type: ignore[arg-type]  # wrong on purpose


def test_spellings_that_messages_offer_mean_one_layer() -> None:
    """Names made to be in the way: each way out of an error leads to its own layer."""
    one = (named("n", ["#1", "#0", "#00", "#01", "1"]),)
    two = (named("n", ["#0", "n:#0", "x"]), named("n:n", ["#0", "x", "0"]))
    for networks, references in ((one, ("#0", "#1", "#00", "#01", 1)), (two, ("n:n:#0", "n:#0", "x", "#0"))):
        for reference in references:
            with pytest.raises(OptionsError, match="Write ") as caught:
                locate_layer(networks, reference)
            ways = caught.value.findings[0].next_step.split('"')[1::2]
            places = [locate_layer(networks, way) for way in ways]
            assert len(set(places)) == len(places) > 1


def test_networks_of_one_name_end_in_an_error_all_the_same() -> None:
    same = (named("a", ["x"]), named("a", ["x"]))
    for reference in ("a:x", "a:#0", "x"):
        with pytest.raises(OptionsError, match=r"of a .* of a "):
            locate_layer(same, reference)


def test_signals_by_key() -> None:
    networks = (named("a", ["x", "0"]), named("b", ["y", "#0"]))
    for reference, place in (
        ("a:0", (0, "0")),
        ("b:#0", (1, "#0")),
        ("y", (1, "y")),
        ("a:input", (0, "input")),
    ):
        assert locate_signal(networks, reference) == place
    assert locate_signal(networks[:1], "input") == (0, "input")
    assert locate_signal(networks[1:], "#0") == (0, "#0")
    for reference, message in (
        ("input", "Write .a:input. or .b:input."),
        ("1", "needs its network"),
        ("q", "such a"),
    ):
        with pytest.raises(OptionsError, match=message):
            locate_signal(networks, reference)
    with pytest.raises(OptionsError, match="no signal of that name"):
        locate_signal(networks[:1], "1")
    planned = plan_networks(networks)
    loaded = with_traffic(planned, {"a:input": 10, "x": 3})
    assert [row.spikes_per_second for row in loaded[0].row.layer_rows] == [10, 3]
    assert loaded[1] == planned[1]


names = st.lists(st.from_regex(r"[ab](-[23])*", fullmatch=True), max_size=12)


@given(names)
def test_named_apart_never_collides(given_names: list[str]) -> None:
    apart = named_apart(given_names)
    assert len(set(apart)) == len(apart) == len(given_names)
    for number, (before, after) in enumerate(zip(given_names, apart, strict=True)):
        if before not in given_names[:number]:
            assert after == before
        else:
            assert after.startswith(f"{before}-")
            assert after not in given_names


def test_networks_of_equal_names() -> None:
    assert named_apart(["a", "a", "a-2"]) == ("a", "a-3", "a-2")
    network = named("a", ["x", "y"])
    result = mapper.solve([network, network, network.replacing(name="a-2")], pins={"a-2:x": 3})
    assert [entry.name for entry in result.networks] == ["a", "a-3", "a-2"]
    assert result.find_chip_layer("x", 2) == result.find_chip_layer("a-2:x") == 3
    assert [layer.name for layer in joined(result.networks).layers] == [
        "a:x", "a:y", "a-3:x", "a-3:y", "a-2:x", "a-2:y",
    ]  # fmt: skip
    assert [entry.name for entry in networks_apart((network, network))] == ["a", "a-2"]
    assert [entry.row.name for entry in plan_networks([network, network])] == ["a", "a-2"]


def test_networks_that_cannot_be_told_apart_are_refused() -> None:
    a, ab = named("a", ["b:c", "d"]), named("a:b", ["c", "e"])
    message = r"signal b:c of network a and signal c of network a:b: .* \(got a:b:c\)"
    for refused in (require_distinct, joined):
        with pytest.raises(NetworkError, match=message):
            refused((a, ab))
        with pytest.raises(NetworkError, match=r"networks 0 and 2: have the same name, .* \(got a\)"):
            refused((a, ab, a))
    for harmless in ((a,), (a, named("b", ["c", "e"])), TWO):
        require_distinct(harmless)
    outputs = tuple(replace(output, name="b:out") for output in a.outputs)
    with pytest.raises(NetworkError, match="output b:out of network a and output out of network a:b"):
        require_distinct((named("a", ["f"]).replacing(outputs=(replace(outputs[0], source="f"),)), ab))


def test_natural_order() -> None:
    order = ["a01b", "a1", "a1a", "a2", "a10", "a" + "9" * 5000, "a", "b"]
    backwards = [*reversed(order)]
    assert sorted(backwards, key=natural_key) == order
