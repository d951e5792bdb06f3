"""Time a complete answer to "why does it not fit": verdict, conflict, correction and three repairs.

    python scripts/bench_why_not.py [--quick]

Random chains of 3x3 convolutions on Speck 2f and on the same chip with 55 more cores like core 0; only
instances that do not fit count. Beside it stands the same answer without repairs.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from benchmark import Row, Spent, median, options_of, stopwatch, tell, timed

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

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


def answers(cores: int, overrides: list[str], wanted: int) -> Row:
    """Complete answers to so many instances."""
    chip, seed = load("speck2f", overrides), 0
    whole, without = list[Spent](), list[Spent]()
    while len(whole) < wanted:
        draw = np.random.default_rng(seed)
        network = random_chain(int(draw.integers(cores // 2, cores + 2)), seed)
        seed += 1
        with stopwatch() as reasons:
            result = mapper.check(network, chip, repairs=0)
        if result.report is not None:
            with stopwatch() as spent:
                mapper.check(network, chip)
            whole.append(spent)
            without.append(reasons)
    return timed(
        f"why not, {cores} cores",
        median(whole),
        beside="without repairs",
        reference=median(without),
        is_checked=True,
        note=f"{wanted} instances, max {max(spent.wall_s for spent in whole):.2f} s",
    )


def rows(*, is_quick: bool) -> list[Row]:
    """The figures."""
    mapper.check("digits", "speck2f")  # imports do not count
    small = answers(9, [], 20)
    return [small] if is_quick else [small, answers(64, ["+core[9..63]=core[0]"], 10)]


def main() -> None:
    """Print one line a figure."""
    options = options_of(__doc__).parse_args()
    tell(rows(is_quick=options.quick), options)


if __name__ == "__main__":
    main()
