"""The CP-SAT model of pieces, copies and relays, per core class, and what a probe may leave out of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from ortools.sat.python import cp_model

from mapper.rules import Rule
from mapper.solver.divided.aligned import add_aligned, aligned_slots
from mapper.solver.divided.need import Need, need_of
from mapper.solver.divided.tables import ORIGIN, UNREACHABLE, Signal, Tables

__all__ = ["NO_SLACK", "DividedModel", "Flow", "Slack", "build_model"]

Terms: TypeAlias = list[cp_model.IntVar]
# More relays than these of one signal at one pooling are of no use on chips of this family.
_RELAYS_MAX = 8


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


@dataclass(frozen=True, slots=True)
class Flow:
    """Destinations that providers at one level give: to consumers of a pooling, or to relays at a level.

    Attributes
    ----------
    signal
        Index of `Tables.signals`.
    provider
        `ORIGIN`, or the level of relays; with a minus sign of relays that are aligned to pieces.
    to_relays
        Whether relays take them.
    pooling
        What the takers want: the consumers' pooling, or the relays' level.
    """

    signal: int
    provider: int
    to_relays: bool
    pooling: int


@dataclass
class DividedModel:
    """Variables by what they mean.

    Attributes
    ----------
    pieces
        (layer, copy, class): cores of the class that hold a piece of that copy.
    copies
        (layer, copy): whether the copy exists; copy 0 always does, without variable.
    relays
        (signal, level, class): relays.
    flows
        Destinations by `Flow`.
    aligned, pairs
        (signal, level): whether the pieces of the first copy are relayed one by one; with two classes
        behind it, pieces in the one whose relays are in the other.
    of_layer, of_signal
        The same pieces by layer, and relays by signal, level and class.
    """

    tables: Tables
    fmax: tuple[tuple[int, ...], ...]
    need: Need
    model: cp_model.CpModel = field(default_factory=cp_model.CpModel)
    pieces: dict[tuple[int, int, int], cp_model.IntVar] = field(default_factory=dict)
    copies: dict[tuple[int, int], cp_model.IntVar] = field(default_factory=dict)
    relays: dict[tuple[int, int, int], cp_model.IntVar] = field(default_factory=dict)
    flows: dict[Flow, cp_model.IntVar] = field(default_factory=dict)
    aligned: dict[tuple[int, int], cp_model.IntVar] = field(default_factory=dict)
    pairs: dict[tuple[int, int, int, int], cp_model.IntVar] = field(default_factory=dict)
    of_layer: dict[int, Terms] = field(default_factory=dict)
    of_signal: dict[int, dict[int, dict[int, cp_model.IntVar]]] = field(default_factory=dict)

    def sensor_flows(self) -> dict[int, Terms]:
        """By signal, the destinations that the sensor stage gives."""
        found: dict[int, Terms] = {}
        for flow, variable in self.flows.items():
            if self.tables.signals[flow.signal].kind == "sensor" and flow.provider == ORIGIN:
                found.setdefault(flow.signal, []).append(variable)
        return found

    def cores_and_bits(self, per_core: int, *, bits: bool = True) -> cp_model.LinearExpr:
        """`per_core` for every core in use, and the bits of its memories."""
        classes = self.tables.problem.classes
        weights = [per_core + (classes[k].core.capacity_bits if bits else 0) for k, _ in self.users()]
        return cp_model.LinearExpr.weighted_sum([variable for _, variable in self.users()], weights)

    def users(self) -> list[tuple[int, cp_model.IntVar]]:
        """(class, variable) of everything that takes cores."""
        kinds = (self.pieces, self.relays, self.pairs)
        return [(key[-1], variable) for kind in kinds for key, variable in kind.items()]


def build_model(
    tables: Tables, fmax: tuple[tuple[int, ...], ...], slack: Slack = NO_SLACK
) -> DividedModel | None:
    """The model; None where a layer fits nowhere, however it is cut.

    Parameters
    ----------
    fmax
        Per layer and class, the most features of a piece; 0 for a class the layer may not use.
    """
    made = DividedModel(tables, fmax, need_of(tables, fmax))
    for layer in range(len(tables.problem.demands)):
        if layer not in slack.layers and not _add_layer(made, layer, slack):
            return None
    for number, signal in enumerate(tables.signals):
        _add_relays(made, number, signal)
        if signal.layer not in slack.layers:
            add_aligned(made, number, signal)
    for number, signal in enumerate(tables.signals):
        if number not in slack.slots and not _add_slots(made, number, signal, slack):
            return None
    _add_sensor(made, slack)
    _add_capacity(made, slack)
    if not slack.monitors:
        _add_monitors(made, slack)
    return made


def _add_layer(made: DividedModel, layer: int, slack: Slack) -> bool:
    problem, model, fmax = made.tables.problem, made.model, made.fmax[layer]
    features = problem.demands[layer].core.output_shape.features
    whole = layer in made.tables.whole
    usable = [k for k, most in enumerate(fmax) if most >= (features if whole else 1)]
    if not usable:
        return False
    bound = made.need.pieces[layer]
    least = -(-features // max(fmax[k] for k in usable))
    if least > bound:
        return False
    for copy in range(2 if layer in made.need.copied else 1):
        room = [len(problem.classes[k].core_ids) for k in usable]
        most = [bound if k in slack.cores else min(bound, n) for k, n in zip(usable, room, strict=True)]
        here = [model.new_int_var(0, n, "") for n in most]
        made.pieces |= {(layer, copy, k): variable for k, variable in zip(usable, here, strict=True)}
        made.of_layer.setdefault(layer, []).extend(here)
        weights = [min(fmax[k], features) for k in usable]
        covered, count = cp_model.LinearExpr.weighted_sum(here, weights), cp_model.LinearExpr.sum(here)
        if copy == 0:
            model.add(covered >= features)
            model.add_linear_constraint(count, least, bound)
            continue
        exists = made.copies[layer, copy] = model.new_bool_var("")
        model.add(covered >= features * exists)
        model.add(count >= least * exists)
        model.add(count <= bound * exists)
    return True


def _add_relays(made: DividedModel, number: int, signal: Signal) -> None:
    for level in made.tables.levels(signal) if number in made.need.relayed else ():
        for k in made.tables.relay_classes(signal, level):
            room = min(_RELAYS_MAX, len(made.tables.problem.classes[k].core_ids))
            relay = made.relays[number, level, k] = made.model.new_int_var(0, room, "")
            made.of_signal.setdefault(number, {}).setdefault(level, {})[k] = relay


def _add_slots(made: DividedModel, number: int, signal: Signal, slack: Slack) -> bool:
    """Every consumer's core and every relay takes one slot of a provider whose pooling suits it."""
    model = made.model
    relays = made.of_signal.get(number, {})
    read = {consumer.pooling for consumer in signal.consumers if consumer.layer not in slack.layers}
    shown = () if signal.layer in slack.layers else signal.shown
    if UNREACHABLE in read or any(pooling not in relays for pooling in shown):
        return False
    consumers: dict[int, Terms] = {}
    for consumer in signal.consumers:
        if consumer.layer not in slack.layers:
            consumers.setdefault(consumer.pooling, []).extend(made.of_layer[consumer.layer])
    takers: list[tuple[bool, int, Terms]] = [(False, p, terms) for p, terms in sorted(consumers.items())]
    takers += [(True, level, list(z.values())) for level, z in sorted(relays.items())]
    aligned = [level for owner, level in made.aligned if owner == number]
    given: dict[int, Terms] = {ORIGIN: [made.aligned[number, level] for level in aligned]}
    levels = (ORIGIN, *(-level for level in aligned), *sorted(relays))
    for to_relays, pooling, terms in takers:
        flows: list[tuple[int, cp_model.IntVar]] = []
        upper = sum(_upper(term) for term in terms)
        for provider in made.tables.suits(signal, levels, pooling):
            flow = model.new_int_var(0, upper, "")
            made.flows[Flow(number, provider, to_relays, pooling)] = flow
            given.setdefault(provider, []).append(flow)
            flows.append((provider, flow))
        total = cp_model.LinearExpr.sum([flow for _, flow in flows])
        model.add(cp_model.LinearExpr.sum(terms) == total)
        if to_relays:
            # Relays at a level are fed from below it at least once: they cannot feed one another alone.
            below = [flow for provider, flow in flows if provider != pooling]
            model.add(cp_model.LinearExpr.sum(terms) <= upper * cp_model.LinearExpr.sum(below))
    classes = made.tables.problem.classes
    for level, z in relays.items():
        offered = cp_model.LinearExpr.weighted_sum(list(z.values()), [classes[k].core.fan_out for k in z])
        model.add(cp_model.LinearExpr.sum(given.get(level, [])) <= offered)
        if level in shown:
            model.add(cp_model.LinearExpr.sum(list(z.values())) >= 1)
    for level in aligned:
        model.add(cp_model.LinearExpr.sum(given.get(-level, [])) <= aligned_slots(made, number, level))
    if signal.layer is not None and signal.layer not in slack.layers:
        taken = cp_model.LinearExpr.sum(given[ORIGIN]) + int(signal.readout)
        model.add(taken <= _offered(made, signal.layer))
    return True


