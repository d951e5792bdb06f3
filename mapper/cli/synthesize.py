"""The commands that look for the smallest chip, and for the widest network."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from mapper.cli import options
from mapper.cli.options import group, keywords, read_network, text
from mapper.cli.output import console
from mapper.errors import Finding, NetworkError, OptionsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hwspec.schema import ChipSpec
    from mapper.explore.smallest import Answer, Curves, Request
    from mapper.normal_form import NormalNetwork
    from mapper.solver.smallest.sizes import MemorySizes

__all__ = ["synthesize", "widest"]

_WORDS_MAX = 1 << 24
_POWERS = text("1Ki..64Ki", "powers of two on offer", "to the chip's largest")


@group("Chip", 1)
@dataclass(frozen=True)
class Sought(options.Changes):
    """What chip is sought."""

    cores: Annotated[str, text("5..9", "number of cores: one, or least..most")] = "1..9"
    extends: Annotated[str, text("CHIP", "limits and stages are as on it")] = "speck2f"
    minimise: Annotated[Literal["sram", "cores"], Parameter(help="what is least before all else")] = "sram"
    together: Annotated[bool, Parameter(help="all share the chip; else they take turns")] = False
    fan_out: Annotated[str | None, text("2..4", "destinations of a core", "as on the chip")] = None
    kernel_words: Annotated[str | None, _POWERS] = None
    neuron_words: Annotated[str | None, _POWERS] = None
    bias_words: Annotated[str | None, text("0,1Ki", "sizes on offer", "the chip's")] = None
    name: Annotated[str, text("NAME", "name of the chip")] = "synthesized"


@dataclass(frozen=True)
class SynthesisOutput(options.FileOutput):
    """What is printed and written."""

    curves: Annotated[
        bool, Parameter(negative="--no-curves", help="memory by cores and by networks as well")
    ] = False
    plot: Annotated[Path | None, options.PLOT] = None


@group("Search", 3)
@dataclass(frozen=True)
class Growth:
    """What grows."""

    what: Annotated[Literal["width", "input", "classes"], Parameter(help="what grows")] = "width"
    input_name: Annotated[str | None, options.INPUT] = None
    output_name: Annotated[
        str | None, text("LAYER", "output layer, where there are several", "the only one", name="--output")
    ] = None


def synthesize(
    *networks: Annotated[str, options.NETWORK, Parameter(required=True)],
    sought: Sought = Sought(),
    reading: options.Reading = options.Reading(),
    moves: options.Moves = options.Moves(),
    limits: options.SolverLimits = options.SolverLimits(),
    output: SynthesisOutput = SynthesisOutput(),
) -> int:
    """Find the smallest chip that carries networks; writes the chip, synthesis.json and the curves.

    Exit: 0 found, 1 there is none, 2 bad input, 3 undecided.
    """
    from mapper.explore.smallest import curves as curves_of  # noqa: PLC0415
    from mapper.explore.smallest import synthesize as find  # noqa: PLC0415

    words = keywords(options.Chip(sought.changes, sought.extends), reading, moves, limits, repairs=0)
    request = _request(words, sought)
    read = _read_all(networks, words)
    answer = find(read, request)
    points = curves_of(read, request, answer) if output.curves or output.plot is not None else None
    _show(answer, points, output)
    return 0


def widest(
    network: Annotated[str, options.NETWORK],
    /,
    *,
    chip: options.Chip = options.Chip(),
    reading: options.Reading = options.Reading(),
    growth: Growth = Growth(),
    moves: options.Moves = options.Moves(),
    output: options.Output = options.Output(),
) -> int:
    """Find the largest width, input or number of classes with which a network fits a chip.

    Exit: 0 found, 1 it does not fit as it is, 2 bad input, 3 undecided.
    """
    what, name = growth.what, growth.input_name or growth.output_name
    words = keywords(chip, reading, moves, repairs=0)
    pairs = (("--input", growth.input_name, "input"), ("--output", growth.output_name, "classes"))
    for option, value, partner in pairs:
        if value is not None and what != partner:
            raise OptionsError(Finding(option, f"goes with --what {partner} alone", value, f"--what {what}"))
    from mapper.explore.widest import find_widest  # noqa: PLC0415
    from mapper.report.synthesis import print_widest, widest_record  # noqa: PLC0415

    answer = find_widest(read_network(network, words), words["chip"], what, words["options"], name)
    if output.as_json:
        print(json.dumps(widest_record(answer), indent=2))
    else:
        print_widest(console(), answer)
    return 0


def _read_all(sources: Sequence[str], words: dict[str, Any]) -> list[NormalNetwork]:
    """All networks, or everything that is wrong with any of them."""
    read, findings = [], []
    for source in sources:
        try:
            read.append(read_network(source, words))
        except NetworkError as error:
            findings += [replace(entry, where=f"{source}: {entry.where}") for entry in error.findings]
    if findings:
        raise NetworkError(*findings)
    return read


def _request(words: dict[str, Any], sought: Sought) -> Request:
    """What the options say of the chip.

    Raises
    ------
    OptionsError
        With everything that is wrong.
    """
    from mapper.explore.smallest import Request  # noqa: PLC0415

    findings: list[Finding] = []
    base: ChipSpec = words["chip"]
    wide = str(base.routing.fan_out) if sought.fan_out is None else sought.fan_out
    cores = _range("--cores", sought.cores, "5..9", findings)
    fan_out = _range("--fan-out", wide, "2..4", findings)
    sizes = _sizes(base, sought, findings)
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,49}", sought.name):
        limit = "at most 50 letters, digits and _.+-"
        findings.append(Finding("--name", "cannot be a chip's name", sought.name, limit))
    if findings:
        raise OptionsError(*findings)
    return Request(
        base, cores, sizes, fan_out, sought.minimise, sought.together, sought.name, words["options"]
    )


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


def _sizes(base: ChipSpec, sought: Sought, findings: list[Finding]) -> MemorySizes:
    from mapper.explore.smallest import default_sizes  # noqa: PLC0415

    offered = default_sizes(base)
    for field in ("kernel_words", "neuron_words"):
        text = getattr(sought, field)
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
    if sought.bias_words is None:
        return offered
    numbers = [part.strip() for part in sought.bias_words.split(",")]
    if not all(re.fullmatch(r"[0-9]{1,7}(\s*Ki)?", part) for part in numbers):
        problem, step = "wants sizes separated by commas", "Example: --bias-words 0,1Ki"
        findings.append(Finding("--bias-words", problem, sought.bias_words, None, "words", step))
        return offered
    return replace(offered, bias_words=tuple(sorted({_number(part) for part in numbers})))


def _show(answer: Answer, points: Curves | None, output: SynthesisOutput) -> None:
    """Write the files, then print."""
    from mapper.explore.smallest import spec_toml  # noqa: PLC0415
    from mapper.files import write_text  # noqa: PLC0415
    from mapper.report import synthesis  # noqa: PLC0415

    record = json.dumps(synthesis.synthesis_record(answer, points), indent=2) + "\n"
    if output.plot is not None and points is not None:
        synthesis.plot_curves(points, output.plot)
    out = output.out
    if out is not None:
        write_text(out / f"{answer.chip.name}.toml", spec_toml(answer.chip))
        write_text(out / "synthesis.json", record)
        if points is not None:
            write_text(out / "cores.csv", synthesis.curve_csv(points.by_cores, "cores_max"))
            write_text(out / "networks.csv", synthesis.curve_csv(points.by_networks, "networks_carried"))
            for _, point in points.by_cores + points.by_networks:
                if point is not None:
                    write_text(out / "curve" / f"{point.chip.name}.toml", spec_toml(point.chip))
    if output.as_json:
        print(record, end="")
        return
    synthesis.print_synthesis(console(), answer, points)
    if out is not None:
        print(f"mapper solve NETWORK --chip {out / answer.chip.name}.toml places a network on it")
