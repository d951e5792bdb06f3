"""Random networks of the size that people put on nine cores: for measurements and property tests."""

from __future__ import annotations

import numpy as np

from hwspec.catalog import load
from hwspec.schema import ChipSpec
from mapper.errors import NetworkError
from mapper.network import Edge
from mapper.normal_form import NormalNetwork
from tests.builders import chain, conv, pool

__all__ = ["four_classes", "random_speck_network"]


def random_speck_network(seed: int) -> NormalNetwork:
    """3 to 9 layers, with pools (sometimes by 8), biases, and up to two residual edges.

    Maps are 16, 32 or 64 wide, layers have 8 to 128 features and kernels of 1, 3 or 5: about a third fits
    Speck 2f as it is.
    """
    draw = np.random.default_rng(seed)
    while True:
        count, size = int(draw.integers(3, 10)), int(draw.choice([16, 32, 64]))
        kinds = [
            conv(
                int(draw.choice([8, 16, 16, 32, 32, 64, 96, 128])),
                int(draw.choice([1, 3, 3, 5])),
                has_bias=bool(draw.integers(4) == 0),
            )
            for _ in range(count)
        ]
        pools, side = [], size
        for n in range(count - 1):
            wanted = int(draw.choice([1, 2, 2, 4]))
            wanted = 8 if n == 0 and side >= 16 and draw.integers(10) == 0 else wanted
            pools.append(wanted if wanted <= side else 1)
            side //= pools[-1]
        try:
            network = chain(kinds, (2, size, size), pools)
        except (NetworkError, ValueError):
            continue
        for _ in range(int(draw.integers(0, 3))):
            network = _with_residual(network, draw)
        return network


def _with_residual(network: NormalNetwork, draw: np.random.Generator) -> NormalNetwork:
    """One more edge between layers whose features agree, pooled to the target's map."""
    source = network.layers[int(draw.integers(len(network.layers) - 1))]
    given = source.output_shape
    later = network.layers[network.index[source.name] + 1 :]
    targets = [layer for layer in later if layer.input_shape.features == given.features]
    if not targets:
        return network
    target = targets[int(draw.integers(len(targets)))]
    factor = given.height // max(target.input_shape.height, 1)
    if factor not in (1, 2, 4, 8):
        return network
    try:
        return network.replacing(edges=(*network.edges, Edge(source.name, target.name, pool(factor))))
    except NetworkError:
        return network


def four_classes(cores: int) -> ChipSpec:
    """Speck 2f grown to this many cores, a quarter of each memory class."""
    quarter = cores // 4
    changes = [f"+core[9..{cores - 1}]=core[8]", "core[0..1].parallel=false"]
    for n, (kernel, neuron) in enumerate(((16, 64), (32, 32), (64, 16), (16, 16))):
        span = f"core[{n * quarter}..{(n + 1) * quarter - 1}]"
        changes += [f"{span}.kernel_words={kernel}Ki", f"{span}.neuron_words={neuron}Ki"]
    return load("speck2f", changes)
