"""What each layer asks of a core, and by how much a core falls short of it.

One function per rule that concerns a single layer on a single core. `mapper.verify` holds the second,
independent reading of the same rules.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from hwspec.memory import address_bits, bias_words, kernel_words, neuron_words
from hwspec.schema import ChipSpec, CoreSpec
from mapper.errors import Finding, NetworkError
from mapper.network import Edge, Layer, Network
from mapper.operations import Convolution, Pair, Pool, Shape
from mapper.rules import Rule
from mapper.wording import join_names

__all__ = ["SHORTFALLS", "LayerDemand", "Shortfall", "layer_demands", "require_normal_form", "shortfalls"]


@dataclass(frozen=True, slots=True)
class CoreDemand:
    """What a layer asks, without its name: equal for layers that are interchangeable.

    Attributes
    ----------
    kernel, stride, padding
        (height, width).
    kernel_words, neuron_words, bias_words
        Memory words.
    destinations
        Entries of the destination table it takes, readout included.
    pools
        (size, stride) of each pooled destination, distinct, sorted.
    shifts_features
        Whether any of its destinations or entries adds an offset.
    host_pools
        (size, stride) of pools between a host input and this layer: a core cannot have them.
    spikes_per_second
        Arriving, at the traffic given; 0 where none is.
    """

    input_shape: Shape
    output_shape: Shape
    kernel: Pair
    stride: Pair
    padding: Pair
    kernel_words: int
    neuron_words: int
    bias_words: int
    destinations: int
    pools: tuple[tuple[Pair, Pair], ...]
    shifts_features: bool
    host_pools: tuple[tuple[Pair, Pair], ...]
    spikes_per_second: int = 0

    @property
    def synops_per_second(self) -> int:
        """Neurons reached: ``spikes * features * kx * ky / (sx * sy)``, rounded up (datasheet, 2.4)."""
        (ky, kx), (sy, sx) = self.kernel, self.stride
        return -(-self.spikes_per_second * self.output_shape.features * ky * kx // (sy * sx))


@dataclass(frozen=True, slots=True)
class LayerDemand:
    """A layer's demand with its identity: index of the network, name and index of the layer."""

    network: int
    layer: str
    index: int
    core: CoreDemand


@dataclass(frozen=True, slots=True)
class Shortfall:
    """By how much one core falls short of one layer under one rule.

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


Check: TypeAlias = Callable[[CoreDemand, CoreSpec, ChipSpec], Shortfall | None]


def require_normal_form(network: Network) -> None:
    """Check that the passes have run: convolutions, neurons, and nothing but sum pools on edges.

    Raises
    ------
    NetworkError
        Every layer and edge that is not in this form.
    """
    findings = [*_layer_form(network), *_edge_form(network)]
    if findings:
        raise NetworkError(*findings)


def _layer_form(network: Network) -> Iterator[Finding]:
    for layer in network.layers:
        where, operation = f"layer {layer.name}", layer.operation
        if not isinstance(operation, Convolution):
            yield Finding(where, "a linear layer must become a convolution first", next_step="Run the passes")
        elif operation.groups != 1 or operation.dilation != (1, 1):
            yield Finding(where, "groups and dilation must be made dense first", next_step="Run the passes")
        if layer.between:
            kinds = ", ".join(type(step).__name__ for step in layer.between)
            yield Finding(where, f"{kinds} must be folded into the weights first", next_step="Run the passes")
        if layer.neuron is None:
            yield Finding(
                where,
                "a weight layer without spiking neurons, which no core can run",
                next_step="--add-output-neuron THRESHOLD appends them to an output layer",
            )


def _edge_form(network: Network) -> Iterator[Finding]:
    for edge in network.edges:
        plain = all(isinstance(step, Pool) and step.kind == "sum" for step in edge.path)
        if not plain or len(edge.path) > 1:
            steps = ", ".join(type(step).__name__ for step in edge.path)
            where = f"edge {edge.source} -> {edge.target}"
            yield Finding(where, f"more than one sum pool: {steps}", next_step="Run the passes")


def layer_demands(
    network: Network, network_index: int, readout: str | None, traffic: Mapping[str, int] | None = None
) -> tuple[LayerDemand, ...]:
    """Demand of every layer of a network in normal form, in the network's order.

    Parameters
    ----------
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
    cache: dict[CoreDemand, CoreDemand] = {}
    demands = []
    for index, layer in enumerate(network.layers):
        demand = _core_demand(network, layer, host, readout == layer.name, traffic or {})
        demands.append(LayerDemand(network_index, layer.name, index, cache.setdefault(demand, demand)))
    return tuple(demands)


