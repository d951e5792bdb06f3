"""What arrives at each core, feature by feature, against what the networks' edges ask for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import TypeAlias

from mapper.rules import Rule
from mapper.solution import DVS, Relay
from mapper.verify.case import SENSOR, Body, Case, Signal, Span, Violation, covers, edge_pool, signal_of
from mapper.verify.sensor import pooling_behind_stage

# Signal, pooling so far (of the sensor: behind its stage), feature offset.
_Arrival: TypeAlias = tuple[Signal, int, int]


def check_connection(case: Case) -> Iterator[Violation]:
    """Check `Rule.CONNECTION`."""
    arriving = _arriving(case)
    for body in case.bodies:
        expected, spans = _expected(case, body), arriving.get(body.placement.core, {})
        keys = {*expected, *spans}
        for key in sorted(keys, key=str) if len(keys) > 1 else keys:
            (number, name), pooling, offset = key
            if not covers(spans.get(key, ()), *expected.get(key, (0, 0, 0))):
                signal = name if number is None else f"{name} of network {number}"
                problem = f"{signal} pooled by {pooling} at offset {offset} arrives as {spans.get(key, [])}"
                yield Violation(Rule.CONNECTION, f"{body.where} ({body.name})", problem)
    for core in sorted(arriving.keys() - case.by_core.keys()):
        yield Violation(Rule.CONNECTION, f"core {core}", "spikes arrive at a core that does nothing")
    for core in sorted(_rootless(case)):
        yield Violation(Rule.CONNECTION, f"core {core}", "is a relay that only relays feed, in a circle")


def _rootless(case: Case) -> set[int]:
    """Relays that no layer and no input reaches: they could feed one another for ever."""
    relays = {body.placement.core for body in case.bodies if isinstance(body.placement.body, Relay)}
    feeding: dict[int, set[int | str]] = {core: set() for core in relays}
    for route in case.solution.routes:
        if isinstance(route.target, int) and route.target in relays:
            feeding[route.target].add(route.source)
    left = set(relays)
    while grounded := {core for core in left if not feeding[core] & left}:
        left -= grounded
    return left


def _expected(case: Case, body: Body) -> dict[_Arrival, tuple[int, int, int]]:
    """By arrival, the features from start to stop, and how many times each."""
    part = body.placement.body
    if isinstance(part, Relay):
        signal, (start, stop) = signal_of(part), body.placement.features
        if part.reads_all:
            return {(signal, part.pooling, 0): (0, case.features(signal), 1)}
        # A relay's features count from 0: what it reads is shifted down by where it begins.
        return {(signal, part.pooling, -start): (start, stop, 1)}
    expected: dict[_Arrival, tuple[int, int, int]] = {}
    network = case.networks[part.network]
    sensors = {entry.name for entry in network.inputs if entry.dvs is not None}
    for edge in network.incoming[part.layer]:
        source: Signal = (part.network, edge.source)
        pooling = edge_pool(edge)[0][0]
        if edge.source in sensors:
            # An edge that the stage cannot serve asks for a pool that nothing has.
            source, pooling = SENSOR, pooling_behind_stage(edge, case.solution.dvs_stage) or 0
        key = (source, pooling, edge.feature_offset)
        expected[key] = (0, case.features(source), expected.get(key, (0, 0, 0))[2] + 1)
    return expected


def _arriving(case: Case) -> dict[int, dict[_Arrival, list[Span]]]:
    """Per core, the features of each signal that reach it."""
    arriving: dict[int, dict[_Arrival, list[Span]]] = defaultdict(lambda: defaultdict(list))
    for route in case.solution.routes:
        if not isinstance(route.target, int):
            continue
        source, pooling, span = case.by_core.get(route.source), 1, (0, 1)
        signal: Signal = (-1, "nothing")
        if route.source == DVS:
            signal, span = SENSOR, (0, case.features(SENSOR))
        elif source is not None:
            part, span = source.placement.body, source.placement.features
            signal, pooling = signal_of(part), part.pooling if isinstance(part, Relay) else 1
        # A part numbers its features from 0; its shift contains the part's own start.
        key = (signal, pooling * route.pooling, route.feature_shift - span[0])
        arriving[route.target][key].append(span)
    for entry in case.solution.host_entries:
        signal = (entry.network, entry.input)
        arriving[entry.core][signal, 1, entry.feature_shift].append((0, case.features(signal)))
    return arriving
