"""All of samna that sinabs' backend and its tests use, installed as a real one looks, with boards.

Configurations and events are the strict ones of `samna_stand_in`; boards compute (`live_board`).
"""

from __future__ import annotations

import importlib.machinery
import sys
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from hwspec.catalog import load
from tests.stand_in import samna_stand_in
from tests.stand_in.event_graph import EventFilterGraph, Filter, Sink, Source, Through, sequential
from tests.stand_in.live_board import BOARDS, Info, Kit

__all__ = ["Desk", "install_for_sinabs"]

# Filters of the visualizer, with the setters that are called on them.
FILTERS = {
    "JitMemberSelect": ("set_white_list",),
    "JitDvsEventToViz": (),
    "JitSpikeCollection": ("set_interval_milli_sec",),
    "JitSpikeCount": ("set_feature_count",),
    "JitMajorityReadout": (
        "set_feature_count", "set_default_feature", "set_threshold_low", "set_threshold_high",
    ),
    "JitFilter": (),
}  # fmt: skip
NAMED = {"VizEventStreamer": ("set_streamer_endpoint",), "MeasurementToVizConverter": ()}
PLOTS = ("Activity", "Readout", "SpikeCount", "PowerMeasurement")


class Desk:
    """The boards that are plugged in; opening one that this program has open gives the same object."""

    def __init__(self, device_types: Sequence[str]) -> None:
        self.plugged = [Info(name, f"serial{n}", 1, n + 1) for n, name in enumerate(device_types)]
        self.open_kits: dict[Info, Kit] = {}

    def get_all_devices(self) -> list[Info]:
        """All boards."""
        return list(self.plugged)

    def get_unopened_devices(self) -> list[Info]:
        """Boards that no program has open."""
        return [info for info in self.plugged if info not in self.open_kits]

    def open_device(self, which: Info | str) -> Kit:
        """Open a board, by what samna says of it or by "type:index"."""
        info = self._named(which) if isinstance(which, str) else which
        if info not in self.plugged:
            raise RuntimeError("no such device")
        if info not in self.open_kits:
            self.open_kits[info] = Kit(info, _node_classes(BOARDS[info.device_type_name]))
        return self.open_kits[info]

    def _named(self, name: str) -> Info:
        device_type, _, index = name.partition(":")
        alike = [info for info in self.plugged if info.device_type_name == device_type]
        return alike[int(index or 0)]

    def close_device(self, kit: Kit) -> None:
        """Hand a board back."""
        if self.open_kits.get(kit.info) is not kit:
            raise RuntimeError("this device is not open")
        self.open_kits.pop(kit.info).is_open = False


def _node_classes(family: str) -> dict[str, type]:
    """Nodes of a chip; visualizers take the chip from the name of the class."""
    return {
        "source": type(f"ModelSourceNode_{family}_event_output_event", (Through,), {}),
        "sink": type(f"ModelSinkNode_{family}_event_input_event", (Through,), {}),
    }


def _filters(setters: dict[str, tuple[str, ...]]) -> dict[str, type[Filter]]:
    return {name: type(name, (Filter,), {"SETTERS": names}) for name, names in setters.items()}


class _Record:
    """An object of the visualizer that keeps what it was made of."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        self.arguments, self.keywords = arguments, keywords


def _graph() -> types.ModuleType:
    module = types.ModuleType("samna.graph")
    graph = type("EventFilterGraph", (EventFilterGraph,), {"NAMED": _filters(NAMED)})
    module.__dict__.update(_filters(FILTERS), EventFilterGraph=graph, sequential=sequential)
    return module


def _ui() -> types.ModuleType:
    module = types.ModuleType("samna.ui")
    names = ("Event", "VisualizerConfiguration", *(f"{plot}PlotConfiguration" for plot in PLOTS))
    module.__dict__.update({name: type(name, (_Record,), {}) for name in names})
    return module


def _specksim() -> dict[str, types.ModuleType]:
    """Names alone: sinabs imports them, and its simulator is none of this project's business."""
    modules = {name: types.ModuleType(f"samna.specksim{name}") for name in ("", ".nodes", ".events")}
    for name in ("SpecksimConvolutionalFilterNode", "SpecksimIAFFilterNode", "SpecksimSumPoolingFilterNode"):
        modules[".nodes"].__dict__[name] = type(name, (Filter,), {})
    modules[".events"].__dict__["Spike"] = type("Spike", (_Record,), {})
    modules[""].__dict__.update(nodes=modules[".nodes"], events=modules[".events"])
    return modules


def _root(desk: Desk, folder: Path) -> types.ModuleType:
    root = types.ModuleType("samna")
    origin = str(folder / "samna" / "__init__.py")
    root.__spec__ = importlib.machinery.ModuleSpec("samna", None, origin=origin, is_package=True)
    root.__path__ = [str(folder / "samna")]
    device = types.ModuleType("samna.device")
    device.__dict__.update(
        DeviceInfo=Info, get_all_devices=desk.get_all_devices, open_device=desk.open_device,
        get_unopened_devices=desk.get_unopened_devices, close_device=desk.close_device,
    )  # fmt: skip
    root.__dict__.update(device=device, graph=_graph(), ui=_ui())
    root.__dict__["BasicSourceNode_ui_event"] = type("BasicSourceNode_ui_event", (Source,), {})
    for family in set(BOARDS.values()):
        emission = load(family).emission
        if emission is not None:
            for name, kind in ((emission.source_node, Source), (emission.sink_node, Sink)):
                root.__dict__[name] = type(name, (kind,), {})
            root.__dict__[family] = sys.modules[emission.samna_module]
    power = "BasicSinkNode_unifirm_modules_events_measurement"
    root.__dict__[power] = type(power, (Sink,), {})
    return root


def install_for_sinabs(
    monkeypatch: pytest.MonkeyPatch, folder: Path, device_types: Sequence[str] = tuple(BOARDS)
) -> Desk:
    """Put the stand-in where samna and samnagui would be, with one board of each type."""
    samna_stand_in.install(monkeypatch, folder)
    desk = Desk(device_types)
    root = _root(desk, folder)
    for family in set(BOARDS.values()):
        # `from samna.speck2e.configuration import ...` wants modules all the way.
        library = sys.modules[f"samna.{family}"]
        for part in ("configuration", "event"):
            module = types.ModuleType(f"samna.{family}.{part}")
            module.__dict__.update(vars(getattr(library, part)))
            setattr(library, part, module)
            monkeypatch.setitem(sys.modules, module.__name__, module)
        library.__path__ = []
    specksim = _specksim()
    root.__dict__["specksim"] = specksim[""]
    for module in (root, *specksim.values(), *(root.__dict__[name] for name in ("device", "graph", "ui"))):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    gui = types.ModuleType("samnagui")
    gui.__dict__["run_visualizer"] = lambda *arguments: None
    monkeypatch.setitem(sys.modules, "samnagui", gui)
    return desk
