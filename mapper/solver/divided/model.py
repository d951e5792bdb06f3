"""The CP-SAT model of pieces, copies and relays, per core class, and what a probe may leave out of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from ortools.sat.python import cp_model

from mapper.rules import Rule
from mapper.solver.divided.need import UNBOUNDED, Need, need_of, spare_cores
from mapper.solver.divided.tables import ORIGIN, UNREACHABLE, PieceTable, Provider, Signal, Tables

__all__ = ["NO_SLACK", "DividedModel", "Piece", "Slack", "Taker", "build_model", "preference", "suiting"]

Terms: TypeAlias = list[cp_model.IntVar]


class Piece(NamedTuple):
    """A layer's pieces in one form, of one copy, in one core class."""

    layer: int
    form: int
    copy: int
    core_class: int


class Taker(NamedTuple):
    """Who takes destinations of a signal, and what for.

    Attributes
    ----------
    pooling
        The consumers' pooling, or the level of the relays.
    direct
        Of consumers, whether the signal's origin can serve them.
    relays
        The kind of relays that take them; None for consumers.
    """

    pooling: int
    direct: bool
    relays: Provider | None = None


@dataclass(frozen=True, slots=True)
class Slack:
    """What a model leaves out, so that requirements can be told apart.

    Attributes
    ----------
    limits
        (rule, layer): this limit of the layer's pieces does not count.
    slots
        Indexes of signals whose destinations do not count.
    cores
        Classes with any number of cores.
    layers
        Layers that need not be placed.
    """

    limits: frozenset[tuple[Rule, int]] = frozenset()
    slots: frozenset[int] = frozenset()
    cores: frozenset[int] = frozenset()
    layers: frozenset[int] = frozenset()
    monitors: bool = False


NO_SLACK = Slack()


