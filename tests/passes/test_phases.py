"""Space to depth: exact in every layer and step, as far as it can be done, and nothing else is touched."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from hwspec.catalog import load
from mapper.by_value import same
from mapper.edits import shapes_only
from mapper.network import Edge, Input, Network, Output
from mapper.normal_form import NormalLayer, NormalNetwork
from mapper.operations import Convolution, Neuron, Pair, Pool, Shape
from mapper.passes.legalize import has_phases, phased, phased_by
from mapper.sim.network import simulate
from mapper.verify.rewriting import differences
from tests.builders import chain, conv, pool, weighted
from tests.phase_networks import SMALL_MAPS, family, given_shape, random_phase_network, too_large

EXAMPLES = int(os.environ.get("MAPPER_FUZZ_EXAMPLES", "150"))
SPECK = load("speck2f")


def phases(network: Network) -> dict[str, Pair]:
    return {origin.name: origin.phases for origin in network.origins if origin.phases != (1, 1)}


def rasters(network: Network, seed: int, steps: int = 4) -> dict[str, Any]:
    draw = np.random.default_rng([1, seed])
    return {
        entry.name: draw.integers(1, 3, (steps, *entry.shape)) * (draw.random((steps, *entry.shape)) < 0.3)
        for entry in network.inputs
    }


def assert_exact(given: NormalNetwork, written: NormalNetwork, seed: int = 0) -> Counter[str]:
    """Every layer of the given network spikes as it did, wherever it still exists; the checker agrees."""
    inputs, seen = rasters(given, seed), Counter[str]()
    before, after = simulate(given, inputs), simulate(written, inputs)
    for origin in written.origins:
        own = given_shape(after.spikes[origin.layer], origin)
        whole = before.spikes[origin.name]
        assert np.array_equal(own, whole[:, :, : own.shape[2], : own.shape[3]]), (given.name, origin)
        seen["spiking"] += bool(own.any())
        seen["cut off"] += own.shape != whole.shape
        seen["grown"] += any(
            size * n > have
            for size, n, have in zip(
                written.signal_shapes[origin.layer][1:], origin.phases, origin.shape[1:], strict=True
            )
        )
    for name, shown in before.outputs.items():
        assert np.array_equal(after.outputs[name], shown)
    assert list(differences(given, written)) == []
    return seen


def test_random_networks_are_exact() -> None:
    seen = Counter[str]()
    for seed in range(EXAMPLES):
        given = random_phase_network(seed)
        written = phased(given, SMALL_MAPS)
        large = list(too_large(given, SMALL_MAPS))
        if written is given:
            seen["alone"] += bool(large)
            continue
        assert large, "only where a map is too large"
        assert [layer.name for layer in written.layers] == [layer.name for layer in given.layers]
        assert (written.inputs, written.outputs) == (given.inputs, given.outputs)
        seen += assert_exact(given, written, seed)
        seen["legal"] += not any(too_large(written, SMALL_MAPS))
        seen.update(f"{a}x{b}" for a, b in phases(written).values())
        seen["cycle"] += any(e.delay_steps and e.source in phases(written) for e in given.edges)
        seen["several edges"] += any(
            len(given.incoming[name]) > 1
            for name, layer in written.by_name.items()
            if layer != given.by_name[name]
        )
        for name in phases(written):
            layer = given.by_name[name]
            seen["bias"] += layer.operation.bias is not None
            seen["potentials"] += layer.neuron.initial_potential is not None
            seen[layer.neuron.reset] += 1
            seen[layer.neuron.spike_mode] += 1
    assert seen["legal"] > 0.4 * (seen["legal"] + seen["alone"]), seen
    kinds = ("2x2", "2x1", "1x2", "4x4", "cycle", "several edges", "bias", "potentials", "zero", "single")
    assert all(seen[kind] for kind in (*kinds, "cut off", "grown")), seen
    assert seen["spiking"] > 100 * EXAMPLES / 150, seen


def first(height: int, width: int, kernel: int = 3, stride: int = 1, **more: Any) -> NormalLayer:
    operation = Convolution(2, (kernel, kernel), (stride, stride), (kernel // 2, kernel // 2), **more)
    return NormalLayer("first", Shape(2, height, width), operation, neuron=Neuron(20, -40))


def read_by(layer: NormalLayer, reader: Convolution, by: int = 1, *, more: int = 1) -> NormalNetwork:
    """The layer, its reader behind a pool, and a last layer that pools a little."""
    seen = Shape(layer.output_shape[0], layer.output_shape[1] // by, layer.output_shape[2] // by)
    second = NormalLayer("second", seen, reader, neuron=Neuron(15, -40))
    there = second.output_shape
    last = NormalLayer(
        "last", Shape(there[0], there[1] // more, there[2] // more), conv(2, 1), neuron=Neuron(9)
    )
    edges = (Edge("in", "first"), Edge("first", "second", pool(by)), Edge("second", "last", pool(more)))
    network = NormalNetwork(
        "two", (Input("in", layer.input_shape),), (layer, second, last), edges, (Output("out", "last"),)
    )
    return weighted(network, np.random.default_rng(3), integer=True)


# Layer, reader, pool before it, pool behind it; the phases of both, and the kernel with which the reader reads.
CASES: dict[str, tuple[NormalLayer, Convolution, int, int, dict[str, Pair], Pair]] = {
    "pool of 2": (first(16, 16), conv(3), 2, 1, {"first": (2, 2)}, (3, 3)),
    "pool of 4": (first(16, 16), conv(3), 4, 1, {"first": (2, 2)}, (3, 3)),
    "pool of 2 behind 4 phases": (first(32, 32), conv(3, stride=(2, 2)), 2, 1, {"first": (4, 4)}, (3, 3)),
    "one axis": (first(16, 8), conv(3, stride=(2, 2)), 1, 1, {"first": (2, 1)}, (3, 3)),
    "both axes alike before a square pool": (first(16, 8), conv(3), 2, 1, {"first": (2, 2)}, (3, 3)),
    "stride 2": (first(16, 16, 5), conv(3, stride=(2, 2)), 1, 1, {"first": (2, 2)}, (3, 3)),
    "stride 4": (first(16, 16, 1), conv(4, 5, stride=(4, 4)), 1, 1, {"first": (2, 2)}, (3, 3)),
    "a reader of stride 1 that gets phases too": (
        first(16, 16), conv(3), 1, 2, {"first": (2, 2), "second": (2, 2)}, (3, 3),
    ),
    "own stride 2": (first(32, 32, 3, 2), conv(3), 2, 1, {"first": (2, 2)}, (3, 3)),
    "an odd map before a pool": (first(15, 17), conv(3), 2, 1, {"first": (2, 2)}, (3, 3)),
    "17 rows that a pool of 4 cuts": (first(17, 17), conv(3), 4, 1, {"first": (2, 2)}, (3, 3)),
    "an odd map that is read to its end": (
        first(15, 15), conv(3, stride=(2, 2), padding=(0, 0)), 1, 1, {"first": (2, 2)}, (2, 2),
    ),
    "a linear layer": (first(16, 16), Convolution(5, (16, 16)), 1, 1, {"first": (2, 2)}, (8, 8)),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_what_readers_do(case: tuple[NormalLayer, Convolution, int, int, dict[str, Pair], Pair]) -> None:
    layer, reader, by, more, expected, kernel = case
    given = read_by(layer, reader, by, more=more)
    written = phased(given, SMALL_MAPS)
    assert phases(written) == expected
    assert has_phases(written)
    assert written.by_name["second"].operation.kernel == kernel
    assert not any(too_large(written, SMALL_MAPS))
    assert assert_exact(given, written)["spiking"] == 3
    assert any(note.startswith("first: space to depth") for note in written.notes)


@pytest.mark.parametrize(
    "case",
    [
        (first(16, 16), conv(3), 3, 1),  # a pool that no phases divide
        (first(16, 16), conv(3), 1, 3),  # the reader would need phases, which its own reader does not read
        (first(15, 15), conv(3, stride=(2, 2)), 1, 1),  # an odd map that is read beyond its end
    ],
)
def test_what_stays_as_it_is(case: tuple[NormalLayer, Convolution, int, int]) -> None:
    layer, reader, by, more = case
    given = read_by(layer, reader, by, more=more)
    assert list(too_large(given, SMALL_MAPS))
    assert phased(given, SMALL_MAPS) is given


def test_layers_that_are_fixed_stay_as_they_are() -> None:
    given = read_by(first(16, 16), conv(3), 2)
    assert phased(given, SMALL_MAPS, ["second"]) is not given
    assert phased(given, SMALL_MAPS, ["first"]) is given


@pytest.mark.parametrize("by", [1, 2, 3])
def test_outputs_show_layers_as_they_were_given(by: int) -> None:
    given = read_by(first(16, 16), conv(3), 2)
    given = given.replacing(outputs=(*given.outputs, Output("too", "first", pool(by))))
    written = phased(given, SMALL_MAPS)
    assert phases(written) == {"first": (2, 2)}
    assert_exact(given, written)


def test_nothing_is_left_out_of_what_is_seen() -> None:
    given = read_by(first(15, 17), conv(3), 2)
    assert phased(given, SMALL_MAPS) is not given
    assert phased(given, SMALL_MAPS, (), ["first"]) is given
    even = read_by(first(16, 16), conv(3), 2)
    assert phased(even, SMALL_MAPS, (), ["first"]) is not even


def test_one_layer_in_the_way_does_not_stop_others() -> None:
    """Two first layers side by side: one with a reader that pools by 3."""
    layers = (
        first(16, 16),
        replace(first(16, 16), name="other"),
        NormalLayer("second", Shape(2, 8, 8), conv(3), neuron=Neuron(15)),
        NormalLayer("third", Shape(2, 5, 5), conv(3), neuron=Neuron(15)),
    )
    edges = (
        Edge("in", "first"), Edge("in", "other"), Edge("first", "second", pool(2)), Edge("other", "third", pool(3)),
    )  # fmt: skip
    outputs = (Output("a", "second"), Output("b", "third"))
    given = NormalNetwork("both", (Input("in", Shape(2, 16, 16)),), layers, edges, outputs)
    given = weighted(given, np.random.default_rng(0), integer=True)
    written = phased(given, SMALL_MAPS)
    assert phases(written) == {"first": (2, 2)}
    assert list(too_large(written, SMALL_MAPS)) == ["other"]
    assert_exact(given, written)


def test_networks_that_fit_are_the_same_object() -> None:
    for network in (chain([conv(), conv()], (2, 64, 64)), family(0, 64)):
        assert phased(network, SPECK) is network


@pytest.mark.parametrize("seed", range(20))
def test_shapes_and_floats_become_the_same(seed: int) -> None:
    given = random_phase_network(seed)
    written = phased(given, SMALL_MAPS)
    bare, floats = shapes_only(given), as_floats(given)
    assert same(shapes_only(written).layers, phased(bare, SMALL_MAPS).layers)
    assert phased(bare, SMALL_MAPS).edges == written.edges
    if written is not given:
        assert list(differences(bare, phased(bare, SMALL_MAPS))) == []
        assert same(phased(floats, SMALL_MAPS), phased_by(floats, written))
        assert same(phased(floats, SMALL_MAPS).edges, written.edges)


def as_floats(network: NormalNetwork) -> NormalNetwork:
    layers = []
    for layer in network.layers:
        weight = np.asarray(layer.operation.weight, np.float32) / 16
        neuron = replace(layer.neuron, threshold=np.full(layer.operation.out_features, 1.5))
        layers.append(replace(layer, operation=replace(layer.operation, weight=weight), neuron=neuron))
    return network.replacing(layers=tuple(layers))


def test_thresholds_by_feature_follow() -> None:
    given = as_floats(read_by(first(16, 16), conv(3), 2))
    layer = replace(given.layers[0], neuron=replace(given.layers[0].neuron, threshold=np.array([1.0, 3.0])))
    given = given.replacing(layers=(layer, *given.layers[1:]))
    assert assert_exact(given, phased(given, SMALL_MAPS))["spiking"] > 1


@pytest.mark.parametrize("size", [127, 130])
def test_odd_maps_of_a_chip_with_larger_inputs(size: int) -> None:
    chip = load(
        "speck2f", ["core[0..8].limits.input_height_max=256", "core[0..8].limits.input_width_max=256"]
    )
    given = read_by(first(size, size), conv(3, stride=(2, 2)), 4)
    written = phased(given, chip)
    assert phases(written) == {"first": (4, 4) if size == 130 else (2, 2)}
    assert_exact(given, written)


def test_a_linear_layer_over_a_large_map() -> None:
    """A kernel of 20x20 becomes one of 10x10 over four phases of its source; 16 is the most a core holds."""
    given = read_by(first(20, 20), Convolution(5, (20, 20)))
    written = phased(given, SPECK)
    assert phases(written) == {"first": (2, 2)}
    assert written.by_name["second"].operation.kernel == (10, 10)
    assert assert_exact(given, written)["spiking"] == 3
    pooled = read_by(first(40, 40), Convolution(5, (20, 20)), 2)
    written = phased(pooled, SPECK)
    assert phases(written) == {"first": (4, 4)}
    assert assert_exact(pooled, written)["spiking"] == 3


def test_a_linear_layer_over_an_input_stays() -> None:
    layer = NormalLayer("only", Shape(2, 20, 20), Convolution(3, (20, 20)))
    given = NormalNetwork(
        "linear", (Input("in", layer.input_shape),), (layer,), (Edge("in", "only"),), (Output("o", "only"),)
    )
    assert phased(given, SPECK) is given


def test_a_relay_of_a_large_map_is_exact_as_an_identity_layer() -> None:
    """What a relay of the sensor at full size would be: an identity layer, which pools serve as they serve others."""
    identity = np.eye(2, dtype=np.int64).reshape(2, 2, 1, 1)
    relay = NormalLayer(
        "relay", Shape(2, 128, 128), Convolution(2, (1, 1), weight=identity), neuron=Neuron(1, -1)
    )
    second = NormalLayer("second", Shape(2, 64, 64), conv(3, stride=(2, 2)), neuron=Neuron(12))
    edges = (Edge("in", "relay"), Edge("relay", "second", pool(2)))
    given = NormalNetwork(
        "relayed", (Input("in", relay.input_shape),), (relay, second), edges, (Output("o", "second"),)
    )
    weights = np.random.default_rng(0).integers(-5, 9, (4, 2, 3, 3))[:3]
    operation = replace(second.operation, out_features=3, weight=weights)
    given = given.replacing(layers=(relay, replace(second, operation=operation)))
    written = phased(given, SPECK)
    assert written.by_name["relay"].operation.kernel == (2, 2)
    assert np.count_nonzero(np.asarray(written.by_name["relay"].operation.weight)) == 8
    assert assert_exact(given, written)["spiking"] == 2


def test_pools_that_overlap_are_divided_too() -> None:
    given = read_by(first(16, 16), conv(3), 2)
    edge = Edge("first", "second", (Pool("sum", (4, 4), (2, 2)),))
    second = replace(given.by_name["second"], input_shape=Shape(2, 7, 7))
    last = replace(given.by_name["last"], input_shape=Shape(second.operation.out_features, 7, 7))
    given = given.replacing(
        layers=(given.layers[0], second, last), edges=(given.edges[0], edge, given.edges[2])
    )
    written = phased(given, SMALL_MAPS)
    assert written.incoming["second"][0].path == (Pool("sum", (2, 2), (1, 1)),)
    assert_exact(given, written)
