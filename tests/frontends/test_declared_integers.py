"""Integers that a quantiser declares are the chip's, where a core can hold them; nothing else is."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.ao.nn import qat
from torch.ao.nn.quantized import reference
from torch.ao.quantization import FakeQuantize, QConfig
from torch.ao.quantization.observer import (
    MovingAverageMinMaxObserver,
    MovingAveragePerChannelMinMaxObserver,
)

import mapper
from mapper.errors import NetworkError
from mapper.frontends.to_nir import nir_bytes
from mapper.network import Network
from mapper.normal_form import NormalNetwork
from mapper.operations import Integers
from mapper.passes import PrepareOptions, prepare
from mapper.passes.quantize import declared_scale, layer_scale
from mapper.passes.rounding import rounding_losses
from mapper.tuning.knobs import Knobs, tuned_network
from mapper.tuning.nir_file import nir_file
from tests.builders import chain, conv, weighted
from tests.frontends.framework_stand_ins import QuantConv2d
from tests.frontends.sinabs_stand_in import IAFSqueeze

SHAPE = (2, 6, 6)
FLOATS = PrepareOptions(quantize=False)
KINDS: dict[str, tuple[Any, dict[str, Any]]] = {
    "tensor": (MovingAverageMinMaxObserver, {"qscheme": torch.per_tensor_symmetric}),
    "channel": (MovingAveragePerChannelMinMaxObserver, {"qscheme": torch.per_channel_symmetric}),
    "affine": (MovingAverageMinMaxObserver, {"qscheme": torch.per_tensor_affine}),
}


def config(kind: str = "tensor", most: int = 127) -> Any:
    observer, more = KINDS[kind]
    weight = FakeQuantize.with_args(  # type: ignore[no-untyped-call]
        observer=observer, quant_min=-most, quant_max=most, dtype=torch.qint8, **more
    )
    return QConfig(activation=nn.Identity, weight=weight)  # type: ignore[no-untyped-call]


def aware(kind: str = "tensor", most: int = 127, *between: nn.Module) -> Any:
    """A network as quantisation-aware training leaves it: its scales come from weights that were larger."""
    torch.manual_seed(0)
    made = config(kind, most)
    first, second = qat.Conv2d(2, 4, 3, qconfig=made), qat.Linear(16, 3, bias=False, qconfig=made)
    neurons = [IAFSqueeze(spike_threshold=0.25, min_v_mem=-1.0) for _ in range(2)]
    module = nn.Sequential(first, *between, neurons[0], nn.AvgPool2d(2), nn.Flatten(), second, neurons[1])
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for layer in (first, second):
            layer.weight *= 1.5
            layer.weight_fake_quant(layer.weight)
            layer.weight /= 1.5
            layer.weight_fake_quant.disable_observer()
    return module.eval()


def integers(layer: Any) -> Any:
    """What torch's quantiser makes of a weight, by its own formula."""
    quantiser = layer.weight_fake_quant
    steps = torch.round(layer.weight.detach().double() / quantiser.scale.double())
    return steps.clamp(quantiser.quant_min, quantiser.quant_max).numpy().astype(int)


def read(module: Any) -> Network:
    return mapper.load_network(module, SHAPE)


def layers(module: Any) -> tuple[Any, Any]:
    whole = prepare(read(module))
    return whole.layers[0], whole.layers[1]


