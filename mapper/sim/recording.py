"""A recording through the event simulator, a piece at a time, and what comes of it in numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any

import numpy as np

from mapper.asking import INPUT, LAYER
from mapper.by_value import ByValue
from mapper.emit.shared.config import ChipConfig
from mapper.errors import ConfigError, Finding, OptionsError
from mapper.events import Events
from mapper.events.stored import Recording
from mapper.sim.event import EventOptions, EventResult, EventSimulator
from mapper.wording import titled, untitled

__all__ = [
    "RecordingSummary",
    "default_layers",
    "host_shape",
    "input_of",
    "layers_named",
    "run_recording",
]

_LISTED_MAX = 20


@dataclass(frozen=True, eq=False)
class RecordingSummary(ByValue):
    """Totals of a run.

    Attributes
    ----------
    events, outside
        Events put in, and those of them outside every map.
    duration_us
        From the first event to the last.
    spikes
        By core.
    signals
        By layer and input, its spikes; of several copies those of the first.
    synops, saturated, clamped, decimated
        By core: synaptic operations; potentials beyond 16 bits; raised to the lower bound; spikes dropped.
    border
        By (core, slot), spikes outside the target's map.
    outputs
        By output, its spikes, pooled on the host as the interface says.
    classes
        By class of the readout, ticks at which it was the answer; empty without readout.
    """

    events: int
    outside: int
    duration_us: int
    spikes: Mapping[int, int]
    signals: Mapping[str, int]
    synops: Mapping[int, int]
    saturated: Mapping[int, int]
    clamped: Mapping[int, int]
    decimated: Mapping[int, int]
    border: Mapping[tuple[int, int], int]
    outputs: Mapping[str, int]
    classes: Mapping[int, int]

    @property
    def silent(self) -> tuple[int, ...]:
        """Cores that did not spike once."""
        return tuple(core for core, spikes in self.spikes.items() if not spikes)


def default_layers(config: ChipConfig) -> tuple[str, ...]:
    """Layers whose spikes a board would show: monitored ones, else outputs; all without interface."""
    if config.interface is None:
        cores = enumerate(config.hardware.cnn_layers)
        return tuple(f"core{n}" for n, core in cores if core.dimensions is not None)
    outputs = (output.layer for output in config.interface.outputs)
    return config.interface.monitored or tuple(dict.fromkeys(outputs))


def layers_named(config: ChipConfig, references: Sequence[str]) -> tuple[str, ...]:
    """Layers by name, or by index in the order in which results show them, as "#0".

    Raises
    ------
    OptionsError
        Those that there are not, all at once.
    """
    cores = enumerate(config.hardware.cnn_layers)
    known = [f"core{n}" for n, core in cores if core.dimensions is not None]
    if config.interface is not None:
        known = [*config.interface.shown]
    indexes = {f"#{n}": name for n, name in enumerate(known)}
    found = {reference: indexes.get(reference) or untitled(reference) for reference in references}
    findings = []
    for reference in (reference for reference, name in found.items() if name not in known):
        close = get_close_matches(reference, known, n=3)
        step = f"Did you mean {' or '.join(close)}?" if close else ""
        allowed = f"{', '.join(map(titled, known[:_LISTED_MAX]))}, or #0..#{len(known) - 1}"
        findings.append(Finding(f"{LAYER} {reference}", "there is no such layer", None, allowed, "", step))
    if findings:
        raise OptionsError(*findings)
    return tuple(dict.fromkeys(found.values()))


def host_shape(config: ChipConfig, name: str) -> tuple[int, int, int] | None:
    """(features, height, width) of what the host sends to an input; None of the sensor's, which it crops."""
    inputs = config.interface.inputs if config.interface else ()
    return next((entry.shape for entry in inputs if entry.name == name and entry.source == "host"), None)


def input_of(config: ChipConfig, name: str | None = None) -> str:
    """The input that is meant: the one of this name, or without a name the only one.

    Raises
    ------
    ConfigError
        The configuration does not say where events enter.
    OptionsError
        There is no such input, or there are several.
    """
    if config.interface is None:
        step = "Use mapper.simulate_events with input_cores"
        raise ConfigError(Finding("configuration", "does not say where events enter", next_step=step))
    names = [entry.name for entry in config.interface.inputs]
    if name is not None and name not in names:
        raise OptionsError(Finding(str(INPUT), "there is no such input", name, ", ".join(names)))
    # The sensor sends the same events to all of its inputs: a recording of any one of them is enough.
    if name is None and len(names) - len(config.interface.sensor_inputs[1:]) != 1:
        raise OptionsError(Finding(str(INPUT), "there are several inputs", None, ", ".join(names)))
    return name or names[0]


