"""Addends brought to one geometry: one map that all of them read, and one stride."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np

from mapper.errors import Finding, UnsupportedLayerError
from mapper.frontends.currents.branch import Addend, Joined
from mapper.frontends.inference import LayerDraft
from mapper.integers import widened
from mapper.network import Edge
from mapper.operations import Convolution, Neuron, Pair, PathOperation, Pool, Scale, Shape, shape_after
from mapper.wording import join_names, titled

__all__ = ["one_geometry", "path_factor"]

# A layer more costs a core, a pool in the kernel kernel memory only; no destination pools by another stride
# than its size.
_LAYER_COST, _NO_DESTINATION_COST = 1000, 100_000


def one_geometry(name: str, addends: Sequence[Addend], signals: Mapping[str, Shape]) -> list[Addend]:
    """Every addend in a form of the geometry that all of them can have, at the least cost.

    Raises
    ------
    UnsupportedLayerError
        There is none.
    """
    ways = [_forms(name, addend, signals) for addend in addends]
    shared = [key for key in ways[0] if all(key in way for way in ways)]
    if not shared:
        texts = [
            f"{a.name} a map of {a.size[0]}x{a.size[1]} with stride {a.conv.stride[0]}x{a.conv.stride[1]}"
            for a in addends
        ]
        raise UnsupportedLayerError(
            Finding(
                f"layer {titled(name)}",
                f"currents of different geometry add before its neurons: {join_names(texts)}",
                next_step="Put neurons before the sum, so that spikes add, or give all of them one map and "
                "stride (a skip from a larger map can be a 1x1 convolution)",
            )
        )
    best = min(shared, key=lambda key: (sum(_cost(way[key]) for way in ways), key))
    return [way[best] for way in ways]


def path_factor(path: Iterable[PathOperation], *, averages: bool = True) -> float:
    """What a spike is multiplied by on the way, with or without what average pools divide by."""
    divisors = [_divisor(step) for step in path if isinstance(step, Pool)] if averages else []
    return prod(step.factor for step in path if isinstance(step, Scale)) / prod(divisors)


def _divisor(pool: Pool) -> float:
    return 1.0 if pool.kind == "sum" else pool.divisor or float(pool.size[0] * pool.size[1])


def _forms(name: str, addend: Addend, signals: Mapping[str, Shape]) -> dict[tuple[Pair, Pair], Addend]:
    forms: dict[tuple[Pair, Pair], Addend] = {}
    form: Addend | None = addend
    while form is not None:
        for entry in (form, _passed_on(name, form, signals)):
            if entry is not None and (
                entry.geometry not in forms or _cost(entry) < _cost(forms[entry.geometry])
            ):
                forms[entry.geometry] = entry
        form = _unpooled(form, signals)
    return forms


def _cost(form: Addend) -> int:
    pools = (step for edge in form.edges for step in edge.path if isinstance(step, Pool))
    return form.cost + _NO_DESTINATION_COST * any(pool.size != pool.stride for pool in pools)


def _unpooled(addend: Addend, signals: Mapping[str, Shape]) -> Addend | None:
    """The addend with the last pool of its edges in its kernel; None where it would not be the same."""
    edges: list[Edge] = []
    shapes, maps = set(), set()
    for edge in addend.edges:
        places = [n for n, step in enumerate(edge.path) if isinstance(step, Pool)]
        pool = edge.path[places[-1]] if places else None
        if not isinstance(pool, Pool):
            return None
        path: tuple[PathOperation, ...] = (*edge.path[: places[-1]], *edge.path[places[-1] + 1 :])
        shapes.add((pool.size, pool.stride))
        maps.add(shape_after(signals[edge.source], path)[1:])
        factor = 1.0 / _divisor(pool)
        edges.append(replace(edge, path=path if factor == 1 else (*path, Scale(factor))))
    if len(shapes) != 1 or len(maps) != 1:
        return None
    (size, stride), seen, conv = shapes.pop(), maps.pop(), addend.conv
    if not all(_reads_the_same(addend, seen[axis], size[axis], stride[axis], axis) for axis in (0, 1)):
        return None
    wide = replace(
        conv,
        kernel=_spread_size(conv.kernel, size, stride),
        stride=(conv.stride[0] * stride[0], conv.stride[1] * stride[1]),
        padding=(conv.padding[0] * stride[0], conv.padding[1] * stride[1]),
        weight=_spread(conv.weight, size, stride),
    )
    return replace(addend, edges=tuple(edges), size=seen, conv=wide, cost=addend.cost + 1)


def _reads_the_same(addend: Addend, seen: int, size: int, stride: int, axis: int) -> bool:
    """Whether pools that do not exist, zeros of the padding, cover no row that does.

    Those behind the map cover what the pool dropped; those before it, where pools overlap, its first rows.
    """
    conv = addend.conv
    first = -conv.padding[axis]
    end = (addend.output[1 + axis] - 1) * conv.stride[axis] + first + conv.kernel[axis]
    before, beyond = range(first, 0), range(addend.size[axis], end)
    return all(n * stride + size <= 0 for n in before) and all(n * stride >= seen for n in beyond)


def _spread_size(kernel: Pair, size: Pair, stride: Pair) -> Pair:
    return (kernel[0] - 1) * stride[0] + size[0], (kernel[1] - 1) * stride[1] + size[1]


def _spread(weight: Any, size: Pair, stride: Pair) -> Any:
    """Each tap on all rows and columns of its pool, sums where pools overlap.

    ``sum_i w[i] sum_t x[(o * s - padding + i) * S + t]``, t < P, of a pool of size P and stride S.
    """
    if weight is None:
        return None
    total = np.zeros((*weight.shape[:2], *_spread_size(weight.shape[2:], size, stride)))
    for row, column in np.ndindex(*weight.shape[2:]):
        top, left = row * stride[0], column * stride[1]
        total[:, :, top : top + size[0], left : left + size[1]] += weight[:, :, row, column, None, None]
    return total.astype(widened(weight).dtype)


def _passed_on(name: str, addend: Addend, signals: Mapping[str, Shape]) -> Addend | None:
    """A 1x1 kernel with a stride behind a layer that takes the stride and passes on what it reads."""
    conv = addend.conv
    factors = {path_factor(edge.path) for edge in addend.edges}
    if conv.kernel != (1, 1) or conv.padding != (0, 0) or conv.stride == (1, 1) or len(factors) != 1:
        return None
    edges, reads, factor = [], 0, factors.pop()
    layer = f"{addend.name}.strided"
    while layer in signals or layer == name:
        layer += "_"
    for edge in addend.edges:
        pools = (replace(s, kind="sum", divisor=None) for s in edge.path if isinstance(s, Pool))
        edges.append(replace(edge, target=layer, path=tuple(pools)))
        reads = max(reads, edge.feature_offset + signals[edge.source].features)
    eye = None if conv.weight is None else np.eye(reads, dtype=np.float32)[:, :, None, None]
    draft = LayerDraft(layer, Convolution(reads, (1, 1), conv.stride, weight=eye), (), Neuron(), reads)
    sources = join_names(list(dict.fromkeys(edge.source for edge in addend.edges)))
    note = (
        f"{layer}: a layer of its own passes on each spike of {sources} at every "
        f"{conv.stride[0]}x{conv.stride[1]} step of the map, since what {addend.name} is added to reads a "
        "smaller map"
    )
    return replace(
        addend,
        edges=(Edge(layer, name, () if factor == 1 else (Scale(factor),)),),
        size=(addend.output.height, addend.output.width),
        conv=replace(conv, stride=(1, 1)),
        cost=addend.cost + _LAYER_COST,
        passed_on=Joined((draft,), tuple(edges), (note,)),
    )
