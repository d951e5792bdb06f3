"""Layers written for maps whose rows and columns became features.

With phases (a, b) a layer's feature g at row y and column x is feature ``((y % a) * b + x % b) * f + g`` at row
``y // a`` and column ``x // b``. What follows holds per axis, for rows as for columns.

A pool of size and stride q behind a layer of a phases leaves a pool of q / a where a divides q: its rows are then
the given ones, each a sum over all phases. Where q divides a, every row that arrives holds a / q given ones, the
*joint* phases: phase i of the source is joint phase ``i // q``.

Output row ``y = a' * Y + p`` of a layer of a' phases, stride s, padding d and kernel k reads the rows
``a' * s * Y + p * s - d + t``, t < k. Where every row that arrives holds j given ones, that is joint phase
``(p * s - d + t) % j`` of row ``(a' * s / j) * Y + (p * s - d + t) // j``: a convolution of stride ``a' * s / j``, if
this is whole. Rows that fill no phase do not exist: nobody may read them.
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

__all__ = ["Axis", "axis_of", "joint_of", "phased_layer"]

Phases = Mapping[str, Pair]


@dataclass(frozen=True, slots=True)
class Axis:
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
    """(given rows in every row that arrives, size, stride of the pool that is left); None where it has no form."""
    if size % phases == 0 and stride % phases == 0:
        return 1, size // phases, stride // phases
    if size == stride and phases % size == 0:
        return phases // size, 1, 1
    return None


def axis_of(layer: NormalLayer, axis: int, phases: int, joint: int) -> Axis | None:
    """One axis of a layer that gets `phases` of its own and reads rows that hold `joint` given ones.

    Zeros before or behind the kernel make the map as large as it must be. None where the layer would not
    read the same.
    """
    conv = layer.operation
    size, kernel, stride, padding = (
        value[axis] for value in (layer.input_shape[1:], conv.kernel, conv.stride, conv.padding)
    )
    arriving, outputs = size // joint, layer.output_shape[1 + axis] // phases
    if outputs < 1 or (outputs > 1 and stride * phases % joint):
        return None
    last = (outputs * phases - 1) * stride - padding + kernel - 1
    if size % joint and last >= joint * arriving:
        return None
    # One output is made by any stride above the room.
    wide = -(-stride * phases // joint)
    before = -(-padding // joint)
    reads = [[phase * stride - padding + tap for tap in range(kernel)] for phase in range(phases)]
    size_now = reads[-1][-1] // joint + before + 1
    room = arriving + 2 * before - size_now
    missing, beyond = (outputs - 1) * wide - room, room - outputs * wide + 1
    if missing > 0:
        before, size_now = before + missing, size_now + missing
    elif beyond > 0:
        size_now += beyond
    taps = tuple(tuple((row // joint + before, row % joint) for row in rows) for rows in reads)
    return Axis(size_now, wide, before, taps)


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


def phased_layer(
    network: NormalNetwork, layer: NormalLayer, phases: Phases, axes: tuple[Axis, Axis], joint: Pair
) -> tuple[NormalLayer, tuple[Edge, ...]]:
    """A layer with the edges into it, in the network's order, once the layers named have phases."""
    incoming = network.incoming[layer.name]
    blocks, total = _blocks(network, incoming, phases, layer.input_shape.features)
    edges = tuple(
        _edge(edge, phases.get(edge.source, UNPOOLED), block)
        for edge, block in zip(incoming, blocks, strict=True)
    )
    own = phases.get(layer.name, UNPOOLED)
    conv, times = layer.operation, own[0] * own[1]
    written = replace(
        conv,
        out_features=times * conv.out_features,
        kernel=(axes[0].kernel, axes[1].kernel),
        stride=(axes[0].stride, axes[1].stride),
        padding=(axes[0].padding, axes[1].padding),
        weight=_weight(conv.weight, axes, dict.fromkeys(blocks), total),
        bias=None if conv.bias is None else np.tile(conv.bias, times),
    )
    _, height, width = layer.input_shape
    shape = Shape(total, height // joint[0], width // joint[1])
    return replace(layer, input_shape=shape, operation=written, neuron=_neuron(layer.neuron, own)), edges


def _blocks(
    network: NormalNetwork, incoming: tuple[Edge, ...], phases: Phases, features: int
) -> tuple[tuple[_Block, ...], int]:
    """By edge, the features that it brings; and how many there are.

    Features of layers without phases stay together as they were. Those of equal sources that add up do so
    still; whatever else added up stands side by side, with equal weights.
    """
    if not any(edge.source in phases for edge in incoming):
        return (_Block(0, features, 0, UNPOOLED, UNPOOLED),) * len(incoming), features
    plain = [edge for edge in incoming if edge.source not in phases]
    spans = [(edge.feature_offset, network.signal_shapes[edge.source].features) for edge in plain]
    low = min((first for first, _ in spans), default=0)
    high = max((first + count for first, count in spans), default=0)
    keys = []
    for edge in incoming:
        if edge.source in phases:
            size, _ = size_and_stride(edge.pool)
            count = network.signal_shapes[edge.source].features
            keys.append((edge.feature_offset, count, phases[edge.source], size))
        else:
            keys.append((low, high - low, UNPOOLED, UNPOOLED))
    starts, total = {}, 0
    for first, count, own, size in sorted(set(keys)):
        starts[first, count, own, size] = total
        total += count * own[0] * own[1]
    return tuple(_Block(key[0], key[1], starts[key], key[2], key[3]) for key in keys), total


def _edge(edge: Edge, phases: Pair, block: _Block) -> Edge:
    offset = block.start + edge.feature_offset - block.first
    size, stride = size_and_stride(edge.pool)
    rows, columns = (joint_of(phases[axis], size[axis], stride[axis]) for axis in (0, 1))
    if rows is None or columns is None:
        raise ValueError(f"a pool of {size} behind phases {phases} has no form")
    left, step = (rows[1], columns[1]), (rows[2], columns[2])
    if phases == UNPOOLED:
        return replace(edge, feature_offset=offset)
    path = () if left == step == UNPOOLED else (Pool("sum", left, step),)
    return replace(edge, path=path, feature_offset=offset)


def _weight(weight: Any, axes: tuple[Axis, Axis], blocks: Mapping[_Block, None], total: int) -> Any:
    """The given weights where they belong: each is copied, none is added to another."""
    if weight is None:
        return None
    rows, columns = axes
    own, features = (len(rows.taps), len(columns.taps)), weight.shape[0]
    written = np.zeros(
        (own[0] * own[1] * features, total, rows.kernel, columns.kernel), np.asarray(weight).dtype
    )
    for (p, q), (t, u) in ((a, b) for a in np.ndindex(own) for b in np.ndindex(weight.shape[2:])):
        (row, above), (column, left) = rows.taps[p][t], columns.taps[q][u]
        first = (p * own[1] + q) * features
        for block in blocks:
            given = weight[:, block.first : block.first + block.features, t, u]
            for place in block.places((above, left)):
                written[first : first + features, place : place + block.features, row, column] = given
    return written


def _neuron(neuron: Neuron, phases: Pair) -> Neuron:
    times, threshold = phases[0] * phases[1], neuron.threshold
    if isinstance(threshold, np.ndarray):
        threshold = np.tile(threshold, times)
    state = neuron.initial_potential
    return replace(
        neuron,
        threshold=threshold,
        initial_potential=None if state is None else _rearranged(state, phases),
    )


def _rearranged(state: Array, phases: Pair) -> Array:
    (features, height, width), (a, b) = state.shape, phases
    rows, columns = height // a, width // b
    whole = state[:, : rows * a, : columns * b].reshape(features, rows, a, columns, b)
    return whole.transpose(2, 4, 0, 1, 3).reshape(a * b * features, rows, columns)
