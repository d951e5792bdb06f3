"""Arrays of a configured core, in the order of axes that this package uses."""

from __future__ import annotations

from typing import Any

import numpy as np

from mapper.emit.shared.config import CnnLayer
from mapper.emit.shared.tensor import alive
from mapper.errors import ConfigError, Finding
from mapper.integers import widened

__all__ = ["SHORT_COUNT_MAX", "biases_of", "initial_of", "input_shape", "taps", "weights_of"]

# Other processors than the CPU may keep 11 significant bits of what they multiply (TF32), as flags of the
# whole process say: weights of 8 bits and counts up to this are exact in them too.
SHORT_COUNT_MAX = 1 << 11


def weights_of(core: CnnLayer) -> Any:
    """(out, in, y, x) again, in narrow integers: the configuration's last two axes are x, y."""
    weights = alive(core.weights, core.weights_kill_bit)
    return None if weights is None else weights.transpose(0, 1, 3, 2)


def biases_of(core: CnnLayer) -> Any:
    """(out,); None without."""
    biases = alive(core.biases, core.biases_kill_bit)
    return None if biases is None else widened(biases)


def initial_of(core: CnnLayer) -> Any:
    """(features, y, x) of the initial potentials; None without."""
    potentials = alive(core.neurons_initial_value, core.neurons_value_kill_bit)
    return None if potentials is None else widened(potentials).transpose(0, 2, 1)


def input_shape(core: CnnLayer) -> tuple[int, int, int]:
    """(features, height, width) of what arrives."""
    if core.dimensions is None:
        raise ConfigError(Finding("core", "is not configured"))
    shape = core.dimensions.input_shape
    return shape.feature_count, shape.size.y, shape.size.x


def taps(core: CnnLayer) -> Any:
    """(height, width) of the input: how many neurons of one feature a spike at each place reaches."""
    shape = core.dimensions
    if shape is None:
        raise ConfigError(Finding("core", "is not configured"))
    along = []
    for axis in ("y", "x"):
        pad, stride = getattr(shape.padding, axis), getattr(shape.stride, axis)
        place = np.arange(getattr(shape.input_shape.size, axis)) + pad
        first = np.maximum((place - shape.kernel_size) // stride + 1, 0)
        last = np.minimum(place // stride, getattr(shape.output_shape.size, axis) - 1)
        along.append(np.maximum(last - first + 1, 0))
    return np.outer(along[0], along[1])
