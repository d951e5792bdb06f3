"""What a placement means, for those who run or read a configuration: the interface beside the hardware."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from mapper.emit.shared.interface import (
    InputEntry,
    Interface,
    InterfaceInput,
    InterfaceLayer,
    InterfaceOrigin,
    InterfaceOutput,
    LayerPlace,
    OutputPart,
)
from mapper.emit.write.options import EmitOptions
from mapper.emit.write.placed import Arrival, Part, Placed
from mapper.emit.write.stages import slow_clock_hz
from mapper.errors import EmitError, Finding
from mapper.network import Origin
from mapper.operations import Pool
from mapper.result import Result
from mapper.solution import DVS

__all__ = ["interface_of"]


def interface_of(result: Result, placed: Placed, wishes: EmitOptions) -> Interface:
    """Inputs, outputs and layers of a placement, and what a user should know of it."""
    monitored = tuple(_monitored(placed))
    outputs = tuple(_outputs(placed))
    return Interface(
        network=placed.network.name,
        inputs=tuple(_inputs(placed)),
        outputs=outputs,
        layers=tuple(_layers(placed)),
        sensor_relays=tuple(map(_place, placed.of(placed.sensors[0]))) if placed.sensors else (),
        monitored=monitored,
        dt_us=wishes.dt_us,
        slow_clock_hz=slow_clock_hz(result, wishes),
        notes=(*_layer_notes(placed), *_division_notes(placed), *_output_notes(outputs, monitored)),
        readings=tuple(map(str, result.readings)),
        origins=tuple(map(_origin, placed.network.origins)) or None,
    )


def _monitored(placed: Placed) -> Iterator[str]:
    """What monitors show, as it was given: of a core that siblings share, each of them."""
    for key in dict.fromkeys(placed.key(m.network, m.signal) for m in placed.solution.monitors):
        held = [origin.name for origin in placed.network.origins if origin.layer == key]
        yield from held or [key]


def _origin(entry: Origin) -> InterfaceOrigin:
    return InterfaceOrigin(
        name=entry.name, shape=entry.shape, layer=entry.layer, start=entry.start, phases=entry.phases
    )


def _inputs(placed: Placed) -> Iterator[InterfaceInput]:
    for entry in placed.network.inputs:
        shape = (entry.shape.features, entry.shape.height, entry.shape.width)
        if entry.dvs is None:
            entries, relays = tuple(_entries(placed, entry.name)), tuple(map(_place, placed.of(entry.name)))
            yield InterfaceInput(name=entry.name, shape=shape, source="host", entries=entries, relays=relays)
            continue
        targets = {edge.target for edge in placed.network.outgoing[entry.name]}
        readers = tuple(layer.name for layer in placed.network.layers if layer.name in targets)
        shared = len(placed.sensors) > 1
        yield InterfaceInput(name=entry.name, shape=shape, source="dvs", readers=readers if shared else ())


def _entries(placed: Placed, name: str) -> Iterator[InputEntry]:
    """Cores that take an input's events from the host."""
    own = [host for host in placed.solution.host_entries if placed.key(host.network, host.input) == name]
    # The host sends to one after the other: in the order in which a core would. Of equal edges each
    # reaches all pieces before the next one does; relays that share one, by features, stand together.
    sent: dict[tuple[object, ...], list[tuple[int, int, int]]] = defaultdict(list)
    ordered = []
    for host in own:
        rank, part = placed.rank(host.core, 1, host.feature_shift), placed.parts[host.core]
        features = placed.network.signal_shapes[name].features
        start, stop = (part.start, part.stop) if part.role == "relay" else (0, features)
        before = [time for time, first, last in sent[rank] if first < stop and start < last]
        time = max(before, default=-1) + 1
        sent[rank].append((time, start, stop))
        ordered.append(((rank[:3], time, rank[3:]), host))
    for _, host in sorted(ordered, key=lambda entry: entry[0]):
        yield InputEntry(core=host.core, feature_shift=host.feature_shift)


def _place(part: Part) -> LayerPlace:
    return LayerPlace(core=part.core, start=part.start, stop=part.stop, role=part.role)


