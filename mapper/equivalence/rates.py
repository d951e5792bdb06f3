"""What rounding to integers changed: spikes of the float and the integer network, by layer and feature."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mapper.arguments import checked
from mapper.errors import Finding, OptionsError
from mapper.wording import titled

__all__ = [
    "FeatureRates",
    "LayerRates",
    "PairedCounts",
    "layer_rates",
    "rates_of_counts",
]

# A feature is told where its neurons' counts hardly go together, or its spikes are so much more or fewer.
_CORRELATION_MIN = 0.5
_RATIO_MAX = 2.0
# Standard deviations of counts that differ by chance alone.
_CHANCE = 4.0
# So many spikes against none are no chance (p < 0.01).
_SPIKES_MIN = 5


@dataclass(frozen=True, slots=True)
class FeatureRates:
    """A feature in which the integer network does something else than the float one.

    Attributes
    ----------
    float_spikes, integer_spikes
        Of all its neurons.
    correlation
        Of its neurons' spike counts; None where one of them does not vary.
    """

    feature: int
    float_spikes: float
    integer_spikes: float
    correlation: float | None

    def __str__(self) -> str:
        counts = f"{self.float_spikes:g} spikes in floats, {self.integer_spikes:g} in integers"
        together = "" if self.correlation is None else f", correlation {self.correlation:.2f}"
        return f"feature {self.feature}: {counts}{together}"


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
        Whether the neuron with most spikes is the same; None where one of them has no spike.
    worst_features
        Features that are silent in one of them alone, have half or twice the spikes beyond chance, or whose
        neurons' counts correlate below 0.5; the worst first, none where all is well.
    """

    layer: str
    float_rate: float
    integer_rate: float
    correlation: float | None
    same_argmax: bool | None
    worst_features: tuple[FeatureRates, ...] = ()


class PairedCounts:
    """Spike counts of a layer in two networks, added up over recordings."""

    def __init__(self) -> None:
        self.recordings = 0
        # By neuron; then by feature, of its neurons and recordings: squares of both, and products.
        self.sums: Any = np.zeros((2, 1, 1, 1))
        self.products: Any = np.zeros((3, 1))

    def add(self, one: Any, other: Any) -> None:
        """Add whole counts of one recording, (features, height, width) each: their sums are exact."""
        one, other = np.asarray(one, float), np.asarray(other, float)
        self.recordings += 1
        self.sums = self.sums + np.stack([one, other])
        pairs = ((one, one), (other, other), (one, other))
        self.products = self.products + np.stack([(a * b).sum((1, 2)) for a, b in pairs])

    def correlation(self, feature: int | None = None) -> float | None:
        """Pearson's, of the counts of each neuron and recording; None where one network's do not vary."""
        chosen = slice(None) if feature is None else slice(feature, feature + 1)
        sums, n = self.sums[:, chosen].sum((1, 2, 3)), self.recordings * self.sums[0, chosen].size
        ones, others, both = n * self.products[:, chosen].sum(1)
        spread = (ones - sums[0] ** 2) * (others - sums[1] ** 2)
        return None if spread <= 0 else float((both - sums[0] * sums[1]) / math.sqrt(spread))


@checked
def layer_rates(
    floats: Mapping[str, NDArray[Any]], integers: Mapping[str, NDArray[Any]]
) -> tuple[LayerRates, ...]:
    """Compare spikes by layer, (time, features, height, width) each, of layers that both have.

    Raises
    ------
    OptionsError
        Arrays of other axes, or of different shapes.
    """
    pairs = {name: PairedCounts() for name in floats if name in integers}
    shapes = {name: (np.shape(floats[name]), np.shape(integers[name])) for name in pairs}
    if wrong := [name for name, (one, other) in shapes.items() if len(one) != 4 or one != other]:
        limit, problem = "(time, features, height, width), the same of both", "has arrays of other shapes"
        findings = (Finding(f"layer {titled(name)}", problem, shapes[name], limit) for name in wrong)
        raise OptionsError(*findings)
    for name, pair in pairs.items():
        pair.add(np.asarray(floats[name]).sum(0), np.asarray(integers[name]).sum(0))
    return rates_of_counts(pairs, max((len(spikes) for spikes in floats.values()), default=0))


def rates_of_counts(pairs: Mapping[str, PairedCounts], steps: int) -> tuple[LayerRates, ...]:
    """Compare counts by layer, of so many steps together."""
    rates = []
    for name, pair in pairs.items():
        one, other = pair.sums
        same = bool(one.argmax() == other.argmax()) if one.any() and other.any() else None
        worst = sorted(_worst(pair), key=lambda entry: (_badness(entry), entry.feature))
        rate, whole = (float(counts.mean()) / max(steps, 1) for counts in (one, other))
        rates.append(LayerRates(name, rate, whole, pair.correlation(), same, tuple(worst)))
    return tuple(rates)


def _worst(pair: PairedCounts) -> Iterator[FeatureRates]:
    for feature in range(pair.sums.shape[1]):
        one, other = (float(counts.sum()) for counts in pair.sums[:, feature])
        found = FeatureRates(feature, one, other, pair.correlation(feature))
        low, high = sorted((one, other))
        is_apart = high > _RATIO_MAX * low and high - low > _CHANCE * math.sqrt(high + low)
        is_other = found.correlation is not None and found.correlation < _CORRELATION_MIN
        # Few spikes correlate badly by chance: what shows something is a spike a neuron and recording.
        is_other = is_other and low > pair.recordings * pair.sums[0, feature].size
        if (low == 0 and high >= _SPIKES_MIN) or is_apart or is_other:
            yield found


def _badness(entry: FeatureRates) -> tuple[float, float]:
    low, high = sorted((entry.float_spikes, entry.integer_spikes))
    return low / high if high else 1.0, 1.0 if entry.correlation is None else entry.correlation