@pytest.mark.parametrize("most", [127, 7, 1])
def test_declared_integers_are_those_on_the_chip(most: int) -> None:
    module = aware(most=most)
    whole = prepare(read(module))
    for layer, given, pooled in zip(whole.layers, (module[0], module[4]), (1, 4), strict=True):
        expected = integers(given)
        assert np.array_equal(np.asarray(layer.operation.weight).reshape(expected.shape), expected)
        # The ordinary rounding takes another scale: the largest weight would be 127.
        assert np.abs(expected).max() < 127
        step = float(given.weight_fake_quant.scale) / pooled
        assert (layer.neuron.threshold, layer.neuron.minimum) == (round(0.25 / step), -round(1 / step))
        if given.bias is not None:
            bias = np.rint(given.bias.detach().numpy() / np.float32(step))
            assert np.array_equal(np.asarray(layer.operation.bias), bias)
    notes = [note for note in whole.notes if "keeps the integers that are declared" in note]
    assert [note.partition(":")[0] for note in notes] == ["0 (Conv2d)", "4 (Linear)"]
    assert f"threshold {0.25 / float(module[0].weight_fake_quant.scale):.6g} became" in notes[0]
    assert "biases moved by 0." in notes[0]


def test_the_configuration_is_identical_with_them() -> None:
    module = aware()
    report = mapper.verify_equivalence(module, input_shape=SHAPE, rate=0.3, steps=20)
    assert report.is_equivalent
    assert not report.silence.layers
    result = mapper.solve(module, "speck2f", input_shape=SHAPE)
    cores = [core for core in mapper.build_config(result).hardware.cnn_layers if core.dimensions]
    weights = {tuple(np.unique(core.weights.array).tolist()) for core in cores if core.weights is not None}
    assert weights == {tuple(np.unique(integers(module[n])).tolist()) for n in (0, 4)}


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("channel", "its scales differ by feature, and a core has one threshold"),
        ("affine", "its zero point is"),
    ],
)
def test_what_one_core_cannot_keep_is_rounded_as_ever_and_said_once(kind: str, why: str) -> None:
    module = aware(kind)
    network = read(module)
    plain = network.replacing(
        layers=tuple(replace(e, operation=replace(e.operation, declared=None)) for e in network.layers)
    )
    told, ordinary = prepare(network), prepare(plain)
    for one, other in zip(told.layers, ordinary.layers, strict=True):
        assert np.array_equal(np.asarray(one.operation.weight), np.asarray(other.operation.weight))
        assert one.neuron.threshold == other.neuron.threshold
    notes = [note for note in told.notes if "rounded anew" in note]
    assert len(notes) == 2
    assert all(why in note for note in notes)
    assert ordinary.notes == ()


def test_ordinary_weights_that_look_like_integers_are_not_taken_for_some() -> None:
    network = weighted(chain([conv(4)], (2, 8, 8)), np.random.default_rng(0))
    whole, layer = prepare(network), network.layers[0]
    # Sixteenths of -8..8: sinabs makes 127 of the largest.
    assert np.abs(np.asarray(whole.layers[0].operation.weight)).max() == 127
    assert whole.notes == ()
    declared = replace(layer, operation=replace(layer.operation, declared=Integers(1 / 16)))
    kept = prepare(network.replacing(layers=(declared,))).layers[0]
    assert np.array_equal(np.asarray(kept.operation.weight), np.asarray(layer.operation.weight) * 16)


class _Sum(nn.Module):
    """Two convolutions whose currents add."""

    def __init__(self, *convolutions: nn.Module) -> None:
        super().__init__()
        self.one, self.other = convolutions
        self.neurons = IAFSqueeze(spike_threshold=0.25, min_v_mem=-1.0)

    def forward(self, x: torch.Tensor) -> Any:
        return self.neurons(self.one(x) + self.other(x))


@pytest.mark.parametrize("is_alike", [True, False])
def test_currents_that_add_keep_theirs_where_they_have_one_scale(is_alike: bool) -> None:
    one, other = aware(most=31)[0], aware(most=31)[0]
    with torch.no_grad():
        other.weight_fake_quant.scale *= 1 if is_alike else 1.25
    whole = prepare(read(_Sum(one, other).eval()))
    (layer,) = whole.layers
    if is_alike:
        assert np.array_equal(np.asarray(layer.operation.weight), integers(one) + integers(other))
        assert any("keeps the integers" in note for note in whole.notes)
    else:
        assert np.abs(np.asarray(layer.operation.weight)).max() >= 127
        assert any("its current adds to others of another scale" in note for note in whole.notes)


