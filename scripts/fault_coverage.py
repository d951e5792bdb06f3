"""Which faults of a configuration simulation alone finds, by length of a random input.

One fault is injected in every kind of field of a configuration with a sensor stage, biases, initial
potentials and kill bits. The faulty and the right configuration run on the same random spikes (20 % of
pixels a step); a fault is found where any layer spikes otherwise, or where the simulator refuses.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.equivalence.fault_coverage import coverage  # noqa: E402

LENGTHS = (1, 4, 16, 64)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10, help="random inputs of each length")
    seeds = parser.parse_args().seeds
    table = coverage(seeds, LENGTHS)
    heads = "".join(f"{length:>7}" for length in LENGTHS)
    print(f"{'fault':20}  in steps:{heads}   by spikes:{heads}")
    for name, kinds in table.items():
        shares = {
            kind: "".join(f"{100 * count / seeds:6.0f}%" for count in row) for kind, row in kinds.items()
        }
        print(f"{name:20}           {shares['steps']}              {shares['spikes']}")
    always = sum(seeds in (kinds["steps"][-1], kinds["spikes"][-1]) for kinds in table.values())
    print(f"{always} of {len(table)} kinds are found by every input of {LENGTHS[-1]} steps")


if __name__ == "__main__":
    main()
