"""Integrate-and-fire neurons of one core in torch."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any

import numpy as np
import torch
from torch import nn

from mapper.compat.arrivals import Arrivals
from mapper.errors import Finding, NetworkError
from mapper.operations import Neuron, Shape

__all__ = [
    "IntegrateAndFire",
    "Numbers",
    "Surrogate",
    "as_float",
    "as_scalar",
    "default_surrogate",
    "neurons",
]

# (potential before the spike, threshold) -> gradient of the spike count by the potential.
Surrogate = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

# What users set: a name that is nearly one of these would be taken, and change nothing.
_SET = ("spike_threshold", "min_v_mem", "initial_v_mem", "v_mem", "surrogate_grad_fn", "batch_size")


def default_surrogate(potential: torch.Tensor, threshold: torch.Tensor) -> torch.Tensor:
    """``exp(-|potential - threshold| / threshold) / threshold``: largest where a spike is decided."""
    return torch.exp(-(potential - threshold).abs() / threshold) / threshold


class _Spikes(torch.autograd.Function):
    """Spikes of one step forwards, the surrogate's gradient backwards."""

    @staticmethod
    def forward(
        context: Any,
        potential: torch.Tensor,
        threshold: torch.Tensor,
        neuron: Neuron,
        surrogate: Surrogate,
        arrived: torch.Tensor | None,
    ) -> torch.Tensor:
        """``max(0, trunc(potential / threshold))`` spikes of one step; above, ``max(0, ceil(...) - 1)``.

        Parameters
        ----------
        potential
            Before the spikes, in the unit of the weights, (batch, features, height, width).
        threshold
            In the same unit, > 0, a scalar.
        neuron
            Says whether one spike is the most, and whether the threshold is to be exceeded.
        arrived
            Spikes that reached each neuron, which answers each by one at most; None where steps are added up.

        Returns
        -------
        torch.Tensor
            Whole numbers as floats, in the potential's shape.
        """
        context.save_for_backward(potential, threshold, arrived)
        context.surrogate = surrogate
        shares = potential / threshold
        whole = torch.trunc(shares) if neuron.fires_at == "reached" else torch.ceil(shares) - 1
        if arrived is not None:
            # A chip has no other mode: it knows arrivals, and no steps.
            return torch.minimum(whole.clamp(min=0), arrived)
        return whole.clamp(min=0, max=1 if neuron.spike_mode == "single" else None)

    @staticmethod
    def backward(context: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None, None, None, None]:
        """The gradient by the potential, in its shape; nothing else gets one."""
        potential, threshold, arrived = context.saved_tensors
        gradient = gradients[0] * context.surrogate(potential, threshold)
        # What no spike reached could not have spiked, whatever its potential.
        gradient = gradient if arrived is None else gradient * (arrived > 0)
        return gradient, None, None, None, None


@dataclass(frozen=True, slots=True)
class Numbers:
    """What a layer computes with: its own tensors, or the integers that stand for them.

    Attributes
    ----------
    bias
        None for none.
    minimum
        Lower bound of the potential; minus infinity for none.
    initial
        (features, height, width) before the first step, or empty for zeros.
    """

    weight: torch.Tensor
    bias: torch.Tensor | None
    threshold: torch.Tensor
    minimum: torch.Tensor
    initial: torch.Tensor


