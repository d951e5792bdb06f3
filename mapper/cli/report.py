"""The command that reports which networks fit which chips."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from hwspec.inert import as_path, inert
from mapper.activity import steps_of
from mapper.cli import completion, options
from mapper.cli.loudness import is_quiet
from mapper.cli.option_values import read_rates
from mapper.cli.options import file, group, keywords, number, read_options, text, word
from mapper.cli.output import console, note, print_record, say
from mapper.cli.placement import open_page
from mapper.deadline import Deadline
from mapper.errors import Finding, NetworkError, OptionsError
from mapper.process import BAD_INPUT, FAULT, OK, UNDECIDED
from mapper.wording import counted, join_names

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from mapper.explore.plan import PlannedNetwork, PlannedVariant
    from mapper.explore.record import ReportRecord
    from mapper.explore.record import Settings as ReportSettings
    from mapper.explore.sweep import Resumed
    from mapper.options import SolveOptions

__all__ = ["report"]

_Which = Literal["chips", "all", "none"]


@group("Chips", 1)
@dataclass(frozen=True)
class Chips(options.Changes):
    """The chips that networks are placed on."""

    chip: Annotated[
        tuple[str, ...],
        text("CHIP", "chip, device or file", "all that are shipped", completer=completion.chips),
    ] = ()
    variant: Annotated[tuple[Path, ...], file("chip file of a variant", "none")] = ()


@group("Cells", 3)
@dataclass(frozen=True)
class Cells:
    """What is asked of every pair of network and chip."""

    repairs_for: Annotated[_Which, word("on what repairs are sought: --chip ones, all, or none")] = "chips"
    details_for: Annotated[_Which, word("of what placements and whole reports are kept")] = "chips"
    objective: Annotated[
        Literal["headroom", "capacity"], word("placements with the largest margin, or those of mapper solve")
    ] = "headroom"
    traffic: Annotated[Path | None, options.TRAFFIC] = None


_TIME = (
    "wall-clock limit of the whole sweep, kept within 20 %: cells that it cuts are left out, those that are "
    "decided by then are the same as without it, and --resume goes on"
)


@dataclass(frozen=True)
class Limits(options.RepairLimits):
    """How much the solver may do in a cell, and how long all of them may take."""

    time_limit: Annotated[float | None, number("SECONDS", _TIME, "none")] = None


@group("Sweep", 7)
@dataclass(frozen=True)
class Sweep:
    """Where the work is done."""

    workers: Annotated[int | None, number("PROCESSES", "worker processes", "one a core")] = None
    scheduler: Annotated[str | None, text("ADDRESS", "address of a Dask cluster", "this machine")] = None
    cache: Annotated[
        Path | None, Parameter(metavar="DIR", help="keep decided cells there", show_default="kept nowhere")
    ] = None
    resume: Annotated[Path | None, file("report.json to go on with", "starts anew")] = None


@dataclass(frozen=True)
class ReportOutput(options.Output):
    """Where the report goes."""

    out: Annotated[Path | None, options.OUT, Parameter(show_default="report, or the folder of --resume")] = (
        None
    )
    is_opened: Annotated[bool, Parameter(name="--open", help="show the report's page in the browser")] = False

    def folder(self, resumed: Path | None) -> Path:
        """Where the files go: what is not said stays where the report that goes on is."""
        return self.out or (resumed.parent if resumed else Path("report"))


def report(
    *networks: Annotated[str, options.NETWORK],
    chips: Chips = Chips(),
    reading: options.Reading = options.Reading(),
    cells: Cells = Cells(),
    moves: options.Moves = options.Moves(),
    limits: Limits = Limits(),
    sweeping: Sweep = Sweep(),
    output: ReportOutput = ReportOutput(),
) -> int:
    """Say which networks fit which chips, by what margin, and what stops the rest.

    Writes a page, tables and report.json. Exit: 0 written, 2 bad input (the files hold what could be read),
    3 interrupted or out of time, 4 cells failed: the files hold what was decided, and --resume goes on.
    """
    from mapper.explore.plan import with_traffic  # noqa: PLC0415
    from mapper.explore.record import read_report  # noqa: PLC0415
    from mapper.explore.sweep import Place, sweep  # noqa: PLC0415
    from mapper.files import write_all  # noqa: PLC0415
    from mapper.report.formats import FORMATS  # noqa: PLC0415
    from mapper.report.matrix import print_matrix  # noqa: PLC0415

    earlier = None if sweeping.resume is None else read_report(sweeping.resume)
    _require_usable(sweeping)
    # The time limit is none of a solve: it changes no cell, and another one may resume the report.
    work = options.RepairLimits(limits.work_limit, limits.repairs, limits.repair)
    words = keywords(options.Chip(), reading, moves, work, objective=cells.objective)
    settings = _settings(words["options"], cells, (moves, work), earlier)
    planned = _networks(networks, earlier, words)
    if cells.traffic is not None:
        planned = with_traffic(planned, dict(read_rates(cells.traffic)))
    variants, notes = _variants(chips, earlier)
    _require_all(earlier if output.out is None else None, planned, variants)
    paths = {name: output.folder(sweeping.resume) / name for name in FORMATS}
    _require_writable(paths.values(), is_named=output.out is not None or earlier is not None)
    place = Place(sweeping.workers, sweeping.scheduler, sweeping.cache, limits.time_limit)
    deadline, resumed = Deadline.after(limits.time_limit), list["Resumed"]()
    with steps_of("cells", len(planned) * len(variants)) as progress:
        record = sweep(
            planned, variants, settings, place,
            notes=notes, resume=earlier, progress=progress, on_resume=resumed.append,
        )  # fmt: skip
        is_late = deadline.is_reached
    try:
        write_all({paths[name]: text_of(record) for name, text_of in FORMATS.items()})
    except OptionsError:
        # What hours of work have come to is at least seen.
        if not output.as_json:
            print_matrix(console(), record, is_brief=is_quiet())
        raise
    if output.as_json:
        print_record(record.model_dump_json(indent=2))
    else:
        print_matrix(console(), record, is_brief=is_quiet())
        note(f"written: {', '.join(map(str, paths.values()))}")
        _tell_resumed(sweeping.resume, resumed)
    if output.is_opened:
        open_page(paths["report.html"])
    again = _again(record, paths["report.json"], reading)
    return _end(record, again, limits.time_limit if is_late else None)


def _require_any(planned: Sequence[PlannedNetwork]) -> None:
    """Refuse a report in which no cell would have a verdict."""
    if any(entry.network is not None or entry.failure == "error" for entry in planned):
        return
    named = ((entry.row, str(entry.row.error)) for entry in planned)
    raise NetworkError(
        *(Finding("" if Path(row.source).name in error else row.source, error) for row, error in named)
    )


def _require_all(
    replaced: ReportRecord | None, planned: Sequence[PlannedNetwork], variants: Sequence[PlannedVariant]
) -> None:
    """Refuse to write over a report of which networks or chips are missing now: their cells would be lost."""
    if replaced is None:
        return
    now = {*(entry.row.name for entry in planned), *(entry.row.name for entry in variants)}
    names = (*(row.name for row in replaced.networks), *(row.name for row in replaced.variants))
    if lost := [name for name in names if name not in now]:
        step = "Name them too, and the options that they were read by, or write elsewhere: --out DIR"
        raise OptionsError(
            Finding("--resume", "has cells that would be lost", ", ".join(lost), next_step=step)
        )


def _require_writable(paths: Collection[Path], *, is_named: bool) -> None:
    """Refuse what cannot be written, and to write over a report in a folder that nobody named."""
    from mapper.files import require_writable  # noqa: PLC0415

    require_writable(*paths)
    if is_named:
        return
    if there := [path for path in paths if path.exists()]:
        home, record = there[0].parent, there[-1]
        way = f"--out {home} writes over it, --out DIR elsewhere"
        step = f"{way}, and --resume {record} goes on with it" if record.name == "report.json" else way
        problem = f"holds {join_names([path.name for path in there])} already"
        raise OptionsError(Finding(str(home), problem, next_step=step))


def _require_usable(sweeping: Sweep) -> None:
    """Refuse options that are nothing for a report."""
    if sweeping.workers is not None and sweeping.workers < 1:
        raise OptionsError(Finding("--workers", "number of worker processes", sweeping.workers, ">= 1"))


def _tell_resumed(path: Path | None, resumed: list[Resumed]) -> None:
    """How much of another report counts here, and why the rest does not."""
    for found in () if is_quiet() else resumed:
        worth = "placements were checked, optima and other verdicts not proven here"
        say(f"taken from {path}: {counted(found.taken, 'cell')}; {worth}")
        for why, times in found.anew.items():
            say(f"decided anew: {counted(times, 'cell')} {why}")


def _end(record: ReportRecord, again: str, limit_s: float | None) -> int:
    """Say what a report lacks and how to go on; `limit_s` came first, if it did."""
    from mapper.report.matrix import failures  # noqa: PLC0415

    total = len(record.networks) * len(record.variants)
    failed = sum(cell.is_failed for cell in record.cells)
    unread = [
        row.name
        for number, row in enumerate(record.networks)
        if any(cell.network == number and cell.verdict == "unsupported" for cell in record.cells)
    ]
    told = []
    if len(record.cells) < total:
        how, way_out = "Interrupted.", ""
        if limit_s is not None:
            decided = f"{len(record.cells) - failed} of {counted(total, 'cell')} decided"
            how = f"The time limit of {limit_s:g} s came first: {decided}."
            way_out = f" --time-limit {2 * limit_s:g}"
        told.append(f"{how} To go on: {again}{way_out}")
    if failed:
        told.append(f"Error: {counted(failed, 'cell')} failed, twice:")
        told += [f"- {line}" for line in failures(record)]
        told.append(f"To decide these again: {again} (with --workers 1 where memory was short).")
        told.append("More of one cell says: mapper check NETWORK --chip CHIP")
    if unread:
        told.append(
            f"Error: {counted(len(unread), 'network')} cannot be read or prepared: {', '.join(unread)}"
        )
    for line in told:
        print(inert(line), file=sys.stderr)
    if record.complete:
        return BAD_INPUT if unread else OK
    return FAULT if failed else UNDECIDED


def _again(record: ReportRecord, path: Path, reading: options.Reading) -> str:
    """The command that goes on with a report; code runs only where its name is typed.

    What networks are read by is no setting of the report, and is typed again.
    """
    from shlex import join  # noqa: PLC0415

    from mapper.frontends import is_code  # noqa: PLC0415

    names = [as_path(row.source) for row in record.networks]
    typed = names if any(map(is_code, names)) else []
    return join(["mapper", "report", *typed, *options.reading_words(reading), "--resume", str(path)])


def _settings(
    solving: SolveOptions,
    cells: Cells,
    others: tuple[options.Moves, options.RepairLimits],
    earlier: ReportRecord | None,
) -> ReportSettings:
    """What is asked of every cell: of a report that goes on what it was, unless something is said."""
    from mapper.explore.record import Settings  # noqa: PLC0415

    nothing = (Cells(), options.Moves(), options.RepairLimits())
    if earlier is not None and (replace(cells, traffic=None), *others) == nothing:
        return earlier.settings
    return Settings(options=solving, repairs=cells.repairs_for, details=cells.details_for)


def _networks(
    sources: tuple[str, ...], earlier: ReportRecord | None, words: dict[str, Any]
) -> tuple[PlannedNetwork, ...]:
    """The networks as named; without any, those of the report that goes on, unless they are code."""
    from mapper.explore.plan import plan_networks  # noqa: PLC0415
    from mapper.frontends import is_code  # noqa: PLC0415

    names = sources or tuple(as_path(row.source) for row in (earlier.networks if earlier else ()))
    if not sources and (code := [name for name in names if is_code(name)]):
        problem = "names Python code, and code runs only where you type its name yourself"
        listed = ", ".join(code)
        step = (
            "If you trust it, name all its networks again, and the options that they were read by: "
            "mapper report NETWORK... --resume FILE"
        )
        raise OptionsError(Finding("--resume", problem, listed, next_step=step))
    if not names:
        raise OptionsError(Finding("report", "has no networks", next_step="Name some, or --resume a report"))
    planned = plan_networks(names, read_options(words))
    _require_any(planned)
    return planned


def _variants(
    chips: Chips, earlier: ReportRecord | None
) -> tuple[tuple[PlannedVariant, ...], tuple[str, ...]]:
    """Chips and variants as named, with notes; without any, those of the report that goes on, or all."""
    from hwspec.catalog import names  # noqa: PLC0415
    from mapper.explore.plan import plan_variants  # noqa: PLC0415

    if chips.chip or chips.variant or chips.changes or earlier is None:
        shipped = () if chips.variant else names()
        return plan_variants(chips.chip or shipped, chips.variant, chips.changes)
    changes = next((row.overrides for row in earlier.variants if row.overrides), ())
    whole = [row for row in earlier.variants if not row.overrides]
    bases = [(row.is_chip, as_path(row.base)) for row in whole]
    chip_bases, others = ([base for is_chip, base in bases if is_chip == sort] for sort in (True, False))
    return plan_variants(chip_bases, others, changes)
