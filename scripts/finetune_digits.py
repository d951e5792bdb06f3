"""Train the example network `digits` on with the chip's semantics, and print what that wins.

    python scripts/finetune_digits.py

It starts from the network that ships with the package and trains its weights on the half of the digits that
trains, through rounding and through the stand-in for spike by spike (`DynapcnnNetwork(semantics="events")`).
Every other sample is made harder, as `mapper tune` does: it knows them by heart. The other half judges,
before and after: the table of `mapper verify --data`, and each order of spikes. It takes some five minutes;
`--semantics steps` trains in time steps, to compare. Seeds are fixed.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch
from rich.console import Console
from torch.nn import functional

import mapper
from mapper.compat.arrivals import Semantics
from mapper.compat.forward import ForwardNetwork
from mapper.equivalence import LabelledData
from mapper.equivalence.labelled import read_labelled
from mapper.report.tuning import print_gains
from mapper.tuning import Harder, worth

SEED, EPOCHS, BATCH = 0, 10, 64
# In the unit of weights, of which the largest is 127; the first steps are smaller. Chosen, like the next, by
# samples of the half that trains, made harder anew.
RATE, WARM_UP = 0.1, 5
# Spikes that make one class e times as likely as another.
TEMPERATURE = 4.0
# Parts of a step while training: half of what is nearest to the chip, in half of the time.
PARTS = 16


def digits_network(semantics: Semantics = "events") -> mapper.DynapcnnNetwork:
    """The shipped network as a torch module, of integers, to be trained through their rounding."""
    return mapper.DynapcnnNetwork(mapper.load_network("digits"), (1, 8, 8), semantics=semantics)


def fine_tuned(network: mapper.DynapcnnNetwork, data: LabelledData, *, epochs: int = EPOCHS) -> None:
    """Adam on the cross entropy of output spikes; biases, which act at ticks alone, stay as they are."""
    torch.manual_seed(SEED)
    network.parts = PARTS
    weights = [layer.weight for layer in network.core_layers()]
    optimizer = torch.optim.Adam(weights, lr=RATE)
    batches = epochs * -(-len(data.labels) // BATCH)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda done: min(1, (done + 1) / WARM_UP) * (1 - done / batches)
    )
    for epoch in range(epochs):
        for batch in torch.randperm(len(data.labels)).split(BATCH):  # type: ignore[no-untyped-call]  # torch: no types
            chosen = batch.tolist()
            rasters = np.stack([shown(data, n, epoch * len(data.labels) + n) for n in chosen])
            optimizer.zero_grad()
            scores = counts(network, rasters) / TEMPERATURE
            functional.cross_entropy(scores, torch.tensor(data.labels[chosen])).backward()  # type: ignore[no-untyped-call]  # torch: no types
            optimizer.step()
            schedule.step()


def shown(data: LabelledData, index: int, number: int) -> np.ndarray:
    """A sample as it is, or made harder, in turn: of harder ones alone a network forgets the others."""
    raster = np.asarray(data.rasters[index], np.int64)
    return Harder().of(raster, number) if number % 2 else raster


def counts(network: ForwardNetwork, rasters: np.ndarray) -> torch.Tensor:
    """Output spikes by class, (sample, class), from the initial potentials on."""
    network.reset()
    entry, output = network.structure.inputs[0].name, network.structure.outputs[0].source
    frames = torch.tensor(rasters, dtype=torch.float32)
    return network.spikes({entry: frames})[output].sum(1).flatten(1)


def positive(text: str) -> int:
    """A number of an option."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1 (got {number})")
    return number


def main() -> None:
    """Train, and print what it wins."""
    parser = argparse.ArgumentParser(description="fine-tune digits on the chip's semantics")
    parser.add_argument("--epochs", type=positive, default=EPOCHS)
    parser.add_argument("--semantics", choices=("events", "steps"), default="events")
    # Small tensors gain next to nothing by more of them, and lose much where others compute too.
    parser.add_argument("--threads", type=positive, default=1)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    training, test = read_labelled("digits-train"), read_labelled("digits")
    network = digits_network(asked.semantics)
    begin = time.perf_counter()
    fine_tuned(network, training, epochs=asked.epochs)
    print(f"{asked.epochs} epochs of {asked.semantics} in {time.perf_counter() - begin:.0f} s", flush=True)
    before, after = (worth(entry, data=test) for entry in ("digits", network))
    print_gains(Console(), before, after, test.labels)


if __name__ == "__main__":
    main()
