"""The checker of a solution: networks, chip and options against what was decided.

Plain loops over the solution, its own arithmetic from the raw formulas, no solver, and none of the
indexes the solver works with. This is the one intended second copy of the rules.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from hwspec.schema import ChipSpec, CoreSpec
from mapper.network import Edge, Input, Layer, Network
from mapper.operations import Convolution, Pool
from mapper.options import SolveOptions
from mapper.rules import Rule
from mapper.solution import DVS, READOUT, LayerPart, Placement, Route, Solution

__all__ = ["CHECKS", "Violation", "verify"]


@dataclass(frozen=True, slots=True)
class Violation:
    """One rule a solution breaks, and where.

    Attributes
    ----------
    where
        Core, layer or edge.
    problem
        What is wrong there.
    """

    rule: Rule
    where: str
    problem: str

    def __str__(self) -> str:
        return f"{self.rule.code} {self.where}: {self.problem}"


@dataclass(frozen=True)
class _Case:
    """The question, with the look-ups that every check needs."""

    networks: tuple[Network, ...]
    chip: ChipSpec
    options: SolveOptions
    solution: Solution
    parts: Sequence[tuple[Placement, Layer, CoreSpec]]
    routes_of: Mapping[int | str, Sequence[Route]] = field(default_factory=dict)

    def edges_out(self, placement: Placement) -> tuple[Edge, ...]:
        body = placement.body
        if not isinstance(body, LayerPart):
            return ()
        return self.networks[body.network].outgoing[body.layer]


Check: TypeAlias = Callable[[_Case], Iterator[Violation]]


def verify(
    networks: tuple[Network, ...], chip: ChipSpec, options: SolveOptions, solution: Solution
) -> tuple[Violation, ...]:
    """Every rule that the solution breaks; empty for a solution that is right.

    Parameters
    ----------
    networks
        In normal form, as they were given to the solver.
    options
        With layer references resolved to names.
    """
    unknown = list(_unknown(networks, chip, solution))
    if unknown:
        return tuple(unknown)
    parts = []
    for placement in solution.placements:
        if isinstance(placement.body, LayerPart):
            layer = networks[placement.body.network].by_name[placement.body.layer]
            parts.append((placement, layer, chip.cores[placement.core]))
    routes_of: dict[int | str, list[Route]] = defaultdict(list)
    for route in solution.routes:
        routes_of[route.source].append(route)
    case = _Case(networks, chip, options, solution, parts, routes_of)
    return tuple(violation for check in CHECKS.values() for violation in check(case))


def _unknown(networks: tuple[Network, ...], chip: ChipSpec, solution: Solution) -> Iterator[Violation]:
    """Names and numbers that point nowhere; without them the checks need no look-before-you-leap."""
    cores = range(len(chip.cores))
    for placement in solution.placements:
        body, where = placement.body, f"core {placement.core}"
        if placement.core not in cores:
            yield Violation(Rule.PLACED, where, f"{chip.name} has no such core")
        if not isinstance(body, LayerPart):
            yield Violation(Rule.PLACED, where, "relays are not placed by this version")
        elif body.network not in range(len(networks)) or body.layer not in networks[body.network].by_name:
            yield Violation(Rule.PLACED, where, f"no network has a layer {body.layer}")
    for route in solution.routes:
        if route.source != DVS and route.source not in cores:
            yield Violation(Rule.CONNECTION, f"route from {route.source}", f"{chip.name} has no such core")
        if route.target != READOUT and route.target not in cores:
            yield Violation(Rule.CONNECTION, f"route to {route.target}", f"{chip.name} has no such core")
    for entry in solution.host_entries:
        known = entry.network in range(len(networks)) and entry.core in cores
        if not known or entry.input not in {i.name for i in networks[entry.network].inputs}:
            yield Violation(
                Rule.CONNECTION, f"host entry {entry.input}", f"no such input, or core {entry.core}"
            )


def _conv(layer: Layer) -> Convolution:
    if not isinstance(layer.operation, Convolution):
        raise TypeError(f"layer {layer.name} is not in normal form")
    return layer.operation


def _check_input_size(case: _Case) -> Iterator[Violation]:
    for placement, layer, core in case.parts:
        _, height, width = layer.input_shape
        if height > core.limits.input_height_max or width > core.limits.input_width_max:
            yield Violation(Rule.INPUT_SIZE, f"core {placement.core}", f"{layer.name} reads {height}x{width}")


def _check_output_size(case: _Case) -> Iterator[Violation]:
    for placement, layer, core in case.parts:
        height, width = _map_size(layer)
        if height > core.limits.output_height_max or width > core.limits.output_width_max:
            yield Violation(
                Rule.OUTPUT_SIZE, f"core {placement.core}", f"{layer.name} makes {height}x{width}"
            )


def _map_size(layer: Layer) -> tuple[int, int]:
    conv, sizes = _conv(layer), []
    for axis in (0, 1):
        free = layer.input_shape[1 + axis] + 2 * conv.padding[axis] - conv.kernel[axis]
        sizes.append(free // conv.stride[axis] + 1)
    return sizes[0], sizes[1]


def _check_features(case: _Case) -> Iterator[Violation]:
    for placement, layer, core in case.parts:
        taken, given = layer.input_shape[0], placement.features[1] - placement.features[0]
        if taken > core.limits.input_features_max or given > core.limits.output_features_max:
            yield Violation(Rule.FEATURES, f"core {placement.core}", f"{layer.name}: {taken} in, {given} out")


def _check_kernel_size(case: _Case) -> Iterator[Violation]:
    for placement, layer, core in case.parts:
        for size in _conv(layer).kernel:
            if not core.limits.kernel_size_min <= size <= core.limits.kernel_size_max:
                yield Violation(Rule.KERNEL_SIZE, f"core {placement.core}", f"{layer.name}: kernel of {size}")


def _check_kernel_square(case: _Case) -> Iterator[Violation]:
    for placement, layer, core in case.parts:
        height, width = _conv(layer).kernel
        if core.limits.kernel_square and height != width:
            problem = f"{layer.name}: kernel {height}x{width}"
            yield Violation(Rule.KERNEL_SQUARE, f"core {placement.core}", problem)


def _check_stride(case: _Case) -> Iterator[Violation]:
    for placement, layer, core in case.parts:
        for stride in _conv(layer).stride:
            if stride not in core.limits.strides:
                yield Violation(Rule.STRIDE, f"core {placement.core}", f"{layer.name}: stride of {stride}")


def _check_padding(case: _Case) -> Iterator[Violation]:
    for placement, layer, core in case.parts:
        for padding in _conv(layer).padding:
            if not 0 <= padding <= core.limits.padding_max:
                yield Violation(Rule.PADDING, f"core {placement.core}", f"{layer.name}: padding of {padding}")


def _check_pooling(case: _Case) -> Iterator[Violation]:
    """The network's own pools must be expressible, and every entry must hold a size the chip has."""
    for placement, layer, _ in case.parts:
        for edge in case.edges_out(placement):
            for step in edge.path:
                if isinstance(step, Pool) and len({*step.size, *step.stride}) != 1:
                    problem = f"{layer.name} -> {edge.target}: pool {step.size}, stride {step.stride}"
                    yield Violation(Rule.POOLING, f"core {placement.core}", problem)
    for route in case.solution.routes:
        allowed = (1,) if route.source == DVS else case.chip.routing.poolings
        if route.pooling not in allowed:
            yield Violation(
                Rule.POOLING, f"core {route.source}", f"pooling {route.pooling} on slot {route.slot}"
            )


