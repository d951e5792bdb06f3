"""What rounding to integers changed: spike rates of the float and the integer network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["LayerRates", "layer_rates"]


@dataclass(frozen=True, slots=True)
class LayerRates:
    """A layer in the float network and in the integer one.

    Attributes
    ----------
    float_rate, integer_rate
        Mean spikes per neuron and step.
    correlation
        Of the neurons' spike counts; None where one of them does not vary.
    same_argmax
        Whether the neuron with most spikes is the same.
    """

    layer: str
    float_rate: float
    integer_rate: float
    correlation: float | None
    same_argmax: bool


def layer_rates(floats: Mapping[str, Any], integers: Mapping[str, Any]) -> tuple[LayerRates, ...]:
    """Compare spikes by layer, (time, features, height, width) each, of layers that both have."""
    rates = []
    for name, spikes in floats.items():
        if name not in integers:
            continue
        one, other = spikes.sum(0).ravel().astype(float), integers[name].sum(0).ravel().astype(float)
        steps = max(len(spikes), 1)
        varied = one.std() > 0 and other.std() > 0
        correlation = float(np.corrcoef(one, other)[0, 1]) if varied else None
        same = bool(one.argmax() == other.argmax())
        rates.append(
            LayerRates(name, float(one.mean()) / steps, float(other.mean()) / steps, correlation, same)
        )
    return tuple(rates)
