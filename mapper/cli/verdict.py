"""Exit status 1, which nothing but a verdict can give."""

from __future__ import annotations

from collections.abc import Sized
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from mapper.process import BAD_INPUT, FAULT, OK, UNDECIDED

if TYPE_CHECKING:
    from mapper.reasons import FeasibilityReport

__all__ = ["Outcome", "Refuted", "exit_status"]

_REFUTED = 1


@dataclass(frozen=True)
class Refuted:
    """A "no" that is proven.

    Attributes
    ----------
    evidence
        The report of what cannot be met, or the differences of two files; never nothing.
    """

    evidence: FeasibilityReport | Sized

    def __post_init__(self) -> None:
        if isinstance(self.evidence, Sized) and not len(self.evidence):
            raise ValueError("a verdict without evidence")


Outcome: TypeAlias = int | Refuted
"""What a command gives: a verdict, or one of the other statuses."""


def exit_status(outcome: object) -> int:
    """The exit status for what a command gave.

    Raises
    ------
    RuntimeError
        It is neither a verdict nor a status: a fault of this program.
    """
    if isinstance(outcome, Refuted):
        return _REFUTED
    if isinstance(outcome, int) and outcome in (OK, BAD_INPUT, UNDECIDED, FAULT):
        return outcome
    raise RuntimeError(f"a command ended with {outcome!r}, which is no status")
