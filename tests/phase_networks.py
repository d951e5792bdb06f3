"""Random networks whose first maps are too large for a chip: convolutions, pools, strides, sums, cycles."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from hwspec.catalog import load
from hwspec.schema import ChipSpec
from mapper.network import DvsSettings, Edge, Input, Network, Origin, Output
from mapper.normal_form import NormalLayer, NormalNetwork
from mapper.operations import Convolution, Neuron, Pool, Shape

__all__ = ["SMALL_MAPS", "family", "given_shape", "random_phase_network"]

# Speck 2f with neuron maps of 8x8: the rest of a network then stays small enough for many draws.
SMALL_MAPS: ChipSpec = load(
    "speck2f", ["core[0..8].limits.output_height_max=8", "core[0..8].limits.output_width_max=8"]
)


class _Maker:
    """A network that grows layer by layer from its input on."""

    def __init__(self, seed: int) -> None:
        self.draw = np.random.default_rng(seed)
        height = int(self.draw.choice([8, 12, 15, 16, 17, 20]))
        width = height if self.draw.random() < 0.6 else int(self.draw.choice([6, 8, 11, 16]))
        sensor = DvsSettings() if self.draw.random() < 0.4 else None
        self.input = Input("in", Shape(int(self.draw.integers(1, 3)), height, width), sensor)
        self.layers: list[NormalLayer] = []
        self.edges: list[Edge] = []

    def weights(self, features: int, read: int, kernel: tuple[int, int]) -> Any:
        return self.draw.integers(-9, 14, (features, read, *kernel))

    def neuron(self, shape: Shape) -> Neuron:
        draw = self.draw
        state = draw.integers(-20, 30, shape) if draw.random() < 0.3 else None
        return Neuron(
            int(draw.integers(12, 40)), int(-draw.integers(5, 60)), initial_potential=state,
            reset="zero" if draw.random() < 0.25 else "subtract",
            spike_mode="single" if draw.random() < 0.25 else "multi",
        )  # fmt: skip

    def layer(self, name: str, shape: Shape, incoming: list[tuple[str, int, int, int]]) -> bool:
        """A convolution behind (source, pool, offset, delay) edges; False where its kernel does not fit."""
        draw = self.draw
        kernel = (int(draw.choice([1, 3, 3, 5])),) * 2
        if draw.random() < 0.15:
            kernel = (int(draw.integers(1, 4)), int(draw.integers(1, 4)))
        stride = (int(draw.choice([1, 1, 1, 2])),) * 2
        if draw.random() < 0.1:
            stride = (1, 2)
        padding = tuple(int(draw.choice([0, k // 2, k // 2])) for k in kernel)
        features = int(draw.integers(1, 5))
        bias = draw.integers(-6, 10, features) if draw.random() < 0.4 else None
        conv = Convolution(
            features, kernel, stride, (padding[0], padding[1]), has_bias=bias is not None,
            weight=self.weights(features, shape.features, kernel), bias=bias,
        )  # fmt: skip
        made = NormalLayer(name, shape, conv)
        if min(made.output_shape) < 1:
            return False
        self.layers.append(NormalLayer(name, shape, conv, neuron=self.neuron(made.output_shape)))
        for source, pool, offset, delay in incoming:
            path = (Pool("sum", (pool, pool), (pool, pool)),) if pool > 1 else ()
            self.edges.append(Edge(source, name, path, offset, delay))
        return True

    def grow(self, name: str) -> None:
        """A layer behind one or two of the signals there are, added up or side by side."""
        draw, shapes = self.draw, {"in": self.input.shape}
        shapes |= {layer.name: layer.output_shape for layer in self.layers}
        source = self.layers[-1].name
        pool = int(draw.choice([p for p in (1, 1, 2, 2, 3, 4) if p <= min(shapes[source][1:])]))
        seen = shapes[source].height // pool, shapes[source].width // pool
        incoming, features = [(source, pool, 0, 0)], shapes[source].features
        for other in [layer.name for layer in self.layers[:-1]]:
            size = shapes[other][1:]
            fits = [p for p in (1, 2, 4) if (size[0] // p, size[1] // p) == seen]
            if fits and draw.random() < 0.6:
                summed = shapes[other].features == features and draw.random() < 0.5
                incoming.append((other, fits[0], 0 if summed else features, 0))
                features += 0 if summed else shapes[other].features
        self.layer(name, Shape(features, *seen), incoming)

    def cycle(self) -> None:
        """Sometimes a layer's own spikes come back a step later, added up."""
        for layer in self.layers[:2]:
            made, read = layer.output_shape, layer.input_shape
            if made[1:] == read[1:] and made[0] <= read[0] and self.draw.random() < 0.2:
                self.edges.append(Edge(layer.name, layer.name, (), 0, 1))

    def head(self) -> None:
        """A linear layer over what is left."""
        source = self.layers[-1]
        shape = source.output_shape
        pool = next(p for p in (1, 2, 4, 8, 16) if max(shape[1:]) // p <= 16)
        seen = Shape(shape.features, max(1, shape.height // pool), max(1, shape.width // pool))
        pool = pool if min(shape[1:]) >= pool else 1
        seen = Shape(shape.features, shape.height // pool, shape.width // pool)
        conv = Convolution(3, seen[1:], weight=self.weights(3, seen.features, seen[1:]))
        path = (Pool("sum", (pool, pool), (pool, pool)),) if pool > 1 else ()
        self.layers.append(NormalLayer("head", seen, conv, neuron=Neuron(50, -200)))
        self.edges.append(Edge(source.name, "head", path))


def random_phase_network(seed: int) -> NormalNetwork:
    """Integer networks of two to five layers for `SMALL_MAPS`: most have a map that is too large there."""
    maker = _Maker(seed)
    while not maker.layer("c0", maker.input.shape, [("in", 1, 0, 0)]):
        pass
    for n in range(int(maker.draw.integers(1, 4))):
        maker.grow(f"c{n + 1}")
    maker.cycle()
    maker.head()
    return NormalNetwork(
        f"draw{seed}", (maker.input,), tuple(maker.layers), tuple(maker.edges), (Output("out", "head"),)
    )


def family(seed: int, size: int = 128) -> NormalNetwork:
    """The family of the issue: a first convolution at full size and stride 1, a pool, more layers, a linear head."""
    draw = np.random.default_rng([7, seed])
    features, kernel, first = int(draw.integers(2, 9)), int(draw.choice([1, 3, 5])), int(draw.choice([2, 4]))
    shape = Shape(2, size, size)
    layers: list[NormalLayer] = []
    edges: list[Edge] = []
    source, path, here = "in", 1, shape
    for n in range(int(draw.integers(2, 5))):
        here = Shape(here.features, here.height // path, here.width // path)
        if n:
            kernel, features = int(draw.choice([1, 3])), int(draw.choice([8, 16, 24, 32]))
        stride = 2 if n and here.height > 16 and draw.random() < 0.5 else 1
        weight = draw.integers(-10, 22, (features, here.features, kernel, kernel))
        conv = Convolution(features, (kernel, kernel), (stride, stride), (kernel // 2,) * 2, weight=weight)
        layer = NormalLayer(f"c{n}", here, conv, neuron=Neuron(max(6, kernel**2 * here.features), -900))
        layers.append(layer)
        edges.append(Edge(source, layer.name, (Pool("sum", (path, path), (path, path)),) if path > 1 else ()))
        source, here = layer.name, layer.output_shape
        path = first if n == 0 else (2 if here.height > 16 and draw.random() < 0.5 else 1)
    while here.height // path > 16:
        path *= 2
    seen = Shape(here.features, here.height // path, here.width // path)
    conv = Convolution(10, seen[1:], weight=draw.integers(-5, 8, (10, *seen)))
    layers.append(NormalLayer("fc", seen, conv, neuron=Neuron(max(6, seen.size // 8), -9000)))
    edges.append(Edge(source, "fc", (Pool("sum", (path, path), (path, path)),) if path > 1 else ()))
    entry = Input("in", shape, DvsSettings() if draw.random() < 0.5 else None)
    return NormalNetwork(f"family{seed}", (entry,), tuple(layers), tuple(edges), (Output("out", "fc"),))


def given_shape(spikes: Any, origin: Origin) -> Any:
    """What a layer of a rewritten network did, in the given layer's shape: a second reading, with plain loops."""
    (features, height, width), (a, b) = origin.shape, origin.phases
    rows, columns = min(height, spikes.shape[2] * a), min(width, spikes.shape[3] * b)
    given = np.zeros((len(spikes), features, rows, columns), spikes.dtype)
    for feature, y, x in np.ndindex(features, rows, columns):
        here = origin.start + (y % a * b + x % b) * features + feature
        given[:, feature, y, x] = spikes[:, here, y // a, x // b]
    return given


def too_large(network: Network, chip: ChipSpec) -> Iterator[str]:
    """Layers whose map no core of the chip holds."""
    limits = [core.limits for core in chip.cores]
    for layer in network.layers:
        _, height, width = layer.output_shape
        if not any(height <= e.output_height_max and width <= e.output_width_max for e in limits):
            yield layer.name
