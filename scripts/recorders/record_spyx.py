"""Export a spyx network to NIR, and record what it computes. A file to copy: it needs spyx alone.

    python record_spyx.py [--seed 0] [--out network]

`record` takes your network: a `spyx.nn.Sequential` of `IF`, `nnx.Conv` without groups and dilation (the
exporter leaves both out), `nnx.Linear`, `SumPool` with padding "VALID" and `Flatten`.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import nir
import numpy as np
import spyx.nn as spyx
from flax import nnx
from spyx.nir import to_nir


def record(network: Any, frames: Any, stem: Path) -> str:
    """Write STEM.nir and STEM.npz.

    Parameters
    ----------
    frames
        Spike counts, (time, features, height, width) or (time, features).

    Returns
    -------
    str
        The command that holds the file against the spikes.
    """
    frames = np.asarray(frames, np.float32)
    is_map = frames.ndim == 4
    # spyx puts features last, NIR and the mapper put them first. Time, then a batch of one.
    ours = frames.transpose(0, 2, 3, 1) if is_map else frames
    # run begins with the network's initial state.
    spikes = np.asarray(spyx.run(network, jnp.asarray(ours[:, None]))[0])[:, 0]
    spikes = spikes.transpose(0, 3, 1, 2) if spikes.ndim == 4 else spikes
    shapes = [{name: np.array(values.shape[1:])} for name, values in (("input", frames), ("output", spikes))]
    nir.write(stem.with_suffix(".nir"), to_nir(network, *shapes))
    np.savez(stem.with_suffix(".npz"), input=frames, output=spikes)
    return f"python -m mapper verify {stem}.nir --from spyx --expect {stem}.npz"


def example(seed: int) -> tuple[Any, Any]:
    """A small network with whole numbers as weights, and 30 frames of 2 x 12 x 12."""
    draw, rngs = np.random.default_rng(seed), nnx.Rngs(seed)
    network = spyx.Sequential(
        nnx.Conv(2, 4, (3, 3), padding="VALID", rngs=rngs), spyx.IF((10, 10, 4), 16.0),
        spyx.SumPool((2, 2), (2, 2), "VALID"),
        nnx.Conv(4, 8, (3, 3), padding=((1, 1), (1, 1)), rngs=rngs), spyx.IF((5, 5, 8), 24.0),
        spyx.Flatten(), nnx.Linear(5 * 5 * 8, 10, rngs=rngs), spyx.IF((10,), 60.0),
    )  # fmt: skip
    for layer in network.layers:
        for parameter in (getattr(layer, name, None) for name in ("kernel", "bias")):
            if parameter is not None:
                parameter[...] = jnp.asarray(draw.integers(-6, 10, parameter.shape), jnp.float32)
    return network, draw.integers(0, 2, (30, 2, 12, 12)).astype(np.float32)


def main() -> None:
    """Record the example."""
    parser = argparse.ArgumentParser(description="Record a spyx network for mapper verify --expect.")
    parser.add_argument("--seed", type=int, default=0, help="of the example's weights and frames")
    parser.add_argument("--out", type=Path, default=Path("network"), help="path of the files, without suffix")
    options = parser.parse_args()
    network, frames = example(options.seed)
    print(record(network, frames, options.out))


if __name__ == "__main__":
    main()
