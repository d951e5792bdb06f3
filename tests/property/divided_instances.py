"""Random small networks, chips and options on which pieces, copies and relays matter."""

from __future__ import annotations

from functools import cache
from typing import TypeVar

import numpy as np

from hwspec.schema import ChipSpec
from mapper.normal_form import NormalNetwork
from mapper.operations import Convolution
from mapper.options import SolveOptions
from tests.builders import conv, tiny_chip
from tests.graphs import Link, graph

__all__ = ["random_divided_instance"]

T = TypeVar("T")


def _pick(generator: np.random.Generator, *choices: T) -> T:
    return choices[int(generator.integers(len(choices)))]


def _chance(generator: np.random.Generator, share: float) -> bool:
    return bool(generator.random() < share)


@cache
def random_divided_instance(seed: int) -> tuple[tuple[NormalNetwork], ChipSpec, SolveOptions]:
    """One network, a chip of 4 to 6 cores sized after it, and options; of up to 10 cores where relays align.

    About a third can be placed plainly, a third only in parts, and a third not at all.
    """
    generator = np.random.default_rng(seed)
    share = generator.random()
    if share < 0.1:
        return _wide_star(generator)
    if share < 0.22:
        return _aligned_star(generator)
    network = _network(generator)
    chip = _chip(generator, network)
    return (network,), chip, _options(generator, network, chip)


def _wide_star(generator: np.random.Generator) -> tuple[tuple[NormalNetwork], ChipSpec, SolveOptions]:
    """A wide layer that no core holds whole, nor a relay of it: its pieces' fan-outs and copies decide."""
    wide, bound = int(generator.integers(20, 60)), _pick(generator, 16, 24, 32)
    readers = int(generator.integers(1, 3))
    links = [Link(-1, 0), *(Link(0, n + 1) for n in range(readers))]
    if _chance(generator, 0.4):
        links.append(Link(0, 1, 1, _pick(generator, 0, wide)))
    network = graph(
        [conv(wide), *[conv(4)] * readers], links, (1, 8, 8), [(n + 1, 1) for n in range(readers)]
    )
    small = (16 * 16, 1024, 64)
    cores = [small if _chance(generator, 0.4) else (16384, 65536, 64) for _ in range(6)]
    slots = [f"core[{n}].fan_out={generator.integers(1, 4)}" for n in range(6)]
    chip = tiny_chip(*cores, overrides=[f"limits.output_features_max={bound}", *slots])
    return (network,), chip, SolveOptions(max_copies=_pick(generator, 1, 2, None))


def _aligned_star(generator: np.random.Generator) -> tuple[tuple[NormalNetwork], ChipSpec, SolveOptions]:
    """A layer with more readers than slots that no core relays whole, at least unpooled."""
    wide, readers = int(generator.integers(9, 40)), _pick(generator, 2, 3, 3)
    links, front = [Link(-1, 0)], 0
    if _chance(generator, 0.3):
        # Every piece of the wide layer takes a slot in front: a copy costs more of them.
        links.append(Link(0, 1))
        front = 1
    for n in range(front + 1, front + 1 + readers):
        links.append(Link(front, n, _pick(generator, *[1] * 7, 2, 2, 8)))
    if _chance(generator, 0.15 if readers > 2 else 0.8):
        twice = links[-1]
        links.append(Link(front, twice.target, twice.pooling, _pick(generator, 0, wide)))
    loop = _chance(generator, 0.1)
    if loop:
        links.append(Link(front, front))
    ends = [(n, 1) for n in range(front + 1, front + 1 + readers)]
    shown = _chance(generator, 0.15)
    if shown:
        ends.append((front, _pick(generator, 1, 2, 4)))
    # Readers of one tap: what keeps a relay out of a core does not keep them out.
    ones = [conv(_pick(generator, 1, 2, 4), 1) for _ in range(readers)]
    network = graph([conv(2)] * front + [conv(wide, 1 if loop else 3)] + ones, links, (1, 16, 16), ends)
    chip = _narrow_chip(generator, wide)
    most = front + readers
    options = SolveOptions(
        pins=((f"conv{most}", 0),) if _chance(generator, 0.05) else (),
        forbidden_cores=(int(generator.integers(1, 6)),) if _chance(generator, 0.1) else (),
        max_pieces=_pick(generator, 2, 3) if _chance(generator, 0.2) else None,
        relays=not _chance(generator, 0.08),
        max_copies=_pick(generator, 1, 1, 1, None),
        pooled_outputs="relay" if shown and _chance(generator, 0.5) else "host",
        traffic=tuple((entry, 10) for entry in network.signal_shapes),
    )
    return (network,), chip, options