def _upper(variable: cp_model.IntVar) -> int:
    return int(list(variable.proto.domain)[-1])


def _offered(made: DividedModel, layer: int) -> cp_model.LinearExpr | int:
    """Slots of a layer: every copy offers as many as its least core has."""
    classes = made.tables.problem.classes
    usable = [k for k in range(len(classes)) if (layer, 0, k) in made.pieces]
    fan_outs = {classes[k].core.fan_out for k in usable}
    copies = [0, *(copy for copy in (1,) if (layer, copy) in made.copies)]
    if len(fan_outs) == 1:
        (fan_out,) = fan_outs
        exists = [made.copies[layer, copy] for copy in copies[1:]]
        return fan_out + fan_out * cp_model.LinearExpr.sum(exists)
    offered = []
    for copy in copies:
        slots = made.model.new_int_var(0, max(fan_outs), "")
        for k in usable:
            if classes[k].core.fan_out < max(fan_outs):
                count = made.pieces[layer, copy, k]
                used = made.model.new_bool_var("")
                made.model.add(count <= _upper(count) * used)
                made.model.add(slots <= classes[k].core.fan_out).only_enforce_if(used)
        if copy:
            made.model.add(slots <= max(fan_outs) * made.copies[layer, copy])
        offered.append(slots)
    return cp_model.LinearExpr.sum(offered)


