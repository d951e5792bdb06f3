"""Classes that look like those of Brevitas, SpikingJelly, snnTorch and norse, as far as they are read.

They compute as the real ones do (Brevitas 0.13, SpikingJelly 2.0, snnTorch 1.0, norse 1.1).
"""

from __future__ import annotations

import types
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn


class IntQuantTensor(types.SimpleNamespace):
    """As Brevitas' class, as far as it is read."""


class QuantConv2d(nn.Conv2d):
    """As Brevitas' class, as far as it is read."""

    bits = 2

    def quant_weight(self) -> Any:
        scale = self.weight.detach().abs().max() / (1 << self.bits - 1)
        whole = torch.round(self.weight / scale).clamp(-1, 1)
        return IntQuantTensor(value=whole * scale, scale=scale, zero_point=torch.tensor(0.0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.conv2d(x, self.quant_weight().value, self.bias)


class IFNode(nn.Module):
    """As SpikingJelly's class: a call is a step, one spike at most."""

    def __init__(self, v_threshold: float = 1.0, v_reset: float | None = 0.0) -> None:
        super().__init__()
        self.v_threshold, self.v_reset = v_threshold, v_reset
        self.v: Any = 0.0

    def reset(self) -> None:
        self.v = 0.0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        potential = self.v + x
        spikes: torch.Tensor = (potential >= self.v_threshold).to(x)
        reset = potential - self.v_threshold if self.v_reset is None else torch.tensor(self.v_reset).to(x)
        self.v = torch.where(spikes > 0, reset, potential)
        return spikes


class Leaky(nn.Module):
    """As snnTorch's class with a state of its own, or one that goes in and out."""

    def __init__(
        self,
        beta: float = 1.0,
        reset_mechanism: str = "subtract",
        output: bool = False,
        init_hidden: bool = True,
    ) -> None:
        super().__init__()
        self.beta, self.threshold, self.reset_mechanism = (
            torch.tensor(beta),
            torch.tensor(1.0),
            reset_mechanism,
        )
        self.init_hidden, self.output, self.inhibition, self.state_quant = init_hidden, output, False, False
        self.graded_spikes_factor = torch.tensor(1.0)
        self.mem = torch.zeros(0)

    def reset_mem(self) -> None:
        self.mem = torch.zeros(0)

    def init_leaky(self) -> torch.Tensor:
        return torch.zeros(0)

    def forward(self, x: torch.Tensor, mem: torch.Tensor | None = None) -> Any:
        given = self.mem if mem is None else mem
        before = given if given.shape == x.shape else torch.zeros_like(x)
        fired = before > self.threshold
        kept = before - fired * self.threshold if self.reset_mechanism == "subtract" else before * ~fired
        self.mem = kept + x
        spikes = (self.mem > self.threshold).to(x)
        return (spikes, self.mem) if self.output or not self.init_hidden else spikes


class IAFCell(nn.Module):
    """As norse's class: the state goes in and comes out."""

    def __init__(self, v_th: float = 1.0, v_reset: float = 0.0) -> None:
        super().__init__()
        self.p = types.SimpleNamespace(v_th=torch.tensor(v_th), v_reset=torch.tensor(v_reset))

    def forward(self, x: torch.Tensor, state: Any = None) -> Any:
        potential = x + (0.0 if state is None else state)
        spikes = (potential > self.p.v_th).to(x)
        return spikes, (1 - spikes) * potential


class SequentialState(nn.Sequential):
    """As norse's class."""

    def forward(self, x: torch.Tensor, state: Any = None) -> Any:
        state = [None] * len(self) if state is None else state
        for n, module in enumerate(self):
            if isinstance(module, IAFCell):
                x, state[n] = module(x, state[n])
            else:
                x = module(x)
        return x, state


IFNode.__module__ = "spikingjelly.activation_based.neuron"
Leaky.__module__ = "snntorch._neurons.leaky"
IAFCell.__module__ = "norse.torch.module.iaf"
SequentialState.__module__ = "norse.torch.module.sequential"
QuantConv2d.__module__ = "brevitas.nn.quant_conv"
