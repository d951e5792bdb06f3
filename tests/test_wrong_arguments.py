"""Everything public that is given what it cannot take says so itself: which argument, what it got, what it takes."""

from __future__ import annotations

import inspect
import linecache
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import mapper
from mapper import boards, equivalence, events, tuning
from mapper.errors import MapperError, SpecError

PACKAGES = ("mapper", "mapper.events", "mapper.boards", "mapper.equivalence", "mapper.tuning")
# What the package makes, and nobody else has a reason to.
ANSWERS = {
    mapper.ChipConfig, mapper.FeasibilityReport, mapper.Result, mapper.Status,
    boards.Board, boards.BoardInfo, events.EventRaster, events.MonitorEvents,
    equivalence.Accuracy, equivalence.Difference, equivalence.EquivalenceReport, equivalence.EventComparison,
    equivalence.FeatureRates, equivalence.FrameDifference, equivalence.Judgement, equivalence.KnownAnswer,
    equivalence.LayerRates, equivalence.LostIn, equivalence.OutputTrace, equivalence.Sensitivity,
    tuning.Step, tuning.TuneResult, tuning.Tuned,
}  # fmt: skip
# What types are called.
ALIASES = {"Events", "Raster", "TimeUnit"}


def public() -> dict[str, Any]:
    """By name, all that can be called and that users call."""
    found = {}
    for package in PACKAGES:
        module = import_module(package)
        for name in module.__all__:
            entry = getattr(module, name)
            is_error = isinstance(entry, type) and issubclass(entry, Exception)
            if callable(entry) and not is_error and name not in ALIASES and entry not in ANSWERS:
                found[f"{package}.{name}"] = entry
    for owner, names in METHODS.items():
        found |= {f"{owner.__name__}.{name}": vars(owner)[name] for name in names}
    return found


METHODS: Mapping[type, tuple[str, ...]] = {}


def rasters() -> list[Any]:
    draw = np.random.default_rng(0)
    return [draw.integers(0, 2, (3, 2, 6, 6)) for _ in range(4)]


def tiny() -> mapper.Network:
    weight = np.random.default_rng(0).normal(size=(3, 2, 6, 6)).astype(np.float32)
    layer = mapper.Layer("a", mapper.Shape(2, 6, 6), mapper.Convolution(3, (6, 6), weight=weight))
    entry = mapper.Input("input", mapper.Shape(2, 6, 6))
    return mapper.Network("tiny", (entry,), (layer,), (mapper.Edge("input", "a"),), (mapper.Output("a", "a"),))


