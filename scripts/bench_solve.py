"""Times of placing, side by side in one run: medians and ratios.

    python scripts/bench_solve.py [--runs 15]

1. `mapper.solve` on the nine-layer DVS gesture network, from `Network` to verified `Result`;
2. a chain of 1,000 layers on a 1,024-core variant of four core classes, and 5,000 on 5,120;
3. the command line as a whole process against an interpreter that only imports OR-Tools and NIR;
4. sinabs' own matching on the gesture network, where sinabs' mapping can be imported.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import mapper
from hwspec.schema import ChipSpec
from mapper.network import Edge, Input, Layer, Network, Output
from mapper.operations import Convolution, Shape
from tests.builders import gesture


def median_ms(job: Callable[[], object], runs: int) -> float:
    """Median wall-clock milliseconds; one run is not counted."""
    job()
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        job()
        times.append((time.perf_counter() - start) * 1e3)
    return statistics.median(times)


def large_chip(cores: int) -> ChipSpec:
    """Speck 2f grown to this many cores, a quarter of each memory class."""
    quarter = cores // 4
    changes = [f"+core[9..{cores - 1}]=core[8]", "core[0..1].parallel=false"]
    for n, (kernel, neuron) in enumerate(((16, 64), (32, 32), (64, 16), (16, 16))):
        span = f"core[{n * quarter}..{(n + 1) * quarter - 1}]"
        changes += [f"{span}.kernel_words={kernel}Ki", f"{span}.neuron_words={neuron}Ki"]
    return mapper.load_chip("speck2f", changes)


def long_chain(count: int) -> Network:
    """A chain whose layers want, in turn, much neuron memory, much kernel memory, and little."""
    layers, edges, source, features = [], [], "input", 2
    for n in range(count):
        wanted = (16, 64, 8, 64)[n % 4]
        layer = Layer(f"conv{n}", Shape(features, 16, 16), Convolution(wanted, (3, 3), padding=(1, 1)))
        layers.append(layer)
        edges.append(Edge(source, layer.name))
        source, features = layer.name, wanted
    inputs = (Input("input", Shape(2, 16, 16)),)
    return Network(f"chain of {count}", inputs, tuple(layers), tuple(edges), (Output("out", source),))


def require(network: Network, chip: ChipSpec) -> None:
    """Solve, verify, and insist on a proven optimum."""
    result = mapper.solve(network, chip=chip)
    if result.status is not mapper.Status.OPTIMAL:
        raise SystemExit(f"{network.name}: {result.status}")


def process(words: list[str]) -> Callable[[], object]:
    """A whole process of this interpreter."""
    return lambda: subprocess.run([sys.executable, *words], check=True, capture_output=True)


def sinabs_ms(runs: int) -> float | None:
    """Sinabs' matching with the same demands and cores; None where it cannot be imported."""
    try:
        from sinabs.backend.dynapcnn.mapping import get_valid_mapping  # noqa: PLC0415
    except ImportError:
        return None
    network, chip = gesture(), mapper.load_chip("speck2f")
    from mapper.demand import layer_demands, shortfalls  # noqa: PLC0415

    fits = [
        [n for n, core in enumerate(chip.cores) if not shortfalls(demand, core, chip)]
        for demand in layer_demands(network, 0, None)
    ]
    return median_ms(lambda: get_valid_mapping(fits), runs)


def main() -> None:
    """Print one line a figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=15)
    runs = parser.parse_args().runs
    chip = mapper.load_chip("speck2f")
    network = gesture()
    ours = median_ms(lambda: require(network, chip), runs)
    print(f"gesture network, 9 layers on 9 cores, verified: {ours:8.2f} ms")
    for layers, cores in ((1000, 1024), (5000, 5120)):
        large, many = long_chain(layers), large_chip(cores)
        took = median_ms(partial(require, large, many), max(runs // 3, 3))
        print(f"{layers} layers on {cores} cores, verified:    {took:8.1f} ms")
    shell = median_ms(process(["-m", "mapper", "solve", "digits"]), max(runs // 2, 3))
    imports = median_ms(process(["-c", "import ortools.sat.python.cp_model, nir"]), max(runs // 2, 3))
    print(f"python -m mapper solve digits, whole process: {shell:8.0f} ms")
    print(f"importing OR-Tools and NIR alone:             {imports:8.0f} ms   ratio {shell / imports:.2f}")
    peer = sinabs_ms(runs)
    if peer is None:
        print("sinabs' matching: not measured, its mapping cannot be imported here")
    else:
        print(f"sinabs' matching alone, same network:         {peer:8.2f} ms   ratio {ours / peer:.2f}")


if __name__ == "__main__":
    main()
