"""Give output layers without neurons the ones a chip cannot do without."""

from __future__ import annotations

from dataclasses import replace

from mapper.asking import ADD_OUTPUT_NEURON
from mapper.errors import Finding, MissingNeuronError
from mapper.network import Network
from mapper.operations import Neuron
from mapper.reading import Reading, gathered

__all__ = ["add_output_neuron"]


def add_output_neuron(network: Network, threshold: float | None) -> Network:
    """Append integrate-and-fire neurons of this threshold to output layers that have none.

    Raises
    ------
    MissingNeuronError
        A weight layer without neurons that is no output, or none was asked for.
    """
    outputs = {output.source for output in network.outputs}
    findings, layers = [], []
    for layer in network.layers:
        if layer.neuron is not None:
            layers.append(layer)
        elif layer.name in outputs and not network.outgoing[layer.name] and threshold is not None:
            layers.append(replace(layer, neuron=Neuron(threshold)))
        else:
            last = layer.name in outputs and not network.outgoing[layer.name]
            step = f"{ADD_OUTPUT_NEURON.to('1.0', '1.0')} appends them" if last else "Put neurons behind it"
            findings.append(
                Finding(
                    f"layer {layer.title}", "has no spiking neurons, and no core can run it", next_step=step
                )
            )
    if findings:
        appendable = {name for name in outputs if not network.outgoing[name]}
        bare = {layer.name for layer in network.layers if layer.neuron is None}
        raise MissingNeuronError(*findings, only_outputs=bare <= appendable)
    added = [layer.title for layer in network.layers if layer.neuron is None]
    taken = f"neurons are appended: threshold {threshold}, subtract, no lower bound, multi-spike"
    readings = [Reading(f"layer {name}", taken, "it has none", str(ADD_OUTPUT_NEURON)) for name in added]
    return network.replacing(layers=tuple(layers), readings=(*network.readings, *gathered(readings)))
