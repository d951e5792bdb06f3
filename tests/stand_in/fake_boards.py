"""Boards made of Python: they keep what was done to them, answer events in time, and fail on demand.

Their time is simulated: a wait of the code under test is over at once and moves the clock on, so a test sees
exactly what was waited for.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hwspec.catalog import load, names
from tests.stand_in import samna_stand_in

__all__ = ["Clock", "FakeBoards", "Kit", "install_boards"]


@dataclass
class Clock:
    """Stands for the module `time`."""

    now: float = 1000.0
    slept: float = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.slept += seconds


@dataclass
class Info:
    """What samna says of a board."""

    device_type_name: str
    serial_number: str


@dataclass
class Buffer:
    """A source or sink of events."""

    events: list[Any] = field(default_factory=list)
    on_write: Callable[[list[Any]], None] | None = None
    before_read: Callable[[], None] | None = None

    def write(self, events: list[Any]) -> None:
        if not isinstance(events, list):
            raise TypeError("a list of events")
        if self.on_write is None:
            raise RuntimeError("this node is not connected")
        self.on_write(events)

    def get_events(self) -> list[Any]:
        drained, self.events = self.events, []
        return drained


class Kit:
    """An open board. Cores that are monitored send arriving spikes back, at their times; the rest is silent.

    Spikes move potentials by their core's weights, and reach no other core.
    """

    def __init__(self, boards: FakeBoards, family: str) -> None:
        self.boards, self.family = boards, family
        self.config: Any = None
        self.source, self.sink, self.power = Buffer(), Buffer(), Buffer()
        self.source.before_read = self.advance
        self.potentials: dict[tuple[int, int], int] = {}
        # Events by when they come, in seconds of the boards' clock.
        self.due: list[tuple[float, Any]] = []
        self.zero = boards.clock.now
        self.is_deaf = False

    def answer(self, seconds: float, event: Any) -> None:
        """Let an event come so long from now, with the timestamp that the board's clock shows then."""
        self.due.append((self.boards.clock.now + seconds, event))

    def advance(self) -> None:
        """Put what has come by now into the buffer, as far as it has room."""
        now = self.boards.clock.now
        here = sorted((pair for pair in self.due if pair[0] <= now), key=lambda pair: pair[0])
        self.due = [pair for pair in self.due if pair[0] > now]
        for when, event in here:
            if hasattr(event, "timestamp"):
                event.timestamp = round((when - self.zero) * 1e6) % 2**32
            self.source.events.append(event)
        if self.boards.buffer_events is not None:
            del self.source.events[self.boards.buffer_events :]

    def _reset_clock(self) -> None:
        self.advance()
        self._do("reset")
        self.zero = self.boards.clock.now

    def _do(self, step: str, *facts: object) -> None:
        self.boards.log.append((step, *facts))
        if step in self.boards.failing and (step != "apply" or self.config is None):
            raise RuntimeError(f"{step} is broken")

    def get_model(self) -> Any:
        return types.SimpleNamespace(apply_configuration=self._apply)

    def _apply(self, config: Any) -> None:
        valid, reason = sys.modules[f"samna.{self.family}"].validate_configuration(config)
        if not valid:
            raise RuntimeError(reason)
        self._do("apply")
        self.config = config

    def get_model_source_node(self) -> Buffer:
        return self.source

    def get_model_sink_node(self) -> Buffer:
        self.sink.on_write = self._arrive
        return self.sink

    def _arrive(self, events: list[Any]) -> None:
        self._do("write", len(events))
        self.boards.clock.now += self.boards.write_seconds
        self.advance()
        kinds = sys.modules[f"samna.{self.family}"].event
        if self.boards.loses_first:
            events = [event for event in events if not self._is_lost(event, kinds)]
        if self.boards.schedule is not None:
            for seconds, event in self.boards.schedule(self, events):
                self.answer(seconds, event)
            return
        if self.boards.answers is not None:
            for event in self.boards.answers(self, events):
                self._answer_at_its_time(event)
            return
        for event in events:
            if isinstance(event, kinds.Spike):
                self._feel(event)
            if (isinstance(event, kinds.Spike) and self.config.cnn_layers[event.layer].monitor_enable) or (
                isinstance(event, kinds.DvsEvent) and self.config.dvs_layer.monitor_enable
            ):
                self._answer_at_its_time(event)
            elif isinstance(event, kinds.WriteNeuronValue):
                self.potentials[event.layer, event.address] = event.neuron_state
            elif isinstance(event, kinds.ReadNeuronValue):
                answer = kinds.NeuronValue()
                answer.layer, answer.address = event.layer, event.address
                answer.neuron_state = self.potentials.get((event.layer, event.address), 7)
                self.answer(0.0, answer)

    def _is_lost(self, event: Any, kinds: Any) -> bool:
        """Whether it is the first input event behind a potential that was written."""
        if isinstance(event, kinds.WriteNeuronValue):
            self.is_deaf = True
        is_lost = self.is_deaf and isinstance(event, kinds.Spike | kinds.DvsEvent)
        self.is_deaf = self.is_deaf and not is_lost
        return is_lost

    def _answer_at_its_time(self, event: Any) -> None:
        """Times that have passed are now."""
        self.answer(max(0.0, self.zero + event.timestamp * 1e-6 - self.boards.clock.now), event)

    def _feel(self, spike: Any) -> None:
        """Add a spike's weights; addresses run backwards, as no code may rely on an order."""
        core = self.config.cnn_layers[spike.layer]
        weights = np.asarray(core.weights)
        if weights.ndim != 4:
            return
        shape = core.dimensions
        size = shape.output_shape.size
        for f, y, x in np.ndindex(shape.output_shape.feature_count, size.y, size.x):
            tap_y = spike.y + shape.padding.y - y * shape.stride.y
            tap_x = spike.x + shape.padding.x - x * shape.stride.x
            if 0 <= tap_y < shape.kernel_size and 0 <= tap_x < shape.kernel_size:
                place = spike.layer, 1023 - ((f * size.y + y) * size.x + x)
                value = self.potentials.get(place, 7) + int(weights[f, spike.feature, tap_x, tap_y])
                if value >= core.threshold_high:
                    value = 0 if core.return_to_zero else value - core.threshold_high
                self.potentials[place] = max(value, core.threshold_low)

    def get_stop_watch(self) -> Any:
        if self.boards.old_clock:
            return types.SimpleNamespace(set_enable_value=lambda on: self._do("clock", on))
        return types.SimpleNamespace(
            start=lambda: self._do("clock", "start"), stop=lambda: None, reset=self._reset_clock
        )

    def get_io_module(self) -> Any:
        return types.SimpleNamespace(
            set_slow_clk_rate=lambda hz: self._do("slow clock", hz),
            set_slow_clk=lambda on: self._do("slow", on),
        )

    def get_power_monitor(self) -> Any:
        sample = types.SimpleNamespace(timestamp=5, channel=1, value=0.25)

        def begin(rate: float) -> None:
            self._do("power", rate)
            self.power.events.append(sample)

        return types.SimpleNamespace(get_source_node=lambda: self.power, start_auto_power_measurement=begin)


