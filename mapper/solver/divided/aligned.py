"""Relays of a signal that no single core holds: one for every piece of the layer's first copy.

Relay i reads only piece i, so that together they take one destination of every piece and offer as many
as their cores have. A piece is then no larger than its own core and its relay's core hold.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ortools.sat.python import cp_model

from mapper.solver.divided.tables import Signal

if TYPE_CHECKING:
    from mapper.solver.divided.model import DividedModel

__all__ = ["add_aligned", "aligned_slots"]


def add_aligned(made: DividedModel, number: int, signal: Signal) -> None:
    """Variables of all aligned relay sets of a signal: whether a set exists, and the pairs of classes."""
    layer, tables, model = signal.layer, made.tables, made.model
    if layer is None:
        return
    features, bound = signal.shape.features, made.need.pieces[layer]
    sets = []
    for level in tables.aligned_levels(signal) if number in made.need.relayed else ():
        exists = made.aligned[number, level] = model.new_bool_var("")
        sets.append(exists)
        holds = tables.aligned_limits(signal, level)
        pairs: dict[int, list[cp_model.IntVar]] = {}
        terms, most = [], []
        for k, count in _first_copy(made, layer):
            pairs[k] = []
            for other, limit in holds.items():
                if not min(limit, made.fmax[layer][k]):
                    continue
                pair = model.new_int_var(0, bound, "")
                made.pairs[number, level, k, other] = pair
                pairs[k].append(pair)
                terms.append(pair)
                most.append(min(limit, made.fmax[layer][k], features))
            paired = cp_model.LinearExpr.sum(pairs[k])
            model.add(paired <= count)
            model.add(paired >= count - bound + bound * exists)
        model.add(cp_model.LinearExpr.sum(terms) <= bound * exists)
        model.add(cp_model.LinearExpr.weighted_sum(terms, most) >= features * exists)
    if len(sets) > 1:
        model.add_at_most_one(sets)


def _first_copy(made: DividedModel, layer: int) -> list[tuple[int, cp_model.IntVar]]:
    classes = range(len(made.tables.problem.classes))
    return [(k, made.pieces[layer, 0, k]) for k in classes if (layer, 0, k) in made.pieces]


def aligned_slots(made: DividedModel, number: int, level: int) -> cp_model.LinearExpr | int:
    """Destinations that the set at a level offers: as many as its least core has."""
    classes, exists = made.tables.problem.classes, made.aligned[number, level]
    pairs = {key: v for key, v in made.pairs.items() if key[:2] == (number, level)}
    fan_outs = {classes[other].core.fan_out for *_, other in pairs}
    most = max(fan_outs, default=0)
    if len(fan_outs) <= 1:
        return most * exists
    slots = made.model.new_int_var(0, most, "")
    made.model.add(slots <= most * exists)
    for (*_, other), pair in pairs.items():
        fan_out = classes[other].core.fan_out
        if fan_out < most:
            used = made.model.new_bool_var("")
            made.model.add(pair <= made.need.pieces[made.tables.signals[number].layer or 0] * used)
            made.model.add(slots <= fan_out).only_enforce_if(used)
    return slots
