"""Functions, methods and weightless modules as steps from value to value; refusals are `RefusalError`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Literal

import torch

from mapper.frontends.from_torch.leaves import adaptive_pool, plain_pool, unknown_module
from mapper.frontends.from_torch.maps import every, over_map, pooled, surrounded
from mapper.frontends.from_torch.sums import add_currents
from mapper.frontends.from_torch.values import (
    Current,
    MisfitError,
    Opaque,
    Part,
    RefusalError,
    Signal,
    Value,
    flattened,
    followed,
    full_shape,
    merged,
    reshaped,
    timed,
)
from mapper.operations import Scale, shape_after
from mapper.references import whole_number
from mapper.wording import titled

__all__ = ["MODULE_STEPS", "TAKES_MARGINS", "add", "attribute", "computed", "function_step"]

_HOST = "Leave it to the host"
_MODULES_FOR_WEIGHTS = {
    "conv2d": "nn.Conv2d",
    "linear": "nn.Linear",
    "matmul": "nn.Linear",
    "mm": "nn.Linear",
    "bmm": "nn.Linear",
    "batch_norm": "nn.BatchNorm2d",
    "conv1d": "nn.Conv2d",
    "conv3d": "nn.Conv2d",
    "conv_transpose2d": "nn.Conv2d",
}
_FOR_THE_HOST = {
    **dict.fromkeys(("softmax", "log_softmax", "softmin", "sigmoid", "logsigmoid"), _HOST),
    **dict.fromkeys(
        ("argmax", "argmin", "max", "min", "amax", "topk", "sort", "cumsum", "var", "std"), _HOST
    ),
}
_MAX_POOLS = ("max_pool2d", "max_pool2d_with_indices", "adaptive_max_pool2d", "max_pool1d", "max_pool3d")
_ACTIVATIONS = {"relu6": "ReLU6", "leaky_relu": "LeakyReLU", "elu": "ELU", "gelu": "GELU", "silu": "SiLU"} | {
    "tanh": "Tanh",
    "hardswish": "Hardswish",
    "mish": "Mish",
    "selu": "SELU",
}


def attribute(value: Value, name: str) -> Any:
    """An attribute of a tensor.

    Raises
    ------
    RefusalError
        Anything but its shape, number of dimensions, type and device.
    """
    if name == "shape":
        return torch.Size(full_shape(value))
    if name == "ndim":
        return len(full_shape(value))
    if name in ("dtype", "device", "requires_grad", "is_cuda"):
        return {"dtype": torch.float32, "device": torch.device("cpu")}.get(name, False)
    if name == "data":
        return value
    raise RefusalError(f"attribute {name}: this program does not know it", "Leave it out")


def computed(name: str, target: Any, args: Any, kwargs: Any) -> Any:
    """Arithmetic on sizes is computed; tensors that are made on the way are not followed."""
    if isinstance(target, str):
        return getattr(args[0], target)(*args[1:], **kwargs)
    home = str(getattr(target, "__module__", None)).partition(".")[0]
    if home in ("_operator", "builtins", "math"):
        return target(*args, **kwargs)
    return None if name in ("_assert", "_assert_is_none") else Opaque(name)


def _taken(names: str, arguments: Sequence[Any], keywords: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments by name; names in the order of torch's signature."""
    order = names.split()
    if len(arguments) > len(order):
        raise RefusalError(f"{len(arguments)} arguments, {len(order)} are known", "Leave the others out")
    return dict(zip(order, arguments, strict=False)) | dict(keywords)


def _numbers(arguments: Sequence[Any]) -> tuple[int, ...]:
    """Sizes that came as arguments of their own or as one sequence."""
    given = arguments[0] if len(arguments) == 1 and isinstance(arguments[0], tuple | list) else arguments
    numbers = [n for n in map(whole_number, given) if n is not None]
    if len(numbers) != len(given):
        raise RefusalError("a shape that is not known", "Give it in whole numbers", tuple(given))
    return tuple(numbers)


def _same(value: Value, *_: Any, **__: Any) -> Value:
    return value


def _dropped(value: Value, p: float = 0.5, training: bool = True, inplace: bool = False) -> Value:
    if training and p:
        problem = "drops spikes at random in eval mode, too"
        raise RefusalError(problem, "Use nn.Dropout, or F.dropout(x, p, self.training)", p, instead=value)
    return value


