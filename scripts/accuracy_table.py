"""Train three networks and print what is left of each on the chip, before and after `tune`.

    python scripts/accuracy_table.py

- "norm": convolutions with batch norm and ReLUs, on the digits that ship with the package, over 32 steps.
- "residual": ReLU convolutions, one of them added to what it reads, without biases, on the same.
- "moving": integrate-and-fire neurons, trained as a spiking network on shapes that move in one of eight
  directions, rendered to the events of a camera: where log intensity changes by a threshold, a spike.

Each is trained on one half and tuned on it; the other half judges: as trained, as a spiking network, in
integers, on the chip in time steps, and spike by spike in each order. `--json FILE` writes all numbers,
`--quick` is a trial with few samples. Seeds are fixed; a network is the same for a number of threads.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from torch import nn
from torch.nn import functional

import mapper
from mapper.equivalence import DataOptions, LabelledData
from mapper.equivalence.labelled import encoded, read_labelled
from mapper.files import require_writable
from mapper.report.tuning import print_tuning, tuning_record
from mapper.tuning import TuneOptions, TuneResult, tuned_by

SEED = 0
# Of moving shapes: height and width, time steps, change of log intensity that makes an event, and events of
# noise per pixel and step.
SIDE, MOVING_STEPS, THRESHOLD, NOISE = 16, 16, 0.25, 0.004
SHAPES = ("disc", "square", "cross")
DIRECTIONS = tuple(f"{45 * n} degrees" for n in range(8))


@dataclass(frozen=True)
class Effort:
    """How much is done of everything.

    Attributes
    ----------
    samples
        Of each half, at most.
    runs, time_limit_s
        As in `TuneOptions`.
    """

    samples: int = 899
    epochs: int = 30
    moving_epochs: int = 15
    digit_steps: int = 32
    runs: int = 300
    time_limit_s: float | None = None


QUICK = Effort(samples=32, epochs=12, moving_epochs=3, digit_steps=12, runs=6, time_limit_s=0.5)


class Residual(nn.Module):
    """Conv 8 - pool - conv 8 added to what it reads - pool - linear 10; the sum is in the spikes."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.again = (nn.Conv2d(n, 8, 3, padding=1, bias=False) for n in (1, 8))
        self.last, self.readout = nn.Conv2d(8, 16, 3, padding=1, bias=False), nn.Linear(64, 10, bias=False)
        self.relus = nn.ModuleList(nn.ReLU() for _ in range(3))
        self.pool, self.pool_again = nn.AvgPool2d(2), nn.AvgPool2d(2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Scores of the ten digits."""
        before = self.relus[0](self.first(x))
        behind = before + self.relus[1](self.again(before))
        last = self.relus[2](self.last(self.pool(behind)))
        scores: torch.Tensor = self.readout(self.pool_again(last).flatten(1))
        return scores


def with_norms() -> nn.Sequential:
    """Conv 8 - pool - conv 16 - pool - conv 32 - linear 10, batch norm behind each convolution."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.AvgPool2d(2),
        nn.Conv2d(8, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(), nn.AvgPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU(), nn.Flatten(),
        nn.Linear(128, 10, bias=False),
    )  # fmt: skip


def of_moving_shapes() -> mapper.DynapcnnNetwork:
    """Conv 8 - pool - conv 16 - pool - linear 8 of spiking neurons, in floats."""
    module = nn.Sequential(
        nn.Conv2d(2, 8, 3, padding=1, bias=False), nn.ReLU(), nn.AvgPool2d(2),
        nn.Conv2d(8, 16, 3, padding=1, bias=False), nn.ReLU(), nn.AvgPool2d(2),
        nn.Flatten(), nn.Linear(256, len(DIRECTIONS), bias=False), nn.ReLU(),
    )  # fmt: skip
    for layer in module:
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    return mapper.DynapcnnNetwork(module, (2, SIDE, SIDE), discretize=False, relu_as_if=1.0)


def moving_shapes(count: int, seed: int) -> LabelledData:
    """Events of bright shapes that move, (samples, time, 2, height, width), by direction; 0 is brighter."""
    draw = np.random.default_rng(seed)
    labels = np.arange(count) % len(DIRECTIONS)
    rasters = np.stack([_events(_frames(int(label), draw), draw) for label in labels])
    return LabelledData(f"moving shapes, seed {seed}", rasters, labels.astype(np.int64), DIRECTIONS)


def _frames(direction: int, draw: np.random.Generator) -> Iterator[np.ndarray]:
    """Log intensity (height, width) step by step, of a shape with soft edges."""
    angle = np.pi / 4 * direction + draw.normal(0, 0.12)
    speed, radius, shape = draw.uniform(0.35, 0.7), draw.uniform(2.0, 3.5), draw.choice(SHAPES)
    contrast, way = draw.uniform(0.6, 1.2), np.array([np.sin(angle), np.cos(angle)])
    middle = (SIDE - 1) / 2 + draw.normal(0, 1.0, 2) - way * speed * MOVING_STEPS / 2
    rows, columns = np.mgrid[:SIDE, :SIDE]
    for step in range(MOVING_STEPS + 1):
        y, x = (
            np.abs(rows - middle[0] - way[0] * speed * step),
            np.abs(columns - middle[1] - way[1] * speed * step),
        )
        outside = {
            "disc": np.hypot(y, x) - radius,
            "square": np.maximum(y, x) - radius,
            "cross": np.minimum(np.maximum(y - radius, x - 1), np.maximum(x - radius, y - 1)),
        }[str(shape)]
        yield contrast / (1 + np.exp(4 * outside))


def _events(frames: Iterator[np.ndarray], draw: np.random.Generator) -> np.ndarray:
    """Spikes (time, 2, height, width): each pixel remembers at which value it last spiked."""
    kept, steps = next(frames).copy(), []
    for frame in frames:
        change = np.trunc((frame - kept) / THRESHOLD)
        kept += change * THRESHOLD
        spikes = np.stack([np.maximum(change, 0), np.maximum(-change, 0)])
        steps.append(spikes + (draw.random(spikes.shape) < NOISE))
    return np.stack(steps).astype(np.uint8)


def train(
    module: nn.Module,
    scores: Callable[[list[int]], torch.Tensor],
    labels: np.ndarray,
    epochs: int,
    rate: float,
) -> None:
    """Adam on the cross entropy of the scores that a batch of samples gets."""
    optimizer = torch.optim.Adam(module.parameters(), lr=rate, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    for _ in range(epochs):
        for batch in torch.randperm(len(labels)).split(32):  # type: ignore[no-untyped-call]  # torch: no types
            chosen = batch.tolist()
            optimizer.zero_grad()
            loss = functional.cross_entropy(scores(chosen), torch.tensor(labels[chosen]))
            loss.backward()  # type: ignore[no-untyped-call]  # torch: no types
            nn.utils.clip_grad_norm_(module.parameters(), 1.0)
            optimizer.step()
        schedule.step()
    module.eval()


def on_images(module: nn.Module, data: LabelledData, effort: Effort) -> nn.Module:
    """The module, trained on images."""
    images = torch.tensor(np.stack([data.frame(n) for n in range(len(data.labels))]), dtype=torch.float32)
    train(module, lambda batch: module(images[batch]), data.labels, effort.epochs, 3e-3)
    return module


def on_rasters(network: mapper.DynapcnnNetwork, data: LabelledData, effort: Effort) -> nn.Module:
    """The network, trained through its spikes in time steps."""
    rasters = torch.tensor(np.asarray(data.rasters), dtype=torch.float32)
    entry, output = network.structure.inputs[0].name, network.structure.outputs[0].source

    def scores(batch: list[int]) -> torch.Tensor:
        network.reset()
        return network.spikes({entry: rasters[batch]})[output].sum(1).flatten(1) / 2

    train(network, scores, data.labels, effort.moving_epochs, 3e-3)
    network.reset()
    return network


def first(data: LabelledData, count: int, steps: int | None = None) -> LabelledData:
    """The first samples; images over so many steps."""
    images = None if data.images is None else np.asarray(data.images)[:count]
    rasters: Any = np.asarray(data.rasters)[:count]
    if images is not None and steps is not None:
        rasters = np.stack([encoded(image, DataOptions(steps)) for image in images])
    return replace(data, rasters=rasters, labels=data.labels[:count], images=images)


def judged(
    module: nn.Module, training: LabelledData, test: LabelledData, effort: Effort, *, is_analog: bool
) -> TuneResult:
    """Tune by one half and judge by the other, before and after."""
    options: dict[str, Any] = {}
    if is_analog:
        shape = test.rasters[0].shape[1:]
        options = {"torch": mapper.TorchOptions("auto", calibrate=training), "input_shape": tuple(shape)}
    asked = TuneOptions(effort.runs, SEED, time_limit_s=effort.time_limit_s)
    return tuned_by(module, calibrate=training, data=test, tuning=asked, **options)


def networks(effort: Effort) -> Iterator[tuple[str, TuneResult, LabelledData]]:
    """Name, what tuning gave, and the half that judges, of each network as soon as it is there."""
    halves = [read_labelled(name) for name in ("digits-train", "digits")]
    training, test = (first(half, effort.samples, effort.digit_steps) for half in halves)
    for name, make in (("norm", with_norms), ("residual", Residual)):
        torch.manual_seed(SEED)
        module = on_images(make(), training, effort)
        yield name, judged(module, training, test, effort, is_analog=True), test
    training, test = (moving_shapes(effort.samples, seed) for seed in (SEED, SEED + 1))
    torch.manual_seed(SEED)
    network = on_rasters(of_moving_shapes(), training, effort)
    yield "moving", judged(network, training, test, effort, is_analog=False), test


def main(arguments: Sequence[str] | None = None) -> dict[str, TuneResult]:
    """Print the tables, write the numbers; what tuning gave, by network."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few samples, to see that it runs")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write all numbers")
    parser.add_argument("--threads", type=int, default=1, help="of torch; the numbers may depend on it")
    asked = parser.parse_args(arguments)
    if asked.json is not None:
        require_writable(asked.json)
    torch.set_num_threads(max(1, asked.threads))
    console, found, begin = Console(), {}, time.perf_counter()
    for name, tuned, test in networks(QUICK if asked.quick else Effort()):
        console.print(
            f"\n{name}: {len(test.labels)} samples judge, {time.perf_counter() - begin:.0f} s so far"
        )
        print_tuning(console, tuned)
        found[name] = tuned
    if asked.json is not None:
        record = {name: tuning_record(tuned) for name, tuned in found.items()}
        asked.json.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return found


if __name__ == "__main__":
    main()
