"""Accuracies with their intervals, and what one row of the table lost of the row above it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mapper.by_value import ByValue
from mapper.equivalence.rates import LayerRates

__all__ = ["KINDS", "NO_ANSWER", "Accuracy", "Difference", "Effort", "Judgement", "Kind", "LostIn", "table"]

Kind: TypeAlias = Literal["source", "float", "integer", "steps", "spikes", "board"]
KINDS: tuple[Kind, ...] = ("source", "float", "integer", "steps", "spikes")
"""As trained; as a spiking network in floats; in integers; on the chip in time steps, and spike by spike. A
board has no place in that table."""
NO_ANSWER = -1
"""Of a sample without output spikes: it is no class, and never right."""
# Standard normal quantile of a two-sided interval of 95 %.
_Z = 1.959963984540054


@dataclass(frozen=True, slots=True)
class Difference:
    """A row's accuracy less that of the row above, on the same samples, with its 95 % interval.

    Agresti and Min, Simple improved confidence intervals for comparing matched proportions, Statistics in
    Medicine 24 (2005) 729-740: half a sample is added to each cell of the table of both answers.

    Attributes
    ----------
    gained, lost
        Samples that are right in this row alone, and in the row above alone.
    """

    samples: int
    gained: int
    lost: int

    @classmethod
    def between(cls, above: NDArray[Any], right: NDArray[Any]) -> Difference:
        """Of which samples are right in two rows."""
        return cls(len(right), int((right & ~above).sum()), int((above & ~right).sum()))

    @property
    def value(self) -> float:
        """-1..1."""
        return (self.gained - self.lost) / self.samples

    @property
    def interval(self) -> tuple[float, float]:
        """(low, high) of the 95 % confidence interval."""
        gained, lost, n = self.gained + 0.5, self.lost + 0.5, self.samples + 2
        middle = (gained - lost) / n
        half = _Z * math.sqrt(gained + lost - (gained - lost) ** 2 / n) / n
        return max(-1.0, middle - half), min(1.0, middle + half)

    @property
    def is_loss(self) -> bool:
        """Whether accuracy went down by more than chance explains."""
        return self.interval[1] < 0


@dataclass(frozen=True, slots=True)
class LostIn:
    """The layer that loses most when it alone is exchanged.

    Attributes
    ----------
    lost
        Samples that are lost by exchanging this layer alone.
    of
        Samples that were tried, all of them lost by exchanging all layers.
    """

    layer: str
    lost: int
    of: int


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Share of samples whose class has most output spikes, with Wilson's 95 % interval (1927).

    Attributes
    ----------
    difference
        To the row above; None in the first.
    lost_in
        Where most is lost; None where no more is lost than by chance, or it was not found.
    """

    kind: Kind
    samples: int
    correct: int
    difference: Difference | None = None
    lost_in: LostIn | None = None

    @property
    def share(self) -> float:
        """0..1."""
        return self.correct / self.samples

    @property
    def interval(self) -> tuple[float, float]:
        """(low, high) of the 95 % confidence interval."""
        n, p = self.samples, self.share
        middle = (p + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
        half = _Z / (1 + _Z**2 / n) * math.sqrt(p * (1 - p) / n + _Z**2 / (4 * n * n))
        return middle - half, middle + half


@dataclass(frozen=True, slots=True)
class Effort:
    """Spikes and synaptic operations of a layer for one inference, spike by spike, on average."""

    layer: str
    spikes: float
    synops: float


@dataclass(frozen=True, eq=False)
class Judgement(ByValue):
    """What labelled data shows beside the accuracies.

    Attributes
    ----------
    samples, total
        Samples that were run, of so many.
    steps
        Time steps of the longest sample.
    classes
        Names of the classes, by label.
    unanswered
        By row of the table, samples without output spikes.
    confusion
        Spike by spike: by label, how often each class was the answer; the last column is no answer.
    by_step
        By row but the source's, the accuracy after 1, 2, ... steps.
    rates
        Integer against float network, over all samples.
    effort
        By layer, for one inference.
    """

    data: str
    samples: int
    total: int
    steps: int
    classes: tuple[str, ...]
    unanswered: dict[str, int]
    confusion: tuple[tuple[int, ...], ...]
    by_step: dict[str, tuple[float, ...]]
    rates: tuple[LayerRates, ...]
    effort: tuple[Effort, ...]

    def enough_steps(self, kind: str, within: float = 0.01) -> int:
        """The first number of steps from which on a row stays within so much of its final accuracy."""
        curve = np.array(self.by_step[kind])
        short = np.flatnonzero(curve < curve[-1] - within)
        return 1 if not len(short) else int(short[-1]) + 2


def table(
    answers: dict[Kind, NDArray[Any]], labels: NDArray[Any], lost_in: dict[str, LostIn]
) -> tuple[Accuracy, ...]:
    """The rows there are, each with its difference from the one above; answers by sample."""
    rows: list[Accuracy] = []
    above: Any = None
    for kind in KINDS:
        if kind not in answers:
            continue
        right = answers[kind] == labels
        difference = None if above is None else Difference.between(above, right)
        rows.append(Accuracy(kind, len(labels), int(right.sum()), difference, lost_in.get(kind)))
        above = right
    return tuple(rows)
