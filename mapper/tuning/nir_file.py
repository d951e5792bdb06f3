"""A tuned network as a NIR file of integers, which reads as just these integers."""

from __future__ import annotations

from typing import Any

import numpy as np

from mapper.frontends.to_nir import nir_bytes
from mapper.normal_form import NormalNetwork
from mapper.passes import prepare

__all__ = ["nir_file"]


def nir_file(network: NormalNetwork) -> bytes:
    """The file's bytes; whoever reads it without options has the same integers again, which is checked.

    Parameters
    ----------
    network
        Of integers.

    Raises
    ------
    NetworkError
        NIR has no words for it.
    """
    content, read = nir_bytes(network)
    again = prepare(read)
    pairs = [(layer, again.by_name[layer.name]) for layer in network.layers]
    changed = [one.name for one, other in pairs if _numbers(one) != _numbers(other)]
    if changed:
        raise RuntimeError(f"written as NIR and read again, {', '.join(changed)} has other integers")
    return content


def _numbers(layer: Any) -> list[Any]:
    conv, neuron = layer.operation, layer.neuron
    bias = None if conv.bias is None or not np.any(conv.bias) else np.asarray(conv.bias).tolist()
    facts = (conv.stride, conv.padding, neuron.minimum, neuron.reset, neuron.spike_mode, neuron.fires_at)
    return [np.asarray(conv.weight).tolist(), bias, np.asarray(neuron.threshold).tolist(), facts]
