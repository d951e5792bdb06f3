"""Labelled samples through a network in floats and integers, and through its configuration."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mapper.deadline import Deadline
from mapper.emit.shared.config import ChipConfig
from mapper.equivalence.accuracy import NO_ANSWER, Effort, Judgement, Kind
from mapper.equivalence.labelled import LabelledData
from mapper.equivalence.rates import PairedCounts, rates_of_counts
from mapper.errors import INTERRUPTION, EventError, Finding, TimeLimitError
from mapper.events import events_from_raster
from mapper.network import Network
from mapper.normal_form import NormalNetwork
from mapper.sim.config_frame import simulate_config
from mapper.sim.event import EventOptions, simulate_events
from mapper.sim.network import simulate

__all__ = ["CHUNK", "Judge", "Judged", "Source", "Tally", "answers_after", "check_labels"]

CHUNK = 16
"""Samples whose time steps run together: more of them are no faster."""
_SIMULATED: tuple[Kind, ...] = ("float", "integer", "steps", "spikes")


class Source(Protocol):
    """What a network was read from, as it was trained.

    Attributes
    ----------
    is_analog
        Whether it computes with values, not spikes.
    """

    @property
    def is_analog(self) -> bool:  # noqa: D102  # stated above
        ...

    def answers(self, rasters: Sequence[NDArray[Any]], frames: Sequence[NDArray[Any]]) -> list[int]:
        """The class of each sample, of its raster or of what a network without time is shown."""
        ...


@dataclass(frozen=True)
class Judged:
    """One sample.

    Attributes
    ----------
    answers
        By row of the table but the source's, the class after each step.
    floats, integers
        Spike counts by layer, (features, height, width).
    spikes, synops
        Spike by spike, by layer.
    """

    answers: Mapping[Kind, NDArray[Any]]
    floats: Mapping[str, Any]
    integers: Mapping[str, Any]
    spikes: Mapping[str, int]
    synops: Mapping[str, int]


@dataclass(frozen=True)
class Judge:
    """What samples run through; it can be sent to another process.

    Attributes
    ----------
    floating, integer
        The network before and after rounding.
    """

    floating: NormalNetwork
    integer: NormalNetwork
    config: ChipConfig
    dt_us: int
    options: EventOptions | None = None

    def run(self, rasters: Sequence[NDArray[Any]], pause: Callable[[], object]) -> Iterator[Judged]:
        """Run samples, in their order; those of equal length together in time steps."""
        for _, group in groupby(rasters, key=np.shape):
            batch = np.stack(list(group))
            given = {self.integer.inputs[0].name: batch}
            output = self.integer.outputs[0].name
            frames = simulate_config(self.config, given, record=(), pause=pause).outputs[output]
            for raster, steps in zip(batch, frames, strict=True):
                yield self._one(raster, steps, pause)

    def run_all(self, rasters: Sequence[NDArray[Any]], deadline: Deadline) -> list[Judged]:
        """The samples there is time for, from the first on: what a worker does."""
        done: list[Judged] = []
        try:
            done.extend(self.run(rasters, lambda: deadline.check("labelled samples were simulated")))
        except TimeLimitError:
            return done
        return done

    def _one(self, raster: NDArray[Any], steps: Any, pause: Callable[[], object]) -> Judged:
        name, output = self.integer.inputs[0].name, self.integer.outputs[0].name
        runs = [simulate(n, {name: raster}, pause=pause) for n in (self.floating, self.integer)]
        events = {name: events_from_raster(raster, self.dt_us)}
        end = len(raster) * self.dt_us
        seen = simulate_events(self.config, events, self.options, end_us=end, pause=pause)
        traces = [run.outputs[output] for run in runs]
        traces += [steps, _in_steps(seen.outputs[output], steps.shape, self.dt_us)]
        owners = self.config.interface.owners if self.config.interface else {}
        return Judged(
            {kind: answers_after(trace) for kind, trace in zip(_SIMULATED, traces, strict=True)},
            *({layer: spikes.sum(0) for layer, spikes in run.spikes.items()} for run in runs),
            *(_by_owner(counts, owners) for counts in (seen.spikes, seen.synops)),
        )


def answers_after(trace: Any) -> NDArray[Any]:
    """The class with most spikes after each step, `NO_ANSWER` before the first spike; of equals the first.

    Parameters
    ----------
    trace
        Output spikes, (time, features, height, width).
    """
    sums = np.cumsum(trace.reshape(len(trace), -1), axis=0)
    return np.where(sums.any(axis=1), sums.argmax(axis=1), NO_ANSWER)


def _in_steps(events: Any, shape: tuple[int, ...], dt_us: int) -> NDArray[Any]:
    counts = np.zeros(shape, np.int64)
    # The last tick of the slow clock is at the end of the last step.
    step = np.minimum(events["t"] // dt_us, shape[0] - 1)
    np.add.at(counts, (step, events["p"], events["y"], events["x"]), 1)
    return counts


def _by_owner(counts: Mapping[int, int], owners: Mapping[int, str]) -> dict[str, int]:
    """Pieces and copies together."""
    sums: Counter[str] = Counter()
    for core, count in counts.items():
        sums[owners.get(core, f"core {core}")] += count
    return dict(sums)


@dataclass
class Tally:
    """Samples added up, in their order: memory for one sample and the last answers.

    Attributes
    ----------
    labels
        Of all samples there are.
    answers
        By row of the table, the last answer of each sample.
    right
        By row, how many samples are right after each step; one that is over keeps its answer.
    source_failure
        Why what the network was read from could not be run; empty where it could.
    stopped_by
        What came before all samples were done, other than the deadline; empty where nothing did.
    """

    labels: NDArray[Any]
    answers: dict[Kind, list[int]] = field(default_factory=dict)
    right: dict[Kind, NDArray[Any]] = field(default_factory=dict)
    pairs: defaultdict[str, PairedCounts] = field(default_factory=lambda: defaultdict(PairedCounts))
    spikes: Counter[str] = field(default_factory=Counter)
    synops: Counter[str] = field(default_factory=Counter)
    steps: int = 0
    source_failure: str = ""
    stopped_by: str = ""

    @property
    def samples(self) -> int:
        """Samples that were added."""
        return len(self.answers.get("spikes", ()))

    def interrupt(self) -> None:
        """Ctrl-C came: nothing more is added."""
        self.stopped_by = INTERRUPTION

    def add(self, sample: Judged) -> None:
        """Add a sample."""
        label = self.labels[self.samples]
        for kind, after in sample.answers.items():
            self.answers.setdefault(kind, []).append(int(after[-1]))
            before, hit = self.right.get(kind, np.zeros(1, np.int64)), (after == label).astype(np.int64)
            longest = max(len(before), len(hit))
            before, hit = (np.pad(a, (0, longest - len(a)), "edge") for a in (before, hit))
            self.right[kind] = before + hit
        for layer, counts in sample.floats.items():
            if layer in sample.integers:
                self.pairs[layer].add(counts, sample.integers[layer])
        self.spikes.update(sample.spikes)
        self.synops.update(sample.synops)
        self.steps += len(sample.answers["spikes"])

    def final(self) -> dict[Kind, NDArray[Any]]:
        """By row, the answer of each sample."""
        return {kind: np.array(entries, np.int64) for kind, entries in self.answers.items()}

    def judgement(self, data: LabelledData) -> Judgement:
        """What the samples show together.

        Parameters
        ----------
        data
            Where they are from.
        """
        labels, final = data.labels[: self.samples], self.final()
        classes = 1 + max(int(data.labels.max()), *(int(entries.max()) for entries in final.values()))
        confusion = np.zeros((classes, classes + 1), np.int64)
        np.add.at(confusion, (labels, final["spikes"]), 1)
        names = data.classes + tuple(map(str, range(len(data.classes), classes)))
        return Judgement(
            data=data.name,
            samples=self.samples,
            total=len(data.labels),
            steps=len(self.right["spikes"]),
            classes=names,
            unanswered={kind: int((entries == NO_ANSWER).sum()) for kind, entries in final.items()},
            confusion=tuple(tuple(row) for row in confusion.tolist()),
            by_step={kind: tuple((right / self.samples).tolist()) for kind, right in self.right.items()},
            rates=rates_of_counts(self.pairs, self.steps),
            effort=tuple(
                Effort(layer, self.spikes[layer] / self.samples, self.synops[layer] / self.samples)
                for layer in self.spikes
            ),
        )


def check_labels(data: LabelledData | None, network: Network) -> None:
    """Refuse classes that the network has no output for, and several inputs or maps of another shape.

    Raises
    ------
    EventError
        Everything that does not go together.
    """
    if data is None:
        return
    findings = []
    if len(network.inputs) != 1:
        names = ", ".join(entry.name for entry in network.inputs)
        findings.append(Finding("labelled data", "feeds one input, and there are several", names))
    elif (misfit := data.misfit(network.inputs[0].shape)) is not None:
        findings.append(misfit)
    output = network.outputs[0]
    shape = network.signal_shapes.get(output.source)
    if shape is not None and not output.path:
        most, step = shape.size - 1, "Count classes from 0, or read the network with all its outputs"
        for label in (int(data.labels.min()), int(data.labels.max())):
            if not 0 <= label <= most:
                findings.append(
                    Finding(data.name, "has a class without an output", label, f"0..{most}", "", step)
                )
                break
    if findings:
        raise EventError(*findings)