def _core_demand(
    network: Network, layer: Layer, host: set[str], readout: bool, traffic: Mapping[str, int]
) -> CoreDemand:
    operation = layer.operation
    if not isinstance(operation, Convolution):
        raise NetworkError(Finding(f"layer {layer.name}", "a linear layer must become a convolution first"))
    out_edges, in_edges = network.outgoing[layer.name], network.incoming[layer.name]
    output = layer.output_shape
    return CoreDemand(
        input_shape=layer.input_shape,
        output_shape=output,
        kernel=operation.kernel,
        stride=operation.stride,
        padding=operation.padding,
        kernel_words=kernel_words(layer.input_shape.features, output.features, *operation.kernel),
        neuron_words=neuron_words(*output),
        bias_words=bias_words(output.features, operation.has_bias),
        destinations=len(out_edges) + readout,
        pools=_pools(out_edges),
        shifts_features=any(edge.feature_offset for edge in out_edges),
        host_pools=_pools(edge for edge in in_edges if edge.source in host),
        spikes_per_second=sum(traffic.get(edge.source, 0) for edge in in_edges),
    )


def _pools(edges: Iterator[Edge] | tuple[Edge, ...]) -> tuple[tuple[Pair, Pair], ...]:
    pools = (edge.pool for edge in edges)
    return tuple(
        sorted(
            {
                (pool.size, pool.stride)
                for pool in pools
                if pool and (pool.size, pool.stride) != ((1, 1), (1, 1))
            }
        )
    )


def _pair(pair: tuple[int, ...]) -> str:
    return "x".join(map(str, pair))


def _above(rule: Rule, demand: int, bound: int, terms: str) -> Shortfall | None:
    return Shortfall(rule, demand, bound, demand - bound, terms) if demand > bound else None


def _map(rule: Rule, shape: Shape, height_max: int, width_max: int) -> Shortfall | None:
    if shape.height <= height_max and shape.width <= width_max:
        return None
    gap = max(shape.height - height_max, shape.width - width_max)
    return Shortfall(rule, _pair(shape[1:]), _pair((height_max, width_max)), gap, "height x width")


def _input_size(demand: CoreDemand, core: CoreSpec, _: ChipSpec) -> Shortfall | None:
    limits = core.limits
    return _map(Rule.INPUT_SIZE, demand.input_shape, limits.input_height_max, limits.input_width_max)


def _output_size(demand: CoreDemand, core: CoreSpec, _: ChipSpec) -> Shortfall | None:
    limits = core.limits
    return _map(Rule.OUTPUT_SIZE, demand.output_shape, limits.output_height_max, limits.output_width_max)


def _features(demand: CoreDemand, core: CoreSpec, _: ChipSpec) -> Shortfall | None:
    given, taken = demand.output_shape.features, demand.input_shape.features
    return _above(
        Rule.FEATURES, given, core.limits.output_features_max, f"{given} output features"
    ) or _above(Rule.FEATURES, taken, core.limits.input_features_max, f"{taken} input features")


def _kernel_size(demand: CoreDemand, core: CoreSpec, _: ChipSpec) -> Shortfall | None:
    low, high = core.limits.kernel_size_min, core.limits.kernel_size_max
    if min(demand.kernel) >= low:
        return _above(Rule.KERNEL_SIZE, max(demand.kernel), high, f"kernel {_pair(demand.kernel)}")
    return Shortfall(Rule.KERNEL_SIZE, min(demand.kernel), f"at least {low}", None, _pair(demand.kernel))


def _kernel_square(demand: CoreDemand, core: CoreSpec, _: ChipSpec) -> Shortfall | None:
    if demand.kernel[0] == demand.kernel[1] or not core.limits.kernel_square:
        return None
    return Shortfall(Rule.KERNEL_SQUARE, _pair(demand.kernel), "only squares", None, "height x width")


def _stride(demand: CoreDemand, core: CoreSpec, _: ChipSpec) -> Shortfall | None:
    allowed = core.limits.strides
    if all(stride in allowed for stride in demand.stride):
        return None
    return Shortfall(
        Rule.STRIDE,
        _pair(demand.stride),
        f"only {join_names([*map(str, allowed)])}, per axis",
        None,
        "height x width",
    )


