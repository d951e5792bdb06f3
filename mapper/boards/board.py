"""An open board in the network's terms: events to its inputs, spikes of its layers, potentials."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from weakref import WeakValueDictionary

from hwspec.catalog import load as load_chip
from hwspec.schema import ChipSpec
from mapper.arguments import checked
from mapper.asking import EMITTED_STEP_US, LAYER_FORM, MONITORS
from mapper.boards.discovery import board_name, find_board
from mapper.boards.link import Link
from mapper.boards.listening import LEAD_SECONDS, Heard, Listening, ask, drop
from mapper.boards.monitored import monitored_layers
from mapper.boards.potentials import harmless_event, reads_of, start_values, writes_of
from mapper.emit.samna import to_samna, validate
from mapper.emit.shared.config import ChipConfig
from mapper.emit.shared.interface import Interface
from mapper.emit.shared.slow_clock import slow_clock_findings, warn_of_slow_clock
from mapper.errors import ConfigError, Finding, warn_caller
from mapper.events import Events, MonitorEvents, events_from, events_from_spikes, spikes_of
from mapper.wording import counted

__all__ = ["Board", "open_board"]

# For each core whose potentials were written; the vendor's own package waits as long.
_WRITTEN_SECONDS = 0.1
# Boards of this program, by name in full: closed where nobody holds them any more.
_OPEN: WeakValueDictionary[str, Board] = WeakValueDictionary()


@checked
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
        Rate of the slow clock, > 0; None takes the configuration's. 10 Hz to 10 kHz is typical, others are
        warned of.
    settle_seconds
        Wait after the configuration was applied.

    Raises
    ------
    BackendMissingError
        samna is not there.
    ConfigError
        The configuration is of another chip, is not valid, or has biases and no slow clock; there is no such
        time to wait.
    BoardError
        There is no such board, it is in use, or it failed at a step.

    Warns
    -----
    MapperWarning
        The slow clock's rate is not typical; the board was open in this program, and was closed.
    """
    if not 0 <= settle_seconds < threading.TIMEOUT_MAX:
        problem = "nobody can wait so long"
        raise ConfigError(Finding("settle_seconds", problem, settle_seconds, ">= 0", "s"))
    chip = load_chip(device)
    samna_config = to_samna(config, chip)
    if config_modifier is not None:
        samna_config = config_modifier(samna_config)
    rate = slow_clock_hz
    if rate is None and config.interface is not None:
        rate = config.interface.slow_clock_hz
    if findings := tuple(_findings(samna_config, chip, rate)):
        raise ConfigError(*findings)
    warn_of_slow_clock(rate)
    _take_over(device)
    info = find_board(device)
    board = Board(info.device, chip, info.handle, config, samna_config, rate, settle_seconds)
    _OPEN[board_name(info.device)] = board
    return board


def _findings(samna_config: Any, chip: ChipSpec, rate_hz: float | None) -> Iterator[Finding]:
    """What keeps a configuration from a board."""
    valid, reason = validate(samna_config, chip)
    if not valid:
        yield Finding("configuration", f"samna refuses it: {reason}")
    if rate_hz is not None:
        yield from slow_clock_findings(rate_hz)
    elif any(core.leak_enable for core in samna_config.cnn_layers):
        wish = EMITTED_STEP_US.to("MICROSECONDS", "MICROSECONDS")
        step = f"Emit it with {wish}, or give the slow clock's rate"
        yield Finding("configuration", "has biases, and no rate of the slow clock", next_step=step)


def _take_over(device: str) -> None:
    """Close the board if this program has it open: what it is opened for now takes its place."""
    former = _OPEN.get(board_name(device))
    if former is not None and former.kit is not None:
        text = f"{former.device} was open in this program, and is closed for the new configuration"
        warn_caller(text)
        former.close()


