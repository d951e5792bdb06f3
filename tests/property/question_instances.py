"""Random questions in which pools of up to 8, sensors, several networks and every relay occur, on small chips."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import TypeVar

import numpy as np

from hwspec.schema import ChipSpec
from mapper.errors import NetworkError
from mapper.network import DvsSettings, Edge, Input, Output
from mapper.normal_form import NormalLayer, NormalNetwork
from mapper.operations import Convolution, Pool, Shape, shape_after
from mapper.options import SolveOptions
from tests.builders import conv, pool, tiny_chip

__all__ = ["random_question_instance"]

T = TypeVar("T")
Instance = tuple[tuple[NormalNetwork, ...], ChipSpec, SolveOptions]


def _pick(draw: np.random.Generator, *choices: T) -> T:
    return choices[int(draw.integers(len(choices)))]


def _chance(draw: np.random.Generator, share: float) -> bool:
    return bool(draw.random() < share)


@cache
def random_question_instance(seed: int) -> Instance:
    """One to three tiny networks on a chip of three to six cores sized after them, and options."""
    draw = np.random.default_rng(seed)
    theme = draw.random()
    if theme < 0.15:
        return _wide(draw)
    if theme < 0.22:
        return _hub(draw)
    if theme < 0.3:
        network = _residual(draw)
        chip = _chip(draw, (network,))
        return (network,), chip, _options(draw, (network,), chip)
    count = _pick(draw, 1, 1, 1, 2, 2, 3)
    sensing, size = _chance(draw, 0.5), _pick(draw, 16, 16, 32)
    sensor = Shape(_pick(draw, 1, 2, 2), size, size)
    networks = tuple(
        _network(draw, f"n{n}", sensor if sensing and _chance(draw, 0.8) else None, most=(4, 2, 2)[count - 1])
        for n in range(count)
    )
    chip = _chip(draw, networks)
    return networks, chip, _options(draw, networks, chip)


def _wide(draw: np.random.Generator) -> Instance:
    """A layer that no core holds or passes on whole, read once or twice, or shown, pooled."""
    shape, features, side = Shape(2, 16, 16), _pick(draw, 6, 8, 12), _pick(draw, 1, 2)
    layers, edges = [NormalLayer("l0", shape, conv(features))], [Edge("in", "l0")]
    for n in range(1, int(draw.integers(1, 4))):
        path = pool(_pick(draw, side, 2, 8))
        seen = shape_after(layers[0].output_shape, path)
        layers.append(NormalLayer(f"l{n}", seen, conv(_pick(draw, 1, 2), _pick(draw, 1, 3))))
        edges.append(Edge("l0", f"l{n}", path))
    outputs = [Output(layer.name, layer.name) for layer in layers[1:]]
    if len(layers) == 1 or _chance(draw, 0.2):
        outputs.append(Output("o", "l0", pool(_pick(draw, 2, 4))))
    network = NormalNetwork("wide", (Input("in", shape),), tuple(layers), tuple(edges), tuple(outputs))
    large, taps = (4096, 16384, 16), _power(features) * 2 * 16
    small = _pick(draw, (taps // 2, 16384, 16), (4096, 256 * -(-features // 2), 16), (64, 16384, 16))
    most = _pick(draw, features - 1, -(-features * 2 // 3), features // 2)
    cores = sorted(_pick(draw, large, small) for _ in range(6))
    slots = [f"core[{n}].fan_out={draw.integers(1, 4)}" for n in range(6)]
    if _chance(draw, 0.15):
        slots.append(f"monitor.cores_max={draw.integers(1, 4)}")
    chip = tiny_chip(*cores, overrides=[f"limits.output_features_max={most}", *slots])
    return (network,), chip, replace(_options(draw, (network,), chip), pooled_outputs="relay")


def _residual(draw: np.random.Generator) -> NormalNetwork:
    """A layer that reads another one and, behind its features, the sensor."""
    shape, features = Shape(2, 16, 16), _pick(draw, 2, 4)
    first, second = (_pick(draw, 1, 2, 4, 8) for _ in range(2))
    seen = shape_after(shape, pool(first))
    layers = [NormalLayer("l0", seen, conv(features, _pick(draw, 1, 3)))]
    both = shape_after(seen, pool(second)) if second <= seen.height else seen
    size = shape.height // both.height
    layers.append(
        NormalLayer("l1", both._replace(features=features + 2), conv(4, _pick(draw, 1, 2, 3), padding=(1, 1)))
    )
    edges = [
        Edge("in", "l0", pool(first)),
        Edge("l0", "l1", pool(size // first)),
        Edge("in", "l1", pool(size), features),
    ]
    return NormalNetwork(
        "residual", (Input("in", shape, DvsSettings()),), tuple(layers), tuple(edges), (Output("o", "l1"),)
    )


def _hub(draw: np.random.Generator) -> Instance:
    """A small layer with more readers than most cores have destinations."""
    shape = Shape(2, 8, 8)
    layers, edges = [NormalLayer("l0", shape, conv(_pick(draw, 1, 2, 4), 1))], [Edge("in", "l0")]
    for n in range(1, int(draw.integers(3, 5))):
        path = pool(_pick(draw, 1, 1, 2, 8))
        layers.append(NormalLayer(f"l{n}", shape_after(layers[0].output_shape, path), conv(2, 1)))
        edges.append(Edge("l0", f"l{n}", path))
    outputs = tuple(Output(layer.name, layer.name) for layer in layers[1:])
    network = NormalNetwork("hub", (Input("in", shape),), tuple(layers), tuple(edges), outputs)
    kinds = (1024, 1024, 16), (1024, 1024, 16), (_pick(draw, 8, 16), 256, 16)
    chip = tiny_chip(
        *sorted(_pick(draw, *kinds) for _ in range(min(6, len(layers) + int(draw.integers(1, 3))))),
        overrides=[f"routing.fan_out={_pick(draw, 1, 2, 2)}", f"core[0].fan_out={_pick(draw, 1, 2, 3)}"],
    )
    return (network,), chip, replace(_options(draw, (network,), chip), relays=_chance(draw, 0.6))


def _network(draw: np.random.Generator, name: str, sensor: Shape | None, most: int) -> NormalNetwork:
    """Layers that read one another or the input, pooled, added up and side by side."""
    while True:
        try:
            return _attempt(draw, name, sensor, int(draw.integers(1, most + 1)))
        except (NetworkError, ValueError):
            continue


def _attempt(draw: np.random.Generator, name: str, sensor: Shape | None, count: int) -> NormalNetwork:
    shape = sensor or Shape(int(draw.integers(1, 5)), *[_pick(draw, 8, 16, 16)] * 2)
    shapes, edges, layers = {"in": shape}, [], []
    is_star = _chance(draw, 0.3)
    for n in range(count):
        layer = f"l{n}"
        names = list(shapes)
        source = "in" if n == 0 or (sensor and _chance(draw, 0.2)) else names[1 if is_star else -1]
        edge = Edge(source, layer, _path(draw, source, sensor is not None))
        seen = shape_after(shapes[source], edge.path)
        edges.append(edge)
        if _chance(draw, 0.45 if sensor else 0.25):
            edges += _beside(draw, edge, seen, shapes)
        taken = max(e.feature_offset + shapes[e.source].features for e in edges if e.target == layer)
        layers.append(NormalLayer(layer, seen._replace(features=taken), _convolution(draw, seen)))
        shapes[layer] = layers[-1].output_shape
    return NormalNetwork(
        name,
        (Input("in", shape, DvsSettings() if sensor else None),),
        tuple(layers),
        tuple(edges),
        _outputs(draw, layers, edges),
    )


def _path(draw: np.random.Generator, source: str, sensed: bool) -> tuple[Pool, ...]:
    """The pool of an edge; the host's events are seldom pooled."""
    if source == "in" and not sensed:
        size = _pick(draw, *[1] * 6, 2, 4, 8)
    else:
        size = _pick(draw, 1, 1, 1, 2, 2, 4, 8, 8)
    if source != "in" and _chance(draw, 0.06):
        size, hop = _pick(draw, (3, 2), (4, 2), (2, 1))
        return (Pool("sum", (size, size), (hop, hop)),)
    return pool(size)  # type: ignore[return-value]  # pools alone