def right(folder: Path) -> dict[str, dict[str, Any]]:
    """By name, arguments with which everything goes well."""
    net = tiny()
    result = mapper.solve(net)
    config = mapper.build_config(result)
    mapper.write_config(config, folder / "config.json")
    some = np.array([(5, 0, 1, 1), (9, 1, 2, 2)], events.EVENT_DTYPE)
    events.write_events(folder / "some.npy", some)
    raster = rasters()[0]
    events.write_raster(folder / "raster.npy", raster)
    data = equivalence.LabelledData("some", rasters(), np.arange(4) % 3)
    shape, pair = mapper.Shape(2, 6, 6), (3, 3)
    spikes = {"input": some}
    tuned = tuning.Tuned(None, {"depth": np.arange(4)})  # type: ignore[arg-type]  # nobody looks at it
    part = {"a": np.zeros((3, 3, 1, 1), int)}
    array = np.zeros(3, np.float32)
    return {
        "mapper.BatchNorm": {name: array for name in ("mean", "variance", "scale", "shift")} | {"epsilon": 1e-5},
        "mapper.Convolution": {"out_features": 4, "kernel": pair},
        "mapper.DvsSettings": {},
        "mapper.DynapcnnNetwork": {"snn": nn.Sequential(nn.Conv2d(2, 3, 6), nn.ReLU()), "input_shape": (2, 6, 6), "relu_as_if": 1.0},
        "mapper.Edge": {"source": "a", "target": "b"},
        "mapper.EmitOptions": {},
        "mapper.EventOptions": {},
        "mapper.Input": {"name": "a", "shape": shape},
        "mapper.Layer": {"name": "a", "input_shape": shape, "operation": mapper.Convolution(4, pair)},
        "mapper.Linear": {"out_features": 3},
        "mapper.Network": {"name": "a", "inputs": net.inputs, "layers": net.layers, "edges": net.edges, "outputs": net.outputs},
        "mapper.Neuron": {},
        "mapper.NirOptions": {},
        "mapper.NoiseFilter": {},
        "mapper.Output": {"name": "a", "source": "b"},
        "mapper.Pool": {"kind": "sum", "size": pair, "stride": pair},
        "mapper.Shape": {"features": 1, "height": 2, "width": 3},
        "mapper.SolveOptions": {},
        "mapper.TorchOptions": {},
        "mapper.build_config": {"result": result},
        "mapper.check": {"network": net},
        "mapper.diff": {"left": config, "right": net},
        "mapper.extract": {"config": config},
        "mapper.load_chip": {"name": "speck2f"},
        "mapper.load_network": {"source": "digits"},
        "mapper.read_config": {"path": folder / "config.json"},
        "mapper.simulate_config": {"config": config, "inputs": {"input": raster}},
        "mapper.simulate_events": {"config": config, "inputs": spikes},
        "mapper.solve": {"network": net},
        "mapper.verify_equivalence": {"network": net, "steps": 2},
        "mapper.write_config": {"config": config, "path": folder / "written.json"},
        "mapper.events.EventWriter": {"path": folder / "events.npy"},
        "mapper.events.MonitoredLayer": {"parts": [], "shape": (3, 1, 1)},
        "mapper.events.events_from": {"array": some},
        "mapper.events.events_from_dvs": {"dvs_events": []},
        "mapper.events.events_from_raster": {"raster": raster, "dt_us": 1000},
        "mapper.events.events_from_spikes": {"spikes": [], "layers": {}},
        "mapper.events.hot_pixels": {"events": some},
        "mapper.events.is_raster": {"path": folder / "raster.npy"},
        "mapper.events.raster_from_events": {"events": some, "shape": (2, 6, 6), "dt_us": 1000},
        "mapper.events.read_events": {"path": folder / "some.npy"},
        "mapper.events.read_raster": {"path": folder / "raster.npy"},
        "mapper.events.spikes_of": {"events": some, "entries": [], "make_spike": dict},
        "mapper.events.unwrap_timestamps": {"times": np.arange(3)},
        "mapper.events.without_pixels": {"events": some, "pixels": events.hot_pixels(some)},
        "mapper.events.write_events": {"path": folder / "e.npy", "events": some},
        "mapper.events.write_raster": {"path": folder / "r.npy", "raster": raster},
        "mapper.boards.Listening": {},
        "mapper.boards.find_board": {"device": "speck2fmodule:0"},
        "mapper.boards.list_boards": {},
        "mapper.boards.loses_first_event": {"board": None},
        "mapper.boards.open_board": {"device": "speck2fmodule:0", "config": config},
        "mapper.equivalence.DataOptions": {},
        "mapper.equivalence.LabelledData": {"name": "a", "rasters": rasters(), "labels": np.arange(4)},
        "mapper.equivalence.compare_events": {"config": config, "frames": part, "inputs": spikes, "chip": result.chip, "duration_us": 3000},
        "mapper.equivalence.count_ranges": {"config": config, "inputs": spikes, "shapes": {"a": (3, 1, 1)}},
        "mapper.equivalence.first_difference": {"network": part, "chip": part},
        "mapper.equivalence.known_answer": {"config": config, "chip": result.chip},
        "mapper.equivalence.labelled_data": {"dataset": [(rasters()[0], 1)], "shape": (2, 6, 6)},
        "mapper.equivalence.layer_rates": {"floats": part, "integers": part},
        "mapper.equivalence.layer_shapes": {"config": config},
        "mapper.equivalence.read_labelled": {"source": "digits"},
        "mapper.equivalence.sensitivity": {"counts": {"a": np.zeros((4, 3, 1, 1), int)}},
        "mapper.tuning.Harder": {},
        "mapper.tuning.Knobs": {},
        "mapper.tuning.TuneOptions": {},
        "mapper.tuning.answers_by_order": {"result": result, "data": data},
        "mapper.tuning.gains": {"before": tuned, "after": tuned, "labels": np.arange(4)},
        "mapper.tuning.tuned_by": {"network": net, "calibrate": data, "tuning": tuning.TuneOptions(2, time_limit_s=0.05)},
        "mapper.tuning.tuned_network": {"network": result.given[0], "knobs": {}},
        "mapper.tuning.worth": {"network": net, "data": data},
    }  # fmt: skip
