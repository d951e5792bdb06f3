"""What the solver decided, as plain numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ortools.sat.python import cp_model

from mapper.solver.divided.model import DividedModel

__all__ = ["Counts", "counts_of"]


@dataclass(frozen=True)
class Counts:
    """Values of a `DividedModel`'s variables, zeros left out.

    Attributes
    ----------
    fmax
        Per layer and class, the most features of a piece.
    aligned
        By layer, the signal, the level of its aligned relays, and (class, relay's class) of every piece.
    sensor
        By signal, destinations of the sensor stage, which networks share.
    """

    fmax: tuple[tuple[int, ...], ...]
    pieces: Mapping[tuple[int, int, int], int]
    relays: Mapping[tuple[int, int, int], int]
    aligned: Mapping[int, tuple[int, int, list[tuple[int, int]]]]
    sensor: Mapping[int, int]

    def copies_of(self, layer: int) -> list[int]:
        """Copies of a layer that exist."""
        return sorted({copy for owner, copy, _ in self.pieces if owner == layer})

    def classes_of(self, layer: int, copy: int) -> list[int]:
        """The class of every piece of a copy, ascending."""
        found = sorted(
            (k, n) for (owner, other, k), n in self.pieces.items() if (owner, other) == (layer, copy)
        )
        return [k for k, n in found for _ in range(n)]

    def relays_of(self, signal: int) -> Iterator[tuple[int, list[int]]]:
        """By level, the class of every relay of a signal."""
        for level in sorted({level for owner, level, _ in self.relays if owner == signal}):
            found = sorted(
                (k, n) for (o, other, k), n in self.relays.items() if (o, other) == (signal, level)
            )
            yield level, [k for k, n in found for _ in range(n)]

    def relay_of(self, signal: int) -> tuple[int, list[tuple[int, int]]] | None:
        """The level of a signal's aligned relays, and the classes of every piece and its relay."""
        for number, level, pairs in self.aligned.values():
            if number == signal:
                return level, pairs
        return None


def counts_of(made: DividedModel, solver: cp_model.CpSolver) -> Counts:
    """The values of a solved model."""
    value = solver.value
    return Counts(
        made.fmax,
        {key: n for key, variable in made.pieces.items() if (n := value(variable))},
        {key: n for key, variable in made.relays.items() if (n := value(variable))},
        _aligned(made, solver),
        {n: sum(value(variable) for variable in flows) for n, flows in made.sensor_flows().items()},
    )


def _aligned(
    made: DividedModel, solver: cp_model.CpSolver
) -> dict[int, tuple[int, int, list[tuple[int, int]]]]:
    found: dict[int, tuple[int, int, list[tuple[int, int]]]] = {}
    for (number, level), exists in made.aligned.items():
        layer = made.tables.signals[number].layer
        if layer is not None and solver.value(exists):
            pairs = sorted((key[2:], v) for key, v in made.pairs.items() if key[:2] == (number, level))
            found[layer] = number, level, [pair for pair, v in pairs for _ in range(solver.value(v))]
    return found
