"""Average pools into sum pools, the factor into the weights behind them."""

from __future__ import annotations

from mapper.network import Network, revised
from mapper.operations import PathOperation, Pool, Scale

__all__ = ["average_to_sum"]


def average_to_sum(network: Network) -> Network:
    """Sum pools everywhere on edges; what the averages divided by becomes a `Scale` of the path.

    `mapper.passes.scale` then takes the scales into the target's weights. Averages on outputs stay: they
    belong to the host.
    """
    return network.replacing(edges=tuple(revised(e, path=_summed(e.path)) for e in network.edges))


def _summed(path: tuple[PathOperation, ...]) -> tuple[PathOperation, ...]:
    steps: list[PathOperation] = []
    factor = 1.0
    for step in path:
        if isinstance(step, Pool) and step.kind == "average":
            # The product of the reciprocals is formed in double precision and rounded once.
            factor *= 1.0 / (step.divisor or step.size[0] * step.size[1])
            steps.append(Pool("sum", step.size, step.stride))
        elif isinstance(step, Scale):
            factor *= step.factor
        else:
            steps.append(step)
    return (*steps, Scale(factor)) if factor != 1.0 else tuple(steps)
