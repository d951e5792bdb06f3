"""An open board: configured, clocks running, buffers for events; quiet again when it is closed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from hwspec.catalog import load as load_chip
from hwspec.schema import ChipSpec
from mapper.boards.discovery import find_board
from mapper.boards.monitored import monitored_layers
from mapper.emit.samna import chip_library, quiet, samna_library, to_samna, validate
from mapper.emit.shared.config import ChipConfig
from mapper.emit.shared.interface import Interface
from mapper.errors import BoardError, ConfigError, Finding
from mapper.events import (
    Events,
    MonitorEvents,
    events_from,
    events_from_spikes,
    spikes_of,
    unwrap_timestamps,
)

__all__ = ["POWER_CHANNELS", "Board", "open_board"]

# What samna and the drivers below it raise; anything else is a fault of this program.
_VENDOR_ERRORS = (RuntimeError, OSError, ValueError, TypeError, AttributeError)
_SLOW_CLOCK_HZ = (10.0, 10_000.0)
_POWER_RATE_MAX_HZ = 100.0
_POWER_SINK = "BasicSinkNode_unifirm_modules_events_measurement"

POWER_CHANNELS = ("IO", "RAM", "LOGIC", "PIXEL_DIGITAL", "PIXEL_ANALOG")
"""Names of the power monitor's channels, by number."""

_POWER_DTYPE = np.dtype([("t", np.int64), ("channel", np.uint8), ("watts", np.float64)])


def open_board(
    device: str,
    config: ChipConfig,
    *,
    config_modifier: Callable[[Any], Any] | None = None,
    slow_clock_hz: float | None = None,
    settle_seconds: float = 1.0,
) -> Board:
    """Open a board and put a configuration on it.

    The configuration is checked before the board is touched. Then: open, apply, wait, start the clock of
    the timestamps, make buffers, set the slow clock. A step that fails leaves the board quiet and closed.

    Parameters
    ----------
    device
        "name" or "name:index"; `list_boards` has them.
    config_modifier
        Called with samna's object before it is checked and applied.
    slow_clock_hz
        Rate of the slow clock, 10..10,000; None takes the configuration's.
    settle_seconds
        Wait after the configuration was applied.

    Raises
    ------
    BackendMissingError
        samna is not there.
    ConfigError
        The configuration is of another chip, is not valid, or has biases and no slow clock.
    BoardError
        There is no such board, it is in use, or it failed at a step.
    """
    chip = load_chip(device)
    samna_config = to_samna(config, chip)
    if config_modifier is not None:
        samna_config = config_modifier(samna_config)
    findings = []
    valid, reason = validate(samna_config, chip)
    if not valid:
        findings.append(Finding("configuration", f"samna refuses it: {reason}"))
    rate = slow_clock_hz
    if rate is None and config.interface is not None:
        rate = config.interface.slow_clock_hz
    if rate is None and any(core.leak_enable for core in samna_config.cnn_layers):
        step = "Emit it with --step-us MICROSECONDS, or give the slow clock's rate"
        findings.append(Finding("configuration", "has biases, and no rate of the slow clock", next_step=step))
    if rate is not None and not _SLOW_CLOCK_HZ[0] <= rate <= _SLOW_CLOCK_HZ[1]:
        findings.append(Finding("slow clock", "the rate is out of range", rate, "10..10000", "Hz"))
    if findings:
        raise ConfigError(*findings)
    info = find_board(device)
    return Board(info.device, chip, info.handle, config, samna_config, rate, settle_seconds)


