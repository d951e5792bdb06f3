"""One core's layer in torch: a convolution and integrate-and-fire neurons, whose tensors are the network.

Where a layer is to be integers, its parameters stay floats in the chip's units: 127 is the largest weight.
Whatever uses them, `forward` or a configuration, takes the integers of `DynapcnnLayer.numbers`; gradients
pass the rounding as if it were not there (straight-through; Bengio, Léonard and Courville 2013).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.utils.prune import BasePruningMethod
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from mapper.compat.arrivals import Arrivals
from mapper.compat.neurons import IntegrateAndFire, Numbers, Surrogate, as_float, as_scalar, neurons
from mapper.errors import Finding, NetworkError
from mapper.normal_form import NormalLayer
from mapper.operations import Pair
from mapper.passes.quantize import STATE_HALF, WEIGHT_HALF, layer_scale, rounded
from mapper.sim.core_arrays import SHORT_COUNT_MAX

__all__ = ["CoreConvolution", "DynapcnnLayer", "bare"]

_WEIGHT_RANGE, _STATE_RANGE = ((-half, half - 1) for half in (WEIGHT_HALF, STATE_HALF))


class CoreConvolution(nn.Conv2d):
    """A convolution that takes its layer's numbers while the layer runs, and its own otherwise."""

    numbers: Numbers | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Currents of spike counts: (frames, features, height, width), in single precision at least."""
        weight, bias = self.weight, self.bias
        if self.numbers is not None:
            weight, bias = self.numbers.weight, self.numbers.bias
        # Sums of spikes and potentials of 16 bits have no room in half precision.
        exact = torch.promote_types(torch.promote_types(x.dtype, weight.dtype), torch.float32)
        if self.numbers is not None and x.is_cuda and float(x.detach().abs().amax()) > SHORT_COUNT_MAX:
            exact = torch.float64
        with torch.autocast(x.device.type, enabled=False):
            bias = None if bias is None else bias.to(exact)
            return nn.functional.conv2d(x.to(exact), weight.to(exact), bias, self.stride, self.padding)

    def reaching(self, x: torch.Tensor) -> torch.Tensor:
        """How many spikes reach each neuron, whatever their weights: (frames, 1, height, width)."""
        # Where TF32 may be used, single precision does not hold every count.
        kind = torch.float64 if x.is_cuda else torch.float32
        counts = x.detach().sum(1, keepdim=True, dtype=kind)
        with torch.autocast(x.device.type, enabled=False):
            taps = counts.new_ones(1, 1, *self.weight.shape[2:])
            return nn.functional.conv2d(counts, taps, None, self.stride, self.padding)


class DynapcnnLayer(nn.Module):
    """A convolution with its neurons.

    Attributes
    ----------
    conv, spk
        Also as `conv_layer` and `spk_layer`. Their tensors are the network: what is changed there is
        simulated, placed and emitted from then on.
    in_shape
        (features, height, width) of the map that reaches it.
    pool
        (height, width) of the pool on the way to each destination, in the order of `layer_destination_map`.
    discretize
        Whether `numbers` are integers.
    """

    def __init__(self, layer: NormalLayer, surrogate: Surrogate, pool: list[Any], discretize: bool) -> None:
        super().__init__()
        operation, weight = layer.operation, layer.operation.weight
        if weight is None:
            raise NetworkError(Finding(f"layer {layer.title}", "has no weights to run"))
        has_bias = operation.bias is not None
        self.conv = CoreConvolution(
            weight.shape[1],
            weight.shape[0],
            operation.kernel,
            operation.stride,
            operation.padding,
            bias=has_bias,
        )
        self.conv.weight.data = as_float(weight)
        if self.conv.bias is not None:
            self.conv.bias.data = as_float(operation.bias)
        self.spk = neurons(layer.neuron, surrogate)
        self.spk.set_shape(layer.output_shape)
        self.spk.is_integer = discretize
        self.in_shape = tuple(layer.input_shape)
        self.pool, self.discretize = pool, discretize
        self.structure = bare(layer)

    @property
    def conv_layer(self) -> CoreConvolution:
        """The convolution."""
        return self.conv

    @property
    def spk_layer(self) -> IntegrateAndFire:
        """The neurons."""
        return self.spk

    @property
    def weight(self) -> torch.Tensor:
        """The convolution's weights."""
        return self.conv.weight

    @property
    def bias(self) -> torch.Tensor | None:
        """The convolution's biases."""
        return self.conv.bias

    def forward(self, x: torch.Tensor, begins: Sequence[bool] | None = None) -> torch.Tensor:
        """Spikes of (batch * time, features, height, width), before any pool.

        Parameters
        ----------
        begins
            Where frames are parts of time steps: for each of a sample whether a step begins with it.
        """
        with self._at_work() as numbers:
            if begins is None:
                spikes: torch.Tensor = self.spk(self.conv(x))
            else:
                # Biases come once a step, not with every part.
                self.conv.numbers = replace(numbers, bias=None)
                spikes = self.spk(self.conv(x), Arrivals(self.conv.reaching(x), numbers.bias, begins))
        return spikes.to(x)

    def reset_states(self, randomize: bool = False) -> None:
        """Potentials as at the start, or drawn in the unit of `numbers`."""
        with self._at_work():
            self.spk.reset_states(randomize)

    def potentials(self) -> torch.Tensor:
        """What the next step starts from, in the unit of `numbers`, (batch, features, height, width)."""
        with self._at_work():
            return self.spk.potentials()

    @contextmanager
    def _at_work(self) -> Iterator[Numbers]:
        """Convolution and neurons take the layer's numbers in this block."""
        self.conv.numbers = self.spk.numbers = numbers = self.numbers()
        try:
            yield numbers
        finally:
            self.conv.numbers = self.spk.numbers = None

    def numbers(self) -> Numbers:
        """What the layer computes with; integers, where they are asked for and the numbers are finite."""
        conv, spk = _recomputed(self.conv), self.spk
        own = Numbers(conv.weight, conv.bias, spk.spike_threshold, spk.min_v_mem, spk.initial_v_mem)
        if not self.discretize:
            return own
        if self.is_integer():
            return replace(own, minimum=_mended(own.minimum.clamp(min=_STATE_RANGE[0])))
        layer = self.as_normal()
        if not all(torch.isfinite(part).all() for part in self.parameters()):
            return own
        scale, whole = float(layer_scale(layer)), rounded(layer)
        return Numbers(
            _straight_through(conv.weight, scale, whole.operation.weight),
            None if conv.bias is None else _straight_through(conv.bias, scale, whole.operation.bias),
            as_scalar(whole.neuron.threshold).to(conv.weight.device),
            _mended(as_scalar(whole.neuron.minimum).to(conv.weight.device)),
            as_float(whole.neuron.initial_potential).to(conv.weight.device)
            if spk.initial_v_mem.numel()
            else spk.initial_v_mem,
        )

    def is_integer(self) -> bool:
        """Whether all numbers are integers that a core's fields hold, so that they stand as they are."""
        conv, spk = _recomputed(self.conv), self.spk
        # No bound is the least number that a core holds.
        bound = spk.min_v_mem.clamp(min=_STATE_RANGE[0])
        return _is_whole(conv.weight, _WEIGHT_RANGE) and all(
            _is_whole(values, _STATE_RANGE)
            for values in (conv.bias, spk.spike_threshold, bound, spk.initial_v_mem)
            if values is not None
        )

    def as_normal(self) -> NormalLayer:
        """The layer as the rest of this package knows it, of integers where these stand as they are.

        Raises
        ------
        NetworkError
            Thresholds or initial potentials that are none of a layer's.
        """
        conv, spk = _recomputed(self.conv), self.spk
        kind: Any = np.int64 if self.discretize and self.is_integer() else np.float32
        number = int if kind is np.int64 else float
        if spk.spike_threshold.numel() != 1 or spk.min_v_mem.numel() != 1:
            problem = "a core has one threshold and one lower bound"
            raise NetworkError(
                Finding(f"layer {self.structure.title}", problem, tuple(spk.spike_threshold.shape))
            )
        weight = _array(conv.weight).astype(kind)
        bias = None if conv.bias is None else _array(conv.bias).astype(kind)
        initial = _array(spk.initial_v_mem).astype(kind) if bool(spk.initial_v_mem.any()) else None
        operation = replace(
            self.structure.operation, out_features=weight.shape[0], weight=weight, bias=bias,
            has_bias=bias is not None and bool(np.any(bias)),
            stride=_pair(conv.stride), padding=_pair(conv.padding),
        )  # fmt: skip
        none = _STATE_RANGE[0] if kind is np.int64 else None
        bound = number(spk.min_v_mem) if bool(torch.isfinite(spk.min_v_mem)) else none
        neuron = replace(
            spk.neuron, threshold=number(spk.spike_threshold), minimum=bound, initial_potential=initial
        )
        return replace(self.structure, operation=operation, neuron=neuron)


