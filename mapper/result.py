"""What a solve gives back: status, placement, or the reason why there is none."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, TypeAlias

from pydantic import BaseModel, ConfigDict

from hwspec.display import Displayed
from hwspec.errors import Finding
from hwspec.schema import AssumedFact, ChipSpec
from mapper.errors import InfeasibleError, OptionsError, UndecidedError
from mapper.normal_form import NormalNetwork
from mapper.options import SolveOptions
from mapper.reading import Reading
from mapper.references import LayerReference, locate_layer, readings_of, resolve_layer, whole_number
from mapper.rules import Rule
from mapper.solution import LayerPart, Solution

__all__ = [
    "Conflict",
    "Correction",
    "DividedConflict",
    "FeasibilityReport",
    "Gap",
    "HallSet",
    "Record",
    "Repair",
    "Requirement",
    "Result",
    "SizeChange",
    "Statistics",
    "Status",
    "Unmet",
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


@dataclass(frozen=True, slots=True)
class Statistics:
    """Where the time went; never part of a placement file.

    Attributes
    ----------
    wall_s, deterministic_time
        Seconds in the solver, model building included; the solver's own repeatable measure of work.
    variables, constraints
        Size of the model at its last stage.
    solves
        Number of solver calls.
    """

    wall_s: float
    deterministic_time: float
    variables: int
    constraints: int
    solves: int
    interrupted: bool = False


@dataclass(frozen=True, slots=True, repr=False)
class Result(Displayed):
    """Outcome of a solve. A solution that stands here has passed the checker.

    Attributes
    ----------
    networks
        As placed: after the passes, in the forms that the chip needs.
    given
        Before layers were rewritten for the chip; of a network where none was, as placed.
    moves
        What a placement might do beyond one whole layer per core: a proof holds within these.
    solution
        None unless the status is OPTIMAL or FEASIBLE.
    report
        None unless the status is INFEASIBLE or UNDECIDED.
    """

    status: Status
    networks: tuple[NormalNetwork, ...]
    chip: ChipSpec
    options: SolveOptions
    solution: Solution | None
    report: FeasibilityReport | None
    statistics: Statistics
    given: tuple[NormalNetwork, ...] = ()
    moves: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "given", self.given or self.networks)

    @property
    def readings(self) -> tuple[Reading, ...]:
        """What was taken for granted while reading; of several networks, subjects begin with their names."""
        return readings_of(self.networks)

    def find_chip_layer(self, layer: LayerReference, network: int | None = None) -> int:
        """The core on which a layer lives.

        Parameters
        ----------
        layer
            As `mapper.references` describes: name, or index as users count, in the network's order, without
            the sensor stage, negative from the end.
        network
            Index of the network, 0 <= network < len(networks), to which `layer` then belongs; None for all.

        Raises
        ------
        OptionsError
            There is no such layer, it can be one of several, or it lives on several cores.
        InfeasibleError, UndecidedError
            There is no placement.
        """
        cores = self.find_chip_layers(layer, network)
        if len(cores) != 1:
            step = "find_chip_layers gives them all"
            raise OptionsError(Finding(f"layer {layer}", "lives on several cores", cores, next_step=step))
        return cores[0]

    def find_chip_layers(self, layer: LayerReference, network: int | None = None) -> list[int]:
        """All cores that hold a layer, a piece or a copy of it, ascending; the rest as `find_chip_layer`."""
        number = None if network is None else whole_number(network)
        if network is not None and (number is None or not 0 <= number < len(self.networks)):
            raise OptionsError(Finding("network", "is no index", network, f"0..{len(self.networks) - 1}"))
        if number is None:
            number, name = locate_layer(self.networks, layer)
        else:
            name = resolve_layer(self.networks[number], layer)
        return self.cores_of(number, name)

    def cores_of(self, number: int, name: str) -> list[int]:
        """All cores that hold a layer of a network, by its name; as `find_chip_layers`."""
        origin = self.networks[number].origin_of(name)
        return sorted(
            place.core
            for place in self.require().placements
            if place.body == LayerPart(number, origin.layer, getattr(place.body, "copy_index", 0))
            and place.features[0] < origin.stop
            and origin.start < place.features[1]
        )

    def require(self) -> Solution:
        """The solution, or the reason why there is none as an error.

        Raises
        ------
        InfeasibleError, UndecidedError
        """
        if self.solution is not None:
            return self.solution
        if self.status is Status.INFEASIBLE and self.report is not None:
            raise InfeasibleError(self.report)
        limit = self.report.limit if self.report and self.report.limit else "a limit"
        raise UndecidedError(limit, self)


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
