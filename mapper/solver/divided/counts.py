"""What the solver decided, as plain numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from mapper.solver.divided.tables import PieceTable, Provider, Tables
from mapper.solver.divided.variables import FURTHER, DividedModel, Piece
from mapper.solver.or_tools import cp_model

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
    capped: Mapping[tuple[int, int, Piece, int], int]

    @cached_property
    def forms(self) -> dict[int, int]:
        """By layer, the index of its form where it is not the first."""
        return {piece.layer: piece.form for piece in self.pieces if piece.form}

    def limits(self, layer: int) -> tuple[int, ...]:
        """Per class, the most features of a piece in the layer's form."""
        return self.table[layer][self.forms.get(layer, 0)]

    def copies_of(self, layer: int) -> list[list[int]]:
        """By copy of a layer, the class of every piece, ascending."""
        by_copy: dict[int, list[int]] = {}
        for piece, n in self._by_layer.get(layer, ()):
            by_copy.setdefault(piece.copy, []).extend([piece.core_class] * n)
        further = sorted(by_copy.pop(FURTHER, []))
        return [*(sorted(by_copy[copy]) for copy in sorted(by_copy)), *([k] for k in further)]

    def relays_of(self, signal: int) -> dict[Provider, list[int]]:
        """By provider, the class of every relay of a signal, ascending."""
        providers: dict[Provider, list[int]] = {}
        for provider, k, n in self._by_signal.get(signal, ()):
            providers.setdefault(provider, []).extend([k] * n)
        return providers

    @cached_property
    def _by_layer(self) -> Mapping[int, list[tuple[Piece, int]]]:
        pieces: dict[int, list[tuple[Piece, int]]] = {}
        for piece, n in self.pieces.items():
            pieces.setdefault(piece.layer, []).append((piece, n))
        return pieces

    @cached_property
    def _by_signal(self) -> Mapping[int, list[tuple[Provider, int, int]]]:
        relays: dict[int, list[tuple[Provider, int, int]]] = {}
        for (owner, provider, k), n in sorted(self.relays.items()):
            relays.setdefault(owner, []).append((provider, k, n))
        return relays

    def caps_of(self, signal: int) -> list[tuple[int, int]]:
        """(class, cap) of every piece of a signal's first copy that a relay is aligned to, ascending."""
        here = sorted(
            (piece.core_class, cap, n) for (owner, _, piece, cap), n in self.capped.items() if owner == signal
        )
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
