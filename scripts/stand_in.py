"""How near `semantics="events"`, through which networks are trained, is to the event simulator, on digits.

    python scripts/stand_in.py [--samples 100] [--order depth]

By number of parts and layer: spikes by neuron that differ, of all that there are. "time steps" is `forward`
without the stand-in.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import mapper
from mapper.compat.arrivals import Semantics
from mapper.equivalence.labelled import read_labelled
from mapper.tuning.trial import ORDERS
from tests.compat.test_arrivals import by_spikes, one_by_one

PARTS = (None, 1, 16, 32, 64)
"""None: in time steps."""


def shares(samples: int, order: str, parts: int | None) -> dict[str, float]:
    """By layer, spikes that differ, of those that the simulator has."""
    semantics: Semantics = "steps" if parts is None else "events"
    network = mapper.DynapcnnNetwork(mapper.load_network("digits"), (1, 8, 8), semantics=semantics)
    if parts is not None:
        network.parts = parts
    config = network.plain_config("speck2f")
    apart, total = dict[str, int](), dict[str, int]()
    data = read_labelled("digits").rasters
    for number in range(samples):
        expected = by_spikes(network, data[number], order, config)
        found = one_by_one(network, data[number])
        for name, counts in expected.items():
            apart[name] = apart.get(name, 0) + int(np.abs(counts.sum(0) - found[name].sum(0)).sum())
            total[name] = total.get(name, 0) + int(counts.sum())
    return {name: apart[name] / total[name] for name in total}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--samples", type=int, default=100)
    parser.add_argument("--order", choices=ORDERS, default="depth")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    for parts in PARTS:
        row = shares(asked.samples, asked.order, parts)
        if parts is None:
            print("| parts |", " | ".join(row), "|")
        told = " | ".join(f"{100 * share:.1f} %" for share in row.values())
        print(f"| {'time steps' if parts is None else parts} | {told} |", flush=True)


if __name__ == "__main__":
    main()
