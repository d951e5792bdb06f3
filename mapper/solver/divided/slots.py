"""Destinations in the model: every reader's core and every relay takes one, origins and relays offer some."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from mapper.solver.divided.need import UNBOUNDED
from mapper.solver.divided.tables import ORIGIN, UNREACHABLE, Consumer, Provider, Signal, Tables
from mapper.solver.divided.variables import FURTHER, DividedModel, Slack, Terms
from mapper.solver.or_tools import cp_model

__all__ = ["Taker", "add_slots", "preference", "suiting"]


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
    origin_only
        Of consumers, whether no relay can serve them.
    """

    pooling: int
    direct: bool
    relays: Provider | None = None
    origin_only: bool = False


def add_slots(divided: DividedModel, number: int, signal: Signal, slack: Slack) -> bool:
    """Every consumer's core and every relay takes one slot of a provider whose pooling suits it."""
    model, relays = divided.model, divided.relays_of(number)
    consumers = [consumer for consumer in signal.consumers if consumer.layer not in slack.layers]
    shown = () if signal.layer in slack.layers else signal.shown
    takers: dict[Taker, Terms] = {}
    problem = divided.tables.problem
    siblings = set(problem.members).union(*problem.members.values())
    for consumer in consumers:
        pieces = divided.pieces_of(consumer.layer, consumer.form)
        if pieces and consumer.pooling == UNREACHABLE:
            if not _forbid_form(divided, consumer.layer, consumer.form):
                return False
            continue
        if pieces and signal.layer in problem.joints:
            there = divided.copies.get((signal.layer, 0), 0)
            model.add(_is_taken(divided, consumer) <= there)
        if signal.layer in siblings and (signal.layer, 0) not in divided.copies:
            continue
        terms = takers.setdefault(Taker(consumer.pooling, consumer.direct, None, consumer.origin_only), [])
        terms += [divided.pieces[piece] for piece in pieces]
    takers |= {Taker(p.level, True, p): list(z.values()) for p, z in relays.items() if p.kind != "aligned"}
    given: dict[Provider, Terms] = {}
    for provider in relays:
        if provider.kind == "aligned":
            given.setdefault(ORIGIN, []).append(divided.sets[number, provider])
    for taker, terms in takers.items():
        flows: dict[Provider, cp_model.IntVar] = {}
        upper = min(sum(map(divided.most, terms)), UNBOUNDED)
        for provider in suiting(divided.tables, signal, (ORIGIN, *relays), taker):
            flows[provider] = model.new_int_var(0, upper, "")
            given.setdefault(provider, []).append(flows[provider])
        served = model.add(cp_model.LinearExpr.sum(terms) == cp_model.LinearExpr.sum(list(flows.values())))
        if signal.layer in siblings and taker.relays is None:
            # Who reads siblings reads what they are fused to where that is there instead.
            served.only_enforce_if(divided.copies[signal.layer, 0])
        if taker.relays is not None and taker.relays.kind == "relay":
            # Relays at a level are fed from below it at least once: they cannot feed one another alone.
            below = [flow for provider, flow in flows.items() if provider != taker.relays]
            model.add(cp_model.LinearExpr.sum(terms) <= upper * cp_model.LinearExpr.sum(below))
    for provider, z in relays.items():
        model.add(
            cp_model.LinearExpr.sum(given.get(provider, []))
            <= _offered_by_relays(divided, number, provider, z)
        )
    for level in shown:
        if not _show(divided, number, level):
            return False
    _add_origin(divided, signal, given.get(ORIGIN, []), slack)
    return True


def _is_taken(divided: DividedModel, consumer: Consumer) -> cp_model.LinearExprT:
    """Whether a layer is there in the form that reads so; of an only form, whether it is there at all."""
    layer = consumer.layer
    return divided.forms.get((layer, consumer.form), divided.copies.get((layer, 0), 1))


def _forbid_form(divided: DividedModel, layer: int, form: int) -> bool:
    """Leave a form out of the choice; False where the layer has no other."""
    if (layer, form) not in divided.forms:
        return False
    divided.model.add(divided.forms[layer, form] == 0)
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
    if taker.origin_only:
        return False
    if taker.relays is not None and (provider.level, provider.kind) == (taker.pooling, "split"):
        # A set feeds no relay at its own level: nothing runs in circles.
        return False
    return tables.serves(provider, taker.pooling)


def _offered_by_relays(
    divided: DividedModel, number: int, provider: Provider, relays: Mapping[int, cp_model.IntVar]
) -> cp_model.LinearExpr | int:
    """Slots of relays: each its own of whole ones, as many as its least core has of a set."""
    classes = divided.tables.problem.classes
    fan_outs = {k: classes[k].core.fan_out for k in relays}
    if provider.kind == "relay":
        return cp_model.LinearExpr.weighted_sum(list(relays.values()), list(fan_outs.values()))
    exists = divided.sets[number, provider]
    return _least_of(divided, {k: (fan_outs[k], variable) for k, variable in relays.items()}, exists)


def _least_of(
    divided: DividedModel, cores: Mapping[int, tuple[int, cp_model.IntVar]], exists: cp_model.IntVar | int
) -> cp_model.LinearExpr | int:
    """The least number of slots of any class in use, 0 where the whole does not exist."""
    most = max(fan_out for fan_out, _ in cores.values())
    if all(fan_out == most for fan_out, _ in cores.values()):
        return most * exists
    slots = divided.model.new_int_var(0, most, "")
    divided.model.add(slots <= most * exists)
    for fan_out, count in cores.values():
        if fan_out < most:
            used = divided.model.new_bool_var("")
            divided.model.add(count <= divided.most(count) * used)
            divided.model.add(slots <= fan_out).only_enforce_if(used)
    return slots


def _add_origin(divided: DividedModel, signal: Signal, given: Terms, slack: Slack) -> None:
    """What makes the signal has so many destinations: the stage, or every copy of a layer."""
    if signal.kind == "sensor" and given:
        stage = divided.tables.problem.chip.input
        divided.model.add(cp_model.LinearExpr.sum(given) <= (stage.fan_out if stage else 0))
    if signal.layer is None or signal.layer in slack.layers or not divided.pieces_of(signal.layer):
        return
    classes, offered = divided.tables.problem.classes, []
    for copy in (0, 1) if (signal.layer, 1) in divided.copies else (0,):
        exists = divided.copies.get((signal.layer, copy), 1)
        cores: dict[int, tuple[int, cp_model.IntVar]] = {
            n: (classes[piece.core_class].core.fan_out, divided.pieces[piece])
            for n, piece in enumerate(divided.pieces_of(signal.layer, copy=copy))
        }
        offered.append(_least_of(divided, cores, exists))
    for piece in divided.pieces_of(signal.layer, copy=FURTHER):
        offered.append(classes[piece.core_class].core.fan_out * divided.pieces[piece])
    divided.model.add(
        cp_model.LinearExpr.sum(given) + int(signal.readout) <= cp_model.LinearExpr.sum(offered)
    )


def _show(divided: DividedModel, number: int, level: int) -> bool:
    """Relays at a level exist, whole or as a set."""
    shows: Terms = []
    for provider, relays in divided.relays_of(number).items():
        if provider.level == level:
            shows += list(relays.values()) if provider.kind == "relay" else [divided.sets[number, provider]]
    divided.model.add(cp_model.LinearExpr.sum(shows) >= 1)
    return bool(shows)
