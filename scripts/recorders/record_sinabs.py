"""Export a sinabs network to NIR, and record what it computes. A file to copy: it needs sinabs and nirtorch.

    python record_sinabs.py [--seed 0] [--out network]

`record` takes your network: a module of `sinabs.layers.IAFSqueeze(batch_size=1)`, convolutions, linear
layers, `SumPool2d` and flattening. No file of sinabs holds the neurons' lower bound: it is found here and
put into the command. (A sinabs network needs no file: the mapper reads the module, `python -m mapper
verify file.py:factory`.)
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import nir
import numpy as np
import sinabs.layers as sl
import torch
from sinabs.nir import to_nir
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
    with torch.no_grad():
        nir.write(stem.with_suffix(".nir"), exported(network, batches[0]))
        for module in network.modules():
            if isinstance(module, sl.StatefulLayer):
                module.reset_states()
        spikes = [network(batch) for batch in batches]
    np.savez(stem.with_suffix(".npz"), input=frames, output=torch.cat(spikes).numpy())
    options = f"--from sinabs {answers(network)}"
    return f"python -m mapper verify {stem}.nir {options} --expect {stem}.npz"


def exported(network: nn.Module, batch: torch.Tensor) -> Any:
    """The graph of sinabs' exporter, with the shapes that it leaves out and that NIR's files need."""
    shapes: dict[nn.Module, Any] = {}

    def note(module: nn.Module, inputs: tuple[torch.Tensor, ...], _: Any) -> None:
        shapes[module] = np.array(inputs[0].shape[1:])

    modules = {name: module for name, module in network.named_modules() if module is not network}
    hooks = [module.register_forward_hook(note) for module in modules.values()]
    # Neurons have a shape, which is written, only once they have run.
    network(batch)
    for hook in hooks:
        hook.remove()
    graph = to_nir(network, batch)
    for name, module in modules.items():
        node = graph.nodes.get(name.replace(".", "_"))
        if isinstance(node, nir.Conv2d):
            node.input_shape = shapes[module][-2:]
        elif isinstance(node, nir.Flatten):
            node.input_type = {"input": shapes[module]}
    return graph


def answers(network: nn.Module) -> str:
    """What no file of sinabs says: the lower bound, and a spike function or reset other than usual."""
    layers = [module for module in network.modules() if isinstance(module, sl.IAF | sl.IAFSqueeze)]
    bounds = {
        "none" if layer.min_v_mem is None else f"{float(layer.min_v_mem):g}"
        if float(layer.min_v_mem) != -float(layer.spike_threshold) else "threshold"
        for layer in layers
    }  # fmt: skip
    modes = {layer.spike_fn.__name__ for layer in layers}
    resets = {type(layer.reset_fn).__name__ for layer in layers}
    if max(map(len, (bounds, modes, resets))) > 1:
        raise SystemExit(f"layers differ ({bounds}, {modes}, {resets}): one option says the same of all")
    words = [f"--v-min {bounds.pop()}"]
    words += ["--spike-mode single"] if modes == {"SingleSpike"} else []
    words += ["--reset zero"] if resets == {"MembraneReset"} else []
    return " ".join(words)


def example(seed: int) -> tuple[nn.Module, Any]:
    """A small network with whole numbers as weights, and 30 frames of 2 x 12 x 12."""
    draw = np.random.default_rng(seed)

    def neurons(threshold: float) -> nn.Module:
        layer: nn.Module = sl.IAFSqueeze(batch_size=1, spike_threshold=threshold, min_v_mem=-threshold)
        return layer

    network = nn.Sequential(
        nn.Conv2d(2, 4, 3), neurons(16.0), sl.SumPool2d(2), nn.Conv2d(4, 8, 3, padding=1), neurons(24.0),
        nn.Flatten(), nn.Linear(8 * 5 * 5, 10), neurons(100.0),
    )  # fmt: skip
    with torch.no_grad():
        # Thresholds and bounds of sinabs are parameters as well.
        for parameter in (p for name, p in network.named_parameters() if name.endswith(("weight", "bias"))):
            parameter.copy_(torch.as_tensor(draw.integers(-6, 10, tuple(parameter.shape))))
    return network, draw.integers(0, 2, (30, 2, 12, 12)).astype(np.float32)


def main() -> None:
    """Record the example."""
    parser = argparse.ArgumentParser(description="Record a sinabs network for mapper verify --expect.")
    parser.add_argument("--seed", type=int, default=0, help="of the example's weights and frames")
    parser.add_argument("--out", type=Path, default=Path("network"), help="path of the files, without suffix")
    options = parser.parse_args()
    network, frames = example(options.seed)
    print(record(network, frames, options.out))


if __name__ == "__main__":
    main()
