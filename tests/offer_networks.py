"""Networks whose layers read the same sums or concatenations, and siblings: residual, dense, inception-like."""

from __future__ import annotations

from typing import Any

import numpy as np

from hwspec.catalog import load
from hwspec.schema import ChipSpec
from mapper.network import Edge, Input, Layer, Network, Output
from mapper.operations import Convolution, Neuron, Pool, Shape

__all__ = ["UNIT", "dense", "inception", "residual", "roomy"]

# Weights and thresholds of trained networks are no integers: of these each layer has a scale of its own.
UNIT = 0.013


class _Draft:
    """Layers that read what earlier ones send, added up or side by side."""

    def __init__(self, seed: int, size: int, *, floats: bool) -> None:
        self.draw, self.size, self.unit = np.random.default_rng(seed), size, UNIT if floats else 1
        self.layers: list[Layer] = []
        self.edges: list[Edge] = []
        self.features = {"in": 2}

    def add(
        self,
        name: str,
        features: int,
        reads: list[str],
        kernel: int = 3,
        *,
        joined: bool = False,
        pool: int = 1,
    ) -> str:
        path = (Pool("sum", (pool, pool), (pool, pool)),) if pool > 1 else ()
        offset = 0
        for source in reads:
            self.edges.append(Edge(source, name, path, offset if joined else 0))
            offset += self.features[source]
        width = offset if joined else self.features[reads[0]]
        weight: Any = self.unit * self.draw.integers(-8, 12, (features, width, kernel, kernel))
        half = kernel // 2
        conv = Convolution(features, (kernel, kernel), padding=(half, half), weight=weight)
        neuron = Neuron(40 * self.unit, -40 * self.unit)
        size = self.size // pool
        self.layers.append(Layer(name, Shape(width, size, size), conv, neuron=neuron))
        self.features[name] = features
        return name

    def network(self, name: str) -> Network:
        inputs = (Input("in", Shape(2, self.size, self.size)),)
        return Network(name, inputs, tuple(self.layers), tuple(self.edges), (Output("out", "head"),))


def residual(seed: int, blocks: int, *, floats: bool = False, features: int = 0, size: int = 0) -> Network:
    """Blocks of one convolution that read the sum of all before them."""
    draw = np.random.default_rng([seed, blocks])
    features = features or int(draw.integers(4, 9))
    draft = _Draft(seed, size or int(draw.choice([16, 24, 32])), floats=floats)
    terms = [draft.add("stem", features, ["in"])]
    for n in range(blocks):
        terms.append(draft.add(f"block{n}", features, terms))
    draft.add("head", 10, terms, 1, pool=2)
    return draft.network("residual")


def dense(seed: int, layers: int, *, floats: bool = False) -> Network:
    """Layers that read all before them side by side."""
    draw = np.random.default_rng([seed, layers])
    features, draft = int(draw.integers(2, 7)), _Draft(seed, 16, floats=floats)
    terms = [draft.add("stem", features, ["in"])]
    for n in range(layers):
        terms.append(draft.add(f"dense{n}", features, terms, joined=True))
    draft.add("head", 10, terms, 1, joined=True, pool=2)
    return draft.network("dense")


def inception(seed: int, modules: int, *, floats: bool = False, size: int = 0) -> Network:
    """Modules of three convolutions of different kernels, side by side."""
    draw = np.random.default_rng([seed, modules])
    draft = _Draft(seed, size or int(draw.choice([16, 32])), floats=floats)
    reads = [draft.add("stem", int(draw.integers(4, 9)), ["in"])]
    for n in range(modules):
        reads = [
            draft.add(f"m{n}k{kernel}", int(draw.integers(2, 9)), reads, kernel, joined=True)
            for kernel in (1, 3, 5)
        ]
    draft.add("head", 10, reads, 1, joined=True, pool=4)
    return draft.network("inception")


def roomy(cores: int, *more: str) -> ChipSpec:
    """So many cores that are alike and hold any of these layers whole."""
    even = ["core[0..8].neuron_words=64Ki", "core[0..8].kernel_words=64Ki", "core[0..8].parallel=false"]
    return load("speck2f", [*even, *([f"+core[9..{cores - 1}]=core[3]"] if cores > 9 else []), *more])
