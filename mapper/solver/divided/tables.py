"""What the model of pieces, copies and relays counts with: largest pieces, fitting relays, signals."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple, TypeAlias

from hwspec.schema import CoreSpec
from mapper.network import Edge
from mapper.operations import Pair, Shape
from mapper.problem import Problem
from mapper.references import natural_key
from mapper.rules import Rule
from mapper.solution import DVS
from mapper.solver.budget import Budget, timed
from mapper.work import HOLDING, CoreWork, largest, largest_held, relay_work

__all__ = ["ORIGIN", "UNREACHABLE", "Consumer", "PieceTable", "Provider", "Signal", "Tables"]

# The pooling of an edge that no chain of destinations can express.
UNREACHABLE = 0
_NONE: frozenset[Rule] = frozenset()

# Per layer, form and class: the most features of a piece; 0 where the class is closed to the layer.
PieceTable: TypeAlias = tuple[tuple[tuple[int, ...], ...], ...]


class Provider(NamedTuple):
    """Who sends a signal.

    Attributes
    ----------
    level
        The pooling that what it sends contains.
    kind
        "origin": whatever makes the signal. "relay": identity cores of the whole signal. "aligned": one
        for every piece of the layer's first copy. "split": several that each read all of the signal and
        pass a part of it on.
    """

    level: int
    kind: Literal["aligned", "origin", "relay", "split"]


ORIGIN = Provider(1, "origin")


@dataclass(frozen=True, slots=True)
class Consumer:
    """An edge that reads a signal.

    Attributes
    ----------
    layer, form
        The target, an index of the problem's demands, and the form in which it has this edge.
    pooling
        Rows of its pool; of the sensor's edges what is left to do behind the stage. `UNREACHABLE` where
        the chip has no such pool or no such shift.
    offset
        Added to the feature index on arrival.
    direct
        Whether the signal's origin can serve it without a relay.
    origin_only
        Whether no relay can, since the chip's destinations do not shift features.
    """

    layer: int
    form: int
    pooling: int
    offset: int
    edge: Edge
    direct: bool
    origin_only: bool = False


@dataclass(frozen=True, slots=True)
class Signal:
    """What a layer, a host input or the sensor sends.

    Attributes
    ----------
    network
        None for the sensor, which all networks share.
    kind
        "layer", "host" (any number of destinations, unpooled) or "sensor" (destinations of the stage).
    layer
        Index of the problem's demands; None for an input.
    shape
        As relays see it; behind the sensor stage.
    spikes_per_second
        At the traffic given; of the sensor the most that any of its inputs states.
    consumers
        In the canonical order of destinations, layers in all of their forms.
    shown
        Poolings at which relays must show it on a monitor.
    readout
        Whether the readout stage takes a destination.
    """

    network: int | None
    name: str
    kind: Literal["layer", "host", "sensor"]
    layer: int | None
    shape: Shape
    spikes_per_second: int
    consumers: tuple[Consumer, ...]
    shown: tuple[int, ...] = ()
    readout: bool = False


class Tables:
    """Everything about a problem that the model, its decoding and its explanation look up.

    Parameters
    ----------
    offered
        Per core class, the core whose memories and bandwidth count; None for the chip's own. Smaller ones
        leave headroom.
    reserves_pinned
        Whether a core that a layer is pinned to is closed to all others. An explanation leaves it to the
        number of cores, which it may give up.
    budget
        Whose time limit ends what is built from here.
    """

    def __init__(
        self,
        problem: Problem,
        offered: tuple[CoreSpec, ...] | None = None,
        *,
        reserves_pinned: bool = True,
        budget: Budget | None = None,
    ) -> None:
        self.problem, self.reserves_pinned, self.budget = problem, reserves_pinned, budget
        # Without moves, and where one form is the first choice everywhere, a layer fits a core or not.
        self.only_whole = not problem.options.divides and not problem.forms_compete
        self.is_chip = offered is None
        self.offered = offered or tuple(entry.core for entry in problem.classes)
        self.poolings = tuple(sorted(problem.chip.routing.poolings))
        self._limits: dict[tuple[Rule | None, CoreWork], tuple[int, ...]] = {}
        self._piece_tables: dict[frozenset[tuple[Rule, int]], PieceTable] = {}
        self._rows: dict[tuple[int, frozenset[Rule]], tuple[tuple[int, ...], ...]] = {}
        self._relay_limits: dict[CoreWork, Mapping[int, int]] = {}
        # Of a signal by index, the most relays of a part: what need.py counts once.
        self.partial_relays: dict[int, int] = {}

    def _per_class(self, rule: Rule | None, work: CoreWork) -> tuple[int, ...]:
        """Per class, the most features of a work that its cores hold under one rule, or under all."""
        if (rule, work) not in self._limits:
            by_core: dict[int, int] = {}
            for core in self.offered:
                if id(core) not in by_core:
                    by_core[id(core)] = largest(rule, work, core) if rule else self._largest(work, core)
            self._limits[rule, work] = tuple(by_core[id(core)] for core in self.offered)
        return self._limits[rule, work]

    def _largest(self, work: CoreWork, core: CoreSpec) -> int:
        return largest_held(work, core, self.problem.lacking(work, core) if self.is_chip else None)

    def limiting(self, layer: int) -> tuple[Rule, ...]:
        """Rules under which some class does not hold a layer whole, in the order of `Rule`.

        Without moves what a layer asks of destinations is among them.
        """
        features = self._features(layer)
        if self.only_whole:
            rules = {lack.rule for lacks in self.problem.shortfalls(layer) for lack in lacks}
        else:
            rules = {r for r in (*HOLDING, Rule.FEATURE_SHIFT) if min(self.limits(layer, r)) < features}
        return tuple(rule for rule in Rule if rule in rules) if rules else ()

    def limits(self, layer: int, rule: Rule) -> tuple[int, ...]:
        """Per class, the most features of a piece under one rule, in the layer's most frugal form."""
        if self.only_whole:
            return tuple(
                0 if any(lack.rule is rule for lack in lacks) else self._features(layer)
                for lacks in self.problem.shortfalls(layer)
            )
        if rule is Rule.FEATURE_SHIFT:
            return self._unshifted(layer) or tuple(self._features(layer) for _ in self.offered)
        rows = [self._per_class(rule, work) for work in self.problem.works[layer]]
        return tuple(max(column) for column in zip(*rows, strict=True))

    def _features(self, layer: int) -> int:
        return self.problem.demands[layer].work.output_shape.features

    def _unshifted(self, layer: int) -> tuple[int, ...] | None:
        """Pieces of a signal that is read need a shift; where the chip has none, the layer stays whole."""
        if self.problem.chip.routing.feature_shift or layer in self.unread:
            return None
        features, works = self._features(layer), self.problem.works[layer]
        rows = [self._per_class(None, work) for work in works]
        return tuple(features if max(column) >= features else 0 for column in zip(*rows, strict=True))

    def piece_table(self, left_out: frozenset[tuple[Rule, int]] = frozenset()) -> PieceTable:
        """Per layer, form and class, the most features of a piece; 0 where pins close the class to the layer.

        Parameters
        ----------
        left_out
            (rule, layer): limits that do not count.
        """
        if left_out not in self._piece_tables:
            layers = timed(self.budget, len(self.problem.demands))
            rules = {n: frozenset(rule for rule, layer in left_out if layer == n) for _, n in left_out}
            self._piece_tables[left_out] = tuple(self.rows(n, rules.get(n, _NONE)) for n in layers)
        return self._piece_tables[left_out]

    def rows(self, layer: int, left_out: frozenset[Rule]) -> tuple[tuple[int, ...], ...]:
        """What `piece_table` has of a layer for which some rules do not count."""
        if (layer, left_out) not in self._rows:
            works = self.problem.works[layer]
            self._rows[layer, left_out] = tuple(self._piece_row(layer, work, left_out) for work in works)
        return self._rows[layer, left_out]

    def _piece_row(self, layer: int, work: CoreWork, left_out: frozenset[Rule]) -> tuple[int, ...]:
        if self.only_whole:
            row = tuple(
                0 if any(lack.rule not in left_out for lack in lacks) else self._features(layer)
                for lacks in self.problem.shortfalls(layer)
            )
        elif left_out:
            columns = [self._per_class(rule, work) for rule in HOLDING if rule not in left_out]
            row = tuple(min(column) for column in zip(*columns, strict=True))
        else:
            row = self._per_class(None, work)
        features = self._features(layer)
        if self._unshifted(layer) is not None and Rule.FEATURE_SHIFT not in left_out:
            row = tuple(most if most >= features else 0 for most in row)
        return tuple(most if self.may_use(layer, k) else 0 for k, most in enumerate(row))

    def may_use(self, layer: int, k: int) -> bool:
        """Whether pins leave class k to a layer."""
        demand, pinned = self.problem.demands[layer], self.problem.classes[k].pinned_layer
        is_own = pinned == (demand.network, demand.layer)
        if pinned is not None and (is_own or self.reserves_pinned):
            return is_own
        return layer not in self.pinned

    @cached_property
    def pinned(self) -> frozenset[int]:
        """Layers with a pin."""
        pins = {self.problem.identity[str(name)] for name, _ in self.problem.options.pins}
        return frozenset(n for n, d in enumerate(self.problem.demands) if (d.network, d.layer) in pins)

    @cached_property
    def whole(self) -> frozenset[int]:
        """Layers that must stay whole and single."""
        readout = self.problem.readout
        feeding = {n for n, d in enumerate(self.problem.demands) if (d.network, d.layer) == readout}
        return self.pinned | feeding

    @cached_property
    def unread(self) -> frozenset[int]:
        """Layers that no other reads: a second copy is of no use."""
        read = self._reading
        demands = enumerate(self.problem.demands)
        return frozenset(n for n, d in demands if (d.network, d.layer) not in read)

    @cached_property
    def _place(self) -> Mapping[int, int]:
        """The canonical position of every layer."""
        return {layer: n for n, layer in enumerate(self.problem.by_name)}

    @cached_property
    def signals(self) -> tuple[Signal, ...]:
        """Every signal: the sensor and host inputs first, then layers, network by network."""
        networks = range(len(self.problem.networks))
        return (*self._sensor(), *(signal for n in networks for signal in self._signals(n)))

    def signal_of(self, layer: int) -> Signal:
        """What a layer sends."""
        return self.signals[self.sent_by[layer]]

    @cached_property
    def sent_by(self) -> Mapping[int, int]:
        """By layer, the index of what it sends among `signals`."""
        return {signal.layer: n for n, signal in enumerate(self.signals) if signal.layer is not None}

    @cached_property
    def by_name(self) -> tuple[int, ...]:
        """Indexes of `signals` in natural order of names: the canonical order."""
        keys = [(natural_key(signal.name), signal.network or 0) for signal in self.signals]
        return tuple(sorted(range(len(keys)), key=keys.__getitem__))

    @cached_property
    def _reading(self) -> Mapping[tuple[int, str], list[tuple[int, int, Edge]]]:
        """By (network, source), (layer, form, edge) of all that reads it."""
        readers: dict[tuple[int, str], list[tuple[int, int, Edge]]] = {}
        for layer, works in enumerate(self.problem.works):
            for form in range(len(works)):
                for edge in self.problem.edges_into(layer, form):
                    key = (self.problem.demands[layer].network, edge.source)
                    readers.setdefault(key, []).append((layer, form, edge))
        return readers

    def _sensor(self) -> Iterator[Signal]:
        shape, sensors = self.problem.sensor_shape, self.problem.sensors
        if shape is None:
            return
        readers = [reader for n, entry in sensors for reader in self._reading.get((n, entry.name), ())]
        rates = [self.problem.traffic[n].get(entry.name, 0) for n, entry in sensors]
        yield Signal(None, DVS, "sensor", None, shape, max(rates), self._consumers("sensor", readers))

    def _signals(self, number: int) -> Iterator[Signal]:
        problem, network = self.problem, self.problem.networks[number]
        rates = problem.traffic[number]
        for entry in network.inputs:
            if entry.dvs is None:
                consumers = self._consumers("host", self._reading.get((number, entry.name), ()))
                rate = rates.get(entry.name, 0)
                yield Signal(number, entry.name, "host", None, entry.shape, rate, consumers)
        for layer in network.layers:
            index, key = problem.layer_of[number, layer.name], (number, layer.name)
            consumers = self._consumers("layer", self._reading.get(key, ()))
            poolings = {pooling for n, name, pooling in problem.monitored_pooled if (n, name) == key}
            yield Signal(
                number, layer.name, "layer", index, layer.output_shape, rates.get(layer.name, 0), consumers,
                tuple(sorted(poolings)), problem.readout == key,
            )  # fmt: skip

    def _consumers(
        self, kind: Literal["layer", "host", "sensor"], readers: Iterable[tuple[int, int, Edge]]
    ) -> tuple[Consumer, ...]:
        consumers = []
        for layer, form, edge in readers:
            size: Pair = edge.pool.size if edge.pool else (1, 1)
            is_square = not edge.pool or edge.pool.size == edge.pool.stride
            if kind == "sensor":
                size = self.problem.behind_stage(edge)
            pooling = size[0] if is_square and size[0] == size[1] else UNREACHABLE
            shifts = bool(edge.feature_offset)
            direct = pooling in self.poolings if kind == "layer" else pooling == 1
            direct = direct and not (kind == "sensor" and shifts)
            # The host's software shifts what it sends, whatever the chip's destinations can do.
            unshifted = shifts and not self.problem.chip.routing.feature_shift
            if unshifted and not (kind == "host" and direct):
                pooling = UNREACHABLE
            consumers.append(
                Consumer(layer, form, pooling, edge.feature_offset, edge, direct, origin_only=unshifted)
            )
        place = self._place
        return tuple(
            sorted(consumers, key=lambda c: (place[c.layer], c.form, c.pooling, c.offset, c.edge.delay_steps))
        )

    def levels(self, signal: Signal) -> tuple[int, ...]:
        """Poolings at which relays of a signal can be of use."""
        ends = {consumer.pooling for consumer in signal.consumers} | set(signal.shown)
        ends.discard(UNREACHABLE)
        if not self.problem.options.relays:
            return ()
        reached, levels = {1}, {1}
        while reached:
            reached = {level * pool for level in reached for pool in self.poolings} - levels
            reached = {n for n in reached if n <= min(signal.shape[1:]) and any(end % n == 0 for end in ends)}
            levels |= reached
        return tuple(sorted(level for level in levels if any(end % level == 0 for end in ends)))

    def serves(self, provider: Provider, pooling: int) -> bool:
        """Whether destinations of a relay provide what a taker of a pooling wants."""
        rest = 0 if pooling % provider.level else pooling // provider.level
        return rest in self.poolings

    def relay_limits(self, signal: Signal, level: int, *, reads_all: bool = False) -> Mapping[int, int]:
        """By class, the most features of a relay, where it holds any.

        Parameters
        ----------
        reads_all
            Of relays that read the whole signal, however little of it they pass on.
        """
        if min(signal.shape.height, signal.shape.width) < level:
            return {}
        work = relay_work(signal.shape, level, signal.spikes_per_second, reads_all=reads_all)
        if work not in self._relay_limits:
            row, classes, reserved = self._per_class(None, work), self.problem.classes, self.reserves_pinned
            held = {k: n for k, n in enumerate(row) if n and not (reserved and classes[k].pinned_layer)}
            self._relay_limits[work] = held
        return self._relay_limits[work]

    def relay_classes(self, signal: Signal, level: int) -> tuple[int, ...]:
        """Core classes that hold a relay of a whole signal."""
        limits = self.relay_limits(signal, level)
        return tuple(k for k, most in limits.items() if most == signal.shape.features)

    def partial_limits(self, signal: Signal, level: int, *, reads_all: bool) -> Mapping[int, int]:
        """By class, the most features of a relay of a part, where cores of the class do not hold the whole.

        A set of relays with a core that holds the whole signal serves no more than this core alone.
        """
        shifts = self.problem.chip.routing.feature_shift
        if not shifts and (signal.consumers or signal.kind != "layer"):
            return {}
        whole = self.relay_classes(signal, level)
        limits = self.relay_limits(signal, level, reads_all=reads_all)
        return {k: most for k, most in limits.items() if k not in whole}
