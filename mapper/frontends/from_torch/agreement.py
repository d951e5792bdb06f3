"""Whether two runs of a layer agree as far as rounding allows, and the first place where they do not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from mapper.network import Layer
from mapper.operations import BatchNorm, Linear, Scale, Shape

__all__ = ["DifferenceError", "adopted", "agree", "differ_at", "most_of"]


class DifferenceError(Exception):
    """The module and the network as read do not compute the same.

    Attributes
    ----------
    excess
        How many times the limit the largest difference is; infinite where that cannot be told.
    """

    def __init__(self, where: str, layer: str, problem: str, excess: float = np.inf) -> None:
        self.where, self.layer, self.problem, self.excess = where, layer, problem, excess
        super().__init__(problem)


def adopted(layer: Layer, potentials: tuple[Any, Any], spikes: Any, made: Any) -> Any:
    """Potentials after a step in which the neurons spiked `made` times, as rounding allows."""
    neuron: Any = layer.neuron
    before, after = potentials
    threshold = np.asarray(neuron.threshold).reshape(-1, 1, 1)
    other = before - made * threshold if neuron.reset == "subtract" else np.where(made > 0, 0.0, before)
    if neuron.minimum is not None:
        other = np.maximum(other, neuron.minimum)
    return np.where(made == spikes, after, other)


def agree(layer: str, what: str, step: int, made: Any, read: Any, limit: Any) -> None:
    """Raise for the place where two arrays differ most, if they differ by more than the limit."""
    differ_at(~(np.abs(made - read) <= limit), layer, what, step, made, read, limit)


def differ_at(off: Any, where: str, what: str, step: int, made: Any, read: Any, limit: Any = None) -> None:
    """Raise for the place where two arrays differ most, of those places that are off.

    Parameters
    ----------
    limit
        What rounding may do; None of counts, of which rounding moves one.
    """
    if not off.any():
        return
    place = np.unravel_index(
        np.argmax(np.where(off, np.nan_to_num(np.abs(made - read), nan=np.inf), -1)), off.shape
    )
    axes = "feature {}, row {}, column {}".format(*place)
    values = f"{float(made[place]):.7g} in the module, {float(read[place]):.7g} as read"
    name = where if where.startswith("output") else f"layer {where}"
    layer = "" if name is where else where
    problem = f"computes something else than was read: its {what} in step {step} ({axes}) is {values}"
    most = np.nan_to_num(np.abs(made - read), nan=np.inf)
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = (
            np.where(most > 1, np.inf, 1.0) if limit is None else most / np.broadcast_to(limit, most.shape)
        )
    raise DifferenceError(name, layer, problem, float(np.nanmax(np.where(off, shares, 0.0))))


def most_of(layer: Layer) -> Layer:
    """A layer of one input and one neuron a feature: the most that a current's terms add up to in size.

    Its input is the largest value that arrives at the layer.
    """
    operation: Any = layer.operation
    weight = np.abs(operation.weight).astype(np.float64).reshape(operation.out_features, -1).sum(1)
    bias = None if operation.bias is None else np.abs(operation.bias).astype(np.float64)
    between: list[Any] = []
    for step in layer.between:
        if isinstance(step, Scale):
            between.append(Scale(abs(step.factor)))
        elif isinstance(step, BatchNorm):
            mean, scale, shift = (np.abs(np.asarray(a, float)) for a in (step.mean, step.scale, step.shift))
            between.append(replace(step, mean=-mean, scale=scale, shift=shift))
    single = Linear(operation.out_features, bias is not None, weight[:, None], bias)
    return Layer(layer.name, Shape(1, 1, 1), single, tuple(between), layer.neuron)
