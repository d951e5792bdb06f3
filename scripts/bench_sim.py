"""How fast the simulators are: medians, measured in turn, in one run.

    python scripts/bench_sim.py [--quick]

Frame simulator: the nine-layer gesture network, 50 steps at 5 % input density, against the same network's
bare convolutions, and against sinabs' forward pass where sinabs is installed (``.[sinabs]``); all of them
in the memory layout of this simulator, channels last, and on one thread, since two that wait for each other
measure what else the machine does. Event simulator: time of a synaptic operation against that of an addition
with a lower bound, in a compiled loop of 32 bits that only adds the same weights, on one core, with all that
it reads in the caches. Weights are random; thresholds are chosen so that every layer spikes at 2 to 6 %.
"""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numba
import numpy as np
import torch
from benchmark import NOT_INSTALLED, Row, in_turn, options_of, tell, timed

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
STEPS = 50
# Times that a loop of milliseconds or less is run, to be measured warm.
WARM = 10


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


def bare(network: Network, steps: int) -> Callable[[], object]:
    """The convolutions alone, of inputs that lie ready."""
    layers = []
    for layer in network.layers:
        weight = torch.tensor(np.asarray(layer.operation.weight), dtype=torch.float32)
        conv: Any = layer.operation
        frames = (torch.rand(steps, *layer.input_shape) < DENSITY).float()
        frames, weight = (tensor.to(memory_format=torch.channels_last) for tensor in (frames, weight))
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
    whole: Any = torch.nn.Sequential(*modules)
    whole = whole.to(memory_format=torch.channels_last)
    frames = torch.tensor(x, dtype=torch.float32).to(memory_format=torch.channels_last)

    def run() -> Any:
        for module in whole:
            if hasattr(module, "reset_states"):
                module.reset_states()
        with torch.no_grad():
            return whole(frames)

    return run


@numba.njit(cache=True)
def only_adding(runs: Any, potentials: Any, weights: Any, bound: Any) -> None:
    """Add a run of weights for each (place of potentials, place of weights, length), and apply a lower bound.

    32-bit potentials, vector code, nothing else: as fast, but for a few percent, as the same loop in C
    (``gcc -O3 -march=native``) side by side with it.
    """
    for n in range(len(runs)):
        p0, w0, count = runs[n, 0], runs[n, 1], runs[n, 2]
        for k in range(count):
            # Signed indices may count from the end, and sums of 32 bits have 64: either one keeps numba from
            # vector code.
            value = np.int32(potentials[np.uint64(p0 + k)] + weights[np.uint64(w0 + k)])
            potentials[np.uint64(p0 + k)] = max(value, bound)


def added_warm(*given: Any) -> None:
    """`only_adding` again and again: the first time other work has emptied the caches."""
    for _ in range(WARM):
        only_adding(*given)


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


def frame(network: Network, config: ChipConfig, runs: int) -> Iterator[Row]:
    """The frame simulator's ratios, and how it grows."""
    # Once the C library has freed an array of this size, it keeps smaller ones for reuse: whether an
    # allocation meets fresh pages is luck otherwise, and weighs more than the convolutions.
    np.empty(31 << 20, np.uint8)
    name = network.inputs[0].name
    x = spikes(network, STEPS, DENSITY)
    works: dict[str, Callable[[], object]] = {"frame": framed(config, name, x), "bare": bare(network, STEPS)}
    others = {
        f"{title}, {100 * d:g} %": d for d in (0.01, 0.2) for title in [f"simulation, {STEPS} time steps"]
    }
    works |= {title: framed(config, name, spikes(network, STEPS, d)) for title, d in others.items()}
    peer = of_sinabs(network, x)
    if peer is not None:
        works["sinabs"] = peer
        ours, theirs = next(iter(simulate_config(config, {name: x}).outputs.values())), peer()
        if not np.array_equal(ours, np.asarray(theirs)):
            raise SystemExit("sinabs gives other outputs")
    taken = in_turn(works, runs)
    title, beside = f"simulation, {STEPS} time steps", "bare convolutions"
    yield timed(title, taken["frame"], beside=beside, reference=taken["bare"], is_checked=True)
    for other in others:
        yield timed(other, taken[other], beside=beside, reference=taken["bare"], is_checked=True)
    against = f"{title}, against sinabs"
    if peer is None:
        yield Row(against, None, note=f"sinabs: {NOT_INSTALLED}")
    else:
        beside, theirs = "sinabs' forward pass", taken["sinabs"]
        yield timed(
            against, taken["frame"], beside=beside, reference=theirs, is_checked=True, note="same outputs"
        )


