"""Train the example network `digits` and write it into the package.

    python scripts/train_digits.py

Three convolutions and a linear layer of integrate-and-fire neurons (multi-spike, subtracting reset, lower
bound minus the threshold, no biases) on scikit-learn's 8x8 handwritten digits. A pixel of value v in
0..16 enters as v spikes spread evenly over 16 time steps; the class is the output with most spikes. One
half of the digits trains, the other half tests; seed and split are fixed.
"""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import nir
import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
from torch.nn import functional

from mapper.frontends import NirOptions
from mapper.frontends.from_nir.file import load_nir
from mapper.passes import prepare
from mapper.sim.network import simulate

STEPS, SEED, EPOCHS = 16, 7, 50
# Spikes lose what a ReLU would pass on; larger first weights keep the deeper layers alive.
GAIN = 1.5
DATA = Path(__file__).resolve().parent.parent / "mapper" / "data"


def rasters(images: np.ndarray) -> np.ndarray:
    """Spikes (sample, time, 1, 8, 8) of images (sample, 8, 8) with values 0..16."""
    steps = np.arange(STEPS)[None, :, None, None]
    values = images[:, None].astype(np.int64)
    spikes = (steps + 1) * values // 16 - steps * values // 16
    return spikes[:, :, None].astype(np.uint8)


class _Spike(torch.autograd.Function):
    """Whole thresholds in a potential; the gradient of a ramp, so that silent neurons can learn."""

    @staticmethod
    def forward(context: Any, potential: torch.Tensor) -> torch.Tensor:
        context.save_for_backward(potential)
        return torch.trunc(potential.clamp(min=0))

    @staticmethod
    def backward(context: Any, *gradients: torch.Tensor) -> torch.Tensor:
        (potential,) = context.saved_tensors
        return gradients[0] * torch.sigmoid(4 * (potential - 0.5))


class Digits(nn.Module):
    """conv 8 - pool - conv 16 - pool - conv 32 - linear 10."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 8, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(8, 16, 3, padding=1, bias=False)
        self.conv3 = nn.Conv2d(16, 32, 3, padding=1, bias=False)
        self.fc = nn.Linear(128, 10, bias=False)
        for layer in (self.conv1, self.conv2, self.conv3, self.fc):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            layer.weight.data *= GAIN

    def forward(self, spikes: torch.Tensor) -> torch.Tensor:
        """Output spike counts plus final potentials (sample, 10) of rasters (sample, time, 1, 8, 8)."""
        states: list[Any] = [0.0] * 4
        total: Any = 0.0
        for step in range(spikes.shape[1]):
            x = self._fire(states, 0, self.conv1(spikes[:, step]))
            x = self._fire(states, 1, self.conv2(functional.avg_pool2d(x, 2)))
            x = self._fire(states, 2, self.conv3(functional.avg_pool2d(x, 2)))
            total = total + self._fire(states, 3, self.fc(x.flatten(1)))
        return torch.as_tensor(total + states[3])

    @staticmethod
    def _fire(states: list[Any], index: int, current: torch.Tensor) -> torch.Tensor:
        potential = states[index] + current
        spikes: torch.Tensor = _Spike.apply(potential)  # type: ignore[no-untyped-call]  # torch has no types here
        states[index] = (potential - spikes).clamp(min=-1.0)
        return spikes


def train(network: Digits, spikes: torch.Tensor, labels: torch.Tensor) -> None:
    """Adam on the cross entropy of spike counts plus the potential left over."""
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS)
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(labels)).split(32):  # type: ignore[no-untyped-call]  # torch: no types
            optimizer.zero_grad()
            loss = functional.cross_entropy(network(spikes[batch]) / 2, labels[batch])
            loss.backward()  # type: ignore[no-untyped-call]  # torch: no types
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
        schedule.step()


def to_nir(network: Digits) -> nir.NIRGraph:
    """The trained network as a NIR graph; what its neurons do stands in the nodes' metadata."""
    nodes: dict[str, Any] = {"input": nir.Input({"input": np.array([1, 8, 8])})}
    size = 8
    for name in ("conv1", "conv2", "conv3"):
        weight = getattr(network, name).weight.detach().numpy()
        features = weight.shape[0]
        nodes[name] = nir.Conv2d(
            (size, size), weight, (1, 1), (1, 1), (1, 1), 1, np.zeros(features, np.float32)
        )
        nodes[f"{name}_spikes"] = _neurons((features, size, size))
        if name != "conv3":
            nodes[f"{name}_pool"] = nir.AvgPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0]))
            size //= 2
    nodes["flatten"] = nir.Flatten({"input": np.array([32, 2, 2])}, 0, -1)
    nodes["fc"] = nir.Linear(network.fc.weight.detach().numpy())
    nodes["fc_spikes"] = _neurons((10,))
    nodes["output"] = nir.Output({"output": np.array([10])})
    names = list(nodes)
    return nir.NIRGraph(nodes, list(pairwise(names)), type_check=False)


def _neurons(shape: tuple[int, ...]) -> nir.IF:
    ones = np.ones(shape, np.float32)
    node = nir.IF(r=ones, v_threshold=ones, v_reset=np.zeros_like(ones))
    node.metadata = {"reset": "subtract", "minimum": -1.0, "spike_mode": "multi", "fires_at": "reached"}
    return node


def accuracy(path: Path, spikes: np.ndarray, labels: np.ndarray, *, integer: bool) -> float:
    """Share of digits whose class has most spikes, by the reference simulation of the written file."""
    network = load_nir(path, NirOptions())
    network = prepare(network) if integer else network
    name = network.outputs[0].name
    right = 0
    for raster, label in zip(spikes, labels, strict=True):
        counts = simulate(network, {"input": raster}).outputs[name].sum(axis=0).ravel()
        right += int(np.argmax(counts)) == int(label)
    return right / len(labels)


def main() -> None:
    """Train, write, and measure what was written."""
    torch.manual_seed(SEED)
    torch.use_deterministic_algorithms(True)
    digits = load_digits()
    train_x, test_x, train_y, test_y = train_test_split(
        digits.images, digits.target, test_size=0.5, random_state=SEED, stratify=digits.target
    )
    network = Digits()
    train(network, torch.tensor(rasters(train_x), dtype=torch.float32), torch.tensor(train_y))
    DATA.mkdir(exist_ok=True)
    path = DATA / "digits.nir"
    nir.write(path, to_nir(network))
    for half, images, labels in (("train", train_x, train_y), ("test", test_x, test_y)):
        np.savez_compressed(
            DATA / f"digits_{half}.npz", images=images.astype(np.uint8), labels=labels.astype(np.uint8)
        )
    test = rasters(test_x)
    facts = {
        "steps": STEPS,
        "seed": SEED,
        "test_samples": len(test_y),
        "float_accuracy": accuracy(path, test, test_y, integer=False),
        "integer_accuracy": accuracy(path, test, test_y, integer=True),
    }
    (DATA / "digits.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(facts, indent=2))


if __name__ == "__main__":
    main()