def test_a_quantiser_that_is_switched_off_declares_nothing() -> None:
    module = aware()
    module[0].weight_fake_quant.disable_fake_quant()
    first, second = (layer.operation.declared for layer in read(module).layers)
    assert first is None
    assert second == Integers(float(module[4].weight_fake_quant.scale))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (
            lambda o, n, s: (replace(o, weight=o.weight * 4), n),
            r"in its own steps weights would be -\d+\.\.\d+",
        ),
        (lambda o, n, s: (replace(o, bias=o.bias + 200 * s), n), r"biases would be .*holds -128\.\.127"),
        (lambda o, n, s: (o, replace(n, threshold=40000 * s)), r"the threshold would be 40000, .*32767"),
        (lambda o, n, s: (o, replace(n, minimum=-40000 * s)), r"the lower bound would be -40000"),
        (lambda o, n, s: (o, replace(n, threshold=0.4 * s)), r"the threshold would round to 0"),
        (lambda o, n, s: (replace(o, weight=o.weight * 1.01), n), r"no whole multiples of"),
    ],
)
def test_what_a_core_cannot_hold_is_rounded_as_ever(change: Any, why: str) -> None:
    layer = prepare(read(aware()), FLOATS).layers[0]
    assert layer.operation.declared is not None
    scale, told = declared_scale(layer)
    assert told == ""
    assert scale is not None
    operation, neuron = change(layer.operation, layer.neuron, np.float32(layer.operation.declared.step))
    scale, told = declared_scale(changed := replace(layer, operation=operation, neuron=neuron))
    assert scale is None
    with pytest.raises(AssertionError, match=why):
        raise AssertionError(told)
    ordinary = replace(changed, operation=replace(operation, declared=None))
    assert layer_scale(changed) == layer_scale(ordinary)


def test_batch_norms_keep_them_where_they_scale_all_features_alike() -> None:
    norm = nn.BatchNorm2d(4, affine=False)
    first, _ = layers(aware("tensor", 127, norm))
    module = aware("tensor", 127, norm)
    assert np.array_equal(np.asarray(first.operation.weight), integers(module[0]))
    assert norm.running_var is not None
    norm.running_var[:] = torch.tensor([1.0, 2.0, 3.0, 4.0])
    whole = prepare(read(module))
    assert any("its batch norm scales features differently" in note for note in whole.notes)
    assert np.abs(np.asarray(whole.layers[0].operation.weight)).max() >= 127


def test_quantised_activations_are_refused_by_name() -> None:
    module = aware()
    # As `prepare_qat` leaves it with torch's own configurations.
    module[0].activation_post_process = FakeQuantize(observer=MovingAverageMinMaxObserver)  # type: ignore[no-untyped-call]
    with pytest.raises(NetworkError, match=r"QConfig\(activation=nn.Identity"):
        read(module)


@pytest.mark.filterwarnings("ignore")
def test_reference_modules_keep_theirs() -> None:
    module = aware()
    facts = {"qscheme": torch.per_tensor_affine, "dtype": torch.qint8, "scale": 0.02, "zero_point": 0}
    first = reference.Conv2d.from_float(module[0], {**facts, "is_decomposed": False})  # type: ignore[no-untyped-call]
    network = read(nn.Sequential(first, module[1]))
    assert network.layers[0].operation.declared == Integers(float(np.float32(0.02)))
    whole = prepare(network).layers[0]
    expected = torch.round(module[0].weight.detach() / 0.02).numpy()
    assert np.array_equal(np.asarray(whole.operation.weight), expected)


def test_layers_of_brevitas_keep_theirs() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(QuantConv2d(2, 4, 3, bias=False), IAFSqueeze(min_v_mem=-1.0)).eval()
    whole = prepare(read(module)).layers[0]
    assert set(np.unique(np.asarray(whole.operation.weight))) == {-1, 0, 1}


