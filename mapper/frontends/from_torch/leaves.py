"""Single torch and sinabs modules into this project's operations; every refusal is a `RefusalError`."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch

from mapper.asking import RELU_AS_IF, SOURCE
from mapper.frontends.from_torch.computed_weights import bias_of, weight_of
from mapper.frontends.from_torch.values import MisfitError, RefusalError
from mapper.operations import BatchNorm, Convolution, Linear, Neuron, Pair, Pool, Shape
from mapper.references import whole_number

__all__ = [
    "READ_NEURONS",
    "adaptive_pool",
    "batch_norm_of",
    "convolution_of",
    "linear_of",
    "pair_of",
    "plain_pool",
    "relu_neuron",
    "replacing_own_neurons",
    "spiking_neuron",
    "unknown_module",
]

_POOL_SIZE_MAX = 1 << 20
READ_NEURONS = "sinabs' IAFSqueeze, SpikingJelly's IFNode, snnTorch's Leaky(beta=1), norse's IAFCell"
"""Neurons of frameworks that are read where they stand in a torch module."""
_SPIKING = f"Use neurons without leak: {READ_NEURONS}"
_TWO_DIMENSIONS = "cores convolve in two dimensions"
_RECURRENT = "recurrent layers: no chip of the family has them as one layer"
_REASONS: dict[str, tuple[str, str]] = {
    **dict.fromkeys(
        ("MaxPool1d", "MaxPool2d", "MaxPool3d", "AdaptiveMaxPool2d", "SpikingMaxPooling2dLayer"),
        (
            "max pooling: no chip of the family has it",
            "Use nn.AvgPool2d or sinabs' SumPool2d and train with it",
        ),
    ),
    **dict.fromkeys(
        ("LIF", "LIFSqueeze", "ExpLeak", "ExpLeakSqueeze", "ALIF", "Leaky", "Synaptic", "LIFNode"),
        ("its neurons leak, and no chip of the family can", _SPIKING),
    ),
    **dict.fromkeys(
        ("IAFRecurrent", "LIFRecurrent", "ALIFRecurrent", "RNN", "LSTM", "GRU", "RNNCell", "LSTMCell"),
        (_RECURRENT, "Use feed-forward layers with IAFSqueeze neurons"),
    ),
    **dict.fromkeys(
        ("Conv1d", "Conv3d", "ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d"),
        (_TWO_DIMENSIONS + ", and none transposed", "Use nn.Conv2d"),
    ),
    **dict.fromkeys(
        ("AvgPool1d", "AvgPool3d", "LPPool1d", "LPPool3d", "AdaptiveAvgPool1d", "AdaptiveAvgPool3d"),
        ("cores pool in two dimensions", "Use nn.AvgPool2d"),
    ),
    **dict.fromkeys(
        ("Softmax", "Softmax2d", "LogSoftmax", "Softmin", "Sigmoid", "LogSigmoid"),
        ("cores only integrate and fire", "Leave it to the host"),
    ),
    **dict.fromkeys(
        ("LeakyReLU", "PReLU", "ReLU6", "ELU", "CELU", "SELU", "GELU", "SiLU", "Hardswish", "Tanh", "Mish"),
        (
            "this activation is not what integrate-and-fire neurons compute",
            "Use nn.ReLU, which can be read as neurons, or IAFSqueeze",
        ),
    ),
    **dict.fromkeys(
        ("LazyConv2d", "LazyLinear", "LazyBatchNorm1d", "LazyBatchNorm2d"),
        ("has no weights yet", "Run the module once before"),
    ),
    **dict.fromkeys(
        ("ReflectionPad2d", "ReplicationPad2d", "CircularPad2d"),
        ("pads with something else than zeros", "Use nn.ZeroPad2d and train with it"),
    ),
    **dict.fromkeys(
        (
            "QuantReLU",
            "QuantIdentity",
            "QuantHardTanh",
            "QuantSigmoid",
            "QuantTanh",
            "FakeQuantize",
            "QuantStub",
        ),
        (
            "quantises activations, which are counts of spikes here",
            "Leave it out, and use nn.ReLU for QuantReLU",
        ),
    ),
    "DynapcnnNetwork": (
        "is already divided among the cores of a chip",
        "Give the network it was made from",
    ),
}


def replacing_own_neurons() -> str:
    """What to do about neurons that only their own class knows."""
    ways = f"or nn.ReLU with {RELU_AS_IF.to(1, '1.0')}"
    exported = f"export the network to NIR and say who wrote it ({SOURCE})"
    return f"Put in their place what is read: {READ_NEURONS}, {ways}; or {exported}"


def unknown_module(kind: str, name: str = "", exporter: str | None = None) -> RefusalError:
    """Why a module of this class, or a function of this name that does the same, cannot be used.

    Parameters
    ----------
    exporter
        What writes its framework's networks to NIR: a way out where only the class is not known.
    """
    reason, step = _REASONS.get(kind, ("this program does not know it", ""))
    known = "Use Conv2d, Linear, BatchNorm2d, AvgPool2d, Flatten and IAFSqueeze or ReLU"
    if exporter is not None:
        known = f"Export the network to NIR with {exporter}, and give the file"
    return RefusalError(f"{name or kind}: {reason}", step or known)


def _array(tensor: Any, name: str, dimensions: int | None = None) -> Any:
    """A float32 copy of a tensor."""
    if not isinstance(tensor, torch.Tensor):
        raise RefusalError(f"its {name} is no tensor", f"Check {name}", type(tensor).__name__)
    if tensor.is_complex():
        raise RefusalError(f"its {name} is complex", "Use real weights", tensor.dtype)
    if tensor.is_meta:
        raise RefusalError(f"its {name} has no values (meta device)", "Load the weights before")
    array = tensor.detach().to("cpu", torch.float32, copy=True).numpy()
    if dimensions is not None and array.ndim != dimensions:
        raise MisfitError(f"its {name} has another number of dimensions", value=array.ndim, limit=dimensions)
    if not np.all(np.isfinite(array)):
        raise RefusalError(f"its {name} holds numbers that are not finite", "Check the training")
    return array


def pair_of(value: Any, name: str) -> Pair:
    """One or two whole numbers as (height, width).

    Raises
    ------
    RefusalError
        Anything else.
    """
    given = np.asarray(value, object).ravel().tolist()
    numbers = [n for n in map(whole_number, given) if n is not None and 0 <= n < _POOL_SIZE_MAX]
    if len(numbers) != len(given) or len(numbers) not in (1, 2):
        raise RefusalError(f"{name} must be one or two whole numbers", f"Check {name}", value, ">= 0")
    return numbers[0], numbers[-1]


def convolution_of(module: Any) -> Convolution:
    """The operation of an `nn.Conv2d`.

    Raises
    ------
    RefusalError
        Padding that a core cannot do, or weights without values.
    """
    given, declared = weight_of(module)
    weight = _array(given, "weight", 4)
    if module.padding_mode != "zeros":
        step = "Train with padding_mode='zeros'"
        raise RefusalError("pads with something else than zeros", step, module.padding_mode, "zeros")
    kernel: Pair = (weight.shape[2], weight.shape[3])
    stride, dilation = pair_of(module.stride, "stride"), pair_of(module.dilation, "dilation")
    bias = None if module.bias is None else _array(bias_of(module), "bias", 1)
    return Convolution(
        out_features=weight.shape[0],
        kernel=kernel,
        stride=stride,
        padding=_padding(module.padding, kernel, stride, dilation),
        dilation=dilation,
        groups=int(module.groups),
        has_bias=bias is not None and bool(np.any(bias)),
        weight=weight,
        bias=bias,
        declared=declared,
    )


def _padding(value: Any, kernel: Pair, stride: Pair, dilation: Pair) -> Pair:
    if not isinstance(value, str):
        return pair_of(value, "padding")
    if value == "valid":
        return 0, 0
    if value != "same":
        raise RefusalError('padding must be numbers, "same" or "valid"', "Give it in numbers", value)
    if stride != (1, 1):
        raise RefusalError('padding "same" is defined for stride 1 only', "Give it in numbers", stride)
    spans = tuple((k - 1) * d for k, d in zip(kernel, dilation, strict=True))
    if any(span % 2 for span in spans):
        problem = 'padding "same" of an even kernel is one-sided, and a core pads both sides'
        raise RefusalError(problem, "Use an odd kernel", kernel)
    return spans[0] // 2, spans[1] // 2


def linear_of(module: Any) -> Linear:
    """The operation of an `nn.Linear`.

    Raises
    ------
    RefusalError
        Weights without values.
    """
    given, declared = weight_of(module)
    weight = _array(given, "weight", 2)
    bias = None if module.bias is None else _array(bias_of(module), "bias", 1)
    return Linear(weight.shape[0], bias is not None and bool(np.any(bias)), weight, bias, declared)


def batch_norm_of(module: Any) -> BatchNorm:
    """The normalisation of an `nn.BatchNorm1d` or `nn.BatchNorm2d` by its running statistics.

    Raises
    ------
    RefusalError
        It has none: it normalises by the batch.
    """
    if module.running_mean is None or module.running_var is None:
        problem = "normalises by the statistics of each batch, and a chip sees one spike at a time"
        raise RefusalError(problem, "Train with track_running_stats=True")
    mean, variance = _array(module.running_mean, "mean", 1), _array(module.running_var, "variance", 1)
    scale = np.ones_like(mean) if module.weight is None else _array(module.weight, "weight", 1)
    shift = np.zeros_like(mean) if module.bias is None else _array(module.bias, "bias", 1)
    return BatchNorm(mean, variance, scale, shift, float(module.eps))


def plain_pool(
    kind: Literal["sum", "average"],
    shape: Shape,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    divisor: Any = None,
) -> Pool | None:
    """A sum or average pool; None where it changes nothing.

    Raises
    ------
    RefusalError
        Padding, rounding up where it would add a row or column, a divisor of 0.
    """
    size = pair_of(kernel_size, "kernel_size")
    step = size if stride is None or stride == [] else pair_of(stride, "stride")
    if pair_of(padding, "padding") != (0, 0):
        problem = "pools with padding, and a core's pools have none"
        raise RefusalError(problem, "Use padding=0", pair_of(padding, "padding"), 0)
    if min(*size, *step) < 1:
        problem = "size and stride of a pool must be positive"
        raise RefusalError(problem, "Check kernel_size and stride", (size, step), ">= 1")
    rest = tuple((n - k) % s for n, k, s in zip(shape[1:], size, step, strict=True))
    if ceil_mode and any(rest):
        problem = (
            f"ceil_mode on a map of {shape.height}x{shape.width}: a core drops what does not fill a pool"
        )
        raise RefusalError(problem, "Use ceil_mode=False, or a map that is a multiple of the pool", size)
    if divisor is not None and not (isinstance(divisor, int | float) and divisor != 0):
        raise RefusalError("divides by no number, or by 0", "Check divisor_override", divisor)
    if size == step == (1, 1) and divisor in (None, 1):
        return None
    return Pool(kind, size, step, None if divisor is None else float(divisor))


def adaptive_pool(output_size: Any, shape: Shape) -> Pool | None:
    """The average pool that gives an output size; None where it changes nothing.

    Raises
    ------
    RefusalError
        The map does not divide evenly.
    """
    given = tuple(output_size) if isinstance(output_size, tuple | list) else (output_size, output_size)
    if len(given) != 2:
        raise RefusalError("output_size must be one or two numbers", "Check output_size", output_size)
    height, width = pair_of(
        tuple(n if side is None else side for side, n in zip(given, shape[1:], strict=True)),
        "output_size",
    )
    if min(height, width) < 1 or shape.height % height or shape.width % width:
        problem = f"a map of {shape.height}x{shape.width} does not divide evenly into the output"
        step = "Choose an output size that divides the map, or nn.AvgPool2d"
        raise RefusalError(problem, step, f"{height}x{width}")
    size = (shape.height // height, shape.width // width)
    return None if size == (1, 1) else Pool("average", size, size)


def relu_neuron(threshold: float) -> Neuron:
    """What a rectifier becomes, as `sinabs.from_torch.from_model` has it: bounded at minus the threshold."""
    return Neuron(threshold, -threshold, "subtract", "multi")


def _kind(entry: Any) -> str:
    """Name of a class, or of an object's class: sinabs takes classes for spikes, objects for resets."""
    return str(entry.__name__) if isinstance(entry, type) else type(entry).__name__


