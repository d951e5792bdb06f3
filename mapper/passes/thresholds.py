"""Thresholds per feature into one threshold per layer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from mapper.errors import Finding, UnsupportedLayerError
from mapper.integers import widened
from mapper.network import Layer, Network

__all__ = ["fold_thresholds"]


def fold_thresholds(network: Network) -> Network:
    """Divide each feature's weights, bias and initial potentials by its threshold, which becomes 1.

    Equal thresholds become one number and nothing else changes.

    Raises
    ------
    UnsupportedLayerError
        A lower bound together with different thresholds: the bound would differ by feature.
    """
    findings: list[Finding] = []
    layers = tuple(_folded(layer, findings) for layer in network.layers)
    if findings:
        raise UnsupportedLayerError(*findings)
    return network.replacing(layers=layers)


def _folded(layer: Layer, findings: list[Finding]) -> Layer:
    neuron = layer.neuron
    if neuron is None or not isinstance(neuron.threshold, np.ndarray):
        return layer
    threshold: Any = neuron.threshold
    if np.all(threshold == threshold[0]):
        return replace(layer, neuron=replace(neuron, threshold=threshold[0].item()))
    if neuron.minimum is not None:
        problem = "thresholds differ by feature, and a lower bound of the potential is one number"
        findings.append(Finding(f"layer {layer.name}", problem, neuron.minimum, next_step="Drop the bound"))
        return layer
    if not np.all(threshold > 0):
        findings.append(Finding(f"layer {layer.name}", "thresholds must be positive", threshold.min(), "> 0"))
        return layer
    operation, state = layer.operation, neuron.initial_potential
    weight: Any = operation.weight
    bias: Any = operation.bias
    if weight is not None:
        weight = widened(weight)
        weight = (weight / threshold.reshape(-1, *[1] * (weight.ndim - 1))).astype(weight.dtype)
    if bias is not None:
        bias = (bias / threshold).astype(bias.dtype)
    made = operation.declared
    if made is not None:
        made = made.times(1 / threshold, "its thresholds differ by feature, and a core has one")
    if state is not None:
        state = np.asarray(state) / threshold[:, None, None]
    return replace(
        layer,
        operation=replace(operation, weight=weight, bias=bias, declared=made),
        neuron=replace(neuron, threshold=1.0, initial_potential=state),
    )
