"""Several networks on one chip as one network: what is emitted, simulated and read back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mapper.network import Origin, origins_of
from mapper.normal_form import NormalNetwork
from mapper.references import layer_key, require_distinct

__all__ = ["joined"]


def joined(networks: Sequence[NormalNetwork]) -> NormalNetwork:
    """One network of all: inputs, layers and outputs by the names of `layer_key`, unchanged if it is one.

    Raises
    ------
    NetworkError
        As `require_distinct`.
    """
    require_distinct(networks)
    if len(networks) == 1:
        return networks[0]
    inputs, layers, edges, outputs, notes, readings = [], [], [], [], [], []
    origins: list[Origin] = []
    is_rewritten = any(network.origins for network in networks)
    for number, network in enumerate(networks):
        keys = {name: layer_key(networks, number, name) for name in network.signal_shapes}
        inputs += [replace(entry, name=keys[entry.name]) for entry in network.inputs]
        layers += [replace(layer, name=keys[layer.name]) for layer in network.layers]
        edges += [replace(e, source=keys[e.source], target=keys[e.target]) for e in network.edges]
        outputs += [
            replace(
                output,
                name=layer_key(networks, number, output.name),
                source=layer_key(networks, number, output.source),
            )
            for output in network.outputs
        ]
        notes += [layer_key(networks, number, note) for note in network.notes]
        readings += [replace(r, subject=layer_key(networks, number, r.subject)) for r in network.readings]
        if is_rewritten:
            origins += [
                replace(origin, name=layer_key(networks, number, origin.name), layer=keys[origin.layer])
                for origin in origins_of(network)
            ]
    name = "+".join(network.name for network in networks)
    return NormalNetwork(
        name, tuple(inputs), tuple(layers), tuple(edges), tuple(outputs), tuple(notes), tuple(readings),
        origins=tuple(origins),
    )  # fmt: skip
