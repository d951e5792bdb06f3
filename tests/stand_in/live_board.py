"""Boards that compute: what they are configured with runs, spike by spike and in the time of a clock.

The chip is this project's event simulator on the configuration that was applied. Events enter when the
stopwatch reaches their timestamp, and answers can be read from then on. Biases act at ticks of the slow
clock, which run from the moment a configuration is applied while the clock is on.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from hwspec.catalog import load
from mapper.emit.samna import from_samna
from mapper.emit.shared.config import CnnLayer
from mapper.events import EVENT_DTYPE
from mapper.sim.event import EventOptions, EventSimulator
from tests.stand_in.event_graph import Through

__all__ = ["BOARDS", "Info", "Kit"]

BOARDS = {
    "Speck2eTestBoard": "speck2e",
    "Speck2eDevKit": "speck2e",
    "Speck2fModuleDevKit": "speck2f",
    "Speck2fDevKit": "speck2f",
}
"""Types of boards and their chips."""

# Without a slow clock no tick comes within any test, microseconds.
_NEVER = 1e15


@dataclass(frozen=True)
class Info:
    """What samna says of a board."""

    device_type_name: str
    serial_number: str
    usb_bus_number: int
    usb_device_address: int
    logic_version: int = 0


class StopWatch:
    """The clock of the timestamps, µs."""

    def __init__(self) -> None:
        self._zero: float | None = None

    def start(self) -> None:
        """Run, from where it stands."""
        self._zero = time.monotonic() if self._zero is None else self._zero

    def stop(self) -> None:
        """Stand still; events are no longer held back."""
        self._zero = None

    def reset(self) -> None:
        """Set it to 0."""
        self._zero = None if self._zero is None else time.monotonic()

    def due(self, timestamp: int) -> float:
        """When (monotonic clock, s) an event with a timestamp enters."""
        now = time.monotonic()
        return now if self._zero is None else max(now, self._zero + timestamp * 1e-6)

    def reading(self, moment: float) -> int:
        """Timestamp of a moment."""
        return 0 if self._zero is None else max(0, round((moment - self._zero) * 1e6))


class Pins:
    """The board's clock for leaks."""

    def __init__(self) -> None:
        self.rate_hz, self.is_on = 100.0, False

    def set_slow_clk_rate(self, rate_hz: float) -> None:
        """Set the rate, Hz."""
        self.rate_hz = float(rate_hz)

    def set_slow_clk(self, on: bool) -> None:
        """Switch the clock on or off."""
        if not isinstance(on, bool):
            raise TypeError("a bool")
        self.is_on = on


class Power:
    """A power monitor that measures nothing."""

    def __init__(self) -> None:
        self.source = Through()

    def get_source_node(self) -> Through:
        """Where samples would come from."""
        return self.source

    def start_auto_power_measurement(self, rate_hz: float) -> None:
        """Take at most 100 samples a second."""
        if not 0 < rate_hz <= 100:
            raise ValueError("rate")


