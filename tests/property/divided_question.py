"""What the oracle asks of cores: which hold how much of a layer, which hold a relay, from the raw formulas.

The arithmetic is the oracle's own; nothing here comes from the solver or the demands it works with.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations_with_replacement, product

from hwspec.schema import ChipSpec, CoreSpec
from mapper.network import Edge, Layer
from mapper.normal_form import NormalNetwork
from mapper.operations import Convolution, Pool
from mapper.options import SolveOptions

__all__ = ["Aligned", "Copies", "Counts", "Question", "RelayKind", "Standing", "pool_of"]

# Slots of an input whose events come from the host.
UNLIMITED = 1_000_000

# How many cores of each stock a copy takes; the copies of a layer.
Counts = tuple[int, ...]
Copies = tuple[Counts, ...]


@dataclass(frozen=True)
class Stock:
    """Equal cores: any of them does, unless the one core is pinned to a layer."""

    core: CoreSpec
    cores: tuple[int, ...]
    pinned: str | None


@dataclass(frozen=True)
class RelayKind:
    """A relay that could stand on a core of a stock."""

    stock: int
    level: int
    fan_out: int


@dataclass(frozen=True)
class Aligned:
    """Relays beside the pieces of a copy, each of which passes on what its piece makes.

    Attributes
    ----------
    level
        Pool at which all of them pass it on.
    pairs
        (stock of the piece, stock of its relay), piece after piece.
    """

    level: int
    pairs: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Standing:
    """How a layer stands on the chip: the cores of each copy, and the relays beside the pieces of copy 0."""

    copies: Copies
    aligned: Aligned | None = None

    @cached_property
    def taken(self) -> Counts:
        """Cores of each stock that all of it takes."""
        relays = [relay for _, relay in self.aligned.pairs] if self.aligned else []
        copies = enumerate(zip(*self.copies, strict=True))
        return tuple(sum(taken) + relays.count(stock) for stock, taken in copies)


@dataclass(frozen=True)
class Body:
    """What a core is asked to do, per feature it makes."""

    incoming: tuple[int, int, int]
    rows: int
    columns: int
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    has_bias: bool
    spikes: int


def doubled(number: int) -> int:
    """The least power of two that is not below a number."""
    power = 1
    while power < number:
        power += power
    return power


def fits(body: Body, features: int, core: CoreSpec) -> bool:
    """Whether a core holds this many features of a body, limit by limit from the data sheet's formulas."""
    limits, (taken, height, width) = core.limits, body.incoming
    (ky, kx), (sy, sx) = body.kernel, body.stride
    synops = core.synops_per_second
    return (
        height <= limits.input_height_max
        and width <= limits.input_width_max
        and body.rows <= limits.output_height_max
        and body.columns <= limits.output_width_max
        and taken <= limits.input_features_max
        and features <= limits.output_features_max
        and limits.kernel_size_min <= min(ky, kx)
        and max(ky, kx) <= limits.kernel_size_max
        and (ky == kx or not limits.kernel_square)
        and {sy, sx} <= set(limits.strides)
        and max(body.padding) <= limits.padding_max
        and taken * doubled(ky * kx) * doubled(features) <= core.kernel_words
        and features * doubled(body.rows) * doubled(body.columns) <= core.neuron_words
        and (not body.has_bias or features <= core.bias_words)
        and (synops is None or body.spikes * features * ky * kx <= synops * sy * sx)
    )


def pool_of(edge: Edge) -> int:
    """Rows of an edge's pool, which is a square; 1 without."""
    sizes = {size for step in edge.path if isinstance(step, Pool) for size in (*step.size, *step.stride)}
    assert len(sizes) <= 1
    return sizes.pop() if sizes else 1