def _add_sensor(made: DividedModel, slack: Slack) -> None:
    """The sensor stage's destinations, shared by all networks."""
    flows = made.sensor_flows().items()
    taken = [flow for number, given in flows if number not in slack.slots for flow in given]
    stage = made.tables.problem.chip.input
    if taken:
        made.model.add(cp_model.LinearExpr.sum(taken) <= (stage.fan_out if stage else 0))


def _add_capacity(made: DividedModel, slack: Slack) -> None:
    users: dict[int, Terms] = {}
    for k, variable in made.users():
        users.setdefault(k, []).append(variable)
    for k, variables in users.items():
        if k not in slack.cores:
            room = len(made.tables.problem.classes[k].core_ids)
            made.model.add(cp_model.LinearExpr.sum(variables) <= room)


def _add_monitors(made: DividedModel, slack: Slack) -> None:
    """All pieces of the first copy are watched; the chip may bound how many cores are."""
    problem = made.tables.problem
    bound = problem.chip.monitor.cores_max
    if bound is None:
        return
    watched = {made.tables.layer_of[entry] for entry in problem.monitored} - slack.layers
    pieces = [v for (layer, copy, _), v in made.pieces.items() if layer in watched and copy == 0]
    made.model.add(cp_model.LinearExpr.sum(pieces) + len(problem.monitored_pooled) <= bound)
