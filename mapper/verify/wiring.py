"""Checks of destinations: pools, shifts, slots, readout and monitors."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from mapper.network import origins_of
from mapper.references import layer_key
from mapper.rules import Rule
from mapper.solution import DVS, READOUT, Relay, Route
from mapper.verify.case import Case, Signal, Span, Violation, covers, edge_pool, sensor_inputs, signal_of


def check_pooling(case: Case) -> Iterator[Violation]:
    """The networks' own pools must be expressible, and every entry must hold a size the chip has."""
    sensors = sensor_inputs(case.networks)
    for number, network in enumerate(case.networks):
        for edge in network.edges:
            size, stride = edge_pool(edge)
            if len({*size, *stride}) != 1 and (number, edge.source) not in sensors:
                where = f"{edge.source} -> {edge.target}"
                yield Violation(Rule.POOLING, where, f"pool {size}, stride {stride}")
    for route in case.solution.routes:
        # The sensor's entries have no pooling; the readout's counts spikes of a map of one pixel.
        plain = route.source == DVS or route.target == READOUT
        if route.pooling not in ((1,) if plain else case.chip.routing.poolings):
            problem = f"pooling {route.pooling} on slot {route.slot}"
            yield Violation(Rule.POOLING, f"core {route.source}", problem)


def check_feature_shift(case: Case) -> Iterator[Violation]:
    """Check `Rule.FEATURE_SHIFT`: of a host entry, the host's software adds it."""
    for route in case.solution.routes:
        # The sensor's entries have no shift, and what one does to the readout's classes is not known.
        fixed = route.source == DVS or route.target == READOUT or not case.chip.routing.feature_shift
        if route.feature_shift < 0 or (route.feature_shift and fixed):
            problem = f"shift of {route.feature_shift} on slot {route.slot}"
            yield Violation(Rule.FEATURE_SHIFT, f"core {route.source}", problem)
    for entry in case.solution.host_entries:
        if entry.feature_shift < 0:
            yield Violation(
                Rule.FEATURE_SHIFT, f"host entry {entry.input}", f"shift of {entry.feature_shift}"
            )


def check_input_pooling(case: Case) -> Iterator[Violation]:
    """Check `Rule.INPUT_POOLING`: host events that enter a layer's core enter it as its edge reads them."""
    for entry in case.solution.host_entries:
        body = case.by_core.get(entry.core)
        part = None if body is None else body.placement.body
        if part is None or isinstance(part, Relay):
            continue
        edges = case.networks[part.network].incoming[part.layer]
        pools = [edge_pool(edge) for edge in edges if edge.source == entry.input]
        if pools and ((1, 1), (1, 1)) not in pools:
            yield Violation(Rule.INPUT_POOLING, f"core {entry.core}", f"{part.layer}: host events unpooled")


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


def check_readout(case: Case) -> Iterator[Violation]:
    """Check `Rule.READOUT`."""
    stage, readout = case.chip.readout, case.options.readout
    feeding = [route.source for route in case.solution.routes if route.target == READOUT]
    asked = [body.placement.core for body, _, key in case.parts if key == readout]
    if feeding and stage is None:
        yield Violation(Rule.READOUT, "readout", f"{case.chip.name} has no readout stage")
    if sorted(map(str, feeding)) != sorted(map(str, asked)) or len(feeding) > 1:
        yield Violation(Rule.READOUT, "readout", f"fed by cores {feeding}, asked for cores {asked}")
    if case.options.readout_monitor and not feeding:
        yield Violation(Rule.READOUT, "readout", "its monitor is asked for and nothing feeds it")
    for body, part, _ in case.parts:
        if body.placement.core not in feeding or stage is None:
            continue
        features, height, width = case.layer(part).output_shape
        if height * width > 1 or (features - 1) // stage.feature_spacing >= stage.classes_max:
            yield Violation(Rule.READOUT, part.layer, f"{features}x{height}x{width} cannot be read out")


def check_monitor(case: Case) -> Iterator[Violation]:
    """Check `Rule.MONITOR`: what is watched is what was asked for, every feature once."""
    rule, monitors = case.chip.monitor, case.solution.monitors
    cores = {monitor.source for monitor in monitors}
    if rule.cores_max is not None and len(cores) > rule.cores_max:
        yield Violation(Rule.MONITOR, "monitors", f"{len(cores)} cores of {rule.cores_max}")
    if case.options.readout_monitor and cores and rule.excludes_readout_monitor:
        yield Violation(Rule.MONITOR, "monitors", "silenced by the readout monitor")
    seen: dict[tuple[Signal, int], list[Span]] = defaultdict(list)
    for monitor in monitors:
        claimed = ((monitor.network, monitor.signal), monitor.pooling_seen)
        seen[claimed].append(monitor.features)
        body = case.by_core.get(monitor.source)
        part = None if body is None else body.placement.body
        shows = part and (signal_of(part), part.pooling if isinstance(part, Relay) else 1)
        if body is None or shows != claimed or body.placement.features != monitor.features:
            problem = f"shows {monitor.signal} {monitor.features} pooled by {monitor.pooling_seen}?"
            yield Violation(Rule.MONITOR, f"core {monitor.source}", problem)
    asked = _monitors_asked(case)
    for key in sorted({*asked, *seen}, key=str):
        signal, pooling = key
        stop = case.features(signal) if key in asked else 0
        if not covers(seen.get(key, ()), 0, stop, int(key in asked)):
            problem = (
                f"pooled by {pooling}: {seen.get(key, [])} watched, and asked for are features 0..{stop}"
            )
            yield Violation(Rule.MONITOR, f"monitor of {signal[1]}", problem)


def _monitors_asked(case: Case) -> set[tuple[Signal, int]]:
    """Signal and pooling of everything that must be visible."""
    if case.options.monitors is not None:
        names = {str(name) for name in case.options.monitors}
        every = ((n, origin) for n, network in enumerate(case.networks) for origin in origins_of(network))
        return {((n, o.layer), 1) for n, o in every if layer_key(case.networks, n, o.name) in names}
    if case.options.readout_monitor:
        return set()
    asked: set[tuple[Signal, int]] = set()
    for number, network in enumerate(case.networks):
        for output in network.outputs:
            holder = network.holder_of(output.source)
            if holder in network.by_name:
                size, stride = edge_pool(output)
                is_relayed = len({*size, *stride}) == 1 and case.options.pooled_outputs == "relay"
                asked.add(((number, holder), size[0] if is_relayed else 1))
    return asked
