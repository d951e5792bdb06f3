"""What of a divided placement is exact, and in which semantics: stated from its structure.

In time steps pieces, copies and relays change nothing. Spike by spike it depends on the order: in the
default one (depth first, features ascending, destinations by slot) pieces and relays change nothing in
networks without cycles as long as spikes still come to the readers of a signal in the same order, and a copy
changes nothing unless what it feeds and what the layer itself feeds meet again. Layers on one core spike in
the order in which they would apart; a joint relay comes between readers that were next to one another.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations

from mapper.emit.shared.config import ChipConfig
from mapper.emit.shared.graph import ConfigGraph
from mapper.emit.shared.interface import Interface, InterfaceLayer

__all__ = ["exactness"]


def exactness(config: ChipConfig, graph: ConfigGraph) -> tuple[str, ...]:
    """Sentences on pieces, copies and relays; empty for one whole layer per core."""
    interface = config.interface
    if interface is None:
        return ()
    reach = graph.reachable()
    has_cycle = any(core in reach.get(core, ()) for core in graph.cores)
    return (
        *_pieces_and_relays(config, has_cycle=has_cycle),
        *_copies(interface.layers, reach, has_cycle=has_cycle),
        *_joined(interface),
        *_phases(interface),
    )


def _pieces_and_relays(config: ChipConfig, *, has_cycle: bool) -> Iterator[str]:
    layers = config.interface.layers if config.interface else ()
    inputs = config.interface.inputs if config.interface else ()
    cut = [layer.name for layer in layers if any(place.role == "piece" for place in layer.places)]
    relayed = [layer.name for layer in layers if any(place.role == "relay" for place in layer.places)]
    relayed += [entry.name for entry in inputs if entry.relays]
    if config.interface and config.interface.sensor_relays:
        relayed += config.interface.sensor_inputs
    for names, what in ((cut, "cut into pieces"), (relayed, "passed on by relays")):
        if names and has_cycle:
            yield f"{', '.join(names)}: {what}: exact in time steps; spike by spike not, because of the cycle"
        elif names:
            order = "exact in the default order if readers keep theirs, in others not always"
            yield f"{', '.join(names)}: {what}: exact in time steps; spike by spike {order}"


def _copies(
    layers: tuple[InterfaceLayer, ...], reach: Mapping[int, set[int]], *, has_cycle: bool
) -> Iterator[str]:
    for layer in layers:
        reached = [set[int]().union(*(reach.get(p.core, ()) for p in places)) for places in layer.standing]
        if len(reached) < 2:
            continue
        if has_cycle or any(one & other for one, other in combinations(reached, 2)):
            text = "spike by spike not, since what they feed meets again"
            text = "spike by spike not, because of the cycle" if has_cycle else text
        else:
            text = "spike by spike exact in the default order: what they feed never meets again"
        times = "twice" if len(reached) == 2 else f"{len(reached)} times"
        yield f"{layer.name}: stands {times}: exact in time steps; {text}"


def _joined(interface: Interface) -> Iterator[str]:
    """Identity cores that pass on what several layers send, and layers that share a core."""
    held = [origin.layer for origin in interface.origins or ()]
    for layer in interface.layers if held else ():
        if layer.name not in held:
            yield f"{layer.name}: passed on in one: exact in time steps; spike by spike not always"
        elif held.count(layer.name) > 1:
            text = "spike by spike exact in the default order but for zeros around kernels"
            yield f"{layer.name}: stand on one core: exact in time steps; {text}"


def _phases(interface: Interface) -> Iterator[str]:
    names = [origin.name for origin in interface.origins or () if origin.phases != (1, 1)]
    if names:
        text = "exact in time steps; spike by spike not, since phases spike one after the other"
        yield f"{', '.join(names)}: rows and columns as features: {text}"
