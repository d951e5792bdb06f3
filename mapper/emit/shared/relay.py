"""Identity cores: how they are configured, and whether a configured core is one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from mapper.emit.shared.config import CnnLayer, Dimensions, LayerShape, Vector
from mapper.emit.shared.tensor import alive, tensor_fields

__all__ = ["relay_faults", "relay_fields", "selection"]

# The vendor's own board test runs one event through a weight and a threshold of 127: one spike.
_WEIGHT = 127


def relay_fields(
    inputs: int, features: tuple[int, int], height: int, width: int, kill_bits: bool, bits: int
) -> dict[str, Any]:
    """Fields of a core that gives every spike of its features once: there weight = threshold, else 0.

    Parameters
    ----------
    inputs
        Features that it reads, >= 1.
    features
        Half-open range of those that it passes on.
    bits
        Of the core's weights and potentials, the fewer, >= 2.
    """
    most = min(_WEIGHT, (1 << bits - 1) - 1)
    start, stop = features
    count = stop - start
    weights = most * selection(count, inputs, start)
    shape = LayerShape(feature_count=count, size=Vector(x=width, y=height))
    biases, initial = np.zeros(count, np.int64), np.zeros((count, width, height), np.int64)
    return {
        "dimensions": Dimensions(
            input_shape=shape.model_copy(update={"feature_count": inputs}),
            output_shape=shape,
            kernel_size=1,
            stride=Vector(x=1, y=1),
            padding=Vector(x=0, y=0),
        ),
        **tensor_fields(weights, biases, initial, kill_bits),
        "threshold_high": most,
        "threshold_low": -1,
    }


def selection(count: int, inputs: int, start: int) -> npt.NDArray[np.int64]:
    """(count, inputs, 1, 1): 1 from feature start + i to feature i, for every i; else 0."""
    return np.eye(count, inputs, start, dtype=np.int64)[:, :, None, None]


def relay_faults(core: CnnLayer, start: int = 0) -> Iterator[tuple[str, object, object]]:
    """(what, value, limit) of everything that keeps a configured core from being an identity.

    Parameters
    ----------
    start
        First of the arriving features that it passes on.
    """
    shape = core.dimensions
    weights = alive(core.weights, core.weights_kill_bit)
    biases = alive(core.biases, core.biases_kill_bit)
    initial = alive(core.neurons_initial_value, core.neurons_value_kill_bit)
    if shape is None or weights is None or biases is None or initial is None:
        yield "tensors", "missing", "all of them"
        return
    if (shape.kernel_size, shape.stride, shape.padding) != (1, Vector(x=1, y=1), Vector(x=0, y=0)):
        convolution = f"kernel {shape.kernel_size}, stride {shape.stride}, padding {shape.padding}"
        yield "convolution", convolution, "1x1, stride 1, padding 0"
        return
    inputs, count = shape.input_shape.feature_count, shape.output_shape.feature_count
    if start + count > inputs:
        yield "features", f"{start}..{start + count - 1}", f"0..{inputs - 1}, which it reads"
        return
    identity = (core.threshold_high or 0) * selection(count, inputs, start)
    wrong = np.argwhere(weights != identity)
    if len(wrong):
        out, into = (int(n) for n in wrong[0][:2])
        limit = f"{identity[out, into, 0, 0]} (the threshold, for the feature itself only)"
        yield f"weight[{out}, {into}]", int(weights[out, into, 0, 0]), limit
    if (core.threshold_low or 0) > -1:
        yield "lower threshold", core.threshold_low, "<= -1"
    if core.return_to_zero:
        yield "reset", "to zero", "subtract"
    if core.leak_enable and biases.any():
        yield "biases", int(np.count_nonzero(biases)), "none"
    if initial.any():
        yield "initial potentials", int(np.count_nonzero(initial)), "none"
    if core.output_decimator_enable or core.input_congestion_balancer_enable:
        yield "decimator or congestion balancer", "on", "off"
