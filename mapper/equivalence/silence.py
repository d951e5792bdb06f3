"""Layers without a spike, of which nothing is shown, and those that no input can make spike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mapper.asking import DATA, EVENTS, RATE, STEPS
from mapper.equivalence.rates import LayerRates
from mapper.normal_form import NormalLayer, NormalNetwork
from mapper.wording import join_names

__all__ = ["Silence", "mute_layers", "silence_of"]


@dataclass(frozen=True, slots=True)
class Silence:
    """Layers of which no neuron spiked in the integer network, and what that means and asks for, in words."""

    layers: tuple[str, ...] = ()
    sentence: str = ""


def silence_of(rates: Sequence[LayerRates], network: NormalNetwork) -> Silence:
    """Layers that never spiked, with the reason where that is certain; empty if all did."""
    silent = tuple(entry.layer for entry in rates if not entry.integer_rate)
    names = [*map(network.title, silent)]
    if not silent:
        return Silence()
    if len(silent) == len(rates):
        told = "NO SPIKES in any layer: silence equals silence, and nothing is shown of this network"
    else:
        told = f"NO SPIKES in {join_names(names)}: nothing is shown of them, nor of what they alone feed"
    mute = [network.title(name) for name in mute_layers(network) if name in silent]
    if mute:
        reason = "nothing that reaches them has a weight above 0, and they have no bias above 0"
        return Silence(
            silent, f"{told}. No input can make {join_names(mute)} spike: {reason}. Check their weights"
        )
    step = f"more input ({RATE.to(0.5)}, {STEPS.to(200)}), recorded {EVENTS}, or {DATA} of the task"
    return Silence(silent, f"{told}. Give {step}")


def mute_layers(network: NormalNetwork) -> tuple[str, ...]:
    """Layers that never spike, whatever goes in: nothing above 0 in biases, starts, weights on what may."""
    able = {entry.name for entry in network.inputs}
    # In a cycle one layer may need another that comes later.
    for _ in network.layers:
        able |= {layer.name for layer in network.layers if _is_able(network, layer, able)}
    return tuple(layer.name for layer in network.layers if layer.name not in able)


def _is_able(network: NormalNetwork, layer: NormalLayer, able: set[str]) -> bool:
    bias: Any = layer.operation.bias
    start: Any = layer.neuron.initial_potential
    weight: Any = layer.operation.weight
    if (bias is not None and np.any(bias > 0)) or (start is not None and np.any(start > 0)):
        return True
    for edge in network.incoming[layer.name]:
        if edge.source in able:
            features = network.signal_shapes[edge.source].features
            if np.any(weight[:, edge.feature_offset : edge.feature_offset + features] > 0):
                return True
    return False
