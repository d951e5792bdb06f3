"""Networks that were rewritten for a chip, against those that were given.

At every place of a given layer the spikes that reach its neurons are listed twice, tap by tap: as the given
network says, and through the cores' layers, whose features and places `Network.origins` turn into given ones.
Places whose lists are alike, but for being shifted, are compared once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, TypeAlias

import numpy as np

from mapper.network import Edge, Network, Origin, Output
from mapper.normal_form import NormalLayer, NormalNetwork
from mapper.options import SolveOptions
from mapper.rules import Rule
from mapper.verify.case import Case, Violation, edge_pool

__all__ = ["check_rewritten", "differences"]

# A given signal and its delay: spikes of several edges from one add up.
_Source: TypeAlias = tuple[str, int]
# (tap, given row or column of the source) of everything that one neuron reads along one axis.
_Reads: TypeAlias = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class _Path:
    """Features of a given source on their way into a layer, with the weights that they meet.

    Attributes
    ----------
    edges
        From the source to the layer, through what passes it on.
    phases, phase
        Of the core's layer that sends them, and which one: its row y is given row ``y * phases + phase``.
    """

    source: _Source
    layer: NormalLayer
    edges: tuple[Edge, ...]
    first: int
    features: int
    phases: tuple[int, int] = (1, 1)
    phase: tuple[int, int] = (0, 0)

    def reads(self, axis: int, place: int) -> _Reads:
        """What the layer's neurons at this row or column read of the source, in given ones."""
        conv, pools = self.layer.operation, [edge_pool(edge) for edge in reversed(self.edges)]
        found = []
        for tap in range(conv.kernel[axis]):
            at = place * conv.stride[axis] - conv.padding[axis] + tap
            if 0 <= at < self.layer.input_shape[1 + axis]:
                rows = [at]
                for size, stride in pools:
                    rows = [row * stride[axis] + n for row in rows for n in range(size[axis])]
                found += [(tap, row * self.phases[axis] + self.phase[axis]) for row in rows]
        return tuple(found)

    def is_inside(self, axis: int, place: int) -> bool:
        """Whether every tap of the layer's neurons at this row or column meets the map."""
        conv = self.layer.operation
        first = place * conv.stride[axis] - conv.padding[axis]
        return first >= 0 and first + conv.kernel[axis] <= self.layer.input_shape[1 + axis]

    def step(self, axis: int) -> int:
        """How many given rows or columns the taps move from one of the layer's neurons to the next."""
        strides = [edge_pool(edge)[1][axis] for edge in self.edges]
        return prod((self.layer.operation.stride[axis], *strides, self.phases[axis]))


def check_rewritten(case: Case) -> Iterator[Violation]:
    """Check `Rule.REWRITTEN`."""
    for given, placed in zip(case.given, case.networks, strict=True):
        if placed.origins is given.origins or (not placed.origins and not given.origins):
            continue
        for what in _forbidden(placed, case.options):
            yield Violation(Rule.REWRITTEN, placed.name, f"{what}, and that is not allowed")
        for where, problem in differences(given, placed):
            yield Violation(Rule.REWRITTEN, where, problem)


def _forbidden(placed: NormalNetwork, options: SolveOptions) -> Iterator[str]:
    """Moves that the request takes away."""
    carried = [origin.layer for origin in placed.origins]
    if not options.rewrites and any(origin.phases != (1, 1) for origin in placed.origins):
        yield "rows and columns became features"
    if not options.fusion and len(set(carried)) < len(carried):
        yield "layers share a core"
    if not (options.joint and options.relays) and not placed.by_name.keys() <= set(carried):
        yield "a core passes on what several layers send"


def differences(given: NormalNetwork, placed: NormalNetwork) -> Iterator[tuple[str, str]]:
    """(layer, what it does otherwise than the given one)."""
    if [origin.name for origin in placed.origins] != [layer.name for layer in given.layers]:
        yield placed.name, "its origins do not name the layers that were given, in their order"
        return
    if given.inputs != placed.inputs:
        yield placed.name, "its inputs are not those that were given"
        return
    origins = {origin.name: origin for origin in placed.origins}
    for layer in given.layers:
        origin = origins[layer.name]
        if _is_untouched(layer, given, placed, origins):
            continue
        problems = [*_misplaced(layer, origin, placed), *_neurons(layer, origin, placed)]
        if not problems:
            problems = [*_connections(given, layer, origin, placed)]
        yield from ((layer.name, problem) for problem in problems)
    yield from _outputs(given, placed, origins)


