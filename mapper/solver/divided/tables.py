"""What the model of pieces, copies and relays counts with: largest pieces, fitting relays, signals."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from hwspec.memory import address_bits
from hwspec.schema import CoreSpec
from mapper.demand import SHORTFALLS, CoreDemand
from mapper.network import Edge, Input
from mapper.operations import Shape
from mapper.problem import Problem
from mapper.references import natural_key
from mapper.rules import Rule

__all__ = ["ORIGIN", "UNREACHABLE", "Consumer", "Signal", "Tables", "largest_pieces", "relay_shortfalls"]

# The level of whatever makes a signal; relays are at the pooling that their output contains.
ORIGIN = 0
# The pooling of an edge that no destination can express.
UNREACHABLE = -1
# Limits of a piece that do not depend on how many features it has.
_SHAPE_RULES = (
    Rule.INPUT_SIZE,
    Rule.OUTPUT_SIZE,
    Rule.KERNEL_SIZE,
    Rule.KERNEL_SQUARE,
    Rule.STRIDE,
    Rule.PADDING,
)


@dataclass(frozen=True, slots=True)
class Consumer:
    """An edge that reads a signal.

    Attributes
    ----------
    layer
        The target, an index of the problem's demands.
    pooling
        Rows of its pool; of the sensor's edges what is left to do behind the stage: 1. `UNREACHABLE` where
        the chip has no such pool or no such shift.
    offset
        Added to the feature index on arrival.
    """

    layer: int
    pooling: int
    offset: int
    edge: Edge


@dataclass(frozen=True, slots=True)
class Signal:
    """What a layer or an input sends.

    Attributes
    ----------
    kind
        "layer", "host" (any number of destinations, unpooled) or "sensor" (destinations of the stage).
    layer
        Index of the problem's demands; None for an input.
    shape
        As relays see it; behind the sensor stage.
    consumers
        In the canonical order of destinations.
    shown
        Poolings at which relays must show it on a monitor.
    readout
        Whether the readout stage takes a destination.
    """

    network: int
    name: str
    kind: str
    layer: int | None
    shape: Shape
    consumers: tuple[Consumer, ...]
    shown: tuple[int, ...] = ()
    readout: bool = False


def largest_pieces(demand: CoreDemand, core: CoreSpec, problem: Problem) -> dict[Rule, int]:
    """By rule, the most output features of a layer that a core holds under this rule alone.

    The formulas are those of `hwspec.memory`, solved for the number of features; 0 where a rule does
    not depend on it and is broken. Rules without bound are left out.
    """
    found = {rule: 0 for rule in _SHAPE_RULES if SHORTFALLS[rule](demand, core, problem.chip) is not None}
    limits, shape = core.limits, demand.output_shape
    most = limits.output_features_max if demand.input_shape.features <= limits.input_features_max else 0
    found[Rule.FEATURES] = most
    taps = demand.input_shape.features << address_bits(demand.kernel[0] * demand.kernel[1])
    found[Rule.KERNEL_MEMORY] = _power_at_most(core.kernel_words // taps)
    found[Rule.NEURON_MEMORY] = core.neuron_words >> (address_bits(shape.height) + address_bits(shape.width))
    if demand.bias_words:
        found[Rule.BIAS_MEMORY] = core.bias_words
    if core.synops_per_second is not None and demand.spikes_per_second:
        work = demand.spikes_per_second * demand.kernel[0] * demand.kernel[1]
        found[Rule.BANDWIDTH] = core.synops_per_second * demand.stride[0] * demand.stride[1] // work
    if not problem.chip.routing.feature_shift:
        whole = all(bound >= shape.features for bound in found.values())
        found[Rule.FEATURE_SHIFT] = shape.features if whole else 0
    return found


def _power_at_most(number: int) -> int:
    return 1 << (number.bit_length() - 1) if number else 0


def relay_shortfalls(shape: Shape, level: int, core: CoreSpec, spikes_per_second: int) -> tuple[Rule, ...]:
    """Rules that keep a relay of a whole signal, pooled by `level`, off a core."""
    features, height, width = shape.features, shape.height // level, shape.width // level
    limits = core.limits
    broken = []
    if height > limits.input_height_max or width > limits.input_width_max:
        broken.append(Rule.INPUT_SIZE)
    if height > limits.output_height_max or width > limits.output_width_max or min(height, width) < 1:
        broken.append(Rule.OUTPUT_SIZE)
    if features > min(limits.input_features_max, limits.output_features_max):
        broken.append(Rule.FEATURES)
    if limits.kernel_size_min > 1:
        broken.append(Rule.KERNEL_SIZE)
    if 1 not in limits.strides:
        broken.append(Rule.STRIDE)
    if features << address_bits(features) > core.kernel_words:
        broken.append(Rule.KERNEL_MEMORY)
    if (
        min(height, width) > 0
        and features << (address_bits(height) + address_bits(width)) > core.neuron_words
    ):
        broken.append(Rule.NEURON_MEMORY)
    if core.synops_per_second is not None and spikes_per_second * features > core.synops_per_second:
        broken.append(Rule.BANDWIDTH)
    return tuple(broken)


def _pooling(edge: Edge) -> int:
    pool = edge.pool
    if pool is None:
        return 1
    return pool.size[0] if len({*pool.size, *pool.stride}) == 1 else UNREACHABLE


def _largest_relay(shape: Shape, level: int, core: CoreSpec, rate: int) -> int:
    """The most features of a relay that a core holds, by bisection: less never asks more."""
    low, high = 0, shape.features
    while low < high:
        middle = (low + high + 1) // 2
        if relay_shortfalls(shape._replace(features=middle), level, core, rate):
            high = middle - 1
        else:
            low = middle
    return low


class Tables:
    """Everything about a problem that the model, its decoding and its explanation look up.

    Parameters
    ----------
    offered
        Per core class, the core whose memories and bandwidth count; None for the chip's own. Smaller ones
        leave headroom.
    """

    def __init__(self, problem: Problem, offered: tuple[CoreSpec, ...] | None = None) -> None:
        self.problem = problem
        self.offered = offered or tuple(entry.core for entry in problem.classes)
        self.poolings = tuple(sorted(problem.chip.routing.poolings))
        self._aligned_limits: dict[tuple[int, str, int], Mapping[int, int]] = {}
        self._relay_classes: dict[tuple[int, str, int], tuple[int, ...]] = {}

    @cached_property
    def piece_limits(self) -> tuple[tuple[Mapping[Rule, int], ...], ...]:
        """Per layer and class, `largest_pieces`; an empty class of its own for pinned cores of others."""
        problem = self.problem
        known: dict[tuple[CoreDemand, CoreSpec], dict[Rule, int]] = {}
        rows = []
        for demand in problem.demands:
            row = []
            for core in self.offered:
                key = (demand.core, core)
                if key not in known:
                    known[key] = largest_pieces(demand.core, core, problem)
                row.append(known[key])
            rows.append(tuple(row))
        return tuple(rows)

    def may_use(self, layer: int, k: int) -> bool:
        """Whether pins leave class k to a layer."""
        demand, pinned = self.problem.demands[layer], self.problem.classes[k].pinned_layer
        if pinned is not None:
            return pinned == (demand.network, demand.layer)
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
        return frozenset(s.layer for s in self.signals if s.layer is not None and not s.consumers)

    @cached_property
    def _place(self) -> Mapping[int, int]:
        """The canonical position of every layer."""
        return {layer: n for n, layer in enumerate(self.problem.by_name)}

    @cached_property
    def layer_of(self) -> Mapping[tuple[int, str], int]:
        """Index of the problem's demands by (network, name)."""
        return {(demand.network, demand.layer): n for n, demand in enumerate(self.problem.demands)}

    @cached_property
    def signals(self) -> tuple[Signal, ...]:
        """Every signal that something reads or that is shown: inputs first, network by network."""
        return tuple(signal for n in range(len(self.problem.networks)) for signal in self._signals(n))

    @cached_property
    def by_name(self) -> tuple[int, ...]:
        """Indexes of `signals` in natural order of names: the canonical order."""
        keys = [(natural_key(signal.name), signal.network) for signal in self.signals]
        return tuple(sorted(range(len(keys)), key=keys.__getitem__))

    def _signals(self, number: int) -> Iterator[Signal]:
        problem, network = self.problem, self.problem.networks[number]
        for entry in network.inputs:
            kind = "host" if entry.dvs is None else "sensor"
            consumers = self._consumers(number, network.outgoing[entry.name], kind)
            yield Signal(number, entry.name, kind, None, self._input_shape(entry), consumers)
        for layer in network.layers:
            index = self.layer_of[number, layer.name]
            consumers = self._consumers(number, network.outgoing[layer.name], "layer")
            shown = tuple(
                sorted({p for n, name, p in problem.monitored_pooled if (n, name) == (number, layer.name)})
            )
            readout = problem.readout == (number, layer.name)
            yield Signal(number, layer.name, "layer", index, layer.output_shape, consumers, shown, readout)

    def _input_shape(self, entry: Input) -> Shape:
        stage = self.problem.dvs_stage
        if entry.dvs is None or stage is None:
            return entry.shape
        height, width = (stage.cut[axis] - stage.origin[axis] + 1 for axis in (0, 1))
        if stage.swap:
            height, width = width, height
        return Shape(entry.shape.features, height, width)

    def _consumers(self, number: int, edges: Iterable[Edge], kind: str) -> tuple[Consumer, ...]:
        found = []
        for edge in edges:
            pooling = _pooling(edge) if kind != "sensor" else 1
            if edge.feature_offset and not self.problem.chip.routing.feature_shift:
                pooling = UNREACHABLE
            found.append(Consumer(self.layer_of[number, edge.target], pooling, edge.feature_offset, edge))
        place = self._place
        return tuple(sorted(found, key=lambda c: (place[c.layer], c.pooling, c.offset, c.edge.delay_steps)))

    def levels(self, signal: Signal) -> tuple[int, ...]:
        """Poolings at which relays of a signal can be of use."""
        wanted = {consumer.pooling for consumer in signal.consumers} | set(signal.shown)
        wanted.discard(UNREACHABLE)
        if not self.problem.options.relays:
            return ()
        reached, found = {1}, {1}
        while reached:
            reached = {level * pool for level in reached for pool in self.poolings} - found
            reached = {level for level in reached if any(pooling % level == 0 for pooling in wanted)}
            found |= reached
        return tuple(sorted(level for level in found if any(p % level == 0 for p in wanted)))

    def aligned_levels(self, signal: Signal) -> tuple[int, ...]:
        """Poolings at which a layer's pieces can be relayed one by one: those at which no core holds all."""
        if signal.layer is None or signal.layer in self.whole or not self.problem.chip.routing.feature_shift:
            return ()
        levels = (level for level in self.levels(signal) if level in self.poolings)
        return tuple(level for level in levels if not self.relay_classes(signal, level))

    def aligned_limits(self, signal: Signal, level: int) -> Mapping[int, int]:
        """By class, the most features of a relay of one piece, where it holds any."""
        key = (signal.network, signal.name, level)
        if key not in self._aligned_limits:
            rate = self.problem.traffic[signal.network].get(signal.name, 0)
            rows = (
                (k, _largest_relay(signal.shape, level, self.offered[k], rate))
                for k, entry in enumerate(self.problem.classes)
                if entry.pinned_layer is None
            )
            self._aligned_limits[key] = {k: most for k, most in rows if most}
        return self._aligned_limits[key]

    def suits(
        self, signal: Signal, providers: Iterable[int], pooling: int, below: int | None = None
    ) -> tuple[int, ...]:
        """Levels, of those given, that serve a taker of a pooling; with `below` lower ones alone.

        The level of an aligned set has a minus sign.
        """
        found = []
        for provider in providers:
            left, rest = divmod(pooling, abs(provider)) if provider != ORIGIN else (pooling, 0)
            direct = signal.kind == "layer" or pooling == 1
            fits = not rest and left in self.poolings and (provider != ORIGIN or direct)
            if fits and (below is None or provider < below):
                found.append(provider)
        return tuple(found)

    def relay_classes(self, signal: Signal, level: int) -> tuple[int, ...]:
        """Core classes that hold a relay of a whole signal."""
        rate = self.problem.traffic[signal.network].get(signal.name, 0)
        return tuple(
            k
            for k, entry in enumerate(self.problem.classes)
            if entry.pinned_layer is None and not relay_shortfalls(signal.shape, level, self.offered[k], rate)
        )
