"""Why not even pieces, copies and relays make a problem fit: requirements that exclude one another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from ortools.sat.python import cp_model

from mapper.problem import Problem
from mapper.result import DividedConflict, Requirement, Unmet, unmet
from mapper.rules import Rule
from mapper.solver.budget import Budget
from mapper.solver.conflict import reduced
from mapper.solver.divided.model import build_model
from mapper.solver.divided.slots import Taker, suiting
from mapper.solver.divided.tables import ORIGIN, Consumer, Provider, Signal, Tables
from mapper.solver.divided.variables import Slack
from mapper.wording import join_names, join_numbers
from mapper.work import HOLDING

__all__ = ["divided_conflict", "divided_unmet", "fits_without_destinations", "out_of_reach"]


@dataclass(frozen=True, slots=True, order=True)
class _Part:
    """One requirement: a limit of a layer, the destinations of a signal, the number of a class's cores."""

    kind: Literal["limit", "slots", "cores", "monitors"]
    index: int = -1
    rule: str = ""


def divided_unmet(problem: Problem) -> Iterator[Unmet]:
    """Layers that have to be cut further than they may be."""
    tables = Tables(problem)
    table = tables.piece_table()
    for layer in problem.by_name:
        most = max((most for row in table[layer] for most in row), default=0)
        demand, name = problem.demands[layer], problem.title(layer)
        features = demand.work.output_shape.features
        if most == 0 or most >= features:
            continue
        least, terms = -(-features // most), f"{features} features, at most {most} on a core"
        if layer in tables.whole:
            why = "is pinned" if layer in tables.pinned else "feeds the readout stage"
            sentence = f"{name} {why} and must stay whole, but needs at least {least} pieces ({terms})."
            yield unmet(Rule.WHOLE, (name,), (), least, 1, terms, sentence)
        elif problem.options.max_pieces is not None and least > problem.options.max_pieces:
            bound = problem.options.max_pieces
            sentence = f"{name} needs at least {least} pieces ({terms}), and {bound} are allowed."
            yield unmet(Rule.MOVES, (name,), (), least, bound, terms, sentence)


def divided_conflict(problem: Problem, budget: Budget) -> DividedConflict | None:
    """An irreducible conflict with all allowed moves; None where a limit came before the proof.

    First layers are left out, then single requirements of those that remain; whatever can go while the
    rest still excludes itself stays out.
    """
    probe = _Probe(problem, budget)
    everything = probe.parts(problem.by_name)
    layers, sure = reduced(list(problem.by_name)[::-1], lambda kept: probe.possible(kept, everything), budget)
    layers = sorted(layers, key=problem.by_name.index)
    parts, also_sure = reduced(probe.parts(layers), lambda kept: probe.possible(layers, kept), budget)
    if not budget.is_spent and probe.possible(layers, parts) is not False:
        return None
    return DividedConflict(
        sentence=_sentence(probe, layers, parts),
        moves=_moves(problem),
        requirements=(
            *(_layer_requirement(problem, layer) for layer in layers),
            *(_requirement(probe, part) for part in parts),
        ),
        irreducible=sure and also_sure,
    )


def out_of_reach(problem: Problem) -> bool:
    """Whether some layer reads, in all of its forms, what no chain of destinations pools or shifts so."""
    tables = Tables(problem)
    astray = {(c.layer, c.form) for signal in tables.signals for c in _astray(tables, signal)}
    works = problem.works
    return any(all((layer, form) in astray for form in range(len(works[layer]))) for layer, _ in astray)


def _astray(tables: Tables, signal: Signal) -> list[Consumer]:
    """Consumers that neither the signal's origin nor any relay can serve."""
    providers = [ORIGIN, *(Provider(level, "relay") for level in tables.levels(signal))]
    return [c for c in signal.consumers if not suiting(tables, signal, providers, Taker(c.pooling, c.direct))]


def fits_without_destinations(problem: Problem, budget: Budget) -> bool:
    """Whether all layers would find cores if destinations, pools and monitors had no limits."""
    probe = _Probe(problem, budget)
    kept = [part for part in probe.parts(problem.by_name) if part.kind not in ("slots", "monitors")]
    return not budget.is_spent and probe.possible(problem.by_name, kept) is True


class _Probe:
    """A problem some of whose requirements are left out."""

    def __init__(self, problem: Problem, budget: Budget) -> None:
        self.problem, self.tables, self.budget = problem, Tables(problem), budget
        # In the order of names: what is left out first decides which conflict is found.
        self.order = self.tables.by_name

    def parts(self, layers: Sequence[int]) -> list[_Part]:
        """Requirements that matter to some layers."""
        problem, kept = self.problem, set(layers)
        found = []
        for layer in sorted(layers, key=problem.by_name.index):
            features = problem.demands[layer].work.output_shape.features
            for rule in (*HOLDING, Rule.FEATURE_SHIFT):
                if any(bound < features for bound in self.tables.limits(layer, rule)):
                    found.append(_Part("limit", layer, rule.name))
        for number in self.order:
            signal = self.tables.signals[number]
            if any(consumer.layer in kept for consumer in signal.consumers) or (
                signal.shown and signal.layer in kept
            ):
                found.append(_Part("slots", number))
        found += [_Part("cores", k) for k in range(len(problem.classes))]
        if problem.chip.monitor.cores_max is not None:
            found.append(_Part("monitors"))
        return found

    def possible(self, layers: Sequence[int], parts: Sequence[_Part]) -> bool | None:
        """Whether these layers fit under these requirements; None if the work limit came first."""
        problem, kept = self.problem, set(parts)
        everything = self.parts(problem.by_name)
        dropped = [part for part in everything if part not in kept]
        limits = frozenset((Rule[p.rule], p.index) for p in dropped if p.kind == "limit")
        slack = Slack(
            limits=limits,
            slots=frozenset(part.index for part in dropped if part.kind == "slots"),
            cores=frozenset(part.index for part in dropped if part.kind == "cores"),
            layers=frozenset(range(len(problem.demands))) - set(layers),
            monitors=any(part.kind == "monitors" for part in dropped),
        )
        made = build_model(self.tables, self.tables.piece_table(limits), slack)
        if made is None:
            return False
        _, status = self.budget.aside().run(made.model)
        return None if status == cp_model.UNKNOWN else status in (cp_model.OPTIMAL, cp_model.FEASIBLE)


def _moves(problem: Problem) -> tuple[str, ...]:
    options = problem.options
    allowed = (
        ("pieces", options.max_pieces != 1),
        ("relays", options.relays),
        ("copies", options.max_copies > 1),
    )
    return tuple(name for name, is_allowed in allowed if is_allowed)


def _layer_requirement(problem: Problem, layer: int) -> Requirement:
    name = problem.title(layer)
    return Requirement(
        sentence=f"{name} is placed", kind="layer", code=Rule.PLACED.code, layers=(name,), cores=()
    )


def _requirement(probe: _Probe, part: _Part) -> Requirement:
    problem, told = probe.problem, _told(probe, part)
    if part.kind == "limit":
        names: tuple[str, ...] = (problem.title(part.index),)
        return Requirement(sentence=told, kind="rule", code=Rule[part.rule].code, layers=names, cores=())
    if part.kind == "slots":
        signal = probe.tables.signals[part.index]
        code = _slots_told(probe, signal)[0].code
        layers = (signal_title(problem, signal),)
        return Requirement(sentence=told, kind="rule", code=code, layers=layers, cores=())
    if part.kind == "cores":
        cores = problem.classes[part.index].core_ids
        code = Rule.ONE_LAYER_PER_CORE.code
        return Requirement(sentence=told, kind="cores", code=code, layers=(), cores=cores)
    return Requirement(sentence=told, kind="chip", code=Rule.MONITOR.code, layers=(), cores=())


def _told(probe: _Probe, part: _Part) -> str:
    problem = probe.problem
    if part.kind == "limit":
        name, rule = problem.title(part.index), Rule[part.rule]
        features = problem.demands[part.index].work.output_shape.features
        bounds = probe.tables.limits(part.index, rule)
        most, why = max(bounds), f"({rule.value.title}, {rule.code})"
        if most >= features:
            short = [k for k, bound in enumerate(bounds) if bound < features]
            where = sorted(core for k in short for core in problem.classes[k].core_ids)
            return f"{name} not whole on core{'s' * (len(where) > 1)} {join_numbers(where)} {why}"
        share = f"at most {most} of {features} features on a core" if most else "on no core"
        return f"{name} {share} {why}"
    if part.kind == "slots":
        rule, sentence = _slots_told(probe, probe.tables.signals[part.index])
        return f"{sentence} ({rule.code})"
    if part.kind == "cores":
        cores = problem.classes[part.index].core_ids
        many = "cores" if len(cores) > 1 else "core"
        verb = "hold one layer, piece or relay each" if len(cores) > 1 else "holds one layer, piece or relay"
        return f"{many} {join_numbers(cores)} {verb}"
    return f"{problem.chip.monitor.cores_max} cores are watched at most ({Rule.MONITOR.code})"


def signal_title(problem: Problem, signal: Signal) -> str:
    """What a signal is called in messages."""
    return "the sensor" if signal.network is None else problem.key(signal.network, signal.name)


def _slots_told(probe: _Probe, signal: Signal) -> tuple[Rule, str]:
    """The rule that binds the destinations of a signal, and what it says."""
    problem, tables, name = probe.problem, probe.tables, signal_title(probe.problem, signal)
    levels = tables.levels(signal)
    astray = dict.fromkeys(consumer.layer for consumer in _astray(tables, signal))
    if astray and signal.kind != "host":
        targets = join_names([problem.title(layer) for layer in astray])
        return Rule.POOLING, f"no destination of {name} pools or shifts as {targets} reads it"
    if signal.kind == "host":
        return Rule.INPUT_POOLING, f"events of {name} reach a core unpooled"
    missing = [p for p in signal.shown if p not in levels or not tables.relay_limits(signal, p)]
    if missing:
        return Rule.MONITOR, f"no core shows {name} pooled by {missing[0]}"
    if signal.kind == "sensor":
        stage = problem.chip.input
        return Rule.DVS_FAN_OUT, f"{name} has {stage.fan_out if stage else 0} destinations"
    return Rule.FAN_OUT, f"{name} has {max(core.fan_out for core in problem.chip.cores)} destinations a core"


def _sentence(probe: _Probe, layers: Sequence[int], parts: Sequence[_Part]) -> str:
    problem = probe.problem
    names = join_names([problem.title(layer) for layer in layers])
    told = [_told(probe, part) for part in parts if part.kind != "cores"]
    cores = sorted(c for part in parts if part.kind == "cores" for c in problem.classes[part.index].core_ids)
    if cores:
        many = "hold one layer, piece or relay each" if len(cores) > 1 else "holds one layer, piece or relay"
        told.append(f"core{'s' * (len(cores) > 1)} {join_numbers(cores)} {many}")
    verb = "cannot all be placed" if len(layers) > 1 else "cannot be placed"
    return f"With {join_names(_moves(problem))}, {names} {verb} either: {'; '.join(told)}."
