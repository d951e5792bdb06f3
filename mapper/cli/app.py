"""Commands and their arguments."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mapper.cli.options import (
    ChipOption,
    CopiesOption,
    ForbidOption,
    JsonOption,
    KeepOption,
    MinimumOption,
    MonitorOption,
    NetworksArgument,
    NeuronOption,
    ObjectiveOption,
    PiecesOption,
    PinOption,
    PooledOption,
    ReadoutMonitorOption,
    ReadoutOption,
    RelaysOption,
    ReluOption,
    RepairsOption,
    ResetOption,
    SetOption,
    ShapeOption,
    TimeOption,
    TrafficOption,
    WorkersOption,
    WorkOption,
    load_chip,
    solved,
)
from mapper.errors import Finding, OptionsError

if TYPE_CHECKING:
    from rich.console import Console

    from mapper.result import Result

__all__ = ["app", "finish", "write_placement"]

app = typer.Typer(
    name="mapper",
    help="Place spiking convolutional networks on DYNAP-CNN and Speck chips, with proof.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
chips = typer.Typer(help="Chips: list, show, check a file, JSON schema.", no_args_is_help=True)
app.add_typer(chips, name="chips")


@app.command()
def solve(
    network: NetworksArgument,
    chip: ChipOption = "speck2f",
    overrides: SetOption = [],  # noqa: B006  # Typer copies it
    input_shape: ShapeOption = None,
    pin: PinOption = [],  # noqa: B006
    forbid: ForbidOption = None,
    objective: ObjectiveOption = "capacity",
    monitor: MonitorOption = [],  # noqa: B006
    readout: ReadoutOption = None,
    readout_monitor: ReadoutMonitorOption = False,
    time_limit: TimeOption = None,
    work_limit: WorkOption = None,
    workers: WorkersOption = 1,
    repairs: RepairsOption = 3,
    add_output_neuron: NeuronOption = None,
    relu_as_if: ReluOption = False,
    reset: ResetOption = None,
    v_min: MinimumOption = None,
    max_pieces: PiecesOption = None,
    relays: RelaysOption = True,
    copies: CopiesOption = True,
    pooled_outputs: PooledOption = "host",
    traffic: TrafficOption = None,
    keep: KeepOption = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="write placement.json there")] = None,
    as_json: JsonOption = False,
) -> int:
    """Place a network on a chip. Exit: 0 placed, 1 proven not to fit, 2 bad input, 3 undecided."""
    result = solved(**{key: value for key, value in locals().items() if key not in ("out", "as_json")})
    if out is not None and result.solution is not None:
        write_placement(result, out)
    return finish(result, as_json, keep)


@app.command()
def check(
    network: NetworksArgument,
    chip: ChipOption = "speck2f",
    overrides: SetOption = [],  # noqa: B006
    input_shape: ShapeOption = None,
    pin: PinOption = [],  # noqa: B006
    forbid: ForbidOption = None,
    readout: ReadoutOption = None,
    repairs: RepairsOption = 3,
    add_output_neuron: NeuronOption = None,
    relu_as_if: ReluOption = False,
    reset: ResetOption = None,
    v_min: MinimumOption = None,
    max_pieces: PiecesOption = None,
    relays: RelaysOption = True,
    copies: CopiesOption = True,
    pooled_outputs: PooledOption = "host",
    traffic: TrafficOption = None,
    as_json: JsonOption = False,
) -> int:
    """Say whether a network fits, and why not; writes no file."""
    result = solved(**{key: value for key, value in locals().items() if key != "as_json"})
    if as_json or result.solution is None:
        return finish(result, as_json)
    count = len(result.solution.placements)
    several = " and ".join(network.name for network in result.networks)
    names = f"{several} fit{'' if len(result.networks) > 1 else 's'} {result.chip.name}"
    _console().print(
        f"{names}: {count} of {result.chip.core_count} cores, checked.", highlight=False, markup=False
    )
    return 0


@app.command()
def doctor(as_json: JsonOption = False) -> int:
    """Say which versions are installed and which backends are there."""
    from mapper.cli.doctor import diagnose  # noqa: PLC0415

    findings = diagnose()
    if as_json:
        typer.echo(json.dumps({"schema_version": 1, "packages": findings}, indent=2))
    else:
        for name, state in findings.items():
            typer.echo(f"{name:12} {state}")
    return 0


@app.command()
def explain(
    code: Annotated[str | None, typer.Argument(help="code of a rule, e.g. M103; none lists them all")] = None,
    page: Annotated[bool, typer.Option("--page", help="print the page of all rules as Markdown")] = False,
) -> int:
    """Explain a rule by its code: what it says, in what unit, and the ways out."""
    from mapper.report.rules import rule_text, rules_page  # noqa: PLC0415
    from mapper.rules import Rule, by_code  # noqa: PLC0415

    if page:
        typer.echo(rules_page(), nl=False)
    elif code is None:
        for rule in sorted(Rule, key=lambda entry: entry.code):
            typer.echo(f"{rule.code}  {rule.value.title}")
    else:
        try:
            typer.echo(rule_text(by_code(code)))
        except KeyError:
            known = f"{min(r.code for r in Rule)} to {max(r.code for r in Rule)}; mapper explain lists them"
            raise OptionsError(Finding(f"explain {code}", "no rule has this code", code, known)) from None
    return 0


@chips.command("list")
def chips_list(as_json: JsonOption = False) -> int:
    """List the chips that come with the package, and the device names they go by."""
    from hwspec.catalog import load, names  # noqa: PLC0415

    specs = [load(name) for name in names()]
    if as_json:
        rows = [
            {"name": s.name, "title": s.title, "cores": s.core_count, "devices": s.devices} for s in specs
        ]
        typer.echo(json.dumps({"schema_version": 1, "chips": rows}, indent=2))
        return 0
    for spec in specs:
        devices = f"   devices: {', '.join(spec.devices)}" if spec.devices else ""
        typer.echo(f"{spec.name:12} {spec.core_count} cores{devices}")
    return 0


@chips.command("show")
def chips_show(name: str, overrides: SetOption = [], as_json: JsonOption = False) -> int:  # noqa: B006
    """Show a chip: memories, limits, errata, what is assumed."""
    spec = load_chip(name, overrides)
    if as_json:
        typer.echo(spec.model_dump_json(indent=2))
        return 0
    from mapper.report.text import print_chip  # noqa: PLC0415

    print_chip(_console(), spec)
    return 0


@chips.command("check")
def chips_check(file: Path, as_json: JsonOption = False) -> int:
    """Check a chip file; every problem is named with file, field and value."""
    spec = load_chip(str(file) if file.suffix == ".toml" else f"./{file}", [])
    if as_json:
        record = {
            "schema_version": 1,
            "name": spec.name,
            "cores": spec.core_count,
            "hash": spec.content_hash(),
        }
        typer.echo(json.dumps(record, indent=2))
        return 0
    typer.echo(f"{file}: {spec.name} is sound: {spec.core_count} cores in {len(spec.core_classes)} classes")
    return 0


@chips.command("schema")
def chips_schema() -> int:
    """Print the JSON schema of a chip specification."""
    from hwspec.check import json_schema  # noqa: PLC0415

    typer.echo(json.dumps(json_schema(), indent=2))
    return 0


@app.command("schema")
def shapes_schema() -> int:
    """Print the JSON schema of a shape file."""
    from mapper.frontends.shapes import json_schema  # noqa: PLC0415

    typer.echo(json.dumps(json_schema(), indent=2))
    return 0


def _console() -> Console:
    from rich.console import Console  # noqa: PLC0415

    return Console(soft_wrap=False)


def write_placement(result: Result, folder: Path) -> None:
    """Write placement.json into a folder."""
    from mapper.files import write_text  # noqa: PLC0415
    from mapper.record import placement_record  # noqa: PLC0415

    write_text(folder / "placement.json", placement_record(result).model_dump_json(indent=2) + "\n")


def finish(result: Result, as_json: bool, keep: Path | None = None) -> int:
    """Print a result, and what left its place in the placement to be kept; its exit status."""
    moved = _moved(keep, result) if keep is not None and result.solution is not None else None
    if as_json:
        record = _json(result) if moved is None else {**_json(result), "moved": moved}
        typer.echo(json.dumps(record, indent=2))
    else:
        from mapper.report.text import print_result  # noqa: PLC0415

        print_result(_console(), result)
        for entry in moved or ():
            before, now = (", ".join(map(str, entry[key])) or "nowhere" for key in ("before", "now"))
            typer.echo(f"moved: {entry['layer']} from {before} to {now}")
        if moved is not None and not moved:
            typer.echo("moved: nothing")
    return {"optimal": 0, "feasible": 0, "infeasible": 1, "undecided": 3}[result.status.value]


def _moved(keep: Path, result: Result) -> list[dict[str, Any]]:
    from mapper.record import moved_layers, read_placement  # noqa: PLC0415

    entries = moved_layers(read_placement(keep), result)
    return [{"layer": layer, "before": before, "now": now} for layer, before, now in entries]


def _json(result: Result) -> dict[str, Any]:
    from dataclasses import asdict  # noqa: PLC0415

    from mapper.record import placement_record  # noqa: PLC0415

    placed = result.solution is not None
    return {
        "schema_version": 1,
        "status": result.status.value,
        "placement": placement_record(result).model_dump(mode="json") if placed else None,
        "report": result.report.model_dump(mode="json") if result.report else None,
        "stats": asdict(result.statistics),
    }