@dataclass
class DividedModel:
    """Variables by what they mean.

    Attributes
    ----------
    pieces
        Cores that hold such a piece.
    forms
        (layer, form): whether the layer is written so; layers with one usable form have none.
    copies
        (layer, copy): whether the copy exists; copy 0 always does, without variable.
    relays
        (signal, provider, class): identity cores.
    sets
        (signal, provider): whether the set of partial relays exists.
    capped
        (signal, level, class, cap): of the first copy's pieces in a class, those that hold no more than
        `cap` features, so that relays which hold as many are aligned to them.
    takers
        (signal, taker): the variables that take destinations.
    """

    tables: Tables
    table: PieceTable
    need: Need
    model: cp_model.CpModel = field(default_factory=cp_model.CpModel)
    pieces: dict[Piece, cp_model.IntVar] = field(default_factory=dict)
    forms: dict[tuple[int, int], cp_model.IntVar] = field(default_factory=dict)
    copies: dict[tuple[int, int], cp_model.IntVar] = field(default_factory=dict)
    relays: dict[tuple[int, Provider, int], cp_model.IntVar] = field(default_factory=dict)
    sets: dict[tuple[int, Provider], cp_model.IntVar] = field(default_factory=dict)
    capped: dict[tuple[int, int, int, int], cp_model.IntVar] = field(default_factory=dict)
    _most: dict[int, int] = field(default_factory=dict)
    _by_layer: dict[int, list[Piece]] = field(default_factory=dict)
    _by_signal: dict[int, dict[Provider, dict[int, cp_model.IntVar]]] = field(default_factory=dict)

    def variable(self, most: int) -> cp_model.IntVar:
        """A new variable, 0 .. most."""
        variable = self.model.new_int_var(0, most, "")
        self._most[variable.index] = most
        return variable

    def most(self, variable: cp_model.IntVar) -> int:
        """The largest value of a variable for pieces or relays."""
        return self._most[variable.index]

    def cores_and_bits(self, per_core: int, *, bits: bool = True) -> cp_model.LinearExpr:
        """`per_core` for every core in use, and the bits of its memories."""
        classes, users = self.tables.problem.classes, self.users()
        weights = [per_core + (classes[k].core.capacity_bits if bits else 0) for k, _ in users]
        return cp_model.LinearExpr.weighted_sum([variable for _, variable in users], weights)

    def users(self) -> list[tuple[int, cp_model.IntVar]]:
        """(class, variable) of everything that takes cores."""
        pieces = [(piece.core_class, variable) for piece, variable in self.pieces.items()]
        return pieces + [(k, variable) for (*_, k), variable in self.relays.items()]

    def pieces_of(self, layer: int, form: int | None = None, copy: int | None = None) -> list[Piece]:
        """Keys of `pieces` of a layer, of all its forms and copies or of one."""
        rows = self._by_layer.get(layer, [])
        return [p for p in rows if form in (None, p.form) and copy in (None, p.copy)]

    def add_piece(self, piece: Piece, most: int) -> cp_model.IntVar:
        """A variable for such pieces, 0 .. most."""
        self.pieces[piece] = self.variable(most)
        self._by_layer.setdefault(piece.layer, []).append(piece)
        return self.pieces[piece]

    def relays_of(self, signal: int) -> dict[Provider, dict[int, cp_model.IntVar]]:
        """Relays of a signal by provider and class."""
        return self._by_signal.get(signal, {})

    def add_relay(self, signal: int, provider: Provider, k: int, most: int) -> cp_model.IntVar:
        """A variable for such relays, 0 .. most."""
        relay = self.relays[signal, provider, k] = self.variable(most)
        self._by_signal.setdefault(signal, {}).setdefault(provider, {})[k] = relay
        return relay


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
    """
    if spare is None:
        spare = UNBOUNDED if slack.cores else spare_cores(tables, table, slack.layers)
    if spare < 0:
        return None
    made = DividedModel(tables, table, need_of(tables, table, spare))
    for layer in range(len(tables.problem.demands)):
        if layer not in slack.layers and not _add_layer(made, layer, slack):
            return None
    for number, signal in enumerate(tables.signals):
        _add_relays(made, number, signal, slack)
    for number, signal in enumerate(tables.signals):
        if number not in slack.slots and not _add_slots(made, number, signal, slack):
            return None
    _add_capacity(made, slack)
    if not slack.monitors:
        _add_monitors(made, slack)
    return made


def _room(made: DividedModel, k: int, slack: Slack) -> int:
    return UNBOUNDED if k in slack.cores else len(made.tables.problem.classes[k].core_ids)


def _add_layer(made: DividedModel, layer: int, slack: Slack) -> bool:
    """A cover of the layer by pieces in one of its forms, and another for each further copy."""
    tables, model = made.tables, made.model
    features = tables.problem.demands[layer].work.output_shape.features
    floor = features if layer in tables.whole else 1
    usable = {
        form: columns
        for form, row in enumerate(made.table[layer])
        if (columns := {k: min(most, features) for k, most in enumerate(row) if most >= floor})
    }
    bound = made.need.pieces[layer]
    if not usable:
        return False
    least = -(-features // max(most for columns in usable.values() for most in columns.values()))
    if least > bound:
        return False
    if len(usable) > 1:
        for form in usable:
            made.forms[layer, form] = model.new_bool_var("")
        model.add_exactly_one(made.forms[layer, form] for form in usable)
    for copy in range(2 if layer in made.need.copied else 1):
        exists: cp_model.IntVar | int = 1
        if copy:
            exists = made.copies[layer, copy] = model.new_bool_var("")
        terms: Terms = []
        weights: list[int] = []
        for form, columns in usable.items():
            here = [
                made.add_piece(Piece(layer, form, copy, k), min(bound, _room(made, k, slack)))
                for k in columns
            ]
            if len(usable) > 1:
                model.add(cp_model.LinearExpr.sum(here) <= bound * made.forms[layer, form])
            terms += here
            weights += columns.values()
        count = cp_model.LinearExpr.sum(terms)
        model.add(cp_model.LinearExpr.weighted_sum(terms, weights) >= features * exists)
        model.add(count >= least * exists)
        model.add(count <= bound * exists)
    return True


def _add_relays(made: DividedModel, number: int, signal: Signal, slack: Slack) -> None:
    """Relays of the whole signal, and sets of partial ones where no core of a class holds the whole."""
    most, tables = made.need.relays.get(number, 0), made.tables
    for level in tables.levels(signal) if most else ():
        for k in tables.relay_classes(signal, level):
            made.add_relay(number, Provider(level, "relay"), k, min(most, _room(made, k, slack)))
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
    relays = [made.add_relay(number, provider, k, min(bound, _room(made, k, slack))) for k in limits]
    made.model.add(cp_model.LinearExpr.sum(relays) >= 2 * exists)
    made.model.add(cp_model.LinearExpr.sum(relays) <= bound * exists)
    return relays


def _add_split(made: DividedModel, number: int, signal: Signal, level: int, slack: Slack) -> None:
    """Relays that each read the whole signal and pass on a part of it."""
    limits = made.tables.partial_limits(signal, level, reads_all=True)
    if limits and signal.shape.features > 1:
        provider = Provider(level, "split")
        relays = _add_set(made, number, provider, limits, slack)
        covered = cp_model.LinearExpr.weighted_sum(relays, list(limits.values()))
        made.model.add(covered >= signal.shape.features * made.sets[number, provider])


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


def _add_slots(made: DividedModel, number: int, signal: Signal, slack: Slack) -> bool:
    """Every consumer's core and every relay takes one slot of a provider whose pooling suits it."""
    model, relays = made.model, made.relays_of(number)
    consumers = [consumer for consumer in signal.consumers if consumer.layer not in slack.layers]
    shown = () if signal.layer in slack.layers else signal.shown
    takers: dict[Taker, Terms] = {}
    for consumer in consumers:
        pieces = made.pieces_of(consumer.layer, consumer.form)
        if pieces and consumer.pooling == UNREACHABLE:
            if not _forbid_form(made, consumer.layer, consumer.form):
                return False
            continue
        terms = takers.setdefault(Taker(consumer.pooling, consumer.direct), [])
        terms += [made.pieces[piece] for piece in pieces]
    takers |= {Taker(p.level, True, p): list(z.values()) for p, z in relays.items() if p.kind != "aligned"}
    given: dict[Provider, Terms] = {}
    for provider in relays:
        if provider.kind == "aligned":
            given.setdefault(ORIGIN, []).append(made.sets[number, provider])
    for taker, terms in takers.items():
        flows: dict[Provider, cp_model.IntVar] = {}
        upper = min(sum(map(made.most, terms)), UNBOUNDED)
        for provider in suiting(made.tables, signal, (ORIGIN, *relays), taker):
            flows[provider] = model.new_int_var(0, upper, "")
            given.setdefault(provider, []).append(flows[provider])
        model.add(cp_model.LinearExpr.sum(terms) == cp_model.LinearExpr.sum(list(flows.values())))
        if taker.relays is not None and taker.relays.kind == "relay":
            # Relays at a level are fed from below it at least once: they cannot feed one another alone.
            below = [flow for provider, flow in flows.items() if provider != taker.relays]
            model.add(cp_model.LinearExpr.sum(terms) <= upper * cp_model.LinearExpr.sum(below))
    for provider, z in relays.items():
        model.add(
            cp_model.LinearExpr.sum(given.get(provider, [])) <= _offered_by_relays(made, number, provider, z)
        )
    for level in shown:
        if not _show(made, number, level):
            return False
    _add_origin(made, signal, given.get(ORIGIN, []), slack)
    return True


