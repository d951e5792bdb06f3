"""How well a network answers spike by spike on its chip, by samples that are made harder."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hwspec.schema import ChipSpec
from mapper.arguments import checked
from mapper.emit.write.build import build_config
from mapper.emit.write.options import EmitOptions
from mapper.equivalence.labelled import LabelledData
from mapper.errors import EventError, Finding, NetworkError
from mapper.events import Events, events_from_raster
from mapper.normal_form import NormalNetwork
from mapper.operations import Shape, shape_after
from mapper.options import SolveOptions
from mapper.passes.minimum import mend_minimum
from mapper.passes.quantize import quantize
from mapper.question import Question, decide
from mapper.result import Result
from mapper.sim.event import EventOptions, simulate_events
from mapper.wording import other_shape

__all__ = ["ORDERS", "Harder", "Sample", "Trial", "held", "margin_of", "placed_as", "samples_of"]

ORDERS = ("depth", "breadth", "random")
"""In which spikes may be handled on the chip; which of them it has is not known."""
# A lead by a twelfth of the spikes that compete takes more than half of the loss of no lead.
_STEEPNESS = 12.0
# Of all samples that a search holds: some 320 MB.
_SPIKES_MAX = 20_000_000

Sample: TypeAlias = tuple[Events, int, int]
"""Events, class, time steps."""


@checked
@dataclass(frozen=True, slots=True)
class Harder:
    """What becomes of the samples that a network may know by heart, so that they tell good from better.

    Attributes
    ----------
    lost
        Share of spikes that are left out, 0..1.
    added
        Spikes that are added, per pixel and step on average.
    """

    lost: float = 0.3
    added: float = 0.03

    def of(self, raster: NDArray[Any], number: int) -> NDArray[Any]:
        """A sample made harder; the same for a number every time."""
        draw = np.random.default_rng(number)
        kept = draw.binomial(raster.astype(np.int64), 1 - self.lost)
        return kept + draw.poisson(self.added, raster.shape)


@dataclass(frozen=True)
class Trial:
    """Samples, and the chip that candidates are put on.

    Attributes
    ----------
    samples
        All of them anew, whenever they are gone through.
    orders
        In which spikes are handled: every sample in one of them, in turn.
    """

    chip: ChipSpec
    options: SolveOptions
    samples: Iterable[Sample]
    dt_us: int
    orders: tuple[str, ...] = ORDERS
    pause: Callable[[], object] = field(default=lambda: None, repr=False)

    def losses(self, candidate: NormalNetwork) -> NDArray[np.float64] | None:
        """The loss of each sample, >= 0; None where the chip cannot have the candidate.

        Parameters
        ----------
        candidate
            In floats.
        """
        placed = placed_as(candidate, self.chip, self.options)
        if placed is None or placed.solution is None:
            return None
        runs = zip(self.counts(placed, self.orders), self.samples, strict=True)
        margins = [margin_of(counts, label) for counts, (_, label, _) in runs]
        return np.logaddexp(0, -_STEEPNESS * np.array(margins))

    def counts(self, placed: Result, orders: Sequence[str]) -> Iterator[NDArray[np.int64]]:
        """Output spikes by class, of sample after sample, each in the next of the orders."""
        config, network = build_config(placed, EmitOptions(dt_us=float(self.dt_us))), placed.given[0]
        entry, output = network.inputs[0].name, network.outputs[0]
        _, height, width = shape_after(network.signal_shapes[output.source], output.path)
        for number, (events, _, steps) in enumerate(self.samples):
            chosen = EventOptions(order=orders[number % len(orders)], seed=number)  # type: ignore[arg-type]  # of ORDERS
            end = float(steps * self.dt_us)
            seen = simulate_events(config, {entry: events}, chosen, end_us=end, pause=self.pause)
            spikes = seen.outputs[output.name]
            yield np.bincount((spikes["p"].astype(np.int64) * height + spikes["y"]) * width + spikes["x"])


def placed_as(candidate: NormalNetwork, chip: ChipSpec, options: SolveOptions) -> Result | None:
    """What becomes of a network once it is of integers, placed or not; None where it cannot be rounded."""
    try:
        integer = mend_minimum(quantize(candidate))
    except NetworkError:
        return None
    result = decide(Question((integer,), chip, options), "reasons")
    if result.statistics.interrupted:
        # Ctrl-C within the solver ends its search alone.
        raise KeyboardInterrupt
    return result


def margin_of(counts: NDArray[Any], label: int) -> float:
    """How far the class is ahead of all others, as a share of what both have, -1..1; -1 without spikes.

    Silence is no answer, and never right: were it no worse than a tie, a network that is often wrong would be
    better the less it spikes.

    Parameters
    ----------
    counts
        Output spikes by class; classes beyond have none.
    """
    own = int(counts[label]) if label < len(counts) else 0
    others = np.delete(counts, label) if label < len(counts) else counts
    other = int(others.max(initial=0))
    return (own - other) / (own + other) if own + other else -1.0


def samples_of(
    data: LabelledData, shape: Shape, dt_us: int, runs: int, harder: Harder, seed: int | None
) -> Iterator[Sample]:
    """So many runs: all samples in turn, each time made harder anew.

    Parameters
    ----------
    shape
        Of the network's input.
    seed
        Of the order of the samples; None leaves them in theirs.

    Raises
    ------
    EventError
        There are no samples, or one has another shape.
    """
    count = len(data.labels)
    if not count:
        raise EventError(Finding(data.name, "holds no samples"))
    order = np.arange(count) if seed is None else np.random.default_rng(seed).permutation(count)
    for number in range(runs):
        index = int(order[number % count])
        given = data.rasters[index]
        if given.shape[1:] != tuple(shape):
            where = f"{data.source or data.name}, sample {index}"
            raise EventError(other_shape(where, "raster", given.shape, shape, ("time",)))
        raster = harder.of(given, number)
        yield events_from_raster(raster, dt_us), int(data.labels[index]), len(raster)


def held(samples: Iterable[Sample]) -> list[Sample]:
    """The samples, but no more of them than memory is meant for: every candidate runs on them."""
    kept: list[Sample] = []
    spikes = 0
    for sample in samples:
        spikes += len(sample[0])
        if kept and spikes > _SPIKES_MAX:
            break
        kept.append(sample)
    return kept
