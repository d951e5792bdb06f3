"""Identity cores: how they are configured, and whether a configured core is one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from mapper.emit.shared.config import CnnLayer, Dimensions, LayerShape, Vector
from mapper.emit.shared.tensor import Tensor, alive

__all__ = ["relay_faults", "relay_fields"]

# The vendor's own board test runs one event through a weight and a threshold of 127: one spike.
_WEIGHT = 127


def relay_fields(features: int, height: int, width: int, kill_bits: bool) -> dict[str, Any]:
    """Fields of a core that gives every spike it gets once: weight = threshold on the diagonal."""
    weights = (_WEIGHT * np.eye(features, dtype=np.int64)).reshape(features, features, 1, 1)
    shape = LayerShape(feature_count=features, size=Vector(x=width, y=height))
    biases, initial = np.zeros(features, np.int64), np.zeros((features, width, height), np.int64)
    fields: dict[str, Any] = {
        "dimensions": Dimensions(
            input_shape=shape,
            output_shape=shape,
            kernel_size=1,
            stride=Vector(x=1, y=1),
            padding=Vector(x=0, y=0),
        ),
        "weights": Tensor.of(weights),
        "biases": Tensor.of(biases),
        "neurons_initial_value": Tensor.of(initial),
        "threshold_high": _WEIGHT,
        "threshold_low": -1,
    }
    if kill_bits:
        fields |= {
            "weights_kill_bit": Tensor.of(weights == 0),
            "biases_kill_bit": Tensor.of(biases == 0),
            "neurons_value_kill_bit": Tensor.of(initial == 0),
        }
    return fields


def relay_faults(core: CnnLayer) -> Iterator[tuple[str, object, object]]:
    """(what, value, wanted) of everything that keeps a configured core from being an identity."""
    shape = core.dimensions
    weights = alive(core.weights, core.weights_kill_bit)
    biases = alive(core.biases, core.biases_kill_bit)
    initial = alive(core.neurons_initial_value, core.neurons_value_kill_bit)
    if shape is None or weights is None or biases is None or initial is None:
        yield "tensors", "missing", "all of them"
        return
    if (shape.kernel_size, shape.stride, shape.padding) != (1, Vector(x=1, y=1), Vector(x=0, y=0)):
        told = f"kernel {shape.kernel_size}, stride {shape.stride}, padding {shape.padding}"
        yield "convolution", told, "1x1, stride 1, padding 0"
        return
    if shape.input_shape != shape.output_shape:
        yield "features", shape.input_shape.feature_count, shape.output_shape.feature_count
        return
    wanted = (core.threshold_high or 0) * np.eye(len(weights), dtype=np.int64)
    wrong = np.argwhere(weights[:, :, 0, 0] != wanted)
    if len(wrong):
        out, into = (int(n) for n in wrong[0])
        limit = f"{wanted[out, into]} (the threshold, for the feature itself only)"
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
