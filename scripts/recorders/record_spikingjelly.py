"""Export a SpikingJelly network to NIR, and record what it computes; it needs SpikingJelly alone.

    python record_spikingjelly.py [--seed 0] [--out network]

`record` takes your network: a module of `neuron.IFNode` (hard reset, step mode "s"), convolutions without
groups, linear layers, average pools and flattening.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from spikingjelly.activation_based import functional, layer, neuron
from spikingjelly.activation_based.nir_exchange import export_to_nir
from torch import nn

# Seconds of a step, which the exporter writes into every neuron: r = 1 / step.
STEP_S = 1e-4


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
    functional.reset_net(network)
    with torch.no_grad():
        export_to_nir(network, batches[0], save_path=stem.with_suffix(".nir"), dt=STEP_S)
        functional.reset_net(network)
        spikes = [network(batch) for batch in batches]
    np.savez(stem.with_suffix(".npz"), input=frames, output=torch.cat(spikes).numpy())
    return f"python -m mapper verify {stem}.nir --from spikingjelly --dt {STEP_S:g} --expect {stem}.npz"


def example(seed: int) -> tuple[nn.Module, Any]:
    """A small network with whole numbers as weights, and 30 frames of 2 x 12 x 12."""
    draw = np.random.default_rng(seed)
    network = nn.Sequential(
        layer.Conv2d(2, 4, 3), neuron.IFNode(v_threshold=16.0), layer.AvgPool2d(2),
        layer.Conv2d(4, 8, 3, padding=1), neuron.IFNode(v_threshold=8.0),
        layer.Flatten(), layer.Linear(8 * 5 * 5, 10), neuron.IFNode(v_threshold=40.0),
    )  # fmt: skip
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.as_tensor(draw.integers(-6, 10, tuple(parameter.shape))))
    return network, draw.integers(0, 2, (30, 2, 12, 12)).astype(np.float32)


def main() -> None:
    """Record the example."""
    parser = argparse.ArgumentParser(description="Record a SpikingJelly network for mapper verify --expect.")
    parser.add_argument("--seed", type=int, default=0, help="of the example's weights and frames")
    parser.add_argument("--out", type=Path, default=Path("network"), help="path of the files, without suffix")
    options = parser.parse_args()
    network, frames = example(options.seed)
    print(record(network, frames, options.out))


if __name__ == "__main__":
    main()
