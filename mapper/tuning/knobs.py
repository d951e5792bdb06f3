"""What of a layer can be turned: threshold, lower bound, range and rounding of weights, what spikes count.

In time steps a factor on a layer's threshold and the same factor on what its readers make of its spikes
change nothing but how finely a value is told. On the chip, where one arriving spike brings one spike at most,
it decides how much is lost.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mapper.arguments import checked
from mapper.integers import widened
from mapper.network import added_signals, features_of
from mapper.normal_form import NormalLayer, NormalNetwork
from mapper.operations import Integers
from mapper.tuning.directions import rounded_in_sum

__all__ = ["Knobs", "changes_of", "tied_layers", "tuned_network"]


@checked
@dataclass(frozen=True, slots=True)
class Knobs:
    """How a layer differs from what was trained.

    Attributes
    ----------
    threshold
        Factor on the threshold, on the lower bound and on potentials at the start.
    gain
        Factor on the weights that its readers have for its spikes.
    bound
        Further factor on the lower bound; infinite for none.
    clip
        Weights beyond this share of the largest become so large, 0 < clip <= 1: all others are rounded more
        finely.
    in_sum
        Whether weights are rounded so that sums stay what they were, not each to the nearest integer.
    """

    threshold: float = 1.0
    gain: float = 1.0
    bound: float = 1.0
    clip: float = 1.0
    in_sum: bool = False


def tied_layers(network: NormalNetwork) -> tuple[tuple[str, ...], ...]:
    """Layers whose spikes add up in a reader: what they count for can be changed in common only.

    What adds up with an input's spikes, which count for what they are, is in none.
    """
    groups = added_signals(network)
    alone = network.by_name.keys() - set().union(*groups)
    tied = [tuple(sorted(group)) for group in groups if group <= network.by_name.keys()]
    return (*tied, *((name,) for name in network.by_name if name in alone))


@checked
def tuned_network(network: NormalNetwork, knobs: Mapping[str, Knobs]) -> NormalNetwork:
    """The network with its knobs turned; layers without any stay as they are.

    Parameters
    ----------
    network
        In floats.
    """
    layers = tuple(_turned(network, layer, knobs) for layer in network.layers)
    return network.replacing(layers=layers)


def _turned(network: NormalNetwork, layer: NormalLayer, knobs: Mapping[str, Knobs]) -> NormalLayer:
    own, operation, neuron = knobs.get(layer.name, Knobs()), layer.operation, layer.neuron
    weight: Any = widened(operation.weight)
    gains = np.ones(layer.input_shape.features)
    for edge in network.incoming[layer.name]:
        gains[features_of(network, edge)] = knobs.get(edge.source, Knobs()).gain
    most = float(np.abs(weight).max()) * own.clip
    if own.clip < 1:
        weight = np.clip(weight, -most, most)
    made = operation.declared
    if own.clip < 1 and made is not None:
        made = Integers(None, "the range of weights was tuned")
    if np.any(gains != 1):
        weight = weight * gains[:, None, None]
        made = None if made is None else made.times(gains, "what its inputs count for was tuned")
    threshold: Any = neuron.threshold
    state: Any = neuron.initial_potential
    neuron = replace(
        neuron,
        threshold=threshold * own.threshold,
        minimum=None
        if neuron.minimum is None or own.bound == float("inf")
        else neuron.minimum * own.threshold * own.bound,
        initial_potential=None if state is None else state * own.threshold,
    )
    weight = weight.astype(np.float32)
    turned = replace(layer, operation=replace(operation, weight=weight, declared=made), neuron=neuron)
    return rounded_in_sum(turned) if own.in_sum else turned


def changes_of(
    network: NormalNetwork, knobs: Mapping[str, Knobs], step: float
) -> Iterator[tuple[tuple[str, float], dict[str, Knobs]]]:
    """Every turn of one knob up or down by a factor, (in words, by how much), with all knobs after it."""
    tied = {name: names for names in tied_layers(network) for name in names}
    for layer in network.layers:
        name, now = layer.name, knobs.get(layer.name, Knobs())
        has_bound = layer.neuron.minimum is not None and now.bound != float("inf")
        for factor in (step, 1 / step):
            yield (f"{name}: threshold", factor), {**knobs, name: _times(now, threshold=factor)}
            group = tied.get(name, ())
            # Where nothing is read from it, a gain has no effect.
            if group and group[0] == name and network.outgoing[name]:
                both = {n: _times(knobs.get(n, Knobs()), threshold=factor, gain=factor) for n in group}
                yield (f"{' + '.join(group)}: threshold and gain", factor), {**knobs, **both}
            if has_bound:
                yield (f"{name}: lower bound", factor), {**knobs, name: _times(now, bound=factor)}
            if now.clip * factor <= 1:
                yield (f"{name}: range of weights", factor), {**knobs, name: _times(now, clip=factor)}
        if has_bound:
            yield (f"{name}: lower bound", float("inf")), {**knobs, name: replace(now, bound=float("inf"))}
        other = replace(now, in_sum=not now.in_sum)
        yield (f"{name}: rounding {'in sum' if other.in_sum else 'to nearest'}", 1.0), {**knobs, name: other}


def _times(knobs: Knobs, **factors: float) -> Knobs:
    return replace(knobs, **{name: getattr(knobs, name) * factor for name, factor in factors.items()})
