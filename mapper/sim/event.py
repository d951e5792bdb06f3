"""Event simulation of a configuration: spike by spike, as far as the chip's behaviour is known.

An arriving spike adds its weights to the neurons it reaches; touched neurons at or above the threshold
spike once, subtract or return to 0, and are clamped. Pools divide coordinates on the way. What no source
states is an option with the assumed value as default.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mapper.arguments import checked
from mapper.asking import IGNORE_LOSSY
from mapper.by_value import ByValue
from mapper.emit.shared.config import ChipConfig
from mapper.emit.shared.file import config_of
from mapper.emit.shared.graph import ConfigGraph, graph_of
from mapper.errors import ConfigError, Finding
from mapper.events import EVENT_DTYPE, Events
from mapper.events.arrays import input_events
from mapper.own_shape import own_events, own_shape
from mapper.sim.event_blocks import plan_of
from mapper.sim.event_cores import HeldCores
from mapper.sim.event_groups import groups_of
from mapper.sim.event_kernel import COUNT, ORDERS
from mapper.sim.event_outputs import Outputs, Way, pooled, unpacked
from mapper.sim.event_pipeline import run_arrivals
from mapper.sim.event_tables import Chip, Rules, Tables, tables_of
from mapper.sim.inputs import by_name
from mapper.sim.stages import (
    fanned_out,
    one_sensor,
    readout_classes,
    same_events,
    through_stage,
    window_ticks,
)
from mapper.sim.ticks import check_end, check_span, period_us, start_us, tick_findings

__all__ = ["EventOptions", "EventResult", "EventSimulator", "simulate_events"]

_TIME_MAX = 1 << 62
_SEED_MAX = (1 << 32) - 1


@checked
@dataclass(frozen=True, slots=True)
class EventOptions:
    """How the chip is taken to behave where that is not known, and what is recorded.

    Attributes
    ----------
    order
        "depth": all consequences of a spike before the next one, features ascending, then rows and
        columns, destinations by slot. "breadth": in the order of emission. "random": any pending spike.
    seed
        Of the random order.
    pooled_border
        What becomes of a pooled coordinate outside the target's map.
    overflow
        What becomes of a potential beyond 16 bits.
    fires_on_tick
        Compare with the threshold at a tick too, not only at the next arriving spike.
    tick_us
        Between ticks of the slow clock; None takes the configuration's rate, if it states one.
    start_us
        When the slow clock starts; None for 0, or for the first event where that is more than
        `LEAD_TICKS_MAX` ticks after it.
    spike_limit
        Most spikes that one event may cause: cycles need not end.
    sensor_view
        Whether events of a sensor input are the sensor's own ("raw"), or as the network's input counts
        them, behind crop, mirror and swap ("input").
    ignore_lossy
        Run although a congestion balancer would drop spikes.
    record
        Layers (cores without interface: "core3") whose spikes are kept; None for all.
    """

    order: Literal["depth", "breadth", "random"] = "depth"
    seed: int = 0
    pooled_border: Literal["dropped", "delivered"] = "dropped"
    overflow: Literal["saturate", "wrap"] = "saturate"
    fires_on_tick: bool = False
    tick_us: float | None = None
    start_us: float | None = None
    spike_limit: int = 10_000_000
    sensor_view: Literal["raw", "input"] = "input"
    ignore_lossy: bool = False
    record: tuple[str, ...] | None = None


@dataclass(frozen=True, eq=False)
class EventResult(ByValue):
    """What a run gives, by core unless said otherwise.

    Attributes
    ----------
    layers
        By layer as it was given, in its own shape, its spikes, pieces joined: arrays of `EVENT_DTYPE`.
    outputs
        By output, pooled on the host as the interface says; events outside a whole pool left out. Each is
        made when it is looked up.
    spikes, synops, saturated, clamped, decimated
        Spikes emitted; synaptic operations; potentials beyond 16 bits; potentials raised to the lower
        bound; spikes a decimator dropped.
    border
        By (core, slot), spikes whose pooled coordinate lies outside the target's map.
    outside
        Input events outside every shape that takes them: never indexed, but counted.
    sensor
        Events that left the sensor stage.
    classes
        By tick (time in µs, class), the readout's class, 0 for none; None without readout.
    """

    layers: Mapping[str, Events]
    outputs: Mapping[str, Events]
    spikes: Mapping[int, int]
    synops: Mapping[int, int]
    saturated: Mapping[int, int]
    clamped: Mapping[int, int]
    decimated: Mapping[int, int]
    border: Mapping[tuple[int, int], int]
    outside: int
    sensor: Events
    classes: NDArray[np.int64] | None = None


@checked.but("inputs")
def simulate_events(
    config: ChipConfig | str | Path,
    inputs: Mapping[str, Events],
    options: EventOptions | None = None,
    *,
    input_cores: Mapping[str, int] | None = None,
    end_us: float | None = None,
    pause: Callable[[], object] | None = None,
) -> EventResult:
    """Run a configuration on events, once, from its initial potentials.

    Parameters
    ----------
    config
        A configuration, or the file of one.
    inputs
        By input name, events in ascending time. Inputs that share the sensor stage see the same: one of them
        is enough.
    input_cores
        By input name the core it enters, for a configuration without interface.
    end_us
        Ticks of the slow clock run up to this time; None stops at the last event.
    pause
        Called after some of the events, again and again; what it raises ends the run.

    Raises
    ------
    ConfigError
        The configuration or the options are inconsistent, or the spike limit was reached.
    EventError
        These are no events.
    """
    return EventSimulator(config, options, input_cores=input_cores).run(inputs, end_us=end_us, pause=pause)


class EventSimulator:
    """A configuration with its state: potentials, clocks, counters. `run` goes on where it stopped."""

    def __init__(
        self,
        config: ChipConfig | str | Path,
        options: EventOptions | None = None,
        *,
        input_cores: Mapping[str, int] | None = None,
    ) -> None:
        self.config, self.options = config_of(config), options or EventOptions()
        self.graph: ConfigGraph = graph_of(self.config, input_cores, delays=False)
        if findings := [*_option_findings(self.options), *_core_findings(self.graph, self.options)]:
            raise ConfigError(*findings)
        self.places = _places(self.config, self.graph)
        shown = self.config.interface.shown if self.config.interface else {}
        self._origins = {name: origin for name, (_, origin) in shown.items()}
        record = self.options.record
        known, unknown = ", ".join(self.places), [n for n in record or () if n not in self.places]
        if unknown:
            problem = "there is no such layer"
            raise ConfigError(*(Finding(f"record {n}", problem, None, known) for n in unknown))
        self.recorded = tuple(name for name in self.places if record is None or name in record)
        recorded = {core for name in self.recorded for core, _ in self.places[name]}
        recorded |= set(self.graph.readout)
        outputs = self.config.interface.outputs if self.config.interface else ()
        recorded |= {part.core for o in outputs if o.layer in self.recorded for part in o.parts}
        self._tables: Tables = tables_of(self.graph, recorded)
        self._shown_by_row = {n: core for n, core in enumerate(self._tables.numbers) if core in recorded}
        parted = [[core for core, _ in parts] for parts in self.places.values()]
        together = [*parted, *([part.core for part in output.parts] for output in outputs)]
        self._groups = groups_of(self._tables.index, self.graph.links, together)
        rate = self.config.interface.slow_clock_hz if self.config.interface else None
        leaks = any(core.leak_enable for core in self.graph.cores.values())
        self.period = period_us(self.options.tick_us, rate, leaks=leaks)
        # None before the first event: it may say when the clock starts.
        self._is_ticking = not math.isfinite(self.period)
        self._clock = np.array([math.inf if self._is_ticking else self.options.start_us or 0.0])
        self._random = np.array([self.options.seed * 2 + 0x9E3779B97F4A7C15], np.uint64)
        # What the readout's moving window still sees of earlier runs.
        self._seen: Events = np.empty(0, EVENT_DTYPE)
        tables = self._tables
        self._chip = Chip(
            tables.cores, tables.links, tables.spans, tables.weights, tables.kills, tables.biases,
            tables.potentials, tables.counts, tables.border, tables.phase, self._random, self._clock,
        )  # fmt: skip
        rules = self._rules = Rules(
            ORDERS[self.options.order], self.options.pooled_border == "delivered",
            self.options.overflow == "wrap", self.options.fires_on_tick, self.options.spike_limit,
            float(self.period), -math.inf,
        )  # fmt: skip
        is_depth = rules.order == ORDERS["depth"] and not rules.fires_on_tick
        plan = plan_of(self.graph, tables.index, together) if is_depth else None
        self._held = HeldCores(self._chip, rules, plan) if plan is not None else None

    @property
    def tables(self) -> Tables:
        """What all cores are made of, and potentials as of this look: those written before a run hold."""
        if self._held is not None:
            self._held.give_back(self._chip)
        return self._tables

    def _start(self, arrivals: NDArray[np.int64], end_us: float | None) -> float:
        """The next tick's time; the clock starts with the first run that has events or an end."""
        if not self._is_ticking and (len(arrivals) or end_us is not None):
            first = int(arrivals[0, 0]) if len(arrivals) else 0
            self._clock[0], self._is_ticking = start_us(self.options.start_us, first, self.period), True
        last = max(float(arrivals[-1, 0]) if len(arrivals) else 0.0, end_us or 0.0)
        if math.isfinite(self.period):
            check_span(self._clock[0], last, self.period)
        return float(self._clock[0])

    def run(
        self,
        inputs: Mapping[str, Events],
        *,
        end_us: float | None = None,
        pause: Callable[[], object] | None = None,
    ) -> EventResult:
        """Run events; times must not lie before those of an earlier call. `pause` as in `simulate_events`."""
        check_end(end_us)
        arrivals, sensor, outside = self._arrivals(inputs)
        tables = self._tables
        before = tables.counts.copy(), tables.border.copy()
        start = self._start(arrivals, end_us)
        rules = self._rules if end_us is None else self._rules._replace(end=float(end_us))
        record, broken = run_arrivals(arrivals, self._chip, rules, pause, self._groups, self._held)
        if broken >= 0:
            step = "A cycle may never end: raise spike_limit, or change the network"
            where = f"input event {broken}"
            raise ConfigError(
                Finding(where, "causes too many spikes", None, self.options.spike_limit, next_step=step)
            )
        spikes = unpacked(record, self._shown_by_row)
        layers = {
            name: own_events(self._together(record, spikes, self.places[name]), self._origins.get(name))
            for name in self.recorded
        }
        counts, border = tables.counts - before[0], tables.border - before[1]
        core_counts = {
            name: dict(zip(tables.numbers, column, strict=True))
            for name, column in zip(COUNT, counts.T.tolist(), strict=True)
        }
        return EventResult(
            layers=layers,
            outputs=Outputs(self._shown, partial(self._output, record, spikes)),
            spikes=core_counts["spikes"],
            synops=core_counts["synops"],
            saturated=core_counts["saturated"],
            clamped=core_counts["clamped"],
            decimated=core_counts["decimated"],
            border={
                (tables.numbers[n], slot): int(border[n, slot]) for n, slot in np.argwhere(border).tolist()
            },
            outside=outside + sum(core_counts["outside"].values()),
            sensor=sensor,
            classes=self._readout(spikes, start),
        )

    def stream(self, chunks: Iterable[Mapping[str, Events]]) -> Iterator[EventResult]:
        """Run a recording in pieces, with memory for one of them."""
        for chunk in chunks:
            yield self.run(chunk)

    def _arrivals(self, inputs: Mapping[str, Events]) -> tuple[NDArray[np.int64], Events, int]:
        """All inputs in order, as `run_events` takes them; the sensor's events; those outside."""
        inputs = by_name(inputs, self.graph.input_names, "arrays of events")
        known = ", ".join(self.graph.input_names) or "none: name them by input_cores"
        wrong = [
            Finding(f"input {n}", "there is no such input", None, known)
            for n in inputs
            if n not in self.graph.input_names
        ]
        if wrong:
            raise ConfigError(*wrong)
        parts, outside = [], 0
        sensor, stage = np.empty(0, EVENT_DTYPE), self.config.hardware.dvs_layer
        raw = self.options.sensor_view == "raw"
        recordings = {name: input_events(given, f"input {name}") for name, given in inputs.items()}
        recordings = one_sensor(recordings, self.graph, partial(same_events, stage=stage, raw=raw))
        for name, given in recordings.items():
            events, (entries, _) = given, self.graph.entries[name]
            if name in self.graph.sensor_inputs and stage is not None:
                events, lost = through_stage(given, stage, raw)
                sensor, outside = events, outside + lost
            rows, lost = fanned_out(events, entries, self.graph, self._tables.index)
            parts.append(rows)
            outside += lost
        if len(parts) == 1:
            return parts[0], sensor, outside
        arrivals = np.concatenate([np.empty((0, 2), np.int64), *parts])
        return arrivals[np.argsort(arrivals[:, 0], kind="stable")], sensor, outside

    @cached_property
    def _shown(self) -> dict[str, Way]:
        """By output of a recorded layer, how it is shown."""
        outputs = self.config.interface.outputs if self.config.interface else ()
        return {
            output.name: (output.layer, output.parts, output.host_pool)
            for output in outputs
            if output.layer in self.recorded and output.parts
        }

    def _output(self, record: NDArray[np.int64], spikes: Mapping[int, Events], way: Way) -> Events:
        """An output, from the cores that show it."""
        layer, seen, pool = way
        parts = sorted((part.start, part.core) for part in seen)
        events = self._together(record, spikes, [(core, start) for start, core in parts])
        shape = self.graph.cores[parts[0][1]].dimensions
        size = (shape.output_shape.size.y, shape.output_shape.size.x) if shape else (0, 0)
        origin = self._origins.get(layer)
        own = size if origin is None else own_shape(origin, size)[1:]
        return pooled(own_events(events, origin), pool, own)

    def _together(
        self, record: NDArray[np.int64], spikes: Mapping[int, Events], parts: Sequence[tuple[int, int]]
    ) -> Events:
        """Spikes of several cores in the order of emission; parts are (core, first feature)."""
        if len(parts) == 1:
            ((core, _),) = parts
            return spikes[core].copy()
        joined = np.concatenate([spikes[core] for core, _ in parts])
        starts = np.repeat([start for _, start in parts], [len(spikes[core]) for core, _ in parts])
        joined["p"] += starts.astype(joined["p"].dtype)
        rows = [np.flatnonzero(record[:, 1] == self._tables.index[core]) for core, _ in parts]
        return joined[np.argsort(np.concatenate(rows), kind="stable")]

    def _readout(self, spikes: Mapping[int, Events], start: float) -> NDArray[np.int64] | None:
        stage = self.config.hardware.readout
        if stage is None or not stage.enable or not math.isfinite(self.period):
            return None
        window = window_ticks(stage)
        arrived = np.concatenate([self._seen, *(spikes[core] for core in self.graph.readout)])
        ticks = np.arange(start - window * self.period, self._clock[0], self.period)
        self._seen = arrived[arrived["t"] > self._clock[0] - (window + 1) * self.period]
        classes = readout_classes(arrived, ticks, stage)
        return classes[ticks > start - self.period / 2]


