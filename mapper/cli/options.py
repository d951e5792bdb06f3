"""Arguments of commands, and what they say in the package's terms."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from mapper.errors import Finding, OptionsError

if TYPE_CHECKING:
    from hwspec.schema import ChipSpec
    from mapper.result import Result

NETWORK_HELP = (
    '"digits", a NIR file (.nir), a shape file (.yaml/.json/.toml), or package.module:factory, '
    "a callable that gives a torch or sinabs module or a NIR graph (this imports and runs your code)"
)
NetworksArgument = Annotated[
    list[str], typer.Argument(metavar="NETWORK...", help=f"{NETWORK_HELP}; several share the chip")
]
NetworkArgument = Annotated[
    str,
    typer.Argument(
        metavar="NETWORK",
        help=NETWORK_HELP,
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
    str,
    typer.Option(help="capacity (least memory taken), headroom (most left over), balance (least load)"),
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
PiecesOption = Annotated[
    int | None, typer.Option("--max-pieces", metavar="N", help="cut a layer over N cores at most; 1: none")
]
RelaysOption = Annotated[bool, typer.Option("--relays/--no-relays", help="let spare cores pass signals on")]
CopiesOption = Annotated[
    bool, typer.Option("--copies/--no-copies", help="let a layer stand on the chip twice")
]
PooledOption = Annotated[
    Literal["host", "relay"], typer.Option("--pooled-outputs", help="who pools pooled outputs")
]
TrafficOption = Annotated[
    Path | None, typer.Option(metavar="FILE", help="spikes per second by signal, from mapper simulate")
]
KeepOption = Annotated[
    Path | None, typer.Option(metavar="FILE", help="placement.json: move as few layers as possible")
]


def load_chip(name: str, overrides: list[str]) -> ChipSpec:
    """A chip with the facts that --set changes."""
    from hwspec.catalog import load  # noqa: PLC0415

    return load(name, overrides)


def solved(network: str | list[str], chip: str, overrides: list[str], **words: Any) -> Result:
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
    keep, traffic = words.pop("keep", None), words.pop("traffic", None)
    relu_threshold = 1.0 if words.pop("relu_as_if") else None
    options = SolveOptions(
        pins=pins,
        forbidden_cores=forbidden,
        objective=words.pop("objective", "capacity"),
        monitors=tuple(monitors) or None,
        readout=words.pop("readout", None),
        time_limit_s=words.pop("time_limit", None),
        max_copies=2 if words.pop("copies", True) else 1,
        keep=() if keep is None else _kept(keep),
        traffic=() if traffic is None else read_rates(traffic),
        **words,
    )
    return {
        "chip": load_chip(chip, overrides),
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


def _kept(path: Path) -> tuple[tuple[str, int], ...]:
    from mapper.record import kept_cores, read_placement  # noqa: PLC0415

    return kept_cores(read_placement(path))


def read_rates(path: Path) -> tuple[tuple[str, int], ...]:
    """Spikes per second by signal, rounded up, of a file that `mapper simulate --traffic` wrote.

    Raises
    ------
    OptionsError
        It cannot be read, or holds something else.
    """
    step = "mapper simulate CONFIG --events FILE --traffic FILE writes one"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise OptionsError(Finding(str(path), f"cannot be read: {error.strerror}")) from None
    except ValueError:
        raise OptionsError(Finding(str(path), "is no traffic: not JSON", next_step=step)) from None
    rates = content.get("spikes_per_second") if isinstance(content, dict) else None
    if not isinstance(rates, dict) or content.get("schema_version") != 1:
        raise OptionsError(
            Finding(str(path), "is no traffic of a version this program knows", next_step=step)
        )
    wrong = [
        Finding(f"{path}: {name}", "a rate must be a number from 0", rate)
        for name, rate in rates.items()
        if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 <= rate < 2**50
    ]
    if wrong:
        raise OptionsError(*wrong)
    return tuple((name, math.ceil(rate)) for name, rate in rates.items())
