"""Every pass keeps what a network computes: simulated before and after, exactly."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mapper.by_value import same
from mapper.errors import NetworkError, UnsupportedLayerError
from mapper.network import Edge, Input, Layer, Network, Output
from mapper.normal_form import NormalLayer, NormalNetwork, normal_form
from mapper.operations import (
    BatchNorm,
    Convolution,
    Dropout,
    Flatten,
    Linear,
    Neuron,
    PathOperation,
    Pool,
    Scale,
    Shape,
    shape_after,
)
from mapper.passes import PASSES, PrepareOptions, ReadoutSpacing, prepare
from mapper.passes.legalize import legalize
from mapper.passes.minimum import mend_minimum
from mapper.passes.pools import merge_pools
from mapper.passes.quantize import quantize, tensor_scale
from mapper.sim.network import simulate
from tests.builders import as_read, chain, conv, tiny_chip, weighted

AVERAGE: tuple[PathOperation, ...] = (Pool("average", (2, 2), (2, 2)),)


def trained(seed: int) -> Network:
    """A network with everything the passes remove; all numbers dyadic, so that folding is exact."""
    generator = np.random.default_rng(seed)
    norm = BatchNorm(
        mean=generator.integers(-2, 3, 4) / 2.0,
        variance=np.full(4, 3.0),
        scale=2.0 ** generator.integers(-1, 2, 4),
        shift=generator.integers(-2, 3, 4) / 4.0,
        epsilon=1.0,
    )
    first = Layer("c0", Shape(2, 9, 8), conv(4, 3, groups=2), (norm, Dropout()), Neuron(np.full(4, 1.0)))
    thresholds = 2.0 ** generator.integers(-1, 2, 4)
    second = Layer(
        "c1",
        Shape(4, 4, 4),
        conv(4, 3, dilation=(2, 2), padding=(2, 2), has_bias=True),
        (),
        Neuron(thresholds),
    )
    pools: tuple[PathOperation, ...] = (
        Pool("average", (2, 2), (2, 2)),
        Pool("sum", (2, 2), (2, 2)),
        Flatten(),
    )
    fc = Layer("fc", Shape(16, 1, 1), Linear(3, has_bias=True), (Scale(2.0),), Neuron(1.0, -1.0))
    edges: tuple[Edge, ...] = (
        Edge("in", "c0", (Dropout(), Scale(1.0))),
        Edge("c0", "c1", AVERAGE),
        Edge("c1", "fc", (*AVERAGE, Flatten())),
        Edge("c0", "fc", (*AVERAGE, Scale(1.0), Pool("sum", (2, 2), (2, 2)), Flatten())),
    )
    if seed % 2:
        edges = edges[:3]
    path = {0: edges, 1: edges}[seed % 2]
    layers = (first, second, fc)
    network = Network(
        "trained", (Input("in", Shape(2, 9, 8)),), layers, path, (Output("out", "fc", pools[2:]),)
    )
    return weighted(network, generator)


@pytest.mark.parametrize("seed", range(12))
def test_passes_keep_every_spike(seed: int) -> None:
    generator = np.random.default_rng(100 + seed)
    before = trained(seed)
    x = generator.integers(0, 4, (5, 2, 9, 8))
    expected = simulate(before, {"in": x})
    assert any(spikes.any() for spikes in expected.spikes.values())
    now = before
    for step in PASSES:
        if step.__name__ == "average_to_sum":
            assert all(f.between == () for f in now.layers)
        now = step(now)
        got = simulate(now, {"in": x})
        for name, spikes in expected.spikes.items():
            assert np.array_equal(got.spikes[name].reshape(spikes.shape), spikes), (step.__name__, name)
    assert same(normal_form(now).layers[0].operation, now.layers[0].operation)


def test_passes_do_not_touch_a_network_in_normal_form() -> None:
    network = weighted(chain([conv(4), conv(2)], pools=(2,)), np.random.default_rng(1))
    for step in PASSES:
        assert same(step(network), network), step.__name__


def test_shapes_alone_take_the_same_way() -> None:
    bare = trained(0)
    layers = []
    for layer in bare.layers:
        operation = replace(layer.operation, weight=None, bias=None)
        between = tuple(BatchNorm() if isinstance(s, BatchNorm) else s for s in layer.between)
        layers.append(replace(layer, operation=operation, between=between))
    ready = prepare(bare.replacing(layers=tuple(layers)))
    assert isinstance(ready, NormalNetwork)
    assert ready.layers[0].operation.has_bias  # batch norm makes one
    assert [layer.output_shape for layer in ready.layers] == [
        layer.output_shape for layer in prepare(bare).layers
    ]


def test_averages_of_different_size_into_one_sum_are_exact_over_more_features() -> None:
    network = as_read(chain([conv(2), conv(2), conv(2)], (2, 8, 8)))
    edges = (
        network.edges[0],
        Edge("conv0", "conv1", AVERAGE),
        Edge("conv1", "conv2"),
        Edge("conv0", "conv2", AVERAGE),
    )
    shape = Shape(2, 4, 4)
    layers = (network.layers[0], *(replace(layer, input_shape=shape) for layer in network.layers[1:]))
    mixed = network.replacing(layers=layers, edges=edges)
    shapes = prepare(mixed)
    assert any("exact weights take a kernel over 4 features" in note for note in shapes.notes)
    assert shapes.layers[-1].input_shape == shape
    given = weighted(mixed, np.random.default_rng(0))
    ready = prepare(given, PrepareOptions(quantize=False))
    assert ready.layers[-1].input_shape == Shape(4, 4, 4)
    assert [edge.feature_offset for edge in ready.incoming["conv2"]] == [0, 2]
    x = {"input": np.random.default_rng(1).integers(0, 5, (6, 2, 8, 8))}
    before, after = simulate(given, x), simulate(ready, x)
    assert before.spikes["conv2"].any()
    assert np.array_equal(before.spikes["conv2"], after.spikes["conv2"])
    chosen = prepare(given, PrepareOptions(quantize=False, rescale=max))
    assert chosen.layers[-1].input_shape == shape
    assert any("approximation" in note for note in chosen.notes)


def test_side_by_side_signals_may_be_scaled_differently() -> None:
    base = as_read(chain([conv(2), conv(2)], (2, 4, 4)))
    second = replace(base.layers[1], input_shape=Shape(4, 4, 4))
    edges = (base.edges[0], Edge("conv0", "conv1", (Scale(0.5),)), Edge("input", "conv1", (Scale(2.0),), 2))
    network = weighted(base.replacing(layers=(base.layers[0], second), edges=edges), np.random.default_rng(2))
    ready = prepare(network, PrepareOptions(quantize=False))
    x = np.random.default_rng(3).integers(0, 5, (4, 2, 4, 4))
    assert np.array_equal(
        simulate(network, {"input": x}).outputs["out"], simulate(ready, {"input": x}).outputs["out"]
    )


@given(st.integers(1, 40), st.integers(1, 5), st.integers(1, 5))
def test_merged_pools_have_the_same_size(n: int, a: int, b: int) -> None:
    if n // a // b < 1:
        return
    pools = tuple(Pool("sum", (k, k), (k, k)) for k in (a, b))
    assert shape_after(Shape(1, n, n), pools)[1] == n // (a * b)


def test_pools_that_overlap_stay_apart() -> None:
    overlapping, plain = Pool("sum", (3, 3), (2, 2)), Pool("sum", (2, 2), (2, 2))
    for path in ((overlapping, plain), (plain, overlapping)):
        network = chain([conv(2)]).replacing(outputs=(Output("out", "conv0", path),))
        assert merge_pools(network).outputs[0].path == path


# Scales by hand, in single precision: (127 / 1) where the negative side is not much larger, 128 / |mn| else.
@pytest.mark.parametrize(
    ("values", "half", "scale"),
    [
        ([1.0, -0.5], 128, np.float32(127.0)),
        ([1.0, -1.0], 128, np.float32(127.0)),
        ([0.5, -1.0], 128, np.float32(128.0)),
        ([-1.0, -0.25], 128, np.float32(128.0)),
        ([0.25, 0.5], 128, np.float32(254.0)),
        ([1.0], 32768, np.float32(32767.0)),
        ([-2.0, 1.0], 32768, np.float32(16384.0)),
    ],
)
def test_scale_of_a_tensor(values: list[float], half: int, scale: np.float32) -> None:
    assert tensor_scale(values, half) == scale


@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=9), st.sampled_from([128, 32768]))
def test_scales_are_those_of_torch_bit_for_bit(values: list[float], half: int) -> None:
    numbers = torch.tensor(values, dtype=torch.float32)
    low, high = numbers.min().abs(), numbers.max().abs()
    scale = (half - 1) / high if low <= high * (half / (half - 1)) else half / low
    assert tensor_scale(values, half) == scale.numpy()[()]


def test_a_tensor_of_zeros_has_no_say() -> None:
    assert tensor_scale([0.0, 0.0], 128) == np.inf


def one(weight: list[float], neuron: Neuron, bias: list[float] | None = None) -> NormalNetwork:
    values: Any = np.array(weight, np.float32).reshape(len(weight), 1, 1, 1)
    biases = None if bias is None else np.array(bias, np.float32)
    operation = Convolution(len(weight), (1, 1), has_bias=bias is not None, weight=values, bias=biases)
    return NormalNetwork(
        "one",
        (Input("in", Shape(1, 1, 1)),),
        (NormalLayer("a", Shape(1, 1, 1), operation, (), neuron),),
        (Edge("in", "a"),),
        (Output("out", "a"),),
    )


def test_quantize_by_hand() -> None:
    # Weights: 127 / 1; threshold 2: 32767 / 2; the least is 127. Half to even: 0.5 * 127 = 63.5 -> 64.
    layer = quantize(one([1.0, 0.5, -0.25], Neuron(2.0))).layers[0]
    assert np.asarray(layer.operation.weight).ravel().tolist() == [127, 64, -32]  # -31.75 -> -32
    assert (layer.neuron.threshold, layer.neuron.minimum) == (254, -32768)


def test_halves_round_to_even_numbers() -> None:
    # Weights: 128 / 128 is the least scale.
    layer = quantize(one([-128.0, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5], Neuron(200.0))).layers[0]
    assert np.asarray(layer.operation.weight).ravel().tolist() == [-128, 0, 2, 2, 0, -2, -2]


def test_a_lower_bound_may_be_what_decides_the_scale() -> None:
    layer = quantize(one([1.0], Neuron(1.0, -512.0))).layers[0]  # 32768 / 512 = 64
    assert np.asarray(layer.operation.weight).item() == 64
    assert (layer.neuron.threshold, layer.neuron.minimum) == (64, -32768)


def test_above_a_threshold_is_at_the_next_integer() -> None:
    """Reset to zero takes the threshold plus 1; subtraction potentials that are less by 1 from the start."""
    states = []
    for reset in ("zero", "subtract"):
        neuron = quantize(one([1.0], Neuron(2.0, -1.0, reset, fires_at="above"))).layers[0].neuron
        assert neuron.fires_at == "reached"
        states.append((neuron.threshold, neuron.minimum, neuron.initial_potential))
    assert states == [(255, -127, None), (254, -128, np.full((1, 1, 1), -1))]


def test_biases_and_lower_bound_take_part_in_the_scale() -> None:
    layer = quantize(one([1.0], Neuron(1.0, -1.0), [4.0])).layers[0]
    # Biases: 127 / 4 = 31.75 is the least: weights 31.75 -> 32, threshold 32, bound -32, bias 127.
    assert np.asarray(layer.operation.weight).item() == 32
    assert np.asarray(layer.operation.bias).tolist() == [127]
    assert (layer.neuron.threshold, layer.neuron.minimum) == (32, -32)


def test_biases_that_round_to_zero_need_no_memory() -> None:
    layer = quantize(one([1.0], Neuron(1.0), [0.001])).layers[0]
    assert not layer.operation.has_bias


def test_initial_potentials_are_scaled_too() -> None:
    neuron = Neuron(1.0, initial_potential=np.full((1, 1, 1), 0.5))
    layer = quantize(one([1.0], neuron)).layers[0]
    assert np.asarray(layer.neuron.initial_potential).item() == 64  # 63.5 rounds to even


@pytest.mark.parametrize(
    ("network", "text"),
    [
        (one([float("nan")], Neuron(1.0)), "NaN or infinite"),
        (one([1.0], Neuron(1e39)), "NaN or infinite"),
        (one([1e-9], Neuron(1000.0)), "round to zero"),
        (one([1.0], Neuron(1e-6)), "below 1"),
        (one([1.0], Neuron(0.0)), "positive"),
    ],
)
def test_numbers_that_rounding_would_ruin_are_refused(network: NormalNetwork, text: str) -> None:
    with pytest.raises(NetworkError, match=text):
        quantize(network)


def test_lower_bound_of_zero_is_mended_and_said_so_and_a_positive_one_is_refused() -> None:
    ready = prepare(one([1.0], Neuron(1.0, 0.0)))
    assert ready.layers[0].neuron.minimum == -1
    assert any("erratum" in note for note in ready.notes)
    with pytest.raises(UnsupportedLayerError, match="above 0"):
        mend_minimum(quantize(one([1.0], Neuron(2.0, 1.0))))
    with pytest.raises(UnsupportedLayerError, match=r"\(got 0\.25; allowed: <= 0\)"):
        prepare(one([1.0], Neuron(2.0, 0.25)))


def test_missing_neurons() -> None:
    bare = as_read(chain([conv(2), conv(2)]))
    layers = (replace(bare.layers[0], neuron=None), replace(bare.layers[1], neuron=None))
    with pytest.raises(NetworkError) as caught:
        prepare(bare.replacing(layers=layers))
    assert "add_output_neuron=1.0" in str(caught.value)
    assert "conv0" in str(caught.value)
    last = bare.replacing(layers=(bare.layers[0], layers[1]))
    ready = prepare(last, PrepareOptions(add_output_neuron=3.0))
    assert ready.layers[1].neuron.threshold == 3.0


def test_half_weighted_networks_are_refused() -> None:
    network = chain([conv(2), conv(2)])
    full = weighted(network, np.random.default_rng(0))
    with pytest.raises(NetworkError, match="conv1"):
        prepare(network.replacing(layers=(full.layers[0], network.layers[1])))


def test_flattened_maps_of_different_size_and_into_convolutions_are_refused() -> None:
    fc = Layer("fc", Shape(64, 1, 1), Linear(2))
    base = as_read(chain([conv(1)], (4, 4, 4)))
    mixed = Network(
        "mixed",
        (Input("x", Shape(4, 4, 4)), Input("y", Shape(64, 1, 1))),
        (fc,),
        (Edge("x", "fc", (Flatten(),)), Edge("y", "fc", (Flatten(),))),
        (Output("out", "fc"),),
    )
    with pytest.raises(UnsupportedLayerError, match="different maps"):
        prepare(mixed)
    reader = replace(base.layers[0], input_shape=Shape(64, 1, 1))
    flat = base.replacing(layers=(reader,), edges=(Edge("input", "conv0", (Flatten(),)),))
    with pytest.raises(UnsupportedLayerError, match="flattened map"):
        prepare(flat)


def test_thresholds_with_a_bound_are_refused() -> None:
    neuron = Neuron(np.array([1.0, 2.0]), -1.0)
    with pytest.raises(UnsupportedLayerError, match="lower bound"):
        prepare(one([1.0, 1.0], neuron))
    with pytest.raises(UnsupportedLayerError, match="positive"):
        prepare(one([1.0, 1.0], Neuron(np.array([1.0, -2.0]))))


def test_a_stride_that_does_not_matter_becomes_legal() -> None:
    network = weighted(
        chain([conv(3, 6, padding=(0, 0), stride=(6, 6))], (2, 6, 6)), np.random.default_rng(0)
    )
    chip = tiny_chip((64, 64, 64))
    ready = legalize(network, chip)
    assert ready.layers[0].operation.stride == (1, 1)
    x = np.random.default_rng(1).integers(0, 3, (3, 2, 6, 6))
    assert np.array_equal(
        simulate(network, {"input": x}).outputs["out"], simulate(ready, {"input": x}).outputs["out"]
    )
    assert legalize(chain([conv(3, stride=(3, 3))]), chip).layers[0].operation.stride == (3, 3)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_the_integer_network_is_the_rounded_one(seed: int) -> None:
    network = weighted(chain([conv(3), conv(2)], (2, 6, 6), (2,)), np.random.default_rng(seed))
    ready = prepare(network)
    assert ready.is_integer
    for before, after in zip(network.layers, ready.layers, strict=True):
        weights: Any = after.operation.weight
        assert np.abs(weights).max() <= 128
        assert after.neuron is not None
        ratio = float(np.asarray(after.neuron.threshold))
        assert np.allclose(weights / ratio, np.asarray(before.operation.weight), atol=1.01 / ratio)


def test_classes_are_spread_for_the_readout() -> None:
    network = weighted(
        chain([conv(4), Convolution(5, (8, 8), has_bias=True)], (2, 8, 8)), np.random.default_rng(3)
    )
    plain = prepare(network)
    spread = prepare(network, PrepareOptions(readout=ReadoutSpacing("conv1", 4)))
    assert spread.layers[1].output_shape == (17, 1, 1)
    x = np.random.default_rng(4).integers(0, 4, (6, 2, 8, 8))
    before, after = (simulate(n, {"input": x}).spikes["conv1"] for n in (plain, spread))
    assert np.array_equal(after[:, ::4], before)
    assert before.any()
    assert after.sum() == before.sum()
    assert any("class n is feature 4 n" in note for note in spread.notes)
    with pytest.raises(NetworkError, match="feeds the readout stage"):
        prepare(network, PrepareOptions(readout=ReadoutSpacing("conv0", 4)))
