"""The legal ways to write one layer: what stays on its edges, what goes into its kernel."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import gcd, prod

from hwspec.schema import ChipSpec
from mapper.network import Edge, Input
from mapper.normal_form import NormalLayer
from mapper.operations import Pair, Pool, Shape, shape_after
from mapper.passes.legalize.kernel import square_note, squared
from mapper.passes.legalize.pools import (
    NOTHING,
    UNPOOLED,
    Factor,
    fold_note,
    folded,
    folded_shape,
)
from mapper.passes.legalize.sensor import stage_may_be
from mapper.passes.legalize.stride import Bounds, expressible, stride_note, strided

__all__ = ["Candidate", "LayerForm", "Setting", "candidates", "unfolded"]


@dataclass(frozen=True, slots=True)
class LayerForm:
    """One legal way to write a layer for a chip.

    Attributes
    ----------
    layer
        Name and output shape as in the source network.
    edges
        Its incoming edges, in the network's order: same sources, other pools, and other feature offsets
        where the sensor's features moved to the front.
    notes
        What was rewritten; empty where nothing was.
    """

    layer: NormalLayer
    edges: tuple[Edge, ...]
    notes: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[object, ...]:
        """All of it but numbers and notes: equal for the same form of other weights."""
        conv, edges = self.layer.operation, tuple((e.source, e.path, e.feature_offset) for e in self.edges)
        return self.layer.input_shape, conv.kernel, conv.stride, conv.padding, edges


@dataclass(frozen=True, slots=True)
class Candidate:
    """A form with what it needs.

    Attributes
    ----------
    relays
        Per edge, how many relays in a row its pool needs; 0 where destinations do it alone.
    is_legal
        Whether the layer is expressible.
    counts_events
        Whether it matters what a core does with an event.
    """

    form: LayerForm
    relays: tuple[int, ...]
    is_legal: bool
    counts_events: bool

    @property
    def is_direct(self) -> bool:
        """Whether no pool needs a relay."""
        return not any(self.relays)

    def dominates(self, other: Candidate) -> bool:
        """Whether nothing is lost without the other form.

        On every edge this one needs no relay, or no more of them for the same pool; and it has no more
        taps: in its kernel, and per event where these count. All else that a rewrite changes is a
        limit, which both keep. Forms that read other signals do not compare.
        """
        if [edge.source for edge in self.form.edges] != [edge.source for edge in other.form.edges]:
            return False
        edges = zip(self.form.edges, self.relays, other.form.edges, other.relays, strict=True)
        routed = all(not a or (x.path == y.path and a <= b) for x, a, y, b in edges)
        (taps, stride), (more, wider) = _taps(self.form.layer), _taps(other.form.layer)
        no_busier = not self.counts_events or taps * wider <= more * stride
        legal = self.is_legal or not other.is_legal
        return legal and routed and taps <= more and no_busier


def _taps(layer: NormalLayer) -> tuple[int, int]:
    """(taps, product of strides) of the kernel."""
    return prod(layer.operation.kernel), prod(layer.operation.stride)


@dataclass(frozen=True, slots=True)
class Setting:
    """What the forms of all layers have in common.

    Attributes
    ----------
    inputs, signals
        Inputs, and shapes of all signals, by name.
    relays
        Whether a pool may be done in steps, by relays.
    counts_events
        As in `Candidate`.
    stage
        (height, width) of the sensor stage's pooling, which divides the pools of all its edges; None leaves
        these as they are.
    """

    inputs: Mapping[str, Input]
    signals: Mapping[str, Shape]
    chip: ChipSpec
    bounds: Bounds
    relays: bool
    counts_events: bool
    stage: Pair | None = None

    def kept(self, edge: Edge) -> dict[Factor, tuple[Pair, int]]:
        """(pool that stays on an edge, relays it needs), by what then goes into the kernel."""
        if edge.pool is None:
            return {NOTHING: (UNPOOLED, 0)}
        size, stride = edge.pool.size, edge.pool.stride
        entry, stage = self.inputs.get(edge.source), UNPOOLED
        if entry is not None and entry.dvs is not None:
            if self.stage is None:
                # Legal or not, the edge stays: a factor of one and all of the pool on the edge.
                return {NOTHING: (size, 0)}
            if not stage_may_be(self.stage, entry, edge, self.chip):
                return {}
            stage = self.stage
        common = (gcd(size[0], stride[0]), gcd(size[1], stride[1]))
        square = gcd(common[0] // stage[0], common[1] // stage[1])
        result = {}
        for pool, destinations in _in_a_row(square, self.chip.routing.poolings).items():
            # The last of the destinations is the layer's own; what an input sends is not pooled yet.
            relays = max(destinations - 1, 0) if entry is None else destinations
            if self.relays or not relays:
                a, b = stage[0] * pool, stage[1] * pool
                left = Factor((size[0] // a, size[1] // b), (stride[0] // a, stride[1] // b))
                result[left] = ((a, b), relays)
        return result


def _in_a_row(total: int, poolings: Iterable[int]) -> dict[int, int]:
    """By pool that divides the total, the fewest destinations in a row that make it."""
    fewest, last = {1: 0}, {1}
    while last:
        last = {a * b for a in last for b in poolings if total % (a * b) == 0} - fewest.keys()
        fewest |= dict.fromkeys(last, max(fewest.values()) + 1)
    return fewest


def candidates(setting: Setting, start: LayerForm) -> tuple[Candidate, ...]:
    """Every form of a layer that is legal and not dominated; none where no common factor is possible.

    All edges give the same factor to the kernel. Forms that destinations do alone come first, the one
    that folds least before others. Those that need relays follow, from the one that folds most; without
    a direct form the one that folds least is the first. A layer that no form makes expressible has one
    form, unfolded, if its pools can be done.
    """
    if not any(edge.path for edge in start.edges):
        return (unfolded(setting, start),)
    kept = [setting.kept(edge) for edge in start.edges]
    common = set.intersection(*(set(entry) for entry in kept))
    direct: list[Candidate] = []
    relayed: list[Candidate] = []
    for factor in sorted(common, key=lambda entry: (prod(entry.size), prod(entry.stride), entry)):
        pools, relays = zip(*(entry[factor] for entry in kept), strict=True)
        if factor == NOTHING:
            candidate: Candidate | None = unfolded(setting, start, relays)
        else:
            candidate = _folded(setting, start, factor, pools, relays, direct)
        if candidate is not None:
            (direct if candidate.is_direct else relayed).append(candidate)
            as_it_was = candidate.form is start and candidate.is_legal and candidate.is_direct
            if as_it_was and not setting.counts_events:
                return (candidate,)
    written = (*direct, *reversed(relayed)) if any(c.is_legal for c in direct) else (*direct, *relayed)
    return tuple(candidate for candidate in written if candidate.is_legal) or written[:1]


def unfolded(setting: Setting, start: LayerForm, relays: tuple[int, ...] = ()) -> Candidate:
    """The form that keeps all pools on the edges; kernel and stride are mended where they can be."""
    layer, notes = _mended(start.layer, setting.bounds)
    form = start if layer is start.layer else LayerForm(layer, start.edges, (*start.notes, *notes))
    relays = relays or (0,) * len(start.edges)
    return Candidate(form, relays, expressible(layer, setting.bounds), setting.counts_events)


def _folded(
    setting: Setting,
    start: LayerForm,
    factor: Factor,
    pools: Sequence[Pair],
    relays: tuple[int, ...],
    direct: Sequence[Candidate],
) -> Candidate | None:
    """The form with a factor in the kernel, if it is exact, legal and not dominated by the direct ones."""
    bounds = setting.bounds
    moved = tuple(
        replace(edge, path=() if pool == UNPOOLED else (Pool("sum", pool, pool),))
        for edge, pool in zip(start.edges, pools, strict=True)
    )
    maps = {shape_after(setting.signals[edge.source], edge.path)[1:] for edge in moved}
    bare = folded_shape(start.layer, factor, maps.pop()) if len(maps) == 1 else None
    if bare is None:
        return None
    # Kernel and stride may still be mended; what that leaves illegal is not worth a fold.
    shape, _ = _mended(bare, bounds)
    rough = Candidate(LayerForm(shape, moved), relays, expressible(shape, bounds), setting.counts_events)
    if not rough.is_legal or any(entry.dominates(rough) for entry in direct):
        return None
    wide = folded(start.layer, bare, factor, bounds)
    if wide is None:
        return None
    layer, notes = _mended(wide, bounds)
    note = fold_note(start.layer, wide, start.edges, moved)
    return replace(rough, form=LayerForm(layer, moved, (*start.notes, note, *notes)))


def _mended(layer: NormalLayer, bounds: Bounds) -> tuple[NormalLayer, tuple[str, ...]]:
    """The layer with a square kernel and legal strides, as far as possible, and notes."""
    grown = squared(layer, bounds)
    legal = strided(grown, bounds)
    notes = (square_note(layer, grown),) if grown is not layer else ()
    return legal, (*notes, stride_note(grown)) if legal is not grown else notes
