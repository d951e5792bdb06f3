"""Frameworks whose layers hand their spikes on a step late: what their biases do in the meantime."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from mapper.errors import Finding, UnsupportedLayerError
from mapper.network import Layer, Network
from mapper.reading import Reading
from mapper.wording import counted

__all__ = ["with_head_start"]


def with_head_start(network: Network, steps: Mapping[str, int]) -> Network:
    """Let layers start from what their biases add up to before the first spikes reach them.

    Aligned by its lateness, such a network computes what one without lateness computes, but for that.

    Parameters
    ----------
    steps
        By layer, the steps that its framework runs it before the first input can have an effect there.

    Raises
    ------
    UnsupportedLayerError
        Biases that make neurons fire in these steps.
    """
    findings: list[Finding] = []
    readings: list[Reading] = []
    layers = tuple(_started(layer, steps.get(layer.name, 0), findings, readings) for layer in network.layers)
    if findings:
        raise UnsupportedLayerError(*findings)
    return network.replacing(layers=layers, readings=(*network.readings, *readings))


def _started(layer: Layer, steps: int, findings: list[Finding], readings: list[Reading]) -> Layer:
    operation, neuron = layer.operation, layer.neuron
    if steps < 1 or neuron is None or operation.bias is None or not np.any(operation.bias):
        return layer
    bias: Any = np.asarray(operation.bias, np.float32)
    potential = np.zeros_like(bias)
    for _ in range(steps):
        potential += bias
    if layer.between or np.any(potential > neuron.threshold):
        problem = (
            f"its biases make neurons fire in the {counted(steps, 'step')} that its framework runs it before "
            "the first input arrives there"
        )
        if layer.between:
            problem = "it is run before the first input arrives there, and its biases are scaled behind it"
        findings.append(Finding(f"layer {layer.title}", problem, next_step="Use smaller biases, or none"))
        return layer
    shape = layer.output_shape
    start = np.broadcast_to(potential[:, None, None], shape).copy()
    times = "its bias" if steps == 1 else f"{steps} times its bias"
    why = "its framework runs it that long before the first input arrives there"
    readings.append(Reading(layer.name, f"potentials start from {times}", why))
    return replace(layer, neuron=replace(neuron, initial_potential=start))
