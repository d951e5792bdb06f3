"""Neurons of SpikingJelly, snnTorch and norse inside a torch module, recognised by name.

What they compute was found by running each framework: one spike a step at most, no lower bound; norse and
snnTorch fire above the threshold, SpikingJelly at it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np
import torch

from mapper.frontends.from_torch.values import RefusalError
from mapper.operations import Neuron

__all__ = ["EXPORTERS", "FOREIGN_NEURONS", "QUANTISED", "gives_state"]

# By package, what writes its networks to NIR.
EXPORTERS: Mapping[str, str] = {
    "spikingjelly": "spikingjelly.activation_based.nir_exchange.export_to_nir",
    "snntorch": "snntorch.export_nir.export_to_nir",
    "norse": "norse.torch.to_nir",
    "rockpool": "rockpool.nn.modules.to_nir",
    "lava": "lava-dl's NIR export",
    "slayer": "lava-dl's NIR export",
}
# Brevitas' layers, whose weights are read as they are quantised.
QUANTISED: Mapping[str, str] = {"QuantConv2d": "Conv2d", "QuantLinear": "Linear"}
_HARD = "Use reset to 0, or to the potential less the threshold"


def _number(value: Any, name: str) -> float:
    """One number, whatever holds it."""
    array = np.asarray(value.detach().cpu() if isinstance(value, torch.Tensor) else value, np.float32)
    if array.size == 0 or not np.all(array == array.ravel()[0]):
        problem = f"{name} differs between neurons; a core has one for all"
        raise RefusalError(problem, "Use one number", tuple(array.shape))
    return float(array.ravel()[0])


def _positive(value: Any, name: str) -> float:
    threshold = _number(value, name)
    if not 0 < threshold < float("inf"):
        raise RefusalError(f"{name} must be positive", "Use a number above 0", threshold, "> 0")
    return threshold


def _zero_reset(value: Any) -> Literal["zero"]:
    if _number(value, "v_reset") != 0:
        raise RefusalError("v_reset: a spike returns the potential to 0", _HARD, _number(value, "v_reset"), 0)
    return "zero"


def _fires_at(function: Any, default: Literal["reached", "above"]) -> Literal["reached", "above"]:
    """Whether a spike function of the potential less the threshold fires at 0: users bring their own.

    Raises
    ------
    RefusalError
        It is no step: below 0 nothing, above 0 one spike.
    """
    if function is None:
        return default
    try:
        with torch.no_grad():
            below, at, above = (float(value) for value in function(torch.tensor([-0.5, 0.0, 0.5])))
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError):
        below, at, above = 0.5, 0.5, 0.5
    if (below, above) != (0.0, 1.0) or at not in (0.0, 1.0):
        raise RefusalError(
            "its spike function is no step at the threshold", "Use one that gives 0 or 1 spikes"
        )
    return "reached" if at else "above"


def _spikingjelly(module: Any) -> Neuron:
    threshold = _positive(module.v_threshold, "v_threshold")
    reset: Literal["subtract", "zero"] = "subtract"
    if module.v_reset is not None:
        reset = _zero_reset(module.v_reset)
    fires_at = _fires_at(getattr(module, "surrogate_function", None), "reached")
    return Neuron(threshold, None, reset, "single", fires_at=fires_at)


def _snntorch(module: Any) -> Neuron:
    if _number(module.beta, "beta") < 1:
        problem = "its neurons leak, and no chip of the family can"
        raise RefusalError(problem, "Train with beta=1", _number(module.beta, "beta"), 1)
    resets = {"subtract": "subtract", "zero": "zero"}
    kind = str(module.reset_mechanism)
    if kind not in resets:
        raise RefusalError("its potential is never reset", 'Use reset_mechanism="subtract"', kind)
    if module.inhibition or module.state_quant:
        problem = "inhibits or quantises its potentials, and no chip of the family can"
        raise RefusalError(problem, "Leave inhibition and state_quant out")
    if not getattr(module, "reset_delay", True):
        problem = "reset_delay=False: what stays above the threshold is reset without a spike"
        raise RefusalError(problem, "Use reset_delay=True, snnTorch's default")
    factor = _number(module.graded_spikes_factor, "graded_spikes_factor")
    if factor != 1:
        raise RefusalError("grades its spikes", "Use graded_spikes_factor=1", factor, 1)
    reset: Literal["subtract", "zero"] = "zero" if kind == "zero" else "subtract"
    fires_at = _fires_at(getattr(module, "spike_grad", None), "above")
    return Neuron(_positive(module.threshold, "threshold"), None, reset, "single", fires_at=fires_at)


def _norse(module: Any) -> Neuron:
    parameters = module.p
    reset = _zero_reset(parameters.v_reset)
    return Neuron(_positive(parameters.v_th, "v_th"), None, reset, "single", fires_at="above")


# By package and class, the neurons of a module.
FOREIGN_NEURONS: Mapping[tuple[str, str], Callable[[Any], Neuron]] = {
    ("spikingjelly", "IFNode"): _spikingjelly,
    ("snntorch", "Leaky"): _snntorch,
    ("norse", "IAFCell"): _norse,
}


def gives_state(package: str, module: Any) -> bool:
    """Whether a call of these neurons returns spikes and a state, not spikes alone."""
    if package == "snntorch":
        return bool(module.output or not module.init_hidden)
    return package == "norse"
