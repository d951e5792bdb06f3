"""Currents in NIR graphs: sums, scales and pools before neurons, exact; the order of layers and its delays."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import nir
import numpy as np
import pytest
import torch

from mapper.errors import NetworkError, UnsupportedLayerError
from mapper.frontends import NirOptions, load_network
from mapper.passes import PrepareOptions, prepare
from mapper.sim.network import simulate
from tests.frontends.test_nir import conv2d, graph, neurons

OPTIONS = NirOptions(reset="subtract", v_min="none", spike_mode="multi", fires_at="reached")
DRAW = np.random.default_rng(11)
INPUTS = DRAW.integers(0, 3, (6, 2, 8, 8))


def whole(node: Any) -> Any:
    """The node with whole numbers as weights, so that every sum is exact."""
    node.weight = DRAW.integers(-3, 6, node.weight.shape).astype(np.float32)
    return node


def current(node: Any, x: Any, stride: int = 1) -> Any:
    convolved = torch.nn.functional.conv2d(
        torch.tensor(x, dtype=torch.float64), torch.tensor(node.weight).double(),
        torch.tensor(node.bias).double(), stride, tuple(int(n) for n in np.atleast_1d(node.padding))[:1] * 2,
    )  # fmt: skip
    return convolved.numpy()


def fired(currents: Any, threshold: float) -> Any:
    """Integrate, fire as often as it fits, subtract."""
    potential, spikes = np.zeros(currents.shape[1:]), []
    for step in currents:
        potential = potential + step
        spikes.append(np.where(potential > 0, np.trunc(potential / threshold), 0))
        potential = potential - spikes[-1] * threshold
    return np.stack(spikes)


def block(skip: dict[str, Any], edges: list[tuple[str, str]]) -> tuple[dict[str, Any], Any]:
    """Input, one layer, then a sum of a convolution and what `skip` adds before the neurons n2."""
    content = {
        "input": nir.Input({"input": np.array([2, 8, 8])}),
        "c1": whole(conv2d(4, 2, 8, padding=(1, 1))),
        "n1": nir.IF(np.ones((4, 8, 8), np.float32), np.full((4, 8, 8), 4.0, np.float32)),
        "c2": whole(conv2d(4, 4, 8, padding=(1, 1))),
        **skip,
        "n2": nir.IF(np.ones((4, 8, 8), np.float32), np.full((4, 8, 8), 8.0, np.float32)),
        "output": nir.Output({"output": np.array([4, 8, 8])}),
    }
    chain = [("input", "c1"), ("c1", "n1"), ("n1", "c2"), ("c2", "n2"), ("n2", "output")]
    return content, graph(content, [*chain, *edges])


def equal_as_read_and_prepared(source: Any, expected: Any) -> None:
    read = load_network(source, nir=OPTIONS)
    for network in (read, prepare(read, PrepareOptions(quantize=False))):
        (spikes,) = simulate(network, {"input": INPUTS}).outputs.values()
        assert spikes.any()
        assert np.array_equal(spikes, expected)


def test_an_identity_skip_and_a_skip_with_weights() -> None:
    content, source = block({}, [("n1", "n2")])
    first = fired(current(content["c1"], INPUTS), 4.0)
    equal_as_read_and_prepared(source, fired(current(content["c2"], first) + first, 8.0))
    content, source = block({"skip": whole(conv2d(4, 2, 8, 1))}, [("input", "skip"), ("skip", "n2")])
    first = fired(current(content["c1"], INPUTS), 4.0)
    added = current(content["c2"], first) + current(content["skip"], INPUTS)
    equal_as_read_and_prepared(source, fired(added, 8.0))


def test_a_scaled_skip_and_a_gain_of_all() -> None:
    half = {"half": nir.Scale(np.array([0.5], np.float32))}
    content, source = block(half, [("n1", "half"), ("half", "n2")])
    content["n2"].r = np.full((4, 8, 8), 2.0, np.float32)
    first = fired(current(content["c1"], INPUTS), 4.0)
    equal_as_read_and_prepared(source, fired(2 * (current(content["c2"], first) + 0.5 * first), 8.0))


def test_a_pool_before_the_neurons_and_a_scale_by_feature() -> None:
    content = {
        "input": nir.Input({"input": np.array([2, 8, 8])}),
        "c": whole(conv2d(4, 2, 8, padding=(1, 1))),
        "pool": nir.AvgPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0])),
        "n": nir.IF(np.ones((4, 4, 4), np.float32), np.full((4, 4, 4), 2.0, np.float32)),
        "output": nir.Output({"output": np.array([4, 4, 4])}),
    }
    pooled = current(content["c"], INPUTS).reshape(6, 4, 4, 2, 4, 2).mean((3, 5))
    equal_as_read_and_prepared(graph(content), fired(pooled, 2.0))
    factors = np.array([0.5, 1, 2, 4], np.float32)[:, None, None] * np.ones((4, 8, 8), np.float32)
    content["pool"] = nir.Scale(factors)
    content["n"] = nir.IF(np.ones((4, 8, 8), np.float32), np.full((4, 8, 8), 8.0, np.float32))
    content["output"] = nir.Output({"output": np.array([4, 8, 8])})
    equal_as_read_and_prepared(graph(content), fired(current(content["c"], INPUTS) * factors, 8.0))


def test_branches_of_unequal_length_arrive_in_the_same_step() -> None:
    """Names in natural order would put the sum before its second addend; nothing is delayed but cycles."""
    content = {
        "input": nir.Input({"input": np.array([2, 8, 8])}),
        "a": conv2d(2, 2, 8, 1), "an": neurons(2, 8, 8),
        "b": conv2d(2, 2, 8, 1), "bn": neurons(2, 8, 8),
        "b2": conv2d(2, 2, 8, 1), "b2n": neurons(2, 8, 8),
        "d": conv2d(2, 2, 8, 1), "dn": neurons(2, 8, 8),
        "output": nir.Output({"output": np.array([2, 8, 8])}),
    }  # fmt: skip
    edges = [
        ("input", "a"),
        ("a", "an"),
        ("an", "d"),
        ("input", "b"),
        ("b", "bn"),
        ("bn", "b2"),
        ("b2", "b2n"),
    ]
    edges += [("b2n", "d"), ("d", "dn"), ("dn", "output")]
    network = load_network(graph(content, edges), nir=OPTIONS)
    assert [layer.name for layer in network.layers] == ["a", "b", "b2", "d"]
    assert {edge.delay_steps for edge in network.edges} == {0}
    looped = load_network(graph(content, [*edges, ("dn", "b2")]), nir=OPTIONS)
    assert [(e.source, e.target) for e in looped.edges if e.delay_steps] == [("d", "b2")]


def test_what_has_no_common_geometry_is_refused_with_a_way_out() -> None:
    content, source = block({"skip": conv2d(4, 2, 8, 3)}, [("input", "skip"), ("skip", "n2")])
    with pytest.raises(Exception, match=r"add|shape"):
        load_network(source, nir=OPTIONS)
    flat = {"flat": nir.Flatten({"input": np.array([4, 8, 8])}, 0, -1)}
    content = content | flat
    edges = [("input", "c1"), ("c1", "flat"), ("flat", "n1"), ("n1", "output")]
    chosen = {name: content[name] for name in ("input", "c1", "flat", "n1", "output")}
    with pytest.raises(UnsupportedLayerError, match="flattens currents before their neurons"):
        load_network(graph(chosen, edges), nir=replace(OPTIONS))


def test_a_signal_that_arrives_twice_over_nested_graphs_is_refused() -> None:
    plain = {"input": nir.Input({"input": np.array([2])}), "output": nir.Output({"output": np.array([2])})}
    content = {
        "input": nir.Input({"input": np.array([2])}),
        "g": graph(plain, [("input", "output")]),
        "fc": nir.Linear(np.array([[3.0, 1.0]], np.float32)),
        "n": neurons(1),
        "output": nir.Output({"output": np.array([1])}),
    }
    edges = [("input", "g"), ("input", "fc"), ("g", "fc"), ("fc", "n"), ("n", "output")]
    with pytest.raises(NetworkError, match="edge input -> fc: would arrive several times"):
        load_network(graph(content, edges), nir=OPTIONS)
    once = load_network(graph(content, [edge for edge in edges if edge != ("input", "fc")]), nir=OPTIONS)
    assert [edge.source for edge in once.edges] == ["input"]


def test_two_neuron_nodes_into_one_output_are_told() -> None:
    content, _ = block({}, [])
    chain = [("input", "c1"), ("c1", "n1"), ("n1", "c2"), ("c2", "n2"), ("n2", "output"), ("n1", "output")]
    network = load_network(graph(content, chain), nir=OPTIONS)
    assert [output.source for output in network.outputs] == ["c1", "c2"]
    assert any("left to the host" in str(reading) for reading in network.readings)
