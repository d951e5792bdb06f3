"""torch modules compute, as networks, what they compute as modules: spike by spike, layer by layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from mapper.sim.network import simulate
from tests.frontends.sinabs_stand_in import IAFSqueeze
from tests.frontends.test_torch import SHAPE, Made, conv, read


def dyadic(module: nn.Module, seed: int) -> nn.Module:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for value in module.parameters():
            value.copy_(torch.randint(-8, 9, value.shape, generator=generator) / 8)
        for entry in module.modules():
            if isinstance(entry, nn.BatchNorm1d | nn.BatchNorm2d):
                assert entry.running_mean is not None
                assert entry.running_var is not None
                entry.running_mean.copy_(torch.randint(-4, 5, (entry.num_features,), generator=generator) / 8)
                entry.running_var.copy_(
                    torch.randint(1, 3, (entry.num_features,), generator=generator) ** 2.0
                )
    return module.eval()


def chain(neuron: Callable[[], nn.Module]) -> nn.Module:
    return nn.Sequential(
        conv(padding=1), nn.BatchNorm2d(4, eps=0.0), neuron(), nn.AvgPool2d(2), conv(4, 6, 3, groups=2), neuron(),
        nn.Flatten(), nn.Linear(24, 5), neuron(),
    )  # fmt: skip


def residual(neuron: Callable[[], nn.Module]) -> nn.Module:
    def forward(self: Any, x: Any) -> Any:
        a = self.sa(self.a(x))
        b = self.sb(self.n(self.b(a)))
        return self.sc(self.c(F.avg_pool2d(a + b, 2)))

    return Made(
        forward,
        a=conv(padding=1),
        b=conv(4, 4, padding=1),
        n=nn.BatchNorm2d(4, eps=0.0),
        c=conv(4, 3, 2, stride=2),
        sa=neuron(),
        sb=neuron(),
        sc=neuron(),
    )


def concatenated(neuron: Callable[[], nn.Module]) -> nn.Module:
    def forward(self: Any, x: Any) -> Any:
        a, b = self.sa(self.a(x)), self.sb(self.b(x))
        joined = torch.cat([a, b * 2, a], 1)
        wide = self.sc(self.c(joined))
        return self.sd(self.d(torch.cat([joined.flatten(1), wide.view(wide.size(0), -1)], 1)))

    return Made(
        forward,
        a=conv(2, 3, 3),
        b=conv(2, 2, 3),
        c=conv(8, 4, 3, dilation=2),
        d=nn.Linear(8 * 36 + 4 * 4, 6),
        sa=neuron(),
        sb=neuron(),
        sc=neuron(),
        sd=neuron(),
    )


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("build", [chain, residual, concatenated])
@pytest.mark.parametrize("spiking", [True, False])
def test_the_network_computes_what_the_module_does(build: Any, seed: int, spiking: bool) -> None:
    reference = build(lambda: IAFSqueeze(torch.tensor(1.0), torch.tensor(-1.0)))
    source = reference if spiking else build(nn.ReLU)
    dyadic(source, seed)
    weights = {
        k: v
        for k, v in source.state_dict().items()
        if "v_mem" not in k and "spike_thr" not in k and "min_v" not in k
    }
    reference.load_state_dict(weights, strict=False)
    for entry in reference.modules():
        if isinstance(entry, IAFSqueeze):
            entry.spike_threshold.data, entry.min_v_mem.data = torch.tensor(1.0), torch.tensor(-1.0)  # type: ignore[union-attr]
    network = read(source)
    trace: list[torch.Tensor] = []
    for entry in reference.modules():
        if isinstance(entry, IAFSqueeze):
            entry.register_forward_hook(lambda module, given, spikes: trace.append(spikes[0]))
    x = np.random.default_rng(seed).integers(0, 4, (6, *SHAPE))
    reference = reference.double().eval()
    with torch.no_grad():
        for frame in x:
            reference(torch.from_numpy(frame[None]).double())
    run = simulate(network, {network.inputs[0].name: x})
    layers = [layer.name for layer in network.layers]
    assert all(run.spikes[layer].any() for layer in layers[:2])
    for step in range(6):
        for n, layer in enumerate(layers):
            expected = trace[step * len(layers) + n].numpy()
            assert np.array_equal(run.spikes[layer][step].ravel(), expected.ravel()), (layer, step)
