"""Feasibility reports: cells per second, and how much memory they take.

    python scripts/bench_report.py [--networks 50] [--variants 200] [--workers 2]

The zoo of published networks and random ones on random variants of Speck 2f with nine cores: memories by
powers of two, one to four destinations a core. A cell is verdict, margin and conflict, as `mapper report` has
it for --variant ones. Beside the time on the clock stands that of the processors: on a busy machine it tells
more.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import sys
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from joblib.externals.loky import get_reusable_executor

import mapper
from hwspec.schema import ChipSpec
from hwspec.variant import apply_overrides
from mapper.explore.plan import plan_networks, plan_variants
from mapper.explore.record import ReportRecord, Settings
from mapper.explore.sweep import Place, sweep
from mapper.network import Network
from tests.random_networks import random_speck_network

ROOT = Path(__file__).resolve().parent.parent
CORES = 9


def networks(count: int) -> list[Path | Network]:
    """The zoo, then random networks of three to nine layers."""
    zoo = sorted((ROOT / "tests" / "data" / "zoo").glob("*.yaml"))[:count]
    more = range(count - len(zoo))
    return [*zoo, *(random_speck_network(seed).replacing(name=f"random{seed}") for seed in more)]


def variants(count: int) -> list[ChipSpec]:
    """Speck 2f with other memories on about half of its cores and, for one in three, another fan-out."""
    draw, chip, made = random.Random(1), mapper.load_chip("speck2f"), []  # noqa: S311  # no secret
    for number in range(count):
        changes = [
            f"core[{core}].{memory}={2 ** draw.randint(12, 17)}"
            for core in range(CORES)
            for memory in ("kernel_words", "neuron_words")
            if draw.random() < 0.4
        ]
        if draw.random() < 0.3:
            changes.append(f"routing.fan_out={draw.randint(1, 4)}")
        made.append(apply_overrides(chip, changes, name=f"variant{number}"))
    return made


def peak_mb(who: int = resource.RUSAGE_SELF) -> int:
    """Largest resident memory so far, in MB."""
    return resource.getrusage(who).ru_maxrss // 1024


def processor_seconds() -> float:
    """What this process and its ended children have spent."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


class Watch:
    """Memory of this process while cells come in."""

    def __init__(self, total: int) -> None:
        self.steps = [total // 10, total]
        self.seen: list[str] = []

    def __call__(self, done: int) -> None:
        """Note the memory at a tenth and at the end."""
        while self.steps and done >= self.steps[0]:
            self.seen.append(f"{peak_mb()} MB after {self.steps.pop(0)} cells")


def measured(options: argparse.Namespace) -> tuple[ReportRecord, float, Watch]:
    """The report, the seconds that it took, and its memory; reading files and making variants not counted."""
    sources = plan_networks(networks(options.networks))
    chips, _ = plan_variants([], variants(options.variants))
    watch = Watch(len(sources) * len(chips))
    start = time.perf_counter()
    record = sweep(sources, chips, Settings(), Place(workers=options.workers), progress=watch)
    return record, time.perf_counter() - start, watch


def main() -> None:
    """Print one line a figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--networks", type=int, default=50)
    parser.add_argument("--variants", type=int, default=200)
    parser.add_argument("--workers", type=int, default=min(2, os.cpu_count() or 1))
    options = parser.parse_args()
    record, seconds, watch = measured(options)
    counts = Counter[str](cell.verdict for cell in record.cells)
    cells = len(record.cells)
    size = f"{options.networks} networks, {options.variants} variants of {CORES} cores"
    print(
        f"{cells} cells ({size}), {options.workers} workers: {seconds:.1f} s, {cells / seconds:.1f} cells/s"
    )
    print(f"  {', '.join(f'{count} {verdict}' for verdict, count in sorted(counts.items()))}")
    print(f"  this process: {', '.join(watch.seen)}")
    start = time.perf_counter()
    text = record.model_dump_json()
    print(f"  report.json: {len(text) / 1e6:.1f} MB in {time.perf_counter() - start:.2f} s")
    if options.workers > 1:
        # What the workers took is known once they have ended.
        get_reusable_executor().shutdown(wait=True)
        print(f"  largest worker: {peak_mb(resource.RUSAGE_CHILDREN)} MB")
    spent = processor_seconds()
    print(f"  processor time: {spent:.1f} s, {1e3 * spent / cells:.1f} ms a cell")
    if not record.complete or counts["error"]:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
