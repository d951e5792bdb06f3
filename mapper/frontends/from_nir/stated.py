"""Shapes that nodes state, beside those that follow from the inputs: a file may not contradict itself."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import numpy as np

from mapper.errors import Finding
from mapper.frontends.from_nir.walk import Walk
from mapper.network import Layer, Network

__all__ = ["contradictions"]

_PER_NEURON = ("r", "v_threshold", "v_leak", "v_reset", "tau", "tau_mem", "tau_syn", "w_in")


def contradictions(walk: Walk, network: Network, single: Collection[str]) -> tuple[Finding, ...]:
    """Numbers of neurons, and maps that convolutions read, other than those of the network.

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
        if name in single and name in layers and stated not in ((), layers[name].input_shape[1:]):
            arrives = "x".join(map(str, layers[name].input_shape[1:]))
            problem = "states another map (input_shape) than the one that arrives"
            findings.append(Finding(f"node {name} (Conv2d)", problem, "x".join(map(str, stated)), arrives))
    return tuple(findings)


def _of_neurons(name: str, fields: Any, layer: Layer) -> Iterator[Finding]:
    shape = tuple(layer.output_shape)
    fits = {(), shape, shape[:1], (*shape[:1], 1, 1), (int(np.prod(shape)),)}
    for field in _PER_NEURON:
        value = np.asarray(fields.get(field, 0))
        sizes = value.shape
        while sizes and sizes[0] == 1:
            sizes = sizes[1:]
        if value.size > 1 and sizes not in fits:
            made = "x".join(map(str, shape))
            problem = f"{field} has another shape than what {layer.name} makes"
            yield Finding(f"node {name}", problem, "x".join(map(str, value.shape)), made)


def _sizes(value: Any) -> tuple[int, ...]:
    """(height, width) that a node states; empty where it states none."""
    known = [] if value is None else [n for n in np.atleast_1d(value).ravel().tolist() if n is not None]
    return tuple(map(int, known)) if len(known) == 2 and all(isinstance(n, int) for n in known) else ()
