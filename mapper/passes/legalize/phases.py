"""Maps that are too large for every core: their rows and columns become features ("space to depth").

f features at stride s are then a * b * f features at the strides a * s and b * s, which make a map of a-th the height
and b-th the width. Neuron words stay what they were. Whoever reads such a layer pools by its phases, strides over
them, or becomes phased itself; a layer with a reader that does neither is left alone, and so are layers that are
seen outside the chip.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from math import gcd

from hwspec.schema import ChipSpec
from mapper.network import Edge, Origin
from mapper.normal_form import NormalLayer, NormalNetwork
from mapper.operations import Pair
from mapper.passes.legalize.kernel import squared
from mapper.passes.legalize.phase_layers import Axis, axis_of, joint_of, phased_layer
from mapper.passes.legalize.pools import UNPOOLED, size_and_stride
from mapper.passes.legalize.stride import Bounds, bounds_apart, common_bounds, expressible, strided, times

__all__ = ["MOVE", "has_phases", "phased", "phased_by"]

MOVE = "space to depth"
"""What proofs call the move."""

_PHASES_MAX = 64


def has_phases(network: NormalNetwork) -> bool:
    """Whether rows and columns of a layer became features."""
    return any(origin.phases != UNPOOLED for origin in network.origins)


def phased(network: NormalNetwork, chip: ChipSpec, seen: Collection[str] = ()) -> NormalNetwork:
    """The network with phases wherever a map, or a kernel over a whole map, is too large for every core.

    Parameters
    ----------
    network
        With integer weights, others, or none.
    seen
        Layers that are read outside the chip, beside the outputs: they keep their maps.

    Returns
    -------
    NormalNetwork
        The same object where nothing is too large or nothing can be done. Else layers keep their names, and
        `Network.origins` says where those that were given are found. Exact in time steps.
    """
    limits = _Limits.of(chip)
    wanted = dict(_wanted(network, limits))
    if not wanted or network.origins:
        return network
    fixed = {*seen, *(output.source for output in network.outputs)}
    while wanted:
        plan = _Plan(network, fixed, limits, wanted)
        if plan.settle() and plan.is_exact():
            return _written(network, plan.phases)
        for name in plan.to_blame:
            wanted.pop(name, None)
    return network


def phased_by(network: NormalNetwork, phases: Mapping[str, Pair]) -> NormalNetwork:
    """The network with these phases by layer, as `phased` found them for its twin of other weights.

    Raises
    ------
    ValueError
        The network has no such form.
    """
    return _written(network, {name: pair for name, pair in phases.items() if pair != UNPOOLED})


@dataclass(frozen=True, slots=True)
class _Limits:
    """What some core of the chip allows."""

    map: Pair
    kernel: int
    bounds: tuple[Bounds, ...]
    shifts: bool

    @classmethod
    def of(cls, chip: ChipSpec) -> _Limits:
        """Of a chip."""
        every = [entry.core.limits for entry in chip.core_classes]
        return cls(
            (max(e.output_height_max for e in every), max(e.output_width_max for e in every)),
            max(e.kernel_size_max for e in every),
            (common_bounds(chip), *bounds_apart(chip)),
            chip.routing.feature_shift,
        )

    def allow(self, layer: NormalLayer) -> bool:
        """Whether cores with the same limits can express the layer, once its kernel is square."""
        return any(self._holds(layer, bounds) for bounds in self.bounds)

    @staticmethod
    def _holds(layer: NormalLayer, bounds: Bounds) -> bool:
        written, limits = strided(squared(layer, bounds), bounds), bounds.limits
        _, height, width = written.output_shape
        fits = height <= limits.output_height_max and width <= limits.output_width_max
        return (
            fits and layer.input_shape.features <= limits.input_features_max and expressible(written, bounds)
        )


@dataclass(frozen=True, slots=True)
class _Wish:
    """Why a layer takes part: least phases of its own, and least given rows and columns in what it reads."""

    own: Pair = UNPOOLED
    joint: Pair = UNPOOLED


def _wanted(network: NormalNetwork, limits: _Limits) -> Iterator[tuple[str, _Wish]]:
    for layer in network.layers:
        conv, shape = layer.operation, layer.output_shape
        own = _least(shape[1], limits.map[0]), _least(shape[2], limits.map[1])
        rows, columns = (
            _least_over(conv.kernel[axis], limits.kernel) if shape[1 + axis] == 1 else 1 for axis in (0, 1)
        )
        # Kernels are square: both axes are cut alike where both are whole maps.
        both = max(rows, columns) if shape[1:] == (1, 1) and conv.kernel[0] == conv.kernel[1] else 0
        if own != UNPOOLED:
            yield layer.name, _Wish(own=own)
        elif (rows, columns) != UNPOOLED:
            yield layer.name, _Wish(joint=(max(rows, both), max(columns, both)))


def _least(size: int, most: int) -> int:
    """The smallest power of two that cuts a map to at most this size; what fills no phase is dropped."""
    phases = 1
    while size // phases > most:
        phases *= 2
    return phases


def _least_over(kernel: int, most: int) -> int:
    phases = 1
    while -(-kernel // phases) > most:
        phases *= 2
    return phases


@dataclass
class _Plan:
    """Phases of all layers, from those that some need to all that follow.

    Attributes
    ----------
    phases
        By layer, of those that have any.
    causes
        By layer that takes part, the layers in `wanted` that make it.
    to_blame
        Once something is in the way: the layers in `wanted` that come to nothing.
    """

    network: NormalNetwork
    fixed: Collection[str]
    limits: _Limits
    wanted: Mapping[str, _Wish]
    phases: dict[str, Pair] = field(default_factory=dict)
    causes: dict[str, set[str]] = field(default_factory=dict)
    to_blame: set[str] = field(default_factory=set)

    def settle(self) -> bool:
        """Whether all that need phases can have them; those that follow get theirs."""
        for name, wish in self.wanted.items():
            if not self._raise(name, self._square(name, wish.own), {name}):
                return False
        changes = True
        while changes:
            before = dict(self.phases)
            if not all(map(self._follow, self.network.layers)):
                return False
            changes = before != self.phases
        return True

    def _square(self, name: str, own: Pair) -> Pair:
        """Phases alike in both axes where a reader's square pool would not stay square otherwise."""
        both = max(own)
        pools = [size_and_stride(edge.pool) for edge in self.network.outgoing[name]]
        sizes = [size for size, stride in pools if size == stride and size[0] == size[1] and size[0] > 1]
        _, height, width = self.network.by_name[name].output_shape
        alike = own != UNPOOLED and any(size[0] % both == 0 for size in sizes)
        return (both, both) if alike and min(height, width) >= both else own

    def _raise(self, name: str, phases: Pair, causes: set[str]) -> bool:
        """Give a layer at least these phases, because of these causes."""
        now = self.phases.get(name, UNPOOLED)
        new = max(now[0], phases[0]), max(now[1], phases[1])
        self.causes.setdefault(name, set()).update(causes)
        if new == now:
            return True
        if name in self.fixed or name not in self.network.by_name or max(new) > _PHASES_MAX:
            self.to_blame |= self.causes[name]
            return False
        self.phases[name] = new
        return True

    def _involved(self, layer: NormalLayer) -> set[str]:
        """Whose phases a layer has to do with."""
        sources = {edge.source for edge in self.network.incoming[layer.name] if edge.source in self.phases}
        found = set().union(*(self.causes[name] for name in {*sources, layer.name} & self.causes.keys()))
        return found | ({layer.name} & self.wanted.keys())

    def joint(self, layer: NormalLayer) -> Pair | None:
        """(given rows, given columns) in every one that arrives; None where edges differ or have no form."""
        found = {self._joint_behind(edge) for edge in self.network.incoming[layer.name]}
        return found.pop() if len(found) == 1 else None

    def _joint_behind(self, edge: Edge) -> Pair | None:
        phases, (size, stride) = self.phases.get(edge.source, UNPOOLED), size_and_stride(edge.pool)
        rows, columns = (joint_of(phases[axis], size[axis], stride[axis]) for axis in (0, 1))
        return None if rows is None or columns is None else (rows[0], columns[0])

    def _follow(self, layer: NormalLayer) -> bool:
        """Give phases to what a layer reads with others, and to itself where its stride asks for them."""
        incoming, causes = self.network.incoming[layer.name], self._involved(layer)
        if not causes:
            return True
        joints = [self._joint_behind(edge) for edge in incoming]
        wish = self.wanted.get(layer.name, _Wish())
        if any(pair is None for pair in joints):
            self.to_blame |= causes
            return False
        most = [max(wish.joint[axis], *(pair[axis] for pair in joints if pair)) for axis in (0, 1)]
        for edge, pair in zip(incoming, joints, strict=True):
            if pair is None or pair == (most[0], most[1]):
                continue
            size, _ = size_and_stride(edge.pool)
            rows, columns = (most[axis] * size[axis] if most[axis] > 1 else 1 for axis in (0, 1))
            if not self._raise(edge.source, (rows, columns), causes):
                return False
        own = [1, 1]
        for axis in (0, 1):
            stride = layer.operation.stride[axis]
            if layer.output_shape[1 + axis] > 1:
                own[axis] = most[axis] // gcd(most[axis], stride)
        return own == [1, 1] or self._raise(layer.name, (own[0], own[1]), causes)

    def is_exact(self) -> bool:
        """Whether every layer that changes reads the same, and cores can express it."""
        for layer in self.network.layers:
            changed = _changed(self.network, layer, self.phases)
            if changed and not self._has_form(layer):
                self.to_blame |= self._involved(layer)
                return False
        return True

    def _has_form(self, layer: NormalLayer) -> bool:
        joint = self.joint(layer)
        axes = None if joint is None else _axes(layer, self.phases, joint)
        if joint is None or axes is None:
            return False
        written, edges = phased_layer(self.network, layer, self.phases, axes, joint)
        shifted = any(edge.feature_offset for edge in edges) and not self.limits.shifts
        was_shifted = any(edge.feature_offset for edge in self.network.incoming[layer.name])
        could = layer.name not in self.wanted and not self.limits.allow(layer)
        return (self.limits.allow(written) or could) and (not shifted or was_shifted)


