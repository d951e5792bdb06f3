"""Addends of one geometry as one kernel over their inputs side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mapper.folding import fitted, placed
from mapper.frontends.currents.branch import Addend
from mapper.frontends.currents.geometry import path_factor
from mapper.frontends.inference import LayerDraft
from mapper.integers import widened
from mapper.network import Edge
from mapper.operations import Convolution, Integers, Neuron, Pair, Scale, Shape, shape_after
from mapper.wording import join_names

__all__ = ["assembled", "scale_notes", "sum_note"]

# The largest weight of 8 bits.
_WEIGHT_MAX = 127


@dataclass(frozen=True, slots=True, eq=False)
class _Block:
    """Input features of an addend that edges of their own feed: they can stand anywhere in the sum's input.

    Attributes
    ----------
    start, width
        Where they stand in the addend's input.
    edges
        Offsets count from the start.
    factor
        What the paths of all edges multiply by; it is in no path any more.
    """

    start: int
    width: int
    edges: tuple[Edge, ...]
    factor: float

    @property
    def key(self) -> tuple[object, ...]:
        """Equal for blocks that carry the same."""
        parts = [(e.source, e.path, e.feature_offset, e.delay_steps) for e in self.edges]
        return tuple(sorted(parts, key=repr))


def assembled(
    name: str, addends: Sequence[Addend], neuron: Neuron | None, signals: Mapping[str, Shape]
) -> tuple[LayerDraft, tuple[Edge, ...]]:
    """The layer of the sum, and its edges.

    Parameters
    ----------
    addends
        Of one geometry.
    """
    padding, kernel, stride = _frame(addends)
    starts: dict[tuple[object, ...], int] = {}
    parts: dict[tuple[object, ...], Any] = {}
    edges: list[Edge] = []
    features = 0
    has_weights = all(addend.conv.weight is not None for addend in addends)
    for addend in addends:
        offset = (padding[0] - addend.conv.padding[0], padding[1] - addend.conv.padding[1])
        for block in _blocks(addend, signals):
            if block.key not in starts:
                starts[block.key] = features
                edges += [
                    replace(edge, target=name, feature_offset=features + edge.feature_offset)
                    for edge in block.edges
                ]
                features += block.width
            if has_weights:
                added = placed(_weight_of(addend, block), kernel, offset)
                parts[block.key] = parts[block.key] + added if block.key in parts else added
    first = addends[0].conv
    types = [widened(addend.conv.weight).dtype for addend in addends if addend.conv.weight is not None]
    biases: list[Any] = [addend.conv.bias for addend in addends if addend.conv.bias is not None]
    conv = Convolution(
        out_features=first.out_features,
        kernel=kernel,
        stride=stride,
        padding=padding,
        has_bias=any(addend.conv.has_bias for addend in addends),
        weight=np.concatenate(list(parts.values()), 1).astype(np.result_type(*types)) if parts else None,
        bias=np.sum(biases, axis=0, dtype=np.float64).astype(biases[0].dtype) if biases else None,
        declared=_declared(addends, signals),
    )
    return LayerDraft(name, conv, (), neuron, features), tuple(edges)


def _frame(addends: Sequence[Addend]) -> tuple[Pair, Pair, Pair]:
    """Padding, kernel and stride that hold all addends."""
    axes = []
    for axis in (0, 1):
        taps = [(a.conv.kernel[axis], a.conv.padding[axis]) for a in addends]
        stride = max(a.conv.stride[axis] for a in addends)
        outputs = addends[0].output[1 + axis]
        axes.append((*fitted(taps, addends[0].size[axis], stride, outputs), stride))
    (py, ky, sy), (px, kx, sx) = axes
    return (py, px), (ky, kx), (sy, sx)


def _blocks(addend: Addend, signals: Mapping[str, Shape]) -> Iterator[_Block]:
    groups: list[tuple[int, int, list[Edge]]] = []
    for edge in sorted(addend.edges, key=lambda edge: edge.feature_offset):
        start = edge.feature_offset
        end = start + shape_after(signals[edge.source], edge.path).features
        if groups and start < groups[-1][1]:
            first, last, edges = groups.pop()
            groups.append((first, max(last, end), [*edges, edge]))
        else:
            groups.append((start, end, [edge]))
    for start, end, edges in groups:
        factors = {path_factor(edge.path, averages=False) for edge in edges}
        moved = tuple(replace(edge, feature_offset=edge.feature_offset - start) for edge in edges)
        if len(factors) == 1:
            moved = tuple(_unscaled(edge) for edge in moved)
        yield _Block(start, end - start, moved, factors.pop() if len(factors) == 1 else 1.0)


def _unscaled(edge: Edge) -> Edge:
    return replace(edge, path=tuple(step for step in edge.path if not isinstance(step, Scale)))


def _declared(addends: Sequence[Addend], signals: Mapping[str, Shape]) -> Integers | None:
    """The integers of a sum: those of its addends where all have the same step."""
    made = [addend.conv.declared for addend in addends]
    known = [entry for entry in made if entry is not None]
    if not known:
        return None
    if any(entry != known[0] for entry in made):
        return Integers(None, "its current adds to others of another scale")
    factors = [block.factor for addend in addends for block in _blocks(addend, signals)]
    return known[0].times(factors, "currents of different factors add up in it")


def _weight_of(addend: Addend, block: _Block) -> Any:
    weight: Any = addend.conv.weight
    return weight[:, block.start : block.start + block.width].astype(np.float64) * block.factor


def sum_note(draft: LayerDraft, addends: Sequence[Addend], signals: Mapping[str, Shape]) -> str:
    """That currents add, and what became of them."""
    conv: Any = draft.operation
    names = join_names([f"the spikes of {a.name}" if a.is_identity else a.name for a in addends])
    note = (
        f"{draft.name}: {names} add before its neurons, as one kernel {conv.kernel[0]}x{conv.kernel[1]} over "
        f"{draft.in_features} features"
    )
    parts = [
        (addend.conv.kernel == conv.kernel, b.key) for addend in addends for b in _blocks(addend, signals)
    ]
    grown = {key for _, key in parts} > {key for full, key in parts if full}
    if not grown or conv.weight is None or draft.neuron is None:
        return note
    # A tap of zeros touches its neuron, which then emits what it holds of a weight beyond the threshold.
    threshold = np.reshape(np.asarray(draft.neuron.threshold), (-1, 1, 1, 1))
    if not np.any(conv.weight > threshold):
        return note
    return (
        f"{note}; a weight exceeds the threshold: exact per time step, but single events may act differently"
    )


def scale_notes(name: str, addends: Sequence[Addend], signals: Mapping[str, Shape]) -> Iterator[str]:
    """Where an identity's weight is the largest, and so decides how finely the others are rounded."""
    largest = [_largest(addend, signals) for addend in addends]
    others = [size for size, addend in zip(largest, addends, strict=True) if not addend.is_identity]
    if not others or max(others) == 0:
        return
    for addend, size in zip(addends, largest, strict=True):
        if addend.is_identity and size > max(others):
            steps = round(_WEIGHT_MAX * max(others) / size)
            yield (
                f"{name}: a spike of {addend.name} adds {size:g}, {size / max(others):.3g} times the largest "
                f"weight of what it is added to; both share one scale: these are rounded to {steps} steps "
                f"of {_WEIGHT_MAX}"
            )


def _largest(addend: Addend, signals: Mapping[str, Shape]) -> float:
    """The most that one spike adds, by absolute value."""
    if addend.conv.weight is None:
        return 0.0
    return max(
        float(np.max(np.abs(_weight_of(addend, block)), initial=0.0))
        * max(abs(path_factor(edge.path)) for edge in block.edges)
        for block in _blocks(addend, signals)
    )
