"""What a placement can need: bounds that keep variables out of the model that no best placement uses.

Every layer takes a least number of cores; what the chip has beyond these is spare, and pieces, copies and
relays share it. A cover of a layer from which no piece can be left out has at most
``ceil(features / least piece)`` of them; copies and relays serve only where a signal may have more readers
than destinations, or a pool that its origin cannot give. A joint relay can be left out, and its readers read
the addends, where each of these serves all that may read it directly, or where it has but one reader.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from mapper.solver.budget import timed
from mapper.solver.divided.tables import PieceTable, Signal, Tables

__all__ = ["UNBOUNDED", "Need", "least_pieces", "need_of", "spare_cores"]

# Cores to spare where any number of them may be taken.
UNBOUNDED = 1 << 30

# A layer stands on the chip at most so often; in circles copies would ask for copies without end.
_COPIES_MAX = 64


@dataclass(frozen=True, slots=True)
class Need:
    """Bounds of a model.

    Attributes
    ----------
    spare
        Cores beyond the least that all layers take; `UNBOUNDED` where cores do not count.
    pieces
        Per layer, the most pieces of a copy.
    copies
        By layer of which more than one copy may serve, the most of them; all beyond the second stand whole.
    relays
        By index of a signal that relays may serve, the most whole ones at one pooling: one that could not be
        left out begins a pooling or has two takers, so each chain has no more of them than it has ends.
    left_out
        Joint relays that serve nothing.
    """

    spare: int
    pieces: tuple[int, ...]
    copies: dict[int, int]
    relays: dict[int, int]
    left_out: frozenset[int] = frozenset()


def least_pieces(tables: Tables, table: PieceTable, layer: int) -> int:
    """The least number of cores that hold all features of a layer; 0 where none holds any."""
    features = tables.problem.demands[layer].work.output_shape.features
    most = max((most for row in table[layer] for most in row), default=0)
    return -(-features // most) if most else 0


def spare_cores(tables: Tables, table: PieceTable, left_out: Collection[int] = ()) -> int:
    """Cores beyond the least that all layers take; negative where there are too few.

    Parameters
    ----------
    left_out
        Layers that need not be placed.
    """
    cores = sum(len(entry.core_ids) for entry in tables.problem.classes)
    free = tables.problem.optional.union(left_out)
    layers = (n for n in range(len(tables.problem.demands)) if n not in free)
    return cores - sum(least_pieces(tables, table, layer) for layer in layers)


def need_of(tables: Tables, table: PieceTable, spare: int) -> Need:
    """Bounds from the largest pieces and the cores to spare."""
    layers = timed(tables.budget, len(tables.problem.demands))
    pieces = tuple(_most_pieces(tables, table, layer, spare) for layer in layers)
    copies = _copies(tables, table, pieces, spare)
    relays = {
        n: min(max(1, _readers(signal, pieces, copies)) + len(signal.shown), spare)
        for n, signal in enumerate(tables.signals)
        if spare > 0 and _needs_relays(tables, table, signal, _readers(signal, pieces, copies))
    }
    idle = frozenset(
        n for n in tables.problem.joints if spare < 1 or not _serves(tables, table, n, pieces, copies)
    )
    return Need(spare, pieces, copies, relays, idle)


def _copies(tables: Tables, table: PieceTable, pieces: tuple[int, ...], spare: int) -> dict[int, int]:
    """By layer of which more than one copy may serve, the most of them, what reads it standing as often."""
    copies: dict[int, int] = {}
    is_settled = False
    while not is_settled:
        is_settled = True
        # What reads a signal mostly stands behind it.
        for number in reversed(range(len(tables.signals))):
            signal = tables.signals[number]
            layer = signal.layer
            if layer is None or not _may_copy(tables, layer):
                continue
            least = least_pieces(tables, table, layer)
            room = 1 + spare // least if least else 1
            now = copies.get(layer, 1)
            if room <= now:
                continue
            most = min(room, _most_copies(tables, table, number, _readers(signal, pieces, copies)))
            if most > now:
                copies[layer] = most
                is_settled = False
    return copies


def _most_copies(tables: Tables, table: PieceTable, number: int, readers: int) -> int:
    """The most copies of a layer of which none could be left out.

    Each has as many destinations as its weakest core. Whole relays take no more of them than there are
    readers and pools to show, at the end of every chain one; of partial relays each takes one.
    """
    signal = tables.signals[number]
    fan_out = max(1, _fan_out(tables, table, signal))
    takers = readers + len(signal.shown) + int(signal.readout)
    if takers > fan_out or signal.shown or not all(consumer.direct for consumer in signal.consumers):
        takers += _partial_relays(tables, number)
    return min(tables.problem.options.max_copies or _COPIES_MAX, _COPIES_MAX, -(-takers // fan_out))


def _partial_relays(tables: Tables, number: int) -> int:
    """Of a signal by index, as many relays of a part as sets of them at all levels may have."""
    if number not in tables.partial_relays:
        signal = tables.signals[number]
        rows = [tables.partial_limits(signal, level, reads_all=True) for level in tables.levels(signal)]
        counts = (-(-signal.shape.features // min(row.values())) for row in rows if row)
        tables.partial_relays[number] = sum(counts)
    return tables.partial_relays[number]


def _serves(
    tables: Tables, table: PieceTable, joint: int, pieces: tuple[int, ...], copies: Mapping[int, int]
) -> bool:
    """Whether an addend of a joint relay may have too many readers, or pools that it cannot do.

    What but one core reads, without pooling it further, this may read directly.
    """
    demand, sent = tables.problem.demands[joint], tables.signal_of(joint)
    sources = {edge.source for edge in tables.problem.edges_into(joint, 0)}
    if not sources <= tables.problem.networks[demand.network].by_name.keys():
        # What passes on an input's phases serves layers that no core can express as readers of the input.
        return True
    if _readers(sent, pieces, copies) < 2 and all(consumer.pooling == 1 for consumer in sent.consumers):
        return False
    for signal in tables.signals:
        if signal.network == demand.network and signal.name in sources:
            own = tuple(c for c in signal.consumers if c.layer not in tables.problem.joints)
            given = replace(signal, consumers=own)
            if _needs_relays(tables, table, given, _readers(given, pieces, copies)):
                return True
    return False


def _needs_relays(tables: Tables, table: PieceTable, signal: Signal, readers: int) -> bool:
    if signal.shown or not all(consumer.direct for consumer in signal.consumers):
        return True
    return signal.kind != "host" and readers > _fan_out(tables, table, signal)


def _most_pieces(tables: Tables, table: PieceTable, layer: int, spare: int) -> int:
    problem = tables.problem
    features = problem.demands[layer].work.output_shape.features
    if layer in tables.whole:
        return 1
    least, limits = least_pieces(tables, table, layer), {most for row in table[layer] for most in row if most}
    cap = max(1, min(features, problem.options.max_pieces or features, least + spare))
    most = min(-(-features // min(limits, default=features)), cap)
    # With a relay aligned to each of them, pieces are no larger than these hold, and take two cores each.
    paired = min((least + spare) // 2, cap)
    if paired > most:
        signal = tables.signal_of(layer)
        held = {
            limit
            for level in tables.levels(signal)
            for limit in tables.partial_limits(signal, level, reads_all=False).values()
        }
        most = max(most, min(-(-features // min(limits | held, default=features)), paired))
    return max(1, most)


def _may_copy(tables: Tables, layer: int) -> bool:
    return tables.problem.options.max_copies != 1 and layer not in tables.whole | tables.unread


def _readers(signal: Signal, pieces: tuple[int, ...], copies: Mapping[int, int]) -> int:
    """The most cores that may read a signal: of the forms of a layer the one with most edges from it."""
    edges: dict[tuple[int, int], int] = {}
    for consumer in signal.consumers:
        edges[consumer.layer, consumer.form] = edges.get((consumer.layer, consumer.form), 0) + 1
    most: dict[int, int] = {}
    for (layer, _), count in edges.items():
        most[layer] = max(most.get(layer, 0), count)
    return sum(count * pieces[layer] * copies.get(layer, 1) for layer, count in most.items())


def _fan_out(tables: Tables, table: PieceTable, signal: Signal) -> int:
    """The least destinations that the signal's origin may have."""
    if signal.layer is None:
        stage = tables.problem.chip.input
        return stage.fan_out if stage else 0
    classes = tables.problem.classes
    rows = table[signal.layer]
    usable = [classes[k].core.fan_out for row in rows for k, most in enumerate(row) if most > 0]
    return min(usable, default=0) - int(signal.readout)
