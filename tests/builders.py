"""Small networks and chips for tests."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, TypeVar

import numpy as np

from hwspec.catalog import load
from hwspec.schema import ChipSpec
from mapper.network import DvsSettings, Edge, Input, Layer, Network, Output
from mapper.normal_form import NormalLayer, NormalNetwork
from mapper.operations import Convolution, Neuron, PathOperation, Pool, Shape, shape_after
from mapper.options import PLAIN

AnyNetwork = TypeVar("AnyNetwork", bound=Network)

# Whole layers as given, one per core: what pieces, copies, relays and rewrites are compared with.
UNDIVIDED: dict[str, Any] = dict(PLAIN)


def pool(size: int) -> tuple[PathOperation, ...]:
    return (Pool("sum", (size, size), (size, size)),) if size > 1 else ()


def chain(
    convolutions: Sequence[Convolution],
    shape: tuple[int, int, int] = (2, 16, 16),
    pools: Sequence[int] = (),
    *,
    dvs: bool = False,
    name: str = "chain",
    input_path: tuple[PathOperation, ...] = (),
) -> NormalNetwork:
    """Layers conv0, conv1, ... one after the other; `pools[n]` follows layer n."""
    layers: list[NormalLayer] = []
    edges: list[Edge] = []
    source, here, path = "input", Shape(*shape), input_path
    for n, convolution in enumerate(convolutions):
        here = shape_after(here, path)
        layer = NormalLayer(f"conv{n}", here, convolution)
        layers.append(layer)
        edges.append(Edge(source, layer.name, path))
        source, here = layer.name, layer.output_shape
        path = pool(pools[n]) if n < len(pools) else ()
    entry = Input("input", Shape(*shape), DvsSettings() if dvs else None)
    return NormalNetwork(name, (entry,), tuple(layers), tuple(edges), (Output("out", source),))


def as_read(network: Network) -> Network:
    """The network by the plain type, which need not stay in normal form."""
    fields = (network.inputs, network.layers, network.edges, network.outputs, network.notes)
    return Network(network.name, *fields)


def conv(features: int = 4, kernel: int = 3, **more: object) -> Convolution:
    padding = more.pop("padding", (kernel // 2, kernel // 2))
    return Convolution(features, (kernel, kernel), padding=padding, **more)  # type: ignore[arg-type]  # test helper


def gesture() -> NormalNetwork:
    """The nine-layer DVS gesture network: fills Speck 2f."""
    kinds = [
        conv(16, 2, stride=(2, 2), padding=(0, 0)),
        conv(16),
        conv(32),
        conv(32),
        conv(64),
        conv(64),
        conv(16, 1),
        Convolution(256, (4, 4)),
        Convolution(11, (1, 1)),
    ]
    return chain(kinds, (2, 128, 128), (1, 2, 2, 2, 2), dvs=True, name="gesture")


def tiny_chip(*cores: tuple[int, int, int], overrides: Sequence[str] = ()) -> ChipSpec:
    """A chip of cores (kernel, neuron, bias words) with the limits of Speck 2f."""
    return _tiny_chip(cores, tuple(overrides))


# Enumerations ask for the same chips again and again.
@cache
def _tiny_chip(cores: tuple[tuple[int, int, int], ...], overrides: tuple[str, ...]) -> ChipSpec:
    changes = []
    for n, (kernel, neuron, bias) in enumerate(cores):
        if n < 9:
            changes += [f"core[{n}].parallel=false"]
        changes += [f"core[{n}].kernel_words={kernel}", f"core[{n}].neuron_words={neuron}"]
        changes += [f"core[{n}].bias_words={bias}"]
    grow = [f"+core[9..{len(cores) - 1}]=core[8]"] if len(cores) > 9 else []
    shrink = [f"-core[{len(cores)}..8]"] if len(cores) < 9 else []
    return load("speck2f", [*grow, *shrink, *changes, *overrides])


def weighted(network: AnyNetwork, generator: np.random.Generator, *, integer: bool = False) -> AnyNetwork:
    """The network with random dyadic weights, exact in single precision, or small integers."""
    layers = []
    for layer in network.layers:
        operation = layer.operation
        shape: tuple[int, ...] = (operation.out_features, layer.input_shape.features)
        if isinstance(operation, Convolution):
            shape = (shape[0], shape[1] // operation.groups, *operation.kernel)
        values = generator.integers(-8, 9, shape)
        bias = generator.integers(-3, 4, shape[0]) if operation.has_bias else None
        if not integer:
            values = (values / 16).astype(np.float32)
            bias = None if bias is None else (bias / 16).astype(np.float32)
        fields = {**{f: getattr(operation, f) for f in operation.__slots__}, "weight": values, "bias": bias}
        neuron = layer.neuron
        if integer:
            neuron = Neuron(7, -20)
        layers.append(Layer(layer.name, layer.input_shape, type(operation)(**fields), layer.between, neuron))
    return network.replacing(layers=tuple(layers))
