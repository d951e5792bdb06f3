"""Rewrites that depend on what a chip's cores can express. What they cannot rewrite stays as it is."""

from __future__ import annotations

from collections.abc import Sequence

from hwspec.schema import LayerLimits
from mapper.network import Network
from mapper.passes.legalize.stride import legal_strides

__all__ = ["legalize"]


def legalize(network: Network, limits: Sequence[LayerLimits]) -> Network:
    """The network with every rewrite that is exact and needed on all of these cores.

    Parameters
    ----------
    limits
        The distinct limits of a chip's cores.
    """
    return legal_strides(network, limits)