class Model:
    """The chip of a board: configuration, potentials, spikes under way."""

    def __init__(self, family: str, watch: StopWatch, pins: Pins, nodes: dict[str, Any]) -> None:
        self._chip, self._watch, self._pins = load(family), watch, pins
        self._library = sys.modules[f"samna.{family}"]
        self._source: Through = nodes["source"]()
        self._source.pull = self._ready
        self._sink: Through = nodes["sink"](self._arrive)
        self.clear(None)

    def clear(self, config: Any) -> None:
        """Forget all that was, and hold a configuration, or none."""
        self.config = config
        self._simulator: EventSimulator | None = None
        self._applied, self._last = time.monotonic(), 0.0
        self._pending: list[tuple[float, Any]] = []

    def get_source_node(self) -> Through:
        """What the chip says."""
        return self._source

    def get_sink_node(self) -> Through:
        """What the chip hears."""
        return self._sink

    def apply_configuration(self, config: Any) -> None:
        """Check a configuration and run it from its initial potentials."""
        valid, reason = self._library.validate_configuration(config)
        if not valid:
            raise RuntimeError(reason)
        self.clear(config)

    def _running(self) -> EventSimulator:
        if self._simulator is None:
            plain = from_samna(self.config, self._chip)
            used = [n for n, core in enumerate(plain.hardware.cnn_layers) if core.dimensions is not None]
            period = 1e6 / self._pins.rate_hz if self._pins.is_on else _NEVER
            options = EventOptions(tick_us=period)
            self._simulator = EventSimulator(plain, options, input_cores={f"core{n}": n for n in used})
        return self._simulator

    def _time(self, moment: float) -> float:
        """Time since the configuration, µs; never before what was computed already."""
        self._last = max(self._last, (moment - self._applied) * 1e6)
        return self._last

    def _arrive(self, events: list[Any]) -> None:
        if self.config is None:
            return
        kinds = self._library.event
        for event in sorted(events, key=lambda event: getattr(event, "timestamp", 0)):
            if isinstance(event, kinds.Spike):
                self._spike(event)
            elif isinstance(event, kinds.DvsEvent):
                if self.config.dvs_layer.monitor_enable:
                    self._pending.append((self._watch.due(event.timestamp), event))
            elif isinstance(event, kinds.WriteNeuronValue):
                place = self._place(event)
                if place is not None:
                    self._running().tables.potentials[place] = event.neuron_state
            elif isinstance(event, kinds.ReadNeuronValue):
                self._answer(event)
            else:
                raise TypeError(f"{type(event).__name__} is no event of this chip")

    def _spike(self, event: Any) -> None:
        simulator, due = self._running(), self._watch.due(event.timestamp)
        name = f"core{event.layer}"
        if name not in simulator.graph.input_names:
            return
        arriving = np.zeros(1, EVENT_DTYPE)
        arriving["t"] = round(self._time(due))
        arriving["p"], arriving["y"], arriving["x"] = event.feature, event.y, event.x
        for layer, spikes in simulator.run({name: arriving}).layers.items():
            core = int(layer.removeprefix("core"))
            if self.config.cnn_layers[core].monitor_enable:
                for spike in spikes:
                    said = self._library.event.Spike(layer=core, timestamp=self._watch.reading(due))
                    said.feature, said.y, said.x = spike["p"], spike["y"], spike["x"]
                    self._pending.append((due, said))

    def _answer(self, event: Any) -> None:
        now = time.monotonic()
        self._running().run({}, end_us=self._time(now))
        place = self._place(event)
        value = 0 if place is None else int(self._running().tables.potentials[place])
        said = self._library.event.NeuronValue(layer=event.layer, address=event.address, neuron_state=value)
        self._pending.append((now, said))

    def _place(self, event: Any) -> int | None:
        """Where the simulator keeps a neuron: an address is row, column and feature, each in whole bits."""
        simulator = self._running()
        core: CnnLayer | None = simulator.graph.cores.get(event.layer)
        if core is None or core.dimensions is None:
            return None
        shape = core.dimensions.output_shape
        features, height, width = shape.feature_count, shape.size.y, shape.size.x
        feature_bits, row_bits = (features - 1).bit_length(), (height - 1).bit_length()
        feature = event.address & ((1 << feature_bits) - 1)
        row = event.address >> (feature_bits + row_bits)
        column = (event.address >> feature_bits) & ((1 << (width - 1).bit_length()) - 1)
        if feature >= features or row >= height or column >= width:
            return None
        before = [n for n in simulator.tables.numbers if n < event.layer]
        start = sum(_neurons(simulator.graph.cores[n]) for n in before)
        return start + int(row * width + column) * features + int(feature)

    def _ready(self) -> list[Any]:
        now = time.monotonic()
        ready = [event for due, event in self._pending if due <= now]
        self._pending = [entry for entry in self._pending if entry[0] > now]
        return ready


def _neurons(core: CnnLayer) -> int:
    if core.dimensions is None:
        return 0
    shape = core.dimensions.output_shape
    return shape.feature_count * shape.size.y * shape.size.x


class Kit:
    """An open board."""

    def __init__(self, info: Info, nodes: dict[str, Any]) -> None:
        self.info, self.is_open = info, True
        self._watch, self._pins, self._power = StopWatch(), Pins(), Power()
        self._model = Model(BOARDS[info.device_type_name], self._watch, self._pins, nodes)

    def get_model(self) -> Model:
        """The chip."""
        if not self.is_open:
            raise RuntimeError("this device is closed")
        return self._model

    def get_model_source_node(self) -> Through:
        """What the chip says."""
        return self.get_model().get_source_node()

    def get_model_sink_node(self) -> Through:
        """What the chip hears."""
        return self.get_model().get_sink_node()

    def get_stop_watch(self) -> StopWatch:
        """The clock of the timestamps."""
        return self._watch

    def get_io_module(self) -> Pins:
        """The clock of the leaks."""
        return self._pins

    def get_power_monitor(self) -> Power:
        """The power monitor."""
        return self._power

    def reset_board_soft(self, wait: bool) -> None:
        """As after plugging in."""
        if not isinstance(wait, bool):
            raise TypeError("a bool")
        self._watch.stop()
        self._pins.is_on = False
        self._model.clear(None)
