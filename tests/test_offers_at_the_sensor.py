"""Joint relays and fused siblings of layers that the sensor feeds as well; and what must not depend on a file."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations
from typing import Any

import pytest

import mapper
from mapper.network import DvsSettings, Edge, Input, Layer, Network, Output
from mapper.operations import Convolution, Neuron, Pool, Shape
from mapper.passes import prepare
from mapper.verify import verify
from tests.test_offers import fused, joints, placed


def pooled(pool: int) -> tuple[Pool, ...]:
    return (Pool("sum", (pool, pool), (pool, pool)),) if pool > 1 else ()


def network(
    layers: list[tuple[str, int, int, int, int, float]],
    edges: list[tuple[str, str, int, int]],
    outputs: str,
    dvs: DvsSettings | None,
    shape: Shape = Shape(1, 16, 16),
) -> Network:
    """Of (name, input features, size, features, kernel, threshold) and (source, target, pool, offset)."""
    made = [
        Layer(
            name,
            Shape(channels, size, size),
            Convolution(features, (kernel, kernel), padding=(kernel // 2, kernel // 2)),
            neuron=Neuron(threshold, -1.0),
        )
        for name, channels, size, features, kernel, threshold in layers
    ]
    wires = [Edge(source, target, pooled(pool), offset) for source, target, pool, offset in edges]
    ends = tuple(Output(name, name) for name in outputs)
    return Network("net", (Input("in", shape, dvs),), tuple(made), tuple(wires), ends)


@pytest.mark.parametrize("dvs", [DvsSettings(), None])
def test_siblings_read_beside_an_input_share_a_core(dvs: DvsSettings | None) -> None:
    layers = [("d", 1, 16, 3, 3, 1.0), ("y", 1, 16, 3, 3, 1.0), ("g", 6, 16, 1, 3, 1.0)]
    edges = [("in", "d", 1, 0), ("in", "y", 1, 0), ("d", "g", 1, 0), ("y", "g", 1, 3), ("in", "g", 1, 0)]
    result = placed(network(layers, edges, "g", dvs))
    assert fused(result) == ["d&y"]
    assert len(result.require().placements) == 2


@pytest.mark.parametrize(("dvs", "cores"), [(DvsSettings(), 9), (None, 8)])
def test_a_sum_read_beside_an_input_is_passed_on(dvs: DvsSettings | None, cores: int) -> None:
    layers = [
        ("y", 1, 16, 2, 1, 1.0), ("w", 2, 8, 3, 5, 1.0), ("a", 3, 8, 3, 3, 5.0),
        ("o", 3, 4, 3, 3, 2.0), ("t", 3, 4, 4, 3, 3.0), ("i", 1, 16, 4, 5, 4.0),
    ]  # fmt: skip
    edges = [
        ("in", "y", 1, 0), ("y", "w", 2, 0), ("w", "a", 1, 0), ("in", "i", 1, 0), ("in", "o", 4, 0),
        ("in", "t", 4, 0), ("w", "o", 2, 0), ("w", "t", 2, 0), ("y", "o", 4, 0), ("y", "t", 4, 0),
    ]  # fmt: skip
    result = placed(network(layers, edges, "aoti", dvs))
    assert joints(result)
    assert len(result.require().placements) == cores


@pytest.mark.parametrize(
    "dvs",
    [DvsSettings(origin=(2, 0)), DvsSettings(mirror=(True, False)), DvsSettings(swap_axes=True)],
)
def test_a_cut_out_that_readers_pool_differently_is_refused_in_every_order(dvs: DvsSettings) -> None:
    size = 9 if any(dvs.mirror) else 8
    layers = [("a", 1, size, 2, 1, 1.0), ("b", 1, size // 2, 3, 1, 1.0)]
    edges = [("in", "a", 1, 0), ("in", "b", 2, 0)]
    for order in (edges, edges[::-1]):
        found = mapper.check(network(layers, order, "ab", dvs, Shape(1, size, size)), repairs=0)
        assert found.status is mapper.Status.INFEASIBLE
        assert found.report is not None
        assert any("which act on the pooled map" in entry.sentence for entry in found.report.unmet)
    # Without any the stage pools nothing, and a relay what is left.
    assert placed(network(layers, edges, "ab", DvsSettings(), Shape(1, size, size))).solution is not None


def test_the_checker_refuses_a_cut_out_behind_a_pool_that_is_not_the_stages() -> None:
    layers = [("a", 1, 8, 2, 1, 1.0), ("b", 1, 4, 3, 1, 1.0)]
    edges = [("in", "a", 1, 0), ("in", "b", 2, 0)]
    plain = placed(network(layers, edges, "ab", DvsSettings(), Shape(1, 8, 8)))
    assert verify(plain.networks, plain.chip, plain.options, plain.require()) == ()
    stage = plain.require().dvs_stage
    assert stage is not None
    swapped = network(layers, edges, "ab", DvsSettings(swap_axes=True), Shape(1, 8, 8))
    solution = replace(plain.require(), dvs_stage=replace(stage, swap=True))
    found = verify((prepare(swapped),), plain.chip, plain.options, solution)
    assert any("whose cut-out or mirror is another" in str(entry) for entry in found)


def test_a_sum_behind_a_pool_that_no_destination_has_is_passed_on_before_it() -> None:
    layers: list[Any] = [("a", 2, 64, 2, 1, 1.0), ("b", 2, 64, 2, 3, 2.0), ("c", 2, 8, 2, 9, 1.0)]
    edges = [("in", "a", 1, 0), ("in", "b", 1, 0), ("a", "c", 8, 0), ("b", "c", 8, 0)]
    result = placed(network(layers, edges, "c", None, Shape(2, 64, 64)))
    assert joints(result) == ["a+b"]
    assert len(result.require().placements) == 4


def test_cores_of_fused_siblings_and_names_of_sums_do_not_depend_on_the_order_of_a_file() -> None:
    cores, sums = set(), set()
    for order in permutations(range(4)):
        layers = [
            (name, 2, 8, 2, 1, height) for name, height in zip("abcd", (1.0, 1.0, 2.0, 2.0), strict=True)
        ]
        edges = [("in", name, 1, 0) for name in "abcd"]
        given = network([layers[n] for n in order], [edges[n] for n in order], "abcd", None, Shape(2, 8, 8))
        result = placed(given)
        assert len(fused(result)) == 2
        cores.add(tuple(result.find_chip_layer(name) for name in "abcd"))
        wide: list[Any] = [(name, 2, 16, 2, 3, float(n)) for n, name in enumerate("abcd", 1)]
        wide = [wide[n] for n in order] + [
            ("x", 2, 16, 2, 5, 8.0),
            ("y", 2, 16, 2, 5, 9.0),
            ("z", 2, 16, 1, 5, 7.0),
        ]
        reads = [("in", name, 1, 0) for name in "abcd"]
        reads += [(name, reader, 1, 0) for name in "abcd" for reader in "xyz"]
        sums.add(tuple(joints(placed(network(wide, reads, "xyz", None, Shape(2, 16, 16)), "dynapcnndevkit"))))
    assert len(cores) == 1
    assert len(sums) == 1
    assert sums != {()}
