"""What a solve gives back: status, placement, or the reason why there is none."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType

from hwspec.display import Displayed
from hwspec.errors import Finding
from hwspec.schema import ChipSpec
from mapper.arguments import checked
from mapper.asking import spoken
from mapper.by_value import ByValue
from mapper.errors import InfeasibleError, OptionsError, UndecidedError
from mapper.normal_form import NormalNetwork
from mapper.options import SolveOptions
from mapper.reading import Reading, readings_of
from mapper.reasons import FeasibilityReport, Status
from mapper.references import LayerReference, locate_layer, resolve_layer, whole_number
from mapper.solution import LayerPart, Solution
from mapper.wording import join_names

__all__ = ["Result", "Statistics"]


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


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Result(ByValue, Displayed):
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

    _other_names = MappingProxyType(
        {
            **dict.fromkeys(
                ("ok", "fits", "feasible", "success", "valid", "is_feasible", "placed", "optimal", "proven"),
                "status, or bool(result)",
            ),
            **dict.fromkeys(
                ("placement", "placements", "mapping", "assignment", "routes", "cores"),
                "solution, which is None without a placement, or find_chip_layers(layer)",
            ),
            **dict.fromkeys(("reason", "reasons", "why", "error", "repairs", "conflict"), "report"),
            **dict.fromkeys(("config", "configuration"), "mapper.build_config(result)"),
            "network": "networks",
        }
    )

    status: Status
    networks: tuple[NormalNetwork, ...]
    chip: ChipSpec
    options: SolveOptions
    solution: Solution | None
    report: FeasibilityReport | None
    statistics: Statistics = field(compare=False)
    given: tuple[NormalNetwork, ...] = ()
    moves: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "given", self.given or self.networks)

    def __bool__(self) -> bool:
        """Whether there is a placement.

        Raises
        ------
        UndecidedError
            Nobody knows: a limit came first. `status` says so without an error.
        """
        return self.solution is not None or (self.status is not Status.INFEASIBLE and bool(self.require()))

    @property
    def _names(self) -> str:
        return join_names([network.name for network in self.networks])

    @property
    def readings(self) -> tuple[Reading, ...]:
        """What was taken for granted while reading; of several networks, subjects begin with their names."""
        return readings_of(self.networks)

    @checked.by_name
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

    @checked.by_name
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
            verb = "does" if len(self.networks) == 1 else "do"
            who = f"{self._names} {verb} not fit {self.chip.name}, proven ({self.report.nature})."
            step = "The numbers, and changes that mend it, are in report of the result and of this error"
            raise InfeasibleError(self.report, spoken(command="", python=step), who)
        limit = self.report.limit if self.report and self.report.limit else "a limit"
        raise UndecidedError(limit, self)
