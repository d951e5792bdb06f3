"""Classes that look like sinabs' own, by name, module and attributes (as in sinabs 3.1.3), for an environment without it.

`IAFSqueeze` computes for real, in the order sinabs does, so that a module can be its own reference.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


class MultiSpike: ...


class SingleSpike: ...


class MaxSpike:
    max_num_spikes_per_bin = 2


class MembraneSubtract:
    def __init__(self, subtract_value: float | None = None) -> None:
        self.subtract_value = subtract_value


class MembraneReset:
    def __init__(self, reset_value: float = 0.0) -> None:
        self.reset_value = reset_value


class Exponential: ...


class IAF(nn.Module):
    """Neurons of (batch, time, ...) currents."""

    def __init__(
        self,
        spike_threshold: Any = 1.0,
        min_v_mem: Any = None,
        spike_fn: Any = MultiSpike,
        reset_fn: Any = None,
        tau_syn: Any = None,
    ) -> None:
        super().__init__()
        self.spike_threshold = nn.Parameter(torch.as_tensor(spike_threshold), requires_grad=False)
        self.min_v_mem = (
            None if min_v_mem is None else nn.Parameter(torch.as_tensor(min_v_mem), requires_grad=False)
        )
        self.spike_fn, self.reset_fn = spike_fn, reset_fn or MembraneSubtract()
        self.tau_syn = None if tau_syn is None else nn.Parameter(torch.as_tensor(tau_syn))
        self.tau_mem = None
        self.v_mem: torch.Tensor
        self.register_buffer("v_mem", torch.zeros(0))

    def reset_states(self) -> None:
        self.v_mem = torch.zeros(0)

    def forward(self, currents: torch.Tensor) -> torch.Tensor:
        return torch.stack([self.step(current) for current in currents.unbind(1)], 1)

    def step(self, current: torch.Tensor) -> torch.Tensor:
        potential = current + (self.v_mem if self.v_mem.shape == current.shape else 0.0)
        spikes = torch.where(potential > 0, torch.trunc(potential / self.spike_threshold), 0.0)
        if self.spike_fn is SingleSpike:
            spikes = spikes.clamp(max=1)
        if isinstance(self.reset_fn, MembraneSubtract):
            potential = potential - spikes * self.spike_threshold
        else:
            potential = torch.where(spikes > 0, 0.0, potential)
        self.v_mem = potential if self.min_v_mem is None else torch.maximum(potential, self.min_v_mem)
        return spikes


class IAFSqueeze(IAF):
    """Neurons of (time, ...) currents of one sample."""

    def forward(self, currents: torch.Tensor) -> torch.Tensor:
        return super().forward(currents[None])[0]


class _Leaf(nn.Module):
    """A layer that exists for its name."""

    def __init__(self, **fields: Any) -> None:
        super().__init__()
        for name, value in fields.items():
            setattr(self, name, value)

    def forward(self, *values: Any) -> Any:
        raise AssertionError("nobody asks what it computes")


class LIF(IAFSqueeze): ...


class LIFSqueeze(IAFSqueeze): ...


class ExpLeak(_Leaf): ...


class ALIF(IAFSqueeze): ...


class IAFRecurrent(IAFSqueeze): ...


class SpikingMaxPooling2dLayer(_Leaf): ...


class ChannelShift(_Leaf): ...


class InputLayer(_Leaf):
    def forward(self, *values: Any) -> Any:
        (x,) = values
        return x


class DVSLayer(_Leaf):
    def forward(self, *values: Any) -> Any:
        (x,) = values
        x = x.sum(1, keepdim=True) if self.merge_polarities else x
        x = self.pool_layer(x)  # type: ignore[operator]
        crop: Any = self.crop_layer
        x = x[..., crop.top_crop : crop.bottom_crop, crop.left_crop : crop.right_crop]
        flip: Any = self.flip_layer
        x = x.flip(2) if flip.flip_y else x
        x = x.flip(3) if flip.flip_x else x
        return x.transpose(2, 3) if flip.swap_xy else x


class UnflattenTime(_Leaf):
    def forward(self, *values: Any) -> Any:
        (x,) = values
        return x.unflatten(0, (1, -1))


class Crop2d(_Leaf): ...


class FlipDims(_Leaf): ...


class NeuromorphicReLU(_Leaf):
    def forward(self, *values: Any) -> Any:
        (x,) = values
        return torch.relu(x).floor()


class DynapcnnNetwork(_Leaf): ...


class FlattenTime(nn.Flatten):
    def __init__(self) -> None:
        super().__init__(0, 1)


class SumPool2d(nn.LPPool2d):
    def __init__(self, kernel_size: Any, stride: Any = None, ceil_mode: bool = False) -> None:
        super().__init__(1, kernel_size, stride, ceil_mode)


class Merge(nn.Module):
    def forward(self, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        if left.shape == right.shape:  # control flow: to be taken as a leaf
            return left + right
        wide, narrow = (left, right) if left.shape[1] > right.shape[1] else (right, left)
        missing = torch.zeros_like(wide[:, narrow.shape[1] :])
        return wide + torch.cat([narrow, missing], 1)


class Repeat(nn.Module):
    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: torch.Tensor) -> Any:
        shape = x.shape[:2]
        return self.module(x.flatten(0, 1)).unflatten(0, shape)


class Network(nn.Module):
    def __init__(self, spiking_model: nn.Module | None, input_shape: Any = None) -> None:
        super().__init__()
        self.analog_model, self.spiking_model, self.input_shape = None, spiking_model, input_shape

    def forward(self, x: torch.Tensor) -> Any:
        assert self.spiking_model is not None
        return self.spiking_model(x)


def dvs(
    size: tuple[int, int],
    pool: Any = (1, 1),
    crop: Any = None,
    merge: bool = False,
    off: bool = False,
    **flips: bool,
) -> DVSLayer:
    """A DVSLayer with the attributes that the real one builds."""
    full = ((0, size[0] // pool[0]), (0, size[1] // pool[1]))
    (top, bottom), (left, right) = crop or full
    return DVSLayer(
        input_shape=(1 if merge else 2, *size),
        merge_polarities=merge,
        pool_layer=SumPool2d(pool),
        crop_layer=Crop2d(top_crop=top, bottom_crop=bottom, left_crop=left, right_crop=right),
        flip_layer=FlipDims(**({"flip_x": False, "flip_y": False, "swap_xy": False} | flips)),
        disable_pixel_array=off,
    )


for _name, _entry in list(globals().items()):
    if isinstance(_entry, type) and _entry.__module__ == __name__:
        _home = {"Network": "network", "DVSLayer": "backend.dynapcnn.dvs_layer"}.get(
            _name, "layers." + _name.lower()
        )
        _entry.__module__ = f"sinabs.{_home}"
