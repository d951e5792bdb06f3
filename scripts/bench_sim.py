"""How fast the simulators are: ratios of medians, measured in turn, in one run.

Frame simulator: the nine-layer gesture network, 50 steps at 5 % input density, against the same network's
bare convolutions, and against sinabs' forward pass where sinabs is installed (``.[sinabs]``). Event
simulator: synaptic operations per second against a compiled loop that only adds the same weights.
Weights are random; thresholds are chosen so that every layer spikes at a rate of 2 to 6 %.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numba
import numpy as np
import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import mapper  # noqa: E402
from mapper.emit.shared.config import ChipConfig  # noqa: E402
from mapper.events import events_from_raster  # noqa: E402
from mapper.network import Network  # noqa: E402
from mapper.operations import Neuron  # noqa: E402
from mapper.sim.config_frame import simulate_config  # noqa: E402
from mapper.sim.event import EventOptions, EventSimulator, simulate_events  # noqa: E402
from mapper.sim.event_kernel import CORE  # noqa: E402
from mapper.sim.network import simulate  # noqa: E402
from tests.builders import chain, conv, gesture, weighted  # noqa: E402

DENSITY = 0.05


def calibrated() -> Network:
    """The gesture network with thresholds at which every layer spikes at a few percent."""
    draw = np.random.default_rng(0)
    network = weighted(gesture(), draw, integer=True)
    x = {network.inputs[0].name: spikes(network, 6, DENSITY)}
    for n in range(len(network.layers)):
        low, high = 1, 30_000
        while low < high:
            middle = (low + high) // 2
            layers = list(network.layers)
            layers[n] = replace(layers[n], neuron=Neuron(middle, -middle))
            network = network.replacing(layers=tuple(layers))
            rate = simulate(network, x).spikes[layers[n].name].mean()
            low, high = (middle + 1, high) if rate > DENSITY else (low, middle)
        print(f"{network.layers[n].name}: threshold {low}, {100 * rate:.1f} % spikes", file=sys.stderr)
    return network


def spikes(network: Network, steps: int, density: float) -> Any:
    """Independent random spikes."""
    draw = np.random.default_rng(1)
    return (draw.random((steps, *network.inputs[0].shape)) < density).astype(np.uint8)


def medians(works: dict[str, Callable[[], object]], runs: int) -> dict[str, float]:
    """Median seconds of each, run in turn; the first run of each does not count."""
    taken: dict[str, list[float]] = {name: [] for name in works}
    for n in range(runs + 1):
        for name, work in works.items():
            start = time.perf_counter()
            work()
            if n:
                taken[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in taken.items()}


def bare(network: Network, steps: int) -> Callable[[], object]:
    """The convolutions alone, of inputs that lie ready."""
    layers = []
    for layer in network.layers:
        weight = torch.tensor(np.asarray(layer.operation.weight), dtype=torch.float32)
        conv: Any = layer.operation
        frames = (torch.rand(steps, *layer.input_shape) < DENSITY).float()
        layers.append((frames, weight, conv.stride, conv.padding))

    def run() -> None:
        with torch.no_grad():
            for frames, weight, stride, padding in layers:
                torch.nn.functional.conv2d(frames, weight, None, stride, padding)

    return run


def of_sinabs(network: Network, x: Any) -> Callable[[], object] | None:
    """Sinabs' layers with the same weights, or None where it is not installed."""
    if find_spec("sinabs") is None:
        return None
    from sinabs.layers import IAFSqueeze, SumPool2d  # noqa: PLC0415

    modules: list[torch.nn.Module] = []
    for layer in network.layers:
        edge = network.incoming[layer.name][0]
        if edge.pool:
            modules.append(SumPool2d(edge.pool.size))
        conv: Any = layer.operation
        made = torch.nn.Conv2d(
            layer.input_shape.features, conv.out_features, conv.kernel, conv.stride, conv.padding, bias=False
        )
        made.weight.data = torch.tensor(np.asarray(conv.weight), dtype=torch.float32)
        neuron: Any = layer.neuron
        low, high = float(neuron.minimum), float(neuron.threshold)
        modules += [made, IAFSqueeze(batch_size=1, spike_threshold=high, min_v_mem=low)]
    whole: Any
    whole, frames = torch.nn.Sequential(*modules), torch.tensor(x, dtype=torch.float32)

    def run() -> Any:
        for module in whole:
            if hasattr(module, "reset_states"):
                module.reset_states()
        with torch.no_grad():
            return whole(frames)

    return run


@numba.njit(cache=True)
def only_adding(runs: Any, potentials: Any, weights: Any) -> None:
    """Add a run of weights for each (place of potentials, place of weights, length)."""
    for n in range(len(runs)):
        p0, w0, count = runs[n, 0], runs[n, 1], runs[n, 2]
        for k in range(count):
            # Signed indices may count from the end, which keeps numba from vector code.
            potentials[np.uint64(p0 + k)] += weights[np.uint64(w0 + k)]


