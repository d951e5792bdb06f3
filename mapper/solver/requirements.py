"""The requirements of a placement one by one, and whether some of them can hold together.

What moves a placement may make is part of the problem: whole layers are the covering model
(`mapper.solver.divided.model`) without any, in which a layer stands on a core or does not, and what its
destinations must express is a limit of its own like what the core must hold.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, Protocol

from mapper.core_classes import CoreClass
from mapper.errors import TimeLimitError
from mapper.problem import Problem
from mapper.rules import Rule
from mapper.solver.assignment import assignment
from mapper.solver.budget import Budget
from mapper.solver.divided.model import build_model
from mapper.solver.divided.need import least_pieces
from mapper.solver.divided.prices import Prices, load_of
from mapper.solver.divided.tables import PieceTable, Tables
from mapper.solver.divided.variables import DividedModel, Slack
from mapper.solver.or_tools import cp_model

__all__ = ["Known", "Part", "Requirements"]


@dataclass(frozen=True, slots=True)
class Part:
    """One requirement.

    Attributes
    ----------
    kind
        "layer": it is placed. "limit": a rule bounds the features of its pieces. "pin": it is on the core it
        is pinned to. "slots": a signal has so many destinations. "forbidden": a core stays empty. "cores":
        the cores of a class hold one occupant each. "monitors": so many cores are watched at most.
    index
        Of the problem's demands ("layer", "limit", "pin") or of the tables' signals ("slots"), or a core id,
        of a class its smallest ("forbidden", "cores").
    rule
        Of a limit.
    """

    kind: Literal["layer", "limit", "pin", "slots", "forbidden", "cores", "monitors"]
    index: int = -1
    rule: Rule = Rule.PLACED


class Known(Protocol):
    """What else is known of placements within some requirements."""

    def is_possible(self) -> bool:
        """Whether there is one, for certain."""

    def learn(self, held: Mapping[int, tuple[int, ...]]) -> None:
        """Take one that was found: by layer, the cores in each class."""


class Requirements:
    """A problem whose requirements can be given up one by one.

    Attributes
    ----------
    faults
        What nothing relaxes: rules that the chip as a whole breaks, whole layers or not.
    tables
        Without any pin or forbidden core: its classes are all cores of the chip, and those under a request
        are classes of their own.
    """

    def __init__(self, problem: Problem, budget: Budget, *, with_moves: bool) -> None:
        self.faults = () if with_moves else problem.faults
        if not with_moves and (problem.options.divides or problem.forms):
            options = replace(problem.options, max_pieces=1, relays=False, max_copies=1)
            problem = replace(problem, options=options, forms=())
        self.problem, self.budget, self.with_moves = problem, budget, with_moves
        self.prices = Prices()
        self._by_requests: dict[tuple[frozenset[int], frozenset[int]], Tables] = {}
        self.tables = self._tables(frozenset(), frozenset())

    @property
    def classes(self) -> tuple[CoreClass, ...]:
        """All cores of the chip."""
        return self.tables.problem.classes

    @cached_property
    def pins(self) -> dict[int, int]:
        """Cores of pinned layers."""
        layer_of, identity = self.problem.layer_of, self.problem.identity
        return {layer_of[identity[str(name)]]: core for name, core in self.problem.options.pins}

    def features(self, layer: int) -> int:
        """Output features of a layer."""
        return self.problem.demands[layer].work.output_shape.features

    def cores_of(self, part: Part) -> tuple[int, ...]:
        """Cores that a part of kind "pin", "forbidden" or "cores" speaks of."""
        if part.kind != "cores":
            return (self.pins[part.index] if part.kind == "pin" else part.index,)
        return next(entry.core_ids for entry in self.classes if entry.core_ids[0] == part.index)

    def against(self, layer: int, k: int) -> Iterator[Part]:
        """Requirements that keep a whole layer off a class."""
        yield from (Part("limit", layer, lack.rule) for lack in self.tables.problem.shortfalls(layer)[k])
        first = self.classes[k].core_ids[0]
        if first in self.problem.options.forbidden_cores:
            yield Part("forbidden", first)
        if self.pins.get(layer, first) != first:
            yield Part("pin", layer)

    def _tables(self, pinned: frozenset[int], forbidden: frozenset[int]) -> Tables:
        """What a placement counts with that keeps these pins and leaves these cores empty."""
        if (pinned, forbidden) not in self._by_requests:
            problem, options = self.problem, self.problem.options
            if options.pins or options.forbidden_cores:
                pins = tuple((name, core) for name, core in options.pins if core in pinned)
                # A core that an earlier placement used is a class of its own, and so stays one that was
                # under a request.
                name = str(next(iter(problem.identity)))
                own = {*options.forbidden_cores, *(core for _, core in options.pins)}
                keep = (*options.keep, *((name, core) for core in sorted(own)))
                asked = replace(options, pins=pins, forbidden_cores=tuple(sorted(forbidden)), keep=keep)
                problem = replace(problem, options=asked)
            self._by_requests[pinned, forbidden] = Tables(problem, reserves_pinned=False, budget=self.budget)
        return self._by_requests[pinned, forbidden]

    def tables_under(self, parts: Iterable[Part]) -> Tables:
        """What a placement counts with that keeps the requests among some requirements."""
        kept = [(part.kind, part.index) for part in parts]
        layers = {index for kind, index in kept if kind == "layer"}
        pinned = frozenset(self.pins[n] for kind, n in kept if kind == "pin" and n in layers)
        return self._tables(pinned, frozenset(core for kind, core in kept if kind == "forbidden"))

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """Every requirement, in canonical order."""
        problem, tables = self.problem, self.tables
        parts = []
        for layer in problem.by_name:
            parts.append(Part("layer", layer))
            parts += [Part("limit", layer, rule) for rule in tables.limiting(layer)]
            if layer in self.pins:
                parts.append(Part("pin", layer))
        if self.with_moves:
            parts += [Part("slots", number) for number in tables.by_name]
            if problem.chip.monitor.cores_max is not None:
                parts.append(Part("monitors"))
        parts += [Part("forbidden", core) for core in sorted(problem.options.forbidden_cores)]
        return (*parts, *(Part("cores", entry.core_ids[0]) for entry in self.classes))

    def matters(self, part: Part, layers: Collection[int]) -> bool:
        """Whether a requirement asks anything of a placement of these layers."""
        if part.kind in ("limit", "pin"):
            return part.index in layers
        if part.kind != "slots":
            return True
        signal = self.tables.signals[part.index]
        return any(consumer.layer in layers for consumer in signal.consumers) or (
            bool(signal.shown) and signal.layer in layers
        )

    def possible(self, parts: Collection[Part], known: Known | None = None) -> bool | None:
        """Whether these requirements, alone, can hold together; None if a limit came first."""
        kept, tables = frozenset(parts), self.tables_under(parts)
        layers = {part.index for part in kept if part.kind == "layer"}
        dropped = [part for part in self.parts if part not in kept]
        limits = frozenset((p.rule, p.index) for p in dropped if p.kind == "limit" and p.index in layers)
        table = tables.piece_table(limits)
        if not all(least_pieces(tables, table, layer) for layer in layers):
            return False
        shared = {part.index for part in dropped if part.kind == "cores"}
        if not self.with_moves:
            return _each_has_a_core(tables, table, layers, shared)
        slack = Slack(
            slots=frozenset(n for n in range(len(tables.signals)) if Part("slots", n) not in kept),
            cores=frozenset(
                k for k, entry in enumerate(tables.problem.classes) if entry.core_ids[0] in shared
            ),
            layers=frozenset(range(len(self.problem.demands))) - layers,
            monitors=Part("monitors") not in kept,
        )
        # Mostly cores are too few, whatever destinations there are.
        if self.prices.exclude(load_of(tables, table, slack, of_cores=True)):
            return False
        load = load_of(tables, table, slack)
        if self.prices.exclude(load):
            return False
        if known is not None and known.is_possible():
            return True
        try:
            built = build_model(tables, table, slack)
        except TimeLimitError:
            return None
        if built is None:
            return False
        solver, status = self.budget.aside().run(built.model)
        if status == cp_model.INFEASIBLE:
            self.prices.learn(load)
        if known is not None and status in (cp_model.OPTIMAL, cp_model.FEASIBLE):
            known.learn({layer: _cores(built, solver, layer) for layer in layers})
        return None if status == cp_model.UNKNOWN else status in (cp_model.OPTIMAL, cp_model.FEASIBLE)


def _cores(divided: DividedModel, solver: cp_model.CpSolver, layer: int) -> tuple[int, ...]:
    """Per class, the cores that the first copy of a layer takes."""
    cores = [0] * len(divided.tables.problem.classes)
    for piece in divided.pieces_of(layer, copy=0):
        cores[piece.core_class] += solver.value(divided.pieces[piece])
    return tuple(cores)


def _each_has_a_core(
    tables: Tables, table: PieceTable, layers: Collection[int], shared: Collection[int]
) -> bool:
    """Whether whole layers can share out the cores, of which shared classes hold any number."""
    usable = Counter(tuple(k for k, most in enumerate(table[layer][0]) if most) for layer in layers)
    rooms = [
        len(layers) if entry.core_ids[0] in shared else len(entry.core_ids)
        for entry in tables.problem.classes
    ]
    return assignment([(count, classes) for classes, count in usable.items()], rooms) is not None