def _check_feature_shift(case: _Case) -> Iterator[Violation]:
    for route in case.solution.routes:
        if route.feature_shift < 0 or (route.feature_shift and not case.chip.routing.feature_shift):
            problem = f"shift of {route.feature_shift} on slot {route.slot}"
            yield Violation(Rule.FEATURE_SHIFT, f"core {route.source}", problem)


def _check_input_pooling(case: _Case) -> Iterator[Violation]:
    for network in case.networks:
        host = {entry.name for entry in network.inputs if entry.dvs is None}
        for edge in network.edges:
            if edge.source in host and any(isinstance(s, Pool) and s.size != (1, 1) for s in edge.path):
                yield Violation(
                    Rule.INPUT_POOLING, f"{edge.source} -> {edge.target}", "host events are unpooled"
                )


def _dvs_edges(case: _Case) -> Iterator[tuple[int, Input, Edge]]:
    for number, network in enumerate(case.networks):
        for edge in network.edges:
            for entry in network.inputs:
                if entry.name == edge.source and entry.dvs is not None:
                    yield number, entry, edge


def _check_dvs_stage(case: _Case) -> Iterator[Violation]:
    stage, sensor = case.solution.dvs_stage, case.chip.input
    edges = list(_dvs_edges(case))
    if not edges:
        return
    if stage is None or sensor is None:
        yield Violation(Rule.DVS_STAGE, "sensor stage", "a sensor input needs the stage")
        return
    if not set(stage.pooling) <= set(sensor.poolings):
        yield Violation(Rule.DVS_STAGE, "sensor stage", f"pooling {stage.pooling}")
    rows, columns = (stage.cut[axis] - stage.origin[axis] + 1 for axis in (0, 1))
    if min(stage.origin) < 0 or (stage.cut[0] + 1) * stage.pooling[0] > sensor.height:
        yield Violation(Rule.DVS_STAGE, "sensor stage", f"rows to {stage.cut[0]} at pooling {stage.pooling}")
    if (stage.cut[1] + 1) * stage.pooling[1] > sensor.width:
        yield Violation(
            Rule.DVS_STAGE, "sensor stage", f"columns to {stage.cut[1]} at pooling {stage.pooling}"
        )
    if stage.swap:
        rows, columns = columns, rows
    for number, entry, edge in edges:
        where = f"{entry.name} -> {edge.target}"
        pools = [step for step in edge.path if isinstance(step, Pool)]
        wanted = pools[0].size if pools else (1, 1)
        if any(pool.size != pool.stride for pool in pools) or wanted != stage.pooling:
            yield Violation(Rule.DVS_STAGE, where, f"wants pool {wanted}, the stage has {stage.pooling}")
        target = case.networks[number].by_name[edge.target].input_shape
        if (rows, columns) != (target.height, target.width):
            yield Violation(Rule.DVS_STAGE, where, f"{rows}x{columns} for an input of {target}")
        if stage.merge != (entry.shape.features == 1) or entry.shape.features > sensor.features:
            yield Violation(Rule.DVS_STAGE, where, f"{entry.shape.features} features, merge {stage.merge}")
        dvs = entry.dvs
        if dvs is not None and (dvs.origin, dvs.mirror, dvs.swap_axes) != (
            stage.origin,
            stage.mirror,
            stage.swap,
        ):
            yield Violation(Rule.DVS_STAGE, where, "origin, mirror or swap differ from the stage's")
        if dvs is not None and (dvs.on_channel, dvs.off_channel) != stage.gates:
            yield Violation(Rule.DVS_STAGE, where, "polarity gates differ from the stage's")