def _option_findings(options: EventOptions) -> Iterator[Finding]:
    yield from tick_findings(options.tick_us)
    if options.start_us is not None and not 0 <= options.start_us < _TIME_MAX:
        yield Finding("start_us", "must be a time", options.start_us, ">= 0", "µs")
    if not 0 <= options.seed <= _SEED_MAX:
        yield Finding("seed", "must be a whole number", options.seed, f"0..{_SEED_MAX}")
    if not 1 <= options.spike_limit < _TIME_MAX:
        yield Finding("spike_limit", "must be positive", options.spike_limit, ">= 1")


def _core_findings(graph: ConfigGraph, options: EventOptions) -> Iterator[Finding]:
    for number, core in graph.cores.items():
        if core.input_congestion_balancer_enable and not options.ignore_lossy:
            step = f"Run it with {IGNORE_LOSSY.to(True)} to leave that out"
            yield Finding(f"core {number}", "its congestion balancer drops spikes", next_step=step)


def _places(config: ChipConfig, graph: ConfigGraph) -> dict[str, list[tuple[int, int]]]:
    """By layer, (core, first feature) of its parts, without its copy."""
    if config.interface is None:
        return {f"core{core}": [(core, 0)] for core in graph.order}
    places = {
        layer.name: [(p.core, p.start) for p in layer.places if p.role in ("layer", "piece")]
        for layer in config.interface.layers
    }
    return {name: places[layer] for name, (layer, _) in config.interface.shown.items()}
