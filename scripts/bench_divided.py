"""Pieces, copies and relays: what they place, how fast, and that the answer never changes.

    python scripts/bench_divided.py [--networks 2000] [--large] [--quick]
    python scripts/bench_divided.py --families [--draws 6]
    python scripts/bench_divided.py --beside TREE [--networks 400]

1. random networks of 3 to 9 layers on the nine cores of Speck 2f: how many a matching of layers to cores
   accepts (memory alone, as sinabs does), how many fit with fan-out respected, how many are placed here;
2. times from `Question` to checked `Solution` where cutting is needed, and to the explanation where nothing
   fits, building and decoding included; sinabs' matcher beside it, where it can be imported;
3. the same bytes with 1, 2 and 8 workers;
4. 150 layers of several networks on 256 cores of four classes, 600 on 1,024; with --large 2,400 on 4,096.

With --families instead: networks that need joint relays, fused siblings or phases on nine cores, family by
family. With --beside instead: the random networks and the 150 layers here and in another checkout of this
project, in turns, and the processor time of the one over that of the other.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

from benchmark import NOT_INSTALLED, Row, Spent, in_turn, median, options_of, stopwatch, tell, timed

sys.path.insert(0, os.environ.get("MAPPER_BENCH_TREE", str(Path(__file__).resolve().parent.parent)))

from bench_solve import fitting_cores
from sinabs_matching import sinabs_matching

import mapper
from hwspec.schema import ChipSpec
from mapper.frontends import load_network
from mapper.normal_form import NormalNetwork
from mapper.options import SolveOptions
from mapper.passes import prepare
from mapper.question import Question, decide, fits
from mapper.reasons import Status
from mapper.record import placement_record
from mapper.result import Result
from tests.random_networks import four_classes, random_speck_network

ROOT = Path(__file__).resolve().parent.parent
# Of --beside: the checkout that a process of its own imports and measures.
_TREE = "MAPPER_BENCH_TREE"
# Building its layers takes sinabs a third of a second a network.
SINABS_NETWORKS = 30


def checked(networks: Sequence[NormalNetwork], chip: ChipSpec, options: SolveOptions) -> tuple[Result, float]:
    """A result whose solution the checker accepts, and the milliseconds that both took."""
    start = time.perf_counter()
    result = decide(Question(tuple(networks), chip, options))
    return result, (time.perf_counter() - start) * 1e3


def matching(fitting: list[list[int]]) -> bool:
    """Whether every layer gets a core of its own, by augmenting paths."""
    owner: dict[int, int] = {}

    def placed(layer: int, seen: set[int]) -> bool:
        for core in fitting[layer]:
            if core not in seen:
                seen.add(core)
                if core not in owner or placed(owner[core], seen):
                    owner[core] = layer
                    return True
        return False

    return all(placed(layer, set()) for layer in range(len(fitting)))


def measured(
    networks: Sequence[NormalNetwork], chip: ChipSpec, options: SolveOptions
) -> tuple[Result, float, float]:
    """A checked result, and the milliseconds of processor and wall clock that it took."""
    start = time.process_time()
    result, wall = checked(networks, chip, options)
    return result, (time.process_time() - start) * 1e3, wall


def told(times: list[float]) -> str:
    """Median, 95 % and maximum."""
    ordered = sorted(times)
    share = ordered[int(0.95 * (len(ordered) - 1))]
    return f"median {statistics.median(ordered):.1f} ms, 95 % {share:.1f} ms, max {ordered[-1]:.1f} ms"


def sinabs_spent(networks: Sequence[NormalNetwork]) -> Row:
    """Sinabs' own matching of networks that it accepts."""
    name, taken = "divided, sinabs' matching of those that it accepts", list[Spent]()
    for network in networks:
        peer = sinabs_matching(network)
        if peer is not None:
            taken.append(in_turn({"": peer.whole}, 3)[""])
    if not taken:
        return Row(name, None, note=f"sinabs: {NOT_INSTALLED}")
    return timed(name, median(taken), note=f"{len(taken)} networks, by memory alone")


def spread(taken: Sequence[Spent]) -> str:
    """How many, and within what time on the clock most and all of them were decided."""
    ordered = sorted(spent.wall_s * 1e3 for spent in taken)
    share = ordered[int(0.95 * (len(ordered) - 1))]
    return f"{len(ordered)} networks, 95 % {share:.1f} ms, max {ordered[-1]:.1f} ms"