def _narrow_chip(generator: np.random.Generator, wide: int) -> ChipSpec:
    """Up to 10 cores on which features, neuron memory or kernel memory keep a relay of the wide layer out."""
    count, kernel, neuron = _pick(generator, 8, 9, 9, 9, 10), 16384, 65536
    what = _pick(generator, "features", "neuron", "kernel")
    overrides = [f"routing.fan_out={_pick(generator, 1, *[2] * 8, 3)}"]
    if what == "features":
        overrides.append(f"limits.output_features_max={int(wide * _pick(generator, 0.4, 0.5, 0.6, 0.7)) + 1}")
    elif what == "neuron":
        # Pooled by 2, the whole signal takes a quarter of the words.
        neuron = int(wide * 256 * _pick(generator, 0.36, 0.55, 0.7, 0.8)) + 256
    else:
        kernel = wide * _power(wide) - 1
    cores = [(kernel, neuron, 64)] * count
    for n in range(count):
        # Some cores hold less of a relay than of the layer, some less of either.
        if _chance(generator, 0.3):
            cores[n] = (_pick(generator, 8 * _power(wide), (wide // 2) ** 2), neuron, 64)
        elif _chance(generator, 0.1):
            cores[n] = (kernel, max(256, neuron // 2), 64)
    if _chance(generator, 0.3):
        overrides += [f"core[{n}].fan_out={_pick(generator, 1, 2, 2, 3)}" for n in range(count)]
    if _chance(generator, 0.2):
        overrides.append("routing.poolings=[1, 2]")
    if _chance(generator, 0.1):
        overrides.append(f"monitor.cores_max={generator.integers(3, 6)}")
    if _chance(generator, 0.15):
        # A relay counts all spikes of its signal, 10 a second, for each of its features.
        slow = int(generator.integers(count))
        overrides.append(f"core[{slow}].synops_per_second={5 * wide}")
    return tiny_chip(*cores, overrides=overrides)


def _network(generator: np.random.Generator) -> NormalNetwork:
    """A chain or a graph with sums, concatenations and, at times, a cycle."""
    dvs, is_graph, is_fan = _chance(generator, 0.25), _chance(generator, 0.6), _chance(generator, 0.3)
    count = _pick(generator, 3, 3, 4) if is_fan else _pick(generator, 2, 3, 3, 4, 4)
    size, features = _pick(generator, 8, 16, 16, 20, 32), int(generator.integers(1, 3 if dvs else 9))
    # The sensor pools once for all its readers, and host events cannot be pooled but by a relay.
    entry_pool = _pick(generator, 1, 2) if dvs else _pick(generator, *[1] * 15, 2, 4)
    sizes, widths = [size], [features]
    convolutions: list[Convolution] = []
    links: list[Link] = []
    for n in range(count):
        source = n - 1 if not is_graph or _chance(generator, 0.5) else int(generator.integers(-1, n))
        source = min(n - 1, 0) if is_fan else source
        pools = [p for p in (1, 1, 1, 2, 2, 4, 8) if p <= sizes[source + 1]]
        pooling = entry_pool if source < 0 else _pick(generator, *pools)
        here, reach = sizes[source + 1] // pooling, widths[source + 1]
        links.append(Link(source, n, pooling))
        for other in range(-1, n if is_graph else -1):
            ratio = sizes[other + 1] // here
            allowed = entry_pool == ratio if other < 0 else ratio in (1, 2, 4, 8)
            if other != source and allowed and sizes[other + 1] // ratio == here and _chance(generator, 0.5):
                offset = reach if _chance(generator, 0.3) else 0
                links.append(Link(other, n, ratio, offset))
                reach = max(reach, offset + widths[other + 1])
        convolutions.append(_convolution(generator, here, late=n >= count - 2))
        sizes.append(1 if convolutions[-1].padding == (0, 0) and here > 1 else here)
        widths.append(convolutions[-1].out_features)
    if _chance(generator, 0.15):
        target = int(generator.integers(count))
        first = next(link for link in links if link.target == target)
        if sizes[count] == sizes[first.source + 1] // first.pooling:
            links.append(Link(count - 1, target))
    return graph(convolutions, links, (features, size, size), _outputs(generator, links, sizes), dvs=dvs)


def _convolution(generator: np.random.Generator, size: int, *, late: bool) -> Convolution:
    features = _pick(generator, 1, 3, 4, 7, 8, 12, 16, 24, 33, 48)
    has_bias = _chance(generator, 0.3)
    if late and 1 < size <= 16 and _chance(generator, 0.3):
        return conv(features, size, padding=(0, 0), has_bias=has_bias)
    return Convolution(features, (3, 3), padding=(1, 1), has_bias=has_bias)


def _outputs(generator: np.random.Generator, links: list[Link], sizes: list[int]) -> list[tuple[int, int]]:
    """Layers that nobody reads, at times pooled; at times one more."""
    count = len(sizes) - 1
    unread = [n for n in range(count) if not any(link.source == n for link in links)] or [count - 1]
    if _chance(generator, 0.15):
        unread.append(int(generator.integers(count)))
    return [(n, _pick(generator, 1, 1, *(p for p in (2, 4, 8) if p <= sizes[n + 1]))) for n in unread]


def _chip(generator: np.random.Generator, network: NormalNetwork) -> ChipSpec:
    """Kinds of cores around what single layers need, some too small and some with other fan-out."""
    needs = []
    for layer in network.layers:
        features, height, width = layer.output_shape
        operation = layer.operation
        assert isinstance(operation, Convolution)
        taps = operation.kernel[0] * operation.kernel[1]
        kernel = layer.input_shape.features * _power(taps) * _power(features)
        needs.append((kernel, features * _power(height) * _power(width), features))
    largest = np.max(needs, axis=0)
    # Many readers are a matter of slots: there, cores are less often too small as well.
    factors = (
        (1, 2)
        if _spread(network) and _chance(generator, 0.5)
        else _pick(generator, (1, 2, 2), (0.5, 1, 1), (0.5, 1, 1))
    )
    kinds = []
    for kind in range(2 + _chance(generator, 0.5)):
        base = np.where(
            generator.random(3) < (0.7 if kind else 1.0), largest, needs[int(generator.integers(len(needs)))]
        )
        scaled = [float(b) * _pick(generator, *factors) for b in base]
        kinds.append((max(1, int(scaled[0])), max(1, int(scaled[1])), max(1, int(scaled[2] * 2))))
    count = _pick(generator, 4, 5, *[6] * 6)
    cores = sorted(_pick(generator, *kinds) for _ in range(count))
    usual = _pick(generator, 1, 1, 1, *[2] * 7, 3, 3)
    overrides = [f"routing.fan_out={usual}"]
    if _chance(generator, 0.4):
        overrides += [f"core[{n}].fan_out={generator.integers(1, 4)}" for n in range(count)]
    if _chance(generator, 0.2):
        overrides.append("routing.poolings=[1, 2]")
    if _chance(generator, 0.15):
        overrides.append(f"limits.output_features_max={_pick(generator, 16, 24, 32)}")
    if _chance(generator, 0.15):
        overrides.append(f"monitor.cores_max={generator.integers(1, 3)}")
    if _chance(generator, 0.2):
        overrides.append(f"input.fan_out={generator.integers(1, 4)}")
    if _chance(generator, 0.05):
        overrides.append(f"core[{generator.integers(count)}].synops_per_second={generator.integers(1, 400)}")
    return tiny_chip(*cores, overrides=overrides)


def _spread(network: NormalNetwork) -> bool:
    """Whether some layer has more readers than most cores have slots."""
    return any(len(network.outgoing[layer.name]) > 2 for layer in network.layers)


def _power(number: int) -> int:
    return 1 << (number - 1).bit_length()


def _options(generator: np.random.Generator, network: NormalNetwork, chip: ChipSpec) -> SolveOptions:
    count, cores = len(network.layers), chip.core_count
    layer, core = f"conv{generator.integers(count)}", int(generator.integers(cores))
    readable = [layer.name for layer in network.layers if layer.output_shape[1:] == (1, 1)]
    watched = tuple(sorted({f"conv{generator.integers(count)}" for _ in range(2)}))
    return SolveOptions(
        pins=((layer, core),) if _chance(generator, 0.06) else (),
        forbidden_cores=((core + 1) % cores,) if _chance(generator, 0.1) else (),
        monitors=watched if _chance(generator, 0.2) else None,
        readout=_pick(generator, *readable) if readable and _chance(generator, 0.6) else None,
        max_pieces=_pick(generator, 1, 2, 2, 3) if _chance(generator, 0.2) else None,
        relays=not _chance(generator, 0.4 if _spread(network) else 0.1),
        max_copies=1 if _chance(generator, 0.15) else None,
        pooled_outputs="relay" if _chance(generator, 0.3) else "host",
        traffic=tuple((entry, 10) for entry in network.signal_shapes),
    )
