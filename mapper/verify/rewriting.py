"""Networks that were rewritten for a chip, against those that were given.

At every place of a given layer the spikes that reach its neurons are listed twice, tap by tap: as the given
network says, and through the cores' layers, whose features and places `Network.origins` turn into given ones.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np

from mapper.integers import widened
from mapper.network import Edge, Network, Origin, Output
from mapper.normal_form import NormalLayer, NormalNetwork
from mapper.operations import Pair, Pool, Shape
from mapper.options import SolveOptions
from mapper.rules import Rule
from mapper.verify.case import Case, Violation
from mapper.verify.tracing import Path, first_difference

__all__ = ["check_rewritten", "differences"]


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
    by_phases = [layer.name for layer in placed.layers if _phases_sent(placed, layer) not in (None, (1, 1))]
    relays = {*by_phases} - {*carried}
    is_phased = relays or any(origin.phases != (1, 1) for origin in placed.origins)
    if not options.rewrites and is_phased:
        yield "rows and columns became features"
    if not options.relays and relays:
        yield "a core passes on what the sensor sends"
    if not options.fusion and len(set(carried)) < len(carried):
        yield "layers share a core"
    if not (options.joint and options.relays) and not placed.by_name.keys() - relays <= set(carried):
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
    rows, columns = (min(host.output_shape[n] * origin.phases[n - 1], origin.shape[n]) for n in (1, 2))
    problem = first_difference(own, through, origin, (rows, columns))
    if problem:
        yield problem


def _given_paths(network: NormalNetwork, layer: NormalLayer) -> Iterator[Path]:
    for edge in network.incoming[layer.name]:
        features = network.signal_shapes[edge.source].features
        yield Path((edge.source, edge.delay_steps), layer, (edge,), edge.feature_offset, features)


def _placed_paths(network: NormalNetwork, host: NormalLayer) -> Iterator[Path]:
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
            yield Path((edge.source, delay), host, edges, offset, features)
            continue
        counted = 0
        for origin in held.get(edge.source) or _sensor_sent(network, edge.source, inputs):
            count = origin.shape.features
            for row in range(origin.phases[0]):
                for column in range(origin.phases[1]):
                    first = origin.start + (row * origin.phases[1] + column) * count + offset
                    key = (origin.name, delay)
                    given = origin.shape[1:] if origin.name in inputs else None
                    yield Path(key, host, edges, first, count, origin.phases, (row, column), given)
                    counted += count
        if counted != features:
            yield Path(("", 0), host, edges, offset, features)


def _sensor_sent(network: NormalNetwork, name: str, inputs: Collection[str]) -> Iterator[Origin]:
    """The input as if it were held there, of a core that passes on the phases of this alone and unpooled."""
    layer, edges = network.by_name[name], network.incoming[name]
    phases = _phases_sent(network, layer)
    if phases is None or len(edges) != 1 or edges[0].source not in inputs:
        return
    (edge,) = edges
    shape = network.signal_shapes[edge.source]
    if not edge.path and not edge.feature_offset and not edge.delay_steps and shape == layer.input_shape:
        yield Origin(edge.source, Shape(*shape), name, 0, phases)


def _phases_sent(network: NormalNetwork, layer: NormalLayer) -> Pair | None:
    """The phases that an identity core sends as features, each of all features that it reads."""
    conv, phases = layer.operation, layer.operation.stride
    features, count = layer.input_shape.features, layer.operation.out_features
    axes = zip(layer.input_shape[1:], phases, layer.output_shape[1:], conv.kernel, conv.padding, strict=True)
    # Behind the last rows and columns there is nothing, and nothing spikes.
    is_whole = all(
        there == -(-size // n) and kernel >= n + padding for size, n, there, kernel, padding in axes
    )
    if count != features * phases[0] * phases[1] or not is_whole or not _fires_for_every_spike(layer):
        return None
    if conv.weight is None:
        return phases
    weights, level = widened(conv.weight), np.asarray(layer.neuron.threshold)
    numbers = np.arange(count)
    row, column = np.divmod(numbers // features, phases[1])
    taps = np.zeros_like(weights)
    taps[numbers, numbers % features, row + conv.padding[0], column + conv.padding[1]] = 1
    return phases if np.all(level > 0) and np.array_equal(weights, level * taps) else None


def _chains(
    network: NormalNetwork, layer: str, held: Mapping[str, object], behind: tuple[Edge, ...]
) -> Iterator[tuple[Edge, ...]]:
    """Edges into a layer; through an identity core that holds no given layer, from what this reads.

    What such a core adds up in its kernel is a pool, as another edge would do it.
    """
    for edge in network.incoming[layer]:
        chain = (edge, *behind)
        seen = {entry.source for entry in behind}
        is_joint = edge.source in network.by_name and edge.source not in held
        if is_joint and edge.source not in seen and _passes_on(network.by_name[edge.source]):
            size = network.by_name[edge.source].operation.kernel
            pool = (Edge(edge.source, edge.source, (Pool("sum", size, size),)),) if size != (1, 1) else ()
            yield from _chains(network, edge.source, held, (*pool, *chain))
        else:
            yield chain


def _passes_on(layer: NormalLayer) -> bool:
    """Whether a layer sends, in each step, just what arrives, or a pool of it."""
    conv = layer.operation
    if not _fires_for_every_spike(layer) or conv.kernel != conv.stride or conv.padding != (0, 0):
        return False
    if conv.weight is None:
        return layer.output_shape.features == layer.input_shape.features
    level: Any = layer.neuron.threshold
    weights = widened(conv.weight)
    taps = level * np.eye(len(weights))[:, :, None, None]
    return bool(level > 0) and weights.shape[:2] == taps.shape[:2] and bool(np.all(weights == taps))


def _fires_for_every_spike(layer: NormalLayer) -> bool:
    """Whether neurons without biases or a state to begin with fire as often as they reach their threshold."""
    neuron = layer.neuron
    fires = (neuron.reset, neuron.spike_mode, neuron.fires_at) == ("subtract", "multi", "reached")
    return fires and not layer.operation.has_bias and neuron.initial_potential is None


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
