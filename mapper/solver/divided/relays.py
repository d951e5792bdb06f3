"""Relays in the model: of whole signals, aligned to the pieces of a layer, or splitting a signal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ortools.sat.python import cp_model

from mapper.solver.divided.tables import Provider, Signal
from mapper.solver.divided.variables import DividedModel, Slack, Terms

__all__ = ["add_relays"]


def add_relays(made: DividedModel, number: int, signal: Signal, slack: Slack) -> None:
    """Relays of the whole signal, and sets of partial ones where no core of a class holds the whole."""
    most, tables = made.need.relays.get(number, 0), made.tables
    for level in tables.levels(signal) if most else ():
        for k in tables.relay_classes(signal, level):
            made.add_relay(number, Provider(level, "relay"), k, min(most, made.room(k, slack)))
        if made.need.spare > 1:
            _add_split(made, number, signal, level, slack)
            if signal.layer is not None and signal.layer not in slack.layers:
                _add_aligned(made, number, signal, level, slack)
    aligned = [
        exists
        for (owner, provider), exists in made.sets.items()
        if owner == number and provider.kind == "aligned"
    ]
    if len(aligned) > 1:
        made.model.add_at_most_one(aligned)


def _add_set(
    made: DividedModel, number: int, provider: Provider, limits: Mapping[int, int], slack: Slack
) -> Terms:
    """Variables of a set of at least two partial relays."""
    bound = min(made.need.spare, made.tables.signals[number].shape.features)
    exists = made.sets[number, provider] = made.model.new_bool_var("")
    relays = [made.add_relay(number, provider, k, min(bound, made.room(k, slack))) for k in limits]
    made.model.add(cp_model.LinearExpr.sum(relays) >= 2 * exists)
    made.model.add(cp_model.LinearExpr.sum(relays) <= bound * exists)
    return relays


def _add_split(made: DividedModel, number: int, signal: Signal, level: int, slack: Slack) -> None:
    """Relays that each read the whole signal and pass on a part of it."""
    limits = made.tables.partial_limits(signal, level, reads_all=True)
    if limits and signal.shape.features > 1 and _may_gain(made, signal, limits):
        provider = Provider(level, "split")
        relays = _add_set(made, number, provider, limits, slack)
        covered = cp_model.LinearExpr.weighted_sum(relays, list(limits.values()))
        made.model.add(covered >= signal.shape.features * made.sets[number, provider])


def _may_gain(made: DividedModel, signal: Signal, classes: Iterable[int]) -> bool:
    """Whether a set that takes two destinations at least may be worth it.

    It offers more of them, or what it serves cannot be served by what feeds it: a pool or a shift that the
    signal's origin does not have, or pools of the chip that do not follow from one another.
    """
    cores, poolings = made.tables.problem.classes, made.tables.poolings
    follow = all(a % b or a // b in poolings for a in poolings for b in poolings)
    direct = follow and not signal.shown and all(consumer.direct for consumer in signal.consumers)
    return not direct or max(cores[k].core.fan_out for k in classes) > 2


def _add_aligned(made: DividedModel, number: int, signal: Signal, level: int, slack: Slack) -> None:
    """One relay for every piece of the layer's first copy, which reads this piece alone.

    A piece is then no larger than its own core and its relay's core hold. Pieces and relays are matched by
    size: for every cap there are as many relays that hold so much as pieces that need it.
    """
    layer, model = signal.layer, made.model
    limits = made.tables.partial_limits(signal, level, reads_all=False)
    if layer is None or not limits or level not in made.tables.poolings or made.need.pieces[layer] < 2:
        return
    provider, features, bound = Provider(level, "aligned"), signal.shape.features, made.need.pieces[layer]
    relays = dict(zip(limits, _add_set(made, number, provider, limits, slack), strict=True))
    exists, caps = made.sets[number, provider], sorted(set(limits.values()))
    columns: dict[int, list[tuple[int, cp_model.IntVar]]] = {}
    for piece in made.pieces_of(layer, copy=0):
        columns.setdefault(piece.core_class, []).append(
            (made.table[layer][piece.form][piece.core_class], made.pieces[piece])
        )
    terms: list[tuple[int, int, cp_model.IntVar]] = []
    for k, entries in columns.items():
        own = max(most for most, _ in entries)
        capped = []
        for n, cap in enumerate(caps):
            if n and caps[n - 1] >= own:
                break  # a smaller cap holds such a piece as well
            variable = made.capped[number, level, k, cap] = model.new_int_var(0, bound, "")
            capped.append(variable)
            terms.append((min(cap, own, features), cap, variable))
        pieces, total = cp_model.LinearExpr.sum([v for _, v in entries]), cp_model.LinearExpr.sum(capped)
        model.add(total <= pieces)
        model.add(total >= pieces - bound + bound * exists)
    model.add(cp_model.LinearExpr.sum([v for *_, v in terms]) <= bound * exists)
    covered = cp_model.LinearExpr.weighted_sum([v for *_, v in terms], [size for size, *_ in terms])
    model.add(covered >= features * exists)
    model.add(
        cp_model.LinearExpr.sum([v for *_, v in terms]) == cp_model.LinearExpr.sum(list(relays.values()))
    )
    for cap in caps:
        large = [v for _, own, v in terms if own >= cap]
        able = [relay for k, relay in relays.items() if limits[k] >= cap]
        model.add(cp_model.LinearExpr.sum(large) <= cp_model.LinearExpr.sum(able))