def _changed(network: NormalNetwork, layer: NormalLayer, phases: Mapping[str, Pair]) -> bool:
    return layer.name in phases or any(edge.source in phases for edge in network.incoming[layer.name])


def _axes(layer: NormalLayer, phases: Mapping[str, Pair], joint: Pair) -> tuple[Axis, Axis] | None:
    own = phases.get(layer.name, UNPOOLED)
    rows, columns = (axis_of(layer, axis, own[axis], joint[axis]) for axis in (0, 1))
    return None if rows is None or columns is None else (rows, columns)


def _written(network: NormalNetwork, phases: Mapping[str, Pair]) -> NormalNetwork:
    plan = _Plan(network, (), _NO_LIMITS, {}, dict(phases))
    layers, notes, edges = [], [], {}
    for layer in network.layers:
        written, incoming = layer, network.incoming[layer.name]
        if _changed(network, layer, phases):
            joint = plan.joint(layer)
            axes = None if joint is None else _axes(layer, phases, joint)
            if joint is None or axes is None:
                raise ValueError(f"layer {layer.name} has no form with these phases")
            written, incoming = phased_layer(network, layer, phases, axes, joint)
            notes.append(_note(network, layer, written, phases))
        layers.append(written)
        edges[layer.name] = iter(incoming)
    return network.replacing(
        layers=tuple(layers),
        edges=tuple(next(edges[edge.target]) for edge in network.edges),
        notes=(*network.notes, *notes),
        origins=tuple(
            Origin(layer.name, layer.output_shape, layer.name, 0, phases.get(layer.name, UNPOOLED))
            for layer in network.layers
        ),
    )


_NO_LIMITS = _Limits(UNPOOLED, 1, (), True)


def _note(
    network: NormalNetwork, layer: NormalLayer, written: NormalLayer, phases: Mapping[str, Pair]
) -> str:
    old, new, own = layer.operation, written.operation, phases.get(layer.name)
    parts = []
    if own is not None:
        parts.append(f"{layer.output_shape} became {written.output_shape}, {times(own)} phases as features")
        if any(size % phase for size, phase in zip(layer.output_shape[1:], own, strict=True)):
            parts.append(
                "rows and columns beyond a whole number of phases, which nothing reads, are left out"
            )
    sources = dict.fromkeys(edge.source for edge in network.incoming[layer.name] if edge.source in phases)
    if sources:
        parts.append(f"the phases of {', '.join(sources)} are features that it reads")
    for name in ("kernel", "stride", "padding"):
        before, after = getattr(old, name), getattr(new, name)
        if before != after:
            parts.append(f"{name} {times(before)} became {times(after)}")
    return f"{layer.name}: {MOVE}: {', '.join(parts)}; exact in time steps"
