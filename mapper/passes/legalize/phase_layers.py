"""Layers written for maps whose rows and columns became features.

With phases (a, b) a layer's feature g at row y and column x is feature ``((y % a) * b + x % b) * f + g`` at
row ``y // a`` and column ``x // b``. What follows holds per axis, for rows as for columns.

A pool of size and stride q behind a layer of a phases leaves a pool of q / a where a divides q: its rows are
then the given ones, each a sum over all phases. Where q divides a, every row that arrives holds a / q given
ones, the *joint* phases: phase i of the source is joint phase ``i // q``.

Output row ``y = a' * Y + p`` of a layer of a' phases, stride s, padding d and kernel k reads the rows
``a' * s * Y + p * s - d + t``, t < k. Where every row that arrives holds j given ones, that is joint phase
``(p * s - d + t) % j`` of row ``(a' * s / j) * Y + (p * s - d + t) // j``: a convolution of stride
``a' * s / j``, if this is whole.

A map that is no multiple of its phases may end with rows that do not exist in the given one, which nobody may
read, or without its last rows, if nobody reads these.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mapper.network import Edge
from mapper.normal_form import NormalLayer, NormalNetwork
from mapper.operations import Array, Neuron, Pair, Pool, Shape
from mapper.passes.legalize.pools import UNPOOLED, size_and_stride

__all__ = ["Phased", "form_of", "joint_of", "may_read", "needs_form"]


@dataclass(frozen=True, slots=True)
class Phased:
    """What becomes of a layer's map; pairs are (height, width).

    Attributes
    ----------
    phases
        How many rows and columns become features.
    size
        Of the map that is left.
    is_silent_beyond
        Whether rows and columns that do not exist in the given map never spike: they are as good as padding.
    """

    phases: Pair
    size: Pair
    is_silent_beyond: bool = False


@dataclass(frozen=True, slots=True)
class _Axis:
    """One axis of a rewritten layer.

    Attributes
    ----------
    kernel, stride, padding
        As it is written.
    taps
        By own phase and given tap, (tap as it is written, joint phase that it reads).
    """

    kernel: int
    stride: int
    padding: int
    taps: tuple[tuple[Pair, ...], ...]


def joint_of(phases: int, size: int, stride: int) -> tuple[int, int, int] | None:
    """(given rows in every row that arrives, size, stride of the pool that is left); None without a form."""
    if size % phases == 0 and stride % phases == 0:
        return 1, size // phases, stride // phases
    if size == stride and phases % size == 0:
        return phases // size, 1, 1
    return None


def _axis_of(
    layer: NormalLayer,
    axis: int,
    own: tuple[int, int],
    joint: int,
    arriving: int,
    *,
    is_silent_beyond: bool = False,
) -> _Axis | None:
    """One axis of a layer, or None where it would not read the same.

    Parameters
    ----------
    own
        (phases, size) of the layer itself.
    joint, arriving
        How many given rows every row that arrives holds, and how many arrive.
    is_silent_beyond
        Whether what arrives of rows that do not exist is as good as padding.
    """
    conv = layer.operation
    size, kernel, stride, padding = (
        value[axis] for value in (layer.input_shape[1:], conv.kernel, conv.stride, conv.padding)
    )
    (phases, outputs), given = own, layer.output_shape[1 + axis]
    if outputs < 1 or arriving < 1 or (outputs > 1 and stride * phases % joint):
        return None
    last = (min(given, outputs * phases) - 1) * stride - padding + kernel - 1
    reads_beyond = joint * arriving != size and last >= min(size, joint * arriving)
    if reads_beyond and not (is_silent_beyond and joint * arriving > size):
        return None
    # One output is made by any stride above the room.
    wide = -(-stride * phases // joint)
    before = -(-padding // joint)
    reads = [[phase * stride - padding + tap for tap in range(kernel)] for phase in range(phases)]
    width = reads[-1][-1] // joint + before + 1
    room = arriving + 2 * before - width
    # Zeros in front of the kernel make the map larger, zeros behind it smaller.
    missing, beyond = (outputs - 1) * wide - room, room - outputs * wide + 1
    before, width = before + max(missing, 0), width + max(missing, beyond, 0)
    taps = tuple(tuple((row // joint + before, row % joint) for row in rows) for rows in reads)
    return _Axis(width, wide, before, taps)


@dataclass(frozen=True, slots=True)
class _Block:
    """Features that arrive together.

    Attributes
    ----------
    first, features
        The given layer's input features.
    start
        Where they begin here.
    phases, pool
        Of the source, and given size of the pool behind it.
    """

    first: int
    features: int
    start: int
    phases: Pair
    pool: Pair

    def places(self, joint: Pair) -> Iterator[int]:
        """Where the features begin that hold these joint phases."""
        for row, column in np.ndindex(self.phases):
            if (row // self.pool[0], column // self.pool[1]) == joint:
                yield self.start + (row * self.phases[1] + column) * self.features


def needs_form(network: NormalNetwork, layer: NormalLayer, phased: Mapping[str, Phased]) -> bool:
    """Whether a layer has phases, or reads one that has."""
    return layer.name in phased or any(edge.source in phased for edge in network.incoming[layer.name])


def may_read(
    network: NormalNetwork, edge: Edge, axis: int, source: tuple[int, int], phased: Mapping[str, Phased]
) -> bool:
    """Whether the target of an edge reads the same along an axis, if its source has (phases, size) there."""
    layer, (size, stride) = network.by_name[edge.target], size_and_stride(edge.pool)
    joint = joint_of(source[0], size[axis], stride[axis])
    if joint is None or source[1] < joint[1]:
        return False
    arriving = (source[1] - joint[1]) // joint[2] + 1
    return _axis_of(layer, axis, _own(layer, axis, phased), joint[0], arriving) is not None


def form_of(
    network: NormalNetwork,
    layer: NormalLayer,
    phased: Mapping[str, Phased],
    incoming: tuple[Edge, ...] | None = None,
) -> tuple[NormalLayer, tuple[Edge, ...]] | None:
    """A layer with the edges into it, in the order they had, once the signals named have phases.

    None where its edges bring different maps, or it would not read the same.

    Parameters
    ----------
    incoming
        What the layer reads, where it is not what it reads in the network.
    """
    edges = network.incoming[layer.name] if incoming is None else incoming
    read = [(edge, phased[edge.source]) for edge in edges if edge.source in phased]
    silent = all(entry.is_silent_beyond and edge.pool is None for edge, entry in read)
    axes, arriving = [], []
    for axis in (0, 1):
        ways = {_arriving(network, edge, axis, phased) for edge in edges}
        way = ways.pop()
        if ways or way is None:
            return None
        own = _own(layer, axis, phased)
        axes.append(_axis_of(layer, axis, own, *way, is_silent_beyond=silent))
        arriving.append(way[1])
    rows, columns = axes
    if rows is None or columns is None:
        return None
    return _written(network, layer, edges, phased, (rows, columns), (arriving[0], arriving[1]))


def _own(layer: NormalLayer, axis: int, phased: Mapping[str, Phased]) -> tuple[int, int]:
    """(phases, size) of a layer's own map."""
    own = phased.get(layer.name)
    return (1, layer.output_shape[1 + axis]) if own is None else (own.phases[axis], own.size[axis])


