"""Export a rockpool network to NIR, and record what it computes; it needs rockpool[torch,nir] alone.

    python record_rockpool.py [--seed 0] [--out network]

`record` takes your network: a `Sequential` of `LinearTorch` and `LIFNeuronTorch(tau_mem=inf)`, which do
not leak. rockpool's exporter writes no maps, and leaves the biases of neurons out: put them into the
linear layers.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import nir
import numpy as np
import torch
from rockpool.nn.combinators import Sequential
from rockpool.nn.modules import LIFNeuronTorch, LinearTorch
from rockpool.nn.modules.torch.nir import to_nir


def record(network: Any, frames: Any, stem: Path) -> str:
    """Write STEM.nir and STEM.npz.

    Parameters
    ----------
    frames
        Spike counts, (time, features).

    Returns
    -------
    str
        The command that holds the file against the spikes.
    """
    network.eval()
    batch = torch.as_tensor(np.asarray(frames, np.float32)).unsqueeze(0)
    with torch.no_grad():
        nir.write(stem.with_suffix(".nir"), to_nir(network, batch[:, 0]))
        # Exporting runs the network, which leaves its potentials charged.
        network.reset_state()
        spikes = network(batch)[0]
    np.savez(stem.with_suffix(".npz"), input=frames, output=spikes[0].numpy())
    return f"python -m mapper verify {stem}.nir --from rockpool --expect {stem}.npz"


def example(seed: int) -> tuple[Any, Any]:
    """A small network with whole numbers as weights, and 30 frames of 20 values."""
    draw = np.random.default_rng(seed)

    def neurons(count: int, threshold: float) -> Any:
        return LIFNeuronTorch((count,), tau_mem=float("inf"), threshold=threshold, bias=0.0)

    network = Sequential(
        LinearTorch((20, 16), has_bias=True), neurons(16, 30.0), LinearTorch((16, 10)), neurons(10, 40.0)
    )
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "LinearTorch" in name:
                parameter.copy_(torch.as_tensor(draw.integers(-6, 10, tuple(parameter.shape))))
    return network, draw.integers(0, 2, (30, 20)).astype(np.float32)


def main() -> None:
    """Record the example."""
    parser = argparse.ArgumentParser(description="Record a rockpool network for mapper verify --expect.")
    parser.add_argument("--seed", type=int, default=0, help="of the example's weights and frames")
    parser.add_argument("--out", type=Path, default=Path("network"), help="path of the files, without suffix")
    options = parser.parse_args()
    network, frames = example(options.seed)
    print(record(network, frames, options.out))


if __name__ == "__main__":
    main()