def nine_cores(count: int) -> list[Row]:
    """Verdicts and times of random networks, in turn with the question whether whole layers fit."""
    chip, options = mapper.load_chip("speck2f"), SolveOptions(repairs=0)
    plain_options = replace(options, max_pieces=1, relays=False, max_copies=1)
    cut_options = replace(options, joint=False, fusion=False, rewrites=False)
    matched, plain, placed, more = list[NormalNetwork](), 0, 0, 0
    cut, explained = list[tuple[Spent, Spent]](), list[tuple[Spent, Spent]]()
    for seed in range(count):
        network = random_speck_network(seed)
        if matching(fitting_cores(network, chip)):
            matched.append(network)
        with stopwatch() as taken:
            result, _ = checked([network], chip, options)
        with stopwatch() as plainly:
            whole = decide(Question((network,), chip, plain_options), "reasons").solution is not None
        plain, placed = plain + whole, placed + (result.solution is not None)
        if result.status not in (Status.OPTIMAL, Status.INFEASIBLE):
            raise SystemExit(f"seed {seed}: {result.status}")
        if result.solution is None:
            explained.append((taken, plainly))
        elif not whole:
            cut.append((taken, plainly))
            more += decide(Question((network,), chip, cut_options), "reasons").solution is None
    note = f"of {count}: by memory alone {len(matched)} match, {plain} fit as whole layers, {placed} here"
    found = [
        Row("divided, placed by joint relays, fused siblings or phases alone", more, "networks", note=note)
    ]
    for name, pairs in (("proven optimum", cut), ("proven infeasible", explained)):
        ours, plainly_taken = ([pair[n] for pair in pairs] for n in (0, 1))
        found.append(
            timed(
                f"divided, {name}",
                median(ours),
                beside="whole layers alone",
                reference=median(plainly_taken),
                is_checked=True,
                note=spread(ours),
            )
        )
    return [*found, sinabs_spent(matched[:SINABS_NETWORKS])]


def same_bytes(count: int) -> Row:
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
    if same != count:
        raise SystemExit(f"same bytes with 1, 2 and 8 workers: {same} of {count}")
    return Row("divided, same bytes with 1, 2 and 8 workers", same, "networks", note=f"of {count}")


@cache
def large_set(layers: int) -> list[NormalNetwork]:
    """Random networks of so many layers in all that fit Speck 2f one by one."""
    networks: list[NormalNetwork] = []
    small, have, seed = mapper.load_chip("speck2f"), 0, 0
    while have < layers:
        network = random_speck_network(seed)
        seed += 1
        count = len(network.layers)
        if layers - have - count in (1, 2) or count > layers - have:
            continue
        if fits(Question((network,), small, SolveOptions(repairs=0))):
            networks.append(network.replacing(name=f"n{len(networks)}"))
            have += count
    return networks


def several(layers: int, cores: int) -> Row:
    """Random networks that fit Speck 2f one by one, together on a large chip."""
    networks = large_set(layers)
    with stopwatch() as spent:
        result, _ = checked(networks, four_classes(cores), SolveOptions(repairs=0))
    proven = [s.name for s in result.require().objectives if s.value == s.bound]
    note = f"{len(networks)} networks: {result.status.value}, proven: {', '.join(proven)}"
    return timed(f"divided, {layers} layers on {cores} cores", spent, "s", note=note)


def family_networks(draws: int) -> Iterator[tuple[str, list[NormalNetwork]]]:
    """Networks that pieces, copies and relays of single signals place badly or not at all."""
    # Another checkout may not have them.
    from tests.offer_networks import dense, inception, residual  # noqa: PLC0415
    from tests.phase_networks import family  # noqa: PLC0415

    for make, sizes in ((residual, range(2, 8)), (dense, range(2, 6)), (inception, range(1, 3))):
        for floats in (False, True):
            networks = [prepare(make(n, size, floats=floats)) for size in sizes for n in range(draws)]
            yield f"{make.__name__}, {'floats' if floats else 'integers'}", networks
    yield "first layer at 128x128", [family(n) for n in range(5 * draws)]
    yield "wide.yaml", [prepare(load_network(ROOT / "mapper" / "data" / "wide.yaml"))]


