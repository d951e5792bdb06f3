"""Random torch modules: branches, sums, concatenations, norms, pools; one in three wrapped or with hooks.

All numbers are dyadic, so that every order of summation gives the same spikes.
"""

from __future__ import annotations

import random
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.utils import parametrize, prune

from mapper.errors import NetworkError
from mapper.frontends import TorchOptions, load_network
from mapper.network import Network
from mapper.sim.network import simulate

__all__ = ["SHAPE", "check_random_modules", "random_module", "tampered"]

SHAPE = (2, 8, 8)
Neurons = Callable[[], nn.Module]


class RandomModule(nn.Module):
    """Blocks one after the other, then a linear layer or two."""

    def __init__(self, draw: random.Random, neurons: Neurons, sum_pool: type[nn.Module]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList()
        self.kinds: list[str] = []
        features, size = 2, 8
        for _ in range(draw.randint(1, 3)):
            kind = draw.choice(["plain", "residual", "beside", "norm", "grouped"])
            made = draw.randint(2, 4) if kind != "grouped" else 2 * features
            self.blocks.append(_block(draw, kind, features, made, neurons))
            self.kinds.append(kind)
            features = {"residual": made, "beside": 2 * made}.get(kind, made)
            if size > 2 and draw.random() < 0.5:
                self.blocks.append(draw.choice([nn.AvgPool2d(2), sum_pool(2), nn.AvgPool2d(2, 2)]))
                self.kinds.append("pool")
                size //= 2
        self.scale = draw.choice([1.0, 0.5, 2.0])
        self.as_view = draw.random() < 0.5
        self.head = nn.Linear(features * size * size, 3, bias=draw.random() < 0.5)
        self.last = neurons()
        self.both = draw.random() < 0.2

    def forward(self, x: torch.Tensor) -> Any:
        middle = x
        for block, kind in zip(self.blocks, self.kinds, strict=True):
            if kind in ("residual", "beside"):
                one = block["neurons"](block["one"](x))  # type: ignore[index]
                two = block["more"](block["two"](one))  # type: ignore[index]
                x = one + two if kind == "residual" else torch.cat([two, one], 1)
            else:
                x = block(x)
            middle = x
        x = x * self.scale
        flat = x.view(x.size(0), -1) if self.as_view else x.flatten(1)
        result = self.last(self.head(flat))
        return (result, middle) if self.both else result


def _block(draw: random.Random, kind: str, reads: int, made: int, neurons: Neurons) -> nn.Module:
    def conv(reads: int, made: int, **more: Any) -> nn.Conv2d:
        kernel = draw.choice([1, 3])
        return nn.Conv2d(reads, made, kernel, padding=kernel // 2, bias=draw.random() < 0.5, **more)

    if kind in ("residual", "beside"):
        parts = {"one": conv(reads, made), "neurons": neurons(), "two": conv(made, made), "more": neurons()}
        return nn.ModuleDict(parts)
    if kind == "norm":
        return nn.Sequential(conv(reads, made), nn.BatchNorm2d(made, eps=0.0), neurons())
    if kind == "grouped":
        return nn.Sequential(conv(reads, made, groups=reads), nn.Dropout2d(), neurons())
    return nn.Sequential(conv(reads, made), neurons(), nn.Identity())


def dyadic(module: nn.Module, seed: int) -> nn.Module:
    """Give every weight and statistic of a module a small dyadic number, and set it to eval mode."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for entry in module.modules():
            if isinstance(entry, nn.Conv2d | nn.Linear | nn.BatchNorm2d):
                for value in entry.parameters(recurse=False):
                    value.copy_(torch.randint(-4, 9, value.shape, generator=generator) / 8)
            if isinstance(entry, nn.BatchNorm2d):
                assert entry.running_mean is not None
                assert entry.running_var is not None
                shape = entry.running_mean.shape
                entry.running_mean.copy_(torch.randint(-4, 5, shape, generator=generator) / 8)
                entry.running_var.copy_(torch.randint(1, 3, shape, generator=generator) ** 2.0)
    return module.eval()


def random_module(
    draw: random.Random, neurons: Neurons, sum_pool: type[nn.Module] = nn.AvgPool2d
) -> nn.Module:
    """A module that computes what its classes say."""
    return dyadic(RandomModule(draw, neurons, sum_pool), draw.randrange(1 << 30))


class _Halved(nn.Module):
    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return weight / 2


class _Wrapped(nn.Module):
    def __init__(self, inner: nn.Module, draw: random.Random) -> None:
        super().__init__()
        self.inner = inner
        self.kind = draw.choice(["plain", "doubled", "by value", "by training"])

    def forward(self, x: torch.Tensor) -> Any:
        if self.kind == "by training" and self.training:
            return None
        if self.kind == "by value" and x.sum() > 100:
            x = x * 2
        return self.inner(x * 2 if self.kind == "doubled" else x)


def _replaced(module: nn.Module, factor: float) -> None:
    old = module.forward
    module.forward = types.MethodType(lambda self, x: old(x) * factor, module)


def tampered(draw: random.Random, module: nn.Module) -> nn.Module:
    """The module with a hook, a wrapper, a mask: some change what it computes, some do not."""
    entries = [entry for entry in module.modules() if not isinstance(entry, nn.ModuleList | nn.ModuleDict)]
    weighted = [entry for entry in entries if isinstance(entry, nn.Conv2d | nn.Linear)]
    entry, layer = draw.choice(entries), draw.choice(weighted)
    factor = draw.choice([1.0, 2.0, 0.5, 0.0])
    kind = draw.randrange(9)

    def scaled(module: nn.Module, given: Any, result: Any) -> Any:
        return tuple(x * factor for x in result) if isinstance(result, tuple) else result * factor

    def ablated(module: nn.Module, given: Any, result: Any) -> Any:
        return result * (torch.arange(result.shape[1]) > 0).view(1, -1, *[1] * (result.ndim - 2))

    if kind == 0:
        entry.register_forward_hook(scaled)
    elif kind == 1:
        entry.register_forward_pre_hook(lambda module, given: (given[0] * factor,))
    elif kind == 2:
        _replaced(draw.choice(weighted), factor)
    elif kind == 3:
        layer.register_forward_hook(ablated)
    elif kind == 4:
        prune.RandomUnstructured.apply(layer, "weight", 0.5)  # type: ignore[no-untyped-call]
        with torch.no_grad():
            layer.weight_orig.mul_(2)  # type: ignore[operator]
    elif kind == 5:
        parametrize.register_parametrization(layer, "weight", _Halved())
    elif kind == 6:
        entry.register_forward_hook(lambda module, given, result: None)
    elif kind == 7:
        entry.register_forward_hook(
            lambda module, given, result: result + 1 if isinstance(result, torch.Tensor) else None
        )
    else:
        return _Wrapped(module, draw).eval()
    return module


def check_random_modules(
    instances: int, neurons: Neurons, spiking: Neurons, sum_pool: type[nn.Module]
) -> int:
    """Read random modules: each must be refused or compute what the network does; number of the refused.

    Parameters
    ----------
    neurons, spiking
        Of the module; what its rectifiers are read as.
    """
    refused = 0
    for seed in range(instances):
        draw = random.Random(seed)  # noqa: S311
        module = random_module(draw, neurons, sum_pool)
        is_tampered = seed % 3 == 0
        module = tampered(draw, module) if is_tampered else module
        try:
            network = load_network(module, SHAPE, torch=TorchOptions(1.0))
        except NetworkError:
            if not is_tampered:
                raise
            refused += 1
        else:
            assert _computes_the_same(network, _as_spiking(module, spiking), seed), seed
    return refused


def _as_spiking(module: nn.Module, spiking: Neurons) -> nn.Module:
    """The module with the neurons that its rectifiers were read as, hooks and all."""
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.ReLU):
                neurons = spiking()
                neurons._forward_hooks.update(child._forward_hooks)
                neurons._forward_pre_hooks.update(child._forward_pre_hooks)
                setattr(parent, name, neurons)
    return module


def _computes_the_same(network: Network, module: nn.Module, seed: int) -> bool:
    x = np.random.default_rng(seed).integers(0, 3, (7, *SHAPE))
    for entry in module.modules():
        if callable(reset := getattr(entry, "reset_states", None)):
            reset()
    threads = torch.get_num_threads()
    # Small frames: waiting threads would take most of the time.
    torch.set_num_threads(1)
    with torch.no_grad():
        result = module(torch.from_numpy(x).float())
    torch.set_num_threads(threads)
    run = simulate(network, {network.inputs[0].name: x})
    # What several layers give together is joined on the host: the first output is one layer's.
    made = result[0] if isinstance(result, tuple) else result
    found = next(iter(run.outputs.values()))
    return np.array_equal(found.reshape(7, -1), made.detach().numpy().reshape(7, -1))
