"""Which faults of a configuration simulation alone finds, by length of a random input.

One fault is injected in every kind of field of a configuration with a sensor stage, biases, initial
potentials and kill bits. The faulty and the right configuration run on the same random spikes (20 % of
pixels a step); a fault is found where any layer spikes otherwise, or where the simulator refuses.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from mapper.emit.config import ChipConfig  # noqa: E402
from mapper.errors import ConfigError  # noqa: E402
from mapper.events import events_from_raster  # noqa: E402
from mapper.sim.config_frame import simulate_config  # noqa: E402
from mapper.sim.event import EventOptions, simulate_events  # noqa: E402
from mapper.sim.stages import sensor_events  # noqa: E402
from tests.emit.faults import IN_NETWORK, ONLY_IN_CONFIG, sample  # noqa: E402

LENGTHS = (1, 4, 16, 64)
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


def coverage(seeds: int, lengths: tuple[int, ...] = LENGTHS) -> dict[str, dict[str, list[int]]]:
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


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10, help="random inputs of each length")
    seeds = parser.parse_args().seeds
    table = coverage(seeds)
    heads = "".join(f"{length:>7}" for length in LENGTHS)
    print(f"{'fault':20}  in steps:{heads}   by spikes:{heads}")
    for name, kinds in table.items():
        shares = {
            kind: "".join(f"{100 * count / seeds:6.0f}%" for count in row) for kind, row in kinds.items()
        }
        print(f"{name:20}           {shares['steps']}              {shares['spikes']}")
    always = sum(seeds in (kinds["steps"][-1], kinds["spikes"][-1]) for kinds in table.values())
    print(f"{always} of {len(table)} kinds are found by every input of {LENGTHS[-1]} steps")


if __name__ == "__main__":
    main()
