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
from mapper.emit.config import ChipConfig  # noqa: E402
from mapper.events import events_from_raster  # noqa: E402
from mapper.network import Network  # noqa: E402
from mapper.operations import Neuron  # noqa: E402
from mapper.sim.config_frame import simulate_config  # noqa: E402
from mapper.sim.event import EventOptions, EventSimulator, simulate_events  # noqa: E402
from mapper.sim.network import simulate  # noqa: E402
from tests.builders import gesture, weighted  # noqa: E402

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
def only_adding(rows: Any, potentials: Any, weights: Any) -> None:
    """Add a row of weights for each (place of potentials, place of weights, length)."""
    for n in range(len(rows)):
        p0, w0, count = rows[n, 0], rows[n, 1], rows[n, 2]
        for k in range(count):
            potentials[p0 + k] += weights[w0 + k]


def rows_of(config: ChipConfig, events: Any, name: str, limit: int) -> Any:
    """The rows of weights that the first spikes of a run add, for `only_adding`."""
    simulator = EventSimulator(config)
    result = simulator.run({name: events})
    tables = simulator.tables
    made: list[tuple[int, int, int]] = []
    arriving = [(0, tuple(e)) for e in events.tolist()]
    for link in simulator.graph.links:
        layer = next(n for n, p in simulator.places.items() if p[0][0] == link.source)
        source = tables.index[link.target]
        for t, p, y, x in result.layers[layer].tolist():
            arriving.append((source, (t, p, y // link.pooling, x // link.pooling)))
    first = tables.index[simulator.graph.entries[name][0][0].core]
    for number, (_, f, y, x) in arriving[:limit]:
        row = tables.cores[first if number == 0 and len(made) < len(events) else number]
        height, width, features, kernel = row[4], row[5], row[3], row[6]
        for ky in range(kernel):
            for kx in range(kernel):
                oy, ox = (y + row[9] - ky) / row[7], (x + row[10] - kx) / row[8]
                if oy == int(oy) and ox == int(ox) and 0 <= oy < height and 0 <= ox < width:
                    place = row[15] + (int(oy) * width + int(ox)) * features
                    made.append((place, row[14] + ((f * kernel + ky) * kernel + kx) * features, features))
    return np.array(made, np.int64), tables


def frame(network: Network, config: ChipConfig, runs: int) -> None:
    """Print the frame simulator's ratios, and how it grows."""
    name = network.inputs[0].name
    x = spikes(network, 50, DENSITY)
    works: dict[str, Callable[[], object]] = {
        "frame": lambda: simulate_config(config, {name: x}, record=()),
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
        given = spikes(network, steps, density)
        one = medians({"f": lambda given=given: simulate_config(config, {name: given}, record=())}, 3)["f"]  # type: ignore[misc]  # bound now
        print(f"  {steps} steps at {100 * density:g} %: {one:.4f} s")


def events(network: Network, config: ChipConfig, runs: int) -> None:
    """Print the event simulator's synaptic operations per second."""
    name = network.inputs[0].name
    options = EventOptions(record=())
    for density in (0.001, 0.01, 0.05):
        given = events_from_raster(spikes(network, 50, density), 1000)
        done = sum(simulate_events(config, {name: given}, options).synops.values())
        rows, tables = rows_of(config, given, name, 200_000)
        potentials, adds = tables.potentials.copy(), int(rows[:, 2].sum())
        works: dict[str, Callable[[], object]] = {
            "event": lambda given=given: simulate_events(config, {name: given}, options),  # type: ignore[misc]
            "adding": lambda r=rows, p=potentials, w=tables.weights: only_adding(r, p, w),  # type: ignore[misc]
        }
        taken = medians(works, runs)
        ours, peer = done / taken["event"], adds / taken["adding"]
        print(
            f"event simulator, {100 * density:g} %: {len(given)} events, {done:.3g} SynOps,",
            f"{ours:.3g} per second;",
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
