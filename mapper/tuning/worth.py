"""What a network is worth on samples: the table of accuracies, and spike by spike in each order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwspec.schema import ChipSpec
from mapper.api import solve, verify_equivalence
from mapper.arguments import checked
from mapper.by_value import ByValue
from mapper.equivalence.accuracy import NO_ANSWER, Difference
from mapper.equivalence.labelled import LabelledData
from mapper.equivalence.report import EquivalenceReport
from mapper.errors import Finding, OptionsError
from mapper.result import Result
from mapper.tuning.trial import ORDERS, Harder, Trial, samples_of

__all__ = ["Tuned", "answers_by_order", "gains", "worth"]


@dataclass(frozen=True, eq=False)
class Tuned(ByValue):
    """A network before or after it was changed, on the samples that judge.

    Attributes
    ----------
    report
        In the default order of spikes, with the table of accuracies.
    answers
        Spike by spike, by order, the class of each sample, `NO_ANSWER` without output spikes.
    """

    report: EquivalenceReport
    answers: Mapping[str, NDArray[np.int64]]


@checked.but(rest=verify_equivalence)
def worth(
    network: object,
    chip: ChipSpec | str | Path = "speck2f",
    *,
    data: LabelledData,
    dt_us: int = 1000,
    **options: Any,
) -> Tuned:
    """Judge a network by samples, as `mapper verify` does, and in every order of spikes.

    Parameters
    ----------
    network
        What `mapper.solve` takes.
    options
        As in `verify_equivalence`: how the network is read, and those of the solver.
    """
    report = verify_equivalence(network, chip, data=data, dt_us=dt_us, **options)
    reading = {name: options[name] for name in options if name not in ("workers", "progress")}
    return Tuned(report, answers_by_order(solve(network, chip, **reading), data, dt_us))


@checked
def answers_by_order(result: Result, data: LabelledData, dt_us: int = 1000) -> dict[str, NDArray[np.int64]]:
    """By order of spikes, the class of each sample on the chip, `NO_ANSWER` without output spikes.

    Parameters
    ----------
    result
        A placement.
    """
    shape = result.given[0].inputs[0].shape

    def plain() -> Trial:
        samples = samples_of(data, shape, dt_us, len(data.labels), Harder(0, 0), None)
        return Trial(result.chip, result.options, samples, dt_us)

    def answer(counts: NDArray[np.int64]) -> int:
        return int(counts.argmax()) if counts.any() else NO_ANSWER

    return {order: np.array([*map(answer, plain().counts(result, [order]))]) for order in ORDERS}


@checked
def gains(before: Tuned, after: Tuned, labels: NDArray[np.int64]) -> dict[str, Difference]:
    """By order of spikes, accuracy after less that before, on the same samples.

    Raises
    ------
    OptionsError
        As many labels as there are no answers.
    """
    counts = {len(answers) for tuned in (before, after) for answers in tuned.answers.values()}
    if counts - {len(labels)}:
        limit = " and ".join(map(str, sorted(counts)))
        raise OptionsError(Finding("labels", "must be one for each answer", len(labels), limit))
    return {
        order: Difference.between(before.answers[order] == labels, now == labels)
        for order, now in after.answers.items()
    }
