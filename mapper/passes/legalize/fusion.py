"""Siblings on one core: layers that read the same and fire alike are one layer of all their features.

Their kernels stand side by side, each centred in zeros where another is larger. What a core holds has one
scale: where the layers were rounded each with its own, the fused one is rounded anew, with the least of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, pairwise
from math import log2
from typing import Any

import numpy as np

from mapper.by_value import same
from mapper.network import Edge
from mapper.normal_form import NormalLayer, NormalNetwork
from mapper.operations import Pair, Shape
from mapper.passes.legalize.kernel import event_remark
from mapper.passes.minimum import mended
from mapper.passes.quantize import declared_scale, layer_scale, rounded
from mapper.references import named_apart, natural_key
from mapper.wording import join_names

__all__ = ["Fusion", "as_rounded", "centred", "fusions", "sibling_edges", "whole_siblings"]

# So many neighbours may share a core: each run of them is a layer on offer.
_SIBLINGS_MAX = 8
# Of no more than these that nothing reads any may share one; of more, neighbours in order of size.
_UNREAD_MAX = 5
_CHOICES_MAX = 256


@dataclass(frozen=True, slots=True)
class Fusion:
    """Siblings as one layer.

    Attributes
    ----------
    members
        Names, in the order of their features.
    layer
        Their features side by side.
    edges
        What reaches it: the edges of each of them.
    note
        What is worth telling of it: how much of each layer's resolution the common scale takes.
    """

    members: tuple[str, ...]
    layer: NormalLayer
    edges: tuple[Edge, ...]
    note: str


def fusions(network: NormalNetwork, apart: Collection[str]) -> tuple[tuple[Fusion, ...], bool]:
    """Siblings that may stand on one core, in every choice of two or more.

    Siblings read the same signals alike at one stride, have neurons that are alike before rounding, and
    stand side by side, in one order, in whatever reads them. Names decide, not the order of a file.

    Parameters
    ----------
    apart
        Layers that stay on their own.

    Returns
    -------
    tuple
        The choices, and whether these are all.
    """
    # Most layers read what no other reads, and need no closer look.
    together = Counter(_sources(network, layer) for layer in network.layers)
    alike: dict[object, list[str]] = {}
    for layer in network.layers:
        if layer.name not in apart and together[_sources(network, layer)] > 1:
            alike.setdefault(_likeness(network, layer), []).append(layer.name)
    several = [sorted(names, key=natural_key) for names in alike.values() if len(names) > 1]
    groups = [
        [network.by_name[name] for name in names]
        for names in sorted(several, key=lambda names: natural_key(names[0]))
    ]
    taken, found = dict.fromkeys(network.signal_shapes), list[Fusion]()
    chosen = [choice for group in groups for choice in _choices(network, _alike(group))]
    for run in chosen:
        if run is None or len(found) == _CHOICES_MAX:
            continue
        name = named_apart([*taken, "&".join(layer.name for layer in run)])[-1]
        fused = _fused(run, name)
        if fused is not None:
            taken[name] = None
            edges = (replace(edge, target=name) for edge in network.incoming[run[0].name])
            members = tuple(layer.name for layer in run)
            found.append(Fusion(members, fused, tuple(edges), _note(run, fused)))
    return tuple(found), None not in chosen and len(found) < _CHOICES_MAX


def _choices(
    network: NormalNetwork, groups: Iterable[list[NormalLayer]]
) -> Iterator[tuple[NormalLayer, ...] | None]:
    """Layers of one group that may share a core; None for what is left out for its number."""
    for group in groups:
        read = [layer for layer in group if network.outgoing[layer.name]]
        unread = [layer for layer in group if not network.outgoing[layer.name]]
        behind = {one.name: [e for e in read if e is not one and _follows(network, one, e)] for one in read}
        if len(unread) <= _UNREAD_MAX:
            yield from (run for count in range(2, len(unread) + 1) for run in combinations(unread, count))
        else:
            yield None
            # Those of one size are most often few enough for one core.
            ordered = sorted(unread, key=lambda layer: layer.output_shape.features)
            behind |= {one.name: [other] for one, other in pairwise(ordered)}
        chains: list[tuple[NormalLayer, ...]] = [
            (layer,) for layer in (*read, *(unread if len(unread) > _UNREAD_MAX else ()))
        ]
        while chains:
            longer = [(*run, e) for run in chains for e in behind.get(run[-1].name, ()) if e not in run]
            if (longer and len(longer[0]) > _SIBLINGS_MAX) or len(longer) > _CHOICES_MAX:
                yield None
                break
            yield from longer
            chains = longer


def _sources(network: NormalNetwork, layer: NormalLayer) -> tuple[str, ...]:
    return tuple(sorted(edge.source for edge in network.incoming[layer.name]))


def _likeness(network: NormalNetwork, layer: NormalLayer) -> object:
    """What siblings have in common, but for their numbers."""
    edges = network.incoming[layer.name]
    reads = tuple(sorted(repr((e.source, e.path, e.feature_offset, e.delay_steps)) for e in edges))
    reads_itself = layer.name if any(e.source == layer.name for e in edges) else ""
    neuron = layer.neuron
    return (
        *(reads, reads_itself, layer.input_shape, layer.operation.stride, layer.output_shape[1:]),
        *(neuron.reset, neuron.spike_mode, neuron.fires_at, _floats(layer) is None),
    )


def _floats(layer: NormalLayer) -> NormalLayer | None:
    """What the layer was rounded from, where it still is what rounding makes of that."""
    before = layer.unrounded
    if before is None or before.operation.weight is None or before.output_shape != layer.output_shape:
        return None
    whole = mended(rounded(before))
    is_same = same(whole.operation, layer.operation) and same(whole.neuron, layer.neuron)
    return before if is_same else None


def _kept(layer: NormalLayer) -> float | None:
    """The step of the integers that rounding kept."""
    before = _floats(layer)
    declared = None if before is None else before.operation.declared
    return declared.step if before is not None and declared and declared_scale(before)[0] else None


def _alike(layers: Sequence[NormalLayer]) -> Iterator[list[NormalLayer]]:
    """Those of the layers whose neurons have the same threshold and lower bound before rounding.

    Declared integers are kept only beside others of the same step.
    """
    left = list(layers)
    while left:
        first, kept = (_floats(left[0]) or left[0]).neuron, _kept(left[0])
        group = [
            layer
            for layer in left
            if kept == _kept(layer)
            and same(first.threshold, (own := (_floats(layer) or layer).neuron).threshold)
            and same(first.minimum, own.minimum)
            and first.fires_at == own.fires_at
        ]
        left = [layer for layer in left if layer not in group]
        yield group


def _follows(network: NormalNetwork, first: NormalLayer, second: NormalLayer) -> bool:
    """Whether whatever reads one reads the other just behind it, in the same way."""
    moved = sorted(_reading(e, first.output_shape.features) for e in network.outgoing[first.name])
    return moved == sorted(_reading(edge, 0) for edge in network.outgoing[second.name])


def _reading(edge: Edge, further: int) -> tuple[str, str, int, int]:
    return edge.target, repr(edge.path), edge.feature_offset + further, edge.delay_steps


def sibling_edges(edges: Sequence[Edge], fusion: Fusion) -> tuple[Edge, ...]:
    """The edges of a fused layer in its members' place; none where a reader does not read them all."""
    first = [edge for edge in edges if edge.source == fusion.members[0]]
    of_these = [edge for edge in edges if edge.source in fusion.members]
    if len(of_these) != len(first) * len(fusion.members):
        return ()
    return tuple(replace(edge, source=fusion.layer.name) for edge in first)


