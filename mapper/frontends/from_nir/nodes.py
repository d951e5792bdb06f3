"""Single NIR nodes into this project's operations; every refusal is a ValueError with a clause."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from hwspec.inert import quoted
from mapper.asking import DT, SOURCE, STEP_US
from mapper.folding import feature_scale
from mapper.frontends.from_nir.origins import Behaviour
from mapper.integers import is_constant
from mapper.operations import (
    BatchNorm,
    Convolution,
    Flatten,
    Integers,
    Linear,
    Neuron,
    Pair,
    PathOperation,
    Pool,
    Scale,
)
from mapper.wording import counted

__all__ = [
    "NEURONS",
    "declared_of",
    "features_first",
    "neuron_of",
    "operation_of",
    "path_step_of",
    "require_numbers",
    "scale_before_neurons",
    "scale_factor",
    "times",
]

Fields = Mapping[str, Any]
_PARAMETERS = {"r", "tau", "tau_mem", "tau_syn", "v_leak", "v_reset", "v_threshold", "w_in"}
_Operation = TypeVar("_Operation", Convolution, Linear)


def _array(fields: Fields, name: str, dimensions: int | None = None) -> Any:
    value = fields.get(name)
    if value is None:
        raise ValueError(f"has no {name}")
    array = np.asarray(value)
    if array.dtype.kind not in "fiu":
        raise ValueError(f"{name} is not a number but {array.dtype}")
    if dimensions is not None and array.ndim != dimensions:
        raise ValueError(f"{name} has {array.ndim} dimensions, {dimensions} are needed")
    if array.size == 0:
        raise ValueError(f"{name} is empty")
    return array


def _numbers(fields: Fields, name: str, dimensions: int | None = None) -> Any:
    """Weights or biases in single precision."""
    array = _array(fields, name, dimensions)
    _require_single(name, array)
    # A file's own array, which nobody else has, need not be copied.
    single = array.astype(np.float32, copy=not is_constant(array))
    if np.any(array) and not np.any(single):
        largest = float(np.max(np.abs(array)))
        raise ValueError(f"{name} is {largest:g} at most, which is 0 in single precision (from about 1e-45)")
    return single


def _require_single(name: str, array: Any) -> None:
    largest = float(np.max(np.abs(array)))
    if np.isfinite(largest) and largest > float(np.finfo(np.float32).max):
        raise ValueError(f"{name} holds {largest:g}, more than single precision does (about 3.4e38)")


def _whole(fields: Fields, name: str, default: int | None = None) -> Pair:
    if fields.get(name) is None and default is not None:
        return default, default
    array = _array(fields, name).ravel()
    if array.size > 2 or np.any(array != np.floor(array)) or np.any(np.abs(array) > 1 << 20):
        raise ValueError(f"{name} must be one or two whole numbers, got {array.tolist()}")
    return int(array[0]), int(array[-1])


def operation_of(kind: str, fields: Fields) -> tuple[Convolution | Linear, int]:
    """The weight operation of a Conv2d, Affine or Linear node, and its number of input features.

    Raises
    ------
    ValueError
        Fields that are missing, of the wrong kind or shape, or that no core can express.
    """
    if kind == "Conv2d":
        return _convolution(fields)
    if kind == "Linear" and fields.get("bias") is not None:
        raise ValueError("a Linear node has no bias; with one it is an Affine node")
    weight = _numbers(fields, "weight", 2)
    bias = _numbers(fields, "bias").reshape(-1) if kind == "Affine" else None
    return Linear(weight.shape[0], bias is not None and bool(np.any(bias)), weight, bias), weight.shape[1]


def declared_of(metadata: Mapping[str, Any]) -> Integers | None:
    """The integers that the weights before neurons are, as a file of this package says it.

    Raises
    ------
    ValueError
        A step that is no positive number.
    """
    given = metadata.get("weight_step")
    if given is None:
        return None
    step = np.asarray(given)
    if step.size != 1 or step.dtype.kind not in "iuf" or not 0 < float(step.reshape(())) < np.inf:
        raise ValueError(f"weight_step in its metadata must be one positive number, got {quoted(given)}")
    return Integers(float(step.reshape(())))


def _convolution(fields: Fields) -> tuple[Convolution, int]:
    weight = _numbers(fields, "weight", 4)
    kernel: Pair = (weight.shape[2], weight.shape[3])
    stride, dilation = _whole(fields, "stride", 1), _whole(fields, "dilation", 1)
    groups, *others = set(_whole(fields, "groups", 1))
    if others:
        raise ValueError(f"groups must be one whole number, got {np.asarray(fields['groups']).tolist()}")
    bias = None if fields.get("bias") is None else _numbers(fields, "bias").reshape(-1)
    if min(*stride, *dilation, groups) < 1:
        raise ValueError(f"stride {stride}, dilation {dilation} and groups {groups} must be positive")
    padding = _padding(fields, kernel, stride, dilation)
    if min(padding) < 0:
        raise ValueError(f"padding must not be negative, got {padding}")
    operation = Convolution(
        out_features=weight.shape[0],
        kernel=kernel,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
        has_bias=bias is not None and bool(np.any(bias)),
        weight=weight,
        bias=bias,
    )
    return operation, weight.shape[1] * groups


def _padding(fields: Fields, kernel: Pair, stride: Pair, dilation: Pair) -> Pair:
    value = fields.get("padding")
    if not isinstance(value, str):
        return _whole(fields, "padding", 0)
    if value == "valid":
        return 0, 0
    if value != "same":
        raise ValueError(f'padding must be numbers, "same" or "valid", got {quoted(value)}')
    if stride != (1, 1):
        raise ValueError(f'padding "same" is defined for stride 1 only, got {stride}')
    spans = tuple((k - 1) * d for k, d in zip(kernel, dilation, strict=True))
    if any(span % 2 for span in spans):
        raise ValueError(
            f'padding "same" of an even kernel {kernel} is one-sided, and a core pads both sides'
        )
    return spans[0] // 2, spans[1] // 2


def path_step_of(kind: str, fields: Fields) -> PathOperation:
    """The pool, flattening or scaling of a node on the way between neurons and weights.

    Raises
    ------
    ValueError
        Padding of a pool, a partial flattening, or a scale by feature.
    """
    if kind == "Scale":
        return Scale(scale_factor(fields))
    if kind == "Flatten":
        start, end = int(_whole(fields, "start_dim", 1)[0]), int(_whole(fields, "end_dim", -1)[0])
        if end not in (-1, 2, 3) or start not in (0, 1):
            raise ValueError(f"flattens only the dimensions {start} to {end}; all of them are needed")
        return Flatten()
    size = _whole(fields, "kernel_size")
    stride = size if fields.get("stride") is None else _whole(fields, "stride")
    if _whole(fields, "padding", 0) != (0, 0):
        raise ValueError(f"a pool with padding {_whole(fields, 'padding')}: a core's pools have none")
    if min(*size, *stride) < 1:
        raise ValueError(f"pool of size {size} and stride {stride}: both must be positive")
    return Pool("sum" if kind == "SumPool2d" else "average", size, stride)


def scale_factor(fields: Fields) -> float:
    """The one factor of a Scale node on the way of spikes.

    Raises
    ------
    ValueError
        Different factors for different values, or 0.
    """
    factor = _per_feature("scale", _array(fields, "scale"))
    if not isinstance(factor, float):
        raise ValueError("scales features differently, and stands behind neurons: put it before them")
    if factor == 0:
        raise ValueError("scales by 0: nothing arrives behind it")
    return factor


def scale_before_neurons(fields: Fields) -> Scale | BatchNorm:
    """A Scale node between weights and neurons: one factor, or one a feature.

    Raises
    ------
    ValueError
        Factors that differ within a feature, or are all zero.
    """
    return feature_scale(_array(fields, "scale"))


def features_first(operation: _Operation, fields: Fields) -> _Operation:
    """Columns of a linear map in the order (features, height, width), of one that reads features fastest.

    Parameters
    ----------
    fields
        Of the Flatten node before it; its `input_type` is (features, height, width).

    Raises
    ------
    ValueError
        The node states no such shape, or another number of values than the weights read.
    """
    sizes = np.atleast_1d(np.asarray(fields.get("input_type", ()))).ravel()
    weight: Any = operation.weight
    if weight.ndim != 2 or sizes.size != 3 or int(np.prod(sizes)) != weight.shape[1]:
        raise ValueError(f"reads a flattened map whose shape is not stated (input_type {sizes.tolist()})")
    features, height, width = map(int, sizes)
    columns = weight.reshape(-1, height, width, features).transpose(0, 3, 1, 2)
    return replace(operation, weight=np.ascontiguousarray(columns.reshape(weight.shape)))


def require_numbers(fields: Fields) -> None:
    """Refuse neurons whose parameters are something else than numbers, used or not.

    Raises
    ------
    ValueError
        One is a text, empty, or of another type.
    """
    for name in sorted(_PARAMETERS & fields.keys()):
        if fields[name] is not None:
            _array(fields, name)


def neuron_of(kind: str, fields: Fields, behaviour: Behaviour) -> tuple[Neuron, Any]:
    """Neurons of an IF, LIF or CubaLIF node, and the gain of their current: a number, or (features,).

    Raises
    ------
    ValueError
        Neurons that leak or filter their current, numbers that differ between neurons of one feature,
        a gain under which all weights are zero.
    """
    threshold = _per_feature("v_threshold", _array(fields, "v_threshold"))
    gain = _GAINS[kind](fields, behaviour)
    minimum = behaviour.bound
    if minimum == "threshold":
        if not isinstance(threshold, float):
            raise ValueError("a lower bound of minus the threshold needs one threshold for the whole layer")
        minimum = -threshold
    neuron = Neuron(threshold, minimum, behaviour.reset, behaviour.spike_mode, fires_at=behaviour.fires_at)
    return neuron, gain


def _gain_of_if(fields: Fields, behaviour: Behaviour) -> Any:
    """r, times the step where it is 1 / step; where nobody says, without its common size."""
    if fields.get("r") is None:
        return 1.0
    r = _finite("r", _array(fields, "r"))
    if not np.any(r):
        raise ValueError("r is 0: with this factor all weights are zero, and no neuron ever fires")
    if behaviour.gains == "open":
        r = r / np.abs(r).max()
    elif behaviour.gains == "per step":
        r = r.astype(np.float64) * behaviour.step_s
    elif behaviour.is_step_given:
        raise ValueError(
            f"{DT.to(behaviour.step_s)} has no say: r is a gain here, not 1 / step (only "
            f"{SOURCE.to('spikingjelly')} has it so); the length of a time step in microseconds is {STEP_US}"
        )
    return _per_feature("r", r)


def _gain_of_lif(fields: Fields, behaviour: Behaviour, tau: str = "tau") -> Any:
    """``r * step / tau`` of neurons that do not leak: ``1 - step / tau`` is 1 in single precision."""
    if np.any(_array(fields, tau) <= 0):
        raise ValueError(f"{tau} must be positive, got {float(np.min(fields[tau])):g}")
    tau_s, r = (_array(fields, name).astype(np.float64) for name in (tau, "r"))
    step = behaviour.step_s
    with np.errstate(divide="ignore", invalid="ignore"):
        leaks = np.float32(1) - (step / tau_s).astype(np.float32) != np.float32(1)
        if np.any(leaks):
            shown = float(np.broadcast_to(tau_s, leaks.shape)[leaks].ravel()[0])
            raise ValueError(f"its neurons leak ({tau} {shown:g} s), and no chip of the family can")
        _check_leak(fields)
        # Infinity over infinity is what exporters make of a gain of 1.
        is_one = (np.isinf(tau_s) & np.isinf(r)) | (behaviour.gains == "whole")
        gain = np.where(is_one, 1.0, r * step / tau_s)
    if not np.any(gain):
        raise ValueError(f"its gain r / {tau} is 0: all weights are zero, and no neuron ever fires")
    return _per_feature("r", gain)


def _gain_of_cubalif(fields: Fields, behaviour: Behaviour) -> Any:
    """Of currents that are not filtered: a synapse forgets all within one step."""
    step, synapse = behaviour.step_s, _array(fields, "tau_syn").astype(np.float32)
    if np.any(np.float32(step) != synapse):
        shown = float(synapse.ravel()[0])
        problem = "an infinite tau_syn integrates twice" if np.isinf(shown) else f"tau_syn {shown:g} s"
        raise ValueError(
            f"its synapses filter the current ({problem}; read with a step of {step:g} s): "
            "no chip of the family can"
        )
    weight = 1.0 if fields.get("w_in") is None else _per_feature("w_in", _array(fields, "w_in"))
    gain = np.asarray(_gain_of_lif(fields, behaviour, "tau_mem")) * weight
    if not np.any(gain):
        raise ValueError("its gain is 0: all weights are zero, and no neuron ever fires")
    return float(gain) if gain.ndim == 0 else gain.astype(np.float32)


def _check_leak(fields: Fields) -> None:
    leak = fields.get("v_leak")
    if leak is not None and np.any(np.asarray(leak) != 0):
        raise ValueError("v_leak other than 0: a core's potentials rest where they are")


_GAINS: Mapping[str, Callable[[Fields, Behaviour], Any]] = {
    "IF": _gain_of_if,
    "LIF": _gain_of_lif,
    "CubaLIF": _gain_of_cubalif,
}
NEURONS = tuple(_GAINS)


def _finite(name: str, array: Any) -> Any:
    if not np.all(np.isfinite(array)):
        raise ValueError(f"{name} holds numbers that are not finite")
    return array


def _per_feature(name: str, array: Any) -> Any:
    """One number, or one a feature, of an array (features, height, width)."""
    _require_single(name, _finite(name, array))
    if array.size == 1 or np.all(array == array.ravel()[0]):
        return float(array.ravel()[0])
    flat = array.reshape(array.shape[0], -1)
    if np.any(flat != flat[:, :1]):
        raise ValueError(f"{name} differs between neurons of one feature; a core has one for all")
    return flat[:, 0].astype(np.float32)


def times(operation: _Operation, resistance: Any) -> _Operation:
    """Weights and biases times a gain: a number, or (features,).

    Raises
    ------
    ValueError
        Gains of another number of features, or under which all weights are zero or some infinite.
    """
    if isinstance(resistance, float) and resistance == 1.0:
        return operation
    weight: Any = operation.weight
    bias: Any = operation.bias
    factor = np.asarray(resistance, np.float32)
    if factor.ndim and factor.shape[0] != weight.shape[0]:
        has = counted(factor.shape[0], "feature")
        raise ValueError(f"r has {has}, the weights before it make {weight.shape[0]}")
    shaped = factor.reshape(-1, *[1] * (weight.ndim - 1)) if factor.ndim else factor
    with np.errstate(over="ignore"):
        scaled, scaled_bias = weight * shaped, None if bias is None else bias * factor
    largest = np.max(np.abs(np.asarray(resistance, np.float64)))
    if np.any(weight) and not np.any(scaled):
        raise ValueError(f"its gain of {largest:g} makes all weights zero")
    pairs = [(weight, scaled)] if bias is None else [(weight, scaled), (bias, scaled_bias)]
    if any(np.any(np.isinf(after) & np.isfinite(before)) for before, after in pairs):
        raise ValueError(
            f"its gain of {largest:g} makes weights or biases larger than single precision holds "
            "(about 3.4e38)"
        )
    made = operation.declared
    made = (
        None if made is None else made.times(factor, "its gains differ by feature, and a core has one unit")
    )
    return replace(operation, weight=scaled, bias=scaled_bias, declared=made)
