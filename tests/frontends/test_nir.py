"""NIR files and graphs: what is read, what is refused, and that nothing is lost."""

from __future__ import annotations

import dataclasses
import inspect
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import nir
import numpy as np
import pytest

from mapper.by_value import same
from mapper.errors import NetworkError, UnsupportedLayerError
from mapper.frontends import NirOptions, load_network
from mapper.frontends.from_nir.nodes import operation_of, path_step_of
from mapper.operations import Convolution, Flatten, Linear, Pool, Shape
from mapper.passes import prepare
from mapper.sim.network import simulate

RNG = np.random.default_rng(1)


# Older versions of the library know no v_reset: their files have none.
HAS_RESET = "v_reset" in {entry.name for entry in dataclasses.fields(nir.IF)}


def leaky(shape: tuple[int, ...]) -> Any:
    ones = np.ones(shape)
    return nir.LIF(ones, ones, ones, ones, **({"v_reset": ones * 0} if HAS_RESET else {}))


def neurons(*shape: int, threshold: float = 1.0, **more: Any) -> Any:
    ones = np.ones(shape, np.float32)
    reset = {"v_reset": more.pop("v_reset", ones * 0)} if HAS_RESET else {}
    return nir.IF(r=more.pop("r", ones), v_threshold=ones * threshold, **reset)


def conv2d(features: int, reads: int, size: int, kernel: int = 3, **more: Any) -> Any:
    fields: dict[str, Any] = {"stride": (1, 1), "padding": (0, 0), "dilation": (1, 1), "groups": 1} | more
    weight = (RNG.integers(-8, 9, (features, reads // fields["groups"], kernel, kernel)) / 16).astype(
        np.float32
    )
    bias = fields.pop("bias", np.zeros(features, np.float32))
    return nir.Conv2d(input_shape=np.array([size, size]), weight=weight, bias=bias, **fields)


def nodes() -> dict[str, Any]:
    return {
        "input": nir.Input({"input": np.array([2, 8, 8])}),
        "c": conv2d(4, 2, 8),
        "s": neurons(4, 6, 6),
        "pool": nir.AvgPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0])),
        "flat": nir.Flatten({"input": np.array([4, 3, 3])}, 0, -1),
        "fc": nir.Affine((RNG.integers(-8, 9, (3, 36)) / 16).astype(np.float32), np.ones(3, np.float32)),
        "t": neurons(3),
        "output": nir.Output({"output": np.array([3])}),
    }


def ways(stages: int, width: int) -> Any:
    """A layer behind stages of pools of 1x1, each of which reads all of the stage before it."""
    ones = np.array([1, 1])
    content = nodes()
    names = list(content)
    pairs = list(pairwise(names))
    source, target = pairs.pop(2)
    before = [source]
    for n in range(stages):
        here = [f"pool{n}_{m}" for m in range(width)]
        content |= {name: nir.SumPool2d(ones, ones, ones * 0) for name in here}
        pairs += [(a, b) for a in before for b in here]
        before = here
    return graph(content, [*pairs, *((name, target) for name in before)])


def graph(content: dict[str, Any] | None = None, edges: list[tuple[str, str]] | None = None) -> Any:
    content = nodes() if content is None else content
    names = list(content)
    pairs = list(pairwise(names)) if edges is None else edges
    # Newer versions check types when a graph is made; these graphs are wrong on purpose.
    unchecked = {"type_check": False} if "type_check" in inspect.signature(nir.NIRGraph).parameters else {}
    return nir.NIRGraph(content, pairs, **unchecked)


def written(tmp_path: Path, content: Any = None) -> Path:
    path = tmp_path / "net.nir"
    nir.write(path, graph() if content is None else content)
    return path


def test_a_file_and_the_graph_it_came_from_are_one_network(tmp_path: Path) -> None:
    original = graph()
    from_file, from_memory = load_network(written(tmp_path, original)), load_network(original)
    assert [layer.name for layer in from_file.layers] == ["c", "fc"]
    assert all(same(a, b) for a, b in zip(from_file.layers, from_memory.layers, strict=True))
    assert from_file.edges == from_memory.edges
    pool, flat = from_file.edges[1].path
    assert pool == Pool("average", (2, 2), (2, 2))
    assert flat == Flatten()
    assert isinstance(from_file.layers[1].operation, Linear)
    assert from_file.layers[1].operation.has_bias
    assert not from_file.layers[0].operation.has_bias