def _power_at_least(number: int) -> int:
    power = 1
    while power < number:
        power *= 2
    return power


def _check_kernel_memory(case: _Case) -> Iterator[Violation]:
    for placement, layer, core in case.parts:
        height, width = _conv(layer).kernel
        features = placement.features[1] - placement.features[0]
        words = layer.input_shape[0] * _power_at_least(height * width) * _power_at_least(features)
        if words > core.kernel_words:
            problem = f"{layer.name} takes {words} of {core.kernel_words} words"
            yield Violation(Rule.KERNEL_MEMORY, f"core {placement.core}", problem)


def _check_neuron_memory(case: _Case) -> Iterator[Violation]:
    for placement, layer, core in case.parts:
        height, width = _map_size(layer)
        features = placement.features[1] - placement.features[0]
        words = features * _power_at_least(height) * _power_at_least(width)
        if words > core.neuron_words:
            problem = f"{layer.name} takes {words} of {core.neuron_words} words"
            yield Violation(Rule.NEURON_MEMORY, f"core {placement.core}", problem)


def _check_bias_memory(case: _Case) -> Iterator[Violation]:
    for placement, layer, core in case.parts:
        words = placement.features[1] - placement.features[0] if _conv(layer).has_bias else 0
        if words > core.bias_words:
            problem = f"{layer.name} takes {words} of {core.bias_words} words"
            yield Violation(Rule.BIAS_MEMORY, f"core {placement.core}", problem)


def _check_placed(case: _Case) -> Iterator[Violation]:
    ranges: dict[tuple[int, str, int], list[tuple[int, int]]] = defaultdict(list)
    for placement, _, _ in case.parts:
        body = placement.body
        if isinstance(body, LayerPart):
            ranges[body.network, body.layer, body.copy_index].append(placement.features)
    for number, network in enumerate(case.networks):
        for layer in network.layers:
            if (number, layer.name, 0) not in ranges:
                yield Violation(Rule.PLACED, layer.name, "is on no core")
    for (number, name, _), spans in ranges.items():
        expected = case.networks[number].by_name[name].output_shape.features
        if not _tiles(spans, 0, expected):
            yield Violation(
                Rule.PLACED, name, f"features {sorted(spans)} are not 0..{expected - 1} once each"
            )


