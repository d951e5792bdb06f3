"""The variables of the model of pieces, copies and relays, and what a probe may leave out of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from mapper.solver.cp_sat import Model
from mapper.solver.divided.need import UNBOUNDED, Need
from mapper.solver.divided.tables import PieceTable, Provider, Tables
from mapper.solver.or_tools import cp_model

__all__ = ["FURTHER", "NO_SLACK", "DividedModel", "Piece", "Slack", "Terms"]

Terms: TypeAlias = list[cp_model.IntVar]


# The copy that stands for all beyond the second, each of which is whole.
FURTHER = 2


class Piece(NamedTuple):
    """A layer's pieces in one form, of one copy, in one core class; of `FURTHER`, whole copies."""

    layer: int
    form: int
    copy: int
    core_class: int


@dataclass(frozen=True, slots=True)
class Slack:
    """What a model leaves out, so that requirements can be told apart.

    Attributes
    ----------
    slots
        Indexes of signals whose destinations do not count.
    cores
        Classes with any number of cores.
    layers
        Layers that need not be placed.
    """

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
        (layer, copy): whether the copy exists; copy 0 always does, without variable, but of a joint relay.
    relays
        (signal, provider, class): identity cores.
    sets
        (signal, provider): whether the set of partial relays exists.
    capped
        (signal, level, piece, cap): of the first copy's pieces, those that hold no more than `cap` features,
        so that relays which hold as many are aligned to them.
    """

    tables: Tables
    table: PieceTable
    need: Need
    model: cp_model.CpModel = field(default_factory=Model)
    pieces: dict[Piece, cp_model.IntVar] = field(default_factory=dict)
    forms: dict[tuple[int, int], cp_model.IntVar] = field(default_factory=dict)
    copies: dict[tuple[int, int], cp_model.IntVar] = field(default_factory=dict)
    relays: dict[tuple[int, Provider, int], cp_model.IntVar] = field(default_factory=dict)
    sets: dict[tuple[int, Provider], cp_model.IntVar] = field(default_factory=dict)
    capped: dict[tuple[int, int, Piece, int], cp_model.IntVar] = field(default_factory=dict)
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
        variable = self.pieces[piece] = self.variable(most)
        self._by_layer.setdefault(piece.layer, []).append(piece)
        return variable

    def relays_of(self, signal: int) -> dict[Provider, dict[int, cp_model.IntVar]]:
        """Relays of a signal by provider and class."""
        return self._by_signal.get(signal, {})

    def add_relay(self, signal: int, provider: Provider, k: int, most: int) -> cp_model.IntVar:
        """A variable for such relays, 0 .. most."""
        relay = self.relays[signal, provider, k] = self.variable(most)
        self._by_signal.setdefault(signal, {}).setdefault(provider, {})[k] = relay
        return relay

    def room(self, k: int, slack: Slack) -> int:
        """Cores of a class."""
        return UNBOUNDED if k in slack.cores else len(self.tables.problem.classes[k].core_ids)