def test_reset_is_decided_by_the_file(tmp_path: Path) -> None:
    path = written(tmp_path)
    with h5py.File(path, "r+") as file:
        for name, shape in (("s", (4, 6, 6)), ("t", (3,))):
            file[f"node/nodes/{name}"].require_dataset("v_reset", shape, "f4")
    text = NirOptions(source="nir")
    assert {n.neuron.reset for n in load_network(path, nir=text).layers if n.neuron} == {"zero"}
    with h5py.File(path, "r+") as file:
        for name in ("s", "t"):
            del file[f"node/nodes/{name}/v_reset"]
    taken = load_network(path, nir=text)
    assert {layer.neuron.reset for layer in taken.layers if layer.neuron} == {"subtract"}
    assert any("no v_reset" in reading.why for reading in taken.readings)
    forced = load_network(path, nir=NirOptions(reset="zero", v_min="threshold"))
    assert {(n.neuron.reset, n.neuron.minimum) for n in forced.layers if n.neuron} == {("zero", -1.0)}
    with h5py.File(path, "r+") as file:
        file["node/nodes/s/v_reset"] = np.full((4, 6, 6), 0.5)
    with pytest.raises(UnsupportedLayerError, match="v_reset other than 0"):
        load_network(path)
    low = load_network(path, nir=NirOptions(v_min=-3.0, reset="subtract"))
    assert {n.neuron.minimum for n in low.layers if n.neuron} == {-3.0}


def test_metadata_is_honoured(tmp_path: Path) -> None:
    content = nodes()
    for name in ("s", "t"):
        content[name].metadata = {"reset": "subtract", "minimum": -1.0, "spike_mode": "single"}
    network = load_network(written(tmp_path, graph(content)))
    assert {(n.neuron.reset, n.neuron.minimum, n.neuron.spike_mode) for n in network.layers if n.neuron} == {
        ("subtract", -1.0, "single")
    }
    assert network.notes == ()


def test_r_folds_into_the_weights(tmp_path: Path) -> None:
    content = nodes()
    content["s"] = neurons(4, 6, 6, r=np.full((4, 6, 6), 2.0, np.float32))
    plain, scaled = (
        load_network(graph()),
        load_network(written(tmp_path, graph(content | {"c": graph().nodes["c"]}))),
    )
    assert plain.layers[0].operation.weight is not None
    content["c"] = nodes()["c"]
    content_c: Any = scaled.layers[0].operation.weight
    assert np.abs(content_c).max() <= 1.0
    again: Any = load_network(graph(content), nir=NirOptions(source="nir")).layers[0].operation.weight
    assert np.array_equal(again, 2 * content["c"].weight)


def test_thresholds_per_feature_and_scales() -> None:
    content = nodes()
    thresholds = np.repeat(np.array([1.0, 2.0, 4.0, 0.5], np.float32), 36).reshape(4, 6, 6)
    content["s"] = nir.IF(np.ones_like(thresholds), thresholds)
    network = load_network(graph(content))
    neuron = network.layers[0].neuron
    assert neuron is not None
    assert np.asarray(neuron.threshold).tolist() == [1.0, 2.0, 4.0, 0.5]
    names = list(content)
    content["half"] = nir.Scale(np.full((4, 6, 6), 0.5, np.float32))
    edges = list(pairwise(names))
    edges.remove(("c", "s"))
    scaled = load_network(graph(content, [*edges, ("c", "half"), ("half", "s")]))
    assert scaled.layers[0].between[0].factor == 0.5  # type: ignore[union-attr]
    assert prepare(scaled).layers[0].between == ()


def test_scale_on_the_way_and_pools_of_sums() -> None:
    content = nodes()
    del content["flat"], content["fc"], content["t"]
    content |= {"half": nir.Scale(np.array([0.5], np.float32)), "d": conv2d(2, 4, 3), "u": neurons(2, 1, 1)}
    content["output"] = nir.Output({"output": np.array([2, 1, 1])})
    edges = [
        ("input", "c"),
        ("c", "s"),
        ("s", "pool"),
        ("pool", "half"),
        ("half", "d"),
        ("d", "u"),
        ("u", "output"),
    ]
    network = load_network(graph(content, edges))
    assert [type(step).__name__ for step in network.incoming["d"][0].path] == ["Pool", "Scale"]
    x = RNG.integers(0, 5, (4, 2, 8, 8))
    after = prepare(network)
    assert after.is_integer
    assert simulate(network, {"input": x}).spikes["c"].any()


