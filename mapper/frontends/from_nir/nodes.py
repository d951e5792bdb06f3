"""Single NIR nodes into this project's operations; every refusal is a ValueError with a clause."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Literal, TypeVar

import numpy as np

from mapper.frontends import NirOptions
from mapper.operations import Convolution, Flatten, Linear, Neuron, Pair, PathOperation, Pool, Scale

__all__ = ["neuron_of", "operation_of", "path_step_of", "scale_factor"]

Fields = Mapping[str, Any]
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
    weight = _array(fields, "weight", 2).astype(np.float32)
    bias = _array(fields, "bias").astype(np.float32).reshape(-1) if kind == "Affine" else None
    return Linear(weight.shape[0], bias is not None and bool(np.any(bias)), weight, bias), weight.shape[1]


def _convolution(fields: Fields) -> tuple[Convolution, int]:
    weight = _array(fields, "weight", 4).astype(np.float32)
    kernel: Pair = (weight.shape[2], weight.shape[3])
    stride, dilation = _whole(fields, "stride", 1), _whole(fields, "dilation", 1)
    groups = _whole(fields, "groups", 1)[0]
    bias = None if fields.get("bias") is None else _array(fields, "bias").astype(np.float32).reshape(-1)
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
        raise ValueError(f'padding must be numbers, "same" or "valid", got {value!r}')
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
    """The one factor of a Scale node.

    Raises
    ------
    ValueError
        Different factors for different values.
    """
    factors = _array(fields, "scale").ravel()
    if np.any(factors != factors[0]) or not np.isfinite(factors[0]):
        raise ValueError("scales values differently; only one factor for all can be folded into weights")
    return float(factors[0])


def neuron_of(
    fields: Fields, metadata: Fields, options: NirOptions
) -> tuple[Neuron, Callable[[Any], Any], list[str]]:
    """Neurons of an IF node, the function that folds its r into weights, and what was taken for granted.

    Raises
    ------
    ValueError
        Numbers that differ between neurons of one feature, a reset value other than 0.
    """
    threshold = _per_feature("v_threshold", _array(fields, "v_threshold"))
    resistance = _per_feature("r", _array(fields, "r")) if fields.get("r") is not None else 1.0
    reset, note = _reset(fields, metadata, options)
    minimum = _minimum(metadata, options, threshold)
    mode = str(metadata.get("spike_mode", "multi"))
    if mode not in ("multi", "single"):
        raise ValueError(f"spike_mode must be multi or single, got {mode!r}")
    neuron = Neuron(threshold, minimum, reset, "single" if mode == "single" else "multi")
    return neuron, lambda operation: _times(operation, resistance), [note] if note else []


def _per_feature(name: str, array: Any) -> Any:
    """One number, or one a feature, of an array (features, height, width)."""
    if not np.all(np.isfinite(array)):
        raise ValueError(f"{name} holds numbers that are not finite")
    if array.size == 1 or np.all(array == array.ravel()[0]):
        return float(array.ravel()[0])
    flat = array.reshape(array.shape[0], -1)
    if np.any(flat != flat[:, :1]):
        raise ValueError(f"{name} differs between neurons of one feature; a core has one for all")
    return flat[:, 0].astype(np.float32)


def _times(operation: _Operation, resistance: Any) -> _Operation:
    if isinstance(resistance, float) and resistance == 1.0:
        return operation
    weight: Any = operation.weight
    bias: Any = operation.bias
    factor = np.asarray(resistance, np.float32)
    if factor.ndim and factor.shape[0] != weight.shape[0]:
        raise ValueError(f"r has {factor.shape[0]} features, the weights before it make {weight.shape[0]}")
    shaped = factor.reshape(-1, *[1] * (weight.ndim - 1)) if factor.ndim else factor
    return replace(operation, weight=weight * shaped, bias=None if bias is None else bias * factor)


def _reset(
    fields: Fields, metadata: Fields, options: NirOptions
) -> tuple[Literal["subtract", "zero"], str | None]:
    if options.reset is not None:
        return options.reset, None
    stated = metadata.get("reset")
    if stated is not None:
        if stated not in ("subtract", "zero"):
            raise ValueError(f"metadata states a reset of {stated!r}; subtract and zero are known")
        return ("zero" if stated == "zero" else "subtract"), None
    value = fields.get("v_reset")
    if value is None:
        return "subtract", "no v_reset in the file: a spike subtracts the threshold (--reset zero overrides)"
    if np.any(np.asarray(value) != 0):
        raise ValueError("v_reset other than 0: a core subtracts the threshold or returns to 0")
    return "zero", "v_reset is 0: a spike returns the potential to 0 (--reset subtract overrides)"


def _minimum(metadata: Fields, options: NirOptions, threshold: Any) -> float | None:
    if options.v_min == "threshold":
        if not isinstance(threshold, float):
            raise ValueError("--v-min threshold needs one threshold for the whole layer")
        return -threshold
    if options.v_min is not None:
        return float(options.v_min)
    stated = metadata.get("minimum")
    if stated is None:
        return None
    array = np.asarray(stated)
    if array.size != 1 or array.dtype.kind not in "fiu":
        raise ValueError(f"metadata states a lower bound of {stated!r}; one number is needed")
    return float(array.ravel()[0])