def rows_of(config: ChipConfig, events: Any, name: str, limit: int) -> Any:
    """The runs of weights that the first arrivals add, for `only_adding`: events in order, then by core."""
    simulator = EventSimulator(config)
    graph, tables = simulator.graph, simulator.tables
    # Events numbered by their times tell which one caused a spike.
    numbered = events.copy()
    numbered["t"] = np.arange(len(events))
    result = simulator.run({name: numbered})
    arriving = [
        (tables.index[entry.core], numbered, 1, entry.feature_shift) for entry in graph.entries[name][0]
    ]
    for link in graph.links:
        layer = next(n for n, p in simulator.places.items() if p[0][0] == link.source)
        target = tables.index[link.target]
        arriving.append((target, result.layers[layer], link.pooling, link.feature_shift))
    every = [
        (t, number, p + shift, y // pool, x // pool)
        for number, spikes, pool, shift in arriving
        for t, p, y, x in spikes.tolist()
    ]
    made: list[tuple[int, int, int]] = []
    for _, number, f, y, x in sorted(every, key=lambda one: one[:2])[:limit]:
        core = dict(zip(CORE, tables.cores[number].tolist(), strict=True))
        features, kernel, width = core["features"], core["kernel"], core["width"]
        (row, tap_y, rows), (column, tap_x, columns) = (tables.spans[number, n, (y, x)[n]] for n in (0, 1))
        for step in range(rows):
            place = core["potentials"] + ((row + step) * width + column) * features
            tap = ((f * kernel + tap_y + step) * kernel + tap_x) * features
            made.append((place, core["weights"] + tap, columns * features))
    return np.array(made, np.int64), tables


def framed(config: ChipConfig, name: str, x: Any) -> Callable[[], object]:
    """The frame simulator on an input, ready to run."""
    return lambda: simulate_config(config, {name: x}, record=())


def frame(network: Network, config: ChipConfig, runs: int) -> None:
    """Print the frame simulator's ratios, and how it grows."""
    # Once the C library has freed an array of this size, it keeps smaller ones for reuse: whether an
    # allocation meets fresh pages is luck otherwise, and weighs more than the convolutions.
    np.empty(31 << 20, np.uint8)
    name = network.inputs[0].name
    x = spikes(network, 50, DENSITY)
    works: dict[str, Callable[[], object]] = {
        "frame": framed(config, name, x),
        "bare": bare(network, 50),
    }
    peer = of_sinabs(network, x)
    if peer is not None:
        works["sinabs"] = peer
        ours, theirs = next(iter(simulate_config(config, {name: x}).outputs.values())), peer()
        print("same outputs as sinabs:", bool(np.array_equal(ours, np.asarray(theirs))))
    taken = medians(works, runs)
    print(f"frame simulator, 50 steps: {taken['frame']:.4f} s; bare convolutions {taken['bare']:.4f} s,")
    print(f"  {taken['frame'] / taken['bare']:.2f} times as long as these")
    if "sinabs" in taken:
        print(f"  sinabs {taken['sinabs']:.4f} s; {taken['frame'] / taken['sinabs']:.2f} of its time")
    for steps, density in ((25, DENSITY), (50, DENSITY), (100, DENSITY), (50, 0.001), (50, 0.5)):
        one = medians({"f": framed(config, name, spikes(network, steps, density))}, 3)["f"]
        print(f"  {steps} steps at {100 * density:g} %: {one:.4f} s")
    for width in (8, 16, 32, 64):
        wide = weighted(chain([conv(width)] * 3, (2, 16, 16)), np.random.default_rng(0), integer=True)
        placed, name = mapper.build_config(mapper.solve(wide, "speck2f")), wide.inputs[0].name
        works = {"f": framed(placed, name, spikes(wide, 50, DENSITY)), "b": bare(wide, 50)}
        taken = medians(works, runs)
        print(
            f"  3 layers of {width} features: {taken['f']:.4f} s; {taken['f'] / taken['b']:.2f} of bare ones"
        )


def events(network: Network, config: ChipConfig, runs: int) -> None:
    """Print the event simulator's synaptic operations per second, at growing rates of events."""
    name = network.inputs[0].name
    options = EventOptions(record=())
    for density in (0.001, 0.01, DENSITY, 0.2):
        given = events_from_raster(spikes(network, 50, density), 1000)
        done = sum(simulate_events(config, {name: given}, options).synops.values())
        rows, tables = rows_of(config, given, name, 200_000)
        potentials, adds = tables.potentials.copy(), int(rows[:, 2].sum())
        # A simulator goes on where it stopped: one for each run, built before.
        ready = iter([EventSimulator(config, options) for _ in range(runs + 1)])
        works: dict[str, Callable[[], object]] = {
            "whole": lambda given=given: simulate_events(config, {name: given}, options),  # type: ignore[misc]
            "event": lambda ready=ready, given=given: next(ready).run({name: given}),  # type: ignore[misc]
            "adding": lambda r=rows, p=potentials, w=tables.weights: only_adding(r, p, w),  # type: ignore[misc]
        }
        taken = medians(works, runs)
        ours, peer = done / taken["event"], adds / taken["adding"]
        print(
            f"event simulator, {100 * density:g} %: {len(given)} events, {done:.3g} SynOps,",
            f"{ours:.3g} per second, {done / taken['whole']:.3g} with the building of its tables;",
        )
        print(f"  {ours / peer:.2f} of a loop that only adds ({peer:.3g} per second)")


def main() -> None:
    """Calibrate, then measure both simulators."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=7)
    options = parser.parse_args()
    result = mapper.solve(calibrated(), "speck2f")
    network, config = result.networks[0], mapper.build_config(result)
    frame(network, config, options.runs)
    events(network, config, min(options.runs, 3))
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


if __name__ == "__main__":
    main()
