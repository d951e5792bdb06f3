"""How the cost of placing grows with the number of cores, in processor time.

    python scripts/bench_growth.py [--quick]

Chains of whole layers, and sets of random networks that need pieces, copies and relays, on chips of four core
classes. The exponent is fitted by least squares to logarithms; 100,000 cores are what the fit gives, not
measured. What was not proven within the limit is told and not fitted.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from benchmark import Row, Spent, in_turn, options_of, stopwatch, tell, timed

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench_divided import large_set
from bench_solve import long_chain

import mapper
from mapper.network import Network
from tests.random_networks import four_classes

SIZES = (64, 128, 256, 512, 1024, 2048, 4096)
BY_MODEL = 100_000
LIMIT_S = 60.0
# Larger ones are solved once.
IN_TURN_MAX = 256


def chains(cores: int) -> Sequence[Network]:
    """One chain that takes nearly every core."""
    return [long_chain(cores * 125 // 128)]


def divided(cores: int) -> Sequence[Network]:
    """Random networks, each of which fits Speck 2f, about one of two by pieces, copies or relays."""
    return large_set(cores * 75 // 128)


def solving(networks: Sequence[Network], cores: int, proven: list[bool]) -> Callable[[], object]:
    """A placement, which adds whether its optimum was proven."""
    chip = four_classes(cores)

    def solve() -> None:
        result = mapper.solve(networks, chip, repairs=0, time_limit_s=LIMIT_S)
        proven.append(result.status is mapper.Status.OPTIMAL)

    return solve


def measured(
    make: Callable[[int], Sequence[Network]], sizes: Sequence[int]
) -> Iterator[tuple[int, Spent, bool]]:
    """By number of cores what a placement took and whether it was proven: small ones in turn, others once."""
    proven: dict[int, list[bool]] = {cores: [] for cores in sizes}
    small = {cores: solving(make(cores), cores, proven[cores]) for cores in sizes if cores <= IN_TURN_MAX}
    for name, spent in in_turn({str(cores): work for cores, work in small.items()}, 5).items():
        yield int(name), spent, all(proven[int(name)])
    for cores in sizes[len(small) :]:
        work = solving(make(cores), cores, proven[cores])
        with stopwatch() as spent:
            work()
        yield cores, spent, all(proven[cores])


def exponent(seconds: Mapping[int, float]) -> tuple[float, float]:
    """The power of the number of cores by which seconds grow, and the seconds of one core, by the fit."""
    power, constant = np.polyfit(np.log(list(seconds)), np.log(list(seconds.values())), 1)
    return float(power), float(np.exp(constant))


def grown(name: str, make: Callable[[int], Sequence[Network]], sizes: Sequence[int]) -> Iterator[Row]:
    """A row for each size, against the smallest, and what is fitted."""
    taken: dict[int, Spent] = {}
    for cores, spent, is_proven in measured(make, sizes):
        if not is_proven:
            note = f"{spent.processor_s:.1f} s, not proven within {LIMIT_S:g} s: not fitted"
            yield Row(f"growth, {name}, {cores} cores", None, note=note)
            break
        taken[cores] = spent
        if cores == sizes[0]:
            yield timed(f"growth, {name}, {cores} cores", spent)
        else:
            yield timed(
                f"growth, {name}, {cores} cores",
                spent,
                beside=f"{sizes[0]} cores",
                reference=taken[sizes[0]],
                is_checked=cores <= IN_TURN_MAX,
            )
    seconds = {cores: spent.processor_s for cores, spent in taken.items()}
    power, one_s = exponent(seconds)
    span = f"fitted from {min(seconds)} to {max(seconds)} cores"
    yield Row(f"growth, {name}, exponent", power, "power of cores", note=span)
    last = dict(list(seconds.items())[-2:])
    yield Row(f"growth, {name}, exponent of the last step", exponent(last)[0], "power of cores")
    model_s = one_s * BY_MODEL**power
    yield Row(f"growth, {name}, {BY_MODEL} cores", model_s, "s", note=f"by model, not measured; {span}")


def rows(*, is_quick: bool) -> list[Row]:
    """The figures."""
    sizes = SIZES[:3] if is_quick else SIZES
    return [*grown("whole layers", chains, sizes), *grown("with moves", divided, sizes)]


def main() -> None:
    """Print one line a figure."""
    options = options_of(__doc__).parse_args()
    tell(rows(is_quick=options.quick), options)


if __name__ == "__main__":
    main()