def run_recording(
    config: ChipConfig,
    inputs: Mapping[str, Recording],
    options: EventOptions | None = None,
    *,
    input_cores: Mapping[str, int] | None = None,
    piece_events: int = 100_000,
    sink: Callable[[Mapping[str, Events]], None] | None = None,
    progress: Callable[[int], None] | None = None,
) -> RecordingSummary:
    """Run a recording in pieces, with memory for the spikes of one of them, and for its events if stored.

    Parameters
    ----------
    inputs
        By input, events in ascending time.
    piece_events
        Events that go in at once, >= 1.
    sink
        Called with the recorded layers' spikes of every piece; `options.record` names the layers, None
        those that a board would show.
    progress
        Called with the number of events done.

    Raises
    ------
    OptionsError
        `piece_events` is not positive.
    ConfigError, EventError
        As `simulate_events`.
    """
    if piece_events < 1:
        raise OptionsError(Finding("piece_events", "must be positive", piece_events, ">= 1"))
    options = options or EventOptions()
    if options.record is None:
        options = replace(options, record=default_layers(config))
    asked, beside = options.record or (), _beside_others(config)
    # Of layers that share a core spikes are counted one by one: the core's own count is of them all.
    options = replace(options, record=tuple(dict.fromkeys((*asked, *beside))))
    simulator = EventSimulator(config, options, input_cores=input_cores)
    totals, done = _Totals(simulator, beside), 0
    for piece in _pieces(inputs, piece_events):
        result = simulator.run(piece)
        totals.add(result)
        done += sum(map(len, piece.values()))
        if sink is not None:
            sink({name: events for name, events in result.layers.items() if name in asked})
        if progress is not None:
            progress(done)
    return totals.summary(inputs)


def _beside_others(config: ChipConfig) -> tuple[str, ...]:
    """Layers as given that share a core with another one."""
    origins = (config.interface.origins or ()) if config.interface else ()
    held = Counter(origin.layer for origin in origins)
    return tuple(origin.name for origin in origins if held[origin.layer] > 1)


class _Totals:
    """Sums over pieces."""

    def __init__(self, simulator: EventSimulator, beside: Collection[str]) -> None:
        self.beside: Counter[str] = Counter(dict.fromkeys(beside, 0))
        self.cores_of = {name: [core for core, _ in parts] for name, parts in simulator.places.items()}
        self.sensor_inputs = simulator.graph.sensor_inputs
        self.by_field: dict[str, Counter[Any]] = {name: Counter() for name in _COUNTED}
        self.outputs: Counter[str] = Counter()
        self.classes: Counter[int] = Counter()
        self.outside = 0

    def add(self, result: EventResult) -> None:
        """Count what a piece gave."""
        for name, total in self.by_field.items():
            total.update(getattr(result, name))
        self.beside.update({name: len(result.layers[name]) for name in self.beside})
        # Looked up one by one: each is made then, and gone when the next one is.
        self.outputs.update({name: len(result.outputs[name]) for name in result.outputs})
        self.classes.update(_classes(result))
        self.outside += result.outside

    def summary(self, inputs: Mapping[str, Recording]) -> RecordingSummary:
        """The totals of all pieces.

        Parameters
        ----------
        inputs
            By input, all of the recording's events in ascending time, in microseconds.
        """
        ends = [events[at]["t"].item() for events in inputs.values() if len(events) for at in _ENDS]
        duration = max(ends) - min(ends) if ends else 0
        counted: dict[str, Any] = {name: dict(total) for name, total in self.by_field.items()}
        signals = {name: len(events) for name, events in inputs.items()}
        sensed = [signals[name] for name in self.sensor_inputs if name in inputs]
        # The stage sends the same events to all: whether one recording was given, or one for each.
        signals |= dict.fromkeys(self.sensor_inputs, sensed[0]) if sensed else {}
        for name, cores in self.cores_of.items():
            own = sum(counted["spikes"][core] for core in cores)
            signals[name] = self.beside.get(name, own)
        return RecordingSummary(
            sum(map(len, inputs.values())) - sum(sensed[1:]),
            self.outside,
            duration,
            signals=signals,
            outputs=dict(self.outputs),
            classes=dict(self.classes),
            **counted,
        )


_ENDS = (slice(1), slice(-1, None))
_COUNTED = ("spikes", "synops", "saturated", "clamped", "decimated", "border")


def _classes(result: EventResult) -> dict[int, int]:
    if result.classes is None:
        return {}
    values, counts = np.unique(result.classes[:, 1], return_counts=True)
    return dict(zip(values.tolist(), counts.tolist(), strict=True))


def _pieces(inputs: Mapping[str, Recording], size: int) -> Iterator[Mapping[str, Events]]:
    """Cut all inputs at the same times, so that no piece goes back behind another."""
    if len(inputs) == 1:
        ((name, events),) = inputs.items()
        for start in range(0, max(len(events), 1), size):
            yield {name: events[start : start + size]}
        return
    whole = {name: events[:] for name, events in inputs.items()}
    times = np.sort(np.concatenate([events["t"] for events in whole.values()]))
    cuts = [times[start] for start in range(size, len(times), size)]
    places = {
        name: [0, *np.searchsorted(events["t"], cuts).tolist(), len(events)] for name, events in whole.items()
    }
    for n in range(len(cuts) + 1):
        yield {name: events[places[name][n] : places[name][n + 1]] for name, events in whole.items()}