class Question:
    """One network, one chip, one set of options, with the tables that the searches share."""

    def __init__(self, network: NormalNetwork, chip: ChipSpec, options: SolveOptions) -> None:
        assert chip.routing.feature_shift
        assert not options.readout_monitor
        assert options.objective == "capacity"
        self.network, self.chip, self.options = network, chip, options
        self.poolings = frozenset(chip.routing.poolings)
        self.sensors = {entry.name for entry in network.inputs if entry.dvs is not None}
        self.hosts = {entry.name for entry in network.inputs} - self.sensors
        self.rates = dict(options.traffic)
        pins = {core: str(layer) for layer, core in options.pins}
        self.pinned = set(pins.values())
        groups: dict[tuple[CoreSpec, str | None], list[int]] = {}
        for number, core in enumerate(chip.cores):
            if number not in options.forbidden_cores:
                groups.setdefault((core, pins.get(number)), []).append(number)
        self.stocks = tuple(Stock(core, tuple(ids), pin) for (core, pin), ids in groups.items())
        self.relay_kinds = {name: self._relays_of(name) for name in network.signal_shapes}
        self.standings = [self._standings_of(layer) for layer in network.layers]

    def cost(self, counts: Counts) -> int:
        """Bits of all memories of the cores taken."""
        return sum(n * stock.core.capacity_bits for n, stock in zip(counts, self.stocks, strict=True))

    def fan_out(self, counts: Counts) -> int:
        """Subscribers that one copy may have: each takes a slot of every piece."""
        return min(s.core.fan_out for n, s in zip(counts, self.stocks, strict=True) if n)

    def largest(self, layer: Layer) -> list[int]:
        """Most features of a layer that a core of each stock holds."""
        operation, (_, rows, columns) = layer.operation, layer.output_shape
        assert isinstance(operation, Convolution)
        spikes = sum(self.rates.get(edge.source, 0) for edge in self.network.incoming[layer.name])
        body = Body(
            layer.input_shape, rows, columns, operation.kernel, operation.stride, operation.padding,
            operation.has_bias, spikes,
        )  # fmt: skip
        found = []
        for stock in self.stocks:
            open_to_it = stock.pinned == layer.name if layer.name in self.pinned else stock.pinned is None
            sizes = range(operation.out_features, 0, -1) if open_to_it else range(0)
            found.append(next((size for size in sizes if fits(body, size, stock.core)), 0))
        return found

    def relay_largest(self, name: str, level: int) -> list[int]:
        """Most features of a signal that a relay on a core of each stock passes on, pooled by so much."""
        total = self.network.signal_shapes[name].features
        return [
            next((n for n in range(total, 0, -1) if fits(self._relay(name, level, n), n, stock.core)), 0)
            if stock.pinned is None
            else 0
            for stock in self.stocks
        ]

    def set_fan_out(self, aligned: Aligned) -> int:
        """Subscribers that a set of aligned relays may have: each takes a slot of every one."""
        return min(self.stocks[relay].core.fan_out for _, relay in aligned.pairs)

    def _standings_of(self, layer: Layer) -> list[Standing]:
        """Every way for a layer to stand on the chip, once or twice, with aligned relays or without."""
        largest, total = self.largest(layer), layer.operation.out_features
        whole = layer.name in self.pinned or layer.name == self.options.readout
        most = 1 if whole else self.options.max_pieces or total
        singles = []
        ranges = (range(len(s.cores) + 1 if m else 1) for s, m in zip(self.stocks, largest, strict=True))
        for counts in product(*ranges):
            held = sum(n * size for n, size in zip(counts, largest, strict=True))
            spare = min((size for n, size in zip(counts, largest, strict=True) if n), default=0)
            if held >= total and held - spare < total and sum(counts) <= most:
                singles.append(counts)
        found = [Standing((counts,)) for counts in singles]
        if whole or not self.network.outgoing[layer.name]:
            return found
        # Monitors watch copy 0: let it be the one with fewer pieces. Aligned relays leave no choice: copy 0
        # is the one they stand beside.
        read = sorted((counts for counts in singles if self.fan_out(counts)), key=lambda c: (sum(c), c))
        beside = list(self._aligned(layer, largest, most))
        found += beside
        if self.options.max_copies > 1:
            found += [Standing(pair) for pair in combinations_with_replacement(read, 2)]
            found += [Standing((*one.copies, other), one.aligned) for one, other in product(beside, read)]
        return self._distinct(standing for standing in found if self._enough(standing.taken))

    def _distinct(self, standings: Iterable[Standing]) -> list[Standing]:
        """One of those that take the same cores for as many pieces and offer as many slots."""
        found: dict[tuple[object, ...], Standing] = {}
        for standing in standings:
            copies, aligned = standing.copies, standing.aligned
            level, slots = (aligned.level, self.set_fan_out(aligned)) if aligned else (0, 0)
            pieces = [(sum(counts), self.fan_out(counts)) for counts in copies]
            found.setdefault((standing.taken, tuple(pieces), level, slots), standing)
        return list(found.values())

    def _enough(self, taken: Counts) -> bool:
        return all(n <= len(stock.cores) for n, stock in zip(taken, self.stocks, strict=True))

    def _aligned(self, layer: Layer, largest: list[int], most: int) -> Iterator[Standing]:
        """A copy with relays beside its pieces, at each level at which no core relays the whole signal."""
        total = layer.operation.out_features
        whole = {kind.level for kind in self.relay_kinds[layer.name]}
        for level in self._levels(layer.name):
            if level in whole or level not in self.poolings:
                continue
            for pairs in self._joint_covers(total, largest, self.relay_largest(layer.name, level), most):
                pieces = [piece for piece, _ in pairs]
                standing = Standing(
                    (tuple(pieces.count(n) for n in range(len(self.stocks))),), Aligned(level, pairs)
                )
                slots = min(self.stocks[core].core.fan_out for pair in pairs for core in pair)
                if slots and self._enough(standing.taken):
                    yield standing

    def _joint_covers(
        self, total: int, largest: list[int], relayed: list[int], most: int
    ) -> Iterator[tuple[tuple[int, int], ...]]:
        """Pieces and their relays that hold all features together, none of which could be dropped.

        A piece has at most as many features as its own core and its relay's core hold, so more
        of them may be needed than the layer alone needs.
        """
        cores = sum(len(stock.cores) for stock in self.stocks)
        for count in range(2, min(most, total, cores // 2) + 1):
            for pieces in self._picks(largest, count):
                if sum(largest[n] for n in pieces) < total:
                    continue
                for relays in self._picks(relayed, count):
                    # Both ascend by size: no other way to pair them holds more.
                    pairs = tuple(zip(pieces, relays, strict=True))
                    sizes = [min(largest[piece], relayed[relay]) for piece, relay in pairs]
                    if sum(sizes) >= total > sum(sizes) - min(sizes):
                        yield pairs

    def _picks(self, largest: list[int], count: int) -> Iterator[tuple[int, ...]]:
        """So many cores that hold something, by stock, those that hold least first."""
        usable = sorted((stock for stock, size in enumerate(largest) if size), key=lambda n: (largest[n], n))
        for pick in combinations_with_replacement(usable, count):
            if all(pick.count(stock) <= len(self.stocks[stock].cores) for stock in usable):
                yield pick

    def shown(self, name: str) -> set[int]:
        """Pool sizes above 1 at which a relay must show a signal."""
        if self.options.monitors is not None or self.options.pooled_outputs == "host":
            return set()
        sizes = {pool_of(Edge(o.source, "", o.path)) for o in self.network.outputs if o.source == name}
        return sizes - {1} if name in self.network.by_name else set()

    def watched(self) -> set[str]:
        """Layers whose own cores are watched."""
        if self.options.monitors is not None:
            return {str(name) for name in self.options.monitors}
        relayed = self.options.pooled_outputs == "relay"
        return {
            output.source
            for output in self.network.outputs
            if output.source in self.network.by_name
            and not (relayed and pool_of(Edge(output.source, "", output.path)) > 1)
        }

    def wanted_levels(self, name: str) -> set[int]:
        """Pool sizes at which anyone wants a signal; what the sensor pools, it pools for all."""
        if name in self.sensors:
            return {1}
        return {pool_of(edge) for edge in self.network.outgoing[name]} | self.shown(name)

    def _levels(self, name: str) -> list[int]:
        """Pool sizes at which a relay of a signal could have a reader; none without relays."""
        wanted = self.wanted_levels(name) if self.options.relays else set()
        return [q for q in range(1, max(wanted, default=0) + 1) if any(p % q == 0 for p in wanted)]

    def _relay(self, name: str, level: int, features: int) -> Body:
        """What a relay of so many features of a signal asks of a core: all of its spikes may be theirs."""
        _, height, width = self.network.signal_shapes[name]
        if name in self.sensors:
            _, height, width = self.network.by_name[self.network.outgoing[name][0].target].input_shape
        rows, columns = height // level, width // level
        spikes = self.rates.get(name, 0)
        return Body((features, rows, columns), rows, columns, (1, 1), (1, 1), (0, 0), False, spikes)

    def _relays_of(self, name: str) -> list[RelayKind]:
        """Relays of a whole signal that a core holds and that someone could read."""
        total = self.network.signal_shapes[name].features
        return [
            RelayKind(number, level, stock.core.fan_out)
            for level in self._levels(name)
            for number, stock in enumerate(self.stocks)
            if stock.pinned is None and fits(self._relay(name, level, total), total, stock.core)
        ]

    def root(self, name: str, copies: Copies) -> tuple[int, frozenset[int]]:
        """Slots that the signal itself offers, and the pools that they can have."""
        if name in self.hosts:
            return UNLIMITED, frozenset({1})
        if name in self.sensors:
            return self.chip.input.fan_out if self.chip.input else 0, frozenset({1})
        slots = sum(self.fan_out(counts) for counts in copies)
        return slots - (name == self.options.readout), self.poolings

    def consumers(self, name: str, copies: dict[str, Copies]) -> tuple[int, ...]:
        """Pool wanted by every core that reads a signal, once per edge, ascending."""
        found: list[int] = []
        for edge in self.network.outgoing[name]:
            level = 1 if name in self.sensors else pool_of(edge)
            found += [level] * sum(map(sum, copies[edge.target]))
        return tuple(sorted(found))

    def impossible(self) -> bool:
        """Whether stage, readout or monitors rule out any placement."""
        return self._sensor_impossible() or self._readout_impossible()

    def _sensor_impossible(self) -> bool:
        stage = self.chip.input
        edges = [edge for edge in self.network.edges if edge.source in self.sensors]
        if not edges:
            return False
        if (
            stage is None
            or len({pool_of(edge) for edge in edges}) > 1
            or pool_of(edges[0]) not in stage.poolings
        ):
            return True
        pool, shape = pool_of(edges[0]), self.network.by_name[edges[0].target].input_shape
        features = self.network.signal_shapes[edges[0].source].features
        return (
            shape.height * pool > stage.height
            or shape.width * pool > stage.width
            or features > stage.features
        )

    def _readout_impossible(self) -> bool:
        if self.options.readout is None:
            return False
        stage, shape = self.chip.readout, self.network.by_name[str(self.options.readout)].output_shape
        if stage is None or (shape.height, shape.width) != (1, 1):
            return True
        return (shape.features - 1) // stage.feature_spacing >= stage.classes_max