def wider(runs: int) -> Iterator[Row]:
    """Three layers of more and more features, against their bare convolutions."""
    for width in (8, 16, 32, 64):
        wide = weighted(chain([conv(width)] * 3, (2, 16, 16)), np.random.default_rng(0), integer=True)
        placed, name = mapper.build_config(mapper.solve(wide, "speck2f")), wide.inputs[0].name
        ours = framed(placed, name, spikes(wide, STEPS, DENSITY))
        taken = in_turn({"ours": ours, "bare": bare(wide, STEPS)}, runs)
        yield timed(
            f"simulation, 3 layers of {width} features",
            taken["ours"],
            beside="bare convolutions",
            reference=taken["bare"],
        )


def longer(network: Network, config: ChipConfig, runs: int) -> Iterator[Row]:
    """Other numbers of steps and densities, against those that are measured first."""
    name, sizes = (
        network.inputs[0].name,
        [(STEPS, DENSITY), (25, DENSITY), (100, DENSITY), (50, 0.001), (50, 0.5)],
    )
    works: dict[str, Callable[[], object]] = {
        f"{steps} time steps at {100 * density:g} %": framed(config, name, spikes(network, steps, density))
        for steps, density in sizes
    }
    taken = in_turn(works, runs)
    first = next(iter(taken))
    for title, spent in list(taken.items())[1:]:
        yield timed(f"simulation, {title}", spent, beside=first, reference=taken[first])


def events(network: Network, config: ChipConfig, runs: int) -> Iterator[Row]:
    """The event simulator's time of a synaptic operation, at growing rates of events."""
    name = network.inputs[0].name
    options = EventOptions(record=())
    for density in (0.001, 0.01, DENSITY, 0.2):
        given = events_from_raster(spikes(network, STEPS, density), 1000)
        done = sum(simulate_events(config, {name: given}, options).synops.values())
        runs_of_weights, tables = rows_of(config, given, name, 200_000)
        potentials, adds = tables.potentials.copy(), int(runs_of_weights[:, 2].sum())
        bound = np.int32(tables.cores[:, CORE["low"]].min())
        # A simulator goes on where it stopped: one for each run, built before.
        ready = iter([EventSimulator(config, options) for _ in range(runs + 1)])
        works: dict[str, Callable[[], object]] = {
            "whole": partial(simulate_events, config, {name: given}, options),
            "event": lambda ready=ready, given=given: next(ready).run({name: given}),  # type: ignore[misc]
            "adding": partial(added_warm, runs_of_weights, potentials, tables.weights, bound),
        }
        taken = in_turn(works, runs)
        adding = taken["adding"].per(adds * WARM)
        for work, title in (("event", "spike by spike"), ("whole", "with the building of its tables")):
            yield timed(
                f"simulation {title}, {100 * density:g} %",
                taken[work].per(done),
                "ns",
                beside="an addition with bound",
                reference=adding,
                is_checked=work == "event",
                note=f"a synaptic operation of {done:.3g}, {len(given)} events",
            )


def threads(network: Network, config: ChipConfig, runs: int) -> Iterator[Row]:
    """A recording on two processors and on one: by the clock, which is what two can shorten."""
    name, options = network.inputs[0].name, EventOptions(record=())
    given = events_from_raster(spikes(network, STEPS, 0.2), 1000)

    def on(count: int) -> Callable[[], object]:
        ready = iter([EventSimulator(config, options) for _ in range(runs + 1)])

        def run() -> None:
            allowed = os.sched_getaffinity(0)
            os.sched_setaffinity(0, sorted(allowed)[:count])
            try:
                next(ready).run({name: given})
            finally:
                os.sched_setaffinity(0, allowed)

        return run

    taken = in_turn({"two": on(2), "one": on(1)}, runs)
    two, one = (taken[name].wall_s * 1e3 for name in ("two", "one"))
    spent = f"{taken['two'].processor_s * 1e3:.3g} and {taken['one'].processor_s * 1e3:.3g}"
    note = f"by the clock; of all processors {spent} ms"
    yield Row("simulation spike by spike, two threads", two, "ms", None, "one thread", one, note=note)


def rows(*, is_quick: bool) -> list[Row]:
    """The figures of both simulators."""
    torch.set_num_threads(1)
    runs = 3 if is_quick else 7
    result = mapper.solve(calibrated(), "speck2f")
    network, config = result.networks[0], mapper.build_config(result)
    found = [*frame(network, config, runs), *events(network, config, 3), *threads(network, config, runs)]
    if not is_quick:
        found += [*longer(network, config, 3), *wider(runs)]
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return [*found, Row("simulation, peak memory", peak_mb, "MB")]


def main() -> None:
    """Print one line a figure."""
    options = options_of(__doc__).parse_args()
    tell(rows(is_quick=options.quick), options)


if __name__ == "__main__":
    main()
