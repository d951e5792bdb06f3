"""A board as samna shows it: opened, configured, clocks running, buffers joined; quiet when it is closed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from hwspec.schema import ChipSpec
from mapper.arguments import checked
from mapper.emit.samna import chip_library, quiet, samna_library
from mapper.emit.shared.config import ChipConfig
from mapper.errors import BoardError, ConfigError, Finding
from mapper.events import unwrap_timestamps

__all__ = ["POWER_CHANNELS", "Link"]

# What samna and the drivers below it raise; anything else is a fault of this program.
_VENDOR_ERRORS = (RuntimeError, OSError, ValueError, TypeError, AttributeError)
_POWER_RATE_MAX_HZ = 100.0
_POWER_SINK = "BasicSinkNode_unifirm_modules_events_measurement"

POWER_CHANNELS = ("IO", "RAM", "LOGIC", "PIXEL_DIGITAL", "PIXEL_ANALOG")
"""Names of the power monitor's channels, by number."""

_POWER_DTYPE = np.dtype([("t", np.int64), ("channel", np.uint8), ("watts", np.float64)])


class Link:
    """An open board, and samna's objects that go to it and come from it.

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
    slow_clock_hz
        Rate of the slow clock, None if it does not run.
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
        self.slow_clock_hz, self._settle_seconds = slow_clock_hz, settle_seconds
        # How the last call ended, while nothing else was asked of the board.
        self._last_end = ""
        self._samna = samna_library(f"board {device}")
        self._library = chip_library(chip, f"board {device}")
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
        self.switch_slow_clock(is_on=True)

    @property
    def input_buffer(self) -> Any:
        """Node of samna that takes events for the chip."""
        return self._input

    @property
    def output_buffer(self) -> Any:
        """Node of samna that holds the chip's events until they are read."""
        return self._output

    def __del__(self) -> None:
        # Nobody holds it any more, and nobody else could close it.
        if getattr(self, "kit", None) is not None:
            self.close()

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

    def reset_clock(self) -> bool:
        """Start the timestamps' clock at 0; False where this samna has no way to, and times go on."""
        with self._step("resetting the clock"):
            watch = self.kit.get_stop_watch()
            if hasattr(watch, "start"):
                watch.start()
                watch.stop()
                watch.reset()
                watch.start()
                return True
            watch.set_enable_value(True)
        return False

    @checked
    def switch_slow_clock(self, *, is_on: bool) -> None:
        """Let the slow clock tick or stand still; of a board without rate nothing is switched."""
        if self.slow_clock_hz is not None:
            with self._step("setting the slow clock"):
                pins = self.kit.get_io_module()
                pins.set_slow_clk_rate(self.slow_clock_hz)
                pins.set_slow_clk(is_on)

    @checked
    def send(self, spikes: Sequence[Any]) -> None:
        """Write samna's own event objects."""
        self._last_end = ""
        with self._step("writing events"):
            self._input.write(list(spikes))

    def receive(self) -> list[Any]:
        """Take all of samna's event objects that came since the last call."""
        with self._step("reading events"):
            return list(self._output.get_events())

    @checked
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