def _forbid_form(made: DividedModel, layer: int, form: int) -> bool:
    """Leave a form out of the choice; False where the layer has no other."""
    if (layer, form) not in made.forms:
        return False
    made.model.add(made.forms[layer, form] == 0)
    return True


def suiting(
    tables: Tables, signal: Signal, providers: Iterable[Provider], taker: Taker
) -> tuple[Provider, ...]:
    """Those of the providers that serve a taker, the preferred one first."""
    return tuple(
        provider for provider in sorted(providers, key=preference) if _suits(tables, signal, provider, taker)
    )


def preference(provider: Provider) -> tuple[int, int]:
    """Sort key: the origin, then relays of pieces, of the whole, and sets of partial ones, lowest first."""
    return ("origin", "aligned", "relay", "split").index(provider.kind), provider.level


def _suits(tables: Tables, signal: Signal, provider: Provider, taker: Taker) -> bool:
    if provider == ORIGIN:
        direct = taker.direct if taker.relays is None else signal.kind == "layer" or taker.pooling == 1
        return direct and (signal.kind != "layer" or taker.pooling in tables.poolings)
    if taker.relays is not None and (provider.level, provider.kind) == (taker.pooling, "split"):
        # A set feeds no relay at its own level: nothing runs in circles.
        return False
    return tables.serves(provider, taker.pooling)


def _offered_by_relays(
    made: DividedModel, number: int, provider: Provider, relays: Mapping[int, cp_model.IntVar]
) -> cp_model.LinearExpr | int:
    """Slots of relays: each its own of whole ones, as many as its least core has of a set."""
    classes = made.tables.problem.classes
    fan_outs = {k: classes[k].core.fan_out for k in relays}
    if provider.kind == "relay":
        return cp_model.LinearExpr.weighted_sum(list(relays.values()), list(fan_outs.values()))
    exists = made.sets[number, provider]
    return _least_of(made, {k: (fan_outs[k], variable) for k, variable in relays.items()}, exists)


