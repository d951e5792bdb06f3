"""torch modules whose currents add before their neurons: textbook blocks, spike by spike as the modules compute."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

import mapper
from mapper.emit.write.build import build_config
from mapper.errors import UnsupportedLayerError
from mapper.network import Network
from mapper.operations import BatchNorm, Convolution, Pool, Shape
from mapper.passes import PrepareOptions, prepare
from mapper.sim.config_frame import simulate_config
from mapper.sim.network import simulate
from tests.frontends import sinabs_stand_in as sinabs
from tests.frontends.sinabs_stand_in import IAFSqueeze
from tests.frontends.test_torch import SHAPE, Made, conv, read
from tests.frontends.test_torch_simulation import dyadic

Neurons = Callable[[], nn.Module]


class BasicBlock(nn.Module):
    """As torchvision has it: the stride in the first convolution, and in the 1x1 convolution of the skip."""

    def __init__(self, reads: int, makes: int, stride: int, neuron: Neurons) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(reads, makes, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(makes, eps=0.0)
        self.relu1 = neuron()
        self.conv2 = nn.Conv2d(makes, makes, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(makes, eps=0.0)
        self.relu2 = neuron()
        self.downsample = None
        if stride != 1 or reads != makes:
            skip = nn.Conv2d(reads, makes, 1, stride, bias=False)
            self.downsample = nn.Sequential(skip, nn.BatchNorm2d(makes, eps=0.0))

    def forward(self, x: Any) -> Any:
        identity = x
        out = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x)))))
        if self.downsample is not None:
            identity = self.downsample(x)
        out += identity
        return self.relu2(out)


def resnet(neuron: Neurons) -> nn.Module:
    stem = nn.Sequential(nn.Conv2d(2, 4, 3, 1, 1, bias=False), nn.BatchNorm2d(4, eps=0.0), neuron())
    blocks = [BasicBlock(4, 4, 1, neuron), BasicBlock(4, 6, 2, neuron), BasicBlock(6, 6, 1, neuron)]
    return nn.Sequential(stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3), neuron())


def bottleneck_of_averages(neuron: Neurons) -> nn.Module:
    """The skip of ResNet-D: an average pool, then 1x1; and the stride in the middle."""

    def forward(m: Any, x: Any) -> Any:
        x = m.s(m.a(x))
        y = m.t(m.b(x))
        y = m.n(m.d(m.u(m.c(y))))
        return m.v(m.e(F.avg_pool2d(x, 2)) + y)

    modules = {"a": conv(2, 4, padding=1), "b": conv(4, 2, 1), "c": conv(2, 2, stride=2, padding=1, groups=2)}
    modules |= {"d": conv(2, 4, 1), "e": conv(4, 4, 1)}
    return Made(forward, **modules, n=nn.BatchNorm2d(4, eps=0.0), **{k: neuron() for k in "stuv"})


def strided_skip(neuron: Neurons) -> nn.Module:
    """Option A: every second row and column, and zeros for the features that are more."""

    def forward(m: Any, x: Any) -> Any:
        x = m.s(m.a(x))
        y = m.d(m.t(m.c(x)))
        return m.u(y + F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 1, 1)))

    modules = {"a": conv(2, 4, padding=1), "c": conv(4, 6, stride=2, padding=1), "d": conv(6, 6, padding=1)}
    return Made(forward, **modules, **{k: neuron() for k in "stu"})


def flat_sums(neuron: Neurons) -> nn.Module:
    """Linear layers, one over a map, and a flat skip of it."""

    def forward(m: Any, x: Any) -> Any:
        x = m.s(m.a(x)).flatten(1)
        y = m.t(m.n(m.b(x)) - m.c(x) * 0.5 + x)
        return m.u(m.d(y) + y.view(-1, 72))

    modules = {
        "a": conv(2, 2),
        "b": nn.Linear(72, 72),
        "c": nn.Linear(72, 72, bias=False),
        "d": nn.Linear(72, 72),
    }
    return Made(forward, **modules, n=nn.BatchNorm1d(72, eps=0.0), **{k: neuron() for k in "stu"})


def pooled_currents(neuron: Neurons) -> nn.Module:
    def forward(m: Any, x: Any) -> Any:
        x = m.s(m.p(m.n(m.a(F.pad(x, (1, 0, 2, 1))))))
        y = m.t(m.q(m.b(x) + m.c(x)))
        return m.u(m.d(m.z(y)).mean((2, 3)))

    modules: dict[str, nn.Module] = {"a": conv(2, 4), "b": conv(4, 4, padding=1), "c": conv(4, 4, 1)}
    modules |= {"d": conv(4, 3, 2), "p": nn.AvgPool2d(2), "q": sinabs.SumPool2d((2, 1)), "z": nn.ZeroPad2d(1)}
    return Made(forward, **modules, n=nn.BatchNorm2d(4, eps=0.0), **{k: neuron() for k in "stu"})


def one_source(neuron: Neurons) -> nn.Module:
    """Two kernels on one signal, a sum of spikes as skip, and a sum within a sum, scaled and normalised."""

    def forward(m: Any, x: Any) -> Any:
        x = m.s(m.a(x))
        y = m.t(m.b(x) - m.c(x))
        return m.u(m.n((m.d(x + y) * 0.5 + (x + y)) + 2 * m.e(y)) + x)

    modules = {
        "a": conv(2, 4, padding=1),
        "b": conv(4, 4, padding=2, dilation=2),
        "c": conv(4, 4, 1, groups=4),
    }
    modules |= {"d": conv(4, 4, 5, padding=2, bias=False), "e": nn.Conv2d(4, 4, (1, 3), padding=(0, 1))}
    return Made(forward, **modules, n=nn.BatchNorm2d(4, eps=0.0), **{k: neuron() for k in "stu"})


def spiking() -> IAFSqueeze:
    return IAFSqueeze(torch.tensor(1.0), torch.tensor(-1.0))


def as_spiking(build: Callable[[Neurons], nn.Module], source: nn.Module) -> nn.Module:
    """The module of the same weights with spiking neurons."""
    reference = build(spiking)
    weights = {
        k: v for k, v in source.state_dict().items() if not k.endswith(("v_mem", "threshold", "min_v_mem"))
    }
    reference.load_state_dict(weights, strict=False)
    return reference.double().eval()


def compare(network: Network, reference: nn.Module, seed: int, ignored: str = ".strided") -> None:
    """Every layer's spikes against those of the reference's neurons, in the order they fire."""
    trace: list[torch.Tensor] = []
    for entry in reference.modules():
        if isinstance(entry, IAFSqueeze):
            entry.register_forward_hook(lambda module, given, spikes: trace.append(spikes[0]))
    frames = np.random.default_rng(seed).integers(0, 3, (5, *network.inputs[0].shape))
    with torch.no_grad():
        for frame in frames:
            reference(torch.from_numpy(frame[None]).double())
    for version in (network, prepare(network, PrepareOptions(quantize=False))):
        run = simulate(version, {network.inputs[0].name: frames})
        layers = [layer.name for layer in network.layers if not layer.name.endswith(ignored)]
        assert len(trace) == 5 * len(layers)
        assert sum(bool(run.spikes[layer].any()) for layer in layers) >= 2
        for n, expected in enumerate(trace):
            step, layer = n // len(layers), layers[n % len(layers)]
            assert np.array_equal(run.spikes[layer][step].ravel(), expected.numpy().ravel()), (layer, step)


BUILDS = [resnet, bottleneck_of_averages, strided_skip, flat_sums, pooled_currents, one_source]


@pytest.mark.no_cover
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("build", BUILDS)
@pytest.mark.parametrize("neuron", [nn.ReLU, spiking])
def test_blocks_compute_what_the_module_does(build: Any, neuron: Any, seed: int) -> None:
    source = dyadic(build(neuron), seed)
    for entry in source.modules():
        if isinstance(entry, IAFSqueeze):
            entry.spike_threshold.data, entry.min_v_mem.data = torch.tensor(1.0), torch.tensor(-1.0)  # type: ignore[union-attr]
    compare(read(source), as_spiking(build, source), seed)


@pytest.mark.parametrize("build", BUILDS)
def test_blocks_are_placed_and_spike_like_what_was_given(build: Any) -> None:
    result = mapper.solve(read(dyadic(build(nn.ReLU), 1)), "speck2f", repairs=0)
    assert result.status == "optimal"
    (given,), config = result.given, build_config(result)
    inputs = {given.inputs[0].name: np.random.default_rng(1).integers(0, 3, (6, *given.inputs[0].shape))}
    expected, seen = simulate(given, inputs), simulate_config(config, inputs)
    for name, spikes in expected.spikes.items():
        assert np.array_equal(spikes, seen.layers[name]), name
    assert sum(bool(spikes.any()) for spikes in expected.spikes.values()) >= 2


def test_a_textbook_block_is_one_layer_more_than_its_neurons() -> None:
    network = read(resnet(nn.ReLU).eval())
    assert [layer.name for layer in network.layers] == [
        "0.0", "1.conv1", "1.conv2", "2.conv1", "2.downsample.0.strided", "2.conv2", "3.conv1", "3.conv2", "6",
    ]  # fmt: skip
    assert [(e.source, e.feature_offset) for e in network.incoming["1.conv2"]] == [("1.conv1", 0), ("0.0", 4)]
    assert network.by_name["2.conv2"].input_shape == Shape(10, 4, 4)
    assert all(edge.delay_steps == 0 for edge in network.edges)
    relay, joint = (network.by_name[name] for name in ("2.downsample.0.strided", "2.conv2"))
    assert isinstance(relay.operation, Convolution)
    assert (relay.operation.kernel, relay.operation.stride) == ((1, 1), (2, 2))
    assert relay.neuron is not None
    assert (relay.neuron.threshold, relay.neuron.minimum, relay.neuron.spike_mode) == (1.0, None, "multi")
    assert isinstance(joint.operation, Convolution)
    assert (joint.operation.kernel, joint.operation.padding, joint.between) == ((3, 3), (1, 1), ())
    assert any("1.conv2 and the spikes of 0.0 add before its neurons" in note for note in network.notes)
    assert any("2.downsample.0.strided: a layer of its own passes on each spike" in n for n in network.notes)


def test_a_sum_without_neurons_gets_some_at_an_output() -> None:
    module = Made(
        lambda m, x: m.b(m.s(m.a(x))) + m.c(x), a=conv(), b=conv(4, 3), c=conv(2, 3, 5), s=nn.ReLU()
    )
    network = read(Made(lambda m, x: m.b(x) + m.c(x), b=conv(2, 3, 5), c=conv(2, 3, 5)))
    assert [(layer.name, layer.neuron) for layer in network.layers] == [("b", None)]
    assert prepare(network, PrepareOptions(2.0, quantize=False)).layers[0].neuron.threshold == 2.0
    with pytest.raises(UnsupportedLayerError, match="different geometry"):
        read(module)
    twice = Made(lambda m, x: [y := m.b(x) + m.c(x), y], b=conv(2, 3, 5), c=conv(2, 3, 5))
    assert [output.source for output in read(twice).outputs] == ["b", "b"]


def test_a_stack_that_is_summed_adds_and_nothing_else_is_made_of_one() -> None:
    parts = {"a": conv(), "b": conv(4, 4, padding=1), "c": conv(4, 3)}

    def made(step: Any) -> nn.Module:
        return Made(
            lambda m, x: torch.relu(m.c(step([y := torch.relu(m.a(x)), torch.relu(m.b(y))]))), **parts
        )

    plain = read(made(lambda both: both[0] + both[1]))
    assert len(plain.edges) == 4
    for step in (
        lambda both: torch.stack(both).sum(0),
        lambda both: torch.sum(torch.stack(both, dim=0), dim=0),
    ):
        assert read(made(step)).edges == plain.edges
    for step in (lambda both: torch.stack(both, 1).sum(1), lambda both: torch.stack(both).sum(1)):
        with pytest.raises(UnsupportedLayerError, match="stack: this program does not know it"):
            read(made(step))


def test_means_over_the_map_are_pools() -> None:
    whole = Pool("average", (6, 6), (6, 6))

    def pools(step: Any) -> list[Any]:
        network = read(Made(lambda m, x: m.l(step(torch.relu(m.c(x)))), c=conv(), l=nn.Linear(4, 2)))
        return [entry for entry in network.incoming["l"][0].path if isinstance(entry, Pool)]

    for step in (
        lambda x: x.mean((2, 3)),
        lambda x: x.mean(dim=[-1, -2]),
        lambda x: torch.mean(x, (2, 3), keepdim=True).flatten(1),
        lambda x: x.flatten(2).mean(2),
        lambda x: x.view(x.size(0), 4, -1).mean(-1),
        lambda x: F.adaptive_avg_pool2d(x, 1).flatten(1),
    ):
        assert pools(step) == [whole]
    assert pools(lambda x: x.mean(3).mean(2)) == [
        Pool("average", (1, 6), (1, 6)),
        Pool("average", (6, 1), (6, 1)),
    ]
    assert pools(lambda x: x.sum((2, 3))) == [Pool("sum", (6, 6), (6, 6))]
    assert pools(lambda x: x[..., ::6, ::6].flatten(1)) == [Pool("sum", (1, 1), (6, 6))]


def test_zeros_around_a_map() -> None:
    def operation(pad: Any, **settings: Any) -> Any:
        network = read(Made(lambda m, x: torch.relu(m.c(m.p(x))), p=pad, c=conv(**settings)))
        assert network.layers[0].input_shape == Shape(*SHAPE)
        return network.layers[0].operation

    same = operation(nn.ZeroPad2d(1), padding=1, dilation=2)
    assert (same.kernel, same.padding, same.dilation) == ((3, 3), (2, 2), (2, 2))
    assert (wide := operation(nn.ZeroPad2d((0, 1, 0, 1)), stride=2)).kernel == (4, 4)
    assert wide.padding == (1, 1)
    assert not np.any(np.asarray(wide.weight)[:, :, 0])
    assert operation(nn.ConstantPad2d((1, 1, 2, 2), 0.0)).padding == (2, 1)
    assert operation(nn.Sequential(nn.ZeroPad2d(1), nn.Identity(), nn.ZeroPad2d(1))).padding == (2, 2)
    assert operation(Made(lambda m, x: F.pad(x, [1] * 4))).padding == (1, 1)


def test_a_norm_of_a_sum_shifts_once() -> None:
    norm = nn.BatchNorm2d(4, eps=0.0)
    module = dyadic(
        Made(lambda m, x: torch.relu(m.n(m.a(x) + m.b(x))), a=conv(bias=False), b=conv(), n=norm), 0
    )
    network = read(module)
    assert network.layers[0].between == ()
    with torch.no_grad():
        expected = module.n(module.a(torch.zeros(1, 2, 3, 3)) + module.b(torch.zeros(1, 2, 3, 3))).ravel()  # type: ignore[operator]
    assert np.array_equal(np.asarray(network.layers[0].operation.bias), expected.numpy())
    alone = read(nn.Sequential(conv(), nn.AvgPool2d(2), norm.eval(), nn.ReLU())).layers[0]
    assert alone.between == ()
    plain = read(nn.Sequential(conv(), norm, nn.ReLU())).layers[0]
    assert [type(step) for step in plain.between] == [BatchNorm]
