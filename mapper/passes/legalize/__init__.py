"""Rewrites that depend on what a chip's cores can express. What they cannot rewrite stays as it is."""

from __future__ import annotations

from hwspec.schema import ChipSpec
from mapper.network import Network
from mapper.passes.legalize.kernel import square_kernels
from mapper.passes.legalize.pools import fold_pools
from mapper.passes.legalize.stride import common_bounds, legal_strides

__all__ = ["legalize"]


def legalize(network: Network, chip: ChipSpec, *, relays: bool = False) -> Network:
    """The network with every rewrite that is exact in time steps and needed on this chip.

    Every rewrite leaves a note. A network that is legal as it is comes back as the same object.

    Parameters
    ----------
    network
        In normal form, with integer weights or none.
    chip
        What counts is what all its cores allow in common.
    relays
        Leave pools that relays can do, instead of folding them into kernels.
    """
    bounds = common_bounds(chip)
    # A folded pool can leave a kernel that is not square, and either a stride that must be mended.
    return legal_strides(square_kernels(fold_pools(network, chip, bounds, relays=relays), bounds), bounds)
