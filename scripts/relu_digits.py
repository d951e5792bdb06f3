"""Train ReLU networks on the digits, and print what becomes of them on the chip.

    python scripts/relu_digits.py

Three convolutions and a linear layer with ReLUs and average pools, once without biases and once with them, on
the half of the digits that trains; `--relu-as-if auto` then finds thresholds by that half, and the other half
judges: as trained, as a spiking network, in integers, on the chip in 64 time steps, and spike by spike.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import nn
from torch.nn import functional

import mapper
from mapper.equivalence import DataOptions, LabelledData
from mapper.equivalence.labelled import encoded, read_labelled

STEPS, SEED, EPOCHS = 64, 0, 30


def network(*, bias: bool) -> nn.Sequential:
    """Conv 8 - pool - conv 16 - pool - conv 32 - linear 10."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1, bias=bias), nn.ReLU(), nn.AvgPool2d(2),
        nn.Conv2d(8, 16, 3, padding=1, bias=bias), nn.ReLU(), nn.AvgPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1, bias=False), nn.ReLU(), nn.Flatten(),
        nn.Linear(128, 10, bias=bias),
    )  # fmt: skip


def trained(data: LabelledData, *, bias: bool) -> nn.Sequential:
    """Adam on the cross entropy of images."""
    torch.manual_seed(SEED)
    module = network(bias=bias)
    images = np.stack([data.frame(n) for n in range(len(data.labels))])
    pixels, labels = torch.tensor(images, dtype=torch.float32), torch.tensor(data.labels)
    optimizer = torch.optim.Adam(module.parameters(), lr=3e-3, weight_decay=1e-4)
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(labels)).split(32):  # type: ignore[no-untyped-call]  # torch: no types
            optimizer.zero_grad()
            loss = functional.cross_entropy(module(pixels[batch]), labels[batch])
            loss.backward()  # type: ignore[no-untyped-call]  # torch: no types
            optimizer.step()
    return module.eval()


def in_steps(data: LabelledData) -> LabelledData:
    """The images over so many steps."""
    images = [data.frame(n) for n in range(len(data.labels))]
    return replace(data, rasters=np.stack([encoded(image, DataOptions(STEPS)) for image in images]))


def main() -> None:
    """Print a table for each network."""
    torch.set_num_threads(1)
    training, test = read_labelled("digits-train"), in_steps(read_labelled("digits"))
    for bias in (False, True):
        module = trained(training, bias=bias)
        options = mapper.TorchOptions("auto", calibrate=training)
        report = mapper.verify_equivalence(module, input_shape=(1, 8, 8), torch=options, data=test)
        rows = ", ".join(f"{row.kind} {100 * row.share:.1f}" for row in report.accuracies)
        lost = [f"{row.kind} in {row.lost_in.layer}" for row in report.accuracies if row.lost_in]
        where = ", ".join(lost) or "nothing beyond chance"
        print(f"biases {bias}: {rows} % of {len(test.labels)}; lost: {where}")


if __name__ == "__main__":
    main()
