"""Networks against variants: every cell decided once, streamed, kept, and resumable."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeAlias

from mapper.asking import CACHE, RESUME
from mapper.deadline import Deadline
from mapper.errors import Finding, OptionsError, TimeLimitError
from mapper.explore.cache import CellCache, cell_key, is_sealed, sealed
from mapper.explore.cell import CellOptions, at
from mapper.explore.cluster import on_cluster
from mapper.explore.identity import facts_hash, program_version
from mapper.explore.plan import PlannedNetwork, PlannedVariant
from mapper.explore.record import REPORT_MAX, Cell, NetworkRow, ReportRecord, Settings, VariantRow
from mapper.explore.summary import network_summaries, variant_summaries
from mapper.explore.taken import is_true
from mapper.explore.workers import Task, TaskOutcome, in_this_process, on_cores
from mapper.options import SolveOptions, resolve
from mapper.wording import counted

__all__ = ["Place", "Resumed", "sweep"]

Networks: TypeAlias = Sequence[PlannedNetwork]
Variants: TypeAlias = Sequence[PlannedVariant]
Cells: TypeAlias = dict[tuple[int, int], Cell]
LookUp: TypeAlias = Callable[[PlannedNetwork, PlannedVariant], Cell | None]

# Cells of one task: few enough that progress is seen and a lost task costs little, many enough that sending
# a network costs little.
_CELLS_PER_TASK = 10
_FAILED = "that had failed"


@dataclass(frozen=True, slots=True)
class Place:
    """Where cells are decided and kept.

    Attributes
    ----------
    workers
        Processes on this machine; 0 for this process alone, None for one a core.
    scheduler
        Address of a Dask scheduler, which is used instead.
    cache
        A folder for cells.
    time_limit_s
        Wall-clock limit of a sweep in seconds, > 0, start of workers included, or None. Cells that it cuts
        are dropped, and those that are there are the same as without it.
    """

    workers: int | None = None
    scheduler: str | None = None
    cache: Path | None = None
    time_limit_s: float | None = None


@dataclass(frozen=True, slots=True)
class Resumed:
    """What became of the cells of an earlier report.

    Attributes
    ----------
    taken
        How many were taken over.
    anew
        By why not, how many are decided anew.
    """

    taken: int
    anew: Mapping[str, int]


def sweep(
    networks: Networks,
    variants: Variants,
    settings: Settings | None = None,
    place: Place | None = None,
    *,
    notes: Sequence[str] = (),
    resume: ReportRecord | None = None,
    progress: Callable[[int], None] | None = None,
    on_resume: Callable[[Resumed], object] | None = None,
) -> ReportRecord:
    """Decide every network on every variant; Ctrl-C and the time limit end it with a part, `complete` False.

    Parameters
    ----------
    notes
        For the report.
    resume
        A report under the same settings: what it has of the same networks and variants is taken over.
    progress
        Called with the number of cells that are there.
    on_resume
        Called with what became of the cells of `resume`.

    Raises
    ------
    OptionsError
        Settings out of range, more cells than a report may hold, a report that cannot be resumed, a folder
        that cannot be written to, a scheduler that does not answer.
    BackendMissingError
        A scheduler is given and Dask is not installed.
    """
    chosen, where = settings or Settings(), place or Place()
    _require_possible(networks, variants, chosen, where)
    cells = _known(networks, variants, _unread)
    if resume is not None:
        earlier = _Earlier(resume, chosen)
        cells |= _known(networks, variants, earlier.read)
        notes = (*notes, *earlier.notes)
        if on_resume is not None:
            on_resume(earlier.resumed)
    keep = _Keep(None if where.cache is None else CellCache(where.cache), chosen)
    deadline = Deadline.after(where.time_limit_s)
    report_progress = progress or (lambda _: None)
    # These end this block alone: what is there then is a report, which can be read, shown and resumed.
    with suppress(KeyboardInterrupt, TimeLimitError):
        cells = _known(networks, variants, keep.read) | cells
        report_progress(len(cells))
        with closing(_outcomes(_tasks(networks, variants, chosen, cells), where, deadline)) as outcomes:
            for outcome in outcomes:
                number = outcome.task.network_index
                for variant, cell in zip(outcome.task.variant_indexes, outcome.cells, strict=False):
                    key = _key(networks[number], variants[variant], chosen)
                    cells[number, variant] = at(sealed(cell, key), number, variant)
                    keep.write(key, cells[number, variant])
                report_progress(len(cells))
                if outcome.is_interrupted:
                    raise KeyboardInterrupt
    return _record(networks, variants, chosen, cells, (*notes, *keep.failure))


def _require_possible(networks: Networks, variants: Variants, settings: Settings, place: Place) -> None:
    """Refuse a report that no command would read, and wrong options, which are no failing cells."""
    sides = len(networks), len(variants)
    counts = {"networks": sides[0], "variants": sides[1], "cells": sides[0] * sides[1]}
    step = "Make several reports"
    findings = [
        Finding("report", f"would have too many {name}", count, REPORT_MAX[name], next_step=step)
        for name, count in counts.items()
        if count > REPORT_MAX[name]
    ]
    if findings:
        raise OptionsError(*findings)
    for entry in variants:
        resolve(settings.options, (), entry.chip)
        resolve(SolveOptions(time_limit_s=place.time_limit_s), (), entry.chip)


class _Keep:
    """The cache of a sweep, if it has one; where it cannot be written to any more, the sweep goes on."""

    def __init__(self, cache: CellCache | None, settings: Settings) -> None:
        self._cache, self._settings = cache, settings
        self.failure: tuple[str, ...] = ()

    def read(self, network: PlannedNetwork, variant: PlannedVariant) -> Cell | None:
        cell = None if self._cache is None else self._cache.read(_key(network, variant, self._settings))
        return cell if cell is not None and _holds(cell, network, variant, self._settings) else None

    def write(self, key: str, cell: Cell) -> None:
        if self._cache is None or self.failure:
            return
        try:
            self._cache.write(key, cell)
        except OptionsError as error:
            self.failure = (f"the cache keeps nothing from here on: {error}",)


def _holds(cell: Cell, network: PlannedNetwork, variant: PlannedVariant, settings: Settings) -> bool:
    """Whether a cell from a file, whose checksum is right, says what is true of its placement."""
    asked = _options_for(settings, variant)
    return network.network is not None and is_true(cell, network.network, variant.chip, asked)


def _record(
    networks: Networks, variants: Variants, settings: Settings, cells: Cells, notes: Sequence[str]
) -> ReportRecord:
    ordered = tuple(cells[key] for key in sorted(cells))
    rows, chips = tuple(entry.row for entry in networks), tuple(entry.row for entry in variants)
    return ReportRecord(
        version=program_version(),
        complete=len(cells) == len(networks) * len(variants) and not any(cell.is_failed for cell in ordered),
        settings=settings,
        networks=rows,
        variants=chips,
        cells=ordered,
        variant_summaries=variant_summaries(chips, ordered),
        network_summaries=network_summaries(rows, chips, ordered),
        notes=tuple(notes),
    )


def _options_for(settings: Settings, variant: PlannedVariant) -> CellOptions:
    named = {"all": True, "chips": variant.row.is_chip, "none": False}
    return CellOptions(settings.options, repairs=named[settings.repairs], details=named[settings.details])


def _key(network: PlannedNetwork, variant: PlannedVariant, settings: Settings) -> str:
    return cell_key(network.row.network_hash, variant.row.chip_hash, _options_for(settings, variant))


def _known(networks: Networks, variants: Variants, look_up: LookUp) -> Cells:
    """Cells that need not be decided any more, with their indexes."""
    pairs = (
        (n, v, look_up(network, entry))
        for n, network in enumerate(networks)
        for v, entry in enumerate(variants)
    )
    return {(n, v): at(cell, n, v) for n, v, cell in pairs if cell is not None}


def _unread(network: PlannedNetwork, _: PlannedVariant) -> Cell | None:
    if network.network is not None:
        return None
    return Cell(network=0, variant=0, verdict=network.failure, sentence=network.row.error)


class _Earlier:
    """Cells of an earlier report, by the hashes of their network and chip; faults are tried again."""

    def __init__(self, resume: ReportRecord, settings: Settings) -> None:
        _require_same_question(resume, settings)
        # What is kept of a cell depends on whether its variant counts as a chip.
        self._cells = {
            _hashes(resume.networks[cell.network], resume.variants[cell.variant]): cell
            # Of the same network twice, one may have failed and the other not.
            for cell in sorted(resume.cells, key=lambda cell: not cell.is_failed)
            if resume.networks[cell.network].network_hash
        }
        self._settings = settings
        self._taken, self._anew = 0, Counter[str]()

    @property
    def resumed(self) -> Resumed:
        """What became of the cells that were looked up."""
        return Resumed(self._taken, dict(self._anew))

    @property
    def notes(self) -> tuple[str, ...]:
        """What a report says of cells that are not as they were written; of failed ones it says nothing."""
        anew = ((why, times) for why, times in self._anew.items() if why != _FAILED)
        return tuple(f"{counted(n, 'cell')} of the resumed report {why}: decided anew" for why, n in anew)

    def read(self, network: PlannedNetwork, variant: PlannedVariant) -> Cell | None:
        """The cell, if there is one and it is believed."""
        cell = self._cells.get(_hashes(network.row, variant.row))
        if cell is None:
            return None
        if why := self._why_not(cell, network, variant):
            self._anew[why] += 1
            return None
        self._taken += 1
        return cell

    def _why_not(self, cell: Cell, network: PlannedNetwork, variant: PlannedVariant) -> str:
        """Why a cell is decided anew; "" where it is not."""
        if cell.is_failed:
            return _FAILED
        if not is_sealed(cell, _key(network, variant, self._settings)):
            return "without a right checksum"
        is_right = _holds(cell, network, variant, self._settings)
        return "" if is_right else "with a placement that the checker refuses, or that says something else"


def _require_same_question(resume: ReportRecord, settings: Settings) -> None:
    """Refuse a report of another version or of other settings."""
    step = f"Leave {RESUME} out, or use {CACHE.to('DIR')}, which keeps cells under all settings"
    if resume.version != program_version():
        problem = "was made by another version of this program"
        raise OptionsError(Finding(str(RESUME), problem, resume.version, program_version(), next_step=step))
    if resume.settings != settings:
        old, new = (
            {**asdict(x.options), **x.model_dump(exclude={"options"})} for x in (resume.settings, settings)
        )
        names = ", ".join(name for name in new if old[name] != new[name])
        problem = f"the report was made with other settings: {names}"
        raise OptionsError(Finding(str(RESUME), problem, next_step=step))


def _hashes(network: NetworkRow, variant: VariantRow) -> tuple[str, str, bool]:
    return network.network_hash, variant.chip_hash, variant.is_chip


def _tasks(networks: Networks, variants: Variants, settings: Settings, done: Cells) -> list[Task]:
    """The cells that are missing: those with repairs first, since they take longest.

    Variants with the same facts stand in one task, where they share what is decided.
    """
    options = [_options_for(settings, entry) for entry in variants]
    groups: dict[tuple[bool, bool, str], list[int]] = {}
    for variant, entry in enumerate(variants):
        key = (options[variant].repairs, options[variant].details, facts_hash(entry.chip))
        groups.setdefault(key, []).append(variant)
    quick: list[list[int]] = []
    slow: list[list[int]] = []
    for (repairs, details, _), members in groups.items():
        if repairs or details:
            slow.append(members)
        elif quick and len(quick[-1]) + len(members) <= _CELLS_PER_TASK:
            quick[-1].extend(members)
        else:
            quick.append(members)
    tasks = []
    for bundle in slow + quick:
        for number, planned in enumerate(networks):
            left = tuple(variant for variant in bundle if (number, variant) not in done)
            if planned.network is not None and left:
                chips = tuple(variants[variant].chip for variant in left)
                tasks.append(Task(number, planned.network, left, chips, options[left[0]]))
    return tasks


def _outcomes(tasks: list[Task], place: Place, deadline: Deadline) -> Generator[TaskOutcome, None, None]:
    if place.scheduler is not None:
        return on_cluster(tasks, place.scheduler, deadline)
    if place.workers == 0 or not tasks:
        return in_this_process(tasks, deadline)
    from joblib import cpu_count  # noqa: PLC0415  # loads slowly; knows of limits put on this process

    return on_cores(tasks, min(place.workers or cpu_count(), len(tasks)), deadline)
