"""What of a solution no field of a configuration can hold: nothing is left out, wrapped or overwritten.

It is not the check of a solution (`mapper.verify`): a solution that holds everything it needs for another
network may pass here. But different solutions never become the same configuration.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from hwspec.schema import ChipSpec
from mapper.emit.write.placed import Part, Placed
from mapper.errors import Finding
from mapper.network import DvsSettings, Input, Network
from mapper.result import Result
from mapper.solution import DVS, READOUT, DvsStage, HostEntry, Monitor, Placement, Relay, Route
from mapper.wording import counted

__all__ = ["placement_findings", "solution_findings"]


def placement_findings(result: Result) -> Iterator[Finding]:
    """Cores, networks, signals and features that there are not."""
    solution, count = result.require(), len(result.networks)
    for placement in solution.placements:
        where = f"placement on core {placement.core}"
        if not 0 <= placement.core < result.chip.core_count:
            yield Finding(where, "there is no such core", placement.core, f"0..{result.chip.core_count - 1}")
        yield from _body_findings(result.networks, placement, where)
    for core, times in Counter(placement.core for placement in solution.placements).items():
        if times > 1:
            yield Finding(f"core {core}", "holds more than one thing", times, 1)
    named = [(f"host entry {e.input} into core {e.core}", e.network, e.input) for e in solution.host_entries]
    named += [(f"monitor on {m.source}", m.network, m.signal) for m in solution.monitors]
    for where, network, signal in named:
        if not 0 <= network < count:
            yield Finding(where, "there is no such network", network, f"0..{count - 1}")
        elif signal not in result.networks[network].signal_shapes:
            yield Finding(
                where, "there is no such signal", signal, ", ".join(_signals(result.networks[network]))
            )


def _signals(network: Network) -> list[str]:
    return list(network.signal_shapes)


def _body_findings(networks: Sequence[Network], placement: Placement, where: str) -> Iterator[Finding]:
    body, (start, stop) = placement.body, placement.features
    if body.network is None:
        sensors = [entry for network in networks for entry in network.inputs if entry.dvs is not None]
        if body.signal != DVS or not sensors:
            problem = "a relay of no network passes on the sensor, and a network must read it"
            yield Finding(where, problem, body.signal, DVS)
            return
        features = sensors[0].shape.features
    elif not 0 <= body.network < len(networks):
        yield Finding(where, "there is no such network", body.network, f"0..{len(networks) - 1}")
        return
    else:
        network = networks[body.network]
        name = body.signal if isinstance(body, Relay) else body.layer
        known = network.signal_shapes if isinstance(body, Relay) else network.by_name
        if name not in known:
            yield Finding(where, "there is no such signal", name, ", ".join(known))
            return
        if any(entry.name == name and entry.dvs is not None for entry in network.inputs):
            step = f"Let a relay of no network pass on {DVS}"
            yield Finding(where, "the sensor's events are of no one network", name, next_step=step)
            return
        features = network.signal_shapes[name].features
    if not 0 <= start < stop <= features:
        yield Finding(
            where, "holds features that there are not", f"{start}..{stop - 1}", f"0..{features - 1}"
        )
    if isinstance(body, Relay):
        if body.pooling < 1:
            yield Finding(where, "a pool size must be positive", body.pooling, ">= 1")
    elif body.copy_index < 0:
        yield Finding(where, "copies of a layer are counted from 0", body.copy_index, ">= 0")


def solution_findings(placed: Placed, result: Result) -> Iterator[Finding]:
    """Routes, host entries, monitors and settings of the sensor stage that no field can hold."""
    routes = tuple(_all_route_findings(placed, result.chip))
    yield from routes
    if not routes:
        # Every route leads somewhere: what arrives is known.
        for core, part in placed.parts.items():
            if part.relayed is not None:
                yield from _relay_findings(placed, core, part)
    for entry in placed.solution.host_entries:
        yield from _host_entry_findings(placed, entry)
    for monitor in placed.solution.monitors:
        yield from _monitor_findings(placed, monitor)
    yield from _sensor_findings(placed, result.chip)


def _all_route_findings(placed: Placed, chip: ChipSpec) -> Iterator[Finding]:
    for route in placed.solution.routes:
        yield from _route_findings(placed, chip, route)
    used = Counter((route.source, route.slot) for route in placed.solution.routes)
    for (source, slot), times in used.items():
        if times > 1:
            yield Finding(_destination(source, slot), "is used more than once", times, 1)


def _host_entry_findings(placed: Placed, entry: HostEntry) -> Iterator[Finding]:
    where = f"host entry {entry.input} into core {entry.core}"
    key = placed.key(entry.network, entry.input)
    if key in placed.network.by_name or key in placed.sensors:
        yield Finding(where, "the host sends inputs that are not the sensor's, and nothing else", key)
    elif entry.core not in placed.parts:
        yield Finding(where, "nothing is placed on this core", entry.core)
    else:
        features = placed.network.signal_shapes[key].features
        yield from _shift_findings(placed, where, entry.feature_shift, features, entry.core)


def _destination(source: int | str, slot: int) -> str:
    return f"destination {slot} of {'the sensor stage' if source == DVS else f'core {source}'}"


def _route_findings(placed: Placed, chip: ChipSpec, route: Route) -> Iterator[Finding]:
    where = _destination(route.source, route.slot)
    if route.source == DVS:
        slots = chip.input.fan_out if chip.input else 0
    elif route.source in placed.parts:
        slots = chip.cores[route.source].fan_out
    else:
        yield Finding(where, "leaves a core on which nothing is placed", route.source)
        return
    if not 0 <= route.slot < slots:
        yield Finding(where, "there is no such entry", route.slot, f"0..{slots - 1}" if slots else "none")
    if DVS in (route.source, route.target) or READOUT in (route.source, route.target):
        # An entry of the sensor stage is {layer, enable}; what a shift or pool on the way to the readout
        # would do is not known.
        step = "Put a relay between them, which has both" if route.source == DVS else ""
        if route.pooling != 1:
            yield Finding(where, f"to {route.target}: no field holds a pool", route.pooling, 1, "", step)
        if route.feature_shift:
            problem = f"to {route.target}: no field holds a feature shift"
            yield Finding(where, problem, route.feature_shift, 0, "features", step)
    if route.target == READOUT:
        yield from _readout_findings(chip, where, route)
    elif route.target not in placed.parts:
        yield Finding(where, "leads to a core on which nothing is placed", route.target)
    else:
        if route.source == DVS:
            count = placed.network.signal_shapes[placed.sensors[0]].features if placed.sensors else 0
        else:
            part = placed.parts[route.source]
            count = part.stop - part.start
        yield from _shift_findings(placed, where, route.feature_shift, count, int(route.target))


def _readout_findings(chip: ChipSpec, where: str, route: Route) -> Iterator[Finding]:
    if chip.readout is None or route.source == DVS:
        yield Finding(where, "leads to the readout, which it cannot reach", READOUT)
    elif chip.readout.destination_id < chip.core_count:
        step = f"Set readout.destination_id to {chip.core_count} or more"
        number, limit = chip.readout.destination_id, f">= {chip.core_count}"
        yield Finding(where, "the readout's number is also a core's", number, limit, "", step)


def _shift_findings(placed: Placed, where: str, shift: int, features: int, target: int) -> Iterator[Finding]:
    most = placed.parts[target].reads - features
    if not 0 <= shift <= most:
        come = counted(features, "feature does", "features do")
        problem = f"{come} not arrive within the {placed.parts[target].reads} of core {target}"
        limit = f"0..{most}" if most >= 0 else "none"
        yield Finding(where, f"{problem} at this shift", shift, limit, "features")


def _relay_findings(placed: Placed, core: int, relay: Part) -> Iterator[Finding]:
    """What a relay passes on, and how far it is pooled, stands in no field: both must follow."""
    where = f"relay of {placed.title(relay.signal)} on core {core}"
    sources = {(arrival.signal, arrival.pooling) for arrival in placed.arrivals[core]}
    if any(route.source == DVS and route.target == core for route in placed.solution.routes):
        sources.add((placed.sensors[0] if placed.sensors else DVS, 1))
    sources |= {
        (placed.key(entry.network, entry.input), 1)
        for entry in placed.solution.host_entries
        if entry.core == core
    }
    if not sources:
        yield Finding(where, "nothing arrives at it")
    for signal, pooling in sorted(sources):
        if signal != relay.signal:
            yield Finding(
                where, "something else arrives at it", placed.title(signal), placed.title(relay.signal)
            )
        elif pooling != relay.relayed:
            yield Finding(where, "is not pooled as what arrives at it", relay.relayed, pooling)


def _monitor_findings(placed: Placed, monitor: Monitor) -> Iterator[Finding]:
    """A monitor is one bit of a core: everything else about it must follow."""
    where, signal = f"monitor on {monitor.source}", placed.signal(monitor.network, monitor.signal)
    if monitor.source == DVS:
        shape = placed.network.signal_shapes[signal]
        observed = (placed.sensors[0] if placed.sensors else DVS, (0, shape.features), 1)
    elif monitor.source in placed.parts:
        part = placed.parts[monitor.source]
        observed = (part.signal, (part.start, part.stop), part.relayed or 1)
    else:
        yield Finding(where, "nothing is placed on this core", monitor.source)
        return
    stated = (signal, monitor.features, monitor.pooling_seen)
    for name, value, limit in zip(("signal", "features", "pooling"), stated, observed, strict=True):
        if value != limit:
            yield Finding(where, f"does not show this {name}", value, limit)


def _sensor_findings(placed: Placed, chip: ChipSpec) -> Iterator[Finding]:
    where, stage, spec = "sensor stage", placed.solution.dvs_stage, chip.input
    sensors = [e for e in placed.network.inputs if e.dvs is not None and placed.network.outgoing[e.name]]
    if spec is None and stage is not None:
        yield Finding(where, f"{chip.name} has none to set", stage)
    if stage is None:
        uses = [f"input {entry.name}" for entry in sensors]
        uses += [_destination(DVS, route.slot) for route in placed.solution.routes if route.source == DVS]
        if uses:
            yield Finding(where, "is used and has no setting", ", ".join(uses))
    if stage is None or spec is None:
        return
    for axis, size in enumerate((spec.height, spec.width)):
        first, last = stage.origin[axis], stage.cut[axis]
        most = size // max(stage.pooling[axis], 1) - 1
        if not 0 <= first <= last <= most:
            problem = f"there are not these {('rows', 'columns')[axis]} behind its pool"
            yield Finding(where, problem, f"{first}..{last}", f"0..{most}")
    for entry in sensors:
        yield from _setting_findings(entry, stage, 1 if stage.merge else spec.features)


def _setting_findings(entry: Input, stage: DvsStage, features: int) -> Iterator[Finding]:
    """What an input wants of the stage, which has one setting for all."""
    dvs, shape, size, pooling = entry.dvs or DvsSettings(), entry.shape, _size(stage), stage.pooling
    if stage.swap:
        size, pooling = size[::-1], pooling[::-1]
    pooled = (shape.height // max(pooling[0], 1), shape.width // max(pooling[1], 1))
    for name, value, setting in (
        ("map", pooled, size),
        ("features", shape.features, features),
        ("origin", dvs.origin, stage.origin),
        ("mirror", dvs.mirror, stage.mirror),
        ("swap of the axes", dvs.swap_axes, stage.swap),
        ("polarities", (dvs.on_channel, dvs.off_channel), stage.gates),
    ):
        if value != setting:
            problem = f"its {name} cannot stand in a sensor stage that is set so"
            yield Finding(f"input {entry.name}", problem, value, setting)


def _size(stage: DvsStage) -> tuple[int, int]:
    """(height, width) of what passes, before the axes are swapped."""
    return (stage.cut[0] - stage.origin[0] + 1, stage.cut[1] - stage.origin[1] + 1)
