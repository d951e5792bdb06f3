"""Drop what has no effect when a network runs."""

from __future__ import annotations

from typing import Any

from mapper.network import Network, revised
from mapper.operations import Dropout, Pool, Scale

__all__ = ["drop_dropout"]


def _matters(step: object) -> bool:
    if isinstance(step, Pool):
        return (step.size, step.stride) != ((1, 1), (1, 1)) or step.divisor not in (None, 1.0)
    return not isinstance(step, Dropout) and step != Scale(1.0)


def drop_dropout(network: Network) -> Network:
    """Without dropout, scaling by one and pools of one value."""

    def kept(steps: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(step for step in steps if _matters(step))

    return network.replacing(
        layers=tuple(revised(layer, between=kept(layer.between)) for layer in network.layers),
        edges=tuple(revised(edge, path=kept(edge.path)) for edge in network.edges),
        outputs=tuple(revised(output, path=kept(output.path)) for output in network.outputs),
    )
