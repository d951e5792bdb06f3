"""Commands and their arguments."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from mapper.errors import Finding, OptionsError

if TYPE_CHECKING:
    from rich.console import Console

    from hwspec.schema import ChipSpec
    from mapper.result import Result

__all__ = ["app", "finish", "reading", "solved", "write_placement"]

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

NetworkArgument = Annotated[
    str,
    typer.Argument(
        metavar="NETWORK",
        help='"digits", a NIR file (.nir), a shape file (.yaml/.json/.toml), or package.module:factory, '
        "a callable that gives a torch or sinabs module or a NIR graph (this imports and runs your code)",
    ),
]
ChipOption = Annotated[str, typer.Option("--chip", help="chip or device name, or a chip file (.toml)")]
SetOption = Annotated[
    list[str], typer.Option("--set", help='changed fact, e.g. "core[5].kernel_words=128Ki"')
]
ShapeOption = Annotated[
    str | None, typer.Option(metavar="C,H,W", help="input shape where the file does not tell")
]
JsonOption = Annotated[bool, typer.Option("--json", help="print JSON")]
PinOption = Annotated[
    list[str], typer.Option("--pin", metavar="LAYER=CORE", help="layer (name or index) on a core")
]
ForbidOption = Annotated[str | None, typer.Option("--forbid", metavar="0,1", help="cores that stay empty")]
ObjectiveOption = Annotated[
    str, typer.Option(help="capacity (least memory taken) or headroom (most left over)")
]
MonitorOption = Annotated[
    list[str], typer.Option("--monitor", metavar="LAYER", help="read this layer's spikes")
]
ReadoutOption = Annotated[
    str | None, typer.Option(metavar="LAYER", help="layer that feeds the readout stage")
]
ReadoutMonitorOption = Annotated[
    bool, typer.Option("--readout-monitor", help="read the readout stage itself")
]
TimeOption = Annotated[float | None, typer.Option("--time-limit", metavar="SECONDS", help="wall-clock limit")]
WorkOption = Annotated[float | None, typer.Option("--work-limit", help="limit in deterministic solver time")]
WorkersOption = Annotated[int, typer.Option(help="solver threads")]
RepairsOption = Annotated[
    int, typer.Option(metavar="N", help="repairs to look for if the network does not fit")
]
NeuronOption = Annotated[
    float | None,
    typer.Option(
        "--add-output-neuron", metavar="THRESHOLD", help="append neurons to output layers without any"
    ),
]
ReluOption = Annotated[
    bool, typer.Option("--relu-as-if", help="torch: take ReLUs as spiking neurons of threshold 1")
]
ResetOption = Annotated[str | None, typer.Option(metavar="subtract|zero", help="NIR: reset of IF neurons")]
MinimumOption = Annotated[
    str | None, typer.Option("--v-min", metavar="threshold|NUMBER", help="NIR: lower bound of potentials")
]


@app.command()
def solve(
    network: NetworkArgument,
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
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="write placement.json there")] = None,
    as_json: JsonOption = False,
) -> int:
    """Place a network on a chip. Exit: 0 placed, 1 proven not to fit, 2 bad input, 3 undecided."""
    result = solved(**{key: value for key, value in locals().items() if key not in ("out", "as_json")})
    if out is not None and result.solution is not None:
        write_placement(result, out)
    return finish(result, as_json)


@app.command()
def check(
    network: NetworkArgument,
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
    as_json: JsonOption = False,
) -> int:
    """Say whether a network fits, and why not; writes no file."""
    result = solved(**{key: value for key, value in locals().items() if key != "as_json"})
    if as_json or result.solution is None:
        return finish(result, as_json)
    count = len(result.solution.placements)
    names = f"{result.networks[0].name} fits {result.chip.name}"
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
    spec = _load_chip(name, overrides)
    if as_json:
        typer.echo(spec.model_dump_json(indent=2))
        return 0
    from mapper.report.text import print_chip  # noqa: PLC0415

    print_chip(_console(), spec)
    return 0


@chips.command("check")
def chips_check(file: Path, as_json: JsonOption = False) -> int:
    """Check a chip file; every problem is named with file, field and value."""
    spec = _load_chip(str(file) if file.suffix == ".toml" else f"./{file}", [])
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


def _load_chip(name: str, overrides: list[str]) -> ChipSpec:
    from hwspec.catalog import load  # noqa: PLC0415

    return load(name, overrides)


def solved(network: str, chip: str, overrides: list[str], **words: Any) -> Result:
    """Read what the options say and solve."""
    from mapper.api import solve as solve_network  # noqa: PLC0415

    return solve_network(network, **reading(chip, overrides, **words))


def reading(chip: str, overrides: list[str], **words: Any) -> dict[str, Any]:
    """What the options say, as keywords of `mapper.solve`.

    Raises
    ------
    OptionsError, SpecError
        With everything that is wrong.
    """
    from mapper.frontends import NirOptions, TorchOptions  # noqa: PLC0415
    from mapper.options import SolveOptions  # noqa: PLC0415

    findings: list[Finding] = []
    pins = tuple(filter(None, (_pin(text, findings) for text in words.pop("pin"))))
    forbidden = _numbers("--forbid", words.pop("forbid", None), findings)
    shape = _numbers("--input-shape", words.pop("input_shape"), findings)
    if shape and (len(shape) != 3 or min(shape) < 1):
        findings.append(Finding("--input-shape", "wants three positive numbers", shape, "C,H,W"))
    reset, minimum = words.pop("reset"), _minimum(words.pop("v_min"), findings)
    if reset not in (None, "subtract", "zero"):
        findings.append(Finding("--reset", "unknown reset", reset, "subtract or zero"))
    threshold = words.pop("add_output_neuron")
    if threshold is not None and not 0 < threshold < float("inf"):
        findings.append(Finding("--add-output-neuron", "a threshold must be positive", threshold, "> 0"))
    if findings:
        raise OptionsError(*findings)
    monitors = words.pop("monitor", [])
    relu_threshold = 1.0 if words.pop("relu_as_if") else None
    options = SolveOptions(
        pins=pins,
        forbidden_cores=forbidden,
        objective=words.pop("objective", "capacity"),
        monitors=tuple(monitors) or None,
        readout=words.pop("readout", None),
        time_limit_s=words.pop("time_limit", None),
        **words,
    )
    return {
        "chip": _load_chip(chip, overrides),
        "options": options,
        "input_shape": shape or None,
        "nir": NirOptions(reset=reset, v_min=minimum),
        "torch": TorchOptions(relu_as_if=relu_threshold),
        "add_output_neuron": threshold,
    }


def _pin(text: str, findings: list[Finding]) -> tuple[str, int] | None:
    layer, separator, core = text.rpartition("=")
    if separator and layer and re.fullmatch(r"[0-9]{1,9}", core.strip()):
        return layer.strip(), int(core)
    findings.append(
        Finding(f"--pin {text}", "not of the form LAYER=CORE", next_step="Example: --pin conv2=5")
    )
    return None


def _numbers(option: str, text: str | None, findings: list[Finding]) -> tuple[int, ...]:
    if text is None:
        return ()
    if re.fullmatch(r"\s*[0-9]{1,9}(\s*,\s*[0-9]{1,9})*\s*", text):
        return tuple(int(part) for part in text.split(","))
    findings.append(Finding(option, "wants whole numbers separated by commas", text))
    return ()


def _minimum(text: str | None, findings: list[Finding]) -> float | Literal["threshold"] | None:
    if text is None:
        return None
    if text == "threshold":
        return "threshold"
    try:
        return float(text)
    except ValueError:
        findings.append(Finding("--v-min", "wants a number or the word threshold", text))
        return None


def write_placement(result: Result, folder: Path) -> None:
    """Write placement.json into a folder."""
    from mapper.files import write_text  # noqa: PLC0415
    from mapper.record import placement_record  # noqa: PLC0415

    write_text(folder / "placement.json", placement_record(result).model_dump_json(indent=2) + "\n")


def finish(result: Result, as_json: bool) -> int:
    """Print a result; its exit status."""
    if as_json:
        typer.echo(json.dumps(_json(result), indent=2))
    else:
        from mapper.report.text import print_result  # noqa: PLC0415

        print_result(_console(), result)
    return {"optimal": 0, "feasible": 0, "infeasible": 1, "undecided": 3}[result.status.value]


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