def spiking_neuron(module: Any, shape: Shape, dims: tuple[int, ...]) -> tuple[Neuron, list[RefusalError]]:
    """The neurons of a sinabs `IAF` or `IAFSqueeze`, and everything about them that no chip can do.

    Parameters
    ----------
    shape, dims
        Of the currents they integrate: as a map, and as the module sees them.
    """
    refused: list[RefusalError] = []
    if getattr(module, "tau_syn", None) is not None:
        problem = "tau_syn: its synapses filter the current, and no chip of the family can"
        refused.append(RefusalError(problem, "Use tau_syn=None", _plain(module.tau_syn)))
    threshold: Any = 1.0
    minimum: float | None = None
    try:
        threshold = _threshold(module.spike_threshold, shape, dims)
    except RefusalError as error:
        refused.append(error)
    try:
        minimum = _minimum(module.min_v_mem)
    except RefusalError as error:
        refused.append(error)
    # A class of the user's own may have the name, and fire elsewhere.
    own = module.spike_fn if isinstance(module.spike_fn, type) else type(module.spike_fn)
    is_known = str(own.__module__).startswith("sinabs.")
    mode = {"MultiSpike": "multi", "SingleSpike": "single"}.get(_kind(module.spike_fn)) if is_known else None
    if mode is None:
        problem = f"spike function {_kind(module.spike_fn)}: no chip of the family has it"
        refused.append(RefusalError(problem, "Use MultiSpike or SingleSpike"))
    reset: Literal["subtract", "zero"] = "subtract"
    try:
        reset = _reset(module.reset_fn, threshold)
    except RefusalError as error:
        refused.append(error)
    return Neuron(threshold, minimum, reset, "single" if mode == "single" else "multi"), refused


