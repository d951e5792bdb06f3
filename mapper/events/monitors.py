"""Spike objects of the chip's library as events of layers; the library itself is never imported.

Read are `layer` (the core), `feature`, `y`, `x` and `timestamp` (µs) of spikes, and `p`, `y`, `x` and
`timestamp` of sensor events.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mapper.arguments import checked
from mapper.by_value import ByValue
from mapper.errors import EventError, Finding
from mapper.events.arrays import (
    Column,
    Events,
    Order,
    Shape3,
    build_events,
    column_findings,
    order_findings,
    shape_findings,
    whole,
)
from mapper.network import Origin
from mapper.own_shape import own_events, own_shape
from mapper.wording import titled

__all__ = [
    "MonitorEvents",
    "MonitoredLayer",
    "events_from_dvs",
    "events_from_spikes",
    "unwrap_timestamps",
]


class PartLike(Protocol):
    """Features of a layer on a core, as `mapper.emit.shared.config.OutputPart` is."""

    @property
    def core(self) -> int: ...

    @property
    def start(self) -> int: ...

    @property
    def stop(self) -> int: ...


Part: TypeAlias = PartLike | tuple[int, int, int]


@checked
@dataclass(frozen=True, slots=True, eq=False)
class MonitoredLayer(ByValue):
    """Where a layer's spikes are read.

    Attributes
    ----------
    parts
        (core, start, stop): the core shows features [start, stop) of the layer as 0..stop − start − 1.
        Together they are all features of the layer, each once.
    shape
        (features, height, width) of the layer as the cores show it: before `host_pool`.
    host_pool
        (height, width) of the pool that is done here: rows and columns are divided and rounded down.
        Those that do not fill a pool do not exist; spikes there are dropped and counted.
    origin
        Where the layer as it was given is found in what the cores show, before its pool; None: it is that.
    """

    parts: Sequence[Part]
    shape: Shape3
    host_pool: tuple[int, int] = (1, 1)
    origin: Origin | None = None


@dataclass(frozen=True, slots=True, eq=False)
class MonitorEvents(ByValue):
    """Events by layer, and what is not among them.

    Attributes
    ----------
    events
        By layer, in the order of the spikes.
    unpooled
        By layer, spikes in rows and columns that do not fill a pool.
    outside
        By layer, spikes that are outside its map or features; 0 unless `drop_outside` was given.
    other_cores
        By core, spikes of cores that belong to no layer asked for.
    """

    events: dict[str, Events]
    unpooled: dict[str, int] = field(default_factory=dict)
    outside: dict[str, int] = field(default_factory=dict)
    other_cores: dict[int, int] = field(default_factory=dict)


@checked
def unwrap_timestamps(times: Column, bits: int = 32) -> NDArray[np.int64]:
    """Timestamps of a clock that starts again at 2^bits, as times that go on.

    Neighbours are taken to be less than half a period apart, about 36 minutes for 32 bits. A small step
    back stays one: spikes of several cores need not arrive in order.

    Parameters
    ----------
    times
        Integers 0..2^bits − 1, µs.
    bits
        1..62.

    Raises
    ------
    EventError
        Times outside the range.
    """
    bits, findings = whole("bits", bits, 1, 62)
    findings += column_findings("timestamps", np.asarray(times), 2**bits - 1)
    if findings:
        raise EventError(*findings)
    wrapped = np.asarray(times).astype(np.int64)
    if len(wrapped) == 0:
        return wrapped
    period, half = 2**bits, 2 ** (bits - 1)
    steps = (np.diff(wrapped) + half) % period - half
    unwrapped: NDArray[np.int64] = np.empty_like(wrapped)
    unwrapped[0] = wrapped[0]
    unwrapped[1:] = wrapped[0] + np.cumsum(steps)
    # The first spike may be the late one of two around the start of a period.
    return unwrapped + period if unwrapped.min() < 0 else unwrapped


@checked
def events_from_spikes(
    spikes: Iterable[object],
    layers: Mapping[str, MonitoredLayer],
    *,
    unwrap: bool = False,
    order: Order = "ascending",
    drop_outside: bool = False,
) -> MonitorEvents:
    """Events of layers from the spikes that the monitors of their cores gave.

    Parameters
    ----------
    spikes
        Objects with `layer`, `feature`, `y`, `x` and `timestamp`, nothing else between them.
    layers
        By name. Two may read the same core, for example with different pools.
    unwrap
        Apply `unwrap_timestamps`.
    order
        As in `events_from`, after unwrapping.
    drop_outside
        Leave out, and count, spikes outside their layer's map or features instead of refusing them.

    Raises
    ------
    EventError
        With everything that is wrong.
    """
    names = {"layer": "layer", "t": "timestamp", "p": "feature", "y": "y", "x": "x"}
    columns, findings = _attributes(spikes, names)
    for name, layer in layers.items():
        findings += _layer_findings(name, layer)
    cores = columns.pop("layer", np.empty(0, dtype=np.int64))
    findings += column_findings("spikes, attribute layer", cores, 65535)
    labels = {key: f"spikes, attribute {name}" for key, name in names.items()}
    try:
        events = _in_time(columns, findings, unwrap, "any", labels)
    except EventError as error:
        raise EventError(*error.findings) from None
    if order == "ascending" and (late := order_findings(labels["t"], events["t"])):
        raise EventError(*late)
    if order == "sort":
        by_time = np.argsort(events["t"], kind="stable")
        events, cores = events[by_time], cores[by_time]
    known = {part[0] for layer in layers.values() for part in _parts(layer)}
    present, counts = np.unique(cores, return_counts=True)
    counts_by_core = {int(core): int(count) for core, count in zip(present, counts, strict=True)}
    monitored = MonitorEvents(
        {}, other_cores={core: n for core, n in counts_by_core.items() if core not in known}
    )
    for name, layer in layers.items():
        findings += _collect(monitored, name, layer, events, cores)
    if findings and not drop_outside:
        raise EventError(*findings)
    return monitored


def _collect(
    monitored: MonitorEvents, name: str, layer: MonitoredLayer, events: Events, cores: Column
) -> list[Finding]:
    """Add a layer's events to `monitored`; findings are the spikes outside it."""
    _, height, width = layer.shape
    pool_y, pool_x = layer.host_pool
    chosen = np.zeros(len(events), dtype=bool)
    features = np.zeros(len(events), dtype=np.int64)
    findings: list[Finding] = []
    outside = 0
    for core, start, stop in _parts(layer):
        here = np.flatnonzero(cores == core)
        p, y, x = (events[key][here] for key in ("p", "y", "x"))
        inside = (p < stop - start) & (y < height) & (x < width)
        outside += int(len(inside) - np.count_nonzero(inside))
        for key, column, largest in (
            ("feature", p, stop - start - 1),
            ("y", y, height - 1),
            ("x", x, width - 1),
        ):
            findings += column_findings(
                f"layer {titled(name)}, core {core}, attribute {key}", column, largest
            )
        chosen[here[inside]] = True
        features[here[inside]] = p[inside].astype(np.int64) + start
    shown = events[chosen]
    shown["p"] = features[chosen]
    if layer.origin is not None:
        shown = own_events(shown, layer.origin)
        _, height, width = own_shape(layer.origin, (height, width))
    y, x = shown["y"] // pool_y, shown["x"] // pool_x
    pooled = (y < height // pool_y) & (x < width // pool_x)
    taken = shown[pooled]
    taken["y"], taken["x"] = y[pooled], x[pooled]
    monitored.events[name] = taken
    monitored.unpooled[name] = len(shown) - len(taken)
    monitored.outside[name] = outside
    return findings


@checked
def events_from_dvs(
    dvs_events: Iterable[object],
    *,
    shape: Shape3 | None = None,
    unwrap: bool = False,
    order: Order = "ascending",
) -> Events:
    """Events from sensor events: objects with `p`, `y`, `x` and `timestamp`.

    Parameters
    ----------
    dvs_events
        Nothing else between them.
    shape
        (features, height, width): events outside are refused.
    unwrap
        Apply `unwrap_timestamps`.
    order
        As in `events_from`, after unwrapping.

    Raises
    ------
    EventError
        With everything that is wrong.
    """
    names = {"t": "timestamp", "p": "p", "y": "y", "x": "x"}
    columns, findings = _attributes(dvs_events, names)
    labels = {key: f"sensor events, attribute {name}" for key, name in names.items()}
    return _in_time(columns, findings, unwrap, order, labels, shape)


def _in_time(
    columns: dict[str, Column],
    findings: list[Finding],
    unwrap: bool,
    order: Order,
    labels: Mapping[str, str],
    shape: Shape3 | None = None,
) -> Events:
    if unwrap and "t" in columns:
        problems = column_findings(labels["t"], columns["t"], 2**32 - 1)
        findings += problems
        if problems:
            del columns["t"]
        else:
            columns["t"] = unwrap_timestamps(columns["t"])
    return build_events(columns, findings, shape=shape, order=order, source="spikes", labels=labels)


def _attributes(
    objects: Iterable[object], names: Mapping[str, str]
) -> tuple[dict[str, Column], list[Finding]]:
    """Attributes of the objects as columns, or who lacks them."""
    objects = list(objects)
    columns: dict[str, Column] = {}
    for key, name in names.items():
        try:
            columns[key] = np.array(list(map(attrgetter(name), objects)) or np.empty(0, dtype=np.int64))
        except AttributeError:
            attributes = tuple(names.values())
            odd = [n for n, one in enumerate(objects) if not all(hasattr(one, name) for name in attributes)]
            text = f"{len(odd)} objects lack some of {', '.join(attributes)}, the first is object {odd[0]}"
            kind = type(objects[odd[0]]).__name__
            step = "Select one kind of event with isinstance first"
            return {}, [Finding("spikes", text, kind, next_step=step)]
        except ValueError as error:
            return {}, [Finding(f"spikes, attribute {name}", f"is not a number everywhere: {error}")]
    return columns, []


def _parts(layer: MonitoredLayer) -> list[tuple[int, int, int]]:
    return [part if isinstance(part, tuple) else (part.core, part.start, part.stop) for part in layer.parts]


def _layer_findings(name: str, layer: MonitoredLayer) -> list[Finding]:
    findings = shape_findings(layer.shape)
    for side, size in zip(("height", "width"), layer.host_pool, strict=True):
        findings += whole(f"layer {titled(name)}, host pool {side}", size, 1, 65536)[1]
    parts = sorted(_parts(layer), key=lambda part: part[1:])
    if findings:
        return findings
    if len({part[0] for part in parts}) < len(parts):
        findings.append(Finding(f"layer {titled(name)}", "two parts on one core cannot be told apart", parts))
    end = 0
    for core, start, stop in parts:
        if start != end or stop <= start:
            text = (
                f"core {core} shows features {start}..{stop - 1}, but the next one without a place is {end}"
            )
            findings.append(Finding(f"layer {titled(name)}", text))
        end = stop
    if end != layer.shape[0]:
        findings.append(
            Finding(
                f"layer {titled(name)}", "its parts are not all its features", end, layer.shape[0], "features"
            )
        )
    return findings
