"""How a layer behind pools may be written for a chip: which part of them its kernel takes up.

A pool of size P and stride S before taps w is, with a pool of K that stays on the way, a convolution whose
tap i reaches the K-blocks ``i * S / K .. i * S / K + P / K - 1``. Whether that is exact at the borders is
found out by listing, for every output, which row reaches it through which tap.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product

from hwspec.schema import ChipSpec
from mapper.network import Edge, Layer, Network
from mapper.operations import Convolution, Pool

__all__ = ["Form", "forms_of", "pool_of", "stages_of"]


@dataclass(frozen=True)
class Form:
    """A layer as it stands on the chip, and the edges that it then reads, with what is left of their pools."""

    layer: Layer
    edges: tuple[Edge, ...]


def pool_of(path: Sequence[object]) -> tuple[int, int]:
    """(size, stride) of the pool of a path, which is a square; ones without."""
    pools = [step for step in path if isinstance(step, Pool)]
    assert len(pools) == len(path) <= 1
    for pool in pools:
        assert pool.size[0] == pool.size[1]
        assert pool.stride[0] == pool.stride[1]
        return pool.size[0], pool.stride[0]
    return 1, 1


def sensors_of(network: Network) -> set[str]:
    """Inputs that the sensor stage feeds."""
    return {entry.name for entry in network.inputs if entry.dvs is not None}


def stages_of(networks: Sequence[Network], chip: ChipSpec) -> list[int | None]:
    """Pools of the sensor stage that all layers behind the sensor have in common; [None] without such layers.

    Stages that are no squares are left out: where one divides square pools, the larger of its sides
    divides them too, and leaves less of them to kernels and relays.
    """
    sensed = [
        (network.signal_shapes[edge.source], pool_of(edge.path))
        for network in networks
        for edge in network.edges
        if edge.source in sensors_of(network)
    ]
    if not sensed:
        return [None]
    if chip.input is None:
        return []
    found: list[int | None] = []
    for stage in sorted(set(chip.input.poolings)):
        divides = all(size % stage == stride % stage == 0 for _, (size, stride) in sensed)
        shapes = {(f, rows // stage, columns // stage) for (f, rows, columns), _ in sensed}
        if not divides or len(shapes) > 1:
            continue
        ((features, rows, columns),) = shapes
        fits = rows * stage <= chip.input.height and columns * stage <= chip.input.width
        if fits and features <= chip.input.features:
            found.append(stage)
    return found


@lru_cache(maxsize=100_000)
def _arrivals(
    outputs: int,
    taps: tuple[tuple[int, ...], ...],
    stride: int,
    padding: int,
    pool: tuple[int, int],
    rows: int,
) -> tuple[frozenset[tuple[tuple[int, int], int]], ...]:
    """Per output, how often each row reaches it through each tap.

    Parameters
    ----------
    taps
        By position of the kernel, the taps of the original that are added up there.
    pool
        (size, stride), of `rows` rows.
    """
    size, hop = pool
    pooled = (rows - size) // hop + 1
    found = []
    for output in range(outputs):
        seen: Counter[tuple[int, int]] = Counter()
        for position, originals in enumerate(taps):
            place = output * stride - padding + position
            if 0 <= place < pooled:
                seen.update((place * hop + n, tap) for n in range(size) for tap in originals)
        found.append(frozenset(seen.items()))
    return tuple(found)


def _is_exact(layer: Layer, wide: Convolution, edge: Edge, kept: int, rows: tuple[int, int]) -> bool:
    """Whether every row and column reaches every output as it did behind the whole pool."""
    conv, (size, hop) = layer.operation, pool_of(edge.path)
    assert isinstance(conv, Convolution)
    span, step = size // kept, hop // kept
    for axis in (0, 1):
        outputs, taps = layer.output_shape[1 + axis], range(conv.kernel[axis])
        before = _arrivals(
            outputs,
            tuple((tap,) for tap in taps),
            conv.stride[axis],
            conv.padding[axis],
            (size, hop),
            rows[axis],
        )
        places = tuple(
            tuple(tap for tap in taps if tap * step <= place < tap * step + span)
            for place in range(wide.kernel[axis])
        )
        after = _arrivals(outputs, places, wide.stride[axis], wide.padding[axis], (kept, kept), rows[axis])
        if before != after:
            return False
    return True


def _widened(conv: Convolution, span: int, step: int) -> Convolution:
    """The kernel behind which a pool of this size and stride has gone."""
    (ky, kx), (sy, sx), (py, px) = conv.kernel, conv.stride, conv.padding
    return replace(
        conv,
        kernel=((ky - 1) * step + span, (kx - 1) * step + span),
        stride=(sy * step, sx * step),
        padding=(py * step, px * step),
    )


def _with_strides(layer: Layer, strides: Sequence[int]) -> Layer:
    """Strides that the chip does not have do not matter along an axis with one output: the least that has none."""
    conv = layer.operation
    assert isinstance(conv, Convolution)
    found = list(conv.stride)
    for axis, stride in enumerate(found):
        room = layer.input_shape[1 + axis] + 2 * conv.padding[axis] - conv.kernel[axis]
        if stride not in strides and layer.output_shape[1 + axis] == 1:
            found[axis] = min((entry for entry in strides if entry > room), default=stride)
    return replace(layer, operation=replace(conv, stride=(found[0], found[1])))


def _kept(edge: Edge, most: int) -> Iterator[tuple[tuple[int, int], int]]:
    """((size, stride) that the kernel takes, pool that stays) of an edge; what stays has its size as stride."""
    size, hop = pool_of(edge.path)
    for kept in range(1, most + 1):
        if size % kept == hop % kept == 0:
            yield (size // kept, hop // kept), kept


def forms_of(network: Network, layer: Layer, chip: ChipSpec, stage: int | None) -> list[Form]:
    """Every exact way to write a layer: the part of its pools in the kernel, and the order of its features.

    Parameters
    ----------
    stage
        What the sensor stage pools: part of all that stays on edges from the sensor.
    """
    edges, sensors = network.incoming[layer.name], sensors_of(network)
    choices = [dict(_kept(edge, pool_of(edge.path)[0])) for edge in edges]
    strides = sorted(set.intersection(*(set(core.limits.strides) for core in chip.cores)))
    forms = []
    for span, step in sorted(set.intersection(*map(set, choices))):
        kept = [choice[span, step] for choice in choices]
        behind = [stage if edge.source in sensors and stage else 1 for edge in edges]
        maps = {
            tuple(size // pool for size in network.signal_shapes[edge.source][1:])
            for edge, pool in zip(edges, kept, strict=True)
        }
        if len(maps) > 1 or any(pool % part for pool, part in zip(kept, behind, strict=True)):
            continue
        (seen,) = maps
        conv = layer.operation
        assert isinstance(conv, Convolution)
        wide = _widened(conv, span, step)
        shape = layer.input_shape._replace(height=seen[0], width=seen[1])
        written = replace(layer, input_shape=shape, operation=wide)
        exact = written.output_shape == layer.output_shape and all(
            _is_exact(layer, wide, edge, pool, network.signal_shapes[edge.source][1:])
            for edge, pool in zip(edges, kept, strict=True)
        )
        if exact:
            written = _with_strides(written, strides)
            forms += [
                Form(written, tuple(_left(*entry) for entry in zip(edges, kept, offsets, strict=True)))
                for offsets in _offsets(network, edges, sensors)
            ]
    return forms


def _left(edge: Edge, kept: int, offset: int) -> Edge:
    path = (Pool("sum", (kept, kept), (kept, kept)),) if kept > 1 else ()
    return replace(edge, path=path, feature_offset=offset)


def _offsets(network: Network, edges: Sequence[Edge], sensors: set[str]) -> list[tuple[int, ...]]:
    """Offsets of the edges as they are, and with the features of one that reads the sensor in front.

    Input features may be permuted with the kernel's, so long as those of an edge stay together: edges
    whose features overlap move as one.
    """
    plain = tuple(edge.feature_offset for edge in edges)
    spans = [(n, n + network.signal_shapes[e.source].features) for n, e in zip(plain, edges, strict=True)]
    found = {plain}
    for edge, (start, stop) in zip(edges, spans, strict=True):
        if edge.source not in sensors or start == 0:
            continue
        # What overlaps with it, or with what overlaps with it.
        low, high = start, stop
        for _, (a, b) in product(spans, spans):
            if a < high and low < b:
                low, high = min(low, a), max(high, b)
        if low == start:
            # The run goes in front, and what stood before it makes room.
            room = high - low
            found.add(tuple(n - low if low <= n < high else n + room if n < low else n for n in plain))
    return sorted(found, key=lambda offsets: (offsets != plain, offsets))
