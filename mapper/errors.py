"""The error tree. Facts are attributes; the sentence is built from them.

The exit codes of the command line follow from the class: 1 proven infeasible, 2 bad input,
3 undecided, 4 a fault of this program.
"""

from __future__ import annotations

import inspect
import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Self

from hwspec.errors import Finding, MapperError, SpecError, sentence_list, unreadable
from mapper.asking import TIME_LIMIT, WORK_LIMIT, names

if TYPE_CHECKING:
    from mapper.reasons import FeasibilityReport
    from mapper.result import Result

__all__ = [
    "INTERRUPTION",
    "BackendMissingError",
    "BoardError",
    "ConfigError",
    "EmitError",
    "EventError",
    "Finding",
    "InfeasibleError",
    "MapperError",
    "MapperWarning",
    "MissingNeuronError",
    "MissingShapeError",
    "NetworkError",
    "OptionsError",
    "ShapeError",
    "SpecError",
    "UndecidedError",
    "UnsupportedLayerError",
    "VerificationError",
    "sentence_list",
    "unreadable",
    "warn_caller",
]


# What stopped a search, where the user did.
INTERRUPTION = "an interruption (Ctrl-C)"


class MapperWarning(UserWarning):
    """Something that stops nothing and that a user should know; the command line prints each once."""


# What stands between a caller and a warning: this package, and what it is called by in the caller's place.
_BETWEEN = ("mapper", "hwspec", "torch")


def warn_caller(text: str, kind: type[Warning] = MapperWarning) -> None:
    """Warn whoever called this package: the warning shows the line of theirs."""
    frame, level = inspect.currentframe(), 0
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] in _BETWEEN:
        frame, level = frame.f_back, level + 1
    warnings.warn(text, kind, stacklevel=level + 1)


class _InputError(MapperError):
    """Input that cannot be used: everything that is wrong with it, in `findings`."""

    exit_code = 2

    def __init__(self, *findings: Finding) -> None:
        self.findings: tuple[Finding, ...] = findings
        super().__init__(sentence_list(findings))

    def of(self, source: str) -> Self:
        """The error itself, in which every finding names the file that it is about."""
        named = (
            found if source in found.where else replace(found, where=f"{source}: {found.where}")
            for found in self.findings
        )
        self.findings = tuple(named)
        self.args = (sentence_list(self.findings),)
        return self


class NetworkError(_InputError):
    """A network that cannot be read, or that no chip of the family can run."""


class UnsupportedLayerError(NetworkError):
    """An operation no chip of the family has (max pooling, leaky neurons, ...)."""


class ShapeError(NetworkError):
    """Shapes that do not follow from one another."""


class MissingShapeError(NetworkError):
    """A network that does not state the shape of its input."""


class MissingNeuronError(NetworkError):
    """Weight layers without spiking neurons.

    Attributes
    ----------
    only_outputs
        Whether all of them are outputs, to which neurons can be appended.
    """

    def __init__(self, *findings: Finding, only_outputs: bool) -> None:
        self.only_outputs = only_outputs
        super().__init__(*findings)


class ConfigError(_InputError):
    """A configuration that contradicts itself or what it is run on."""


class OptionsError(_InputError):
    """Options that contradict one another, the network or the chip."""


class EventError(_InputError):
    """Events, rasters or spikes that cannot be read or converted without losing or changing some."""


class BackendMissingError(MapperError):
    """An optional package is needed and not there.

    Attributes
    ----------
    package
        What is missing.
    """

    exit_code = 2

    def __init__(
        self, package: str, needed_for: str, next_step: str, missing: str = "which is not installed"
    ) -> None:
        self.package = package
        super().__init__(f"{needed_for} needs {package}, {missing}. {next_step}")


class BoardError(MapperError):
    """A board that is not there, is busy, or failed at a step.

    Attributes
    ----------
    device
        Name of the board.
    """

    exit_code = 2

    def __init__(self, device: str, problem: str, next_step: str) -> None:
        self.device = device
        super().__init__(f"{device}: {problem}. {next_step}")


class InfeasibleError(MapperError):
    """The network provably does not fit; `report` says why, and `next_step` what helps, where known.

    Attributes
    ----------
    who
        What does not fit, as a sentence; "" where more than one network and chip were tried.
    """

    exit_code = 1

    def __init__(self, report: FeasibilityReport, next_step: str = "", who: str = "") -> None:
        self.report, self.next_step, self.who = report, next_step, who
        super().__init__(" ".join(filter(None, (who, report.sentence(), next_step))))


class UndecidedError(MapperError):
    """A limit was hit before a placement was found or excluded.

    Attributes
    ----------
    limit
        The limit that was hit, in words.
    result
        The result as far as it got.
    """

    exit_code = 3

    def __init__(self, limit: str, result: Result) -> None:
        self.limit = limit
        self.result = result
        limits = names((TIME_LIMIT, WORK_LIMIT))
        reached, step = "was reached", f"Raise the limit ({limits}) or leave it out"
        if limit == INTERRUPTION:
            reached, step = "came", f"Let it run, or give it a limit ({limits})"
        who = f"{', '.join(network.name for network in result.networks)} on {result.chip.name}: "
        super().__init__(
            f"{who}undecided: {limit} {reached} before a placement was found or excluded. {step}"
        )


class TimeLimitError(MapperError):
    """A wall-clock limit came before something was done that has no partial answer.

    Attributes
    ----------
    limit_s
        The limit in seconds.
    doing
        What was being done, in words that follow "while".
    next_step
        A way out.
    """

    exit_code = 3

    def __init__(self, limit_s: float, doing: str, next_step: str) -> None:
        self.limit_s, self.doing, self.next_step = limit_s, doing, next_step
        super().__init__(f"the time limit of {limit_s:g} s came first, while {doing}. {next_step}")


class VerificationError(MapperError):
    """The independent checker rejected a solution of the solver: a fault of this program."""

    def __init__(self, violations: tuple[object, ...]) -> None:
        self.violations = violations
        lines = "; ".join(str(violation) for violation in violations)
        super().__init__(f"the solver's placement failed the independent check: {lines}")


class EmitError(MapperError):
    """A configuration that cannot express the placement: everything that it cannot, in `findings`."""

    def __init__(self, *findings: Finding) -> None:
        self.findings: tuple[Finding, ...] = findings
        super().__init__(sentence_list(findings))
