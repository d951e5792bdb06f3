"""The whole check of a placed network, on one recording."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwspec.schema import ChipSpec
from mapper.activity import steps_of
from mapper.asking import STEPS, TIME_LIMIT
from mapper.deadline import NEVER, Deadline
from mapper.emit.shared.config import ChipConfig
from mapper.emit.shared.joined import joined
from mapper.emit.write.build import build_config
from mapper.emit.write.options import EmitOptions
from mapper.equivalence.compare import first_difference
from mapper.equivalence.events import EventComparison, compare_events
from mapper.equivalence.judge import Judge, Source, check_labels
from mapper.equivalence.judging import scored
from mapper.equivalence.labelled import LabelledData
from mapper.equivalence.rates import LayerRates, layer_rates
from mapper.equivalence.report import EquivalenceReport, OutputTrace
from mapper.equivalence.silence import silence_of
from mapper.errors import EventError, Finding, warn_caller
from mapper.events import Events, events_from, events_from_raster, raster_from_events
from mapper.network import Network
from mapper.normal_form import NormalNetwork
from mapper.own_shape import own_shape
from mapper.passes.rounding import rounding_losses
from mapper.result import Result
from mapper.sim.config_frame import simulate_config
from mapper.sim.event import EventOptions
from mapper.sim.network import Simulation, simulate
from mapper.wording import counted

__all__ = [
    "CELLS_MAX", "Recording", "check_equivalence", "random_recording", "recording_of",
    "recording_of_data",
]  # fmt: skip


CELLS_MAX = 1 << 26
"""Pixels of all steps of random spikes: a million steps of 8x8."""
# The golden section: multiples of it, without their whole parts, are spread evenly.
_SPREAD = (5**0.5 - 1) / 2
# One sample alone may be silent, or like no other.
_SAMPLES_MIN = 4


@dataclass(frozen=True)
class Recording:
    """What goes in: by input, counts per step and the same as events.

    Attributes
    ----------
    rasters
        (time, features, height, width).
    dt_us
        Microseconds of a step.
    """

    rasters: Mapping[str, NDArray[Any]]
    events: Mapping[str, Events]
    dt_us: int

    @property
    def steps(self) -> int:
        """Number of time steps."""
        return int(next(iter(self.rasters.values())).shape[0])


def random_recording(
    network: Network,
    rate: float,
    steps: int,
    dt_us: int,
    seed: int = 0,
    deadline: Deadline = NEVER,
) -> Recording:
    """Independent random spikes.

    Parameters
    ----------
    rate
        Probability of a spike per pixel and step, 0..1.

    Raises
    ------
    EventError
        A rate or a number of steps that is none.
    TimeLimitError
        The deadline came first.
    """
    findings = []
    if not 0 <= rate <= 1:
        findings.append(Finding("rate", "must be a probability", rate, "0..1"))
    cells = max((prod(entry.shape) for entry in network.inputs), default=1)
    most = max(1, CELLS_MAX // cells)
    if not 1 <= steps <= most:
        text = f"must be a number of steps of {cells} pixels"
        findings.append(Finding("steps", text, steps, f"1..{most}"))
    if seed < 0:
        findings.append(Finding("seed", "must not be negative", seed, ">= 0"))
    if findings:
        raise EventError(*findings)
    draw = np.random.default_rng(seed)

    def spikes(shape: Iterable[int]) -> NDArray[Any]:
        raster = np.empty((steps, *shape), np.uint8)
        for frame in raster:
            deadline.check(f"random spikes of {counted(steps, 'step')} were drawn", _simulate_less())
            frame[...] = draw.random(frame.shape) < rate
        return raster

    # There is one sensor: all inputs that it feeds see the same, each as much of it as its shape has.
    sensed = [entry.shape for entry in network.inputs if entry.dvs is not None]
    sensor = spikes(map(max, zip(*sensed, strict=True))) if sensed else None
    rasters = {
        entry.name: spikes(entry.shape)
        if sensor is None or entry.dvs is None
        else sensor[:, : entry.shape.features, : entry.shape.height, : entry.shape.width]
        for entry in network.inputs
    }
    events = {name: events_from_raster(raster, dt_us) for name, raster in rasters.items()}
    return Recording(rasters, events, dt_us)


def recording_of(network: Network, events: Events, dt_us: int, *, drop_outside: bool = False) -> Recording:
    """A recorded input, cut into steps from its first event on; of the sensor, for all that read it.

    Raises
    ------
    EventError
        The network has several inputs that are not the sensor's, or the events do not fit it.
    """
    first = network.inputs[0]
    shared = first.dvs is not None and {entry.shape for entry in network.inputs} == {first.shape}
    if len(network.inputs) != 1 and not (shared and all(entry.dvs for entry in network.inputs)):
        names = ", ".join(entry.name for entry in network.inputs)
        raise EventError(Finding("events", "the network has several inputs; a recording feeds one", names))
    shifted = events_from(events, order="any")
    if not len(shifted):
        raise EventError(Finding("events", "there are none"))
    shifted["t"] -= shifted["t"][0]
    features, height, width = first.shape
    shape = (features, height, width)
    made = raster_from_events(shifted, shape, dt_us, drop_outside=drop_outside)
    if made.dropped:
        lie = counted(len(events), "event lies", "events lie")
        warn_caller(f"{made.dropped} of {lie} outside the input's map and are left out")
    raster = made.counts
    names_of = [entry.name for entry in network.inputs]
    return Recording(dict.fromkeys(names_of, raster), dict.fromkeys(names_of, shifted), dt_us)


def recording_of_data(network: Network, data: LabelledData, steps: int, dt_us: int) -> Recording:
    """Samples from all over labelled data, one after the other, until there are so many steps of them."""
    count, rasters, total = len(data.labels), [], 0
    # Files are often sorted by class: the order is spread over all of them.
    for index in sorted(range(count), key=lambda n: (n * _SPREAD % 1.0, n)):
        rasters.append(data.rasters[index])
        total += len(rasters[-1])
        if total >= steps and len(rasters) >= _SAMPLES_MIN:
            break
    raster, name = np.concatenate(rasters), network.inputs[0].name
    return Recording({name: raster}, {name: events_from_raster(raster, dt_us)}, dt_us)


def check_equivalence(
    result: Result,
    floating: NormalNetwork | Sequence[NormalNetwork],
    recording: Recording,
    data: LabelledData | None = None,
    deadline: Deadline = NEVER,
    progress: Callable[[int], None] | None = None,
    options: EventOptions | None = None,
    source: Source | None = None,
    workers: int | None = None,
) -> EquivalenceReport:
    """Compare placed networks with their configuration, and with what they were before rounding.

    Parameters
    ----------
    floating
        The networks of `Result.given` before they were made integer; the result must have a solution.
    recording
        Of all inputs, by the names of `mapper.emit.shared.joined` where several networks share the chip.
    data, source, workers, progress
        As in `mapper.equivalence.judging.tally`; samples that the deadline leaves out are noted.

    Raises
    ------
    InfeasibleError, UndecidedError, TimeLimitError, EventError
        No placement, a deadline before the recording was compared, data that does not go with the network.
    """
    integer, dt_us = joined(result.given), recording.dt_us
    check_labels(data, integer)
    floats = floating if isinstance(floating, Network) else joined(floating)
    config = build_config(result, EmitOptions(dt_us=float(dt_us)))
    runs = _Runs.of(recording, floats, integer, config, deadline)
    events = _spike_by_spike(runs, recording, integer, config, result.chip, options, deadline)
    judge = Judge(floats, integer, config, dt_us, options)
    scores = scored(judge, data, source, workers=workers, deadline=deadline, progress=progress)
    rates = runs.rates if scores.judgement is None else scores.judgement.rates
    return EquivalenceReport(
        network=integer.name,
        chip=result.chip.name,
        steps=recording.steps,
        dt_us=dt_us,
        input_events=sum(map(len, recording.events.values())),
        difference=first_difference(_present(result, runs.integers.spikes), runs.chip),
        rates=rates,
        events=events,
        accuracies=scores.accuracies,
        judgement=scores.judgement,
        silence=silence_of(rates, integer),
        rounding=rounding_losses(result.given),
        notes=(*scores.notes, *events.notes, *(config.interface.notes if config.interface else ())),
        readings=tuple(map(str, result.readings)),
        compared_with=integer.compared_with,
        titles={entry.layer: integer.title(entry.layer) for entry in rates},
        output=_trace(integer.outputs[0].name, runs.floats, events.outputs),
        is_complete=scores.is_complete,
        is_interrupted=scores.is_interrupted,
    )


@dataclass(frozen=True)
class _Runs:
    """A recording in time steps: through both networks, and by layer through the configuration."""

    integers: Simulation
    chip: Mapping[str, Any]
    floats: Simulation

    @property
    def rates(self) -> tuple[LayerRates, ...]:
        return layer_rates(self.floats.spikes, self.integers.spikes)

    @classmethod
    def of(
        cls,
        recording: Recording,
        floats: NormalNetwork,
        integer: NormalNetwork,
        config: ChipConfig,
        deadline: Deadline,
    ) -> _Runs:
        rasters, steps = recording.rasters, recording.steps
        with _counted(deadline, recording, "the integer network", steps) as pause:
            integers = simulate(integer, rasters, pause=pause)
        with _counted(deadline, recording, "the configuration in time steps", None) as pause:
            chip = simulate_config(config, rasters, pause=pause).layers
        with _counted(deadline, recording, "the float network", steps) as pause:
            return cls(integers, chip, simulate(floats, rasters, pause=pause))


def _present(result: Result, spikes: Mapping[str, Any]) -> dict[str, Any]:
    """What the given layers did, without rows and columns that were left out because nothing reads them."""
    placed = joined(result.networks)
    maps = {
        origin.name: own_shape(origin, placed.signal_shapes[origin.layer][1:]) for origin in placed.origins
    }
    sizes = {name: maps.get(name, entry.shape[-3:]) for name, entry in spikes.items()}
    return {name: entry[..., : sizes[name][1], : sizes[name][2]] for name, entry in spikes.items()}


def _spike_by_spike(
    runs: _Runs,
    recording: Recording,
    network: NormalNetwork,
    config: ChipConfig,
    chip: ChipSpec,
    options: EventOptions | None,
    deadline: Deadline,
) -> EventComparison:
    frames = {layer.name: runs.chip[layer.name] for layer in network.layers}
    with _counted(deadline, recording, "the configuration spike by spike", None) as pause:
        return compare_events(
            config, frames, recording.events, chip, duration_us=float(recording.steps * recording.dt_us),
            options=options, pause=pause, title=network.title,
        )  # fmt: skip


def _simulate_less() -> str:
    return f"Raise {TIME_LIMIT}, or simulate less: fewer {STEPS}, or a shorter recording"


@contextmanager
def _counted(
    deadline: Deadline, recording: Recording, what: str, total: int | None
) -> Iterator[Callable[[], None]]:
    """What a simulator calls on its way through a recording, once for each of so many steps."""
    during, calls = f"{what} was simulated on {counted(recording.steps, 'step')}", count()
    less = _simulate_less()
    with steps_of(f"simulating {what}", total) as steps:

        def pause() -> None:
            deadline.check(during, less)
            if total is not None:
                steps(next(calls))

        yield pause


def _trace(name: str, run: Simulation, outputs: Mapping[str, Events]) -> OutputTrace:
    floats, events = run.outputs[name], outputs[name]
    shape = floats.shape[1:]
    neurons = np.ravel_multi_index((events["p"], events["y"], events["x"]), shape)
    counts = np.bincount(neurons, minlength=int(np.prod(shape)))
    return OutputTrace(
        name,
        tuple(floats.sum(0).ravel().tolist()),
        tuple(counts.tolist()),
        tuple(events["t"].tolist()),
        tuple(neurons.tolist()),
    )
