"""Pieces, copies and relays: what they place, how fast, and that the answer never changes.

    python scripts/bench_divided.py [--networks 2000] [--large]

1. random networks of 3 to 9 layers on the nine cores of Speck 2f: how many a matching of layers to cores
   accepts (memory alone, as sinabs does), how many fit with fan-out respected, how many are placed here;
2. times from `Question` to checked `Solution` where cutting is needed, and to the explanation where nothing
   fits, building and decoding included; sinabs' matcher beside it, where it can be imported;
3. the same bytes with 1, 2 and 8 workers;
4. 150 layers of several networks on 256 cores of four classes, 600 on 1,024; with --large 2,400 on 4,096.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import mapper
from hwspec.schema import ChipSpec
from mapper.demand import layer_demands
from mapper.normal_form import NormalNetwork
from mapper.options import SolveOptions
from mapper.question import Question, decide
from mapper.record import placement_record
from mapper.result import Result, Status
from mapper.work import lacking
from tests.random_networks import four_classes, random_speck_network

Matcher = Callable[[list[list[int]]], object]


def checked(networks: Sequence[NormalNetwork], chip: ChipSpec, options: SolveOptions) -> tuple[Result, float]:
    """A result whose solution the checker accepts, and the milliseconds that both took."""
    start = time.perf_counter()
    result = decide(Question(tuple(networks), chip, options))
    return result, (time.perf_counter() - start) * 1e3


def fitting_cores(network: NormalNetwork, chip: ChipSpec) -> list[list[int]]:
    """Per layer, the cores whose memories and limits hold it; destinations are not looked at."""
    return [
        [n for n, core in enumerate(chip.cores) if not lacking(demand.work, core)]
        for demand in layer_demands(network)
    ]


def matching(fits: list[list[int]]) -> bool:
    """Whether every layer gets a core of its own, by augmenting paths."""
    owner: dict[int, int] = {}

    def placed(layer: int, seen: set[int]) -> bool:
        for core in fits[layer]:
            if core not in seen:
                seen.add(core)
                if core not in owner or placed(owner[core], seen):
                    owner[core] = layer
                    return True
        return False

    return all(placed(layer, set()) for layer in range(len(fits)))


def sinabs_matcher() -> Matcher | None:
    """Sinabs' own matching, or None where it cannot be imported."""
    try:
        from sinabs.backend.dynapcnn.mapping import get_valid_mapping  # noqa: PLC0415
    except ImportError:
        return None
    return get_valid_mapping  # type: ignore[no-any-return]  # without types


def told(times: list[float]) -> str:
    """Median, 95 % and maximum."""
    ordered = sorted(times)
    share = ordered[int(0.95 * (len(ordered) - 1))]
    return f"median {statistics.median(ordered):.1f} ms, 95 % {share:.1f} ms, max {ordered[-1]:.1f} ms"


def nine_cores(count: int) -> None:
    """Verdicts and times of random networks."""
    chip, options = mapper.load_chip("speck2f"), SolveOptions(repairs=0)
    plain_options = replace(options, max_pieces=1, relays=False, max_copies=1)
    peer, matched, plain, placed = sinabs_matcher(), 0, 0, 0
    cut, explained, peers = [], [], []
    for seed in range(count):
        network = random_speck_network(seed)
        fits = fitting_cores(network, chip)
        matches = matching(fits)
        matched += matches
        if peer is not None and matches:
            start = time.perf_counter()
            peer(fits)
            peers.append((time.perf_counter() - start) * 1e3)
        result, took = checked([network], chip, options)
        whole = decide(Question((network,), chip, plain_options), "reasons").solution is not None
        plain, placed = plain + whole, placed + (result.solution is not None)
        if result.status not in (Status.OPTIMAL, Status.INFEASIBLE):
            raise SystemExit(f"seed {seed}: {result.status}")
        if result.solution is None:
            explained.append(took)
        elif not whole:
            cut.append(took)
    print(f"{count} random networks of 3 to 9 layers on speck2f:")
    print(f"  matched by memory alone {matched}, plainly placed {plain}, placed here {placed}")
    rejected = count - plain
    print(f"  of {rejected} that do not fit as whole layers {placed - plain} are placed")
    print(f"  proven optimum with pieces, copies or relays, checked: {told(cut)}")
    print(f"  proven infeasible and explained: {told(explained)}")
    if peers:
        print(f"  sinabs' matching alone, of those it accepts: {told(peers)}")


def same_bytes(count: int) -> None:
    """The placement does not depend on the number of workers."""
    chip, same = mapper.load_chip("speck2f"), 0
    for seed in range(count):
        network, texts = random_speck_network(seed), set()
        for workers in (1, 2, 8):
            result, _ = checked([network], chip, SolveOptions(repairs=0, workers=workers))
            if result.solution is not None:
                texts.add(json.dumps(placement_record(result).model_dump(mode="json")))
            else:
                texts.add(str(result.report))
        same += len(texts) == 1
    print(f"same bytes with 1, 2 and 8 workers: {same} of {count}")
    if same != count:
        raise SystemExit(1)


def several(layers: int, cores: int, limit_s: float | None = None) -> None:
    """Random networks that fit Speck 2f one by one, together on a large chip."""
    networks: list[NormalNetwork] = []
    small, have, seed = mapper.load_chip("speck2f"), 0, 0
    while have < layers:
        network = random_speck_network(seed)
        seed += 1
        count = len(network.layers)
        if layers - have - count in (1, 2) or count > layers - have:
            continue
        result, _ = checked([network], small, SolveOptions(repairs=0))
        if result.solution is not None:
            networks.append(network.replacing(name=f"n{len(networks)}"))
            have += count
    result, took = checked(networks, four_classes(cores), SolveOptions(repairs=0, time_limit_s=limit_s))
    stages = {s.name: f"{s.value} (bound {s.bound})" for s in result.require().objectives}
    text = f"{layers} layers of {len(networks)} networks on {cores} cores: {result.status.value}"
    print(f"{text} in {took / 1e3:.2f} s, {stages}")


def main() -> None:
    """Print one line a figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--networks", type=int, default=2000)
    parser.add_argument("--large", action="store_true", help="2,400 layers on 4,096 cores, 15 s")
    options = parser.parse_args()
    nine_cores(options.networks)
    same_bytes(min(options.networks, 60))
    several(150, 256)
    several(600, 1024)
    if options.large:
        several(2400, 4096, 15.0)


if __name__ == "__main__":
    main()
