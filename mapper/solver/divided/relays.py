"""Relays in the model: of whole signals, aligned to the pieces of a layer, or splitting a signal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from mapper.solver.divided.tables import Provider, Signal
from mapper.solver.divided.variables import DividedModel, Slack, Terms
from mapper.solver.or_tools import cp_model

__all__ = ["add_relays"]


def add_relays(divided: DividedModel, number: int, signal: Signal, slack: Slack) -> None:
    """Relays of the whole signal, and sets of partial ones where no core of a class holds the whole."""
    most, tables, spare = divided.need.relays.get(number, 0), divided.tables, divided.need.spare
    if signal.layer in tables.problem.optional and not divided.pieces_of(signal.layer):
        return
    levels = tables.levels(signal) if most else ()
    splits = {level: _split_limits(divided, signal, level) for level in levels if spare > 1}
    # Every relay of such a set reads the whole signal: readers that `need` does not count.
    most += sum(max(2, -(-signal.shape.features // min(row.values()))) for row in splits.values() if row)
    most = min(most, spare)
    for level in levels:
        for k in tables.relay_classes(signal, level):
            divided.add_relay(number, Provider(level, "relay"), k, min(most, divided.room(k, slack)))
        if splits.get(level):
            _add_split(divided, number, Provider(level, "split"), splits[level], slack)
        if spare > 1 and signal.layer is not None and signal.layer not in slack.layers:
            _add_aligned(divided, number, signal, level, slack)
    aligned = [
        exists
        for (owner, provider), exists in divided.sets.items()
        if owner == number and provider.kind == "aligned"
    ]
    if len(aligned) > 1:
        divided.model.add_at_most_one(aligned)


def _add_set(
    divided: DividedModel, number: int, provider: Provider, limits: Mapping[int, int], slack: Slack
) -> Terms:
    """Variables of a set of at least two partial relays."""
    bound = min(divided.need.spare, divided.tables.signals[number].shape.features)
    exists = divided.sets[number, provider] = divided.model.new_bool_var("")
    relays = [divided.add_relay(number, provider, k, min(bound, divided.room(k, slack))) for k in limits]
    divided.model.add(cp_model.LinearExpr.sum(relays) >= 2 * exists)
    divided.model.add(cp_model.LinearExpr.sum(relays) <= bound * exists)
    return relays


def _split_limits(divided: DividedModel, signal: Signal, level: int) -> Mapping[int, int]:
    """Per class, the most features of a relay that divides the signal; empty where none is of use."""
    limits = divided.tables.partial_limits(signal, level, reads_all=True)
    return limits if limits and signal.shape.features > 1 and _may_gain(divided, signal, limits) else {}


def _add_split(
    divided: DividedModel, number: int, provider: Provider, limits: Mapping[int, int], slack: Slack
) -> None:
    """Relays that each read the whole signal and pass on a part of it."""
    relays = _add_set(divided, number, provider, limits, slack)
    features = divided.tables.signals[number].shape.features
    covered = cp_model.LinearExpr.weighted_sum(relays, list(limits.values()))
    divided.model.add(covered >= features * divided.sets[number, provider])


def _may_gain(divided: DividedModel, signal: Signal, classes: Iterable[int]) -> bool:
    """Whether a set that takes two destinations at least may be worth it.

    It offers more of them, or what it serves cannot be served by what feeds it: a pool or a shift that the
    signal's origin does not have, or pools of the chip that do not follow from one another.
    """
    cores, poolings = divided.tables.problem.classes, divided.tables.poolings
    follow = all(a % b or a // b in poolings for a in poolings for b in poolings)
    direct = follow and not signal.shown and all(consumer.direct for consumer in signal.consumers)
    return not direct or max(cores[k].core.fan_out for k in classes) > 2


def _add_aligned(divided: DividedModel, number: int, signal: Signal, level: int, slack: Slack) -> None:
    """One relay for every piece of the layer's first copy, which reads this piece alone.

    A piece is then no larger than its own core and its relay's core hold. Pieces and relays are matched by
    size: for every cap there are as many relays that hold so much as pieces that need it.
    """
    layer, model = signal.layer, divided.model
    limits = divided.tables.partial_limits(signal, level, reads_all=False)
    if layer is None or not limits or level not in divided.tables.poolings or divided.need.pieces[layer] < 2:
        return
    provider, features, bound = Provider(level, "aligned"), signal.shape.features, divided.need.pieces[layer]
    relays = dict(zip(limits, _add_set(divided, number, provider, limits, slack), strict=True))
    exists, caps = divided.sets[number, provider], sorted(set(limits.values()))
    terms: list[tuple[int, int, cp_model.IntVar]] = []
    for piece in divided.pieces_of(layer, copy=0):
        own, capped = divided.table[layer][piece.form][piece.core_class], []
        for n, cap in enumerate(caps):
            if n and caps[n - 1] >= own:
                break  # a smaller cap holds such a piece as well
            variable = divided.capped[number, level, piece, cap] = model.new_int_var(0, bound, "")
            capped.append(variable)
            terms.append((min(cap, own, features), cap, variable))
        count, total = divided.pieces[piece], cp_model.LinearExpr.sum(capped)
        model.add(total <= count)
        model.add(total >= count - bound + bound * exists)
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
