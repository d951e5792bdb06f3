"""What the solver decided, as plain numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ortools.sat.python import cp_model

from mapper.solver.divided.tables import PieceTable, Provider, Tables
from mapper.solver.divided.variables import DividedModel, Piece

__all__ = ["Counts", "counts_of"]


@dataclass(frozen=True)
class Counts:
    """Values of a `DividedModel`'s variables, zeros left out; keys as there.

    Attributes
    ----------
    tables
        What the model counted with.
    """

    tables: Tables
    table: PieceTable
    pieces: Mapping[Piece, int]
    relays: Mapping[tuple[int, Provider, int], int]
    capped: Mapping[tuple[int, int, int, int], int]

    @property
    def forms(self) -> dict[int, int]:
        """By layer, the index of its form where it is not the first."""
        return {piece.layer: piece.form for piece in self.pieces if piece.form}

    def limits(self, layer: int) -> tuple[int, ...]:
        """Per class, the most features of a piece in the layer's form."""
        return self.table[layer][self.forms.get(layer, 0)]

    def copies_of(self, layer: int) -> list[int]:
        """Copies of a layer that exist."""
        return sorted({piece.copy for piece in self.pieces if piece.layer == layer})

    def classes_of(self, layer: int, copy: int) -> list[int]:
        """The class of every piece of a copy, ascending."""
        here = ((p.core_class, n) for p, n in self.pieces.items() if (p.layer, p.copy) == (layer, copy))
        return [k for k, n in sorted(here) for _ in range(n)]

    def relays_of(self, signal: int) -> dict[Provider, list[int]]:
        """By provider, the class of every relay of a signal, ascending."""
        providers: dict[Provider, list[int]] = {}
        for (owner, provider, k), n in sorted(self.relays.items()):
            if owner == signal:
                providers.setdefault(provider, []).extend([k] * n)
        return providers

    def caps_of(self, signal: int) -> list[tuple[int, int]]:
        """(class, cap) of every piece of a signal's first copy that a relay is aligned to, ascending."""
        here = sorted((k, cap, n) for (owner, _, k, cap), n in self.capped.items() if owner == signal)
        return [(k, cap) for k, cap, n in here for _ in range(n)]


def counts_of(divided: DividedModel, solver: cp_model.CpSolver) -> Counts:
    """The values of a solved model."""
    value = solver.value
    return Counts(
        divided.tables,
        divided.table,
        {key: n for key, variable in divided.pieces.items() if (n := value(variable))},
        {key: n for key, variable in divided.relays.items() if (n := value(variable))},
        {key: n for key, variable in divided.capped.items() if (n := value(variable))},
    )