def _plain(value: Any) -> Any:
    """A tensor as a number or list, for messages."""
    return value.detach().cpu().tolist() if isinstance(value, torch.Tensor) else value


def _numbers(value: Any, name: str) -> Any:
    if value is None:
        raise RefusalError(f"has no {name}", "Give it a number")
    return _array(torch.as_tensor(value), name)


def _threshold(value: Any, shape: Shape, dims: tuple[int, ...]) -> Any:
    array = _numbers(value, "spike_threshold")
    if array.size == 0 or not np.all(array > 0):
        raise RefusalError("spike_threshold must be positive", "Use a number above 0", _plain(value), "> 0")
    if np.all(array == array.ravel()[0]):
        return float(array.ravel()[0])
    # Broadcasting aligns at the end: (features, 1, 1) before a map, (features,) before a flat current.
    first = next(n for n, size in enumerate(array.shape) if size != 1)
    flat_map = len(dims) != 3 and shape[1:] != (1, 1)
    if not flat_map and array.shape[first:] == (shape.features, *[1] * (len(dims) - 1)):
        return array.reshape(-1)
    problem = "spike_threshold differs between neurons of one feature; a core has one for all"
    raise RefusalError(
        problem, "Use one number, or one a feature: shape (features, 1, 1)", tuple(array.shape)
    )