def _arriving(
    network: NormalNetwork, edge: Edge, axis: int, phased: Mapping[str, Phased]
) -> tuple[int, int] | None:
    """(given rows in every row that arrives, how many arrive)."""
    source, (size, stride) = phased.get(edge.source), size_and_stride(edge.pool)
    phases = 1 if source is None else source.phases[axis]
    there = network.signal_shapes[edge.source][1 + axis] if source is None else source.size[axis]
    joint = joint_of(phases, size[axis], stride[axis])
    if joint is None or there < joint[1]:
        return None
    return joint[0], (there - joint[1]) // joint[2] + 1


def _written(
    network: NormalNetwork,
    layer: NormalLayer,
    incoming: tuple[Edge, ...],
    phased: Mapping[str, Phased],
    axes: tuple[_Axis, _Axis],
    arriving: Pair,
) -> tuple[NormalLayer, tuple[Edge, ...]]:
    blocks, total = _blocks(network, incoming, phased, layer.input_shape.features)
    edges = tuple(_edge(edge, block) for edge, block in zip(incoming, blocks, strict=True))
    own = phased.get(layer.name)
    conv, times = layer.operation, 1 if own is None else own.phases[0] * own.phases[1]
    written = replace(
        conv,
        out_features=times * conv.out_features,
        kernel=(axes[0].kernel, axes[1].kernel),
        stride=(axes[0].stride, axes[1].stride),
        padding=(axes[0].padding, axes[1].padding),
        weight=_weight(conv.weight, axes, dict.fromkeys(blocks), total),
        bias=None if conv.bias is None else np.tile(conv.bias, times),
    )
    neuron = layer.neuron if own is None else _neuron(layer.neuron, own)
    return replace(layer, input_shape=Shape(total, *arriving), operation=written, neuron=neuron), edges


