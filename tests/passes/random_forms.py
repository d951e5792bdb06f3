"""Random networks for the choice of forms: sources of every kind, pools of 1 to 16, sums and concatenations."""

from __future__ import annotations

import numpy as np

from mapper.network import DvsSettings, Edge, Input, Output
from mapper.normal_form import NormalLayer, NormalNetwork
from mapper.operations import Convolution, Neuron, Pair, Shape
from tests.builders import conv, weighted
from tests.passes.legal_networks import pooled

__all__ = ["random_forms_network"]

POOLS = (1, 2, 2, 3, 4, 4, 6, 8, 8, 12, 16)


class _Maker:
    """Two layers, "t" and "u", each behind up to three sources."""

    def __init__(self, seed: int) -> None:
        self.draw = np.random.default_rng(seed)
        self.sensor = Input("eye", Shape(2, *self.sizes(12, 40)), DvsSettings())
        self.inputs: list[Input] = []
        self.layers: list[NormalLayer] = []
        self.edges: list[Edge] = []

    def sizes(self, low: int, high: int) -> Pair:
        """(height, width), the same in half of the cases."""
        one, other = (int(n) for n in self.draw.integers(low, high + 1, 2))
        return (one, one) if self.draw.random() < 0.5 else (one, other)

    def source(self, kind: str, seen: Pair, pool: int, name: str) -> str:
        """A signal whose map holds `seen` pools, and mostly some rows and columns more."""
        more = self.draw.integers(0, pool, 2) if self.draw.random() < 0.5 else (0, 0)
        shape = Shape(2, seen[0] * pool + int(more[0]), seen[1] * pool + int(more[1]))
        self.inputs.append(Input(f"in {name}", shape))
        if kind == "host":
            return f"in {name}"
        self.layers.append(NormalLayer(f"of {name}", shape, conv(2, 1), neuron=Neuron(7, -20)))
        self.edges.append(Edge(f"in {name}", f"of {name}"))
        return f"of {name}"

    def target(self, name: str) -> None:
        draw = self.draw
        kinds = list(draw.choice(["sensor", "host", "core"], int(draw.integers(1, 4)), p=[0.4, 0.2, 0.4]))
        kinds = [kind for n, kind in enumerate(kinds) if kind != "sensor" or n == kinds.index("sensor")]
        seen, factor = self.sizes(1, 3), 1
        pool = int(draw.choice(POOLS))
        if "sensor" in kinds:
            height, width = self.sensor.shape[1:]
            pool = min(pool, height, width)
            seen, factor = (height // pool, width // pool), max(1, pool // 4)
        offsets = [2 * n for n in range(len(kinds))] if draw.random() < 0.7 else [0] * len(kinds)
        edges = []
        for n, (kind, offset) in enumerate(zip(kinds, draw.permutation(offsets), strict=True)):
            if kind == "sensor":
                edges.append(Edge("eye", name, pooled(pool) if pool > 1 else (), int(offset)))
                continue
            other = factor * int(draw.choice((1, 2, 4)))
            source = self.source(str(kind), seen, other, f"{name}{n}")
            edges.append(Edge(source, name, pooled(other) if other > 1 else (), int(offset)))
        size = int(draw.integers(1, 4))
        kernel = (size, size) if draw.random() < 0.7 else self.sizes(1, 3)
        padding = (0, 0) if draw.random() < 0.6 else (1, 1)
        kernel = (min(kernel[0], seen[0]), min(kernel[1], seen[1]))
        stride = (1, 1) if draw.random() < 0.7 else self.sizes(1, 2)
        operation = Convolution(3, kernel, stride, padding, has_bias=True)
        self.layers.append(
            NormalLayer(name, Shape(max(offsets) + 2, *seen), operation, neuron=Neuron(7, -20))
        )
        self.edges += edges


def random_forms_network(seed: int) -> NormalNetwork:
    """Integer weights of -8 to 8; the sensor may feed both layers, with different pools."""
    maker = _Maker(seed)
    maker.target("t")
    if seed % 2:
        maker.target("u")
    used = {edge.source for edge in maker.edges}
    inputs = tuple(entry for entry in (maker.sensor, *maker.inputs) if entry.name in used)
    outputs = tuple(Output(f"out {name}", name) for name in ("t", "u")[: 1 + seed % 2])
    network = NormalNetwork("forms", inputs, tuple(maker.layers), tuple(maker.edges), outputs)
    return weighted(network, maker.draw, integer=True)
