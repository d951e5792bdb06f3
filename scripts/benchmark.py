"""What all benchmarks share: a figure as a row, how times are taken in turn, and how rows are shown."""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass

__all__ = [
    "NOT_INSTALLED",
    "Row",
    "Spent",
    "in_turn",
    "median",
    "options_of",
    "processor_seconds",
    "stopwatch",
    "table",
    "tell",
    "timed",
]

NOT_INSTALLED = "not installed"
_PER_SECOND = {"s": 1.0, "ms": 1e3, "ns": 1e9}


@dataclass(frozen=True, slots=True)
class Row:
    """One figure; the larger, the worse, so that a ratio that grows is one that got worse.

    Attributes
    ----------
    value, unit
        Of times, that on the clock. None where it could not be measured: `note` says why.
    processor
        The time of all processors, children included, in the same unit.
    beside, reference, reference_processor
        What was measured in turn with it, and its value.
    is_checked
        The ratio means the same on any machine: `bench.py --check` holds it against the baseline.
    """

    name: str
    value: float | None
    unit: str = ""
    processor: float | None = None
    beside: str = ""
    reference: float | None = None
    reference_processor: float | None = None
    is_checked: bool = False
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """Value over reference: of the processors where known, since other work stretches the clock."""
        for value, reference in (
            (self.processor, self.reference_processor),
            (self.value, self.reference),
        ):
            if value is not None and reference:
                return value / reference
        return None


@dataclass(slots=True)
class Spent:
    """Seconds that some work took: on the clock, and of the processors."""

    wall_s: float = 0.0
    processor_s: float = 0.0

    def per(self, count: float) -> Spent:
        """The part of one of so many cells, operations or the like."""
        return Spent(self.wall_s / count, self.processor_s / count)


def processor_seconds() -> float:
    """What this process and its ended children have spent."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


@contextmanager
def stopwatch() -> Iterator[Spent]:
    """What the block took, once it has ended."""
    spent = Spent()
    wall, processor = time.perf_counter(), processor_seconds()
    yield spent
    spent.wall_s = time.perf_counter() - wall
    spent.processor_s = processor_seconds() - processor


def median(spent: Sequence[Spent]) -> Spent:
    """The medians of both, each for itself."""
    return Spent(
        statistics.median(each.wall_s for each in spent),
        statistics.median(each.processor_s for each in spent),
    )


def in_turn(works: Mapping[str, Callable[[], object]], runs: int) -> dict[str, Spent]:
    """Medians of each work: A B A B, so that whatever else the machine does meets all of them.

    The first run of each does not count: it imports, compiles and fills caches.
    """
    taken: dict[str, list[Spent]] = {name: [] for name in works}
    for number in range(runs + 1):
        for name, work in works.items():
            with stopwatch() as spent:
                work()
            if number:
                taken[name].append(spent)
    return {name: median(each) for name, each in taken.items()}


def users_environment() -> dict[str, str]:
    """The environment of whoever uses the commands: with the compiled modules that an earlier run left."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def timed(
    name: str,
    spent: Spent,
    unit: str = "ms",
    *,
    beside: str = "",
    reference: Spent | None = None,
    is_checked: bool = False,
    note: str = "",
) -> Row:
    """A row of times."""
    scale = _PER_SECOND[unit]
    return Row(
        name,
        spent.wall_s * scale,
        unit,
        spent.processor_s * scale,
        beside,
        None if reference is None else reference.wall_s * scale,
        None if reference is None else reference.processor_s * scale,
        is_checked,
        note,
    )


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


HEADER = ("figure", "clock", "processor", "unit", "beside", "its clock", "its processor", "ratio", "note")


def table(rows: Sequence[Row], *, is_markdown: bool = False) -> str:
    """The rows as aligned text, or as a table of Markdown."""
    lines = [HEADER]
    for row in rows:
        value = row.note if row.value is None else _number(row.value)
        note = "" if row.value is None else row.note
        numbers = (_number(row.reference), _number(row.reference_processor), _number(row.ratio))
        lines.append((row.name, value, _number(row.processor), row.unit, row.beside, *numbers, note))
    if is_markdown:
        marked = [f"| {' | '.join(line)} |" for line in lines]
        return "\n".join([marked[0], f"|{'---|' * len(HEADER)}", *marked[1:]])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(f"{cell:{width}}" for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def options_of(description: str | None) -> argparse.ArgumentParser:
    """The options that every benchmark has."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="fewer and smaller instances")
    parser.add_argument("--json", action="store_true", help="rows as JSON, which bench.py reads")
    return parser


def tell(rows: Sequence[Row], options: argparse.Namespace) -> None:
    """Print the rows of one benchmark."""
    print(json.dumps([asdict(row) for row in rows]) if options.json else table(rows))