def _size(value: Value, dim: int | None = None) -> Any:
    shape = torch.Size(full_shape(value))
    return shape if dim is None else shape[dim]


def _view(value: Value, *sizes: Any, **keywords: Any) -> Value:
    sizes = sizes or (keywords.get("shape", keywords.get("size", ())),)
    if len(sizes) == 1 and isinstance(sizes[0], torch.dtype):
        return value
    return reshaped(value, _numbers(sizes))


def _flatten(value: Value, start_dim: int = 0, end_dim: int = -1) -> Value:
    return merged(value, start_dim, end_dim)


def _unflatten(value: Value, dim: int, sizes: Any, *more: Any) -> Value:
    new_sizes, shape = _numbers((sizes, *more) if more else (sizes,)), full_shape(value)
    dim = dim + len(shape) if dim < 0 else dim
    if dim == 0:
        fits = math.prod(new_sizes) == math.prod(value.leads)
        return replace(value, leads=new_sizes) if fits else timed(value)
    return reshaped(value, (*shape[:dim], *new_sizes, *shape[dim + 1 :]))


def _squeeze(value: Value, dim: Any = None) -> Value:
    shape = full_shape(value)
    axes = range(len(shape)) if dim is None else (dim if isinstance(dim, tuple | list) else (dim,))
    places = {n + len(shape) if n < 0 else n for n in axes}
    return reshaped(value, tuple(n for i, n in enumerate(shape) if n != 1 or i not in places))


def _unsqueeze(value: Value, dim: int) -> Value:
    shape = list(full_shape(value))
    shape.insert(dim + len(shape) + 1 if dim < 0 else dim, 1)
    return reshaped(value, tuple(shape))


def add(left: Any, right: Any, *, alpha: Any = 1, padded: bool = False) -> Value:
    """The sum of two signals or currents; with `padded`, the fewer features are filled up with zeros.

    Raises
    ------
    RefusalError
        Numbers, other shapes.
    """
    if isinstance(left, Current) or isinstance(right, Current):
        return add_currents(left, right if alpha == 1 else _scale(right, alpha))
    if not isinstance(left, Signal) or not isinstance(right, Signal):
        raise RefusalError("adds a constant to spikes", "Put it into the bias of the layer behind")
    if alpha != 1:
        raise RefusalError("adds with a factor", "Scale before: a + alpha * b", alpha, 1)
    if left.dims == right.dims and left.shape != right.shape:
        left, right = flattened(left), flattened(right)
    sure = left.sure and right.sure
    fits = left.dims == right.dims
    if padded and left.shape[1:] == right.shape[1:]:
        fits = left.dims[1:] == right.dims[1:]
    if not fits and sure:
        shapes = " and ".join("x".join(map(str, s.dims)) for s in (left, right))
        step = "Give both the same number of features and the same map"
        raise MisfitError("adds signals of different shapes", step, shapes)
    wider = max(left, right, key=lambda signal: signal.shape.features)
    return Signal((*left.parts, *right.parts), wider.shape, wider.dims, left.leads, sure)


def _subtract(left: Any, right: Any = None, *, alpha: Any = 1) -> Value:
    if right is None and isinstance(left, Current):
        return _scale(left, -1)
    if isinstance(right, Signal | Current) and any(isinstance(value, Current) for value in (left, right)):
        return add(left, right, alpha=-alpha)
    raise RefusalError("subtracts, and spikes only add up", "Put the sign into the weights behind")


def _scale(value: Any, factor: Any) -> Value:
    if isinstance(factor, Signal | Current) and isinstance(value, int | float):
        value, factor = factor, value
    if not isinstance(value, Signal | Current) or not isinstance(factor, int | float):
        raise RefusalError("multiplies two signals", "Only one number can be folded into weights")
    if not math.isfinite(factor) or factor == 0:
        raise RefusalError(
            "multiplies by a number that cannot be folded", "Use a number other than 0", factor
        )
    if factor == 1:
        return value
    step = Scale(float(factor))
    if isinstance(value, Current):
        return replace(value, between=(*value.between, step))
    return followed(value, step)


