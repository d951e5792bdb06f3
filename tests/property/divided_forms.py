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
from mapper.network import Edge, Layer
from mapper.normal_form import NormalNetwork
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


def sensors_of(network: NormalNetwork) -> set[str]:
    """Inputs that the sensor stage feeds."""
    return {entry.name for entry in network.inputs if entry.dvs is not None}


def stages_of(networks: Sequence[NormalNetwork], chip: ChipSpec) -> list[int | None]:
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


@dataclass(frozen=True)
class _Axis:
    """Rows or columns of a kernel: per position the taps of the original added up there; none for a zero."""

    taps: tuple[tuple[int, ...], ...]
    stride: int
    padding: int


@dataclass(frozen=True)
class _Axes:
    """Everything about one axis of a layer that its forms have in common.

    Attributes
    ----------
    pools
        Of each edge, its own (size, stride) with the rows or columns of its signal, and what stays of it.
    strides
        That the chip has, ascending.
    """

    kernel: int
    stride: int
    padding: int
    outputs: int
    seen: int
    pools: tuple[tuple[tuple[int, int], int, int], ...]
    strides: tuple[int, ...]

    def written(self, span: int, step: int, size: int | None = None) -> _Axis | None:
        """The kernel behind which a pool of this size and stride has gone, in so many taps, if it is exact.

        Zeros before it need as much more padding. Along an axis with one output any stride does that
        makes one.
        """
        own = (self.kernel - 1) * step + span
        taps = tuple(
            tuple(tap for tap in range(self.kernel) if tap * step <= place < tap * step + span)
            for place in range(own)
        )
        stride, size = self.stride * step, size or own
        strides = [
            n for n in (stride, *self.strides) if (n in self.strides and self.outputs == 1) or n == stride
        ]
        # The layer's own comes first where the chip has it, and last where not.
        strides.sort(key=lambda n: (n not in self.strides, n != stride, n))
        for before in range(size - own + 1):
            padding = self.padding * step + before
            zeros: tuple[tuple[int, ...], ...] = ((),)
            room = self.seen + 2 * padding - size
            for hop in strides:
                axis = _Axis(zeros * before + taps + zeros * (size - own - before), hop, padding)
                if room >= 0 and room // hop + 1 == self.outputs and self._is_exact(axis):
                    return axis
        return None

    def _is_exact(self, axis: _Axis) -> bool:
        """Whether every row reaches every output as it did behind the whole pool."""
        taps = tuple((tap,) for tap in range(self.kernel))
        return all(
            _arrivals(self.outputs, taps, self.stride, self.padding, pool, rows)
            == _arrivals(self.outputs, axis.taps, axis.stride, axis.padding, (kept, kept), rows)
            for pool, rows, kept in self.pools
        )


def _kept(edge: Edge, most: int) -> Iterator[tuple[tuple[int, int], int]]:
    """((size, stride) that the kernel takes, pool that stays) of an edge; what stays has its size as stride."""
    size, hop = pool_of(edge.path)
    for kept in range(1, most + 1):
        if size % kept == hop % kept == 0:
            yield (size // kept, hop // kept), kept


def forms_of(network: NormalNetwork, layer: Layer, chip: ChipSpec, stage: int | None) -> list[Form]:
    """Every exact way to write a layer: the part of its pools in the kernel, and the order of its features.

    Parameters
    ----------
    stage
        What the sensor stage pools: part of all that stays on edges from the sensor.
    """
    edges, sensors = network.incoming[layer.name], sensors_of(network)
    choices = [dict(_kept(edge, pool_of(edge.path)[0])) for edge in edges]
    forms = []
    for span, step in sorted(set.intersection(*map(set, choices))):
        kept = [choice[span, step] for choice in choices]
        behind = [stage if edge.source in sensors and stage else 1 for edge in edges]
        if any(pool % part for pool, part in zip(kept, behind, strict=True)):
            continue
        for written in _written(network, layer, chip, (span, step), kept):
            forms += [
                Form(written, tuple(_left(*entry) for entry in zip(edges, kept, offsets, strict=True)))
                for offsets in _offsets(network, edges, sensors)
            ]
    return forms


def _written(
    network: NormalNetwork, layer: Layer, chip: ChipSpec, factor: tuple[int, int], kept: Sequence[int]
) -> Iterator[Layer]:
    """The layer with a pool of (size, stride) in its kernel: as large as it must be, or filled up to a square."""
    edges, conv = network.incoming[layer.name], layer.operation
    assert isinstance(conv, Convolution)
    signals = [network.signal_shapes[edge.source][1:] for edge in edges]
    maps = {(rows // pool, columns // pool) for (rows, columns), pool in zip(signals, kept, strict=True)}
    if len(maps) > 1:
        return
    (seen,) = maps
    strides = tuple(sorted(set.intersection(*(set(core.limits.strides) for core in chip.cores))))
    axes = [
        _Axes(
            conv.kernel[axis], conv.stride[axis], conv.padding[axis], layer.output_shape[1 + axis], seen[axis],
            tuple((pool_of(e.path), sig[axis], n) for e, sig, n in zip(edges, signals, kept, strict=True)),
            strides,
        )
        for axis in (0, 1)
    ]  # fmt: skip
    sizes: list[int | None] = [None]
    own = [(axis.kernel - 1) * factor[1] + factor[0] for axis in axes]
    if own[0] != own[1] and any(core.limits.kernel_square for core in chip.cores):
        sizes += range(max(own), max(core.limits.kernel_size_max for core in chip.cores) + 1)
    for size in sizes:
        rows, columns = (axis.written(*factor, size) for axis in axes)
        if rows is not None and columns is not None:
            operation = replace(
                conv,
                kernel=(len(rows.taps), len(columns.taps)),
                stride=(rows.stride, columns.stride),
                padding=(rows.padding, columns.padding),
            )
            shape = layer.input_shape._replace(height=seen[0], width=seen[1])
            yield replace(layer, input_shape=shape, operation=operation)


def _left(edge: Edge, kept: int, offset: int) -> Edge:
    path = (Pool("sum", (kept, kept), (kept, kept)),) if kept > 1 else ()
    return replace(edge, path=path, feature_offset=offset)


def _offsets(network: NormalNetwork, edges: Sequence[Edge], sensors: set[str]) -> list[tuple[int, ...]]:
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
