"""Shapes that nodes state, beside those that follow from the inputs: a file may not contradict itself."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import numpy as np

from mapper.errors import Finding
from mapper.frontends.from_nir.walk import Walk
from mapper.network import Layer, Network
from mapper.operations import Shape, shape_after

__all__ = ["contradictions"]

_PER_NEURON = ("r", "v_threshold", "v_leak", "v_reset", "tau", "tau_mem", "tau_syn", "w_in")


def contradictions(walk: Walk, network: Network, single: Collection[str]) -> tuple[Finding, ...]:
    """Shapes that nodes state of their neurons, inputs and outputs, other than those of the network.

    Parameters
    ----------
    single
        Layers of one weight node, which is called as the layer is.
    """
    layers = {layer.name: layer for layer in network.layers}
    findings: list[Finding] = []
    for name, made in walk.layer_of.items():
        if made in layers:
            findings += _of_neurons(name, walk.graph.nodes[name].fields, layers[made])
    for name in walk.named("Conv2d"):
        stated = _sizes(walk.graph.nodes[name].fields.get("input_shape"))
        if name in single and name in layers and len(stated) in (2, 3):
            arrives = tuple(layers[name].input_shape)[-len(stated) :]
            if stated != arrives:
                problem = "states another map (input_shape) than the one that arrives"
                findings.append(Finding(f"node {name} (Conv2d)", problem, _x(stated), _x(arrives)))
    for kind, field in (("Flatten", "input_type"), ("Output", "shape")):
        for name in walk.named(kind):
            stated = _sizes(walk.graph.nodes[name].fields.get(field))
            for arriving in _arriving(walk, network, name):
                # One size more in front is a batch, with which somebody traced the network.
                if stated and _bare(tuple(arriving)) not in (_bare(stated), _bare(stated[1:])):
                    problem = f"states another shape ({field}) than the one that arrives"
                    findings.append(Finding(f"node {name} ({kind})", problem, _x(stated), str(arriving)))
    return tuple(findings)


def _arriving(walk: Walk, network: Network, node: str) -> Iterator[Shape]:
    """Shapes of the signals that reach a node, as far as they are layers or inputs of the network."""
    made = {layer.name: layer.output_shape for layer in network.layers}
    made |= {entry.name: entry.shape for entry in network.inputs}
    for source, path in walk.signals(node):
        if source in made:
            yield shape_after(made[source], path)


def _bare(sizes: tuple[int, ...]) -> tuple[int, ...]:
    """Without ones in front, and without the map of a list of values, which is 1x1."""
    sizes = _without_ones(sizes)
    return sizes[:1] if sizes[1:] == (1, 1) else sizes


def _without_ones(sizes: tuple[int, ...]) -> tuple[int, ...]:
    """Sizes without ones in front."""
    while sizes[:1] == (1,):
        sizes = sizes[1:]
    return sizes


def _x(sizes: tuple[int, ...]) -> str:
    return "x".join(map(str, sizes))


def _of_neurons(name: str, fields: Any, layer: Layer) -> Iterator[Finding]:
    shape = tuple(layer.output_shape)
    features = shape[:1]
    allowed = ((), shape, features, (*features, 1, 1), (int(np.prod(shape)),))
    fits = set(map(_without_ones, allowed))
    for field in _PER_NEURON:
        value = np.asarray(fields.get(field, 0))
        sizes = _without_ones(value.shape)
        if value.size > 1 and sizes not in fits:
            made = "x".join(map(str, shape))
            problem = f"{field} has another shape than what {layer.name} makes"
            yield Finding(f"node {name}", problem, "x".join(map(str, value.shape)), made)


def _sizes(value: Any) -> tuple[int, ...]:
    """Sizes that a node states; empty where it states none, or no whole numbers."""
    known = [] if value is None else [n for n in np.atleast_1d(value).ravel().tolist() if n is not None]
    if not all(isinstance(n, int | float) and n > 0 and float(n).is_integer() for n in known):
        return ()
    return tuple(map(int, known))