def _tiles(spans: Sequence[tuple[int, int]], start: int, stop: int) -> bool:
    """Whether the half-open spans cover start..stop without gap, overlap or empty span."""
    for low, high in sorted(spans):
        if low != start or high <= low:
            return False
        start = high
    return start == stop


def _check_one_layer_per_core(case: _Case) -> Iterator[Violation]:
    seen: dict[int, str] = {}
    for placement, layer, _ in case.parts:
        if placement.core in seen:
            problem = f"holds {seen[placement.core]} and {layer.name}"
            yield Violation(Rule.ONE_LAYER_PER_CORE, f"core {placement.core}", problem)
        seen[placement.core] = layer.name


def _check_fan_out(case: _Case) -> Iterator[Violation]:
    for source, routes in case.routes_of.items():
        if isinstance(source, int):
            yield from _slots(Rule.FAN_OUT, source, routes, case.chip.cores[source].fan_out)


def _check_dvs_fan_out(case: _Case) -> Iterator[Violation]:
    bound = case.chip.input.fan_out if case.chip.input else 0
    yield from _slots(Rule.DVS_FAN_OUT, DVS, case.routes_of.get(DVS, ()), bound)


def _slots(rule: Rule, source: int | str, routes: Sequence[Route], bound: int) -> Iterator[Violation]:
    slots = sorted(route.slot for route in routes)
    if slots != list(range(len(slots))) or len(slots) > bound:
        yield Violation(rule, f"core {source}", f"slots {slots}, and there are {bound}")


_Arrival: TypeAlias = tuple[str, int, int]


def _check_connection(case: _Case) -> Iterator[Violation]:
    """Trace every channel: what arrives at each core against what the network's edges ask for."""
    arrivals = _arrivals(case)
    occupied = {placement.core for placement, _, _ in case.parts}
    for placement, layer, _ in case.parts:
        body = placement.body
        if not isinstance(body, LayerPart):
            continue
        network = case.networks[body.network]
        wanted: dict[_Arrival, int] = defaultdict(int)
        dvs = {entry.name for entry in network.inputs if entry.dvs is not None}
        for edge in network.incoming[layer.name]:
            pooling = 1 if edge.source in dvs else _pooling_of(edge)
            wanted[f"{body.network}:{edge.source}", pooling, edge.feature_offset] += 1
        got = arrivals.get(placement.core, {})
        for key in sorted({*wanted, *got}):
            signal, times = key[0].split(":", 1)[1], wanted.get(key, 0)
            features = network.signal_shapes[signal].features if times else 0
            if not _tiles_times(got.get(key, ()), features, times):
                problem = f"{signal} pooled by {key[1]} at offset {key[2]} arrives as {got.get(key, [])}"
                yield Violation(Rule.CONNECTION, f"core {placement.core} ({layer.name})", problem)
    for core in sorted(set(arrivals) - occupied):
        yield Violation(Rule.CONNECTION, f"core {core}", "spikes arrive at a core without a layer")


def _pooling_of(edge: Edge) -> int:
    return next((step.size[0] for step in edge.path if isinstance(step, Pool)), 1)


def _tiles_times(spans: Sequence[tuple[int, int]], features: int, times: int) -> bool:
    if times <= 1:
        return _tiles(spans, 0, features) if times else not spans
    return sorted(spans) == sorted([(0, features)] * times)


def _arrivals(case: _Case) -> dict[int, dict[_Arrival, list[tuple[int, int]]]]:
    """Per core, the feature spans of each signal that reach it, keyed by pooling and offset."""
    bodies = {placement.core: placement for placement, _, _ in case.parts}
    found: dict[int, dict[_Arrival, list[tuple[int, int]]]] = defaultdict(lambda: defaultdict(list))
    for route in case.solution.routes:
        if not isinstance(route.target, int) or not isinstance(route.source, int):
            continue
        source = bodies.get(route.source)
        if source is None or not isinstance(source.body, LayerPart):
            found[route.target][":nothing", route.pooling, route.feature_shift].append((0, 1))
            continue
        # A piece numbers its features from 0; its shift contains the piece's own start.
        offset = route.feature_shift - source.features[0]
        key = (f"{source.body.network}:{source.body.layer}", route.pooling, offset)
        found[route.target][key].append(source.features)
    for entry in case.solution.host_entries:
        signal = next(i for i in case.networks[entry.network].inputs if i.name == entry.input)
        key = (f"{entry.network}:{entry.input}", 1, entry.feature_shift)
        found[entry.core][key].append((0, signal.shape.features if signal.dvs is None else 0))
    sensors = {
        f"{n}:{entry.name}": entry.shape.features
        for n, network in enumerate(case.networks)
        for entry in network.inputs
        if entry.dvs is not None
    }
    for route in case.routes_of.get(DVS, ()):
        if not isinstance(route.target, int):
            continue
        placement = bodies.get(route.target)
        number = placement.body.network if placement and isinstance(placement.body, LayerPart) else 0
        names = [name for name in sensors if name.startswith(f"{number}:")] or [":nothing"]
        found[route.target][names[0], 1, route.feature_shift].append((0, sensors.get(names[0], 1)))
    return found