def _is_untouched(
    layer: NormalLayer, given: NormalNetwork, placed: NormalNetwork, origins: Mapping[str, Origin]
) -> bool:
    """Whether a layer is the given one itself, and reads what it read, from layers that are themselves."""
    edges = given.incoming[layer.name]
    sources = [origins[edge.source] for edge in edges if edge.source in origins]
    return (
        all(o.layer == o.name and not o.start and o.phases == (1, 1) for o in (origins[layer.name], *sources))
        and placed.by_name[layer.name] is layer
        and sorted(map(repr, placed.incoming[layer.name])) == sorted(map(repr, edges))
    )


def _misplaced(layer: NormalLayer, origin: Origin, placed: Network) -> Iterator[str]:
    """Features or places that are not there."""
    conv, host = layer.operation, placed.by_name[origin.layer]
    sizes = [
        (layer.input_shape[1 + axis] + 2 * conv.padding[axis] - conv.kernel[axis]) // conv.stride[axis] + 1
        for axis in (0, 1)
    ]
    if tuple(origin.shape) != (conv.out_features, *sizes):
        yield f"is said to be {origin.shape}, and is {conv.out_features}x{sizes[0]}x{sizes[1]}"
    there = host.output_shape
    stop = origin.start + conv.out_features * origin.phases[0] * origin.phases[1]
    # A map that is no multiple of its phases lacks its last rows, or has some that nobody may read.
    fits = all(
        have in (size // phase, (size + phase - 1) // phase)
        for have, size, phase in zip(there[1:], sizes, origin.phases, strict=True)
    )
    if origin.start < 0 or stop > there.features or not fits:
        yield f"features {origin.start}..{stop - 1} of {sizes[0]}x{sizes[1]} are not in {host.name}, {there}"


def _neurons(layer: NormalLayer, origin: Origin, placed: NormalNetwork) -> Iterator[str]:
    """Thresholds, bounds, biases and potentials, feature by feature and place by place."""
    host = placed.by_name[origin.layer]
    one, other, features = layer.neuron, host.neuron, layer.operation.out_features
    for name in ("minimum", "reset", "spike_mode", "fires_at"):
        if getattr(one, name) != getattr(other, name):
            yield f"{name} {getattr(one, name)} became {getattr(other, name)}"
    biases = [_by_feature(e.operation.bias, e.operation.out_features) for e in (layer, host)]
    levels = [_by_feature(e.neuron.threshold, e.operation.out_features) for e in (layer, host)]
    for row in range(origin.phases[0]):
        for column in range(origin.phases[1]):
            first = origin.start + (row * origin.phases[1] + column) * features
            for name, (mine, theirs) in (("biases", biases), ("thresholds", levels)):
                if not np.array_equal(mine, theirs[first : first + features]):
                    yield f"{name} of phase {row}, {column} are others"
            starts = _potentials(layer)[:, row :: origin.phases[0], column :: origin.phases[1]]
            here = _potentials(host)[first : first + features]
            rows, columns = (min(pair) for pair in zip(starts.shape[1:], here.shape[1:], strict=True))
            if not np.array_equal(starts[:, :rows, :columns], here[:, :rows, :columns]):
                yield f"initial potentials of phase {row}, {column} are others"


def _by_feature(value: Any, features: int) -> Any:
    return np.broadcast_to(np.asarray(0 if value is None else value), (features,))


def _potentials(layer: NormalLayer) -> Any:
    state = layer.neuron.initial_potential
    return np.broadcast_to(np.int64(0), layer.output_shape) if state is None else np.asarray(state)


def _connections(
    given: NormalNetwork, layer: NormalLayer, origin: Origin, placed: NormalNetwork
) -> Iterator[str]:
    """What reaches the neurons, on both sides."""
    host = placed.by_name[origin.layer]
    own = tuple(_given_paths(given, layer))
    through = tuple(_placed_paths(placed, host))
    strangers = {path.source[0] for path in through} - {path.source[0] for path in own} - {""}
    if any(path.source[0] == "" for path in through):
        yield f"reads of {host.name} what no origin names"
        return
    if strangers:
        yield f"reads {', '.join(sorted(strangers))}, which it did not"
        return
    sizes = [min(host.output_shape[n] * origin.phases[n - 1], origin.shape[n]) for n in (1, 2)]
    rows, columns = (_kinds(own, through, origin, axis, sizes[axis]) for axis in (0, 1))
    for y, row in rows.items():
        for x, column in columns.items():
            problem = _difference(own, through, origin, (y, x), (row, column))
            if problem:
                yield f"row {y}, column {x}: {problem}"
                return


def _given_paths(network: NormalNetwork, layer: NormalLayer) -> Iterator[_Path]:
    for edge in network.incoming[layer.name]:
        features = network.signal_shapes[edge.source].features
        yield _Path((edge.source, edge.delay_steps), layer, (edge,), edge.feature_offset, features)


def _placed_paths(network: NormalNetwork, host: NormalLayer) -> Iterator[_Path]:
    """Every phase of every given layer that reaches a core's layer; a source without a name has no origin."""
    held: dict[str, list[Origin]] = defaultdict(list)
    for origin in network.origins:
        held[origin.layer].append(origin)
    inputs = {entry.name for entry in network.inputs}
    for edges in _chains(network, host.name, held, ()):
        edge, features = edges[0], network.signal_shapes[edges[0].source].features
        delay, offset = (
            sum(steps) for steps in zip(*((e.delay_steps, e.feature_offset) for e in edges), strict=True)
        )
        if edge.source in inputs:
            yield _Path((edge.source, delay), host, edges, offset, features)
            continue
        counted = 0
        for origin in held[edge.source]:
            count = origin.shape.features
            for row in range(origin.phases[0]):
                for column in range(origin.phases[1]):
                    first = origin.start + (row * origin.phases[1] + column) * count + offset
                    key = (origin.name, delay)
                    yield _Path(key, host, edges, first, count, origin.phases, (row, column))
                    counted += count
        if counted != features:
            yield _Path(("", 0), host, edges, offset, features)


def _chains(
    network: NormalNetwork, layer: str, held: Mapping[str, object], behind: tuple[Edge, ...]
) -> Iterator[tuple[Edge, ...]]:
    """Edges into a layer; through an identity core that holds no given layer, from what this reads."""
    for edge in network.incoming[layer]:
        chain = (edge, *behind)
        seen = {entry.source for entry in behind}
        is_joint = edge.source in network.by_name and edge.source not in held
        if is_joint and edge.source not in seen and _passes_on(network.by_name[edge.source]):
            yield from _chains(network, edge.source, held, chain)
        else:
            yield chain


def _passes_on(layer: NormalLayer) -> bool:
    """Whether a layer sends, in each step, just what arrives."""
    conv, neuron = layer.operation, layer.neuron
    plain = (conv.kernel, conv.stride, conv.padding, conv.has_bias) == ((1, 1), (1, 1), (0, 0), False)
    fires = (neuron.reset, neuron.spike_mode, neuron.fires_at) == ("subtract", "multi", "reached")
    if not plain or not fires or neuron.initial_potential is not None:
        return False
    if conv.weight is None:
        return layer.output_shape == layer.input_shape
    level: Any = neuron.threshold
    weights = np.asarray(conv.weight)[:, :, 0, 0]
    return bool(level > 0) and np.array_equal(weights, level * np.eye(len(weights)))


def _kinds(
    own: Sequence[_Path], through: Sequence[_Path], origin: Origin, axis: int, size: int
) -> dict[int, tuple[dict[_Source, int], list[_Reads], list[_Reads]]]:
    """Rows or columns that read differently, the first of each kind.

    By row: per source the first given row that is read, and what every path reads, counted from there.
    """
    phases = origin.phases[axis]
    kinds: dict[object, int] = {}
    found = {}
    # Where all paths of a source move alike, whatever lies inside reads as what lies before it.
    steps = {(path.source, path.step(axis) * phases) for path in own}
    steps |= {(path.source, path.step(axis)) for path in through}
    is_even, inside = len(steps) == len({source for source, _ in steps}), set[int]()
    for place in range(size):
        ends = [*((path, place) for path in own), *((path, place // phases) for path in through)]
        if is_even and all(path.is_inside(axis, at) for path, at in ends):
            if place % phases in inside:
                continue
            inside.add(place % phases)
        given = [path.reads(axis, place) for path in own]
        placed = [path.reads(axis, place // phases) for path in through]
        lowest: dict[_Source, int] = {}
        for path, reads in zip((*own, *through), (*given, *placed), strict=True):
            for _, row in reads:
                lowest[path.source] = min(row, lowest.get(path.source, row))
        shifted = [
            [tuple((tap, row - lowest[path.source]) for tap, row in reads) for path, reads in pairs]
            for pairs in (zip(own, given, strict=True), zip(through, placed, strict=True))
        ]
        kind = (place % phases, tuple(shifted[0]), tuple(shifted[1]))
        if kind not in kinds:
            kinds[kind] = place
            found[place] = (lowest, shifted[0], shifted[1])
    return found


def _difference(
    own: Sequence[_Path],
    through: Sequence[_Path],
    origin: Origin,
    place: tuple[int, int],
    reads: tuple[Any, Any],
) -> str | None:
    """What differs in the weights with which given spikes reach the neurons of all features at one place."""
    (_, *rows), (_, *columns) = reads
    phase = place[0] % origin.phases[0] * origin.phases[1] + place[1] % origin.phases[1]
    count = origin.shape.features
    sides: list[dict[_Source, Any]] = []
    for paths, first, tall, wide in (
        (own, 0, rows[0], columns[0]),
        (through, origin.start + phase * count, rows[1], columns[1]),
    ):
        total: dict[_Source, Any] = {}
        for path, down, across in zip(paths, tall, wide, strict=True):
            if down and across:
                weights = _reaching(path, first, count, down, across)
                total[path.source] = _plus(total.get(path.source), weights)
        sides.append(total)
    shapes_only = own[0].layer.operation.weight is None
    for source in dict.fromkeys((*sides[0], *sides[1])):
        one, other = _alike(sides[0].get(source), sides[1].get(source))
        wrong = (one != 0) & (other == 0) if shapes_only else _differs(one, other)
        if wrong.any():
            feature, read, row, column = (int(n) for n in np.argwhere(wrong)[0])
            values = f"{one[feature, read, row, column]} became {other[feature, read, row, column]}"
            return f"feature {feature} reads {source[0]}, feature {read}, otherwise: {values}"
    return None


def _reaching(path: _Path, first: int, count: int, down: _Reads, across: _Reads) -> Any:
    """(features, features of the source, rows, columns): the sum of weights with which each counts."""
    weight = path.layer.operation.weight
    if weight is None:
        shape = (first + count, path.first + path.features, *path.layer.operation.kernel)
        weight = np.broadcast_to(np.int64(1), shape)
    part = np.asarray(weight)[first : first + count, path.first : path.first + path.features]
    part = part.astype(np.int64) if part.dtype.kind in "iu" else part
    size = (1 + max(row for _, row in down), 1 + max(column for _, column in across))
    total = np.zeros((*part.shape[:2], *size), part.dtype)
    for tap, row in down:
        for other, column in across:
            total[:, :, row, column] += part[:, :, tap, other]
    return total


def _plus(one: Any, other: Any) -> Any:
    return other if one is None else sum(_alike(one, other))


def _alike(one: Any, other: Any) -> tuple[Any, Any]:
    """Both with as many rows and columns, zeros where one has none."""
    known = one if one is not None else other
    one, other = (np.zeros_like(known) if entry is None else entry for entry in (one, other))
    size = tuple(max(pair) for pair in zip(one.shape, other.shape, strict=True))
    return _widened(one, size), _widened(other, size)


def _widened(entry: Any, size: tuple[int, ...]) -> Any:
    wide = np.zeros(size, entry.dtype)
    wide[tuple(slice(have) for have in entry.shape)] = entry
    return wide


def _differs(one: Any, other: Any) -> Any:
    """Integers exactly; sums of floats may differ in their last bits."""
    if one.dtype.kind == "i" and other.dtype.kind == "i":
        return one != other
    return ~np.isclose(one, other, rtol=1e-9, atol=1e-12)


def _outputs(
    given: NormalNetwork, placed: NormalNetwork, origins: Mapping[str, Origin]
) -> Iterator[tuple[str, str]]:
    """Outputs show whole layers, which the host has as they were given."""
    if len(given.outputs) != len(placed.outputs):
        yield placed.name, "its outputs are not those that were given"
        return
    for one, other in zip(given.outputs, placed.outputs, strict=True):
        if _output_key(one) != _output_key(other):
            yield f"output {one.name}", f"{_output_key(one)} became {_output_key(other)}"
        elif one.source in origins:
            origin = origins[one.source]
            there = placed.by_name[origin.layer].output_shape
            covered = [there[1 + axis] * origin.phases[axis] >= origin.shape[1 + axis] for axis in (0, 1)]
            if not all(covered):
                yield f"output {one.name}", f"does not show {one.source} as it was given"


def _output_key(output: Output) -> tuple[object, ...]:
    return output.name, output.source, output.path, output.late_steps
