"""What a reader of networks took for granted: shown by everything that goes on from it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mapper.errors import Finding, NetworkError
from mapper.wording import join_names

if TYPE_CHECKING:
    from mapper.network import Network

__all__ = ["Reading", "gathered", "readings_of", "require_answers"]

# More names than these are counted instead.
_NAMES_MAX = 3


@dataclass(frozen=True, slots=True)
class Reading:
    """One assumption of a reader.

    Attributes
    ----------
    subject
        What it is about: a node, a layer, or the network.
    taken
        What was taken, as a clause: "a spike subtracts the threshold".
    why
        Where that comes from: "the file says nothing of resets".
    otherwise
        How to say otherwise: "--reset zero"; empty where nothing else can be said.
    is_open
        Neither the source nor the user answers, and what the network computes depends on it: placing goes
        on, whatever writes or runs weights refuses.
    """

    subject: str
    taken: str
    why: str = ""
    otherwise: str = ""
    is_open: bool = False

    def __str__(self) -> str:
        reasons = "; ".join(part for part in (self.why, self.otherwise) if part)
        return f"{self.subject}: {self.taken}" + (f" ({reasons})" if reasons else "")


def gathered(readings: Iterable[Reading], *, of_all: int = 0, everything: str = "") -> tuple[Reading, ...]:
    """Readings that say the same of several subjects as one each.

    Parameters
    ----------
    of_all
        Number of subjects there are; readings of so many say `everything` instead of their names.
    """
    subjects: dict[Reading, list[str]] = {}
    for reading in readings:
        names = subjects.setdefault(replace(reading, subject=""), [])
        if reading.subject not in names:
            names.append(reading.subject)
    return tuple(
        replace(reading, subject=everything if of_all and len(names) == of_all else _together(names))
        for reading, names in subjects.items()
    )


def _together(names: list[str]) -> str:
    if len(names) <= _NAMES_MAX:
        return join_names(names)
    return f"{join_names([*names[: _NAMES_MAX - 1], f'{len(names) - _NAMES_MAX + 1} more'])}"


def require_answers(networks: Iterable[Network]) -> None:
    """Refuse what nobody has answered, before weights are written or run.

    Raises
    ------
    NetworkError
        Every open reading, with the words that answer it.
    """
    findings = [
        Finding(
            network.name,
            f"{reading.subject}: {reading.taken}; {reading.why}",
            next_step=f"Add {reading.otherwise}",
        )
        for network in networks
        for reading in network.readings
        if reading.is_open
    ]
    if findings:
        raise NetworkError(*dict.fromkeys(findings))


def readings_of(networks: Sequence[Network]) -> tuple[Reading, ...]:
    """What was taken for granted while reading; of several networks, subjects begin with their names."""
    return tuple(
        replace(reading, subject=f"{network.name}: {reading.subject}") if len(networks) > 1 else reading
        for network in networks
        for reading in network.readings
    )