def _check_readout(case: _Case) -> Iterator[Violation]:
    feeding = [route.source for route in case.solution.routes if route.target == READOUT]
    wanted = [p.core for p, layer, _ in case.parts if layer.name == case.options.readout]
    if feeding and case.chip.readout is None:
        yield Violation(Rule.READOUT, "readout", f"{case.chip.name} has no readout stage")
    if sorted(map(str, feeding)) != sorted(map(str, wanted)) or len(feeding) > 1:
        yield Violation(Rule.READOUT, "readout", f"fed by cores {feeding}, asked for cores {wanted}")
    if case.options.readout_monitor and not feeding:
        yield Violation(Rule.READOUT, "readout", "its monitor is asked for and nothing feeds it")


def _check_monitor(case: _Case) -> Iterator[Violation]:
    rule, seen = case.chip.monitor, {(m.source, m.network, m.signal) for m in case.solution.monitors}
    cores = {source for source, _, _ in seen}
    if rule.cores_max is not None and len(cores) > rule.cores_max:
        yield Violation(Rule.MONITOR, "monitors", f"{len(cores)} cores of {rule.cores_max}")
    if case.options.readout_monitor and cores and rule.excludes_readout_monitor:
        yield Violation(Rule.MONITOR, "monitors", "silenced by the readout monitor")
    wanted: list[tuple[int, str]] = [(0, str(name)) for name in case.options.monitors or ()]
    if case.options.monitors is None and not case.options.readout_monitor:
        for number, network in enumerate(case.networks):
            wanted += [(number, o.source) for o in network.outputs if o.source in network.by_name]
    expected = set()
    for placement, layer, _ in case.parts:
        body = placement.body
        if isinstance(body, LayerPart) and (body.network, layer.name) in wanted:
            expected.add((placement.core, body.network, layer.name))
    for core, _, name in sorted(expected ^ seen, key=str):
        yield Violation(Rule.MONITOR, f"core {core}", f"monitor of {name} is missing or not asked for")


def _check_pin(case: _Case) -> Iterator[Violation]:
    pins = dict(case.options.pins)
    for placement, layer, _ in case.parts:
        if pins.get(layer.name, placement.core) != placement.core:
            yield Violation(Rule.PIN, layer.name, f"on core {placement.core}, pinned to {pins[layer.name]}")


def _check_forbidden_core(case: _Case) -> Iterator[Violation]:
    for placement, layer, _ in case.parts:
        if placement.core in case.options.forbidden_cores:
            yield Violation(Rule.FORBIDDEN_CORE, f"core {placement.core}", f"holds {layer.name}")


CHECKS: Mapping[Rule, Check] = {
    Rule.INPUT_SIZE: _check_input_size,
    Rule.OUTPUT_SIZE: _check_output_size,
    Rule.FEATURES: _check_features,
    Rule.KERNEL_SIZE: _check_kernel_size,
    Rule.KERNEL_SQUARE: _check_kernel_square,
    Rule.STRIDE: _check_stride,
    Rule.PADDING: _check_padding,
    Rule.POOLING: _check_pooling,
    Rule.FEATURE_SHIFT: _check_feature_shift,
    Rule.INPUT_POOLING: _check_input_pooling,
    Rule.DVS_STAGE: _check_dvs_stage,
    Rule.KERNEL_MEMORY: _check_kernel_memory,
    Rule.NEURON_MEMORY: _check_neuron_memory,
    Rule.BIAS_MEMORY: _check_bias_memory,
    Rule.PLACED: _check_placed,
    Rule.ONE_LAYER_PER_CORE: _check_one_layer_per_core,
    Rule.FAN_OUT: _check_fan_out,
    Rule.DVS_FAN_OUT: _check_dvs_fan_out,
    Rule.CONNECTION: _check_connection,
    Rule.READOUT: _check_readout,
    Rule.MONITOR: _check_monitor,
    Rule.PIN: _check_pin,
    Rule.FORBIDDEN_CORE: _check_forbidden_core,
}