def test_a_residual_sum_is_two_edges_and_the_order_is_natural() -> None:
    content = {
        "in": nir.Input({"input": np.array([2, 4, 4])}),
        "0": conv2d(2, 2, 4, 1),
        "1": neurons(2, 4, 4),
        "10": conv2d(2, 2, 4, 1),
        "11": neurons(2, 4, 4),
        "2": conv2d(2, 2, 4, 1),
        "3": neurons(2, 4, 4),
        "out": nir.Output({"output": np.array([2, 4, 4])}),
    }
    edges = [
        ("2", "3"),
        ("in", "0"),
        ("0", "1"),
        ("1", "10"),
        ("10", "11"),
        ("11", "out"),
        ("1", "2"),
        ("3", "10"),
    ]
    network = load_network(graph(content, edges))
    assert [layer.name for layer in network.layers] == ["0", "2", "10"]
    assert [edge.source for edge in network.incoming["10"]] == ["0", "2"]


def test_padding_words_and_missing_shapes(tmp_path: Path) -> None:
    content = nodes()
    content["c"] = conv2d(4, 2, 8, padding="same")
    content["s"] = neurons(4, 8, 8)
    content["flat"] = nir.Flatten({"input": np.array([4, 4, 4])}, 0, -1)
    content["fc"] = nir.Linear(np.ones((3, 64), np.float32))
    path = written(tmp_path, graph(content))
    network = load_network(path)
    assert isinstance(network.layers[0].operation, Convolution)
    assert network.layers[0].operation.padding == (1, 1)
    with h5py.File(path, "r+") as file:
        del file["node/nodes/input/shape"]
    with pytest.raises(NetworkError, match=r"input_shape=\(features, height, width\)"):
        load_network(path)
    assert load_network(path, (2, 8, 8)).layers[0].output_shape == Shape(4, 8, 8)


def test_same_padding_of_dilated_kernels_and_pools_without_a_stride() -> None:
    fields = {"weight": np.ones((1, 1, 3, 5), np.float32), "padding": "same", "dilation": [2, 3]}
    operation, _ = operation_of("Conv2d", fields)
    assert isinstance(operation, Convolution)
    assert operation.padding == (2, 6)
    assert path_step_of("SumPool2d", {"kernel_size": [2, 3]}) == Pool("sum", (2, 3), (2, 3))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"s": leaky((4, 6, 6))}, "its neurons leak"),
        ({"s": nir.LI(*[np.ones((4, 6, 6))] * 3)}, "LI: it leaks"),
        ({"s": nir.IF(np.ones((4, 6, 6)), np.arange(1.0, 145).reshape(4, 6, 6))}, "differs between neurons"),
        ({"s": neurons(4, 6, 6, r=np.full((4, 6, 6), np.nan))}, "not finite"),
        ({"pool": nir.SumPool2d(np.array([2, 2]), np.array([2, 2]), np.array([1, 1]))}, "padding"),
        ({"pool": nir.Threshold(np.ones((4, 6, 6)))}, "Threshold"),
        ({"pool": nir.Scale(np.arange(144.0).reshape(4, 6, 6))}, "scale differs between neurons"),
        ({"c": conv2d(4, 2, 8, 4, padding="same")}, "one-sided"),
        ({"c": conv2d(4, 2, 8, padding="same", stride=(2, 2))}, "stride 1 only"),
    ],
)
def test_what_no_core_can_do_is_refused_by_name(change: dict[str, Any], text: str) -> None:
    with pytest.raises(NetworkError, match=text):
        load_network(graph(nodes() | change))


def test_neurons_without_weights_and_cycles_without_neurons() -> None:
    content = nodes()
    with pytest.raises(NetworkError, match="different shapes"):
        load_network(graph(content, [*graph().edges, ("pool", "t")]))
    bare = {name: node for name, node in content.items() if name != "fc"} | {"t": neurons(36)}
    with pytest.raises(UnsupportedLayerError, match="not by weights"):
        load_network(graph(bare))
    loop = [e for e in graph().edges if e != ("s", "pool")] + [("pool", "pool")]
    with pytest.raises(NetworkError):
        load_network(graph(content, loop))


def test_currents_that_are_used_twice_are_refused() -> None:
    content = nodes() | {"s2": neurons(4, 6, 6), "out2": nir.Output({"output": np.array([4, 6, 6])})}
    with pytest.raises(UnsupportedLayerError, match="used twice"):
        load_network(graph(content, [*graph().edges, ("c", "s2"), ("s2", "out2")]))


