"""Export a norse network to NIR, and record what it computes. A file to copy: it needs norse alone.

    python record_norse.py [--seed 0] [--out network]

`record` takes your network: a `norse.torch.SequentialState` of convolutions with biases, linear layers and
`IAFCell`, which is all that norse's exporter writes (no pool, no flattening).
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import nir
import norse.torch as norse
import numpy as np
import torch
from norse.torch.functional.iaf import IAFParameters
from norse.torch.utils.export_nir import to_nir
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
    spikes, state = [], None
    with torch.no_grad():
        nir.write(stem.with_suffix(".nir"), exported(network, batches[0, 0]))
        # States are handed on by hand: None is a network at rest.
        for batch in batches:
            answer, state = network(batch, state)
            spikes.append(answer)
    np.savez(stem.with_suffix(".npz"), input=frames, output=torch.cat(spikes).numpy())
    return f"python -m mapper verify {stem}.nir --from norse --expect {stem}.npz"


def exported(network: nn.Module, frame: torch.Tensor) -> Any:
    """The graph of norse's exporter, with the shapes that it leaves out and that NIR's files need."""
    shapes: dict[nn.Module, tuple[int, ...]] = {}

    def note(module: nn.Module, inputs: tuple[torch.Tensor, ...], _: Any) -> None:
        shapes[module] = tuple(inputs[0].shape)

    modules = {name: module for name, module in network.named_modules() if module is not network}
    hooks = [module.register_forward_hook(note) for module in modules.values()]
    # NIR's shapes have no batch, so the sample has none.
    graph = to_nir(network, frame)
    for hook in hooks:
        hook.remove()
    for name, module in modules.items():
        node = graph.nodes.get(name.replace(".", "_"))
        if isinstance(node, nir.Conv2d):
            node.input_shape = np.array(shapes[module][-2:])
        elif isinstance(node, nir.IF):
            for field in ("r", "v_threshold", "v_reset"):
                # Older nir packages have no v_reset.
                if (value := getattr(node, field, None)) is not None:
                    setattr(node, field, np.broadcast_to(np.asarray(value), shapes[module]).copy())
    return graph


def example(seed: int) -> tuple[nn.Module, Any]:
    """A small network with whole numbers as weights, and 30 frames of 2 x 12 x 12."""
    draw = np.random.default_rng(seed)

    def neurons(threshold: float) -> nn.Module:
        cell: nn.Module = norse.IAFCell(IAFParameters(v_th=torch.as_tensor(threshold)))
        return cell

    network: nn.Module = norse.SequentialState(
        nn.Conv2d(2, 4, 3), neurons(16.0), nn.Conv2d(4, 8, 3, stride=2), neurons(12.0),
        nn.Conv2d(8, 10, 4), neurons(30.0),
    )  # fmt: skip
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.as_tensor(draw.integers(-6, 10, tuple(parameter.shape))))
    return network, draw.integers(0, 2, (30, 2, 12, 12)).astype(np.float32)


def main() -> None:
    """Record the example."""
    parser = argparse.ArgumentParser(description="Record a norse network for mapper verify --expect.")
    parser.add_argument("--seed", type=int, default=0, help="of the example's weights and frames")
    parser.add_argument("--out", type=Path, default=Path("network"), help="path of the files, without suffix")
    options = parser.parse_args()
    network, frames = example(options.seed)
    print(record(network, frames, options.out))


if __name__ == "__main__":
    main()
