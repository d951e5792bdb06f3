"""Thresholds for the layers of a network that was trained with ReLUs: data-based normalisation.

A neuron that subtracts its threshold fires ``current / threshold`` times a step. With the largest value that
a layer gives on data as its threshold, a value is that share of one spike a step, and what reads the layer
has weights larger by the threshold: P. U. Diehl et al., Fast-classifying, high-accuracy spiking deep networks
through weight and threshold balancing, IJCNN 2015. The largest value is a robust one, so that a single sample
does not make all others small: B. Rueckauer et al., Frontiers in Neuroscience 11 (2017) 682.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mapper.errors import Finding, NetworkError
from mapper.network import Network, added_signals
from mapper.operations import Neuron, Scale
from mapper.sim.network import current_of, deliver

__all__ = ["Frames", "thresholds_of", "with_thresholds"]

# Of the largest values of all samples, the share that a threshold is to cover.
_COVERED = 0.99
_FRAMES_MAX = 256


class Frames(Protocol):
    """Samples of a network without time, as `LabelledData` has them."""

    @property
    def labels(self) -> NDArray[Any]: ...  # noqa: D102  # one for each sample

    def frame(self, index: int, /) -> NDArray[Any]: ...  # noqa: D102  # (features, height, width)

    def misfit(self, shape: tuple[int, int, int], /) -> Finding | None: ...  # noqa: D102  # what is wrong with them


def thresholds_of(network: Network, rectified: Collection[str], frames: Frames) -> dict[str, float]:
    """By layer that is to spike, the largest value that it gives, robustly; of layers that add up, in common.

    Parameters
    ----------
    network
        Whose rectified layers have neurons of threshold 1; output layers may have none.
    rectified
        Layers behind which a ReLU stands.

    Raises
    ------
    NetworkError
        A cycle, other neurons among them, or a layer that gives nothing above 0 on these samples.
    """
    spiking = {*rectified, *(layer.name for layer in network.layers if layer.neuron is None)}
    findings = [
        Finding(f"layer {layer.title}", "spikes already: thresholds are found for ReLUs alone")
        for layer in network.layers
        if layer.name not in spiking
    ]
    findings += [
        Finding(f"edge {edge.title}", "closes a cycle: values need time to settle")
        for edge in network.edges
        if edge.delay_steps
    ]
    if findings:
        raise NetworkError(*findings)
    count = len(frames.labels)
    if len(network.inputs) > 1:
        names = ", ".join(entry.name for entry in network.inputs)
        raise NetworkError(Finding("calibrate", "feeds one input, and there are several", names))
    if (misfit := frames.misfit(network.inputs[0].shape)) is not None:
        raise NetworkError(misfit)
    chosen = np.unique(np.linspace(0, count - 1, min(count, _FRAMES_MAX)).round().astype(int))
    largest = {name: np.empty(len(chosen)) for name in spiking}
    for place, number in enumerate(chosen):
        for name, value in _values(network, frames.frame(int(number))).items():
            if name in spiking:
                largest[name][place] = value.max()
    found = {name: float(np.quantile(values, _COVERED)) for name, values in largest.items()}
    silent = [name for name, value in found.items() if value <= 0]
    if silent:
        problem = "gives nothing above 0 on these samples: it would never spike"
        raise NetworkError(*(Finding(f"layer {network.title(name)}", problem) for name in silent))
    for group in added_signals(network):
        most = max(found.get(name, 0.0) for name in group)
        found |= {name: most for name in group if name in found}
    return found


def _values(network: Network, frame: NDArray[Any]) -> dict[str, Any]:
    signals: dict[str, Any] = {network.inputs[0].name: np.asarray(frame, np.float64)}
    for layer in network.layers:
        arriving = np.zeros(layer.input_shape)
        for edge in network.incoming[layer.name]:
            deliver(edge, signals[edge.source], arriving)
        current = current_of(layer, arriving)
        signals[layer.name] = current if layer.neuron is None else np.maximum(current, 0)
    return signals


def with_thresholds(network: Network, thresholds: Mapping[str, float]) -> Network:
    """The network with these thresholds, and every reader's weights for such a layer larger by its threshold.

    Neurons have no lower bound: what is below zero counts as it would before a ReLU.
    """
    layers = tuple(
        replace(layer, neuron=Neuron(thresholds[layer.name], None)) if layer.name in thresholds else layer
        for layer in network.layers
    )
    edges = tuple(
        replace(edge, path=(*edge.path, Scale(thresholds[edge.source])))
        if edge.source in thresholds
        else edge
        for edge in network.edges
    )
    return network.replacing(layers=layers, edges=edges)
