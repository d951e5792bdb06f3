"""The reference simulation against arithmetic done by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from mapper.errors import NetworkError
from mapper.network import Edge, Input, Layer, Network, Output
from mapper.operations import BatchNorm, Convolution, Linear, Neuron, Pool, Scale, Shape
from mapper.sim.network import simulate
from tests.builders import as_read, chain, conv, weighted


def single(neuron: Neuron, weight: float = 1.0, bias: float | None = None) -> Network:
    """One neuron behind one synapse."""
    values = np.array([[[[weight]]]])
    biases = None if bias is None else np.array([bias])
    operation = Convolution(1, (1, 1), has_bias=bias is not None, weight=values, bias=biases)
    layer = Layer("a", Shape(1, 1, 1), operation, (), neuron)
    return Network("one", (Input("in", Shape(1, 1, 1)),), (layer,), (Edge("in", "a"),), (Output("out", "a"),))


def run(network: Network, counts: list[int]) -> tuple[list[float], float]:
    result = simulate(network, {"in": np.array(counts).reshape(-1, 1, 1, 1)})
    return result.outputs["out"].ravel().tolist(), float(np.asarray(result.state.potentials["a"]).item())


@pytest.mark.parametrize(
    ("neuron", "weight", "bias", "counts", "spikes", "potential"),
    [
        # 2.5 makes two spikes and leaves 0.5; another 0.5 reaches 1.0: at the threshold it fires.
        (Neuron(1.0), 0.5, None, [5, 1], [2, 1], 0.0),
        # One spike a step at most: 2.5 -> 1 (1.5 left) -> 1 (0.5 left).
        (Neuron(1.0, spike_mode="single"), 0.5, None, [5, 0], [1, 1], 0.5),
        # To zero: 2.5 gives two spikes and nothing is left.
        (Neuron(1.0, reset="zero"), 0.5, None, [5, 1], [2, 0], 0.5),
        # -3 is clamped to -1; +2 then reaches 1.
        (Neuron(1.0, minimum=-1.0), -1.0, None, [3], [0], -1.0),
        # No bound: -3 stays.
        (Neuron(1.0), -1.0, None, [3], [0], -3.0),
        # The bias comes every step: 0.5, 1.0 -> spike, 0.5.
        (Neuron(1.0), 1.0, 0.5, [0, 0, 0], [0, 1, 0], 0.5),
    ],
)
def test_one_neuron(
    neuron: Neuron, weight: float, bias: float | None, counts: list[int], spikes: list[int], potential: float
) -> None:
    assert run(single(neuron, weight, bias), counts) == (spikes, potential)


def test_initial_potential_counts() -> None:
    neuron = Neuron(1.0, initial_potential=np.full((1, 1, 1), 0.75))
    assert run(single(neuron, 0.25), [1]) == ([1.0], 0.0)


def test_integers_stay_integers() -> None:
    network = single(Neuron(7, -32768), 1.0)
    layer = network.layers[0]
    operation = replace(layer.operation, weight=np.array([[[[3]]]]))
    network = network.replacing(layers=(replace(layer, operation=operation),))
    result = simulate(network, {"in": np.array([5]).reshape(1, 1, 1, 1)})
    assert result.outputs["out"].dtype == np.int64
    assert result.outputs["out"].item() == 2  # 15 // 7
    assert np.asarray(result.state.potentials["a"]).item() == 1


def test_a_feedback_edge_arrives_one_step_later() -> None:
    base = single(Neuron(1.0), 1.0)
    looped = base.replacing(edges=(*base.edges, Edge("a", "a", delay_steps=1)))
    # Step 0: one spike. It comes back at step 1, again at step 2.
    assert run(looped, [1, 0, 0])[0] == [1, 1, 1]
    first = simulate(looped, {"in": np.ones((1, 1, 1, 1))})
    second = simulate(looped, {"in": np.zeros((1, 1, 1, 1))}, first.state)
    assert second.outputs["out"].item() == 1


def test_an_undelayed_cycle_is_refused() -> None:
    base = single(Neuron(1.0))
    looped = base.replacing(edges=(*base.edges, Edge("a", "a")))
    with pytest.raises(NetworkError, match="delay"):
        run(looped, [1])


def test_pools_drop_rows_that_do_not_fill_them_and_sums_and_shifts_add_up() -> None:
    weight = np.array([[[[1.0]], [[10.0]]]])
    layer = Layer("a", Shape(2, 1, 1), Convolution(1, (1, 1), weight=weight), (), Neuron(1.0))
    pool = (Pool("sum", (2, 2), (2, 2)),)
    network = Network(
        "odd",
        (Input("x", Shape(1, 3, 3)), Input("y", Shape(1, 1, 1))),
        (layer,),
        (Edge("x", "a", pool), Edge("y", "a"), Edge("y", "a", feature_offset=1)),
        (Output("out", "a"),),
    )
    x = np.arange(9).reshape(1, 1, 3, 3)
    y = np.full((1, 1, 1, 1), 2)
    # The pool sees 0 + 1 + 3 + 4 = 8; y adds 2 to feature 0 and 2 * 10 through feature 1.
    assert simulate(network, {"x": x, "y": y}).outputs["out"].item() == 8 + 2 + 20


def test_average_divides_and_divisor_overrides() -> None:
    frame = np.ones((1, 1, 2, 2))
    for divisor, expected in ((None, 1.0), (2.0, 2.0)):
        path = (Pool("average", (2, 2), (2, 2), divisor),)
        layer = Layer("a", Shape(1, 1, 1), Convolution(1, (1, 1), weight=np.ones((1, 1, 1, 1))))
        network = Network(
            "avg", (Input("in", Shape(1, 2, 2)),), (layer,), (Edge("in", "a", path),), (Output("out", "a"),)
        )
        assert simulate(network, {"in": frame}).outputs["out"].item() == expected


def test_batch_norm_and_scale_before_the_neurons() -> None:
    norm = BatchNorm(np.array([1.0]), np.array([3.0]), np.array([4.0]), np.array([1.0]), epsilon=1.0)
    base = single(Neuron(1.0), 1.0)
    network = base.replacing(layers=(replace(base.layers[0], between=(norm, Scale(0.5))),))
    # (3 - 1) / sqrt(3 + 1) * 4 + 1 = 5; half of it is 2.5.
    assert run(network, [3]) == ([2.0], 0.5)


def test_groups_dilation_stride_and_padding_against_a_direct_sum() -> None:
    generator = np.random.default_rng(3)
    operation = conv(4, 3, padding=(2, 1), stride=(2, 1), dilation=(2, 1), groups=2)
    dense = as_read(chain([conv()], (4, 7, 6)))
    (layer,) = dense.layers
    network = weighted(dense.replacing(layers=(Layer("conv0", layer.input_shape, operation),)), generator)
    x = generator.integers(0, 3, (1, 4, 7, 6))
    layer = network.layers[0]
    weight: Any = layer.operation.weight
    padded = np.pad(x[0], ((0, 0), (2, 2), (1, 1)))
    expected = np.zeros(layer.output_shape)
    for o, i, j in np.ndindex(*layer.output_shape):
        for c, a, b in np.ndindex(2, 3, 3):
            expected[o, i, j] += weight[o, c, a, b] * padded[c + 2 * (o // 2), 2 * i + 2 * a, j + b]
    expected = np.where(expected > 0, np.trunc(expected), 0)
    assert np.array_equal(simulate(network, {"input": x}).spikes["conv0"][0], expected)


def test_two_calls_are_one_long_call() -> None:
    generator = np.random.default_rng(5)
    network = weighted(chain([conv(3), conv(2)], (2, 6, 6), (2,)), generator)
    x = generator.integers(0, 3, (8, 2, 6, 6))
    whole = simulate(network, {"input": x})
    first = simulate(network, {"input": x[:3]})
    second = simulate(network, {"input": x[3:]}, first.state)
    joined = np.concatenate([first.outputs["out"], second.outputs["out"]])
    assert np.array_equal(whole.outputs["out"], joined)
    assert whole.outputs["out"].any()


def test_linear_layers_read_the_flattened_signal() -> None:
    layer = Layer("a", Shape(2, 1, 1), Linear(1, weight=np.array([[1.0, 10.0]])))
    network = Network(
        "lin", (Input("in", Shape(2, 1, 1)),), (layer,), (Edge("in", "a"),), (Output("out", "a"),)
    )
    assert simulate(network, {"in": np.array([1, 2]).reshape(1, 2, 1, 1)}).outputs["out"].item() == 21


def test_wrong_input_is_refused_with_everything_at_once() -> None:
    network = chain([conv(2)], (2, 4, 4))
    with pytest.raises(NetworkError) as caught:
        simulate(network, {"other": np.zeros((1, 2, 4, 4))})
    text = str(caught.value)
    assert "no weights" in text
    assert "no such input" in text
    assert "is missing" in text
    ready = weighted(network, np.random.default_rng(0))
    for bad in (np.zeros((1, 2, 4, 5)), np.full((1, 2, 4, 4), -1), np.full((1, 2, 4, 4), 0.5), np.zeros(3)):
        with pytest.raises(NetworkError):
            simulate(ready, {"input": bad})


def test_no_steps_give_no_spikes() -> None:
    network = weighted(chain([conv(2)], (2, 4, 4)), np.random.default_rng(0))
    assert simulate(network, {"input": np.zeros((0, 2, 4, 4))}).spikes["conv0"].shape == (0, 2, 4, 4)