def _least_of(
    made: DividedModel, cores: Mapping[int, tuple[int, cp_model.IntVar]], exists: cp_model.IntVar | int
) -> cp_model.LinearExpr | int:
    """The least number of slots of any class in use, 0 where the whole does not exist."""
    most = max(fan_out for fan_out, _ in cores.values())
    if all(fan_out == most for fan_out, _ in cores.values()):
        return most * exists
    slots = made.model.new_int_var(0, most, "")
    made.model.add(slots <= most * exists)
    for fan_out, count in cores.values():
        if fan_out < most:
            used = made.model.new_bool_var("")
            made.model.add(count <= made.most(count) * used)
            made.model.add(slots <= fan_out).only_enforce_if(used)
    return slots


def _add_origin(made: DividedModel, signal: Signal, given: Terms, slack: Slack) -> None:
    """What makes the signal has so many destinations: the stage, or every copy of a layer."""
    if signal.kind == "sensor" and given:
        stage = made.tables.problem.chip.input
        made.model.add(cp_model.LinearExpr.sum(given) <= (stage.fan_out if stage else 0))
    if signal.layer is None or signal.layer in slack.layers:
        return
    classes, offered = made.tables.problem.classes, []
    for copy in (0, 1) if (signal.layer, 1) in made.copies else (0,):
        exists = made.copies.get((signal.layer, copy), 1)
        cores: dict[int, tuple[int, cp_model.IntVar]] = {
            n: (classes[piece.core_class].core.fan_out, made.pieces[piece])
            for n, piece in enumerate(made.pieces_of(signal.layer, copy=copy))
        }
        offered.append(_least_of(made, cores, exists))
    made.model.add(cp_model.LinearExpr.sum(given) + int(signal.readout) <= cp_model.LinearExpr.sum(offered))


def _show(made: DividedModel, number: int, level: int) -> bool:
    """Relays at a level exist, whole or as a set."""
    shows: Terms = []
    for provider, relays in made.relays_of(number).items():
        if provider.level == level:
            shows += list(relays.values()) if provider.kind == "relay" else [made.sets[number, provider]]
    made.model.add(cp_model.LinearExpr.sum(shows) >= 1)
    return bool(shows)


def _add_capacity(made: DividedModel, slack: Slack) -> None:
    users: dict[int, Terms] = {}
    for k, variable in made.users():
        users.setdefault(k, []).append(variable)
    for k, variables in users.items():
        if k not in slack.cores:
            room = len(made.tables.problem.classes[k].core_ids)
            made.model.add(cp_model.LinearExpr.sum(variables) <= room)


def _add_monitors(made: DividedModel, slack: Slack) -> None:
    """All pieces of the first copy are watched, and what shows a signal pooled; the chip may bound them."""
    problem, tables = made.tables.problem, made.tables
    bound = problem.chip.monitor.cores_max
    if bound is None:
        return
    layers = {tables.layer_of[entry] for entry in problem.monitored} - slack.layers
    watched: list[cp_model.LinearExpr | cp_model.IntVar | int] = [
        made.pieces[piece] for layer in layers for piece in made.pieces_of(layer, copy=0)
    ]
    for number, signal in enumerate(tables.signals):
        if signal.layer not in slack.layers:
            watched += [_watched(made, number, level) for level in signal.shown]
    made.model.add(cp_model.LinearExpr.sum(watched) <= bound)


def _watched(made: DividedModel, number: int, level: int) -> cp_model.IntVar | int:
    """How many cores show a signal at a level: one of the whole relays if there is one, else a set."""
    relays = made.relays_of(number)
    whole = list(relays.get(Provider(level, "relay"), {}).values())
    sets = [p for p in relays if p.level == level and p.kind != "relay"]
    if not sets:
        return 1
    count = made.model.new_int_var(1, UNBOUNDED, "")
    chosen = {p: made.model.new_bool_var("") for p in sets}
    for provider, by_set in chosen.items():
        made.model.add(by_set <= made.sets[number, provider])
        made.model.add(count >= cp_model.LinearExpr.sum(list(relays[provider].values()))).only_enforce_if(
            by_set
        )
    made.model.add(cp_model.LinearExpr.sum(whole) + cp_model.LinearExpr.sum(list(chosen.values())) >= 1)
    return count
