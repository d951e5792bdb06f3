"""The smallest chips: how long the proof takes, or which gap is left.

    python scripts/bench_synthesis.py [--sets 6] [--limit 60] [--zoo] [--quick]

1. sets of five random networks of 4 to 8 layers, in turns on up to nine cores with memories of 1 Ki to
   64 Ki words: time to the proven least memory, and to the chip that every run gives;
2. with --zoo: the published networks that some chip of nine such cores carries, and both curves of them
   within what the limit leaves: time, and how many points are proven;
3. the widest network: the gesture network on Speck 2f.

Times are those of one run, networks read and prepared before, every result placed and checked after.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import get_args

from benchmark import Row, Spent, median, options_of, stopwatch, tell, timed

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import mapper
from mapper.errors import InfeasibleError, MapperError, UndecidedError
from mapper.explore.request import Request, default_sizes
from mapper.explore.smallest import Answer, curves, synthesize
from mapper.explore.widest import What, find_widest
from mapper.frontends import load_network
from mapper.normal_form import NormalNetwork
from mapper.options import SolveOptions
from mapper.passes import prepare
from mapper.reasons import Status
from tests.random_networks import random_speck_network

ZOO = Path(__file__).resolve().parent.parent / "tests" / "data" / "zoo"


def request(limit: float, *, cores: tuple[int, int] = (1, 9)) -> Request:
    """What is asked in all of these measurements."""
    base = mapper.load_chip("speck2f")
    destinations = (base.routing.fan_out, base.routing.fan_out)
    options = SolveOptions(repairs=0, time_limit_s=limit)
    return Request(base, cores, default_sizes(base), destinations, options=options)


def is_carried(network: NormalNetwork, wanted: Request) -> bool:
    """Whether some chip carries the network."""
    try:
        synthesize([network], wanted)
    except (InfeasibleError, UndecidedError):
        return False
    return True


def random_set(seed: int, wanted: Request) -> list[NormalNetwork]:
    """Five random networks of 4 to 8 layers that nine cores can carry."""
    chosen: list[NormalNetwork] = []
    draw = 1000 * seed
    while len(chosen) < 5:
        network = prepare(random_speck_network(draw).replacing(name=f"net{len(chosen)}"))
        draw += 1
        if 4 <= len(network.layers) <= 8 and is_carried(network, wanted):
            chosen.append(network)
    return chosen


def zoo(wanted: Request) -> list[NormalNetwork]:
    """Published networks that can be read, and that some chip carries."""
    found = []
    for path in sorted(ZOO.glob("*.yaml")):
        try:
            network = prepare(load_network(path))
        except MapperError:
            continue
        if is_carried(network, wanted):
            found.append(network)
    return found


def measured(networks: Sequence[NormalNetwork], wanted: Request) -> tuple[Answer | None, Spent]:
    """A chip, and what it took."""
    with stopwatch() as spent:
        try:
            answer = synthesize(networks, wanted)
        except UndecidedError:
            answer = None
    return answer, spent


def told(answer: Answer | None) -> str:
    """Memory and proof in one line."""
    if answer is None:
        return "no chip within the limit"
    proof = "proven" if answer.smallest.status is Status.OPTIMAL else f"gap {answer.gap:.2%}"
    unique = "" if answer.smallest.is_unique else ", ties not broken"
    speck = sum(core.capacity_bits for core in mapper.load_chip("speck2f").cores)
    share = answer.smallest.capacity_bits / speck
    return (
        f"{answer.smallest.capacity_bits} bits ({share:.2f} of Speck 2f's), {answer.chip.core_count} cores, "
        f"{proof}{unique}, {answer.smallest.variables} variables"
    )


def random_sets(count: int, wanted: Request) -> Iterator[Row]:
    """Five networks at a time."""
    every = []
    for seed in range(count):
        networks = random_set(seed, wanted)
        answer, spent = measured(networks, wanted)
        every.append(spent)
        layers = "+".join(str(len(network.layers)) for network in networks)
        yield timed(f"synthesis, {layers} layers", spent, "s", note=told(answer))
    note = f"{count} sets, max {max(spent.wall_s for spent in every):.1f} s"
    yield timed("synthesis, five random networks", median(every), "s", note=note)


def published(wanted: Request) -> Iterator[Row]:
    """All that fit at once, and both curves."""
    networks = zoo(wanted)
    answer, spent = measured(networks, wanted)
    yield timed(f"synthesis, {len(networks)} published networks", spent, "s", note=told(answer))
    if answer is None:
        return
    with stopwatch() as spent:
        made = curves(networks, wanted, answer)
    for title, points in (("cores", made.by_cores), ("networks", made.by_networks)):
        for number, point in points:
            text = told(point) if isinstance(point, Answer) else point.stopped_by or "no chip"
            print(f"    {number} {title}: {text}", file=sys.stderr)
    every = [point for _, point in (*made.by_cores, *made.by_networks)]
    proven = sum(
        point.smallest.status is Status.OPTIMAL if isinstance(point, Answer) else point.stopped_by is None
        for point in every
    )
    note = f"{proven} of {len(every)} points proven"
    yield timed("synthesis, both curves", spent, "s", note=note)


def widest() -> Iterator[Row]:
    """The gesture network on the chip that it fills."""
    network = prepare(load_network(ZOO / "sinabs_dvs_gesture_9layer.yaml"))
    for what in get_args(What):
        with stopwatch() as spent:
            found = find_widest(network, mapper.load_chip("speck2f"), what)
        note = f"{found.size}, {found.tried} sizes tried"
        yield timed(f"synthesis, widest gesture network, {what}", spent, "s", note=note)


def main() -> None:
    """Print one line a figure."""
    parser = options_of(__doc__)
    parser.add_argument("--sets", type=int, default=6)
    parser.add_argument("--limit", type=float, default=60.0, help="seconds a chip")
    parser.add_argument("--zoo", action="store_true")
    options = parser.parse_args()
    wanted = request(options.limit)
    sets = min(options.sets, 2) if options.quick else options.sets
    found = [*random_sets(sets, wanted)] if sets else []
    found += [*published(wanted)] if options.zoo else []
    tell([*found, *widest()], options)


if __name__ == "__main__":
    main()
