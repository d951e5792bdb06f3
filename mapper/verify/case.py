"""The question the checker answers, with the look-ups every check needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hwspec.schema import ChipSpec, CoreSpec
from mapper.network import Edge, Layer, Network
from mapper.operations import Convolution
from mapper.options import SolveOptions
from mapper.rules import Rule
from mapper.solution import LayerPart, Placement, Route, Solution

__all__ = ["Case", "Violation", "convolution", "map_size", "tiles"]


@dataclass(frozen=True, slots=True)
class Violation:
    """One rule a solution breaks, and where.

    Attributes
    ----------
    where
        Core, layer or edge.
    problem
        What is wrong there.
    """

    rule: Rule
    where: str
    problem: str

    def __str__(self) -> str:
        return f"{self.rule.code} {self.where}: {self.problem}"


@dataclass(frozen=True)
class Case:
    """The question, with the look-ups that every check needs."""

    networks: tuple[Network, ...]
    chip: ChipSpec
    options: SolveOptions
    solution: Solution
    parts: Sequence[tuple[Placement, Layer, CoreSpec]]
    routes_of: Mapping[int | str, Sequence[Route]]

    def edges_out(self, placement: Placement) -> tuple[Edge, ...]:
        """Edges that leave the layer of a placement."""
        body = placement.body
        if not isinstance(body, LayerPart):
            return ()
        return self.networks[body.network].outgoing[body.layer]


def convolution(layer: Layer) -> Convolution:
    """The convolution of a layer in normal form."""
    if not isinstance(layer.operation, Convolution):
        raise TypeError(f"layer {layer.name} is not in normal form")
    return layer.operation


def map_size(layer: Layer) -> tuple[int, int]:
    """Rows and columns of the neuron map: ``floor((size + 2 * padding - kernel) / stride) + 1``."""
    conv, sizes = convolution(layer), []
    for axis in (0, 1):
        free = layer.input_shape[1 + axis] + 2 * conv.padding[axis] - conv.kernel[axis]
        sizes.append(free // conv.stride[axis] + 1)
    return sizes[0], sizes[1]


def tiles(spans: Sequence[tuple[int, int]], start: int, stop: int) -> bool:
    """Whether the half-open spans cover start..stop without gap, overlap or empty span."""
    for low, high in sorted(spans):
        if low != start or high <= low:
            return False
        start = high
    return start == stop
