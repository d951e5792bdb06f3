"""Faulty configurations against the right one, by simulation alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from mapper.emit.shared.config import ChipConfig
from mapper.errors import ConfigError
from mapper.events import events_from_raster
from mapper.sim.config_frame import simulate_config
from mapper.sim.event import EventOptions, simulate_events
from mapper.sim.stages import sensor_events
from tests.emit.faults import IN_NETWORK, ONLY_IN_CONFIG, sample

DENSITY = 0.2
DT_US = 1000

Seen = dict[str, Any] | None


def in_steps(config: ChipConfig, raster: Any) -> Seen:
    """Spikes of every layer in time steps; None if the simulator refuses."""
    try:
        made = simulate_config(config, {"input": raster}).layers
    except ConfigError:
        return None
    return {name: spikes.tolist() for name, spikes in made.items()}


def by_spikes(config: ChipConfig, events: Any) -> Seen:
    """Spikes of every layer one by one, from the sensor's own events; None if the simulator refuses."""
    options = EventOptions(tick_us=float(DT_US), sensor_view="raw")
    try:
        made = simulate_events(config, {"input": events}, options).layers
    except ConfigError:
        return None
    return {name: spikes.tolist() for name, spikes in made.items()}


def coverage(seeds: int, lengths: tuple[int, ...]) -> dict[str, dict[str, list[int]]]:
    """By fault and semantics ("steps", "spikes"), how many random inputs of each length find it."""
    right = sample()
    stage, interface = right.hardware.dvs_layer, right.interface
    if stage is None or interface is None:
        raise ValueError("the sample has a sensor stage and an interface")
    faults = {name: fault for name, (fault, _) in {**IN_NETWORK, **ONLY_IN_CONFIG}.items()}
    found = {name: {"steps": [0] * len(lengths), "spikes": [0] * len(lengths)} for name in faults}
    runs: dict[str, Callable[[ChipConfig, Any], Seen]] = {"steps": in_steps, "spikes": by_spikes}
    for seed in range(seeds):
        for n, length in enumerate(lengths):
            draw = np.random.default_rng([seed, length])
            raster = (draw.random((length, *interface.inputs[0].shape)) < DENSITY).astype(np.uint8)
            inputs = {"steps": raster, "spikes": sensor_events(events_from_raster(raster, DT_US), stage)}
            for kind, run in runs.items():
                expected = run(right, inputs[kind])
                for name, fault in faults.items():
                    found[name][kind][n] += run(fault(right), inputs[kind]) != expected
    return found
