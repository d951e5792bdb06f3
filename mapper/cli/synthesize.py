"""The commands that look for the smallest chip, and for the widest network."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from mapper.cli import completion, options
from mapper.cli.loudness import is_quiet
from mapper.cli.options import group, keywords, read_network, read_options, text
from mapper.cli.output import console, note, print_json, print_record, say
from mapper.cli.placement import PLACEMENT_FILES, open_placement, write_placement
from mapper.errors import Finding, NetworkError, OptionsError
from mapper.process import OK, UNDECIDED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mapper.explore.smallest import Answer, Curves
    from mapper.normal_form import NormalNetwork

__all__ = ["synthesize", "widest"]

_TO_THE_LARGEST = "1Ki to the chip's largest"


@group("Chip", 1)
@dataclass(frozen=True)
class Sought(options.Changes):
    """What chip is sought."""

    cores: Annotated[str, text("5..9", "number of cores: one, or least..most")] = "1..9"
    extends: Annotated[str, text("CHIP", "limits and stages are as on it", completer=completion.chips)] = (
        "speck2f"
    )
    minimise: Annotated[Literal["sram", "cores"], Parameter(help="what is least before all else")] = "sram"
    together: Annotated[bool, Parameter(help="all share the chip; else they take turns")] = False
    fan_out: Annotated[
        str | None, text("2..4", "destinations of a core: a number, or least..most", "as on the chip")
    ] = None
    kernel_words: Annotated[
        str | None, text("1Ki..64Ki", "powers of two on offer, in words of 8 bits", _TO_THE_LARGEST)
    ] = None
    neuron_words: Annotated[
        str | None, text("1Ki..64Ki", "powers of two on offer, in words of 16 bits", _TO_THE_LARGEST)
    ] = None
    bias_words: Annotated[
        str | None, text("0,1Ki", "sizes on offer, in words of 16 bits", "none, and the chip's")
    ] = None
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
    input_name: Annotated[
        str | None, text("NAME", "input, where there are several", "the only one", name="--input-name")
    ] = None
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

    Exit: 0 found (proven least, or the gap is told), 1 there is none, 2 bad input, 3 undecided, or a limit
    or Ctrl-C cut the curves short: what is known of them is written.
    """
    from mapper.explore.request import read_request  # noqa: PLC0415
    from mapper.explore.smallest import curves as curves_of  # noqa: PLC0415
    from mapper.explore.smallest import synthesize as find  # noqa: PLC0415
    from mapper.files import file_name, require_writable  # noqa: PLC0415
    from mapper.reading import readings_of  # noqa: PLC0415
    from mapper.report.synthesis import plot_curves, print_synthesis, synthesis_record  # noqa: PLC0415
    from mapper.report.text import print_readings  # noqa: PLC0415

    words = keywords(options.Chip(sought.changes, sought.extends), reading, moves, limits, repairs=0)
    wishes = {name: value for name, value in vars(sought).items() if name not in ("changes", "extends")}
    request, read = read_request(words["chip"], words["options"], **wishes), _read_all(networks, words)
    require_writable(*filter(None, [output.out and output.out / "synthesis.json", output.plot]))
    answer = find(read, request)
    points = curves_of(read, request, answer) if output.curves or output.plot is not None else None
    status = OK if points is None or points.is_complete else UNDECIDED
    readings = readings_of(read)
    told = {"readings": [asdict(reading) for reading in readings]}
    record = json.dumps(synthesis_record(answer, points) | told, indent=2) + "\n"
    if output.plot is not None and points is not None:
        plot_curves(points, output.plot)
    if output.out is not None:
        _write(answer, points, record, output.out)
    if output.as_json:
        print_record(record.rstrip("\n"))
        return status
    print_synthesis(console(), answer, points)
    if is_quiet():
        return status
    print_readings(console(), readings)
    if output.out is not None:
        chip_file = output.out / f"{file_name(answer.chip.name)}.toml"
        say(f"mapper solve NETWORK --chip {chip_file} places a network on it")
    return status


def widest(
    network: Annotated[str, options.NETWORK],
    /,
    *,
    chip: options.Chip = options.Chip(),
    reading: options.Reading = options.Reading(),
    places: options.Places = options.Places(),
    growth: Growth = Growth(),
    moves: options.Moves = options.Moves(),
    limits: options.SolverLimits = options.SolverLimits(),
    output: options.ShownOutput = options.ShownOutput(),
) -> int:
    """Find the largest width, input or number of classes with which a network fits a chip.

    Writes placement.json, placement.svg and placement.html of that network, which has shapes alone.

    Exit: 0 found, 1 no size fits, 2 bad input, 3 undecided.
    """
    what, name = growth.what, growth.input_name or growth.output_name
    words = keywords(chip, reading, places, moves, limits, repairs=0)
    named = (("--input-name", growth.input_name, "input"), ("--output", growth.output_name, "classes"))
    for option, value, partner in named:
        if value is not None and what != partner:
            raise OptionsError(Finding(option, f"goes with --what {partner} alone", value, f"--what {what}"))
    from mapper.explore.widest import find_widest  # noqa: PLC0415
    from mapper.files import require_writable  # noqa: PLC0415
    from mapper.report.synthesis import widest_lines, widest_record  # noqa: PLC0415
    from mapper.report.terminal import line  # noqa: PLC0415
    from mapper.report.text import print_readings  # noqa: PLC0415

    if output.out is not None:
        require_writable(*(output.out / name for name in PLACEMENT_FILES))
    read = read_network(network, words)
    answer = find_widest(read, words["chip"], what, words["options"], name)
    files = write_placement(answer.result, output.out)
    if output.as_json:
        told = [asdict(reading) for reading in read.readings]
        print_json(**widest_record(answer), readings=told, written=files)
    else:
        for sentence in widest_lines(answer):
            line(console(), sentence)
        if not is_quiet():
            print_readings(console(), read.readings)
        if files:
            note(f"written: {', '.join(files)}")
    if output.is_opened:
        open_placement(answer.result, output.out)
    return 0


def _read_all(sources: Sequence[str], words: dict[str, Any]) -> list[NormalNetwork]:
    """All networks, or everything that is wrong with any of them; options go to those they concern."""
    from mapper.frontends import Concerns  # noqa: PLC0415

    read, findings, concerns = [], [], Concerns(is_alone=len(sources) == 1)
    for source in sources:
        try:
            read.append(read_options(words).read(source, concerns))
        except NetworkError as error:
            # A file's own findings begin with its name.
            name = Path(source).name
            findings += [
                entry if entry.where.startswith(name) else replace(entry, where=f"{source}: {entry.where}")
                for entry in error.findings
            ]
    if findings:
        raise NetworkError(*findings)
    concerns.require()
    return read


def _write(answer: Answer, points: Curves | None, record_text: str, out: Path) -> None:
    from hwspec.writing import chip_toml  # noqa: PLC0415
    from mapper.explore.smallest import Answer  # noqa: PLC0415
    from mapper.files import file_name, write_all  # noqa: PLC0415
    from mapper.report.synthesis import curve_csv  # noqa: PLC0415

    texts = {f"{file_name(answer.chip.name)}.toml": chip_toml(answer.chip), "synthesis.json": record_text}
    if points is not None:
        texts["cores.csv"] = curve_csv(points.by_cores, "cores_max")
        texts["networks.csv"] = curve_csv(points.by_networks, "networks_carried")
        for _, point in points.by_cores + points.by_networks:
            if isinstance(point, Answer):
                texts[f"curve/{file_name(point.chip.name)}.toml"] = chip_toml(point.chip)
    write_all({out / name: content for name, content in texts.items()})
