"""The command that compares configurations, networks and reports."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mapper.cli.app import app
from mapper.cli.options import (
    JsonOption,
    MinimumOption,
    NeuronOption,
    ReluOption,
    ResetOption,
    ShapeOption,
    reading,
)

if TYPE_CHECKING:
    from mapper.emit.read.diff import Difference
    from mapper.emit.shared.config import ChipConfig
    from mapper.network import Network

__all__ = ["diff_command"]

_EXIT_DIFFERENT = 1


@app.command("diff")
def diff_command(
    left: Annotated[str, typer.Argument(help="config.json, a network, or report.json")],
    right: Annotated[str, typer.Argument(help="config.json, a network, or report.json")],
    input_shape: ShapeOption = None,
    add_output_neuron: NeuronOption = None,
    relu_as_if: ReluOption = False,
    reset: ResetOption = None,
    v_min: MinimumOption = None,
    as_json: JsonOption = False,
) -> int:
    """Compare configurations or networks, or two reports. Exit: 0 the same, 1 different."""
    from dataclasses import asdict  # noqa: PLC0415

    from mapper.cli.report import is_report, print_report_difference  # noqa: PLC0415

    if is_report(left) or is_report(right):
        return print_report_difference(left, right, as_json)
    words = reading(
        "speck2f", [], pin=(), input_shape=input_shape, relu_as_if=relu_as_if, reset=reset, v_min=v_min,
        add_output_neuron=add_output_neuron,
    )  # fmt: skip
    found = _compared(_side(left, words), _side(right, words))
    if as_json:
        record = {"schema_version": 1, "differences": [asdict(entry) for entry in found]}
        typer.echo(json.dumps(record, indent=2))
    else:
        for entry in found:
            typer.echo(str(entry))
        typer.echo("the same" if not found else f"{len(found)} differences")
    return _EXIT_DIFFERENT if found else 0


def _side(source: str, words: dict[str, Any]) -> ChipConfig | Network:
    """A configuration file, or a network after all passes."""
    from mapper.emit.shared.file import read_config  # noqa: PLC0415
    from mapper.frontends import load_network  # noqa: PLC0415
    from mapper.passes import PrepareOptions, prepare  # noqa: PLC0415

    path = Path(source)
    if path.suffix == ".json" and path.is_file() and '"hardware"' in path.read_text("utf-8", "replace"):
        return read_config(path)
    read = load_network(source, words["input_shape"], words["nir"], words["torch"])
    return prepare(read, PrepareOptions(add_output_neuron=words["add_output_neuron"]))


def _compared(left: ChipConfig | Network, right: ChipConfig | Network) -> tuple[Difference, ...]:
    """Differences; a network is compared in the form that a configuration's chip needs, if that is known."""
    from hwspec.catalog import load, names  # noqa: PLC0415
    from mapper.emit.read.diff import diff  # noqa: PLC0415
    from mapper.emit.shared.config import ChipConfig as Config  # noqa: PLC0415
    from mapper.passes.legalize import legal_forms  # noqa: PLC0415

    config = next((side for side in (left, right) if isinstance(side, Config)), None)
    chip = config.chip.partition("+")[0] if config else ""
    if chip not in names() or (isinstance(left, Config) and isinstance(right, Config)):
        return tuple(diff(left, right))
    spec, tried = load(chip), []
    for last in (False, True):
        sides: list[ChipConfig | Network] = []
        for side in (left, right):
            if isinstance(side, Config):
                sides.append(side)
                continue
            forms = legal_forms(side, spec)[0]
            sides.append(forms.network({name: last * (len(c) - 1) for name, c in forms.layers.items()}))
        tried.append(tuple(diff(*sides)))
    return min(tried, key=len)
