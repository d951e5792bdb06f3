"""The command that compares configurations, networks and reports."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from mapper.cli.options import Chip, Output, Reading, keywords, read_network
from mapper.cli.output import print_json

if TYPE_CHECKING:
    from mapper.emit.read.diff import Difference
    from mapper.emit.shared.config import ChipConfig
    from mapper.normal_form import NormalNetwork

__all__ = ["diff"]

_EXIT_DIFFERENT = 1
_SIDE = Parameter(help="config.json, a network, or report.json")


def diff(
    left: Annotated[str, _SIDE],
    right: Annotated[str, _SIDE],
    /,
    *,
    reading: Reading = Reading(),
    output: Output = Output(),
) -> int:
    """Compare configurations or networks, or two reports.

    Exit: 0 the same, 1 different, 2 bad input.
    """
    from dataclasses import asdict  # noqa: PLC0415

    from mapper.cli.report import is_report, print_report_difference  # noqa: PLC0415

    if is_report(left) or is_report(right):
        return print_report_difference(left, right, output.as_json)
    differences = _compared(_side(left, reading), _side(right, reading))
    if output.as_json:
        print_json(differences=[asdict(entry) for entry in differences])
    else:
        for entry in differences:
            print(entry)
        print("the same" if not differences else f"{len(differences)} differences")
    return _EXIT_DIFFERENT if differences else 0


def _side(source: str, reading: Reading) -> ChipConfig | NormalNetwork:
    """A configuration file, or a network after all passes."""
    from mapper.emit.shared.file import read_config  # noqa: PLC0415

    path = Path(source)
    if path.suffix == ".json" and path.is_file() and '"hardware"' in path.read_text("utf-8", "replace"):
        return read_config(path)
    return read_network(source, keywords(Chip(), reading))


def _compared(left: ChipConfig | NormalNetwork, right: ChipConfig | NormalNetwork) -> tuple[Difference, ...]:
    """Differences; a network is compared in the form that a configuration's chip needs, if that is known."""
    from hwspec.catalog import load, names  # noqa: PLC0415
    from mapper.emit.read.diff import diff as compare  # noqa: PLC0415
    from mapper.emit.read.extract import extract  # noqa: PLC0415
    from mapper.emit.shared.config import ChipConfig as Config  # noqa: PLC0415
    from mapper.errors import NetworkError  # noqa: PLC0415
    from mapper.options import SolveOptions  # noqa: PLC0415
    from mapper.question import Question, float_form  # noqa: PLC0415

    config = next((side for side in (left, right) if isinstance(side, Config)), None)
    chip = config.chip.partition("+")[0] if config else ""
    if config is None or chip not in names() or (isinstance(left, Config) and isinstance(right, Config)):
        return tuple(compare(left, right))
    placed, spec = extract(config), load(chip)

    def formed(side: ChipConfig | NormalNetwork) -> ChipConfig | NormalNetwork:
        if isinstance(side, Config):
            return side
        try:
            return float_form(side, placed, spec)
        except (NetworkError, KeyError):
            return Question((side,), spec, SolveOptions()).problems[0].networks[0]

    return tuple(compare(formed(left), formed(right)))
