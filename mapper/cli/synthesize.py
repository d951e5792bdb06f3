"""The commands that look for the smallest chip, and for the widest network."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from mapper.cli.app import app
from mapper.cli.options import (
    NETWORK_HELP,
    ChipOption,
    CopiesOption,
    JsonOption,
    MinimumOption,
    NetworkArgument,
    NeuronOption,
    PiecesOption,
    RelaysOption,
    ReluOption,
    ResetOption,
    SetOption,
    ShapeOption,
    TimeOption,
    WorkersOption,
    WorkOption,
    reading,
)
from mapper.errors import Finding, NetworkError, OptionsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mapper.explore.smallest import Answer, Curves, Request
    from mapper.network import Network
    from mapper.solver.smallest.sizes import MemorySizes

__all__ = ["synthesize", "widest"]

_WORDS_MAX = 1 << 24
_LIMITS = ("time_limit", "work_limit", "workers")


@app.command()
def synthesize(
    networks: Annotated[list[str], typer.Argument(metavar="NETWORK...", help=NETWORK_HELP)],
    cores: Annotated[str, typer.Option(metavar="5..9", help="number of cores: one, or least..most")] = "1..9",
    extends: Annotated[str, typer.Option(metavar="CHIP", help="limits and stages are as on it")] = "speck2f",
    overrides: SetOption = [],  # noqa: B006  # Typer copies it
    minimise: Annotated[Literal["sram", "cores"], typer.Option(help="what comes first")] = "sram",
    together: Annotated[bool, typer.Option("--together", help="all share the chip; else in turns")] = False,
    fan_out: Annotated[
        str | None, typer.Option(metavar="2..4", help="destinations of a core; else as on the chip")
    ] = None,
    kernel_words: Annotated[
        str | None,
        typer.Option(metavar="1Ki..64Ki", help="powers of two on offer; else to the chip's largest"),
    ] = None,
    neuron_words: Annotated[str | None, typer.Option(metavar="1Ki..64Ki", help="the same")] = None,
    bias_words: Annotated[str | None, typer.Option(metavar="0,1Ki", help="sizes on offer")] = None,
    curve: Annotated[
        bool, typer.Option("--curves/--no-curves", help="memory by cores and by networks as well")
    ] = False,
    plot: Annotated[Path | None, typer.Option(metavar="FILE", help="draw the curves: .png or .svg")] = None,
    name: Annotated[str, typer.Option(help="of the chip")] = "synthesized",
    input_shape: ShapeOption = None,
    time_limit: TimeOption = None,
    work_limit: WorkOption = None,
    workers: WorkersOption = 1,
    add_output_neuron: NeuronOption = None,
    relu_as_if: ReluOption = False,
    reset: ResetOption = None,
    v_min: MinimumOption = None,
    max_pieces: PiecesOption = None,
    relays: RelaysOption = True,
    copies: CopiesOption = True,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="write the chip, synthesis.json and curves there")
    ] = None,
    as_json: JsonOption = False,
) -> int:
    """Find the smallest chip that carries networks. Exit: 0 found, 1 there is none, 3 undecided."""
    words = reading(extends, overrides, pin=[], repairs=0, **_chosen(locals(), *_LIMITS))
    sizes = (kernel_words, neuron_words, bias_words)
    request = _request(words, cores, fan_out, sizes, minimise, together, name)
    from mapper.explore.smallest import curves as curves_of  # noqa: PLC0415
    from mapper.explore.smallest import synthesize as find  # noqa: PLC0415

    read = _read_all(networks, words)
    answer = find(read, request)
    points = curves_of(read, request, answer) if curve or plot is not None else None
    _show(answer, points, out, plot, as_json=as_json)
    return 0


@app.command()
def widest(
    network: NetworkArgument,
    chip: ChipOption = "speck2f",
    overrides: SetOption = [],  # noqa: B006
    what: Annotated[Literal["width", "input", "classes"], typer.Option(help="what grows")] = "width",
    input_name: Annotated[str | None, typer.Option("--input", help="input, where there are several")] = None,
    output_name: Annotated[str | None, typer.Option("--output", help="output layer, where several")] = None,
    input_shape: ShapeOption = None,
    add_output_neuron: NeuronOption = None,
    relu_as_if: ReluOption = False,
    reset: ResetOption = None,
    v_min: MinimumOption = None,
    max_pieces: PiecesOption = None,
    relays: RelaysOption = True,
    copies: CopiesOption = True,
    as_json: JsonOption = False,
) -> int:
    """Find the largest width, input or number of classes with which a network fits a chip."""
    words = reading(chip, overrides, pin=[], repairs=0, **_chosen(locals()))
    for option, value, wanted in (("--input", input_name, "input"), ("--output", output_name, "classes")):
        if value is not None and what != wanted:
            raise OptionsError(Finding(option, f"goes with --what {wanted} alone", value, f"--what {what}"))
    from mapper.explore.widest import find_widest  # noqa: PLC0415
    from mapper.report.synthesis import print_widest, widest_record  # noqa: PLC0415

    found = find_widest(
        _read(network, words), words["chip"], what, words["options"], input_name or output_name
    )
    if as_json:
        typer.echo(json.dumps(widest_record(found), indent=2))
        return 0
    from rich.console import Console  # noqa: PLC0415

    print_widest(Console(soft_wrap=False), found)
    return 0


def _chosen(given: dict[str, Any], *more: str) -> dict[str, Any]:
    """Options that `reading` knows."""
    names = ("input_shape", "add_output_neuron", "relu_as_if", "reset", "v_min", "max_pieces", "relays")
    return {key: given[key] for key in (*names, "copies", *more)}


def _read(source: str, words: dict[str, Any]) -> Network:
    from mapper.frontends import load_network  # noqa: PLC0415
    from mapper.passes import PrepareOptions, prepare  # noqa: PLC0415

    read = load_network(source, words["input_shape"], words["nir"], words["torch"])
    return prepare(read, PrepareOptions(add_output_neuron=words["add_output_neuron"]))


def _read_all(sources: Sequence[str], words: dict[str, Any]) -> list[Network]:
    """All networks, or everything that is wrong with any of them."""
    from dataclasses import replace  # noqa: PLC0415

    read, findings = [], []
    for source in sources:
        try:
            read.append(_read(source, words))
        except NetworkError as error:
            findings += [replace(entry, where=f"{source}: {entry.where}") for entry in error.findings]
    if findings:
        raise NetworkError(*findings)
    return read


def _request(
    words: dict[str, Any],
    cores: str,
    fan_out: str | None,
    sizes: tuple[str | None, str | None, str | None],
    minimise: Literal["sram", "cores"],
    together: bool,
    name: str,
) -> Request:
    """What the options say of the chip.

    Raises
    ------
    OptionsError
        With everything that is wrong.
    """
    from mapper.explore.smallest import Request, default_sizes  # noqa: PLC0415

    findings: list[Finding] = []
    base = words["chip"]
    given = base.routing.fan_out
    span = _range("--cores", cores, "5..9", findings)
    destinations = (given, given) if fan_out is None else _range("--fan-out", fan_out, "2..4", findings)
    offered = _sizes(default_sizes(base), sizes, findings)
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,49}", name):
        limit = "at most 50 letters, digits and _.+-"
        findings.append(Finding("--name", "cannot be a chip's name", name, limit))
    if findings:
        raise OptionsError(*findings)
    return Request(base, span, offered, destinations, minimise, together, name, words["options"])


def _range(option: str, text: str, example: str, findings: list[Finding]) -> tuple[int, int]:
    match = re.fullmatch(r"\s*([0-9]{1,9}(?:\s*Ki)?)\s*(?:\.\.\s*([0-9]{1,9}(?:\s*Ki)?)\s*)?", text)
    low, high = (_number(match[1]), _number(match[2] or match[1])) if match else (0, 0)
    if not 1 <= low <= high:
        step = f"Example: {option} {example}"
        findings.append(Finding(option, "wants a number or least..most, from 1", text, None, "", step))
        return 1, 1
    return low, high


def _number(text: str) -> int:
    plain = text.strip()
    return int(plain[:-2]) * 1024 if plain.endswith("Ki") else int(plain)


def _sizes(
    offered: MemorySizes, texts: tuple[str | None, str | None, str | None], findings: list[Finding]
) -> MemorySizes:
    from dataclasses import replace  # noqa: PLC0415

    kernel, neuron, bias = texts
    for field, text in (("kernel_words", kernel), ("neuron_words", neuron)):
        if text is None:
            continue
        option = f"--{field.replace('_', '-')}"
        low, high = _range(option, text, "1Ki..64Ki", findings)
        powers = tuple(1 << n for n in range(25) if low <= 1 << n <= high)
        if high > _WORDS_MAX:
            findings.append(Finding(option, "larger than any core's memory", high, _WORDS_MAX, "words"))
        elif not powers:
            findings.append(Finding(option, "no power of two lies in this range", text))
        offered = replace(offered, **{field: powers or (1,)})
    if bias is None:
        return offered
    numbers = [part.strip() for part in bias.split(",")]
    if not all(re.fullmatch(r"[0-9]{1,7}(\s*Ki)?", part) for part in numbers):
        step = "Example: --bias-words 0,1Ki"
        findings.append(Finding("--bias-words", "wants sizes separated by commas", bias, None, "words", step))
        return offered
    return replace(offered, bias_words=tuple(sorted({_number(part) for part in numbers})))


def _show(
    answer: Answer, points: Curves | None, out: Path | None, plot: Path | None, *, as_json: bool
) -> None:
    """Write the files, then print."""
    from mapper.explore.smallest import spec_toml  # noqa: PLC0415
    from mapper.files import write_text  # noqa: PLC0415
    from mapper.report.synthesis import (  # noqa: PLC0415
        curve_csv,
        plot_curves,
        print_synthesis,
        synthesis_record,
    )

    record = json.dumps(synthesis_record(answer, points), indent=2) + "\n"
    if plot is not None and points is not None:
        plot_curves(points, plot)
    if out is not None:
        write_text(out / f"{answer.chip.name}.toml", spec_toml(answer.chip))
        write_text(out / "synthesis.json", record)
        if points is not None:
            write_text(out / "cores.csv", curve_csv(points.by_cores, "cores_max"))
            write_text(out / "networks.csv", curve_csv(points.by_networks, "networks_carried"))
            _write_chips(points.by_cores + points.by_networks, out / "curve")
    if as_json:
        typer.echo(record, nl=False)
        return
    from rich.console import Console  # noqa: PLC0415

    print_synthesis(Console(soft_wrap=False), answer, points)
    if out is not None:
        typer.echo(f"mapper solve NETWORK --chip {out / answer.chip.name}.toml places a network on it")


def _write_chips(points: Sequence[tuple[int, Answer | None]], folder: Path) -> None:
    from mapper.explore.smallest import spec_toml  # noqa: PLC0415
    from mapper.files import write_text  # noqa: PLC0415

    for _, answer in points:
        if answer is not None:
            write_text(folder / f"{answer.chip.name}.toml", spec_toml(answer.chip))