def bare(layer: NormalLayer) -> NormalLayer:
    """The layer without its numbers."""
    operation = replace(layer.operation, weight=None, bias=None)
    return replace(layer, operation=operation, neuron=replace(layer.neuron, initial_potential=None))


def _recomputed(conv: CoreConvolution) -> CoreConvolution:
    """The convolution with weights as its pruning or weight norm would make them at its next call."""
    for hook in conv._forward_pre_hooks.values():
        if isinstance(hook, BasePruningMethod | WeightNorm):
            hook(conv, None)
        elif isinstance(hook, SpectralNorm):
            setattr(conv, hook.name, hook.compute_weight(conv, do_power_iteration=False))
    return conv


def _array(values: torch.Tensor) -> Any:
    return values.detach().to("cpu", torch.float32).numpy()


def _pair(value: Any) -> Pair:
    height, width = value if isinstance(value, tuple | list) else (value, value)
    return int(height), int(width)


def _mended(minimum: torch.Tensor) -> torch.Tensor:
    """A lower bound of 0 is -1 on the chip (erratum threshold-low-zero): `mend_minimum` in torch."""
    return torch.where(minimum == 0, -1.0, minimum)


def _straight_through(values: torch.Tensor, scale: float, whole: Any) -> torch.Tensor:
    """Integers forwards, the gradient of ``values * scale`` backwards."""
    scaled = values * scale
    return scaled + (as_float(whole).to(scaled) - scaled).detach()


def _is_whole(values: torch.Tensor, limits: tuple[int, int]) -> bool:
    low, high = limits
    return bool(((values == values.round()) & (values >= low) & (values <= high)).all())