def _divide(value: Any, divisor: Any, rounding_mode: Any = None) -> Value:
    if not isinstance(divisor, int | float) or rounding_mode is not None:
        raise RefusalError(
            "divides by something else than a number, or rounds", "Only one number can be folded"
        )
    if divisor == 0:
        raise RefusalError("divides by zero", "Use a number other than 0", divisor)
    return _scale(value, 1 / divisor)


def _concatenate(tensors: Any, dim: int = 0, **_: Any) -> Signal:
    signals = list(tensors)
    for value in signals:
        if isinstance(value, Current):
            problem = f"concatenates the currents of layer {titled(value.layer)} before its neurons"
            step = "Put neurons before the concatenation"
            raise RefusalError(problem, step, instead=replace(value, sure=False))
    count = len(full_shape(signals[0]))
    axis, feature_axis = dim + count if dim < 0 else dim, len(signals[0].leads)
    if axis != feature_axis:
        step = f"Concatenate along dimension {feature_axis}, the features"
        raise RefusalError("concatenates along another dimension than the features", step, dim, feature_axis)
    flat = all(len(s.dims) == 1 for s in signals)
    signals = [flattened(s) for s in signals] if flat else signals
    first = signals[0]
    fits = all(s.dims == tuple(s.shape) or flat for s in signals)
    if not fits or any(s.dims[1:] != first.dims[1:] for s in signals):
        shapes = ", ".join("x".join(map(str, s.dims)) for s in signals)
        raise MisfitError("concatenates maps of different size", "Pool them to one size before", shapes)
    parts: list[Part] = []
    offset = 0
    for s in signals:
        parts += [Part(p.source, p.path, p.offset + offset) for p in s.parts]
        offset += s.shape.features
    shape = first.shape._replace(features=offset)
    dims = (offset,) if flat else tuple(shape)
    return Signal(tuple(parts), shape, dims, first.leads, all(s.sure for s in signals))


def _plain(kind: Literal["sum", "average"], value: Value, given: Mapping[str, Any]) -> Value:
    pool = plain_pool(
        kind,
        value.shape,
        given.get("kernel_size"),
        given.get("stride"),
        given.get("padding", 0),
        bool(given.get("ceil_mode", False)),
        given.get("divisor_override"),
    )
    return pooled(value, pool)


_AVERAGE = "kernel_size stride padding ceil_mode count_include_pad divisor_override"


def _average(value: Value, *arguments: Any, **keywords: Any) -> Value:
    return _plain("average", value, _taken(_AVERAGE, arguments, keywords))


def _power_average(value: Value, *arguments: Any, **keywords: Any) -> Value:
    given = _taken("norm_type kernel_size stride ceil_mode", arguments, keywords)
    if given.get("norm_type") != 1:
        step = "Use norm_type=1 (sinabs' SumPool2d) or nn.AvgPool2d"
        raise RefusalError("pools by a power average", step, given.get("norm_type"), 1)
    return _plain("sum", value, given)


def _adaptive(value: Value, output_size: Any) -> Value:
    return pooled(value, adaptive_pool(output_size, value.shape))


def _max(value: Value, *arguments: Any, kind: str = "max_pool2d", **keywords: Any) -> Value:
    given = _taken("kernel_size stride padding dilation ceil_mode return_indices", arguments, keywords)
    error = unknown_module("MaxPool2d", kind)
    try:
        guess = plain_pool("sum", value.shape, given.get("kernel_size"), given.get("stride"))
        shape = shape_after(value.shape, (guess,) if guess else ())
        plain = not given.get("padding") and not given.get("ceil_mode")
        error.instead = replace(value, shape=shape, dims=tuple(shape), sure=value.sure and plain)
    except ValueError:
        error.instead = replace(value, sure=False)
    raise error


