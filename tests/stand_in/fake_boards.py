"""Boards made of Python: they keep what was done to them, answer events, and fail on demand."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from hwspec.catalog import load, names
from tests.stand_in import samna_stand_in

__all__ = ["FakeBoards", "install_boards"]


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
    """An open board. Cores that are monitored send arriving spikes back; the rest is silent."""

    def __init__(self, boards: FakeBoards, family: str) -> None:
        self.boards, self.family = boards, family
        self.config: Any = None
        self.source, self.sink, self.power = Buffer(), Buffer(), Buffer()
        self.potentials: dict[tuple[int, int], int] = {}

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
        kinds = sys.modules[f"samna.{self.family}"].event
        if self.boards.answers is not None:
            self.source.events += self.boards.answers(self, events)
            return
        for event in events:
            if (isinstance(event, kinds.Spike) and self.config.cnn_layers[event.layer].monitor_enable) or (
                isinstance(event, kinds.DvsEvent) and self.config.dvs_layer.monitor_enable
            ):
                self.source.events.append(event)
            elif isinstance(event, kinds.WriteNeuronValue):
                self.potentials[event.layer, event.address] = event.neuron_state
            elif isinstance(event, kinds.ReadNeuronValue):
                answer = kinds.NeuronValue()
                answer.layer, answer.address = event.layer, event.address
                answer.neuron_state = self.potentials.get((event.layer, event.address), 7)
                self.source.events.append(answer)

    def get_stop_watch(self) -> Any:
        if self.boards.old_clock:
            return types.SimpleNamespace(set_enable_value=lambda on: self._do("clock", on))
        return types.SimpleNamespace(
            start=lambda: self._do("clock", "start"), stop=lambda: None, reset=lambda: self._do("reset")
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
            last.events = first.events
            last.get_events = lambda: _drained(first)  # type: ignore[method-assign]  # a node of the graph now
        return nodes

    def start(self) -> None:
        self.boards.log.append(("graph start",))
        if "graph start" in self.boards.failing:
            raise RuntimeError("graph start is broken")

    def stop(self) -> None:
        self.boards.log.append(("graph stop",))


def _drained(node: Buffer) -> list[Any]:
    drained, node.events = node.events, []
    return drained


@dataclass
class FakeBoards:
    """What is plugged in; `failing` names steps that raise."""

    plugged: list[Info]
    busy: set[str] = field(default_factory=set)
    failing: set[str] = field(default_factory=set)
    log: list[tuple[object, ...]] = field(default_factory=list)
    old_clock: bool = False
    # What the chip answers to events, instead of echoing them.
    answers: Callable[[Kit, list[Any]], list[Any]] | None = None
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
    return boards
