"""Shape files: the networks people deploy, and everything that can be wrong with a file."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest

from mapper import api
from mapper.demand import layer_demands
from mapper.errors import MapperError, MapperWarning, NetworkError, UnsupportedLayerError
from mapper.frontends import load_network
from mapper.frontends.shapes import json_schema, parse_shapes
from mapper.operations import Pool, Shape
from mapper.passes import PrepareOptions, prepare
from mapper.result import Result

ZOO = Path(__file__).resolve().parent.parent / "data" / "zoo"
EXPECTED: dict[str, Any] = json.loads((ZOO / "expected.json").read_text(encoding="utf-8"))
# Networks that no chip of the family can run whatever its size; the layer that the error must name.
REFUSED = {"sinabs_lenet5_tutorial": "layer7", "retina_snn_128": "layer14"}


def solved(name: str, chip: str = "speck2f", pins: dict[str | int, int] | None = None) -> Result:
    """Solve a zoo network, with output neurons where it ends in a bare weight layer."""
    try:
        return api.solve(ZOO / f"{name}.yaml", chip, pins=pins)
    except NetworkError as error:
        if "add_output_neuron=1.0" not in str(error):
            raise
        return api.solve(ZOO / f"{name}.yaml", chip, pins=pins, add_output_neuron=1.0)


def test_the_zoo_is_whole() -> None:
    assert len(EXPECTED) == 36
    assert {path.stem for path in ZOO.glob("*.yaml")} == set(EXPECTED)


@pytest.mark.parametrize("name", sorted(set(EXPECTED) - set(REFUSED)))
def test_demands_and_edges_are_the_published_ones(name: str) -> None:
    facts = EXPECTED[name]
    network = prepare(load_network(ZOO / f"{name}.yaml"), PrepareOptions(add_output_neuron=1.0))
    demands = layer_demands(network, 0, None)
    assert [d.layer for d in demands] == [entry["name"] for entry in facts["layers"]]
    for demand, entry in zip(demands, facts["layers"], strict=True):
        core = demand.work
        assert [list(core.input_shape), list(core.output_shape)] == [entry["in"], entry["out"]]
        assert [list(core.kernel), list(core.stride), list(core.padding)] == [
            entry["kernel"],
            entry["stride"],
            entry["padding"],
        ]
        assert [core.kernel_words, core.neuron_words, core.bias_words] == entry["words"]
    edges = [
        [e.source, e.target, list(e.pool.size) if e.pool else [1, 1], e.feature_offset] for e in network.edges
    ]
    assert sorted(edges, key=str) == sorted(facts["edges"], key=str)


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_verdicts(name: str) -> None:
    if name in REFUSED:
        with pytest.raises(NetworkError) as caught:
            solved(name)
        assert caught.value.exit_code == 2
        assert REFUSED[name] in str(caught.value)
        return
    result = solved(name)
    assert (result.solution is not None) == EXPECTED[name]["placeable"]
    if result.report is not None:
        named = {layer for entry in result.report.unmet for layer in entry.layers}
        assert any(f"layer {layer.removeprefix('layer')}:" in EXPECTED[name]["why_not"] for layer in named)


@pytest.mark.parametrize("name", sorted(n for n, facts in EXPECTED.items() if facts["ordering_used"]))
def test_orderings_that_were_deployed_are_accepted(name: str) -> None:
    facts = EXPECTED[name]
    pins = {entry["name"]: core for entry, core in zip(facts["layers"], facts["ordering_used"], strict=True)}
    chip = facts["device"] if facts["device"] != "none" else "speck2f"
    result = solved(name, chip, pins)
    assert [result.find_chip_layer(n) for n in range(len(pins))] == facts["ordering_used"]


def minimal(**layer: Any) -> dict[str, Any]:
    return {
        "input": {"shape": [2, 8, 8]},
        "layers": [{"name": "a", "conv": {"features": 4, "kernel": 3}, **layer}],
    }


def test_three_languages_say_the_same(tmp_path: Path) -> None:
    content = minimal(pool=2)
    (tmp_path / "n.json").write_text(json.dumps(content), encoding="utf-8")
    (tmp_path / "n.yaml").write_text(json.dumps(content), encoding="utf-8")
    (tmp_path / "n.toml").write_text(
        'input = {shape = [2, 8, 8]}\n[[layers]]\nname = "a"\nconv = {features = 4, kernel = 3}\npool = 2\n',
        encoding="utf-8",
    )
    shapes = {load_network(tmp_path / f"n.{s}").layers[0].output_shape for s in ("json", "yaml", "toml")}
    assert shapes == {Shape(4, 6, 6)}
    assert "layers" in json_schema()["properties"]


def test_sources_in_every_form() -> None:
    content = minimal(
        pool=[2, {"kind": "average", "size": [1, 1]}], neuron={"threshold": 2.0, "reset": "zero"}
    )
    content["layers"] += [
        {"name": "b", "conv": {"features": 4, "kernel": 1}, "from": "a", "dropout": 0.5, "batch_norm": True},
        {"name": "c", "conv": {"features": 4, "kernel": 1}, "from": ["b", {"source": "a"}]},
        {"name": "d", "linear": {"features": 3, "bias": True}, "from": {"concat": ["b", {"source": "c"}]}},
    ]
    content["outputs"] = ["d", {"layer": "c", "pool": 3}]
    network = parse_shapes(content, "test.yaml")
    assert network.by_name["d"].input_shape == Shape(8 * 3 * 3, 1, 1)
    assert [edge.feature_offset for edge in network.incoming["d"]] == [0, 36]
    assert isinstance(network.outputs[1].path[0], Pool)
    ready = prepare(network)
    assert ready.by_name["d"].input_shape == Shape(8, 3, 3)
    assert [edge.feature_offset for edge in ready.incoming["d"]] == [0, 4]


def test_three_signals_stand_side_by_side() -> None:
    content = minimal()
    names = ["a"]
    for name, features in (("b", 3), ("c", 5)):
        content["layers"] += [{"name": name, "conv": {"features": features, "kernel": 1}}]
        names.append(name)
    content["layers"] += [{"name": "d", "conv": {"features": 1, "kernel": 1}, "from": {"concat": names}}]
    network = parse_shapes(content, "test.yaml")
    width = network.by_name["a"].output_shape.features
    assert [edge.feature_offset for edge in network.incoming["d"]] == [0, width, width + 3]


def test_cycles_are_delayed_unless_the_file_says_otherwise() -> None:
    content = minimal()
    content["layers"][0]["conv"]["padding"] = 1
    content["layers"][0]["from"] = ["input", {"source": "b", "offset": 2}]
    content["layers"] += [{"name": "b", "conv": {"features": 2, "kernel": 1}}]
    network = parse_shapes(content, "test.yaml")
    assert network.by_name["a"].input_shape == Shape(4, 8, 8)
    assert [edge.delay_steps for edge in network.incoming["a"]] == [0, 1]
    content["layers"][0]["from"][1]["delay"] = 3
    assert parse_shapes(content, "test.yaml").incoming["a"][1].delay_steps == 3


def test_what_a_layer_sends_itself_is_delayed() -> None:
    content = minimal()
    content["layers"] += [
        {"name": "b", "conv": {"features": 2, "kernel": 1}, "from": ["a", {"source": "b", "offset": 4}]}
    ]
    delays = [edge.delay_steps for edge in parse_shapes(content, "test.yaml").incoming["b"]]
    assert delays == [0, 1]


def test_input_shape_may_come_from_outside() -> None:
    content = minimal()
    del content["input"]["shape"]
    with pytest.raises(NetworkError, match=r"input_shape=\(features, height, width\)"):
        parse_shapes(content, "t")
    assert parse_shapes(content, "t", (2, 8, 8)).inputs[0].shape == Shape(2, 8, 8)
    with pytest.raises(NetworkError) as caught:
        parse_shapes(minimal(), "t", (2, 9, 9))
    assert str(caught.value) == (
        "t: input input: states another input shape than input_shape (got [2, 9, 9]; allowed: [2, 8, 8]). "
        "Leave input_shape out, or change the shape in the file"
    )
    content = minimal()
    content["input"]["shape"] = [2, 9, 9]
    assert parse_shapes(content, "t", (2, 9, 9)).inputs[0].shape == Shape(2, 9, 9)


WRONG: list[tuple[Any, str]] = [
    ([], "must be a table"),
    ({}, "layers"),
    ({"layers": [], "input": {"shape": [1, 1, 1]}}, "layers"),
    ({"layers": [{"name": "a", "conv": {"features": 1, "kernel": 1}}]}, "either input or inputs"),
    (minimal(linear={"features": 3}), "either conv or linear"),
    (minimal(strid=3), r"layers\.0\.strid: there is no such field \(got 3\)\. There are name, conv, "),
    (minimal(nueron=True), r"layers\.0\.nueron: there is no such field .*Did you mean neuron\?"),
    (minimal(**{"form": "input"}), r"layers\.0\.form: .*Did you mean from\?"),
    (
        minimal(conv={"featurs": 4, "features": 4, "kernel": 3}),
        r"\Afile\.yaml: layers\.0\.conv\.featurs: .*Did you mean features\?\Z",
    ),
    (
        minimal(neuron={"treshold": 4.0}),
        r"\Afile\.yaml: layers\.0\.neuron\.treshold: .*Did you mean threshold\?\Z",
    ),
    (minimal(**{"from": {"source": "input", "dely": 1}}), r"layers\.0\.from\.dely: .*Did you mean delay\?"),
    ({**minimal(), "output": ["a"]}, r"output: .*Did you mean outputs\?"),
    (minimal(neuron={"kind": "lif"}), "layer a.*lif"),
    (minimal(neuron={"threshold": -1.0}), "threshold"),
    (minimal(neuron={"minimum": 1.0}), "minimum"),
    (minimal(pool={"kind": "max", "size": 2}), "layer a.*max pooling"),
    (minimal(**{"from": {"source": "input", "pool": {"kind": "max", "size": 2}}}), "max pooling"),
    (minimal(pool=0), "pool"),
    (minimal(**{"from": "nobody"}), "unknown signal.*nobody"),
    ({**minimal(), "outputs": ["zz"]}, "zz"),
    ({**minimal(), "schema_version": 2}, "schema_version"),
    ({**minimal(), "input": {"shape": [2, 8]}}, "shape"),
    ({**minimal(), "input": {"shape": [2, 8, 0]}}, "shape"),
    ({**minimal(), "input": {"shape": [2, 2, 2]}}, "leaves nothing"),
    (minimal(**{"from": {"source": "input", "pool": 9}}), "leaves nothing"),
    ({**minimal(), "layers": minimal()["layers"] * 2}, "twice"),
    (minimal(conv={"features": 3, "kernel": 3, "groups": 3}), "groups"),
    (minimal(conv={"features": "many", "kernel": 3}), "features"),
    (minimal(conv={"features": 4, "kernel": [3, 3, 3]}), "kernel"),
    (minimal(conv={"features": 4, "kernel": 3, "padding": -1}), "padding"),
]


@pytest.mark.parametrize(("content", "text"), WRONG, ids=range(len(WRONG)))
def test_wrong_content(content: Any, text: str) -> None:
    with pytest.raises(MapperError, match=text) as caught:
        parse_shapes(content, "file.yaml")
    assert caught.value.exit_code == 2


def test_all_problems_are_told_at_once() -> None:
    content = minimal(neuron={"kind": "lif"}, pool={"kind": "max", "size": 2})
    with pytest.raises(UnsupportedLayerError) as caught:
        parse_shapes(content, "file.yaml")
    assert len(caught.value.findings) == 2


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("a.yaml", b"a: [", "cannot be parsed"),
        ("a.yaml", b"a: &x 1\nb: *x\n", "aliases"),
        ("a.yaml", b"\xff\xff", "UTF-8"),
        ("a.json", b"{", "cannot be parsed"),
        ("a.toml", b"a = ", "cannot be parsed"),
        ("a.json", b"[" * 100_000, "cannot be parsed"),
        ("a.yaml", b"!!python/object/apply:os.system [ls]", "cannot be parsed"),
    ],
)
def test_wrong_files(tmp_path: Path, name: str, content: bytes, text: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(NetworkError, match=text):
        load_network(path)


def test_no_such_file_and_no_such_kind(tmp_path: Path) -> None:
    with pytest.raises(NetworkError, match="there is no such file"):
        load_network(tmp_path / "none.yaml")
    with pytest.raises(NetworkError, match="digits"):
        load_network("digit")
    with pytest.raises(NetworkError, match="neither a network"):
        load_network(3)


def test_a_network_is_taken_as_it_is() -> None:
    network = parse_shapes(minimal(), "t")
    assert load_network(network) is network


def test_layers_no_input_reaches_are_named() -> None:
    content = minimal()
    content["layers"] += [{"name": "b", "conv": {"features": 2, "kernel": 1}, "from": "b"}]
    with pytest.raises(NetworkError, match="layer b"):
        parse_shapes(content, "t")


def test_a_map_whose_features_seem_to_come_last_is_told() -> None:
    layers = [{"name": "a", "conv": {"features": 4, "kernel": 1}}]
    with pytest.warns(
        MapperWarning, match=r"^net\.yaml: input input: shape \[32, 30, 2\]: .* be \[2, 32, 30\]$"
    ):
        parse_shapes({"input": {"shape": [32, 30, 2]}, "layers": layers}, "net.yaml")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        parse_shapes({"input": {"shape": [2, 32, 30]}, "layers": layers}, "net.yaml")
