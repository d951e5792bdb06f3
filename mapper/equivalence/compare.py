"""The configuration's frame simulation against the network's: identical, or the first difference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mapper.arguments import checked
from mapper.errors import Finding, OptionsError
from mapper.wording import counted, titled

__all__ = ["FrameDifference", "first_difference"]


@dataclass(frozen=True, slots=True)
class FrameDifference:
    """The first spike count that differs: the earliest step, there the first layer.

    Attributes
    ----------
    network, chip
        Spikes of the neuron in that step, in the network and on the configured chip; −1 where the layer
        or its shape is missing.
    count
        Neurons and steps that differ, in all layers.
    """

    layer: str
    feature: int
    y: int
    x: int
    step: int
    network: int
    chip: int
    count: int

    def __str__(self) -> str:
        place = f"feature {self.feature}, row {self.y}, column {self.x}, step {self.step}"
        where = f"layer {titled(self.layer)}, {place}"
        spikes = counted(self.network, "spike")
        return f"{where}: {spikes} in the network, {self.chip} on the chip ({self.count} differ)"


@checked
def first_difference(
    network: Mapping[str, NDArray[Any]], chip: Mapping[str, NDArray[Any]]
) -> FrameDifference | None:
    """Compare spikes by layer, (time, features, height, width) each.

    Parameters
    ----------
    network, chip
        By layer, in the network's order.

    Raises
    ------
    OptionsError
        Arrays of other axes.
    """
    first: FrameDifference | None = None
    total = 0
    for name, given in network.items():
        expected, other = np.asarray(given), None if chip.get(name) is None else np.asarray(chip[name])
        if expected.ndim != 4:
            where, limit = f"layer {titled(name)}", "(time, features, height, width)"
            raise OptionsError(Finding(where, "is no array of frames", expected.shape, limit))
        if other is None or other.shape != expected.shape:
            return FrameDifference(name, 0, 0, 0, 0, -1, -1, expected.size)
        places = np.argwhere(expected != other)
        total += len(places)
        if len(places) and (first is None or places[0][0] < first.step):
            step, feature, y, x = (int(value) for value in places[0])
            values = int(expected[step, feature, y, x]), int(other[step, feature, y, x])
            first = FrameDifference(name, feature, y, x, step, *values, 0)
    if first is None:
        return None
    return FrameDifference(
        first.layer, first.feature, first.y, first.x, first.step, first.network, first.chip, total
    )
