"""Time a complete answer to "why does it not fit": verdict, conflict, correction and three repairs.

Random chains of 3x3 convolutions on Speck 2f and on the same chip with 55 more cores like core 0; only
instances that do not fit count. Prints median and maximum over `--instances` of each.
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np

import mapper
from hwspec.catalog import load
from mapper.network import Edge, Input, Layer, Network, Output
from mapper.operations import Convolution, Shape

FEATURES = (8, 16, 16, 24, 32, 64)


def random_chain(layers: int, seed: int) -> Network:
    """Convolutions that keep a map of 32x32."""
    draw = np.random.default_rng(seed)
    made, edges, source, shape = [], [], "input", Shape(2, 32, 32)
    for n in range(layers):
        layer = Layer(f"conv{n}", shape, Convolution(int(draw.choice(FEATURES)), (3, 3), padding=(1, 1)))
        made.append(layer)
        edges.append(Edge(source, layer.name))
        source, shape = layer.name, layer.output_shape
    entry = Input("input", Shape(2, 32, 32))
    return Network("chain", (entry,), tuple(made), tuple(edges), (Output("out", source),))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--instances", type=int, default=20)
    wanted = parser.parse_args().instances
    mapper.check("digits", "speck2f")  # imports do not count
    for cores, overrides in ((9, []), (64, ["+core[9..63]=core[0]"])):
        chip, seed = load("speck2f", overrides), 0
        times: list[float] = []
        while len(times) < wanted:
            draw = np.random.default_rng(seed)
            network = random_chain(int(draw.integers(cores // 2, cores + 2)), seed)
            start = time.perf_counter()
            result = mapper.check(network, chip)
            seconds = time.perf_counter() - start
            seed += 1
            if result.report is not None:
                times.append(seconds)
        print(f"{cores} cores: median {statistics.median(times):.3f} s, maximum {max(times):.3f} s")


if __name__ == "__main__":
    main()
