"""All benchmarks by one command, and whether something became slower.

    python scripts/bench.py [--quick] [--only NAME ...] [--out FILE] [--markdown FILE]
    python scripts/bench.py --against FILE
    python scripts/bench.py --check [FILE]

Each benchmark is a process of its own (`scripts/bench_NAME.py`), and one that fails is told while the others
go on. Its ratios are of what was measured in turn in one run. --against compares them with those of an
earlier --out. --check ends with status 1 if a ratio that means the same on any machine is 1.3 times that of a
file, without FILE that of `scripts/bench_baseline.json`; what seems so is measured once more before.
--baseline FILE writes such a file; ratios that are there stay unless they were measured.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmark import NOT_INSTALLED, Row, table

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from mapper.files import require_writable, write_all

ROOT = Path(__file__).resolve().parent.parent
NAMES = (
    "processes",
    "solve",
    "divided",
    "growth",
    "why_not",
    "sim",
    "events",
    "convert",
    "memory",
    "report",
    "synthesis",
)
BASELINE = ROOT / "scripts" / "bench_baseline.json"
WORSE = 1.3
PACKAGES = ("dynapcnn-mapper", "numpy", "ortools", "torch", "numba", "nir", "sinabs", "distributed")


def rows_of(name: str, *, is_quick: bool) -> list[Row]:
    """The rows of one benchmark, or one that says that it failed; what it tells meanwhile goes to stderr."""
    command = [sys.executable, str(ROOT / "scripts" / f"bench_{name}.py"), "--json"]
    done = subprocess.run([*command, *["--quick"][:is_quick]], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        return [Row(name, None, note=f"failed with exit status {done.returncode}")]
    return [Row(**row) for row in json.loads(done.stdout.splitlines()[-1])]


def processor_name() -> str:
    """The model, where the system tells it."""
    told = Path("/proc/cpuinfo")
    lines = told.read_text(encoding="utf-8").splitlines() if told.exists() else []
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.processor() or platform.machine())


def package_version(name: str) -> str:
    """The installed version, or that there is none."""
    try:
        return version(name)
    except PackageNotFoundError:
        return NOT_INSTALLED


def machine() -> dict[str, Any]:
    """Where and with what the figures were measured."""
    return {
        "processor": processor_name(),
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "packages": {name: package_version(name) for name in PACKAGES},
    }


def ratios_of(rows: Sequence[Row], *, only_checked: bool = False) -> dict[str, float]:
    """By name, ratios of what was measured in turn."""
    return {
        row.name: row.ratio for row in rows if row.ratio is not None and (row.is_checked or not only_checked)
    }


def read_ratios(path: Path) -> dict[str, float]:
    """The ratios of a file of --out or --baseline."""
    ratios: dict[str, float] = json.loads(path.read_text(encoding="utf-8"))["ratios"]
    return ratios


def compared(now: Mapping[str, float], before: Mapping[str, float]) -> Iterator[tuple[str, float]]:
    """By name, the ratio of ratios: above 1 it got worse."""
    return ((name, ratio / before[name]) for name, ratio in now.items() if before.get(name))


def worse(now: Mapping[str, float], before: Mapping[str, float]) -> list[str]:
    """A sentence for each ratio that got `WORSE` times what it was, or more."""
    return [
        f"{name}: ratio {now[name]:.3g}, was {before[name]:.3g}: {change:.2f} times"
        for name, change in compared(now, before)
        if change >= WORSE
    ]


def checked(
    rows: Mapping[str, Sequence[Row]], before: Mapping[str, float], *, is_quick: bool
) -> tuple[int, list[str]]:
    """How many ratios were compared, and what got worse in a second measurement as well."""
    count, found = 0, list[str]()
    for name, those in rows.items():
        now = ratios_of(those, only_checked=True)
        count += sum(1 for _ in compared(now, before))
        if worse(now, before):
            print(f"{name}: measured once more", file=sys.stderr)
            again = ratios_of(rows_of(name, is_quick=is_quick), only_checked=True)
            found += worse({each: min(ratio, again.get(each, ratio)) for each, ratio in now.items()}, before)
    return count, found


def measured(names: Sequence[str], *, is_quick: bool) -> tuple[dict[str, list[Row]], dict[str, Any]]:
    """The rows of every benchmark, and what is written of the run."""
    load = [*os.getloadavg()]
    rows = {}
    for name in names:
        print(f"bench_{name}.py ...", file=sys.stderr, flush=True)
        rows[name] = rows_of(name, is_quick=is_quick)
    every = [row for those in rows.values() for row in those]
    return rows, {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "is_quick": is_quick,
        "machine": machine(),
        "load_before": load,
        "load_after": [*os.getloadavg()],
        "rows": [{**asdict(row), "ratio": row.ratio} for row in every],
        "ratios": ratios_of(every),
    }


def told(run: Mapping[str, Any]) -> str:
    """When and where, in two lines."""
    place = run["machine"]
    packages = ", ".join(f"{name} {installed}" for name, installed in place["packages"].items())
    loads = [" ".join(f"{load:.2f}" for load in run[f"load_{when}"]) for when in ("before", "after")]
    where = f"{run['date']}, {place['processor']}, {place['cores']} cores"
    return f"{where}, load {loads[0]} before, {loads[1]} after\nPython {place['python']}, {packages}"


def options_read(words: Sequence[str] | None) -> argparse.Namespace:
    """What is asked."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--only", nargs="+", choices=NAMES, default=NAMES, metavar="NAME", help=", ".join(NAMES)
    )
    parser.add_argument("--quick", action="store_true", help="fewer and smaller instances")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write all of it as JSON")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table")
    parser.add_argument(
        "--baseline", type=Path, metavar="FILE", help="write the ratios that --check compares"
    )
    parser.add_argument("--against", type=Path, metavar="FILE", help="an earlier --out")
    parser.add_argument("--check", type=Path, nargs="?", const=BASELINE, metavar="FILE")
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> int:
    """Measure, show, write and compare; the exit status."""
    options = options_read(words)
    # An input that cannot be read, or a file that cannot be written, is told before all is measured.
    earlier = {path: read_ratios(path) for path in (options.against, options.check) if path}
    kept = read_ratios(options.baseline) if options.baseline and options.baseline.exists() else {}
    outputs = [path for path in (options.out, options.markdown, options.baseline) if path]
    require_writable(*outputs, read=[path for path in earlier if path != options.baseline])
    rows, run = measured(options.only, is_quick=options.quick)
    every = [row for those in rows.values() for row in those]
    print(f"{told(run)}\n\n{table(every)}")
    texts = {
        options.out: json.dumps(run, indent=1) + "\n",
        options.markdown: f"{told(run)}\n\n{table(every, is_markdown=True)}\n",
        options.baseline: json.dumps({"ratios": kept | ratios_of(every, only_checked=True)}, indent=1) + "\n",
    }
    write_all({path: texts[path] for path in outputs})
    if options.against:
        print(f"\nratios against {options.against}, above 1 is worse:")
        for name, change in compared(run["ratios"], earlier[options.against]):
            print(f"  {change:6.2f}  {name}")
    has_failed = any(row.note.startswith("failed") for row in every if row.value is None)
    if options.check is None:
        return int(has_failed)
    count, found = checked(rows, earlier[options.check], is_quick=options.quick)
    print(
        f"\n{count} ratios against {options.check}: {len(found)} got {WORSE} times worse", *found, sep="\n  "
    )
    # What compares nothing has checked nothing.
    return int(has_failed or bool(found) or count == 0)


if __name__ == "__main__":
    sys.exit(main())
