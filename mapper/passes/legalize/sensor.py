"""The sensor stage: the settings it may take, and layers that read it without a shift of features.

The stage has one setting for all it feeds, pools per axis, and its destinations neither pool nor shift.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace
from itertools import product
from math import gcd, prod
from typing import Any

import numpy as np

from hwspec.schema import ChipSpec
from mapper.network import Edge, Input
from mapper.normal_form import NormalLayer, NormalNetwork
from mapper.operations import Pair, shape_after
from mapper.passes.legalize.pools import size_and_stride

__all__ = ["sensor_first", "stage_may_be", "stage_settings"]


def stage_settings(edges: Collection[Edge], chip: ChipSpec) -> list[Pair]:
    """Poolings of the stage that divide the pools of all its edges, the largest first."""
    if chip.input is None:
        return []
    pools = [size_and_stride(edge.pool) for edge in edges]
    height, width = (gcd(*(pair[axis] for pool in pools for pair in pool)) for axis in (0, 1))
    pairs = ((a, b) for a, b in product(chip.input.poolings, repeat=2) if height % a == 0 and width % b == 0)
    return sorted(set(pairs), key=lambda pair: (-prod(pair), pair))


def stage_may_be(stage: Pair, entry: Input, edge: Edge, chip: ChipSpec) -> bool:
    """Whether cut-out and mirror mean the same if the stage does this part of an edge's pool.

    Both act on the pooled map: an origin counts pools, and a mirrored map ends where the other
    one begins, which are the same rows only if pools fill it.
    """
    (size, stride), dvs, sensor = size_and_stride(edge.pool), entry.dvs, chip.input
    if dvs is None or sensor is None:
        return False
    if size == stride == stage:
        return True
    rows, columns = entry.shape.height, entry.shape.width
    filled = size == stride and rows % size[0] == 0 and columns % size[1] == 0
    plain = dvs.origin == (0, 0) and not dvs.swap_axes and (filled or not any(dvs.mirror))
    room = (sensor.height // stage[0], sensor.width // stage[1])
    return plain and rows // stage[0] <= room[0] and columns // stage[1] <= room[1]


def sensor_first(
    network: NormalNetwork, layer: NormalLayer, edges: tuple[Edge, ...], sensors: Collection[str]
) -> tuple[NormalLayer, tuple[Edge, ...], tuple[str, ...]]:
    """Layer, incoming edges and notes with the sensor's features in front, where that is exact.

    The feature spans of the edges fall into blocks that do not overlap, and the order of blocks is
    free: the kernel's input features are permuted alike. Everything stays as it is where a sensor edge
    is in front already, or where no sensor's span begins a block. Of several the first is moved.

    Parameters
    ----------
    edges
        What the layer reads: its incoming edges, or what stands for some of them.
    """
    conv = layer.operation
    offsets = {edge.feature_offset for edge in edges if edge.source in sensors} if sensors else set()
    if not offsets or 0 in offsets:
        return layer, edges, ()
    spans = list(_blocks(network, edges, layer.input_shape.features))
    first = next((span for span in spans if span.start in offsets), None)
    if first is None:
        return layer, edges, ()
    offset = first.start
    order = [feature for span in (first, *(s for s in spans if s is not first)) for feature in span]
    place = {feature: n for n, feature in enumerate(order)}
    moved = tuple(replace(edge, feature_offset=place[edge.feature_offset]) for edge in edges)
    weight: Any = conv.weight
    if weight is not None:
        weight = np.ascontiguousarray(weight[:, order])
    source = next(edge.source for edge in edges if edge.source in sensors)
    note = (
        f"{layer.name}: the features of {source} moved from {offset} to 0, as the sensor's destinations "
        "cannot shift them; the kernel's input features are permuted alike"
    )
    return replace(layer, operation=replace(conv, weight=weight)), moved, (note,)


def _blocks(network: NormalNetwork, edges: Collection[Edge], features: int) -> Iterator[range]:
    """Input features in runs: overlapping spans of edges together, and what no edge reaches."""
    signals = network.signal_shapes
    spans = sorted(
        (edge.feature_offset, edge.feature_offset + shape_after(signals[edge.source], edge.path).features)
        for edge in edges
    )
    start = stop = 0
    for low, high in (*spans, (features, features)):
        if low < stop:
            stop = max(stop, high)
            continue
        if start < stop:
            yield range(start, stop)
        if stop < low:
            yield range(stop, low)
        start, stop = low, high