def test_a_weight_layer_without_neurons_is_read_and_named_later() -> None:
    content = nodes()
    del content["t"]
    network = load_network(graph(content))
    assert network.layers[1].neuron is None
    with pytest.raises(NetworkError, match=r"add_output_neuron=1\.0"):
        prepare(network)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"c": conv2d(4, 1, 8)}, "its weights read 1 feature, and 2 arrive"),
        ({"c": conv2d(4, 4, 8)}, "its weights read 4 features, and 2 arrive"),
        ({"fc": nir.Linear(np.ones((3, 35), np.float32))}, "its weights read 35 features, and 36 arrive"),
        ({"fc": nir.Linear(np.ones((3, 128), np.float32))}, "its weights read 128 features, and 36 arrive"),
        ({"c": conv2d(4, 2, 8, bias=np.ones(7, np.float32))}, "7 biases for 4 features"),
        ({"s": neurons(5, 6, 6, r=np.arange(1.0, 6).repeat(36).reshape(5, 6, 6))}, r"node s \(IF\): r has 5"),
        ({"s": neurons(4, 5, 5)}, r"node s: v_threshold has another shape than what c makes \(got 4x5x5"),
        ({"t": neurons(7)}, r"node t: r has another shape than what fc makes \(got 7; allowed: 3x1x1"),
        ({"c": conv2d(4, 2, 10)}, r"node c \(Conv2d\): states another map .*got 10x10; allowed: 8x8"),
        ({"fc": nir.Linear(np.full((3, 36), 1e39))}, r"weight holds 1e\+39, more than single precision"),
        ({"flat": nir.Flatten({"input": np.array([3, 3, 4])}, 0, -1)}, r"node flat \(Flatten\): .*got 3x3x4; allowed: 4x3x3"),
        ({"output": nir.Output({"output": np.array([5])})}, r"node output \(Output\): .*\(got 5; allowed: 3x1x1\)"),
        ({"s": neurons(4, 6, 6, r=np.full((4, 6, 6), 1e300))}, r"node s \(IF\): r holds 1e\+300"),
        ({"s": neurons(4, 6, 6, r=np.full((4, 6, 6), 3e38)), "c": conv2d(4, 2, 8, bias=np.full(4, 9))}, "its gain of 3e\\+38 makes"),
        ({"s": neurons(4, 6, 6, r=np.full((4, 6, 6), 1e-300))}, "its gain of 1e-300 makes all weights zero"),
        ({"fc": nir.Linear(np.zeros((3, 36)))}, "layer fc: all its weights are 0 and no bias is positive: it never fires"),
        ({"fc": nir.Linear(np.full((3, 36), 1e-300))}, "weight is 1e-300 at most, which is 0 in single precision"),
        ({"pool": nir.Scale(np.zeros((4, 6, 6)))}, r"node pool \(Scale\): scales by 0"),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_what_does_not_fit_together_says_which_is_which(change: dict[str, Any], text: str) -> None:
    with pytest.raises(NetworkError, match=text):
        load_network(graph(nodes() | change), nir=NirOptions(source="nir"))


def test_shapes_that_say_the_same_in_other_words_are_read(tmp_path: Path) -> None:
    batch = {"output": nir.Output({"output": np.array([1, 1, 3])})}
    assert load_network(graph(nodes() | batch)).layers
    batch = {"output": nir.Output({"output": np.array([32, 3])})}
    assert load_network(graph(nodes() | batch)).layers
    path = written(tmp_path)
    for sizes, fits in (([2, 8, 8], True), ([4, 8, 8], False), ([2, 8, 9], False)):
        with h5py.File(path, "r+") as file:
            node = file["node/nodes/c"]
            del node["input_shape"]
            node["input_shape"] = np.array(sizes)
        if fits:
            assert load_network(path).layers
        else:
            stated = "x".join(map(str, sizes))
            with pytest.raises(NetworkError, match=f"got {stated}; allowed: 2x8x8"):
                load_network(path)


def test_numbers_that_a_file_leaves_out_are_told(tmp_path: Path) -> None:
    path = written(tmp_path)
    silent = {reading.subject for reading in load_network(path).readings}
    with h5py.File(path, "r+") as file:
        for field in ("s/r", "c/stride", "c/dilation"):
            del file[f"node/nodes/{field}"]
    told = {r.subject: (r.taken, r.why) for r in load_network(path).readings if r.subject not in silent}
    assert told == {
        "node s": ("its current as it comes (r = 1)", "it states no r"),
        "node c": ("stride 1, dilation 1", "it states no stride and dilation"),
    }


def test_linear_weights_on_a_map_count_its_values() -> None:
    content = nodes() | {"fc": nir.Linear(np.ones((3, 4), np.float32))}
    del content["flat"]
    with pytest.raises(NetworkError, match="its weights read 4 values, and 36 arrive"):
        load_network(graph(content))


