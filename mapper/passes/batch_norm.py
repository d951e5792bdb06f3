"""Fold batch normalisation into the weights and biases before it."""

from __future__ import annotations

from mapper.folding import folded
from mapper.network import Network, revised

__all__ = ["fold_batch_norm"]


def fold_batch_norm(network: Network) -> Network:
    """Weights times ``scale / sqrt(variance + epsilon)``, biases shifted accordingly; epsilon included.

    A scale between weights and neurons is folded alike. Shapes alone get a bias.
    """
    return network.replacing(
        layers=tuple(
            revised(layer, operation=folded(layer.operation, layer.between), between=())
            for layer in network.layers
        )
    )
