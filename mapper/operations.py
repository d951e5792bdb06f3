"""The small vocabulary a network is written in: shapes, weight operations, pools, neurons.

Every class is immutable; arrays are read-only. What an operation computes stands in its docstring,
and `mapper.sim.network` is the executable form of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from mapper.arguments import checked
from mapper.arrays import plain_array
from mapper.by_value import ByValue
from mapper.errors import Finding, OptionsError

__all__ = [
    "Array",
    "BatchNorm",
    "Convolution",
    "Dropout",
    "Flatten",
    "Integers",
    "Linear",
    "Neuron",
    "Pair",
    "PathOperation",
    "Pool",
    "Scale",
    "Shape",
    "shape_after",
]

Array: TypeAlias = npt.NDArray[np.generic]
Pair: TypeAlias = tuple[int, int]


@checked.by_name
class Shape(NamedTuple):
    """Features, height, width: the order of every shape in this project."""

    features: int
    height: int
    width: int

    def __str__(self) -> str:
        return f"{self.features}x{self.height}x{self.width}"

    @property
    def size(self) -> int:
        """Number of values."""
        return self.features * self.height * self.width


@checked
@dataclass(frozen=True, slots=True)
class Pool:
    """Pooling of spike counts; rows and columns that do not fill a pool do not exist.

    Attributes
    ----------
    kind
        "sum" or "average"; an average is a sum times ``1 / divisor``.
    size, stride
        (height, width), each >= 1.
    divisor
        What an average divides by; None for the number of values in the pool.
    """

    kind: Literal["sum", "average"]
    size: Pair
    stride: Pair
    divisor: float | None = None


@dataclass(frozen=True, slots=True)
class Flatten:
    """Features, rows and columns into one axis, in this order (the width runs fastest)."""


@dataclass(frozen=True, slots=True)
class Dropout:
    """No effect when a network runs: kept only until the passes drop it."""


@dataclass(frozen=True, slots=True)
class Scale:
    """Multiplication by one factor."""

    factor: float


PathOperation: TypeAlias = Pool | Flatten | Dropout | Scale


def _freeze(operation: object, *names: str) -> None:
    """Make arrays, tensors and lists in these fields read-only views, so that what exists cannot change.

    Raises
    ------
    OptionsError
        One has no values.
    """
    for name in names:
        value = getattr(operation, name)
        if value is None:
            continue
        try:
            view = plain_array(value).view()
        except ValueError as error:
            raise OptionsError(Finding(name, str(error))) from None
        view.flags.writeable = False
        object.__setattr__(operation, name, view)


@dataclass(frozen=True, slots=True)
class Integers:
    """What a framework declares of weights that its quantiser made: whole multiples of one step.

    Attributes
    ----------
    step
        What a weight of 1 is worth, > 0; None where no single number is.
    why_not
        Why the integers cannot be kept, as a clause; empty where they may be.
    """

    step: float | None
    why_not: str = ""

    def times(self, factors: object, why_not: str) -> Integers:
        """Of weights times these factors; where they differ, no integers are left, for this reason."""
        array = np.atleast_1d(np.asarray(factors, np.float64)).ravel()
        if self.step is None:
            return self
        if not np.all(array == array[0]) or not 0 < abs(array[0]) < np.inf:
            return Integers(None, why_not)
        return Integers(self.step * abs(float(array[0])))


@checked
@dataclass(frozen=True, slots=True, eq=False)
class Convolution(ByValue):
    """A two-dimensional convolution with zero padding.

    Attributes
    ----------
    out_features
        Number of output features, >= 1.
    kernel, stride, padding, dilation
        (height, width).
    groups
        Input and output features are cut into this many independent groups.
    has_bias
        Whether biases take part. With `bias` given it follows from the values.
    weight
        (out_features, in_features / groups, height, width), floating or, after quantization,
        integer; None for shapes alone.
    bias
        (out_features,), or None.
    declared
        Of weights in floats, the integers that a framework declares them to be; None for ordinary ones.
    """

    out_features: int
    kernel: Pair
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1
    has_bias: bool = False
    weight: Array | None = None
    bias: Array | None = None
    declared: Integers | None = None

    def __post_init__(self) -> None:
        _freeze(self, "weight", "bias")

    @property
    def extent(self) -> Pair:
        """Rows and columns the kernel spans, dilation included."""
        (height, width), (down, across) = self.kernel, self.dilation
        return (height - 1) * down + 1, (width - 1) * across + 1


@checked
@dataclass(frozen=True, slots=True, eq=False)
class Linear(ByValue):
    """A dense map of a flattened signal.

    Attributes
    ----------
    out_features
        Number of outputs, >= 1.
    has_bias
        Whether biases take part.
    weight
        (out_features, in_features), or None for shapes alone.
    bias
        (out_features,), or None.
    declared
        As of a convolution.
    """

    out_features: int
    has_bias: bool = False
    weight: Array | None = None
    bias: Array | None = None
    declared: Integers | None = None

    def __post_init__(self) -> None:
        _freeze(self, "weight", "bias")


@checked
@dataclass(frozen=True, slots=True, eq=False)
class BatchNorm(ByValue):
    """Batch normalisation at inference: ``(x - mean) / sqrt(variance + epsilon) * scale + shift``.

    All arrays have shape (features,), or are all None for shapes alone.
    """

    mean: Array | None = None
    variance: Array | None = None
    scale: Array | None = None
    shift: Array | None = None
    epsilon: float = 1e-5

    def __post_init__(self) -> None:
        _freeze(self, "mean", "variance", "scale", "shift")


@checked
@dataclass(frozen=True, slots=True, eq=False)
class Neuron(ByValue):
    """Integrate-and-fire neurons without leak.

    Attributes
    ----------
    threshold
        A neuron that reaches it spikes. One number, or an array (features,).
    minimum
        Lower bound of the potential, or None for no bound (-32768 after quantization).
    reset
        What a spike does to the potential: "subtract" the threshold, or "zero".
    spike_mode
        "multi": as many spikes a step as thresholds fit; "single": at most one.
    initial_potential
        (features, height, width) at the start, or None for zeros.
    fires_at
        "reached": at the threshold; "above": only beyond it, until quantization makes the same of integers.
    """

    threshold: float | int | Array = 1.0
    minimum: float | int | None = None
    reset: Literal["subtract", "zero"] = "subtract"
    spike_mode: Literal["multi", "single"] = "multi"
    initial_potential: Array | None = None
    fires_at: Literal["reached", "above"] = "reached"

    def __post_init__(self) -> None:
        _freeze(self, "initial_potential")
        for name in ("threshold", "minimum"):
            if isinstance(getattr(self, name), int | float):
                continue
            _freeze(self, name)
            # What has no dimension is the number that it holds.
            if isinstance(value := getattr(self, name), np.ndarray) and value.ndim == 0:
                object.__setattr__(self, name, value.item())


def shape_after(shape: Shape, path: Iterable[PathOperation]) -> Shape:
    """Shape of a signal after the operations of an edge's path.

    Raises
    ------
    ValueError
        A pool is larger than its map; the message says which.
    """
    for step in path:
        if isinstance(step, Pool):
            height = (shape.height - step.size[0]) // step.stride[0] + 1
            width = (shape.width - step.size[1]) // step.stride[1] + 1
            if shape.height < step.size[0] or shape.width < step.size[1]:
                size = f"{step.size[0]}x{step.size[1]}"
                raise ValueError(f"a pool of {size} leaves nothing of a map of {shape.height}x{shape.width}")
            shape = Shape(shape.features, height, width)
        elif isinstance(step, Flatten):
            shape = Shape(shape.size, 1, 1)
    return shape
