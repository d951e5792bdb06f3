"""Whether two runs of a layer agree as far as rounding allows, and the first place where they do not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from mapper.network import Layer, Network
from mapper.operations import BatchNorm, Linear, Pool, Scale, Shape
from mapper.wording import untitled

__all__ = ["DifferenceError", "adopted", "agree", "differ_at", "most_of", "rounding_of"]

# Distance of 1 to the next float32.
_SINGLE = 2.0**-23
# Roundings of a layer beside those of its sum, at most: bias, norm, scale, and what is stored of them.
_BESIDE = 8


class DifferenceError(Exception):
    """The module and the network as read do not compute the same.

    Attributes
    ----------
    is_rounding
        Whether rounding in the module's precision can be all of it, wherever they differ.
    reasons
        What about the run may explain it, as clauses.
    """

    def __init__(self, where: str, layer: str, problem: str, *, is_rounding: bool = False) -> None:
        self.where, self.layer, self.problem, self.is_rounding = where, layer, problem, is_rounding
        self.reasons: tuple[str, ...] = ()
        super().__init__(problem)


def rounding_of(network: Network, watched: frozenset[str]) -> dict[str, float]:
    """By layer, what float32 may be off by, as a share of the most that the layer's terms add up to.

    A sum of n terms in float32, in whatever order, is off by less than (n - 1) 2^-24 / (1 - (n - 1) 2^-24) of
    the sum of their sizes (N. Higham, Accuracy and Stability of Numerical Algorithms, 2002, section 4.2).
    Taken is twice that, over the terms of pools and weights; what reaches a layer from one that nobody
    watched brings its own along.
    """
    shares: dict[str, float] = {}
    for layer in network.layers:
        operation: Any = layer.operation
        edges = network.incoming[layer.name]
        pooled = (step.size for edge in edges for step in edge.path if isinstance(step, Pool))
        terms = operation.weight[0].size + sum(height * width for height, width in pooled) + len(edges)
        before = [shares.get(edge.source, 0.0) for edge in edges if edge.source not in watched]
        shares[layer.name] = (terms + _BESIDE) * _SINGLE + max(before, default=0.0)
    return shares


def adopted(layer: Layer, potentials: tuple[Any, Any], spikes: Any, made: Any) -> Any:
    """Potentials after a step in which the neurons spiked `made` times, as rounding allows."""
    neuron: Any = layer.neuron
    before, after = potentials
    threshold = np.asarray(neuron.threshold).reshape(-1, 1, 1)
    other = before - made * threshold if neuron.reset == "subtract" else np.where(made > 0, 0.0, before)
    if neuron.minimum is not None:
        other = np.maximum(other, neuron.minimum)
    return np.where(made == spikes, after, other)


def agree(where: str, what: str, step: int, made: Any, read: Any, limits: tuple[Any, Any]) -> None:
    """Raise for the place where two arrays differ most, if they differ by more than the first of the limits.

    Parameters
    ----------
    where
        A layer's title, or an output.
    limits
        What is no difference, and what rounding in the module's precision can do.
    """
    off, far = (~(np.abs(made - read) <= limit) for limit in limits)
    differ_at((off, far), where, what, step, made, read)


def differ_at(places: tuple[Any, Any], where: str, what: str, step: int, made: Any, read: Any) -> None:
    """Raise for the place where two arrays differ most, of those places that are off.

    Parameters
    ----------
    places
        Where they are off, and where rounding in the module's precision cannot be why.
    """
    off, far = places
    if not off.any():
        return
    place = np.unravel_index(
        np.argmax(np.where(off, np.nan_to_num(np.abs(made - read), nan=np.inf), -1)), off.shape
    )
    axes = "feature {}, row {}, column {}".format(*place)
    values = f"{float(made[place]):.7g} in the module, {float(read[place]):.7g} as read"
    name = where if where.startswith("output") else f"layer {where}"
    layer = "" if name is where else untitled(where)
    problem = f"computes something else than was read: its {what} in step {step} ({axes}) is {values}"
    raise DifferenceError(name, layer, problem, is_rounding=not far.any())


def most_of(layer: Layer) -> Layer:
    """A layer of one input and one neuron a feature: the most that a current's terms add up to in size.

    Its input is the largest value that arrives at the layer.
    """
    operation: Any = layer.operation
    weight = np.abs(np.asarray(operation.weight, np.float64)).reshape(operation.out_features, -1).sum(1)
    bias = None if operation.bias is None else np.abs(np.asarray(operation.bias, np.float64))
    between: list[Any] = []
    for step in layer.between:
        if isinstance(step, Scale):
            between.append(Scale(abs(step.factor)))
        elif isinstance(step, BatchNorm):
            mean, scale, shift = (np.abs(np.asarray(a, float)) for a in (step.mean, step.scale, step.shift))
            between.append(replace(step, mean=-mean, scale=scale, shift=shift))
    single = Linear(operation.out_features, bias is not None, weight[:, None], bias)
    return Layer(layer.name, Shape(1, 1, 1), single, tuple(between), layer.neuron)
