"""Feasibility reports: time of a cell, on Dask's workers too, and how much memory they take.

    python scripts/bench_report.py [--networks 50] [--variants 200] [--workers 2] [--quick]

The zoo of published networks and random ones on random variants of Speck 2f with nine cores: memories by
powers of two, one to four destinations a core. A cell is verdict, margin and conflict, as `mapper report` has
it for --variant ones. Dask is measured with 1, 2 and 4 workers on some of the networks and variants: clock
times workers a cell, against the same cells in one process without Dask, and the bytes that a cell takes
there and back.
"""

from __future__ import annotations

import os
import pickle
import random
import resource
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmark import NOT_INSTALLED, Row, Spent, options_of, stopwatch, tell, timed

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from joblib.externals.loky import get_reusable_executor

import mapper
from hwspec.schema import ChipSpec
from hwspec.variant import apply_overrides
from mapper.explore.plan import plan_networks, plan_variants
from mapper.explore.record import Settings
from mapper.explore.sweep import Networks, Place, Variants, _tasks, sweep
from mapper.explore.workers import Task, run_task
from mapper.network import Network
from tests.random_networks import random_speck_network

ROOT = Path(__file__).resolve().parent.parent
CORES = 9
# Variants a worker that are decided before the clock runs.
WARMING = 2


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


class Watch:
    """Memory of this process while cells come in."""

    def __init__(self, total: int) -> None:
        self.steps = [total // 10, total]
        self.seen: list[str] = []

    def __call__(self, done: int) -> None:
        """Note the memory at a tenth and at the end."""
        while self.steps and done >= self.steps[0]:
            self.seen.append(f"{peak_mb()} MB after {self.steps.pop(0)} cells")


def planned(network_count: int, variant_count: int) -> tuple[Networks, Variants]:
    """Files read and variants made, which is not measured."""
    return plan_networks(networks(network_count)), plan_variants([], variants(variant_count))[0]


def on_this_machine(network_count: int, variant_count: int, workers: int) -> list[Row]:
    """Time of a cell on worker processes, and memory."""
    sources, chips = planned(network_count, variant_count)
    cells = len(sources) * len(chips)
    watch = Watch(cells)
    with stopwatch() as spent:
        record = sweep(sources, chips, Settings(), Place(workers=workers), progress=watch)
        if workers > 1:
            # What the workers took is known once they have ended.
            get_reusable_executor().shutdown(wait=True)
    counts = Counter[str](cell.verdict for cell in record.cells)
    if not record.complete or counts["error"]:
        raise SystemExit(f"not all cells were decided: {counts}")
    verdicts = ", ".join(f"{count} {verdict}" for verdict, count in sorted(counts.items()))
    note = f"{cells} cells, {cells / spent.wall_s:.1f} a second: {verdicts}"
    with stopwatch() as written:
        text = record.model_dump_json()
    found = [
        timed(f"report, a cell, {workers} workers", spent.per(cells), note=note),
        timed("report, report.json", written, note=f"{len(text) / 1e6:.1f} MB"),
        Row("report, memory of this process", peak_mb(), "MB", note=", ".join(watch.seen)),
    ]
    if workers > 1:
        found.append(Row("report, memory of the largest worker", peak_mb(resource.RUSAGE_CHILDREN), "MB"))
    return found


def bytes_a_cell(tasks: Sequence[Task]) -> Iterator[Row]:
    """What Dask takes to a worker and back, without its own messages."""
    cells = sum(len(task.chips) for task in tasks)
    outcomes = [run_task(task) for task in tasks]
    out, back = (sum(len(pickle.dumps(each)) for each in group) / cells for group in (tasks, outcomes))
    own = sum(len(pickle.dumps(outcome.cells)) for outcome in outcomes) / cells
    yield Row("report, Dask, bytes out a cell", out, "bytes")
    yield Row("report, Dask, bytes back a cell", back, "bytes", note=f"of which the cells take {own:,.0f}")


def on_dask(network_count: int, variant_count: int) -> Iterator[Row]:
    """Time of a cell on workers of a cluster on this machine, against one process without it."""
    if find_spec("distributed") is None:
        yield Row("report, Dask", None, note=f"dask[distributed]: {NOT_INSTALLED}")
        return
    distributed = import_module("distributed")
    sources, chips = planned(network_count, variant_count)
    cells = len(sources) * len(chips)
    yield from bytes_a_cell(_tasks(sources, chips, Settings(), {}))
    with stopwatch() as alone:
        sweep(sources, chips, Settings(), Place(workers=0))
    cores = os.cpu_count() or 1
    for workers in (1, 2, 4):
        with distributed.LocalCluster(
            n_workers=workers, threads_per_worker=1, dashboard_address=None
        ) as cluster:
            place = Place(scheduler=cluster.scheduler_address)
            # Workers import all that they need with their first cells.
            sweep(sources, chips[: WARMING * workers], Settings(), place)
            before = worker_seconds(cluster)
            with stopwatch() as spent:
                sweep(sources, chips, Settings(), place)
            in_workers = Spent(0.0, worker_seconds(cluster) - before).per(cells)
        busy = min(workers, cores)
        each, one = spent.per(cells), alone.per(cells)
        # Scheduler and client are in this process.
        note = (
            f"efficiency {one.wall_s / (each.wall_s * busy):.2f} of {busy} cores; processors: workers "
            f"{in_workers.processor_s * 1e3:.1f} ms, scheduler and client {each.processor_s * 1e3:.1f} ms"
        )
        yield timed(
            f"report, Dask, {workers} workers, a cell times cores",
            Spent(each.wall_s * busy, in_workers.processor_s + each.processor_s),
            beside="one process, no Dask",
            reference=one,
            note=note,
        )


def worker_seconds(cluster: Any) -> float:
    """Processor time of all workers so far."""
    with import_module("distributed").Client(cluster, set_as_default=False) as client:
        return float(sum(client.run(time.process_time).values()))


def rows(network_count: int, variant_count: int, workers: int) -> list[Row]:
    """The figures."""
    found = on_this_machine(network_count, variant_count, workers)
    return [*found, *on_dask(min(network_count, 10), min(variant_count, 40))]


def main() -> None:
    """Print one line a figure."""
    parser = options_of(__doc__)
    parser.add_argument("--networks", type=int, default=50)
    parser.add_argument("--variants", type=int, default=200)
    parser.add_argument("--workers", type=int, default=min(2, os.cpu_count() or 1))
    options = parser.parse_args()
    network_count, variant_count = (10, 20) if options.quick else (options.networks, options.variants)
    tell(rows(network_count, variant_count, options.workers), options)


if __name__ == "__main__":
    main()
