"""Maps that are too large for every core: their rows and columns become features ("space to depth").

f features at stride s are then a * b * f features at the strides a * s and b * s, and make a map of a-th the
height and b-th the width. Neuron words stay what they were. Whoever reads such a layer pools by its phases,
strides over them, or gets phases too; a layer with a reader that does neither is left alone.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import count
from math import gcd

from hwspec.schema import ChipSpec
from mapper.by_value import same
from mapper.network import Edge, Origin
from mapper.normal_form import NormalLayer, NormalNetwork
from mapper.operations import Pair
from mapper.passes.legalize.kernel import event_remark, squared
from mapper.passes.legalize.phase_layers import Phased, form_of, joint_of, may_read, needs_form
from mapper.passes.legalize.pools import UNPOOLED, size_and_stride
from mapper.passes.legalize.stride import Bounds, bounds_apart, common_bounds, expressible, strided, times

__all__ = [
    "MOVE",
    "PHASES_MAX",
    "has_phases",
    "least_phases",
    "phase_note",
    "phased",
    "phased_by",
    "phases_over",
    "planned",
]

MOVE = "space to depth"
"""What proofs call the move."""

PHASES_MAX = 16
"""Twice the largest stride of the family; more phases only pass on what others have."""


def has_phases(network: NormalNetwork) -> bool:
    """Whether rows and columns of a layer became features."""
    return any(origin.phases != UNPOOLED for origin in network.origins)


def phased(
    network: NormalNetwork, chip: ChipSpec, fixed: Collection[str] = (), seen: Collection[str] = ()
) -> NormalNetwork:
    """The network with phases wherever a map, or a kernel over a whole map, is too large for every core.

    Parameters
    ----------
    network
        With integer weights, others, or none.
    fixed
        Layers that keep their maps.
    seen
        Layers that are read outside the chip, beside the outputs: nothing of them may go.

    Returns
    -------
    NormalNetwork
        The same object where nothing is too large or nothing can be done. Else layers keep their names, and
        `Network.origins` says where those that were given are found. Exact in time steps.
    """
    sizes, _ = planned(network, chip, fixed, seen)
    return _written(network, sizes) if sizes else network


def planned(
    network: NormalNetwork, chip: ChipSpec, fixed: Collection[str], seen: Collection[str]
) -> tuple[dict[str, Phased], dict[str, str]]:
    """What becomes of maps; and what is in the way of those that stay too large, by layer."""
    limits, reasons = Limits(chip), dict[str, str]()
    wanted = {} if network.origins else dict(_wanted(network, limits))
    whole = {*seen, *(output.source for output in network.outputs)} if wanted else set()
    while wanted:
        plan = _Plan(network, fixed, whole, limits, wanted)
        sizes = plan.sizes() if plan.settle() else None
        if sizes is not None:
            return sizes, reasons
        reasons |= dict.fromkeys(sorted(plan.to_blame), plan.reason)
        wanted = {name: wish for name, wish in wanted.items() if name not in plan.to_blame}
    return {}, reasons


def phased_by(network: NormalNetwork, pattern: NormalNetwork) -> NormalNetwork:
    """The network with the phases that its twin of other weights has.

    Raises
    ------
    ValueError
        The network has no such form.
    """
    found = (origin for origin in pattern.origins if origin.phases != UNPOOLED)
    shapes = pattern.signal_shapes
    return _written(network, {o.name: Phased(o.phases, _size(shapes[o.layer])) for o in found})


def _size(shape: tuple[int, int, int]) -> Pair:
    return shape[1], shape[2]


class Limits:
    """What some core of a chip allows."""

    def __init__(self, chip: ChipSpec) -> None:
        every = [entry.core.limits for entry in chip.core_classes]
        self.size = max(e.output_height_max for e in every), max(e.output_width_max for e in every)
        self.kernel = max(e.kernel_size_max for e in every)
        self.shifts, self._chip = chip.routing.feature_shift, chip

    @cached_property
    def bounds(self) -> tuple[Bounds, ...]:
        """Of all cores in common, and of those that are alike."""
        return common_bounds(self._chip), *bounds_apart(self._chip)

    def allow(self, layer: NormalLayer) -> bool:
        """Whether cores of some kind can express the layer, once its kernel is square."""
        return any(self._holds(layer, bounds) for bounds in self.bounds)

    @staticmethod
    def _holds(layer: NormalLayer, bounds: Bounds) -> bool:
        written, limits = strided(squared(layer, bounds), bounds), bounds.limits
        _, height, width = written.output_shape
        map_fits = height <= limits.output_height_max and width <= limits.output_width_max
        # Of the features that it makes, a core may hold a part.
        return (
            map_fits
            and layer.input_shape.features <= limits.input_features_max
            and expressible(written, bounds)
        )


@dataclass(frozen=True, slots=True)
class _Wish:
    """Why a layer takes part: least phases of its own, and least given rows and columns in what it reads."""

    own: Pair = UNPOOLED
    joint: Pair = UNPOOLED


def _wanted(network: NormalNetwork, limits: Limits) -> Iterator[tuple[str, _Wish]]:
    for layer in network.layers:
        kernel, (_, height, width) = layer.operation.kernel, layer.output_shape
        own = least_phases(height, limits.size[0]), least_phases(width, limits.size[1])
        if own != UNPOOLED:
            yield layer.name, _Wish(own=own)
        elif height == width == 1 and max(kernel) > limits.kernel:
            # Kernels are square: both axes are cut alike.
            least = phases_over(max(kernel), limits.kernel)
            yield layer.name, _Wish(joint=(least, least))


def least_phases(size: int, most: int) -> int:
    """The fewest phases that cut a map to at most this size, without what is left over."""
    return _least(lambda phases: size // phases <= most)


def phases_over(kernel: int, most: int) -> int:
    """The fewest phases over which a kernel has at most this size."""
    return _least(lambda phases: kernel <= phases * most)


def _least(enough: Callable[[int], bool]) -> int:
    """The smallest power of two that is enough: strides of the family are such."""
    return next(1 << n for n in count() if enough(1 << n))


@dataclass
class _Plan:
    """Phases of all layers, from those that some need to all that follow.

    Attributes
    ----------
    phases
        By layer, of those that have any.
    causes
        By layer that takes part, the layers in `wanted` that make it.
    to_blame, reason
        Once something is in the way: the layers in `wanted` that come to nothing, and why.
    """

    network: NormalNetwork
    fixed: Collection[str]
    whole: Collection[str]
    limits: Limits
    wanted: Mapping[str, _Wish]
    phases: dict[str, Pair] = field(default_factory=dict)
    causes: dict[str, set[str]] = field(default_factory=dict)
    to_blame: set[str] = field(default_factory=set)
    reason: str = ""

    def settle(self) -> bool:
        """Whether all that need phases can have them; those that follow get theirs."""
        for name, wish in self.wanted.items():
            if not self._raise(name, self._alike(name, wish.own), {name}):
                return False
        changes = True
        while changes:
            before = dict(self.phases)
            if not all(map(self._follow, self.network.layers)):
                return False
            changes = before != self.phases
        return True

    def _alike(self, name: str, own: Pair) -> Pair:
        """Phases alike in both axes where a reader's square pool would not stay square otherwise."""
        both = max(own)
        pools = [size_and_stride(edge.pool) for edge in self.network.outgoing[name]]
        squares = [size[0] for size, stride in pools if size == stride and size[0] == size[1] > 1]
        _, height, width = self.network.by_name[name].output_shape
        helps = own != UNPOOLED and any(size % both == 0 for size in squares)
        return (both, both) if helps and min(height, width) >= both else own

    def _raise(self, name: str, phases: Pair, causes: set[str]) -> bool:
        """Give a layer at least these phases, because of these causes."""
        now = self.phases.get(name, UNPOOLED)
        new = max(now[0], phases[0]), max(now[1], phases[1])
        self.causes.setdefault(name, set()).update(causes)
        if new == now:
            return True
        blamed, title = self.causes[name], self.network.title(name)
        if name not in self.network.by_name:
            return self._blame(blamed, f"{title} is an input, which only a relay can have phases of")
        if name in self.fixed:
            return self._blame(blamed, f"{title} feeds the readout stage, or a relay shows it pooled")
        if max(new) > PHASES_MAX:
            return self._blame(blamed, f"{title} would need {times(new)} phases")
        self.phases[name] = new
        return True

    def _blame(self, causes: set[str], reason: str) -> bool:
        self.to_blame, self.reason = self.to_blame | causes, reason
        return False

    def _involved(self, layer: NormalLayer) -> set[str]:
        """The layers in `wanted` that a layer has to do with."""
        sources = {edge.source for edge in self.network.incoming[layer.name] if edge.source in self.phases}
        found = {cause for name in (*sources, layer.name) for cause in self.causes.get(name, ())}
        return found | ({layer.name} & self.wanted.keys())

    def _joint(self, edge: Edge) -> Pair | None:
        """(given rows, given columns) in every one that arrives."""
        phases, (size, stride) = self.phases.get(edge.source, UNPOOLED), size_and_stride(edge.pool)
        rows, columns = (joint_of(phases[axis], size[axis], stride[axis]) for axis in (0, 1))
        return None if rows is None or columns is None else (rows[0], columns[0])

    def _follow(self, layer: NormalLayer) -> bool:
        """Give phases to all that a layer reads alike, and to itself where its stride asks for them."""
        causes = self._involved(layer)
        if not causes:
            return True
        incoming, wish = self.network.incoming[layer.name], self.wanted.get(layer.name, _Wish())
        joints = [(edge, self._joint(edge)) for edge in incoming]
        known = [pair for _, pair in joints if pair is not None]
        if len(known) < len(joints):
            edge, title = next(edge for edge, pair in joints if pair is None), self.network.title
            size = times(size_and_stride(edge.pool)[0])
            return self._blame(causes, f"{title(edge.target)} pools {title(edge.source)} by {size}")
        rows, columns = (max(wish.joint[axis], *(pair[axis] for pair in known)) for axis in (0, 1))
        for edge, pair in joints:
            if pair != (rows, columns):
                height, width = size_and_stride(edge.pool)[0]
                phases = (rows * height if rows > 1 else 1, columns * width if columns > 1 else 1)
                if not self._raise(edge.source, phases, causes):
                    return False
        _, height, width = layer.output_shape
        stride = layer.operation.stride
        own = (
            rows // gcd(rows, stride[0]) if height > 1 else 1,
            columns // gcd(columns, stride[1]) if width > 1 else 1,
        )
        return own == UNPOOLED or self._raise(layer.name, own, causes)

    def sizes(self) -> dict[str, Phased] | None:
        """What becomes of the maps; None where a layer would not read the same, or no core can express it.

        Rows and columns beyond a whole number of phases stay where all readers allow it, else they go.
        """
        for is_whole in (True, False):
            sizes = self._sizes(is_whole=is_whole)
            wrong = (layer for layer in self.network.layers if not self._is_right(layer, sizes))
            layer = next(wrong, None)
            if layer is None:
                return sizes
        if layer is not None:
            self._blame(self._involved(layer), f"{layer.title} would not read the same, or fit no core")
        return None

    def _sizes(self, *, is_whole: bool) -> dict[str, Phased]:
        sizes: dict[str, Phased] = {}
        for layer in reversed(self.network.layers):
            if layer.name not in self.phases:
                continue
            phases, size = self.phases[layer.name], []
            for axis in (0, 1):
                given = layer.output_shape[1 + axis]
                more = -(-given // phases[axis])
                stays = is_whole and more <= self.limits.size[axis]
                stays = stays and all(
                    may_read(self.network, edge, axis, (phases[axis], more), sizes)
                    for edge in self.network.outgoing[layer.name]
                )
                size.append(more if stays else given // phases[axis])
            sizes[layer.name] = Phased(phases, (size[0], size[1]))
        return sizes

    def _is_right(self, layer: NormalLayer, sizes: Mapping[str, Phased]) -> bool:
        """Whether a layer that changes reads the same, and does not become what no core can express."""
        if not needs_form(self.network, layer, sizes):
            return True
        form = form_of(self.network, layer, sizes)
        own = sizes.get(layer.name)
        if form is None or (layer.name in self.whole and own is not None and _lacks(layer, own)):
            return False
        written, edges = form
        before = self.network.incoming[layer.name]
        shifts = [any(edge.feature_offset for edge in side) for side in (before, edges)]
        could = self.limits.allow(layer) or layer.name in self.wanted
        return (self.limits.allow(written) or not could) and (
            self.limits.shifts or shifts[0] or not shifts[1]
        )


def _written(network: NormalNetwork, sizes: Mapping[str, Phased]) -> NormalNetwork:
    layers, notes, edges = [], [], {}
    for layer in network.layers:
        written, incoming = layer, network.incoming[layer.name]
        if needs_form(network, layer, sizes):
            form = form_of(network, layer, sizes)
            if form is None:
                raise ValueError(f"layer {layer.title} has no form with these phases")
            written, incoming = replace(form[0], unrounded=_unrounded(network, layer, sizes)), form[1]
            sources = dict.fromkeys(e.source for e in network.incoming[layer.name] if e.source in sizes)
            notes.append(phase_note(layer, written, [*map(network.title, sources)], sizes.get(layer.name)))
        layers.append(written)
        edges[layer.name] = iter(incoming)
    own = {name: entry.phases for name, entry in sizes.items()}
    return network.replacing(
        layers=tuple(layers),
        edges=tuple(next(edges[edge.target]) for edge in network.edges),
        notes=(*network.notes, *notes),
        origins=tuple(
            Origin(layer.name, layer.output_shape, layer.name, 0, own.get(layer.name, UNPOOLED))
            for layer in network.layers
        ),
    )


def _unrounded(network: NormalNetwork, layer: NormalLayer, sizes: Mapping[str, Phased]) -> NormalLayer | None:
    """The same of what the layer was rounded from, which siblings are compared by."""
    before = layer.unrounded
    if before is None or before.input_shape != layer.input_shape:
        return None
    shapes = (replace(one.operation, weight=None, bias=None) for one in (before, layer))
    if not same(*shapes):
        return None
    form = form_of(network, before, sizes)
    return None if form is None else form[0]


def _lacks(layer: NormalLayer, own: Phased) -> bool:
    """Whether the last rows or columns of a layer's map are left out."""
    axes = zip(own.size, own.phases, layer.output_shape[1:], strict=True)
    return any(size * phases < given for size, phases, given in axes)


def phase_note(
    layer: NormalLayer, written: NormalLayer, sources: Sequence[str], own: Phased | None = None
) -> str:
    """What became of a layer that reads the phases of some sources, and may have its own."""
    old, new, parts = layer.operation, written.operation, list[str]()
    if own is not None:
        parts.append(
            f"{layer.output_shape} became {written.output_shape}, {times(own.phases)} phases as features"
        )
        if _lacks(layer, own):
            parts.append("without the last rows or columns, which nothing reads")
    if sources:
        parts.append(f"the phases of {', '.join(sources)} are features that it reads")
    for name in ("kernel", "stride", "padding"):
        before, after = getattr(old, name), getattr(new, name)
        if before != after:
            parts.append(f"{name} {times(before)} became {times(after)}")
    remark = event_remark(written) or "; exact in time steps, not spike by spike"
    return f"{layer.title}: {MOVE}: {', '.join(parts)}{remark}"
