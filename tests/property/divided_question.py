"""What the oracle enumerates: ways for each layer to stand on the chip, and who reads what of whom."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations_with_replacement, product

from hwspec.schema import ChipSpec
from mapper.network import Layer
from mapper.normal_form import NormalNetwork
from mapper.operations import Convolution
from mapper.options import SolveOptions
from mapper.solution import DVS
from tests.property.divided_cores import (
    Body,
    Counts,
    Stock,
    cost,
    most_features,
    rates_of,
    relay_body,
    stocks_of,
    widths_of,
)
from tests.property.divided_forms import Form, forms_of, pool_of, sensors_of

__all__ = ["Aligned", "Copies", "Question", "Reading", "Signal", "Standing", "Way"]

# Slots of an input whose events come from the host.
UNLIMITED = 1_000_000

Copies = tuple[Counts, ...]
# Index of the network, None for the sensor, and name of a layer or host input.
Signal = tuple[int | None, str]


@dataclass(frozen=True)
class Reading:
    """A signal that a form reads.

    Attributes
    ----------
    level
        The pool in which it wants it; of the sensor, behind the stage.
    direct
        Whether destinations of what makes the signal could serve it, had they such a pool.
    """

    signal: Signal
    level: int
    direct: bool


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
    """The cores of each copy of a layer, and the relays beside the pieces of copy 0."""

    copies: Copies
    aligned: Aligned | None = None

    @cached_property
    def taken(self) -> Counts:
        """Cores of each stock that all of it takes."""
        relays = [relay for _, relay in self.aligned.pairs] if self.aligned else []
        columns = enumerate(zip(*self.copies, strict=True))
        return tuple(sum(taken) + relays.count(stock) for stock, taken in columns)

    @cached_property
    def pieces(self) -> int:
        """Cores that read what the layer reads."""
        return sum(map(sum, self.copies))


@dataclass(frozen=True)
class Way:
    """How a layer is written and how it stands on the chip.

    Attributes
    ----------
    slots
        Destinations that its signal has without relays.
    set_slots
        Those of its aligned relays; 0 without.
    """

    form: int
    standing: Standing
    slots: int
    set_slots: int


class Question:
    """Networks, a chip, options and a setting of the sensor stage, with the tables that the searches share."""

    def __init__(
        self, networks: Sequence[NormalNetwork], chip: ChipSpec, options: SolveOptions, stage: int | None
    ) -> None:
        assert chip.routing.feature_shift
        assert not options.readout_monitor
        assert options.objective in ("capacity", "index")
        self.networks, self.chip, self.options, self.stage = tuple(networks), chip, options, stage
        self.poolings = frozenset(chip.routing.poolings)
        self.stocks: tuple[Stock, ...] = stocks_of(chip, options)
        self.rates = rates_of(options)
        self.pinned = {str(layer) for layer, _ in options.pins}
        self.layers = [(n, layer) for n, network in enumerate(networks) for layer in network.layers]
        self.forms: dict[Signal, list[Form]] = {
            (n, layer.name): forms_of(networks[n], layer, chip, stage) for n, layer in self.layers
        }
        self.readings: dict[Signal, list[tuple[Reading, ...]]] = {
            (n, name): [tuple(self._readings(n or 0, form)) for form in forms]
            for (n, name), forms in self.forms.items()
        }
        self.shapes = self._shapes()
        self.levels = {signal: self._levels(signal) for signal in self.shapes}
        self.ways: dict[Signal, list[Way]] = {
            (n, layer.name): self._ways_of(n, layer) for n, layer in self.layers
        }

    def key(self, network: int, name: str) -> str:
        """What options call a layer or input."""
        return name if len(self.networks) == 1 else f"{self.networks[network].name}:{name}"

    def cost(self, counts: Counts) -> int:
        """Bits of all memories of the cores taken."""
        return cost(counts, self.stocks)

    def _shapes(self) -> dict[Signal, tuple[int, int, int]]:
        """(features, rows, columns) of every signal as its relays read it."""
        shapes: dict[Signal, tuple[int, int, int]] = {}
        for n, network in enumerate(self.networks):
            for name, (features, rows, columns) in network.signal_shapes.items():
                if name not in sensors_of(network):
                    shapes[n, name] = features, rows, columns
                elif network.outgoing[name]:
                    part = self.stage or 1
                    shapes[None, DVS] = features, rows // part, columns // part
        return shapes

    def _readings(self, number: int, form: Form) -> Iterator[Reading]:
        network = self.networks[number]
        for edge in form.edges:
            pool, _ = pool_of(edge.path)
            if edge.source in sensors_of(network):
                yield Reading((None, DVS), pool // (self.stage or 1), not edge.feature_offset)
            else:
                yield Reading((number, edge.source), pool, direct=True)

    def _levels(self, signal: Signal) -> list[int]:
        """Pools at which a relay of a signal could have a reader; none without relays."""
        wanted = set(self.shown(signal))
        for rows in self.readings.values():
            wanted |= {entry.level for row in rows for entry in row if entry.signal == signal}
        most = max(wanted, default=0) if self.options.relays else 0
        return [q for q in range(1, most + 1) if any(pool % q == 0 for pool in wanted)]

    def is_layer(self, signal: Signal) -> bool:
        """Whether a layer makes it."""
        return signal[0] is not None and signal[1] in self.networks[signal[0]].by_name

    def origin_pools(self, signal: Signal) -> frozenset[int]:
        """Pools of the destinations of what makes a signal."""
        return self.poolings if self.is_layer(signal) else frozenset({1})

    def largest(self, signal: Signal, form: int) -> tuple[int, ...]:
        """By stock, the most features of a layer in a form that a core holds."""
        number, name = signal
        assert number is not None
        layer, key = self.forms[signal][form].layer, self.key(number, name)
        operation, (_, rows, columns) = layer.operation, layer.output_shape
        assert isinstance(operation, Convolution)
        incoming = self.networks[number].incoming[name]
        body = Body(
            layer.input_shape, rows, columns, operation.kernel, operation.stride, operation.padding,
            operation.has_bias, sum(self.rates.get(self.key(number, edge.source), 0) for edge in incoming),
            widths_of(layer),
        )  # fmt: skip
        return most_features(body, operation.out_features, self.stocks, key, self.pinned)

    def relay_largest(self, signal: Signal, level: int, *, reads_all: bool) -> tuple[int, ...]:
        """By stock, the most features of a signal that a relay passes on, pooled by so much."""
        number, name = signal
        sources = [(number, name)] if number is not None else self.sensor_inputs
        spikes = max(self.rates.get(self.key(*source), 0) for source in sources)
        shape = self.shapes[signal]
        body = relay_body(shape, level, spikes, reads_all=reads_all)
        return most_features(body, shape[0], self.stocks, None, ())

    @cached_property
    def sensor_inputs(self) -> list[tuple[int, str]]:
        """(network, name) of inputs that the sensor feeds."""
        return [(n, name) for n, network in enumerate(self.networks) for name in sorted(sensors_of(network))]

    def whole_stocks(self, signal: Signal, level: int) -> set[int]:
        """Stocks whose cores relay a whole signal."""
        held = self.relay_largest(signal, level, reads_all=False)
        return {stock for stock, most in enumerate(held) if most == self.shapes[signal][0]}

    def partial(self, signal: Signal, level: int, *, reads_all: bool) -> tuple[int, ...]:
        """By stock, the most features of a relay of a part; 0 where a core relays the whole.

        Of relays that share a signal none needs to be such a core: alone it serves as many, for one slot.
        """
        whole = self.whole_stocks(signal, level)
        held = self.relay_largest(signal, level, reads_all=reads_all)
        return tuple(0 if stock in whole else most for stock, most in enumerate(held))

    def fan_out(self, stocks: Iterable[int]) -> int:
        """Subscribers of cores that send alike: each takes a slot of every one."""
        return min(self.stocks[stock].core.fan_out for stock in stocks)

    def _copy_slots(self, counts: Counts) -> int:
        return self.fan_out(stock for stock, n in enumerate(counts) if n)

    def _ways_of(self, number: int, layer: Layer) -> list[Way]:
        """Every way for a layer to be written and to stand, but for those that others make superfluous."""
        signal, is_fed = (number, layer.name), self.key(number, layer.name) == self.options.readout
        found: list[Way] = []
        for form in range(len(self.forms[signal])):
            for standing in self._standings(signal, form):
                slots = sum(map(self._copy_slots, standing.copies)) - is_fed
                aligned = standing.aligned
                set_slots = self.fan_out(relay for _, relay in aligned.pairs) if aligned else 0
                found.append(Way(form, standing, slots, set_slots))
        found.sort(key=lambda way: (sum(way.standing.taken), self.cost(way.standing.taken), -way.slots))
        kept: list[Way] = []
        for way in found:
            if not any(self._supersedes(signal, other, way) for other in kept):
                kept.append(way)
        return kept

    def _supersedes(self, signal: Signal, better: Way, way: Way) -> bool:
        """Whether nothing is lost without a way: the other takes no more of anything and gives no less."""
        a, b = better.standing, way.standing
        level = a.aligned.level if a.aligned else 0
        return (
            all(x <= y for x, y in zip(a.taken, b.taken, strict=True))
            and a.pieces <= b.pieces
            and sum(a.copies[0]) <= sum(b.copies[0])
            and better.slots >= way.slots
            and better.set_slots >= way.set_slots
            and (b.aligned is None or level == b.aligned.level)
            and self._reads_as_easily(self.readings[signal][better.form], self.readings[signal][way.form])
        )

    def _reads_as_easily(self, better: Sequence[Reading], other: Sequence[Reading]) -> bool:
        """Whether whoever serves the other's readings serves these."""
        for one, two in zip(better, other, strict=True):
            served = {q for q in range(1, two.level + 1) if two.level / q in self.poolings}
            if not all(one.level / q in self.poolings for q in served):
                return False
            pools = self.origin_pools(two.signal)
            if two.direct and two.level in pools and not (one.direct and one.level in pools):
                return False
        return True

    def _standings(self, signal: Signal, form: int) -> Iterator[Standing]:
        """Every way for a layer to stand in a form, once or twice, with aligned relays or without."""
        number, name = signal
        largest, total = self.largest(signal, form), self.shapes[signal][0]
        key = self.key(number or 0, name)
        whole = key in self.pinned or key == self.options.readout
        most = 1 if whole else self.options.max_pieces or total
        singles = list(self._covers(total, largest, most))
        found = [Standing((counts,)) for counts in singles]
        if not whole and self.networks[number or 0].outgoing[name] + tuple(self.shown(signal)):
            beside = list(self._aligned(signal, largest, most))
            found += beside
            if self.options.max_copies != 1 and self.networks[number or 0].outgoing[name]:
                # Monitors watch copy 0: let it be the one with fewer pieces. Aligned relays leave no choice:
                # copy 0 is the one they stand beside.
                read = sorted(singles, key=lambda counts: (sum(counts), counts))
                # Copies beyond the second stand whole.
                alone = [counts for counts in read if sum(counts) == 1]
                pairs = [Standing(pair) for pair in combinations_with_replacement(read, 2)]
                pairs += [Standing((*one.copies, other), one.aligned) for one, other in product(beside, read)]
                for further in range((self.options.max_copies or len(self.chip.cores)) - 1):
                    more = list(combinations_with_replacement(alone, further))
                    several = (Standing((*s.copies, *e), s.aligned) for s, e in product(pairs, more))
                    held = [standing for standing in several if self._enough(standing.taken)]
                    if not held:
                        break
                    found += held
        return (standing for standing in found if self._enough(standing.taken))

    def _enough(self, taken: Counts) -> bool:
        """Whether there are such cores, and one more for every other layer."""
        room = sum(len(stock.cores) for stock in self.stocks) + 1
        others = sum(len(network.layers) for network in self.networks)
        fits = all(n <= len(stock.cores) for n, stock in zip(taken, self.stocks, strict=True))
        return fits and sum(taken) + others <= room

    def _covers(self, total: int, largest: Sequence[int], most: int) -> Iterator[Counts]:
        """Cores that hold all features together, none of which could be dropped."""
        ranges = (range(len(s.cores) + 1 if m else 1) for s, m in zip(self.stocks, largest, strict=True))
        for counts in product(*ranges):
            held = sum(n * size for n, size in zip(counts, largest, strict=True))
            spare = min((size for n, size in zip(counts, largest, strict=True) if n), default=0)
            if held >= total and held - spare < total and sum(counts) <= most:
                yield counts

    def partial_sets(self, signal: Signal, level: int) -> list[tuple[int, ...]]:
        """Stocks of relays that read all of a signal and share what they pass on, none of which could go."""
        covers = self._covers(self.shapes[signal][0], self.partial(signal, level, reads_all=True), UNLIMITED)
        return [tuple(s for s, n in enumerate(counts) for _ in range(n)) for counts in covers]

    def _aligned(self, signal: Signal, largest: Sequence[int], most: int) -> Iterator[Standing]:
        """A copy with relays beside its pieces, at each level that its destinations can pool to."""
        for level in self.levels[signal]:
            if level not in self.poolings:
                continue
            relayed = self.partial(signal, level, reads_all=False)
            for pairs in self._joint_covers(self.shapes[signal][0], largest, relayed, most):
                pieces = [piece for piece, _ in pairs]
                counts = tuple(pieces.count(n) for n in range(len(self.stocks)))
                yield Standing((counts,), Aligned(level, pairs))

    def _joint_covers(
        self, total: int, largest: Sequence[int], relayed: Sequence[int], most: int
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

    def _picks(self, largest: Sequence[int], count: int) -> Iterator[tuple[int, ...]]:
        """So many cores that hold something, by stock, those that hold least first."""
        usable = sorted((stock for stock, size in enumerate(largest) if size), key=lambda n: (largest[n], n))
        for pick in combinations_with_replacement(usable, count):
            if all(pick.count(stock) <= len(self.stocks[stock].cores) for stock in usable):
                yield pick

    def shown(self, signal: Signal) -> list[int]:
        """Pools above 1 at which relays must show a layer's signal."""
        if self.options.monitors is not None or self.options.pooled_outputs == "host":
            return []
        return sorted(self._outputs(signal) - {1})

    def _outputs(self, signal: Signal) -> set[int]:
        """Pools of the outputs that a layer has."""
        if not self.is_layer(signal):
            return set()
        outputs = self.networks[signal[0] or 0].outputs
        return {pool_of(output.path)[0] for output in outputs if output.source == signal[1]}

    @cached_property
    def watched(self) -> set[Signal]:
        """Layers whose own cores are watched."""
        if self.options.monitors is not None:
            names = {str(name) for name in self.options.monitors}
            return {(n, layer.name) for n, layer in self.layers if self.key(n, layer.name) in names}
        everything = self.options.pooled_outputs == "host"
        sizes = {(n, layer.name): self._outputs((n, layer.name)) for n, layer in self.layers}
        return {signal for signal, pools in sizes.items() if 1 in pools or (pools and everything)}

    def root_slots(self, signal: Signal, ways: dict[Signal, Way]) -> int:
        """Slots of what makes a signal."""
        if signal[0] is None:
            return self.chip.input.fan_out if self.chip.input else 0
        return ways[signal].slots if signal in ways else UNLIMITED

    def consumers(self, signal: Signal, ways: dict[Signal, Way]) -> tuple[tuple[int, bool], ...]:
        """(level, direct) of every core that reads a signal, once per edge, ascending."""
        found: list[tuple[int, bool]] = []
        for reader, way in ways.items():
            for entry in self.readings[reader][way.form]:
                if entry.signal == signal:
                    found += [(entry.level, entry.direct)] * way.standing.pieces
        return tuple(sorted(found))

    def readout_impossible(self) -> bool:
        """Whether the readout stage rules out any placement."""
        for n, layer in self.layers:
            if self.key(n, layer.name) == self.options.readout:
                stage, (features, rows, columns) = self.chip.readout, layer.output_shape
                fed = stage is not None and (features - 1) // stage.feature_spacing < stage.classes_max
                return not fed or (rows, columns) != (1, 1)
        return False
