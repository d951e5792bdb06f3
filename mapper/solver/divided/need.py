"""What a best placement can need: bounds that keep variables out of the model that no optimum uses.

A cover of a layer from which no piece can be left out has at most ``ceil(features / least piece)`` of
them; copies and relays serve only where a signal may have more readers than destinations, or a pool that
its own core cannot give.
"""

from __future__ import annotations

from dataclasses import dataclass

from mapper.solver.divided.tables import ORIGIN, Signal, Tables

__all__ = ["Need", "need_of"]


@dataclass(frozen=True, slots=True)
class Need:
    """Bounds of a model.

    Attributes
    ----------
    pieces
        Per layer, the most pieces of a copy.
    copied
        Layers of which a second copy may serve.
    relayed
        Indexes of signals that relays may serve.
    """

    pieces: tuple[int, ...]
    copied: frozenset[int]
    relayed: frozenset[int]


def need_of(tables: Tables, fmax: tuple[tuple[int, ...], ...]) -> Need:
    """Bounds from the largest pieces per layer and class."""
    joint = _joint_limits(tables, fmax)
    pieces = tuple(_most_pieces(tables, layer, row) for layer, row in enumerate(joint))
    copied: frozenset[int] = frozenset()
    while True:
        more = frozenset(
            signal.layer
            for signal in tables.signals
            if signal.layer is not None
            and _may_copy(tables, signal.layer)
            and _readers(signal, pieces, copied) > _fan_out(tables, fmax, signal)
        )
        if more <= copied:
            break
        copied |= more
    stage = tables.problem.chip.input
    sensed = sum(_readers(signal, pieces, copied) for signal in tables.signals if signal.kind == "sensor")
    crowded = sensed > (stage.fan_out if stage else 0)
    relayed = frozenset(
        n
        for n, signal in enumerate(tables.signals)
        if signal.shown
        or any(not tables.suits(signal, (ORIGIN,), consumer.pooling) for consumer in signal.consumers)
        or (signal.kind == "sensor" and crowded)
        or (signal.kind == "layer" and _readers(signal, pieces, copied) > _fan_out(tables, fmax, signal))
    )
    return Need(pieces, copied, relayed)


def _joint_limits(tables: Tables, fmax: tuple[tuple[int, ...], ...]) -> list[tuple[int, ...]]:
    """Largest pieces, smaller where aligned relays may have to hold them too."""
    rows = list(fmax)
    for signal in tables.signals:
        for level in tables.aligned_levels(signal):
            if signal.layer is not None:
                limits = tables.aligned_limits(signal, level).values()
                least = [min(most, limit) for most in rows[signal.layer] if most for limit in limits]
                rows[signal.layer] = (*rows[signal.layer], *least)
    return rows


def _most_pieces(tables: Tables, layer: int, fmax: tuple[int, ...]) -> int:
    problem = tables.problem
    features = problem.demands[layer].core.output_shape.features
    least = min((most for most in fmax if most > 0), default=features)
    if layer in tables.whole:
        return 1
    return min(-(-features // least), features, problem.options.max_pieces or features)


def _may_copy(tables: Tables, layer: int) -> bool:
    return tables.problem.options.max_copies > 1 and layer not in tables.whole | tables.unread


def _readers(signal: Signal, pieces: tuple[int, ...], copied: frozenset[int]) -> int:
    """The most cores that may read a signal."""
    layers = [consumer.layer for consumer in signal.consumers]
    return sum(pieces[layer] * (2 if layer in copied else 1) for layer in layers)


def _fan_out(tables: Tables, fmax: tuple[tuple[int, ...], ...], signal: Signal) -> int:
    """The least destinations that a core with the signal's layer may have."""
    if signal.layer is None:
        return 0
    classes = tables.problem.classes
    usable = [classes[k].core.fan_out for k, most in enumerate(fmax[signal.layer]) if most > 0]
    return min(usable, default=0) - int(signal.readout)
