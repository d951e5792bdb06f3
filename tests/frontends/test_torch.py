"""torch modules and sinabs networks: what is read, what is refused, and that nothing is lost or changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from mapper.by_value import same
from mapper.errors import NetworkError
from mapper.frontends import TorchOptions, load_network
from mapper.network import DvsSettings, Input, Network
from mapper.operations import BatchNorm, Convolution, Flatten, Linear, Pool, Scale, Shape
from mapper.passes import prepare
from tests.frontends import sinabs_stand_in as sinabs
from tests.frontends.sinabs_stand_in import IAFSqueeze

SHAPE = (2, 8, 8)
ONE = TorchOptions(relu_as_if=1.0)


class Made(nn.Module):
    """Modules by name, and a forward given as a function."""

    def __init__(self, forward: Callable[..., Any], **modules: nn.Module) -> None:
        super().__init__()
        self.function = forward
        for name, module in modules.items():
            self.add_module(name, module)

    def forward(self, x: Any) -> Any:
        return self.function(self, x)


def conv(reads: int = 2, features: int = 4, kernel: int = 3, **more: Any) -> nn.Conv2d:
    return nn.Conv2d(reads, features, kernel, **more)


def read(module: nn.Module, shape: tuple[int, int, int] | None = SHAPE, relu: float | None = 1.0) -> Network:
    return load_network(module, shape, torch=TorchOptions(relu))


def behind(*steps: Any, last: Any = None, shape: tuple[int, int, int] = SHAPE) -> Network:
    """Conv and neurons, then steps (modules or functions of a signal 4x6x6), then a layer that reads them."""

    def forward(self: Any, x: Any) -> Any:
        x = self.s(self.c(x))
        for n, step in enumerate(steps):
            x = getattr(self, f"m{n}")(x) if isinstance(step, nn.Module) else step(x)
        return self.last(x)

    modules = {f"m{n}": step for n, step in enumerate(steps) if isinstance(step, nn.Module)}
    return read(Made(forward, c=conv(), s=IAFSqueeze(), last=last or nn.Linear(144, 3), **modules), shape)


def path(network: Network, layer: str = "last") -> list[Any]:
    return [step for step in network.incoming[layer][0].path if not isinstance(step, Flatten)]


def test_a_sequence_becomes_layers_edges_and_an_output() -> None:
    first, second = conv(bias=False, padding="same"), nn.Linear(64, 5)
    module = nn.Sequential(first, nn.ReLU(), nn.AvgPool2d(2), nn.Dropout(), nn.Flatten(), second, nn.ReLU())
    network = read(module.eval(), relu=0.5)
    assert network.name == "Sequential"
    assert network.inputs == (Input("input", Shape(*SHAPE)),)
    assert [layer.name for layer in network.layers] == ["0", "5"]
    convolution, linear = (layer.operation for layer in network.layers)
    assert isinstance(convolution, Convolution)
    assert (convolution.padding, convolution.has_bias) == ((1, 1), False)
    assert isinstance(linear, Linear)
    assert linear.has_bias
    assert np.array_equal(np.asarray(linear.weight), second.weight.detach().numpy())
    assert np.array_equal(np.asarray(linear.bias), second.bias.detach().numpy())
    assert network.incoming["5"][0].path == (Pool("average", (2, 2), (2, 2)), Flatten())
    neuron = network.layers[0].neuron
    assert neuron is not None
    assert (neuron.threshold, neuron.minimum, neuron.reset, neuron.spike_mode) == (
        0.5,
        -0.5,
        "subtract",
        "multi",
    )
    assert [output.source for output in network.outputs] == ["5"]
    reading, biases = network.readings
    assert str(biases).startswith("layer 5 (Linear): biases are added at ticks of the chip's slow clock")
    assert reading.subject == "layer 0 (Conv2d) and layer 5 (Linear)"
    assert (
        reading.taken == "ReLU taken as IF neuron with threshold 0.5, lower bound -0.5, multi-spike, subtract"
    )
    with torch.no_grad():
        first.weight.zero_()
    assert np.asarray(convolution.weight).any()


@pytest.mark.parametrize(
    "step",
    [
        nn.Flatten(),
        lambda x: torch.flatten(x, 1),
        lambda x: torch.flatten(x, start_dim=1),
        lambda x: x.flatten(1),
        lambda x: x.flatten(1, -1),
        lambda x: x.view(x.size(0), -1),
        lambda x: x.view((x.shape[0], -1)),
        lambda x: x.reshape(x.shape[0], -1),
        lambda x: torch.reshape(x, (-1, x.shape[1] * x.shape[2] * x.size(3))),
        lambda x: x.view(-1, 144),
        lambda x: x.contiguous().view(-1, 4 * 6 * 6),
        lambda x: x.view(x.size()[0], x.shape[1:].numel()),
        lambda x: x.reshape(x.shape[0], 4, 36).flatten(1),
        lambda x: x.flatten(1).view(-1, 4, 6, 6).flatten(1),
        lambda x: x.flatten(1).unflatten(1, (4, 6, 6)).flatten(1),
    ],
)
def test_flattening_in_all_its_forms(step: Any) -> None:
    network = behind(step)
    assert network.incoming["last"][0].path == (Flatten(),)
    assert network.layers[1].input_shape == Shape(144, 1, 1)


@pytest.mark.parametrize(
    ("step", "steps"),
    [
        (nn.AvgPool2d(2), [Pool("average", (2, 2), (2, 2))]),
        (nn.AvgPool2d((2, 3), ceil_mode=True), [Pool("average", (2, 3), (2, 3))]),
        (nn.AvgPool2d(2, divisor_override=3), [Pool("average", (2, 2), (2, 2), 3.0)]),
        (nn.AvgPool2d(2, count_include_pad=False), [Pool("average", (2, 2), (2, 2))]),
        (nn.AvgPool2d(3, 1), [Pool("average", (3, 3), (1, 1))]),
        (nn.AvgPool2d(1), []),
        (lambda x: F.avg_pool2d(x, 2), [Pool("average", (2, 2), (2, 2))]),
        (lambda x: F.avg_pool2d(x, kernel_size=(3, 2), stride=2), [Pool("average", (3, 2), (2, 2))]),
        (nn.LPPool2d(1, 2), [Pool("sum", (2, 2), (2, 2))]),
        (lambda x: F.lp_pool2d(x, 1, 3), [Pool("sum", (3, 3), (3, 3))]),
        (sinabs.SumPool2d((3, 2)), [Pool("sum", (3, 2), (3, 2))]),
        (lambda x: x[:, :, ::2, ::3], [Pool("sum", (1, 1), (2, 3))]),
        (nn.AdaptiveAvgPool2d((None, 1)), [Pool("average", (1, 6), (1, 6))]),
        (nn.AdaptiveAvgPool2d(6), []),
        (lambda x: F.adaptive_avg_pool2d(x, 2), [Pool("average", (3, 3), (3, 3))]),
        (nn.Identity(), []),
        (nn.Dropout2d(), []),
        (lambda x: F.dropout(x, 0.5, False), []),
        (lambda x: x.float().clone().detach(), []),
        (lambda x: 0.5 * x, [Scale(0.5)]),
        (lambda x: x / 4, [Scale(0.25)]),
        (lambda x: torch.mul(x, 3) * torch.tensor(0.5), [Scale(3.0), Scale(0.5)]),
        (lambda x: x * 1.0, []),
    ],
)
def test_pools_and_scales_on_the_way(step: Any, steps: list[Any]) -> None:
    assert path(behind(step, last=conv(4, 2, 1))) == steps


def test_zeros_on_four_sides() -> None:
    """Columns get two zeros on the left alone, rows one on both sides: what the kernel takes up of them."""
    layer = behind(lambda x: F.pad(x, (2, 0, 1, 1)), last=conv(4, 2)).by_name["last"]
    assert isinstance(layer.operation, Convolution)
    assert layer.output_shape == Shape(2, 6, 6)
    assert (layer.operation.kernel, layer.operation.padding) == ((3, 5), (1, 2))


def test_same_padding_of_a_dilated_kernel() -> None:
    module = nn.Sequential(nn.Conv2d(2, 1, (3, 5), padding="same", dilation=(2, 3)), IAFSqueeze())
    operation = read(module).layers[0].operation
    assert isinstance(operation, Convolution)
    assert operation.padding == (2, 6)


def test_a_global_pool_squeezes_to_a_flat_signal() -> None:
    network = behind(nn.AdaptiveAvgPool2d(1), lambda x: x.squeeze(-1).squeeze(-1), last=nn.Linear(4, 2))
    assert path(network) == [Pool("average", (6, 6), (6, 6))]


def test_sums_and_concatenations_are_edges() -> None:
    def forward(self: Any, x: Any) -> Any:
        a, b = self.sa(self.a(x)), self.sb(self.b(x))
        joined = torch.cat([a, torch.add(a, b), b], dim=-3)
        return self.c(torch.cat((joined.flatten(1), self.sl(self.l(x.flatten(1)))), -1))

    modules = {"a": conv(), "b": conv(), "l": nn.Linear(128, 5), "c": nn.Linear(12 * 36 + 5, 2)}
    network = read(Made(forward, **modules, **{f"s{n}": IAFSqueeze() for n in "abl"}))
    found = [(edge.source, edge.feature_offset) for edge in network.incoming["c"]]
    assert found == [("a", 0), ("a", 144), ("b", 144), ("b", 288), ("l", 432)]
    assert [layer.name for layer in network.layers] == ["a", "b", "l", "c"]
    assert network.layers[-1].neuron is None
    with pytest.raises(NetworkError, match=r"add_output_neuron=1\.0"):
        prepare(network)


def test_batch_norm_and_scale_stand_between_weights_and_neurons() -> None:
    norm = nn.BatchNorm2d(4, eps=0.5, affine=False)
    network = read(nn.Sequential(conv(), norm, IAFSqueeze()))
    assert "training mode" in network.readings[0].why
    [step] = network.layers[0].between
    assert same(step, BatchNorm(np.zeros(4), np.ones(4), np.ones(4), np.zeros(4), 0.5))
    module = Made(
        lambda self, x: self.s(self.n(self.l(x.flatten(1))) / 2),
        l=nn.Linear(128, 6),
        n=nn.BatchNorm1d(6),
        s=IAFSqueeze(),
    )
    between = read(module.eval()).layers[0].between
    assert [type(step).__name__ for step in between] == ["BatchNorm", "Scale"]


def test_sinabs_neurons() -> None:
    def neuron(**fields: Any) -> Any:
        return read(nn.Sequential(conv(), IAFSqueeze(**fields))).layers[0].neuron

    plain = neuron(spike_threshold=2.0, min_v_mem=-3.0)
    assert (plain.threshold, plain.minimum, plain.reset, plain.spike_mode) == (2.0, -3.0, "subtract", "multi")
    other = neuron(spike_fn=sinabs.SingleSpike, reset_fn=sinabs.MembraneReset())
    assert (other.minimum, other.reset, other.spike_mode) == (None, "zero", "single")
    assert neuron(spike_threshold=2.0, reset_fn=sinabs.MembraneSubtract(2.0)).reset == "subtract"
    assert neuron(spike_threshold=torch.full((4, 1, 1), 2.0)).threshold == 2.0
    assert neuron(spike_threshold=torch.arange(1.0, 5).reshape(4, 1, 1)).threshold.tolist() == [1, 2, 3, 4]
    flat = read(nn.Sequential(nn.Flatten(), nn.Linear(128, 2), IAFSqueeze(torch.tensor([1.0, 2.0])))).layers[
        0
    ]
    assert np.asarray(flat.neuron.threshold).tolist() == [1.0, 2.0]  # type: ignore[union-attr]


def test_the_state_of_neurons_is_left_out() -> None:
    module = nn.Sequential(conv(), IAFSqueeze())
    module[1].v_mem = torch.ones(1, 4, 6, 6)
    network = read(module)
    assert "potentials" in str(network.readings[0])
    assert network.layers[0].neuron is not None
    assert network.layers[0].neuron.initial_potential is None


def test_merge_sums_and_fills_up_features() -> None:
    module = Made(
        lambda self, x: self.m(self.s(self.a(x)), self.t(self.b(x))),
        m=sinabs.Merge(),
        a=conv(),
        b=conv(2, 2),
        s=IAFSqueeze(),
        t=IAFSqueeze(),
    )
    network = read(Made(lambda self, x: self.c(self.inner(x)), inner=module, c=conv(4)))
    assert [(e.source, e.feature_offset) for e in network.incoming["c"]] == [("inner.a", 0), ("inner.b", 0)]


def test_wrappers_and_stated_input_shapes() -> None:
    inner = nn.Sequential(conv(), IAFSqueeze())
    assert read(sinabs.Network(inner, SHAPE), None).inputs[0].shape == Shape(*SHAPE)
    assert read(sinabs.Network(inner, SHAPE), (2, 9, 9)).inputs[0].shape == Shape(2, 9, 9)
    assert read(nn.DataParallel(inner)).layers[0].name == "0"
    assert read(nn.Sequential(sinabs.InputLayer(input_shape=SHAPE), inner), None).layers[0].name == "1.0"
    assert read(conv()).layers[0].name == "0"
    with pytest.raises(NetworkError, match=r"input_shape=\(features, height, width\)"):
        read(inner, None)


def test_time_as_a_dimension_of_its_own() -> None:
    module = nn.Sequential(sinabs.FlattenTime(), conv(), sinabs.UnflattenTime(), sinabs.IAF())
    assert read(module).layers[0].output_shape == Shape(4, 6, 6)
    steps = [
        sinabs.Repeat(conv()),
        sinabs.IAF(),
        nn.Flatten(2),
        sinabs.Repeat(nn.Linear(144, 3)),
        sinabs.IAF(),
    ]
    assert [layer.name for layer in read(nn.Sequential(*steps)).layers] == ["0.module", "3.module"]


@pytest.mark.parametrize(
    ("layer", "shape", "settings", "pool"),
    [
        (sinabs.dvs((16, 20)), Shape(2, 16, 20), DvsSettings(), None),
        (
            sinabs.dvs((16, 20), (2, 4), merge=True),
            Shape(1, 16, 20),
            DvsSettings(),
            Pool("sum", (2, 4), (2, 4)),
        ),
        (
            sinabs.dvs((16, 20), (2, 2), ((1, 6), (2, 9)), flip_y=True),
            Shape(2, 10, 14),
            DvsSettings((1, 2), (True, False)),
            Pool("sum", (2, 2), (2, 2)),
        ),
        (
            sinabs.dvs((16, 20), (1, 1), ((0, 6), (2, 12)), swap_xy=True, flip_x=True),
            Shape(2, 10, 6),
            DvsSettings((0, 2), (False, True), True),
            None,
        ),
        (
            sinabs.dvs((32, 64), (2, 4), ((1, 10), (2, 13)), swap_xy=True),
            Shape(2, 44, 18),
            DvsSettings((1, 2), (False, False), True),
            Pool("sum", (4, 2), (4, 2)),
        ),
    ],
)
def test_the_sensor_stage(layer: nn.Module, shape: Shape, settings: DvsSettings, pool: Pool | None) -> None:
    network = read(nn.Sequential(layer, conv(shape.features), IAFSqueeze()), None)
    assert network.inputs == (Input("input", shape, settings),)
    assert path(network, "1") == ([pool] if pool else [])
    assert network.readings == ()


def test_a_sensor_stage_without_its_pixels_is_noted() -> None:
    network = read(nn.Sequential(sinabs.dvs((8, 8), off=True), conv(), IAFSqueeze()), None)
    assert network.inputs[0].dvs == DvsSettings()
    assert "pixels are switched off" in network.readings[0].taken


def test_several_inputs_outputs_and_defaults() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.x = conv(), conv(), conv(4, 2, bias=False)
            self.unused = conv()

        def forward(self, x: Any, y: Any, deep: bool = True, *, extra: Any = None) -> Any:
            a, b = torch.relu(self.a(x)), F.relu(self.b(y))
            torch.relu(self.unused(x))
            return {"sum": a + b, "deep": self.x(b) if deep else None, "pair": [a.flatten(1), extra]}

    network = read(Two())
    assert [entry.name for entry in network.inputs] == ["x_input", "y"]
    assert [(o.name, o.source, o.path) for o in network.outputs] == [
        ("sum.a", "a", ()),
        ("sum.b", "b", ()),
        ("deep", "x", ()),
        ("pair", "a", (Flatten(),)),
    ]
    assert any("left to the host" in reading.taken for reading in network.readings)
    assert any("unused" in reading.subject for reading in network.readings)


def test_conditions_on_shapes_are_decided() -> None:
    def forward(self: Any, x: Any) -> Any:
        assert x.ndim == 4
        assert x.shape[1:] == SHAPE, "another shape"
        x = torch.relu(self.a(x) if x.shape[-1] > 4 else self.b(x))
        return x if x.size(2) == x.size(3) else x.undefined()

    network = read(Made(forward, a=conv(), b=conv()))
    assert [layer.name for layer in network.layers] == ["a"]
    with pytest.raises(NetworkError, match="AssertionError: another shape"):
        read(Made(forward, a=conv(), b=conv()), (2, 9, 9))


def test_the_module_is_never_changed() -> None:
    class Recorder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.c, self.norm = nn.utils.parametrizations.spectral_norm(conv()), nn.BatchNorm2d(4)
            self.seen: list[Any] = []
            self.count: torch.Tensor
            self.register_buffer("count", torch.zeros(()))
            self.last: Any = None

        def forward(self, x: Any) -> Any:
            self.last = x
            self.seen.append(x)
            self.count += 1
            x = torch.relu(self.norm(self.c(x)))
            return x.undefined() if self.training else x * torch.ones(())

    module = Recorder()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    fields = set(vars(module))
    assert read(module).layers[0].name == "c"
    assert (module.last, module.seen, module.training, set(vars(module))) == (None, [], True, fields)
    assert all(entry.training for entry in module.modules())
    after = module.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