def _padding(demand: CoreDemand, core: CoreSpec, _: ChipSpec) -> Shortfall | None:
    terms = f"padding {_pair(demand.padding)}"
    return _above(Rule.PADDING, max(demand.padding), core.limits.padding_max, terms)


def _pooling(demand: CoreDemand, _: CoreSpec, chip: ChipSpec) -> Shortfall | None:
    allowed = chip.routing.poolings
    for size, stride in demand.pools:
        if size != stride or size[0] != size[1] or size[0] not in allowed:
            bound = f"squares of {join_names([*map(str, allowed)])}, stride = size"
            terms = f"pool {_pair(size)}, stride {_pair(stride)}"
            return Shortfall(Rule.POOLING, _pair(size), bound, None, terms)
    return None


def _feature_shift(demand: CoreDemand, _: CoreSpec, chip: ChipSpec) -> Shortfall | None:
    if chip.routing.feature_shift or not demand.shifts_features:
        return None
    return Shortfall(Rule.FEATURE_SHIFT, "an offset", "none", None, "a destination that concatenates")


def _input_pooling(demand: CoreDemand, _: CoreSpec, __: ChipSpec) -> Shortfall | None:
    if not demand.host_pools:
        return None
    size = _pair(demand.host_pools[0][0])
    return Shortfall(Rule.INPUT_POOLING, size, "1x1", None, "pool the events on the host")


def _kernel_memory(demand: CoreDemand, core: CoreSpec, _: ChipSpec) -> Shortfall | None:
    (ky, kx), f = demand.kernel, demand.output_shape.features
    terms = f"{demand.input_shape.features} x 2^({address_bits(ky * kx)} + {address_bits(f)})"
    return _above(Rule.KERNEL_MEMORY, demand.kernel_words, core.kernel_words, terms)


def _neuron_memory(demand: CoreDemand, core: CoreSpec, _: ChipSpec) -> Shortfall | None:
    f, height, width = demand.output_shape
    terms = f"{f} x 2^({address_bits(height)} + {address_bits(width)})"
    return _above(Rule.NEURON_MEMORY, demand.neuron_words, core.neuron_words, terms)


def _bias_memory(demand: CoreDemand, core: CoreSpec, _: ChipSpec) -> Shortfall | None:
    return _above(Rule.BIAS_MEMORY, demand.bias_words, core.bias_words, "one per output feature")


def _bandwidth(demand: CoreDemand, core: CoreSpec, _: ChipSpec) -> Shortfall | None:
    if core.synops_per_second is None:
        return None
    spikes, f = demand.spikes_per_second, demand.output_shape.features
    terms = f"{spikes} spikes/s x {f} features x {_pair(demand.kernel)} / {_pair(demand.stride)}"
    return _above(Rule.BANDWIDTH, demand.synops_per_second, core.synops_per_second, terms)


def _fan_out(demand: CoreDemand, core: CoreSpec, _: ChipSpec) -> Shortfall | None:
    bound = core.fan_out
    return _above(Rule.FAN_OUT, demand.destinations, bound, "edges that leave the layer, readout included")


SHORTFALLS: Mapping[Rule, Check] = {
    Rule.INPUT_SIZE: _input_size,
    Rule.OUTPUT_SIZE: _output_size,
    Rule.FEATURES: _features,
    Rule.KERNEL_SIZE: _kernel_size,
    Rule.KERNEL_SQUARE: _kernel_square,
    Rule.STRIDE: _stride,
    Rule.PADDING: _padding,
    Rule.POOLING: _pooling,
    Rule.FEATURE_SHIFT: _feature_shift,
    Rule.INPUT_POOLING: _input_pooling,
    Rule.KERNEL_MEMORY: _kernel_memory,
    Rule.NEURON_MEMORY: _neuron_memory,
    Rule.BIAS_MEMORY: _bias_memory,
    Rule.BANDWIDTH: _bandwidth,
    Rule.FAN_OUT: _fan_out,
}


def shortfalls(demand: CoreDemand, core: CoreSpec, chip: ChipSpec) -> tuple[Shortfall, ...]:
    """Every rule under which this core cannot hold this layer, in the order of `Rule`."""
    found = (check(demand, core, chip) for check in SHORTFALLS.values())
    return tuple(shortfall for shortfall in found if shortfall is not None)