def _beside(draw: np.random.Generator, edge: Edge, seen: Shape, shapes: dict[str, Shape]) -> list[Edge]:
    """A further edge into a layer, of the same map, added to the first or behind its features."""
    fitting = [
        (source, ratio)
        for source, shape in shapes.items()
        for ratio in (1, 2, 4, 8)
        if (shape.height // ratio, shape.width // ratio) == seen[1:]
    ]
    if not fitting:
        return []
    # Seldom the same signal twice, which takes a relay wherever it is the sensor's.
    others = [entry for entry in fitting if entry[0] != edge.source]
    sensed = [entry for entry in others if entry[0] == "in" and _chance(draw, 0.7)]
    source, ratio = _pick(draw, *(sensed or (others if others and _chance(draw, 0.8) else fitting)))
    offset = _pick(draw, 0, seen.features, seen.features)
    return [Edge(source, edge.target, pool(ratio), offset)]


def _convolution(draw: np.random.Generator, seen: Shape) -> Convolution:
    features, has_bias = _pick(draw, 1, 2, 2, 4, 6, 8, 12), _chance(draw, 0.2)
    if seen.height in (2, 4) and _chance(draw, 0.4):
        return conv(features, seen.height, padding=(0, 0), has_bias=has_bias)
    if seen.height > 3 and _chance(draw, 0.08):
        # Neither square nor, where one output makes it irrelevant, of a stride that the chip has.
        kernels = _pick(draw, (1, 2), (2, 1), (1, 3), (3, 2), (2, seen.width))
        return Convolution(features, kernels, stride=_pick(draw, (1, 1), (2, 2), (2, 3)), padding=(0, 0))
    kernel = _pick(draw, 1, 1, 2, 3)
    stride = _pick(draw, *[1] * 7, 2) if seen.height > 3 else 1
    padding = kernel // 2 if kernel == 3 else 0
    return conv(features, kernel, padding=(padding, padding), stride=(stride, stride), has_bias=has_bias)


def _outputs(
    draw: np.random.Generator, layers: Sequence[NormalLayer], edges: Sequence[Edge]
) -> tuple[Output, ...]:
    """Layers that nobody reads, at times pooled; at times one more."""
    unread = [layer for layer in layers if all(edge.source != layer.name for edge in edges)]
    if _chance(draw, 0.15):
        unread.append(_pick(draw, *layers))
    outputs = []
    for n, layer in enumerate(unread):
        sizes = [size for size in (1, 1, 1, 1, 2, 4, 8) if size <= layer.output_shape.height]
        outputs.append(Output(f"o{n}", layer.name, pool(_pick(draw, *sizes))))
    return tuple(outputs)


def _power(number: int) -> int:
    return 1 << (number - 1).bit_length()


def _need(draw: np.random.Generator, layer: NormalLayer, pools: Sequence[int]) -> tuple[int, int, int]:
    """Words of a layer with a part of its pools in its kernel."""
    operation, (features, height, width) = layer.operation, layer.output_shape
    assert isinstance(operation, Convolution)
    factor = _pick(draw, *(n for n in (1, 2, 4, 8) if all(size % n == 0 for size in pools)))
    taps = _power(operation.kernel[0] * operation.kernel[1] * factor * factor)
    return (
        layer.input_shape.features * taps * _power(features),
        features * _power(height) * _power(width),
        features if operation.has_bias else 0,
    )


def _chip(draw: np.random.Generator, networks: Sequence[NormalNetwork]) -> ChipSpec:
    """Cores around what layers need, as they are or with their pools in their kernels, and what relays need."""
    needs = []
    for network in networks:
        for layer in network.layers:
            pools = [edge.pool.size[0] if edge.pool else 1 for edge in network.incoming[layer.name]]
            needs.append(_need(draw, layer, pools))
        for features, height, width in network.signal_shapes.values():
            level, passed = _pick(draw, 1, 2, 4), _pick(draw, features, -(-features // 2))
            rows, columns = max(1, height // level), max(1, width // level)
            needs.append((features * _power(passed), passed * _power(rows) * _power(columns), 0))
    layers = sum(len(network.layers) for network in networks)
    count = min(6, max(3, layers + _pick(draw, 0, 1, 2, 2, 3, 3)))
    share = _pick(draw, 0.5, 0.8, 0.95)
    largest = tuple(max(column) for column in zip(*needs, strict=True))
    kinds = []
    for _ in range(int(draw.integers(1, 4))):
        base = [
            most if _chance(draw, share) else one
            for most, one in zip(largest, _pick(draw, *needs), strict=True)
        ]
        kinds.append(tuple(max(1, int(words * _pick(draw, 0.5, 1, 1, 1, 1, 2, 2))) for words in base))
    cores = sorted(
        (*kinds[: count - 1], *(_pick(draw, *kinds) for _ in range(count - min(len(kinds), count - 1))))
    )
    overrides = [
        f"routing.fan_out={_pick(draw, 1, 1, 2, 2, 3, 4)}",
        f"input.fan_out={_pick(draw, 1, 1, 2, 2, 3)}",
    ]
    if _chance(draw, 0.3):
        overrides += [f"core[{n}].fan_out={draw.integers(1, 5)}" for n in range(count)]
    if _chance(draw, 0.2):
        overrides.append("limits.kernel_square=false")
    if _chance(draw, 0.15):
        overrides.append("routing.poolings=[1, 2]")
    if _chance(draw, 0.15):
        overrides.append(f"limits.output_features_max={_pick(draw, 1, 2, 4, 6)}")
    if _chance(draw, 0.2):
        overrides.append(f"monitor.cores_max={draw.integers(1, 4)}")
    if _chance(draw, 0.12):
        slow = draw.choice(count, int(draw.integers(1, count + 1)), replace=False)
        overrides += [f"core[{n}].synops_per_second={int(10 ** draw.uniform(1.5, 4))}" for n in sorted(slow)]
    # One core may be unlike the others in what it can express: then some forms suit some cores alone.
    apart = np.random.default_rng(sum(map(sum, cores)))
    if _chance(apart, 0.1):
        core, limit = apart.integers(count), _pick(apart, "kernel_size_max=4", "strides=[1, 2]")
        overrides += [f"core[{core}].limits.padding_max=1", f"core[{core}].limits.{limit}"]
    return tiny_chip(*cores, overrides=overrides)  # type: ignore[arg-type]  # triples by construction


def _options(draw: np.random.Generator, networks: Sequence[NormalNetwork], chip: ChipSpec) -> SolveOptions:
    def key(network: NormalNetwork, name: str) -> str:
        return name if len(networks) == 1 else f"{network.name}:{name}"

    signals = [key(network, name) for network in networks for name in network.signal_shapes]
    layers = [key(network, layer.name) for network in networks for layer in network.layers]
    core = int(draw.integers(chip.core_count))
    return SolveOptions(
        pins=((_pick(draw, *layers), core),) if _chance(draw, 0.05) else (),
        forbidden_cores=((core + 1) % chip.core_count,) if _chance(draw, 0.06) else (),
        monitors=(_pick(draw, *layers),) if _chance(draw, 0.08) else None,
        max_pieces=_pick(draw, 1, 2, 3) if _chance(draw, 0.2) else None,
        relays=not _chance(draw, 0.1),
        max_copies=1 if _chance(draw, 0.3) else 2,
        pooled_outputs="relay" if _chance(draw, 0.5) else "host",
        traffic=tuple((signal, int(draw.integers(1, 20))) for signal in signals),
        repairs=0,
    )
