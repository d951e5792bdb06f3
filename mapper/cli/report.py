"""The command that reports which networks fit which chips, and the comparison of two reports."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from mapper.cli.app import app
from mapper.cli.options import (
    NETWORK_HELP,
    CopiesOption,
    JsonOption,
    MinimumOption,
    NeuronOption,
    PiecesOption,
    RelaysOption,
    ReluOption,
    ResetOption,
    SetOption,
    ShapeOption,
    TrafficOption,
    WorkOption,
    read_rates,
    reading,
)
from mapper.errors import Finding, OptionsError

if TYPE_CHECKING:
    from collections.abc import Callable

    from mapper.explore.plan import PlannedNetwork, PlannedVariant
    from mapper.explore.record import ReportRecord, Settings

__all__ = ["is_report", "print_report_difference", "report"]

_EXIT_PARTIAL, _EXIT_DIFFERENT = 3, 1
_Which = Literal["chips", "all", "none"]


@app.command()
def report(
    networks: Annotated[
        list[str], typer.Argument(metavar="[NETWORK...]", help=f"{NETWORK_HELP}; each is placed alone")
    ] = [],  # noqa: B006  # Typer copies it
    out: Annotated[Path, typer.Option(metavar="DIR", help="write the report's files there")] = Path("report"),
    chip: Annotated[list[str], typer.Option(help="chip, device or file; default: all that are shipped")] = [],  # noqa: B006
    variant: Annotated[list[Path], typer.Option(metavar="FILE", help="chip file of a variant")] = [],  # noqa: B006
    overrides: SetOption = [],  # noqa: B006
    repairs: Annotated[_Which, typer.Option(help="look for repairs on --chip ones, all, or none")] = "chips",
    details: Annotated[_Which, typer.Option(help="keep placements and whole reports of these")] = "chips",
    objective: Annotated[
        Literal["headroom", "capacity"],
        typer.Option(help="placements with the largest margin, or those of mapper solve"),
    ] = "headroom",
    max_pieces: PiecesOption = None,
    relays: RelaysOption = True,
    copies: CopiesOption = True,
    work_limit: WorkOption = None,
    traffic: TrafficOption = None,
    input_shape: ShapeOption = None,
    add_output_neuron: NeuronOption = None,
    relu_as_if: ReluOption = False,
    reset: ResetOption = None,
    v_min: MinimumOption = None,
    workers: Annotated[int | None, typer.Option(help="worker processes; default: one a core")] = None,
    scheduler: Annotated[str | None, typer.Option(metavar="ADDRESS", help="of a Dask cluster")] = None,
    cache: Annotated[Path | None, typer.Option(metavar="DIR", help="keep decided cells there")] = None,
    resume: Annotated[Path | None, typer.Option(metavar="FILE", help="report.json to go on with")] = None,
    as_json: JsonOption = False,
) -> int:
    """Say which networks fit which chips, by what margin, and what stops the rest.

    Writes report.html, report.json, summary.csv and layers.csv. Exit: 0 written, 2 bad input, 3 interrupted:
    the files hold what was decided until then, and --resume goes on.
    """
    from mapper.explore.plan import with_traffic  # noqa: PLC0415
    from mapper.explore.record import read_report  # noqa: PLC0415
    from mapper.explore.sweep import Place, sweep  # noqa: PLC0415

    earlier = None if resume is None else read_report(resume)
    if workers is not None and workers < 1:
        raise OptionsError(Finding("--workers", "number of worker processes", workers, ">= 1"))
    words: dict[str, Any] = {"input_shape": input_shape, "reset": reset, "v_min": v_min}
    words["max_pieces"] = max_pieces
    words |= {"add_output_neuron": add_output_neuron, "relu_as_if": relu_as_if, "relays": relays}
    words |= {"copies": copies, "work_limit": work_limit, "objective": objective}
    kept = {"repairs": repairs, "details": details}
    settings, planned = _wishes(networks, earlier, words, kept)
    planned = planned if traffic is None else with_traffic(planned, dict(read_rates(traffic)))
    variants, notes = _variants(chip, variant, overrides, earlier)
    place = Place(workers=workers, scheduler=scheduler, cache=cache)
    with _progress(len(planned) * len(variants)) as progress:
        record = sweep(planned, variants, settings, place, notes=notes, resume=earlier, progress=progress)
    _write(record, out)
    _tell(record, out, as_json)
    return 0 if record.complete else _EXIT_PARTIAL


def _wishes(
    networks: list[str], earlier: ReportRecord | None, words: dict[str, Any], kept: dict[str, Any]
) -> tuple[Settings, tuple[PlannedNetwork, ...]]:
    """What is asked of every cell, and the networks; without any, those of the report that goes on."""
    from mapper.explore.plan import ReadOptions, plan_networks  # noqa: PLC0415
    from mapper.explore.record import Settings  # noqa: PLC0415

    sources = networks or [row.source for row in earlier.networks] if earlier else networks
    if not sources:
        step = "Name some, or --resume a report"
        raise OptionsError(Finding("report", "has no networks", next_step=step))
    read = reading("speck2f", [], pin=[], **words)
    options = read["options"]
    settings = Settings(options=options, **kept)
    names = ("input_shape", "nir", "torch", "add_output_neuron")
    return settings, plan_networks(sources, ReadOptions(**{name: read[name] for name in names}))


def _variants(
    chips: list[str], files: list[Path], overrides: list[str], earlier: ReportRecord | None
) -> tuple[tuple[PlannedVariant, ...], tuple[str, ...]]:
    """Chips and variants as named, with notes; without any, those of the report that goes on, or all."""
    from hwspec.catalog import names  # noqa: PLC0415
    from mapper.explore.plan import plan_variants  # noqa: PLC0415

    if chips or files or overrides or earlier is None:
        return plan_variants(chips or ([] if files else names()), files, overrides)
    rows = earlier.variants
    changes = next((row.overrides for row in rows if row.overrides), ())
    whole = [row for row in rows if not row.overrides]
    return plan_variants(
        [row.base for row in whole if row.is_chip], [row.base for row in whole if not row.is_chip], changes
    )


@contextmanager
def _progress(total: int) -> Iterator[Callable[[int], None]]:
    """A bar with rate and time left on standard error."""
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import (  # noqa: PLC0415
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TimeRemainingColumn,
    )
    from rich.text import Text  # noqa: PLC0415

    class Rate(ProgressColumn):
        """Cells per second."""

        def render(self, task: Task) -> Text:
            return Text("" if not task.speed else f"{task.speed:.1f}/s")

    columns = (*Progress.get_default_columns()[:-1], MofNCompleteColumn(), Rate(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("cells", total=total)
        yield lambda done: bar.update(task, completed=done)


def _write(record: ReportRecord, out: Path) -> None:
    from mapper.files import write_text  # noqa: PLC0415
    from mapper.report.formats import FORMATS  # noqa: PLC0415

    for name, text_of in FORMATS.items():
        write_text(out / name, text_of(record))


def _tell(record: ReportRecord, out: Path, as_json: bool) -> None:
    from rich.console import Console  # noqa: PLC0415

    from mapper.report.formats import FORMATS  # noqa: PLC0415
    from mapper.report.matrix import print_matrix  # noqa: PLC0415

    if as_json:
        typer.echo(record.model_dump_json(indent=2))
        return
    print_matrix(Console(soft_wrap=False), record)
    typer.echo(f"written: {', '.join(str(out / name) for name in FORMATS)}")
    if not record.complete:
        print(f"Interrupted. To go on: --resume {out / 'report.json'}", file=sys.stderr)


def is_report(source: str) -> bool:
    """Whether a side of `mapper diff` is a report."""
    path = Path(source)
    if path.suffix != ".json" or not path.is_file():
        return False
    with path.open(encoding="utf-8", errors="replace") as stream:
        head = stream.read(200)
    return '"complete"' in head and '"schema_version"' in head


def print_report_difference(left: str, right: str, as_json: bool) -> int:
    """Compare two reports.

    Returns
    -------
    int
        0 where they say the same, 1 where not.

    Raises
    ------
    OptionsError
        One side is no report.
    """
    from rich.console import Console  # noqa: PLC0415

    from mapper.explore.difference import report_difference  # noqa: PLC0415
    from mapper.explore.record import read_report  # noqa: PLC0415
    from mapper.report.matrix import print_difference  # noqa: PLC0415

    for side in (left, right):
        if not is_report(side):
            problem = "is no report, and the other side is one"
            step = "mapper report --out DIR writes one"
            raise OptionsError(Finding(side, problem, next_step=step))
    found = report_difference(read_report(Path(left)), read_report(Path(right)))
    if as_json:
        typer.echo(found.model_dump_json(indent=2))
    else:
        print_difference(Console(soft_wrap=False), found)
    return _EXIT_DIFFERENT if found.changes or found.only_before or found.only_after else 0
