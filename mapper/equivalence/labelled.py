"""Accuracy on labelled rasters: of the float network, the integer one, and the chip in both semantics."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mapper.deadline import NEVER, Deadline
from mapper.emit.shared.config import ChipConfig
from mapper.errors import EventError, Finding, TimeLimitError
from mapper.events import events_from_raster
from mapper.events.numpy_files import arrays_of
from mapper.normal_form import NormalNetwork
from mapper.sim.config_frame import simulate_config
from mapper.sim.event import EventOptions, simulate_events
from mapper.sim.network import NO_COUNTS, are_spike_counts, simulate
from mapper.texts import unreachable

__all__ = ["Accuracy", "LabelledData", "accuracies", "read_labelled"]

# A pixel of value v in 0..16 enters as v spikes, spread evenly over so many steps.
_DIGITS_STEPS = 16
# Samples whose time steps run together: more of them are no faster.
_BATCH = 16
_KINDS = ("float", "integer", "chip, time steps", "chip, spikes")
# Standard normal quantile of a two-sided interval of 95 %.
_Z = 1.959963984540054


@dataclass(frozen=True)
class LabelledData:
    """Rasters (samples, time, features, height, width) and their classes."""

    name: str
    rasters: NDArray[Any]
    labels: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Share of samples whose class has most output spikes, with Wilson's 95 % interval (1927)."""

    kind: str
    samples: int
    correct: int

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


def read_labelled(source: str) -> LabelledData:
    """The test half of "digits", or a .npz file with `rasters` and `labels`.

    Raises
    ------
    EventError
        The file cannot be read or holds something else.
    """
    if source == "digits":
        with np.load(str(files("mapper") / "data" / "digits_test.npz"), allow_pickle=False) as data:
            images, labels = data["images"].astype(np.int64), data["labels"].astype(np.int64)
        steps = np.arange(_DIGITS_STEPS)[None, :, None, None]
        values = images[:, None]
        spikes = (steps + 1) * values // _DIGITS_STEPS - steps * values // _DIGITS_STEPS
        return LabelledData("digits", spikes[:, :, None], labels)
    path = Path(source)
    step = 'Write it by numpy.savez(path, rasters=..., labels=...), or name "digits"'
    if (problem := unreachable(path)) is not None:
        raise EventError(Finding(source, f"is no labelled data: {problem}", next_step=step))
    arrays = arrays_of(path)
    if lacking := {"rasters", "labels"} - arrays.keys():
        problem = f"is no labelled data: it lacks {' and '.join(sorted(lacking))}"
        raise EventError(Finding(source, problem, next_step=step))
    rasters, labels = arrays["rasters"], arrays["labels"]
    if rasters.ndim != 5 or labels.shape != rasters.shape[:1] or not len(labels):
        limit = "rasters (samples, time, features, height, width), one label each"
        raise EventError(Finding(source, "has other shapes", (rasters.shape, labels.shape), limit))
    if not are_spike_counts(rasters):
        raise EventError(Finding(source, f"its rasters {NO_COUNTS}"))
    if labels.dtype.kind not in "iu":
        raise EventError(Finding(source, "has labels that are no whole numbers", str(labels.dtype)))
    return LabelledData(path.stem, rasters, labels.astype(np.int64))


def accuracies(
    data: LabelledData | None,
    floating: NormalNetwork,
    integer: NormalNetwork,
    config: ChipConfig,
    *,
    dt_us: int,
    options: EventOptions | None = None,
    deadline: Deadline = NEVER,
    progress: Callable[[int], None] | None = None,
) -> tuple[Accuracy, ...]:
    """Float, integer, and the configuration in time steps and spike by spike; nothing without data.

    Parameters
    ----------
    deadline
        Ends it with the samples that are done then; before the first one there are no accuracies.
    progress
        Called with the number of samples done.
    """
    if data is None:
        return ()
    answers: list[tuple[int, ...]] = []
    pause = partial(deadline.check, "labelled samples were simulated")
    with suppress(TimeLimitError):
        for classes in _classes(data, (floating, integer), config, dt_us, options, pause):
            answers.append(classes)
            if progress is not None:
                progress(len(answers))
    labels = data.labels[: len(answers)]
    return tuple(
        Accuracy(kind, len(answers), int((np.array(classes) == labels).sum()))
        for kind, classes in zip(_KINDS, zip(*answers, strict=True), strict=False)
    )


def _classes(
    data: LabelledData,
    networks: tuple[NormalNetwork, ...],
    config: ChipConfig,
    dt_us: int,
    options: EventOptions | None,
    pause: Callable[[], object],
) -> Iterator[tuple[int, ...]]:
    """By sample, the answers in the order of `_KINDS`."""
    name, output = networks[-1].inputs[0].name, networks[-1].outputs[0].name
    end_us = data.rasters.shape[1] * dt_us
    for start in range(0, len(data.labels), _BATCH):
        rasters = data.rasters[start : start + _BATCH]
        frames = simulate_config(config, {name: rasters}, record=(), pause=pause).outputs[output]
        for raster, steps in zip(rasters, frames, strict=True):
            runs = [simulate(network, {name: raster}, pause=pause).outputs[output] for network in networks]
            events = {name: events_from_raster(raster, dt_us)}
            seen = simulate_events(config, events, options, end_us=end_us, pause=pause).outputs[output]
            counts = [run.sum(0) for run in (*runs, steps)]
            yield tuple(map(_best, (*counts, _counted(seen, frames.shape[2:]))))


def _best(counts: Any) -> int:
    return int(np.argmax(counts))


def _counted(events: Any, shape: tuple[int, ...]) -> Mapping[str, Any] | Any:
    counts = np.zeros(shape, np.int64)
    np.add.at(counts, (events["p"], events["y"], events["x"]), 1)
    return counts
