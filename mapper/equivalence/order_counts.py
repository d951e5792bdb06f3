"""Spike counts of a board beside those of several simulations: how far apart they are, and what that says."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mapper.by_value import ByValue
from mapper.equivalence.accuracy import NO_ANSWER, Accuracy, Kind
from mapper.wording import counted, join_names

__all__ = ["BOARD", "STEPS", "BoardComparison", "LayerCounts", "OrderCounts", "Run", "orders_run"]

Order: TypeAlias = Literal["depth", "breadth", "random", "steps"]
BOARD: Literal["board"] = "board"
STEPS: Literal["steps"] = "steps"
"""The simulation in time steps, which is no order of spikes, beside those that are."""
_RANDOM: Literal["random"] = "random"
# So many standard deviations beside the random runs are no sign of anything yet.
_DEVIATIONS = 4.0


@dataclass(frozen=True, slots=True)
class Run:
    """A simulation of all samples.

    Attributes
    ----------
    seed
        Of a random order.
    """

    kind: Any
    seed: int = 0


def orders_run(random_orders: int) -> tuple[Run, ...]:
    """Depth first, breadth first, and so many random orders."""
    return (Run("depth"), Run("breadth"), *(Run(_RANDOM, n) for n in range(random_orders)))


@dataclass(frozen=True, eq=False)
class LayerCounts(ByValue):
    """A layer that is read, over all samples; of random orders the mean of the runs.

    Attributes
    ----------
    board
        Spikes that the board gave.
    simulated
        By order, spikes.
    distance
        By order, as in `BoardComparison`, of this layer.
    board_features, simulated_features
        Spikes by feature.
    """

    layer: str
    board: int
    simulated: Mapping[str, float]
    distance: Mapping[str, float]
    board_features: tuple[int, ...]
    simulated_features: Mapping[str, tuple[float, ...]]


@dataclass(frozen=True, eq=False)
class BoardComparison(ByValue):
    """What a board spiked at samples, against the simulations.

    A distance is the sum of ``|a - b|`` over the sum of ``max(a, b)``, a and b being the spikes of a neuron
    at a sample on the board and in the simulation, both sums over all samples, layers that are read and
    their neurons: 0 where every count is the same, 1 where no neuron spikes in both (the dissimilarity of
    Ruzicka). An order agrees exactly where its distance is 0; the random order, where for each sample one of
    its runs gives the board's counts. Times are not compared.

    Attributes
    ----------
    samples, total
        Samples that were played, of so many.
    unmonitored
        Layers that the board does not show.
    distance
        By order ("steps": in time steps); of random orders the mean of the runs.
    exact
        Orders that agree exactly, "steps" among them.
    alike
        Orders whose counts are the same in every sample, together; random where every run's are.
    nearest
        Orders that the board is most like, several where they are alike. A board that loses spikes is as much
        farther from every order: so it is the order whose own distances from all orders, the same amount
        added to each, are nearest to the board's (least squares of spikes).
    is_like_random
        Whether the board could be one of the random runs by its spikes in each layer, its distances from
        the other orders and its mean distance from the random runs: it is not if one of them lies farther
        out than any does of any random run, each seen from all others in standard deviations, and more than
        four. A board in random order fails that at most once in random_orders + 1 times.
    random_orders
        Runs in random order.
    accuracies
        Of the board and by order, where there are labels and the output is read; of random orders the first.
    unheard
        Samples at which the board gave no spike, and every simulation did.
    """

    data: str
    samples: int
    total: int
    layers: tuple[LayerCounts, ...]
    unmonitored: tuple[str, ...]
    distance: Mapping[str, float]
    exact: tuple[str, ...]
    alike: tuple[tuple[str, ...], ...]
    nearest: tuple[str, ...]
    is_like_random: bool
    random_orders: int
    accuracies: Mapping[str, Accuracy]
    unheard: int
    notes: tuple[str, ...]

    @property
    def verdict(self) -> str:
        """Which order the board has, as far as these samples show; it names one only where no other fits."""
        if not any(entry.board or any(entry.simulated.values()) for entry in self.layers):
            return "Nothing spiked in the layers that are read: these samples say nothing of the order."
        exact = [kind for kind in self.exact if kind != STEPS]
        if len(exact) == 1:
            return f"The board agrees exactly with {_WORDS[exact[0]]}, and with no other."
        if exact:
            return f"{self._alike(exact)}: each of them gives exactly the board's counts."
        parts = ["None of the orders agrees exactly with the board."]
        if STEPS in self.exact:
            parts.append("The simulation in time steps does.")
        if self.is_like_random and _RANDOM in self.nearest:
            runs = f"the {counted(self.random_orders, 'random run')}"
            parts.append(
                f"Its counts are as {runs} have them among themselves: a random order explains them."
            )
            return " ".join(parts)
        shares = f"{100 * self.distance[self.nearest[0]]:.2g} %"
        if len(self.nearest) > 1:
            parts.append(f"{self._alike(self.nearest)}, and are nearest: {shares} of the spikes differ.")
        else:
            parts.append(f"Most like it is {_WORDS[self.nearest[0]]}: {shares} of the spikes differ.")
        return " ".join(parts)

    @staticmethod
    def _alike(kinds: Sequence[str]) -> str:
        names = join_names([_WORDS[kind] for kind in kinds]).capitalize()
        return f"{names} cannot be told apart by these samples"


_WORDS = {"depth": "depth first", "breadth": "breadth first", _RANDOM: "a random order"}


@dataclass
class OrderCounts:
    """Samples added up: memory for one sample, and for distances of all pairs.

    Attributes
    ----------
    runs
        Simulations; the board is before them.
    """

    runs: tuple[Run, ...]
    samples: int = 0
    unheard: int = 0
    # By layer: between each two |a - b|, added up; spikes by feature and run.
    apart: dict[str, NDArray[np.int64]] = field(default_factory=dict)
    features: dict[str, NDArray[np.int64]] = field(default_factory=dict)
    could_be_random: bool = True
    right: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    answered: int = 0
    _last: Sequence[Mapping[str, NDArray[np.int64]]] = ()

    def add(self, spikes: Sequence[Mapping[str, NDArray[np.int64]]]) -> None:
        """Add a sample.

        Parameters
        ----------
        spikes
            Of the board and then of each run, by layer the neuron of each spike: feature << 32 | row << 16 |
            column.
        """
        self._last, count = spikes, len(spikes)
        total = np.zeros((count, count), np.int64)
        for layer in spikes[1]:
            given = [entry.get(layer, np.empty(0, np.int64)) for entry in spikes]
            neurons, places = np.unique(np.concatenate(given), return_inverse=True)
            of = np.repeat(np.arange(count), [len(entry) for entry in given])
            counts = np.zeros((count, len(neurons)), np.int64)
            np.add.at(counts, (of, places), 1)
            apart = np.stack([np.abs(counts - row).sum(1) for row in counts])
            self.apart[layer] = self.apart.get(layer, 0) + apart
            total += apart
            self._add_features(layer, counts, neurons >> 32)
        self.samples += 1
        self.could_be_random &= bool((total[0, self._of(_RANDOM)] == 0).any())
        sizes = [sum(map(len, entry.values())) for entry in spikes]
        self.unheard += not sizes[0] and all(sizes[1:])

    def _add_features(self, layer: str, counts: NDArray[np.int64], of: NDArray[np.int64]) -> None:
        known = self.features.get(layer, np.zeros((len(counts), 0), np.int64))
        wide = max(known.shape[1], int(of.max(initial=-1)) + 1)
        known = np.pad(known, ((0, 0), (0, wide - known.shape[1])))
        np.add.at(known.T, of, counts.T)
        self.features[layer] = known

    def _of(self, kind: str) -> list[int]:
        """Rows of a kind; the board is row 0."""
        return [n for n, run in enumerate(self.runs, 1) if run.kind == kind]

    def add_answers(self, layer: str, shape: tuple[int, int, int], label: int) -> None:
        """Add whether the class with most spikes of an output, of the sample added last, is the label."""
        self.answered += 1
        for kind in (BOARD, *dict.fromkeys(run.kind for run in self.runs)):
            row = 0 if kind == BOARD else self._of(kind)[0]
            neurons = self._last[row].get(layer, np.empty(0, np.int64))
            place = (neurons >> 32) * shape[1] * shape[2]
            place += ((neurons >> 16) & 0xFFFF) * shape[2] + (neurons & 0xFFFF)
            answer = int(np.bincount(place).argmax()) if len(place) else NO_ANSWER
            self.right[kind] += answer == label

    def comparison(
        self, data: str, total: int, unmonitored: tuple[str, ...], notes: tuple[str, ...]
    ) -> BoardComparison:
        """What the samples show together."""
        kinds = list(dict.fromkeys(run.kind for run in self.runs))
        apart = np.sum([*self.apart.values()], axis=0)
        spikes = {layer: by_feature.sum(1) for layer, by_feature in self.features.items()}
        exact = [kind for kind in kinds if kind != _RANDOM and not apart[0, self._of(kind)].any()]
        if self.could_be_random:
            exact.append(_RANDOM)
        accuracies = {kind: Accuracy(_row(kind), self.answered, n) for kind, n in self.right.items()}
        return BoardComparison(
            data=data,
            samples=self.samples,
            total=total,
            layers=tuple(self._layer(layer, kinds) for layer in self.apart),
            unmonitored=unmonitored,
            distance=self._distances(apart, np.sum([*spikes.values()], axis=0), kinds),
            exact=tuple(kind for kind in kinds if kind in exact),
            alike=self._alike(apart, kinds),
            nearest=self._nearest(apart, kinds),
            is_like_random=self._is_like_random(apart, spikes),
            random_orders=len(self._of(_RANDOM)),
            accuracies=accuracies,
            unheard=self.unheard,
            notes=notes,
        )

    def _layer(self, layer: str, kinds: Sequence[str]) -> LayerCounts:
        features = self.features[layer]
        by_kind = {kind: features[self._of(kind)].mean(0) for kind in kinds}
        return LayerCounts(
            layer,
            int(features[0].sum()),
            {kind: float(means.sum()) for kind, means in by_kind.items()},
            self._distances(self.apart[layer], features.sum(1), kinds),
            tuple(features[0].tolist()),
            {kind: tuple(means.tolist()) for kind, means in by_kind.items()},
        )

    def _distances(self, apart: Any, spikes: Any, kinds: Sequence[str]) -> dict[str, float]:
        # max(a, b) = (a + b + |a - b|) / 2
        most = (spikes[0] + spikes + apart[0]) / 2
        distance = apart[0] / np.maximum(most, 1)
        return {kind: float(distance[self._of(kind)].mean()) for kind in kinds}

    def _alike(self, apart: Any, kinds: Sequence[str]) -> tuple[tuple[str, ...], ...]:
        groups: list[list[str]] = []
        for kind in (kind for kind in kinds if kind != STEPS):
            for group in groups:
                if not apart[np.ix_(self._of(kind), self._of(group[0]))].any():
                    group.append(kind)
                    break
            else:
                groups.append([kind])
        return tuple(tuple(group) for group in groups if len(group) > 1)

    def _nearest(self, apart: Any, kinds: Sequence[str]) -> tuple[str, ...]:
        orders = [kind for kind in kinds if kind != STEPS]
        rows = [self._of(kind) for kind in orders]
        # A run is at distance 0 of itself, which says nothing of how far random orders are apart.
        pairs = [[len(a) * len(b) - len(a) * (a == b) * (len(a) > 1) for b in rows] for a in rows]
        own = np.array([[apart[np.ix_(a, b)].sum() for b in rows] for a in rows]) / np.array(pairs)
        beyond = np.array([apart[0, row].mean() for row in rows]) - own
        badness = ((beyond - beyond.mean(1, keepdims=True)) ** 2).sum(1)
        best = orders[int(badness.argmin())]
        group = next((group for group in self._alike(apart, kinds) if best in group), (best,))
        return tuple(kind for kind in orders if kind in group)

    def _is_like_random(self, apart: Any, spikes: Mapping[str, Any]) -> bool:
        rows = np.array([0, *self._of(_RANDOM)])
        numbers = [apart[np.ix_(rows, rows)].sum(1) / (len(rows) - 1)]
        numbers += [apart[rows, self._of(kind)[0]] for kind in ("depth", "breadth")]
        numbers += [by_run[rows] for by_run in spikes.values()]
        farthest = np.array([_beside_the_others(np.array(number, float)) for number in numbers]).max(0)
        return bool(farthest[0] <= max(farthest[1:].max(), _DEVIATIONS))


def _beside_the_others(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """How many standard deviations of all others each value lies beside their mean."""
    found = []
    for n, value in enumerate(values):
        others = np.delete(values, n)
        apart, spread = abs(value - others.mean()), others.std(ddof=1)
        found.append(apart / spread if spread else np.inf if apart else 0.0)
    return np.array(found)


def _row(kind: str) -> Kind:
    """What the accuracies of `verify` call it."""
    return BOARD if kind == BOARD else STEPS if kind == STEPS else "spikes"