class IntegrateAndFire(nn.Module):
    """Neurons of a core; their potentials persist from call to call until they are reset.

    Attributes
    ----------
    spike_threshold, min_v_mem
        Scalars in the unit of the weights; a lower bound of minus infinity is none. A plain number or None
        may be assigned.
    initial_v_mem
        (features, height, width) after a reset; empty for zeros.
    v_mem
        (batch, features, height, width) now; empty after a reset. No part of the state dict.
    batch_size
        Samples that stand one after the other along the first axis of the input.
    is_integer
        Whether drawn potentials are whole numbers, as the chip's are.
    """

    spike_threshold: torch.Tensor
    min_v_mem: torch.Tensor
    initial_v_mem: torch.Tensor
    v_mem: torch.Tensor
    numbers: Numbers | None = None
    does_spike = True
    is_integer = False

    def __init__(self, neuron: Neuron, surrogate: Surrogate) -> None:
        # Not by `super`: where sinabs is loaded, a class of it stands between, and wants arguments.
        nn.Module.__init__(self)
        initial = torch.zeros(0) if neuron.initial_potential is None else as_float(neuron.initial_potential)
        self.register_buffer("spike_threshold", as_scalar(neuron.threshold))
        self.register_buffer("min_v_mem", as_scalar(neuron.minimum))
        self.register_buffer("initial_v_mem", initial)
        # No buffer: what averages or saves buffers wants those that keep their shape.
        self.v_mem = torch.zeros(0)
        self.neuron = replace(neuron, initial_potential=None)
        self.surrogate_grad_fn = surrogate
        self.batch_size = 1
        self._is_drawn = False

    def __setattr__(self, name: str, value: Any) -> None:
        is_new = name not in _SET and not name.startswith("_") and not hasattr(self, name)
        # What is near to none of them belongs to tools that keep something of theirs here.
        if is_new and (close := get_close_matches(name, _SET, n=1, cutoff=0.7)):
            raise AttributeError(f"{type(self).__name__} has no {name}. Did you mean {close[0]}?")
        if name in ("spike_threshold", "min_v_mem") and not isinstance(value, torch.Tensor):
            value = as_scalar(value).to(self.initial_v_mem.device)
        super().__setattr__(name, value)

    @property
    def num_timesteps(self) -> int:
        """-1: as many as the input has per sample."""
        return -1

    def is_state_initialised(self) -> bool:
        """Whether potentials are left from a call."""
        return self.v_mem.numel() > 0

    def reset_states(self, randomize: bool = False) -> None:
        """Potentials as at the start; with `randomize` drawn between lower bound and threshold."""
        self._is_drawn = randomize
        self.v_mem = self._drawn(1, self._shape) if randomize else self.v_mem.new_zeros(0)

    def set_shape(self, shape: Shape) -> None:
        """Tell the neurons how many they are, before they may draw potentials."""
        self._shape = tuple(shape)

    def potentials(self) -> torch.Tensor:
        """What the next step starts from, (batch, features, height, width)."""
        if self.is_state_initialised():
            return self.v_mem
        initial = self.initial_v_mem if self.numbers is None else self.numbers.initial
        return (initial if initial.numel() else self.spike_threshold.new_zeros(self._shape))[None]

    def forward(self, current: torch.Tensor, arrivals: Arrivals | None = None) -> torch.Tensor:
        """Spikes of (batch * time, features, height, width), one sample's steps after the other's.

        Parameters
        ----------
        arrivals
            Where spikes are taken one after the other: how many each neuron may answer, and the biases, which
            the currents are then without.
        """
        frames = current.reshape(self.batch_size, -1, *current.shape[1:])
        if tuple(current.shape[1:]) != self._shape:
            # Weights of another shape were put in place: there are other neurons now.
            self._shape, self.v_mem = tuple(current.shape[1:]), self.v_mem.new_zeros(0)
        numbers = self.numbers
        state = self._state(frames)
        threshold = (self.spike_threshold if numbers is None else numbers.threshold).to(frames)
        minimum = (self.min_v_mem if numbers is None else numbers.minimum).to(frames)
        counts = (
            None if arrivals is None else arrivals.counts.reshape(*frames.shape[:2], 1, *frames.shape[3:])
        )
        spikes = []
        # Each step taken from the whole anew would cost a gradient of the whole's size.
        for now, arriving in enumerate(frames.unbind(1)):
            if arrivals is not None and arrivals.bias is not None and arrivals.begins[now]:
                state = state + arrivals.bias.to(frames)[:, None, None]
                state = torch.where(state > minimum, state, minimum)
            state = state + arriving
            fired: torch.Tensor = _Spikes.apply(  # type: ignore[no-untyped-call]
                state,
                threshold,
                self.neuron,
                self.surrogate_grad_fn,
                None if counts is None else counts[:, now].to(frames),
            )
            spikes.append(fired)
            if self.neuron.reset == "zero":
                state = state.masked_fill(fired > 0, 0.0)
            else:
                state = state - fired * threshold
            # At the bound no gradient passes, as in sinabs; `maximum` would pass half of it.
            state = torch.where(state > minimum, state, minimum)
        self.v_mem, self._is_drawn = state.detach(), False
        return torch.stack(spikes, 1).flatten(0, 1)

    def _state(self, frames: torch.Tensor) -> torch.Tensor:
        batch = frames.shape[0]
        state = self.potentials().to(frames)
        if not self.is_state_initialised():
            return state.expand(batch, *state.shape[1:])
        if self._is_drawn and len(state) < batch:
            return torch.cat([state, self._drawn(batch - len(state), state.shape[1:]).to(frames)])
        if len(state) != batch:
            step = "Call reset_states() first"
            raise NetworkError(Finding("batch size", "has changed", batch, len(state), next_step=step))
        return state

    def _drawn(self, count: int, shape: tuple[int, ...]) -> torch.Tensor:
        numbers = self.numbers
        threshold = (self.spike_threshold if numbers is None else numbers.threshold).float()
        minimum = (self.min_v_mem if numbers is None else numbers.minimum).float()
        low = minimum if torch.isfinite(minimum) else -threshold
        drawn = torch.rand(count, *shape, device=threshold.device) * (threshold - low) + low
        return drawn.floor() if self.is_integer else drawn

    def _apply(self, fn: Any, recurse: bool = True) -> IntegrateAndFire:
        kept = {name: getattr(self, name) for name in ("spike_threshold", "min_v_mem", "initial_v_mem")}
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]  # torch's own
        for name, before in kept.items():
            now: torch.Tensor = getattr(self, name)
            if now.dtype.is_floating_point and now.dtype.itemsize < before.dtype.itemsize:
                setattr(self, name, before.to(now.device))
        return self

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *more: Any) -> None:
        given = state_dict.get(f"{prefix}initial_v_mem")
        if isinstance(given, torch.Tensor) and given.dim() in (1, 3):
            # Zeros are stored as nothing, so either side may be empty.
            self.initial_v_mem = self.initial_v_mem.new_zeros(given.shape)
        super()._load_from_state_dict(state_dict, prefix, *more)

    def extra_repr(self) -> str:
        """Threshold, lower bound and reset."""
        bound = "" if torch.isinf(self.min_v_mem) else f", min_v_mem={float(self.min_v_mem):g}"
        return f"spike_threshold={float(self.spike_threshold):g}{bound}, reset={self.neuron.reset}"


def neurons(neuron: Neuron, surrogate: Surrogate) -> IntegrateAndFire:
    """Neurons of a layer, which sinabs' tools find where it is loaded."""
    if "sinabs.layers" in sys.modules:
        from mapper.compat.with_sinabs import SqueezedNeurons  # noqa: PLC0415  # sinabs is optional

        return SqueezedNeurons(neuron, surrogate)
    return IntegrateAndFire(neuron, surrogate)


def as_scalar(value: Any) -> torch.Tensor:
    """A number as a tensor; None as minus infinity."""
    if value is None:
        return torch.tensor(-torch.inf)
    return torch.tensor(float(np.asarray(value).item()))


def as_float(array: Any) -> torch.Tensor:
    """An array in single precision."""
    return torch.tensor(np.asarray(array), dtype=torch.float32)