class Graph:
    """A graph of two nodes: what is written to the first is there to be read at the last."""

    def __init__(self, boards: FakeBoards) -> None:
        self.boards = boards

    def sequential(self, nodes: list[Buffer]) -> list[Buffer]:
        first, last = nodes
        if last.on_write is not None:
            first.on_write = last.on_write
        else:
            last.get_events = lambda: _drained(first)  # type: ignore[method-assign]  # a node of the graph now
        return nodes

    def start(self) -> None:
        self.boards.log.append(("graph start",))
        if "graph start" in self.boards.failing:
            raise RuntimeError("graph start is broken")

    def stop(self) -> None:
        self.boards.log.append(("graph stop",))


def _drained(node: Buffer) -> list[Any]:
    if node.before_read is not None:
        node.before_read()
    drained, node.events = node.events, []
    return drained


@dataclass
class FakeBoards:
    """What is plugged in; `failing` names steps that raise."""

    plugged: list[Info]
    clock: Clock = field(default_factory=Clock)
    busy: set[str] = field(default_factory=set)
    failing: set[str] = field(default_factory=set)
    log: list[tuple[object, ...]] = field(default_factory=list)
    old_clock: bool = False
    # What the chip answers to events, instead of echoing them, each at its time.
    answers: Callable[[Kit, list[Any]], list[Any]] | None = None
    # The same with the time from the write on, in seconds.
    schedule: Callable[[Kit, list[Any]], list[tuple[float, Any]]] | None = None
    # Behind potentials that the host wrote, the first spike does not arrive.
    loses_first: bool = False
    # What samna's buffer holds; what comes while it is full is lost.
    buffer_events: int | None = None
    write_seconds: float = 0.0
    kits: list[Kit] = field(default_factory=list)

    def open(self, info: Info) -> Kit:
        if "open" in self.failing:
            raise RuntimeError("open is broken")
        self.busy.add(info.serial_number)
        types_of = {
            device_type: emission.samna_module.split(".")[1]
            for name in names()
            if (emission := load(name).emission)
            for _, device_type in emission.device_types
        }
        self.kits.append(Kit(self, types_of[info.device_type_name]))
        self.log.append(("open", info.serial_number))
        return self.kits[-1]

    def close(self, kit: Kit) -> None:
        self.log.append(("close",))
        if "close" in self.failing:
            raise RuntimeError("close is broken")
        self.busy.clear()


def install_boards(monkeypatch: pytest.MonkeyPatch, folder: Path, *device_types: str) -> FakeBoards:
    """Put the stand-in for samna in place, with boards of these types."""
    samna_stand_in.install(monkeypatch, folder)
    boards = FakeBoards([Info(name, f"serial{n}") for n, name in enumerate(device_types)])
    root = types.ModuleType("samna")
    root.__dict__["device"] = types.SimpleNamespace(
        get_all_devices=lambda: list(boards.plugged),
        get_unopened_devices=lambda: [b for b in boards.plugged if b.serial_number not in boards.busy],
        open_device=boards.open,
        close_device=boards.close,
    )
    root.__dict__["graph"] = types.SimpleNamespace(EventFilterGraph=lambda: Graph(boards))
    for name in names():
        emission = load(name).emission
        if emission is not None:
            root.__dict__[emission.source_node] = Buffer
            root.__dict__[emission.sink_node] = Buffer
            family = emission.samna_module.split(".")[1]
            root.__dict__[family] = sys.modules[emission.samna_module]
    root.__dict__["BasicSinkNode_unifirm_modules_events_measurement"] = Buffer
    root.__path__ = []  # a package: its parts are in sys.modules
    monkeypatch.setattr("mapper.emit.samna.find_samna", lambda: "real")
    monkeypatch.setitem(sys.modules, "samna", root)
    for module in ("board", "link", "listening"):
        monkeypatch.setattr(f"mapper.boards.{module}.time", boards.clock)
    return boards