def whole_and_floats() -> tuple[NormalNetwork, NormalNetwork]:
    network = read(aware())
    return prepare(network), prepare(network, FLOATS)


def same_numbers(one: Any, other: Any) -> bool:
    return all(
        np.array_equal(np.asarray(a.operation.weight), np.asarray(b.operation.weight))
        and a.neuron.threshold == b.neuron.threshold
        for a, b in zip(one.layers, other.layers, strict=True)
    )


def test_a_nir_file_says_them_too() -> None:
    whole, floats = whole_and_floats()
    # Integers of which none is 127, and what they were made of.
    assert nir_file(whole)
    for network in (whole, floats):
        _, again = nir_bytes(network)
        assert same_numbers(prepare(again), whole)


def test_a_step_that_single_precision_cannot_divide_by_is_none() -> None:
    layer = whole_and_floats()[1].layers[0]
    for step in (1e-320, 1e-40, 1e35):
        odd = replace(layer, operation=replace(layer.operation, declared=Integers(step)))
        assert declared_scale(odd) == (None, f"{step:g} is no step that single precision can divide by")


@pytest.mark.parametrize("step", [0.0, -1.0, float("nan"), "fine", [1.0, 2.0]])
def test_a_nir_file_of_another_step_is_refused(step: Any) -> None:
    from mapper.frontends.to_nir import to_nir  # noqa: PLC0415

    graph = to_nir(whole_and_floats()[0])
    graph.nodes["0_spikes"].metadata["weight_step"] = step
    with pytest.raises(NetworkError, match="weight_step in its metadata must be one positive number"):
        mapper.load_network(graph)


def test_tuning_keeps_them_until_it_turns_the_weights() -> None:
    _, floats = whole_and_floats()
    whole = prepare(floats)
    loud = prepare(tuned_network(floats, {"0": Knobs(threshold=2.0)}))
    assert np.array_equal(
        np.asarray(loud.layers[0].operation.weight), np.asarray(whole.layers[0].operation.weight)
    )
    assert abs(float(loud.layers[0].neuron.threshold) - 2 * float(whole.layers[0].neuron.threshold)) <= 1
    gained = prepare(tuned_network(floats, {"0": Knobs(gain=0.5)}))
    assert np.array_equal(
        np.asarray(gained.layers[1].operation.weight), np.asarray(whole.layers[1].operation.weight)
    )
    clipped = tuned_network(floats, {"0": Knobs(clip=0.77)})
    assert "range of weights was tuned" in declared_scale(clipped.layers[0])[1]


def test_the_class_computes_with_them() -> None:
    module = aware()
    network = mapper.DynapcnnNetwork(module, SHAPE, discretize=True)
    found = [layer.conv_layer.weight.detach().numpy() for layer in network.dynapcnn_layers.values()]
    for weight, n in zip(found, (0, 4), strict=True):
        assert np.array_equal(weight.reshape(integers(module[n]).shape), integers(module[n]))


def test_biases_that_round_to_zero_name_what_decides() -> None:
    module = aware()
    with torch.no_grad():
        module[0].bias[:] = 1e-4
    losses = rounding_losses([prepare(read(module))])
    assert [loss.kind for loss in losses] == ["biases"]
    assert "smaller step of its weights' quantiser" in losses[0].sentence


def test_of_a_network_that_was_changed_nothing_is_said_to_be_kept() -> None:
    network = mapper.DynapcnnNetwork(aware(), (2, 6, 6))
    assert any("keeps the integers" in note for note in network.network.notes)
    weight: Any = network.core_layers()[0].weight
    with torch.no_grad():
        weight[0, 0, 0, 0] += 500
    assert not any("keeps the integers" in note for note in network.network.notes)
    assert not any("keeps the integers" in note for note in mapper.solve(network).given[0].notes)
