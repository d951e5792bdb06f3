"""torch modules: what is refused, by name and with a way out, all of it at once."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from mapper.by_value import same
from mapper.errors import (
    MapperError,
    NetworkError,
    OptionsError,
    ShapeError,
    UnsupportedLayerError,
)
from mapper.frontends import TorchOptions, load_network
from mapper.frontends.from_torch.foreign import FOREIGN_NEURONS
from mapper.frontends.from_torch.leaves import READ_NEURONS
from tests.frontends import sinabs_stand_in as sinabs
from tests.frontends.sinabs_stand_in import IAFSqueeze
from tests.frontends.test_torch import SHAPE, Made, behind, conv, read

HOST = "Leave it to the host"
UNKNOWN = "this program does not know it"


def broken() -> nn.Module:
    """A convolution after a training that diverged."""
    layer = conv()
    nn.init.constant_(layer.weight, float("nan"))
    return layer


def refused(module: nn.Module, shape: Any = SHAPE, relu: float | None = 1.0) -> str:
    with pytest.raises(UnsupportedLayerError) as caught:
        read(module, shape, relu)
    assert all(finding.where and finding.next_step for finding in caught.value.findings), caught.value
    return str(caught.value)


@pytest.mark.parametrize(
    ("layer", "text", "step"),
    [
        (nn.MaxPool2d(2), "MaxPool2d: max pooling", "AvgPool2d"),
        (nn.AdaptiveMaxPool2d(2), "AdaptiveMaxPool2d: max pooling", "AvgPool2d"),
        (sinabs.SpikingMaxPooling2dLayer(pool_size=2, strides=2, pad=None), "SpikingMaxPooling2dLayer: max", "SumPool2d"),
        (nn.AvgPool2d(2, padding=1), "pools with padding", "padding=0"),
        (nn.AvgPool2d(4, ceil_mode=True), "ceil_mode on a map of 6x6", "ceil_mode=False"),
        (nn.LPPool2d(2, 2), "power average", "norm_type=1"),
        (nn.AdaptiveAvgPool2d(4), "does not divide evenly", "AvgPool2d"),
        (nn.BatchNorm2d(4), "batch normalisation of spikes", "between weights and neurons"),
        (IAFSqueeze(), "neurons without weights", "Put a Conv2d or Linear before"),
        (nn.ReLU(), "neurons without weights", "Put a Conv2d or Linear before"),
        (nn.Softmax(1), "Softmax: cores only integrate and fire", HOST),
        (nn.LogSoftmax(1), "LogSoftmax", HOST),
        (nn.Sigmoid(), "Sigmoid", HOST),
        (nn.LeakyReLU(), "LeakyReLU", "Use nn.ReLU"),
        (nn.Conv1d(4, 4, 1), "Conv1d: cores convolve in two dimensions", "nn.Conv2d"),
        (nn.Conv3d(4, 4, 1), "Conv3d", "nn.Conv2d"),
        (nn.ConvTranspose2d(4, 4, 1), "ConvTranspose2d", "nn.Conv2d"),
        (nn.LayerNorm(6), f"LayerNorm: {UNKNOWN}", "BatchNorm2d"),
        (nn.GroupNorm(2, 4), f"GroupNorm: {UNKNOWN}", "BatchNorm2d"),
        (nn.InstanceNorm2d(4), f"InstanceNorm2d: {UNKNOWN}", "BatchNorm2d"),
        (nn.Embedding(4, 4), f"Embedding: {UNKNOWN}", "Conv2d"),
        (nn.LSTM(6, 6), "LSTM: recurrent", "feed-forward"),
        (nn.ConstantPad2d(1, 0.5), "pads with something else than zeros", "Pad with zeros"),
        (nn.ZeroPad2d(-1), "or crops", "by numbers from 0"),
        (nn.ReflectionPad2d(1), "ReflectionPad2d: pads with something else", "nn.ZeroPad2d"),
        (sinabs.ChannelShift(), f"ChannelShift: {UNKNOWN}", "Conv2d"),
        (sinabs.DVSLayer(), "sensor stage comes first", "only reader"),
        (nn.Flatten(0, -1), "flattens the batch", "torch.flatten(x, 1)"),
    ],
)  # fmt: skip
def test_layers_on_spikes_that_no_core_has(layer: nn.Module, text: str, step: str) -> None:
    module = nn.Sequential(
        conv(), IAFSqueeze(), layer, nn.Flatten(), nn.LazyLinear(2) if False else nn.Identity()
    )
    message = refused(module)
    assert "layer 2" in message
    assert text in message
    assert step in message


@pytest.mark.parametrize(
    ("layer", "text", "step"),
    [
        (nn.ReLU(), "chips have spiking neurons only", "relu_as_if=1.0"),
        (sinabs.NeuromorphicReLU(), "chips have spiking neurons only", "relu_as_if=1.0"),
        (sinabs.IAF(), "IAF takes dimension 1 as time", "IAFSqueeze(batch_size=1)"),
        (sinabs.LIF(), "LIF: its neurons leak", "IAFSqueeze"),
        (sinabs.LIFSqueeze(), "LIFSqueeze: its neurons leak", "IAFSqueeze"),
        (sinabs.ALIF(), "ALIF: its neurons leak", "IAFSqueeze"),
        (sinabs.ExpLeak(), "ExpLeak: its neurons leak", "IAFSqueeze"),
        (sinabs.IAFRecurrent(), "IAFRecurrent: recurrent layers", "feed-forward"),
        (IAFSqueeze(tau_syn=3.0), "tau_syn: its synapses filter", "tau_syn=None"),
        (IAFSqueeze(spike_fn=sinabs.MaxSpike()), "spike function MaxSpike", "MultiSpike or SingleSpike"),
        (IAFSqueeze(spike_fn=None), "spike function NoneType", "MultiSpike or SingleSpike"),
        (IAFSqueeze(reset_fn=sinabs.MembraneSubtract(0.5)), "subtract_value", "MembraneSubtract()"),
        (IAFSqueeze(reset_fn=sinabs.MembraneReset(0.5)), "reset_value", "MembraneReset()"),
        (IAFSqueeze(reset_fn=sinabs.Exponential()), "reset function Exponential", "MembraneSubtract or"),
        (IAFSqueeze(torch.rand(4, 6, 6) + 1), "spike_threshold differs", "one a feature"),
        (IAFSqueeze(torch.rand(6) + 1), "spike_threshold differs", "one a feature"),
        (IAFSqueeze(0.0), "spike_threshold must be positive", "Use a number above 0"),
        (IAFSqueeze(min_v_mem=torch.rand(4, 1, 1)), "min_v_mem differs", "Use one number"),
        (nn.ZeroPad2d(1), 'pads the currents of layer "0"', "Pad the spikes behind the neurons"),
        (
            nn.BatchNorm2d(4, track_running_stats=False),
            "statistics of each batch",
            "track_running_stats=True",
        ),
        (conv(4), 'reads the currents of layer "0"', 'Put neurons behind layer "0"'),
    ],
)
def test_layers_on_currents_that_no_core_has(layer: nn.Module, text: str, step: str) -> None:
    message = refused(nn.Sequential(conv(), layer), relu=None)
    assert "layer 1" in message
    assert text in message
    assert step in message


@pytest.mark.parametrize(
    ("layer", "text", "step"),
    [
        (conv(padding=1, padding_mode="circular"), "circular", "padding_mode='zeros'"),
        (conv(kernel=4, padding="same"), "one-sided", "odd kernel"),
        (nn.Conv2d(2, 4, 3, device="meta"), "no values", "Load the weights"),
        (nn.Conv2d(2, 4, 3, dtype=torch.complex64), "complex", "real weights"),
    ],
)
def test_weights_that_no_core_has(layer: nn.Module, text: str, step: str) -> None:
    message = refused(nn.Sequential(layer, IAFSqueeze()))
    assert "layer 0 (Conv2d)" in message
    assert text in message
    assert step in message


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv1d(2, 4, 3),
        nn.Conv3d(2, 4, 3),
        nn.ConvTranspose2d(2, 4, 3),
        conv(padding=1, padding_mode="reflect"),
        broken(),
    ],
    ids=lambda layer: type(layer).__name__,
)
@pytest.mark.parametrize(
    "then", [(nn.ReLU(),), (nn.AvgPool2d(2), nn.ReLU()), (nn.ReLU(), conv(4), nn.ReLU())]
)
def test_a_first_layer_that_is_refused_is_the_only_problem(
    layer: nn.Module, then: tuple[nn.Module, ...]
) -> None:
    body = nn.Sequential(layer, *then)
    for module in (body, Made(lambda self, x: self.body(x), body=body)):
        with pytest.raises(UnsupportedLayerError) as caught:
            read(module, relu=1.0)
        (finding,) = caught.value.findings
        assert finding.where.startswith(("layer 0 (", "layer body.0"))


@pytest.mark.parametrize(
    ("step", "text", "way"),
    [
        (lambda x: F.max_pool2d(x, 2), "max_pool2d in Made: max_pool2d: max pooling", "AvgPool2d"),
        (lambda x: torch.max_pool2d(x, 2, 2), "max_pool2d", "AvgPool2d"),
        (lambda x: F.softmax(x, 1), "softmax", HOST),
        (F.dropout, "at random in eval mode", "F.dropout(x, p, self.training)"),
        (lambda x: x.log_softmax(1), "log_softmax", HOST),
        (torch.sigmoid, "sigmoid", HOST),
        (lambda x: x.argmax(1), "argmax", HOST),
        (lambda x: x.sum(0), "sum", HOST),
        (lambda x: x.mean(1), "mean: cores only", "mean((2, 3))"),
        (lambda x: x.sum(), "sum: cores only", "counts the spikes"),
        (
            lambda x: F.avg_pool2d(F.pad(x, (1, 1)), 2),
            "avg_pool2d of a map padded with zeros",
            "Let a Conv2d read",
        ),
        (lambda x: F.pad(x, (1, 1)).flatten(1), "flatten of a map padded with zeros", "Let a Conv2d read"),
        (lambda x: F.pad(x, (1, 1), "reflect"), "pads with something else than zeros", "Pad with zeros"),
        (lambda x: F.pad(x, (0, 0, 0, 0, 0, 0, 1, 0)), "pads something else than rows", "by numbers from 0"),
        (lambda x: x[:, :, 1::2], "takes a part", "layer of its own"),
        (lambda x: x.max(1)[0], "max", HOST),
        (F.relu, "neurons without weights", "before them"),
        (F.leaky_relu, "leaky_relu", "Use nn.ReLU"),
        (lambda x: F.conv2d(x, torch.ones(4, 4, 1, 1)), "conv2d: weights are read from modules", "nn.Conv2d"),
        (lambda x: x @ torch.ones(6, 6), "matmul", "nn.Linear"),
        (lambda x: x + 1, "adds a constant", "bias"),
        (lambda x: x + torch.ones(4, 1, 1), "add with the tensor constant 0", "weights and biases"),
        (lambda x: x * x, "multiplies two signals", "one number"),
        (lambda x: x * 0, "cannot be folded", "Use a number other than 0"),
        (lambda x: x / 0, "divides by zero", "Use a number other than 0"),
        (lambda x: torch.add(x, x, alpha=2), "adds with a factor", "Scale before"),
        (lambda x: x - x, "subtracts", "sign into the weights"),
        (lambda x: -x, "subtracts", "sign into the weights"),
        (lambda x: x[:, :2], "takes a part", "layer of its own"),
        (lambda x: torch.cat([x, x], 2), "another dimension than the features", "dimension 1"),
        (torch.special.erf, f"special_erf: {UNKNOWN}", "Use modules"),
        (lambda x: x.frobnicate(3), f"frobnicate: {UNKNOWN}", "Use modules"),
        (lambda x: x.T, f"attribute T: {UNKNOWN}", "Leave it out"),
        (lambda x: torch.flatten(x), "flattens the batch", "torch.flatten(x, 1)"),
        (lambda x: x.view(x.shape[0] / 2, -1), "a shape that is not known", "whole numbers"),
        (lambda x: F.avg_pool2d(x, 0), "must be positive", "kernel_size"),
        (lambda x: x.view(), "reshape", "batch"),
        (lambda x: x.size(9), "cannot be read: IndexError", "Check its arguments"),
        (lambda x: x.flatten(1, 2, 3, 4), "cannot be read: TypeError", "Check its arguments"),
    ],
)
def test_functions_that_no_core_has(step: Any, text: str, way: str) -> None:
    with pytest.raises(NetworkError) as caught:
        behind(step, last=nn.Identity())
    message = str(caught.value)
    assert "Made" in message or "last" in message
    assert text in message
    assert way in message


def test_structures_that_no_core_has() -> None:
    a, b = conv(), conv()
    message = refused(Made(lambda self, x: torch.relu(torch.cat([self.a(x), self.b(x)], 1)), a=a, b=b))
    assert "concatenates the currents of layer a" in message
    message = refused(Made(lambda self, x: torch.relu(self.a(x)) + self.s(self.a(x)), a=a, s=IAFSqueeze()))
    assert "layer a (Conv2d): is called twice" in message
    assert "a module of its own" in message
    message = refused(Made(lambda self, x: self.s(self.b(self.s(self.a(x)))), a=a, b=conv(4), s=IAFSqueeze()))
    assert "layer s (IAFSqueeze): is called twice" in message

    def twice(self: Any, x: Any) -> Any:
        current = self.a(x)
        return torch.relu(current) + self.s(current)

    assert "currents of layer a are used twice" in refused(Made(twice, a=a, s=IAFSqueeze()))

    def in_place(self: Any, x: Any) -> Any:
        current = self.a(x)
        current.relu_()
        return current

    assert "works in place on what is read again. Use relu" in refused(Made(in_place, a=a))

    def both(self: Any, x: Any) -> Any:
        current = self.a(x)
        return torch.relu(current), current

    assert "holds the currents of layer a" in refused(Made(both, a=a))
    assert "holds the input x," in refused(Made(lambda self, x: (self.s(self.a(x)), x), a=a, s=IAFSqueeze()))
    assert "does not come from the input" in refused(Made(lambda self, x: (self.a(x), torch.ones(3)), a=a))


def test_sums_of_currents_that_no_core_has() -> None:
    def message(forward: Any, kind: type[NetworkError] = UnsupportedLayerError, **modules: nn.Module) -> str:
        with pytest.raises(kind) as caught:
            read(Made(forward, **modules))
        assert all(finding.where and finding.next_step for finding in caught.value.findings)
        return str(caught.value)

    a, b, wide = conv(), conv(), conv(kernel=5, padding=1, stride=2)
    text = message(
        lambda m, x: torch.relu(m.a(x) + m.c(torch.relu(m.b(x)))),
        a=conv(kernel=5),
        b=conv(kernel=5),
        c=conv(4, 4, 1),
    )
    assert "layer a: currents of different geometry add" in text
    text = message(lambda m, x: torch.relu(m.a(x) + m.b(x)), a=conv(kernel=6), b=wide)
    assert "a a map of 8x8 with stride 1x1 and b a map of 8x8 with stride 2x2" in text
    assert "Put neurons before the sum" in text
    assert "adds a constant to the currents of layer a" in message(lambda m, x: torch.relu(m.a(x) + 1), a=a)
    text = message(lambda m, x: torch.relu(m.a(x) + m.b(torch.relu(m.a(x)))), a=a, b=conv(4, 4, padding=1))
    assert "layer a (Conv2d): is called twice" in text

    def before(self: Any, x: Any) -> Any:
        current = self.a(x)
        return torch.relu(current + self.b(torch.relu(current)))

    assert "currents of layer a are used twice" in message(before, a=a, b=conv(4, 4, padding=1))
    text = message(lambda m, x: (torch.relu(m.a(x) + m.b(x)), m.b(x)), a=a, b=b)
    assert "layer b (Conv2d): is called twice" in text
    text = message(lambda m, x: torch.relu(m.a(x) + m.b(x)), ShapeError, a=a, b=conv(2, 5))
    assert "adds currents of different shapes" in text
    text = message(lambda m, x: torch.relu(F.avg_pool2d(m.a(x).flatten(1), 2)), ShapeError, a=a)
    assert "pools flattened currents" in text
    assert "pads a map with zeros, which no core sends" in message(
        lambda m, x: F.pad(torch.relu(m.a(x)), (1, 1)), a=a
    )


def test_everything_is_told_at_once() -> None:
    module = nn.Sequential(
        conv(padding="same", kernel=2), nn.ReLU(), nn.MaxPool2d(2), conv(), sinabs.LIF(tau_syn=1.0),
        nn.LayerNorm(2), nn.Flatten(), nn.Linear(7, 2), nn.Softmax(1),
    )  # fmt: skip
    with pytest.raises(UnsupportedLayerError) as caught:
        read(module, relu=None)
    places = [finding.where.split()[1] for finding in caught.value.findings]
    assert places == ["0", "1", "2", "4", "5", "8"]
    assert "6 problems" in str(caught.value)


@pytest.mark.parametrize(
    ("module", "text"),
    [
        (nn.Sequential(conv(3), IAFSqueeze()), r"layer 0 .* takes 3 features, and gets 2, of a map of 2x8x8\. Give input_shape=\(3, 8, 8\)"),
        (nn.Sequential(conv(), IAFSqueeze(), conv(5), IAFSqueeze()), "layer 2 .*takes 5 features, and gets 4"),
        (nn.Sequential(conv(), IAFSqueeze(), nn.Flatten(), nn.Linear(7, 2)), "layer 3 .*takes 7 values, and gets 144"),
        (nn.Sequential(conv(), IAFSqueeze(), nn.Linear(6, 2)), r"Put nn\.Flatten\(\) before it"),
        (nn.Sequential(nn.Flatten(), conv()), "layer 1 .*takes a map of 2 features"),
        (nn.Sequential(conv(kernel=9), IAFSqueeze()), "leaves nothing of a map of 8x8"),
        (nn.Sequential(conv(), IAFSqueeze(), nn.AvgPool2d(7)), "leaves nothing of a map of 6x6"),
        (nn.Sequential(conv(), nn.BatchNorm2d(5), IAFSqueeze()), r"takes 5 features, and gets 4x6x6\. Write BatchNorm2d\(4\)"),
        (nn.Sequential(conv(), nn.BatchNorm1d(4), IAFSqueeze()), r"takes 4 features in a row, and gets 4x6x6\. Write BatchNorm2d\(4\)"),
        (nn.Sequential(nn.Flatten(), nn.AvgPool2d(2), conv()), "pools a flattened signal"),
        (Made(lambda self, x: self.a(x.view(1, -1)), a=nn.Linear(128, 2)), r"Keep the batch: x.flatten\(1\)"),
        (Made(lambda self, x: self.a(x.view(-1, 64)), a=nn.Linear(64, 2)), r"batch, then 128 values"),
        (Made(lambda self, x: self.s(self.a(x)) + self.t(self.b(x)), a=conv(), b=conv(2, 3), s=IAFSqueeze(), t=IAFSqueeze()), "different shapes"),
        (Made(lambda self, x: torch.cat([self.s(self.a(x)), self.t(self.b(x))], 1), a=conv(), b=conv(kernel=1), s=IAFSqueeze(), t=IAFSqueeze()), "different size"),
    ],
)  # fmt: skip
def test_shapes_that_do_not_follow(module: nn.Module, text: str) -> None:
    with pytest.raises(ShapeError, match=text):
        read(module)


@pytest.mark.parametrize(
    "shape",
    [(2, 8), (2, 8, 8, 8), (0, 8, 8), (2, -8, 8), (2, 8, 1 << 30), "ab", (2.5, 8, 8), 7, (2, None, 8)],
)
def test_impossible_input_shapes(shape: Any) -> None:
    with pytest.raises((NetworkError, OptionsError), match=r"input_shape.*\(features, height, width\)"):
        read(nn.Sequential(conv(), IAFSqueeze()), shape)


def test_sensor_stages_that_do_not_follow() -> None:
    def message(layer: nn.Module, shape: Any = None) -> str:
        with pytest.raises(NetworkError) as caught:
            read(nn.Sequential(layer, conv(), IAFSqueeze()), shape)
        return str(caught.value)

    assert "states another input shape" in message(sinabs.dvs((16, 16)), (2, 8, 8))
    assert "crop does not lie" in message(sinabs.dvs((16, 16), (2, 2), ((0, 16), (0, 16))))
    assert "cannot be read: AttributeError" in message(sinabs.DVSLayer(input_shape=SHAPE))
    both = Made(lambda self, x: (self.a(self.d(x)), self.b(x)), a=conv(), b=conv(), d=sinabs.dvs((8, 8)))
    assert "only reader" in refused(both, None)


class _Branching(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = Made(lambda self, x: x if x.sum() > 0 else -x)

    def forward(self, x: Any) -> Any:
        return self.inner(x)


class _OfTheBatch(nn.Module):
    def forward(self, x: Any) -> Any:
        return x if x.shape[0] == 1 else x * 2


class _Raising(nn.Module):
    def forward(self, x: Any) -> Any:
        raise RuntimeError("not today")


class _Growing(nn.Module):
    def forward(self, x: Any) -> Any:
        return nn.Conv2d(2, 2, 1)(x)


class _Starred(nn.Module):
    def forward(self, *values: Any) -> Any:
        return values[0]


class _Odd(nn.Module):
    forward: Any = 3


MALFORMED: list[Any] = [
    _Branching(), _OfTheBatch(), _Raising(), _Growing(), _Starred(), _Odd(), nn.Module(), nn.Sequential(), nn.ModuleList([conv()]),
    nn.Identity(), sinabs.Network(None), sinabs.Network(nn.Sequential(), (1, 2)), sinabs.DynapcnnNetwork(), nn.LSTM(8, 8),
    nn.Sequential(conv(groups=2), sinabs.Merge()), Made(lambda self, x: None), Made(lambda self, x: 3),
    Made(lambda self, x: self.a(3), a=conv()), Made(lambda self, x: self.a(self.p), a=conv()),
    Made(lambda self, x: self.a(), a=conv()), Made(lambda self, x: [x] * 2), Made(lambda self, x: torch.cat([])),
    Made(lambda self, x: self.a(x=x, y=2), a=IAFSqueeze()), Made(lambda self, x: torch.cat([x, torch.ones(1)], 1)),
    Made(lambda self, x: self.m(x, x, x), m=sinabs.Merge()), torch.jit.trace, 3, None, [conv()], nn.Conv2d,
]  # fmt: skip


@pytest.mark.parametrize("module", MALFORMED, ids=lambda module: type(module).__name__)
def test_malformed_modules_end_in_one_error(module: Any) -> None:
    with pytest.raises(MapperError) as caught:
        load_network(module, SHAPE, torch=TorchOptions(1.0))
    assert isinstance(caught.value, NetworkError)
    assert str(caught.value)


class _Leaving(nn.Module):
    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.inner = Made(lambda self, x: self.leave())
        self.inner.leave = self._leave  # type: ignore[assignment]  # no module
        self.error = error

    def _leave(self) -> None:
        raise self.error

    def forward(self, x: Any) -> Any:
        return self.inner(x)


def test_a_forward_that_leaves_is_refused_and_ctrl_c_is_not_held_up() -> None:
    with pytest.raises(
        NetworkError, match="_Leaving, layer inner: its forward cannot be traced: SystemExit: 1"
    ):
        read(_Leaving(SystemExit(1)))
    with pytest.raises(NetworkError, match="cannot be traced: GeneratorExit"):
        read(_Leaving(GeneratorExit()))
    with pytest.raises(KeyboardInterrupt):
        read(_Leaving(KeyboardInterrupt()))


@pytest.mark.parametrize("fault", [NameError, AssertionError, MemoryError, KeyboardInterrupt, SystemExit])
def test_faults_of_the_reader_are_no_refusals(
    fault: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any) -> None:
        raise fault("of this test")

    monkeypatch.setattr("mapper.frontends.from_torch.reader.convolution_of", fails)
    with pytest.raises(fault, match="of this test"):
        read(nn.Sequential(conv(), IAFSqueeze()))


@pytest.mark.parametrize(
    "field", ["weight", "stride", "padding", "padding_mode", "groups", "dilation", "bias"]
)
@pytest.mark.parametrize("value", ["x", -1, (1, 2, 3), 2.5, torch.ones(2)])
def test_broken_fields_end_in_one_error(field: str, value: Any) -> None:
    layer = conv()
    if field in ("weight", "bias"):
        del layer._parameters[field]
    vars(layer)[field] = value
    with pytest.raises(NetworkError, match="0"):
        read(nn.Sequential(layer, IAFSqueeze()))


def test_a_trace_that_fails_names_the_place_and_the_way_out() -> None:
    with pytest.raises(
        NetworkError, match=r"_Branching, layer inner: .*control flow.*export the network to NIR"
    ):
        read(_Branching())


@pytest.mark.parametrize("threshold", [0.0, -1.0, float("nan"), float("inf"), "one"])
def test_thresholds_of_rectifiers(threshold: Any) -> None:
    with pytest.raises(OptionsError, match=r"relu_as_if: (a threshold )?must be a (positive )?number"):
        TorchOptions(threshold)


@pytest.mark.no_cover
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_what_torch_compiled_is_read_before_that() -> None:
    plain = nn.Sequential(conv(), nn.ReLU())
    text = "is compiled by torch.jit. Give the module before torch.jit.script or torch.jit.trace"
    jit: Any = torch.jit
    for module in (jit.script(plain), jit.trace(plain, torch.ones(1, *SHAPE))):
        for given in (module, nn.Sequential(module)):
            with pytest.raises(NetworkError, match=text):
                read(given)
    # Both hold the module that was compiled, or are it.
    compile_it: Any = torch.compile
    assert same(read(compile_it(plain)).layers, read(plain).layers)
    compiled: Any = nn.Sequential(conv(), nn.ReLU())
    compiled.load_state_dict(plain.state_dict())
    compiled.compile()
    assert same(read(compiled).layers, read(plain).layers)
    with pytest.raises(
        NetworkError, match=r'layer "0": is compiled by torch.compile. Give the network before'
    ):
        read(nn.Sequential(compile_it(conv()), nn.ReLU()))
    hooked = compile_it(plain)
    hooked.register_forward_hook(lambda module, args, result: result * 2)
    with pytest.raises(NetworkError, match="has hooks or a forward of its own"):
        read(hooked)


@pytest.mark.filterwarnings("ignore")
def test_integer_layers_of_torch_are_named() -> None:
    module = nn.Sequential(conv(), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3), nn.ReLU())
    quantisation: Any = torch.ao.quantization
    integer = quantisation.quantize_dynamic(module, {nn.Linear})
    with pytest.raises(
        NetworkError, match=r"layer 3 \(Linear\): computes with integer weights.* before it was"
    ):
        read(integer)


def test_keywords_that_forward_cannot_do_without() -> None:
    class Weighed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.c, self.s = conv(), nn.ReLU()

        def forward(self, x: Any, *, gain: float) -> Any:
            return self.s(self.c(x) * gain)

    class Default(Weighed):
        def forward(self, x: Any, *, gain: float = 2.0) -> Any:
            return super().forward(x, gain=gain)

    with pytest.raises(NetworkError, match=r"Weighed: its forward needs gain by keyword.* Give it a default"):
        read(Weighed())
    assert read(Default()).layers


def test_slices_of_a_sequential_are_read_and_modules_that_nobody_holds_are_not() -> None:
    layers = nn.Sequential(conv(), nn.ReLU(), nn.AvgPool2d(2), conv(4, 3, 2), nn.ReLU())
    sliced = Made(lambda self, x: self.m[2:](self.m[:2](x)), m=layers)
    whole = Made(lambda self, x: self.m(x), m=layers)
    assert same(read(sliced).layers, read(whole).layers)
    hidden = Made(lambda self, x: self.s(self.parts[0](x)), s=nn.ReLU())
    hidden.parts = [conv()]  # type: ignore[assignment]  # no module
    with pytest.raises(NetworkError, match=r"calls a module that it does not hold\. Make it an attribute"):
        read(hidden)


def test_factors_behind_the_outputs_are_told() -> None:
    module = Made(lambda self, x: 3 * self.s(self.c(x)), c=conv(), s=nn.ReLU())
    (told,) = [reading for reading in read(module).readings if reading.subject.startswith("output")]
    assert told.taken == "a factor of 3 is left to the host"


class _Spike(torch.autograd.Function):
    @staticmethod
    def forward(_: Any, potential: torch.Tensor) -> torch.Tensor:
        return (potential >= 0).float()


class _Added(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.potential: Any = 0.0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.potential = self.potential + x
        spikes: torch.Tensor = _Spike.apply(self.potential - 1)  # type: ignore[no-untyped-call]  # torch has no types for it
        self.potential = self.potential - spikes
        return spikes


class _Zeroed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.potential: Any = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.potential = (torch.zeros_like(x) if self.potential is None else self.potential) + x
        spikes: torch.Tensor = (self.potential > 1).float()
        self.potential = torch.where(spikes > 0, torch.zeros_like(spikes), self.potential)
        return spikes


class _Looped(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.stack([torch.heaviside(x[t] - 1, torch.tensor(0.0)) for t in range(x.shape[0])])


@pytest.mark.parametrize("neurons", [_Added, _Zeroed, _Looped])
def test_neurons_of_ones_own_are_told_what_is_read(neurons: type[nn.Module]) -> None:
    with pytest.raises(NetworkError) as caught:
        read(nn.Sequential(conv(), neurons(), conv(4), neurons()))
    told = str(caught.value)
    assert told.count("IAFSqueeze") == 1, told
    if neurons is not _Looped:
        kind = neurons.__name__
        assert told.startswith(
            f"layers 1 ({kind}) and 3 ({kind}), each: has neurons that only its own code knows. "
        )
    for way_out in ("relu_as_if=1.0", "export the network to NIR", "(source)"):
        assert way_out in told


def test_the_neurons_that_are_named_are_those_that_are_read() -> None:
    assert {kind for _, kind in FOREIGN_NEURONS} == {"IFNode", "Leaky", "IAFCell"}
    assert all(kind in READ_NEURONS for _, kind in FOREIGN_NEURONS)
