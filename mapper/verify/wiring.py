"""Checks of what connects cores: destinations, the sensor stage, readout, monitors."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import TypeAlias

from mapper.network import Edge, Input
from mapper.operations import Pool
from mapper.rules import Rule
from mapper.solution import DVS, READOUT, LayerPart, Route
from mapper.verify.case import Case, Violation, tiles


def check_pooling(case: Case) -> Iterator[Violation]:
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


def check_feature_shift(case: Case) -> Iterator[Violation]:
    """Check `Rule.FEATURE_SHIFT`."""
    for route in case.solution.routes:
        if route.feature_shift < 0 or (route.feature_shift and not case.chip.routing.feature_shift):
            problem = f"shift of {route.feature_shift} on slot {route.slot}"
            yield Violation(Rule.FEATURE_SHIFT, f"core {route.source}", problem)


def check_input_pooling(case: Case) -> Iterator[Violation]:
    """Check `Rule.INPUT_POOLING`."""
    for network in case.networks:
        host = {entry.name for entry in network.inputs if entry.dvs is None}
        for edge in network.edges:
            if edge.source in host and any(
                isinstance(s, Pool) and (s.size, s.stride) != ((1, 1), (1, 1)) for s in edge.path
            ):
                yield Violation(
                    Rule.INPUT_POOLING, f"{edge.source} -> {edge.target}", "host events are unpooled"
                )


def _dvs_edges(case: Case) -> Iterator[tuple[int, Input, Edge]]:
    for number, network in enumerate(case.networks):
        for edge in network.edges:
            for entry in network.inputs:
                if entry.name == edge.source and entry.dvs is not None:
                    yield number, entry, edge


def check_dvs_stage(case: Case) -> Iterator[Violation]:
    """Check `Rule.DVS_STAGE`."""
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


def check_fan_out(case: Case) -> Iterator[Violation]:
    """Check `Rule.FAN_OUT`."""
    for source, routes in case.routes_of.items():
        if isinstance(source, int):
            yield from _slots(Rule.FAN_OUT, source, routes, case.chip.cores[source].fan_out)


def check_dvs_fan_out(case: Case) -> Iterator[Violation]:
    """Check `Rule.DVS_FAN_OUT`."""
    bound = case.chip.input.fan_out if case.chip.input else 0
    yield from _slots(Rule.DVS_FAN_OUT, DVS, case.routes_of.get(DVS, ()), bound)


def _slots(rule: Rule, source: int | str, routes: Sequence[Route], bound: int) -> Iterator[Violation]:
    slots = sorted(route.slot for route in routes)
    if slots != list(range(len(slots))) or len(slots) > bound:
        yield Violation(rule, f"core {source}", f"slots {slots}, and there are {bound}")


_Arrival: TypeAlias = tuple[str, int, int]


def check_connection(case: Case) -> Iterator[Violation]:
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
        return tiles(spans, 0, features) if times else not spans
    return sorted(spans) == sorted([(0, features)] * times)


def _arrivals(case: Case) -> dict[int, dict[_Arrival, list[tuple[int, int]]]]:
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


def check_readout(case: Case) -> Iterator[Violation]:
    """Check `Rule.READOUT`."""
    feeding = [route.source for route in case.solution.routes if route.target == READOUT]
    wanted = [p.core for p, layer, _ in case.parts if layer.name == case.options.readout]
    if feeding and case.chip.readout is None:
        yield Violation(Rule.READOUT, "readout", f"{case.chip.name} has no readout stage")
    if sorted(map(str, feeding)) != sorted(map(str, wanted)) or len(feeding) > 1:
        yield Violation(Rule.READOUT, "readout", f"fed by cores {feeding}, asked for cores {wanted}")
    if case.options.readout_monitor and not feeding:
        yield Violation(Rule.READOUT, "readout", "its monitor is asked for and nothing feeds it")
    for placement, layer, _ in case.parts:
        if placement.core not in feeding or case.chip.readout is None:
            continue
        features, height, width = layer.output_shape
        last_class = (features - 1) // case.chip.readout.feature_spacing
        if height * width > 1 or last_class >= case.chip.readout.classes_max:
            yield Violation(Rule.READOUT, layer.name, f"{features}x{height}x{width} cannot be read out")


def check_monitor(case: Case) -> Iterator[Violation]:
    """Check `Rule.MONITOR`."""
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
