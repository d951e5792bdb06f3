"""Checks of what connects cores: destinations, the sensor stage, readout, monitors."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import TypeAlias

from mapper.network import Edge, Input
from mapper.operations import Pool
from mapper.rules import Rule
from mapper.solution import DVS, READOUT, Relay, Route
from mapper.verify.case import Body, Case, Violation, covers, edge_pooling


def check_pooling(case: Case) -> Iterator[Violation]:
    """The network's own pools must be expressible, and every entry must hold a size the chip has."""
    for body in case.bodies:
        for edge in case.edges_out(body):
            for step in edge.path:
                if isinstance(step, Pool) and len({*step.size, *step.stride}) != 1:
                    problem = f"{body.name} -> {edge.target}: pool {step.size}, stride {step.stride}"
                    yield Violation(Rule.POOLING, body.where, problem)
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
    """Check `Rule.INPUT_POOLING`: host events that enter a layer's core enter it as its edge wants them."""
    bodies = {body.placement.core: body for body in case.bodies}
    for entry in case.solution.host_entries:
        body = bodies.get(entry.core)
        if body is None or body.layer is None:
            continue
        network = case.networks[entry.network]
        edges = [edge for edge in network.incoming[body.layer.name] if edge.source == entry.input]
        pools = [step for edge in edges for step in edge.path if isinstance(step, Pool)]
        if len(edges) == len(pools) and any((p.size, p.stride) != ((1, 1), (1, 1)) for p in pools):
            yield Violation(Rule.INPUT_POOLING, body.where, f"{body.name}: host events arrive unpooled")


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


# Network, signal, pooling so far, feature offset.
_Arrival: TypeAlias = tuple[int, str, int, int]
_Spans: TypeAlias = dict[_Arrival, list[tuple[int, int]]]


def check_connection(case: Case) -> Iterator[Violation]:
    """Trace every feature: what arrives at each core against what the network's edges ask for."""
    arrivals = _arrivals(case)
    occupied = {body.placement.core for body in case.bodies}
    for body in case.bodies:
        wanted, got = _wanted(case, body), arrivals.get(body.placement.core, {})
        for key in sorted({*wanted, *got}):
            number, signal, pooling, offset = key
            start, stop, times = wanted.get(key, (0, 0, 0))
            if not covers(got.get(key, ()), start, stop, times):
                told = f"{signal} pooled by {pooling} at offset {offset} arrives as {got.get(key, [])}"
                whose = "" if number == body.network else f" of network {number}"
                yield Violation(Rule.CONNECTION, f"{body.where} ({body.name})", f"{told}{whose}")
    for core in sorted(set(arrivals) - occupied):
        yield Violation(Rule.CONNECTION, f"core {core}", "spikes arrive at a core that does nothing")
    for core in sorted(_rootless(case)):
        yield Violation(Rule.CONNECTION, f"core {core}", "is a relay that only relays feed, in a circle")


def _rootless(case: Case) -> set[int]:
    """Relays that no layer and no input reaches: they could feed one another for ever."""
    relays = {body.placement.core for body in case.bodies if body.layer is None}
    feeding: dict[int, set[int | str]] = {core: set() for core in relays}
    for route in case.solution.routes:
        if route.target in relays and isinstance(route.target, int):
            feeding[route.target].add(route.source)
    left = set(relays)
    while grounded := {core for core in left if not feeding[core] & left}:
        left -= grounded
    return left


def _wanted(case: Case, body: Body) -> dict[_Arrival, tuple[int, int, int]]:
    """By arrival, the features from start to stop, and how many times each."""
    placement, network = body.placement, case.networks[body.network]
    if isinstance(placement.body, Relay):
        start, stop = placement.features
        relay = placement.body
        # A relay's features count from 0: what it reads is shifted down by where it begins.
        return {(body.network, relay.signal, relay.pooling, -start): (start, stop, 1)}
    wanted: dict[_Arrival, tuple[int, int, int]] = {}
    sensors = {entry.name for entry in network.inputs if entry.dvs is not None}
    for edge in network.incoming[placement.body.layer]:
        pooling = 1 if edge.source in sensors else edge_pooling(edge)
        key = (body.network, edge.source, pooling, edge.feature_offset)
        features = network.signal_shapes[edge.source].features
        wanted[key] = (0, features, wanted.get(key, (0, 0, 0))[2] + 1)
    return wanted


