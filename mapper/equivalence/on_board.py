"""Labelled samples on a board, and what the same configuration spikes in each order that a chip may have.

In which order a chip handles the spikes that wait in it is not published. Here the counts of the layers that
are read decide between the orders of `EventOptions.order`, or say that they cannot.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mapper.asking import LAYER_FORM, MONITORS
from mapper.boards import Board, Listening
from mapper.boards.monitored import monitored_layers
from mapper.emit.shared.config import ChipConfig
from mapper.equivalence.labelled import LabelledData
from mapper.equivalence.order_counts import STEPS, BoardComparison, OrderCounts, Run, orders_run
from mapper.equivalence.sensitivity import layer_shapes
from mapper.errors import ConfigError, EventError, Finding, MapperWarning, OptionsError
from mapper.events import Events, events_from_raster
from mapper.sim.config_frame import simulate_config
from mapper.sim.event import EventOptions, EventResult, simulate_events
from mapper.sim.recording import input_of
from mapper.wording import counted

__all__ = ["BoardOptions", "compare_with_board", "require_comparable"]

# One is a run, and what is beside chance needs several to be told.
_RANDOM_LEAST, _RANDOM_MOST = 2, 1000
# Notes of single samples that are told; the rest are counted.
_NOTES_MAX = 5

Neurons: TypeAlias = NDArray[np.int64]
"""A number for each spike, made of its neuron's feature, row and column."""


@dataclass(frozen=True, slots=True)
class BoardOptions:
    """How samples are played and compared.

    Attributes
    ----------
    input_name
        Input of the network; None where there is one.
    samples
        How many of the samples are played, >= 1, spread evenly over them; None for all.
    random_orders
        Simulations in random order, 2..1000.
    dt_us
        Microseconds of a time step, >= 1; None takes the tick of the configuration's slow clock, else 1000.
    """

    input_name: str | None = None
    samples: int | None = None
    random_orders: int = 10
    dt_us: int | None = None

    def __post_init__(self) -> None:
        findings = []
        if self.samples is not None and self.samples < 1:
            findings.append(Finding("samples", "must be positive", self.samples, ">= 1"))
        if not _RANDOM_LEAST <= self.random_orders <= _RANDOM_MOST:
            limit = f"{_RANDOM_LEAST}..{_RANDOM_MOST}"
            findings.append(Finding("random_orders", "number of runs", self.random_orders, limit))
        if self.dt_us is not None and self.dt_us < 1:
            findings.append(Finding("dt_us", "must be positive", self.dt_us, ">= 1", "µs"))
        if findings:
            raise OptionsError(*findings)

    def step_us(self, config: ChipConfig) -> int:
        """Length of a time step on this configuration."""
        rate = config.interface.slow_clock_hz if config.interface else None
        return self.dt_us or (max(1, round(1e6 / rate)) if rate else 1000)


def require_comparable(config: ChipConfig, data: LabelledData, input_name: str | None = None) -> str:
    """The input that samples enter, before a board is touched.

    Raises
    ------
    ConfigError
        No layer is monitored, or the configuration does not say where events enter.
    EventError
        The samples have another shape than the input.
    OptionsError
        There is no such input, or there are several.
    """
    name = input_of(config, input_name)
    if not monitored_layers(config):
        step = f"Emit it with {MONITORS.to(*LAYER_FORM)}, once for each layer that is to be compared"
        raise ConfigError(Finding("configuration", "has no layer that is read", next_step=step))
    shapes = {entry.name: entry.shape for entry in config.interface.inputs} if config.interface else {}
    if (misfit := data.misfit(shapes[name])) is not None:
        raise EventError(misfit)
    return name


def _require_its_clock(board: Board) -> None:
    """Refuse a board whose slow clock has another rate than the simulation's."""
    interface, rate = board.config.interface, board.slow_clock_hz
    clock = interface.slow_clock_hz if interface else None
    if rate not in (None, clock):
        step = "Leave it out, or emit a configuration for that rate"
        problem = "the simulation has the configuration's"
        raise OptionsError(Finding("slow_clock_hz", problem, rate, clock, "Hz", next_step=step))


def compare_with_board(
    board: Board,
    data: LabelledData,
    options: BoardOptions | None = None,
    *,
    listening: Listening | None = None,
    progress: Callable[[int], None] | None = None,
) -> BoardComparison:
    """Play samples on a board one by one, and hold its counts against each order of spikes and time steps.

    Before each sample the potentials are reset (`Board.reset`). Only layers that the configuration monitors
    can be compared. Events of a sensor input are the sensor's own, before crop, mirror and swap.

    Parameters
    ----------
    listening
        When a sample is over; None takes the board's own.
    progress
        Called with the number of samples done; if it has a method `expect`, that with the number of all.

    Raises
    ------
    ConfigError, EventError, OptionsError
        As `require_comparable`, before anything is played.
    BoardError
        The board failed; it is quiet and closed.
    """
    asked, config = options or BoardOptions(), board.config
    _require_its_clock(board)
    sampled = _Sampled(config, require_comparable(config, data, asked.input_name), asked)
    total = len(data.labels)
    chosen = np.unique(np.linspace(0, total - 1, min(asked.samples or total, total)).round().astype(np.int64))
    expect = getattr(progress, "expect", None)
    if expect is not None:
        expect(len(chosen))
    notes: Counter[str] = Counter()
    counts = OrderCounts(sampled.runs)
    for done, index in enumerate(chosen.tolist(), 1):
        raster = data.rasters[index]
        simulated = sampled.simulated(raster, index)
        counts.add([sampled.played(board, raster, listening, notes), *simulated])
        if sampled.output is not None and data.is_labelled:
            counts.add_answers(sampled.output, sampled.shape, int(data.labels[index]))
        if progress is not None:
            progress(done)
    told = [f"{text} ({counted(times, 'sample')})" for text, times in notes.most_common(_NOTES_MAX)]
    if len(notes) > _NOTES_MAX:
        told.append(f"{counted(len(notes) - _NOTES_MAX, 'more note')} like these, of single samples")
    return counts.comparison(data.name, total, sampled.unmonitored, (*sampled.notes, *told))


