"""The command that compares configurations, networks and reports."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from mapper.cli import completion
from mapper.cli.options import Chip, Output, Reading, keywords, read_network
from mapper.cli.output import console, print_json, print_record, say
from mapper.cli.verdict import Outcome, Refuted
from mapper.errors import Finding, OptionsError, unreadable
from mapper.process import OK
from mapper.texts import plain_text, unreachable
from mapper.wording import counted

if TYPE_CHECKING:
    from mapper.emit.shared.config import ChipConfig
    from mapper.normal_form import NormalNetwork

__all__ = ["diff", "kind_of"]

# No configuration or report is larger.
_BYTES_MAX = 1 << 28

_SIDE = Parameter(help="config.json, a network, or report.json", completer=completion.networks)


def diff(
    left: Annotated[str, _SIDE],
    right: Annotated[str, _SIDE],
    /,
    *,
    reading: Reading = Reading(),
    output: Output = Output(),
) -> Outcome:
    """Compare configurations or networks, or two reports.

    Exit: 0 the same, 1 different, 2 bad input.
    """
    from dataclasses import asdict  # noqa: PLC0415

    from mapper.emit.read.compare import compare  # noqa: PLC0415

    if "report" in (kind_of(left), kind_of(right)):
        return _diff_reports(left, right, output.as_json)
    differences = compare(_side(left, reading), _side(right, reading))
    if output.as_json:
        print_json(differences=[asdict(entry) for entry in differences])
    else:
        for entry in differences:
            say(str(entry))
        say("the same" if not differences else counted(len(differences), "difference"))
    return Refuted(differences) if differences else OK


def kind_of(source: str) -> Literal["report", "configuration", "network"]:
    """What a side is."""
    path = Path(source)
    try:
        if path.suffix != ".json" or not path.is_file():
            return "network"
        text = plain_text(path, _BYTES_MAX)
    except OSError as error:
        raise OptionsError(Finding(source, unreadable(error))) from None
    except ValueError:
        return "network"  # whose reader says what is wrong
    if '"complete"' in text[:200] and '"schema_version"' in text[:200]:
        return "report"
    return "configuration" if '"hardware"' in text else "network"


def _side(source: str, reading: Reading) -> ChipConfig | NormalNetwork:
    """A configuration file, or a network after all passes."""
    from mapper.emit.shared.file import read_config  # noqa: PLC0415

    if kind_of(source) == "configuration":
        return read_config(Path(source))
    return read_network(source, keywords(Chip(), reading))


def _diff_reports(left: str, right: str, as_json: bool) -> Outcome:
    from mapper.explore.difference import report_difference  # noqa: PLC0415
    from mapper.explore.record import read_report  # noqa: PLC0415
    from mapper.report.matrix import print_difference  # noqa: PLC0415

    for side in (left, right):
        if side.endswith(".json") and (problem := unreachable(Path(side))) is not None:
            raise OptionsError(Finding(side, problem))
        if kind_of(side) != "report":
            problem, step = "is no report, and the other side is one", "mapper report --out DIR writes one"
            raise OptionsError(Finding(side, problem, next_step=step))
    difference = report_difference(read_report(Path(left)), read_report(Path(right)))
    if as_json:
        print_record(difference.model_dump_json(indent=2))
    else:
        print_difference(console(), difference)
    found = (*difference.changes, *difference.only_before, *difference.only_after)
    return Refuted(found) if found else OK