def _fused(run: Sequence[NormalLayer], name: str) -> NormalLayer | None:
    """All features of the layers in one; None where it cannot be rounded."""
    floats = [before for layer in run if (before := _floats(layer)) is not None]
    if len(floats) < len(run):
        return _beside(run, name)
    layer = mended(rounded(_beside(floats, name)))
    starts = np.cumsum([0, *(entry.output_shape.features for entry in run)])
    weight: Any = layer.operation.weight
    keeps_all = all(np.any(weight[a:b]) for a, b in pairwise(starts))
    return layer if keeps_all and np.all(np.asarray(layer.neuron.threshold) >= 1) else None


def as_rounded(given: NormalNetwork, placed: NormalNetwork) -> NormalNetwork:
    """The given network with the numbers that it has in a placed one: siblings on one core share a scale."""
    changed: dict[str, NormalLayer] = {}
    for layers in _sharing(given, placed):
        floats = [before for layer in layers if (before := _floats(layer)) is not None]
        if len(layers) == len(floats):
            scale = min(map(layer_scale, floats))
            changed |= {layer.name: mended(rounded(layer, scale)) for layer in floats}
    return _with(given, changed)


def whole_siblings(network: NormalNetwork, placed: NormalNetwork) -> NormalNetwork:
    """A network for which what shares a core in the placed one are siblings, if the network has its scale.

    Of layers with a scale in common some may look as if they were rounded on their own: by what they were
    rounded from they would be no siblings of the others.
    """
    changed: dict[str, NormalLayer] = {}
    for layers in _sharing(network, placed):
        if len({_floats(layer) is None for layer in layers}) > 1:
            changed |= {layer.name: replace(layer, unrounded=None) for layer in layers}
    return _with(network, changed)