class Board:
    """An open board; made by `open_board`. Use it in a ``with`` block, or `close` it.

    Attributes
    ----------
    device
        "name:index".
    chip
        What the board carries.
    config
        What it was configured with, as plain data.
    samna_config
        The object that was applied: `config` with a modifier's changes.
    kit
        samna's own object of the board, for what this class does not do.
    """

    def __init__(
        self,
        device: str,
        chip: ChipSpec,
        handle: Any,
        config: ChipConfig,
        samna_config: Any,
        slow_clock_hz: float | None,
        settle_seconds: float,
    ) -> None:
        self.device, self.chip, self.config, self.samna_config = device, chip, config, samna_config
        self._samna = samna_library("a board")
        self._library = chip_library(chip, "a board")
        self._graphs: list[Any] = []
        self._power: Any = None
        self.kit: Any = None
        with self._step("opening"):
            self.kit = self._samna.device.open_device(handle)
        with self._step("applying the configuration"):
            self.kit.get_model().apply_configuration(samna_config)
        time.sleep(settle_seconds)
        self.reset_clock()
        with self._step("making buffers"):
            emission = chip.emission
            self._input = getattr(self._samna, emission.source_node if emission else "")()
            self._output = getattr(self._samna, emission.sink_node if emission else "")()
            source, sink = self._nodes()
            self._join(self._input, sink)
            self._join(source, self._output)
        if slow_clock_hz is not None:
            with self._step("setting the slow clock"):
                pins = self.kit.get_io_module()
                pins.set_slow_clk_rate(slow_clock_hz)
                pins.set_slow_clk(True)

    @property
    def input_buffer(self) -> Any:
        """Node of samna that takes events for the chip."""
        return self._input

    @property
    def output_buffer(self) -> Any:
        """Node of samna that holds the chip's events until they are read."""
        return self._output

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @contextmanager
    def _step(self, doing: str) -> Iterator[None]:
        """Whatever ends this block early, the board is quiet and closed afterwards."""
        if doing != "opening" and self.kit is None:
            raise BoardError(self.device, f"{doing}: the board is closed", "Open it again")
        done = False
        try:
            yield
            done = True
        except _VENDOR_ERRORS as error:
            state = self.close()
            problem = f"{doing} failed: {' '.join(str(error).split()) or type(error).__name__}"
            raise BoardError(self.device, problem, state) from error
        finally:
            if not done:
                self.close()

    def _nodes(self) -> tuple[Any, Any]:
        """Source and sink of the chip, which some versions of samna have on the model."""
        if hasattr(self.kit, "get_model_source_node"):
            return self.kit.get_model_source_node(), self.kit.get_model_sink_node()
        model = self.kit.get_model()
        return model.get_source_node(), model.get_sink_node()

    def _join(self, source: Any, sink: Any) -> None:
        graph = self._samna.graph.EventFilterGraph()
        graph.sequential([source, sink])
        graph.start()
        # Without a reference the graph would be collected, and stop.
        self._graphs.append(graph)

    def close(self) -> str:
        """Make the chip quiet and hand the board back; says how that went, and never raises for it."""
        if self.kit is None:
            return "The board is closed"
        kit, self.kit = self.kit, None
        failed = []
        steps: list[tuple[str, Callable[[], object]]] = [
            ("a quiet configuration", lambda: kit.get_model().apply_configuration(quiet(self.chip))),
            ("switching the slow clock off", lambda: kit.get_io_module().set_slow_clk(False)),
            *(("stopping a buffer", graph.stop) for graph in self._graphs),
            ("closing", lambda: self._samna.device.close_device(kit)),
        ]
        for name, work in steps:
            try:
                work()
            except _VENDOR_ERRORS:
                failed.append(name)
        self._graphs.clear()
        if failed:
            return f"Unplug the board: {', '.join(failed)} failed too, so its state is not known"
        return "The board was made quiet and closed"

    def reset_clock(self) -> None:
        """Start the timestamps' clock at 0. Record from 100 ms later on: some boards start it early."""
        with self._step("resetting the clock"):
            watch = self.kit.get_stop_watch()
            if hasattr(watch, "start"):
                watch.start()
                watch.stop()
                watch.reset()
                watch.start()
            else:
                watch.set_enable_value(True)

    def send(self, spikes: Sequence[Any]) -> None:
        """Write samna's own event objects."""
        with self._step("writing events"):
            self._input.write(list(spikes))

    def receive(self) -> list[Any]:
        """Take all of samna's event objects that came since the last call."""
        with self._step("reading events"):
            return list(self._output.get_events())

    def write(self, events: Events, input_name: str | None = None) -> int:
        """Write events to an input of the network: to every core that takes it, or to the sensor stage.

        Returns
        -------
        int
            How many objects were written.

        Raises
        ------
        ConfigError
            The configuration says not where its input enters, or has several and none was named.
        EventError
            Events outside the input's shape, or that go back in time.
        """
        entry = _one_input(self._interface(), input_name)
        samna_events: list[Any]
        if entry.source == "host":
            samna_events = spikes_of(events, entry.entries, self._library.event.Spike, shape=entry.shape)
        else:
            samna_events = [self._sensor_event(e) for e in events_from(events, shape=entry.shape).tolist()]
        self.send(samna_events)
        return len(samna_events)

    def _sensor_event(self, fields: tuple[int, int, int, int]) -> Any:
        event = self._library.event.DvsEvent()
        event.timestamp, event.p, event.y, event.x = fields[0], bool(fields[1]), fields[2], fields[3]
        return event

    def read(self) -> MonitorEvents:
        """Spikes of the monitored layers since the last call, by layer; other events are left out."""
        spike = type(self._library.event.Spike())
        spikes = [event for event in self.receive() if type(event) is spike]
        return events_from_spikes(spikes, monitored_layers(self.config), unwrap=True, order="sort")

    def run(self, events: Events, seconds: float, input_name: str | None = None) -> MonitorEvents:
        """Write events, wait, and read what the monitored layers spiked.

        Parameters
        ----------
        seconds
            Wait between the last write and the read, >= 0.
        """
        self.receive()
        self.write(events, input_name)
        time.sleep(seconds)
        return self.read()

    def _interface(self) -> Interface:
        if self.config.interface is None:
            step = "Emit the configuration here: one read back from a chip does not tell"
            raise ConfigError(Finding("configuration", "has no interface", next_step=step))
        return self.config.interface

    def reset_potentials(self) -> None:
        """Set every potential of the cores in use to 0."""
        event = self._library.event.WriteNeuronValue
        writes = []
        for core, address in self._addresses():
            write = event()
            write.layer, write.address, write.neuron_state = core, address, 0
            writes.append(write)
        self.send(writes)

    def read_potentials(self, core: int, seconds: float = 0.5) -> dict[int, int]:
        """Potentials of a core by address; the order of addresses is the chip's own.

        Parameters
        ----------
        seconds
            Time the chip has to answer. Spikes that arrive meanwhile are dropped.
        """
        reads = []
        for number, address in self._addresses():
            if number == core:
                ask = self._library.event.ReadNeuronValue()
                ask.layer, ask.address = core, address
                reads.append(ask)
        self.send(reads)
        time.sleep(seconds)
        answer = type(self._library.event.NeuronValue())
        answers = [event for event in self.receive() if type(event) is answer and event.layer == core]
        return {int(event.address): int(event.neuron_state) for event in answers}

    def _addresses(self) -> Iterator[tuple[int, int]]:
        for number, core in enumerate(self.config.hardware.cnn_layers):
            if core.dimensions is not None:
                for address in range(self.chip.cores[number].neuron_words):
                    yield number, address

    def start_power(self, rate_hz: float = 100.0) -> None:
        """Begin to measure power.

        Parameters
        ----------
        rate_hz
            Samples per second and channel, 0 < rate <= 100.

        Raises
        ------
        ConfigError
            The rate is out of range.
        """
        if not 0 < rate_hz <= _POWER_RATE_MAX_HZ:
            raise ConfigError(Finding("power monitor", "the rate is out of range", rate_hz, "0..100", "Hz"))
        with self._step("starting the power monitor"):
            monitor = self.kit.get_power_monitor()
            self._power = getattr(self._samna, _POWER_SINK)()
            self._join(monitor.get_source_node(), self._power)
            monitor.start_auto_power_measurement(rate_hz)

    def read_power(self) -> NDArray[np.void]:
        """Power since the last call: fields t (µs), channel (number in `POWER_CHANNELS`), watts."""
        with self._step("reading the power monitor"):
            samples = self._power.get_events() if self._power is not None else []
        rows = [(int(s.timestamp), int(s.channel), float(s.value)) for s in samples]
        power: NDArray[np.void] = np.array(rows, _POWER_DTYPE)
        if len(power):
            power["t"] = unwrap_timestamps(power["t"])
        return power


def _one_input(interface: Interface, name: str | None) -> Any:
    known = ", ".join(entry.name for entry in interface.inputs)
    chosen = [entry for entry in interface.inputs if name in (None, entry.name)]
    # The sensor stage sends the same events to all of its inputs: any of them stands for them.
    if len(chosen) == 1 or (chosen and all(entry.source == "dvs" for entry in chosen)):
        return chosen[0]
    problem = "there is no such input" if name else "there are several: name one"
    raise ConfigError(Finding("input", problem, name, known))
