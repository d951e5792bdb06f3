"""Which knobs to turn: one after the other, as long as it helps, in smaller and smaller steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mapper.errors import TimeLimitError
from mapper.normal_form import NormalNetwork
from mapper.process import was_interrupted
from mapper.tuning.knobs import Knobs, changes_of, tuned_network

__all__ = ["Found", "Step", "searched"]

# Factors by which knobs are turned: octaves, then halves of them.
_FACTORS = (2.0, 2**0.5)
# A turn helps where the mean gain of the same samples is beyond so many of its standard errors: of many turns
# that are tried some look good by chance.
_SURE = 2.0


class Judge(Protocol):
    """What gives candidates a loss for each of its samples; None to one that cannot be had."""

    def losses(self, candidate: NormalNetwork, /) -> NDArray[np.float64] | None: ...


@dataclass(frozen=True, slots=True)
class Step:
    """A turn that helped.

    Attributes
    ----------
    loss
        The mean of all samples after it.
    """

    change: str
    factor: float
    loss: float


@dataclass
class Found:
    """What a search has come to.

    Attributes
    ----------
    losses
        Of the best, by sample.
    trials
        Candidates that were run.
    stopped_by
        What ended it before no turn helped any more; empty without.
    """

    losses: NDArray[np.float64]
    knobs: Mapping[str, Knobs] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    trials: int = 1
    stopped_by: str = ""
    tried: set[Any] = field(default_factory=set, repr=False)


def searched(
    network: NormalNetwork,
    start: NDArray[np.float64],
    judge: Judge,
    progress: Callable[[int], object] | None = None,
) -> Found:
    """Turn knobs by descent along one coordinate at a time, from what was trained.

    A search of this kind needs no gradient and no model: a trial runs the chip's own configuration, which has
    neither, and there are a dozen knobs or two. A turn that helps is made again while it does. Ctrl-C, and a
    limit that the judge raises as TimeLimitError, keep the best so far.

    Parameters
    ----------
    network
        In floats.
    start
        Its losses.
    progress
        Called with the number of trials so far.
    """
    found = Found(start)
    try:
        for factor in _FACTORS:
            while _pass(network, judge, factor, found, progress):
                pass
    except KeyboardInterrupt:
        found.stopped_by = "Ctrl-C"
    except TimeLimitError as error:
        found.stopped_by = str(error)
    except Exception:
        # Some libraries make an error of their own of Ctrl-C.
        if not was_interrupted():
            raise
        found.stopped_by = "Ctrl-C"
    return found


def _pass(
    network: NormalNetwork,
    judge: Judge,
    factor: float,
    found: Found,
    progress: Callable[[int], object] | None,
) -> bool:
    """Make every turn once, and those that help again; whether any did."""
    before = len(found.steps)
    for turn, _ in list(changes_of(network, found.knobs, factor)):
        # What helped changes what the next turn starts from.
        while (knobs := dict(changes_of(network, found.knobs, factor)).get(turn)) is not None:
            key = _key(knobs)
            if key in found.tried:
                break
            found.tried.add(key)
            losses = judge.losses(tuned_network(network, knobs))
            found.trials += 1
            if progress is not None:
                progress(found.trials)
            if losses is None or not _is_better(losses, found.losses):
                break
            found.losses, found.knobs = losses, knobs
            found.steps.append(Step(*turn, float(losses.mean())))
    return len(found.steps) > before


def _is_better(losses: NDArray[np.float64], before: NDArray[np.float64]) -> bool:
    gains = before - losses
    # One sample has no spread, and shows nothing.
    return len(gains) > 1 and bool(gains.mean() > _SURE * gains.std(ddof=1) / np.sqrt(len(gains)))


def _key(knobs: Mapping[str, Knobs]) -> tuple[object, ...]:
    turned = ((name, entry) for name, entry in sorted(knobs.items()) if entry != Knobs())
    return tuple((name, *(round(v, 9) for v in _numbers(entry))) for name, entry in turned)


def _numbers(knobs: Knobs) -> tuple[float, ...]:
    return knobs.threshold, knobs.gain, knobs.bound, knobs.clip, float(knobs.in_sum)