def _arrivals(case: Case) -> dict[int, _Spans]:
    """Per core, the features of each signal that reach it."""
    bodies = {body.placement.core: body for body in case.bodies}
    found: dict[int, _Spans] = defaultdict(lambda: defaultdict(list))
    for route in case.solution.routes:
        if not isinstance(route.target, int) or not isinstance(route.source, int):
            continue
        source = bodies.get(route.source)
        if source is None:
            found[route.target][-1, "nothing", route.pooling, route.feature_shift].append((0, 1))
            continue
        part = source.placement.body
        signal, before = (part.signal, part.pooling) if isinstance(part, Relay) else (part.layer, 1)
        # A part numbers its features from 0; its shift contains the part's own start.
        start = source.placement.features[0]
        key = (part.network, signal, before * route.pooling, route.feature_shift - start)
        found[route.target][key].append(source.placement.features)
    for entry in case.solution.host_entries:
        host = next(i for i in case.networks[entry.network].inputs if i.name == entry.input)
        arrival = (entry.network, entry.input, 1, entry.feature_shift)
        found[entry.core][arrival].append((0, host.shape.features if host.dvs is None else 0))
    for route in case.routes_of.get(DVS, ()):
        if isinstance(route.target, int):
            number, name, features = _sensor_of(case, bodies.get(route.target))
            found[route.target][number, name, 1, route.feature_shift].append((0, features))
    return found


def _sensor_of(case: Case, body: Body | None) -> tuple[int, str, int]:
    """The sensor input of the network that a core belongs to: the stage sends all the same events."""
    if body is not None:
        for entry in case.networks[body.network].inputs:
            if entry.dvs is not None:
                return body.network, entry.name, entry.shape.features
    return -1, "nothing", 1


def check_readout(case: Case) -> Iterator[Violation]:
    """Check `Rule.READOUT`."""
    feeding = [route.source for route in case.solution.routes if route.target == READOUT]
    wanted = [body.placement.core for body, _ in case.layers if body.key == case.options.readout]
    if feeding and case.chip.readout is None:
        yield Violation(Rule.READOUT, "readout", f"{case.chip.name} has no readout stage")
    if sorted(map(str, feeding)) != sorted(map(str, wanted)) or len(feeding) > 1:
        yield Violation(Rule.READOUT, "readout", f"fed by cores {feeding}, asked for cores {wanted}")
    if case.options.readout_monitor and not feeding:
        yield Violation(Rule.READOUT, "readout", "its monitor is asked for and nothing feeds it")
    for body, layer in case.layers:
        if body.placement.core not in feeding or case.chip.readout is None:
            continue
        features, height, width = layer.output_shape
        last_class = (features - 1) // case.chip.readout.feature_spacing
        if height * width > 1 or last_class >= case.chip.readout.classes_max:
            yield Violation(Rule.READOUT, layer.name, f"{features}x{height}x{width} cannot be read out")


def check_monitor(case: Case) -> Iterator[Violation]:
    """Check `Rule.MONITOR`: what is watched is what was asked for, every feature once."""
    rule, monitors = case.chip.monitor, case.solution.monitors
    cores = {monitor.source for monitor in monitors}
    if rule.cores_max is not None and len(cores) > rule.cores_max:
        yield Violation(Rule.MONITOR, "monitors", f"{len(cores)} cores of {rule.cores_max}")
    if case.options.readout_monitor and cores and rule.excludes_readout_monitor:
        yield Violation(Rule.MONITOR, "monitors", "silenced by the readout monitor")
    bodies = {body.placement.core: body for body in case.bodies}
    seen: dict[tuple[int, str, int], list[tuple[int, int]]] = defaultdict(list)
    for monitor in monitors:
        body = bodies.get(monitor.source) if isinstance(monitor.source, int) else None
        part = None if body is None else body.placement.body
        shows = None
        if isinstance(part, Relay):
            shows = (part.network, part.signal, part.pooling)
        elif part is not None:
            shows = (part.network, part.layer, 1)
        claimed = (monitor.network, monitor.signal, monitor.pooling_seen)
        if body is None or shows != claimed or body.placement.features != monitor.features:
            problem = f"shows {monitor.signal} {monitor.features} pooled by {monitor.pooling_seen}?"
            yield Violation(Rule.MONITOR, f"core {monitor.source}", problem)
        seen[claimed].append(monitor.features)
    wanted = _monitors_wanted(case)
    for key in sorted({*wanted, *seen}):
        number, signal, pooling = key
        shape = (
            case.networks[number].signal_shapes.get(signal) if number in range(len(case.networks)) else None
        )
        stop = shape.features if shape is not None and key in wanted else 0
        if not covers(seen.get(key, ()), 0, stop, 1 if key in wanted else 0):
            problem = (
                f"pooled by {pooling}: {seen.get(key, [])} watched, and asked for are features 0..{stop}"
            )
            yield Violation(Rule.MONITOR, f"monitor of {signal}", problem)


def _monitors_wanted(case: Case) -> set[tuple[int, str, int]]:
    """(network, signal, pooling) of everything that must be visible."""
    if case.options.monitors is not None:
        names = {str(name) for name in case.options.monitors}
        return {(body.network, layer.name, 1) for body, layer in case.layers if body.key in names}
    if case.options.readout_monitor:
        return set()
    wanted = set()
    for number, network in enumerate(case.networks):
        for output in network.outputs:
            if output.source in network.by_name:
                pools = [step for step in output.path if isinstance(step, Pool)]
                square = bool(pools) and len({*pools[0].size, *pools[0].stride}) == 1
                shown = pools[0].size[0] if square and case.options.pooled_outputs == "relay" else 1
                wanted.add((number, output.source, shown))
    return wanted
