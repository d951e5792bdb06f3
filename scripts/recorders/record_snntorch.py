"""Export an snnTorch network to NIR, and record what it computes. A file to copy: it needs snnTorch alone.

    python record_snntorch.py [--seed 0] [--out network]

`record` takes your network: a module of `snn.Leaky(beta=1.0, init_hidden=True)`, convolutions, linear
layers, average pools and flattening. Neurons with `reset_mechanism="zero"` add `--reset zero` to the command.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import nir
import numpy as np
import snntorch
import torch
from snntorch import utils
from snntorch.export_nir import export_to_nir
from torch import nn


def record(network: nn.Module, frames: Any, stem: Path) -> str:
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
    network.eval()
    batches = torch.as_tensor(np.asarray(frames, np.float32)).unsqueeze(1)
    utils.reset(network)
    with torch.no_grad():
        network(batches[0])
        for module in network.modules():
            if isinstance(module, snntorch.Leaky):
                # The exporter refuses numbers: a beta and a threshold for every neuron.
                for number in (module.beta, module.threshold):
                    number.data = number.data.expand(module.mem.shape[1:]).clone()
        # NIR's shapes have no batch: dimension 0 is left out.
        nir.write(stem.with_suffix(".nir"), export_to_nir(network, batches[0], ignore_dims=[0]))
        # A run leaves potentials charged, and exporting is one.
        utils.reset(network)
        answers = [network(batch) for batch in batches]
    # A last layer with output=True gives (spikes, potentials).
    spikes = [answer[0] if isinstance(answer, tuple) else answer for answer in answers]
    np.savez(stem.with_suffix(".npz"), input=frames, output=torch.cat(spikes).numpy())
    return f"python -m mapper verify {stem}.nir --from snntorch --expect {stem}.npz"


def example(seed: int) -> tuple[nn.Module, Any]:
    """A small network with whole numbers as weights, and 30 frames of 2 x 12 x 12."""
    draw = np.random.default_rng(seed)

    def neurons(threshold: float) -> nn.Module:
        leaky: nn.Module = snntorch.Leaky(beta=1.0, threshold=threshold, init_hidden=True)
        return leaky

    network = nn.Sequential(
        nn.Conv2d(2, 4, 3), neurons(16.0), nn.AvgPool2d(2), nn.Conv2d(4, 8, 3, padding=1), neurons(8.0),
        nn.Flatten(), nn.Linear(8 * 5 * 5, 10), neurons(40.0),
    )  # fmt: skip
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.as_tensor(draw.integers(-6, 10, tuple(parameter.shape))))
    return network, draw.integers(0, 2, (30, 2, 12, 12)).astype(np.float32)


def main() -> None:
    """Record the example."""
    parser = argparse.ArgumentParser(description="Record an snnTorch network for mapper verify --expect.")
    parser.add_argument("--seed", type=int, default=0, help="of the example's weights and frames")
    parser.add_argument("--out", type=Path, default=Path("network"), help="path of the files, without suffix")
    options = parser.parse_args()
    network, frames = example(options.seed)
    print(record(network, frames, options.out))


if __name__ == "__main__":
    main()
