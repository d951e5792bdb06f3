"""The CP-SAT model of pieces, copies and relays, per core class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from mapper.solver.budget import timed
from mapper.solver.divided.need import UNBOUNDED, Need, need_of, spare_cores
from mapper.solver.divided.relays import add_relays
from mapper.solver.divided.slots import add_slots
from mapper.solver.divided.tables import PieceTable, Provider, Tables
from mapper.solver.divided.variables import FURTHER, NO_SLACK, DividedModel, Piece, Slack, Terms
from mapper.solver.or_tools import cp_model

__all__ = ["build_model"]


def build_model(
    tables: Tables, table: PieceTable, slack: Slack = NO_SLACK, spare: int | None = None
) -> DividedModel | None:
    """The model; None where a layer fits nowhere, however it is cut.

    Parameters
    ----------
    table
        The most features of a piece per layer, form and class.
    spare
        Cores beyond the least that all layers take, where the number of cores is not the chip's.

    Raises
    ------
    TimeLimitError
        The time limit of the tables' budget came first.
    """
    if spare is None:
        spare = UNBOUNDED if slack.cores else spare_cores(tables, table, slack.layers)
    if spare < 0:
        return None
    divided = DividedModel(tables, table, _lean(tables, need_of(tables, table, spare), slack))
    for layer in timed(tables.budget, len(tables.problem.demands)):
        if layer not in slack.layers and not _add_layer(divided, layer, slack):
            return None
    if not _add_members(divided):
        return None
    for number in timed(tables.budget, len(tables.signals)):
        add_relays(divided, number, tables.signals[number], slack)
    for number in timed(tables.budget, len(tables.signals)):
        if number not in slack.slots and not add_slots(divided, number, tables.signals[number], slack):
            return None
    _add_capacity(divided, slack)
    if not slack.monitors:
        _add_monitors(divided, slack)
    return divided


def _lean(tables: Tables, need: Need, slack: Slack) -> Need:
    """Relays and copies only of signals whose destinations count and are served."""
    if not slack.slots and not slack.layers:
        return need
    served = {
        number
        for number, signal in enumerate(tables.signals)
        if number not in slack.slots
        and (signal.shown or any(consumer.layer not in slack.layers for consumer in signal.consumers))
    }
    relays = {number: most for number, most in need.relays.items() if number in served}
    sending = {tables.signals[number].layer for number in served}
    copies = {layer: most for layer, most in need.copies.items() if layer in sending}
    return replace(need, relays=relays, copies=copies)


def _add_layer(divided: DividedModel, layer: int, slack: Slack) -> bool:
    """A cover of the layer by pieces in one of its forms, and another for each further copy."""
    tables, model = divided.tables, divided.model
    features = tables.problem.demands[layer].work.output_shape.features
    bound = divided.need.pieces[layer]
    floor = features if bound == 1 else 1
    usable = {
        form: columns
        for form, row in enumerate(divided.table[layer])
        if (columns := {k: min(most, features) for k, most in enumerate(row) if most >= floor})
    }
    is_optional = layer in tables.problem.optional
    if not usable or layer in divided.need.left_out:
        return is_optional
    least = -(-features // max(most for columns in usable.values() for most in columns.values()))
    if least > bound:
        return is_optional
    there: cp_model.IntVar | int = 1
    if is_optional:
        there = divided.copies[layer, 0] = model.new_bool_var("")
    if len(usable) > 1:
        forms = [model.new_bool_var("") for _ in usable]
        divided.forms |= {(layer, form): variable for form, variable in zip(usable, forms, strict=True)}
        if is_optional:
            model.add(cp_model.LinearExpr.sum(forms) == there)
        else:
            model.add_exactly_one(forms)
    for copy in range(min(2, divided.need.copies.get(layer, 1))):
        exists = there
        if copy:
            exists = divided.copies[layer, copy] = model.new_bool_var("")
            model.add(exists <= there)
        terms: Terms = []
        weights: list[int] = []
        for form, columns in usable.items():
            here = [
                divided.add_piece(Piece(layer, form, copy, k), min(bound, divided.room(k, slack)))
                for k in columns
            ]
            if len(usable) > 1:
                model.add(cp_model.LinearExpr.sum(here) <= bound * divided.forms[layer, form])
            terms += here
            weights += columns.values()
        count = cp_model.LinearExpr.sum(terms)
        model.add(cp_model.LinearExpr.weighted_sum(terms, weights) >= features * exists)
        if not copy and not is_optional:
            model.add_linear_constraint(count, least, bound)
            continue
        model.add(count >= least * exists)
        model.add(count <= bound * exists)
    _add_further(divided, layer, usable, slack)
    return True


def _add_further(
    divided: DividedModel, layer: int, usable: Mapping[int, Mapping[int, int]], slack: Slack
) -> None:
    """Copies beyond the second: each stands whole, so that they are counted by class."""
    features = divided.tables.problem.demands[layer].work.output_shape.features
    most, model = divided.need.copies.get(layer, 1) - 2, divided.model
    terms: Terms = []
    for form, columns in usable.items() if most > 0 else ():
        here = [
            divided.add_piece(Piece(layer, form, FURTHER, k), min(most, divided.room(k, slack)))
            for k, size in columns.items()
            if size >= features
        ]
        if len(usable) > 1:
            model.add(cp_model.LinearExpr.sum(here) <= most * divided.forms[layer, form])
        terms += here
    if terms:
        model.add(cp_model.LinearExpr.sum(terms) <= most * divided.copies[layer, 1])


def _add_members(divided: DividedModel) -> bool:
    """Siblings stand either on their own or in one of the layers that they may be fused to."""
    among: dict[int, list[int]] = {}
    for fused, members in divided.tables.problem.members.items():
        for member in members:
            among.setdefault(member, [member]).append(fused)
    for layers in among.values():
        there = [divided.copies[layer, 0] for layer in layers if (layer, 0) in divided.copies]
        if not there:
            return False
        divided.model.add_exactly_one(there)
    _add_reading(divided, among)
    return True


def _add_reading(divided: DividedModel, among: Mapping[int, list[int]]) -> None:
    """A form that reads a sibling is taken where this is there, or a fused layer that the form reads too."""
    problem = divided.tables.problem
    for layer, form in {(piece.layer, piece.form) for piece in divided.pieces}:
        chosen = divided.forms.get((layer, form), divided.copies.get((layer, 0), 1))
        number = problem.demands[layer].network
        names = {edge.source for edge in problem.edges_into(layer, form)}
        sources = {problem.layer_of[number, name] for name in names if (number, name) in problem.layer_of}
        for member in sources & among.keys():
            ways = [divided.copies[n, 0] for n in among[member] if n in sources and (n, 0) in divided.copies]
            divided.model.add(chosen <= cp_model.LinearExpr.sum(ways))


def _add_capacity(divided: DividedModel, slack: Slack) -> None:
    users: dict[int, Terms] = {}
    for k, variable in divided.users():
        users.setdefault(k, []).append(variable)
    for k, variables in users.items():
        if k not in slack.cores:
            room = len(divided.tables.problem.classes[k].core_ids)
            divided.model.add(cp_model.LinearExpr.sum(variables) <= room)


def _add_monitors(divided: DividedModel, slack: Slack) -> None:
    """All pieces of the first copy are watched, and what shows a signal pooled; the chip may bound them."""
    problem, tables = divided.tables.problem, divided.tables
    bound = problem.chip.monitor.cores_max
    if bound is None:
        return
    layers = {problem.layer_of[entry] for entry in problem.monitored}
    # Of siblings and what they are fused to, those that are not there have no cores.
    layers |= {fused for fused, members in problem.members.items() if layers.intersection(members)}
    layers -= slack.layers
    watched: list[cp_model.LinearExpr | cp_model.IntVar | int] = [
        divided.pieces[piece] for layer in layers for piece in divided.pieces_of(layer, copy=0)
    ]
    for number, signal in enumerate(tables.signals):
        if signal.layer not in slack.layers:
            watched += [_watched(divided, number, level) for level in signal.shown]
    divided.model.add(cp_model.LinearExpr.sum(watched) <= bound)


def _watched(divided: DividedModel, number: int, level: int) -> cp_model.IntVar | int:
    """How many cores show a signal at a level: one of the whole relays if there is one, else a set."""
    relays = divided.relays_of(number)
    whole = list(relays.get(Provider(level, "relay"), {}).values())
    sets = [p for p in relays if p.level == level and p.kind != "relay"]
    if not sets:
        return 1
    count = divided.model.new_int_var(1, UNBOUNDED, "")
    chosen = {p: divided.model.new_bool_var("") for p in sets}
    for provider, by_set in chosen.items():
        divided.model.add(by_set <= divided.sets[number, provider])
        divided.model.add(count >= cp_model.LinearExpr.sum(list(relays[provider].values()))).only_enforce_if(
            by_set
        )
    divided.model.add(cp_model.LinearExpr.sum(whole) + cp_model.LinearExpr.sum(list(chosen.values())) >= 1)
    return count