def _sharing(given: NormalNetwork, placed: NormalNetwork) -> Iterator[list[NormalLayer]]:
    """Layers of a given network, those together that stand on one core of a placed one."""
    together: dict[str, list[NormalLayer]] = {}
    for origin in placed.origins:
        if origin.name in given.by_name:
            together.setdefault(origin.layer, []).append(given.by_name[origin.name])
    return (layers for layers in together.values() if len(layers) > 1)


def _with(network: NormalNetwork, changed: Mapping[str, NormalLayer]) -> NormalNetwork:
    if not changed:
        return network
    return network.replacing(layers=tuple(changed.get(layer.name, layer) for layer in network.layers))


def _note(run: Sequence[NormalLayer], fused: NormalLayer) -> str:
    """Who shares a core, and by how much the common scale is coarser than the layers' own."""
    names = join_names([layer.title for layer in run])
    common = fused.neuron.threshold
    lost = [
        f"{layer.title} {log2(float(layer.neuron.threshold) / float(common)):.1f}"
        for layer in run
        # Less than a twentieth of a bit is told as none.
        if float(layer.neuron.threshold) > 1.035 * float(common)
    ]
    bits = f", which take one scale: bits lost of the weights: {', '.join(lost)}" if lost else ""
    is_padded = any(layer.operation.kernel != fused.operation.kernel for layer in run)
    return f"{names} stand side by side as one layer{bits}{event_remark(fused) if is_padded else ''}"


def _beside(run: Sequence[NormalLayer], name: str) -> NormalLayer:
    """Features side by side, kernels centred in the largest, of numbers as they are."""
    operations = [layer.operation for layer in run]
    padding = _pair(max(o.padding[axis] for o in operations) for axis in (0, 1))
    kernel = _pair(
        max(padding[axis] - o.padding[axis] + o.kernel[axis] for o in operations) for axis in (0, 1)
    )
    weight: Any = None
    bias: Any = None
    if all(operation.weight is not None for operation in operations):
        weight = np.concatenate([centred(o.weight, o.padding, kernel, padding) for o in operations])
        if any(operation.bias is not None for operation in operations):
            zeros = (np.zeros(o.out_features, weight.dtype) for o in operations)
            bias = np.concatenate(
                [none if o.bias is None else o.bias for o, none in zip(operations, zeros, strict=True)]
            )
    features = sum(operation.out_features for operation in operations)
    made = [operation.declared for operation in operations]
    operation = replace(
        operations[0], out_features=features, kernel=kernel, padding=padding, weight=weight, bias=bias,
        has_bias=any(o.has_bias for o in operations),
        declared=made[0] if all(entry == made[0] for entry in made) else None,
    )  # fmt: skip
    states = [layer.neuron.initial_potential for layer in run]
    state: Any = None
    if any(entry is not None for entry in states):
        shapes = [layer.output_shape for layer in run]
        state = np.concatenate(
            [np.zeros(s) if e is None else e for s, e in zip(shapes, states, strict=True)]
        ).astype(np.result_type(*(e for e in states if e is not None)))
    shape = Shape(*run[0].input_shape)
    return NormalLayer(name, shape, operation, neuron=replace(run[0].neuron, initial_potential=state))


def centred(weight: Any, before: Pair, kernel: Pair, padding: Pair) -> Any:
    """A kernel of padding `before` in one of this size and padding, on the same rows and columns."""
    top, left = padding[0] - before[0], padding[1] - before[1]
    wide = np.zeros((*weight.shape[:2], *kernel), weight.dtype)
    wide[:, :, top : top + weight.shape[2], left : left + weight.shape[3]] = weight
    return wide


def _pair(sizes: Iterator[int]) -> Pair:
    height, width = sizes
    return height, width
