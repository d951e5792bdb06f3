"""What stands on a core asks of it: the one place that says whether a core may hold it.

A whole layer, a piece of one, a relay: each is a `CoreWork`. A rule about holding is a function of a work
and a core; how many features of a work a core holds under a rule is the rule solved for that number. What
a layer wants to send is a `Sending`, with rules of its own. `mapper.verify` holds the second, independent
reading of the same rules.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import TypeAlias

from hwspec.memory import address_bits, bias_words, kernel_words, neuron_words
from hwspec.schema import ChipSpec, CoreSpec
from mapper.network import Edge, Layer, Network
from mapper.normal_form import convolution_of, require_normal_form
from mapper.operations import Pair, Pool, Shape
from mapper.rules import Rule
from mapper.wording import join_names

__all__ = [
    "HOLDING",
    "SENDING",
    "CoreWork",
    "LayerDemand",
    "Sending",
    "Shortfall",
    "free_share",
    "lacking",
    "largest",
    "largest_held",
    "layer_demands",
    "layer_work",
    "relay_work",
    "shortfalls",
    "unsendable",
]


@dataclass(frozen=True)
class CoreWork:
    """What an occupant asks of a core, without its name: equal for those that are interchangeable.

    Attributes
    ----------
    kernel, stride, padding
        (height, width).
    spikes_per_second
        Arriving, at the traffic given; 0 where none is.
    """

    input_shape: Shape
    output_shape: Shape
    kernel: Pair
    stride: Pair
    padding: Pair
    has_bias: bool
    spikes_per_second: int = 0
    is_relay: bool = False

    def narrowed(self, features: int) -> CoreWork:
        """The same for some of the output features: what a piece asks.

        A relay's piece reads no more than it passes on.
        """
        shape = self.output_shape._replace(features=features)
        read = self.input_shape._replace(features=features) if self.is_relay else self.input_shape
        return CoreWork(
            read, shape, self.kernel, self.stride, self.padding, self.has_bias, self.spikes_per_second,
            self.is_relay,
        )  # fmt: skip

    @cached_property
    def kernel_words(self) -> int:
        """8-bit words of kernel memory."""
        return kernel_words(self.input_shape.features, self.output_shape.features, *self.kernel)

    @cached_property
    def neuron_words(self) -> int:
        """16-bit words of neuron memory."""
        return neuron_words(*self.output_shape)

    @cached_property
    def bias_words(self) -> int:
        """16-bit words of bias memory."""
        return bias_words(self.output_shape.features, self.has_bias)

    @property
    def words(self) -> tuple[int, int, int]:
        """Words of kernel, neuron and bias memory."""
        return self.kernel_words, self.neuron_words, self.bias_words

    @property
    def synops_per_second(self) -> int:
        """Neurons reached: ``spikes * features * kx * ky / (sx * sy)``, rounded up (datasheet, 2.4)."""
        (ky, kx), (sy, sx) = self.kernel, self.stride
        return -(-self.spikes_per_second * self.output_shape.features * ky * kx // (sy * sx))


@dataclass(frozen=True, slots=True)
class Sending:
    """What a whole layer asks of destinations: its own, and those that reach it.

    Attributes
    ----------
    destinations
        Entries of the destination table it takes, readout included.
    pools
        (size, stride) of each pooled destination, distinct, sorted.
    shifts_features
        Whether any of its destinations adds an offset.
    host_pools
        (size, stride) of pools between a host input and this layer: a core cannot have them.
    """

    destinations: int
    pools: tuple[tuple[Pair, Pair], ...]
    shifts_features: bool
    host_pools: tuple[tuple[Pair, Pair], ...]


@dataclass(frozen=True, slots=True)
class LayerDemand:
    """What a whole layer asks, with its identity: index of the network, name and index of the layer."""

    network: int
    layer: str
    index: int
    work: CoreWork
    sending: Sending


@dataclass(frozen=True, slots=True)
class Shortfall:
    """By how much one core falls short under one rule.

    Attributes
    ----------
    demand, bound
        What is asked and what is there; numbers, or text where a set is allowed.
    gap
        demand - bound, >= 1; None where a set is allowed.
    terms
        How the demand comes about.
    """

    rule: Rule
    demand: int | str
    bound: int | str
    gap: int | None
    terms: str


def layer_work(network: Network, layer: Layer, traffic: Mapping[str, int] | None = None) -> CoreWork:
    """What a whole layer asks of its core.

    Parameters
    ----------
    traffic
        By signal, spikes that leave it per second.
    """
    convolution, rates = convolution_of(layer), traffic or {}
    spikes = sum(rates.get(edge.source, 0) for edge in network.incoming[layer.name]) if rates else 0
    return CoreWork(
        layer.input_shape, layer.output_shape, convolution.kernel, convolution.stride, convolution.padding,
        convolution.has_bias, spikes,
    )  # fmt: skip


def relay_work(shape: Shape, pooling: int, spikes_per_second: int, *, reads_all: bool = False) -> CoreWork:
    """What an identity core asks that passes on a signal, pooled by `pooling` on arrival.

    Parameters
    ----------
    shape
        Of the signal before the pool; at least `pooling` rows and columns.
    reads_all
        Whether pieces of it read every feature of the signal, and not just their own.
    """
    pooled = Shape(shape.features, shape.height // pooling, shape.width // pooling)
    return CoreWork(
        pooled, pooled, (1, 1), (1, 1), (0, 0), False, spikes_per_second, is_relay=not reads_all
    )  # fmt: skip


def layer_demands(
    network: Network, number: int = 0, readout: str | None = None, traffic: Mapping[str, int] | None = None
) -> tuple[LayerDemand, ...]:
    """Demand of every layer of a network in normal form, in the network's order.

    Parameters
    ----------
    number
        Index of the network.
    readout
        The layer that feeds the readout stage, if one does.
    traffic
        By signal, spikes that leave it per second.

    Raises
    ------
    NetworkError
        The network is not in normal form.
    """
    require_normal_form(network)
    host = {entry.name for entry in network.inputs if entry.dvs is None}
    works: dict[CoreWork, CoreWork] = {}
    demands = []
    for index, layer in enumerate(network.layers):
        work = layer_work(network, layer, traffic)
        leaving, arriving = network.outgoing[layer.name], network.incoming[layer.name]
        sending = Sending(
            destinations=len(leaving) + (readout == layer.name),
            pools=_pools(leaving),
            shifts_features=any(edge.feature_offset for edge in leaving),
            host_pools=_pools(edge for edge in arriving if edge.source in host),
        )
        demands.append(LayerDemand(number, layer.name, index, works.setdefault(work, work), sending))
    return tuple(demands)


def _pools(edges: Iterable[Edge]) -> tuple[tuple[Pair, Pair], ...]:
    pools = {(edge.pool.size, edge.pool.stride) for edge in edges if isinstance(edge.pool, Pool)}
    return tuple(sorted(pools - {((1, 1), (1, 1))}))


def _pair(pair: tuple[int, ...]) -> str:
    return "x".join(map(str, pair))


def _above(rule: Rule, demand: int, bound: int, terms: str) -> Shortfall | None:
    return Shortfall(rule, demand, bound, demand - bound, terms) if demand > bound else None


def _map(rule: Rule, shape: Shape, height_max: int, width_max: int) -> Shortfall | None:
    if shape.height <= height_max and shape.width <= width_max:
        return None
    gap = max(shape.height - height_max, shape.width - width_max)
    return Shortfall(rule, _pair(shape[1:]), _pair((height_max, width_max)), gap, "height x width")


def _input_size(work: CoreWork, core: CoreSpec) -> Shortfall | None:
    limits = core.limits
    return _map(Rule.INPUT_SIZE, work.input_shape, limits.input_height_max, limits.input_width_max)


def _output_size(work: CoreWork, core: CoreSpec) -> Shortfall | None:
    limits = core.limits
    return _map(Rule.OUTPUT_SIZE, work.output_shape, limits.output_height_max, limits.output_width_max)


def _features(work: CoreWork, core: CoreSpec) -> Shortfall | None:
    given, taken, limits = work.output_shape.features, work.input_shape.features, core.limits
    if given > limits.output_features_max:
        return _above(Rule.FEATURES, given, limits.output_features_max, f"{given} output features")
    if taken > limits.input_features_max:
        return _above(Rule.FEATURES, taken, limits.input_features_max, f"{taken} input features")
    return None


def _kernel_size(work: CoreWork, core: CoreSpec) -> Shortfall | None:
    low, high = core.limits.kernel_size_min, core.limits.kernel_size_max
    if low <= min(work.kernel) and max(work.kernel) <= high:
        return None
    if min(work.kernel) < low:
        return Shortfall(Rule.KERNEL_SIZE, min(work.kernel), f"at least {low}", None, _pair(work.kernel))
    return _above(Rule.KERNEL_SIZE, max(work.kernel), high, f"kernel {_pair(work.kernel)}")


def _kernel_square(work: CoreWork, core: CoreSpec) -> Shortfall | None:
    if work.kernel[0] == work.kernel[1] or not core.limits.kernel_square:
        return None
    return Shortfall(Rule.KERNEL_SQUARE, _pair(work.kernel), "only squares", None, "height x width")


def _stride(work: CoreWork, core: CoreSpec) -> Shortfall | None:
    allowed = core.limits.strides
    if work.stride[0] in allowed and work.stride[1] in allowed:
        return None
    bound = f"only {join_names([*map(str, allowed)])}, per axis"
    return Shortfall(Rule.STRIDE, _pair(work.stride), bound, None, "height x width")


def _padding(work: CoreWork, core: CoreSpec) -> Shortfall | None:
    most, bound = max(work.padding), core.limits.padding_max
    return _above(Rule.PADDING, most, bound, f"padding {_pair(work.padding)}") if most > bound else None


def _kernel_memory(work: CoreWork, core: CoreSpec) -> Shortfall | None:
    if work.kernel_words <= core.kernel_words:
        return None
    (ky, kx), f = work.kernel, work.output_shape.features
    terms = f"{work.input_shape.features} x 2^({address_bits(ky * kx)} + {address_bits(f)})"
    return _above(Rule.KERNEL_MEMORY, work.kernel_words, core.kernel_words, terms)


def _neuron_memory(work: CoreWork, core: CoreSpec) -> Shortfall | None:
    if work.neuron_words <= core.neuron_words:
        return None
    f, height, width = work.output_shape
    terms = f"{f} x 2^({address_bits(height)} + {address_bits(width)})"
    return _above(Rule.NEURON_MEMORY, work.neuron_words, core.neuron_words, terms)


def _bias_memory(work: CoreWork, core: CoreSpec) -> Shortfall | None:
    return _above(Rule.BIAS_MEMORY, work.bias_words, core.bias_words, "one per output feature")


def _bandwidth(work: CoreWork, core: CoreSpec) -> Shortfall | None:
    if core.synops_per_second is None or work.synops_per_second <= core.synops_per_second:
        return None
    spikes, f = work.spikes_per_second, work.output_shape.features
    terms = f"{spikes} spikes/s x {f} features x {_pair(work.kernel)} / {_pair(work.stride)}"
    return _above(Rule.BANDWIDTH, work.synops_per_second, core.synops_per_second, terms)


def _pooling(sending: Sending, _: CoreSpec, chip: ChipSpec) -> Shortfall | None:
    allowed = chip.routing.poolings
    for size, stride in sending.pools:
        if size != stride or size[0] != size[1] or size[0] not in allowed:
            bound = f"squares of {join_names([*map(str, allowed)])}, stride = size"
            terms = f"pool {_pair(size)}, stride {_pair(stride)}"
            return Shortfall(Rule.POOLING, _pair(size), bound, None, terms)
    return None


def _feature_shift(sending: Sending, _: CoreSpec, chip: ChipSpec) -> Shortfall | None:
    if chip.routing.feature_shift or not sending.shifts_features:
        return None
    return Shortfall(Rule.FEATURE_SHIFT, "an offset", "none", None, "a destination that concatenates")


def _input_pooling(sending: Sending, _: CoreSpec, __: ChipSpec) -> Shortfall | None:
    if not sending.host_pools:
        return None
    size = _pair(sending.host_pools[0][0])
    return Shortfall(Rule.INPUT_POOLING, size, "1x1", None, "pool the events on the host")


def _fan_out(sending: Sending, core: CoreSpec, _: ChipSpec) -> Shortfall | None:
    terms = "edges that leave the layer, readout included"
    return _above(Rule.FAN_OUT, sending.destinations, core.fan_out, terms)


HoldingCheck: TypeAlias = Callable[[CoreWork, CoreSpec], Shortfall | None]
SendingCheck: TypeAlias = Callable[[Sending, CoreSpec, ChipSpec], Shortfall | None]

# What a core must hold, whatever stands on it. With fewer output features a work never asks more.
HOLDING: Mapping[Rule, HoldingCheck] = {
    Rule.INPUT_SIZE: _input_size,
    Rule.OUTPUT_SIZE: _output_size,
    Rule.FEATURES: _features,
    Rule.KERNEL_SIZE: _kernel_size,
    Rule.KERNEL_SQUARE: _kernel_square,
    Rule.STRIDE: _stride,
    Rule.PADDING: _padding,
    Rule.KERNEL_MEMORY: _kernel_memory,
    Rule.NEURON_MEMORY: _neuron_memory,
    Rule.BIAS_MEMORY: _bias_memory,
    Rule.BANDWIDTH: _bandwidth,
}
# What the destinations of a whole layer must express; those of pieces, copies and relays are counted.
SENDING: Mapping[Rule, SendingCheck] = {
    Rule.POOLING: _pooling,
    Rule.FEATURE_SHIFT: _feature_shift,
    Rule.INPUT_POOLING: _input_pooling,
    Rule.FAN_OUT: _fan_out,
}


def lacking(work: CoreWork, core: CoreSpec) -> tuple[Shortfall, ...]:
    """Every rule under which a core cannot hold a work."""
    return tuple(lack for check in HOLDING.values() if (lack := check(work, core)) is not None)


def unsendable(sending: Sending, core: CoreSpec, chip: ChipSpec) -> tuple[Shortfall, ...]:
    """Every rule that keeps the destinations of a whole layer on this core from what they should do."""
    return tuple(lack for check in SENDING.values() if (lack := check(sending, core, chip)) is not None)


def shortfalls(demand: LayerDemand, core: CoreSpec, chip: ChipSpec) -> tuple[Shortfall, ...]:
    """Every rule under which this core cannot have this layer whole, in the order of `Rule`."""
    lacks = (*lacking(demand.work, core), *unsendable(demand.sending, core, chip))
    order = list(Rule)
    return tuple(sorted(lacks, key=lambda lack: order.index(lack.rule))) if len(lacks) > 1 else lacks


def largest(rule: Rule, work: CoreWork, core: CoreSpec) -> int:
    """The most output features of a work that a core holds under one rule: 0 .. all."""
    check = HOLDING[rule]
    return work.output_shape.features if check(work, core) is None else _most(work, core, (check,))


def largest_held(work: CoreWork, core: CoreSpec) -> int:
    """The most output features of a work that a core holds under every rule: 0 .. all."""
    broken = [check for check in HOLDING.values() if check(work, core) is not None]
    return _most(work, core, broken) if broken else work.output_shape.features


def _most(work: CoreWork, core: CoreSpec, broken: Sequence[HoldingCheck]) -> int:
    """By bisection below all features: what holds a number of them holds fewer as well."""
    low, high = 0, work.output_shape.features - 1
    while low < high:
        middle = (low + high + 1) // 2
        piece = work.narrowed(middle)
        if all(check(piece, core) is None for check in broken):
            low = middle
        else:
            high = middle - 1
    return low


def free_share(work: CoreWork, core: CoreSpec) -> Fraction:
    """Least free share over the memories of a core that holds this, in 0..1; a memory of no words has none."""
    memories = zip(work.words, (core.kernel_words, core.neuron_words, core.bias_words), strict=True)
    return min((Fraction(have - need, have) for need, have in memories if have), default=Fraction(1))