class _Sampled:
    """One sample after another, on the board and in every simulation.

    Attributes
    ----------
    runs
        Simulations, in the order in which `simulated` gives them.
    output, shape
        Of the output that answers are read from, as it is monitored; None where it is not.
    unmonitored
        Layers that cannot be compared.
    notes
        What the comparison does not show.
    """

    def __init__(self, config: ChipConfig, name: str, options: BoardOptions) -> None:
        self.config, self.name = config, name
        interface, read = config.interface, monitored_layers(config)
        shown = interface.shown if interface else {}
        # In the network's order, second outputs of a layer behind all layers.
        self.dt_us, self.read = options.step_us(config), tuple(dict.fromkeys((*shown, *read)))
        self.read = tuple(name for name in self.read if name in read)
        outputs = interface.outputs if interface else ()
        # By what is read, the output that the simulation shows as the board does, pooled by host or relay.
        self._outputs = {output.name: output.name for output in outputs if output.name in self.read}
        for output in reversed([output for output in outputs if output.parts]):
            if output.layer in self.read:
                self._outputs[output.layer] = output.name
        first = outputs[0] if outputs else None
        self.output = next(
            (key for key, shown in self._outputs.items() if first and shown == first.name), None
        )
        self.shape = (1, 1, 1)
        if first is not None and self.output is not None:
            features, height, width = layer_shapes(config)[first.layer]
            self.shape = (features, height // first.host_pool[0], width // first.host_pool[1])
        self.unmonitored = tuple(layer for layer in shown if layer not in self.read)
        self._has_biases = any(core.leak_enable for core in config.hardware.cnn_layers)
        sensor = {entry.name for entry in (interface.inputs if interface else ()) if entry.source == "dvs"}
        self.notes: list[str] = []
        if self._has_biases:
            self.notes.append(
                "biases act at ticks of the slow clock, and when these come on the board is not known: "
                "counts may differ by that alone"
            )
        self.runs, has_steps = orders_run(options.random_orders), name not in sensor
        if has_steps:
            try:
                simulate_config(config, {name: np.zeros((1, *self._input_shape()), np.int64)}, record=())
            except ConfigError as error:
                has_steps = False
                self.notes.append(f"time steps are left out: {error}")
        self.runs += (Run(STEPS),) if has_steps else ()

    def _input_shape(self) -> tuple[int, int, int]:
        entries = self.config.interface.inputs if self.config.interface else ()
        return next(entry.shape for entry in entries if entry.name == self.name)

    def simulated(self, raster: NDArray[Any], index: int) -> list[dict[str, Neurons]]:
        """By run, what is read; each sample draws random orders of its own."""
        events, end = {self.name: events_from_raster(raster, self.dt_us)}, float(len(raster) * self.dt_us)
        found = []
        for run in self.runs:
            if run.kind == STEPS:
                found.append(self._in_steps(raster))
                continue
            seed = int(np.random.SeedSequence((run.seed, index)).generate_state(1)[0])
            how = EventOptions(order=run.kind, seed=seed, sensor_view="raw")
            found.append(self._shown(simulate_events(self.config, events, how, end_us=end)))
        return found

    def _shown(self, result: EventResult) -> dict[str, Neurons]:
        outputs, layers = result.outputs, result.layers
        return {
            key: _neurons(outputs[self._outputs[key]] if key in self._outputs else layers[key])
            for key in self.read
        }

    def _in_steps(self, raster: NDArray[Any]) -> dict[str, Neurons]:
        result, found = simulate_config(self.config, {self.name: raster}), {}
        for key in self.read:
            shown = result.outputs[self._outputs[key]] if key in self._outputs else result.layers[key]
            by_neuron = np.asarray(shown).sum(0).astype(np.int64)
            feature, row, column = np.nonzero(by_neuron)
            found[key] = np.repeat(feature << 32 | row << 16 | column, by_neuron[feature, row, column])
        return found

    def played(
        self, board: Board, raster: NDArray[Any], listening: Listening | None, notes: Counter[str]
    ) -> dict[str, Neurons]:
        """What the board spikes; what it warns of becomes notes, since it would say it at every sample."""
        events = events_from_raster(raster, self.dt_us)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            board.reset()
            answer = board.infer(events, self.name, listening)
        for warning in said:
            if issubclass(warning.category, MapperWarning):
                notes[str(warning.message)] += 1
            else:
                warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
        # With biases the chip goes on spiking while it is listened to, the simulation ends with the sample.
        end = len(raster) * self.dt_us if self._has_biases else None
        return {key: _neurons(spikes, end) for key, spikes in answer.events.items()}


def _neurons(spikes: Events, end_us: int | None = None) -> Neurons:
    kept: Any = spikes if end_us is None else spikes[spikes["t"] < end_us]
    feature, row, column = (kept[axis].astype(np.int64) for axis in "pyx")
    numbers: Neurons = feature << 32 | row << 16 | column
    return numbers