def _blocks(
    network: NormalNetwork, incoming: tuple[Edge, ...], phased: Mapping[str, Phased], features: int
) -> tuple[tuple[_Block, ...], int]:
    """By edge, the features that it brings; and how many there are.

    Features of layers without phases stay together as they were. Those of equal sources that add up do so
    still; whatever else added up stands side by side, with equal weights.
    """
    if not any(edge.source in phased for edge in incoming):
        return (_Block(0, features, 0, UNPOOLED, UNPOOLED),) * len(incoming), features
    plain = [edge for edge in incoming if edge.source not in phased]
    spans = [(edge.feature_offset, network.signal_shapes[edge.source].features) for edge in plain]
    low = min((first for first, _ in spans), default=0)
    high = max((first + count for first, count in spans), default=0)
    keys = []
    for edge in incoming:
        if edge.source in phased:
            size, _ = size_and_stride(edge.pool)
            count = network.signal_shapes[edge.source].features
            keys.append((edge.feature_offset, count, phased[edge.source].phases, size))
        else:
            keys.append((low, high - low, UNPOOLED, UNPOOLED))
    starts, total = {}, 0
    for key in sorted(set(keys)):
        starts[key] = total
        total += key[1] * key[2][0] * key[2][1]
    return tuple(_Block(key[0], key[1], starts[key], key[2], key[3]) for key in keys), total


def _edge(edge: Edge, block: _Block) -> Edge:
    offset = block.start + edge.feature_offset - block.first
    if block.phases == UNPOOLED:
        return replace(edge, feature_offset=offset)
    size, stride = size_and_stride(edge.pool)
    rows, columns = (joint_of(block.phases[axis], size[axis], stride[axis]) for axis in (0, 1))
    if rows is None or columns is None:
        raise ValueError(f"a pool of {size} behind phases {block.phases} has no form")
    left, step = (rows[1], columns[1]), (rows[2], columns[2])
    path = () if left == step == UNPOOLED else (Pool("sum", left, step),)
    return replace(edge, path=path, feature_offset=offset)


def _weight(weight: Any, axes: tuple[_Axis, _Axis], blocks: Mapping[_Block, None], total: int) -> Any:
    """The given weights where they belong: each is copied, none is added to another."""
    if weight is None:
        return None
    rows, columns = axes
    own, features = (len(rows.taps), len(columns.taps)), weight.shape[0]
    shape = (own[0] * own[1] * features, total, rows.kernel, columns.kernel)
    written = np.zeros(shape, weight.dtype)
    for (p, q), (t, u) in ((a, b) for a in np.ndindex(own) for b in np.ndindex(weight.shape[2:])):
        (row, above), (column, left) = rows.taps[p][t], columns.taps[q][u]
        first = (p * own[1] + q) * features
        for block in blocks:
            given = weight[:, block.first : block.first + block.features, t, u]
            for place in block.places((above, left)):
                written[first : first + features, place : place + block.features, row, column] = given
    return written


def _neuron(neuron: Neuron, own: Phased) -> Neuron:
    threshold, state = neuron.threshold, neuron.initial_potential
    if isinstance(threshold, np.ndarray):
        threshold = np.tile(threshold, own.phases[0] * own.phases[1])
    return replace(
        neuron,
        threshold=threshold,
        initial_potential=None if state is None else _rearranged(state, own),
    )


def _rearranged(state: Array, own: Phased) -> Array:
    """Potentials phase by phase; rows and columns that were not there begin at 0."""
    (a, b), (rows, columns) = own.phases, own.size
    below, beside = max(0, rows * a - state.shape[1]), max(0, columns * b - state.shape[2])
    whole = np.pad(state, ((0, 0), (0, below), (0, beside)))[:, : rows * a, : columns * b]
    apart = whole.reshape(len(state), rows, a, columns, b)
    return apart.transpose(2, 4, 0, 1, 3).reshape(a * b * len(state), rows, columns)
