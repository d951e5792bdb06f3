"""Why there is no placement: what is asked, what there is, and changes that would make it fit."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal, TypeAlias

from pydantic import BaseModel, ConfigDict

from hwspec.display import Displayed
from hwspec.schema import AssumedFact
from mapper.rules import Rule

__all__ = [
    "Conflict",
    "Correction",
    "DividedConflict",
    "FeasibilityReport",
    "Gap",
    "HallSet",
    "Record",
    "Repair",
    "ReportNature",
    "Requirement",
    "SizeChange",
    "Status",
    "Unmet",
    "unmet",
]

ReportNature: TypeAlias = Literal["capacity", "count", "output", "routing", "structural", "undecided"]


class Status(StrEnum):
    """How far the solver got."""

    OPTIMAL = "optimal"
    FEASIBLE = "feasible"
    INFEASIBLE = "infeasible"
    UNDECIDED = "undecided"


class Record(BaseModel):
    """Part of a file: immutable, and refuses fields it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class _Sentence(Record):
    sentence: str


class Gap(Record):
    """By how much a requirement is missed.

    Attributes
    ----------
    rule, code
        Name and stable code of the rule.
    layers
        Who asks.
    demand, bound, gap, unit
        What is asked, what there is, the difference (None where they are no numbers), in what unit.
    """

    rule: str
    code: str
    layers: tuple[str, ...]
    demand: int | str
    bound: int | str
    gap: int | None
    unit: str


class Unmet(Gap, _Sentence):
    """One requirement no core (or not the chip) meets.

    Attributes
    ----------
    cores
        The cores that come nearest; empty where the chip as a whole is meant.
    terms
        How the demand comes about.
    """

    cores: tuple[int, ...]
    terms: str

    def bare(self) -> Gap:
        """The numbers alone."""
        return Gap(**self.model_dump(include=set(Gap.model_fields)))


class HallSet(_Sentence):
    """Layers that compete for too few cores: the certificate of a matching conflict.

    Attributes
    ----------
    layers, cores
        All that these layers can use are these cores, and ``len(layers) > len(cores)``.
    reason
        Why they can use no others.
    """

    layers: tuple[str, ...]
    cores: tuple[int, ...]
    reason: str


class Requirement(_Sentence):
    """One thing that is asked of a placement, as part of a conflict or of a correction.

    Attributes
    ----------
    kind
        "layer": the layer is placed. "rule": the layer keeps to the rule. "cores": these cores hold one
        layer each. "pin", "forbidden": a request of the user. "chip": a rule the chip as a whole keeps.
    code
        Stable code of the rule behind it.
    layers, cores
        Whom it concerns.
    """

    kind: Literal["layer", "rule", "cores", "pin", "forbidden", "chip"]
    code: str
    layers: tuple[str, ...]
    cores: tuple[int, ...]


class Conflict(_Sentence):
    """Requirements that cannot hold together.

    Attributes
    ----------
    irreducible
        Whether any one left out makes the others possible; False where a limit came first.
    """

    requirements: tuple[Requirement, ...]
    irreducible: bool


class DividedConflict(Conflict):
    """Requirements that cannot hold together although layers may be cut, copied or relayed.

    Attributes
    ----------
    moves
        What was allowed: "pieces", "relays", "copies". The verdict holds within these moves.
    """

    moves: tuple[str, ...]


class Correction(_Sentence):
    """The fewest requirements without which everything else is possible."""

    requirements: tuple[Requirement, ...]


class SizeChange(Record):
    """One size of the network that a repair changes; values as in `mapper.edits.Edit`."""

    name: str
    field: Literal["features", "kernel", "stride", "padding", "pooling", "input_size"]
    before: int | tuple[int, int]
    after: int | tuple[int, int]
    target: str | None = None


class Repair(_Sentence):
    """A change after which the network fits: solved and checked before it is shown.

    Attributes
    ----------
    kind
        What is changed: "request", "features", "kernel", "stride", "padding", "pooling", "input_size",
        "legal_values", "several", "width" (of the network), "memory", "cores", "memory_and_cores", "fan_out"
        or "bandwidth" (of the chip).
    change
        How much it changes, 0 .. 1: the share of features, taps, map or memory that is lost or added.
    sizes
        What to change in the network.
    overrides
        What to change in the chip, as `--set` takes it.
    dropped_pins, allowed_cores
        Requests to withdraw: layers no longer pinned, cores no longer forbidden.
    """

    kind: str
    change: float
    sizes: tuple[SizeChange, ...] = ()
    overrides: tuple[str, ...] = ()
    dropped_pins: tuple[str, ...] = ()
    allowed_cores: tuple[int, ...] = ()


class FeasibilityReport(Displayed, Record):
    """Why a network does not fit, by how much, and on which facts that rests.

    Attributes
    ----------
    nature
        "structural" where a value is outside this chip's limits, else "capacity", "count",
        "routing" (destinations), "output" (readout stage and monitors), or "undecided".
    unmet
        Requirements that cannot be met whatever else is decided.
    certificate
        Groups of layers that compete for too few cores.
    conflict
        One irreducible set of requirements that cannot hold together; None while undecided.
    correction
        The fewest requirements to give up.
    divided
        Why cutting, copying and relaying does not help, where tried; entries above are about whole layers.
    repairs
        Changes that were solved and checked, least change first; empty unless asked for.
    repairs_missing, repairs_note
        Kinds of repair of which none exists on its own, as far as they were tried; why those that were asked
        for were not sought, or None.
    assumed_facts
        Facts of the chip that no source states and this verdict may rest on.
    chip_hash
        SHA-256 of the chip's specification.
    limit, cut_short
        What stopped an undecided solve; what a limit left undone, beside the verdict.
    """

    schema_version: Literal[1] = 1
    status: Status
    nature: ReportNature
    chip: str
    chip_hash: str
    unmet: tuple[Unmet, ...] = ()
    certificate: tuple[HallSet, ...] = ()
    conflict: Conflict | None = None
    correction: Correction | None = None
    divided: DividedConflict | None = None
    repairs: tuple[Repair, ...] = ()
    repairs_missing: tuple[str, ...] = ()
    repairs_note: str | None = None
    assumed_facts: tuple[AssumedFact, ...] = ()
    limit: str | None = None
    cut_short: tuple[str, ...] = ()

    def sentences(self) -> tuple[str, ...]:
        """One sentence for each thing that stands in the way."""
        entries = (*self.unmet, *self.certificate, *filter(None, (self.divided,)))
        if not entries and self.limit:
            return (f"Undecided: {self.limit} was reached.",)
        return tuple(entry.sentence for entry in entries)

    def sentence(self) -> str:
        """The whole report as text."""
        return " ".join(self.sentences())


def unmet(
    rule: Rule,
    layers: tuple[str, ...],
    cores: tuple[int, ...],
    demand: int | str,
    bound: int | str,
    terms: str,
    sentence: str,
) -> Unmet:
    """An `Unmet` with code, unit and gap filled in."""
    gap = demand - bound if isinstance(demand, int) and isinstance(bound, int) else None
    return Unmet(
        rule=rule.name.lower(), code=rule.code, layers=layers, cores=cores, demand=demand, bound=bound,
        gap=gap, unit=rule.value.unit, terms=terms, sentence=sentence,
    )  # fmt: skip