def _minimum(value: Any) -> float | None:
    if value is None:
        return None
    array = _numbers(value, "min_v_mem")
    if array.size == 0 or np.any(array != array.ravel()[0]):
        raise RefusalError(
            "min_v_mem differs between neurons; a core has one for all", "Use one number", tuple(array.shape)
        )
    return float(array.ravel()[0])


def _reset(function: Any, threshold: Any) -> Literal["subtract", "zero"]:
    kind = _kind(function)
    if kind == "MembraneSubtract":
        value = getattr(function, "subtract_value", None)
        if value is not None and np.any(np.asarray(_numbers(value, "subtract_value")) != threshold):
            problem = "subtract_value: a spike subtracts the threshold, and nothing else"
            limit = _plain(threshold) if isinstance(threshold, float) else threshold.tolist()
            raise RefusalError(problem, "Use MembraneSubtract()", _plain(value), limit)
        return "subtract"
    if kind == "MembraneReset":
        value = getattr(function, "reset_value", 0.0)
        if np.any(_numbers(value, "reset_value") != 0):
            problem = "reset_value: a spike subtracts the threshold or returns the potential to 0"
            raise RefusalError(problem, "Use MembraneReset()", _plain(value), 0)
        return "zero"
    raise RefusalError(
        f"reset function {kind}: no chip of the family has it", "Use MembraneSubtract or MembraneReset"
    )
