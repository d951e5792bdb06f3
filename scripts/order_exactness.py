"""What pieces, relays, copies and rewrites preserve spike by spike: against plain placements.

    python scripts/order_exactness.py [--networks 100] [--only "joint relays"]

Random networks without cycles, placed plainly and with one kind of move (made at random, accepted by the
checker), run on the same spikes in three orders; equal means the same number of spikes of every neuron of
every layer. In time steps every one of them must be equal: that is checked on the way. For space to depth the
chip has maps of 8x8, and the networks stand plainly on one of 64x64; residual networks stand plainly on cores
of many destinations, and with joint relays on cores of two; siblings of inception-like networks are fused.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import mapper
from hwspec.schema import ChipSpec
from mapper.emit.shared.config import ChipConfig
from mapper.emit.write.build import build_config
from mapper.equivalence import layer_shapes
from mapper.errors import ConfigError
from mapper.events import events_from_raster
from mapper.network import Network
from mapper.normal_form import NormalNetwork
from mapper.passes.legalize import MOVE, has_phases
from mapper.sim.config_frame import simulate_config
from mapper.sim.event import EventOptions, simulate_events
from tests.divided import Moves, big_chip, divided, plain
from tests.offer_networks import inception, residual, roomy
from tests.phase_networks import SMALL_MAPS, random_phase_network
from tests.sim.test_divided import feed_forward, rasters

ORDERS: tuple[Literal["depth", "breadth", "random"], ...] = ("depth", "breadth", "random")
KINDS = {
    "pieces": Moves(copies=False, relays=False),
    "relays": Moves(pieces=False, copies=False),
    "copies": Moves(pieces=False, relays=False),
}
STEPS, DT_US = 2, 1000
# Networks that hardly spike show nothing, avalanches take minutes.
SPIKES = range(50, 3001)


@dataclass
class Tally:
    """Networks compared, and how many were equal."""

    compared: int = 0
    equal: int = 0


def counts(config: ChipConfig, inputs: dict[str, Any], order: Any) -> dict[str, dict[int, int]]:
    """By layer, spikes by neuron, a number made of its feature, row and column."""
    events = {name: events_from_raster(raster, DT_US) for name, raster in inputs.items()}
    options = EventOptions(order=order, tick_us=float(DT_US), spike_limit=20_000)
    made = simulate_events(config, events, options, end_us=float(STEPS * DT_US))
    found = {}
    for name, spikes in made.layers.items():
        feature, row, column = (spikes[axis].astype(np.int64) for axis in "pyx")
        neurons, times = np.unique(feature << 32 | row << 16 | column, return_counts=True)
        found[name] = dict(zip(neurons.tolist(), times.tolist(), strict=True))
    return found


def moved(network: NormalNetwork, moves: Moves, chip: ChipSpec, seed: int) -> list[bool] | None:
    """`compared` of a placement with moves made at random.

    Both have layers of the same forms: zeros around a kernel touch neurons that it does not.
    """
    placement = divided([network], chip, np.random.default_rng(seed), moves)
    whole = build_config(plain(placement.networks, chip))
    return compared(whole, build_config(placement), rasters(network, seed, STEPS, 2), seed)


def phased(seed: int) -> list[bool] | None:
    """`compared` of a network whose maps are too large for one chip, and not for another."""
    network = random_phase_network(seed)
    results = [mapper.solve(network, chip, repairs=0) for chip in ("speck2f", SMALL_MAPS)]
    if any(result.solution is None for result in results) or not has_phases(results[1].networks[0]):
        return None
    whole, config = map(build_config, results)
    has_all = layer_shapes(whole) == layer_shapes(config)
    return compared(whole, config, rasters(network, seed, STEPS, 2), seed) if has_all else None


def offered(network: Network, chips: tuple[ChipSpec, ChipSpec], seed: int) -> list[bool] | None:
    """`compared` of a network on one chip without, and on another with joint relays and fused siblings."""
    apart = mapper.solve(network, chips[0], repairs=0, joint=False, fusion=False)
    joined = mapper.solve(network, chips[1], repairs=0)
    if joined.solution is None or not joined.networks[0].origins:
        return None
    whole, config = build_config(apart), build_config(joined)
    return compared(whole, config, rasters(network, seed, STEPS, 2), seed)


def compared(whole: ChipConfig, config: ChipConfig, inputs: dict[str, Any], seed: int) -> list[bool] | None:
    """By order, whether a placement counts what whole layers do; None where nothing can be seen."""
    try:
        first, *others = ORDERS
        expected = [counts(whole, inputs, first)]
        if sum(sum(layer.values()) for layer in expected[0].values()) not in SPIKES:
            return None
        expected += [counts(whole, inputs, order) for order in others]
    except ConfigError:
        return None
    steps, divided_steps = (simulate_config(one, inputs).layers for one in (whole, config))
    expected = [{name: entry for name, entry in seen.items() if name in steps} for seen in expected]
    if any(not np.array_equal(divided_steps[name], spikes) for name, spikes in steps.items()):
        raise SystemExit(f"seed {seed}: differs in time steps")
    equal = []
    for order, seen in zip(ORDERS, expected, strict=True):
        found = counts(config, inputs, order)
        equal.append(all(found[name] == entry for name, entry in seen.items()))
    return equal


def joint(seed: int) -> list[bool] | None:
    """`offered` of a residual network, on cores of many destinations and of two."""
    return offered(residual(seed, 2 + seed % 3, features=2, size=8), (big_chip(), roomy(16)), seed)


def fused(seed: int) -> list[bool] | None:
    """`offered` of a network with siblings."""
    return offered(inception(seed, 1, size=8), (roomy(16), roomy(16)), seed)


REWRITES = {"joint relays": joint, "fused siblings": fused, MOVE: phased}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--networks", type=int, default=100, help="of each kind")
    parser.add_argument("--only", help="one kind of move")
    asked = parser.parse_args()
    wanted: int = asked.networks
    chip = big_chip()
    rows = [row for row in (*KINDS, *REWRITES) if asked.only in (None, row)]
    tallies = {(kind, order): Tally() for kind in rows for order in ORDERS}
    seed = -1
    while min(tally.compared for tally in tallies.values()) < wanted:
        seed += 1
        network = feed_forward(seed)
        for kind in rows:
            if kind in REWRITES:
                equal = REWRITES[kind](seed)
            else:
                equal = None if network is None else moved(network, KINDS[kind], chip, seed)
            for order, is_equal in zip(ORDERS, equal or (), strict=False):
                tallies[kind, order].compared += 1
                tallies[kind, order].equal += is_equal
    print(f"{'':16}{'time steps':>12}" + "".join(f"{order:>14}" for order in ORDERS))
    for kind in rows:
        row = [f"{tallies[kind, order].equal} of {tallies[kind, order].compared}" for order in ORDERS]
        print(f"{kind:16}{'all':>12}" + "".join(f"{text:>14}" for text in row))


if __name__ == "__main__":
    main()
