"""What a whole layer asks: of its core, and of the destinations that it takes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from hwspec.schema import ChipSpec, CoreSpec
from mapper.network import Edge
from mapper.normal_form import NormalNetwork
from mapper.operations import Pair
from mapper.passes.legalize import Extended
from mapper.rules import Rule
from mapper.wording import join_names
from mapper.work import CoreWork, Shortfall, above, lacking, layer_work, times

__all__ = ["SENDING", "LayerDemand", "Sending", "is_pool", "layer_demands", "shortfalls", "with_offers"]


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


def layer_demands(
    network: NormalNetwork,
    number: int = 0,
    readout: str | None = None,
    traffic: Mapping[str, int] | None = None,
) -> tuple[LayerDemand, ...]:
    """Demand of every layer of a network, in the network's order.

    Parameters
    ----------
    number
        Index of the network.
    readout
        The layer that feeds the readout stage, if one does.
    traffic
        By signal, spikes that leave it per second.
    """
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


def with_offers(
    network: NormalNetwork, stated: Mapping[str, int | None], offers: Extended | None
) -> dict[str, int]:
    """Spikes per second by signal; of what a placement may add, all that its addends or members send."""
    rates = {name: rate for name, rate in stated.items() if rate is not None}
    if offers is None or not rates:
        return rates
    for layer in network.layers:
        if layer.name in offers.joints:
            rates[layer.name] = sum(rates.get(edge.source, 0) for edge in network.incoming[layer.name])
        elif layer.name in offers.fused:
            rates[layer.name] = sum(rates.get(member, 0) for member in offers.fused[layer.name])
    return rates


def _pools(edges: Iterable[Edge]) -> tuple[tuple[Pair, Pair], ...]:
    pools = {(pool.size, pool.stride) for edge in edges if edge.path and (pool := edge.pool)}
    return tuple(sorted(pools - {((1, 1), (1, 1))}))


def is_pool(size: Pair, stride: Pair, chip: ChipSpec) -> bool:
    """Whether a destination can pool so."""
    return size == stride and size[0] == size[1] and size[0] in chip.routing.poolings


def _pooling(sending: Sending, _: CoreSpec, chip: ChipSpec) -> Shortfall | None:
    for size, stride in sending.pools:
        if not is_pool(size, stride, chip):
            bound = f"squares of {join_names([*map(str, chip.routing.poolings)])}, stride = size"
            terms = f"pool {times(size)}, stride {times(stride)}"
            return Shortfall(Rule.POOLING, times(size), bound, None, terms)
    return None


def _feature_shift(sending: Sending, _: CoreSpec, chip: ChipSpec) -> Shortfall | None:
    if chip.routing.feature_shift or not sending.shifts_features:
        return None
    return Shortfall(Rule.FEATURE_SHIFT, "an offset", "none", None, "a destination that concatenates")


def _input_pooling(sending: Sending, _: CoreSpec, __: ChipSpec) -> Shortfall | None:
    if not sending.host_pools:
        return None
    size = times(sending.host_pools[0][0])
    return Shortfall(Rule.INPUT_POOLING, size, "1x1", None, "pool the events on the host")


def _fan_out(sending: Sending, core: CoreSpec, _: ChipSpec) -> Shortfall | None:
    terms = "edges that leave the layer, readout included"
    return above(Rule.FAN_OUT, sending.destinations, core.fan_out, terms)


SendingCheck: TypeAlias = Callable[[Sending, CoreSpec, ChipSpec], Shortfall | None]

# What the destinations of a whole layer must express; those of pieces, copies and relays are counted.
SENDING: Mapping[Rule, SendingCheck] = {
    Rule.POOLING: _pooling,
    Rule.FEATURE_SHIFT: _feature_shift,
    Rule.INPUT_POOLING: _input_pooling,
    Rule.FAN_OUT: _fan_out,
}


def shortfalls(
    demand: LayerDemand, core: CoreSpec, chip: ChipSpec, lacks: Sequence[Shortfall] | None = None
) -> tuple[Shortfall, ...]:
    """Every rule under which this core cannot have this layer whole, in the order of `Rule`.

    Parameters
    ----------
    lacks
        `mapper.work.lacking` of the layer's work, where it is known.
    """
    held = lacking(demand.work, core) if lacks is None else lacks
    sent = (check(demand.sending, core, chip) for check in SENDING.values())
    every = (*held, *(lack for lack in sent if lack is not None))
    return tuple(sorted(every, key=lambda lack: _ORDER[lack.rule])) if len(every) > 1 else every


_ORDER = {rule: place for place, rule in enumerate(Rule)}
