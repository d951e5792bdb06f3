"""What no change of sizes mends, by prices of cores: before an edited network is made a question of.

A layer asks at least the memories of its own kernel and map in whatever form it is placed: folded pools make
kernels larger, and so does what makes them square. Edits shrink maps; with maps of one pixel everywhere no
such edit asks less.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from functools import cached_property

from mapper.edits import linked_layers, reads_whole_map
from mapper.errors import MapperError
from mapper.normal_form import NormalLayer, NormalNetwork
from mapper.operations import Pair
from mapper.passes.legalize import has_phases
from mapper.question import Question
from mapper.solver.amounts import MEMORIES
from mapper.solver.divided.prices import Asked, Form, Load, Prices, Sent, load_of
from mapper.solver.divided.tables import Tables
from mapper.work import CoreWork, largest, layer_work

__all__ = ["Bounds"]


class Bounds:
    """What networks cost at least, where their sizes or the chip's cores change.

    Attributes
    ----------
    prices
        Known ones; those that exclude the question itself are sought first.
    """

    def __init__(self, question: Question, network: NormalNetwork, prices: Prices) -> None:
        self._question, self._network, self.prices = question, network, prices
        self._problem = question.problems[0]
        self._sizes: dict[CoreWork, tuple[int, ...]] = {}
        self._by_layer: dict[int, tuple[NormalLayer, tuple[int, tuple[int, ...]]]] = {}
        for load in self._loads:
            prices.learn(load)

    @cached_property
    def _loads(self) -> tuple[Load, ...]:
        """What the question itself asks, per setting of the sensor stage."""
        every = [Tables(self._question.with_offers(problem)) for problem in self._question.problems]
        return tuple(load_of(tables, tables.piece_table()) for tables in every)

    def further_cores(self, core: int, most: int) -> int:
        """How many further cores like one of the chip's it takes at least, >= 0; or more than `most`."""
        spec, classes = self._problem.chip.cores[core], enumerate(self._problem.classes)
        own = [k for k, entry in classes if entry.core == spec and entry.pinned_layer is None]
        return min(self.prices.least_more(load, own[0], most) for load in self._loads) if own else 0

    def exclude(self, network: NormalNetwork) -> bool:
        """Whether the network with some sizes changed has no placement in any form."""
        if not self._is_open or any(map(self._is_larger, network.layers)):
            return False
        return self._exclude({layer.name: self._asked_by(network, layer) for layer in network.layers})

    def exclude_kind(self, kind: str, layer: str) -> bool:
        """Whether no repair of a kind mends it, whatever it makes of a layer or input."""
        try:
            least = dict(self._least(kind, layer)) if self._is_open else {}
        except MapperError:
            return False
        return bool(least) and self._exclude({name: self._asked(work) for name, work in least.items()})

    @cached_property
    def _is_open(self) -> bool:
        """Whether layers stand as they are given, and no edit makes a map larger."""
        network, chip = self._network, self._problem.chip
        if len(self._question.networks) > 1 or has_phases(self._question.rewritten[0]):
            return False
        strides = set.intersection(*(set(kind.core.limits.strides) for kind in chip.core_classes))
        pools = (edge.pool for edge in network.edges if edge.pool)
        # Of what is not legal the nearest legal value may be a smaller one.
        return all(_is_legal(layer.operation.stride, strides) for layer in network.layers) and all(
            pool.size == pool.stride and _is_legal(pool.size, chip.routing.poolings) for pool in pools
        )

    def _is_larger(self, layer: NormalLayer) -> bool:
        """Whether a map is larger than it was given: it might be rewritten."""
        given = self._network.by_name[layer.name].output_shape
        return layer.output_shape.height > given.height or layer.output_shape.width > given.width

    def _least(self, kind: str, changed: str) -> Iterator[tuple[str, CoreWork | None]]:
        """What each layer asks at least, where repairs of a kind change one; None of what may ask nothing."""
        network, free = self._network, set[str]()
        if kind == "features":
            linked = linked_layers(network, changed)
            free = {*linked, *(edge.target for name in linked for edge in network.outgoing[name])}
        for layer in network.layers:
            work = layer_work(network, layer)
            if kind != "features":
                # Of all maps and kernels that follow, whatever becomes of them, the smallest.
                work = work._replace(output_shape=work.output_shape._replace(height=1, width=1))
                if reads_whole_map(layer) or (kind == "kernel" and layer.name == changed):
                    work = work._replace(kernel=(1, 1))
            yield layer.name, None if layer.name in free else work

    def _exclude(self, asked: Mapping[str, tuple[int, tuple[int, ...]]]) -> bool:
        """Whether no placement of layers that ask at least so much (`_asked`) exists."""
        problem, counts, kinds = self._problem, Counter[Asked](), dict[Sent, int]()
        for layer, demand in enumerate(problem.demands):
            if demand.layer in self._siblings:
                continue
            features, row = asked[demand.layer]
            source = self._source.get(demand.layer)
            sources: tuple[int, ...] = ()
            if source is not None:
                sent = self._sent(problem.layer_of[0, source], *asked[source])
                sources = (kinds.setdefault(sent, len(kinds)),)
            counts[Asked(features, layer in self._whole, (Form(row, sources),))] += 1
        rooms = tuple(len(entry.core_ids) for entry in problem.classes)
        # No destination is too few as long as each signal has one reader.
        return self.prices.exclude(Load(rooms, counts, tuple((sent, 0) for sent in kinds)))

    def _asked_by(self, network: NormalNetwork, layer: NormalLayer) -> tuple[int, tuple[int, ...]]:
        """`_asked` of a layer of which edits mostly leave the same object."""
        if id(layer) not in self._by_layer:
            self._by_layer[id(layer)] = layer, self._asked(layer_work(network, layer))
        return self._by_layer[id(layer)][1]

    def _asked(self, work: CoreWork | None) -> tuple[int, tuple[int, ...]]:
        """Features, and per class how many of them a piece may have; of what asks nothing one."""
        if work is None:
            return 1, (1,) * len(self._problem.classes)
        return work.output_shape.features, self._row(work)

    def _sent(self, layer: int, features: int, row: tuple[int, ...]) -> Sent:
        """What destinations of a layer that one other reads cost at least."""
        options, gains = self._problem.options, [entry.core.fan_out - 1 for entry in self._problem.classes]
        relays = tuple((k, gain) for k, gain in enumerate(gains) if gain > 0 and options.relays)
        may_copy = options.max_copies != 1 and layer not in self._whole
        copy = Asked(features, False, (Form(row, ()),)) if may_copy else None
        have = max(1, max(gains, default=0) + 1)
        return Sent(have, 0, relays, copy, have)

    @cached_property
    def _source(self) -> Mapping[str, str]:
        """By layer, the one layer that it reads and nothing else does: where destinations are counted."""
        network = self._network
        joined = any(len(edges) > 1 for edges in (*network.incoming.values(), *network.outgoing.values()))
        return {} if joined else {e.target: e.source for e in network.edges if e.source in network.by_name}

    def _row(self, work: CoreWork) -> tuple[int, ...]:
        """Per class, the most features of a piece that its memories hold."""
        # What memories do not ask does not tell works apart.
        key = work._replace(stride=(1, 1), padding=(0, 0), spikes_per_second=0)
        if key not in self._sizes:
            cores = (entry.core for entry in self._problem.classes)
            self._sizes[key] = tuple(min(largest(rule, key, core) for rule in MEMORIES) for core in cores)
        return self._sizes[key]

    @cached_property
    def _siblings(self) -> frozenset[str]:
        """Layers that may share a core with another one, as edits make them."""
        if not self._question.resolved.fusion:
            return frozenset()
        readers = [{edge.target for edge in edges} for edges in self._network.outgoing.values()]
        return frozenset(name for names in readers if len(names) > 1 for name in names)

    @cached_property
    def _whole(self) -> frozenset[int]:
        """Layers that must not be cut."""
        problem = self._problem
        every = range(len(problem.demands)) if problem.options.max_pieces == 1 else ()
        return Tables(problem).whole.union(every)


def _is_legal(size: Pair, allowed: Collection[int]) -> bool:
    return size[0] == size[1] and size[0] in allowed