class Board(Link):
    """An open board; made by `open_board`. Use it in a ``with`` block, or `close` it.

    Attributes
    ----------
    listening
        When `infer` and `exchange` stop listening, unless a call says otherwise; may be set.
    """

    listening = Listening()

    @checked
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
        spikes = self._objects(events, _one_input(self._interface(), input_name))
        self.send(spikes)
        return len(spikes)

    def _objects(self, events: Events, entry: Any) -> list[Any]:
        """Samna's objects for events of an input."""
        if entry.source == "host":
            return spikes_of(events, entry.entries, self._library.event.Spike, shape=entry.shape)
        return [self._sensor_event(e) for e in events_from(events, shape=entry.shape).tolist()]

    def _sensor_event(self, fields: tuple[int, int, int, int]) -> Any:
        event = self._library.event.DvsEvent()
        event.timestamp, event.p, event.y, event.x = fields[0], bool(fields[1]), fields[2], fields[3]
        return event

    def read(self) -> MonitorEvents:
        """Spikes of the monitored layers since the last call, by layer; other events are left out."""
        return self._monitored(self.receive())

    def _monitored(self, came: Sequence[Any]) -> MonitorEvents:
        spike = type(self._library.event.Spike())
        spikes = [event for event in came if type(event) is spike]
        return events_from_spikes(spikes, monitored_layers(self.config), unwrap=True, order="sort")

    @checked
    def infer(
        self, events: Events, input_name: str | None = None, listening: Listening | None = None
    ) -> MonitorEvents:
        """Play events to an input of the network, and give what the monitored layers spike at them.

        As `exchange`. The recording is played from its first event on, 100 ms behind the clock's reset, since
        some boards' clocks run before all is written; times that are given count as the recording's do.

        Parameters
        ----------
        events
            As for `write`; the first may have any time.
        listening
            When to stop; None takes the board's own.

        Raises
        ------
        ConfigError, EventError
            As `write`.

        Warns
        -----
        MapperWarning
            As `exchange`; or the network spiked in the time before the first event.
        """
        entry = _one_input(self._interface(), input_name)
        given = events_from(events, shape=entry.shape)
        begin = int(given["t"][0]) if len(given) else 0
        shift = round(LEAD_SECONDS * 1e6) - begin if len(given) else 0
        given["t"] += shift
        heard = self._ask(self._objects(given, entry), listening)
        answer = self._monitored(heard.events)
        early = 0
        for name, spikes in answer.events.items():
            spikes["t"] -= shift
            is_answer = spikes["t"] >= begin
            answer.events[name] = spikes[is_answer]
            early += len(spikes) - int(is_answer.sum())
        if early:
            heard.notes.append(f"{counted(early, 'spike')} came before the first event was played: left out")
        self._say(heard.notes)
        return answer

    @checked
    def exchange(self, spikes: Sequence[Any], listening: Listening | None = None) -> list[Any]:
        """Write samna's own event objects, and give those that come back to them.

        What is in the buffer is dropped, the timestamps' clock starts at 0, the objects are written as they
        are, and the board is read until the last of them has been played and nothing came for a while.

        Parameters
        ----------
        listening
            When to stop; None takes the board's own.

        Warns
        -----
        MapperWarning
            Events came too late for the call before; none came at all; the chip does not become quiet; a
            read found as many events as a buffer may hold; or the clock ran ahead of the writing.
        """
        heard = self._ask(list(spikes), listening)
        self._say(heard.notes)
        return heard.events

    def _ask(self, spikes: list[Any], listening: Listening | None) -> Heard:
        heard = ask(self, spikes, listening or self.listening, self.slow_clock_hz, self._last_end)
        self._last_end = heard.end
        if not heard.events and any(hasattr(spike, "timestamp") for spike in spikes):
            heard.notes.append(
                f"no event came back for {len(spikes)} that were written. {self._why_silent()}"
            )
        return heard

    def _why_silent(self) -> str:
        parts = (*self.samna_config.cnn_layers, self.samna_config.dvs_layer)
        readout = getattr(self.samna_config, "readout", None)
        if not any(part.monitor_enable for part in (*parts, *([readout] if readout else []))):
            return f"Nothing is monitored: emit the configuration with {MONITORS.to(*LAYER_FORM)}"
        return "If that is no answer: scripts/deploy.py --self-test says whether the board works"

    def _say(self, notes: Sequence[str]) -> None:
        """Warn, once nothing can be lost by it: warnings may be errors."""
        for note in notes:
            warn_caller(f"{self.device}: {note}")

    def _interface(self) -> Interface:
        if self.config.interface is None:
            step = "Emit the configuration here: one read back from a chip does not tell"
            raise ConfigError(Finding("configuration", "has no interface", next_step=step))
        return self.config.interface

    @property
    def used_cores(self) -> tuple[int, ...]:
        """Cores that hold something."""
        cores = enumerate(self.config.hardware.cnn_layers)
        return tuple(number for number, core in cores if core.dimensions is not None)

    def reset(self) -> None:
        """Set every potential of the cores in use to where the configuration starts it.

        One write per potential, and then an input event that changes nothing, since some boards lose the
        first one (`mapper.boards.potentials`; `loses_first_event` tests it). A core whose neurons start
        from different values has the configuration applied again: the order of its addresses is not
        established. What the chip spikes meanwhile is dropped.

        Warns
        -----
        MapperWarning
            Events came too late for the call before; potentials hang on the configuration alone; or no event
            is harmless.
        """
        notes = drop(self, self._last_end)
        starts = start_values(self.samna_config, self.used_cores)
        if differing := [core for core, value in starts.items() if value is None]:
            with self._step("applying the configuration again"):
                self.kit.get_model().apply_configuration(self.samna_config)
            time.sleep(self._settle_seconds)
            notes.append(
                f"cores {', '.join(map(str, differing))} start from potentials that differ by neuron: "
                "applying the configuration again is all that reset them; read_potentials shows if it did"
            )
        spikes: list[Any] = []
        for core, value in starts.items():
            if value is not None:
                spikes += writes_of(self._library, core, self._words(core), value)
        spare = harmless_event(self._library, self.samna_config, self.used_cores)
        if spare is not None:
            spikes.append(spare)
        else:
            notes.append(
                "every core and feature is in use, so no event is harmless to send: some boards lose the "
                "next one. mapper.boards.loses_first_event(board) says whether this one does"
            )
        self.send(spikes)
        time.sleep(_WRITTEN_SECONDS * len(starts))
        self.receive()
        self._say(notes)

    @checked
    def read_potentials(self, core: int, seconds: float = 0.5) -> dict[int, int]:
        """Potentials of a core by address; the order of addresses is the chip's own.

        Parameters
        ----------
        seconds
            Time the chip has to answer, >= 0. Spikes that arrive meanwhile are dropped.

        Raises
        ------
        ConfigError
            There is no such core, or no such time.
        """
        if not 0 <= core < self.chip.core_count:
            raise ConfigError(Finding("core", "there is none", core, f"0..{self.chip.core_count - 1}"))
        if not 0 <= seconds < threading.TIMEOUT_MAX:
            raise ConfigError(Finding("seconds", "nobody can wait so long", seconds, ">= 0", "s"))
        self.send(reads_of(self._library, core, self._words(core)) if core in self.used_cores else [])
        time.sleep(seconds)
        answer = type(self._library.event.NeuronValue())
        answers = [event for event in self.receive() if type(event) is answer and event.layer == core]
        return {int(event.address): int(event.neuron_state) for event in answers}

    def _words(self, core: int) -> int:
        return self.chip.cores[core].neuron_words


def _one_input(interface: Interface, name: str | None) -> Any:
    known = ", ".join(entry.name for entry in interface.inputs)
    chosen = [entry for entry in interface.inputs if name in (None, entry.name)]
    # The sensor stage sends the same events to all of its inputs: any of them stands for them.
    if len(chosen) == 1 or (chosen and all(entry.source == "dvs" for entry in chosen)):
        return chosen[0]
    problem = "there is no such input" if name else "there are several: name one"
    raise ConfigError(Finding("input", problem, name, known))