def families(draws: int) -> None:
    """Times of placements with the new moves, and what is placed."""
    chip, options, every = mapper.load_chip("speck2f"), SolveOptions(repairs=0), []
    for name, networks in family_networks(draws):
        rows = [measured([network], chip, options) for network in networks]
        moved = [(spent, wall) for result, spent, wall in rows if result.solution and moves_in(result)]
        placed = sum(result.solution is not None for result, _, _ in rows)
        open_ones = sum(result.status not in (Status.OPTIMAL, Status.INFEASIBLE) for result, _, _ in rows)
        print(f"{name}: {placed} of {len(rows)} placed, {len(moved)} with new moves, {open_ones} not proven")
        if moved:
            print(f"  processor: {told([spent for spent, _ in moved])}")
            print(f"  wall clock: {told([wall for _, wall in moved])}")
        every += moved
    print(f"all {len(every)} with new moves, processor: {told([spent for spent, _ in every])}")
    print(f"all {len(every)} with new moves, wall clock: {told([wall for _, wall in every])}")


def moves_in(result: Result) -> bool:
    """Whether layers were put together, added up or rewritten."""
    return any(network.origins for network in result.networks)


def answer() -> None:
    """Of --beside: the status, cores and milliseconds of processor of every seed that is asked for."""
    small, large = mapper.load_chip("speck2f"), four_classes(256)
    for line in sys.stdin:
        is_large = int(line) < 0
        networks = large_set(150) if is_large else [random_speck_network(int(line))]
        result, spent, _ = measured(networks, large if is_large else small, SolveOptions(repairs=0))
        cores = len(result.solution.placements) if result.solution else 0
        print(json.dumps([result.status.value, cores, spent]), flush=True)


def beside(tree: Path, count: int) -> None:
    """Networks that need no new move, here and there, in turns; of two runs the faster one counts."""
    processes = []
    for root in (tree, ROOT):
        command, environment = [sys.executable, __file__, "--answer"], {**os.environ, _TREE: str(root)}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        processes.append(subprocess.Popen(command, env=environment, text=True, cwd=root, **pipes))  # type: ignore[call-overload]  # pipes as keywords

    def asked(which: int, seed: int) -> tuple[str, int, float]:
        to, back = processes[which].stdin, processes[which].stdout
        to.write(f"{seed}\n")
        to.flush()
        status, cores, spent = json.loads(back.readline())
        return status, cores, spent

    groups: dict[str, list[tuple[float, float]]] = {}
    for seed in (0, *range(count), *[-1] * 5):
        turns = [(asked(0, seed), asked(1, seed)) for _ in range(2)]
        (status, cores, _), (new_status, new_cores, _) = turns[0]
        kind = status if (status, cores) == (new_status, new_cores) else f"{status}, then {new_status}"
        kind = "150 layers on 256 cores" if seed < 0 else kind
        spent = [min(turn[n][2] for turn in turns) for n in (0, 1)]
        groups.setdefault(kind, []).append((spent[0], spent[1]))
    for process in processes:
        process.stdin.close()
        process.wait()
    for kind, pairs in groups.items():
        before, after = (list(column) for column in zip(*pairs, strict=True))
        print(f"{kind}: {len(pairs)}, processor time {sum(after) / sum(before):.2f} of {tree}")
        print(f"  there: {told(before)}\n  here: {told(after)}")


def rows(count: int, options: argparse.Namespace) -> list[Row]:
    """The figures of so many random networks, and of large sets."""
    found = [*nine_cores(count), same_bytes(min(count, 60)), several(150, 256)]
    if not options.quick:
        found.append(several(600, 1024))
    if options.large:
        found.append(several(2400, 4096))
    return found


def main() -> None:
    """Print one line a figure."""
    parser = options_of(__doc__)
    parser.add_argument("--networks", type=int, default=2000)
    parser.add_argument("--large", action="store_true", help="2,400 layers on 4,096 cores too")
    parser.add_argument("--families", action="store_true", help="what needs the new moves, and nothing else")
    parser.add_argument("--draws", type=int, default=6, help="of each size of a family")
    parser.add_argument(
        "--beside", type=Path, metavar="TREE", help="against another checkout, and nothing else"
    )
    parser.add_argument("--answer", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.answer:
        answer()
    elif options.families:
        families(options.draws)
    elif options.beside:
        beside(options.beside.resolve(), options.networks)
    else:
        tell(rows(100 if options.quick else options.networks, options), options)


if __name__ == "__main__":
    main()
