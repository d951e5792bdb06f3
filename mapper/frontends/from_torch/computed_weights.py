"""The weights a module computes with now: pruned, normalised and quantised ones have other values stored.

Quantisers of weights say which integers these are (`mapper.operations.Integers`): `FakeQuantize` and
reference modules of torch.ao, and the weight quantisers of Brevitas.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch.nn.utils import prune
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from mapper.frontends.from_torch.values import RefusalError
from mapper.operations import Integers

__all__ = ["bias_of", "is_known_hook", "weight_of"]

# Hooks of torch itself that set a weight before each forward, and how to get its value without one.
_HOOKS: tuple[tuple[type, str, Callable[[Any, Any], Any]], ...] = (
    (prune.BasePruningMethod, "_tensor_name", lambda hook, module: hook.apply_mask(module)),
    (WeightNorm, "name", lambda hook, module: hook.compute_weight(module)),
    (SpectralNorm, "name", lambda hook, module: hook.compute_weight(module, do_power_iteration=False)),
)
_INTEGER = ("torch.ao.nn.quantized", "torch.ao.nn.intrinsic.quantized")
_QUANTISED = "quantises what it reads or gives, and spikes are counts"
_STEP = "Leave input_quant, output_quant and bias_quant out: only weights become integers here"
_REFERENCE = "torch.ao.nn.quantized.reference"


def is_known_hook(hook: object) -> bool:
    """Whether a forward hook is one of torch's that `weight_of` and `bias_of` compute."""
    return any(isinstance(hook, kind) for kind, _, _ in _HOOKS)


def weight_of(module: Any) -> tuple[Any, Integers | None]:
    """The weight a convolution or linear layer computes with now, and which integers its quantiser makes.

    Raises
    ------
    RefusalError
        A quantiser of more than weights.
    """
    if str(type(module).__module__).startswith(_REFERENCE):
        return module.get_weight(), _declared(module.weight_scale, module.weight_zero_point)
    if str(type(module).__module__).startswith(_INTEGER):
        step = "Give the network before it was converted: the integers of its weights are kept here"
        raise RefusalError("computes with integer weights of its own (torch.ao quantization)", step)
    if hasattr(module, "quant_weight"):
        if wrong := [name for name in ("input_quant", "output_quant", "bias_quant") if _is_on(module, name)]:
            raise RefusalError(_QUANTISED, _STEP, ", ".join(wrong))
        # Scales may be statistics that a call renews.
        made = copy.deepcopy(module).quant_weight()
        return made.value, _of_brevitas(made)
    weight = _current(module, "weight")
    quantiser = getattr(module, "weight_fake_quant", None)
    if quantiser is None:
        return weight, None
    if _quantises(getattr(module, "activation_post_process", None)):
        step = (
            "Prepare it with QConfig(activation=nn.Identity, weight=...): only weights become integers here"
        )
        raise RefusalError(_QUANTISED, step, "activation_post_process")
    # A call may renew the scale.
    quantiser = copy.deepcopy(quantiser)
    return quantiser(weight), _of_fake_quantiser(quantiser)


def _of_fake_quantiser(quantiser: Any) -> Integers | None:
    return _declared(quantiser.scale, quantiser.zero_point) if _quantises(quantiser) else None


def _quantises(entry: Any) -> bool:
    """Whether this is one of torch.ao's, by name since torch means to move them, and switched on."""
    is_one = any(kind.__name__ == "FakeQuantizeBase" for kind in type(entry).__mro__)
    return is_one and bool(entry.fake_quant_enabled[0])


def _of_brevitas(made: Any) -> Integers | None:
    """Of a tensor of integers, which older versions name otherwise; its other formats have none."""
    is_whole = type(made).__name__ in ("IntQuantTensor", "QuantTensor")
    return _declared(made.scale, made.zero_point) if is_whole else None


def _declared(scale: Any, zero_point: Any) -> Integers:
    """Integers of a scale and a zero point, or why a core cannot keep them."""
    scales = torch.as_tensor(scale).detach().double().cpu().numpy().ravel()
    zeros = torch.as_tensor(zero_point).detach().double().cpu().numpy().ravel()
    if np.any(zeros != 0):
        listed = f"{zeros[0]:g}" if np.all(zeros == zeros[0]) else f"{zeros.min():g} to {zeros.max():g}"
        return Integers(None, f"its zero point is {listed}, and a core has none")
    if not np.all(scales == scales[0]):
        return Integers(None, "its scales differ by feature, and a core has one threshold for all of them")
    if not 0 < scales[0] < np.inf:
        return Integers(None, f"its scale is {scales[0]:g}")
    return Integers(float(scales[0]))


def bias_of(module: Any) -> Any:
    """The bias a layer computes with now, or None."""
    return _current(module, "bias")


def _is_on(module: Any, name: str) -> bool:
    return bool(getattr(getattr(module, name, None), "is_quant_enabled", False))


def _current(module: Any, name: str) -> Any:
    value = getattr(module, name)
    for made in _made_by_hooks(module, name):
        value = made
    return value


def _made_by_hooks(module: Any, name: str) -> Iterator[torch.Tensor]:
    for hook in getattr(module, "_forward_pre_hooks", {}).values():
        for kind, field, value in _HOOKS:
            if isinstance(hook, kind) and getattr(hook, field) == name:
                yield value(hook, module)
