"""Joint relays and fused siblings: the optimum is that of every network written out by hand.

`MAPPER_INSTANCES` says how many instances.
"""

from __future__ import annotations

import os
from collections import Counter

import numpy as np
import pytest

import mapper
from hwspec.catalog import load
from hwspec.schema import ChipSpec
from mapper.network import DvsSettings, Edge, Input, Layer, Network, Output
from mapper.operations import Convolution, Neuron, Pool, Shape
from mapper.options import SolveOptions
from tests.property.offer_variants import variants

INSTANCES = int(os.environ.get("MAPPER_INSTANCES", "24"))
_SIZE = 8


def chip_of(draw: np.random.Generator) -> ChipSpec:
    """Few cores, alike or not, some of them small."""
    count = int(draw.integers(4, 10))
    words = [int(draw.choice([256, 512, 1024])) for _ in range(9)]
    changes = [f"core[{n}].neuron_words={words[n]}" for n in range(9)]
    changes += [f"core[{n}].kernel_words={int(draw.choice([256, 1024, 4096]))}" for n in range(9)]
    return load("speck2f", [*changes, *(f"-core[{n}]" for n in range(8, count - 1, -1))])


def network_of(draw: np.random.Generator, dvs: DvsSettings | None = None) -> Network:
    """Layers of one size of map that add or join what earlier ones send, and often read the same.

    A sensor feeds any of them, the host one.
    """
    features = int(draw.integers(1, 5))
    shared: list[tuple[bool, tuple[str, ...]]] = []
    layers: list[Layer] = []
    edges: list[Edge] = []
    sizes = {"in": 1}

    def add(name: str, sources: list[tuple[str, int]], *, joined: bool, kernel: int, features: int) -> None:
        offset = 0
        for source, pool in sources:
            path = (Pool("sum", (pool, pool), (pool, pool)),) if pool > 1 else ()
            edges.append(Edge(source, name, path, offset if joined else 0))
            offset += sizes[source]
        width = offset if joined else max(sizes[source] for source, _ in sources)
        size = _SIZE // sources[0][1]
        operation = Convolution(features, (kernel, kernel), padding=(kernel // 2, kernel // 2))
        layers.append(Layer(name, Shape(width, size, size), operation, neuron=Neuron(1.0, -1.0)))
        sizes[name] = features

    add("a0", [("in", 1)], joined=False, kernel=1, features=features)
    for n in range(1, int(draw.integers(3, 6))):
        known = [*(["in"] if dvs else []), *(layer.name for layer in layers)]
        again = bool(shared) and draw.random() < 0.6
        if again:
            joined, own = shared[int(draw.integers(len(shared)))]
        else:
            own = tuple(map(str, draw.permutation(known)[: int(draw.integers(1, len(known) + 1))]))
            joined = bool(draw.integers(2))
            shared.append((joined, own))
        add(f"a{n}", [(s, 1) for s in own], joined=joined, kernel=int(draw.choice([1, 3])), features=features)
    pool = int(draw.choice([1, 2]))
    known = [layer.name for layer in layers]
    count = int(draw.integers(1, min(4, len(known)) + 1))
    last = sorted(map(str, draw.permutation(known)[:count]))
    add("end", [(s, pool) for s in last], joined=bool(draw.integers(2)), kernel=1, features=2)
    read = {edge.source for edge in edges}
    outputs = tuple(Output(f"o{n}", e.name) for n, e in enumerate(e for e in layers if e.name not in read))
    return Network("drawn", (Input("in", Shape(1, _SIZE, _SIZE), dvs),), tuple(layers), tuple(edges), outputs)


def cost(network: Network, chip: ChipSpec, *, offers: bool = True) -> tuple[int, ...]:
    wishes = SolveOptions(repairs=0, joint=offers, fusion=offers)
    result = mapper.solve(network, chip, options=wishes)
    if result.solution is None:
        assert result.status == "infeasible"
        return ()
    assert result.status == "optimal"
    return tuple(int(stage.value) for stage in result.solution.objectives)


def least(network: Network, chip: ChipSpec) -> tuple[tuple[int, ...], int]:
    """The best of all variants, and how many there are."""
    costs = [cost(variant, chip, offers=False) for variant in variants(network)]
    return min((entry for entry in costs if entry), default=()), len(costs)


@pytest.mark.no_cover
@pytest.mark.parametrize("block", range(4))
def test_no_network_written_out_by_hand_is_better(block: int) -> None:
    seen: Counter[str] = Counter()
    for seed in range(block * INSTANCES // 4, (block + 1) * INSTANCES // 4):
        draw = np.random.default_rng(seed)
        network, chip = network_of(draw, DvsSettings() if seed % 3 == 2 else None), chip_of(draw)
        if sum(1 for _, _ in zip(variants(network), range(120), strict=False)) == 120:
            continue
        best, count = least(network, chip)
        assert cost(network, chip) == best, seed
        plain = cost(network, chip, offers=False)
        seen.update(more=count > 1, fits=bool(best), better=best != plain)
    assert min(seen["more"], seen["fits"]) > 0
