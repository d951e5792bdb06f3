"""Accuracy on labelled rasters: of the float network, the integer one, and the chip in both semantics."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mapper.emit.shared.config import ChipConfig
from mapper.errors import EventError, Finding
from mapper.events import events_from_raster
from mapper.normal_form import NormalNetwork
from mapper.sim.config_frame import simulate_config
from mapper.sim.event import EventOptions, simulate_events
from mapper.sim.network import simulate

__all__ = ["Accuracy", "LabelledData", "accuracies", "read_labelled"]

# A pixel of value v in 0..16 enters as v spikes, spread evenly over so many steps.
_DIGITS_STEPS = 16
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
    try:
        with np.load(path, allow_pickle=False) as data:
            arrays = {name: data[name] for name in ("rasters", "labels")}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        step = 'Write it by numpy.savez(path, rasters=..., labels=...), or name "digits"'
        raise EventError(Finding(source, f"is no labelled data: {error}", next_step=step)) from None
    rasters, labels = arrays["rasters"], arrays["labels"]
    if rasters.ndim != 5 or labels.shape != rasters.shape[:1] or not len(labels):
        limit = "rasters (samples, time, features, height, width), one label each"
        raise EventError(Finding(source, "has other shapes", (rasters.shape, labels.shape), limit))
    return LabelledData(path.stem, rasters, labels.astype(np.int64))


def accuracies(
    data: LabelledData,
    floating: NormalNetwork,
    integer: NormalNetwork,
    config: ChipConfig,
    *,
    dt_us: int,
    options: EventOptions | None = None,
    progress: Callable[[int], None] | None = None,
) -> tuple[Accuracy, ...]:
    """Float, integer, and the configuration in time steps and spike by spike.

    Parameters
    ----------
    progress
        Called with the number of samples done.
    """
    name, output = integer.inputs[0].name, integer.outputs[0].name
    frames = simulate_config(config, {name: data.rasters}, record=()).outputs[output]
    rows: dict[str, list[int]] = {"float": [], "integer": [], "chip, time steps": [], "chip, spikes": []}
    duration = data.rasters.shape[1] * dt_us
    for n, raster in enumerate(data.rasters):
        rows["float"].append(_best(simulate(floating, {name: raster}).outputs[output].sum(0)))
        rows["integer"].append(_best(simulate(integer, {name: raster}).outputs[output].sum(0)))
        rows["chip, time steps"].append(_best(frames[n].sum(0)))
        events = events_from_raster(raster, dt_us)
        seen = simulate_events(config, {name: events}, options, end_us=duration).outputs[output]
        rows["chip, spikes"].append(_best(_counted(seen, frames.shape[2:])))
        if progress is not None:
            progress(n + 1)
    return tuple(
        Accuracy(kind, len(classes), int((np.array(classes) == data.labels).sum()))
        for kind, classes in rows.items()
    )


def _best(counts: Any) -> int:
    return int(np.argmax(counts))


def _counted(events: Any, shape: tuple[int, ...]) -> Mapping[str, Any] | Any:
    counts = np.zeros(shape, np.int64)
    np.add.at(counts, (events["p"], events["y"], events["x"]), 1)
    return counts