Step = Callable[..., Any]
_STEPS: dict[str, Step] = {
    **dict.fromkeys(
        ("contiguous", "clone", "detach", "float", "to", "type", "type_as", "cpu", "cuda"), _same
    ),
    **dict.fromkeys(("double", "half", "requires_grad", "identity", "positive", "pos"), _same),
    **dict.fromkeys(("dropout", "dropout1d", "dropout2d", "dropout3d"), _dropped),
    **dict.fromkeys(("alpha_dropout", "feature_alpha_dropout"), _same),
    "size": _size,
    "dim": lambda value: len(full_shape(value)),
    "ndimension": lambda value: len(full_shape(value)),
    "numel": lambda value: math.prod(full_shape(value)),
    "view": _view,
    "reshape": _view,
    "flatten": _flatten,
    "unflatten": _unflatten,
    "squeeze": _squeeze,
    "unsqueeze": _unsqueeze,
    **dict.fromkeys(("add", "iadd"), add),
    **dict.fromkeys(("sub", "isub", "subtract", "neg", "negative"), _subtract),
    "rsub": lambda left, right: _subtract(right, left),
    **dict.fromkeys(("mul", "imul", "multiply"), _scale),
    **dict.fromkeys(("div", "truediv", "itruediv", "true_divide", "divide"), _divide),
    **dict.fromkeys(("cat", "concat", "concatenate"), _concatenate),
    "avg_pool2d": _average,
    "lp_pool2d": _power_average,
    "adaptive_avg_pool2d": _adaptive,
    "mean": partial(over_map, "average"),
    "sum": partial(over_map, "sum"),
    "getitem": every,
    "pad": surrounded,
    **dict.fromkeys(_MAX_POOLS, _max),
}


def function_step(name: str) -> Step:
    """What a torch function or tensor method of this name does.

    Raises
    ------
    RefusalError
        Nothing a chip can do, or unknown.
    """
    plain = name.rstrip("_") or name
    if plain in _STEPS:
        return _STEPS[plain]
    if plain in _FOR_THE_HOST:
        raise RefusalError(f"{plain}: cores only integrate and fire", _FOR_THE_HOST[plain])
    if plain in _ACTIVATIONS:
        raise unknown_module(_ACTIVATIONS[plain], plain)
    if plain in _MODULES_FOR_WEIGHTS:
        step = f"Make it a module: {_MODULES_FOR_WEIGHTS[plain]}"
        raise RefusalError(f"{plain}: weights are read from modules only", step)
    known = "Use modules (Conv2d, Linear, AvgPool2d), sums, concatenations and flattening"
    raise RefusalError(f"{name}: this program does not know it", known)


# What may read a map with zeros around it: what takes or keeps them.
TAKES_MARGINS = frozenset(
    (
        "Conv2d",
        "ZeroPad2d",
        "ConstantPad2d",
        "pad",
        "Identity",
        "Dropout",
        "Dropout2d",
        "dropout",
        "size",
        "dim",
    )
)
# Modules without weights that do what a function does: how their fields become its arguments.
MODULE_STEPS: dict[str, Callable[[Any, Value], Any]] = {
    **dict.fromkeys(("Identity", "Dropout", "Dropout1d", "Dropout2d", "Dropout3d"), lambda m, v: v),
    **dict.fromkeys(("AlphaDropout", "FeatureAlphaDropout", "InputLayer"), lambda m, v: v),
    **dict.fromkeys(
        ("ZeroPad2d", "ConstantPad2d"), lambda m, v: surrounded(v, m.padding, value=getattr(m, "value", 0))
    ),
    "AvgPool2d": lambda m, v: _plain("average", v, vars(m)),
    "LPPool2d": lambda m, v: _power_average(v, m.norm_type, m.kernel_size, m.stride, m.ceil_mode),
    "SumPool2d": lambda m, v: _power_average(v, m.norm_type, m.kernel_size, m.stride, m.ceil_mode),
    "AdaptiveAvgPool2d": lambda m, v: _adaptive(v, m.output_size),
    "MaxPool2d": lambda m, v: _max(
        v, m.kernel_size, m.stride, padding=m.padding, ceil_mode=m.ceil_mode, kind="MaxPool2d"
    ),
    "SpikingMaxPooling2dLayer": lambda m, v: _max(
        v, m.pool_size, m.strides, padding=m.pad, kind="SpikingMaxPooling2dLayer"
    ),
    "Flatten": lambda m, v: merged(v, m.start_dim, m.end_dim),
    "FlattenTime": lambda m, v: merged(v, 0, 1),
    "Unflatten": lambda m, v: _unflatten(v, m.dim, m.unflattened_size),
    "UnflattenTime": lambda m, v: timed(v),
}
