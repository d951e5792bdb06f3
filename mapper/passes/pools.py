"""Consecutive pools into one, where that is exact."""

from __future__ import annotations

from mapper.network import Network, revised
from mapper.operations import PathOperation, Pool

__all__ = ["merge_pools"]


def merge_pools(network: Network) -> Network:
    """Two pools whose stride is their size are one: ``floor(floor(n / a) / b) = floor(n / (a * b))``."""
    return network.replacing(
        edges=tuple(revised(edge, path=_merged(edge.path)) for edge in network.edges),
        outputs=tuple(revised(output, path=_merged(output.path)) for output in network.outputs),
    )


def _merged(path: tuple[PathOperation, ...]) -> tuple[PathOperation, ...]:
    done: list[PathOperation] = []
    for step in path:
        last = done[-1] if done else None
        if isinstance(step, Pool) and isinstance(last, Pool):
            whole = step.size == step.stride and last.size == last.stride
            if whole:
                done[-1] = _product(last, step)
                continue
        done.append(step)
    return tuple(done)


def _product(first: Pool, second: Pool) -> Pool:
    size = (first.size[0] * second.size[0], first.size[1] * second.size[1])
    divisor = _divisor(first) * _divisor(second)
    if divisor == 1:
        return Pool("sum", size, size)
    return Pool("average", size, size, None if divisor == size[0] * size[1] else divisor)


def _divisor(pool: Pool) -> float:
    return 1 if pool.kind == "sum" else pool.divisor or pool.size[0] * pool.size[1]
