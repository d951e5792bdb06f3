"""A trained network tuned for its chip: knobs chosen by some samples, judged by others."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwspec.catalog import load as load_chip
from hwspec.display import Shown
from hwspec.schema import ChipSpec
from mapper.api import solve, verify_equivalence
from mapper.arguments import checked
from mapper.by_value import ByValue
from mapper.deadline import NEVER, Deadline
from mapper.equivalence.accuracy import Difference
from mapper.equivalence.judge import check_labels
from mapper.equivalence.labelled import DataOptions, LabelledData, read_labelled
from mapper.equivalence.report import EquivalenceReport
from mapper.errors import EventError, Finding, NetworkError, OptionsError
from mapper.frontends import load_with_source
from mapper.network import Network
from mapper.normal_form import NormalNetwork
from mapper.options import SolveOptions
from mapper.passes import PrepareOptions, prepare
from mapper.process import ended_by_ctrl_c
from mapper.reasons import Status
from mapper.result import Result
from mapper.tuning.knobs import Knobs, tuned_network
from mapper.tuning.search import Found, searched
from mapper.tuning.trial import Harder, Trial, held, placed_as, samples_of
from mapper.tuning.worth import Tuned, answers_by_order, gains

__all__ = ["TuneOptions", "TuneResult", "Tuned", "tuned_by"]


@checked
@dataclass(frozen=True, slots=True)
class TuneOptions:
    """How a network is tuned.

    Attributes
    ----------
    runs
        Samples that a candidate is run on, each made harder anew and in another order of spikes, >= 1; fewer
        where these have more than 20 million spikes.
    seed
        Which samples come first, >= 0.
    time_limit_s
        Of the search; None until no turn helps any more.
    """

    runs: int = 1000
    seed: int = 0
    harder: Harder = field(default_factory=Harder)
    time_limit_s: float | None = None

    def __post_init__(self) -> None:
        findings = []
        if self.runs < 1:
            findings.append(Finding("runs", "must be a number of samples", self.runs, ">= 1"))
        if self.seed < 0:
            findings.append(Finding("seed", "must not be negative", self.seed, ">= 0"))
        if not 0 <= self.harder.lost < 1:
            findings.append(Finding("lost", "must be a share of spikes", self.harder.lost, "0..1"))
        if not 0 <= self.harder.added < float("inf"):
            findings.append(Finding("added", "must be a number of spikes", self.harder.added, ">= 0"))
        if findings:
            raise OptionsError(*findings)


@dataclass(frozen=True, eq=False)
class TuneResult(ByValue, Shown):
    """What tuning gives.

    Attributes
    ----------
    network
        In floats, with its knobs turned.
    result
        Its placement; `result.given` holds its integers.
    found
        The search: knobs, the turns that helped, what ended it.
    before, after
        On the samples that judge; None without any, or where Ctrl-C came first.
    """

    network: NormalNetwork
    result: Result
    found: Found
    before: Tuned | None = None
    after: Tuned | None = None
    labels: NDArray[np.int64] | None = field(default=None, repr=False)

    @property
    def knobs(self) -> Mapping[str, Knobs]:
        """By layer, of those that were turned."""
        return {name: entry for name, entry in self.found.knobs.items() if entry != Knobs()}

    @property
    def differences(self) -> dict[str, Difference]:
        """By order of spikes, accuracy after less that before, on the same samples; empty without any."""
        if self.before is None or self.after is None or self.labels is None:
            return {}
        return gains(self.before, self.after, self.labels)


@checked.but(rest=solve)
def tuned_by(
    network: Network | str | Path | object,
    chip: ChipSpec | str | Path = "speck2f",
    *,
    calibrate: str | Path | LabelledData,
    data: str | Path | LabelledData | None = None,
    tuning: TuneOptions | None = None,
    how: DataOptions | None = None,
    progress: Callable[[int], None] | None = None,
    **options: Any,
) -> TuneResult:
    """Turn thresholds, bounds and ranges of weights until the chip answers better, spike by spike.

    Every candidate is made of integers, placed, written as a configuration, and this is run on samples of
    `calibrate`, whose spikes are partly lost and mixed with others: a network knows the samples that it was
    trained on by heart. What counts is by how much the right class is ahead, in every order of spikes.

    Parameters
    ----------
    calibrate, data
        To choose by, and to judge by: what `labelled_data` makes or `read_labelled` reads, none in both.
    how
        How images and recordings become spikes.
    progress
        Called with the number of candidates that were run.
    options
        How the network is read, and solver options, as in `solve`.

    Raises
    ------
    InfeasibleError, UndecidedError
        The network has no placement as it is.
    NetworkError, SpecError, OptionsError, EventError
        Input that cannot be used; samples that are in both.
    """
    asked, encoding = tuning or TuneOptions(), how or DataOptions()
    spec = chip if isinstance(chip, ChipSpec) else load_chip(chip)
    reading = {name: options.pop(name, None) for name in ("input_shape", "nir", "torch", "input_from")}
    add_output_neuron = options.pop("add_output_neuron", None)
    read, source = load_with_source(network, **reading)
    _require_weights(read)
    choosing, judging = _labelled_apart(calibrate, data, read, encoding)
    solve(read, spec, add_output_neuron=add_output_neuron, **options).require()
    floating = prepare(read, PrepareOptions(add_output_neuron=add_output_neuron, quantize=False))
    search = _Search(spec, SolveOptions(**{**options, "repairs": 0}), encoding.dt_us, asked)
    found = search.run(floating, choosing, progress)
    tuned = tuned_network(floating, found.knobs)
    result = search.placed(tuned)
    if judging is None:
        return TuneResult(tuned, result, found)
    words = {**options, "workers": None, "data": judging, "dt_us": encoding.dt_us}

    def judged() -> Iterator[Tuned]:
        given = {**reading, **words, "add_output_neuron": add_output_neuron}
        old = _whole(verify_equivalence(source, spec, **given))
        yield Tuned(old, answers_by_order(search.placed(floating), judging, encoding.dt_us))
        new = _whole(verify_equivalence(tuned, spec, **words))
        yield Tuned(new, answers_by_order(result, judging, encoding.dt_us))

    return TuneResult(tuned, result, found, *_unless_interrupted(found, judged()), labels=judging.labels)


def _unless_interrupted(found: Found, judged: Iterator[Tuned]) -> tuple[Tuned | None, Tuned | None]:
    """Both, or none where Ctrl-C comes: what was found stays."""

    def stop() -> None:
        found.stopped_by = found.stopped_by or "Ctrl-C"

    with ended_by_ctrl_c(stop):
        return next(judged), next(judged)
    return None, None


def _whole(report: EquivalenceReport) -> EquivalenceReport:
    """A report of all samples: one is compared with another."""
    if report.is_interrupted:
        raise KeyboardInterrupt
    return report


@dataclass(frozen=True)
class _Search:
    """What all candidates have in common."""

    chip: ChipSpec
    options: SolveOptions
    dt_us: int
    asked: TuneOptions

    def placed(self, candidate: NormalNetwork) -> Result:
        """The placement of what has one.

        Raises
        ------
        UndecidedError
            The work limit came before it was found.
        """
        result = placed_as(candidate, self.chip, self.options)
        if result is None or result.status is Status.INFEASIBLE:
            raise RuntimeError(f"{candidate.name} had a placement, and has none")
        result.require()
        return result

    def run(
        self, floating: NormalNetwork, data: LabelledData, progress: Callable[[int], None] | None
    ) -> Found:
        """Search with the samples to choose by."""
        limit, asked = self.asked.time_limit_s, self.asked
        deadline = NEVER if limit is None else Deadline.after(limit, time.perf_counter())
        shape = floating.inputs[0].shape
        samples = held(samples_of(data, shape, self.dt_us, asked.runs, asked.harder, asked.seed))
        trial = Trial(self.chip, self.options, samples, self.dt_us)
        self.placed(floating)
        start = trial.losses(floating)
        if start is None:
            raise RuntimeError(f"{floating.name} had a placement, and has none")
        timed = replace(trial, pause=lambda: deadline.check("candidates were run"))
        return searched(floating, start, timed, progress)


def _labelled(data: str | Path | LabelledData, network: Network, how: DataOptions) -> LabelledData:
    found = read_labelled(data, network.inputs[0].shape, how) if isinstance(data, str | Path) else data
    check_labels(found, network)
    # What is wrong with the first is not told after minutes of search.
    next(samples_of(found, network.inputs[0].shape, how.dt_us, 1, Harder(0, 0), None))
    return found


def _require_weights(network: Network) -> None:
    if not network.has_weights:
        step = "Name a network with weights: a NIR file or a torch module"
        raise NetworkError(Finding(network.name, "has shapes alone, and nothing to turn", next_step=step))


def _labelled_apart(
    calibrate: str | Path | LabelledData,
    data: str | Path | LabelledData | None,
    network: Network,
    how: DataOptions,
) -> tuple[LabelledData, LabelledData | None]:
    choosing = _labelled(calibrate, network, how)
    judging = None if data is None else _labelled(data, network, how)
    if judging is not None:
        _require_apart(choosing, judging)
    return choosing, judging


def _require_apart(choosing: LabelledData, judging: LabelledData) -> None:
    """Refuse to judge by samples that were chosen by."""
    known = set(_prints(choosing))
    if same := sum(entry in known for entry in _prints(judging)):
        step = "Split the samples: one part to choose by, another to judge by"
        problem = f"holds samples of {choosing.name} too, by which the network is chosen"
        raise EventError(Finding(judging.name, problem, same, 0, "samples", step))


def _prints(data: LabelledData) -> Iterator[bytes]:
    # Of images the spikes may be drawn anew.
    shown, kind = (data.rasters, np.int64) if data.images is None else (data.images, np.float64)
    for number in range(len(data.labels)):
        raster: Any = np.ascontiguousarray(shown[number], kind)
        yield hashlib.sha256(repr(raster.shape).encode() + raster.tobytes()).digest()