def _outputs(placed: Placed) -> Iterator[InterfaceOutput]:
    for output in placed.network.outputs:
        pool = output.pool
        seen, parts = _read_at(placed, placed.network.holder_of(output.source), pool)
        left = (pool.size[0] // seen, pool.size[1] // seen) if pool else (1, 1)
        divisor = 1.0
        if pool is not None and pool.kind == "average":
            divisor = float(pool.divisor or pool.size[0] * pool.size[1])
        yield InterfaceOutput(
            name=output.name, layer=output.source, parts=parts, host_pool=left, divisor=divisor
        )


def _read_at(placed: Placed, signal: str, pool: Pool | None) -> tuple[int, tuple[OutputPart, ...]]:
    """The pooling that the monitors of a signal already show, and the cores where it is read.

    Of several the largest that is part of the output's pool; unmonitored signals are read at their layer.
    """
    by_pooling: dict[int, list[OutputPart]] = defaultdict(list)
    for monitor in placed.solution.monitors:
        if placed.key(monitor.network, monitor.signal) == signal and monitor.source != DVS:
            start, stop = monitor.features
            part = OutputPart(core=int(monitor.source), start=start, stop=stop)
            by_pooling[monitor.pooling_seen].append(part)
    size, features = pool.size if pool else (1, 1), placed.network.signal_shapes[signal].features
    whole = {seen: _cover(among, features) for seen, among in by_pooling.items()}
    fitting = [seen for seen in whole if whole[seen] and size[0] % seen == size[1] % seen == 0]
    if fitting:
        seen = max(fitting)
        return seen, whole[seen]
    own = (part for part in placed.of(signal) if part.role in ("layer", "piece"))
    return 1, tuple(OutputPart(core=part.core, start=part.start, stop=part.stop) for part in own)


def _cover(parts: Sequence[OutputPart], features: int) -> tuple[OutputPart, ...]:
    """Parts that show every feature once, larger and lower cores first; empty if there are none."""
    chains: dict[int, tuple[OutputPart, ...]] = {0: ()}
    for part in sorted(parts, key=lambda entry: (entry.start, -entry.stop, entry.core)):
        if part.start in chains:
            chains.setdefault(part.stop, (*chains[part.start], part))
    return chains.get(features, ())


def _layers(placed: Placed) -> Iterator[InterfaceLayer]:
    delays = _delays(placed)
    for layer in placed.network.layers:
        parts = placed.of(layer.name)
        yield InterfaceLayer(
            name=layer.name,
            places=tuple(map(_place, parts)),
            spike_mode=layer.neuron.spike_mode if layer.neuron else "multi",
            delays=tuple((part.core, *entry) for part in parts for entry in sorted(delays[part.core])),
        )


def _delays(placed: Placed) -> Mapping[int, list[tuple[int, int]]]:
    """By core, (slot, steps) of the routes that end a delayed edge.

    Raises
    ------
    EmitError
        A route carries a layer's spikes to a layer, and no edge of the network does.
    """
    delay_steps: dict[tuple[str, str, int, int], list[int]] = defaultdict(list)
    for edge in placed.network.edges:
        key = (edge.target, edge.source, edge.pool.size[0] if edge.pool else 1, edge.feature_offset)
        delay_steps[key].append(edge.delay_steps)
    delays: dict[int, list[tuple[int, int]]] = defaultdict(list)
    astray: list[Finding] = []
    for core, part in placed.parts.items():
        if part.role == "relay":
            continue
        alike: dict[tuple[str, int, int], list[Arrival]] = defaultdict(list)
        for arrival in placed.arrivals[core]:
            if arrival.signal in placed.network.by_name:
                # What an input sends is never delayed.
                alike[arrival.signal, arrival.pooling, arrival.offset].append(arrival)
        for among, arrivals in alike.items():
            for arrival, steps in _matched(arrivals, sorted(delay_steps[part.signal, *among])):
                if steps is None:
                    astray.append(_no_edge(arrival, part))
                elif steps:
                    delays[int(arrival.route.source)].append((arrival.route.slot, steps))
    if astray:
        raise EmitError(*astray)
    return delays


def _no_edge(arrival: Arrival, part: Part) -> Finding:
    where = f"destination {arrival.route.slot} of core {arrival.route.source}"
    problem = f"no edge of the network brings these features of {arrival.signal} to {part.signal}"
    value = f"{arrival.start}..{arrival.stop - 1}, pooled by {arrival.pooling}, at offset {arrival.offset}"
    return Finding(where, problem, value)


def _matched(arrivals: Sequence[Arrival], delays: Sequence[int]) -> Iterator[tuple[Arrival, int | None]]:
    """Give each of several equal edges a set of arrivals that are all its features once; None to the rest."""
    ends = [0] * len(delays)
    for arrival in sorted(arrivals, key=lambda one: (one.start, int(one.route.source), one.route.slot)):
        if arrival.start not in ends:
            yield arrival, None
            continue
        edge = ends.index(arrival.start)
        ends[edge] = arrival.stop
        yield arrival, delays[edge]


def _layer_notes(placed: Placed) -> Iterator[str]:
    for layer in placed.network.layers:
        bias: Any = layer.operation.bias
        if bias is not None and np.any(bias > 0):
            count = int(np.count_nonzero(bias > 0))
            yield f"{layer.title}: {count} positive biases, which the vendor does not document"
    single = [layer.title for layer in placed.network.layers if layer.neuron.spike_mode == "single"]
    if single:
        names = ", ".join(single)
        yield f"{names}: single-spike mode; the chip behaves like multi per step and may spike more often"


def _division_notes(placed: Placed) -> Iterator[str]:
    """Which layers are cut, stand twice, or are passed on, and over which cores."""
    for signal in placed.network.signal_shapes:
        parts = placed.of(signal)
        pieces = [part for part in parts if part.role == "piece"]
        if pieces:
            yield f"{placed.title(signal)}: cut over {_spans(pieces)}"
        copies = [part for part in parts if part.role == "copy"]
        if copies:
            again = "once more" if copies[-1].copy == 1 else f"{copies[-1].copy} times more"
            yield f"{placed.title(signal)}: stands {again}, on {_spans(copies)}"
        for part in parts:
            if part.relayed is not None:
                pooled = f", pooled by {part.relayed}" if part.relayed > 1 else ""
                yield f"{placed.title(signal)}: passed on by a relay on {_spans([part])}{pooled}"


def _spans(parts: Sequence[Part]) -> str:
    return ", ".join(f"core {part.core} (features {part.features})" for part in parts)


def _output_notes(outputs: Sequence[InterfaceOutput], monitored: Sequence[str]) -> Iterator[str]:
    for output in outputs:
        if output.host_pool != (1, 1) and output.layer in monitored:
            size = "x".join(map(str, output.host_pool))
            yield f"{output.name}: the monitor shows {output.layer} unpooled; the host pools it by {size}"
