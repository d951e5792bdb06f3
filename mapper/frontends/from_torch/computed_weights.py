"""The weights a module computes with now: pruned, normalised and quantised ones have other values stored."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.nn.utils import prune
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from mapper.frontends.from_torch.values import RefusalError

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


def is_known_hook(hook: object) -> bool:
    """Whether a forward hook is one of torch's that `weight_of` and `bias_of` compute."""
    return any(isinstance(hook, kind) for kind, _, _ in _HOOKS)


def weight_of(module: Any) -> Any:
    """The weight a convolution or linear layer computes with now, which its `weight` may not show.

    Raises
    ------
    RefusalError
        A quantiser of more than weights.
    """
    if str(type(module).__module__).startswith(_INTEGER):
        step = "Give the network before it was converted: weights become integers here"
        raise RefusalError("computes with integer weights of its own (torch.ao quantization)", step)
    if hasattr(module, "quant_weight"):
        if wrong := [name for name in ("input_quant", "output_quant", "bias_quant") if _is_on(module, name)]:
            raise RefusalError(_QUANTISED, _STEP, ", ".join(wrong))
        # Scales may be statistics that a call renews.
        return copy.deepcopy(module).quant_weight().value
    weight = _current(module, "weight")
    quantiser = getattr(module, "weight_fake_quant", None)
    return weight if quantiser is None else copy.deepcopy(quantiser)(weight)


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