def test_a_batch_of_one_in_the_input_is_told() -> None:
    content = nodes() | {"input": nir.Input({"input": np.array([1, 2, 8, 8])})}
    for given in (None, (2, 8, 8)):
        network = load_network(graph(content), given)
        assert network.inputs[0].shape == Shape(2, 8, 8)
        assert any("batch of one" in reading.taken for reading in network.readings) is (given is None)
    flat = {"input": nir.Input({"input": np.array([1, 36])}), "fc": content["fc"], "t": neurons(3)}
    flat["output"] = nir.Output({"output": np.array([3])})
    network = load_network(graph(flat))
    assert network.inputs[0].shape == Shape(36, 1, 1)
    # One layer of neurons: what is said of the input is not said of "all neurons".
    assert [reading.subject for reading in network.readings if "batch" in reading.taken] == ["node input"]


def corrupt(path: Path, how: str) -> None:
    with h5py.File(path, "r+") as file:
        node = file["node"]
        if how == "no graph":
            del file["node"]
        elif how == "no nodes":
            del node["nodes"]
        elif how == "no edges":
            del node["edges"]
        elif how == "edge shape":
            del node["edges"]
            node["edges"] = np.zeros((3, 3))
        elif how == "edge to nowhere":
            del node["edges"]
            node["edges"] = np.array([["input", "nobody"]], dtype="S10")
        elif how == "no type":
            del node["nodes/c/type"]
        elif how == "unknown type":
            del node["nodes/c/type"]
            node["nodes/c/type"] = "Conv9d"
        elif how == "no weight":
            del node["nodes/c/weight"]
        elif how == "text weight":
            del node["nodes/c/weight"]
            node["nodes/c/weight"] = "many"
        elif how == "flat weight":
            del node["nodes/c/weight"]
            node["nodes/c/weight"] = np.ones(3)
        elif how == "node is data":
            node["nodes/x"] = np.ones(3)
        elif how == "negative input":
            del node["nodes/input/shape"]
            node["nodes/input/shape"] = np.array([2, -8, 8])
        elif how == "fraction stride":
            del node["nodes/c/stride"]
            node["nodes/c/stride"] = np.array([1.5, 1.5])
        elif how == "huge":
            node["nodes/c/huge"] = h5py.Empty("f")
            node["nodes/c"].create_dataset("vast", shape=(1 << 31,), dtype="f8")


@pytest.mark.parametrize(
    "how",
    [
        "no graph",
        "no nodes",
        "no edges",
        "edge shape",
        "edge to nowhere",
        "no type",
        "unknown type",
        "no weight",
        "text weight",
        "flat weight",
        "node is data",
        "negative input",
        "fraction stride",
        "huge",
    ],
)
def test_malformed_files_end_in_one_error(tmp_path: Path, how: str) -> None:
    path = written(tmp_path)
    corrupt(path, how)
    with pytest.raises(NetworkError) as caught:
        load_network(path)
    assert str(caught.value)


def test_truncated_empty_and_missing_files(tmp_path: Path) -> None:
    whole = written(tmp_path).read_bytes()
    for name, content in (("cut", whole[: len(whole) // 2]), ("empty", b""), ("text", b"hello")):
        path = tmp_path / f"{name}.nir"
        path.write_bytes(content)
        with pytest.raises(NetworkError, match="NIR"):
            load_network(path)
    with pytest.raises(NetworkError, match="no such file"):
        load_network(tmp_path / "none.nir")


@pytest.mark.parametrize(("stages", "width"), [(300, 1), (3000, 1), (25, 2)])
def test_more_ways_than_are_followed_are_refused_at_once(stages: int, width: int) -> None:
    with pytest.raises(UnsupportedLayerError, match="200 in a row, 1000 to one layer"):
        load_network(ways(stages, width))


def test_some_ways_are_followed() -> None:
    assert len(load_network(ways(3, 2)).edges) > len(load_network(ways(3, 1)).edges)


def test_neurons_of_one_feature_are_read(tmp_path: Path) -> None:
    content = {
        "input": nir.Input({"input": np.array([2, 4, 4])}),
        "c": conv2d(1, 2, 4),
        "n": neurons(1, 2, 2),
        "output": nir.Output({"output": np.array([1, 2, 2])}),
    }
    path = tmp_path / "one.nir"
    nir.write(path, nir.NIRGraph(content, [("input", "c"), ("c", "n"), ("n", "output")]))
    assert load_network(path).layers[0].output_shape.features == 1
